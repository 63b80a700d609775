"""Loading checkpoints completely or not at all, and saying what matched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aerialworld_core.errors import InputError


@dataclass(frozen=True)
class LoadReport:
    """What a state dict had in common with a model; `mismatched` names keys whose shapes differ."""

    matched: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]

    @property
    def complete(self) -> bool:
        return not (self.missing or self.unexpected or self.mismatched)

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


def compare_state_dict(model: nn.Module, state: Mapping[str, Tensor]) -> LoadReport:
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
    )


def load_complete(model: nn.Module, state: Mapping[str, Tensor], source: str) -> LoadReport:
    """Load `state` into `model` if every key and shape matches; else InputError with the counts, and nothing is
    loaded."""
    report = compare_state_dict(model, state)
    if not report.complete:
        raise InputError(f"{source}: does not fit the model: {report}. Use the config that it was trained with.")
    model.load_state_dict(dict(state), strict=True)
    return report


def read_torch(path: Path) -> dict[str, Any]:
    """A dictionary saved by torch, tensors and plain values only (code in it is refused). Raises InputError."""
    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such checkpoint") from error
    except Exception as error:  # the unpickler's and the zip reader's errors have no common base
        # The library's own text advises to load such a file unsafely; that advice is not passed on.
        raise InputError(
            f"{path}: not a readable checkpoint: damaged, or it holds more than tensors and plain values "
            f"({type(error).__name__})"
        ) from error
    if not isinstance(data, dict):
        raise InputError(f"{path}: holds {type(data).__name__}, not a dictionary")
    return data


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The state dict of a checkpoint file: bare, or under `state_dict`; a `module.` prefix is taken off."""
    data = read_torch(path)
    state = data.get("state_dict", data)
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"{path}: holds no state dict")
    if state and all(k.startswith("module.") for k in state):
        state = {k.removeprefix("module."): v for k, v in state.items()}
    return dict(state)
