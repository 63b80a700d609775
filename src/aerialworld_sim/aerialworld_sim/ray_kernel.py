"""Arbitrary rays from one point: the LiDAR, and the self-test."""

# numba infers machine types here that annotations cannot say.
# mypy: disable-error-code="arg-type, assignment, call-arg, call-overload, operator, type-var"

from __future__ import annotations

from typing import Any

import numpy as np

from aerialworld_sim.compiled import kernel
from aerialworld_sim.packets import (
    DIR_X,
    DIR_Y,
    DIR_Z,
    GEOM,
    NO_HIT,
    PRIM,
    TFAR,
    lane_flags,
    nearest_front,
    new_packet,
)


@kernel
def cast_rays(
    scene: int,
    plain: int,
    culling: int,
    lanes: int,
    origin: Any,
    rotation: Any,
    directions: Any,
    far: float,
    first: int,
    last: int,
    distance: Any,
    triangle: Any,
) -> None:
    """Rays first … last of `directions` (N, 3) float32 in the sensor, `rotation` (3, 3) float32 sensor → map.

    Writes `distance` (N,) float32 in units of the direction's length, +inf without a front face before `far`, and
    `triangle` (N,) int32, −1 without one.
    """
    packet = new_packet(lanes, origin[0], origin[1], origin[2], np.float32(0.0))
    bits = packet.view(np.uint32)
    dx, dy, dz = packet[DIR_X], packet[DIR_Y], packet[DIR_Z]
    tfar, geometry, prim = packet[TFAR], bits[GEOM], bits[PRIM]
    valid, retry = lane_flags(), lane_flags()
    address = (valid.ctypes.data, packet.ctypes.data, retry.ctypes.data)
    for start in range(first, last, lanes):
        for i in range(lanes):
            ray = min(start + i, last - 1)
            x, y, z = directions[ray, 0], directions[ray, 1], directions[ray, 2]
            dx[i] = rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2] * z
            dy[i] = rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2] * z
            dz[i] = rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2] * z
            valid[i] = -1 if start + i < last else 0
        nearest_front(scene, plain, culling, lanes, address, np.float32(far), packet, bits, retry)
        for i in range(lanes):
            if valid[i] == 0:
                continue
            if geometry[i] == NO_HIT:
                distance[start + i] = np.inf
                triangle[start + i] = -1
            else:
                distance[start + i] = tfar[i]
                triangle[start + i] = np.int32(prim[i])
