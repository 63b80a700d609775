"""What a rig's depth cube could have seen: the surface truth that recorded occupancy is scored against.

As the session layout defines it: a voxel belongs to the surface truth S when the area of mesh in it that is visible
from the cube, found by a ray oracle much denser than the depth images, exceeds 0.02 m². Recall = |occupied ∩ S| / |S|;
precision = the share of occupied voxels that meet a triangle of the world grown by 1 cm.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Array, Pose, grid_from_map
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.kernels import kernel
from aerialworld_core.occupancy import Occupancy
from aerialworld_core.processors import processors
from aerialworld_core.rig import CameraSpec, Rig
from aerialworld_core.world.voxelise import world_surface_voxels
from aerialworld_core.world.world import World

#: Triangles are grown by this when an occupied voxel is checked (metres).
PRECISION_GROW = 0.01

_BAND_RAYS = 1 << 19


def visible_area(
    world: World, rig: Rig, pose: Pose, grid: VoxelGrid, datum: float, oversample: int = 4
) -> NDArray[np.float64]:
    """Square metres of mesh in each voxel (`grid.shape`) that the depth faces see from `pose` (base_link in map).

    Each pixel is split into oversample² rays through the centres of its parts; a hit counts its ray's solid angle · r²
    / |cos incidence|. What is nearer than a face's near plane blocks and does not count, nor does what lies beyond far.
    Raises InputError for a rig without depth faces.
    """
    if not rig.depth:
        raise InputError(f"rig {rig.name} has no depth faces: nothing says what it could see")
    if oversample < 1:
        raise InputError(f"oversample must be at least 1, not {oversample}")
    to_grid = grid_from_map(pose, datum)
    area = np.zeros(grid.size)
    box = np.array(grid.minimum), np.array(grid.voxel_size), np.array(grid.shape)
    for band, directions, distance, face in _cast_ahead(world, list(_bands(rig, pose, oversample))):
        look = band.pose.rotation[:, 0].copy()
        _deposit(
            band.pose.position, directions, distance, face, world.rays.normals,
            look, band.spec.near, 1.0 / band.focal**2, to_grid, *box, area,
        )  # fmt: skip
    return area.reshape(grid.shape)


def visible_surface(
    world: World,
    rig: Rig,
    pose: Pose,
    grid: VoxelGrid,
    datum: float,
    oversample: int = 4,
    min_area: float = 0.02,
) -> NDArray[np.bool_]:
    """The surface truth S of a frame: bool `grid.shape`, True where more than `min_area` m² of mesh is visible."""
    return visible_area(world, rig, pose, grid, datum, oversample) > min_area


def score(
    world: World, rig: Rig, pose: Pose, grid: VoxelGrid, datum: float, occupancy: Occupancy
) -> dict[str, float | int | None]:
    """Recall, precision and what they rest on, of one frame's occupancy.

    Keys: `recall` (None without surface), `precision` (None without occupied voxels), `unobserved_share` (of S, not
    observed; None without surface), `surface_voxels` and `occupied_voxels` (counts).
    """
    if occupancy.occupancy.shape != grid.shape:
        raise InputError(f"occupancy of shape {occupancy.occupancy.shape} does not fit the grid's {grid.shape}")
    surface = visible_surface(world, rig, pose, grid, datum)
    occupied = occupancy.occupancy != 0
    touched = world_surface_voxels(world, grid, grid_from_map(pose, datum), PRECISION_GROW)
    seen, count = int(surface.sum()), int(occupied.sum())
    return {
        "recall": int((occupied & surface).sum()) / seen if seen else None,
        "precision": int((occupied & touched).sum()) / count if count else None,
        "unobserved_share": int((surface & ~occupancy.observed.astype(bool)).sum()) / seen if seen else None,
        "surface_voxels": seen,
        "occupied_voxels": count,
    }


@dataclass(frozen=True, eq=False)
class _Band:
    """Rows `first` … `last` − 1 of one face's dense image; `pose` is the face's link in map, `focal` in its pixels."""

    spec: CameraSpec
    pose: Pose
    focal: float
    columns: int
    rows: int
    first: int
    last: int


_Cast = tuple[_Band, Array, Array, NDArray[np.int32]]


def _bands(rig: Rig, pose: Pose, oversample: int) -> Iterator[_Band]:
    for spec in rig.depth:
        columns, rows = spec.width * oversample, spec.height * oversample
        height = max(1, _BAND_RAYS // columns)
        for first in range(0, rows, height):
            last = min(first + height, rows)
            yield _Band(spec, pose @ spec.pose, spec.focal * oversample, columns, rows, first, last)


def _cast(world: World, band: _Band) -> _Cast:
    directions = np.empty(((band.last - band.first) * band.columns, 3))
    _directions(band.columns, band.rows, band.first, band.last, band.focal, band.pose.rotation, directions)
    origins = np.broadcast_to(band.pose.position, directions.shape)
    distance, face = world.rays.first_hits(origins, directions, cull_backfaces=True, max_distance=band.spec.far)
    return band, directions, distance, face


def _cast_ahead(world: World, bands: list[_Band]) -> Iterator[_Cast]:
    """The bands' rays in order, cast by a thread per core, few bands ahead: sums stay the same, memory bounded."""
    workers = processors()
    waiting: deque[Future[_Cast]] = deque()
    _ = world.rays  # built once, before the threads ask for it
    with ThreadPoolExecutor(workers, thread_name_prefix="truth") as pool:
        for band in bands:
            waiting.append(pool.submit(_cast, world, band))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@kernel
def _directions(columns, rows, first, last, focal, rotation, out):  # type: ignore[no-untyped-def]
    """Unit rays of pixel rows first … last − 1, from the link's frame (x forward) turned into map, to `out` (N, 3)."""
    n = 0
    for v in range(first, last):
        z = -(v + 0.5 - rows / 2) / focal
        for u in range(columns):
            y = -(u + 0.5 - columns / 2) / focal
            length = np.sqrt(1.0 + y * y + z * z)
            for k in range(3):
                out[n, k] = (rotation[k, 0] + rotation[k, 1] * y + rotation[k, 2] * z) / length
            n += 1


@kernel
def _deposit(  # type: ignore[no-untyped-def]
    origin, directions, distance, face, normals, axis, near, pixel, to_grid, minimum, size, shape, area
):
    for i in range(len(face)):
        f = face[i]
        if f < 0:
            continue
        d, r = directions[i], distance[i]
        forward = d[0] * axis[0] + d[1] * axis[1] + d[2] * axis[2]
        if r * forward < near:
            continue
        n = normals[f]
        length = np.sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2])
        incidence = abs(n[0] * d[0] + n[1] * d[1] + n[2] * d[2]) / length
        if incidence == 0.0:
            continue
        index = 0
        inside = True
        for k in range(3):
            p = to_grid[k, 3]
            for m in range(3):
                p += to_grid[k, m] * (origin[m] + r * d[m])
            cell = np.floor((p - minimum[k]) / size[k])
            if cell < 0 or cell >= shape[k]:
                inside = False
                break
            index = index * shape[k] + int(cell)
        if inside:
            # A pixel of size 1/f² at depth 1 covers 1/f² · cos³ of the sphere around the camera.
            area[index] += pixel * (forward * forward * forward) * r * r / incidence
