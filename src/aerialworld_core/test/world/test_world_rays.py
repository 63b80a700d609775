"""Rays against shapes whose distances are known in closed form, and the questions that rest on rays."""

import numpy as np
import pytest

from aerialworld_core.errors import InputError, WorldError
from aerialworld_core.frames import Pose
from aerialworld_core.world import load_world


def sphere_rays(n=4000, seed=3):
    d = np.random.default_rng(seed).normal(size=(n, 3))
    return d / np.linalg.norm(d, axis=1, keepdims=True)


def test_box_distances_are_exact(make_world, sdf):
    world = make_world(sdf.model("b", sdf.visual(sdf.box(2, 4, 6), pose="10 -3 5 0.3 -0.2 0.9")))
    pose = Pose.from_rpy(10, -3, 5, 0.3, -0.2, 0.9)
    d = sphere_rays() * np.random.default_rng(0).uniform(0.1, 9, (4000, 1))  # any length
    o = np.array([12.0, -20, 9]) + np.random.default_rng(1).uniform(-3, 3, (4000, 3))
    d[:2000] = pose.transform(np.random.default_rng(2).uniform(-1, 1, (2000, 3)) * [1, 2, 3]) - o[:2000]  # aimed at it
    # Slab test in the box's frame, float64.
    inverse = pose.inverse()
    lo, ld = inverse.transform(o), d @ pose.rotation
    with np.errstate(divide="ignore"):
        a, b = (-np.array([1, 2, 3]) - lo) / ld, (np.array([1, 2, 3]) - lo) / ld
    enter, leave = np.minimum(a, b).max(axis=1), np.maximum(a, b).min(axis=1)
    expected = np.where((enter <= leave) & (enter > 0), enter * np.linalg.norm(d, axis=1), np.inf)
    distance, face = world.cast(o, d)
    assert ((face >= 0) == np.isfinite(distance)).all()
    hit = np.isfinite(expected)
    assert hit.sum() > 1900
    agree = np.isfinite(distance) == hit
    assert (~agree).sum() <= 2  # rays that graze an edge
    both = agree & hit
    assert np.abs(distance[both] - expected[both]).max() < 1e-5


def test_sphere_cylinder_and_ellipsoid_to_a_millimetre(make_world, sdf):
    for geometry, quadric, length in (
        ("<sphere><radius>1</radius></sphere>", [1, 1, 1], None),
        ("<ellipsoid><radii>1 0.5 0.8</radii></ellipsoid>", [1, 0.5, 0.8], None),
        ("<cylinder><radius>1</radius><length>3</length></cylinder>", [1, 1, np.inf], 3.0),
    ):
        world = make_world(sdf.model("s", sdf.visual(geometry, pose="4 0 0 0 0 0")))
        target = sphere_rays(3000) * 0.7
        target /= np.maximum(np.abs(target) / np.minimum(quadric, 1.0), 1.0).max(axis=1, keepdims=True)
        o = np.array([4.0, 0, 0]) + sphere_rays(3000, 8) * 6
        d = np.array([4.0, 0, 0]) + target - o
        d /= np.linalg.norm(d, axis=1, keepdims=True)
        p, scale = o - [4, 0, 0], 1 / np.array(quadric, float)
        a, b, c = ((d * scale) ** 2).sum(1), (p * d * scale**2).sum(1), ((p * scale) ** 2).sum(1) - 1
        root = b**2 - a * c
        with np.errstate(divide="ignore", invalid="ignore"):
            expected = np.where(root > 0, (-b - np.sqrt(root)) / a, np.inf)
            if length:
                side = np.abs(p[:, 2] + expected * d[:, 2]) <= length / 2
                cap = (np.sign(p[:, 2]) * length / 2 - p[:, 2]) / d[:, 2]
                on_cap = (np.abs(p[:, 2]) > length / 2) & (np.hypot(*(p + cap[:, None] * d)[:, :2].T) <= 1)
                expected = np.where(side, expected, np.where(on_cap, cap, np.inf))
        distance, _ = world.cast(o, d)
        # A chord lies inside its arc: compare where the ray meets the surface at 45° or steeper.
        n = ((p + np.where(np.isfinite(expected), expected, 0)[:, None] * d) * scale**2)[:, : 2 if length else 3]
        steep = np.isfinite(expected) & (-(n * d[:, : n.shape[1]]).sum(1) > 0.7 * np.linalg.norm(n, axis=1))
        if length:
            steep &= side
        assert steep.sum() > 500
        assert np.abs(distance[steep] - expected[steep]).max() < 1.5e-3
        assert np.median(np.abs(distance[steep] - expected[steep])) < 1e-3
        if length:
            caps = np.isfinite(expected) & on_cap & ~side & (np.hypot(*(p + cap[:, None] * d)[:, :2].T) < 0.99)
            assert caps.sum() > 100 and np.abs(distance[caps] - expected[caps]).max() < 1e-6


def test_a_plane_is_finite_turned_to_its_normal_and_seen_from_its_front_only(make_world, sdf):
    plane = "<plane><normal>1 0 1</normal><size>4 2</size></plane>"
    world = make_world(sdf.model("p", sdf.visual(plane, pose="0 0 10 0 0 0")))
    n = np.array([1.0, 0, 1]) / np.sqrt(2)
    along, across = np.array([1.0, 0, -1]) / np.sqrt(2), np.array([0.0, 1, 0])
    centre = np.array([0.0, 0, 10])
    for s, t, seen in ((0, 0, True), (1.99, 0.99, True), (2.01, 0, False), (0, 1.01, False), (-1.9, -0.9, True)):
        p = centre + s * along + t * across
        distance, _ = world.cast([p + 3 * n], [-n])
        assert distance[0] == pytest.approx(3.0, abs=1e-6) if seen else np.isinf(distance[0])
    assert np.isinf(world.cast([centre - 3 * n], [n])[0][0])
    assert world.cast([centre - 3 * n], [n], cull_backfaces=False)[0][0] == pytest.approx(3.0, abs=1e-6)


def test_rays_from_inside_pass_the_walls_and_meet_what_is_behind(make_world, sdf):
    world = make_world(
        sdf.model("room", sdf.visual(sdf.box(4, 4, 4)))
        + sdf.model("shell", sdf.visual(sdf.box(6, 6, 6)))
        + sdf.model("target", sdf.visual(sdf.box(2, 2, 2), pose="10 0 0 0 0 0"))
    )
    assert world.cast([[0, 0, 0]], [[1, 0, 0]])[0][0] == pytest.approx(9.0, abs=1e-6)
    assert world.cast([[0, 0, 0]], [[1, 0, 0]], cull_backfaces=False)[0][0] == pytest.approx(2.0, abs=1e-6)
    assert np.isinf(world.cast([[0, 0, 0]], [[0, 1, 0]])[0][0])
    assert np.isinf(world.cast([[0, 0, 0]], [[1, 0, 0]], max_distance=8.9)[0][0])
    assert world.cast([[0, 0, 0]], [[1, 0, 0]], max_distance=9.1)[1][0] >= 24  # a face of the third box


def test_rays_that_are_none_are_refused(make_world, sdf):
    world = make_world(sdf.model("b", sdf.visual(sdf.box(1, 1, 1))))
    for o, d in (([[np.nan, 0, 0]], [[1, 0, 0]]), ([[0, 0, 0]], [[0, 0, 0]]), ([[0, 0, 0]] * 2, [[1, 0, 0]])):
        with pytest.raises(InputError):
            world.cast(o, d)
    distance, face = world.cast(np.zeros((0, 3)), np.zeros((0, 3)))
    assert distance.shape == (0,) and face.shape == (0,)


def test_an_empty_world_answers_every_question(make_world):
    world = make_world("")
    assert len(world.scene.faces) == 0 and (world.bounds == 0).all() and world.scene.triangles.shape == (0, 3, 3)
    assert np.isinf(world.cast([[0, 0, 1]], [[0, 0, -1]])[0]).all()
    assert np.isnan(world.terrain_height([[0, 0]])).all() and np.isnan(world.surface_height([[0, 0]])).all()
    assert not world.inside_solid([[0, 0, 0]]).any()
    with pytest.raises(WorldError, match=r"no surface within 1000 m of \(3, 4\)"):
        world.datum(3, 4)


def test_terrain_height_on_a_tilted_plane_under_a_roof(make_world, sdf):
    # z = 20 − 0.5 x, and a building that stands on it.
    plane = "<plane><normal>0.5 0 1</normal><size>200 200</size></plane>"
    world = make_world(
        sdf.model("ground", sdf.visual(plane, pose="0 0 20 0 0 0"), label=14)
        + sdf.model("house", sdf.visual(sdf.box(10, 10, 30), pose="0 0 25 0 0 0"), label=15)
    )
    xy = np.random.default_rng(0).uniform(-80, 80, (5000, 2))
    assert np.abs(world.terrain_height(xy) - (20 - 0.5 * xy[:, 0])).max() < 1e-4
    roofed = np.abs(xy).max(axis=1) < 5
    assert roofed.sum() > 5
    assert np.abs(world.surface_height(xy)[roofed] - 40).max() < 1e-5
    assert np.abs(world.surface_height(xy) - world.terrain_height(xy))[~roofed].max() == 0
    assert np.isnan(world.terrain_height([[500.0, 0]])).all()
    # Under the terrain is inside, on it (1 cm) is not, in the house is, above it is not.
    z = 20 - 0.5 * 30
    assert world.inside_solid([[30, 0, z - 0.02], [30, 0, z], [30, 0, z + 1], [0, 0, 30], [0, 0, 41]]).tolist() == [
        True, False, False, True, False,
    ]  # fmt: skip
    assert world.datum(0, 0, radius=300) == pytest.approx(20 - 0.5 * 100 * 2 / np.sqrt(5), abs=1e-3)


def test_datum_falls_back_to_any_surface(make_world, sdf):
    world = make_world(sdf.model("b", sdf.visual(sdf.box(2, 2, 2), pose="50 0 7 0 0 0"), label=15))
    assert world.datum(0, 0) == pytest.approx(6.0)
    with pytest.raises(WorldError):
        world.datum(0, 0, radius=40)


L_SHAPE = [(0, 0), (6, 0), (6, 2), (2, 2), (2, 6), (0, 6)]


def l_obj(height, lid=True):
    """A closed L-shaped prism, outward wound; without its lid when asked."""
    lines = [f"v {x} {y} {z}" for z in (0, height) for x, y in L_SHAPE]
    n = len(L_SHAPE)
    for i in range(n):
        j = (i + 1) % n
        lines.append(f"f {i + 1} {j + 1} {n + j + 1} {n + i + 1}")
    for a, b, c in ((0, 1, 2), (0, 2, 3), (0, 3, 5), (3, 4, 5)):
        lines.append(f"f {a + 1} {c + 1} {b + 1}")
        if lid:
            lines.append(f"f {n + a + 1} {n + b + 1} {n + c + 1}")
    return "\n".join(lines)


def in_l(p):
    x, y, z = p.T
    return (z > 0) & (z < 5) & (x > 0) & (y > 0) & (((x < 6) & (y < 2)) | ((x < 2) & (y < 6)))


@pytest.mark.parametrize("lid", [True, False])
def test_inside_a_concave_solid(write_world, sdf, tmp_path, lid):
    (tmp_path / "l.obj").write_text(l_obj(5, lid))
    world = load_world(write_world(sdf.model("l", sdf.visual(sdf.mesh("l.obj")), label=15)))
    p = np.random.default_rng(5).uniform([-1, -1, -1], [7, 7, 6], (20_000, 3))
    expected = in_l(p)
    assert 0.1 < expected.mean() < 0.5
    wrong = (world.inside_solid(p) != expected).mean()
    # With a lid the test is exact. Without, the upward ray is deceived and the other two decide.
    assert wrong == 0 if lid else wrong < 0.06


def test_points_between_two_houses_are_outside(make_world, sdf):
    world = make_world(
        sdf.model("a", sdf.visual(sdf.box(10, 10, 50), pose="0 0 25 0 0 0"), label=15)
        + sdf.model("b", sdf.visual(sdf.box(10, 10, 50), pose="12 0 25 0 0 0"), label=15)
    )
    p = np.random.default_rng(6).uniform([-8, -8, -3], [20, 8, 55], (20_000, 3))
    x, y, z = p.T
    expected = (z > 0) & (z < 50) & (np.abs(y) < 5) & ((np.abs(x) < 5) | (np.abs(x - 12) < 5))
    assert (world.inside_solid(p) == expected).all()


def doubled(triangles):
    """Front and back of each triangle, in an order and with first corners that tell nothing."""
    rng = np.random.default_rng(7)
    both = np.concatenate([triangles, triangles[:, ::-1]])
    both = np.stack([np.roll(t, rng.integers(3), axis=0) for t in both])
    return both[rng.permutation(len(both))]


def test_a_surface_written_from_both_sides_stops_every_ray_from_both_sides():
    """Embree names either face of such a pair; the one that faces the ray is meant, and no ray slips through."""
    from aerialworld_core.world.rays import RayCaster

    rng = np.random.default_rng(1)
    x, y = np.meshgrid(np.arange(9.0), np.arange(9.0))
    grid = np.stack([x, y, 0.3 * rng.normal(size=x.shape)], -1) * 7.3 + [311.7, -205.1, 33.3]
    sheet = np.array([t for i in range(8) for j in range(8) for t in (
        (grid[i, j], grid[i, j + 1], grid[i + 1, j + 1]), (grid[i, j], grid[i + 1, j + 1], grid[i + 1, j]))],
        np.float32)  # fmt: skip
    one, both = RayCaster(sheet), RayCaster(doubled(sheet))
    targets = grid[0, 0] + rng.uniform(0.05, 0.95, (20_000, 3)) * (grid[-1, -1] - grid[0, 0])
    origins = (
        targets + rng.normal(size=targets.shape) * 5 + np.where(rng.random(20_000) < 0.5, 60, -60)[:, None] * [0, 0, 1]
    )
    directions = targets - origins
    distance, face = both.cast(origins, directions, cull_backfaces=True, max_distance=np.inf)
    expected, _ = one.cast(origins, directions, cull_backfaces=False, max_distance=np.inf)
    assert np.isfinite(expected).mean() > 0.95
    assert np.array_equal(np.isfinite(distance), np.isfinite(expected))
    hit = np.isfinite(expected)
    assert np.abs(distance[hit] - expected[hit]).max() < 1e-3
    assert (np.einsum("ij,ij->i", both.normals[face[hit]], directions[hit]) < 0).all()  # the face that looks at the ray
    assert not both.backfacing(face, directions).any()


def test_triangles_that_share_corners_without_being_backs_are_no_pairs():
    from aerialworld_core.world.rays import RayCaster

    quad = np.array([[[0, 0, 0], [1, 0, 0], [1, 1, 0]], [[0, 0, 0], [1, 1, 0], [0, 1, 0]]], np.float32)
    twice = np.concatenate([quad, quad])  # twice the same front
    for triangles in (quad, twice):
        rays = RayCaster(triangles)
        up = rays.cast([[0.5, 0.2, -1], [0.2, 0.5, -1]], [[0, 0, 1]] * 2, cull_backfaces=True, max_distance=np.inf)[0]
        down = rays.cast([[0.5, 0.2, 1], [0.2, 0.5, 1]], [[0, 0, -1]] * 2, cull_backfaces=True, max_distance=np.inf)[0]
        assert np.isinf(up).all() and down.tolist() == [1, 1]


def test_an_open_shell_written_from_both_sides_is_not_taken_for_solid(make_world, sdf, tmp_path):
    shell = np.array([[[-5, 0, 0], [5, 0, 0], [5, 0, 9]], [[-5, 0, 0], [5, 0, 9], [-5, 0, 9]]], float)
    corners = doubled(shell).reshape(-1, 3)
    lines = [f"v {x} {y} {z}" for x, y, z in corners] + [f"f {i} {i + 1} {i + 2}" for i in range(1, 13, 3)]
    (tmp_path / "wall.obj").write_text("\n".join(lines))
    world = make_world(sdf.model("w", sdf.visual(sdf.mesh("wall.obj")), label=15))
    around = np.random.default_rng(2).uniform([-6, -4, 0], [6, 4, 9], (500, 3))
    assert not world.inside_solid(around).any()
