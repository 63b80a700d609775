"""Evaluation: forecasts of a model and of the baselines on sessions it has not seen, scored on observed voxels.

python -m aerialworld_training.evaluate --sessions DIR --split split.json --work-dir DIR|FILE.pth --out DIR
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aerialworld_core.errors import AerialWorldError, InputError
from aerialworld_core.files import make_folder, write_bytes, write_json
from aerialworld_core.labels import FREE
from aerialworld_core.provenance import provenance
from aerialworld_core.session import Session
from aerialworld_training.baselines import constant_prediction
from aerialworld_training.cards import write_cards
from aerialworld_training.dataset import PooledSession, SessionWindows, Window, read_split
from aerialworld_training.dataset.frames import load_sessions
from aerialworld_training.dataset.pooling import factors_between, shift_levels
from aerialworld_training.dataset.windows import evenly
from aerialworld_training.evaluation_rows import (
    CEILING,
    FILL_REACH,
    MODEL,
    MODEL_CONSTANT_VELOCITY,
    MODEL_TRUE_MOTION,
    compared,
    knows,
    rows_of,
)
from aerialworld_training.evaluation_tables import SECONDS, print_evaluation
from aerialworld_training.evaluation_text import protocol
from aerialworld_training.full_truth import FullTruth
from aerialworld_training.goals import judge
from aerialworld_training.logbook import Progress
from aerialworld_training.made_from import made_from
from aerialworld_training.metrics import StratifiedCounts, scores
from aerialworld_training.motion_ahead import Path as Way
from aerialworld_training.motion_ahead import constant_velocity, follow_steps
from aerialworld_training.motion_scores import MotionScores
from aerialworld_training.occupied import Occupied
from aerialworld_training.panoptic import PanopticQuality, forecast_objects, true_objects
from aerialworld_training.planning_scores import PlanningScores
from aerialworld_training.predictors import History, Predicted, predictor
from aerialworld_training.runtime import deterministic
from aerialworld_training.saved_windows import saved_window
from aerialworld_training.strata import CELLS, OCCLUDED, STRATA, Asked, Stratum, height_bands
from aerialworld_training.trained import Trained, load_trained
from aerialworld_training.window_baselines import WindowBaselines

SCHEMA_VERSION = 3
ProgressCallback = Callable[[str, float], None]
Volume = NDArray[np.uint8]
#: Reconstructed frames that are kept; neighbouring windows share them.
KEPT = 24


def evaluate(
    sessions: Path,
    split: Path,
    work_dir: Path,
    out: Path,
    split_name: str = "test",
    progress: ProgressCallback | None = None,
    *,
    world: Path | None = None,
    max_windows: int | None = None,
    saved_windows: int | None = None,
    threads: int | None = None,
    device: str | None = None,
) -> dict[str, Any]:
    """Score a model and the baselines on one part of the split.

    work_dir   what `trained.load_trained` reads: a checkpoint or a training folder
    world      the sessions' world: scores against full truth are made too (`full_truth`)
    max_windows, saved_windows, threads   16, 2 and 1 where None
    device     the model's (cpu, cuda, cuda:1); None: a GPU where there is one

    Writes `out/evaluation.json` (the returned dictionary), `out/prediction_{k}.npz` for pictures, a model card and a
    data card, and provenance.json. On the CPU equal model and data give equal bytes, but for the last, which tells
    host, time and paths. Raises InputError for bad input, also when the sessions' grid does not give the model's.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    trained = load_trained(Path(work_dir), device)
    threads = 1 if threads is None else threads
    most = 16 if max_windows is None else max_windows
    saved = 2 if saved_windows is None else saved_windows
    if most < 1 or saved < 0 or threads < 1:
        raise InputError("max_windows and threads are at least 1, saved_windows at least 0")
    parts = read_split(Path(split))
    tell = progress or (lambda what, fraction: None)
    tell("reading sessions", 0.0)
    names = parts.part(split_name)
    loaded = load_sessions(
        Path(sessions),
        tuple(dict.fromkeys((*parts.train, *names))),
        pooling_of(Path(sessions) / names[0], trained),
        cache=(Path(work_dir) if Path(work_dir).is_dir() else Path(work_dir).parent) / "cache",
        threads=threads,
    )
    if loaded[names[0]].grid != trained.grid:
        raise InputError(
            f"{names[0]}: the pooled grid is {loaded[names[0]].grid.to_dict()}, the model's {trained.grid.to_dict()}; "
            "train on sessions of this grid"
        )
    windows = SessionWindows(
        [loaded[n] for n in names],
        history=trained.history,
        future=trained.future,
        frame_skip=trained.frame_skip,
        step_ns=round(trained.step * 1e9),
        ground_level=trained.ground_level,
        split=split_name,
    )
    full = FullTruth(world, [loaded[n] for n in names]) if world else None
    out = Path(out)
    make_folder(out)
    # Some of a forecast's operations have no deterministic form on a GPU.
    steady = deterministic(threads) if trained.device.type == "cpu" else nullcontext()
    with steady, torch.no_grad():
        constant = constant_prediction([loaded[n] for n in parts.train], trained.ground_level)
        run = Evaluation(trained, windows, constant, most, saved, full)
        result = run.go(tell)
    result = {"schema_version": SCHEMA_VERSION, "split": split_name, "sessions": list(names), **result}
    settings = {
        "split_name": split_name, "max_windows": most, "saved_windows": saved, "threads": threads, "full": bool(world),
        "device": device,
    }  # fmt: skip
    result["made_from"] = made_from(trained, parts, loaded, settings)
    for stale in out.glob("prediction_*.npz"):
        stale.unlink()
    for k, arrays in enumerate(run.saved):
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        write_bytes(out / f"prediction_{k}.npz", buffer.getbuffer())
    write_json(out / "evaluation.json", result)
    write_cards(out, trained, loaded, result)
    places = {"sessions": sessions, "work_dir": work_dir, "world": world}
    write_json(
        out / "provenance.json",
        {**provenance(), **{name: str(Path(place).resolve()) for name, place in places.items() if place}},
    )
    tell("evaluated", 1.0)
    return result


def pooling_of(folder: Path, trained: Trained) -> tuple[int, int, int]:
    """How a session's voxels make the model's. Raises InputError where they do not."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such session; the split file names it")
    own = Session.open(folder).meta.grid
    factors = factors_between(own, trained.grid)
    if factors is None:
        raise InputError(
            f"{folder}: its grid {own.to_dict()} is not the model's {trained.grid.to_dict()} nor a whole number of "
            "times finer; make it anew with `aerialworld session occupancy`"
        )
    return factors


class Evaluation:
    """Forecasts and counts over the chosen windows."""

    def __init__(
        self,
        trained: Trained,
        windows: SessionWindows,
        constant: Volume,
        max_windows: int,
        saved_windows: int,
        full: FullTruth | None = None,
    ) -> None:
        self.trained, self.windows, self.constant, self.full = trained, windows, constant, full
        self.predictor = predictor(trained)
        self.rows = rows_of(trained)
        self.chosen = evenly(len(windows), max_windows)
        self.grid = trained.grid
        self.counts = {row: StratifiedCounts(trained.future, CELLS) for row in self.rows}
        # Against full truth, what nobody saw at t+k has cells of its own.
        self.full_counts = {row: StratifiedCounts(trained.future, 2 * CELLS) for row in self.rows if full}
        self.motion, self.planning = MotionScores(trained.future), PlanningScores(trained.future)
        self.panoptic = {row: PanopticQuality(trained.future) for row in self.rows}
        self.fill_steps = max(1, round(FILL_REACH / max(self.grid.voxel_size[:2])))
        self.codes: dict[tuple[str, int, int], torch.Tensor] = {}
        self.reconstructions: dict[tuple[str, int, int], Volume] = {}
        self.saved: list[dict[str, Any]] = []
        saved = evenly(len(self.chosen), saved_windows + 2)
        # Windows from within the run make better pictures than its first and last.
        self.to_save = {self.chosen[i] for i in (saved[1:-1] or saved)[:saved_windows]}

    def go(self, tell: ProgressCallback) -> dict[str, Any]:
        for done, index in enumerate(self.chosen):
            tell(f"window {done + 1}/{len(self.chosen)}", done / len(self.chosen))
            self.add(index)
        return self.result()

    def encode(self, session: PooledSession, n: int, up: int) -> torch.Tensor:
        """Code indices (h, w), or (depth, h, w), of a frame moved up by `up` levels, computed once."""
        key = session.name, n, up
        if key not in self.codes:
            self.codes[key] = self.predictor.codes(session.semantics(n), session.observed_mask(n), up)
        return self.codes[key]

    def reconstruct(self, session: PooledSession, n: int, up: int) -> Volume:
        key = session.name, n, up
        if key not in self.reconstructions:
            if len(self.reconstructions) >= KEPT:
                self.reconstructions.pop(next(iter(self.reconstructions)))
            self.reconstructions[key] = self.predictor.reconstruct(self.encode(session, n, up), up)
        return self.reconstructions[key]

    def history(self, window: Window) -> tuple[History, torch.Tensor]:
        """What a forecast is made of, and its codes (H, [depth,] h, w)."""
        session, h = self.windows.sessions[window.session], self.trained.history
        past, up = window.frames[:h], self.windows.shift(window)
        rel_poses, modes = self.windows.motion(window)
        given = History(
            np.stack([session.semantics(n) for n in past]),
            np.stack([session.observed_mask(n) for n in past]),
            tuple(session.pose(n) for n in past),
            rel_poses[: h - 1],  # the last history frame's displacement already lies in the future
            modes[:h],
            session.datum,
            up,
        )
        return given, torch.stack([self.encode(session, n, up) for n in past])

    def forecasts(self, window: Window, going_on: Way, true: Way) -> dict[str, Predicted]:
        """The model's rows: along its own way and, where it takes one, going on as before and along the true way."""
        history, codes = self.history(window)
        ways: dict[str, Way | None] = {MODEL: None}
        if self.predictor.takes_motion:
            ways |= {MODEL_CONSTANT_VELOCITY: going_on, MODEL_TRUE_MOTION: true}
        return {row: self.predictor.forecast(history, codes, self.trained.future, way) for row, way in ways.items()}

    def add(self, index: int) -> None:
        """Forecast one window with every row and count."""
        window = self.windows.windows[index]
        session = self.windows.sessions[window.session]
        h, steps = self.trained.history, self.trained.future
        past, future = window.frames[:h], window.frames[h:]
        up = self.windows.shift(window)
        true = Way(session.position[list(future)], session.orientation[list(future)])
        going_on = constant_velocity(session.pose(past[-2]), session.pose(past[-1]), steps)
        forecasts = self.forecasts(window, going_on, true)
        self.add_motion(window, forecasts[MODEL].path, going_on, true)
        constant = Occupied.of(shift_levels(self.constant, -up, FREE))
        baselines = WindowBaselines(session, past, going_on, constant, self.fill_steps)
        bands = height_bands(self.grid, up)
        frames: dict[str, list[Occupied]] = {row: [] for row in self.rows}
        observed = [session.observed_mask(n) for n in future]
        for k, n in enumerate(future):
            horizon = baselines.at(k, n)
            rows = {
                **horizon.rows,
                CEILING: Occupied.of(self.reconstruct(session, n, up)),
                **{row: Occupied.of(predicted.classes[k]) for row, predicted in forecasts.items()},
            }
            truth, shared = session.occupied(n), (bands, horizon.dynamic, horizon.fused)
            asked = {"seen": (Asked.of(truth, horizon.seen, observed[k], *shared), self.counts)}
            if self.full:
                whole = Occupied.of(self.full.semantics(session, n))
                asked["full"] = (Asked.of(whole, horizon.seen, None, *shared, ~observed[k]), self.full_counts)
            for name, predicted in rows.items():
                frames[name].append(predicted)
                for code, counts in asked.values():
                    counts[name].add(k, code, predicted, window.session)
        objects = true_objects(session, future)
        for name, quality in self.panoptic.items() if objects else ():
            quality.add(objects or [], forecast_objects(session, future, frames[name]), observed)
        if index in self.to_save:
            reconstructed = [self.reconstruct(session, n, up) for n in future]
            kept = forecasts[MODEL], frames["ego_warp_fused"], reconstructed
            self.saved.append(saved_window(self.trained, session, window, self.horizons, *kept))

    def add_motion(self, window: Window, own: Way, going_on: Way, true: Way) -> None:
        """Positions of the model's way, of going on straight and of going on as before, against the true ones."""
        session, h = self.windows.sessions[window.session], self.trained.history
        last, steps = session.pose(window.frames[h - 1]), self.trained.future
        step = self.windows.rel_poses[window.session][window.frames[h - 2]].astype(np.float64)
        none = np.zeros(steps)
        straight = follow_steps(last, np.tile(step, (steps, 1)), none, none)
        guesses: dict[str, Way] = {MODEL: own, "constant_displacement": straight, "constant_velocity": going_on}
        self.planning.add(session, window.frames[h:], guesses)
        self.motion.add({k: way.position[:, :2] for k, way in guesses.items()}, true.position[:, :2])

    @property
    def horizons(self) -> NDArray[np.float64]:
        """(T,) seconds."""
        return np.round(self.trained.step * np.arange(1, self.trained.future + 1), 6)

    def codes_used(self) -> dict[str, Any]:
        """Codes in use of all there are; of residual codes over all depths, and by depth."""
        tables, frames = self.trained.model.quantizer.tables, torch.stack(list(self.codes.values()))
        deep = frames.flatten(2) if frames.ndim == 4 else frames.flatten(1)[:, None]
        used = [int(deep[:, k].unique().numel()) for k in range(len(tables))]
        total = {"codes_used": sum(used), "codes": len(tables) * self.trained.model.config.n_e}
        return total if len(used) == 1 else {**total, "codes_used_by_depth": used}

    def table(self, counts: StratifiedCounts, strata: Sequence[Stratum]) -> dict[str, Any]:
        """One row's scores by horizon and stratum, and their mean over 1, 2 and 3 s."""
        tables = counts.tables
        per_horizon = [
            {
                "t": float(t),
                "strata": {
                    s.name: scores(tables[k, list(s.cells)].sum(0)) | {"iou_95": counts.interval(k, s.cells)}
                    for s in strata
                },
            }
            for k, t in enumerate(self.horizons)
        ]
        return {"horizons": per_horizon, "mean_1_2_3": mean_of_seconds(per_horizon)}

    def result(self) -> dict[str, Any]:
        with_unseen = [Stratum(s.name, (*s.cells, *(c + CELLS for c in s.cells)), s.meaning) for s in STRATA]
        rows: dict[str, Any] = {}
        for name, (label, meaning) in self.rows.items():
            said = {"label": label, "meaning": meaning, "knows": knows(name)}
            rows[name] = said | self.table(self.counts[name], STRATA)
            rows[name]["vpq"] = self.panoptic[name].result(self.horizons.tolist())
            if self.full:
                rows[name]["full"] = self.table(self.full_counts[name], [*with_unseen, OCCLUDED])
        frames = {(self.windows.windows[i].session, n) for i in self.chosen for n in self.windows.windows[i].frames}
        return {
            "protocol": protocol(self.trained, self.full is not None),
            "model": self.trained.name,
            "horizons_s": self.horizons.tolist(),
            "grid": self.grid.to_dict(),
            "strata": {s.name: s.meaning for s in STRATA},
            **({"strata_full": {s.name: s.meaning for s in (*STRATA, OCCLUDED)}} if self.full else {}),
            "rows": rows,
            "compared": compared(rows),
            "goals": judge(rows),
            "motion": self.motion.result(self.horizons.tolist()),
            "planning": self.planning.result(self.horizons.tolist()),
            "counts": {
                "windows_available": len(self.windows),
                "windows_evaluated": len(self.chosen),
                "frames": len(frames),
                **self.codes_used(),
            },
            "windows": [
                {
                    "session": w.session,
                    "frames": self.windows.sessions[w.session].numbers[list(w.frames)].tolist(),
                }
                for w in (self.windows.windows[i] for i in self.chosen)
            ],
        }


def mean_of_seconds(per_horizon: list[dict[str, Any]]) -> dict[str, dict[str, float | None]] | None:
    """The mean over 1, 2 and 3 s of the headline scores by stratum; None when these horizons are not all there."""
    at = [h for h in per_horizon if any(abs(h["t"] - s) < 1e-6 for s in SECONDS)]
    if len(at) != 3:
        return None
    means: dict[str, dict[str, float | None]] = {}
    for name in at[0]["strata"]:
        means[name] = {}
        for key in ("iou", "miou", "miou_occworld", "above_ground"):
            values = [h["strata"][name][key] for h in at]
            means[name][key] = None if None in values else float(np.mean(values))
    return means


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m aerialworld_training.evaluate", description=__doc__.split("\n")[0])
    parser.add_argument("--sessions", type=Path, required=True, help="folder of session folders")
    parser.add_argument("--split", type=Path, required=True, help="JSON with train, val and test session names")
    parser.add_argument(
        "--work-dir", type=Path, required=True, help="the folder that training wrote, or one checkpoint of it"
    )
    parser.add_argument("--out", type=Path, required=True, help="where evaluation.json and the predictions go")
    parser.add_argument("--split-name", default="test", choices=("train", "val", "test"))
    parser.add_argument("--world", type=Path, help="the sessions' world: score against full truth too")
    parser.add_argument("--max-windows", type=int, help="evenly spread over the split (default 16)")
    parser.add_argument("--saved-windows", type=int, help="of these, kept for pictures (default 2)")
    parser.add_argument("--threads", type=int, help="of the model (default 1: steady on a busy machine)")
    parser.add_argument("--device", help="of the model: cpu, cuda, cuda:1 (default: a GPU where there is one)")
    options = parser.parse_args(arguments)
    bar = Progress("evaluation")
    try:
        result = evaluate(
            options.sessions, options.split, options.work_dir, options.out, options.split_name, bar,
            world=options.world, max_windows=options.max_windows, saved_windows=options.saved_windows,
            threads=options.threads, device=options.device,
        )  # fmt: skip
    except AerialWorldError as error:
        bar.close()
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    finally:
        bar.close()
    print_evaluation(result)
    print(options.out / "evaluation.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
