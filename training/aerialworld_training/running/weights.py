"""Where a run's weights come from: its own checkpoint, a whole model, a VAE of an earlier stage, or chance."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from aerialworld_core.errors import InputError
from aerialworld_training.codebook import start_from_free
from aerialworld_training.models.aerial import AerialOccWorld
from aerialworld_training.models.occworld import OccWorld, load_complete
from aerialworld_training.models.occworld.state_dict_adapter import Checkpoint, from_original, inside, read_torch
from aerialworld_training.runconfig import RunConfig
from aerialworld_training.runconfig.load import parse_resolved

log = logging.getLogger(__name__)
#: What a resumed run may change without becoming another run.
FREE_TO_CHANGE = ("work_dir", "log", "checkpoint", "evaluation")
#: Parts of a model that an earlier stage hands on.
VAE_PARTS = ("vae", "aerial.heights", "aerial.residual.codebooks")


def read(path: Path) -> dict[str, Any]:
    """A checkpoint's dictionary, `.pth` or `.safetensors`. Raises InputError."""
    if path.suffix == ".safetensors":
        from aerialworld_training.models.occworld.safetensors_file import read_safetensors

        return dict(read_safetensors(path))
    return read_torch(path)


def is_ours(data: dict[str, Any]) -> bool:
    """Whether a run of ours can go on from it."""
    return isinstance(data.get("run_config"), str) and "optimizer" in data and "sampler" in data


def check_same_run(config: RunConfig, data: dict[str, Any], source: str) -> None:
    """Raises InputError that names the keys in which a checkpoint's config differs from the run's."""
    stored = parse_resolved(data["run_config"], source)
    if data.get("stage") != config.stage:
        raise InputError(
            f"{source}: is of stage {data.get('stage')}, this run of {config.stage}; start from it with "
            "checkpoint.vqvae_from or load_from, or choose another --work-dir"
        )
    one, other = _flat(config), _flat(stored)
    differing = [k for k in one if one[k] != other[k]]
    if differing:
        shown = ", ".join(f"{k} {other[k]!r} → {one[k]!r}" for k in differing[:4])
        raise InputError(
            f"{source}: was made with another config: {shown}{' …' if len(differing) > 4 else ''}; resume with the "
            "same one, start from its weights with checkpoint.load_from, or choose another --work-dir"
        )


def _flat(config: RunConfig) -> dict[str, Any]:
    same = replace(config, data=replace(config.data, workers=0, batch_size=1),
                   optimizer=replace(config.optimizer, accumulate=1))  # fmt: skip
    out: dict[str, Any] = {}
    for key, value in asdict(same).items():
        if key in FREE_TO_CHANGE:
            continue
        for name, v in value.items() if isinstance(value, dict) else [("", value)]:
            out[f"{key}.{name}".rstrip(".")] = v
    return out


def load_weights(
    model: OccWorld, checkpoint: Checkpoint, source: str, allow: tuple[str, ...] = (), named_by: str | None = None
) -> None:
    """A whole model's weights. Raises InputError unless they match but for the parts allowed."""
    report = load_complete(model, checkpoint.state, source, allow, named_by)
    log.info("%s: %s", source, report)


def load_vae(model: OccWorld, checkpoint: Checkpoint, source: str) -> None:
    """The VAE of an earlier stage, and the height adapter and the residual codebooks where the file has them; the rest
    stays. Raises InputError."""
    state: dict[str, Tensor] = {k: v for k, v in checkpoint.state.items() if any(inside(k, part) for part in VAE_PARTS)}
    if not any(k.startswith("vae.") for k in state):
        raise InputError(f"{source}: holds no VAE")
    if not isinstance(model, AerialOccWorld) and any(k.startswith("aerial.") for k in state):
        raise InputError(f"{source}: is of a tall grid; this config's grid has OccWorld's own levels")
    depth, deepest = len(model.quantizer.tables), depth_of(state)
    if deepest > depth:
        raise InputError(f"{source}: holds codes of depth {deepest}; this config says model.code_depth={depth}")
    kept = {k: v for k, v in model.state_dict().items() if not any(inside(k, part) for part in VAE_PARTS)}
    allowed = ["aerial.heights"] if isinstance(model, AerialOccWorld) else []
    allowed += ["aerial.residual.codebooks"] if depth > 1 else []
    report = load_complete(model, {**kept, **state}, source, allowed)
    log.info("%s: %d tensors of the VAE taken over; %s", source, len(state), report)


def depth_of(state: Mapping[str, Tensor]) -> int:
    """How many codebooks stand behind each other in a file."""
    return 1 + sum(inside(k, "aerial.residual.codebooks") for k in state)


def is_adapted(state: dict[str, Tensor]) -> bool:
    """Whether a file's height adapter was trained: it begins at zero."""
    head = state.get("aerial.heights.head.weight")
    return head is not None and bool((head != 0).any())


def start(model: OccWorld, config: RunConfig, from_scratch: bool) -> None:
    """Weights of a new run, by the config's checkpoint.*. Raises InputError with the way out."""
    files = config.checkpoint
    if config.model.free_logit and config.stage != "occworld":
        start_from_free(model.vae, config.model.free_logit)
    if from_scratch or not files.load_from:
        start_motion(model)
    if files.load_from and not from_scratch:
        path = Path(files.load_from)
        if not path.is_file():
            raise InputError(
                f"checkpoint.load_from {path}: no such file. No public OccWorld weights can be relied on (their links "
                "are dead): give a file that you have, or train from scratch with --from-scratch"
            )
        checkpoint = from_original(read(path), str(path))
        if checkpoint.stage_1:  # the original's configs name its stage 1's file so
            start_motion(model)
            load_vae(model, checkpoint, str(path))
        else:
            load_weights(model, checkpoint, str(path), files.allow_missing, "checkpoint.allow_missing")
    elif files.vqvae_from:
        path = Path(files.vqvae_from)
        if not path.is_file():
            raise InputError(f"checkpoint.vqvae_from {path}: no such file. {first_command(config)}")
        load_vae(model, from_original(read(path), str(path)), str(path))
    elif config.stage != "occworld" and config.freeze.vae and config.freeze.decoder_until is None:
        raise InputError(
            f"stage {config.stage} from scratch with freeze.vae: nothing ever trained this VAE; set freeze.vae=false, "
            "or checkpoint.vqvae_from to a file of stage vqvae"
        )
    if config.stage == "occworld":
        check_trained(model, config)


def start_motion(model: OccWorld) -> None:
    """Motion that no file speaks of begins at constant velocity."""
    if isinstance(model, AerialOccWorld):
        model.start_going_on()


def check_trained(model: OccWorld, config: RunConfig) -> None:
    """Raises InputError that names the command when stage occworld would read codes of a VAE that knows nothing of this
    grid."""
    if isinstance(model, AerialOccWorld):
        if not is_adapted(dict(model.state_dict())):
            levels = config.data.grid.shape[2]
            raise InputError(
                f"stage occworld on {levels} levels without an adaptation stage: a codebook made for "
                f"{config.model.slots} levels of {config.model.slot_size} m cannot describe {levels} of "
                f"{config.data.grid.voxel_size[2]} m. "
                f"{first_command(config)}"
            )
        if model.aerial.residual is not None and not model.aerial.residual.trained:
            raise InputError(
                f"stage occworld with model.code_depth={config.model.code_depth}: nothing ever trained the codebooks "
                f"behind the first. {first_command(config, config.model.code_depth)}"
            )
    elif not (config.checkpoint.load_from or config.checkpoint.vqvae_from):
        raise InputError(f"stage occworld needs a trained VAE. {first_command(config)}")


def first_command(config: RunConfig, depth: int = 1) -> str:
    """The command that makes what stage occworld begins with; with codes of another `depth` than 1, from the VAE that
    there is."""
    name = "train_adapt" if config.is_aerial else "train_vqvae"
    folder, more = "out/vqvae", ""
    if depth > 1:
        folder, more = f"out/vqvae_depth{depth}", f" --set model.code_depth={depth}"
        source = config.checkpoint.vqvae_from or config.checkpoint.load_from
        more += f" --set checkpoint.vqvae_from={source}" if source else ""
    deeper = f"model.code_depth={depth} and " if depth > 1 else ""
    return (
        f"First run `python -m aerialworld_training.train --config {name} --work-dir {folder}{more}` with this "
        f"config's data.* and model.*, then set {deeper}checkpoint.vqvae_from={folder}/best.pth"
    )
