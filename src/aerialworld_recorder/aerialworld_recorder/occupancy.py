"""Occupancy from depth: what a vehicle's depth faces see of the voxel grid around it.

Three answers per voxel: is there a surface, of which class, and has it been seen at all. Surfaces are marked where rays
end and along the surface between neighbouring rays (`surface`), free space along the rays (`carving`).

Accuracy. All arithmetic is float64. A hit is moved on along its ray by NUDGE before its voxel is chosen: a surface that
lies exactly on the border of two voxels then belongs to the one behind it, seen from the camera, whatever the last bit
of the float32 depth says (one bit is 8 µm at 100 m). 1 mm is far below the 1 cm within which a voxel still counts as
correct.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose, grid_from_map
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import DYNAMIC, FREE, NUM_CLASSES
from aerialworld_core.occupancy import Occupancy
from aerialworld_core.rig import CameraSpec, Rig
from aerialworld_recorder import carving, surface

# Typed loosely: numba's stubs declare compiled functions without arguments.
carve_face: Any = carving.carve_face
place_samples: Any = surface.place_samples
join_samples: Any = surface.join_samples

#: Metres along the ray from a measured hit to the point whose voxel is marked.
NUDGE = 1e-3
#: Two neighbouring hits continue one plane if depth differs from the prediction by less: metres, and metres per metre.
PLANE_TOLERANCE = (5e-3, 1e-4)
#: How far, in pixels, a surface is carried on where it ends between two pixels.
REACH = 0.5
#: Rays at every 2^l-th pixel carve only from where those at every 2^(l + 1)-th are this many of a voxel's shortest
#: edges apart. 0 carves along every ray from the camera on; 1.25 leaves less than 0.3 % of the observed voxels out
#: (city scenes from 2 to 100 m above ground, a bare room) for an eighth of the steps.
CARVE_SPACING = 1.25


@dataclass(frozen=True)
class ProjectionStats:
    """What one projection met.

    hits              pixels with a finite positive depth
    clipped_share     of the surface seen within the grid's x-y range, the share below its bottom; a pixel weighs the
                      area that it covers across its ray (solid angle · range²)
    above             hit pixels within the x-y range above the grid's top
    unlabelled_share  share of the hits whose class is 0 (Gazebo's "no label"); 1.0 without class images
    steps             voxels walked while carving
    seen_area, clipped_area   m², the two parts of clipped_share
    """

    hits: int
    clipped_share: float
    above: int
    unlabelled_share: float
    steps: int
    seen_area: float
    clipped_area: float


class _View(NamedTuple):
    """A face's rays in voxel units: where they start, the direction of pixel (0, 0) per metre of optical-axis depth,
    and its change per column and per row."""

    origin: NDArray[np.float64]
    corner: NDArray[np.float64]
    du: NDArray[np.float64]
    dv: NDArray[np.float64]


class OccupancyProjector:
    """Turns the depth and class images of one rig into voxels.

    `datum` is the map height of the grid's z = 0. With `euclidean` the depth is the distance along the ray, otherwise
    along the optical axis (the project's convention). `workers` threads share the faces (default: the machine's cores,
    at most one per face and one more); the result does not depend on their number. `carve_all` carves along every ray
    from the camera on, which is slower and observes up to 0.3 % more voxels.

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
    ) -> None:
        if not rig.depth:
            raise InputError(f"rig {rig.name!r} has no depth faces; occupancy is projected from depth images")
        if not np.isfinite(datum):
            raise InputError(f"the datum must be a finite height in map, not {datum}")
        count = workers if workers is not None else min(os.cpu_count() or 1, len(rig.depth) + 1)
        if count < 1:
            raise InputError(f"workers must be at least 1, not {count}")
        self.rig, self.grid, self.datum, self.euclidean = rig, grid, float(datum), euclidean
        self.carve_all = carve_all
        self.last: ProjectionStats | None = None
        self._faces = {spec.name: spec for spec in rig.depth}
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="carve") if count > 1 else None
        self._slots = np.full(grid.size, -1, np.int32)
        self._dynamic = np.isin(np.arange(NUM_CLASSES), DYNAMIC)
        self._scratch: dict[str, tuple[NDArray[np.float64], NDArray[np.int32]]] = {}

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
    ) -> Occupancy:
        """Voxels of one frame from `depth` (face → (H, W) float32 metres) and `semantic` (face → (H, W) uint8).

        `state_pose` is base_link in map. Finite positive depth is a hit; +inf is free up to the face's `far` or the
        grid's boundary; −inf, NaN, zero and negative depth say nothing. Faces that are absent contribute nothing. A
        voxel's class is the majority of its samples, dynamic classes before static ones, ties to the lower id; without
        `semantic` it is 0 (others). Counters of the frame are in `last`.

        Raises InputError for an unknown face, a wrong size or type, or an id that is no surface class.
        """
        labels = self._check(depth, semantic)
        faces = [(spec, self._view(spec, state_pose)) for name, spec in self._faces.items() if name in depth]
        occupancy = np.zeros(self.grid.shape, np.uint8)
        semantics = np.full(self.grid.shape, FREE, np.uint8)
        observed = np.zeros(self.grid.shape, np.uint8)
        flat = occupancy.reshape(-1), semantics.reshape(-1)
        carving_faces = [self._submit(self._carve, spec, view, depth[spec.name], observed) for spec, view in faces]
        try:
            sums = self._place(faces, depth, labels, *flat)
            self._join(faces, labels, *flat)
        finally:  # the threads write into `observed` until they end
            steps = sum(wait() for wait in carving_faces)
        self._settle(faces, labels, int(sums[surface.MIXED_VOXELS]), *flat, observed.reshape(-1))
        area, below, hits = sums[surface.AREA], sums[surface.AREA_BELOW], sums[surface.HITS]
        self.last = ProjectionStats(
            hits=int(hits),
            clipped_share=float(below / area) if area else 0.0,
            above=int(sums[surface.ABOVE]),
            unlabelled_share=float(sums[surface.UNLABELLED] / hits) if hits else 0.0,
            steps=steps,
            seen_area=float(area),
            clipped_area=float(below),
        )
        return Occupancy(occupancy, semantics, observed.view(np.bool_))

    def _check(
        self, depth: Mapping[str, NDArray[np.float32]], semantic: Mapping[str, NDArray[np.uint8]] | None
    ) -> dict[str, NDArray[np.uint8]]:
        """Class images of the faces in `depth` (zeros without `semantic`), after checking names, sizes and types."""
        labels = {}
        for name, image in depth.items():
            spec = self._faces.get(name)
            if spec is None:
                raise InputError(f"depth face {name!r} is not of rig {self.rig.name!r} ({', '.join(self._faces)})")
            shape = (spec.height, spec.width)
            if image.shape != shape or image.dtype != np.float32:
                raise InputError(f"depth face {name!r} is {image.dtype} {image.shape}; the rig says float32 {shape}")
            if semantic is None:
                labels[name] = np.zeros(shape, np.uint8)
                continue
            if name not in semantic:
                raise InputError(f"depth face {name!r} has no class image; give one for every face, or none at all")
            label = labels[name] = semantic[name]
            if label.shape != shape or label.dtype != np.uint8:
                raise InputError(f"class image {name!r} is {label.dtype} {label.shape}; the rig says uint8 {shape}")
        return labels

    def _view(self, spec: CameraSpec, pose: Pose) -> _View:
        to_grid = grid_from_map(pose, self.datum)
        size = np.array(self.grid.voxel_size)
        rotation = to_grid[:3, :3] @ pose.rotation @ spec.optical_pose.rotation / size[:, None]
        position = to_grid[:3, :3] @ pose.transform(spec.pose.position) + to_grid[:3, 3]
        origin = (position - np.array(self.grid.minimum)) / size
        first = np.array([(0.5 - spec.width / 2) / spec.focal, (0.5 - spec.height / 2) / spec.focal, 1.0])
        return _View(origin, rotation @ first, rotation[:, 0] / spec.focal, rotation[:, 1] / spec.focal)

    def _submit(self, function: Callable[..., int], *arguments: Any) -> Callable[[], int]:
        """Start in the pool and return what waits for the result; without a pool, run at once."""
        if self._pool is None:
            result = function(*arguments)
            return lambda: result
        return self._pool.submit(function, *arguments).result

    def _carve(self, spec: CameraSpec, view: _View, depth: NDArray[np.float32], observed: NDArray[np.uint8]) -> int:
        starts = np.zeros(carving.LEVELS)
        if not self.carve_all:
            # Rays at every 2^l-th pixel start where those at every 2^(l + 1)-th are CARVE_SPACING voxels apart.
            spacing = CARVE_SPACING * min(self.grid.voxel_size) * spec.focal
            starts[:-1] = spacing / 2.0 ** np.arange(1, carving.LEVELS)
        return int(carve_face(depth, _optics(spec), self.euclidean, spec.far, view, starts, observed))

    def _place(
        self,
        faces: list[tuple[CameraSpec, _View]],
        depth: Mapping[str, NDArray[np.float32]],
        labels: Mapping[str, NDArray[np.uint8]],
        state: NDArray[np.uint8],
        classes: NDArray[np.uint8],
    ) -> NDArray[np.float64]:
        """Mark the voxels that hold hits; returns the sums that `surface` names, over all faces."""
        sums = np.zeros(7)
        for spec, view in faces:
            size = (spec.height, spec.width)
            scratch = self._scratch.setdefault(spec.name, (np.empty(size), np.empty(size, np.int32)))
            place_samples(
                depth[spec.name], labels[spec.name], _optics(spec), self.euclidean, view, self.grid.shape, *scratch,
                state, classes, sums,
            )  # fmt: skip
            if sums[surface.BAD_CLASS]:
                raise InputError(
                    f"class image {spec.name!r}: {int(sums[surface.BAD_CLASS])} hit pixels bear ids from {FREE} on; "
                    f"surface classes are 0 … {FREE - 1}: check the labels of the world's visuals"
                )
        return sums

    def _join(
        self,
        faces: list[tuple[CameraSpec, _View]],
        labels: Mapping[str, NDArray[np.uint8]],
        state: NDArray[np.uint8],
        classes: NDArray[np.uint8],
    ) -> None:
        """Mark the voxels that the surface between hits crosses."""
        for spec, view in faces:
            tolerance = (PLANE_TOLERANCE[0] + 4 * spec.noise_stddev, PLANE_TOLERANCE[1])
            join_samples(
                *self._scratch[spec.name], labels[spec.name], _optics(spec), tolerance, REACH, view, self.grid.shape,
                self._dynamic, state, classes,
            )  # fmt: skip

    def _settle(
        self,
        faces: list[tuple[CameraSpec, _View]],
        labels: Mapping[str, NDArray[np.uint8]],
        mixed: int,
        state: NDArray[np.uint8],
        classes: NDArray[np.uint8],
        observed: NDArray[np.uint8],
    ) -> None:
        """Let the samples of voxels with several classes vote, and turn the marks into the result."""
        votes, touched = np.zeros((mixed, NUM_CLASSES), np.uint32), np.empty(mixed, np.int32)
        count = 0
        try:
            if mixed:
                for spec, _ in faces:
                    voxel = self._scratch[spec.name][1]
                    count = surface.vote_mixed(voxel, labels[spec.name], state, self._slots, touched, votes, count)
            surface.settle(self._slots, touched, votes, count, self._dynamic, state, classes, observed)
        except BaseException:  # an interrupted frame must not vote in the next one
            self._slots.fill(-1)
            raise


def _optics(spec: CameraSpec) -> tuple[float, tuple[float, float], float]:
    """(1/f, principal point, nudge) as the kernels take them."""
    return 1.0 / spec.focal, (spec.width / 2, spec.height / 2), NUDGE
