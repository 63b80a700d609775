"""Rays of pixels behind real lenses: where they go, and that they see what the lens model says."""

from __future__ import annotations

import numpy as np
import pytest

from aerialworld_core import lens
from aerialworld_core.errors import WorldError
from aerialworld_core.frames import Pose
from aerialworld_core.rig import CameraSpec
from aerialworld_sim.distortion import pixel_rays

LENS = (-0.28, 0.08, 1.2e-3, -7e-4, -0.01)


def camera(**more) -> CameraSpec:
    return CameraSpec("cam_front", Pose.identity(), 320, 180, np.deg2rad(70), 0.1, 300.0, 10.0, **more)


def test_an_ideal_camera_has_the_rays_of_its_pinhole():
    spec = camera()
    left, up = pixel_rays(spec)
    assert left.dtype == up.dtype == np.float32 and left.shape == up.shape == (180, 320)
    assert np.allclose(left[:, 0], (160 - 0.5) / spec.focal, rtol=1e-6) and np.allclose(left, -left[:, ::-1])
    assert np.allclose(up[0], (90 - 0.5) / spec.focal, rtol=1e-6) and (up[0] > 0).all()


@pytest.mark.parametrize(
    "more",
    [
        {"distortion": LENS},
        {"distortion": (0.2, 0.05, -2e-3, 1e-3, 0.02)},
        {"distortion": LENS, "principal_point": (151.5, 97.25), "focal_y": 240.0},
        {"principal_point": (20.0, 170.0), "focal_y": 200.0},
        {"distortion": (0.05, 0, 0, 0, 0), "principal_point": (-40.0, 300.0)},  # the axis leaves the picture
    ],
)
def test_rays_put_through_the_lens_fall_on_their_pixels(more):
    spec = camera(**more)
    left, up = pixel_rays(spec)
    k = spec.intrinsics
    assert spec.principal_point == more.get("principal_point") and k[1, 1] == more.get("focal_y", spec.focal)
    x, y = lens.distort(-left.astype(np.float64), -up.astype(np.float64), spec.distortion or (0, 0, 0, 0, 0))
    columns, rows = np.arange(320) + 0.5, np.arange(180)[:, None] + 0.5
    assert np.abs(k[0, 0] * x + k[0, 2] - columns).max() < 2e-4  # rays are single precision
    assert np.abs(k[1, 1] * y + k[1, 2] - rows).max() < 2e-4


def test_barrel_distortion_sees_farther_out_and_the_centre_stays():
    straight, barrel = pixel_rays(camera()), pixel_rays(camera(distortion=(-0.2, 0, 0, 0, 0)))
    assert barrel[0][0, 0] > straight[0][0, 0] * 1.05 and barrel[1][0, 0] > straight[1][0, 0] * 1.05
    assert np.allclose(barrel[0][89:91, 159:161], straight[0][89:91, 159:161], atol=1e-5)


def test_cameras_of_one_kind_share_their_rays():
    one, other = pixel_rays(camera(distortion=LENS)), pixel_rays(camera(distortion=LENS))
    assert one[0] is other[0] and not one[0].flags.writeable


def test_a_lens_that_cannot_be_inverted_names_the_camera_and_a_pixel():
    spec = camera(distortion=LENS)
    object.__setattr__(spec, "distortion", (-2.0, 0.0, 0.0, 0.0, 0.0))  # past the check of a new CameraSpec
    with pytest.raises(
        WorldError, match=r"camera cam_front: <distortion> has no ray for the pixel in column \d+, row \d+"
    ):
        pixel_rays(spec)
