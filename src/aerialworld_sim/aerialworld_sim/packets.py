"""Ray packets through Embree: scans, and the pixels of cameras that are no pinholes.

A packet of N rays is one block of 21·N 4-byte fields, field by field: origin xyz, tnear, direction xyz, time, tfar,
mask, id, flags; then the hit's normal xyz, u, v, triangle, geometry, two instance ids. Lanes that are not −1 in `valid`
are skipped.
"""

# Kernels have machine types that annotations cannot say.
# mypy: disable-error-code="arg-type, assignment, call-arg, call-overload, operator, return-value, type-var"

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.kernels import callback, external, memory, types
from aerialworld_sim.compiled import aligned, kernel
from aerialworld_sim.raster import FAR, FORWARD, LEFTWARD, NEAR, UPWARD
from aerialworld_sim.surfaces import NORMAL

FIELDS = 21
TNEAR, DIR_X, DIR_Y, DIR_Z, TFAR, MASK = 3, 4, 5, 6, 8, 9
NG_X, NG_Y, NG_Z, HIT_U, HIT_V, PRIM, GEOM, INST = 12, 13, 14, 15, 16, 17, 18, 19
NO_HIT = np.uint32(0xFFFFFFFF)

_PACKET_CALL = types.void(types.uintp, types.uintp, types.uintp, types.uintp)
intersect4 = external("rtcIntersect4", _PACKET_CALL)
intersect8 = external("rtcIntersect8", _PACKET_CALL)
intersect16 = external("rtcIntersect16", _PACKET_CALL)


@callback
def cull_back_faces(arguments: Any) -> None:
    """RTCFilterFunctionN: reject candidate hits on the back of a triangle (normal along the ray)."""
    record = memory(arguments, 6, np.int64)  # valid, user pointer, context, ray, hit, N
    lanes = record[5] & 0xFFFFFFFF
    valid = memory(record[0], lanes, np.int32)
    ray = memory(record[3], 12 * lanes, np.float32)
    hit = memory(record[4], 3 * lanes, np.float32)
    for i in range(lanes):
        along = (
            ray[DIR_X * lanes + i] * hit[i]
            + ray[DIR_Y * lanes + i] * hit[lanes + i]
            + ray[DIR_Z * lanes + i] * hit[2 * lanes + i]
        )
        if along > 0.0:
            valid[i] = 0


class PacketScratch:
    """One task's packet, the same memory as integers, and the flags of its lanes, aligned as Embree loads them."""

    def __init__(self, lanes: int, mask: int) -> None:
        block = aligned(FIELDS * lanes)
        self.packet = block.reshape(FIELDS, lanes)
        self.bits = block.view(np.uint32).reshape(FIELDS, lanes)
        self.valid, self.retry = aligned(16).view(np.int32), aligned(16).view(np.int32)
        self.bits[MASK], self.bits[INST + 1] = mask, NO_HIT

    @property
    def fields(self) -> tuple[NDArray[Any], ...]:
        return self.packet, self.bits, self.valid, self.retry


@kernel
def intersect(lanes: int, valid: int, scene: int, packet: int, arguments: int) -> None:
    """Nearest hits of a packet; all but `lanes` are addresses."""
    if lanes == 16:
        intersect16(valid, scene, packet, arguments)
    elif lanes == 8:
        intersect8(valid, scene, packet, arguments)
    else:
        intersect4(valid, scene, packet, arguments)


@kernel
def _behind(packet: Any, bits: Any, rows: Any, records: Any, i: int) -> bool:
    """Whether lane i hit a triangle from behind. Embree's normal is in the frame of an instance that moves."""
    if bits[GEOM, i] == NO_HIT:
        return False
    instance = bits[INST, i]
    if instance != NO_HIT and instance > 0:
        row = rows[instance] + np.int64(bits[PRIM, i])
        x, y, z = records[row, NORMAL], records[row, NORMAL + 1], records[row, NORMAL + 2]
    else:
        x, y, z = packet[NG_X, i], packet[NG_Y, i], packet[NG_Z, i]
    return packet[DIR_X, i] * x + packet[DIR_Y, i] * y + packet[DIR_Z, i] * z > np.float32(0.0)


@kernel
def nearest_front(
    scene: int, plain: int, culling: int, lanes: int, rows: Any, records: Any, far: float, packet: Any, bits: Any,
    valid: int, retry: Any,
) -> None:  # fmt: skip
    """Nearest front faces of a packet: tfar is the distance, and the geometry field tells hit from miss.

    `rows` are the first rows of the scene's instances in `records`; `valid` is the address of the lanes' flags. A
    filter in every traversal would cost a call per candidate; the nearest hit of all is a back face only rarely in
    closed buildings, so only those rays are traced again with the filter. The result is the same.
    """
    for i in range(lanes):
        packet[TFAR, i] = far
        bits[GEOM, i] = NO_HIT
        bits[INST, i] = NO_HIT
    where = packet.ctypes.data
    intersect(lanes, valid, scene, where, plain)
    backs = 0
    for i in range(lanes):
        behind = _behind(packet, bits, rows, records, i)  # a skipped lane keeps NO_HIT
        retry[i] = -1 if behind else 0
        if behind:
            backs += 1
            packet[TFAR, i] = far
            bits[GEOM, i] = NO_HIT
            bits[INST, i] = NO_HIT
    if backs:
        intersect(lanes, retry.ctypes.data, scene, where, culling)


@kernel
def hit_row(bits: Any, rows: Any, i: int) -> int:
    """The row of the surfaces that lane i hit."""
    instance = bits[INST, i]
    first = rows[instance] if instance != NO_HIT else 0
    return first + np.int64(bits[PRIM, i])


@kernel
def trace_rows(
    scene: int, plain: int, culling: int, lanes: int, rows: Any, records: Any, camera: Any, lefts: Any, ups: Any,
    packet: Any, bits: Any, valid: Any, retry: Any, row0: int, face: Any, depth: Any, u: Any, v: Any,
) -> None:  # fmt: skip
    """What `raster.see_rows` does, for pixels that look along (1, lefts[y, x], ups[y, x]): a distorted camera."""
    height, width = face.shape
    near, far = np.float32(camera[NEAR]), np.float32(camera[FAR])
    where = valid.ctypes.data
    for y in range(height):
        for start in range(0, width, lanes):
            for i in range(lanes):
                x = min(start + i, width - 1)
                left, up = np.float64(lefts[row0 + y, x]), np.float64(ups[row0 + y, x])
                for k in range(3):
                    packet[k, i] = camera[k]
                    packet[DIR_X + k, i] = camera[FORWARD + k] + left * camera[LEFTWARD + k] + up * camera[UPWARD + k]
                packet[TNEAR, i] = near
                valid[i] = -1 if start + i < width else 0
            nearest_front(scene, plain, culling, lanes, rows, records, far, packet, bits, where, retry)
            for i in range(min(lanes, width - start)):
                x = start + i
                if bits[GEOM, i] == NO_HIT:
                    face[y, x], depth[y, x] = -1, np.inf
                else:
                    face[y, x], depth[y, x] = hit_row(bits, rows, i), packet[TFAR, i]
                    u[y, x], v[y, x] = packet[HIT_U, i], packet[HIT_V, i]


@kernel
def cast_rays(
    scene: int, plain: int, culling: int, lanes: int, rows: Any, records: Any, origins: Any, rotations: Any,
    pose_of: Any, directions: Any, far: float, packet: Any, bits: Any, valid: Any, retry: Any, first: int, last: int,
    distance: Any, cosine: Any, face: Any,
) -> None:  # fmt: skip
    """Rays first … last − 1 of a ScanJob; `pose_of` may be empty: all start from the first pose."""
    where, limit = valid.ctypes.data, np.float32(far)
    for start in range(first, last, lanes):
        for i in range(lanes):
            ray = min(start + i, last - 1)
            pose = np.int64(pose_of[ray]) if len(pose_of) else 0
            for k in range(3):
                packet[k, i] = origins[pose, k]
                packet[DIR_X + k, i] = (
                    rotations[pose, k, 0] * directions[ray, 0]
                    + rotations[pose, k, 1] * directions[ray, 1]
                    + rotations[pose, k, 2] * directions[ray, 2]
                )
            packet[TNEAR, i] = np.float32(0.0)
            valid[i] = -1 if start + i < last else 0
        nearest_front(scene, plain, culling, lanes, rows, records, limit, packet, bits, where, retry)
        for i in range(min(lanes, last - start)):
            ray = start + i
            if bits[GEOM, i] == NO_HIT:
                distance[ray], cosine[ray], face[ray] = np.inf, 0.0, -1
                continue
            row = hit_row(bits, rows, i)
            distance[ray], face[ray] = packet[TFAR, i], row
            cosine[ray] = -(
                packet[DIR_X, i] * records[row, NORMAL]
                + packet[DIR_Y, i] * records[row, NORMAL + 1]
                + packet[DIR_Z, i] * records[row, NORMAL + 2]
            )
