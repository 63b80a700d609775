"""Counting: one 18×18 confusion table per stratum and horizon, in 64-bit integers, from which every score follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.labels import FREE, GROUND, NAMES, NUM_CLASSES
from aerialworld_training.occupied import Occupied
from aerialworld_training.strata import Asked

Counts = NDArray[np.int64]


def confusion(truth: NDArray[np.uint8], predicted: NDArray[np.uint8], mask: NDArray[np.bool_]) -> Counts:
    """(18, 18) voxel counts [truth, predicted] where `mask` holds; all three of one shape."""
    pairs = truth[mask].astype(np.int64) * NUM_CLASSES + predicted[mask]
    return np.bincount(pairs, minlength=NUM_CLASSES**2).reshape(NUM_CLASSES, NUM_CLASSES)


def _ratio(above: int, below: int) -> float | None:
    return above / below if below else None


def occupied_iou(table: Counts) -> float | None:
    """IoU of occupied against free, classes aside; None when neither truth nor prediction occupies anything."""
    both = int(table[:FREE, :FREE].sum())
    either = int(table.sum() - table[FREE, FREE])
    return _ratio(both, either)


def above_ground_iou(table: Counts) -> float | None:
    """IoU of the surface without the ground: a voxel counts as occupied where its class is occupied and no ground class
    (road, other flat, sidewalk, terrain), in truth and prediction alike."""
    solid = np.ones(NUM_CLASSES, bool)
    solid[[FREE, *GROUND]] = False
    both = int(table[np.ix_(solid, solid)].sum())
    either = int(table[solid].sum() + table[:, solid].sum()) - both
    return _ratio(both, either)


def class_ious(table: Counts) -> list[float | None]:
    """IoU of each of the 17 occupied classes; None for a class neither in truth nor predicted."""
    hit = np.diagonal(table)
    union = table.sum(0) + table.sum(1) - hit
    return [_ratio(int(hit[c]), int(union[c])) for c in range(FREE)]


def scores(table: Counts) -> dict[str, Any]:
    """Every score of one table.

    iou             occupied against free
    miou_occworld   mean over the 17 classes, a class that never occurs in truth counts 1 (OccWorld)
    miou            mean over the classes that occur in truth or prediction
    above_ground    IoU without ground classes
    per_class       IoU by class name, only classes that occur
    precision, recall   of occupied; counts in voxels
    """
    ious = class_ious(table)
    present = [v for v in ious if v is not None]
    both = int(table[:FREE, :FREE].sum())
    truth, predicted = int(table[:FREE].sum()), int(table[:, :FREE].sum())
    return {
        "iou": occupied_iou(table),
        "miou_occworld": float(
            np.mean([v if seen and v is not None else 1.0 for v, seen in zip(ious, table.sum(1)[:FREE], strict=True)])
        ),
        "miou": float(np.mean(present)) if present else None,
        "above_ground": above_ground_iou(table),
        "precision": _ratio(both, predicted),
        "recall": _ratio(both, truth),
        "per_class": {NAMES[c]: v for c, v in enumerate(ious) if v is not None},
        "counts": {
            "voxels": int(table.sum()),
            "truth_occupied": truth,
            "predicted_occupied": predicted,
            "both_occupied": both,
        },
    }


class StratifiedCounts:
    """Confusion tables of one row, per place: (horizons, cells, 18, 18) int64 each.

    The cells that are counted are disjoint (see `strata`); every stratum is a sum of them.
    """

    def __init__(self, horizons: int, cells: int) -> None:
        self._empty = (horizons, cells, NUM_CLASSES, NUM_CLASSES)
        self.places: dict[str, Counts] = {}

    @property
    def tables(self) -> Counts:
        """(horizons, cells, 18, 18) over all places."""
        return sum(self.places.values(), np.zeros(self._empty, np.int64))

    def add(self, horizon: int, asked: Asked, predicted: Occupied, place: str = "") -> None:
        """One frame's forecast; place: what is resampled as a whole for intervals. What is forecast free is what is
        left of all voxels, and is not looked at."""
        table = self.places.setdefault(place, np.zeros(self._empty, np.int64))
        code = asked.code[predicted.cells]
        counted = code < len(asked.totals)
        pairs = code[counted].astype(np.int64) * NUM_CLASSES + predicted.classes[counted]
        counts = np.bincount(pairs, minlength=len(asked.totals) * NUM_CLASSES).reshape(-1, NUM_CLASSES)
        counts[:, FREE] = asked.totals - counts.sum(1)
        table[horizon] += counts.reshape(self._empty[1:])

    def interval(self, horizon: int, cells: Sequence[int], draws: int = 2000) -> list[float] | None:
        """95 % bootstrap interval [low, high] of the occupied IoU: whole places are drawn with replacement, always the
        same draws. None with fewer than two places, or where a draw has nothing to score."""
        if len(self.places) < 2:
            return None
        tables = [t[horizon, list(cells)].sum(0) for t in self.places.values()]
        both = np.array([t[:FREE, :FREE].sum() for t in tables])
        either = np.array([t.sum() - t[FREE, FREE] for t in tables])
        weights = np.random.default_rng(0).multinomial(len(tables), np.full(len(tables), 1 / len(tables)), draws)
        above, below = weights @ both, weights @ either
        if not below.all():
            return None
        low, high = np.percentile(above / below, [2.5, 97.5])
        return [float(low), float(high)]
