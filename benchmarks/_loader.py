"""How many 10-frame samples of the default grid a loader reads per CPU second, in each form."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aerialworld_core.frames import Georeference, Pose
from aerialworld_core.grid import DEFAULT_GRID
from aerialworld_core.labels import DRIVEABLE_SURFACE, FREE, MANMADE
from aerialworld_core.occupancy import Occupancy
from aerialworld_core.rig import Rig
from aerialworld_core.sensing import SensorFrame, VehicleState
from aerialworld_core.session import Session, SessionMeta, SessionWriter
from aerialworld_core.session.pack import FOLDER, write_pack
from aerialworld_training.building import build
from aerialworld_training.dataset.gazebo_occworld_dataset import DatasetConfig, GazeboOccWorldDataset, start_worker
from aerialworld_training.runconfig import load_run_config
from aerialworld_training.running.codes import SessionCodes, WindowCodes, write_codes
from aerialworld_training.running.data import windows
from aerialworld_training.running.forecasting import CodesAndVoxels
from aerialworld_training.running.order import Draw

FRAMES = 24
PERIOD_NS = 500_000_000


def write_session(root: Path) -> Path:
    """A street of blocks seen from above while flying along it at 5 m/s: one occupied shell, all above it observed."""
    meta = SessionMeta(
        "drone_1", "drone", {"name": "made", "version": "1"}, {"name": "blocks", "sha256": ""},
        Georeference(35.6, 139.7, 0.0), DEFAULT_GRID, 0.0, Rig("none", (), ()), PERIOD_NS, 0, "benchmark", {},
        "2024-01-15T12:00:00Z", "",
    )  # fmt: skip
    ground = np.arange(200)
    z = np.arange(DEFAULT_GRID.shape[2])
    with SessionWriter(root, meta, {}, {}, sync=False) as writer:
        for n in range(FRAMES):
            x = 2.5 * n
            at = np.floor((x + (ground - 99.5) * 0.4) / 20).astype(int)[:, None] * 7919 + (ground // 50) * 104729
            height = np.where((at * 2654435761 >> 7) % 3 == 0, 1, 4 + (at * 40503 >> 3) % 24)
            low = np.minimum(height, np.roll(height, 1, 0))
            occupied = (z <= height[..., None]) & (z >= low[..., None])
            semantics = np.where(occupied, np.where(height[..., None] > 1, MANMADE, DRIVEABLE_SURFACE), FREE)
            voxels = Occupancy(
                occupied.astype(np.uint8), semantics.astype(np.uint8), (z >= height[..., None]) | occupied
            )
            state = VehicleState(
                n * PERIOD_NS, Pose.from_rpy(x, 0.0, 40.0), np.array([5.0, 0, 0]), np.zeros(3), np.zeros(3)
            )
            writer.write_frame(n, SensorFrame(state=state, ground_z=0.0), voxels, {})
    return writer.path


def rate(work: Callable[[int], Any], seconds: float = 3.0) -> float:
    """Calls per CPU second of this process."""
    work(0)
    begun, calls = time.process_time(), 0
    while (spent := time.process_time() - begun) < seconds:
        calls += 1
        work(calls)
    return round(calls / spent, 1)


def codes_rate(root: Path) -> float:
    """Windows of codes (50×50 for each frame) and motion per CPU second, from made codes."""
    keys = [f"data.root={root}", "data.val_ratio=0", "data.test_ratio=0", "data.ground_level=null"]
    config, _ = load_run_config("finetune_tokyo", keys)
    model = build(config)
    shape = model.config.latent_shape
    (dataset,) = windows(config, "train")
    maker = SessionCodes(model, config, dataset, root / "codes")
    (name,) = dataset.sessions
    frames = sorted({n for window in dataset.frame_index for n in window.frames})
    codes = np.random.default_rng(0).integers(0, 512, (len(frames), *shape), dtype=np.uint16)
    write_codes(maker.path(name, 0), codes, [(n, 0) for n in frames], dict.fromkeys(frames, 0), maker.key(name, 0))
    samples = CodesAndVoxels([WindowCodes(maker, 1)], False)
    return rate(lambda n: samples[Draw(n % len(samples), 0, 0, n)])


def figures() -> dict[str, Any]:
    """Samples per CPU second, as a worker reads them: `packed` (bits and classes), `dense_uint8`, `npz` (occupancy from
    the session's own files), `float32` (the guides' dictionary),
    `codes` (what stage occworld reads)."""
    off = {"load_images": False, "load_lidar": False, "val_ratio": 0.0, "test_ratio": 0.0}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    start_worker(0)
    try:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            session = Session.open(write_session(root))
            rates = {}
            plain = GazeboOccWorldDataset(root, DatasetConfig(**off))
            count = len(plain)
            rates["npz"] = rate(lambda n: plain[n % count])
            write_pack([session.path], root / FOLDER)
            for name, form in (("packed", "packed"), ("dense_uint8", "uint8"), ("float32", "float32")):
                data = GazeboOccWorldDataset(root, DatasetConfig(form=form, **off))
                rates[name] = rate(lambda n, data=data: data[n % count])
            rates["codes"] = codes_rate(root)
            share = float(session.occupancy(0).occupancy.mean())
    finally:
        torch.set_num_threads(threads)
    return {"samples_per_cpu_s": rates, "frames_per_sample": 10, "occupied_share": round(share, 4)}
