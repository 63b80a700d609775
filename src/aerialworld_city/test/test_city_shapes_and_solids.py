"""Volumes, areas and orientation of analytic solids, through triangulation and the shell analysis."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aerialworld_city.features import Surface
from aerialworld_city.geometry.mesh import Mesh
from aerialworld_city.geometry.solids import double_sided, normals, orient, signed_volumes
from aerialworld_city.geometry.triangulate import (
    MAX_RING_POINTS,
    PolygonError,
    area_vector,
    triangulate,
    triangulate_polygons,
)
from aerialworld_city.synthetic.shapes import gabled, hipped, inset, l_shape, parapet, prism, rectangle, round_tower

HERE = (-8100.0, -37400.0)
BOX = rectangle(10.0, 6.0, HERE)


def solid(faces, leave_out=None, turn=False):
    """One body through the batch: packed polygons, triangles, shells."""
    faces = [f for i, f in enumerate(faces) if i != leave_out]
    rings = [np.asarray(r)[::-1] if turn else np.asarray(r) for _, rings in faces for r in rings]
    ring_start = np.cumsum([0, *(len(r) for r in rings)])
    polygon_start = np.cumsum([0, *(len(rings) for _, rings in faces)])
    found = triangulate_polygons(np.concatenate(rings), ring_start, polygon_start)
    assert found.problems == []
    n = len(found.corners)
    surface = np.array([kind for kind, _ in faces], np.int8)[found.polygon]
    mesh = Mesh(
        found.points[found.corners], np.zeros(n, np.int32), surface, np.zeros(n, bool), np.full(n, -1, np.int32)
    )
    owner = np.zeros(len(found.points), np.int64)
    return orient(
        mesh, 1, corners=found.points, corner_owner=owner, triangle_corners=found.corners, follow=found.follow
    )


CASES = {
    "box": (prism(BOX, 3.0, 8.0), 10 * 6 * 5),
    "gable": (gabled(BOX, 3.0, 8.0, 10.0), 10 * 6 * 5 + 10 * 6 * 2 / 2),
    # A hipped roof is a gable of the ridge's length between two pyramids.
    "hip": (hipped(BOX, 3.0, 8.0, 10.0, 0.5), 300 + 5 * 6 * 2 / 2 + 5 * 6 * 2 / 3),
    "courtyard": (prism(BOX, 0.0, 4.0, [rectangle(4.0, 2.0, HERE)]), (60 - 8) * 4),
    "l": (prism(l_shape(10.0, 6.0, 0.5, HERE), 0.0, 4.0), 45 * 4),
    "parapet": (parapet(BOX, 0.0, 4.0, 5.0, 0.5), 60 * 5 - 9 * 5 * 1),
    "tower": (prism(round_tower(8.0, HERE, 12), 0.0, 30.0), 12 / 2 * 64 * np.sin(2 * np.pi / 12) * 30),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("turn", [False, True])
def test_closed_solids_keep_their_volume_and_end_up_outward(name, turn):
    faces, volume = CASES[name]
    mesh, shells = solid(faces, turn=turn)
    assert shells.closed.all()
    assert shells.volume[0] == pytest.approx(volume, rel=1e-9)
    origin = np.tile(mesh.triangles[0, 0], (len(mesh.triangles), 1))
    assert signed_volumes(mesh.triangles, origin).sum() == pytest.approx(volume, rel=1e-9)
    assert shells.turned == (len(mesh.triangles) if turn else 0)
    assert len(double_sided(mesh).triangles) == len(mesh.triangles)


@pytest.mark.parametrize("name", CASES)
def test_a_solid_with_a_missing_face_is_seen_from_both_sides(name):
    mesh, shells = solid(CASES[name][0], leave_out=1)
    both = double_sided(mesh)
    assert not shells.closed.any()
    assert len(both.triangles) == 2 * len(mesh.triangles)
    assert normals(both.triangles).sum(axis=0) == pytest.approx([0, 0, 0], abs=1e-9)


def test_one_misturned_wall_makes_the_whole_shell_double_sided():
    faces, _ = CASES["box"]
    faces = [*faces[:-1], (faces[-1][0], [faces[-1][1][0][::-1]])]
    _, shells = solid(faces)
    assert not shells.closed.any() and shells.doubled == 12


def test_unknown_surfaces_are_told_apart_by_their_slope():
    mesh, _ = solid([(Surface.UNKNOWN, rings) for _, rings in CASES["box"][0]])
    kinds = [Surface(int(k)) for k in np.unique(mesh.surface)]
    assert kinds == [Surface.ROOF, Surface.WALL, Surface.GROUND]
    assert (normals(mesh.triangles)[mesh.surface == Surface.ROOF, 2] == 1).all()


def test_a_collinear_corner_of_a_neighbour_does_not_open_a_shell():
    """Ear clipping drops corners on straight lines; the edges still tell that the solid is closed."""
    faces, volume = CASES["box"]
    top = faces[1][1][0]
    middle = (top[0] + top[1]) / 2
    long_top = np.concatenate([top[:1], middle[None], top[1:]])
    wall = faces[2][1][0]  # low a, low b, high b, high a
    split_wall = np.concatenate([wall[:3], middle[None], wall[3:]])
    _, shells = solid([faces[0], (Surface.ROOF, [long_top]), (Surface.WALL, [split_wall]), *faces[3:]])
    assert shells.closed.all() and shells.volume[0] == pytest.approx(volume, rel=1e-9)


def ring(points, z=0.0):
    return np.column_stack([np.array(points, float), np.full(len(points), z)])


def area(face):
    return (
        np.linalg.norm(
            np.cross(face.triangles[:, 1] - face.triangles[:, 0], face.triangles[:, 2] - face.triangles[:, 0]), axis=1
        ).sum()
        / 2
    )


def test_holes_are_cut_whichever_way_they_wind():
    outer, hole = ring([[0, 0], [10, 0], [10, 10], [0, 10]]), ring([[2, 2], [4, 2], [4, 5], [2, 5]])
    for h in (hole, hole[::-1]):
        assert area(triangulate([outer, h])) == pytest.approx(94.0)


def test_closing_points_and_repeated_points_change_nothing():
    square = ring([[0, 0], [10, 0], [10, 10], [0, 10]])
    closed = np.concatenate([square[:1], square[:1], square[1:2], square[1:], square[:1]])
    face = triangulate([closed])
    assert area(face) == pytest.approx(100.0) and len(face.triangles) == 2 and len(face.edges) == 4


def test_a_hole_that_crosses_the_outline_gives_nothing_outside():
    outer, hole = ring([[0, 0], [10, 0], [10, 10], [0, 10]]), ring([[8, 4], [14, 4], [14, 6], [8, 6]])
    face = triangulate([outer, hole])
    centres = face.triangles.mean(axis=1)
    assert np.isfinite(face.triangles).all()
    assert ((centres[:, :2] >= 0) & (centres[:, :2] <= 10)).all()


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        ([[0, 0], [1, 1]], "2 distinct"),
        ([[0, 0], [1, 1], [2, 2], [3, 3]], "no area"),
        ([[0, 0], [np.nan, 1], [2, 2]], "no place|not a place"),
        ([[0, 0], [1e9, 1], [2, 2]], "km"),
        (np.random.default_rng(0).random((MAX_RING_POINTS + 1, 2)).tolist(), "at most"),
    ],
)
def test_unusable_rings_are_named(points, reason):
    with pytest.raises(PolygonError, match=reason):
        triangulate([ring(points)])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0.3, 1.0), min_size=3, max_size=24),
    st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(0.2, 1)),
)
def test_star_shaped_polygons_in_any_plane_keep_area_and_normal(radii, normal):
    angle = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    flat = np.column_stack([np.cos(angle), np.sin(angle), np.zeros(len(radii))]) * np.array(radii)[:, None] * 20
    n = np.array(normal) / np.linalg.norm(normal)
    u = np.cross([0.3, 0.5, -0.8], n)
    u /= np.linalg.norm(u)
    points = flat @ np.stack([u, np.cross(n, u), n])
    face = triangulate([points])
    vectors = np.cross(face.triangles[:, 1] - face.triangles[:, 0], face.triangles[:, 2] - face.triangles[:, 0]) / 2
    assert vectors.sum(axis=0) == pytest.approx(area_vector(points), rel=1e-9, abs=1e-6)
    assert (vectors @ n > 0).all()


def test_inset_keeps_parallel_distance():
    shape = l_shape(20.0, 12.0, 0.5, (0.0, 0.0))
    inner = inset(shape, 1.5)
    along = np.roll(shape, -1, 0) - shape
    left = np.column_stack([-along[:, 1], along[:, 0]]) / np.linalg.norm(along, axis=1, keepdims=True)
    assert ((inner - shape) * left).sum(axis=1) == pytest.approx(np.full(6, 1.5))
