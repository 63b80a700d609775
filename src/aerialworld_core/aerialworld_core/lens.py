"""Lens distortion: where a pinhole's ray falls in the picture of a real lens, and back.

The model is Brown's with the coefficients of OpenCV and of sensor_msgs/CameraInfo's `plumb_bob`: k1, k2, p1, p2, k3.
With x right and y down, both divided by depth, and r² = x² + y², the ray (x, y, 1) falls on

    x_d = x (1 + k1 r² + k2 r⁴ + k3 r⁶) + 2 p1 x y + p2 (r² + 2 x²)
    y_d = y (1 + k1 r² + k2 r⁴ + k3 r⁶) + p1 (r² + 2 y²) + 2 p2 x y

and the pixel is (fx x_d + cx, fy y_d + cy). Gazebo's distortion pass (gz-rendering, ogre only) computes the same
polynomials. The model is a gradient: its Jacobian is symmetric, and where that is positive definite on a convex region
no two rays there fall on one pixel. That is what `check` asks of the region that a picture shows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import WorldError
from aerialworld_core.frames import Array

#: k1, k2, p1, p2, k3.
Coefficients = tuple[float, float, float, float, float]

_NEWTON_STEPS = 12
#: Steps from the centre to the outline, and points on each edge of it, of `check`.
_PATH, _EDGE = 24, 33


def distort(x: Array, y: Array, coefficients: Coefficients) -> tuple[Array, Array]:
    """Undistorted normalised image coordinates (x right, y down) to distorted ones; any shape, float64."""
    k1, k2, p1, p2, k3 = coefficients
    r2 = x * x + y * y
    radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))
    return (
        x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x),
        y * radial + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y,
    )


def jacobian(x: Array, y: Array, coefficients: Coefficients) -> tuple[Array, Array, Array]:
    """∂x_d/∂x, ∂x_d/∂y = ∂y_d/∂x, ∂y_d/∂y of `distort`."""
    k1, k2, p1, p2, k3 = coefficients
    r2 = x * x + y * y
    radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))
    slope = 2.0 * (k1 + r2 * (2.0 * k2 + r2 * 3.0 * k3))
    return (
        radial + slope * x * x + 2.0 * p1 * y + 6.0 * p2 * x,
        slope * x * y + 2.0 * p1 * x + 2.0 * p2 * y,
        radial + slope * y * y + 6.0 * p1 * y + 2.0 * p2 * x,
    )


def undistort(
    x_d: Array, y_d: Array, coefficients: Coefficients, x: Array | None = None, y: Array | None = None
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Distorted to undistorted normalised coordinates (N,) by Newton's method.

    Starts at (`x`, `y`), or else walks there from the centre. The third array is True where the solution is one: exact
    to 1e-11 and with a positive definite Jacobian. Where it is False the coordinates mean nothing.
    """
    x_d, y_d = np.asarray(x_d, np.float64), np.asarray(y_d, np.float64)
    with np.errstate(all="ignore"):  # what overflows is not solved, and marked so
        if x is None or y is None:
            x, y = np.zeros_like(x_d), np.zeros_like(y_d)
            for part in np.arange(1, _PATH) / _PATH:
                x, y = _newton(part * x_d, part * y_d, coefficients, x, y)
        x, y = _newton(x_d, y_d, coefficients, np.asarray(x, np.float64), np.asarray(y, np.float64))
        back_x, back_y = distort(x, y, coefficients)
        a, b, d = jacobian(x, y, coefficients)
        error = np.maximum(np.abs(back_x - x_d), np.abs(back_y - y_d))
        good = (error <= 1e-11 * (1.0 + np.abs(x_d) + np.abs(y_d))) & (a > 0) & (a * d - b * b > 0)
    return x, y, good


def _newton(x_d: Array, y_d: Array, coefficients: Coefficients, x: Array, y: Array) -> tuple[Array, Array]:
    for _ in range(_NEWTON_STEPS):
        at_x, at_y = distort(x, y, coefficients)
        a, b, d = jacobian(x, y, coefficients)
        determinant = a * d - b * b
        off_x, off_y = at_x - x_d, at_y - y_d
        step_x, step_y = (d * off_x - b * off_y) / determinant, (a * off_y - b * off_x) / determinant
        x, y = x - step_x, y - step_y
        if not (np.abs(step_x).max(initial=0.0) > 1e-14 or np.abs(step_y).max(initial=0.0) > 1e-14):
            break
    return x, y


def check(label: str, width: int, height: int, k: Array, coefficients: Coefficients) -> None:
    """Raise WorldError, which starts with `label` and names the corner, unless every point of a picture has one ray.

    Every ray from the centre to the outline is followed: the outline's points must have a solution, and the Jacobian
    must be positive definite all the way to it. `k` is the 3×3 of the camera.
    """
    edge = np.linspace(0.0, 1.0, _EDGE)
    zero, one = np.zeros(_EDGE), np.ones(_EDGE)
    u, v = np.concatenate([[edge, zero], [edge, one], [zero, edge], [one, edge]], axis=1) * [[width], [height]]
    x, y, good = undistort((u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1], coefficients)
    along = np.linspace(0.0, 1.0, 4 * _PATH)[:, None]
    with np.errstate(all="ignore"):
        a, b, d = jacobian(along * x, along * y, coefficients)
        good &= ((a > 0) & (a * d - b * b > 0)).all(axis=0)
    if not good.all():
        first = int(np.flatnonzero(~good)[np.argmax(np.hypot(u - k[0, 2], v - k[1, 2])[~good])])
        corner = f"{'top' if v[first] < height / 2 else 'bottom'} {'left' if u[first] < width / 2 else 'right'}"
        raise WorldError(
            f"{label}: <distortion> k1 {coefficients[0]:g}, k2 {coefficients[1]:g}, p1 {coefficients[2]:g}, "
            f"p2 {coefficients[3]:g}, k3 {coefficients[4]:g} folds over before the {corner} corner of the picture; "
            "use a smaller field of view, or coefficients that were fitted over the whole picture"
        )
