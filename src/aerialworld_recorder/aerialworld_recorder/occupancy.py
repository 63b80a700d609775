"""Occupancy from depth: what a vehicle's depth faces see of the voxel grid around it.

Three answers per voxel: is there a surface, of which class, and has it been seen at all. Surfaces are marked where rays
end (`samples`) and along the surface between neighbouring rays (`joins`), free space where rays pass (`clearing`, and
`carving` where rays are far apart).

Accuracy. Where a surface lies is reckoned in float64. A hit is moved on along its ray by faces.NUDGE_METRES before
its voxel is chosen: a surface that lies exactly on the border of two voxels then belongs to the one behind it, seen
from the camera, whatever the last bit of the float32 depth says (one bit is 8 µm at 100 m). 1 mm is far below the 1
cm within which a voxel still counts as correct.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose, grid_from_map
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import FREE
from aerialworld_core.occupancy import Occupancy
from aerialworld_core.processors import processors
from aerialworld_core.rig import Rig
from aerialworld_core.stopwatch import IDLE, Stopwatch
from aerialworld_recorder.faces import Face
from aerialworld_recorder.free_space import FreeSpace, Task
from aerialworld_recorder.surface import Surface

#: A frame's work is cut into about ten pieces of unequal size: more threads would wait.
MOST_WORKERS = 6
_BLOCK = 1 << 17


@dataclass(frozen=True)
class ProjectionStats:
    """What one projection met.

    hits              pixels with a finite positive depth
    clipped_share     of the surface seen within the grid's x-y range, the share below its bottom; a pixel weighs the
                      area that it covers across its ray (solid angle · range²)
    above             hit pixels within the x-y range above the grid's top
    unlabelled_share  share of the hits whose class is 0 (Gazebo's "no label"); 1.0 without class images
    occupied, observed  voxels
    seen_area, clipped_area   m², the two parts of clipped_share
    """

    hits: int
    clipped_share: float
    above: int
    unlabelled_share: float
    occupied: int
    observed: int
    seen_area: float
    clipped_area: float


class OccupancyProjector:
    """Turns the depth and class images of one rig into voxels.

    `datum` is the map height of the grid's z = 0. With `euclidean` the depth is the distance along the ray, otherwise
    along the optical axis (the project's convention). `workers` threads look for free space while the caller's marks
    surfaces (default: the machine's cores, at most MOST_WORKERS; 1 does all in the caller's); the result does not
    depend on their number. `carve_all` walks every ray from the camera on, which is slower and observes up to 0.3 %
    more voxels. `stopwatch` is told the CPU time of the stages place, join, vote, carve and settle.

    Raises InputError when the rig has no depth faces or the datum is not finite. One projection at a time.
    """

    def __init__(
        self,
        rig: Rig,
        grid: VoxelGrid,
        datum: float,
        *,
        euclidean: bool = False,
        workers: int | None = None,
        carve_all: bool = False,
        stopwatch: Stopwatch = IDLE,
    ) -> None:
        if not rig.depth:
            raise InputError(f"rig {rig.name!r} has no depth faces; occupancy is projected from depth images")
        if not np.isfinite(datum):
            raise InputError(f"the datum must be a finite height in map, not {datum}")
        count = workers if workers is not None else min(processors(), MOST_WORKERS)
        if count < 1:
            raise InputError(f"workers must be at least 1, not {count}")
        self.rig, self.grid, self.datum, self.euclidean = rig, grid, float(datum), euclidean
        self.last: ProjectionStats | None = None
        self._faces = {spec.name: Face(spec, grid) for spec in rig.depth}
        self._surface = Surface(list(self._faces.values()), grid.shape)
        self._free = FreeSpace(list(self._faces.values()), grid.shape, carve_all)
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="carve") if count > 1 else None
        self._watch = stopwatch

    @property
    def clipped_share(self) -> float:
        """Of the last frame: see ProjectionStats."""
        return self.last.clipped_share if self.last else 0.0

    @property
    def unlabelled_share(self) -> float:
        """Of the last frame: see ProjectionStats."""
        return self.last.unlabelled_share if self.last else 0.0

    def project(
        self,
        state_pose: Pose,
        depth: Mapping[str, NDArray[np.float32]],
        semantic: Mapping[str, NDArray[np.uint8]] | None = None,
        *,
        around: Pose | None = None,
    ) -> Occupancy:
        """Voxels of one frame from `depth` (face → (H, W) float32 metres) and `semantic` (face → (H, W) uint8).

        `state_pose` is base_link in map. Finite positive depth is a hit; +inf is free up to the face's `far` or the
        grid's boundary; −inf, NaN, zero and negative depth say nothing. Faces that are absent contribute nothing. A
        voxel's class is the majority of its samples, dynamic classes before static ones, ties to the lower id; without
        `semantic` it is 0 (others). With `around` the grid lies around that pose instead of the camera's own: what one
        frame saw of another's grid. Counters of the frame are in `last`.

        Raises InputError for an unknown face, a wrong size or type, or an id that is no surface class.
        """
        labels = self._check(depth, semantic)
        faces = [face for name, face in self._faces.items() if name in depth]
        images = {face.spec.name: self._along_axis(face, depth[face.spec.name]) for face in faces}
        to_grid = grid_from_map(state_pose if around is None else around, self.datum)
        for face in faces:
            face.look(state_pose, to_grid)
        with self._watch.stage("settle"):
            occupancy = np.zeros(self.grid.shape, np.uint8)
            semantics = np.full(self.grid.shape, FREE, np.uint8)
            observed = np.zeros(self.grid.shape, np.uint8)
        state, classes = occupancy.reshape(-1), semantics.reshape(-1)
        running = self._start(self._free.bound_and_walk(faces, images, observed))
        try:
            with self._watch.stage("place"):
                sums = self._surface.place(faces, images, labels, state, classes)
            _finish(running)
            running = self._start(self._free.clear(faces, images, observed))
            with self._watch.stage("join"):
                self._surface.join(faces, images, labels, state, classes)
            with self._watch.stage("vote"):
                self._surface.vote(state, classes)
            _finish(running)
            running = self._start(self._free.clear_rims(faces, images, observed, self._surface.sampled))
            _finish(running)
        finally:  # the threads write into `observed` and their scratch until they end
            wait(running)
        with self._watch.stage("settle"):
            occupied, seen = _settle(state, observed.reshape(-1))
        self.last = ProjectionStats(
            hits=sums.hits,
            clipped_share=sums.area_below / sums.area if sums.area else 0.0,
            above=sums.above,
            unlabelled_share=sums.unlabelled / sums.hits if sums.hits else 0.0,
            occupied=occupied,
            observed=seen,
            seen_area=sums.area,
            clipped_area=sums.area_below,
        )
        return Occupancy(occupancy, semantics, observed.view(np.bool_))

    def _along_axis(self, face: Face, depth: NDArray[np.float32]) -> NDArray[np.float32]:
        """Depth along the optical axis, in C order, that the kernels may take for their own."""
        if self.euclidean:
            return depth * face.slant
        return np.require(depth, requirements=("C", "W"))

    def _start(self, tasks: Sequence[Task]) -> list[Future[None]]:
        """Begin the tasks; without a pool, do them."""
        if self._pool is not None:
            return [self._pool.submit(self._timed, task) for task in tasks]
        for task in tasks:
            self._timed(task)
        return []

    def _timed(self, task: Task) -> None:
        with self._watch.stage("carve"):
            task()

    def _check(
        self, depth: Mapping[str, NDArray[np.float32]], semantic: Mapping[str, NDArray[np.uint8]] | None
    ) -> dict[str, NDArray[np.uint8]]:
        """Class images of the faces in `depth` (zeros without `semantic`), after checking names, sizes and types."""
        labels = {}
        for name, image in depth.items():
            face = self._faces.get(name)
            if face is None:
                raise InputError(f"depth face {name!r} is not of rig {self.rig.name!r} ({', '.join(self._faces)})")
            shape = (face.spec.height, face.spec.width)
            if image.shape != shape or image.dtype != np.float32:
                raise InputError(f"depth face {name!r} is {image.dtype} {image.shape}; the rig says float32 {shape}")
            if semantic is None:
                labels[name] = np.zeros(shape, np.uint8)
                continue
            if name not in semantic:
                raise InputError(f"depth face {name!r} has no class image; give one for every face, or none at all")
            label = semantic[name]
            labels[name] = np.require(label, requirements=("C", "W"))
            if label.shape != shape or label.dtype != np.uint8:
                raise InputError(f"class image {name!r} is {label.dtype} {label.shape}; the rig says uint8 {shape}")
        return labels


def _settle(state: NDArray[np.uint8], observed: NDArray[np.uint8]) -> tuple[int, int]:
    """Make marks 0 or 1, in place, and what is occupied observed; returns how many voxels are. Block by block, so
    that each is in the processor's cache while it is worked on."""
    occupied = seen = 0
    for start in range(0, len(state), _BLOCK):
        s, o = state[start : start + _BLOCK], observed[start : start + _BLOCK]
        np.bitwise_or(o, s, out=o)
        for marks in (s, o):
            np.not_equal(marks, 0, out=marks.view(np.bool_))
        occupied += int(np.count_nonzero(s.view(np.bool_)))
        seen += int(np.count_nonzero(o.view(np.bool_)))
    return occupied, seen


def _finish(futures: Sequence[Future[Any]]) -> None:
    """Wait for all; raises what the first that failed raised."""
    for future in futures:
        future.result()
