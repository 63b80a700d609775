"""Triangulation in batches: areas, normals and texture coordinates of known polygons, and bounds on hostile ones."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aerialworld_city.geometry.triangulate import MAX_RING_POINTS, area_vector, triangulate_polygons


def pack(polygons):
    """[[ring, …], …] → points, ring_start, polygon_start."""
    rings = [np.asarray(r, float) for p in polygons for r in p]
    return (
        np.concatenate(rings),
        np.cumsum([0, *(len(r) for r in rings)]),
        np.cumsum([0, *(len(p) for p in polygons)]),
    )


def areas(faces, count):
    t = faces.points[faces.corners]
    vector = np.cross(t[:, 1] - t[:, 0], t[:, 2] - t[:, 0]) / 2
    return np.stack([np.bincount(faces.polygon, vector[:, i], minlength=count) for i in range(3)], axis=1)


def regular(n, radius, centre=(0.0, 0.0, 0.0)):
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return np.column_stack([np.cos(angle), np.sin(angle), np.zeros(n)]) * radius + centre


def closed(ring):
    return np.concatenate([ring, ring[:1]])


def tilted(points, normal):
    n = np.array(normal) / np.linalg.norm(normal)
    u = np.cross([0.3, 0.5, -0.8], n)
    u /= np.linalg.norm(u)
    return points @ np.stack([u, np.cross(n, u), n])


def test_a_mixed_batch_has_the_areas_of_its_polygons_one_by_one():
    rng = np.random.default_rng(3)
    polygons, expected = [], []
    for number in range(400):
        corners = 3 + number % 9
        normal = rng.normal(size=3) + np.array([0, 0, 0.1])
        ring = regular(corners, 5.0 + rng.random()) * [1.0, 0.6, 1.0]
        rings = [ring]
        if number % 4 == 0 and corners > 5:
            hole = regular(4, 0.8)
            rings.append(hole if number % 8 else hole[::-1])
        area = [np.linalg.norm(area_vector(r)) for r in rings]
        rings = [tilted(r, normal) + np.array([-8100.0, -37400.0, 20.0]) for r in rings]
        rings = [closed(r) if number % 3 else r for r in rings]
        polygons.append(rings)
        expected.append((area[0] - sum(area[1:])) * normal / np.linalg.norm(normal))
    faces = triangulate_polygons(*pack(polygons))
    assert faces.problems == [] and (np.diff(faces.polygon) >= 0).all()
    # Turned holes and all: the sum of triangle vectors is the polygon's own, so no triangle faces back.
    assert areas(faces, len(polygons)) == pytest.approx(np.array(expected), abs=1e-6)
    t = faces.points[faces.corners]
    size = np.linalg.norm(np.cross(t[:, 1] - t[:, 0], t[:, 2] - t[:, 0]), axis=1) / 2
    total = np.bincount(faces.polygon, size, minlength=len(polygons))
    assert total == pytest.approx(np.linalg.norm(expected, axis=1), rel=1e-9)


def test_edges_lead_round_every_ring_with_the_face_to_their_left():
    outer, hole = regular(6, 10.0), regular(5, 3.0)
    faces = triangulate_polygons(*pack([[closed(outer), closed(hole)], [closed(regular(4, 2.0, (50, 0, 0)))]]))
    vector = np.cross(faces.points, faces.points[faces.follow]) / 2
    signed = np.bincount(faces.owner, vector[:, 2])
    assert signed == pytest.approx([6 / 2 * 100 * np.sin(np.pi / 3) - 5 / 2 * 9 * np.sin(2 * np.pi / 5), 8.0])


def test_texture_places_go_with_their_corners_through_removed_and_turned_points():
    outer = closed(regular(7, 10.0))
    outer = np.insert(outer, 3, outer[3], axis=0)  # a point twice
    hole = closed(regular(5, 3.0))  # winds as the outline: is turned
    quad = closed(regular(4, 2.0, (40, 0, 0)))
    points, rings, starts = pack([[outer, hole], [quad]])
    uv = (points[:, :2] @ np.array([[0.1, 0.02], [-0.03, 0.07]]) + [0.5, 0.25]).astype(np.float32)
    faces = triangulate_polygons(points, rings, starts, uv)
    corners = faces.points[faces.corners]
    expected = corners[..., :2] @ np.array([[0.1, 0.02], [-0.03, 0.07]]) + [0.5, 0.25]
    assert faces.uv[faces.corners] == pytest.approx(expected, abs=1e-6)


def test_broken_polygons_are_named_and_the_others_are_untouched():
    good = closed(regular(8, 4.0))
    polygons = [
        [good],
        [good, np.array([[0.0, 0, 0], [1, 0, 0]])],
        [good * [1, np.nan, 1]],
        [regular(3, 2e4)],
        [np.array([[0.0, 0, 0], [1, 1, 0], [2, 2, 0], [0, 0, 0]])],
        [np.zeros((0, 3))],
        [closed(regular(MAX_RING_POINTS, 5.0))],
        [good],
    ]
    faces = triangulate_polygons(*pack(polygons))
    assert [n for n, _ in faces.problems] == [1, 2, 3, 4, 5, 6]
    reasons = dict(faces.problems)
    assert "2 distinct" in reasons[1] and "place on earth" in reasons[2] and "20 km" in reasons[3]
    assert reasons[4] == "no area" and "0 distinct" in reasons[5] and "10001 points" in reasons[6]
    area = 8 / 2 * 16 * np.sin(np.pi / 4)
    assert areas(faces, 8)[:, 2] == pytest.approx([area, 0, 0, 0, 0, 0, 0, area])


def test_no_polygon_at_all():
    faces = triangulate_polygons(np.zeros((0, 3)), np.zeros(1, np.int64), np.zeros(1, np.int64))
    assert faces.corners.shape == (0, 3) and faces.problems == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=1, max_size=12), min_size=1, max_size=6
    )
)
def test_any_outline_gives_triangles_within_its_bounds_or_a_reason(outlines):
    polygons = [[np.column_stack([np.array(o, float), np.full(len(o), 3.0)])] for o in outlines]
    faces = triangulate_polygons(*pack(polygons))
    named = {n for n, _ in faces.problems}
    assert named | set(faces.polygon.tolist()) == set(range(len(polygons))) and not named & set(faces.polygon.tolist())
    t = faces.points[faces.corners]
    for number, (ring,) in enumerate(polygons):
        own = t[faces.polygon == number]
        if len(own):
            assert (own.min(axis=(0, 1)) >= ring.min(axis=0)).all() and (own.max(axis=(0, 1)) <= ring.max(axis=0)).all()


def test_hostile_outlines_end_in_bounded_time_and_real_ones_are_done():
    """Zigzags are the worst known case of ear clipping: a file of them is cut short, and says so."""
    rng = np.random.default_rng(0)
    n = 7000
    zigzags = [
        np.concatenate(
            [np.column_stack([np.tile([0.0, 1.0], n // 2), rng.random(n)]), [[5.0, 0.0], [5.0, 5.0], [0.0, 5.0]]]
        )[:, [i % 2, 1 - i % 2]]
        for i in range(30)
    ]
    zigzags = [np.column_stack([z, np.zeros(len(z))]) for z in zigzags]
    winding = regular(n, 300.0) * np.where(np.arange(n) % 2, 0.98, 1.0)[:, None]  # a coast: long, but does not cross
    polygons = [*([r] for r in zigzags), *([closed(winding)] for _ in range(20)), [closed(regular(9, 3.0))]]
    begin = time.process_time()
    faces = triangulate_polygons(*pack(polygons))
    assert time.process_time() - begin < 12
    refused = [number for number, reason in faces.problems if "crosses itself too often" in reason]
    assert refused and max(refused) < 50
    done = set(faces.polygon.tolist())
    assert 50 in done
    alone = triangulate_polygons(*pack(polygons[30:50]))
    assert alone.problems == []
    expected = n / 2 * 300.0**2 * 0.98 * np.sin(2 * np.pi / n)
    assert areas(alone, 20)[:, 2] == pytest.approx(np.full(20, expected), rel=1e-9)


def test_a_city_of_polygons_takes_seconds():
    count = 60_000
    ring = regular(4, 4.0)
    offset = np.random.default_rng(1).random((count, 1, 3)) * [9000, 9000, 50]
    quads = np.concatenate([np.repeat(ring[None], count, axis=0) + offset, ring[None, :1] + offset], axis=1)
    roof = regular(8, 5.0)
    roofs = np.concatenate(
        [np.repeat(roof[None], count // 5, axis=0) + offset[: count // 5], roof[None, :1] + offset[: count // 5]],
        axis=1,
    )
    points = np.concatenate([quads.reshape(-1, 3), roofs.reshape(-1, 3)])
    starts = np.r_[np.arange(count) * 5, count * 5 + np.arange(count // 5 + 1) * 9]
    begin = time.process_time()
    faces = triangulate_polygons(points, starts, np.arange(len(starts)))
    assert time.process_time() - begin < 3.0
    assert len(faces.corners) == 2 * count + 6 * (count // 5)
