"""The lens model against worked numbers, against itself backwards, and where it folds over."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aerialworld_core import lens
from aerialworld_core.errors import WorldError
from aerialworld_core.frames import Pose
from aerialworld_core.rig import CameraSpec

small = st.floats(-0.02, 0.02)
coefficients = st.tuples(st.floats(-0.3, 0.4), st.floats(-0.1, 0.2), small, small, st.floats(-0.05, 0.05))


def test_distortion_by_hand():
    """x = 0.5, y = −0.2, r² = 0.29: radial 1 − 0.1·0.29 + 0.2·0.0841 + 0.5·0.024389 = 1.0000145."""
    x, y = lens.distort(np.array(0.5), np.array(-0.2), (-0.1, 0.2, 0.01, 0.03, 0.5))
    radial = 1 - 0.1 * 0.29 + 0.2 * 0.29**2 + 0.5 * 0.29**3
    assert x == pytest.approx(0.5 * radial + 2 * 0.01 * 0.5 * -0.2 + 0.03 * (0.29 + 2 * 0.25), abs=1e-15)
    assert y == pytest.approx(-0.2 * radial + 0.01 * (0.29 + 2 * 0.04) + 2 * 0.03 * 0.5 * -0.2, abs=1e-15)


def test_barrel_draws_towards_the_centre_and_p1_p2_push_along_their_axes():
    x, y = np.array([0.4, 0.0, -0.4]), np.array([0.3, 0.0, -0.3])
    barrel_x, barrel_y = lens.distort(x, y, (-0.2, 0, 0, 0, 0))
    assert np.allclose(barrel_x, 0.95 * x) and np.allclose(barrel_y, 0.95 * y)  # 1 − 0.2 · 0.25
    down = lens.distort(x, y, (0, 0, 0.01, 0, 0))[1] - y
    right = lens.distort(x, y, (0, 0, 0, 0.01, 0))[0] - x
    assert (down[[0, 2]] > 0).all() and (right[[0, 2]] > 0).all() and down[1] == right[1] == 0


@settings(max_examples=60, deadline=None)
@given(c=coefficients, x=st.floats(-0.6, 0.6), y=st.floats(-0.6, 0.6))
def test_the_jacobian_is_the_derivative(c, x, y):
    h = 1e-6
    right = np.subtract(lens.distort(x + h, y, c), lens.distort(x - h, y, c)) / (2 * h)
    down = np.subtract(lens.distort(x, y + h, c), lens.distort(x, y - h, c)) / (2 * h)
    a, b, d = lens.jacobian(np.array(x), np.array(y), c)
    assert np.allclose([right[0], right[1], down[0], down[1]], [a, b, b, d], atol=1e-8)


@settings(max_examples=80, deadline=None)
@given(c=coefficients, width=st.integers(8, 1600), height=st.integers(8, 1200), hfov=st.floats(0.2, 1.6))
def test_every_pixel_of_an_accepted_camera_comes_back(c, width, height, hfov):
    """What `check` accepts has a ray for every pixel; distorted again, it falls within 1e-6 pixels of the pixel."""
    try:
        spec = CameraSpec("c", Pose.identity(), width, height, hfov, 0.1, 100, 10, distortion=c)
    except WorldError as error:
        assert "folds over before the" in str(error)
        return
    k = spec.intrinsics
    rng = np.random.default_rng(0)
    u, v = rng.uniform(0, width, 200), rng.uniform(0, height, 200)
    x, y, good = lens.undistort((u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1], c)
    assert good.all()
    back_x, back_y = lens.distort(x, y, c)
    assert np.abs(k[0, 0] * back_x + k[0, 2] - u).max() < 1e-6
    assert np.abs(k[1, 1] * back_y + k[1, 2] - v).max() < 1e-6


def test_undistort_against_a_general_solver():
    from scipy.optimize import root

    c = (-0.28, 0.09, 1e-3, -6e-4, -0.012)
    targets = np.stack(np.meshgrid(np.linspace(-0.68, 0.68, 9), np.linspace(-0.38, 0.38, 7)), -1).reshape(-1, 2)
    x, y, good = lens.undistort(targets[:, 0], targets[:, 1], c)
    assert good.all()
    for target, found in zip(targets, np.stack([x, y], -1), strict=True):
        solution = root(lambda p, t=target: np.subtract(lens.distort(p[0], p[1], c), t), target, tol=1e-14)
        assert np.allclose(solution.x, found, atol=1e-11)


def test_where_barrel_distortion_folds_is_where_the_derivative_vanishes():
    """r (1 − 0.3 r²) rises up to r = 1/√0.9 = 1.0541, where it is 0.7027: a half diagonal below that has rays."""
    top = 2 / 3 / np.sqrt(0.9)
    for half_diagonal, accepted in ((0.99 * top, True), (1.01 * top, False)):
        hfov = 2 * np.arctan(half_diagonal / np.sqrt(2))  # a square picture
        camera = ("c", Pose.identity(), 500, 500, hfov, 0.1, 9.0, 10.0)
        if accepted:
            CameraSpec(*camera, distortion=(-0.3, 0, 0, 0, 0))
        else:
            with pytest.raises(
                WorldError, match=r"camera c: <distortion> k1 -0\.3.*folds over before the \w+ \w+ corner"
            ):
                CameraSpec(*camera, distortion=(-0.3, 0, 0, 0, 0))


def test_a_far_branch_is_not_taken_for_the_picture():
    """r (1 − r² + 0.3 r⁴) folds at r = 0.65 and rises again from 1.26 on: the corners' rays lie there."""
    with pytest.raises(WorldError, match="folds over"):
        CameraSpec("c", Pose.identity(), 640, 480, 1.1, 0.1, 9, 10, distortion=(-1.0, 0.3, 0, 0, 0.0))


def test_the_corner_that_folds_is_named():
    with pytest.raises(WorldError, match="before the bottom right corner"):
        CameraSpec(
            "c",
            Pose.identity(),
            640,
            480,
            1.2,
            0.1,
            9,
            10,
            principal_point=(60.0, 40.0),
            distortion=(-0.35, 0, 0, 0, 0),
        )


def test_the_solver_marks_what_has_no_ray():
    x, y, good = lens.undistort(np.array([0.1, 0.9]), np.zeros(2), (-0.3, 0, 0, 0, 0))
    assert good.tolist() == [True, False] and x[0] == pytest.approx(0.1003, abs=1e-4) and y[0] == 0
