"""Baseline scores on hand-made grids, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from aerialworld_core.frames import Pose
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.occupancy import Occupancy
from aerialworld_core.session import BaselineScores

GRID = VoxelGrid.from_range((-4, -4, 0, 4, 4, 4), (1, 1, 1))


def frame(occupied, observed=None):
    o = np.zeros(GRID.shape, np.uint8)
    for ijk in occupied:
        o[ijk] = 1
    seen = np.ones(GRID.shape, bool) if observed is None else observed
    return Occupancy(o, np.where(o, np.uint8(15), np.uint8(17)), seen)


def test_copy_and_warp_of_one_voxel_passed_by():
    """The vehicle moves 1 m per frame along x; a voxel fixed in map moves one index back per frame."""
    scores = BaselineScores(GRID, 0.0, 500_000_000)
    for k in range(4):
        scores.add(k, Pose.from_rpy(k, 0, 9), frame([(6 - k, 3, 1)]))
    result = scores.result()
    assert result["copy"]["0.5"] == 0.0 and result["copy"]["1.5"] == 0.0
    assert result["ego_warp"]["0.5"] == result["ego_warp"]["1"] == result["ego_warp"]["1.5"] == 1.0
    assert result["copy"]["2"] is None and result["ego_warp"]["3"] is None


def test_iou_is_summed_over_observed_voxels_only():
    """Still vehicle. Frame 1 sees half of the grid: one of frame 0's two voxels is not asked for."""
    half = np.zeros(GRID.shape, bool)
    half[:4] = True
    scores = BaselineScores(GRID, 0.0, 500_000_000)
    here = Pose.from_rpy(0, 0, 9)
    scores.add(0, here, frame([(1, 1, 1), (6, 6, 1)]))
    scores.add(1, here, frame([(1, 1, 1), (2, 2, 2)], half))
    scores.add(2, here, frame([(1, 1, 1), (2, 2, 2), (3, 3, 3)]))
    result = scores.result()
    # 0→1: {a} against {a, b}: 1/2. 1→2: {a, b} against {a, b, c}: 2/3. Sums: 3/5.
    assert result["copy"]["0.5"] == pytest.approx(3 / 5)
    # 0→2: {a, x} against {a, b, c}: 1/4.
    assert result["copy"]["1"] == pytest.approx(1 / 4)
    # Majority: a (3 of 3), b (2 of 3), x (1 of 2: not more than half), c (1 of 2 that saw it: not).
    # Intersection 3 + 2 = 5; union: occupied 1 + 1 + 2 + 2 + 1 = 7 ∪ predicted and seen 3 + 3 − 5 → 8.
    assert result["constant"]["majority"] == pytest.approx(5 / 8)


def test_slab_is_found_and_scored():
    o = np.zeros(GRID.shape, np.uint8)
    o[:, :, 1] = 1
    o[0, 0, 1], o[5, 5, 3] = 0, 1
    scores = BaselineScores(GRID, 0.0, 500_000_000)
    for k in range(3):
        scores.add(k, Pose.from_rpy(k, 0, 9), Occupancy(o, o, np.ones(GRID.shape, bool)))
    constant = scores.result()["constant"]
    assert constant["slab_level"] == 1 and constant["slab"] == pytest.approx(63 / 65)
    assert constant["majority"] == constant["best"] == 1.0


def test_a_gap_pairs_with_nothing_and_rates_that_do_not_fit_are_left_out():
    scores = BaselineScores(GRID, 0.0, 500_000_000)
    for k in (0, 2):
        scores.add(k, Pose.from_rpy(0, 0, 9), frame([(1, 1, 1)]))
    result = scores.result()
    assert result["copy"]["0.5"] is None and result["copy"]["1"] == 1.0
    assert list(BaselineScores(GRID, 0.0, 200_000_000).steps) == [1.0, 2.0, 3.0]
    assert list(BaselineScores(GRID, 0.0, 100_000_000).steps.values()) == [5, 10, 15, 20, 25, 30]


def test_nothing_occupied_scores_nothing():
    scores = BaselineScores(GRID, 0.0, 500_000_000)
    for k in range(3):
        scores.add(k, Pose.identity(), Occupancy.empty(GRID))
    result = scores.result()
    assert result["constant"]["best"] is None and set(result["ego_warp"].values()) == {None}
