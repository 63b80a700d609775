"""Whether a model beats what learns nothing by as much as it is meant to, where it can.

    all voxels   IoU at 3 s at least that of the fused ego-warp + 0.02
    unseen       IoU, mean of 1, 2 and 3 s, at least 1.3 × the better fill of the unseen
    dynamic      IoU, mean of 1, 2 and 3 s, at least 1.2 × tracked objects that go on at constant velocity

Each is asked twice, among rows that know equally much of the vehicle's way: of the forecast from the history alone, and
of the forecast along the true future motion (where the model takes one).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aerialworld_training.evaluation_rows import compared

MET, NOT_MET, NOT_MEASURED = "met", "not met", "not measured"


@dataclass(frozen=True)
class Goal:
    """baselines: rows by their names in `compared`, of which the best counts; needed: baseline · factor + margin;
    seconds: the horizon, None for the mean of 1, 2 and 3 s."""

    stratum: str
    baselines: tuple[str, ...]
    seconds: float | None
    factor: float
    margin: float
    text: str


GOALS = (
    Goal("all", ("fused warp",), 3.0, 1.0, 0.02, "all voxels: IoU at 3 s ≥ the fused ego-warp's + 2 points"),
    Goal(
        "unseen", ("fill: constant", "fill: nearest"), None, 1.3, 0.0,
        "unseen: mean IoU of 1, 2, 3 s ≥ 1.3 × the better fill's",
    ),
    Goal(
        "dynamic", ("tracked objects",), None, 1.2, 0.0,
        "dynamic: mean IoU of 1, 2, 3 s ≥ 1.2 × that of tracked objects at constant velocity",
    ),
)  # fmt: skip


def judge(rows: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every goal by motion: `goal` in words, `stratum`, `motion`, the rows that are compared and their IoU, what is
    `needed`, the `verdict`, and all of it in one line of `text`. rows: as in evaluation.json. Not measured is what a
    row or a horizon lacks."""
    found = []
    for goal in GOALS:
        for motion, names in compared(rows).items():
            own = score(rows[names["model"]], goal)
            others = {names[b]: value for b in goal.baselines if (value := score(rows[names[b]], goal)) is not None}
            best = max(others, key=others.__getitem__) if others else None
            beside = None if best is None else others[best]
            needed = None if beside is None else goal.factor * beside + goal.margin
            figures = [
                f"{what} {100 * value:.1f}"
                for what, value in (("model", own), ("baseline", beside), ("needed", needed))
                if value is not None
            ]
            said = verdict(own, needed)
            found.append(
                {
                    "goal": goal.text, "stratum": goal.stratum, "motion": motion, "row": names["model"], "iou": own,
                    "baseline": best, "baseline_iou": beside, "needed": needed, "verdict": said,
                    "text": f"{said}: {goal.text} ({motion}{'; ' + ', '.join(figures) + ' %' if figures else ''})",
                }
            )  # fmt: skip
    return found


def verdict(own: float | None, needed: float | None) -> str:
    """Met, not met, or not measured. An IoU of 0 meets nothing, though it be a multiple of a baseline's 0."""
    if own is None or needed is None:
        return NOT_MEASURED
    return MET if own >= needed and own > 0 else NOT_MET


def score(row: Mapping[str, Any], goal: Goal) -> float | None:
    """The IoU that a goal asks a row for."""
    if goal.seconds is None:
        value: float | None = row["mean_1_2_3"] and row["mean_1_2_3"][goal.stratum]["iou"]
        return value
    at = [h for h in row["horizons"] if abs(h["t"] - goal.seconds) < 1e-6]
    found: float | None = at[0]["strata"][goal.stratum]["iou"] if at else None
    return found
