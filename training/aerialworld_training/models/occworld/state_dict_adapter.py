"""Checkpoints between files and models, in both directions: ours, and those of the original OccWorld.

The original writes `{"state_dict": …, "optimizer": …, "scheduler": …, "epoch": …, "global_iter": …}`. A stage-1 file
holds the VAE's keys without `vae.`; distributed runs put `module.` before every key. The model knows nothing of this.
Files are read with `weights_only=True`: tensors and plain values, never code.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aerialworld_core.errors import InputError

#: First parts of the keys of a stage-1 file.
STAGE_1 = ("encoder", "decoder", "class_embeds", "vqvae")
#: What wrappers put before every key: distributed training, compilation.
WRAPPERS = ("module.", "_orig_mod.")
#: Keys that only tall grids have.
AERIAL = "aerial."


@dataclass(frozen=True)
class LoadReport:
    """What a state dict had in common with a model; `mismatched` names keys whose shapes differ. `allowed` are the
    parts that the user let go without a match."""

    matched: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    allowed: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        return not (self.missing or self.unexpected or self.mismatched)

    @property
    def acceptable(self) -> bool:
        """Whether all that does not match lies in an allowed part."""
        keys = (*self.missing, *self.unexpected, *(m.split(" ")[0] for m in self.mismatched))
        return all(any(inside(key, part) for part in self.allowed) for key in keys)

    def __str__(self) -> str:
        text = (
            f"{self.matched} matched, {len(self.missing)} missing, {len(self.unexpected)} unexpected, "
            f"{len(self.mismatched)} of another shape"
        )
        for name in ("missing", "unexpected", "mismatched"):
            keys = getattr(self, name)
            if keys:
                text += f"; {name}: {', '.join(keys[:4])}{' …' if len(keys) > 4 else ''}"
        return text


def inside(key: str, part: str) -> bool:
    """Whether a key belongs to a part, e.g. `transformer.mid.0.ln.bias` to `transformer` and to `transformer.mid`."""
    return key == part or key.startswith(part + ".")


def compare_state_dict(model: nn.Module, state: Mapping[str, Tensor], allowed: Sequence[str] = ()) -> LoadReport:
    """Compare keys and shapes without loading anything."""
    own = model.state_dict()
    both = [k for k in own if k in state]
    mismatched = tuple(
        f"{k} {tuple(state[k].shape)} ≠ {tuple(own[k].shape)}" for k in both if state[k].shape != own[k].shape
    )
    return LoadReport(
        matched=len(both) - len(mismatched),
        missing=tuple(k for k in own if k not in state),
        unexpected=tuple(k for k in state if k not in own),
        mismatched=mismatched,
        allowed=tuple(allowed),
    )


def load_complete(
    model: nn.Module,
    state: Mapping[str, Tensor],
    source: str,
    allow_missing: Sequence[str] = (),
    named_by: str | None = None,
) -> LoadReport:
    """Load `state` into `model` if every key and shape matches, and say how many did.

    `allow_missing` names parts (`aerial`, `transformer`, `vae.decoder.conv_out`, …): what does not match inside them
    keeps the model's values; `named_by` is the flag or key by which a user names them, None where there is none. Raises
    InputError with the counts otherwise (and that way out), and for a part that neither the model nor the file has;
    then nothing is loaded.
    """
    own = model.state_dict()
    for part in allow_missing:
        if not any(inside(key, part) for key in (*own, *state)):
            known = sorted({k.split(".")[0] for k in (*own, *state)})
            raise InputError(
                f"{named_by or 'allow_missing'} {part}: neither the model nor {source} has such a part; {known} are "
                "there"
            )
    report = compare_state_dict(model, state, allow_missing)
    if not report.acceptable:
        parts = sorted({k.split(".")[0] for k in (*report.missing, *report.unexpected, *report.mismatched)})
        hint = f", or name the parts that may differ ({named_by} {' '.join(parts)})" if named_by else ""
        raise InputError(f"{source}: does not fit the model: {report}. Use the config that it was trained with{hint}")
    fitting = {k: v for k, v in state.items() if k in own and v.shape == own[k].shape}
    model.load_state_dict(fitting, strict=report.complete)
    return report


def read_torch(path: Path) -> dict[str, Any]:
    """A dictionary saved by torch, tensors and plain values only (code in it is refused). Raises InputError."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # by whom a file was written is no news
            data = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such checkpoint") from error
    except IsADirectoryError as error:
        raise InputError(f"{path}: is a folder; name a checkpoint in it, such as {path / 'best.pth'}") from error
    except PermissionError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except Exception as error:  # the unpickler's and the zip reader's errors have no common base
        # The library's own text advises to load such a file unsafely; that advice is not passed on.
        raise InputError(
            f"{path}: not a readable checkpoint: damaged, or it holds more than tensors and plain values "
            f"({type(error).__name__})"
        ) from error
    if not isinstance(data, dict):
        raise InputError(f"{path}: holds {type(data).__name__}, not a dictionary")
    return data


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A file's state dict under the model's keys, whether it came from stage 1 (the VAE alone), and what else the file
    held (optimizer, epoch, …)."""

    state: dict[str, Tensor]
    stage_1: bool
    rest: dict[str, Any] = field(default_factory=dict)


def from_original(data: Mapping[str, Any], source: str) -> Checkpoint:
    """What a checkpoint's dictionary holds, bare or under `state_dict`, with the model's keys. Raises InputError."""
    nested = isinstance(data.get("state_dict"), Mapping)
    state = dict(data["state_dict"] if nested else data)
    if not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"{source}: holds no state dict (a dictionary of tensors, bare or under 'state_dict')")
    wrapped = True
    while wrapped:
        wrapped = False
        for prefix in WRAPPERS:
            if all(k.startswith(prefix) for k in state):
                state = {k.removeprefix(prefix): v for k, v in state.items()}
                wrapped = True
    stage_1 = all(k.split(".")[0] in STAGE_1 for k in state)
    if stage_1:
        state = {f"vae.{k}": v for k, v in state.items()}
    return Checkpoint(state, stage_1, {k: v for k, v in data.items() if k != "state_dict"} if nested else {})


def to_original(state: Mapping[str, Tensor], *, stage_1: bool = False, **rest: Any) -> dict[str, Any]:
    """The dictionary that the original's code loads: `state_dict` with its 768 keys, or the VAE's without `vae.` for
    stage 1, and `rest` (epoch, global_iter, optimizer, …) beside it. What only tall grids have is left out."""
    if stage_1:
        kept = {k.removeprefix("vae."): v for k, v in state.items() if k.startswith("vae.")}
    else:
        kept = {k: v for k, v in state.items() if not k.startswith(AERIAL)}
    return {"state_dict": OrderedDict((k, v.detach().cpu()) for k, v in kept.items()), **rest}


def read_checkpoint(path: Path) -> Checkpoint:
    """A checkpoint file, `.pth` or `.safetensors`. Raises InputError."""
    if path.suffix == ".safetensors":
        from aerialworld_training.models.occworld.safetensors_file import read_safetensors

        return from_original(read_safetensors(path), str(path))
    return from_original(read_torch(path), str(path))


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The state dict of a checkpoint file under the model's keys. Raises InputError."""
    return read_checkpoint(path).state
