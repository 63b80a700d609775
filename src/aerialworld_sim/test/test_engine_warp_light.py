"""What the warp backend shows, against light that can be computed by hand."""

import sys
from pathlib import Path

import numpy as np
import pytest

from aerialworld_core.frames import Pose
from aerialworld_core.rig import CameraSpec
from aerialworld_core.world.scene import Light
from aerialworld_sim.render_scene import RenderScene
from aerialworld_sim.warp_backend import WarpBackend

sys.path.insert(0, str(Path(__file__).parent))
import warp_reference as reference
from warp_reference import SUN, apart, body, city_block, level, on_devices, picture_job, rays_in_map

pytest.importorskip("warp", reason='the warp backend is an extra: pip install "aerialworld_sim[gpu]"')


@on_devices
def test_the_sky_runs_from_the_horizon_to_the_zenith_by_the_sine(world, device):
    backend = WarpBackend(RenderScene(world.scene, SUN), device=device)
    spec = CameraSpec("c", Pose.identity(), 60, 60, np.deg2rad(100), 0.1, 100.0, 10)
    job = picture_job(spec, Pose.from_rpy(0, 0, 0, 0.2, -0.6, 1.0))
    backend.render([job])
    _, rays = rays_in_map(spec, job.pose)
    sine = np.clip(rays[..., 2:] / np.linalg.norm(rays, axis=-1, keepdims=True), 0, 1)
    assert np.abs(job.rgb - level(SUN.background + sine * (SUN.zenith - SUN.background))).max() < 1.0
    assert np.isposinf(job.depth).all() and not job.semantic.any() and not job.instance.any()
    assert job.rgb[0, 30, 0] < job.rgb[-1, 30, 0] - 50


@on_devices
def test_colours_of_a_textured_block_ray_by_ray(world, new_world, device):
    """Texture, mip level, sun, shadow and ambient light as the formulas say, of static faces and of a mover."""
    city_block(world)
    car = body(new_world, "car", (8, 3, 5), colour=(0.7, 0.2, 0.2))
    scene = RenderScene(world.scene, SUN, [car])
    backend = WarpBackend(scene, device=device)
    scene.place({"car": Pose.from_rpy(-3, -3, 2.5, 0, 0, 0.4)})
    backend.moved()
    spec = CameraSpec("c", Pose.identity(), 96, 64, np.deg2rad(80), 0.1, 200.0, 10)
    for pose in (Pose.from_rpy(-38, -4, 16, 0, 0.45, 0.1), Pose.from_rpy(5, 3, 45, 0, 1.4, 2.0)):
        job = picture_job(spec, pose)
        backend.render([job])
        expected, seen = reference.picture(scene, spec, pose)
        assert (apart(job.depth, seen.t) > 1e-3).sum() <= 2
        off = np.abs(job.rgb - expected).max(axis=-1)
        # A ray along a shadow's or a mip level's border may fall on either side of it.
        assert (off > 1.0).mean() < 0.002, np.sort(off.ravel())[-20:]
        assert job.rgb.std() > 20


@on_devices
def test_a_mover_casts_its_shadow_and_takes_it_along(world, new_world, device):
    """Sun from the east at 45°: the shadow lies west of the box, as long as that is high, also for its owner."""
    light = Light(np.array([-1.0, 0, -1.0]), np.full(3, 0.8), np.full(3, 0.4), np.zeros(3), True)
    world.ground_plane(colour=(0.45, 0.45, 0.45))
    scene = RenderScene(world.scene, light, [body(new_world, "box", (2, 2, 4), "v")], ["v"])
    backend = WarpBackend(scene, device=device)
    spec = CameraSpec("down", Pose.identity(), 400, 400, np.pi / 2, 0.1, 100.0, 10)
    ambient = round(float(level(0.45 * 0.4 / np.pi)))
    for x0, viewer in ((0.0, -1), (6.0, -1), (None, -1), (0.0, 0)):
        scene.place({"box": None if x0 is None else Pose.from_rpy(x0, 0, 2.0)})
        backend.moved()
        job = picture_job(spec, Pose.from_rpy(0, 0, 20, 0, np.pi / 2, 0), viewer)
        backend.render([job])

        def at(x, y, red=job.rgb[..., 0].astype(int)):
            """Ground point → pixel of a camera that looks down, its top to the east, its left to the north."""
            return red[int(200 - x / 20 * 200), int(200 - y / 20 * 200)]

        for x, y in ((-1.5, 0.5), (-3.0, -0.5), (-4.7, 0.0)):
            if x0 is None:
                assert at(x, y) > ambient + 40
            else:
                assert abs(at(x0 + x, y) - ambient) <= 1, (x0, x, y)
        for x, y in ((-5.4, 0.0), (3.0, 0.0), (-3.0, 1.4), (-3.0, -1.4)):
            assert at((x0 or 0.0) + x, y) > ambient + 40, (x0, x, y)


@on_devices
def test_a_table_of_rays_says_where_pixels_look(world, device):
    """A pinhole's own table gives the pinhole's picture, byte for byte; others meet faces where they say."""
    city_block(world)
    backend = WarpBackend(RenderScene(world.scene, SUN), device=device)
    spec = CameraSpec("c", Pose.identity(), 96, 64, np.deg2rad(80), 0.1, 200.0, 10)
    pose = Pose.from_rpy(-38, -4, 16, 0, 0.45, 0.1)
    x, y = np.meshgrid(np.arange(96, dtype=np.float32), np.arange(64, dtype=np.float32))
    inverse = np.float32(1 / spec.focal)
    left, up = (np.float32(47.5) - x) * inverse, (np.float32(31.5) - y) * inverse
    plain, table = picture_job(spec, pose), picture_job(spec, pose, rays=(left, up))
    backend.render([plain, table])
    for name in ("rgb", "depth", "semantic", "instance"):
        assert (getattr(plain, name) == getattr(table, name)).all(), name
    r2 = left**2 + up**2
    bent = (left * (1 + 0.3 * r2)).astype(np.float32), (up * (1 + 0.3 * r2)).astype(np.float32)
    job = picture_job(spec, pose, rays=bent)
    backend.render([job])
    directions = np.stack([np.ones_like(left), *bent], -1) @ pose.rotation.T
    true = reference.nearest_front(world.scene.triangles, pose.position, directions, 0.1, 200.0).t
    assert (apart(job.depth, true) > 1e-3).sum() <= 2
    assert (job.depth != plain.depth).mean() > 0.5
