"""The whole ground: joined without a crack, true to the source, sensible where the source has little."""

from __future__ import annotations

import pickle
import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aerialworld_city.geometry.evidence import Evidence
from aerialworld_city.geometry.ground import OFFSETS
from aerialworld_city.geometry.overlay import TriangleIndex
from aerialworld_city.geometry.terrain import EXTENSION, Terrain, make_terrain
from aerialworld_core.world.rays import RayCaster

sys.path.insert(0, str(Path(__file__).parent))
from city_shapes import bumps, slope, tin

SQUARE = np.array([[-100.0, -100.0], [100.0, 100.0]])
ONE_BASE = np.array([[0.0, 0.0, 9.0]])


def plan(triangles):
    """(T,) twice the signed area in plan."""
    return np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])[:, 2]


def assert_joined(terrain):
    """In float32, every edge inside is shared by exactly two triangles that run along it in opposite directions; the
    plan is covered once; rays straight down hit, also exactly on the source's edges."""
    corners = terrain.triangles.astype(np.float32)
    _, number = np.unique(corners.reshape(-1, 3), axis=0, return_inverse=True)
    a = number.reshape(-1, 3).astype(np.int64)
    b = np.roll(a, -1, axis=1)
    forward, backward = (a * number.size + b).reshape(-1), (b * number.size + a).reshape(-1)
    assert len(np.unique(forward)) == len(forward)
    low, high = corners.min(axis=(0, 1))[:2], corners.max(axis=(0, 1))[:2]
    start, end = corners[..., :2].reshape(-1, 2), np.roll(corners, -1, axis=1)[..., :2].reshape(-1, 2)
    outer = np.zeros(len(start), bool)
    for side in (low, high):
        outer |= ((np.abs(start - side) < 1e-3) & (np.abs(end - side) < 1e-3)).any(axis=1)
    assert np.isin(forward, backward)[~outer].all()
    assert plan(terrain.triangles).min() > -1e-9
    assert plan(terrain.triangles).sum() / 2 == pytest.approx(float((high - low).prod()), rel=1e-6)
    rng = np.random.default_rng(0)
    xy = rng.uniform(low + 1e-3, high - 1e-3, (60_000, 2))
    share = rng.uniform(0, 1, (len(corners), 1))
    on_edges = terrain.triangles[:, 0] + share * (terrain.triangles[:, 1] - terrain.triangles[:, 0])
    inside = ((on_edges[:, :2] > low + 1e-3) & (on_edges[:, :2] < high - 1e-3)).all(axis=1)
    xy = np.concatenate([xy, on_edges[inside, :2]])
    down = np.broadcast_to([0.0, 0.0, -1.0], (len(xy), 3))
    _, face = RayCaster(corners).cast(
        np.column_stack([xy, np.full(len(xy), 500.0)]), down, cull_backfaces=True, max_distance=np.inf
    )
    assert (face >= 0).all()


CASES = {
    "whole": tin(bumps),
    "with holes": np.delete(tin(bumps), np.r_[100:130, 300:312, 555], axis=0),
    "islands": tin(bumps)[::3],
    "two resolutions": np.concatenate([tin(slope, step=40), tin(slope, step=5, at=(200.0, 0.0))]),
    "overlapping files": np.concatenate([tin(bumps, seed=1), tin(bumps, seed=2, step=7, at=(90.0, 30.0))]),
    "one file twice": np.concatenate([tin(bumps), tin(bumps)]),
    "a cliff between files": np.concatenate([tin(bumps, step=20), tin(slope, step=5, at=(200.0, 0.0))]),
    "a long thin strip": tin(bumps)[np.abs(tin(bumps)[:, :, 1].mean(axis=1)) < 9],
    "one triangle": np.array([[[0.0, 0, 10], [40, 3, 11], [10, 30, 12]]]),
}


@pytest.mark.parametrize("case", list(CASES))
def test_the_ground_has_no_crack_and_keeps_the_source(case):
    source = CASES[case]
    terrain = make_terrain(source, ONE_BASE, SQUARE)
    assert_joined(terrain)
    assert not [n for n in terrain.notes if "could not be joined" in n]
    assert terrain.kind == "dem"
    own = TriangleIndex(terrain.triangles[: terrain.source_count])
    xy = np.random.default_rng(1).uniform(-100, 100, (4000, 2))
    expected = TriangleIndex(source).height(xy)
    covered = np.isfinite(expected)
    if case not in ("overlapping files", "a cliff between files"):
        assert own.height(xy)[covered] == pytest.approx(expected[covered], abs=1e-6)
        assert (np.isnan(own.height(xy)) == ~covered).all()
    assert np.isfinite(terrain.index.height(xy)).all()
    region = [terrain.triangles.min(axis=(0, 1))[:2], terrain.triangles.max(axis=(0, 1))[:2]]
    assert (region[0] <= SQUARE[0] - EXTENSION).all() and (region[1] >= SQUARE[1] + EXTENSION).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_any_holes_and_any_resolutions_join(seed):
    rng = np.random.default_rng(seed)
    source = tin(bumps, step=rng.choice([9.0, 20.0, 33.0]), seed=seed % 1000)
    source = source[rng.uniform(size=len(source)) < rng.uniform(0.2, 1.0)]
    if rng.uniform() < 0.5:
        source = np.concatenate([source, tin(slope, step=rng.choice([7.0, 25.0]), at=tuple(rng.uniform(-150, 150, 2)))])
    if rng.uniform() < 0.3:
        source = source + rng.uniform(-3e-4, 3e-4, source.shape)
    source = source[rng.permutation(len(source))]
    turn = rng.uniform(0, np.pi)
    source[..., :2] = source[..., :2] @ [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]
    terrain = make_terrain(source, ONE_BASE, SQUARE)
    assert_joined(terrain)


def test_source_triangles_stay_as_they_are_and_the_ground_goes_on_at_their_height():
    source = tin(bumps)
    terrain = make_terrain(source, ONE_BASE, SQUARE)
    own = terrain.triangles[: terrain.source_count]
    assert sorted(own.reshape(-1, 9).tolist()) == sorted(source.reshape(-1, 9).tolist())
    y = np.linspace(-99, 99, 400)
    inside = terrain.index.height(np.column_stack([np.full(400, 99.999), y]))
    outside = TriangleIndex(terrain.triangles[terrain.source_count :]).height(
        np.column_stack([np.full(400, 100.001), y])
    )
    assert outside == pytest.approx(inside, abs=2e-3)


def test_a_cliff_at_the_border_does_not_go_on_around_the_terrain():
    terrain = make_terrain(tin(lambda x, y: np.where(y > 0, 25.0, 5.0)), ONE_BASE, SQUARE)
    along = np.column_stack([np.full(300, -174.0), np.linspace(-95, 95, 300)])
    height = terrain.index.height(along)
    assert np.abs(np.diff(height)).max() / (190 / 299) < 0.25
    near = terrain.index.height(np.array([[-100.5, -60.0], [-100.5, 60.0]]))
    assert near == pytest.approx([5.0, 25.0], abs=0.3)


def test_split_border_triangles_stay_in_their_planes():
    source = np.array([[[-60.0, -60, 5], [60, -60, 17], [60, 60, 29]], [[-60, -60, 5], [60, 60, 29], [-60, 60, 17]]])
    terrain = make_terrain(source, ONE_BASE, np.array([[-50.0, -50], [50, 50]]))
    assert terrain.source_count > 2  # the edges of 120 m were split
    corners = terrain.triangles[: terrain.source_count].reshape(-1, 3)
    assert corners[:, 2] == pytest.approx(17 + 0.1 * corners[:, 0] + 0.1 * corners[:, 1], abs=1e-9)


def test_terrain_is_cleaned_and_faces_up():
    source = tin(slope)
    source[5] = source[5][::-1]
    source[6, 1] = source[6, 0]
    source[7] = np.nan
    source[8, 2] = 1e12
    source = np.concatenate([source, source[20:21], source[20:21] + np.array([0.0, 0, 0.5])])
    terrain = make_terrain(source, ONE_BASE, SQUARE)
    assert terrain.dropped == {
        "turned to face up (kept)": 1,
        "no area in plan": 1,
        "coordinates that are no place": 1,
        "longer than 10 km": 1,
        "the same triangle twice": 2,
    }
    assert_joined(terrain)


def test_corners_that_differ_by_rounding_are_one_corner():
    source = tin(bumps)
    noise = np.random.default_rng(0).uniform(-3e-4, 3e-4, source.shape)
    terrain = make_terrain(source + noise, ONE_BASE, SQUARE)
    assert_joined(terrain)
    assert len(terrain.triangles) < 1.2 * len(make_terrain(source, ONE_BASE, SQUARE).triangles)


def test_of_files_that_overlap_the_larger_part_keeps_the_place():
    small = tin(lambda x, y: bumps(x, y) + 1, size=80.0, step=7.0, at=(60.0, 30.0), seed=3)
    terrain = make_terrain(np.concatenate([small, tin(bumps)]), ONE_BASE, SQUARE)
    assert terrain.dropped["covered by a larger part of the terrain"] == len(small)
    xy = np.random.default_rng(1).uniform(-99, 99, (2000, 2))
    assert terrain.index.height(xy) == pytest.approx(TriangleIndex(tin(bumps)).height(xy), abs=1e-9)


def test_a_step_between_files_is_closed_by_a_wall_that_is_seen_from_below():
    west, east = tin(lambda x, y: 10 + 0 * x, at=(-100.0, 0.0)), tin(lambda x, y: 14 + 0 * x, at=(100.0, 0.0))
    terrain = make_terrain(np.concatenate([west, east]), ONE_BASE, SQUARE)
    assert any("close steps" in n for n in terrain.notes)
    rays = RayCaster(terrain.triangles.astype(np.float32))
    y = np.linspace(-95, 95, 500)
    origins = np.column_stack([np.full(500, -40.0), y, np.linspace(10.1, 13.9, 500)])
    distance, _ = rays.cast(origins, np.tile([1.0, 0, 0], (500, 1)), cull_backfaces=True, max_distance=np.inf)
    assert distance == pytest.approx(40.0, abs=1e-5)


# -- where the source has no terrain ----------------------------------------------------------------------------------


def hill(count=200, seed=3):
    xy = np.random.default_rng(seed).uniform(-300, 300, (count, 2))
    return np.column_stack([xy, slope(*xy.T)])


WIDE = np.array([[-300.0, -300], [300, 300]])


def test_without_terrain_the_ground_goes_through_the_bases_of_a_hill():
    bases = hill()
    bases[7, 2] += 40.0  # a deck high above its neighbours pulls nothing up
    terrain = make_terrain(np.zeros((0, 3, 3)), bases, WIDE)
    assert terrain.kind == "fitted" and terrain.source_count == 0
    assert_joined(terrain)
    error = terrain.index.height(bases[:, :2]) - slope(*bases[:, :2].T)
    assert np.isfinite(error).all() and np.abs(np.median(error)) < 0.05 and np.percentile(np.abs(error), 95) < 0.2
    assert np.isfinite(terrain.index.height(np.array([[-374.9, -374.9], [374.9, 374.9]]))).all()


def test_fitted_ground_buries_no_base():
    bases = hill()
    bases[11, 2] -= 9.0  # a house in a hollow
    height = make_terrain(np.zeros((0, 3, 3)), bases, WIDE).index.height(bases[:, :2])
    assert (height <= bases[:, 2] + 0.15).all()


def test_on_a_slope_the_ground_meets_feet_at_their_downhill_edge():
    """Feet 16 m × 12 m on a slope of 11 %: a fit through their middles would lie up to a metre too low."""
    middle = np.random.default_rng(8).uniform(-300, 300, (250, 1, 2))
    corners = middle + np.array([[-8.0, -6], [8, -6], [8, 6], [-8, 6]])
    lowest = slope(*np.moveaxis(corners, -1, 0)).min(axis=1)
    owner = np.repeat(np.arange(250), 4)
    bases = np.column_stack([middle[:, 0], lowest])
    evidence = Evidence(bases, corners.reshape(-1, 2), owner, np.zeros((0, 3)))
    index = make_terrain(np.zeros((0, 3, 3)), evidence, WIDE).index
    xy = np.random.default_rng(9).uniform(-290, 290, (5000, 2))
    error = index.height(xy) - slope(*xy.T)
    assert abs(np.median(error)) < 0.1 and np.percentile(np.abs(error), 90) < 0.6
    below = np.minimum.reduceat(index.height(corners.reshape(-1, 2)), np.arange(0, 1000, 4)) - lowest
    assert below.max() < 0.15 and (below < -0.05).mean() < 0.1


def test_surfaces_with_heights_win_over_feet_beside_them_and_lie_above_the_ground():
    along = np.arange(-280.0, 280.0, 2.5)
    road = np.array([[x, y, slope(x, y)] for x in along for y in (-4.0, 0.0, 4.0)])
    feet = np.array([[x, y, slope(x, y) + 0.6] for x in along[::8] for y in (-9.0, 9.0)])
    index = make_terrain(np.zeros((0, 3, 3)), Evidence.of(feet, road), WIDE).index
    gap = road[:, 2] - index.height(road[:, :2])
    assert gap.min() > OFFSETS["planting"] and np.median(gap) < 0.3
    assert np.median(index.height(feet[:, :2]) - feet[:, 2]) > -0.3


def test_a_road_on_piers_lifts_no_ground_and_an_underpass_digs_no_canyon():
    feet = hill(500)
    along = np.arange(-250.0, 250.0, 2.5)
    for height in (9.0, -12.0):
        road = np.column_stack([along, 0 * along, slope(along, 0.0) + height])
        index = make_terrain(np.zeros((0, 3, 3)), Evidence.of(feet, road), WIDE).index
        error = index.height(road[:, :2]) - slope(*road[:, :2].T)
        assert np.percentile(np.abs(error), 90) < 1.5, height


def test_a_fitted_ground_fills_a_small_city_and_ends_in_a_vast_one():
    far = np.array([[-1400.0, -1400, 3], [1400, 1400, 5]])
    terrain = make_terrain(np.zeros((0, 3, 3)), far, np.array([[-1500.0, -1500], [1500, 1500]]))
    assert_joined(terrain)
    assert (
        len(terrain.triangles) < 5000 and 2.9 < terrain.triangles[..., 2].min() < terrain.triangles[..., 2].max() < 5.1
    )
    vast = make_terrain(np.zeros((0, 3, 3)), far * 10, np.array([[-15000.0, -15000], [15000, 15000]]))
    assert np.isnan(vast.index.height(np.zeros((1, 2)))).all()
    assert np.isfinite(vast.index.height(far[:, :2] * 10)).all() and any("wide" in note for note in vast.notes)


def test_a_base_in_an_abyss_digs_no_hole():
    bases = hill()
    bases[11, 2] = -500.0
    terrain = make_terrain(np.zeros((0, 3, 3)), bases, WIDE)
    assert terrain.triangles[..., 2].min() > slope(-375, 375) - 5


def test_terrain_under_a_part_of_the_city_is_used_and_the_rest_is_fitted():
    bases = hill(400)
    west = tin(slope, size=300.0, at=(-150.0, 0.0))
    terrain = make_terrain(west, bases, WIDE)
    assert terrain.kind == "dem and fitted" and terrain.source_count >= len(west)
    covered = np.isfinite(TriangleIndex(west).height(bases[:, :2])).mean()
    (note,) = terrain.notes
    assert int(re.search(r"under (\d+)%", note)[1]) == round(100 * covered)
    assert_joined(terrain)
    xy = np.random.default_rng(5).uniform([-299, -149], [-1, 149], (2000, 2))
    assert terrain.index.height(xy) == pytest.approx(slope(*xy.T), abs=1e-9)
    east = bases[bases[:, 0] > 120]
    error = terrain.index.height(east[:, :2]) - east[:, 2]
    assert (error <= 0.15).all() and np.median(error) > -0.1


def test_houses_that_merely_overhang_a_tile_do_not_bend_its_ground():
    bases = np.array([[0.0, 0, 10.0], [120.0, 0.0, 3.0]])
    terrain = make_terrain(tin(slope), bases, np.array([[-100.0, -100], [130, 100]]))
    assert terrain.kind == "dem" and terrain.notes == []


def test_without_any_height_the_ground_is_level_and_says_so():
    terrain = make_terrain(np.zeros((0, 3, 3)), np.zeros((0, 3)), SQUARE)
    assert terrain.kind == "level" and (terrain.triangles[..., 2] == 0).all()
    assert "no heights" in terrain.notes[0]
    assert_joined(terrain)


def test_a_terrain_model_elsewhere_is_not_used():
    far = np.array([[5000.0, 5000.0, 3.0], [5100.0, 5000.0, 4.0]])
    terrain = make_terrain(tin(slope), far, np.array([[4990.0, 4990], [5110, 5010]]))
    assert terrain.kind == "fitted" and terrain.dropped["outside the city"] == len(tin(slope))


# -- parts ------------------------------------------------------------------------------------------------------------


def test_a_part_knows_the_same_heights_and_little_else(tmp_path):
    terrain = make_terrain(tin(bumps, size=800.0), hill(), WIDE)
    terrain.save(tmp_path / "terrain")
    opened = pickle.loads(pickle.dumps(terrain))  # noqa: S301
    assert isinstance(opened.triangles, np.memmap) and len(pickle.dumps(terrain)) < 1000
    assert (opened.kind, opened.source_count, opened.notes) == (terrain.kind, terrain.source_count, terrain.notes)
    rng = np.random.default_rng(6)
    for _ in range(20):
        low = rng.uniform(-400, 350, 2)
        high = low + rng.uniform(0, 100, 2)
        xy = rng.uniform(low, high, (200, 2))
        for one in (terrain, opened):
            part = one.part(low, high)
            assert part.height(xy) == pytest.approx(terrain.index.height(xy), abs=0, nan_ok=True)
        touching = (terrain.index.low <= high).all(axis=1) & (terrain.index.high >= low).all(axis=1)
        assert len(part) == touching.sum()
    assert len(terrain.part(np.array([5000.0, 0]), np.array([5001.0, 1]))) == 0


def test_the_same_source_gives_the_same_bytes():
    source, bases = np.delete(tin(bumps, seed=9), np.r_[50:60], axis=0), hill()
    first, second = (make_terrain(source.copy(), bases.copy(), WIDE).triangles for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_crumbs_that_hang_together_nowhere_end_in_bounded_time_and_are_told():
    crumbs = tin(bumps, size=400.0, step=10.0)
    middle = crumbs.mean(axis=1, keepdims=True)
    begin = time.process_time()
    terrain = make_terrain(middle + (crumbs - middle) * 0.98, ONE_BASE, SQUARE)
    assert time.process_time() - begin < 20
    assert len(terrain.triangles) < 60 * len(crumbs)
    xy = np.random.default_rng(0).uniform(-100, 100, (2000, 2))
    assert any("could not be joined" in note for note in terrain.notes)
    error = terrain.index.height(xy) - TriangleIndex(crumbs).height(xy)
    assert np.isfinite(error).mean() > 0.99 and np.nanmax(np.abs(error)) < 0.5


@pytest.mark.long
def test_a_million_triangles_take_seconds_and_little_memory():
    import tracemalloc

    source = tin(bumps, size=5000.0, step=5000.0 / 707)
    bases = np.column_stack([np.random.default_rng(0).uniform(-2400, 2400, (20_000, 2)), np.full(20_000, 9.0)])
    bounds = np.array([[-2500.0, -2500], [2500, 2500]])
    begin = time.process_time()
    terrain = make_terrain(source, bases, bounds)
    assert len(terrain.index) > 999_000 and time.process_time() - begin < 20
    tracemalloc.start()
    make_terrain(source, bases, bounds)
    assert tracemalloc.get_traced_memory()[1] < 400 * 2**20
    tracemalloc.stop()


def test_terrain_that_is_made_by_hand_pickles_as_it_is():
    terrain = Terrain(tin(slope), 0, "dem", {"x": 1}, ["note"])
    copy = pickle.loads(pickle.dumps(terrain))  # noqa: S301
    assert (copy.triangles == terrain.triangles).all() and copy.dropped == {"x": 1} and copy.notes == ["note"]
