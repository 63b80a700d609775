"""Joining the pieces of laid surfaces: fewer triangles, the very same surface."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aerialworld_city.geometry.dissolve import dissolve
from aerialworld_city.geometry.ground import ROAD_OFFSET, lay
from aerialworld_city.geometry.mesh import Mesh
from aerialworld_city.geometry.overlay import TriangleIndex


def ground(height, step=10.0, half=60.0):
    x, y = np.meshgrid(np.arange(-half, half + 1, step), np.arange(-half, half + 1, step))
    p = np.stack([x, y, height(x, y)], -1)
    a, b, c, d = p[:-1, :-1], p[:-1, 1:], p[1:, 1:], p[1:, :-1]
    return TriangleIndex(np.concatenate([np.stack(t, 2).reshape(-1, 3, 3) for t in ([a, b, c], [a, c, d])]))


def bumps(x, y):
    return 12 + np.sin(x / 23) * np.cos(y / 17)


def mesh_of(triangles, feature=0, **more):
    n = len(triangles)
    mesh = Mesh(
        np.array(triangles, float),
        np.full(n, feature, np.int32),
        np.zeros(n, np.int8),
        np.zeros(n, bool),
        np.full(n, -1, np.int32),
    )
    for name, value in more.items():
        setattr(mesh, name, value)
    return mesh


def ring_road(inner=20.0, outer=27.0, pieces=90):
    """A road round a park, as two thin triangles for every four degrees."""
    angle = np.linspace(0, 2 * np.pi, pieces + 1)
    near, far = (np.column_stack([r * np.cos(angle), r * np.sin(angle), 0 * angle]) for r in (inner, outer))
    return np.concatenate([np.stack([near[:-1], far[:-1], far[1:]], 1), np.stack([near[:-1], far[1:], near[1:]], 1)])


def area(mesh):
    a, b = mesh.triangles[:, 1] - mesh.triangles[:, 0], mesh.triangles[:, 2] - mesh.triangles[:, 0]
    return np.cross(a, b)[:, 2] / 2


def assert_same_surface(before, after):
    """Inside one is inside the other, at the same height."""
    assert area(after).min() > 0 and area(after).sum() == pytest.approx(area(before).sum(), rel=1e-6)
    xy = np.random.default_rng(0).uniform(-60, 60, (20_000, 2))
    one, two = TriangleIndex(before.triangles).height(xy), TriangleIndex(after.triangles).height(xy)
    differ = np.isnan(one) != np.isnan(two)
    assert differ.mean() < 1e-4  # slivers that float32 would not hold
    both = ~np.isnan(one) & ~np.isnan(two)
    assert two[both] == pytest.approx(one[both], abs=1e-6)


def test_a_strip_of_slivers_becomes_its_outline():
    index = ground(lambda x, y: 5 + 0 * x, step=120.0)
    x = np.linspace(-50, 50, 101)
    south, north = np.column_stack([x, 0 * x - 30, 0 * x]), np.column_stack([x, 0 * x - 20, 0 * x])
    strip = np.concatenate(
        [np.stack([south[:-1], south[1:], north[1:]], 1), np.stack([south[:-1], north[1:], north[:-1]], 1)]
    )
    laid, _ = lay(mesh_of(strip), 1, index)
    joined = dissolve(laid, index)
    assert len(laid) >= 200 and len(joined) <= 6
    assert_same_surface(laid, joined)


def test_a_ring_keeps_its_hole():
    index = ground(bumps, step=60.0)
    laid, _ = lay(mesh_of(ring_road()), 1, index)
    joined = dissolve(laid, index)
    assert len(joined) < len(laid)
    assert_same_surface(laid, joined)
    whole = ground(lambda x, y: 3 + 0 * x, step=120.0, half=180.0)  # all of it on one triangle: a true hole
    ring = mesh_of(ring_road() + np.array([25.0, -25, 0]))
    laid, _ = lay(ring, 1, whole)
    joined = dissolve(laid, whole)
    assert len(joined) == 180 and area(joined).sum() == pytest.approx(area(laid).sum(), rel=1e-9)
    assert np.isnan(TriangleIndex(joined.triangles).height(np.array([[25.0, -25.0]]))).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_surface_stays_the_same_whatever_is_laid(seed):
    rng = np.random.default_rng(seed)
    index = ground(bumps, step=rng.choice([7.0, 15.0, 30.0]))
    fan = rng.uniform(-50, 50, (rng.integers(3, 9), 2))
    fan = fan[np.argsort(np.arctan2(*(fan - fan.mean(axis=0)).T))]
    middle = np.broadcast_to(fan.mean(axis=0), fan.shape)
    star = np.stack([middle, np.roll(fan, -1, axis=0), fan], axis=1)
    laid, _ = lay(mesh_of(np.concatenate([star, np.zeros((*star.shape[:2], 1))], axis=-1)), 1, index)
    if rng.uniform() < 0.5:
        laid = laid.take(rng.uniform(size=len(laid)) < 0.8)  # a square takes only some of the pieces
    joined = dissolve(laid, index)
    assert len(joined) <= len(laid)
    assert_same_surface(laid, joined)
    points = joined.triangles.mean(axis=1)
    assert points[:, 2] - index.height(points[:, :2]) == pytest.approx(ROAD_OFFSET, abs=1e-6)


def test_what_carries_more_than_its_place_stays_in_pieces():
    index = ground(bumps)
    laid, _ = lay(mesh_of(ring_road()), 1, index)
    photo = laid.take(slice(None))
    photo.material = np.zeros(len(laid), np.int32)
    bridge = laid.take(slice(None))
    bridge.double = np.ones(len(laid), bool)
    tilted = laid.take(slice(None))
    tilted.triangles = laid.triangles + np.array([0, 0, 1]) * (0.3 * laid.triangles[..., :1])
    for mesh in (photo, bridge, tilted):
        assert (dissolve(mesh, index).triangles == mesh.triangles).all()
    assert len(dissolve(laid, TriangleIndex(np.zeros((0, 3, 3))))) == len(laid)
    assert len(dissolve(Mesh.empty(), index)) == 0


def test_features_and_surfaces_are_not_mixed():
    index = ground(bumps, step=60.0)
    two = Mesh.joined([mesh_of(ring_road(), 0), mesh_of(ring_road(27.0, 30.0), 1), mesh_of(ring_road(30.0, 33.0), 1)])
    two.surface[-90:] = 2
    laid, _ = lay(two, 2, index)
    joined = dissolve(laid, index)
    for feature in (0, 1):
        for surface in (0, 2):
            areas = [area(m)[(m.feature == feature) & (m.surface == surface)].sum() for m in (laid, joined)]
            assert areas[1] == pytest.approx(areas[0], rel=1e-6)
    assert (np.diff(joined.feature) >= 0).all() and len(joined) < len(laid)


def test_pieces_that_overlap_stay_as_they_are():
    index = ground(lambda x, y: 5 + 0 * x, step=120.0)
    laid, _ = lay(mesh_of(np.concatenate([ring_road()[:1], ring_road()[:1] + np.array([0.5, 0.2, 0])])), 1, index)
    again = dissolve(laid, index)
    assert area(again).sum() == pytest.approx(area(laid).sum(), rel=1e-9)
