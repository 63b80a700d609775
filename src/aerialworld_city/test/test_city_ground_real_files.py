"""The ground of real files: bases and surfaces against the terrain that they stand and lie on."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from aerialworld_city.geometry.evidence import Evidence
from aerialworld_city.geometry.ground import OFFSETS, lay, lowest_ground, reach_down
from aerialworld_city.geometry.mesh import Mesh
from aerialworld_city.geometry.overlay import TriangleIndex, subdivide
from aerialworld_city.geometry.solids import bounding_boxes
from aerialworld_city.geometry.terrain import make_terrain
from aerialworld_city.kinds import KINDS
from aerialworld_city.options import ConversionOptions
from aerialworld_city.plane_system import choose_zone
from aerialworld_city.sources.discover import open_sources
from aerialworld_city.tiles.build import build_tile

SHARED = Path(os.environ.get("AERIALWORLD_SHARED", Path(__file__).resolve().parents[4] / "shared"))
PLATEAU = SHARED / "data" / "plateau"

pytestmark = pytest.mark.skipif(not PLATEAU.is_dir(), reason="the PLATEAU samples are not here: set AERIALWORLD_SHARED")


class Place:
    """A set's features, mesh and terrain triangles about its own middle."""

    def __init__(self, pattern, tmp_path):
        (folder,) = PLATEAU.glob(pattern)
        options = ConversionOptions()
        with open_sources([folder], options, tmp_path) as sources:
            projection = choose_zone(sources.files, sources.city_code, options)
            tiles = [build_tile(file, projection, options) for file in sources.files]
        self.features, meshes = [], []
        for tile in tiles:
            part = tile.mesh
            part.feature = (part.feature + len(self.features)).astype(np.int32)
            part.material = np.full(len(part), -1, np.int32)
            self.features += tile.features
            meshes.append(part)
        self.mesh = Mesh.joined(meshes)
        self.dem = np.concatenate([t.terrain for t in tiles])
        everything = self.mesh.triangles if len(self.mesh) else self.dem
        middle = np.append(np.round(np.nanmean(everything[:, :, :2], axis=(0, 1))), 0.0)
        self.mesh.triangles, self.dem = self.mesh.triangles - middle, self.dem - middle
        self.boxes = bounding_boxes(self.mesh, len(self.features))
        self.kinds = np.array([f.kind for f in self.features], dtype=object)

    def bases(self, *kinds):
        chosen = self.boxes[np.isin(self.kinds, kinds)]
        return np.column_stack([chosen.mean(axis=1)[:, :2], chosen[:, 0, 2]])

    def evidence(self):
        """Feet of buildings with their lowest corners, and places all over surfaces with heights."""
        mesh, count = self.part("building")
        lowest = np.full(count, np.inf)
        np.minimum.at(lowest, mesh.feature, mesh.triangles[:, :, 2].min(axis=1))
        row, corner = np.nonzero(mesh.triangles[:, :, 2] <= lowest[mesh.feature][:, None] + 0.01)
        feet = np.unique(np.column_stack([mesh.feature[row], mesh.triangles[row, corner, :2]]), axis=0)
        lies = np.array([KINDS[kind].lies for kind in self.kinds]) & (np.abs(self.boxes[:, :, 2]).max(axis=1) > 1e-6)
        pieces, _ = subdivide(self.mesh.triangles[lies[self.mesh.feature]], 5.0)
        return Evidence(self.bases("building"), feet[:, 1:], feet[:, 0].astype(np.int64), pieces.reshape(-1, 3))

    def bounds(self):
        return np.array([self.boxes[:, 0, :2].min(axis=0), self.boxes[:, 1, :2].max(axis=0)])

    def part(self, kind):
        chosen = self.kinds == kind
        mesh = self.mesh.take(chosen[self.mesh.feature])
        mesh.feature = (np.cumsum(chosen) - 1)[mesh.feature].astype(np.int32)
        return mesh, int(chosen.sum())


def lifted(laid, index, seed=0):
    """How far above the terrain the surfaces lie, at points all over the triangles."""
    weights = np.random.default_rng(seed).dirichlet([1, 1, 1], 5)
    points = np.einsum("ni,tij->ntj", weights, laid.triangles).reshape(-1, 3)
    return points[:, 2] - index.height(points[:, :2])


def test_roppongi_buildings_stand_on_the_terrain_or_below_it(tmp_path):
    place = Place("06_*", tmp_path)
    begin = time.process_time()
    terrain = make_terrain(place.dem, place.bases("building"), place.bounds())
    mesh, count = place.part("building")
    standing, bases, lowered = reach_down(mesh, count, terrain.index)
    assert time.process_time() - begin < 4.0  # 0.5 s on an idle machine
    assert count == 915 and terrain.kind == "dem" and terrain.source_count >= 44663 and terrain.dropped == {}
    gap = bases - lowest_ground(mesh, bases, terrain.index, count)
    assert np.isfinite(gap).all() and gap.max() < 0.40 and abs(np.median(gap)) < 0.002
    feet = bounding_boxes(standing, count)[:, 0, 2]
    after = feet - lowest_ground(standing, feet, terrain.index, count)
    assert after.max() <= 0.05 and len(lowered) < 10
    untouched = ~np.isin(mesh.feature, lowered)
    assert (standing.triangles[untouched] == mesh.triangles[untouched]).all()
    xy = np.random.default_rng(0).uniform(*place.bounds(), (20_000, 2))
    assert np.isfinite(terrain.index.height(xy)).all()


def test_roppongi_without_its_terrain_is_fitted_to_its_feet(tmp_path):
    place = Place("06_*", tmp_path)
    truth = make_terrain(place.dem, place.bases("building"), place.bounds()).index
    fitted = make_terrain(np.zeros((0, 3, 3)), place.evidence(), place.bounds()).index
    xy = np.random.default_rng(0).uniform(*place.bounds(), (20_000, 2))
    error = fitted.height(xy) - truth.height(xy)
    # Hills of 25 m, and parks where nothing stands: there it is a guess.
    assert abs(np.median(error)) < 0.3 and np.percentile(np.abs(error), 50) < 0.8
    assert np.percentile(np.abs(error), 90) < 4.0


@pytest.mark.parametrize(
    ("pattern", "most", "farthest"), [("06_*", 200, 1.5), ("07_*", 12, 0.5), ("08_*", 4, 0.3), ("10_*", 8, 0.4)]
)
def test_few_buildings_float_over_a_fitted_ground_and_none_is_buried(pattern, most, farthest, tmp_path):
    place = Place(pattern, tmp_path)
    index = make_terrain(np.zeros((0, 3, 3)), place.evidence(), place.bounds()).index
    mesh, count = place.part("building")
    _, bases, lowered = reach_down(mesh, count, index)
    gap = bases - lowest_ground(mesh, bases, index, count)
    assert len(lowered) <= most and gap.max() < farthest and gap.min() > -0.15


def test_roppongi_with_half_of_its_terrain_keeps_that_half(tmp_path):
    place = Place("06_*", tmp_path)
    bases = place.bases("building")
    whole = make_terrain(place.dem, bases, place.bounds()).index
    west = place.dem[place.dem[:, :, 0].max(axis=1) < 0]
    half = make_terrain(west, bases, place.bounds())
    assert half.kind == "dem and fitted"
    xy = np.random.default_rng(0).uniform(*place.bounds(), (20_000, 2))
    xy = xy[np.isfinite(TriangleIndex(west).height(xy))]
    assert np.abs(half.index.height(xy) - whole.height(xy)).max() < 1e-6


@pytest.mark.parametrize(("pattern", "roads"), [("07_*", 58), ("08_*", 73)])
def test_roads_without_heights_lie_five_centimetres_above_the_ground(pattern, roads, tmp_path):
    place = Place(pattern, tmp_path)
    index = make_terrain(place.dem, place.bases("building"), place.bounds()).index
    mesh, count = place.part("road")
    begin = time.process_time()
    laid, counts = lay(mesh, count, index, offset=OFFSETS["road"])
    assert time.process_time() - begin < 4.0  # 0.3 s on an idle machine
    assert counts.draped == roads and counts.beyond == 0 and counts.own == 0
    without = np.zeros(count, bool)
    without[mesh.feature] = True
    highest = np.zeros(count)
    np.maximum.at(highest, mesh.feature, np.abs(mesh.triangles[..., 2]).max(axis=1))
    draped = laid.take((highest < 1e-6)[laid.feature])
    assert lifted(draped, index) == pytest.approx(0.05, abs=1e-6)


@pytest.mark.parametrize("kind", ["road", "flat", "sidewalk"])
def test_osaka_roads_with_heights_never_sink_below_the_ground(kind, tmp_path):
    place = Place("08_*", tmp_path)
    index = make_terrain(place.dem, place.bases("building"), place.bounds()).index
    mesh, count = place.part(kind)
    laid, counts = lay(mesh, count, index, offset=OFFSETS[kind])
    assert counts.near == 2
    single = laid.take(~laid.double)
    gap = lifted(single, index)
    assert gap.min() > OFFSETS[kind] - 1e-6 and gap.max() < 1.5


def test_roads_of_tsukuba_tell_their_own_ground(tmp_path):
    """No building, no terrain: LOD3 roads and plants have heights, 209 roads have none."""
    place = Place("09_*", tmp_path)
    heights = np.abs(place.boxes[:, :, 2]).max(axis=1) > 0
    feet = np.column_stack([place.boxes[heights].mean(axis=1)[:, :2], place.boxes[heights, 0, 2]])
    terrain = make_terrain(place.dem, feet, place.bounds())
    assert terrain.kind == "fitted"
    for kind in set(place.kinds):
        mesh, count = place.part(kind)
        if KINDS[kind].lies:
            laid, counts = lay(mesh, count, terrain.index, offset=OFFSETS[kind])
            assert counts.own == 0 and lifted(laid.take(~laid.double), terrain.index).min() > OFFSETS[kind] - 1e-6


def test_a_road_without_any_heights_around_lies_on_level_ground(tmp_path):
    place = Place("11_*", tmp_path)
    terrain = make_terrain(place.dem, np.zeros((0, 3)), place.bounds())
    assert terrain.kind == "level"
    for kind in sorted(set(place.kinds)):
        mesh, count = place.part(kind)
        laid, _ = lay(mesh, count, terrain.index, offset=OFFSETS[kind])
        assert laid.triangles[..., 2] == pytest.approx(OFFSETS[kind], abs=1e-12)


def test_ota_has_its_terrain_two_kilometres_away(tmp_path):
    place = Place("04_*", tmp_path)
    terrain = make_terrain(place.dem, place.bases("building"), place.bounds())
    assert terrain.kind == "fitted" and terrain.dropped == {"outside the city": 44}
    around = [place.dem.min(axis=(0, 1))[:2], place.dem.max(axis=(0, 1))[:2]]
    alone = make_terrain(place.dem, np.zeros((0, 3)), np.array(around))
    # Three have collapsed to a point and three are less than 0.02 mm wide.
    assert alone.kind == "dem" and alone.dropped == {"no area in plan": 6}


@pytest.mark.parametrize(
    ("pattern", "reason", "number"),
    [
        ("12_broken/dem_degenerate", "no area in plan", 2),
        ("12_broken/dem_triangle_flipped", "turned to face up (kept)", 1),
    ],
)
def test_broken_terrain_is_mended_and_counted(pattern, reason, number, tmp_path):
    place = Place(pattern, tmp_path)
    finite = place.dem[np.isfinite(place.dem).all(axis=(1, 2))]
    bounds = np.array([finite.min(axis=(0, 1))[:2], finite.max(axis=(0, 1))[:2]])
    terrain = make_terrain(place.dem, np.zeros((0, 3)), bounds)
    assert terrain.dropped == {reason: number}
    up = np.cross(terrain.triangles[:, 1] - terrain.triangles[:, 0], terrain.triangles[:, 2] - terrain.triangles[:, 0])
    assert (up[:, 2] > 0).all()
