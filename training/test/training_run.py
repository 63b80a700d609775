"""Runs small enough for tests: made sessions on a 16×16×12 grid, a model of some thousand parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from aerialworld_core.grid import VoxelGrid
from aerialworld_training.made_sessions import write_sessions
from aerialworld_training.runconfig import RunConfig, load_run_config
from aerialworld_training.running import loop, train

GRID = VoxelGrid((-16.0, -16.0, -2.0), (2.0, 2.0, 3.0), (16, 16, 12))

SETTINGS: dict[str, Any] = {
    "stage": "adapt",
    "epochs": 3,
    "data": {
        "point_cloud_range": list(GRID.range), "voxel_size": list(GRID.voxel_size), "history_frames": 2,
        "future_frames": 2, "val_ratio": 0.3, "test_ratio": 0.0, "batch_size": 2, "workers": 0,
    },
    "model": {
        "slots": 4, "expansion": 4, "ch": 8, "ch_mult": [1, 2], "num_res_blocks": 1, "z_channels": 16, "n_e": 16,
        "e_dim": 16, "channels": [16, 16, 32], "temporal_attn_layers": 1, "pose_attn_layers": 1, "num_heads": 2,
        "num_frames": 9, "motion_width": 8, "correction_width": 8,
    },
    "codebook": {"start": 3, "restart_every": 2},
    "freeze": {"vae": False},
    "loss": {"free_samples": 500},
    "schedule": {"warmup_iters": 2},
    "augment": {"flip_probability": 0.5, "rotate_deg": 20.0},
    "checkpoint": {"interval": 1, "keep": 2},
    "evaluation": {"interval": 1, "samples": 2},
    "log": {"interval": 1, "tensorboard": False},
    "runtime": {"threads": 1, "seed": 7},
}  # fmt: skip


def made(root: Path, frames: int = 5) -> Path:
    """Three sessions under `root`."""
    write_sessions(root, 3, frames, grid=GRID)
    return root


def config(folder: Path, sessions: Path, **changes: Any) -> RunConfig:
    """`SETTINGS` with changes by table: `stage="occworld"`, `loss={"voxels": 1.0}`."""
    values = {k: dict(v) if isinstance(v, dict) else v for k, v in SETTINGS.items()}
    values["data"]["root"] = str(sessions)
    for key, value in changes.items():
        values[key] = {**values.get(key, {}), **value} if isinstance(value, dict) else value
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "given.yaml"
    file.write_text(yaml.safe_dump(values))
    return load_run_config(file)[0]


def world(folder: Path, sessions: Path, vae: Path, **changes: Any) -> RunConfig:
    """Stage occworld on the codes of a run of stage adapt."""
    changes["checkpoint"] = {"vqvae_from": str(vae / "latest.pth"), **changes.get("checkpoint", {})}
    return config(folder, sessions, stage="occworld", **changes)


def adapted(folder: Path, sessions: Path) -> Path:
    """A work folder of a finished stage adapt."""
    train(config(folder / "given", sessions, epochs=1), folder)
    return folder


class PowerCut(BaseException):
    """Ends a run as a power cut would: nothing of the program catches it."""


def cut_at(monkeypatch: pytest.MonkeyPatch, iteration: int) -> None:
    """Before the iteration of this number."""
    iterate = loop.Loop.iterate

    def cut(self: loop.Loop, *arguments: Any) -> None:
        if self.iteration == iteration:
            raise PowerCut
        iterate(self, *arguments)

    monkeypatch.setattr(loop.Loop, "iterate", cut)


def state_of(file: Path) -> dict[str, torch.Tensor]:
    return dict(torch.load(file, weights_only=True)["state_dict"])


def same(one: Any, other: Any) -> bool:
    """Equal bit for bit, through dictionaries and lists."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)
