"""How well the decoded motion fits: distance between predicted and true positions, beside going straight on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def accumulate(displacements: Array, yaw: Array) -> Array:
    """Positions (T, 2) after displacements (T, 2) [right, forward], each in the frame it starts in, in the first
    frame's axes. yaw (T,) heading of each of those frames, radians."""
    turn = yaw - yaw[0]
    right, forward = displacements[:, 0], displacements[:, 1]
    # Heading turns counter-clockwise; in (right, forward) axes forward is (−sin, cos) and right (cos, sin).
    x = np.cos(turn) * right - np.sin(turn) * forward
    y = np.sin(turn) * right + np.cos(turn) * forward
    return np.cumsum(np.stack([x, y], 1), 0)


class MotionScores:
    """Mean position errors over windows, metres, per horizon.

    The model decodes no heading, and OccWorld accumulates displacements as if the axes did not turn: so does its row
    here. `constant_displacement` repeats the last known displacement likewise. The truth is accumulated with the true
    headings.
    """

    def __init__(self, horizons: int) -> None:
        self.errors: dict[str, list[Array]] = {"occworld": [], "constant_displacement": []}
        self.horizons = horizons

    def add(self, predicted: Array, window: Array, history: int, yaw: Array) -> None:
        """predicted (T, 2) from the last history frame on; window (F, 2) true displacements; yaw (F,) radians."""
        t = self.horizons
        truth = accumulate(window[history - 1 : history - 1 + t], yaw[history - 1 : history - 1 + t])
        straight = np.repeat(window[history - 2][None], t, 0)
        for name, guess in (("occworld", predicted), ("constant_displacement", straight)):
            self.errors[name].append(np.linalg.norm(np.cumsum(guess, 0) - truth, axis=1))

    def result(self, horizons: list[float]) -> dict[str, Any]:
        """L2 error at each horizon, their mean (ADE) and the last (FDE), metres."""
        rows = {}
        for name, errors in self.errors.items():
            mean = np.mean(errors, 0)
            rows[name] = {
                "l2": [{"t": t, "metres": float(e)} for t, e in zip(horizons, mean, strict=True)],
                "ade": float(mean.mean()),
                "fde": float(mean[-1]),
            }
        return rows
