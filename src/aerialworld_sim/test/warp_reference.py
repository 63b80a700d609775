"""Scenes for the warp backend, and what it should see of them: float64 in numpy, every ray against every triangle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from aerialworld_core.frames import Pose
from aerialworld_core.rig import CameraSpec
from aerialworld_core.world.scene import Light
from aerialworld_sim import warp_runtime
from aerialworld_sim.jobs import DepthJob, PictureJob, ScanJob
from aerialworld_sim.render_scene import Body, RenderScene
from aerialworld_sim.surfaces import AMBIENT_GAIN, ROUGHNESS, SUN_GAIN
from aerialworld_sim.textures import DECODE, srgb_from_linear

#: A test with this mark runs on warp's CPU device and, where there is one, on a GPU.
on_devices = pytest.mark.parametrize("device", ["cpu", "cuda:0"] if warp_runtime.cuda_available() else ["cpu"])

SUNLESS = Light(np.array([0, 0, -1.0]), np.zeros(3), np.full(3, np.pi), np.array([0.2, 0.3, 0.4]), False)
SUN = Light(
    np.array([-0.5, 0.3, -0.81]),
    np.array([0.9, 0.87, 0.8]),
    np.array([0.3, 0.35, 0.4]),
    np.array([0.4, 0.6, 0.8]),
    True,
    np.array([0.1, 0.2, 0.7]),
)


def body(new_world, name, size, owner=None, label=None, **look) -> Body:
    world = new_world()
    world.box((0, 0, 0), size, **look)
    return Body(name, world.scene, owner, label)


def city_block(world, textured=True):
    """Boxes with textures of 64 × 32 noise at two scales, turned every way, on textured ground."""
    rng = np.random.default_rng(11)
    noise = rng.integers(40, 220, (32, 64, 3), dtype=np.uint8) if textured else None
    corners = np.array([[-60, -60, 0], [60, -60, 0], [60, 60, 0], [-60, 60, 0]], float)
    uv = corners[:, :2] / 7.0
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    world.add(corners, faces, 14, (0.9, 0.8, 0.7), noise, uv=uv[faces])
    for i in range(7):
        x, y, h = *rng.uniform(-25, 25, 2), rng.uniform(4, 14)
        box = type(world)()
        box.box((x, y, h / 2), (rng.uniform(4, 9), rng.uniform(4, 9), h), (0, 0, rng.uniform(0, 3)))
        t = box.scene.triangles.astype(float)
        across = np.cross(t[:, 1] - t[:, 0], t[:, 2] - t[:, 0])
        flat = np.abs(across[:, 2]) > 0.5 * np.linalg.norm(across, axis=1)
        plane = np.where(flat[:, None, None], t[:, :, :2], t[:, :, [0, 2]]) / (3.0 if i % 2 else 0.8)
        world.add(box.scene.vertices, box.scene.faces, 15, rng.uniform(0.3, 1, 3), noise if i else None, uv=plane)
    world.light = SUN


def apart(depth, true) -> np.ndarray:
    """Metres between two depth images, 0 where both see nothing, inf where one does."""
    true = np.reshape(true, depth.shape)
    both = np.isfinite(true) & np.isfinite(depth)
    metres = np.abs(np.where(both, depth, 0) - np.where(both, true, 0))
    return np.where(both | (depth == true), metres, np.inf)


def level(linear) -> np.ndarray:
    return 255 * srgb_from_linear(np.asarray(linear, float))


def rays_in_map(spec: CameraSpec, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
    """Origin (3,) and directions (H, W, 3) in map with length 1 along the axis, from the camera's definition."""
    u, v = np.meshgrid(np.arange(spec.width) + 0.5, np.arange(spec.height) + 0.5)
    d = np.stack([np.ones_like(u), -(u - spec.width / 2) / spec.focal, -(v - spec.height / 2) / spec.focal], -1)
    return pose.position, d @ pose.rotation.T


def picture_job(spec: CameraSpec, pose: Pose, viewer: int = -1, rays=None) -> PictureJob:
    """With every array."""
    h, w = spec.height, spec.width
    return PictureJob(
        spec, pose, np.empty((h, w, 3), np.uint8), np.empty((h, w), np.float32), np.empty((h, w), np.uint8),
        np.empty((h, w), np.uint16), rays, viewer,
    )  # fmt: skip


def depth_job(spec: CameraSpec, pose: Pose, viewer: int = -1) -> DepthJob:
    h, w = spec.height, spec.width
    arrays = np.empty((h, w), np.float32), np.empty((h, w), np.uint8), np.empty((h, w), np.uint16)
    return DepthJob(spec, pose, *arrays, viewer)


def scan_job(directions, poses=(Pose.identity(),), pose_of=None, far=1000.0, viewer: int = -1) -> ScanJob:
    directions = np.ascontiguousarray(directions, np.float32)
    n = len(directions)
    origins, rotations = np.stack([p.position for p in poses]), np.stack([p.rotation for p in poses])
    arrays = np.empty(n, np.float32), np.empty(n, np.float32), np.empty(n, np.int32)
    return ScanJob(directions, origins, rotations, pose_of, far, *arrays, viewer)


@dataclass
class Seen:
    """Of N rays: `t` (inf: nothing), `row` (−1), `u`, `v` weights of the second and third corner."""

    t: np.ndarray
    row: np.ndarray
    u: np.ndarray
    v: np.ndarray


def nearest_front(triangles, origin, directions, near=0.0, far=np.inf, either_side=False) -> Seen:
    """Möller and Trumbore's test (1997) of rays (N, 3) from `origin` (3,) or (N, 3)."""
    triangles = np.asarray(triangles, np.float64)
    d = np.asarray(directions, np.float64).reshape(-1, 3)
    o = np.broadcast_to(np.asarray(origin, np.float64), d.shape)
    seen = Seen(np.full(len(d), np.inf), np.full(len(d), -1), np.zeros(len(d)), np.zeros(len(d)))
    for row, (a, b, c) in enumerate(triangles):
        p = np.cross(d, c - a)
        determinant = p @ (b - a)
        side = determinant != 0 if either_side else determinant > 0
        determinant[determinant == 0] = 1.0
        s = o - a
        u = (p * s).sum(-1) / determinant
        q = np.cross(s, b - a)
        v = (q * d).sum(-1) / determinant
        t = q @ (c - a) / determinant
        hit = side & (u >= 0) & (v >= 0) & (u + v <= 1) & (t >= near) & (t <= far) & (t < seen.t)
        seen.t[hit], seen.row[hit], seen.u[hit], seen.v[hit] = t[hit], row, u[hit], v[hit]
    return seen


def triangles_of(scene: RenderScene) -> np.ndarray:
    """(F, 3, 3) of the static world and of the movers present, in the order of the surfaces' rows."""
    nowhere = np.full((1, 3, 3), 1e9)
    movers = [m.placed if m.pose is not None else np.repeat(nowhere, m.count, 0) for m in scene.movers]
    return np.concatenate([scene.scene.triangles, *movers])


def _texture(image: np.ndarray, level: int) -> np.ndarray:
    """A mip level in linear light: averages of 2×2, and what rounding to sRGB leaves of them."""
    linear = DECODE[image].astype(np.float64)
    for _ in range(level):
        linear = (linear[::2] + linear[1::2]) / 2 if len(linear) > 1 else linear
        linear = (linear[:, ::2] + linear[:, 1::2]) / 2 if linear.shape[1] > 1 else linear
    return DECODE[np.round(255 * srgb_from_linear(linear)).astype(int)].astype(np.float64)


def _bilinear(image: np.ndarray, u: float, v: float) -> np.ndarray:
    h, w = image.shape[:2]
    x, y = (u % 1.0) * w - 0.5, (1 - v % 1.0) * h - 0.5
    x0, y0 = int(np.floor(x)), int(np.floor(y))
    ax, ay = x - x0, y - y0
    rows, columns = [y0 % h, (y0 + 1) % h], [x0 % w, (x0 + 1) % w]
    top = (1 - ax) * image[rows[0], columns[0]] + ax * image[rows[0], columns[1]]
    bottom = (1 - ax) * image[rows[1], columns[0]] + ax * image[rows[1], columns[1]]
    return (1 - ay) * top + ay * bottom


def picture(scene: RenderScene, spec: CameraSpec, pose: Pose) -> tuple[np.ndarray, Seen]:
    """(H, W, 3) sRGB grey levels as float64, unrounded, and what is seen (for scenes whose movers have no texture).

    Texture sizes are powers of two. The formulas are those that `surfaces` states, ray by ray.
    """
    world, light = scene.scene, scene.light
    triangles = triangles_of(scene)
    origin, directions = rays_in_map(spec, pose)
    rays = directions.reshape(-1, 3)
    seen = nearest_front(triangles, origin, rays, spec.near, spec.far)
    unit = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    zenith = light.background if light.zenith is None else light.zenith
    linear = light.background + np.clip(unit[:, 2:], 0, 1) * (zenith - light.background)
    to_sun = -light.direction / np.linalg.norm(light.direction)
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    twice_area = np.linalg.norm(normals, axis=1)
    normals /= twice_area[:, None]
    hit = np.flatnonzero(seen.row >= 0)
    lit = np.zeros(len(rays), bool)
    if light.shadows:
        away = (0.005 + 1e-5 * seen.t[hit])[:, None] * normals[seen.row[hit]]
        start = origin + seen.t[hit, None] * rays[hit] + away
        shadow = nearest_front(triangles, start, np.broadcast_to(to_sun, start.shape), either_side=True)
        lit[hit] = shadow.row < 0
    else:
        lit[hit] = True
    parts = [world, *(m.body.scene for m in scene.movers)]
    materials = [part.materials[k] for part in parts for k in part.face_material]
    for i in hit:
        row, n = seen.row[i], normals[seen.row[i]]
        albedo = materials[row].colour.astype(np.float64)
        facing = -n @ unit[i]
        if (texture := materials[row].texture) is not None:
            uv = world.uv[row].astype(np.float64)
            at = uv[0] + seen.u[i] * (uv[1] - uv[0]) + seen.v[i] * (uv[2] - uv[0])
            (a, b), (c, d) = uv[1] - uv[0], uv[2] - uv[0]
            density = abs(a * d - b * c) / twice_area[row] * texture.shape[0] * texture.shape[1]
            slope = max(facing, 0.01)
            under = density * seen.t[i] ** 2 / spec.focal**2 / slope**1.5  # texels under a pixel
            level = 0 if under < 2 else int(np.floor((np.log2(under) + 1) / 2))
            level = min(level, int(np.log2(max(texture.shape[:2]))))
            albedo = albedo * _bilinear(_texture(texture, level), *at)
        sun = max(float(n @ to_sun), 0.0) * lit[i]
        k = 0.5 * ROUGHNESS + 2 * ROUGHNESS * (1 - unit[i] @ to_sun) / 2 - 1
        sun *= (1 + k * (1 - n @ to_sun) ** 5) * (1 + k * (1 - facing) ** 5) * SUN_GAIN if sun else 0.0
        linear[i] = albedo * (light.ambient * AMBIENT_GAIN + sun * light.sun)
    return 255 * srgb_from_linear(linear).reshape(spec.height, spec.width, 3), seen
