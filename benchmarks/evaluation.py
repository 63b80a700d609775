"""What an evaluation costs: CPU seconds a window, of the model and of all else (baselines, counting, objects), beside a
floor: one pass over a window's future frames that unpacks what was observed and counts one table.

    python benchmarks/evaluation.py [--sessions DIR] [--model FILE] [--windows N] [--json FILE]

Without sessions a made street of the default grid (200×200×121) with ten moving cars is evaluated; without a model an
untrained small AerialOccWorld. What the model costs depends on its size, all else on the grid alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _loader
import numpy as np
import torch
from _figures import add_json_option, tell

from aerialworld_core.labels import CAR, FREE
from aerialworld_core.processors import processors
from aerialworld_training.baselines import constant_prediction
from aerialworld_training.building import build
from aerialworld_training.checkpoint import save_torch
from aerialworld_training.codebook import start_from_free
from aerialworld_training.dataset import PooledSession, SessionWindows
from aerialworld_training.dataset.actors import Actors, box_cells
from aerialworld_training.dataset.frames import load_sessions
from aerialworld_training.evaluate import Evaluation, pooling_of
from aerialworld_training.runconfig import load_run_config
from aerialworld_training.runtime import deterministic
from aerialworld_training.trained import load_trained

SMALL = [
    "model.ch=16", "model.ch_mult=[1, 2, 2]", "model.num_res_blocks=1", "model.attn_resolutions=[]",
    "model.z_channels=32", "model.n_e=64", "model.e_dim=32", "model.channels=[32, 32, 64]",
    "model.temporal_attn_layers=1", "model.pose_attn_layers=1", "model.num_heads=4", "model.motion_width=16",
    "model.correction_width=16",
]  # fmt: skip


class Timed:
    """A predictor whose CPU seconds are added up."""

    def __init__(self, predictor: Any) -> None:
        self.takes_motion, self.seconds = predictor.takes_motion, 0.0
        self.codes, self.reconstruct, self.forecast = map(
            self._timed, (predictor.codes, predictor.reconstruct, predictor.forecast)
        )

    def _timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            begun = time.process_time()
            try:
                return call(*arguments, **named)
            finally:
                self.seconds += time.process_time() - begun

        return timed


def write_model(path: Path) -> Path:
    """An untrained small model of the default grid that begins at *free*, as training lets it."""
    config, _ = load_run_config("finetune_tokyo", SMALL)
    torch.manual_seed(0)
    model = build(config)
    with torch.no_grad():
        start_from_free(model.vae, 5.0)
    save_torch(path, {"state_dict": model.state_dict(), "run_config": config.to_yaml()})
    return path


def with_traffic(session: PooledSession, cars: int = 10) -> PooledSession:
    """The session with cars that drive along its street, boxes and voxels."""
    offsets, cells, classes, observed, actors = [0], [], [], [], []
    for n in range(len(session)):
        seconds = session.stamps[n] * 1e-9
        x0, y0 = session.position[n][:2]
        rows = [
            [
                CAR,
                x0 - 36 + (8 * k + (3 + k) * seconds) % 72,
                y0 - 8 + 2.5 * (k % 6),
                1.75,
                0,
                4.4,
                1.8,
                1.5,
                3 + k,
                0,
                0,
            ]
            for k in range(cars)
        ]
        actors.append(Actors.from_rows(rows, [f"car_{k}" for k in range(cars)]))
        met = np.concatenate(box_cells(session.grid, session.pose(n), session.datum, actors[-1]))
        volume, seen = session.semantics(n).reshape(-1), session.observed_mask(n).reshape(-1).copy()
        volume[met], seen[met] = CAR, True
        found = np.flatnonzero(volume != FREE)
        cells.append(found.astype(np.uint32))
        classes.append(volume[found])
        observed.append(np.packbits(seen))
        offsets.append(offsets[-1] + len(found))
    return dataclasses.replace(
        session, offsets=np.array(offsets), cells=np.concatenate(cells), classes=np.concatenate(classes),
        observed=np.stack(observed), actors=tuple(actors),
    )  # fmt: skip


def floor(session: PooledSession, frames: tuple[int, ...]) -> float:
    """CPU seconds of unpacking what the frames observed and counting one 18 × 18 table of each."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 324, session.grid.size).astype(np.uint16)
    begun = time.process_time()
    for n in frames:
        np.bincount(codes[session.observed_mask(n).reshape(-1)], minlength=324)
    return time.process_time() - begun


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sessions", type=Path, help="evaluate on these instead of a made one")
    parser.add_argument("--model", type=Path, help="checkpoint or training folder instead of an untrained small one")
    parser.add_argument("--windows", type=int, default=3, help="evenly spread (default 3)")
    parser.add_argument("--threads", type=int, default=1)
    add_json_option(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, deterministic(options.threads), torch.no_grad():
        trained = load_trained(options.model or write_model(Path(folder) / "small.pth"))
        if options.sessions:
            names = sorted(p.name for p in options.sessions.iterdir() if (p / "session.json").is_file())
            factors = pooling_of(options.sessions / names[0], trained)
            sessions = list(load_sessions(options.sessions, names, factors).values())
        else:
            made = _loader.write_session(Path(folder))
            sessions = [with_traffic(s) for s in load_sessions(Path(folder), [made.name], (1, 1, 1)).values()]
        windows = SessionWindows(
            sessions, history=trained.history, future=trained.future, frame_skip=trained.frame_skip,
            step_ns=round(trained.step * 1e9), ground_level=trained.ground_level,
        )  # fmt: skip
        begun = time.process_time()
        constant = constant_prediction(sessions, trained.ground_level)
        constant_s = time.process_time() - begun
        run = Evaluation(trained, windows, constant, options.windows, 0)
        run.predictor = timed = Timed(run.predictor)
        whole, rest, floors = [], [], []
        for index in run.chosen:
            window = windows.windows[index]
            floors.append(floor(windows.sessions[window.session], window.frames[trained.history :]))
            begun, model = time.process_time(), timed.seconds
            run.add(index)
            whole.append(time.process_time() - begun)
            rest.append(whole[-1] - (timed.seconds - model))
        begun = time.process_time()
        result = run.result()
        result_s = time.process_time() - begun
    mean, lowest = float(np.mean(rest)), float(np.mean(floors))
    tell(
        {
            "command": f"python benchmarks/evaluation.py --windows {options.windows} --threads {options.threads}",
            "machine": {"cores": processors(), "threads": options.threads, "torch": torch.__version__},
            "grid": trained.grid.to_dict(),
            "rows": len(run.rows),
            "windows": len(run.chosen),
            "moving_objects_scored": result["rows"]["ego_warp_fused"]["vpq"][-1]["vpq"] is not None,
            "cpu_s_per_window": {
                "all": round(float(np.mean(whole)), 3),
                "model": round(float(np.mean(whole)) - mean, 3),
                "rest": round(mean, 3),
                "floor": round(lowest, 3),
            },
            "rest_over_floor": round(mean / lowest, 1),
            "once_cpu_s": {"constant": round(constant_s, 3), "result": round(result_s, 3)},
        },
        options.json,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
