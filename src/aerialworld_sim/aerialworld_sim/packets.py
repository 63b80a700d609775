"""What every kernel shares about Embree's ray packets: entry points, the culling filter, memory layout.

A packet of N rays is one block of 21·N 4-byte fields, field by field: origin xyz, tnear, direction xyz, time, tfar,
mask, id, flags; then the hit's normal xyz, u, v, triangle, geometry, two instance ids. Lanes that are not −1 in `valid`
are skipped.
"""

# numba infers machine types here that annotations cannot say.
# mypy: disable-error-code="arg-type, assignment, call-arg, call-overload, operator, type-var"

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from aerialworld_sim.compiled import callback, kernel

FIELDS = 21
DIR_X, DIR_Y, DIR_Z, TFAR, MASK = 4, 5, 6, 8, 9
NG_X, NG_Y, NG_Z, HIT_U, HIT_V, PRIM, GEOM, INST = 12, 13, 14, 15, 16, 17, 18, 19
NO_HIT = np.uint32(0xFFFFFFFF)

_PACKET_CALL = types.void(types.uintp, types.uintp, types.uintp, types.uintp)
intersect4 = types.ExternalFunction("rtcIntersect4", _PACKET_CALL)
intersect8 = types.ExternalFunction("rtcIntersect8", _PACKET_CALL)
intersect16 = types.ExternalFunction("rtcIntersect16", _PACKET_CALL)
occluded4 = types.ExternalFunction("rtcOccluded4", _PACKET_CALL)
occluded8 = types.ExternalFunction("rtcOccluded8", _PACKET_CALL)
occluded16 = types.ExternalFunction("rtcOccluded16", _PACKET_CALL)


@intrinsic  # type: ignore[misc, unused-ignore]
def _as_pointer(typing_context: Any, address: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(address), generate


@callback(types.void(types.CPointer(types.uint64)))
def cull_back_faces(arguments: Any) -> None:
    """RTCFilterFunctionN: reject candidate hits on the back of a triangle (normal along the ray)."""
    record = carray(arguments, (6,))  # valid, user pointer, context, ray, hit, N
    lanes = np.int64(record[5] & np.uint64(0xFFFFFFFF))
    valid = carray(_as_pointer(record[0]), (lanes,), np.int32)
    ray = carray(_as_pointer(record[3]), (12 * lanes,), np.float32)
    hit = carray(_as_pointer(record[4]), (3 * lanes,), np.float32)
    for i in range(lanes):
        along = (
            ray[DIR_X * lanes + i] * hit[i]
            + ray[DIR_Y * lanes + i] * hit[lanes + i]
            + ray[DIR_Z * lanes + i] * hit[2 * lanes + i]
        )
        if along > 0.0:
            valid[i] = 0


@kernel
def aligned(count: int) -> Any:
    """float32 scratch of `count` fields on a 64-byte boundary."""
    raw = np.zeros(count + 16, np.float32)
    skip = (64 - np.int64(raw.ctypes.data) % 64) % 64 // 4
    return raw[skip : skip + count]


@kernel
def lane_flags() -> Any:
    """int32 flags of up to 16 lanes, all off, on a 64-byte boundary: Embree loads them with aligned instructions."""
    return aligned(16).view(np.int32)


@kernel
def block_offsets(lanes: int) -> Any:
    """Columns and rows (N,) float32 of a packet's pixels within its block: 4×4, 4×2 or 2×2 pixels."""
    columns, rows = np.empty(lanes, np.float32), np.empty(lanes, np.float32)
    width = 2 if lanes == 4 else 4
    for i in range(lanes):
        columns[i], rows[i] = i % width, i // width
    return columns, rows, width, lanes // width


@kernel
def intersect(lanes: int, valid: int, scene: int, packet: int, arguments: int) -> None:
    """Nearest hits of a packet; all but `lanes` are addresses."""
    v, s, p, a = np.uintp(valid), np.uintp(scene), np.uintp(packet), np.uintp(arguments)
    if lanes == 16:
        intersect16(v, s, p, a)
    elif lanes == 8:
        intersect8(v, s, p, a)
    else:
        intersect4(v, s, p, a)


@kernel
def occluded(lanes: int, valid: int, scene: int, packet: int, arguments: int) -> None:
    """Whether anything lies on each ray: tfar becomes −inf where it does."""
    v, s, p, a = np.uintp(valid), np.uintp(scene), np.uintp(packet), np.uintp(arguments)
    if lanes == 16:
        occluded16(v, s, p, a)
    elif lanes == 8:
        occluded8(v, s, p, a)
    else:
        occluded4(v, s, p, a)


@kernel
def new_packet(lanes: int, ox: float, oy: float, oz: float, near: float) -> Any:
    """A packet (FIELDS, lanes) float32, aligned, with the fields filled that all rays of one sensor share."""
    packet = aligned(FIELDS * lanes).reshape((FIELDS, lanes))
    bits = packet.view(np.uint32)
    packet[0, :] = ox
    packet[1, :] = oy
    packet[2, :] = oz
    packet[3, :] = near
    bits[MASK, :] = NO_HIT
    bits[INST, :] = NO_HIT
    bits[INST + 1, :] = NO_HIT
    return packet


@kernel
def nearest_front(
    scene: int, plain: int, culling: int, lanes: int, address: Any, far: float, packet: Any, bits: Any, retry: Any
) -> None:
    """Nearest front faces of a packet: tfar is the distance, and the geometry field tells hit from miss.

    `address` are those of the valid flags, the packet and `retry`, taken once per task: views and addresses made here
    would count references at every packet. A filter in every traversal would cost a call per candidate; the nearest hit
    of all is a back face only rarely in closed buildings, so only those rays are traced again with the filter. The
    result is the same.
    """
    for i in range(lanes):
        packet[TFAR, i] = far
    for i in range(lanes):
        bits[GEOM, i] = NO_HIT
    intersect(lanes, address[0], scene, address[1], plain)
    backs = 0
    for i in range(lanes):
        along = (
            packet[DIR_X, i] * packet[NG_X, i] + packet[DIR_Y, i] * packet[NG_Y, i] + packet[DIR_Z, i] * packet[NG_Z, i]
        )
        backs += np.int32((bits[GEOM, i] != NO_HIT) & (along > np.float32(0.0)))  # a skipped lane keeps NO_HIT
    if backs == 0:
        return
    for i in range(lanes):
        along = (
            packet[DIR_X, i] * packet[NG_X, i] + packet[DIR_Y, i] * packet[NG_Y, i] + packet[DIR_Z, i] * packet[NG_Z, i]
        )
        if bits[GEOM, i] != NO_HIT and along > np.float32(0.0):
            retry[i] = -1
            packet[TFAR, i] = far
            bits[GEOM, i] = NO_HIT
        else:
            retry[i] = 0
    intersect(lanes, address[2], scene, address[1], culling)
