"""Single frames as bits, from a pack as they lie there, else made from dense voxels; made ones are kept for a while."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.occupancy import Occupancy
from aerialworld_training.dataset.ground import ground_of


@dataclass(frozen=True, eq=False)
class FrameBits:
    """occupied and observed (⌈X·Y·Z/8⌉,) uint8 as `numpy.packbits` makes of C-ordered voxels; classes (K,) uint8 of
    the occupied voxels in order."""

    occupied: NDArray[np.uint8]
    observed: NDArray[np.uint8]
    classes: NDArray[np.uint8]

    @classmethod
    def of(cls, frame: Occupancy) -> FrameBits:
        occupied = frame.occupancy.reshape(-1) != 0
        return cls(
            np.packbits(occupied), np.packbits(frame.observed.reshape(-1)), frame.semantics.reshape(-1)[occupied]
        )

    @property
    def nbytes(self) -> int:
        return self.occupied.nbytes + self.observed.nbytes + self.classes.nbytes

    def ground_level(self, levels: int) -> int:
        """`ground_of` the frame, whose columns have `levels` voxels; 0 where nothing is occupied."""
        # The grid's size need not be a multiple of eight: bits past its end are 0.
        cells = np.flatnonzero(np.unpackbits(self.occupied))
        return max(ground_of(cells % levels, self.classes), 0)


class Kept:
    """Frames by key, up to so many bytes; the one asked for longest ago goes first."""

    def __init__(self, limit: int) -> None:
        self.limit, self.size = limit, 0
        self.frames: OrderedDict[Hashable, FrameBits] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], FrameBits]) -> FrameBits:
        """The frame of `key`, made if it is not there."""
        frame = self.frames.get(key)
        if frame is None:
            frame = self.frames[key] = make()
            self.size += frame.nbytes
            while self.size > self.limit and len(self.frames) > 1:
                self.size -= self.frames.popitem(last=False)[1].nbytes
        self.frames.move_to_end(key)
        return frame
