"""How the city looks without photographs: plain, deterministic façades, roofs and grounds as small repeating textures.

A façade texture shows 4 bays × 4 storeys. Every picture is drawn from its own fixed seed: equal input, equal bytes.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

#: Bays and storeys that one façade texture shows, and their usual size in metres.
TILE_BAYS, TILE_STOREYS, BAY, STOREY = 4, 4, 3.0, 3.2
_CELL = 32


@dataclass(frozen=True)
class Look:
    """A surface's texture and how many metres one repeat covers (façades: one repeat covers whole bays and storeys)."""

    name: str
    texture: Image
    metres: float


@dataclass(frozen=True)
class _Facade:
    """Colours (sRGB) and the window's share of a cell: left, right, bottom, top."""

    name: str
    wall: tuple[int, int, int]
    glass: tuple[int, int, int]
    window: tuple[float, float, float, float]
    band: tuple[int, int, int] | None = None
    balcony: tuple[int, int, int] | None = None


_FACADES = (
    _Facade("plaster_house", (214, 203, 184), (74, 88, 102), (0.28, 0.72, 0.30, 0.74)),
    _Facade("siding_house", (176, 160, 142), (66, 78, 90), (0.22, 0.62, 0.30, 0.74), (150, 134, 118)),
    _Facade("brick_flats", (158, 110, 88), (70, 84, 98), (0.20, 0.80, 0.32, 0.78), (196, 180, 160)),
    _Facade("white_flats", (206, 205, 200), (78, 92, 106), (0.10, 0.90, 0.28, 0.82), None, (176, 178, 178)),
    _Facade("concrete_office", (168, 166, 160), (62, 82, 104), (0.08, 0.92, 0.28, 0.80), (146, 144, 140)),
    _Facade("ribbon_office", (190, 188, 180), (52, 72, 94), (0.00, 1.00, 0.34, 0.80), (160, 158, 150)),
    _Facade("glass_tower", (118, 136, 150), (82, 112, 138), (0.03, 0.97, 0.12, 0.94), (90, 104, 116)),
    _Facade("metal_works", (152, 158, 156), (96, 110, 116), (0.30, 0.70, 0.58, 0.82), (132, 138, 138)),
)
_HOUSES, _FLATS, _OFFICES, _WORKS = (0, 1, 0, 2), (2, 3, 3, 4), (4, 5, 5, 6), (7, 7, 4, 7)
_USAGE = {
    "401": _OFFICES, "402": _OFFICES, "403": _OFFICES, "404": _OFFICES, "421": _OFFICES, "422": _OFFICES,
    "411": _HOUSES, "412": _FLATS, "413": _HOUSES, "414": _FLATS, "415": _HOUSES,
    "431": _WORKS, "441": _WORKS, "451": _WORKS, "452": _WORKS,
}  # fmt: skip

ROOF_FLAT = ("roof_gravel", "roof_membrane")
ROOF_SLOPED = ("roof_slate", "roof_tile", "roof_metal")
#: Names of the façades' looks.
FACADES = tuple(facade.name for facade in _FACADES)
#: Quiet tones (sRGB) for what has no photograph on a building that has some: the nearest to its photographs is taken.
QUIET = {
    "quiet_white": (204, 202, 196),
    "quiet_beige": (176, 164, 146),
    "quiet_grey": (148, 148, 146),
    "quiet_brown": (124, 108, 94),
    "quiet_slate": (100, 106, 112),
    "quiet_dark": (66, 66, 66),
}


def facade_of(identifier: str, usage: str | None, height: float) -> str:
    """The façade's name for a building: by usage where it is known, by height else, varied by its id."""
    pick = zlib.crc32(identifier.encode())
    kinds = _USAGE.get(usage or "")
    if kinds is None or (kinds is _HOUSES and height > 14):
        kinds = _HOUSES if height < 10 else _FLATS if height < 25 else _OFFICES
    if kinds is _OFFICES and height > 45 and pick % 3:
        return "glass_tower"
    if kinds is _OFFICES and height < 20:
        return _FACADES[kinds[pick % 3]].name
    return _FACADES[kinds[pick % len(kinds)]].name


def roof_of(identifier: str, sloped: bool) -> str:
    names = ROOF_SLOPED if sloped else ROOF_FLAT
    return names[(zlib.crc32(identifier.encode()) >> 8) % len(names)]


@cache
def look(name: str) -> Look:
    """A look by name: a façade's, a roof's, a quiet tone's, that of another body's surface (`underside`, `concrete`,
    `deck`, `metal`, `leaves`, `bark`) or of a kind that lies on the ground (`terrain`, `road`, …)."""
    for number, facade in enumerate(_FACADES):
        if facade.name == name:
            return Look(name, _draw_facade(facade, number), TILE_BAYS * BAY)
    if name in QUIET:
        return Look(name, _noise(100 + list(QUIET).index(name), QUIET[name], 0.015), 8.0)
    return Look(name, *_GROUNDS[name]())


def _draw_facade(style: _Facade, seed: int) -> Image:
    """Row 0 is the top storey's top."""
    rng = np.random.default_rng(1000 + seed)
    size_x, size_y = TILE_BAYS * _CELL, TILE_STOREYS * _CELL
    image = np.empty((size_y, size_x, 3), np.uint8)
    image[:] = style.wall
    left, right, bottom, top = (round(share * _CELL) for share in style.window)
    for storey in range(TILE_STOREYS):
        up = size_y - storey * _CELL
        if style.band:
            image[up - 3 : up] = style.band
        for bay in range(TILE_BAYS):
            x0, x1 = bay * _CELL + left, bay * _CELL + right
            y0, y1 = up - top, up - bottom
            tone = rng.choice([0.72, 0.88, 1.0, 1.0, 1.15, 1.6])
            glass = np.clip(np.array(style.glass) * tone, 0, 235)
            image[y0:y1, x0:x1] = glass
            image[y0 : y0 + 2, x0:x1] = glass * 0.6
            image[y0:y1, (x0 + x1) // 2] = np.array(style.wall) * 0.8
            image[y1 : y1 + 1, x0:x1] = np.minimum(np.array(style.wall) * 1.12, 245)
        if style.balcony:
            rail = slice(up - bottom - 4, up - bottom + 4)
            image[rail] = style.balcony
            image[up - bottom + 4 : up - bottom + 5] = np.array(style.balcony) * 0.7
    return image


def _noise(seed: int, colour: tuple[int, int, int], amount: float, size: int = 64, coarse: int = 16) -> Image:
    """A colour with soft coarse patches and fine grain, in few steps so that the picture packs well; wraps around."""
    rng = np.random.default_rng(seed)
    patches = np.kron(rng.normal(size=(coarse, coarse)), np.ones((size // coarse, size // coarse)))
    for axis in (0, 1):
        patches = (patches + np.roll(patches, 1, axis) + np.roll(patches, 2, axis) + np.roll(patches, 3, axis)) / 4
    field = np.round((patches * 1.6 + rng.normal(size=(size, size)) * 0.6) * 2) / 2
    return np.clip(np.array(colour) * (1 + amount * field[..., None]), 0, 255).astype(np.uint8)


def _rows(seed: int, colour: tuple[int, int, int], step: int, axis: int) -> Image:
    """A roof of rows or seams, `step` pixels apart."""
    image = _noise(seed, colour, 0.03).astype(float)
    lines = np.arange(64) % step == 0
    if axis == 0:
        image[lines] *= 0.72
    else:
        image[:, lines] *= 0.78
    return image.astype(np.uint8)


_GROUNDS = {
    "roof_gravel": lambda: (_noise(1, (158, 156, 150), 0.04), 8.0),
    "roof_membrane": lambda: (_rows(2, (138, 144, 140), 32, 1), 6.0),
    "roof_slate": lambda: (_rows(3, (84, 90, 100), 8, 0), 4.0),
    "roof_tile": lambda: (_rows(4, (128, 84, 68), 8, 0), 4.0),
    "roof_metal": lambda: (_rows(5, (92, 112, 106), 16, 1), 4.0),
    "underside": lambda: (_noise(6, (120, 118, 114), 0.02), 8.0),
    "terrain": lambda: (_noise(7, (124, 126, 104), 0.06), 16.0),
    "road": lambda: (_noise(8, (78, 79, 82), 0.05), 8.0),
    "sidewalk": lambda: (_rows(9, (166, 162, 154), 16, 0), 4.0),
    "flat": lambda: (_noise(10, (148, 146, 138), 0.04), 8.0),
    "planting": lambda: (_noise(11, (84, 112, 62), 0.08), 6.0),
    "water": lambda: (_noise(12, (62, 88, 104), 0.04), 16.0),
    "concrete": lambda: (_noise(13, (152, 150, 144), 0.03), 8.0),
    "deck": lambda: (_noise(14, (112, 111, 108), 0.04), 8.0),
    "metal": lambda: (_noise(15, (118, 124, 128), 0.02), 4.0),
    "leaves": lambda: (_noise(16, (66, 98, 50), 0.12), 4.0),
    "bark": lambda: (_rows(17, (98, 80, 62), 8, 1), 2.0),
}


def png(image: Image) -> bytes:
    """An 8-bit RGB PNG (ISO 15948), rows unfiltered."""
    height, width, _ = image.shape
    return _png(image.astype(np.uint8).tobytes(), height, width)


@lru_cache(maxsize=64)  # the same few looks go into every model
def _png(pixels: bytes, height: int, width: int) -> bytes:
    image = np.frombuffer(pixels, np.uint8).reshape(height, width * 3)
    rows = np.concatenate([np.zeros((height, 1), np.uint8), image], axis=1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(rows.tobytes(), 9))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")
