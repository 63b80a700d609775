"""RGB, depth, class and instance of one pinhole camera in one pass, shading fused with tracing."""

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
    HIT_U,
    HIT_V,
    NO_HIT,
    PRIM,
    TFAR,
    aligned,
    block_offsets,
    lane_flags,
    nearest_front,
    new_packet,
    occluded,
)
from aerialworld_sim.surfaces import DENSITY, DUV1, DUV2, LABELS, MATERIAL, NORMAL, ROUGHNESS, SUN, UV
from aerialworld_sim.textures import ENCODE_STEPS

_STEPS, _ROUGHNESS = np.float32(ENCODE_STEPS), np.float32(ROUGHNESS)
_ONE, _HALF, _ZERO = np.float32(1.0), np.float32(0.5), np.float32(0.0)


@kernel
def _sample(texels: Any, offset: int, w: int, h: int, u: float, v: float, decode: Any) -> Any:
    """Bilinear, repeating, in linear light; v = 1 is the first row."""
    fu = (u - np.floor(u)) * np.float32(w) - _HALF
    fv = (_ONE - (v - np.floor(v))) * np.float32(h) - _HALF
    left, top = np.floor(fu), np.floor(fv)
    ax, ay = fu - left, fv - top
    x0, y0 = np.int64(left), np.int64(top)  # −1 … w (rounding can reach the border)
    x1, y1 = x0 + 1, y0 + 1
    x0 = w - 1 if x0 < 0 else min(x0, w - 1)
    y0 = h - 1 if y0 < 0 else min(y0, h - 1)
    x1 = x1 if x1 < w else 0
    y1 = y1 if y1 < h else 0
    a = texels[np.uint64(offset + y0 * w + x0)]
    b = texels[np.uint64(offset + y0 * w + x1)]
    c = texels[np.uint64(offset + y1 * w + x0)]
    d = texels[np.uint64(offset + y1 * w + x1)]
    wa, wb, wc, wd = (_ONE - ax) * (_ONE - ay), ax * (_ONE - ay), (_ONE - ax) * ay, ax * ay
    m, e, g = np.uint32(255), np.uint32(8), np.uint32(16)
    red = wa * decode[a & m] + wb * decode[b & m] + wc * decode[c & m] + wd * decode[d & m]
    green = (
        wa * decode[(a >> e) & m] + wb * decode[(b >> e) & m] + wc * decode[(c >> e) & m] + wd * decode[(d >> e) & m]
    )
    blue = wa * decode[a >> g] + wb * decode[b >> g] + wc * decode[c >> g] + wd * decode[d >> g]
    return red, green, blue


@kernel
def _disney(nl: Any, nv: Any, ld: Any) -> Any:
    """The diffuse lobe's factors beside n·l; `ld` is sun direction times ray direction (against the view)."""
    k = _ROUGHNESS * (np.float32(1.5) - ld) - _ONE  # 2(v·h)² = 1 + v·l
    a, b = _ONE - nl, _ONE - nv  # rounding below 0 does no harm in a fifth power
    a2, b2 = a * a, b * b
    return (_ONE + k * a2 * a2 * a) * (_ONE + k * b2 * b2 * b)


@kernel
def _encoded(value: float, encode: Any) -> Any:
    return encode[np.uint32((value if value < _ONE else _ONE) * _STEPS + _HALF)]  # no light is negative


@kernel
def render_colour(
    scene: int,
    plain: int,
    culling: int,
    lanes: int,
    origin: Any,
    axes: Any,
    focal: float,
    near: float,
    far: float,
    records: Any,
    colour: Any,
    first_level: Any,
    levels: Any,
    texels: Any,
    level_offset: Any,
    level_width: Any,
    level_height: Any,
    lights: Any,
    shadows: bool,
    decode: Any,
    encode: Any,
    row0: int,
    row1: int,
    rgb: Any,
    depth: Any,
    semantic: Any,
    instance: Any,
) -> None:
    """Rows row0 … row1 of `rgb` (H, W, 3) uint8 and, where they are not empty, `depth` (H, W) float32, `semantic`
    (H, W) uint8 and `instance` (H, W) uint16 (0 = background).

    `axes` rows: the link's x, y, z in map. `lights` (5, 3): sun, ambient, background (linear), direction to the sun,
    what the zenith adds to the background.
    Geometry nearer than `near` or beyond `far` along the optical axis is clipped, as a rasteriser does.
    """
    height, width = rgb.shape[:2]
    packet = new_packet(lanes, origin[0], origin[1], origin[2], np.float32(near))
    bits = packet.view(np.uint32)
    dx, dy, dz = packet[DIR_X], packet[DIR_Y], packet[DIR_Z]
    tfar, geometry, prim = packet[TFAR], bits[GEOM], bits[PRIM]
    hit_u, hit_v = packet[HIT_U], packet[HIT_V]
    shade = new_packet(lanes, _ZERO, _ZERO, _ZERO, _ZERO)
    shade[DIR_X, :] = lights[3, 0]
    shade[DIR_Y, :] = lights[3, 1]
    shade[DIR_Z, :] = lights[3, 2]
    sx, sy, sz, shade_far = shade[0], shade[1], shade[2], shade[TFAR]
    integers = records.view(np.int32)
    valid, retry, lit, cosine = lane_flags(), lane_flags(), lane_flags(), aligned(16)
    address = (valid.ctypes.data, packet.ctypes.data, retry.ctypes.data)
    lit_address, shade_address = lit.ctypes.data, shade.ctypes.data
    columns, rows, bw, bh = block_offsets(lanes)
    reciprocal = aligned(16)
    scratch = aligned(1)
    exponents = scratch.view(np.int32)
    inverse, far_limit = np.float32(1.0 / focal), np.float32(far)
    pixel = inverse * inverse
    ox, oy, oz = origin[0], origin[1], origin[2]
    cx, cy = np.float32(width * 0.5 - 0.5), np.float32(height * 0.5 - 0.5)
    horizon0, horizon1, horizon2 = lights[2, 0], lights[2, 1], lights[2, 2]
    rise0, rise1, rise2 = lights[4, 0], lights[4, 1], lights[4, 2]
    sun0, sun1, sun2 = lights[0, 0], lights[0, 1], lights[0, 2]
    sun_x, sun_y, sun_z = lights[3, 0], lights[3, 1], lights[3, 2]
    ambient0, ambient1, ambient2 = lights[1, 0], lights[1, 1], lights[1, 2]
    want_depth, want_class, want_instance = depth.size > 0, semantic.size > 0, instance.size > 0
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
                reciprocal[i] = _ONE / np.sqrt(_ONE + left * left + up * up)
                valid[i] = -np.int32((columns[i] < wx) & (rows[i] < wy))
            nearest_front(scene, plain, culling, lanes, address, far_limit, packet, bits, retry)
            any_lit = False
            for i in range(lanes):
                cosine[i] = _ZERO
                lit[i] = 0
                if valid[i] != 0 and geometry[i] != NO_HIT:
                    tri = prim[i]
                    c = records[tri, SUN] + hit_u[i] * records[tri, SUN + 1] + hit_v[i] * records[tri, SUN + 2]
                    if c > _ZERO:
                        cosine[i] = c
                        if shadows:
                            t = tfar[i]
                            away = np.float32(0.005) + np.float32(1e-5) * t
                            sx[i] = ox + t * dx[i] + away * records[tri, NORMAL]
                            sy[i] = oy + t * dy[i] + away * records[tri, NORMAL + 1]
                            sz[i] = oz + t * dz[i] + away * records[tri, NORMAL + 2]
                            shade_far[i] = np.float32(1e9)
                            lit[i] = -1
                            any_lit = True
            if any_lit:
                occluded(lanes, lit_address, scene, shade_address, plain)
                for i in range(lanes):
                    if lit[i] != 0 and shade_far[i] < _ZERO:
                        cosine[i] = _ZERO
            for i in range(lanes):
                if valid[i] == 0:
                    continue
                px, py = np.uint64(x0 + np.int64(columns[i])), np.uint64(y0 + np.int64(rows[i]))
                if geometry[i] == NO_HIT:
                    rise = dz[i] * reciprocal[i]
                    rise = rise if rise > _ZERO else _ZERO
                    rgb[py, px, 0] = _encoded(horizon0 + rise * rise0, encode)
                    rgb[py, px, 1] = _encoded(horizon1 + rise * rise1, encode)
                    rgb[py, px, 2] = _encoded(horizon2 + rise * rise2, encode)
                    if want_depth:
                        depth[py, px] = np.inf
                    if want_class:
                        semantic[py, px] = 0
                    if want_instance:
                        instance[py, px] = 0
                    continue
                tri, t = prim[i], tfar[i]
                material = np.uint64(integers[tri, MATERIAL])
                red, green, blue = colour[material, 0], colour[material, 1], colour[material, 2]
                count = levels[material]
                facing = -(
                    records[tri, NORMAL] * dx[i] + records[tri, NORMAL + 1] * dy[i] + records[tri, NORMAL + 2] * dz[i]
                )  # front faces only: positive
                if count > 0:
                    u = records[tri, UV] + hit_u[i] * records[tri, DUV1] + hit_v[i] * records[tri, DUV2]
                    v = records[tri, UV + 1] + hit_u[i] * records[tri, DUV1 + 1] + hit_v[i] * records[tri, DUV2 + 1]
                    slope = facing if facing > np.float32(0.01) else np.float32(0.01)
                    # Texels under a pixel, between the footprint's area (1/slope) and its longer side squared
                    # (1/slope²): neither blurred nor glittering at grazing angles.
                    footprint = records[tri, DENSITY] * t * t * pixel / (slope * np.sqrt(slope))
                    level = first_level[material]
                    last = level + count - 1
                    scratch[0] = footprint
                    exponent = (exponents[0] >> 23) - 127  # of two: the level halves an edge, so a quarter per level
                    if exponent > 0:
                        level = min(level + ((exponent + 1) >> 1), last)
                    k = np.uint64(level)
                    tr, tg, tb = _sample(texels, level_offset[k], level_width[k], level_height[k], u, v, decode)
                    red, green, blue = red * tr, green * tg, blue * tb
                c = cosine[i]
                if c > _ZERO:
                    towards_sun = sun_x * dx[i] + sun_y * dy[i] + sun_z * dz[i]
                    c *= _disney(c, facing * reciprocal[i], towards_sun * reciprocal[i])
                rgb[py, px, 0] = _encoded(red * (ambient0 + c * sun0), encode)
                rgb[py, px, 1] = _encoded(green * (ambient1 + c * sun1), encode)
                rgb[py, px, 2] = _encoded(blue * (ambient2 + c * sun2), encode)
                labels = integers[tri, LABELS]
                if want_depth:
                    depth[py, px] = t
                if want_class:
                    semantic[py, px] = np.uint8(labels & 255)
                if want_instance:
                    instance[py, px] = np.uint16(labels >> 8)
