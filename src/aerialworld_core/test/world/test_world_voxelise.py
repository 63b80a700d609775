"""Surface voxels against a separating-axis test written down separately, and against boxes counted by hand."""

import numpy as np
import pytest

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose, grid_from_map
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import FREE
from aerialworld_core.world.voxelise import (
    surface_voxels,
    voxel_classes,
    world_surface_voxels,
    world_voxel_classes,
)

GRID = VoxelGrid.from_range((-3, -2, -1, 3, 2.8, 4), (0.5, 0.4, 1.25))


def separating_axis(triangle, centres, half):
    """Akenine-Möller: which closed boxes (N centres, one half size) does a triangle meet? 13 axes."""
    edges = np.roll(triangle, -1, axis=0) - triangle
    axes = [*np.eye(3), np.cross(edges[0], edges[1])]
    axes += [np.cross(a, e) for a in np.eye(3) for e in edges]
    meets = np.ones(len(centres), bool)
    for axis in axes:
        along, reach = (triangle[:, None] - centres) @ axis, half @ np.abs(axis)
        meets &= (along.min(axis=0) <= reach) & (along.max(axis=0) >= -reach)
    return meets


def brute_force(triangles, grid, grow):
    centres = grid.centers(np.argwhere(np.ones(grid.shape, bool)))
    half = np.array(grid.voxel_size) / 2 + grow
    return np.any([separating_axis(t, centres, half) for t in triangles], axis=0).reshape(grid.shape)


@pytest.mark.parametrize("seed", range(18))
def test_equals_the_separating_axis_test(seed):
    rng = np.random.default_rng(seed)
    size = [0.3, 1.0, 4.0, 12.0, 2.0, 6.0][seed % 6]
    centres = rng.uniform([-3, -2, -1], [3, 3, 4], (5, 1, 3))
    triangles = centres + rng.normal(size=(5, 3, 3)) * size
    if seed % 6 >= 4:
        triangles[..., seed % 3] = centres[..., seed % 3]  # upright and axis-parallel ones
    for grow in (0.0, 0.07):
        got = surface_voxels(triangles, GRID, grow)
        assert got.any() and (got == brute_force(triangles, GRID, grow)).all()


def box_triangles(low, high):
    from aerialworld_core.world.primitives import box

    part = box(np.subtract(high, low))
    return part.vertices[part.faces] + np.add(low, high) / 2


def test_a_box_by_hand():
    grid = VoxelGrid.from_range((0, 0, 0, 10, 10, 10), (1, 1, 1))
    got = surface_voxels(box_triangles([2.5, 3.5, 1.5], [6.5, 5.5, 4.5]), grid)
    expected = np.zeros(grid.shape, bool)
    expected[2:7, 3:6, 1:5] = True
    expected[3:6, 4:5, 2:4] = False  # hollow
    assert (got == expected).all()


def test_touching_counts_and_growing_widens():
    grid = VoxelGrid.from_range((0, 0, 0, 4, 4, 4), (1, 1, 1))
    flat = np.array([[[0.2, 0.2, 2.0], [0.8, 0.2, 2.0], [0.2, 0.8, 2.0]]])
    assert np.argwhere(surface_voxels(flat, grid)).tolist() == [[0, 0, 1], [0, 0, 2]]
    near = flat - [0, 0, 0.005]
    assert np.argwhere(surface_voxels(near, grid)).tolist() == [[0, 0, 1]]
    assert np.argwhere(surface_voxels(near, grid, 0.01)).tolist() == [[0, 0, 1], [0, 0, 2]]
    assert not surface_voxels(flat + np.array([0, 0, 2.01]), grid).any()


def test_classes_do_not_depend_on_the_order():
    grid = VoxelGrid.from_range((0, 0, 0, 2, 1, 1), (1, 1, 1))
    t = np.array([[[0.2, 0.2, 0.5], [0.8, 0.2, 0.5], [0.2, 0.8, 0.5]]] * 3)
    t[2] += [1, 0, 0]
    for order in ([0, 1, 2], [2, 1, 0]):
        classes = np.array([15, 14, 0], np.uint8)[order]
        assert voxel_classes(t[order], classes, grid).ravel().tolist() == [14, 0]
    both = voxel_classes(t[:2], np.array([0, 15], np.uint8), grid)
    assert both.ravel().tolist() == [15, FREE]
    assert (voxel_classes(np.zeros((0, 3, 3)), np.zeros(0, np.uint8), grid) == FREE).all()
    with pytest.raises(InputError):
        surface_voxels(np.full((1, 3, 3), np.nan), grid)


def test_a_world_in_the_frame_of_a_turned_vehicle(make_world, sdf):
    # A house 10 m north of the vehicle, which looks north: the grid has it straight ahead (x), whatever roll and pitch.
    world = make_world(
        sdf.model("house", sdf.visual(sdf.box(2, 2, 5), pose="100 60 12.5 0 0 0"), label=15)
        + sdf.model("far", sdf.visual(sdf.box(2, 2, 5), pose="300 60 12.5 0 0 0"), label=15)
    )
    pose = Pose.from_rpy(100, 50, 40, 0.2, -0.1, np.pi / 2)
    # Cells are shifted by a third so that no face lies on their borders.
    third = 1 / 3
    grid = VoxelGrid.from_range((-20 + third, -20 + third, -2 + third, 20 + third, 20 + third, 20 + third), (1, 1, 1))
    occupied = world_surface_voxels(world, grid, grid_from_map(pose, datum=10.0))
    found = np.argwhere(occupied)
    low, high = found.min(axis=0), found.max(axis=0)
    # x 9 … 11 ahead, y −1 … 1, z 0 … 5 above the datum.
    assert low.tolist() == [int(np.floor(9 + 20 - third)), int(np.floor(-1 + 20 - third)), int(np.floor(2 - third))]
    assert high.tolist() == [int(np.floor(11 + 20 - third)), int(np.floor(1 + 20 - third)), int(np.floor(7 - third))]
    classes = world_voxel_classes(world, grid, grid_from_map(pose, datum=10.0))
    assert ((classes == 15) == occupied).all() and ((classes == FREE) == ~occupied).all()
