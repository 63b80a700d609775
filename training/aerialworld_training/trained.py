"""A trained model from its file, with what using it takes: the grid, the time step, how it was trained.

Three forms are read, none of which holds code: a checkpoint `{state_dict, run_config}` (as `fit --out` and the trainer
write it), a training folder (`best.pth`, else `latest.pth`), and the demo's folder or `model.pth`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from aerialworld_core.errors import InputError
from aerialworld_core.grid import VoxelGrid
from aerialworld_training.config import Config, parse_config
from aerialworld_training.fit import build
from aerialworld_training.models.aerial import AerialOccWorld
from aerialworld_training.models.occworld import OccWorld, load_complete
from aerialworld_training.models.occworld.state_dict_adapter import from_original, read_torch
from aerialworld_training.runconfig.load import parse_resolved

#: A training folder's files, the first that is there counts.
FILES = ("model.pth", "best.pth", "latest.pth")


@dataclass(frozen=True, eq=False)
class Trained:
    """A model in evaluation mode and how it was trained.

    history, future  frames of a training window, `step` seconds apart: every `frame_skip`-th of a recording
    pooling          voxels of a recording per axis that make one of `grid`; None: whatever makes it `grid`
    ground_level     the level in which the ground under the last history frame lies; None: volumes are not moved
    from_past        whether an aerial forecast starts from the moved past
    binary           whether it was trained with every occupied voxel of one class (MANMADE)
    config           the resolved settings, YAML
    """

    model: OccWorld
    path: Path
    grid: VoxelGrid
    history: int
    future: int
    step: float
    frame_skip: int
    pooling: tuple[int, int, int] | None
    ground_level: int | None
    from_past: bool
    config: str
    binary: bool = False
    demo: Config | None = None

    @property
    def aerial(self) -> AerialOccWorld | None:
        """The model where it is AerialOccWorld."""
        return self.model if isinstance(self.model, AerialOccWorld) else None

    @property
    def name(self) -> str:
        return "OccWorld" if self.aerial is None else "AerialOccWorld"


def find_model(path: Path) -> Path:
    """The file of a checkpoint or training folder. Raises InputError that names what was looked for."""
    if not path.is_dir():
        return path
    for name in FILES:
        if (path / name).is_file():
            return path / name
    raise InputError(f"{path}: holds none of {', '.join(FILES)}; has training finished an epoch?")


def load_trained(path: Path) -> Trained:
    """Read a model. Raises InputError for a file that is absent, damaged, of another form, or does not fit its own
    config."""
    file = find_model(Path(path))
    data = read_torch(file)
    if {"state_dict", "run_config"} <= set(data):
        return _of_run(file, data)
    if data.get("format") == 1 and {"config", "grid", "state_dict"} <= set(data):
        return _of_demo(file, data)
    raise InputError(
        f"{file}: holds no config beside its weights; bind the weights to one with "
        f"`python -m aerialworld_training.fit {file} --config NAME --out FILE.pth`"
    )


def _text(data: Mapping[str, Any], key: str, file: Path) -> str:
    if not isinstance(data[key], str):
        raise InputError(f"{file}: {key} is {type(data[key]).__name__}, not YAML text")
    return str(data[key])


def _of_run(file: Path, data: Mapping[str, Any]) -> Trained:
    text, source = _text(data, "run_config", file), f"{file} (run_config)"
    config = parse_resolved(text, source)
    state: Mapping[str, Tensor] = from_original(data, str(file)).state
    model = build(config)
    load_complete(model, state, str(file))
    return Trained(
        model.eval(), file, config.data.grid, config.data.history_frames, config.data.future_frames, config.data.step,
        config.data.frame_skip, None, config.data.ground_level, config.model.from_past, text,
        config.data.binary,
    )  # fmt: skip


def _of_demo(file: Path, data: Mapping[str, Any]) -> Trained:
    text = _text(data, "config", file)
    config = parse_config(text, source=f"{file} (config)")
    grid = VoxelGrid.from_dict(data["grid"])
    model = OccWorld(config.model.for_grid(grid))
    load_complete(model, data["state_dict"], str(file))
    d = config.data
    return Trained(
        model.eval(), file, grid, d.history, d.future, d.step, d.frame_skip, d.pooling, d.ground_level, False, text,
        demo=config,
    )  # fmt: skip
