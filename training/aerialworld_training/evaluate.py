"""Evaluation: forecasts of the model and of the baselines on sessions it has not seen, scored on observed voxels.

python -m aerialworld_training.evaluate --sessions DIR --split split.json --work-dir DIR --out DIR
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aerialworld_core.errors import AerialWorldError, InputError
from aerialworld_core.files import write_bytes, write_json
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import FREE
from aerialworld_training.actor_forecast import move_actors, oracle_objects, tracked_objects
from aerialworld_training.baselines import constant_prediction, fill_from_neighbours, fuse_history, move_frame
from aerialworld_training.config import Config, parse_config
from aerialworld_training.dataset import PooledSession, SessionWindows, Window, read_split
from aerialworld_training.dataset.actors import label_boxes
from aerialworld_training.dataset.frames import load_sessions
from aerialworld_training.dataset.pooling import shift_levels
from aerialworld_training.logbook import Progress
from aerialworld_training.metrics import StratifiedCounts, scores
from aerialworld_training.models.occworld import OccWorld, load_complete
from aerialworld_training.models.occworld.state_dict_adapter import read_torch
from aerialworld_training.motion_scores import MotionScores
from aerialworld_training.runtime import deterministic
from aerialworld_training.stages import evenly
from aerialworld_training.strata import CELLS, STRATA, counting_base, height_bands

SCHEMA_VERSION = 1
ProgressCallback = Callable[[str, float], None]
Volume = NDArray[np.uint8]

#: How far the fill of the unseen looks, metres.
FILL_REACH = 8.0
#: name → (label, what it is and what it knows of the future)
ROWS: dict[str, tuple[str, str]] = {
    "constant": ("constant", "per-voxel majority of the training frames in the ego grid, at the ground's height"),
    "copy": ("copy of the last frame", "the last history frame, not moved"),
    "ego_warp": (
        "ego-warp of the last frame (true future motion)",
        "the last history frame moved rigidly with the TRUE future motion; what it did not see is free",
    ),
    "ego_warp_fused": (
        "ego-warp of the fused history (true future motion)",
        "all history frames fused, the latest observation winning, moved rigidly with the TRUE future motion",
    ),
    "ego_warp_fill_height": (
        "fused ego-warp, unseen as the constant",
        "the fused ego-warp; what the history did not see is as the constant has it at that place and height",
    ),
    "ego_warp_fill_nearest": (
        "fused ego-warp, unseen as its neighbours",
        "the fused ego-warp; what the history did not see is as the nearest seen voxel of its height, "
        f"{FILL_REACH:g} m around",
    ),
    "actors_tracked": (
        "fused ego-warp, tracked objects go on",
        "the fused ego-warp; moving classes go on with the velocity that the last two history frames' voxels show",
    ),
    "actors_oracle": (
        "fused ego-warp, objects go on at TRUE velocity",
        "the fused ego-warp; moving classes go on with the TRUE boxes and velocities of the last history frame",
    ),
    "reconstruction": (
        "reconstruction (ceiling)",
        "the VAE's reconstruction of the TRUE future frame: no forecast from its codes can be expected above it",
    ),
    "occworld": (
        "OccWorld (history only)",
        "autoregressive forecast from the history alone; motion is decoded by the model, never given",
    ),
}


def load_model(work_dir: Path) -> tuple[OccWorld, Config, VoxelGrid]:
    """The trained model of a work folder, its config and grid. Raises InputError when it is absent or damaged."""
    path = Path(work_dir) / "model.pth"
    data = read_torch(path)
    if data.get("format") != 1 or not {"config", "grid", "state_dict"} <= set(data):
        raise InputError(f"{path}: not a model of this version; train again")
    config = parse_config(data["config"], source=f"{path} (config)")
    grid = VoxelGrid.from_dict(data["grid"])
    model = OccWorld(config.model.for_grid(grid))
    load_complete(model, data["state_dict"], str(path))
    return model.eval(), config, grid


def evaluate(
    sessions: Path,
    split: Path,
    work_dir: Path,
    out: Path,
    split_name: str = "test",
    progress: ProgressCallback | None = None,
) -> dict[str, Any]:
    """Score the model of `work_dir` and the baselines on one part of the split.

    Writes `out/evaluation.json` (the returned dictionary) and `out/prediction_{k}.npz` for pictures. Equal model and
    data give equal bytes. Raises InputError for bad input, also when the sessions' grid is not the model's.
    """
    model, config, grid = load_model(work_dir)
    parts = read_split(Path(split))
    tell = progress or (lambda what, fraction: None)
    tell("reading sessions", 0.0)
    cache = Path(work_dir) / "cache"
    names = parts.part(split_name)
    loaded = load_sessions(
        Path(sessions),
        tuple(dict.fromkeys((*parts.train, *names))),
        config.data.pooling,
        cache=cache,
        threads=config.threads,
    )
    if loaded[names[0]].grid != grid:
        raise InputError(
            f"{names[0]}: the pooled grid is {loaded[names[0]].grid.to_dict()}, the model's {grid.to_dict()}; "
            "train on sessions of this grid"
        )
    data = config.data
    windows = SessionWindows(
        [loaded[n] for n in names],
        history=data.history,
        future=data.future,
        frame_skip=data.frame_skip,
        step_ns=round(data.step * 1e9),
        ground_level=data.ground_level,
        split=split_name,
    )
    with deterministic(config.threads), torch.no_grad():
        run = Evaluation(
            model, config, windows, constant_prediction([loaded[n] for n in parts.train], data.ground_level)
        )
        result = run.go(tell)
    result = {"schema_version": SCHEMA_VERSION, "split": split_name, "sessions": list(names), **result}
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    for stale in out.glob("prediction_*.npz"):
        stale.unlink()
    for k, arrays in enumerate(run.saved):
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        write_bytes(out / f"prediction_{k}.npz", buffer.getbuffer())
    write_json(out / "evaluation.json", result)
    tell("evaluated", 1.0)
    return result


class Evaluation:
    """Forecasts and counts over the chosen windows."""

    def __init__(self, model: OccWorld, config: Config, windows: SessionWindows, constant: Volume) -> None:
        self.model, self.config, self.windows, self.constant = model, config, windows, constant
        self.chosen = evenly(len(windows), config.evaluation.max_windows)
        self.grid = next(iter(windows.sessions.values())).grid
        self.counts = {row: StratifiedCounts(config.data.future, CELLS) for row in ROWS}
        self.motion = MotionScores(config.data.future)
        self.fill_steps = max(1, round(FILL_REACH / max(self.grid.voxel_size[:2])))
        self.codes: dict[tuple[str, int, int], torch.Tensor] = {}
        self.reconstructions: dict[tuple[str, int, int], Volume] = {}
        self.saved: list[dict[str, Any]] = []
        saved = evenly(len(self.chosen), config.evaluation.saved_windows + 2)
        # Windows from within the run make better pictures than its first and last.
        self.to_save = {self.chosen[i] for i in (saved[1:-1] or saved)[: config.evaluation.saved_windows]}

    def go(self, tell: ProgressCallback) -> dict[str, Any]:
        for done, index in enumerate(self.chosen):
            tell(f"window {done + 1}/{len(self.chosen)}", done / len(self.chosen))
            self.add(index)
        return self.result()

    def encode(self, session: PooledSession, n: int, up: int) -> torch.Tensor:
        """Code indices (h, w) of a frame moved up by `up` levels, computed once."""
        key = session.name, n, up
        if key not in self.codes:
            volume = torch.from_numpy(shift_levels(session.semantics(n), up, FREE))[None]
            self.codes[key] = self.model.vae.vqvae.encode_indices(self.model.vae.encode(volume))[0]
        return self.codes[key]

    def decode(self, indices: torch.Tensor, up: int) -> Volume:
        """Code indices (h, w) → the likeliest class of every voxel (X, Y, Z), moved back down by `up` levels."""
        classes: Volume = self.model.vae.decode_classes(self.model.vae.vqvae.lookup(indices[None]))[0].numpy()
        return shift_levels(classes, -up, FREE)

    def reconstruct(self, session: PooledSession, n: int, up: int) -> Volume:
        key = session.name, n, up
        if key not in self.reconstructions:
            self.reconstructions[key] = self.decode(self.encode(session, n, up), up)
        return self.reconstructions[key]

    def forecast(self, window: Window) -> tuple[list[Volume], NDArray[np.float64]]:
        """The model's frames and displacements (T, 2) from the window's history alone."""
        session = self.windows.sessions[window.session]
        h, t = self.config.data.history, self.config.data.future
        up = self.windows.shift(window)
        rel_poses, modes = self.windows.motion(window)
        context = self.model.vae.vqvae.lookup(torch.stack([self.encode(session, n, up) for n in window.frames[:h]]))[
            None
        ]
        known = rel_poses[None, : h - 1]  # the last history frame's displacement already lies in the future
        past_modes = modes[None, :h]
        rel = self.model.complete_motion(context, known, past_modes)
        # The command of the future is not known: the last one is held.
        future_modes = past_modes[:, -1:].expand(-1, t, -1)
        roll = self.model.rollout(context, rel, past_modes, future_modes)
        moved = torch.cat([rel[:, -1:], roll.fed_back[:, :-1]], 1)[0]
        return [self.decode(roll.indices[0, k], up) for k in range(t)], moved.double().numpy()

    def add(self, index: int) -> None:
        """Forecast one window with every row and count."""
        window = self.windows.windows[index]
        session = self.windows.sessions[window.session]
        h = self.config.data.history
        past, future = window.frames[:h], window.frames[h:]
        forecast, displacements = self.forecast(window)
        self.motion.add(
            displacements, self.windows.rel_poses[window.session][list(window.frames)].astype(np.float64), h,
            session.yaw[list(window.frames)],
        )  # fmt: skip
        up = self.windows.shift(window)
        constant = shift_levels(self.constant, -up, FREE)
        bands = height_bands(self.grid, up)
        last = session.semantics(past[-1])
        truth, observed, warped = [], [], []
        moved_by = {
            "actors_tracked": tracked_objects(session, past[-2:][0], past[-1]),
            "actors_oracle": oracle_objects(session, past[-1]),
        }
        for k, n in enumerate(future):
            fused, seen = fuse_history(session, past, n)
            rows = {
                "constant": constant,
                "copy": last,
                "ego_warp": move_frame(session, past[-1], n)[0],
                "ego_warp_fused": fused,
                "ego_warp_fill_height": np.where(seen, fused, constant),
                "ego_warp_fill_nearest": fill_from_neighbours(fused, seen, self.fill_steps)[0],
                **{name: move_actors(session, fused, past[-1], n, *objects) for name, objects in moved_by.items()},
                "reconstruction": self.reconstruct(session, n, up),
                "occworld": forecast[k],
            }
            truth.append(session.semantics(n))
            observed.append(session.observed_mask(n))
            warped.append(fused)
            base = counting_base(truth[-1], seen, observed[-1], bands, self.dynamic(session, past[-1], n), fused)
            for name, predicted in rows.items():
                self.counts[name].add(k, base, predicted[observed[-1]], window.session)
        if index in self.to_save:
            numbers = session.numbers
            self.saved.append(
                {
                    "truth_semantics": np.stack(truth),
                    "truth_occupancy": (np.stack(truth) != FREE).astype(np.uint8),
                    "truth_observed": np.stack(observed),
                    "predicted_semantics": np.stack(forecast),
                    "ego_warp_fused_semantics": np.stack(warped),
                    "reconstructed_semantics": np.stack([self.reconstruct(session, n, up) for n in future]),
                    "last_semantics": last,
                    "last_observed": session.observed_mask(past[-1]),
                    "horizons_s": self.horizons,
                    "session": np.array(session.name),
                    "agent_type": np.array(session.agent_type),
                    "history_frames": numbers[list(past)],
                    "future_frames": numbers[list(future)],
                    "positions": session.position[list(window.frames)],
                    "orientations": session.orientation[list(window.frames)],
                    "grid": np.array(json.dumps(self.grid.to_dict())),
                    "datum": np.array(session.datum),
                }
            )

    def dynamic(self, session: PooledSession, last: int, target: int) -> NDArray[np.bool_]:
        """What meets a moving object's box at `target`, or its box at `last` (in the grid of `target`)."""
        if not session.actors:
            return np.zeros(session.grid.shape, np.bool_)
        pose, datum = session.pose(target), session.datum
        labels = [label_boxes(session.grid, pose, datum, session.actors[n]) for n in (last, target)]
        return (labels[0] > 0) | (labels[1] > 0)

    @property
    def horizons(self) -> NDArray[np.float64]:
        """(T,) seconds."""
        return np.round(self.config.data.step * np.arange(1, self.config.data.future + 1), 6)

    def result(self) -> dict[str, Any]:
        rows: dict[str, Any] = {}
        for name, (label, meaning) in ROWS.items():
            tables = self.counts[name].tables
            per_horizon = [
                {
                    "t": float(t),
                    "strata": {
                        s.name: scores(tables[k, list(s.cells)].sum(0))
                        | {"iou_95": self.counts[name].interval(k, s.cells)}
                        for s in STRATA
                    },
                }
                for k, t in enumerate(self.horizons)
            ]
            rows[name] = {
                "label": label,
                "meaning": meaning,
                "horizons": per_horizon,
                "mean_1_2_3": self.mean_of_seconds(per_horizon),
            }
        frames = {(self.windows.windows[i].session, n) for i in self.chosen for n in self.windows.windows[i].frames}
        return {
            "protocol": self.protocol(),
            "horizons_s": self.horizons.tolist(),
            "grid": self.grid.to_dict(),
            "strata": {s.name: s.meaning for s in STRATA},
            "rows": rows,
            "motion": self.motion.result(self.horizons.tolist()),
            "counts": {
                "windows_available": len(self.windows),
                "windows_evaluated": len(self.chosen),
                "frames": len(frames),
                "codes_used": int(torch.unique(torch.stack(list(self.codes.values()))).numel()),
                "codes": self.model.config.n_e,
            },
            "windows": [
                {
                    "session": w.session,
                    "frames": self.windows.sessions[w.session].numbers[list(w.frames)].tolist(),
                }
                for w in (self.windows.windows[i] for i in self.chosen)
            ],
        }

    def mean_of_seconds(self, per_horizon: list[dict[str, Any]]) -> dict[str, dict[str, float | None]] | None:
        """The mean over 1, 2 and 3 s of the headline scores by stratum; None when these horizons are not all there."""
        at = [h for h in per_horizon if any(abs(h["t"] - s) < 1e-6 for s in (1.0, 2.0, 3.0))]
        if len(at) != 3:
            return None
        means: dict[str, dict[str, float | None]] = {}
        for s in STRATA:
            means[s.name] = {}
            for key in ("iou", "miou", "miou_occworld", "above_ground"):
                values = [h["strata"][s.name][key] for h in at]
                means[s.name][key] = None if None in values else float(np.mean(values))
        return means

    def protocol(self) -> str:
        data = self.config.data
        return (
            f"{data.history} history frames and {data.future} future frames, {data.step:g} s apart, of the sessions "
            f"named here. Scores are over all voxels that the depth rig observed at t+k; unknown voxels are left out. "
            "Counts are summed over windows in 64-bit integers before any ratio is taken. iou: occupied against free. "
            "miou_occworld: mean over 17 classes, a class that truth never holds counting 1 (as OccWorld reports); "
            "miou: mean over the classes that occur in truth or prediction. iou_95: 95 % bootstrap interval of iou "
            "over the sessions as wholes, null for one. above_ground: iou of everything but road, "
            "other flat, sidewalk and terrain. A score is null where there is nothing to score. Rows that say TRUE "
            "are given what no forecast has. " + self.ground()
        )

    def ground(self) -> str:
        level = self.config.data.ground_level
        if level is None:
            return "Heights are above the session's datum."
        return (
            "The model and the constant work on windows moved by whole levels so that the ground under the last "
            f"history frame (5th percentile) lies at level {level}; their forecasts are moved back before they are "
            "scored, and what that leaves out counts as free. Heights are above that ground."
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m aerialworld_training.evaluate", description=__doc__.split("\n")[0])
    parser.add_argument("--sessions", type=Path, required=True, help="folder of session folders")
    parser.add_argument("--split", type=Path, required=True, help="JSON with train, val and test session names")
    parser.add_argument("--work-dir", type=Path, required=True, help="the folder that training wrote")
    parser.add_argument("--out", type=Path, required=True, help="where evaluation.json and the predictions go")
    parser.add_argument("--split-name", default="test", choices=("train", "val", "test"))
    options = parser.parse_args(arguments)
    bar = Progress("evaluation")
    try:
        result = evaluate(options.sessions, options.split, options.work_dir, options.out, options.split_name, bar)
    except AerialWorldError as error:
        bar.close()
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    finally:
        bar.close()
    print_table(result)
    print(options.out / "evaluation.json")
    return 0


def print_table(result: dict[str, Any]) -> None:
    """IoU per horizon of every row, plain text."""
    horizons = result["horizons_s"]
    width = max(len(row["label"]) for row in result["rows"].values())
    print("IoU, %".ljust(width), *(f"{t:6.1f} s" for t in horizons))
    for row in result["rows"].values():
        cells = [h["strata"]["all"]["iou"] for h in row["horizons"]]
        print(row["label"].ljust(width), *(f"{100 * c:8.1f}" if c is not None else "       –" for c in cells))


if __name__ == "__main__":
    sys.exit(main())
