"""The warp backend against geometry that can be computed by hand, Embree's rays and the Embree backend."""

import sys
from pathlib import Path

import numpy as np
import pytest

from aerialworld_core.frames import Pose
from aerialworld_core.rig import CUBE_FACES, CameraSpec
from aerialworld_core.world.rays import RayCaster
from aerialworld_core.world.scene import Light
from aerialworld_sim import warp_runtime
from aerialworld_sim.backend import make_backend
from aerialworld_sim.render_scene import RenderScene
from aerialworld_sim.warp_backend import WarpBackend

sys.path.insert(0, str(Path(__file__).parent))
import warp_reference as reference
from warp_reference import (
    SUN,
    SUNLESS,
    apart,
    body,
    city_block,
    depth_job,
    on_devices,
    picture_job,
    rays_in_map,
    scan_job,
)

pytest.importorskip("warp", reason='the warp backend is an extra: pip install "aerialworld_sim[gpu]"')


@on_devices
@pytest.mark.parametrize(
    "base", [Pose.from_rpy(3.0, -2.0, 25.0, 0.1, -0.2, 0.7), Pose.from_rpy(812.0, -655.0, 40.0, -0.3, 0.25, -2.4)]
)
def test_plane_and_box_depth_to_a_millimetre(world, device, base):
    x, y, _ = base.position
    world.ground_plane(1.5, half=2000.0)
    world.box((x + 14.0, y + 6.0, 12.0), (6.0, 4.0, 9.0), (0.3, -0.2, 1.1), label=4)
    scene = RenderScene(world.scene, SUNLESS)
    backend = WarpBackend(scene, device=device)
    seen_box = 0
    for yaw, pitch in CUBE_FACES.values():
        face = CameraSpec("face", Pose.from_rpy(0, 0, 0, 0, pitch, yaw), 96, 96, np.pi / 2, 0.1, 200.0, 10)
        job = depth_job(face, base @ face.pose)
        backend.render([job])
        origin, rays = rays_in_map(face, base @ face.pose)
        true = reference.nearest_front(world.scene.triangles, origin, rays)
        depth = np.where(true.t * np.linalg.norm(rays, axis=-1).ravel() > 200.0, np.inf, true.t).reshape(96, 96)
        same = apart(job.depth, depth) <= 1e-3
        assert (~same).sum() <= 2, "but for a rounding at silhouettes and at the far limit"
        label = np.where(np.isfinite(depth), np.where(true.row.reshape(96, 96) < 2, 14, 4), 0)
        assert (job.semantic == label)[same].all()
        assert (job.instance == np.select([label == 14, label == 4], [1, 2], 0))[same].all()
        seen_box += int((label == 4).sum())
    assert seen_box > 100


def sphere(radius=5.0, stacks=16, slices=32):
    theta, phi = np.linspace(0, np.pi, stacks + 1), np.linspace(0, 2 * np.pi, slices, endpoint=False)
    grid = np.array([[np.sin(t) * np.cos(p), np.sin(t) * np.sin(p), np.cos(t)] for t in theta for p in phi]) * radius
    faces = []
    for i in range(stacks):
        for j in range(slices):
            a, b = i * slices + j, i * slices + (j + 1) % slices
            faces += [[a, a + slices, b + slices]] if i < stacks - 1 else []
            faces += [[a, b + slices, b]] if i > 0 else []
    return grid, np.array(faces)


@on_devices
def test_a_sphere_is_seen_from_outside_only(world, device):
    """From within all its faces turn their backs: what stands beyond is seen through them."""
    vertices, faces = sphere()
    world.add(vertices, faces, label=3)
    world.box((30, 0, 0), (2, 40, 40), label=9)
    backend = WarpBackend(RenderScene(world.scene, SUNLESS), device=device)
    spec = CameraSpec("c", Pose.identity(), 64, 64, np.pi / 2, 0.1, 100.0, 10)
    outside, inside = picture_job(spec, Pose.from_rpy(-9.0, 0.3, 0.2)), picture_job(spec, Pose.from_rpy(0.5, 0.3, 0.2))
    backend.render([outside, inside])
    for job in (outside, inside):
        origin, rays = rays_in_map(spec, job.pose)
        true = reference.nearest_front(world.scene.triangles, origin, rays).t
        assert apart(job.depth, true).max() < 1e-3
    assert (outside.semantic == 3).sum() > 1000 and set(np.unique(inside.semantic)) == {0, 9}


@on_devices
def test_a_wall_written_from_both_sides_is_seen_from_both_sides(world, device):
    """Two faces in one place: which of them a query names first is chance, and it must not matter."""
    rng = np.random.default_rng(3)
    corners = rng.uniform(-6, 6, (40, 3, 3)) * [0.2, 1, 1] + np.linspace(4, 60, 40)[:, None, None] * [1, 0, 0]
    faces = np.arange(120).reshape(40, 3)
    world.add(corners.reshape(-1, 3), np.concatenate([faces, faces[:, ::-1]]))
    backend = WarpBackend(RenderScene(world.scene, SUNLESS), device=device)
    spec = CameraSpec("c", Pose.identity(), 80, 80, np.deg2rad(60), 0.1, 100.0, 10)
    for pose in (Pose.identity(), Pose.from_rpy(70, 0, 0, 0, 0, np.pi)):
        job = picture_job(spec, pose)
        backend.render([job])
        origin, rays = rays_in_map(spec, pose)
        true = reference.nearest_front(world.scene.triangles, origin, rays, 0.1, 100.0).t
        assert np.isfinite(job.depth).sum() > 1000 and apart(job.depth, true).max() < 1e-3


@on_devices
def test_depth_cameras_have_a_nearest_and_a_farthest_distance(world, device):
    """The near limit is along the axis and hides what is behind; the far limit is the distance itself."""
    world.box((0.2 + 0.05, 0, 0), (0.1, 0.1, 0.1), label=7)  # its front at 0.2 m
    world.box((20.5, 0, 0), (1, 200, 200), label=8)  # at 20 m
    backend = WarpBackend(RenderScene(world.scene, SUNLESS), device=device)
    spec = CameraSpec("c", Pose.identity(), 101, 101, np.pi / 2, 0.5, 25.0, 10)
    job = depth_job(spec, Pose.identity())
    backend.render([job])
    _, rays = rays_in_map(spec, Pose.identity())
    near = (np.abs(rays[..., 1:]) < 0.05 / 0.2).all(-1)
    beyond = ~near & (20.0 * np.linalg.norm(rays, axis=-1) > 25.0)
    assert np.isneginf(job.depth[near]).all() and np.isposinf(job.depth[beyond]).all()
    rest = ~near & ~beyond
    assert np.abs(job.depth[rest] - 20.0).max() < 1e-4
    assert (job.semantic == np.where(rest, 8, 0)).all() and (job.instance == np.where(rest, 2, 0)).all()


@on_devices
def test_pictures_clip_at_both_limits_along_the_axis(world, device):
    """What is nearer than `near` is cut away, and the next surface shows; a surface at `far` along the axis stays."""
    world.box((0.25, 0, 0), (0.1, 0.1, 0.1), label=7)
    world.box((20.5, 0, 0), (1, 200, 200), label=8)
    world.box((0.55, 0.113, 0.127), (0.2, 0.1, 0.1), label=9)  # its front at 0.45 m is cut, its back is no front
    backend = WarpBackend(RenderScene(world.scene, SUNLESS), device=device)
    for far, label in ((20.1, 8), (19.9, 0)):
        spec = CameraSpec("c", Pose.identity(), 101, 101, np.pi / 2, 0.5, far, 10)
        job = picture_job(spec, Pose.identity())
        backend.render([job])
        # The sides of the box that is cut may be seen, those of 0.55 m that turn towards the axis.
        assert set(np.unique(job.semantic)) <= {label, 9} and (job.semantic == label).mean() > 0.95
        assert np.isfinite(job.depth).all() == bool(label)
        origin, rays = rays_in_map(spec, Pose.identity())
        true = reference.nearest_front(world.scene.triangles, origin, rays, 0.5, far).t
        assert (apart(job.depth, true) > 1e-4).sum() <= 2, "but along the box's very edges"


def _room(n, size, centre):
    """A closed box of n × n × 2 triangles a side, all of which face inwards."""
    vertices, faces = [], []
    g = np.linspace(-0.5, 0.5, n + 1)
    a = (np.arange(n)[:, None] * (n + 1) + np.arange(n)).ravel()
    quads = np.concatenate([np.stack([a, a + n + 1, a + n + 2], -1), np.stack([a, a + n + 2, a + 1], -1)])
    for axis in range(3):
        for side in (-0.5, 0.5):
            p = np.zeros((n + 1, n + 1, 3))
            p[..., (axis + 1) % 3], p[..., (axis + 2) % 3] = np.meshgrid(g, g, indexing="ij")
            p[..., axis] = side
            faces.append((quads if side < 0 else quads[:, ::-1]) + len(vertices) * (n + 1) ** 2)
            vertices.append(p.reshape(-1, 3))
    return np.concatenate(vertices) * size + centre, np.concatenate(faces)


@on_devices
@pytest.mark.parametrize("n", [1, 8])
@pytest.mark.parametrize("turned", [False, True])
def test_no_ray_slips_through_an_edge(world, device, n, turned):
    """Rays at the very edges and corners of a room, far from the origin: each meets it, where it is."""
    centre, size = np.array([800.0, -650.0, 40.0]), np.array([20.0, 30.0, 40.0])
    vertices, faces = _room(n, size, centre)
    rng = np.random.default_rng(0)
    count, poses = 100_000, 64
    starts = rng.uniform(-0.4, 0.4, (poses, 3)) * size + centre
    if turned:
        turn = Pose.from_rpy(0, 0, 0, 0.4, -0.7, 1.1).rotation
        vertices, starts = (vertices - centre) @ turn.T + centre, (starts - centre) @ turn.T + centre
    world.add(vertices, faces)
    vertices = world.scene.vertices.astype(float)
    face, side = faces[rng.integers(0, len(faces), count)], rng.integers(0, 3, count)
    index = np.arange(count)
    a, b = vertices[face[index, side]], vertices[face[index, (side + 1) % 3]]
    along = np.where(np.arange(count) % 5 == 0, 0.0, rng.uniform(0, 1, count))[:, None]
    pose_of = rng.integers(0, poses, count).astype(np.int32)
    starts = starts.astype(np.float32).astype(float)
    towards = a + along * (b - a) - starts[pose_of]
    distance = np.linalg.norm(towards, axis=1)
    job = scan_job(towards / distance[:, None], [Pose.from_rpy(*s) for s in starts], pose_of)
    WarpBackend(RenderScene(world.scene, SUNLESS), device=device).render([job])
    assert (job.face >= 0).all()
    assert np.abs(job.distance - distance).max() < 1e-3


@on_devices
def test_a_scan_gives_distance_cosine_and_face(world, device):
    """Rays from several poses of a sweep at a plane and at a box, against the plane's equation."""
    world.ground_plane(0.0, half=500.0)
    world.box((10, 0, 5), (2, 200, 10))
    scene = RenderScene(world.scene, SUNLESS)
    rng = np.random.default_rng(2)
    directions = rng.normal(size=(500, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    poses = [Pose.from_rpy(-2.0 * i, i, 3.0 + i, 0.1 * i, -0.05 * i, 0.3 * i) for i in range(4)]
    pose_of = rng.integers(0, 4, 500).astype(np.int32)
    job = scan_job(directions, poses, pose_of, far=60.0)
    first = scan_job(directions, poses, None, far=60.0)
    WarpBackend(scene, device=device).render([job, first])
    for scan, which in ((job, pose_of), (first, np.zeros(500, int))):
        unit = scan.directions.astype(float)
        rays = np.stack([poses[k].rotation @ d for k, d in zip(which, unit, strict=True)])
        starts = np.stack([poses[k].position for k in which])
        true = reference.nearest_front(world.scene.triangles, starts, rays, far=60.0)
        hit = np.isfinite(true.t)
        assert 100 < hit.sum() < 450
        assert np.abs(scan.distance[hit] - true.t[hit]).max() < 1e-4 and np.isposinf(scan.distance[~hit]).all()
        assert (scan.face == true.row).mean() > 0.99 and (scan.face[~hit] == -1).all()
        t = world.scene.triangles.astype(float)[true.row[hit]]
        normal = np.cross(t[:, 1] - t[:, 0], t[:, 2] - t[:, 0])
        cosine = -(normal * rays[hit]).sum(-1) / np.linalg.norm(normal, axis=1)
        assert np.abs(scan.cosine[hit] - cosine).max() < 1e-5 and not scan.cosine[~hit].any()


@on_devices
def test_a_scan_agrees_with_embree_single_rays(world, device):
    city_block(world)
    rng = np.random.default_rng(4)
    directions = rng.normal(size=(20_000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    job = scan_job(directions, [Pose.from_rpy(-38, -4, 16)], far=500.0)
    WarpBackend(RenderScene(world.scene, SUN), device=device).render([job])
    start = np.broadcast_to([-38.0, -4.0, 16.0], directions.shape)
    distance, face = RayCaster(world.scene.triangles).cast(
        start, job.directions, cull_backfaces=True, max_distance=500.0
    )
    assert (np.isfinite(distance) == np.isfinite(job.distance)).all()
    hit = np.isfinite(distance)
    assert np.abs(job.distance[hit] / distance[hit] - 1).max() < 1e-5
    assert (job.face == face).mean() > 0.999


@on_devices
@pytest.mark.parametrize(
    ("textured", "shadows", "alike"), [(False, False, 0.999), (True, False, 0.98), (True, True, 0.96)]
)
def test_it_agrees_with_the_embree_backend(world, new_world, device, textured, shadows, alike):
    """Depth to 1e-5, labels but for silhouettes, colours within 2 levels: on 99.9 % of pixels where faces are plain.
    Mip levels change at other pixels there, and shadows have soft edges."""
    if not Path(warp_runtime.__file__).with_name("embree_backend.py").is_file():
        pytest.skip("there is no Embree backend yet")
    city_block(world, textured)
    light = Light(SUN.direction, SUN.sun, SUN.ambient, SUN.background, shadows, SUN.zenith)
    cars = [body(new_world, f"car{i}", (4, 2, 3), colour=(0.8, 0.1, 0.1)) for i in range(4)]
    scene = RenderScene(world.scene, light, cars)
    backends = WarpBackend(scene, device=device), make_backend("embree", scene)
    scene.place({f"car{i}": Pose.from_rpy(7 * i - 20, 4 * i - 12, 1.5, 0, 0, i) for i in range(3)})
    spec = CameraSpec("c", Pose.identity(), 640, 360, np.deg2rad(80), 0.1, 200.0, 10)
    pose = Pose.from_rpy(-38, -4, 16, 0.02, 0.45, 0.1)
    u, v = np.meshgrid((319.5 - np.arange(640)) / spec.focal, (179.5 - np.arange(360)) / spec.focal)
    bent = (u * (1 - 0.05 * (u**2 + v**2))).astype(np.float32), (v * (1 - 0.05 * (u**2 + v**2))).astype(np.float32)
    rng = np.random.default_rng(1)
    directions = rng.normal(size=(4096, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    jobs = []
    for backend in backends:
        backend.moved()
        images = [picture_job(spec, pose), picture_job(spec, pose, rays=bent), depth_job(spec, pose)]
        jobs.append([*images, scan_job(directions, [pose])])
        backend.render(jobs[-1])
    *images, scans = zip(*jobs, strict=True)
    for ours, other in images:
        finite = np.isfinite(ours.depth) & np.isfinite(other.depth)
        assert (apart(ours.depth, other.depth) > 1e-5 * np.where(finite, other.depth, 0)).sum() <= 10
        assert (ours.semantic != other.semantic).sum() <= 10 and (ours.instance != other.instance).sum() <= 10
    for ours, other in images[:2]:
        off = np.abs(ours.rgb.astype(int) - other.rgb).max(axis=-1)
        assert (off <= 2).mean() >= alike
    ours, other = scans
    hit = np.isfinite(other.distance)
    assert (np.isfinite(ours.distance) == hit).all()
    assert np.abs(ours.distance[hit] / other.distance[hit] - 1).max() < 1e-5
    same = ours.face == other.face
    assert same.mean() > 0.999 and np.abs(ours.cosine - other.cosine)[same].max() < 1e-5
