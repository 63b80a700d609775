"""Bodies that move, as the warp backend sees them."""

import sys
from pathlib import Path

import numpy as np
import pytest

from aerialworld_core.frames import Pose
from aerialworld_core.rig import CameraSpec
from aerialworld_sim.render_scene import RenderScene
from aerialworld_sim.warp_backend import WarpBackend

sys.path.insert(0, str(Path(__file__).parent))
import warp_reference as reference
from warp_reference import SUNLESS, apart, body, depth_job, on_devices, picture_job, rays_in_map, scan_job

pytest.importorskip("warp", reason='the warp backend is an extra: pip install "aerialworld_sim[gpu]"')


@on_devices
def test_movers_are_seen_where_they_are_and_not_by_their_owner(world, new_world, device):
    world.ground_plane(label=14)
    bodies = [
        body(new_world, "car", (4, 2, 1.5), label=12),
        body(new_world, "drone", (0.6, 0.6, 0.2), "a", 13),
        body(new_world, "other", (0.6, 0.6, 0.2), "b", 13),
    ]
    scene = RenderScene(world.scene, SUNLESS, bodies, ["a", "b"])
    backend = WarpBackend(scene, device=device)
    spec = CameraSpec("c", Pose.from_rpy(0, 0, 0), 120, 80, np.deg2rad(70), 0.05, 200.0, 10)

    def seen(viewer):
        pose = Pose.from_rpy(0, 0, 1.0)
        job, depth = picture_job(spec, pose, viewer), depth_job(spec, pose, viewer)
        scan = scan_job([[1.0, 0.0, 0.0], [-1.0, 0, 0]], [pose], viewer=viewer)
        backend.render([job, scan, depth])
        shared = np.isfinite(depth.depth)
        assert shared.sum() > 4000 and (job.depth == depth.depth)[shared].all()
        assert (job.semantic == depth.semantic)[shared].all() and (job.instance == depth.instance)[shared].all()
        return job, scan

    job, scan = seen(-1)
    assert set(np.unique(job.instance)) == {0, 1} and np.isinf(scan.distance).all()
    scene.place({"car": Pose.from_rpy(10, 0, 0.75, 0, 0, 0.5), "drone": Pose.from_rpy(3, 0, 1), "other": None})
    backend.moved()
    job, scan = seen(-1)
    assert set(np.unique(job.instance)) == {0, 1, 2, 3} and set(np.unique(job.semantic)) == {0, 12, 13, 14}
    assert scan.distance[0] == pytest.approx(2.7, abs=1e-5) and np.isinf(scan.distance[1])
    rows = range(scene.movers[1].first, scene.movers[1].first + 12)
    assert scan.face[0] in rows and scan.cosine[0] == pytest.approx(1.0)
    origin, rays = rays_in_map(spec, Pose.from_rpy(0, 0, 1.0))
    true = reference.nearest_front(reference.triangles_of(scene), origin, rays, 0.05, 200.0)
    assert (apart(job.depth, true.t) > 1e-3).sum() <= 2
    job, scan = seen(0)
    assert set(np.unique(job.instance)) == {0, 1, 2}, "its own body is not seen"
    assert 7.0 < scan.distance[0] < 10.0
    # From within its body: nothing of it; the other vehicle's is seen by this one and not by itself.
    scene.place({"drone": Pose.from_rpy(0, 0, 1), "other": Pose.from_rpy(5, 0, 1)})
    backend.moved()
    assert set(np.unique(seen(0)[0].instance)) == {0, 1, 2, 4}
    assert set(np.unique(seen(1)[0].instance)) == {0, 1, 2}, "from within, the other's body is behind its front"
    scene.place({"car": None, "drone": None, "other": None})
    backend.moved()
    assert set(np.unique(seen(-1)[0].instance)) == {0, 1}


@on_devices
def test_fifty_movers_that_drive_about_are_where_they_should_be(world, new_world, device):
    """Their tree is built anew as they move, appear and vanish."""
    world.ground_plane()
    scene = RenderScene(world.scene, SUNLESS, [body(new_world, f"car{i}", (4, 2, 1.5)) for i in range(50)])
    backend = WarpBackend(scene, device=device)
    rng = np.random.default_rng(5)
    spec = CameraSpec("c", Pose.identity(), 60, 60, np.pi / 2, 0.1, 300.0, 10)
    for _ in range(4):
        places = rng.uniform(-30, 30, (50, 2))
        here = rng.random(50) < 0.7
        scene.place(
            {f"car{i}": Pose.from_rpy(*p, 0.75, 0, 0, rng.uniform(0, 6)) if h else None
             for i, (p, h) in enumerate(zip(places, here, strict=True))}
        )  # fmt: skip
        backend.moved()
        job = picture_job(spec, Pose.from_rpy(0, 0, 40.0, 0, np.pi / 2, 0))
        backend.render([job])
        origin, rays = rays_in_map(spec, job.pose)
        true = reference.nearest_front(reference.triangles_of(scene), origin, rays, 0.1, 300.0)
        labels = np.array([1] * 2 + [2 + i for i in range(50) for _ in range(12)])[true.row].reshape(60, 60)
        assert (job.instance != labels).sum() <= 2
        assert (apart(job.depth, true.t) > 1e-3).sum() <= 2
