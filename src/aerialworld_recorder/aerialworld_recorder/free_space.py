"""What has been seen to be free: the kernels of `clearing` and `carving` over the faces of a rig, in three rounds.

The grid is cut along x into slabs, the images into bands of rows; each piece is one task. No two tasks of a round
write different marks into one voxel, nor does one read what another may change, so the result does not depend on how
many threads there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_recorder import carving, clearing
from aerialworld_recorder.faces import Face

bound_depth: Any = clearing.bound_depth
clear_blocks: Any = clearing.clear_blocks
list_edges: Any = clearing.list_edges
clear_edges: Any = clearing.clear_edges
carve_rays: Any = carving.carve_rays

#: Voxels along x of one task, a multiple of the largest cube; rows of an image of one.
SLAB, BAND = 4 * clearing.ROOT, 200

Images = Mapping[str, NDArray[np.float32]]
Task = Callable[[], None]


class _Bounds:
    """A face's least and greatest depths, by cells."""

    def __init__(self, height: int, width: int) -> None:
        self.levels = clearing.levels_of(height, width)
        cells = int(self.levels[-1, 0]) + 1
        self.low, self.high = np.empty(cells, np.float32), np.empty(cells, np.float32)
        self.row_low, self.row_high = np.empty(width, np.float32), np.empty(width, np.float32)


class _SlabScratch:
    """Room for one slab's task."""

    def __init__(self, voxels: int, plane: int) -> None:
        leaf = clearing.LEAF**3
        self.stack, self.run = np.empty((64, 4), np.int64), np.empty(6, np.int64)
        self.sides, self.spreads, self.uvw = np.empty((6, 4)), np.empty(9), np.empty(3)
        self.offsets, self.pixels = np.empty((3, leaf), np.float32), np.empty(leaf, np.int32)
        self.depths = np.empty(leaf, np.float32)
        self.edges = np.empty((voxels, 4), np.int32)  # memory is only taken where it is written
        self.words = np.empty(plane // 8 + 1, np.uint64)
        self.plane = self.words.view(np.uint8)
        self.rim = np.empty((3, len(clearing.RIM)))


class FreeSpace:
    """Marks the voxels of `observed` (X, Y, Z) uint8 that rays pass. Each method gives tasks; those of one must be done
    before those of the next begin. With `every_ray` all rays are walked from the camera on: slow, and all there is."""

    def __init__(self, faces: Sequence[Face], shape: tuple[int, int, int], every_ray: bool) -> None:
        self._every_ray = every_ray
        self._shape = np.array([*shape, shape[1] * shape[2], shape[2], 1], np.int64)
        self._bounds = {f.spec.name: _Bounds(f.spec.height, f.spec.width) for f in faces}
        self._slabs = [(x, min(x + SLAB, shape[0])) for x in range(0, shape[0], SLAB)]
        self._scratch = [_SlabScratch((b - a) * shape[1] * shape[2], shape[1] * shape[2]) for a, b in self._slabs]

    def bound_and_walk(self, faces: Sequence[Face], depth: Images, observed: NDArray[np.uint8]) -> list[Task]:
        """Find the cells' bounds; walk the rays where they are further apart than voxels."""
        tasks: list[Task] = []
        for face in faces:
            image = depth[face.spec.name]
            if not self._every_ray:
                tasks.append(partial(self._bound, face, image))
            start = 0.0 if self._every_ray else face.reach
            if face.depth_of_grid() > start:
                bands = range(0, face.spec.height, BAND)
                tasks += [partial(self._walk, face, image, observed, v, start) for v in bands]
        return tasks

    def _bound(self, face: Face, depth: NDArray[np.float32]) -> None:
        b = self._bounds[face.spec.name]
        bound_depth(depth, b.levels, b.low, b.high, b.row_low, b.row_high)

    def _walk(
        self, face: Face, depth: NDArray[np.float32], observed: NDArray[np.uint8], begin: int, start: float
    ) -> None:
        end = min(begin + BAND, face.spec.height)
        carve_rays(
            begin, end, 1, depth, face.slant, face.spec.far, start, np.inf, face.view, self._shape,
            clearing.FREE_WALKED, observed.reshape(-1),
        )  # fmt: skip

    def clear(self, faces: Sequence[Face], depth: Images, observed: NDArray[np.uint8]) -> list[Task]:
        """Mark the voxels whose middle is seen past, and those that single rays pass just before the camera."""
        if self._every_ray:
            return []
        near: list[Task] = [partial(self._walk_near, face, depth[face.spec.name], observed) for face in faces]
        return near + [partial(self._clear_slab, n, faces, depth, observed) for n in range(len(self._slabs))]

    def _walk_near(self, face: Face, depth: NDArray[np.float32], observed: NDArray[np.uint8]) -> None:
        narrow = min(face.spec.height, face.spec.width)
        stop = clearing.NARROW_VOXELS * max(face.grid.voxel_size) * face.spec.focal / narrow
        every = max(1, narrow // clearing.NARROW_RAYS)
        carve_rays(
            0, face.spec.height, every, depth, face.slant, face.spec.far, 0.0, stop, face.view, self._shape,
            clearing.FREE_MIDDLE, observed.reshape(-1),
        )  # fmt: skip

    def _clear_slab(self, n: int, faces: Sequence[Face], depth: Images, observed: NDArray[np.uint8]) -> None:
        s, free = self._scratch[n], observed.reshape(-1)
        for face in faces:
            b = self._bounds[face.spec.name]
            clear_blocks(
                *self._slabs[n], depth[face.spec.name], b.levels, b.low, b.high, face.projection, face.reach,
                self._shape, free, s.stack, s.run, s.sides, s.spreads, s.uvw, s.offsets, s.pixels, s.depths,
            )  # fmt: skip

    def clear_rims(
        self, faces: Sequence[Face], depth: Images, observed: NDArray[np.uint8], occupied: NDArray[np.int64]
    ) -> list[Task]:
        """Mark the voxels beside free ones whose rim is seen past; `occupied` (flat numbers) are seen already."""
        if self._every_ray:
            return []
        observed.reshape(-1)[occupied] = clearing.OCCUPIED
        return [partial(self._clear_rims, n, faces, depth, observed) for n in range(len(self._slabs))]

    def _clear_rims(self, n: int, faces: Sequence[Face], depth: Images, observed: NDArray[np.uint8]) -> None:
        s = self._scratch[n]
        free = observed.reshape(-1)
        count = list_edges(*self._slabs[n], free, self._shape, s.edges, s.plane, s.words)
        for face in faces:
            b = self._bounds[face.spec.name]
            clear_edges(
                s.edges, count, depth[face.spec.name], b.levels, b.low, b.high, face.view, face.projection, face.reach,
                self._shape, free, s.spreads, s.uvw, clearing.RIM, s.rim,
            )  # fmt: skip
