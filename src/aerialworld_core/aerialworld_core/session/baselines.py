"""The trivial forecasts that a data set must not be solved by, scored over observed voxels: constant, copy, ego-warp.

IoU is of occupied against free, over the voxels that the target frame observed, with intersections and unions summed
over all pairs of frames. Memory is that of the longest horizon's frames, not of the session.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.frames import Pose
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.occupancy import Occupancy
from aerialworld_core.warp import ego_warp

HORIZONS_S = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)


class BaselineScores:
    """Fed frame by frame in order; `result` gives the scores so far.

    constant   the better of two predictions that never change: every voxel as in most of the frames that observed it
               (`majority`; chosen with the answers known, so an upper bound) and one full level of voxels (`slab`)
    copy       the last frame as it was
    ego_warp   the last frame moved rigidly into the future pose's grid, the true future pose given
    """

    def __init__(self, grid: VoxelGrid, datum: float, frame_period_ns: int) -> None:
        self.grid, self.datum = grid, datum
        self.steps: dict[float, int] = {}
        for horizon in HORIZONS_S:
            step = round(horizon * 1e9 / frame_period_ns)
            if step >= 1 and abs(step * frame_period_ns - horizon * 1e9) <= 0.01 * horizon * 1e9:
                self.steps[horizon] = step
        self._past: deque[tuple[int, Pose, NDArray[np.uint8], NDArray[np.uint8]]] = deque(
            maxlen=max(self.steps.values(), default=1)
        )
        self._occupied = np.zeros(grid.shape, np.uint32)
        self._observed = np.zeros(grid.shape, np.uint32)
        self._overlap = {name: {h: np.zeros(2, np.int64) for h in self.steps} for name in ("copy", "ego_warp")}

    def add(self, index: int, pose: Pose, occupancy: Occupancy) -> None:
        """The next frame; `index` is its number, so that a gap pairs with nothing."""
        seen = np.packbits(occupancy.observed.ravel())
        truth = np.packbits(occupancy.occupancy.ravel()) & seen
        self._occupied += occupancy.occupancy.view(np.bool_) & occupancy.observed
        self._observed += occupancy.observed
        by_index = {past[0]: past for past in self._past}
        for horizon, step in self.steps.items():
            if index - step in by_index:
                _, past_pose, past_voxels, past_bits = by_index[index - step]
                self._overlap["copy"][horizon] += _overlap(past_bits, truth, seen)
                warped, _ = ego_warp(past_voxels, None, self.grid, past_pose, pose, self.datum)
                self._overlap["ego_warp"][horizon] += _overlap(np.packbits(warped.ravel()), truth, seen)
        self._past.append((index, pose, occupancy.occupancy, np.packbits(occupancy.occupancy.ravel())))

    def result(self) -> dict[str, Any]:
        """{constant: {majority, slab, slab_level, best}, copy: {"0.5": IoU, …}, ego_warp: {…}}; None where nothing was
        occupied or no pair of frames lies that far apart."""
        majority = self._constant(2 * self._occupied.astype(np.int64) > self._observed)
        occupied = self._occupied.sum(axis=(0, 1), dtype=np.int64)
        union = occupied.sum() + self._observed.sum(axis=(0, 1), dtype=np.int64) - occupied
        slabs = np.where(union > 0, occupied / np.maximum(union, 1), 0.0)
        level = int(np.argmax(slabs))
        slab = float(slabs[level]) if occupied.sum() else None
        scores: dict[str, Any] = {
            "constant": {
                "majority": majority,
                "slab": slab,
                "slab_level": level,
                "best": max((s for s in (majority, slab) if s is not None), default=None),
            }
        }
        for name, overlaps in self._overlap.items():
            scores[name] = {f"{h:g}": _ratio(int(o[0]), int(o[1])) for h, o in overlaps.items()}
        return scores

    def _constant(self, prediction: NDArray[np.bool_]) -> float | None:
        intersection = int(self._occupied[prediction].sum(dtype=np.int64))
        predicted = int(self._observed[prediction].sum(dtype=np.int64))
        return _ratio(intersection, int(self._occupied.sum(dtype=np.int64)) + predicted - intersection)


def _overlap(prediction: NDArray[np.uint8], truth: NDArray[np.uint8], seen: NDArray[np.uint8]) -> NDArray[np.int64]:
    """[intersection, union] of packed bits over the seen voxels; `truth` is masked already."""
    masked = prediction & seen
    return np.array(
        [np.bitwise_count(masked & truth).sum(dtype=np.int64), np.bitwise_count(masked | truth).sum(dtype=np.int64)]
    )


def _ratio(intersection: int, union: int) -> float | None:
    return intersection / union if union else None
