"""Simplified surfaces, measured by other means than the code's own: analytic shapes, trimesh, real buildings."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aerialworld_city.geometry.box_tree import nearest
from aerialworld_city.geometry.deviation import one_sided
from aerialworld_city.geometry.height_deviation import height_deviation
from aerialworld_city.geometry.mesh import Mesh
from aerialworld_city.geometry.simplify import simplify, simplify_ground
from aerialworld_city.options import ConversionOptions
from aerialworld_city.plane_system import choose_zone
from aerialworld_city.sources.discover import open_sources
from aerialworld_city.tiles.build import build_tile

SHARED = Path(os.environ.get("AERIALWORLD_SHARED", Path(__file__).resolve().parents[3].parent / "shared"))
PLATEAU = SHARED / "data/plateau"
real = pytest.mark.skipif(not PLATEAU.is_dir(), reason=f"no real files at {PLATEAU} (set AERIALWORLD_SHARED)")
CLOSED, OPEN = np.ones(1, bool), np.zeros(1, bool)


def mesh_of(triangles, feature=None, material=None, uv=None, surface=None):
    count = len(triangles)
    return Mesh(
        np.asarray(triangles, np.float64),
        np.zeros(count, np.int32) if feature is None else np.asarray(feature, np.int32),
        np.zeros(count, np.int8) if surface is None else np.asarray(surface, np.int8),
        np.zeros(count, bool),
        np.full(count, -1, np.int32) if material is None else np.asarray(material, np.int32),
        None if uv is None else np.asarray(uv, np.float32),
    )


def solid(triangles):
    """A trimesh with corners merged that are equal to 0.1 mm."""
    corners, face = np.unique(np.round(np.asarray(triangles).reshape(-1, 3), 4), axis=0, return_inverse=True)
    return trimesh.Trimesh(corners, face.reshape(-1, 3), process=False)


def farthest(triangles, surface, count, seed=0):
    """Largest distance of random points on `triangles` from `surface`, by trimesh's brute force."""
    points, _ = trimesh.sample.sample_surface(solid(triangles), count, seed=seed)
    corners = np.unique(np.asarray(triangles).reshape(-1, 3), axis=0)
    points = np.concatenate([points, corners[:: max(1, len(corners) // count)]])
    other = solid(surface)
    step = max(1, 2_000_000 // len(other.faces))
    parts = [points[i : i + step] for i in range(0, len(points), step)]
    return max(trimesh.proximity.closest_point_naive(other, p)[1].max() for p in parts)


def grid(size, count, height):
    """Triangles of z = height(x, y) over a square, facing up."""
    x = np.linspace(0, size, count + 1)
    px, py = np.meshgrid(x, x)
    p = np.stack([px, py, height(px, py)], axis=-1)
    a, b, c, d = p[:-1, :-1], p[:-1, 1:], p[1:, 1:], p[1:, :-1]
    return np.concatenate([np.stack([a, b, c], -2).reshape(-1, 3, 3), np.stack([a, c, d], -2).reshape(-1, 3, 3)])


def heights(triangles, xy):
    """Height of an upward surface at places (N, 2), by brute force over all triangles."""
    result = np.full(len(xy), np.nan)
    a, b, c = triangles[:, 0], triangles[:, 1], triangles[:, 2]
    doubled = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    for i, (x, y) in enumerate(xy):
        v = ((x - a[:, 0]) * (c[:, 1] - a[:, 1]) - (y - a[:, 1]) * (c[:, 0] - a[:, 0])) / doubled
        w = ((b[:, 0] - a[:, 0]) * (y - a[:, 1]) - (b[:, 1] - a[:, 1]) * (x - a[:, 0])) / doubled
        inside = np.flatnonzero((v >= -1e-9) & (w >= -1e-9) & (v + w <= 1 + 1e-9))
        if len(inside):
            k = inside[0]
            result[i] = a[k, 2] + v[k] * (b[k, 2] - a[k, 2]) + w[k] * (c[k, 2] - a[k, 2])
    return result


# Boxes


def test_simplify_leaves_a_box_as_it_is():
    box = trimesh.creation.box((10, 8, 20)).triangles + np.array([1000, -2000, 30])
    result, told = simplify(mesh_of(box), 2, 5.0, closed=CLOSED)
    assert told == (12, 12, 0.0, 0, 0.0)
    assert np.array_equal(result.triangles, box)


def test_simplify_does_not_touch_a_mesh_within_its_target():
    mesh = mesh_of(trimesh.creation.icosphere(2).triangles)
    result, told = simplify(mesh, len(mesh), 10.0, closed=CLOSED)
    assert result is mesh and told.after == told.before == 320


def test_simplify_merges_a_finely_divided_box_to_12_triangles():
    box = trimesh.creation.box((10, 8, 20))
    for _ in range(4):
        box = box.subdivide()
    result, told = simplify(mesh_of(box.triangles + np.array([5000.5, 700.25, 3.125])), 2, 0.1, closed=CLOSED)
    assert told.before == 3072 and told.after == len(result) == 12
    assert told.worst < 1e-6
    left = solid(result.triangles)
    assert left.is_watertight and left.volume == pytest.approx(1600.0, rel=1e-9)


def test_simplify_stops_at_the_target_and_keeps_the_order_of_triangles():
    box = trimesh.creation.box((10, 8, 20)).subdivide().subdivide().triangles
    many = np.concatenate([box + np.array([30.0 * i, 0, 0]) for i in range(5)])
    feature = np.repeat(np.arange(5), len(box))
    result, told = simplify(mesh_of(many, feature), 400, 0.1, closed=np.ones(5, bool))
    assert 390 <= told.after <= 400
    assert (np.diff(result.feature) >= 0).all()
    for i in range(5):
        part = solid(result.triangles[result.feature == i] - [30.0 * i, 0, 0])
        assert part.is_watertight and part.volume == pytest.approx(1600.0)


def test_simplify_is_deterministic():
    ball = mesh_of(trimesh.creation.icosphere(4, radius=5).triangles)
    one, two = (simplify(ball, 100, 0.05, closed=CLOSED)[0] for _ in range(2))
    assert np.array_equal(one.triangles, two.triangles)


# Curved bodies


@pytest.mark.parametrize("limit", [0.05, 0.2])
def test_simplify_of_a_sphere_keeps_distance_volume_and_closedness(limit):
    ball = trimesh.creation.icosphere(3, radius=4.0)
    result, told = simplify(mesh_of(ball.triangles), 12, limit, closed=CLOSED)
    left = solid(result.triangles)
    assert told.after < 0.8 * told.before
    assert left.is_watertight and left.euler_number == 2
    assert left.volume / ball.volume == pytest.approx(1.0, abs=0.01)
    assert farthest(ball.triangles, result.triangles, 500) <= limit
    assert farthest(result.triangles, ball.triangles, 500) <= limit
    assert np.abs(left.bounds - ball.bounds).max() <= limit


def test_simplify_keeps_a_thin_chimney_on_a_large_roof():
    house = trimesh.creation.box((40, 40, 10)).subdivide().subdivide().subdivide()
    chimney = trimesh.creation.cylinder(0.3, 3.0, sections=24).apply_translation([5, 5, 6.4])
    both = np.concatenate([house.triangles, chimney.triangles])
    result, told = simplify(mesh_of(both), 12, 0.1, closed=CLOSED)
    assert told.after < 100
    assert result.triangles[..., 2].max() == pytest.approx(7.9)
    assert solid(result.triangles).volume == pytest.approx(solid(both).volume, rel=0.01)


# What must not be mixed


def test_simplify_keeps_outlines_between_materials_and_kinds():
    plane = grid(8.0, 16, lambda x, y: 0 * x)
    middle = plane.mean(axis=1)
    material = (middle[:, 0] > 4).astype(int)
    surface = (middle[:, 1] > 2).astype(int) + 1
    result, told = simplify(mesh_of(plane, material=material, surface=surface), 2, 0.1, closed=OPEN)
    assert told.after <= 12  # a shell of 12 triangles stays
    area = np.cross(*(result.triangles[:, i] - result.triangles[:, 0] for i in (1, 2)))[:, 2] / 2
    assert (area > 0).all()
    for m, s, expected in ((0, 1, 8.0), (1, 1, 8.0), (0, 2, 24.0), (1, 2, 24.0)):
        chosen = (result.material == m) & (result.surface == s)
        assert area[chosen].sum() == pytest.approx(expected)


def test_simplify_carries_an_affine_texture_map_across_merged_triangles():
    plane = grid(8.0, 16, lambda x, y: 0.5 * x + 3)
    uv = (plane @ np.array([[0.05, 0.01], [-0.02, 0.08], [0.0, 0.0]])) + 0.3
    result, told = simplify(mesh_of(plane, material=np.zeros(512), uv=uv), 2, 0.1, closed=OPEN)
    assert told.after <= 12 and told.worst_uv < 1e-5
    expected = (result.triangles @ np.array([[0.05, 0.01], [-0.02, 0.08], [0.0, 0.0]])) + 0.3
    assert np.abs(result.uv - expected).max() < 1e-5


def test_simplify_moves_no_photograph_on_a_rough_body():
    body = trimesh.creation.box((6, 4, 3)).subdivide().subdivide().subdivide().subdivide()
    body.vertices += np.random.default_rng(1).normal(0, 0.01, body.vertices.shape)
    side = np.abs(np.round(body.face_normals)).argmax(axis=1)
    plan = np.array([[1, 2], [0, 2], [0, 1]])[side]
    uv = np.take_along_axis(body.triangles, np.repeat(plan[:, None], 3, axis=1), axis=2) / 7 + 0.5
    result, told = simplify(mesh_of(body.triangles, material=side, uv=uv), 200, 0.05, closed=CLOSED)
    assert told.after < 0.4 * told.before and told.worst_uv <= 2e-3
    # Each material's map is still its plan, at every corner and so everywhere between.
    expected = (
        np.take_along_axis(
            result.triangles, np.repeat(np.array([[1, 2], [0, 2], [0, 1]])[result.material][:, None], 3, axis=1), axis=2
        )
        / 7
        + 0.5
    )
    assert np.abs(result.uv - expected).max() < 1e-5
    assert solid(result.triangles).is_watertight


def test_simplify_leaves_a_curved_texture_map_and_its_seams():
    plane = grid(8.0, 16, lambda x, y: 0 * x)
    curved = np.stack([(plane[..., 0] / 8) ** 2, plane[..., 1] / 8], axis=-1)
    result, told = simplify(mesh_of(plane, material=np.zeros(512), uv=curved), 2, 0.1, closed=OPEN)
    # Along x the map is curved: every column stays; along y it is straight.
    assert len(np.unique(np.round(result.triangles[..., 0], 6))) == 17
    assert told.after < 100
    seam = plane[..., :2] / 8 + np.where(plane.mean(axis=1)[:, 0] > 4, 0.5, 0.0)[:, None, None]
    result, told = simplify(mesh_of(plane, material=np.zeros(512), uv=seam), 2, 0.1, closed=OPEN)
    assert told.after <= 12
    right = result.triangles[:, :, 0].mean(axis=1) > 4
    assert np.abs(result.uv - result.triangles[..., :2] / 8 - np.where(right, 0.5, 0.0)[:, None, None]).max() < 1e-5


def test_simplify_keeps_a_shell_closed_that_has_corners_on_straight_edges():
    """A wall's edge is one long edge on one side and several short ones on the other: closed as polygons only."""
    box = trimesh.creation.box((10, 10, 10))
    top = box.triangles_center[:, 2] > 4.9
    fine = grid(10.0, 8, lambda x, y: 0 * x) - [5, 5, -5]
    # A sphere of bumps on the roof gives the lossy part something to do.
    inner = np.abs(fine[..., :2]).max(axis=-1) < 4.9
    fine[..., 2] += np.where(inner, 0.03 * np.sin(3 * fine[..., 0]), 0.0)
    shell = np.concatenate([box.triangles[~top], fine])
    result, told = simplify(mesh_of(shell), 12, 0.1, closed=CLOSED)
    assert told.after < 60
    vector = np.cross(*(result.triangles[:, i] - result.triangles[:, 0] for i in (1, 2))).sum(axis=0) / 2
    assert np.abs(vector).max() < 1e-9
    flat = result.triangles.reshape(-1, 3)
    rim = (np.abs(flat[:, :2]).max(axis=1) > 4.999) & (flat[:, 2] > 4)
    assert np.abs(flat[rim, 2] - 5).max() < 1e-9


def test_simplify_leaves_small_shells_and_reports_what_a_feature_kept():
    small = trimesh.creation.box((0.05, 0.05, 0.05)).triangles
    ball = trimesh.creation.icosphere(3, radius=3).triangles + np.array([10, 0, 0])
    both = mesh_of(np.concatenate([small, ball]), np.repeat([0, 1], [12, len(ball)]))
    result, _ = simplify(both, 12, 0.1, closed=np.ones(2, bool))
    assert np.array_equal(result.triangles[result.feature == 0], small)


# Ground


def hills(x, y):
    return 4 * np.sin(x / 30) * np.cos(y / 25) + 0.04 * np.sin(1.3 * x) * np.sin(1.1 * y)


def test_simplify_ground_bounds_every_height_and_keeps_the_border():
    ground = grid(250.0, 100, hills)
    result, told = simplify_ground(mesh_of(ground), 1000, 0.1)
    assert told.after < 0.3 * told.before
    places = np.random.default_rng(3).uniform(0, 250, (800, 2))
    gap = np.abs(heights(result.triangles, places) - heights(ground, places))
    assert np.isfinite(gap).all() and 0.05 < gap.max() <= told.worst <= 0.1
    cross = np.cross(*(result.triangles[:, i] - result.triangles[:, 0] for i in (1, 2)))
    assert (cross[:, 2] > 0).all()
    assert cross[:, 2].sum() / 2 == pytest.approx(250.0**2, rel=1e-12)

    def border(triangles):
        p = triangles.reshape(-1, 3)
        return {tuple(q) for q in p[((p[:, :2] == 0) | (p[:, :2] == 250)).any(axis=1)]}

    assert border(result.triangles) == border(ground)


def test_simplify_ground_keeps_the_line_between_two_materials():
    ground = grid(100.0, 50, lambda x, y: 0.2 * x)
    material = (ground.mean(axis=1)[:, 1] > 50).astype(int)
    result, told = simplify_ground(mesh_of(ground, material=material), 10, 0.05)
    assert told.after < 500
    area = np.cross(*(result.triangles[:, i] - result.triangles[:, 0] for i in (1, 2)))[:, 2] / 2
    assert area[result.material == 0].sum() == pytest.approx(5000.0)


# The measure itself


def test_deviation_is_exact_for_parallel_and_folded_planes():
    flat = grid(10.0, 3, lambda x, y: 0 * x)
    raised = flat + np.array([0, 0, 0.25])
    assert one_sided(flat, raised, 1.0).worst == pytest.approx(0.25)
    assert not one_sided(flat, raised, 0.24).within
    assert one_sided(flat, raised, 0.25).within
    roof = grid(10.0, 2, lambda x, y: 1 - np.abs(x - 5) / 5)
    # The flat plate lies 1 m under the ridge: cos of the slope away from it, 1 m from above.
    assert one_sided(roof, flat, 1.0).worst == pytest.approx(1.0)
    assert one_sided(flat, roof, 1.0).worst == pytest.approx(np.cos(np.arctan(0.2)), abs=1e-3)
    assert np.max(height_deviation(flat, roof)) == pytest.approx(1.0)


@pytest.mark.long
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**31), st.floats(0.05, 3.0))
def test_deviation_agrees_with_brute_force_on_random_soup(seed, limit):
    rng = np.random.default_rng(seed)
    one, other = rng.uniform(0, 4, (6, 3, 3)), rng.uniform(0, 4, (9, 3, 3))
    points = (rng.dirichlet([1, 1, 1], (6, 200))[..., None] * one[:, None]).sum(axis=2).reshape(-1, 3)
    brute = trimesh.proximity.closest_point_naive(trimesh.Trimesh(**trimesh.triangles.to_kwargs(other)), points)[1]
    distance, at = nearest(points, other)
    assert np.allclose(distance, brute, atol=1e-9)
    assert (at >= 0).all() and (at < 9).all()
    found = one_sided(one, other, limit)
    if found.within:
        assert brute.max() <= limit + 1e-9
    if brute.max() > limit:
        assert not found.within


def fan(middle, rim, turn):
    """Triangles from a middle to the corners of a ring, turned in space."""
    corners = np.column_stack([rim, np.zeros(len(rim))])
    middle = np.broadcast_to(np.append(middle, 0.0), corners.shape)
    return np.stack([middle, corners, np.roll(corners, -1, axis=0)], axis=1) @ turn.T


def test_proof_knows_one_large_face_cut_in_two_ways():
    turn = trimesh.transformations.rotation_matrix(0.7, [1, 2, 3])[:3, :3]
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    rim = 500 * np.column_stack([np.cos(angle), np.sin(angle)])
    one, other = fan([0.0, 0.0], rim, turn), fan([210.3, -77.7], rim, turn)
    # Pieces of a millimetre would be 10⁹.
    assert one_sided(one, other, 1e-3).within and one_sided(other, one, 1e-3).within
    assert one_sided(one, other, 1e-3).worst < 1e-9
    # A slit 6 cm wide beside triangle 6 (7 and, at its tip, 8 lie across): its middle is 3 cm from both sides.
    narrower = other.copy()
    aside = np.cross(turn[:, 2], other[7, 1] - other[7, 0])
    narrower[7, :2] += 0.06 * aside / np.linalg.norm(aside)
    found = one_sided(one, narrower, 0.02)
    assert found.worst == pytest.approx(0.03, abs=1e-3) and set(found.at) <= {6, 7, 8}
    assert one_sided(one, narrower, 0.04).within


# Anything at all


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**31), st.sampled_from([0.02, 0.1, 0.5]))
def test_simplify_keeps_its_bounds_on_random_bumpy_bodies(seed, limit):
    rng = np.random.default_rng(seed)
    body = trimesh.creation.icosphere(3, radius=5.0)
    body.vertices *= rng.uniform(0.3, 2.0, 3) * (1 + rng.normal(0, 0.01, (len(body.vertices), 1)))
    before = body.triangles + rng.uniform(-3000, 3000, 3)
    result, told = simplify(mesh_of(before), 12, limit, closed=CLOSED)
    left = solid(result.triangles)
    assert left.is_watertight
    assert left.volume / solid(before).volume == pytest.approx(1.0, abs=0.0101)
    assert farthest(before, result.triangles, 400, seed) <= limit + 1e-4
    assert farthest(result.triangles, before, 400, seed) <= limit + 1e-4
    assert told.worst <= limit


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**31), st.booleans())
def test_simplify_survives_soup_with_doubled_and_degenerate_triangles(seed, closed):
    rng = np.random.default_rng(seed)
    corners = np.round(rng.uniform(0, 3, (12, 3)), 1)
    soup = corners[rng.integers(0, 12, (60, 3))]
    result, told = simplify(mesh_of(soup), 3, 0.1, closed=np.array([closed]))
    assert told.after == len(result) <= 60
    assert np.isfinite(result.triangles).all()
    assert nearest(soup.reshape(-1, 3), result.triangles)[0].max() <= 0.1 + 1e-9


# Real buildings


def tiles_of(name, tmp_path):
    source = next(PLATEAU.glob(f"{name}*"))
    options = ConversionOptions()
    with open_sources([source], options, tmp_path) as sources:
        projection = choose_zone(sources.files, sources.city_code, options)
        return [build_tile(f, projection, options) for f in sources.files]


@real
@pytest.mark.parametrize(("name", "limit"), [("01", 0.1), ("03", 0.1), ("06", 0.3)])
def test_simplify_keeps_real_buildings(name, limit, tmp_path):
    for tile in tiles_of(name, tmp_path):
        mesh = tile.mesh
        if name == "06":  # the 60 with most triangles
            size = np.bincount(mesh.feature, minlength=len(tile.features))
            mesh = mesh.take(np.isin(mesh.feature, np.argsort(-size, kind="stable")[:60]))
        if len(mesh) == 0:
            continue
        closed = np.array([f.closed for f in tile.features])
        result, told = simplify(mesh, 12, limit, closed=closed)
        assert told.after < told.before and told.worst <= limit and told.worst_uv <= 2e-3
        for number in np.unique(mesh.feature):
            old = mesh.triangles[mesh.feature == number]
            new = result.triangles[result.feature == number]
            assert len(new)
            assert np.abs(new.min(axis=(0, 1)) - old.min(axis=(0, 1))).max() <= limit
            assert np.abs(new.max(axis=(0, 1)) - old.max(axis=(0, 1))).max() <= limit
            before, after = solid(old - old[0, 0]), solid(new - old[0, 0])
            if closed[number]:
                assert after.volume / before.volume == pytest.approx(1.0, abs=0.01)
                assert after.is_watertight or not before.is_watertight
            if len(old) < 400 and len(new) < len(old):
                assert farthest(new - old[0, 0], old - old[0, 0], 200) <= limit + 1e-3
