"""Cameras that are no centred pinholes, and skies that are no uniform colour."""

import dataclasses

import numpy as np
import pytest

from aerialworld_core.frames import Pose
from aerialworld_core.rig import CameraSpec
from aerialworld_core.world.scene import Light
from aerialworld_sim.distortion import pixel_rays

BASE = Pose.from_rpy(1.0, -2.0, 6.0, 0.05, 0.2, 0.4)


@pytest.fixture
def town(world):
    world.ground_plane(0.0)
    world.box((14, 3, 4), (5, 6, 8), rpy=(0, 0, 0.3), label=15, colour=(0.7, 0.3, 0.2))
    world.box((9, -5, 1), (2, 3, 2), label=4, colour=(0.2, 0.3, 0.7))
    world.box((25, -3, 8), (6, 6, 16), rpy=(0, 0, -0.5), label=16)
    world.light.__dict__["shadows"] = True
    return world


def test_traced_pixels_equal_rasterised_ones(town, engine_at):
    """A distortion too small to move a pixel sends the camera through Embree instead of the rasteriser."""
    plain = CameraSpec("cam_front", Pose.identity(), 331, 203, 1.3, 0.1, 300, 10)
    traced = dataclasses.replace(plain, distortion=(1e-12, 0.0, 0.0, 0.0, 0.0))
    assert traced.distortion is not None
    one = engine_at(town, BASE, cameras=(plain,)).render_camera("v", "cam_front")
    two = engine_at(town, BASE, cameras=(traced,)).render_camera("v", "cam_front")
    differs = one.instance != two.instance
    assert differs.sum() <= 10 and (one.semantic != two.semantic).sum() <= 10
    same = ~differs & np.isfinite(one.depth)
    assert np.abs(one.depth[same] / two.depth[same] - 1).max() < 1e-5
    off = np.abs(one.rgb.astype(int) - two.rgb).max(axis=-1)
    assert (off > 1).mean() < 1e-3, "but at edges of shadows"


def test_a_distorted_camera_sees_along_its_rays(town, engine_at):
    spec = CameraSpec(
        "cam_front", Pose.identity(), 320, 200, 1.2, 0.1, 300, 10, distortion=(-0.2, 0.05, 1e-3, -2e-3, 0)
    )
    picture = engine_at(town, BASE, cameras=(spec,)).render_camera("v", "cam_front")
    left, up = pixel_rays(spec)
    direction = np.stack([np.ones_like(left), left, up], axis=-1).astype(float) @ BASE.rotation.T
    ground = picture.instance == 1
    assert ground.sum() > 5000
    t = -BASE.position[2] / direction[..., 2]
    assert np.abs(picture.depth[ground] / t[ground] - 1).max() < 1e-5
    assert (left[100] != left[100, ::-1] * -1).any() and abs(left[0, 0]) > abs(spec.width / 2 / spec.focal)


@pytest.mark.parametrize("centre,focal_y", [((200.0, 80.0), None), (None, 150.0), ((-40.0, 260.0), 300.0)])
def test_an_off_centre_camera_projects_points_where_its_matrix_says(town, engine_at, centre, focal_y):
    spec = CameraSpec(
        "cam_front", Pose.identity(), 320, 200, 1.2, 0.1, 300, 10, principal_point=centre, focal_y=focal_y
    )
    picture = engine_at(town, BASE, cameras=(spec,)).render_camera("v", "cam_front")
    k, (rows, columns) = spec.intrinsics, np.nonzero(np.isfinite(picture.depth))
    t = picture.depth[rows, columns].astype(float)
    x, y = (columns + 0.5 - k[0, 2]) / k[0, 0], (rows + 0.5 - k[1, 2]) / k[1, 1]
    points = BASE.transform(np.stack([t, -x * t, -y * t], axis=-1))
    ground = picture.instance[rows, columns] == 1
    assert ground.sum() > 1000 and np.abs(points[ground, 2]).max() < 2e-3
    back = (points - BASE.position) @ BASE.rotation
    assert np.allclose(k[0, 0] * -back[:, 1] / back[:, 0] + k[0, 2], columns + 0.5, atol=1e-3)


def test_the_sky_goes_from_the_horizon_to_the_zenith(world, camera, engine_at):
    horizon, zenith = np.array([0.6, 0.5, 0.4]), np.array([0.1, 0.2, 0.6])
    light = Light(np.array([0, 0, -1.0]), np.zeros(3), np.zeros(3), horizon, False, zenith)
    spec = camera(pose=Pose.from_rpy(0, 0, 0, 0, -np.pi / 4, 0), width=90, height=180, hfov=1.0)
    picture = engine_at(world, Pose.identity(), cameras=(spec,), light=light).render_camera("v", "cam_front")
    v = np.arange(180)
    up = (90 - v - 0.5) / spec.focal
    elevation = np.pi / 4 + np.arctan(up)
    column = (45 - np.arange(90) - 0.5) / spec.focal
    sine = np.sin(elevation)[:, None] * np.sqrt(1 + up**2)[:, None] / np.sqrt(1 + up[:, None] ** 2 + column[None] ** 2)
    linear = horizon + np.clip(sine, 0, 1)[..., None] * (zenith - horizon)
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055) * 255
    assert np.abs(picture.rgb - expected).max() <= 1.0
    assert (picture.instance == 0).all() and np.isposinf(picture.depth).all()


def test_the_worlds_own_light_is_replaced_by_another(town, camera, engine_at):
    spec = camera()
    own = engine_at(town, BASE, cameras=(spec,)).render_camera("v", "cam_front").rgb
    night = Light(np.array([0, 0, -1.0]), np.zeros(3), np.full(3, 0.01), np.zeros(3), False)
    dark = engine_at(town, BASE, cameras=(spec,), light=night).render_camera("v", "cam_front").rgb
    assert own.mean() > 3 * dark.mean() and dark.max() < 40
