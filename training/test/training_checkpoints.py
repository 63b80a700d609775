"""Tiny checkpoints as training writes them, and a folder of made sessions."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from aerialworld_core.grid import VoxelGrid
from aerialworld_training.building import build
from aerialworld_training.checkpoint import save_torch
from aerialworld_training.runconfig import RunConfig, load_run_config

SYNTHETIC = Path(__file__).parents[2] / "src" / "aerialworld_core" / "test" / "session" / "synthetic.py"
TINY = [
    "model.ch=8", "model.ch_mult=[1, 2]", "model.num_res_blocks=1", "model.z_channels=16", "model.n_e=16",
    "model.e_dim=16", "model.expansion=4", "model.num_frames=9", "model.channels=[16, 16, 32]",
    "model.temporal_attn_layers=1", "model.pose_attn_layers=1", "model.num_heads=2", "model.motion_width=8",
    "model.correction_width=8", "dataset_config.history_frames=3", "dataset_config.future_frames=3",
]  # fmt: skip


def synthetic() -> ModuleType:
    """The analytic city of the session tests: `write(root, frames(n))` makes a session of n frames."""
    name = "training_checkpoints_synthetic"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, SYNTHETIC)
        assert spec and spec.loader
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def write_split(sessions: Path, split: Path, frames: int) -> None:
    """Three made sessions of as many frames, one for each part of the split."""
    city = synthetic()
    recorded = city.frames(frames)
    names = [city.write(sessions, recorded, start_time=f"2024-01-15T12:{k}0:00Z").name for k in range(3)]
    split.write_text(json.dumps({part: [name] for part, name in zip(("train", "val", "test"), names, strict=True)}))


def run_config(grid: VoxelGrid, *overrides: str) -> RunConfig:
    """A tiny run on `grid`: aerial unless its levels are the slots."""
    span = f"point_cloud_range={list(grid.range)}"
    return load_run_config("test_local", [span, f"voxel_size={list(grid.voxel_size)}", *TINY, *overrides])[0]


def write_run(path: Path, config: RunConfig, seed: int = 0, change: Any = None) -> torch.nn.Module:
    """An untrained checkpoint `{state_dict, run_config}`; `change` may alter the model before."""
    torch.manual_seed(seed)
    model = build(config)
    if change:
        change(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_torch(path, {"state_dict": model.state_dict(), "run_config": config.to_yaml()})
    return model.eval()
