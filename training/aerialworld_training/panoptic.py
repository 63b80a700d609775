"""Video panoptic quality of moving objects (Kim et al., "Video Panoptic Segmentation", CVPR 2020), over forecasts.

An object is a tube: its voxels over the first k horizons. Tubes of truth and forecast of one class match when their
intersection over union exceeds one half, which no two tubes can do with the same one. For a class

    VPQ = Σ IoU of the matches / (matches + ½ · unmatched forecast tubes + ½ · unmatched true tubes),

summed over all windows first; VPQ_k is the mean over the classes that occur. Stuff (ground, buildings) is left to IoU:
it would be one tube per window. What was not observed at a horizon counts nowhere.

True objects are the voxels of their class that meet an actor's true box. A forecast has classes alone: its objects are
connected voxels of one moving class (26 neighbours), linked from horizon to horizon by the nearest middle that
`actor_forecast.MAX_SPEED` allows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.labels import NAMES
from aerialworld_training.actor_forecast import clusters_of, match_nearest
from aerialworld_training.dataset.actors import label_boxes
from aerialworld_training.dataset.frames import PooledSession
from aerialworld_training.occupied import Occupied


@dataclass(frozen=True, eq=False)
class Objects:
    """One horizon's objects: their voxels (K,) int64, flat indices, each once; labels (K,), above 0, of the object that
    each belongs to; classes by label. A label stays with its object."""

    cells: NDArray[np.int64]
    labels: NDArray[np.int64]
    classes: dict[int, int]


def true_objects(session: PooledSession, frames: Sequence[int]) -> list[Objects] | None:
    """The actors of each frame, labelled by their ids; None where a session does not know them."""
    if not session.actors or any(len(session.actors[n]) != len(session.actors[n].ids) for n in frames):
        return None
    numbers: dict[str, int] = {}
    found = []
    for n in frames:
        actors, occupied = session.actors[n], session.occupied(n)
        own = np.array([0, *(numbers.setdefault(name, len(numbers) + 1) for name in actors.ids)], np.int64)
        met = label_boxes(session.grid, session.pose(n), session.datum, actors).reshape(-1)[occupied.cells]
        theirs = (met > 0) & (occupied.classes == np.array([0, *actors.classes])[met])
        classes = {int(i): int(c) for i, c in zip(own[1:], actors.classes, strict=True)}
        found.append(Objects(occupied.cells[theirs], own[met[theirs]], classes))
    return found


def forecast_objects(session: PooledSession, frames: Sequence[int], forecast: Sequence[Occupied]) -> list[Objects]:
    """The objects of a forecast (T frames) in the grids of `frames`, linked over time."""
    found: list[Objects] = []
    ids: list[int] = []
    before: tuple[NDArray[np.uint8], NDArray[np.float64]] | None = None
    count = 0
    for k, (n, occupied) in enumerate(zip(frames, forecast, strict=True)):
        bodies, centres = clusters_of(occupied, session.grid, session.pose(n), session.datum)
        new = [0] * len(centres)
        if before is not None:
            seconds = (session.stamps[n] - session.stamps[frames[k - 1]]) * 1e-9
            for i, j in match_nearest(bodies.classes, centres, *before, seconds):
                new[i] = ids[j]
        for i, known in enumerate(new):
            if not known:
                count += 1
                new[i] = count
        labels = np.array(new, np.int64)[bodies.objects]
        classes = {i: int(c) for i, c in zip(new, bodies.classes, strict=True)}
        found.append(Objects(bodies.voxels.cells, labels, classes))
        ids, before = new, (bodies.classes, centres)
    return found


class PanopticQuality:
    """Matches and misses of one row by horizon and class."""

    def __init__(self, horizons: int) -> None:
        #: horizon → class → [matches, unmatched forecast, unmatched true, Σ IoU]
        self.counts: list[dict[int, list[float]]] = [defaultdict(lambda: [0, 0, 0, 0.0]) for _ in range(horizons)]

    def add(self, truth: Sequence[Objects], forecast: Sequence[Objects], observed: Sequence[NDArray[np.bool_]]) -> None:
        """One window's objects at every horizon, and what was observed there."""
        true_size: dict[int, int] = defaultdict(int)
        own_size: dict[int, int] = defaultdict(int)
        both: dict[tuple[int, int], int] = defaultdict(int)
        true_class: dict[int, int] = {}
        own_class: dict[int, int] = {}
        for k, (t, f, seen) in enumerate(zip(truth, forecast, observed, strict=True)):
            true_class |= t.classes
            own_class |= f.classes
            for objects, sizes in ((t, true_size), (f, own_size)):
                known = objects.labels[seen.reshape(-1)[objects.cells]]
                for label, size in zip(*_counted(known), strict=True):
                    sizes[label] += size
            cells, at, there = np.intersect1d(t.cells, f.cells, assume_unique=True, return_indices=True)
            met = seen.reshape(-1)[cells]
            pairs = t.labels[at[met]] << 32 | f.labels[there[met]]
            for pair, size in zip(*_counted(pairs), strict=True):
                a, b = pair >> 32, pair & 0xFFFFFFFF
                if true_class[a] == own_class[b]:
                    both[a, b] += size
            self._count(self.counts[k], true_size, own_size, both, true_class, own_class)

    def _count(
        self, into: dict[int, list[float]], true_size: dict[int, int], own_size: dict[int, int],
        both: dict[tuple[int, int], int], true_class: dict[int, int], own_class: dict[int, int],
    ) -> None:  # fmt: skip
        matched: set[tuple[str, int]] = set()
        for (a, b), size in sorted(both.items()):
            union = true_size[a] + own_size[b] - size
            if 2 * size > union:
                matched |= {("true", a), ("own", b)}
                into[true_class[a]][0] += 1
                into[true_class[a]][3] += size / union
        for a, size in true_size.items():
            if size and ("true", a) not in matched:
                into[true_class[a]][2] += 1
        for b, size in own_size.items():
            if size and ("own", b) not in matched:
                into[own_class[b]][1] += 1

    def result(self, horizons: Sequence[float]) -> list[dict[str, Any]]:
        """By horizon: vpq (None where nothing moves), and each class's vpq and counts."""
        rows = []
        for t, counts in zip(horizons, self.counts, strict=True):
            classes = {}
            for kind, (tp, fp, fn, total) in sorted(counts.items()):
                quality = total / (tp + 0.5 * fp + 0.5 * fn)
                classes[NAMES[kind]] = {
                    "vpq": quality, "matched": int(tp), "unmatched_forecast": int(fp), "unmatched_true": int(fn)
                }  # fmt: skip
            values = [c["vpq"] for c in classes.values()]
            rows.append({"t": t, "vpq": float(np.mean(values)) if values else None, "per_class": classes})
        return rows


def _counted(labels: NDArray[np.int64]) -> tuple[list[int], list[int]]:
    """The values that occur, ascending, and how often."""
    values, counts = np.unique(labels, return_counts=True)
    return values.tolist(), counts.tolist()
