"""Depth and class of one pinhole camera, by ray packets in square blocks of pixels."""

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
    aligned,
    block_offsets,
    lane_flags,
    nearest_front,
    new_packet,
)


@kernel
def render_depth(
    scene: int,
    plain: int,
    culling: int,
    lanes: int,
    origin: Any,
    axes: Any,
    focal: float,
    near: float,
    far: float,
    face_class: Any,
    face_instance: Any,
    row0: int,
    row1: int,
    depth: Any,
    semantic: Any,
    instance: Any,
) -> None:
    """Rows row0 … row1 of `depth` (H, W) float32, `semantic` (H, W) uint8 and, unless it is empty, `instance` (H, W)
    uint16 (0 where depth is not finite).

    `axes` (3, 3) float32: rows are the link's x (forward), y (left), z (up) in map. With direction x = 1 in the link
    the ray parameter is the planar depth. −inf where it is below `near`, +inf where the distance exceeds `far`.
    """
    height, width = depth.shape
    packet = new_packet(lanes, origin[0], origin[1], origin[2], np.float32(0.0))
    bits = packet.view(np.uint32)
    want_instance = instance.size > 0
    dx, dy, dz = packet[DIR_X], packet[DIR_Y], packet[DIR_Z]
    tfar, geometry, prim = packet[TFAR], bits[GEOM], bits[PRIM]
    valid, retry, reach = lane_flags(), lane_flags(), aligned(16)
    address = (valid.ctypes.data, packet.ctypes.data, retry.ctypes.data)
    columns, rows, bw, bh = block_offsets(lanes)
    inverse, range_limit, near_limit = np.float32(1.0 / focal), np.float32(far), np.float32(near)
    cx, cy = np.float32(width * 0.5 - 0.5), np.float32(height * 0.5 - 0.5)
    for y0 in range(row0, row1, bh):
        for x0 in range(0, width, bw):
            bx, by = cx - np.float32(x0), cy - np.float32(y0)
            wx, wy = np.float32(width - x0), np.float32(row1 - y0)
            for i in range(lanes):
                left = (bx - columns[i]) * inverse
                up = (by - rows[i]) * inverse
                dx[i] = axes[0, 0] + left * axes[1, 0] + up * axes[2, 0]
                dy[i] = axes[0, 1] + left * axes[1, 1] + up * axes[2, 1]
                dz[i] = axes[0, 2] + left * axes[1, 2] + up * axes[2, 2]
                reach[i] = np.sqrt(np.float32(1.0) + left * left + up * up)
                valid[i] = -np.int32((columns[i] < wx) & (rows[i] < wy))
            nearest_front(scene, plain, culling, lanes, address, range_limit, packet, bits, retry)
            for i in range(lanes):
                if valid[i] == 0:
                    continue
                px, py = np.uint64(x0 + np.int64(columns[i])), np.uint64(y0 + np.int64(rows[i]))
                t = tfar[i]
                if want_instance:
                    instance[py, px] = 0
                if geometry[i] == NO_HIT or t * reach[i] > range_limit:
                    depth[py, px] = np.inf
                    semantic[py, px] = 0
                elif t < near_limit:
                    depth[py, px] = -np.inf
                    semantic[py, px] = 0
                else:
                    depth[py, px] = t
                    semantic[py, px] = face_class[prim[i]]
                    if want_instance:
                        instance[py, px] = face_instance[prim[i]]
