"""Heights, laid surfaces and bases against terrain whose height is known everywhere."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aerialworld_city.geometry.ground import OFFSETS, REACH, ROAD_OFFSET, lay, reach_down
from aerialworld_city.geometry.mesh import Mesh
from aerialworld_city.geometry.overlay import TriangleIndex, barycentric, fans, subdivide
from aerialworld_city.geometry.solids import normals
from aerialworld_city.geometry.triangulate import triangulate
from aerialworld_city.synthetic.shapes import prism, rectangle

sys.path.insert(0, str(Path(__file__).parent))
from city_shapes import bumps, slope, tin


def mesh_of(triangles, feature=0, uv=None, material=-1):
    n = len(triangles)
    return Mesh(
        np.array(triangles, float),
        np.full(n, feature, np.int32),
        np.zeros(n, np.int8),
        np.zeros(n, bool),
        np.full(n, material, np.int32),
        uv,
    )


def quad(corners):
    corners = np.asarray(corners, float)
    return corners[[[0, 1, 2], [0, 2, 3]]]


def block(centre, base, top, width=12.0, depth=9.0, feature=0):
    rings = prism(rectangle(width, depth, centre), base, top)
    return mesh_of(np.concatenate([triangulate(r).triangles for _, r in rings]), feature)


def moved(ring, *by):
    return ring + np.array(by)


def samples(triangles, count=20, seed=0):
    """(count, T, 3) points in the triangles."""
    weights = np.random.default_rng(seed).dirichlet([1, 1, 1], count)
    return np.einsum("ni,tij->ntj", weights, triangles)


def plan_area(triangles):
    return np.abs(np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])[:, 2]).sum() / 2


# -- heights and overlay ----------------------------------------------------------------------------------------------


def test_heights_on_a_plane_are_exact_and_outside_is_nan():
    index = TriangleIndex(tin(slope))
    xy = np.random.default_rng(1).uniform(-99, 99, (2000, 2))
    assert index.height(xy) == pytest.approx(slope(*xy.T), abs=1e-9)
    assert np.isnan(index.height(np.array([[101.0, 0.0], [0.0, -150.0]]))).all()


def test_without_terrain_there_is_no_height():
    index = TriangleIndex(np.zeros((0, 3, 3)))
    assert np.isnan(index.height(np.zeros((3, 2)))).all() and len(index.overlay(np.zeros((1, 3, 2)))[1]) == 0


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
    whole = abs(np.cross(*np.column_stack([np.diff(piece[0], axis=0), [0, 0]]))[2]) / 2
    assert plan_area(triangles) == pytest.approx(whole, rel=1e-6)
    assert (query == 0).all()
    middle = triangles.mean(axis=1)
    assert index.height(middle[:, :2]) == pytest.approx(middle[:, 2], abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_pairs_are_those_whose_bounds_meet_each_once(seed):
    rng = np.random.default_rng(seed)
    centre = rng.uniform(-50, 50, (60, 1, 3))
    index = TriangleIndex(centre + rng.normal(0, rng.choice([1, 8, 40]), (60, 3, 3)))
    low = rng.uniform(-60, 60, (20, 2))
    high = low + rng.uniform(0, 30, (20, 2)) * rng.integers(0, 2, (20, 1))
    box, triangle = index.pairs(low, high)
    meet = (index.low[None] <= high[:, None]).all(-1) & (index.high[None] >= low[:, None]).all(-1)
    assert sorted(zip(box.tolist(), triangle.tolist(), strict=True)) == [tuple(p) for p in np.argwhere(meet).tolist()]


def test_subdividing_keeps_area_and_limits_edges():
    pieces, origin = subdivide(np.array([[[0.0, 0], [100, 3], [40, 9]], [[0, 0], [3, 0], [0, 3]]]), 8.0)
    edges = np.linalg.norm(np.roll(pieces, -1, 1) - pieces, axis=2)
    a, b = pieces[:, 1] - pieces[:, 0], pieces[:, 2] - pieces[:, 0]
    area = np.bincount(origin, np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / 2)
    assert edges.max() <= 8.0 and area == pytest.approx([390.0, 4.5])


def test_barycentric_weights_give_back_the_place():
    rng = np.random.default_rng(4)
    triangles, xy = rng.uniform(-9, 9, (30, 3, 2)), rng.uniform(-9, 9, (30, 5, 2))
    weights = barycentric(xy, triangles)
    assert np.einsum("mki,mij->mkj", weights, triangles) == pytest.approx(xy, abs=1e-6)
    assert weights.sum(axis=-1) == pytest.approx(1.0)


# -- surfaces that lie ------------------------------------------------------------------------------------------------

ROAD = np.array([[-80.0, -7, 0], [85, 1, 0], [85, 11, 0], [-80, 3, 0]])


@pytest.mark.parametrize("surface", [slope, bumps])
@pytest.mark.parametrize("kind", sorted(OFFSETS))
def test_surfaces_without_heights_lie_exactly_above_the_ground_everywhere(surface, kind):
    index = TriangleIndex(tin(surface))
    for outline in (ROAD, ROAD[::-1]):  # some files have roads that face down
        laid, counts = lay(mesh_of(quad(outline)), 1, index, offset=OFFSETS[kind])
        assert (counts.draped, counts.near, counts.own, counts.beyond, counts.cut) == (1, 0, 0, 0, 0)
        points = samples(laid.triangles).reshape(-1, 3)
        gap = points[:, 2] - index.height(points[:, :2])
        assert gap == pytest.approx(np.full(len(gap), OFFSETS[kind]), abs=1e-9)
        assert (normals(laid.triangles)[:, 2] > 0).all() and not laid.double.any()
        assert plan_area(laid.triangles) == pytest.approx(165 * 10, rel=1e-6)


def test_kinds_that_lie_on_each_other_are_never_at_one_height():
    heights = sorted(OFFSETS.values())
    assert min(np.diff(heights)) >= 0.01 - 1e-12 and OFFSETS["road"] == ROAD_OFFSET == 0.05
    assert OFFSETS["water"] < OFFSETS["road"] < OFFSETS["sidewalk"] < OFFSETS["planting"]


def test_texture_coordinates_and_materials_go_through_all_cuts():
    index = TriangleIndex(tin(lambda x, y: 12 + np.sin(x / 9) * np.cos(y / 7)))
    for height in (0.0, 12.0):
        outline = moved(ROAD, 0, 0, height)
        uv = (quad(outline)[..., :2] @ [[0.1, 40.0], [-0.3, 7.0]]).astype(np.float32)
        laid, _ = lay(mesh_of(quad(outline), uv=uv, material=3), 1, index)
        assert len(laid) > 100 and (laid.material == 3).all()
        assert laid.uv == pytest.approx(laid.triangles[..., :2] @ [[0.1, 40.0], [-0.3, 7.0]], abs=1e-3, rel=1e-6)


def test_surfaces_near_the_ground_keep_their_heights_and_never_sink():
    index = TriangleIndex(tin(lambda x, y: 12 + np.sin(x / 13) * np.cos(y / 11)))
    laid, counts = lay(mesh_of(quad(moved(ROAD, 0, 0, 12.2))), 1, index)
    assert (counts.draped, counts.near) == (0, 1)
    points = samples(laid.triangles, 40).reshape(-1, 3)
    expected = np.maximum(12.2, index.height(points[:, :2]) + ROAD_OFFSET)
    assert points[:, 2] == pytest.approx(expected, abs=1e-6)
    assert plan_area(laid.triangles) == pytest.approx(165 * 10, rel=1e-5)
    assert (normals(laid.triangles)[:, 2] > 0).all()


def test_a_surface_above_the_ground_everywhere_is_not_cut():
    laid, _ = lay(mesh_of(quad(moved(ROAD[::-1], 0, 0, 16.0))), 1, TriangleIndex(tin(lambda x, y: 15 + 0 * x)))
    assert len(laid) == 2 and (normals(laid.triangles)[:, 2] == 1).all() and (laid.triangles[..., 2] == 16).all()


def test_bridges_and_underpasses_keep_their_heights_and_are_seen_from_both_sides():
    index = TriangleIndex(tin(slope))
    flat = np.array([[-50.0, -5], [50, -5], [50, 5], [-50, 5]])
    for height in (9.0, -6.0):
        own = quad(np.column_stack([flat, slope(*flat.T) + height]))
        laid, counts = lay(mesh_of(own), 1, index)
        assert counts.own == 1 and (laid.triangles == own).all() and laid.double.all()


def test_kerbs_stay_upright_and_double_sided():
    index = TriangleIndex(tin(lambda x, y: 5 + 0 * x))
    top = quad([[0.0, 0, 5.2], [20, 0, 5.2], [20, 2, 5.2], [0, 2, 5.2]])
    kerb = quad([[0.0, 0, 5.0], [20, 0, 5.0], [20, 0, 5.2], [0, 0, 5.2]])
    buried = quad([[0.0, 2, 4.0], [20, 2, 4.0], [20, 2, 4.9], [0, 2, 4.9]])
    laid, counts = lay(mesh_of(np.concatenate([top, kerb, buried])), 1, index)
    assert counts.near == 1 and len(laid) == 4
    assert laid.double.tolist() == [False, False, True, True]
    assert (laid.triangles[2:] == kerb).all()


def test_what_reaches_beyond_the_ground_is_cut_off_and_counted():
    index = TriangleIndex(tin(slope))
    across = np.array([[60.0, -5, 0], [140, -5, 0], [140, 5, 0], [60, 5, 0]])
    laid, counts = lay(mesh_of(quad(across)), 1, index)
    assert counts.draped == 1 and counts.cut == 2
    assert plan_area(laid.triangles) == pytest.approx(400, rel=1e-6) and laid.triangles[..., 0].max() <= 100 + 1e-9
    near = across + np.array([0, 0, 1]) * (slope(across[:, :1], across[:, 1:2]) + 0.5)
    laid, counts = lay(mesh_of(quad(near)), 1, index)
    assert counts.near == 1 and counts.cut == 2 and plan_area(laid.triangles) == pytest.approx(400, rel=1e-6)
    laid, counts = lay(mesh_of(quad(moved(across, 400, 0, 0))), 1, index)
    assert counts.beyond == 1 and counts.cut == 2 and len(laid) == 0


def test_each_feature_is_judged_by_itself_and_the_result_is_sorted():
    index = TriangleIndex(tin(slope))
    flat = np.array([[-50.0, -5], [50, -5], [50, 5], [-50, 5]])
    bridge = np.column_stack([moved(flat, 0, 20), slope(*flat.T) + 9])
    near = np.column_stack([moved(flat, 0, 40), slope(flat[:, 0], flat[:, 1] + 40) + 0.3])
    meshes = [mesh_of(quad(r), k) for k, r in enumerate([ROAD, bridge, moved(ROAD, 900, 0, 0), near])]
    together, counts = lay(Mesh.joined(meshes[::-1]), 5, index, offset=np.array([0.05, 0.05, 0.05, 0.07, 0.05]))
    assert (counts.draped, counts.own, counts.beyond, counts.near) == (1, 1, 1, 1)
    assert (np.diff(together.feature) >= 0).all()
    for k, offset in ((0, 0.05), (1, 0.05), (3, 0.07)):
        alone, _ = lay(mesh_of(meshes[k].triangles), 1, index, offset=offset)
        mine = together.triangles[together.feature == k]
        assert mine == pytest.approx(alone.triangles, abs=1e-12)


def test_squares_that_lay_a_road_by_itself_agree_where_they_meet():
    terrain = tin(bumps)
    whole, _ = lay(mesh_of(quad(ROAD)), 1, TriangleIndex(terrain))
    xy = terrain[:, :, :2]
    touching = (xy.min(axis=1) <= ROAD[:, :2].max(axis=0)).all(axis=1) & (
        xy.max(axis=1) >= ROAD[:, :2].min(axis=0)
    ).all(axis=1)
    part, _ = lay(mesh_of(quad(ROAD)), 1, TriangleIndex(terrain[touching]))
    order = [sorted(m.triangles.reshape(-1, 9).round(9).tolist()) for m in (whole, part)]
    assert order[0] == order[1]


# -- bodies -----------------------------------------------------------------------------------------------------------


def test_only_floating_bases_reach_down_and_exactly_to_the_lowest_ground():
    index = TriangleIndex(tin(slope))
    lowest = slope(-6.0, 4.5)
    mesh, bases, lowered = reach_down(block((0, 0), 12.0, 20.0), 1, index)
    assert lowered.tolist() == [0] and bases == pytest.approx([12.0])
    assert mesh.triangles[:, :, 2].min() == pytest.approx(lowest, abs=1e-9)
    assert mesh.triangles[:, :, 2].max() == 20.0
    buried = block((0, 0), lowest - 3.0, 20.0)
    same, _, lowered = reach_down(buried, 1, index)
    assert len(lowered) == 0 and (same.triangles == buried.triangles).all()


def test_a_pit_under_the_middle_of_a_house_is_found():
    triangles = tin(lambda x, y: 10 - 4 * np.exp(-((x / 6) ** 2 + (y / 6) ** 2)), step=5.0)
    index = TriangleIndex(triangles)
    mesh, _, lowered = reach_down(block((0, 0), 9.0, 20.0, 40, 40), 1, index)
    xy = np.random.default_rng(0).uniform(-20, 20, (20_000, 2))
    assert len(lowered) == 1
    assert mesh.triangles[:, :, 2].min() <= index.height(xy).min() + 1e-9


def test_a_part_on_a_podium_stays_on_it():
    index = TriangleIndex(tin(lambda x, y: 10 + 0 * x))
    both = Mesh.joined([block((0, 0), 11.0, 15.0, 40, 40), block((5, 5), 15.0, 30.0)])
    mesh, _, lowered = reach_down(both, 1, index)
    moved = mesh.triangles != both.triangles
    assert lowered.tolist() == [0] and set(both.triangles[moved].tolist()) == {11.0}
    assert mesh.triangles[moved] == pytest.approx(10.0)


def test_what_floats_higher_than_its_kind_may_stays_where_it_is():
    index = TriangleIndex(tin(lambda x, y: 10 + 0 * x))
    bodies = Mesh.joined([block((0, 0), 10.6, 20.0, feature=0), block((30, 0), 13.0, 20.0, feature=1)])
    for limit, expected in (
        (np.inf, [0, 1]),
        (REACH["vegetation"], [0]),
        (REACH["bridge"], []),
        ([0.0, 5.0, 0.0], [1]),
    ):
        mesh, bases, lowered = reach_down(bodies, 3, index, limit=np.array(limit))
        assert lowered.tolist() == expected and bases[:2].tolist() == [10.6, 13.0] and np.isinf(bases[2])
        feet = [mesh.triangles[mesh.feature == k][..., 2].min() for k in (0, 1)]
        assert feet == pytest.approx([10.0 if k in expected else bases[k] for k in (0, 1)])


def test_a_trunk_without_a_bottom_is_measured_at_its_lowest_corners():
    index = TriangleIndex(tin(slope))
    trunk = block((0, 0), 12.0, 14.0, 0.4, 0.4)
    open_below = trunk.take(normals(trunk.triangles)[:, 2] > -0.5)
    mesh, _, lowered = reach_down(open_below, 1, index)
    assert lowered.tolist() == [0]
    assert mesh.triangles[..., 2].min() == pytest.approx(slope(-0.2, 0.2), abs=1e-9)


def test_without_ground_nothing_moves():
    mesh, bases, lowered = reach_down(block((900, 0), 12.0, 20.0), 1, TriangleIndex(tin(slope)))
    assert bases.tolist() == [12.0] and len(lowered) == 0 and mesh.triangles[..., 2].min() == 12.0
