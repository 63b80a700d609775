"""Depth, labels and directions against geometry that can be computed by hand."""

import dataclasses

import numpy as np
import pytest

from aerialworld_core.errors import InputError, WorldError
from aerialworld_core.frames import LINK_FROM_OPTICAL, Pose
from aerialworld_core.rig import CUBE_FACES, CameraSpec
from aerialworld_core.world.scene import Light, Scene


def rays_in_map(spec: CameraSpec, base: Pose) -> tuple[np.ndarray, np.ndarray]:
    """Origin (3,) and directions (H, W, 3) in map with length 1 along the axis, from the camera's definition."""
    pose = base @ spec.pose
    u, v = np.meshgrid(np.arange(spec.width) + 0.5, np.arange(spec.height) + 0.5)
    d = np.stack([np.ones_like(u), -(u - spec.width / 2) / spec.focal, -(v - spec.height / 2) / spec.focal], -1)
    return pose.position, d @ pose.rotation.T


def box_depth(origin, rays, centre, size, rotation):
    """Slab method in float64: parameter of the first entry into a box, inf where the ray misses it."""
    o, d = (origin - centre) @ rotation, rays @ rotation
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = (-np.array(size) / 2 - o) / d, (np.array(size) / 2 - o) / d
    enter, leave = np.minimum(a, b).max(-1), np.maximum(a, b).min(-1)
    return np.where((enter <= leave) & (enter > 0), enter, np.inf)


POSES = [
    Pose.from_rpy(3.0, -2.0, 25.0, 0.1, -0.2, 0.7),
    Pose.from_rpy(812.0, -655.0, 40.0, -0.3, 0.25, -2.4),  # far from the origin, where float32 is coarse
]


@pytest.mark.parametrize("base", POSES)
def test_plane_and_box_depth_to_a_millimetre(world, cube, camera, engine_at, base):
    rotation = Pose.from_rpy(0, 0, 0, 0.3, -0.2, 1.1).rotation
    x, y, _ = base.position
    centre, size = np.array([x + 14.0, y + 6.0, 12.0]), (6.0, 4.0, 9.0)
    world.ground_plane(1.5, half=2000.0)
    world.box(centre, size, (0.3, -0.2, 1.1), label=4)
    engine = engine_at(world, base, depth=cube(96), cameras=[camera(far=200.0)])
    frame = engine.render("v", modalities={"depth"})
    seen_box = 0
    for face in cube(96):
        origin, rays = rays_in_map(face, base)
        with np.errstate(divide="ignore"):
            ground = (1.5 - origin[2]) / rays[..., 2]
        ground = np.where(
            (ground > 0) & (np.abs(origin + ground[..., None] * rays)[..., :2].max(-1) < 2000), ground, np.inf
        )
        box = box_depth(origin, rays, centre, size, rotation)
        true = np.minimum(ground, box)
        true[true * np.linalg.norm(rays, axis=-1) > face.far] = np.inf
        got = frame.depth[face.name]
        # At silhouettes and at the far limit one float32 rounding decides; those pixels are few.
        both = np.isfinite(true) & np.isfinite(got)
        differ = np.isfinite(true) != np.isfinite(got)
        differ[both] = np.abs(got[both] - true[both]) > 1e-3
        assert differ.sum() <= 4, face.name
        seen = np.isfinite(got) & ~differ
        expected = np.where(box < ground, 4, 14)
        assert (frame.semantic[face.name][seen] == expected[seen]).all()
        seen_box += int((expected[seen] == 4).sum())
    assert seen_box > 100
    truth = engine.render_camera("v", "cam_front")
    origin, rays = rays_in_map(camera(far=200.0), base)
    true = np.minimum(
        box_depth(origin, rays, centre, size, rotation),
        np.where(rays[..., 2] < 0, (1.5 - origin[2]) / rays[..., 2], np.inf),
    )
    true[true > 200.0] = np.inf  # a camera clips at the far plane
    both = np.isfinite(true) & np.isfinite(truth.depth)
    assert np.abs(truth.depth[both] - true[both]).max() < 1e-3
    assert (np.isfinite(true) != np.isfinite(truth.depth)).sum() <= 4
    assert set(np.unique(truth.instance)) <= {0, 1, 2} and ((truth.instance == 2) == (truth.semantic == 4)).all()


def test_sphere_mesh_against_its_own_triangles(world, cube, engine_at):
    """Every pixel's depth lies on the plane of the triangle that brute force in float64 finds first."""
    stacks, slices, radius, centre = 12, 24, 5.0, np.array([9.0, 1.0, 3.0])
    theta = np.linspace(0, np.pi, stacks + 1)
    phi = np.linspace(0, 2 * np.pi, slices, endpoint=False)
    grid = [[np.sin(t) * np.cos(p), np.sin(t) * np.sin(p), np.cos(t)] for t in theta for p in phi]
    faces = []
    for i in range(stacks):
        for j in range(slices):
            a, b = i * slices + j, i * slices + (j + 1) % slices
            faces += [[a, a + slices, b + slices], [a, b + slices, b]]
    vertices = np.array(grid) * radius + centre
    keep = [
        f
        for f in faces
        if np.linalg.norm(np.cross(vertices[f[1]] - vertices[f[0]], vertices[f[2]] - vertices[f[0]])) > 1e-9
    ]
    world.add(vertices, keep)
    face = cube(48)[0]
    frame = engine_at(world, Pose.identity(), depth=[face]).render("v")
    origin, rays = rays_in_map(face, Pose.identity())
    t = vertices.astype(np.float32).astype(np.float64)[np.array(keep)]
    e1, e2 = t[:, 1] - t[:, 0], t[:, 2] - t[:, 0]
    d = rays.reshape(-1, 1, 3)
    p = np.cross(d, e2)
    determinant = (p * e1).sum(-1)
    s = origin - t[:, 0]
    u = (p * s).sum(-1) / determinant
    q = np.cross(s, e1)
    v = (q * d).sum(-1) / determinant
    depth = (q * e2).sum(-1) / determinant
    hit = (determinant > 0) & (u >= 0) & (v >= 0) & (u + v <= 1) & (depth > 0)  # determinant > 0: seen from the front
    true = np.where(hit, depth, np.inf).min(axis=1).reshape(48, 48)
    got = frame.depth["front"]
    assert (np.isfinite(got) == np.isfinite(true)).all()
    both = np.isfinite(true)
    assert both.sum() > 300
    assert np.abs(got[both] - true[both]).max() < 1e-4


def test_front_is_forward_and_pictures_stand_upright(world, camera, cube, engine_at):
    """Boxes in four colours at N, E, S, W; a vehicle that heads west sees west in front, north on its right."""
    colours = {"E": (1, 0, 0), "N": (0, 1, 0), "W": (0, 0, 1), "S": (1, 1, 0)}
    places = {"E": (20, 0, 5), "N": (0, 20, 5), "W": (-20, 0, 5), "S": (0, -20, 5)}
    for i, (side, place) in enumerate(places.items()):
        world.box(place, (6, 6, 6), colour=colours[side], label=1 + i)
    world.box((0, 0, 30), (4, 4, 4), label=10)  # overhead
    world.ground_plane(0.0)
    west = Pose.from_rpy(0, 0, 5, 0, 0, np.pi)
    yaws = {"cam_front": 0, "cam_left": 90, "cam_back": 180, "cam_right": -90}
    cameras = [camera(name, Pose.from_rpy(0, 0, 0, 0, 0, np.deg2rad(yaw))) for name, yaw in yaws.items()]
    frame = engine_at(world, west, cameras=cameras, depth=cube(32)).render("v")
    for name, side in {"cam_front": "W", "cam_left": "S", "cam_back": "E", "cam_right": "N"}.items():
        picture = frame.images[name].astype(int)
        middle = picture[45, 80]
        assert ((middle > 60) == (np.array(colours[side]) > 0.5)).all(), (name, middle)
        sky, ground = picture[2, 80], picture[-3, 80]
        assert tuple(sky) == (203, 218, 243), "background 0.6, 0.7, 0.9 as Gazebo shows it"
        assert ground.max() - ground.min() <= 1 and ground.max() < 200
    for face, label in {"front": 3, "left": 4, "back": 1, "right": 2, "up": 10, "down": 14}.items():
        assert frame.semantic[face][16, 16] == label, face
    # A box to the left of the heading appears in the left half of the picture.
    world.box((-20, -10, 5), (2, 2, 6), colour=(0, 1, 1))  # south-west: left of a vehicle that heads west
    picture = engine_at(world, west, cameras=cameras[:1]).render("v").images["cam_front"].astype(int)
    cyan = (picture[45, :, 1] > picture[45, :, 0] + 50) & (picture[45, :, 2] > picture[45, :, 0] + 50)
    assert cyan[:80].any() and not cyan[80:].any()


def test_a_world_point_projects_where_two_cameras_see_it(world, camera, engine_at):
    target = np.array([18.0, 3.0, 2.0])
    world.box(target, (0.6, 0.6, 0.6), colour=(1, 0, 0), label=4)
    base = Pose.from_rpy(-2.0, 1.0, 6.0, 0.05, 0.1, 0.15)
    cameras = [
        camera("cam_front", Pose.from_rpy(0.3, 0.2, -0.05, 0, 0.1, 0.2), 1600, 900),
        camera("cam_front_right", Pose.from_rpy(0.1, -0.3, 0, 0.02, 0.15, -0.3), 1600, 900),
    ]
    engine = engine_at(world, base, cameras=cameras)
    for spec in cameras:
        mask = engine.render_camera("v", spec.name).instance == 1
        v, u = np.nonzero(mask)
        corners = np.array([[x, y, z] for x in (-0.3, 0.3) for y in (-0.3, 0.3) for z in (-0.3, 0.3)]) + target
        optical = (base @ spec.pose).inverse().transform(corners) @ LINK_FROM_OPTICAL
        pixel = optical @ spec.intrinsics.T
        pixel = pixel[:, :2] / pixel[:, 2:]
        # Silhouette of the box: pixels whose centre it covers, so each bound is within half a pixel.
        for got, true in ((u.min() + 0.5, pixel[:, 0].min()), (v.min() + 0.5, pixel[:, 1].min())):
            assert -1e-3 <= got - true <= 1.0
            assert abs(got - 0.5 - true) <= 0.5 + 1e-3
        for got, true in ((u.max() + 0.5, pixel[:, 0].max()), (v.max() + 0.5, pixel[:, 1].max())):
            assert abs(got + 0.5 - true) <= 0.5 + 1e-3


def test_near_and_far_follow_gazebo(world, cube, engine_at):
    """−inf where x < near, +inf where the Euclidean distance exceeds far, values between."""
    world.box((10.0, 0, 0), (2.0, 100.0, 100.0))  # wall at x = 9
    face = cube(65, near=0.1, far=11.0)[0]
    depth = engine_at(world, Pose.identity(), depth=[face]).render("v").depth["front"]
    _, rays = rays_in_map(face, Pose.identity())
    distance = 9.0 * np.linalg.norm(rays, axis=-1)
    assert (np.isposinf(depth) == (distance > 11.0)).all()
    assert np.abs(depth[distance <= 11.0] - 9.0).max() < 1e-5
    near = cube(65, near=9.5, far=50.0)[0]
    assert np.isneginf(engine_at(world, Pose.identity(), depth=[near]).render("v").depth["front"]).all()


def test_back_faces_are_invisible_even_behind_each_other(world, cube, engine_at):
    """From inside a box its walls are invisible; a front face in the very plane of a back face is seen."""
    world.box((0, 0, 0), (4, 4, 4), label=1)
    world.box((0, 0, 0), (6, 6, 6), label=2)
    square = np.array([[8, -9, -9], [8, 9, -9], [8, 9, 9], [8, -9, 9.0]])
    world.add(square, [[0, 1, 2], [0, 2, 3]], label=3)  # normal +x: away from the sensor
    world.add(square, [[0, 2, 1], [0, 3, 2]], label=4)  # the same plane, towards the sensor
    frame = engine_at(world, Pose.identity(), depth=cube(32)[:1]).render("v")
    assert (frame.semantic["front"] == 4).all()
    assert np.abs(frame.depth["front"] - 8.0).max() < 1e-5


def test_no_ray_slips_through_shared_edges(world, cube, engine_at):
    """A tessellated floor has no holes: 640,000 rays, all return (a leak would carve free space underground)."""
    n = 60
    xy = np.linspace(-30, 30, n + 1)
    rng = np.random.default_rng(3)
    gx, gy = np.meshgrid(xy, xy, indexing="ij")
    z = rng.uniform(-0.5, 0.5, gx.shape)
    vertices = np.stack([gx, gy, z], -1).reshape(-1, 3)
    a = (np.arange(n)[:, None] * (n + 1) + np.arange(n)).ravel()
    faces = np.concatenate([np.stack([a, a + n + 1, a + n + 2], -1), np.stack([a, a + n + 2, a + 1], -1)])
    world.add(vertices, faces)
    down = cube(800)[5]
    depth = engine_at(world, Pose.from_rpy(0.123, 0.456, 20.0), depth=[down]).render("v").depth["down"]
    assert np.isfinite(depth).all() and depth.min() > 19.0 and depth.max() < 21.0


@pytest.mark.parametrize("lanes", [4, 8])
def test_packet_widths_agree(world, cube, camera, engine_at, lanes):
    world.ground_plane()
    world.box((9, 2, 3), (4, 3, 6), (0.1, 0.2, 0.4))
    pose = Pose.from_rpy(0, 0, 8, 0.1, 0.2, 0.3)
    wide = engine_at(world, pose, depth=cube(50), cameras=[camera()]).render("v")
    narrow = engine_at(world, pose, depth=cube(50), cameras=[camera()], lanes=lanes).render("v")
    for name in CUBE_FACES:
        both = np.isfinite(wide.depth[name]) & np.isfinite(narrow.depth[name])
        assert np.abs(wide.depth[name][both] - narrow.depth[name][both]).max(initial=0.0) < 1e-4
        assert (np.isfinite(wide.depth[name]) == np.isfinite(narrow.depth[name])).mean() > 0.999
    difference = np.abs(wide.images["cam_front"].astype(int) - narrow.images["cam_front"])
    assert (difference > 1).mean() < 1e-3


def test_an_empty_world_is_all_sky(world, cube, camera, engine_at):
    frame = engine_at(world, Pose.from_rpy(0, 0, 30), depth=cube(40), cameras=[camera()]).render("v")
    assert all(np.isposinf(depth).all() for depth in frame.depth.values())
    assert (frame.images["cam_front"] == [203, 218, 243]).all()


def test_odd_sizes_are_filled_to_the_last_pixel(world, camera, engine_at):
    world.ground_plane()
    spec = camera(width=37, height=67, hfov=1.0)
    engine = engine_at(world, Pose.from_rpy(0, 0, 10, 0, 1.5, 0), cameras=[spec])
    picture = engine.render_camera("v", "cam_front")
    assert np.isfinite(picture.depth).all() and (picture.instance == 1).all()


def test_broken_scenes_and_arguments_are_refused(world, cube, engine_at):
    world.ground_plane()
    engine = engine_at(world, Pose.identity(), depth=cube(8))
    with pytest.raises(InputError, match="unknown modalities"):
        engine.render("v", modalities={"radar"})
    with pytest.raises(InputError, match="no vehicle 'w'"):
        engine.render("w")
    with pytest.raises(InputError, match="does not advance"):
        engine.step(0)
    world.vertices[0][2, 1] = np.nan
    with pytest.raises(WorldError, match="not finite"):
        engine_at(world, Pose.identity())
    world.vertices[0][2, 1] = 1.0
    world.materials[0].colour[1] = -0.5
    with pytest.raises(WorldError, match="material 0: colour"):
        engine_at(world, Pose.identity())
    world.materials[0].colour[1] = 0.5
    world.light = Light(world.light.direction, np.array([np.nan, 1, 1]), world.light.ambient, np.zeros(3), False)
    with pytest.raises(WorldError, match="light: sun"):
        engine_at(world, Pose.identity())


def test_faces_and_materials_out_of_range_are_refused(world, engine_at):
    world.ground_plane()
    scene = world.scene
    for name, value, complaint in (
        ("faces", scene.faces + 2, "vertex outside"),
        ("face_material", scene.face_material + 1, "material outside"),
        ("uv", scene.uv[:1], "uv is"),
    ):
        broken = Fixed(dataclasses.replace(scene, **{name: value}), world.light)
        with pytest.raises(WorldError, match=complaint):
            engine_at(broken, Pose.identity())


@dataclasses.dataclass
class Fixed:
    scene: Scene
    light: Light

    def terrain_height(self, xy):
        return np.zeros(len(xy))
