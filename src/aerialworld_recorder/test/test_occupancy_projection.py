"""The projector's rules, each on images made by hand: conventions of depth, votes, carving, counters, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose
from aerialworld_core.grid import DEFAULT_GRID, VoxelGrid
from aerialworld_core.labels import CAR, FREE, MANMADE, PEDESTRIAN, TERRAIN, VEGETATION
from aerialworld_core.rig import CUBE_FACES, CameraSpec, Rig
from aerialworld_recorder.occupancy import OccupancyProjector

#: 0.5 m voxels over ±16 m and 0 … 16 m.
GRID = VoxelGrid.from_range((-16, -16, 0, 16, 16, 16), (0.5, 0.5, 0.5))
HERE = Pose.from_rpy(0.25, 0.25, 8.25)


def rig(size: int = 64, far: float = 200.0, faces=tuple(CUBE_FACES), hfov: float = np.pi / 2) -> Rig:
    return Rig(
        "cube",
        (),
        tuple(
            CameraSpec(
                n, Pose.from_rpy(0, 0, 0, 0, CUBE_FACES[n][1], CUBE_FACES[n][0]), size, size, hfov, 0.1, far, 10.0
            )
            for n in faces
        ),
    )


def images(r: Rig, value: float, label: int = MANMADE):
    depth = {c.name: np.full((c.height, c.width), value, np.float32) for c in r.depth}
    return depth, {n: np.full(d.shape, label, np.uint8) for n, d in depth.items()}


def cube_distance_room(r: Rig, euclidean: bool):
    """A room whose walls are 10 m from the cube on every side: depth 10 along every axis, longer along the rays."""
    depth, semantic = images(r, 10.0)
    if euclidean:
        for c in r.depth:
            x = (np.arange(c.width) + 0.5 - c.width / 2) / c.focal
            depth[c.name] = (10.0 * np.sqrt(1 + x[:, None] ** 2 + x[None] ** 2)).astype(np.float32)
    return depth, semantic


@pytest.mark.parametrize("euclidean", [False, True])
def test_both_depth_conventions_give_the_same_room(euclidean: bool):
    # The grid is centred on the vehicle, the walls lie at ±10 m: (10 + 16)/0.5 = 52 and (−10 + 16)/0.5 = 12, on the
    # border, so that the voxel behind it is marked: 11. Floor (−1.75) and ceiling (18.25) lie outside the grid.
    r = rig(200)
    result = OccupancyProjector(r, GRID, 0.0, euclidean=euclidean).project(HERE, *cube_distance_room(r, euclidean))
    expected = np.zeros(GRID.shape, bool)
    expected[[11, 52], 12:52, :] = True
    expected[12:52, [11, 52], :] = True
    got = result.occupancy.astype(bool)
    got[np.ix_([11, 52], [11, 52])] = False  # the edges of the room may fall into either wall's voxels
    assert (got == expected).all()
    assert result.observed[12:52, 12:52].mean() > 0.99
    assert not result.observed[:11].any() and not result.observed[53:].any()


def test_taking_one_depth_convention_for_the_other_is_noticed():
    r = rig(100)
    depth, semantic = cube_distance_room(r, True)
    right = OccupancyProjector(r, GRID, 0.0, euclidean=True).project(HERE, depth, semantic)
    wrong = OccupancyProjector(r, GRID, 0.0).project(HERE, depth, semantic)
    assert (wrong.occupancy[52] != right.occupancy[52]).mean() > 0.5


@pytest.mark.parametrize("value", [-np.inf, np.nan, 0.0, -3.0])
def test_depth_that_says_nothing_marks_nothing(value: float):
    r = rig()
    projector = OccupancyProjector(r, GRID, 0.0)
    result = projector.project(HERE, *images(r, value))
    assert not result.occupancy.any() and not result.observed.any() and (result.semantics == FREE).all()
    assert projector.last is not None and projector.last.hits == 0 and projector.clipped_share == 0.0


def test_infinite_depth_carves_to_the_boundary_or_to_far():
    depth, semantic = images(rig(200), np.inf)
    whole = OccupancyProjector(rig(200), GRID, 0.0, carve_all=True).project(HERE, depth, semantic)
    assert whole.observed.all() and not whole.occupancy.any()
    near = OccupancyProjector(rig(200, far=6.0), GRID, 0.0, carve_all=True).project(HERE, depth, semantic)
    centres = GRID.centers(np.argwhere(np.ones(GRID.shape))) - [0, 0, 8.25]
    distance = np.linalg.norm(centres, axis=1).reshape(GRID.shape)
    assert near.observed[distance < 5.5].all() and not near.observed[distance > 6.5].any()


def test_a_hit_wins_over_a_pass_and_what_lies_behind_is_unknown():
    # One narrow camera looks along +x; its middle ray ends after 10.1 m, all others pass through the same voxel and on.
    r = rig(9, faces=("front",), hfov=0.02)
    depth, semantic = images(r, np.inf)
    depth["front"][4, 4] = 10.1
    result = OccupancyProjector(r, GRID, 0.0).project(HERE, depth, semantic)
    assert np.argwhere(result.occupancy).tolist() == [[52, 32, 16]]  # (10.1 + 16)/0.5, 16/0.5, 8.25/0.5
    assert result.observed[32:64, 32, 16].all()
    depth["front"][:] = 10.1
    behind = OccupancyProjector(r, GRID, 0.0).project(HERE, depth, semantic)
    assert behind.observed[32:53, 32, 16].all() and not behind.observed[53:].any()
    assert not behind.observed[:32].any()


@pytest.mark.parametrize(
    ("labels", "winner"),
    [
        ([MANMADE, MANMADE, VEGETATION], MANMADE),
        ([VEGETATION, MANMADE, VEGETATION], VEGETATION),
        ([TERRAIN, TERRAIN, CAR], CAR),  # dynamic before static
        ([CAR, PEDESTRIAN, PEDESTRIAN, TERRAIN, TERRAIN, TERRAIN], PEDESTRIAN),
        ([VEGETATION, TERRAIN], TERRAIN),  # a tie goes to the lower id
    ],
)
def test_a_voxel_takes_the_class_of_most_of_its_samples(labels: list[int], winner: int):
    r = rig(6, faces=("front",), hfov=0.02)
    depth, semantic = images(r, np.inf)
    for n, label in enumerate(labels):
        depth["front"][n % 6, 2 * (n // 6)], semantic["front"][n % 6, 2 * (n // 6)] = 10.1, label
    projector = OccupancyProjector(r, GRID, 0.0)
    for _ in range(2):  # votes of one frame do not reach the next
        result = projector.project(HERE, depth, semantic)
        voxels = np.argwhere(result.occupancy)
        assert {tuple(v) for v in voxels} <= {(52, 32, 16), (52, 31, 16), (52, 32, 15), (52, 31, 15)}
        assert set(result.semantics[result.occupancy == 1]) >= {winner}
        assert winner in result.semantics[52, 31:33, 16]


def test_the_surface_between_two_samples_is_filled_and_a_gap_between_two_surfaces_is_not():
    # Six columns look along +x; a floor-to-sky plane that recedes to the left is sampled every few voxels.
    r = rig(6, faces=("front",))
    c = r.depth[0]
    x = (np.arange(6) + 0.5 - 3) / c.focal
    plane = (4.0 / (1 + 0.6 * x)).astype(np.float32)  # 1/z linear: one plane
    depth, semantic = images(r, np.inf)
    depth["front"][3, :] = plane
    result = OccupancyProjector(r, GRID, 0.0).project(HERE, depth, semantic)
    ground_plan = result.occupancy.any(axis=2)
    y_left, ahead = -x * plane, plane
    steps = np.linspace(0, 1, 400)
    for a in range(5):  # every point on the plane between two samples lies in an occupied voxel
        px = ahead[a] + steps * (ahead[a + 1] - ahead[a])
        py = y_left[a] + steps * (y_left[a + 1] - y_left[a])
        assert ground_plan[((px + 1e-3 + 16) / 0.5).astype(int), ((py + 16) / 0.5).astype(int)].mean() > 0.99
    # Two planes facing the camera, 3 m and 9 m away: nothing may stand between them.
    depth["front"][3, :] = [3, 3, 3, 9, 9, 9]
    result = OccupancyProjector(r, GRID, 0.0).project(HERE, depth, semantic)
    assert set(np.argwhere(result.occupancy)[:, 0]) == {38, 50}


def test_the_result_does_not_depend_on_threads_order_or_what_came_before():
    r = rig(120)
    rng = np.random.default_rng(3)
    depth, semantic = images(r, 0.0)
    for n in depth:
        depth[n][:] = rng.choice([np.inf, np.nan, 5.0, 7.5, 12.0], depth[n].shape)
        semantic[n][:] = rng.choice([CAR, TERRAIN, MANMADE], depth[n].shape)
    pose = Pose.from_rpy(3, 4, 8, 0.3, -0.4, 2.0)
    first = OccupancyProjector(r, GRID, 0.0, workers=1).project(pose, depth, semantic)
    other = OccupancyProjector(r, GRID, 0.0, workers=5)
    other.project(HERE, *images(r, 4.0, PEDESTRIAN))
    for _ in range(3):
        again = other.project(pose, dict(reversed(depth.items())), semantic)
        for a, b in zip(vars(first).values(), vars(again).values(), strict=True):
            assert (a == b).all()


def test_the_share_below_the_grid_is_weighed_by_area():
    # The left half of what the down face sees lies 15 m below (z = −5), the right half 10 m (z = 0): at equal angles
    # the areas are as 15² to 10²; the grid begins at −2.
    r = rig(40, faces=("down",))
    depth, semantic = images(r, 10.0, TERRAIN)
    depth["down"][:, :20] = 15.0
    projector = OccupancyProjector(r, DEFAULT_GRID, 0.0)
    projector.project(Pose.from_rpy(0, 0, 10.0), depth, semantic)
    assert projector.clipped_share == pytest.approx(225 / 325, rel=1e-12)
    projector.project(Pose.from_rpy(0, 0, 10.0), depth, {"down": np.where(depth["down"] > 12, 0, 11).astype(np.uint8)})
    assert projector.unlabelled_share == 0.5


def test_hits_beyond_every_side_of_the_grid_are_left_out():
    r = rig(50)
    small = VoxelGrid.from_range((-2, -2, 0, 2, 2, 4), (0.5, 0.5, 0.5))
    projector = OccupancyProjector(r, small, 0.0)
    result = projector.project(Pose.from_rpy(0, 0, 2.0), *images(r, 7.0))
    assert not result.occupancy.any() and result.observed.all()
    assert projector.last is not None and projector.last.hits == 6 * 2500
    result = projector.project(Pose.from_rpy(0, 0, 90.0), *images(r, 7.0))  # far above: the grid is out of reach
    assert not result.occupancy.any() and not result.observed.any()


def test_without_class_images_surfaces_are_others():
    r = rig(30)
    projector = OccupancyProjector(r, GRID, 0.0)
    result = projector.project(HERE, images(r, 5.0)[0])
    assert result.occupancy.any() and (result.semantics[result.occupancy == 1] == 0).all()
    assert projector.unlabelled_share == 1.0


def test_what_does_not_fit_the_rig_is_refused():
    r = rig(30)
    depth, semantic = images(r, 5.0)
    projector = OccupancyProjector(r, GRID, 0.0)
    with pytest.raises(InputError, match="'side' is not of rig"):
        projector.project(HERE, {"side": depth["front"]}, None)
    with pytest.raises(InputError, match="float64"):
        projector.project(HERE, {"front": depth["front"].astype(float)}, None)
    with pytest.raises(InputError, match=r"\(30, 29\)"):
        projector.project(HERE, {"front": depth["front"][:, 1:]}, None)
    with pytest.raises(InputError, match="has no class image"):
        projector.project(HERE, depth, {"front": semantic["front"]})
    semantic["left"][3, 4] = 40
    with pytest.raises(InputError, match=r"'left': 1 hit pixels bear ids from 17 on"):
        projector.project(HERE, depth, semantic)
    with pytest.raises(InputError, match="no depth faces"):
        OccupancyProjector(Rig("bare", (), ()), GRID, 0.0)
    with pytest.raises(InputError, match="finite"):
        OccupancyProjector(r, GRID, float("nan"))
