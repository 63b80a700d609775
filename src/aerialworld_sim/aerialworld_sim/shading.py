"""How pixels look: texture, sun, shadow, ambient light and sky, as sRGB.

Pixels of a row that see one triangle are a run: what the triangle fixes is fetched once, and what is left vectorises.
"""

# numba infers machine types here that annotations cannot say.
# mypy: disable-error-code="arg-type, assignment, call-arg, call-overload, operator, type-var, misc"

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.frames import Array
from aerialworld_sim.compiled import aligned, kernel
from aerialworld_sim.movers import casts_shadow
from aerialworld_sim.sun_map import BIAS, CELLS, LEVELS
from aerialworld_sim.surfaces import DENSITY, DUV1, DUV2, NORMAL, ROUGHNESS, SUN, UV
from aerialworld_sim.textures import ENCODE_STEPS
from aerialworld_sim.vectors import TILE

#: A level of the sun map is left for the next when a pixel covers this share of its texels: an edge is soft by one to
#: two and a half pixels.
COARSENESS = 0.4
#: Pixels of a run at most.
RUN = 64
#: Rows of scratch, each of RUN pixels: directions left and up, the sun's share, then red, green, blue.
LEFT, UP, SHARE, RED, GREEN, BLUE = (row * RUN for row in range(6))
#: Places in a picture's numbers: the camera's axes, lights and sky (linear RGB), the pixel's size 1/focal, and the
#: camera's axes and place along the sun map's axes.
AXES, TO_SUN, SUN_LIGHT, AMBIENT, HORIZON, ZENITH, PIXEL, TURNED = 0, 9, 12, 15, 18, 21, 24, 25
NUMBERS = 37
_ONE, _HALF, _ZERO = np.float32(1.0), np.float32(0.5), np.float32(0.0)
_STEPS, _ROUGHNESS = np.float32(ENCODE_STEPS), np.float32(ROUGHNESS)


def new_run() -> NDArray[np.float32]:
    """Scratch of one task."""
    return aligned(6 * RUN)


def picture_numbers(origin: Array, axes: Array, focal: float, surfaces: Any, plane: Array) -> NDArray[np.float64]:
    """(NUMBERS,) float64. axes (3, 3): forward, left, up in map; plane (3, 3): the sun map's axes."""
    numbers = np.empty(NUMBERS)
    numbers[AXES : AXES + 9] = axes.ravel()
    for start, value in (
        (TO_SUN, surfaces.to_sun), (SUN_LIGHT, surfaces.sun), (AMBIENT, surfaces.ambient),
        (HORIZON, surfaces.horizon), (ZENITH, surfaces.zenith),
    ):  # fmt: skip
        numbers[start : start + 3] = value
    numbers[PIXEL] = 1.0 / focal
    numbers[TURNED : TURNED + 9] = (axes @ plane.T).ravel()
    numbers[TURNED + 9 : TURNED + 12] = plane @ origin
    return numbers


@kernel
def _texture(
    run: Any, n: int, u: Any, v: Any, y: int, x: int, records: Any, face: int, texels: Any, offset: int, w: int, h: int,
    decode: Any,
) -> None:  # fmt: skip
    """Bilinear, repeating, in linear light; v = 1 is the first row. Multiplies the run's colours."""
    u0, u1, u2 = records[face, UV], records[face, DUV1], records[face, DUV2]
    v0, v1, v2 = records[face, UV + 1], records[face, DUV1 + 1], records[face, DUV2 + 1]
    fw, fh = np.float32(w), np.float32(h)
    m, e, g = np.uint32(255), np.uint32(8), np.uint32(16)
    for i in range(n):
        a, b = u[y, x + i], v[y, x + i]
        s, t = u0 + a * u1 + b * u2, v0 + a * v1 + b * v2
        fu = (s - np.floor(s)) * fw - _HALF
        fv = (_ONE - (t - np.floor(t))) * fh - _HALF
        left, top = np.floor(fu), np.floor(fv)
        ax, ay = fu - left, fv - top
        x0, y0 = np.int64(left), np.int64(top)  # −1 … w (rounding can reach the border)
        x1, y1 = x0 + 1, y0 + 1
        x0 = w - 1 if x0 < 0 else min(x0, w - 1)
        y0 = h - 1 if y0 < 0 else min(y0, h - 1)
        x1 = x1 if x1 < w else 0
        y1 = y1 if y1 < h else 0
        r0, r1 = offset + y0 * w, offset + y1 * w
        ta, tb = texels[np.uint64(r0 + x0)], texels[np.uint64(r0 + x1)]
        tc, td = texels[np.uint64(r1 + x0)], texels[np.uint64(r1 + x1)]
        if ta == tb and ta == tc and ta == td:  # within a wall or a pane, which is most of a drawn facade
            run[RED + i] *= decode[ta & m]
            run[GREEN + i] *= decode[(ta >> e) & m]
            run[BLUE + i] *= decode[ta >> g]
            continue
        wb, wc, wd = ax * (_ONE - ay), (_ONE - ax) * ay, ax * ay
        wa = _ONE - wb - wc - wd
        run[RED + i] *= wa * decode[ta & m] + wb * decode[tb & m] + wc * decode[tc & m] + wd * decode[td & m]
        run[GREEN + i] *= (
            wa * decode[(ta >> e) & m]
            + wb * decode[(tb >> e) & m]
            + wc * decode[(tc >> e) & m]
            + wd * decode[(td >> e) & m]
        )
        run[BLUE + i] *= wa * decode[ta >> g] + wb * decode[tb >> g] + wc * decode[tc >> g] + wd * decode[td >> g]


@kernel
def _mip_level(density: float, depth: float, pixel: float, slope: float) -> int:
    """Which mip level has texels of a pixel's size; `slope` is the cosine between ray and normal.

    Texels under a pixel, between the footprint's area (1/slope) and its longer side squared (1/slope²): neither blurred
    nor glittering at grazing angles. A level halves an edge: a quarter of the texels.
    """
    slope = max(slope, 0.01)
    footprint = density * depth * depth * pixel * pixel / (slope * np.sqrt(slope))
    level = 0
    while footprint >= 2.0 and level < 30:
        footprint *= 0.25
        level += 1
    return level


@kernel
def _sunlight(run: Any, n: int, u: Any, v: Any, y: int, x: int, records: Any, face: int, numbers: Any) -> bool:
    """The sun's share (its cosine times the diffuse lobe of `surfaces`) before shadow; False where none is lit."""
    s0, s1, s2 = records[face, SUN], records[face, SUN + 1], records[face, SUN + 2]
    if max(s0, max(s0 + s1, s0 + s2)) <= _ZERO:
        for i in range(n):
            run[SHARE + i] = _ZERO
        return False
    nx, ny, nz = records[face, NORMAL], records[face, NORMAL + 1], records[face, NORMAL + 2]
    # Normal and sun in the camera: forward, left, up.
    nf = np.float32(nx * numbers[0] + ny * numbers[1] + nz * numbers[2])
    nl = np.float32(nx * numbers[3] + ny * numbers[4] + nz * numbers[5])
    nu = np.float32(nx * numbers[6] + ny * numbers[7] + nz * numbers[8])
    tx, ty, tz = numbers[TO_SUN], numbers[TO_SUN + 1], numbers[TO_SUN + 2]
    sf = np.float32(tx * numbers[0] + ty * numbers[1] + tz * numbers[2])
    sl = np.float32(tx * numbers[3] + ty * numbers[4] + tz * numbers[5])
    su = np.float32(tx * numbers[6] + ty * numbers[7] + tz * numbers[8])
    for i in range(n):
        left, up = run[LEFT + i], run[UP + i]
        c = max(s0 + u[y, x + i] * s1 + v[y, x + i] * s2, _ZERO)
        inverse = _ONE / np.sqrt(_ONE + left * left + up * up)
        facing = -(nf + left * nl + up * nu) * inverse  # front faces only: positive
        towards = (sf + left * sl + up * su) * inverse
        k = _ROUGHNESS * (np.float32(1.5) - towards) - _ONE  # 2(v·h)² = 1 + v·l, and v is against the ray
        a, b = _ONE - c, _ONE - facing
        a2, b2 = a * a, b * b
        run[SHARE + i] = c * (_ONE + k * a2 * a2 * a) * (_ONE + k * b2 * b2 * b)
    return True


@kernel
def _shadow(
    run: Any, n: int, depth: Any, y: int, x: int, records: Any, face: int, numbers: Any, plane: Any, heights: Any,
    place: Any, starts: Any, size: Any, corner: Any, texels: Any, missing: Any, absent: int, chosen: Any,
    above: Any, rectangles: Any, begin: Any, placed: Any,
) -> int:  # fmt: skip
    """Dim the sun's share where something stands between a pixel and the sun; see `SunMap` and `movers.Placed`.

    Tiles of the map that are not there yet are noted in `missing` (N,) after the first `absent`; returns how many are.
    """
    nx, ny, nz = (
        np.float64(records[face, NORMAL]),
        np.float64(records[face, NORMAL + 1]),
        np.float64(records[face, NORMAL + 2]),
    )
    # The receiving plane rises by −normal/steep per metre across the sun's direction; beyond 20 it is held.
    steep = max(plane[2, 0] * nx + plane[2, 1] * ny + plane[2, 2] * nz, 0.05)
    rise_a = -(plane[0, 0] * nx + plane[0, 1] * ny + plane[0, 2] * nz) / steep
    rise_b = -(plane[1, 0] * nx + plane[1, 1] * ny + plane[1, 2] * nz) / steep
    middle = np.float64(depth[y, x + (n >> 1)])
    size_across = middle * numbers[PIXEL] * np.sqrt(steep)  # of a pixel, seen from the sun: shorter along its direction
    level = 0
    while level < LEVELS - 1 and size_across > COARSENESS * texels[level]:
        level += 1
    edge, shift_a, shift_b = texels[level], np.float64(corner[level, 0]) + 0.5, np.float64(corner[level, 1]) + 0.5
    scale = 1.0 / edge
    # A pixel lies at c0 + t (c1 + left c2 + up c3) across the level's tiles (a), along them (b), towards the sun (h).
    a0, b0, h0 = numbers[TURNED + 9] * scale - shift_a, numbers[TURNED + 10] * scale - shift_b, numbers[TURNED + 11]
    a1, a2, a3 = numbers[TURNED] * scale, numbers[TURNED + 3] * scale, numbers[TURNED + 6] * scale
    b1, b2, b3 = numbers[TURNED + 1] * scale, numbers[TURNED + 4] * scale, numbers[TURNED + 7] * scale
    h1, h2, h3 = numbers[TURNED + 2], numbers[TURNED + 5], numbers[TURNED + 8]
    t, left, up = np.float64(depth[y, x]), np.float64(run[LEFT]), np.float64(run[UP])
    from_a, from_b = a0 + t * (a1 + left * a2 + up * a3), b0 + t * (b1 + left * b2 + up * b3)
    # The receiving plane's height over the level's first texel, and its change per texel.
    step_a, step_b = edge * rise_a, edge * rise_b
    ground = h0 + t * (h1 + left * h2 + up * h3) + BIAS - from_a * step_a - from_b * step_b
    near = 0  # movers above the run, whose points lie on a line between its ends
    if len(chosen) > 0:
        t, left, up = np.float64(depth[y, x + n - 1]), np.float64(run[LEFT + n - 1]), np.float64(run[UP + n - 1])
        end_a, end_b = a0 + t * (a1 + left * a2 + up * a3), b0 + t * (b1 + left * b2 + up * b3)
        low_a, high_a = (min(from_a, end_a) + shift_a - 1.0) * edge, (max(from_a, end_a) + shift_a + 1.0) * edge
        low_b, high_b = (min(from_b, end_b) + shift_b - 1.0) * edge, (max(from_b, end_b) + shift_b + 1.0) * edge
        for i in range(len(chosen)):
            m = chosen[i]
            if low_a <= rectangles[m, 1] and rectangles[m, 0] <= high_a:
                if low_b <= rectangles[m, 3] and rectangles[m, 2] <= high_b:
                    above[near] = m
                    near += 1
    held, held_x, held_y = np.int64(-1), np.int64(0), np.int64(0)
    for i in range(n):
        if not run[SHARE + i] > _ZERO:
            continue
        t, left, up = np.float64(depth[y, x + i]), np.float64(run[LEFT + i]), np.float64(run[UP + i])
        a, b = a0 + t * (a1 + left * a2 + up * a3), b0 + t * (b1 + left * b2 + up * b3)
        if near > 0:
            h = h0 + t * (h1 + left * h2 + up * h3)
            pa, pb = (a + shift_a) * edge, (b + shift_b) * edge
            if casts_shadow(above, near, rectangles, begin, placed, plane, pa, pb, h):
                run[SHARE + i] = _ZERO
                continue
        fa, fb = np.floor(a), np.floor(b)
        column, line = np.int64(fa) - held_x, np.int64(fb) - held_y
        if held < 0 or column < 0 or line < 0 or column >= CELLS or line >= CELLS:
            column, line, held = np.int64(fa), np.int64(fb), np.int64(-1)
            tx, ty = column // CELLS, line // CELLS
            if column < 0 or line < 0 or tx >= size[level, 0] or ty >= size[level, 1]:
                continue  # beyond the scene's bounds: movers alone stand there
            tile = starts[level] + ty * size[level, 0] + tx
            held = np.int64(place[tile])
            if held < 0:
                if absent < len(missing) and (absent == 0 or missing[absent - 1] != tile):
                    missing[absent] = tile
                    absent += 1
                continue
            held_x, held_y = tx * CELLS, ty * CELLS
            column, line = column - held_x, line - held_y
        at = line * TILE + column
        low = ground + fa * step_a + fb * step_b
        lit0, lit1 = heights[held, at] <= low, heights[held, at + 1] <= low + step_a
        lit2, lit3 = heights[held, at + TILE] <= low + step_b, heights[held, at + TILE + 1] <= low + step_a + step_b
        if lit0 & lit1 & lit2 & lit3:
            continue
        share = 0.0
        if lit0 | lit1 | lit2 | lit3:
            wa, wb = a - fa, b - fb
            share += (1.0 - wa) * (1.0 - wb) if lit0 else 0.0
            share += wa * (1.0 - wb) if lit1 else 0.0
            share += (1.0 - wa) * wb if lit2 else 0.0
            share += wa * wb if lit3 else 0.0
        run[SHARE + i] *= np.float32(share)
    return absent


@kernel
def _sky(run: Any, n: int, numbers: Any) -> None:
    """From the horizon's colour to the zenith's by the sine of elevation, in linear light."""
    f, s, t = np.float32(numbers[2]), np.float32(numbers[5]), np.float32(numbers[8])
    h0, h1, h2 = np.float32(numbers[HORIZON]), np.float32(numbers[HORIZON + 1]), np.float32(numbers[HORIZON + 2])
    z0, z1, z2 = np.float32(numbers[ZENITH]), np.float32(numbers[ZENITH + 1]), np.float32(numbers[ZENITH + 2])
    for i in range(n):
        left, up = run[LEFT + i], run[UP + i]
        sine = max((f + left * s + up * t) / np.sqrt(_ONE + left * left + up * up), _ZERO)
        run[RED + i] = h0 + sine * (z0 - h0)
        run[GREEN + i] = h1 + sine * (z1 - h1)
        run[BLUE + i] = h2 + sine * (z2 - h2)


@kernel
def shade_rows(
    face: Any, depth: Any, u: Any, v: Any, camera: Any, lefts: Any, ups: Any, numbers: Any, run: Any, records: Any,
    material: Any, colour: Any, first_level: Any, levels: Any, texels: Any, level_offset: Any, level_width: Any,
    level_height: Any, decode: Any, encode: Any, shadows: bool, plane: Any, heights: Any, place: Any, starts: Any,
    size: Any, corner: Any, map_texels: Any, missing: Any, chosen: Any, above: Any, rectangles: Any, begin: Any,
    placed: Any, row0: int, rgb: Any,
) -> int:  # fmt: skip
    """Colours of the pixels in `face` … `v` (see `raster.see_rows`), whose first row is row0 of `rgb` (H, W, 3) uint8.

    camera          (cx, cy, 1/focal, 1/focal_y) of a pinhole; `lefts`, `ups` (H, W) directions of any other, else empty
    numbers, run    see `picture_numbers` and `new_run`; records, material: the scene's surfaces
    colour … level_height  materials and their textures; decode, encode  the sRGB tables
    plane … map_texels     a SunMap; chosen … placed  the movers whose shadows may fall here, `above` being scratch
    Returns how many of the sun map's tiles were `missing`: fill them and come again.
    """
    absent = 0
    height, width = face.shape
    s0, s1, s2 = np.float32(numbers[SUN_LIGHT]), np.float32(numbers[SUN_LIGHT + 1]), np.float32(numbers[SUN_LIGHT + 2])
    a0, a1, a2 = np.float32(numbers[AMBIENT]), np.float32(numbers[AMBIENT + 1]), np.float32(numbers[AMBIENT + 2])
    sunny = s0 + s1 + s2 > _ZERO
    for y in range(height):
        row = row0 + y
        rise = np.float32((camera[1] - row) * camera[3])
        x = 0
        while x < width:
            seen = face[y, x]
            n = 1
            while n < RUN and x + n < width and face[y, x + n] == seen:
                n += 1
            if len(lefts):
                for i in range(n):
                    run[LEFT + i], run[UP + i] = lefts[row, x + i], ups[row, x + i]
            else:
                start, step = np.float32((camera[0] - x) * camera[2]), np.float32(camera[2])
                for i in range(n):
                    run[LEFT + i], run[UP + i] = start - np.float32(i) * step, rise
            if seen < 0:
                _sky(run, n, numbers)
                for i in range(n):
                    run[SHARE + i] = _ZERO
            else:
                kind = material[seen]
                for i in range(n):
                    run[RED + i], run[GREEN + i], run[BLUE + i] = colour[kind, 0], colour[kind, 1], colour[kind, 2]
                if levels[kind] > 0:
                    middle = n >> 1
                    left, up = run[LEFT + middle], run[UP + middle]
                    along = 0.0
                    for k in range(3):
                        along -= records[seen, NORMAL + k] * (numbers[k] + left * numbers[3 + k] + up * numbers[6 + k])
                    slope = along / np.sqrt(1.0 + left * left + up * up)
                    wanted = _mip_level(records[seen, DENSITY], depth[y, x + middle], numbers[PIXEL], slope)
                    level = first_level[kind] + min(wanted, levels[kind] - 1)
                    _texture(
                        run, n, u, v, y, x, records, seen, texels, level_offset[level], level_width[level],
                        level_height[level], decode,
                    )  # fmt: skip
                if not sunny:
                    for i in range(n):
                        run[SHARE + i] = _ZERO
                elif _sunlight(run, n, u, v, y, x, records, seen, numbers) and shadows:
                    absent = _shadow(
                        run, n, depth, y, x, records, seen, numbers, plane, heights, place, starts, size, corner,
                        map_texels, missing, absent, chosen, above, rectangles, begin, placed,
                    )  # fmt: skip
                for i in range(n):
                    c = run[SHARE + i]
                    run[RED + i] *= a0 + c * s0
                    run[GREEN + i] *= a1 + c * s1
                    run[BLUE + i] *= a2 + c * s2
            for i in range(n):  # no light is negative
                rgb[row, x + i, 0] = encode[np.uint32(min(run[RED + i], _ONE) * _STEPS + _HALF)]
                rgb[row, x + i, 1] = encode[np.uint32(min(run[GREEN + i], _ONE) * _STEPS + _HALF)]
                rgb[row, x + i, 2] = encode[np.uint32(min(run[BLUE + i], _ONE) * _STEPS + _HALF)]
            x += n
    return absent
