"""Several frames as one: a wall seen twice is one wall, what moves leaves no trail, a LiDAR sees as far as its returns.

The scene is a wall at x = 10 m and a car-sized box before it that stands elsewhere in each frame; depth and returns
are computed from their planes.
"""

from __future__ import annotations

import numpy as np
import pytest

from aerialworld_core.frames import Pose, grid_from_map
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import CAR, FREE, MANMADE
from aerialworld_core.rig import CUBE_FACES, CameraSpec, LidarSpec, Rig
from aerialworld_recorder.fusion import DepthSight, LidarSight, fused
from aerialworld_recorder.lidar_occupancy import LidarProjector
from aerialworld_recorder.occupancy import OccupancyProjector
from aerialworld_recorder.votes import majority

GRID = VoxelGrid.from_range((-16, -16, -8, 16, 16, 8), (0.5, 0.5, 0.5))
WALL = 10.2
RIG = Rig(
    "cube",
    (),
    tuple(
        CameraSpec(face, Pose.from_rpy(0, 0, 0, 0, pitch, yaw), 160, 160, np.pi / 2, 0.1, 200.0, 10.0)
        for face, (yaw, pitch) in CUBE_FACES.items()
    ),
)
LIDAR = LidarSpec("lidar", Pose.from_rpy(0.3, 0, 0.2, 0, 0, 0.5), 512, -np.pi, 3.12, 64, -0.5, 0.5, 0.5, 60.0, 10.0)
#: Where the box's middle is at each frame: it never hides one part of the wall in all of them.
BOXES = (np.array([6.0, -4.0, 0.0]), np.array([6.0, 0.0, 0.0]), np.array([6.0, 4.0, 0.0]))
SIZE = np.array([2.0, 3.0, 1.5])
POSES = (
    Pose.from_rpy(0.0, -2.0, 0.0, 0.02, 0.03, 0.2),
    Pose.from_rpy(0.3, 0.0, 0.0),
    Pose.from_rpy(-0.4, 2.1, 0.1, 0, -0.05, -0.4),
)


def cast(origin: np.ndarray, rays: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance (N,) along unit rays (N, 3), inf for none, and whether it is the box's."""
    with np.errstate(divide="ignore", invalid="ignore"):
        wall = np.where(rays[:, 0] > 0, (WALL - origin[0]) / rays[:, 0], np.inf)
        a, b = (box - SIZE / 2 - origin) / rays, (box + SIZE / 2 - origin) / rays
        near, far = np.minimum(a, b).max(axis=1), np.maximum(a, b).min(axis=1)
    hit = np.where((near <= far) & (near > 0), near, np.inf)
    return np.minimum(wall, hit), hit < wall


def depth_sight(n: int, projector: OccupancyProjector) -> DepthSight:
    depth, semantic = {}, {}
    for spec in RIG.depth:
        v, u = np.mgrid[: spec.height, : spec.width].reshape(2, -1)
        local = np.column_stack(
            [(u + 0.5 - spec.width / 2) / spec.focal, (v + 0.5 - spec.height / 2) / spec.focal, np.ones(len(u))]
        )
        slant = np.linalg.norm(local, axis=1)
        rays = (local / slant[:, None]) @ (POSES[n].rotation @ spec.optical_pose.rotation).T
        distance, moving = cast(POSES[n].position, rays, BOXES[n])
        beyond = distance > spec.far
        shape = (spec.height, spec.width)
        depth[spec.name] = np.where(beyond, np.inf, distance / slant).astype(np.float32).reshape(shape)
        semantic[spec.name] = np.where(moving, CAR, MANMADE).astype(np.uint8).reshape(shape)
    return DepthSight(POSES[n], depth, semantic, projector)


def lidar_sight(n: int, projector: LidarProjector) -> LidarSight:
    az, el = (a.ravel() for a in np.meshgrid(LIDAR.azimuths, LIDAR.elevations))
    local = np.column_stack([np.cos(el) * np.cos(az), np.cos(el) * np.sin(az), np.sin(el)])
    sensor = POSES[n] @ LIDAR.pose
    distance, _ = cast(sensor.position, local @ sensor.rotation.T, BOXES[n])
    hit = distance < LIDAR.max_range
    points = np.column_stack([local[hit] * distance[hit, None], np.ones(hit.sum())]).astype(np.float32)
    actor = {"position": BOXES[n], "orientation": [0, 0, 0, 1], "size": SIZE}
    return LidarSight(POSES[n], points, [actor], projector)


def cells(pose: Pose, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    m = grid_from_map(pose, 0.0)
    return GRID.indices(points @ m[:3, :3].T + m[:3, 3])


def on_wall(step: float = 0.1) -> np.ndarray:
    y, z = (a.ravel() for a in np.meshgrid(np.arange(-9, 9, step), np.arange(-5, 5, step)))
    return np.column_stack([np.full(len(y), WALL + 1e-3), y, z])


def in_box(n: int, shrink: float) -> np.ndarray:
    axes = [np.arange(-s / 2 + shrink, s / 2 - shrink, 0.1) for s in SIZE]
    return np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 3) + BOXES[n]


@pytest.fixture(params=["depth", "lidar"])
def sights(request: pytest.FixtureRequest) -> list:
    if request.param == "depth":
        projector = OccupancyProjector(RIG, GRID, 0.0)
        return [depth_sight(n, projector) for n in range(3)]
    lidar = LidarProjector(LIDAR, GRID, 0.0)
    return [lidar_sight(n, lidar) for n in range(3)]


def test_a_wall_seen_from_three_places_is_one_wall(sights: list) -> None:
    """Every voxel of the fused wall holds a piece of it, to the centimetre; what one frame's box hid the others add."""
    found = fused(sights[1], [sights[0], sights[2]])
    ijk = np.argwhere(found.occupancy & (found.semantics != CAR))
    back = np.linalg.inv(grid_from_map(POSES[1], 0.0))
    corners = np.array(list(np.ndindex(2, 2, 2)))
    low = np.array(GRID.minimum) + (ijk[:, None] + corners) * np.array(GRID.voxel_size)
    x = (low @ back[:3, :3].T + back[:3, 3])[..., 0]
    touches = (x.min(axis=1) <= WALL + 0.01) & (x.max(axis=1) >= WALL - 0.01)
    front = np.abs((low @ back[:3, :3].T + back[:3, 3]) - BOXES[1]).max(axis=(1, 2)) < 3.5
    assert touches[~front].all() and (~front).sum() > 500
    alone, together = sights[1].project(POSES[1], static=False), found
    hidden, inside = cells(POSES[1], on_wall())
    at = tuple(hidden[inside].T)
    assert alone.occupancy[at].mean() < 0.95 < together.occupancy[at].mean()
    assert not (alone.observed & ~together.observed).any()


def test_what_moves_leaves_no_trail(sights: list) -> None:
    """Where the box was in the neighbours' frames there is nothing; where it is in the frame's own it is."""
    found = fused(sights[1], [sights[0], sights[2]])
    for n in (0, 2):
        ijk, _ = cells(POSES[1], in_box(n, 0.0))
        assert not found.occupancy[tuple(ijk.T)].any()
    mine = sights[1].project(POSES[1], static=False)
    ijk, _ = cells(POSES[1], in_box(1, -0.3))
    box = np.zeros(GRID.shape, bool)
    box[tuple(ijk.T)] = True
    assert (found.occupancy[box] >= mine.occupancy[box]).all() and mine.occupancy[box].sum() > 20
    assert np.array_equal(found.semantics == CAR, mine.semantics == CAR)


def test_a_frame_alone_is_what_it_saw(sights: list) -> None:
    alone, plain = fused(sights[0], []), sights[0].project(POSES[0], static=False)
    assert np.array_equal(alone.semantics, plain.semantics) and np.array_equal(alone.observed, plain.observed)


def test_a_lidar_carves_up_to_its_returns_and_no_farther() -> None:
    projector = LidarProjector(LIDAR, GRID, 0.0)
    sight = lidar_sight(0, projector)
    found = sight.project(POSES[0], static=False)
    sensor = POSES[0] @ LIDAR.pose
    ends = POSES[0].transform(LIDAR.pose.transform(sight.points[:, :3]))
    for share in np.linspace(0.0, 0.999, 41):
        ijk, inside = cells(POSES[0], sensor.position + share * (ends - sensor.position))
        assert found.observed[tuple(ijk[inside].T)].all()
    ijk, inside = cells(POSES[0], on_wall() + np.array([0.9, 0, 0]))  # a voxel's diagonal behind the wall
    assert inside.sum() > 1000 and not found.observed[tuple(ijk[inside].T)].any()
    assert np.array_equal(found.occupancy == 1, found.semantics != FREE)


def test_returns_outside_the_grid_carve_within_it() -> None:
    small = VoxelGrid.from_range((-4, -4, -2, 4, 4, 2), (0.5, 0.5, 0.5))
    projector = LidarProjector(LidarSpec("l", Pose.identity(), 1, 0, 0, 1, 0, 0, 0.5, 60, 10), small, 0.0)
    pose = Pose.from_rpy(0.1, 0.1, 0.1)
    found = projector.project(pose, np.array([[30.0, 0.0, 0.0, 1.0]], np.float32))
    line = found.observed[:, 8, 4]
    assert found.occupancy.sum() == 0 and line.tolist() == [False] * 8 + [True] * 8 and found.observed.sum() == 8
    none = projector.project(pose, np.zeros((0, 4), np.float32))
    assert not none.observed.any()


def test_votes_are_those_of_the_projector() -> None:
    """The most frequent class, those that move before the others, ties to the lower id."""
    samples = [(5, 15), (5, 15), (5, 11), (9, 4), (9, 15), (9, 15), (2, 16), (2, 11), (7, 10), (7, 4), (7, 10)]
    cell, kind = majority(np.array([c for c, _ in samples]), np.array([k for _, k in samples], np.uint8))
    assert dict(zip(cell.tolist(), kind.tolist(), strict=True)) == {2: 11, 5: 15, 7: 10, 9: 4}
