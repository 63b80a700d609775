"""How fast training is: loader samples per CPU second in each form, step times of both stages, latency of a forecast;
and what a step of the 72 M configuration keeps in memory.

    python benchmarks/training.py [--sessions DIR] [--json FILE]

Without sessions a made frame of the demo's grid (100×100×60, 2 % occupied) is used: times depend on sizes, hardly on
content. CPU seconds of this process (all its threads) and wall seconds, medians of several runs.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _loader
import _memory
import numpy as np
import torch
from _figures import add_json_option, tell

from aerialworld_core.grid import DEFAULT_GRID
from aerialworld_core.processors import processors
from aerialworld_training.config import load_config
from aerialworld_training.dataset import PooledSession, SessionWindows
from aerialworld_training.dataset.frames import load_sessions
from aerialworld_training.models.occworld import OccWorld
from aerialworld_training.runtime import deterministic
from aerialworld_training.stages import TransformerStage, VaeStage


def made_session(frames: int = 12) -> PooledSession:
    """Random surfaces: one occupied voxel or a short wall in every column, all above it observed."""
    grid = DEFAULT_GRID.pooled((2, 2, 2))
    rng = np.random.default_rng(0)
    top = rng.integers(1, 6, grid.shape[:2]) + 8 * (rng.random(grid.shape[:2]) < 0.1)
    z = np.arange(grid.shape[2])
    occupied = (z <= top[..., None]) & (z >= top[..., None] - (top[..., None] > 6) * 4)
    observed = np.packbits((z >= top[..., None]).reshape(-1) | occupied.reshape(-1))
    cells = np.flatnonzero(occupied)
    return PooledSession(
        name="made", agent_type="drone", grid=grid, datum=0.0, frame_period_ns=500_000_000,
        numbers=np.arange(frames), stamps=np.arange(frames) * 500_000_000,
        position=np.stack([np.arange(frames) * 2.0, np.zeros(frames), np.full(frames, 40.0)], 1),
        orientation=np.tile([0.0, 0, 0, 1], (frames, 1)), offsets=np.arange(frames + 1) * len(cells),
        cells=np.tile(cells.astype(np.uint32), frames),
        classes=np.full(len(cells) * frames, 15, np.uint8), observed=np.tile(observed, (frames, 1)),
    )  # fmt: skip


def measure(work: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Median wall and CPU seconds of `repeats` calls after one that is not counted."""
    work()
    wall, cpu = [], []
    for _ in range(repeats):
        w, c = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - w)
        cpu.append(time.process_time() - c)
    return {"wall_s": statistics.median(wall), "cpu_s": statistics.median(cpu)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sessions", type=Path, help="measure on these sessions instead of a made one")
    parser.add_argument("--config", default="demo")
    parser.add_argument("--repeats", type=int, default=5)
    add_json_option(parser)
    options = parser.parse_args()
    config = load_config(options.config)
    if options.sessions:
        names = sorted(p.name for p in options.sessions.iterdir() if p.is_dir())
        sessions = list(load_sessions(options.sessions, names, config.data.pooling).values())
    else:
        sessions = [made_session()]
    figures: dict[str, Any] = {}
    with deterministic(config.threads):
        torch.manual_seed(0)
        windows = SessionWindows(sessions, history=config.data.history, future=config.data.future)
        model = OccWorld(config.model.for_grid(sessions[0].grid))
        sample = measure(lambda: windows[0], options.repeats)
        figures["loader_window"] = sample
        figures["loader_windows_per_cpu_s"] = 1 / sample["cpu_s"]

        vae = VaeStage(model, config.vae, sessions, sessions, 0)
        figures["vae_step"] = measure(lambda: vae.step(config.vae.steps - 1).loss.backward(), options.repeats)
        model.zero_grad(set_to_none=True)
        stage = TransformerStage(model, config.transformer, windows, windows, 0)
        figures["transformer_step"] = measure(lambda: stage.step(0).loss.backward(), options.repeats)

        volume = torch.from_numpy(sessions[0].semantics(0))[None]
        history, future = config.data.history, config.data.future
        with torch.no_grad():
            vq = model.vae.vqvae
            figures["encode_frame"] = measure(lambda: model.vae.encode(volume), options.repeats)
            codes = vq.lookup(vq.encode_indices(model.vae.encode(volume)))
            figures["decode_frame"] = measure(lambda: model.vae.decode_classes(codes), options.repeats)
            rel_poses, modes = (x[None] for x in windows.motion(windows.windows[0]))
            context = codes[None].expand(-1, history, -1, -1, -1)
            figures["rollout"] = measure(
                lambda: model.rollout(context, rel_poses[:, :history], modes[:, :history], modes[:, -future:]),
                options.repeats,
            )
    loader = _loader.figures()
    result = {
        "command": f"python benchmarks/training.py --config {options.config} --repeats {options.repeats}",
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": processors(),
            "threads": config.threads,
            "load_before": os.getloadavg()[0],
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        "grid": sessions[0].grid.to_dict(),
        "parameters": sum(p.numel() for p in model.parameters()),
        "figures": figures,
        "loader": loader,
        "memory": _memory.figures(),
    }
    tell(result, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
