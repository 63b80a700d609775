"""Terrain heights, draping and bases against surfaces whose height is known everywhere."""

from __future__ import annotations

import numpy as np
import pytest

from aerialworld_city.features import Polygon, RoadArea
from aerialworld_city.geometry.ground import ROAD_OFFSET, lay_roads, reach_down
from aerialworld_city.geometry.overlay import TriangleIndex, fans, subdivide
from aerialworld_city.geometry.old_solids import Mesh, normals
from aerialworld_city.geometry.terrain import EXTENSION, Terrain, make_terrain
from aerialworld_city.geometry.triangulate import triangulate
from aerialworld_city.synthetic.shapes import prism, rectangle
from aerialworld_core import labels


def tin(height, size=200.0, step=10.0, seed=0):
    """Triangles over ±size/2 with shifted inner corners; `height(x, y)` at the corners."""
    rng = np.random.default_rng(seed)
    n = int(size / step)
    x, y = np.meshgrid(np.linspace(-size / 2, size / 2, n + 1), np.linspace(-size / 2, size / 2, n + 1))
    x[1:-1, 1:-1] += rng.uniform(-2, 2, (n - 1, n - 1))
    y[1:-1, 1:-1] += rng.uniform(-2, 2, (n - 1, n - 1))
    p = np.stack([x, y, height(x, y)], -1)
    a, b, c, d = p[:-1, :-1], p[:-1, 1:], p[1:, 1:], p[1:, :-1]
    return np.concatenate([np.stack(t, 2).reshape(-1, 3, 3) for t in ([a, b, c], [a, c, d])])


def slope(x, y):
    return 10 + 0.1 * x - 0.05 * y


def bumps(x, y):
    return 12 + 3 * np.sin(x / 23) * np.cos(y / 17)


def block(centre, base, top, width=12.0, depth=9.0):
    triangles = np.concatenate([triangulate(r).triangles for _, r in prism(rectangle(width, depth, centre), base, top)])
    n = len(triangles)
    return Mesh(triangles, np.zeros(n, np.int64), np.zeros(n, np.int8), np.zeros(n, bool))


def test_heights_on_a_plane_are_exact_and_outside_is_nan():
    index = TriangleIndex(tin(slope))
    xy = np.random.default_rng(1).uniform(-99, 99, (2000, 2))
    assert index.height(xy) == pytest.approx(slope(*xy.T), abs=1e-9)
    assert np.isnan(index.height(np.array([[101.0, 0.0], [0.0, -150.0]]))).all()


def test_heights_agree_with_ray_casting():
    trimesh = pytest.importorskip("trimesh")
    triangles = tin(bumps)
    xy = np.random.default_rng(2).uniform(-95, 95, (300, 2))
    mesh = trimesh.Trimesh(**trimesh.triangles.to_kwargs(triangles), process=False)
    down = np.tile([0.0, 0.0, -1.0], (300, 1))
    place, ray, _ = mesh.ray.intersects_location(np.column_stack([xy, np.full(300, 99.0)]), down, multiple_hits=False)
    expected = np.empty(300)
    expected[ray] = place[:, 2]
    assert TriangleIndex(triangles).height(xy) == pytest.approx(expected, abs=1e-4)


def test_overlay_keeps_the_area_and_lies_on_the_terrain():
    index = TriangleIndex(tin(bumps))
    piece = np.array([[[-63.0, -40.0], [71.0, -12.0], [5.0, 66.0]]])
    polygon, count, query, _ = index.overlay(piece)
    triangles, _ = fans(polygon, count)
    area = np.abs(np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])[:, 2]).sum() / 2
    whole = abs(np.cross(*np.column_stack([np.diff(piece[0], axis=0), [0, 0]]))[2]) / 2
    assert area == pytest.approx(whole, rel=1e-6)
    assert (query == 0).all()
    middle = triangles.mean(axis=1)
    assert index.height(middle[:, :2]) == pytest.approx(middle[:, 2], abs=1e-9)


def test_subdividing_keeps_area_and_limits_edges():
    pieces, origin = subdivide(np.array([[[0.0, 0], [100, 3], [40, 9]], [[0, 0], [3, 0], [0, 3]]]), 8.0)
    edges = np.linalg.norm(np.roll(pieces, -1, 1) - pieces, axis=2)
    a, b = pieces[:, 1] - pieces[:, 0], pieces[:, 2] - pieces[:, 0]
    area = np.bincount(origin, np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / 2)
    assert edges.max() <= 8.0 and area == pytest.approx([390.0, 4.5])


@pytest.mark.parametrize("surface", [slope, bumps])
def test_roads_without_heights_lie_just_above_the_ground_everywhere(surface):
    terrain = Terrain(tin(surface), 0, "dem")
    ring = np.array([[-80.0, -7, 0], [85, 1, 0], [85, 11, 0], [-80, 3, 0]])
    for outline in (ring, ring[::-1]):  # some files have roads that face down
        roads, counts, _ = lay_roads([RoadArea("r", "f", labels.SIDEWALK, 1, [Polygon([outline])])], terrain)
        triangles = roads[labels.SIDEWALK]
        assert counts == {"roads draped": 1}
        for weights in ([1, 0, 0], [0.2, 0.3, 0.5], [1 / 3] * 3):
            points = np.einsum("i,tij->tj", np.array(weights), triangles)
            gap = points[:, 2] - terrain.index.height(points[:, :2])
            assert gap == pytest.approx(np.full(len(gap), ROAD_OFFSET), abs=1e-6)
        assert (normals(triangles)[:, 2] > 0).all()
        plan = np.abs(np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])[:, 2]).sum() / 2
        assert plan == pytest.approx(165 * 10, rel=1e-6)


def test_roads_with_heights_near_the_ground_are_draped_and_bridges_stay():
    terrain = Terrain(tin(slope), 0, "dem")
    flat = np.array([[-50.0, -5], [50, -5], [50, 5], [-50, 5]])
    near = np.column_stack([flat, slope(*flat.T) + 0.8])
    high = np.column_stack([flat + np.array([0, 40]), slope(*flat.T) + 9])
    roads = [RoadArea(n, "f", labels.DRIVEABLE_SURFACE, 1, [Polygon([r])]) for n, r in (("near", near), ("high", high))]
    result, counts, _ = lay_roads(roads, terrain)
    assert counts == {"roads draped": 1, "roads at their own height": 1}
    heights = result[labels.DRIVEABLE_SURFACE]
    bridge = heights[heights[:, :, 1].min(axis=1) > 20]
    assert len(bridge) == 4
    assert bridge.reshape(-1, 3)[:, 2] == pytest.approx(slope(*(bridge.reshape(-1, 3)[:, :2] - [0, 40]).T) + 9)


def test_only_floating_bases_reach_down_and_exactly_to_the_lowest_ground():
    terrain = Terrain(tin(slope), 0, "dem")
    lowest = slope(-6.0, 4.5)
    mesh, bases, lowered = reach_down(block((0, 0), 12.0, 20.0), terrain, 1)
    assert lowered.tolist() == [0] and bases == pytest.approx([12.0])
    assert mesh.triangles[:, :, 2].min() == pytest.approx(lowest, abs=1e-9)
    assert mesh.triangles[:, :, 2].max() == 20.0
    buried, _, lowered = reach_down(block((0, 0), lowest - 3.0, 20.0), terrain, 1)
    assert len(lowered) == 0 and buried.triangles[:, :, 2].min() == lowest - 3.0


def test_a_pit_under_the_middle_of_a_house_is_found():
    triangles = tin(lambda x, y: 10 - 4 * np.exp(-((x / 6) ** 2 + (y / 6) ** 2)), step=5.0)
    index = TriangleIndex(triangles)
    mesh, _, lowered = reach_down(block((0, 0), 9.0, 20.0, 40, 40), Terrain(triangles, 0, "dem"), 1)
    xy = np.random.default_rng(0).uniform(-20, 20, (20_000, 2))
    assert len(lowered) == 1
    assert mesh.triangles[:, :, 2].min() <= index.height(xy).min() + 1e-9


def test_source_triangles_stay_as_they_are_and_the_extension_closes_without_gap():
    source = tin(bumps)
    bases = np.array([[0.0, 0.0, 12.0]])
    terrain = make_terrain(source, bases, np.array([[-100.0, -100.0], [100.0, 100.0]]))
    assert terrain.kind == "dem" and terrain.source_count == len(source)
    own = terrain.triangles[: terrain.source_count]
    assert sorted(own.reshape(-1, 9).tolist()) == sorted(source.reshape(-1, 9).tolist())
    extension = terrain.triangles[terrain.source_count :]
    plan = np.cross(
        terrain.triangles[:, 1] - terrain.triangles[:, 0], terrain.triangles[:, 2] - terrain.triangles[:, 0]
    )
    assert (plan[:, 2] > 0).all()
    assert plan[:, 2].sum() / 2 == pytest.approx((200 + 2 * EXTENSION) ** 2, rel=1e-6)
    # Just outside the border the ground continues at the border's height.
    y = np.linspace(-99, 99, 400)
    inside = terrain.index.height(np.column_stack([np.full(400, 99.999), y]))
    outside = TriangleIndex(extension).height(np.column_stack([np.full(400, 100.001), y]))
    assert outside == pytest.approx(inside, abs=2e-3)


def test_terrain_is_cleaned_and_faces_up():
    source = tin(slope)
    source[5] = source[5][::-1]
    source[6, 1] = source[6, 0]
    source[7] = np.nan
    source = np.concatenate([source, source[20:21]])
    terrain = make_terrain(source, np.array([[0.0, 0, 10]]), np.array([[-90.0, -90], [90, 90]]))
    assert terrain.dropped["turned to face up (kept)"] == 1
    assert terrain.dropped["no area in plan"] == 1
    assert terrain.dropped["coordinates that are no place"] == 1
    assert terrain.dropped["the same triangle twice"] == 1
    assert (normals(terrain.triangles)[:, 2] > 0).all()


def test_without_terrain_the_ground_goes_through_the_bases_of_a_hill():
    rng = np.random.default_rng(3)
    xy = rng.uniform(-300, 300, (200, 2))
    bases = np.column_stack([xy, slope(*xy.T)])
    bases[7, 2] += 40.0  # a deck high above its neighbours pulls nothing up
    terrain = make_terrain(np.zeros((0, 3, 3)), bases, np.array([[-300.0, -300], [300, 300]]))
    assert terrain.kind == "fitted" and terrain.source_count == 0
    error = terrain.index.height(xy) - slope(*xy.T)
    assert np.isfinite(error).all() and np.abs(np.median(error)) < 0.3 and np.percentile(np.abs(error), 95) < 3.5
    assert np.isfinite(terrain.index.height(np.array([[-374.9, -374.9], [374.9, 374.9]]))).all()


def test_a_terrain_model_elsewhere_is_not_used():
    far = np.array([[5000.0, 5000.0, 3.0], [5100.0, 5000.0, 4.0]])
    terrain = make_terrain(tin(slope), far, np.array([[4990.0, 4990], [5110, 5010]]))
    assert terrain.kind == "fitted" and terrain.dropped["outside the city"] == len(tin(slope))
