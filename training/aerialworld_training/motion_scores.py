"""How well the decoded motion fits: distance between predicted and true positions, beside going on as before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class MotionScores:
    """Mean planar position errors over windows, metres, per horizon and row."""

    def __init__(self, horizons: int) -> None:
        self.errors: dict[str, list[Array]] = {}
        self.horizons = horizons

    def add(self, guesses: Mapping[str, Array], truth: Array) -> None:
        """Positions (T, 2) of each row and the true ones, all in one frame, metres."""
        for name, guess in guesses.items():
            self.errors.setdefault(name, []).append(np.linalg.norm(guess - truth, axis=1))

    def result(self, horizons: Sequence[float]) -> dict[str, Any]:
        """L2 error at each horizon and its mean up to there (ST-P3's planning L2), the mean of all (ADE) and the last
        (FDE), metres."""
        rows = {}
        for name, errors in self.errors.items():
            mean = np.mean(errors, 0)
            rows[name] = {
                "l2": [
                    {"t": t, "metres": float(mean[k]), "up_to": float(mean[: k + 1].mean())}
                    for k, t in enumerate(horizons)
                ],
                "ade": float(mean.mean()),
                "fde": float(mean[-1]),
            }
        return rows
