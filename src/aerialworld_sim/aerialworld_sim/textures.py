"""Textures as one block of texels with mip levels, and the sRGB tables that shading reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import WorldError
from aerialworld_core.world.scene import Material

#: Steps of the linear → sRGB table: at the curve's steepest end one step is a fifth of a grey level.
ENCODE_STEPS = 16383


def srgb_from_linear(linear: NDArray[np.floating]) -> NDArray[np.float64]:
    """IEC 61966-2-1 encoding, 0–1 to 0–1 (clipped)."""
    c = np.clip(np.asarray(linear, dtype=np.float64), 0.0, 1.0)
    return np.where(c <= 0.0031308, 12.92 * c, 1.055 * c ** (1 / 2.4) - 0.055)


def linear_from_srgb(encoded: NDArray[np.floating]) -> NDArray[np.float64]:
    """IEC 61966-2-1 decoding, 0–1 to 0–1."""
    c = np.asarray(encoded, dtype=np.float64)
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


#: Texels hold the square roots of red, green and blue, each in so many bits: near enough to the eye's scale that eight
#: bits of sRGB come back exactly, and a multiplication is all it takes to read one.
CODE_BITS = 10
_CODES = (1 << CODE_BITS) - 1
#: A code's square times this is linear light.
TEXEL_SCALE = 1.0 / _CODES**2
#: Texels are numbered by int32.
MOST_TEXELS = 2**31 - 1
#: uint8 sRGB → linear.
DECODE = linear_from_srgb(np.arange(256) / 255.0).astype(np.float32)
#: linear·ENCODE_STEPS → uint8 sRGB.
ENCODE = np.round(255.0 * srgb_from_linear(np.arange(ENCODE_STEPS + 1) / ENCODE_STEPS)).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class TextureBlock:
    """All textures, every mip level, one after the other.

    texels       (N,) uint32, see `pack_texels`: two white ones, then level after level, row after row; behind its last
                 texel a row has its first once more, so that two neighbours always lie side by side
    level_offset (L,) int64, level_width and level_height (L,) int32 (rows are one longer than wide)
    first_level, levels  (M,) int32 per material; levels is 0 without a texture
    """

    texels: NDArray[np.uint32]
    level_offset: NDArray[np.int64]
    level_width: NDArray[np.int32]
    level_height: NDArray[np.int32]
    first_level: NDArray[np.int32]
    levels: NDArray[np.int32]


def _halved(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Half the size by averaging 2×2 in linear light; an odd last row or column is left out."""
    h, w = image.shape[:2]
    if h > 1:
        image = (image[0 : h // 2 * 2 : 2] + image[1 : h // 2 * 2 : 2]) * np.float32(0.5)
    if w > 1:
        image = (image[:, 0 : w // 2 * 2 : 2] + image[:, 1 : w // 2 * 2 : 2]) * np.float32(0.5)
    return image


def pack_texels(linear: NDArray[np.floating]) -> NDArray[np.uint32]:
    """(N, 3) linear light, 0 to 1, as (N,) texels: codes of red, green and blue from the lowest bits on."""
    codes = np.round(np.sqrt(linear) * _CODES).astype(np.uint32)
    packed: NDArray[np.uint32] = codes[..., 0] | codes[..., 1] << CODE_BITS | codes[..., 2] << 2 * CODE_BITS
    return packed


def unpack_texels(texels: NDArray[np.uint32]) -> NDArray[np.float32]:
    """(N,) texels as (N, 3) linear light."""
    shifts = np.array([0, CODE_BITS, 2 * CODE_BITS], np.uint32)
    codes = (np.asarray(texels)[..., None] >> shifts & np.uint32(_CODES)).astype(np.float32)
    return codes * codes * np.float32(TEXEL_SCALE)


def level_texels(block: TextureBlock, level: int) -> NDArray[np.uint32]:
    """(H, W) texels of one level."""
    width, height = int(block.level_width[level]), int(block.level_height[level])
    start = int(block.level_offset[level])
    return block.texels[start : start + height * (width + 1)].reshape(height, width + 1)[:, :width]


def pack_textures(materials: Sequence[Material]) -> TextureBlock:
    """Build the mip pyramids. Raises WorldError, naming the material, for a texture that is not (H, W, 3) uint8."""
    blocks: list[NDArray[np.uint32]] = [pack_texels(np.ones((2, 3)))]
    offsets: list[int] = []
    sizes: list[tuple[int, int]] = []
    first = np.zeros(len(materials), np.int32)
    levels = np.zeros(len(materials), np.int32)
    total = 2
    known: dict[int, tuple[int, int]] = {}  # the same image in several materials is stored once
    for m, material in enumerate(materials):
        texture = material.texture
        if texture is None:
            continue
        if texture.dtype != np.uint8 or texture.ndim != 3 or texture.shape[2] != 3 or min(texture.shape) < 1:
            raise WorldError(
                f"material {material.name}: a texture is (H, W, 3) uint8, not {texture.shape} {texture.dtype}"
            )
        if id(texture) in known:
            first[m], levels[m] = known[id(texture)]
            continue
        start, linear = len(sizes), DECODE[texture]
        while True:
            texels = pack_texels(linear)
            blocks.append(np.concatenate([texels, texels[:, :1]], axis=1).ravel())
            offsets.append(total)
            sizes.append((linear.shape[1], linear.shape[0]))
            total += len(blocks[-1])
            if max(linear.shape[:2]) == 1:
                break
            linear = _halved(linear)
        first[m], levels[m] = known[id(texture)] = start, len(sizes) - start
    if total > MOST_TEXELS:
        raise WorldError(
            f"the world's textures have {total} texels with their mip levels; at most {MOST_TEXELS} have numbers: "
            "convert the city with smaller textures"
        )
    return TextureBlock(
        np.concatenate(blocks),
        np.array(offsets or [0], np.int64),
        np.array([w for w, _ in sizes] or [1], np.int32),
        np.array([h for _, h in sizes] or [1], np.int32),
        first,
        levels,
    )
