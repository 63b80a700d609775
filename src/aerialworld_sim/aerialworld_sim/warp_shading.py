"""The colours of surfaces and of the sky in warp: the model of `surfaces` and `textures`, pixel by pixel."""

# Warp compiles these bodies; its types are not Python's.
# mypy: disable-error-code="arg-type, assignment, attr-defined, call-overload, index, misc, no-any-return, operator"
# mypy: disable-error-code="return-value, type-var"

import warp as wp

from aerialworld_sim.surfaces import DENSITY, DUV1, DUV2, NORMAL, ROUGHNESS, SUN, UV
from aerialworld_sim.textures import CODE_BITS, ENCODE_STEPS, TEXEL_SCALE
from aerialworld_sim.warp_rays import Geometry, Hit, occluded, single

_UV, _DUV1, _DUV2, _SUN = wp.constant(UV), wp.constant(DUV1), wp.constant(DUV2), wp.constant(SUN)
_DENSITY, _NORMAL = wp.constant(DENSITY), wp.constant(NORMAL)
_BITS, _MASK, _SCALE = wp.constant(CODE_BITS), wp.constant((1 << CODE_BITS) - 1), wp.constant(float(TEXEL_SCALE))
_STEPS, _ROUGHNESS = wp.constant(ENCODE_STEPS), wp.constant(float(ROUGHNESS))


@wp.struct
class Look:
    """What `surfaces.Surfaces` and `textures.TextureBlock` hold, on the device.

    records (F, 16); material (F,) of each face; labels (F,) class + 256 · instance; encode
    (ENCODE_STEPS + 1,) is the sRGB table.
    """

    records: wp.array2d[wp.float32]
    material: wp.array[wp.int32]
    labels: wp.array[wp.int32]
    colour: wp.array[wp.vec3]
    first_level: wp.array[wp.int32]
    levels: wp.array[wp.int32]
    level_offset: wp.array[wp.int32]
    level_width: wp.array[wp.int32]
    level_height: wp.array[wp.int32]
    texels: wp.array[wp.uint32]
    encode: wp.array[wp.uint8]
    sun: wp.vec3
    ambient: wp.vec3
    horizon: wp.vec3
    zenith: wp.vec3
    to_sun: wp.vec3
    shadows: wp.bool


@wp.func
def texel(look: Look, at: wp.int32) -> wp.vec3:
    """One texel in linear light."""
    packed = look.texels[at]
    r = wp.float32(packed & wp.uint32(_MASK))
    g = wp.float32((packed >> wp.uint32(_BITS)) & wp.uint32(_MASK))
    b = wp.float32((packed >> wp.uint32(2 * _BITS)) & wp.uint32(_MASK))
    return wp.vec3(r * r, g * g, b * b) * wp.float32(_SCALE)


@wp.func
def sample(look: Look, level: wp.int32, u: wp.float32, v: wp.float32) -> wp.vec3:
    """Bilinear, repeating, in linear light; v = 1 is the first row."""
    w, h, offset = look.level_width[level], look.level_height[level], look.level_offset[level]
    fu = (u - wp.floor(u)) * wp.float32(w) - 0.5
    fv = (1.0 - (v - wp.floor(v))) * wp.float32(h) - 0.5
    left, top = wp.floor(fu), wp.floor(fv)
    ax, ay = fu - left, fv - top
    x0, y0 = wp.int32(left), wp.int32(top)  # −1 … w: rounding can reach the border
    x1, y1 = x0 + 1, y0 + 1
    x0 = wp.where(x0 < 0, w - 1, wp.min(x0, w - 1))
    y0 = wp.where(y0 < 0, h - 1, wp.min(y0, h - 1))
    x1 = wp.where(x1 < w, x1, 0)
    y1 = wp.where(y1 < h, y1, 0)
    row0, row1 = offset + y0 * (w + 1), offset + y1 * (w + 1)
    return (
        ((1.0 - ax) * (1.0 - ay)) * texel(look, row0 + x0)
        + (ax * (1.0 - ay)) * texel(look, row0 + x1)
        + ((1.0 - ax) * ay) * texel(look, row1 + x0)
        + (ax * ay) * texel(look, row1 + x1)
    )


@wp.func
def mip_level(look: Look, material: wp.int32, footprint: wp.float32) -> wp.int32:
    """Each level halves an edge: one level up where a pixel covers 2 texels, another with every factor of 4."""
    level = look.first_level[material]
    last = level + look.levels[material] - 1
    edge = wp.float32(2.0)
    while footprint >= edge and level < last:
        level += 1
        edge *= 4.0
    return level


@wp.func
def disney(nl: wp.float32, nv: wp.float32, ld: wp.float32) -> wp.float32:
    """The diffuse lobe's factors beside n·l; `ld` is sun direction times ray direction (against the view)."""
    k = _ROUGHNESS * (1.5 - ld) - 1.0  # 2(v·h)² = 1 + v·l
    a, b = 1.0 - nl, 1.0 - nv
    a2, b2 = a * a, b * b
    return (1.0 + k * a2 * a2 * a) * (1.0 + k * b2 * b2 * b)


@wp.func
def encoded(look: Look, linear: wp.float32) -> wp.uint8:
    """sRGB; the index is held in the table, so that a ray that is no number reads nothing else."""
    return look.encode[wp.clamp(wp.int32(wp.min(linear, 1.0) * wp.float32(_STEPS) + 0.5), 0, _STEPS)]


@wp.func
def sky(look: Look, ray: wp.vec3d, reciprocal: wp.float32) -> wp.vec3:
    """Linear light of a ray that meets nothing, by the sine of its elevation."""
    sine = wp.clamp(wp.float32(ray[2]) * reciprocal, 0.0, 1.0)
    return look.horizon + sine * (look.zenith - look.horizon)


@wp.func
def lit(
    g: Geometry, look: Look, hit: Hit, o: wp.vec3d, ray: wp.vec3d, reciprocal: wp.float32, pixel: wp.float32
) -> wp.vec3:
    """Linear light of a surface. `reciprocal` is 1 / |ray|, `pixel` the area of a pixel at distance 1."""
    row, t = hit.row, hit.t
    d = single(ray)
    normal = wp.vec3(look.records[row, _NORMAL], look.records[row, _NORMAL + 1], look.records[row, _NORMAL + 2])
    facing = -wp.dot(normal, d) * reciprocal
    material = look.material[row]
    albedo = look.colour[material]
    if look.levels[material] > 0:
        u = look.records[row, _UV] + hit.u * look.records[row, _DUV1] + hit.v * look.records[row, _DUV2]
        v = look.records[row, _UV + 1] + hit.u * look.records[row, _DUV1 + 1] + hit.v * look.records[row, _DUV2 + 1]
        slope = wp.max(facing, 0.01)
        # Texels under a pixel, between the footprint's area (1/slope) and its longer side squared (1/slope²): neither
        # blurred nor glittering at grazing angles.
        footprint = look.records[row, _DENSITY] * t * t * pixel / (slope * wp.sqrt(slope))
        albedo = wp.cw_mul(albedo, sample(look, mip_level(look, material, footprint), u, v))
    cosine = look.records[row, _SUN] + hit.u * look.records[row, _SUN + 1] + hit.v * look.records[row, _SUN + 2]
    light = look.ambient
    if cosine > 0.0:
        shaded = wp.bool(False)
        if look.shadows:
            away = 0.005 + 1e-5 * t
            shaded = occluded(g, single(o + wp.float64(t) * ray) + away * normal, look.to_sun)
        if not shaded:
            lobe = disney(cosine, facing, wp.dot(look.to_sun, d) * reciprocal)
            light = light + (cosine * lobe) * look.sun
    return wp.cw_mul(albedo, light)
