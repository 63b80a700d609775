"""Occupancy against a city that is known exactly: voxels computed by hand, and recall and precision in a mixed city.

The depth images come from analytic ray-solid intersection (`box_city`), not from the engine.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from aerialworld_core.frames import Pose
from aerialworld_core.grid import DEFAULT_GRID, VoxelGrid
from aerialworld_core.labels import CAR, FREE, MANMADE, TERRAIN
from aerialworld_recorder.occupancy import OccupancyProjector

sys.path.insert(0, str(Path(__file__).parent))
from box_city import BoxCity, cube_rig, mixed_city

GRID = DEFAULT_GRID  # 200×200×121 voxels of 0.4×0.4×1.25 m from (−40, −40, −2)
RIG = cube_rig()


def project(city: BoxCity, pose: Pose, datum: float = 0.0, grid: VoxelGrid = GRID, rig=RIG):
    return OccupancyProjector(rig, grid, datum).project(pose, *city.depth_images(rig, pose))


def filled(*ranges: tuple[int, int]) -> np.ndarray:
    """A grid with one block of voxels set, each range including both ends."""
    block = np.zeros(GRID.shape, bool)
    block[tuple(slice(a, b + 1) for a, b in ranges)] = True
    return block


@pytest.mark.parametrize(("roll", "pitch"), [(0.0, 0.0), (0.2, -0.15), (-0.3, 0.25)])
def test_a_block_north_of_the_vehicle_fills_the_voxels_computed_by_hand(roll: float, pitch: float):
    # The drone hovers at map (100, 50, 30) facing north (yaw 90°); datum 10. Forward is +y of map, left is −x.
    #   near wall  y = 62.2 → 12.2 m ahead       → i = (12.2 + 40)/0.4 = 130.5 → 130
    #   far wall   y = 66.9 → 16.9 m ahead       → i = 142.25 → 142
    #   x = 95.5 … 102.3    → left 4.5 … −2.3    → j = 44.5/0.4 = 111.25 → 111 … 37.7/0.4 = 94.25 → 94
    #   roof z = 26.5       → 16.5 above datum   → k = 18.5/1.25 = 14.8 → 14
    #   ground z = 10.3     → 0.3 above datum    → k = 2.3/1.25 = 1.84 → 1
    city = BoxCity(ground=(10.3, 0.0, 0.0))
    city.add_box((95.5 + 102.3) / 2, (62.2 + 66.9) / 2, 10.0, (102.3 - 95.5, 66.9 - 62.2, 16.5))
    result = project(city, Pose.from_rpy(100, 50, 30, roll, pitch, np.pi / 2), datum=10.0)
    occupied = result.occupancy.astype(bool)
    building = filled((130, 130), (94, 111), (2, 14)) | filled((130, 142), (94, 111), (14, 14))
    assert (occupied[:, :, 2:] == building[:, :, 2:]).all()
    assert (result.semantics[building] == MANMADE).all()
    # The floor is level 1, but for what stands or hides there: the block and its shadow, which widens up to the rim to
    # 4.5·40/12.2 = 14.8 m on the left (j = 136) and 7.5 m on the right (j = 81).
    floor = occupied[:, :, 1]
    assert floor[:130].all() and floor[:, 138:].all() and floor[:, :80].all()
    assert (result.semantics[:130, :, 1] == TERRAIN).all()
    assert not floor[131:143, 95:111].any() and not result.observed[132:142, 96:110, 1:14].any()
    # Line of sight from 20 m over the far edge (16.9 m out, 16.5 m up): it meets the ground at 95 m, beyond the rim.
    assert not floor[143:, 97:108].any()
    assert not occupied[:, :, 0].any() and not result.observed[:, :, 0].any()
    assert (result.semantics[~occupied] == FREE).all()


@pytest.mark.parametrize(("yaw_deg", "i", "j"), [(0.0, 125, 100), (90.0, 100, 74), (180.0, 74, 99), (-90.0, 99, 125)])
def test_the_yaw_turns_the_world_the_right_way(yaw_deg: float, i: int, j: int):
    # A pillar 10.2 m east and 0.2 m north: ahead of one that faces east, right of one that faces north, …
    city = BoxCity(ground=None)
    city.add_box(-300 + 10.2, 70 + 0.2, 0.0, (0.2, 0.2, 9.0))
    result = project(city, Pose.from_rpy(-300, 70, 4.0, 0.0, 0.0, np.deg2rad(yaw_deg)))
    assert {(a, b) for a, b, _ in np.argwhere(result.occupancy)} == {(i, j)}


@pytest.mark.parametrize("altitude", [12.0, 45.0, 99.0, 140.0])
def test_a_roof_keeps_its_level_while_the_vehicle_climbs(altitude: float):
    # Roof at map z = 47.3, datum 41: 6.3 above it → k = (6.3 + 2)/1.25 = 6.64 → 6, whatever the altitude.
    city = BoxCity(ground=None)
    city.add_box(0.0, 0.0, 44.0, (19.5, 19.5, 3.3))  # ±9.75 m → 75.6 … 124.4
    result = project(city, Pose.from_rpy(0, 0, 41.0 + altitude), datum=41.0)
    assert (result.occupancy == filled((75, 124), (75, 124), (6, 6))).all()


def test_the_sensor_that_looks_up_sees_a_ceiling():
    # Underside at z = 30.2 → k = 32.2/1.25 = 25.76 → 25.
    city = BoxCity(ground=None)
    city.add_box(0.0, 0.0, 30.2, (19.5, 19.5, 3.0))
    result = project(city, Pose.from_rpy(0, 0, 5.0, 0.05, -0.08, 0.0))
    assert (result.occupancy == filled((75, 124), (75, 124), (25, 25))).all()


def test_a_slope_lies_in_the_voxels_that_its_plane_crosses():
    # z = 0.075 + 0.3·x: between x and x + 0.4 the plane rises by 0.12 m; levels of the voxel's west and east edges.
    city = BoxCity(ground=(0.075, 0.3, 0.0))
    result = project(city, Pose.from_rpy(0, 0, 25.0, 0.1, 0.1, 0.0))
    x = -40 + 0.4 * np.arange(201)
    k = np.floor((0.075 + 0.3 * x + 2) / 1.25).astype(int)
    for i in range(200):
        levels = [a for a in range(k[i], k[i + 1] + 1) if a >= 0]
        column = result.occupancy[i].astype(bool)
        assert column[:, levels].all(), i
        assert column.sum() == 200 * len(levels), i


#: Height, yaw, roll, pitch, city, ground (z at the origin, slopes).
VIEWS = [
    (2.0, 0.6, 0.0, 0.0, 2, (0.0, 0.0, 0.0)),
    (60.0, 2.7, -0.15, 0.2, 3, (0.0, 0.0, 0.0)),
    (100.0, 0.0, 0.1, 0.15, 4, (0.0, 0.0, 0.0)),
    (30.0, 1.1, 0.0, -0.2, 3, (14.0, 0.12, -0.2)),
]


@pytest.mark.parametrize(("height", "yaw", "roll", "pitch", "seed", "ground"), VIEWS)
def test_recall_and_precision_in_a_mixed_city(height, yaw, roll, pitch, seed, ground):
    city = mixed_city(seed, ground)
    pose = Pose.from_rpy(0.3, -0.2, city.ground_z(0.3, -0.2) + height, roll, pitch, yaw)
    recall, precision, surface = city.score(RIG, pose, GRID, 0.0, project(city, pose).occupancy)
    assert surface > 20_000
    assert recall >= 0.99 and precision >= 0.99, (recall, precision)


@pytest.mark.long
@pytest.mark.parametrize("height", [2.0, 30.0, 60.0, 100.0])
def test_recall_and_precision_over_many_cities(height):
    # A single view may lose more: a large wall or roof that is grazed (|cos| of incidence about 0.02) is one or two
    # pixels wide, too few to tell its plane. In city 0 from 2 m above ground three such surfaces are 1.2 % of S. The
    # mean over the views may not.
    rng = np.random.default_rng(round(height))
    scores = []
    for seed in range(8):
        tilt = (0.0, 0.0) if height < 3 else rng.uniform(-0.25, 0.25, 2)
        city = mixed_city(seed)
        pose = Pose.from_rpy(*rng.uniform(-1, 1, 2), height, *tilt, rng.uniform(-np.pi, np.pi))
        scores.append(city.score(RIG, pose, GRID, 0.0, project(city, pose).occupancy)[:2])
    recall, precision = np.array(scores).T
    assert recall.mean() >= 0.99 and recall.min() >= 0.985 and precision.min() >= 0.99, scores


@pytest.mark.parametrize("wall", [8.13, 8.4])  # within a voxel, and exactly on the border of two
def test_two_views_of_one_wall_give_one_wall(wall: float):
    # A wall facing west at x = wall. The second view is 2.0 m (5 voxels) north and 1.2 m (3) west, tilted.
    city = BoxCity(ground=None)
    city.add_box(wall + 1.0, 0.0, -2.0, (2.0, 30.0, 20.0))
    first = project(city, Pose.from_rpy(0, 0, 9.0)).occupancy
    second = project(city, Pose.from_rpy(-1.2, 2.0, 15.0, 0.1, 0.2, 0.0)).occupancy
    i = int(np.floor((wall + 1e-3 + 40) / 0.4))
    expected = filled((i, i), (62, 137), (0, 14)).astype(np.uint8)[:, :, :14]  # |y| ≤ 15 → j = 62.5 … 137.5
    assert (first[:, :, :14] == expected).all()
    moved = np.zeros_like(second)
    moved[:-3, 5:] = second[3:, :-5]  # voxels of the second view in the first view's grid
    assert (moved[:, :, :14] == expected).all()


def test_adjoining_faces_see_one_corner_wall():
    # A wall that runs across the border between the front and the left face, 45° off both axes.
    city = BoxCity(ground=None)
    centre = 14.0 / np.sqrt(2.0)
    city.add_box(centre, centre, -2.0, (2.0, 24.0, 30.0), yaw=np.pi / 4)
    result = project(city, Pose.from_rpy(0, 0, 10.0))
    ijk = np.argwhere(result.occupancy)
    assert city.touches(ijk, Pose.from_rpy(0, 0, 10.0), GRID, 0.0).all()
    i, j = np.meshgrid(np.arange(200), np.arange(200), indexing="ij")
    along = (i + j) * 0.4 - 80  # √2 × distance of the voxel's lower corner from the origin along the wall's normal
    crossed = (along < 13 * np.sqrt(2)) & (along + 0.8 > 13 * np.sqrt(2)) & (abs(i - j) * 0.4 < 11.5 * np.sqrt(2))
    assert (result.occupancy[:, :, 3:20].all(axis=2) >= crossed).all()  # no gap where the faces meet


def test_hovering_alone_in_an_empty_world():
    pose = Pose.from_rpy(5, 6, 74.0, 0.1, -0.1, 1.0)
    depth, semantic = BoxCity(ground=None).depth_images(RIG, pose)
    assert all((image == np.inf).all() for image in depth.values())
    result = OccupancyProjector(RIG, GRID, 0.0).project(pose, depth, semantic)
    assert not result.occupancy.any() and (result.semantics == FREE).all()
    assert result.observed.mean() > 0.995
    full = OccupancyProjector(RIG, GRID, 0.0, carve_all=True).project(pose, depth, semantic)
    assert full.observed.mean() > 0.999


def test_a_car_on_the_ground_is_a_car_and_leaves_the_ground_around_it():
    # 4.4 × 1.7 × 1.5 m at (6.1, 2.1): i = (3.9 + 40)/0.4 = 109.75 … 120.75; j = 41.25/0.4 = 103.1 … 107.4; top at 1.6:
    # k = 3.6/1.25 = 2.88 → 2.
    city = BoxCity(ground=(0.1, 0.0, 0.0))
    city.add_box(6.1, 2.1, 0.1, (4.4, 1.7, 1.5), label=CAR)
    result = project(city, Pose.from_rpy(0, 0, 20.0))
    car = result.semantics == CAR
    assert (car[:, :, 2] == filled((109, 120), (103, 107), (2, 2))[:, :, 2]).all()
    assert (car[:, :, 1] & ~filled((109, 120), (103, 107), (1, 1))[:, :, 1]).sum() == 0
    assert car[109, 103:107, 1].all()  # its near side shares the floor's voxels: the mover wins
    assert (result.semantics[:108, :, 1] == TERRAIN).all()


@pytest.mark.parametrize("height", [2.0, 30.0, 90.0])
def test_looking_up_voxels_observes_the_same_space_as_walking_every_ray(height: float):
    city, pose = mixed_city(2), Pose.from_rpy(0.3, -0.2, height, 0.1, -0.1, 0.4)
    images = city.depth_images(RIG, pose)
    fast = OccupancyProjector(RIG, GRID, 0.0).project(pose, *images)
    full = OccupancyProjector(RIG, GRID, 0.0, carve_all=True).project(pose, *images)
    assert not (fast.observed & ~full.observed).any()
    assert (fast.observed != full.observed).sum() < 0.003 * full.observed.sum()
    assert (fast.occupancy == full.occupancy).all() and (fast.semantics == full.semantics).all()


def test_curved_ground_seen_from_near_it_is_closed():
    # A bowl z = 0.1 + r²/800 (r from the vehicle), 2 m below the camera: rows lie up to 3 m apart at the grid's rim,
    # and no two of them on one plane. A ray (dx, dy, dz)·t from height h meets it where
    # (dx² + dy²)/800·t² − dz·t + 0.1 = h.
    pose, rig = Pose.from_rpy(0, 0, 2.1), cube_rig(mount=(0.0, 0.0, 0.0))
    depth, semantic = {}, {}
    for spec in rig.depth:
        v, u = np.mgrid[0 : spec.height, 0 : spec.width] + 0.5
        ray = np.stack([(u - spec.width / 2) / spec.focal, (v - spec.height / 2) / spec.focal, np.ones_like(u)], -1)
        ray = ray @ spec.optical_pose.rotation.T
        a, b = (ray[..., 0] ** 2 + ray[..., 1] ** 2) / 800, ray[..., 2]
        t = 2 * 2.0 / (-b + np.sqrt(b * b + 4 * a * 2.0))
        t[t * np.linalg.norm(ray, axis=-1) > spec.far] = np.inf
        depth[spec.name] = t.astype(np.float32)
        semantic[spec.name] = np.full(t.shape, TERRAIN, np.uint8)
    occupied = OccupancyProjector(rig, GRID, 0.0).project(pose, depth, semantic).occupancy.astype(bool)
    centres = -40 + 0.4 * (np.arange(200) + 0.5)
    z = 0.1 + (centres[:, None] ** 2 + centres[None] ** 2) / 800
    k = np.floor((z + 2) / 1.25).astype(int)
    i, j = np.indices(k.shape)
    assert occupied[i, j, k].mean() > 0.995
    low, high = np.maximum(np.abs(centres) - 0.2, 0), np.abs(centres) + 0.2
    lowest = np.floor((0.09 + (low[:, None] ** 2 + low[None] ** 2) / 800 + 2) / 1.25)
    highest = np.floor((0.11 + (high[:, None] ** 2 + high[None] ** 2) / 800 + 2) / 1.25)
    i, j, k = np.nonzero(occupied)
    assert ((k >= lowest[i, j]) & (k <= highest[i, j])).mean() > 0.99
