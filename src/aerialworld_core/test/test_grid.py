"""The voxel grid: bounds, indices and centres by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aerialworld_core.errors import InputError
from aerialworld_core.grid import DEFAULT_GRID, VoxelGrid


def test_default_grid_is_the_published_one():
    assert DEFAULT_GRID.shape == (200, 200, 121) and DEFAULT_GRID.size == 4_840_000
    assert DEFAULT_GRID.maximum == pytest.approx((40, 40, 149.25))
    assert DEFAULT_GRID.range == (-40, -40, -2, 40, 40, 149.25)


def test_indices_by_hand():
    points = np.array(
        [
            [-40.0, -40.0, -2.0],
            [0.0, 0.0, 0.0],
            [39.999, 39.999, 149.249],
            [0.41, -0.41, 0.5],
            [40.0, 0, 0],
            [0, 0, 149.25],
            [0, -40.0001, 0],
            [np.nan, 0, 0],
            [np.inf, 0, 0],
        ]
    )
    ijk, inside = DEFAULT_GRID.indices(points)
    assert inside.tolist() == [True] * 4 + [False] * 5
    assert ijk[:4].tolist() == [[0, 0, 0], [100, 100, 1], [199, 199, 120], [101, 98, 2]]
    assert (ijk[4:] == 0).all()


def test_centres_by_hand():
    np.testing.assert_allclose(DEFAULT_GRID.centers(np.array([[0, 0, 0]])), [[-39.8, -39.8, -1.375]])
    np.testing.assert_allclose(DEFAULT_GRID.centers(np.array([[199, 100, 120]])), [[39.8, 0.2, 148.625]])


def test_centres_of_every_voxel_lie_in_it():
    ijk = np.indices(DEFAULT_GRID.shape)[:, ::7, ::11].reshape(3, -1).T
    back, inside = DEFAULT_GRID.indices(DEFAULT_GRID.centers(ijk))
    assert inside.all()
    np.testing.assert_array_equal(back, ijk)


sizes = st.sampled_from([0.1, 0.2, 0.25, 0.4, 0.5, 1.0, 1.25, 3.3])


@settings(max_examples=100, deadline=None)
@given(
    lo=st.tuples(*[st.floats(-100, 100)] * 3),
    n=st.tuples(*[st.integers(1, 40)] * 3),
    size=st.tuples(sizes, sizes, sizes),
)
def test_dict_round_trip_and_even_division(lo, n, size):
    bounds = [*lo, *(a + k * s for a, k, s in zip(lo, n, size, strict=True))]
    grid = VoxelGrid.from_range(bounds, size)
    assert grid.shape == n
    assert VoxelGrid.from_dict(grid.to_dict()) == grid


def test_a_remainder_is_left_out_at_the_top():
    grid = VoxelGrid.from_range((0, 0, 0, 1, 1, 1), (0.3, 0.5, 0.7))
    assert grid.shape == (3, 2, 1) and grid.maximum == pytest.approx((0.9, 1.0, 0.7))


def test_pooled_grid_covers_the_same_corner():
    pooled = DEFAULT_GRID.pooled((2, 2, 2))
    assert pooled.shape == (100, 100, 60) and pooled.voxel_size == (0.8, 0.8, 2.5)
    fine = np.array([[3, 198, 119], [2, 199, 118], [0, 0, 0]])
    coarse, inside = pooled.indices(DEFAULT_GRID.centers(fine))
    assert inside.all()
    np.testing.assert_array_equal(coarse, fine // 2)
    assert not pooled.indices(DEFAULT_GRID.centers(np.array([[0, 0, 120]])))[1].any()


@pytest.mark.parametrize(
    "make",
    [
        lambda: VoxelGrid.from_range((0, 0, 0, 1, 1), (1, 1, 1)),
        lambda: VoxelGrid.from_range((0, 0, 0, 1, 1, 1), (1, 0, 1)),
        lambda: VoxelGrid.from_range((0, 0, 0, 1, 1, 1), (1, -1, 1)),
        lambda: VoxelGrid.from_range((0, 0, 0, -1, 1, 1), (1, 1, 1)),
        lambda: VoxelGrid.from_range((0, 0, 0, np.inf, 1, 1), (1, 1, 1)),
        lambda: VoxelGrid.from_range((0, 0, 0, 1000, 1000, 1000), (0.1, 0.1, 0.1)),
        lambda: VoxelGrid((np.nan, 0, 0), (1, 1, 1), (1, 1, 1)),
        lambda: VoxelGrid.from_dict({"range": [0, 0, 0, 1, 1, 1]}),
        lambda: VoxelGrid.from_dict({"range": "abc", "voxel_size": [1, 1, 1]}),
        lambda: VoxelGrid.from_dict({"range": [0, 0, 0, 2, 2, 2], "voxel_size": [1, 1, 1], "shape": [2, 2, 3]}),
        lambda: DEFAULT_GRID.pooled((2, 0, 2)),
    ],
)
def test_grids_that_are_none_are_refused(make):
    with pytest.raises(InputError):
        make()
