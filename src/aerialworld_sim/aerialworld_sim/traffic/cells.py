"""Room on the ground as cells that have one owner: what makes collisions impossible.

A way is cut into slots. A slot's cells are all that a body can touch while its reference point is within the slot. A
body holds every slot from where it is to where it will have stopped, and two bodies never hold the same cell; so their
outlines never overlap, whatever either of them does. As interlockings do for trains.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.frames import Array
from aerialworld_core.roads.curves import Curve
from aerialworld_core.roads.shapes import SHAPES, Shape
from aerialworld_core.roads.ways import FOOTWAY, LANE, Ways

#: Edge of a cell, metres.
CELL = 0.4
#: What a body may have moved from the nearest place at which its cells were looked at, metres.
BETWEEN = 0.1
#: Metres that a body is grown by: any overlap of two bodies then lies in a cell whose middle is in both.
GROWN = BETWEEN + CELL * np.sqrt(0.5)
_COLUMNS = 1 << 20
_POSES_AT_ONCE = 4096


@dataclass(eq=False)
class Track:
    """A way as one shape uses it: `cells` of each slot, of these the `fresh` ones that are not in the slot before,
    `length` of a slot in metres, and whether one may `stop` in a slot without standing in the way of anybody but those
    behind."""

    cells: list[NDArray[np.int32]]
    fresh: list[NDArray[np.int32]]
    length: float
    stop: list[bool]


class Cells:
    """The cells of all ways for `shapes` (name → the ways that follow each way, from `Ways.followers`).

    `count` cells are in use. `tracks[name][way]` is None where the shape must not go.
    """

    def __init__(self, ways: Ways, low: Array, onward: dict[str, list[list[int]]]) -> None:
        self._low = low - 40.0
        raw: dict[tuple[str, int], list[NDArray[np.int64]]] = {}
        for name, following in onward.items():
            for way in ways.ways:
                if following[way.number]:
                    raw[name, way.number] = self.swept(way.curve, SHAPES[name])
        everything = [cells for slots in raw.values() for cells in slots]
        self._known = np.unique(np.concatenate(everything)) if everything else np.zeros(0, np.int64)
        self.count = len(self._known)
        self.tracks: dict[str, list[Track | None]] = {name: [None] * len(ways.ways) for name in onward}
        for (name, number), slots in raw.items():
            cells = [self.numbers(slot).astype(np.int32) for slot in slots]
            length = ways.ways[number].curve.length / len(slots)
            self.tracks[name][number] = Track(cells, self._fresh(cells), length, [False] * len(slots))
        self._mark_stops(ways)

    def numbers(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The numbers of places that some way uses."""
        at = np.searchsorted(self._known, places)
        at = np.minimum(at, max(self.count - 1, 0))
        return at[self._known[at] == places] if self.count else at[:0]

    def _fresh(self, slots: list[NDArray[np.int32]]) -> list[NDArray[np.int32]]:
        """Of each slot's cells those that the slot before has not."""
        number = np.repeat(np.arange(len(slots)), [len(cells) for cells in slots])
        cells = np.concatenate(slots)
        keys = number * self.count + cells  # ascending: so are the slots' cells
        before = np.minimum(np.searchsorted(keys, keys - self.count), len(keys) - 1)
        fresh = keys[before] != keys - self.count
        return np.split(cells[fresh], np.searchsorted(number[fresh], np.arange(1, len(slots))))

    def swept(self, curve: Curve, shape: Shape) -> list[NDArray[np.int64]]:
        """The places that a shape can touch within each slot of a curve."""
        slots = max(1, round(curve.length / shape.slot))
        reach = float(np.hypot(max(shape.front, shape.rear), 0.5 * shape.width))
        looks = int(np.ceil(curve.length / slots * (1.0 + curve.sharpest * reach) / (2 * BETWEEN)))
        s = np.linspace(0.0, curve.length, slots * looks + 1)
        xy, yaw = curve.at(s)
        pose, place = self.touched(shape, xy, yaw)
        # The pose between two slots belongs to both.
        slot = np.minimum(pose // looks, slots - 1)
        shared = (pose % looks == 0) & (pose > 0) & (pose < slots * looks)
        slot, place = np.concatenate([slot, slot[shared] - 1]), np.concatenate([place, place[shared]])
        order = np.lexsort((place, slot))
        slot, place = slot[order], place[order]
        fresh = np.r_[True, (np.diff(slot) != 0) | (np.diff(place) != 0)]
        slot, place = slot[fresh], place[fresh]
        return np.split(place, np.searchsorted(slot, np.arange(1, slots)))

    def touched(self, shape: Shape, xy: Array, yaw: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Number of the pose and the place, for every place that the grown shape covers at poses (N, 2), (N,)."""
        half_length, half_width = 0.5 * shape.length + GROWN, 0.5 * shape.width + GROWN
        span = int(np.ceil(np.hypot(half_length, half_width) / CELL)) + 1
        offsets = np.arange(-span, span + 1)
        dx, dy = (a.ravel() for a in np.meshgrid(offsets, offsets))
        poses, places = [], []
        for begin in range(0, len(xy), _POSES_AT_ONCE):
            part = slice(begin, begin + _POSES_AT_ONCE)
            c, s = np.cos(yaw[part]), np.sin(yaw[part])
            middle = xy[part] + shape.middle * np.stack([c, s], axis=1) - self._low
            base = np.floor(middle / CELL).astype(np.int64)
            x = ((base[:, :1] + dx + 0.5) * CELL - middle[:, :1]).astype(np.float32)
            y = ((base[:, 1:] + dy + 0.5) * CELL - middle[:, 1:]).astype(np.float32)
            c, s = c[:, None].astype(np.float32), s[:, None].astype(np.float32)
            inside = (np.abs(c * x + s * y) <= half_length) & (np.abs(c * y - s * x) <= half_width)
            pose, k = np.nonzero(inside)
            poses.append(pose + begin)
            places.append((base[pose, 1] + dy[k]) * _COLUMNS + base[pose, 0] + dx[k])
        return np.concatenate(poses), np.concatenate(places)

    def _mark_stops(self, ways: Ways) -> None:
        """One may stop where nobody else would be blocked: neither on another way, nor on the way that follows or the
        one before, but for the stretch of it that a body reaches into from here anyhow."""
        before: list[set[int]] = [set() for _ in ways.ways]
        for way in ways.ways:
            for following in way.after:
                before[following].add(way.number)
        whole = {way.number: self._used(way.number, None) for way in ways.ways}
        but_begin = {way.number: self._used(way.number, "begin") for way in ways.ways}
        but_end = {way.number: self._used(way.number, "end") for way in ways.ways}
        others = np.zeros(self.count, np.int32)
        for cells in whole.values():
            others[cells] += 1
        for way in ways.ways:
            if way.kind not in (LANE, FOOTWAY):
                continue
            change = [(whole[way.number], -1)]
            for n in {*way.after, *before[way.number]} - {way.number}:
                kept = but_begin[n] if n in way.after else but_end[n]
                change += [(whole[n], -1), (kept, 1)]
            for cells, by in change:
                others[cells] += by
            for tracks in self.tracks.values():
                track = tracks[way.number]
                if track is not None:
                    track.stop[:] = [not others[cells].any() for cells in track.cells]
            for cells, by in change:
                others[cells] -= by

    def _used(self, number: int, but: str | None) -> NDArray[np.int32]:
        """The cells that any shape uses on a way; without those of its beginning or end, as long as the shape."""
        used = []
        for name, tracks in self.tracks.items():
            track = tracks[number]
            if track is not None:
                aside = int(np.ceil((SHAPES[name].length + 1.0) / track.length)) + 1
                slots = track.cells if but is None else track.cells[aside:] if but == "begin" else track.cells[:-aside]
                used += slots
        return np.unique(np.concatenate(used)) if used else np.zeros(0, np.int32)
