"""Weather before a camera: airlight of haze and fog over a finished picture, and the streaks of near raindrops.

It works on a picture and its true depth, behind any backend: 8-bit sRGB is taken back to linear light, changed, and
encoded again. What a picture rounds, half a grey level, air only lessens; what it clips (above 255) stays clipped.
"""

# Kernels have machine types that annotations cannot say.
# mypy: disable-error-code="arg-type, assignment, call-arg, call-overload, operator, type-var, misc"

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core import lens
from aerialworld_core.air import LARGEST_DROP, LAYER, Air, drops_larger, fall_speed
from aerialworld_core.frames import Array
from aerialworld_core.rig import CameraSpec
from aerialworld_sim.compiled import kernel
from aerialworld_sim.jobs import PictureJob
from aerialworld_sim.textures import DECODE, ENCODE, ENCODE_STEPS

#: Seconds that the shutter is open while drops fall; what moves beside them stays sharp.
SHUTTER = 1.0 / 250.0
#: Streaks fainter than this share of a drop's light are left to the extinction, which counts all drops.
FAINTEST = 0.03
#: Metres of air before the lens without drops (they would be out of focus), and the farthest drop that is drawn.
NEAREST, FARTHEST = 0.3, 30.0
#: Lower edges of the classes of drops that are drawn, mm; smaller ones make no streak that is seen.
SIZES = np.arange(0.5, LARGEST_DROP, 0.25)
#: Streaks of one picture at most.
MOST = 200_000
#: Drops are drawn for a field so much larger than the picture on each side, so that streaks come in from outside.
_MARGIN = 0.1
_STEPS, _ONE, _HALF = np.float32(ENCODE_STEPS), np.float32(1.0), np.float32(0.5)
_NO_RAYS = np.zeros((0, 0), np.float32)


def change(job: PictureJob, air: Air, velocity: Array, stream: np.uint64) -> None:
    """What the air between does to a rendered picture `job`, whose depth is there, in place.

    velocity  (3,) m/s of the camera in map; stream: a key of run, camera and moment (`noise.key`)

    Every pixel's light falls as exp(−extinction · distance) and is filled up with airlight (Koschmieder 1924); the sky
    lies behind LAYER / sin(elevation) metres. Then come the rain's streaks.
    """
    spec, k = job.spec, job.spec.intrinsics
    assert job.rgb is not None and job.depth is not None
    lefts, ups = job.rays or (_NO_RAYS, _NO_RAYS)
    pinhole = np.array([k[0, 2] - 0.5, k[1, 2] - 0.5, 1.0 / k[0, 0], 1.0 / k[1, 1]])
    light = np.minimum(air.airlight, 1.0).astype(np.float32)
    rise = np.ascontiguousarray(job.pose.rotation[2])
    rows = np.empty((3, spec.width), np.float32)
    _veil(job.rgb, job.depth, lefts, ups, pinhole, rise, air.extinction, LAYER, light, DECODE, ENCODE, rows)
    if air.rain_mm_h > 0:
        streaks = rain_streaks(spec, job.pose.rotation, air.rain_mm_h, velocity, stream)
        _draw(job.rgb, job.depth, streaks, np.minimum(air.drop_light, 1.0).astype(np.float32), DECODE, ENCODE)


def rain_streaks(
    spec: CameraSpec, rotation: Array, rain_mm_h: float, velocity: Array, stream: np.uint64
) -> NDArray[np.float32]:
    """(N, 7) float32 of the raindrops that a camera sees while its shutter is open: u, v of both ends (pixels, centres
    at whole numbers), width in pixels, share of a pixel's light that is the drop's, distance along the optical axis.

    Sizes are Marshall and Palmer's, speeds those of Atlas et al. (`aerialworld_core.air`), less the camera's own. A
    drop of diameter D and speed v covers a point of its streak for D / v of the shutter's time T, so that the picture
    mixes in D / vT of its light (K. Garg and S. Nayar, "Vision and rain", Int. J. Computer Vision 75, 2007, equations
    13 to 18); one that is narrower than a pixel, by its width less.
    """
    random = np.random.Generator(np.random.Philox(key=int(stream)))
    diameter = SIZES + 0.125
    down = np.zeros((len(SIZES), 3))
    down[:, 2] = -fall_speed(diameter)
    motion = (down - velocity) @ rotation  # in the camera: forward, left, up
    speed = np.linalg.norm(motion, axis=1)
    share = np.minimum(1e-3 * diameter / (speed * SHUTTER), 1.0)
    k = spec.intrinsics
    reach = np.minimum(1e-3 * diameter * k[0, 0] * share / FAINTEST, FARTHEST)
    edges = np.append(drops_larger(rain_mm_h, SIZES), 0.0)
    wide = (1 + 2 * _MARGIN) * spec.width / k[0, 0]
    high = (1 + 2 * _MARGIN) * spec.height / k[1, 1]
    volume = wide * high * np.maximum(reach**3 - NEAREST**3, 0.0) / 3.0
    expected = -np.diff(edges) * volume
    expected *= min(1.0, MOST / max(float(expected.sum()), 1.0))
    count = random.poisson(expected)
    kind = np.repeat(np.arange(len(SIZES)), count)
    draws = random.random((len(kind), 3))
    x = np.cbrt(NEAREST**3 + draws[:, 0] * (np.maximum(reach[kind], NEAREST) ** 3 - NEAREST**3))
    u = (-_MARGIN + (1 + 2 * _MARGIN) * draws[:, 1]) * spec.width
    v = (-_MARGIN + (1 + 2 * _MARGIN) * draws[:, 2]) * spec.height
    place = np.stack([x, -(u - k[0, 2]) / k[0, 0] * x, -(v - k[1, 2]) / k[1, 1] * x], axis=1)
    way = 0.5 * SHUTTER * motion[kind]
    first, last = place - way, place + way
    good = (first[:, 0] > NEAREST / 2) & (last[:, 0] > NEAREST / 2)
    first, last, x, kind = first[good], last[good], x[good], kind[good]
    across = 1e-3 * diameter[kind] * k[0, 0] / x
    streaks = np.empty((len(x), 7), np.float32)
    streaks[:, 0:2], streaks[:, 2:4] = _projected(spec, first), _projected(spec, last)
    streaks[:, 4], streaks[:, 5], streaks[:, 6] = np.maximum(across, 1.0), share[kind] * np.minimum(across, 1.0), x
    return streaks


def _projected(spec: CameraSpec, points: Array) -> Array:
    """(N, 2) pixels of points (N, 3) in the camera."""
    k = spec.intrinsics
    x, y = -points[:, 1] / points[:, 0], -points[:, 2] / points[:, 0]
    if spec.distortion is not None:
        x, y = lens.distort(x, y, spec.distortion)
    return np.stack([k[0, 0] * x + k[0, 2] - 0.5, k[1, 1] * y + k[1, 2] - 0.5], axis=1)


@kernel
def _veil(
    rgb: Any, depth: Any, lefts: Any, ups: Any, pinhole: Any, rise: Any, extinction: float, layer: float, light: Any,
    decode: Any, encode: Any, rows: Any,
) -> None:  # fmt: skip
    """Airlight over a picture (H, W, 3) with depth (H, W); `rise` (3,) is the map's up in the camera; `rows` (3, W)
    float32 is scratch."""
    height, width = depth.shape
    density, overhead = np.float32(-extinction), np.float32(layer)
    r0, r1, r2 = np.float32(rise[0]), np.float32(rise[1]), np.float32(rise[2])
    a0, a1, a2 = light[0], light[1], light[2]
    start, step = np.float32(pinhole[0] * pinhole[2]), np.float32(pinhole[2])
    left, up, clear = rows[0], rows[1], rows[2]
    for x in range(width):
        left[x] = start - np.float32(x) * step
    for y in range(height):  # loops over a row that the compiler can widen, one for each step
        if len(lefts):
            left[:], up[:] = lefts[y], ups[y]
        else:
            up[:] = np.float32((pinhole[1] - y) * pinhole[3])
        for x in range(width):
            length = np.sqrt(_ONE + left[x] * left[x] + up[x] * up[x])
            sine = (r0 + left[x] * r1 + up[x] * r2) / length
            sky = overhead / max(sine, np.float32(1e-4))
            clear[x] = depth[y, x] * length if depth[y, x] < np.float32(np.inf) else sky
        for x in range(width):
            clear[x] = np.exp(density * clear[x])
        for x in range(width):
            t = clear[x]
            rest = _ONE - t
            # Both lights are at most 1, and so is their mean.
            rgb[y, x, 0] = encode[np.uint32((t * decode[rgb[y, x, 0]] + rest * a0) * _STEPS + _HALF)]
            rgb[y, x, 1] = encode[np.uint32((t * decode[rgb[y, x, 1]] + rest * a1) * _STEPS + _HALF)]
            rgb[y, x, 2] = encode[np.uint32((t * decode[rgb[y, x, 2]] + rest * a2) * _STEPS + _HALF)]


@kernel
def _draw(rgb: Any, depth: Any, streaks: Any, light: Any, decode: Any, encode: Any) -> None:
    """Mix streaks (see `rain_streaks`) into a picture where nothing stands before them, one after the other."""
    height, width = depth.shape
    for s in range(len(streaks)):
        u0, v0, u1, v1 = streaks[s, 0], streaks[s, 1], streaks[s, 2], streaks[s, 3]
        wide, strength, away = streaks[s, 4], streaks[s, 5], streaks[s, 6]
        steep = abs(v1 - v0) >= abs(u1 - u0)
        along0, along1 = (v0, v1) if steep else (u0, u1)
        across0, across1 = (u0, u1) if steep else (v0, v1)
        if along1 < along0:
            along0, along1, across0, across1 = along1, along0, across1, across0
        long, broad = (height, width) if steep else (width, height)
        slope = (across1 - across0) / max(along1 - along0, np.float32(1e-6))
        begin, end = along0 - _HALF, along1 + _HALF  # as a box that is a pixel longer
        first = max(np.int64(np.floor(begin + _HALF)), 0)
        last = min(np.int64(np.floor(end + _HALF)), long - 1)
        for i in range(first, last + 1):
            part = min(end, np.float32(i) + _HALF) - max(begin, np.float32(i) - _HALF)
            middle = across0 + (min(max(np.float32(i), along0), along1) - along0) * slope
            low, high = middle - _HALF * wide, middle + _HALF * wide
            for j in range(
                max(np.int64(np.floor(low + _HALF)), 0), min(np.int64(np.floor(high + _HALF)), broad - 1) + 1
            ):
                cover = min(high, np.float32(j) + _HALF) - max(low, np.float32(j) - _HALF)
                y, x = (i, j) if steep else (j, i)
                if cover <= np.float32(0.0) or part <= np.float32(0.0) or depth[y, x] <= away:
                    continue
                share = strength * min(cover, _ONE) * min(part, _ONE)
                for c in range(3):
                    mixed = decode[rgb[y, x, c]] * (_ONE - share) + light[c] * share
                    rgb[y, x, c] = encode[np.uint32(min(mixed, _ONE) * _STEPS + _HALF)]
