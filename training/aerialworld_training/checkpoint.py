"""Writing checkpoints: the old file or the new one is there, never a part of one."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from aerialworld_core.files import write_bytes


def save_torch(path: Path, data: dict[str, Any]) -> None:
    """Write tensors and plain values so that either the old file or the new one is there."""
    buffer = io.BytesIO()
    torch.save(data, buffer)
    write_bytes(path, buffer.getbuffer())
