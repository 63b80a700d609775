"""The surface truth on cities of boxes: what is hidden is absent, what is seen has its true area, scores by hand."""

import numpy as np
import pytest

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import FREE
from aerialworld_core.occupancy import Occupancy
from aerialworld_core.rig import CUBE_FACES, CameraSpec, Rig
from aerialworld_core.world.truth import score, visible_area, visible_surface

GRID = VoxelGrid.from_range((-20, -20, -2, 20, 20, 18), (1, 1, 1.25))


def cube(pixels=60, near=0.1, far=200.0, at=(0, 0, 0), faces=tuple(CUBE_FACES)):
    depth = tuple(
        CameraSpec(
            f, Pose.from_rpy(*at, 0, CUBE_FACES[f][1], CUBE_FACES[f][0]), pixels, pixels, np.pi / 2, near, far, 10
        )
        for f in faces
    )
    return Rig("cube", (), depth)


def cell(x, y, z, grid=GRID):
    ijk, inside = grid.indices(np.array([[x, y, z]]))
    assert inside.all()
    return tuple(ijk[0])


def test_a_box_hidden_behind_another_is_absent(make_world, sdf):
    world = make_world(
        sdf.model("front", sdf.visual(sdf.box(1, 10, 10), pose="5.6 0 5 0 0 0"))
        + sdf.model("hidden", sdf.visual(sdf.box(2, 2, 2), pose="10.5 0 5 0 0 0"))
        + sdf.model("beside", sdf.visual(sdf.box(2, 2, 2), pose="10.5 14.5 5 0 0 0"))
    )
    seen = visible_surface(world, cube(), Pose.from_rpy(0, 0, 5), GRID, datum=0.0)
    assert seen[cell(5.1, 0.5, 5)] and seen[cell(5.1, -4.5, 9.5)]
    assert not seen[cell(6.1, 0.5, 5)]  # the back of the wall
    i, j, _ = cell(9.6, 0.5, 5)
    assert not seen[i : i + 3, j - 2 : j + 2].any()  # all of the hidden box
    assert seen[cell(9.6, 14.2, 5)]
    # Seen from the other side it is the wall's front that is hidden.
    seen = visible_surface(world, cube(), Pose.from_rpy(16, 0, 5, 0, 0, np.pi), GRID, datum=0.0)
    assert seen.any()
    assert seen[cell(4.5, 0.5, 5)]  # the hidden box's far side, 4.5 m ahead of a vehicle that looks west
    assert not seen[cell(6.5, 0.5, 5)]  # its other side


def test_areas_are_true(make_world, sdf):
    # A wall 8 m ahead, 6 m wide, 5 m high, inside one layer of voxels, and the ground below.
    world = make_world(sdf.model("wall", sdf.visual(sdf.box(0.2, 6, 5), pose="8.5 0 5.5 0 0 0")))
    for pose in (Pose.from_rpy(0, 0, 5), Pose.from_rpy(0, 0, 5, 0.1, -0.2, 0), Pose.from_rpy(0.1, 0, 6, 0.6, 0.5, 0)):
        area = visible_area(world, cube(100), pose, GRID, datum=0.0)
        assert area[28].sum() == pytest.approx(30.0, rel=1e-2)  # x 8 … 9 of the grid
        full = area[28, 18:22, 5:7]
        assert np.allclose(full[:, 0], 1.25, rtol=0.05)  # a whole voxel of the wall: 1 m × 1.25 m
    ground = make_world(
        sdf.model("g", sdf.visual("<plane><size>100 100</size></plane>", pose="0 0 0.3 0 0 0"), label=14)
    )
    area = visible_area(ground, cube(100), Pose.from_rpy(3, 4, 10.3, 0, 0, 0.7), GRID, datum=0.0)
    assert area.sum() == pytest.approx(1600, rel=5e-3)  # the grid's whole floor, 40 m × 40 m, at 0.3 m
    assert (np.delete(area, 1, axis=2) == 0).all()


def test_near_far_and_faces_are_honoured(make_world, sdf):
    world = make_world(
        sdf.model("a", sdf.visual(sdf.box(1, 1, 1), pose="5.5 0 5 0 0 0"))
        + sdf.model("b", sdf.visual(sdf.box(1, 30, 12), pose="15.5 0 5 0 0 0"))
    )
    pose = Pose.from_rpy(0, 0, 5)
    everything = visible_surface(world, cube(), pose, GRID, 0.0)
    assert everything[cell(5.1, 0.2, 5.2)] and everything[cell(15.1, 8.5, 5.2)]
    behind = visible_surface(world, cube(near=6.0), pose, GRID, 0.0)
    # What is nearer than the near plane is not seen, and blocks: its shadow stays dark.
    assert not behind[cell(5.1, 0.2, 5.2)] and behind[cell(15.1, 8.5, 5.2)] and not behind[cell(15.1, 0.2, 5.2)]
    short = visible_surface(world, cube(far=10.0), pose, GRID, 0.0)
    assert short[cell(5.1, 0.2, 5.2)] and not short[cell(15.1, 8.5, 5.2)]
    # far is a Euclidean distance: at 15.2 m the wall's middle is seen, its sides are not.
    round_ = visible_surface(world, cube(far=15.2), pose, GRID, 0.0)
    assert round_[cell(15.1, 1.5, 5.2)] and not round_[cell(15.1, 5.5, 5.2)]
    assert not visible_surface(world, cube(faces=("back", "up")), pose, GRID, 0.0).any()
    with pytest.raises(InputError, match="no depth faces"):
        visible_surface(world, Rig("blind", (), ()), pose, GRID, 0.0)


def test_the_cube_sits_where_the_rig_puts_it(make_world, sdf):
    # A vehicle that looks north; its cube 3 m to its left (west) sees past the wall.
    world = make_world(
        sdf.model("wall", sdf.visual(sdf.box(4, 0.2, 10), pose="0 4 5 0 0 0"))
        + sdf.model("target", sdf.visual(sdf.box(1, 1, 1), pose="-2.5 9 5 0 0 0"))
    )
    pose = Pose.from_rpy(0, 0, 5, 0, 0, np.pi / 2)
    target = cell(8.6, 2.5, 5)
    assert not visible_surface(world, cube(), pose, GRID, 0.0)[target]
    assert visible_surface(world, cube(at=(0, 3, 0)), pose, GRID, 0.0)[target]


def test_scores_by_hand(make_world, sdf):
    world = make_world(sdf.model("wall", sdf.visual(sdf.box(0.2, 6, 5), pose="8.5 0 5.5 0 0 0")))
    rig, pose = cube(100), Pose.from_rpy(0, 0, 5)
    surface = visible_surface(world, rig, pose, GRID, 0.0)
    assert surface.sum() == 6 * 4
    empty = Occupancy.empty(GRID)
    assert score(world, rig, pose, GRID, 0.0, empty) == {
        "recall": 0.0, "precision": None, "unobserved_share": 1.0, "surface_voxels": 24, "occupied_voxels": 0,
    }  # fmt: skip
    occupied = surface.copy()
    occupied[tuple(np.argwhere(surface)[0])] = False  # one missed
    occupied[0, 0, 0] = occupied[39, 39, 3] = occupied[28, 39, 3] = True  # three in the air
    observed = surface.copy()
    observed[tuple(np.argwhere(surface)[1])] = False
    result = score(
        world, rig, pose, GRID, 0.0,
        Occupancy(occupied.astype(np.uint8), np.where(occupied, 15, FREE).astype(np.uint8), observed),
    )  # fmt: skip
    assert result["recall"] == 23 / 24 and result["precision"] == 23 / 26 and result["unobserved_share"] == 1 / 24
    nothing = score(make_world(""), rig, pose, GRID, 0.0, empty)
    assert nothing["recall"] is None and nothing["surface_voxels"] == 0
    with pytest.raises(InputError, match="does not fit"):
        score(world, rig, pose, VoxelGrid.from_range((0, 0, 0, 1, 1, 1), (1, 1, 1)), 0.0, empty)
