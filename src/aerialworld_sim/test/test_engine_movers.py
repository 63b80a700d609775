"""Bodies that move: seen where they are by every sensor, by all but their own vehicle's, with their shadows."""

import dataclasses

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose
from aerialworld_core.rig import CameraSpec, LidarSpec, Rig
from aerialworld_core.sensing import VehicleState
from aerialworld_core.world.rays import RayCaster
from aerialworld_sim import Actor, Engine, Static, Vehicle


class Along:
    """Moves at `speed` along x from `start`, turning by `turn` rad/s."""

    def __init__(self, start, speed=1.0, turn=0.0):
        self.start, self.speed, self.turn = np.array(start, float), speed, turn

    def state(self, stamp_ns):
        t = stamp_ns * 1e-9
        pose = Pose.from_rpy(*(self.start + np.array([self.speed * t, 0, 0])), 0, 0, self.turn * t)
        return VehicleState(stamp_ns, pose, np.array([self.speed, 0, 0]), np.array([0, 0, self.turn]))


def box_at_origin(new_world, size, **look):
    body = new_world()
    body.box((0, 0, size[2] / 2), size, **look)
    return body.scene


@pytest.fixture
def rig(camera, cube):
    lidar = LidarSpec("lidar", Pose.identity(), 360, -np.pi, np.pi - 2 * np.pi / 360, 8, -0.05, 0.05, 0.3, 100.0, 10)
    return Rig("rig", (camera(width=320, height=200),), cube(64), lidar)


def test_a_box_is_seen_where_it_is_by_every_sensor(world, new_world, rig):
    world.ground_plane(0.0)
    car = Actor("car_1", box_at_origin(new_world, (4, 2, 1.6), label=15), Along((20, 0, 0), 2.0), label=4)
    engine = Engine(world, {"v": Vehicle(rig, Static(Pose.from_rpy(0, 0, 1.0, 0, 0, 0)))}, actors=[car])
    number = len(world.scene.instances) + 1
    for seconds in (0.0, 1.5, 4.0):
        if seconds:
            engine.step(round(seconds * 1e9) - engine.stamp_ns)
        frame = engine.render("v", modalities={"images", "depth", "lidar", "truth"})
        front = 20 + 2.0 * seconds - 2.0
        middle = frame.depth["front"][31:33, 31:33]
        assert np.allclose(middle, front, atol=1e-3)
        assert (frame.semantic["front"][31:33, 31:33] == 4).all() and (frame.instance["front"][32, 32]) == number
        picture = frame.camera_instance["cam_front"] == number
        # Its front face, 2 m wide and 1.6 m high, in pixels.
        focal = rig.cameras[0].focal
        seen = np.argwhere(picture)
        assert abs(np.ptp(seen[:, 1]) + 1 - 2.0 * focal / front) <= 1.01
        assert (frame.camera_semantic["cam_front"][picture] == 4).all()
        assert np.allclose(frame.camera_depth["cam_front"][picture].min(), front, atol=1e-3)
        points = frame.lidar[:, :3] + [0, 0, 1.0]
        hit = (np.abs(points[:, 0] - front) < 1e-2) & (np.abs(points[:, 1]) <= 1.001) & (points[:, 2] > 0.01)
        assert hit.sum() > 3
        assert [a["id"] for a in frame.actors] == ["car_1"]
        assert frame.actors[0]["class"] == 4 and frame.actors[0]["velocity"] == [2.0, 0.0, 0.0]
        assert frame.actors[0]["position"] == pytest.approx([20 + 2 * seconds, 0, 0.8])
        assert frame.actors[0]["size"] == pytest.approx([4, 2, 1.6])


def test_a_turned_body_has_turned_normals_and_culls_its_back(world, new_world, rig):
    """One wall only, seen from the front, then from behind after half a turn: there it is not seen, by any sensor."""
    body = new_world()
    body.add([[0, -3, -3], [0, 3, -3], [0, 3, 3], [0, -3, 3]], [[0, 2, 1], [0, 3, 2]])  # looks along −x
    wall = Actor("wall", body.scene, Along((10, 0, 0), 0.0, np.pi / 4))
    world.box((30, 0, 0), (2, 40, 40))
    engine = Engine(world, {"v": Vehicle(rig, Static(Pose.identity()))}, actors=[wall])
    for step in range(8):  # eighths of a turn
        angle = step * np.pi / 4
        frame = engine.render("v", modalities={"depth", "lidar"})
        visible = np.cos(angle) > 0.1
        assert np.allclose(frame.depth["front"][31:33, 31:33].min(), 10.0, atol=0.4) == visible
        ahead = np.abs(np.arctan2(frame.lidar[:, 1], frame.lidar[:, 0])) < 0.01
        assert (frame.lidar[ahead, 0].min() < 12.0) == visible, step
        if visible:
            nearest = frame.lidar[ahead & (frame.lidar[:, 0] < 12.0)]
            level = np.abs(nearest[:, 2] / nearest[:, 0]) < 0.1
            ray = nearest[level, :3] / np.linalg.norm(nearest[level, :3], axis=1)[:, None]
            cosine = ray @ [np.cos(angle), np.sin(angle), 0.0]
            assert np.allclose(nearest[level, 3], 100 * 0.5 * cosine, rtol=1e-4)
        engine.step(1_000_000_000)


def test_a_vehicle_sees_the_others_and_not_itself(world, new_world, rig):
    body = box_at_origin(new_world, (2, 2, 2), label=4)
    at = {"rover_1": (0, 0), "rover_2": (12, 0), "rover_3": (0, 15)}
    vehicles = {name: Vehicle(rig, Static(Pose.from_rpy(x, y, 0, 0, 0, 0)), body) for name, (x, y) in at.items()}
    engine = Engine(world, vehicles)
    sights = {name: engine.render(name, modalities={"depth", "lidar", "truth"}) for name in at}
    for name, (x, y) in at.items():
        frame = sights[name]
        found = {n for image in frame.instance.values() for n in np.unique(image) if n}
        assert found == {1 + i for i, other in enumerate(at) if other != name}
        assert np.linalg.norm(frame.lidar[:, :3], axis=1).min() > 8.0, "its own body does not block its LiDAR"
        for other, (u, v) in at.items():
            if other != name:
                gap = np.abs(frame.lidar[:, :2] + [x, y] - [u, v])
                assert ((gap < 1.001).all(axis=1)).sum() > 3
    alone = Engine(world, {"rover_1": vehicles["rover_1"]}).render("rover_1")
    assert len(alone.lidar) == 0 and all(np.isinf(d).all() for d in alone.depth.values())


def test_a_mover_throws_its_shadow_where_the_sun_says(world, new_world):
    world.ground_plane(0.0, colour=(0.8, 0.8, 0.8))
    world.light.__dict__["shadows"] = True
    world.light.__dict__["direction"] = np.array([1.0, 0.0, -1.0])
    down = CameraSpec("cam_front", Pose.from_rpy(0, 0, 0, 0, np.pi / 2, 0), 400, 400, np.pi / 2, 0.1, 200, 10)
    actor = Actor("kite", box_at_origin(new_world, (4, 4, 0.5)), Along((-10, 0, 10), 5.0))
    rig = Rig("down", (down,), ())
    engine = Engine(world, {"v": Vehicle(rig, Static(Pose.from_rpy(0, 0, 40, 0, 0, 0)))}, actors=[actor])
    for seconds in (0.0, 1.0):
        if seconds:
            engine.step(round(1e9 * seconds))
        picture = engine.render_camera("v", "cam_front")
        x = 40 * (200 - np.arange(400) - 0.5) / 200  # rows run from north (x ahead) to south
        y = 40 * (200 - np.arange(400) - 0.5) / 200
        X, Y = np.meshgrid(x, y, indexing="ij")
        ground = picture.instance == 1
        # The box spans z = 10 … 10.5: its shadow on the ground reaches from its far bottom edge to its near top edge.
        cx = -10 + 5 * seconds
        shaded = (X > cx - 2 + 10) & (X < cx + 2 + 10.5) & (np.abs(Y) < 2)
        edge = 0.25
        inside = (X > cx - 2 + 10 + edge) & (X < cx + 2 + 10.5 - edge) & (np.abs(Y) < 2 - edge)
        outside = ~((X > cx - 2 + 10 - edge) & (X < cx + 2 + 10.5 + edge) & (np.abs(Y) < 2 + edge))
        dark = picture.rgb[..., 0] < 120
        assert shaded.sum() > 300 and dark[inside & ground].all() and not dark[outside & ground].any()


def test_fifty_movers_come_and_go_and_bad_names_are_refused(world, new_world, rig):
    from aerialworld_sim.backend import make_backend
    from aerialworld_sim.jobs import DepthJob
    from aerialworld_sim.render_scene import Body, RenderScene

    body = box_at_origin(new_world, (1, 1, 1))
    names = [f"m{i}" for i in range(50)]
    scene = RenderScene(world.scene, world.light, [Body(n, body) for n in names])
    backend = make_backend("embree", scene)
    spec = CameraSpec("down", Pose.identity(), 400, 400, np.pi / 2, 0.1, 200, 10)

    def seen():
        pose, shape = Pose.from_rpy(0, 0, 30, 0, np.pi / 2, 0), (400, 400)
        job = DepthJob(spec, pose, np.empty(shape, np.float32), np.empty(shape, np.uint8), np.empty(shape, np.uint16))
        backend.render([job])
        return set(np.unique(job.instance)) - {0}

    assert seen() == set(), "bodies start out absent"
    grid = {n: Pose.from_rpy(3.0 * (i % 10) - 14, 3.0 * (i // 10) - 6, 0, 0, 0, 0.1 * i) for i, n in enumerate(names)}
    scene.place(grid)
    backend.moved()
    assert seen() == set(range(1, 51))
    scene.place({names[7]: None})
    backend.moved()
    assert seen() == set(range(1, 51)) - {8}
    with pytest.raises(InputError, match="no body 'car'"):
        scene.place({"car": None})
    with pytest.raises(InputError, match="owner 'nobody' is no vehicle"):
        RenderScene(world.scene, world.light, [Body("x", body, owner="nobody")])


def test_movers_are_the_same_on_any_number_of_threads_and_lanes(world, new_world, rig):
    world.ground_plane(0.0)
    world.light.__dict__["shadows"] = True
    actors = [
        Actor(f"a{i}", box_at_origin(new_world, (2, 1, 1)), Along((8 + 3 * i, 2 * i - 4, 0), 1.0, 0.3))
        for i in range(5)
    ]
    results = []
    for options in ({"threads": 1}, {"threads": 2}, {"threads": 2}, {"lanes": 4}):
        engine = Engine(world, {"v": Vehicle(rig, Static(Pose.from_rpy(0, 0, 2, 0, 0, 0)))}, actors=actors, **options)
        engine.step(700_000_000)
        results.append(engine.render("v", modalities={"images", "depth", "lidar", "truth"}))
    for other in results[1:]:
        for field in ("images", "depth", "semantic", "camera_depth", "camera_instance"):
            one, two = getattr(results[0], field), getattr(other, field)
            assert all((one[k] == two[k]).all() for k in one), field
        assert len(other.lidar) == len(results[0].lidar) and np.allclose(other.lidar, results[0].lidar, atol=1e-4)
    assert (results[0].lidar == results[1].lidar).all()


def test_more_vehicles_with_bodies_than_a_ray_can_tell_apart_are_refused(world, new_world, rig):
    body = box_at_origin(new_world, (1, 1, 1))
    fleet = {f"drone_{i}": Vehicle(rig, Static(Pose.from_rpy(3.0 * i, 0, 5, 0, 0, 0)), body) for i in range(33)}
    with pytest.raises(InputError, match="beyond the 32nd"):
        Engine(world, fleet)
    del fleet["drone_32"]
    last = Engine(world, fleet).render("drone_31", modalities={"lidar"})
    assert np.linalg.norm(last.lidar[:, :3], axis=1).min() > 2.0, "the last one does not see itself"


@pytest.mark.parametrize("sun", [(-0.5, 0.3, -0.8), (0.9, 0.4, -0.25)], ids=str)
def test_movers_shadows_are_those_of_exact_rays(world, new_world, sun):
    """Bodies at many heights over a terrace and the deeper ground beside it, some of them behind and below the camera:
    what each hides from the sun, on the ground and on the others, and nothing else."""
    world.ground_plane(-6.0, half=200.0, colour=(0.8, 0.8, 0.8))
    world.box((-50.0, 0, -3.0), (100.0, 400, 6.0), colour=(0.8, 0.8, 0.8))
    world.light.__dict__["shadows"] = True
    world.light.__dict__["direction"] = np.array(sun)
    random = np.random.default_rng(3)
    size = (5.0, 3.0, 1.5)
    poses = [
        Pose.from_rpy(*random.uniform([-40, -40, -5], [40, 40, 12]), *random.uniform(-0.5, 0.5, 3)) for _ in range(40)
    ]
    poses += [
        Pose.from_rpy(*random.uniform([-20, -20, 2], [20, 20, 9]), *random.uniform(-0.5, 0.5, 3)) for _ in range(10)
    ]
    body = box_at_origin(new_world, size)
    actors = [Actor(f"a{i}", body, Static(pose)) for i, pose in enumerate(poses)]
    eye = Pose.from_rpy(-12, 3, 16, 0.1, 0.9, 0.3)
    spec = CameraSpec("cam_front", Pose.identity(), 320, 240, 1.5, 0.1, 400, 10)
    vehicle = {"v": Vehicle(Rig("rig", (spec,), ()), Static(eye))}
    picture = Engine(world, vehicle, actors=actors).render_camera("v", "cam_front")
    bare = Engine(world, vehicle, actors=actors, light=dataclasses.replace(world.light, shadows=False))
    bright = bare.render_camera("v", "cam_front").rgb
    moved = np.concatenate([pose.transform(body.triangles.reshape(-1, 3)) for pose in poses]).reshape(-1, 3, 3)
    level = np.isfinite(picture.depth) & (picture.instance <= len(world.scene.instances))
    v, u = np.nonzero(level)
    t = picture.depth[v, u].astype(float)
    left, up = (160 - u - 0.5) / spec.focal, (120 - v - 0.5) / spec.focal
    points = eye.transform(np.stack([t, left * t, up * t], axis=-1))
    to_sun = -np.array(sun) / np.linalg.norm(sun)
    triangles = np.concatenate([world.scene.triangles, moved])
    distance, _ = RayCaster(triangles).cast(
        points + 0.02 * to_sun, np.broadcast_to(to_sun, points.shape), cull_backfaces=False, max_distance=np.inf
    )
    exact = np.zeros(level.shape, bool)
    exact[v, u] = np.isfinite(distance)
    grey, lit = picture.rgb[..., 0].astype(int), bright[..., 0].astype(int)
    dark = grey < lit - 10
    sunny = lit > grey[level].min() + 20  # walls that the sun does not reach are dark anyhow
    sunny &= binary_erosion(level, iterations=3)
    border = binary_dilation(exact, iterations=2) & ~binary_erosion(exact, iterations=2)
    assert (exact & sunny).sum() > 1000
    wrong = (dark != exact) & sunny & ~border
    assert not wrong.any(), f"{wrong.sum()} pixels"
