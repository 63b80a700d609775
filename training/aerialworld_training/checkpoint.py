"""Checkpoints: numbered files written atomically, a pointer to the newest, two kept, damaged ones passed over."""

from __future__ import annotations

import io
import logging
import re
from pathlib import Path
from typing import Any

import torch

from aerialworld_core.errors import InputError
from aerialworld_core.files import write_bytes
from aerialworld_training.models.occworld.state_dict_adapter import read_torch

NAME = re.compile(r"^checkpoint_(\d{8})\.pth$")
KEEP = 2


def save_torch(path: Path, data: dict[str, Any]) -> None:
    """Write tensors and plain values so that either the old file or the new one is there."""
    buffer = io.BytesIO()
    torch.save(data, buffer)
    write_bytes(path, buffer.getbuffer())


class Checkpoints:
    """The checkpoints of one run, in one folder, ordered by the run's step."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def steps(self) -> list[int]:
        """Steps that have a file, ascending by number."""
        if not self.folder.is_dir():
            return []
        return sorted(int(m[1]) for f in self.folder.iterdir() if (m := NAME.match(f.name)))

    def path(self, step: int) -> Path:
        return self.folder / f"checkpoint_{step:08d}.pth"

    def save(self, step: int, data: dict[str, Any]) -> Path:
        """Write a checkpoint, point `latest` to it and delete all but the newest two."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.path(step)
        save_torch(path, data)
        write_bytes(self.folder / "latest", f"{path.name}\n".encode())
        for old in self.steps()[:-KEEP]:
            self.path(old).unlink(missing_ok=True)
        return path

    def load_newest(self) -> tuple[int, dict[str, Any]] | None:
        """The newest readable checkpoint and its step, None if there is none; a damaged one is skipped with a warning.

        Raises InputError when checkpoints exist and none can be read.
        """
        steps = self.steps()
        for step in reversed(steps):
            try:
                return step, read_torch(self.path(step))
            except InputError as error:
                logging.getLogger("aerialworld_training").warning("skipped %s", error)
        if steps:
            raise InputError(f"{self.folder}: no checkpoint can be read; delete the folder to start again")
        return None
