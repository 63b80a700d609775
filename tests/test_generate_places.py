"""Places share no voxel, deals are even from the first session on."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aerialworld.campaign import dealing
from aerialworld.campaign.places import Ground, Place, cut, distance, leaks, reach, separation
from aerialworld.campaign.spec import parse_campaign
from aerialworld_core.frames import Pose, grid_from_map
from aerialworld_core.grid import DEFAULT_GRID, VoxelGrid

SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}


def ground(width: int, depth: int, seed: int = 0) -> Ground:
    """A plain with a house on a third of its cells."""
    built = np.random.default_rng(seed).random((depth, width)) < 0.3
    return Ground((-100.0, 50.0), 1.0, np.ones((depth, width), bool), built)


def test_a_large_world_gives_each_split_its_share_of_the_ground() -> None:
    places = {p.split: p for p in cut("w", ground(1200, 700), SHARES, gap=115.0, need=76.0)}
    assert set(places) == set(SHARES)
    width = {s: p.box[2] - p.box[0] for s, p in places.items()}
    assert sum(width.values()) == pytest.approx(1200 - 2 * 115)
    for split, share in SHARES.items():
        assert width[split] / (1200 - 230) == pytest.approx(share, abs=0.005)
        assert (places[split].box[1], places[split].box[3]) == (50.0, 750.0)
    for a, b in itertools.combinations(places.values(), 2):
        assert distance(a.box, b.box) >= 115.0


def test_ground_counts_not_area() -> None:
    """The eastern half is sea: all places lie on the land, in proportion."""
    land = ground(2000, 600)
    land.ground[:, 1000:] = False
    places = {p.split: p for p in cut("w", land, SHARES, 115.0, 76.0)}
    assert max(p.box[2] for p in places.values()) <= -100.0 + 1000.0


def test_a_place_without_buildings_is_none() -> None:
    """Houses only in the west: a cut along x would leave one place with nothing to see, so it goes along y."""
    one_sided = ground(800, 700)
    one_sided.building[:, 300:] = False
    places = cut("w", one_sided, SHARES, 115.0, 76.0)
    assert len(places) == 3
    assert all((p.box[0], p.box[2]) == (-100.0, 700.0) for p in places)
    narrow = ground(800, 200)
    narrow.building[:, 100:] = False
    assert cut("w", narrow, SHARES, 115.0, 76.0) == []


def test_a_small_world_has_no_three_places() -> None:
    assert cut("w", ground(400, 300), SHARES, 115.0, 76.0) == []
    two = cut("w", ground(400, 300), {"train": 0.8, "test": 0.1}, 115.0, 76.0)
    assert [p.split for p in two] == ["train", "test"]


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(20, 900), depth=st.integers(20, 900), gap=st.floats(1, 200), need=st.floats(1, 120),
    seed=st.integers(0, 9),
)  # fmt: skip
def test_however_a_world_is_cut_its_places_lie_apart(
    width: int, depth: int, gap: float, need: float, seed: int
) -> None:
    whole = ground(width, depth, seed)
    places = cut("w", whole, SHARES, gap, need)
    assert len(places) in (0, 3)
    for a, b in itertools.combinations(places, 2):
        assert distance(a.box, b.box) >= gap - 1e-6
    for place in places:
        west, south, east, north = place.box
        assert min(east - west, north - south) >= need - 1e-6
        assert whole.box[0] <= west and whole.box[1] <= south and east <= whole.box[2] and north <= whole.box[3]


@pytest.mark.parametrize("grid", [DEFAULT_GRID, VoxelGrid.from_range((-10, -30, -2, 50, 20, 41), (0.5, 0.5, 1.25))])
def test_grids_of_vehicles_that_far_apart_never_meet(grid: VoxelGrid) -> None:
    """Every corner of a turned grid, in map, lies nearer to its vehicle than half the separation."""
    x0, y0, _, x1, y1, _ = grid.range
    corners = np.array([(x, y, 10.0) for x in (x0, x1) for y in (y0, y1)])
    for yaw in np.linspace(0, 2 * math.pi, 17):
        pose = Pose(np.array([7.0, -3.0, 40.0]), np.array([0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2)]))
        in_map = np.linalg.inv(grid_from_map(pose, 0.0)) @ np.column_stack([corners, np.ones(4)]).T
        out = np.hypot(in_map[0] - 7.0, in_map[1] + 3.0).max()
        assert out == pytest.approx(reach(grid), abs=1e-6)
    assert separation(grid) > 2 * reach(grid)


def test_worlds_beside_each_other_on_earth_are_compared_there() -> None:
    """0.01 degree of latitude is 1,110 m: boxes of 1 km around both origins lie 110 m apart."""
    box = (-500.0, -500.0, 500.0, 500.0)
    a, b = Place("a", "train", box), Place("b", "test", box)
    south, north, far = (35.0, 139.0), (35.01, 139.0), (35.02, 139.0)
    assert [x[2] for x in leaks([(a, south), (b, north)], 115.0)] == pytest.approx([113.2], abs=2.0)
    assert leaks([(a, south), (b, far)], 115.0) == []
    assert leaks([(a, south), (Place("b", "train", box), north)], 115.0) == []
    assert len(leaks([(a, south), (b, south)], 115.0)) == 1


@pytest.mark.parametrize("origin", [0.0, 0.0004, 0.0005, 0.0006, -7.3335])
def test_places_of_one_cut_never_leak_however_they_are_rounded(origin: float) -> None:
    ground = Ground((origin, origin), 1.0, np.ones((120, 400), bool), np.ones((120, 400), bool))
    places = cut("w", ground, {"train": 0.34, "val": 0.33, "test": 0.33}, 115.0, 20.0)
    assert len(places) == 3
    here = (35.0, 139.0)
    assert leaks([(p, here) for p in places], 115.0) == []
    assert len(leaks([(p, here) for p in places], 115.01)) == 2


def campaign(**changes: object):  # type: ignore[no-untyped-def]
    return parse_campaign({"worlds": ["a", "b"], **changes}, "c")


def test_without_a_number_every_combination_comes_once() -> None:
    c = campaign(
        missions=[{"pattern": "survey", "count": 2}, {"pattern": "road"}],
        seeds=[1, 2, 3],
        conditions=[{}, {"weather": "clear"}],
    )
    deals = dealing.deal(c)
    cells = Counter((d.world, d.mission, d.condition, d.seed) for d in deals)
    assert len(deals) == c.cells == 2 * 3 * 2 * 3
    assert all(n == (2 if mission == 0 else 1) for (_, mission, _, _), n in cells.items())
    assert len({(d.world, d.mission, d.condition, d.seed, d.draw) for d in deals}) == len(deals)


@pytest.mark.parametrize("count", [1, 5, 10, 37, 200])
def test_a_number_of_sessions_is_dealt_evenly_and_a_longer_campaign_begins_alike(count: int) -> None:
    deals = dealing.deal(campaign(sessions=count))
    assert deals == dealing.deal(campaign(sessions=count + 50))[:count]
    for kind in ("world", "mission"):
        dealt = Counter(getattr(d, kind) for d in deals)
        assert max(dealt.values()) - min(dealt.values() if len(dealt) > 1 or count > 1 else [1]) <= 1
    everywhere = {0: ("train", "val", "test"), 1: ("train", "val", "test")}
    splits = dealing.splits(deals, everywhere, SHARES)
    assert splits == dealing.splits(dealing.deal(campaign(sessions=count + 50)), everywhere, SHARES)[:count]
    for split, share in SHARES.items():
        assert abs(splits.count(split) - share * count) <= 1.0


def test_every_mission_gets_into_every_split() -> None:
    deals = dealing.deal(parse_campaign({"worlds": ["a"], "sessions": 300}, "c"))
    splits = dealing.splits(deals, {0: ("train", "val", "test")}, SHARES)
    for mission in range(3):
        dealt = Counter(s for d, s in zip(deals, splits, strict=True) if d.mission == mission)
        assert abs(dealt["val"] - 10) <= 2 and abs(dealt["test"] - 10) <= 2


def test_a_world_without_a_place_for_a_split_gives_none() -> None:
    deals = dealing.deal(campaign(sessions=100))
    splits = dealing.splits(deals, {0: ("train",), 1: ("train", "test")}, SHARES)
    assert {s for d, s in zip(deals, splits, strict=True) if d.world == 0} == {"train"}
    assert {s for d, s in zip(deals, splits, strict=True) if d.world == 1} == {"train", "test"}


def test_whole_worlds_are_split() -> None:
    assert dealing.split_worlds(1, {}, SHARES) == ["train"]
    assert sorted(dealing.split_worlds(2, {}, SHARES)) == ["test", "train"]
    assert sorted(dealing.split_worlds(3, {}, SHARES)) == ["test", "train", "val"]
    assert Counter(dealing.split_worlds(20, {}, SHARES)) == {"train": 16, "val": 2, "test": 2}
    assert dealing.split_worlds(3, {0: "test", 2: "val"}, SHARES) == ["test", "train", "val"]


def test_seeds_of_jobs_differ_and_repeat() -> None:
    seeds = {dealing.job_seed(s, w, m, {}, n) for s in range(3) for w in "ab" for m in "xy" for n in range(50)}
    assert len(seeds) == 600
    assert dealing.job_seed(0, "a", "x", {}, 0) == dealing.job_seed(0, "a", "x", {}, 0)
