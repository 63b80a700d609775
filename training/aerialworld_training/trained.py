"""A trained model from its file, with what using it takes: the grid, the time step, how it was trained.

Two forms are read, neither of which holds code: a checkpoint `{state_dict, run_config}` (as `fit --out` and the trainer
write it), and a training folder: `best.pth`, else `latest.pth`; of several stages, the last one's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aerialworld_core.errors import InputError
from aerialworld_core.grid import VoxelGrid
from aerialworld_training.building import build
from aerialworld_training.models.aerial import AerialOccWorld
from aerialworld_training.models.occworld import OccWorld, load_complete
from aerialworld_training.models.occworld.state_dict_adapter import from_original, read_torch
from aerialworld_training.runconfig.load import parse_resolved
from aerialworld_training.runconfig.places import without_places

#: A training folder's files, the first that is there counts.
FILES = ("best.pth", "latest.pth")
#: The folders that runs of several stages make.
STAGE_FOLDER = re.compile(r"^(\d+)_(vqvae|adapt|occworld)$")


@dataclass(frozen=True, eq=False)
class Trained:
    """A model in evaluation mode and how it was trained.

    history, future  frames of a training window, `step` seconds apart: every `frame_skip`-th of a recording
    ground_level     the level in which the ground under the last history frame lies; None: volumes are not moved
    from_past        whether an aerial forecast starts from the moved past
    binary           whether it was trained with every occupied voxel of one class (MANMADE)
    config           the resolved settings, YAML; `settings` are these without the places of the run
    """

    model: OccWorld
    path: Path
    grid: VoxelGrid
    history: int
    future: int
    step: float
    frame_skip: int
    ground_level: int | None
    from_past: bool
    config: str
    binary: bool = False

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def aerial(self) -> AerialOccWorld | None:
        """The model where it is AerialOccWorld."""
        return self.model if isinstance(self.model, AerialOccWorld) else None

    @property
    def settings(self) -> str:
        """`config` without files and folders: equal for runs that differ in nothing else."""
        return without_places(self.config, str(self.path))

    @property
    def name(self) -> str:
        return "OccWorld" if self.aerial is None else "AerialOccWorld"


def find_model(path: Path) -> Path:
    """The file of a checkpoint or training folder. Raises InputError that names what was looked for."""
    if not path.is_dir():
        return path
    stages = {int(m[1]): f for f in path.iterdir() if f.is_dir() and (m := STAGE_FOLDER.match(f.name))}
    folder = stages[max(stages)] if stages else path
    for name in FILES:
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"{folder}: holds none of {', '.join(FILES)}; has training finished an epoch?")


def load_trained(path: Path, device: str | torch.device = "cpu") -> Trained:
    """Read a model onto a device. Raises InputError for a file that is absent, damaged, of another form, or does not
    fit its own config, and for a device that is not there."""
    file = find_model(Path(path))
    data = read_torch(file)
    if not {"state_dict", "run_config"} <= set(data):
        raise InputError(
            f"{file}: holds no config beside its weights; bind the weights to one with "
            f"`python -m aerialworld_training.fit {file} --config NAME --out FILE.pth`"
        )
    text, source = _text(data, "run_config", file), f"{file} (run_config)"
    config = parse_resolved(text, source)
    state: Mapping[str, Tensor] = from_original(data, str(file)).state
    model = build(config)
    load_complete(model, state, str(file))
    return Trained(
        model.eval().to(usable(device)), file,
        config.data.grid, config.data.history_frames, config.data.future_frames, config.data.step,
        config.data.frame_skip, config.data.ground_level, config.model.from_past, text, config.data.binary,
    )  # fmt: skip


def usable(device: str | torch.device) -> torch.device:
    """Raises InputError for a device that torch does not know or does not find."""
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {device}: {str(error).splitlines()[0]}") from error
    return found


def _text(data: Mapping[str, Any], key: str, file: Path) -> str:
    if not isinstance(data[key], str):
        raise InputError(f"{file}: {key} is {type(data[key]).__name__}, not YAML text")
    return str(data[key])
