"""Weights as safetensors, where that library is installed: a format that cannot hold code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from aerialworld_core.errors import InputError
from aerialworld_core.files import write_bytes


def _library(path: Path) -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        raise InputError(f"{path}: needs the library: pip install 'aerialworld_training[safetensors]'") from error
    return safetensors.torch


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Name → tensor. Raises InputError for a missing library, a missing file and a damaged one."""
    library = _library(path)
    try:
        return dict(library.load(path.read_bytes()))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except Exception as error:  # the library's own error type is not part of its interface
        raise InputError(f"{path}: not a safetensors file: {error}") from error


def write_safetensors(path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and text notes, so that the old file stays until the new one is whole."""
    library = _library(path)
    write_bytes(path, library.save({k: v.detach().cpu().contiguous() for k, v in state.items()}, dict(metadata)))
