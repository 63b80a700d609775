"""How pixels look: texture, sun, shadow, ambient light and sky, as sRGB.

A picture is shaded row by row: runs of pixels that see one triangle, then the row's light and encoding. What is done to
the pixels themselves is `shading_code`'s.
"""

# Kernels have machine types that annotations cannot say.
# mypy: disable-error-code="arg-type, assignment, call-arg, call-overload, operator, type-var, misc"

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.frames import Array
from aerialworld_sim.compiled import aligned, kernel
from aerialworld_sim.lanes import LANES
from aerialworld_sim.shading_code import (
    AMBIENT,
    ARRAYS,
    AXES,
    HORIZON,
    LATTICE,
    LEFT,
    NUMBERS,
    PIXEL,
    PLANE,
    PLANES,
    SUN_LIGHT,
    TEXELS,
    TILES,
    TO_SUN,
    UP,
    WHOLE,
    ZENITH,
    encode_row,
    sky_run,
    surface_run,
)
from aerialworld_sim.sun_map import LEVELS
from aerialworld_sim.textures import ENCODE

#: Pixels of a run at most: what a run fixes (mip level, level of the sun map) follows the picture.
RUN = 64
#: Room for numbers of tiles that the sun map lacks.
MISSING = 32768


class Look:
    """What shading must know of a picture: `where` (len(ARRAYS),) int64 has the addresses of what it reads, but of the
    sun map's tiles, which come and go. The arrays are kept alive.

    numbers  (NUMBERS,) float32; lattice (LEVELS, LATTICE) float32 and whole (LEVELS, WHOLE) int32: the sun map's
             levels, as `shading_code` places them
    """

    def __init__(
        self, surfaces: Any, numbers: NDArray[np.float32], lattice: NDArray[np.float32], whole: NDArray[np.int32]
    ) -> None:
        t = surfaces.textures
        read: dict[str, NDArray[Any]] = {
            "records": surfaces.records, "material": surfaces.material, "colour": surfaces.colour,
            "first_level": t.first_level, "levels": t.levels, "texels": t.texels, "level_offset": t.level_offset,
            "level_width": t.level_width, "level_height": t.level_height, "encode": ENCODE, "numbers": numbers,
            "lattice": lattice, "whole": whole,
        }  # fmt: skip
        self._held = [np.ascontiguousarray(read[name]) for name in ARRAYS if name not in TILES]
        self.where = np.zeros(len(ARRAYS), np.int64)
        self.where[: len(self._held)] = [a.ctypes.data for a in self._held]


def picture_look(origin: Array, axes: Array, focal: float, surfaces: Any, sun_map: Any) -> Look:
    """The look of a picture taken at `origin` (3,); axes (3, 3): forward, left, up in map."""
    numbers = np.zeros(NUMBERS, np.float32)
    numbers[AXES : AXES + 9] = axes.ravel()
    for start, value in (
        (TO_SUN, surfaces.to_sun), (SUN_LIGHT, surfaces.sun), (AMBIENT, surfaces.ambient),
        (HORIZON, surfaces.horizon), (ZENITH, surfaces.zenith),
    ):  # fmt: skip
        numbers[start : start + 3] = value
    numbers[PIXEL] = 1.0 / focal
    numbers[PLANE : PLANE + 9] = sun_map.axes.ravel()
    numbers[TEXELS : TEXELS + LEVELS] = sun_map.texel
    texel = sun_map.texel[:, None]
    # The camera in texels; what lies beyond whole texels stays below 1, so that float32 holds it to the micrometre.
    here = (sun_map.axes[:2] @ origin) / texel - 0.5
    cell = np.floor(here)
    turned = axes @ sun_map.axes.T  # (3: forward, left, up; 3: across, along, towards)
    lattice = np.zeros((LEVELS, LATTICE), np.float32)
    for k in range(2):
        lattice[:, 4 * k] = (here - cell)[:, k]
        lattice[:, 4 * k + 1 : 4 * k + 4] = turned[:, k] / texel
    lattice[:, 8] = sun_map.axes[2] @ origin
    lattice[:, 9:] = turned[:, 2]
    whole = np.zeros((LEVELS, WHOLE), np.int32)
    whole[:, :2] = cell - sun_map.corner
    whole[:, 2:4] = sun_map.size
    whole[:, 4] = sun_map.first
    return Look(surfaces, numbers, lattice, whole)


class Shader:
    """One task's way to `shade_rows`: a picture's look, the sun map's tiles as they are now, and scratch."""

    def __init__(self, look: Look, heights: NDArray[np.float32], place: NDArray[np.int32], width: int) -> None:
        self.missing = np.empty(MISSING, np.int32)
        self.pitch = (width + 2 * LANES) & -LANES
        self.row, self.spare = aligned(PLANES * self.pitch), np.empty(3 * LANES, np.uint8)
        self._held = (look, heights, place)
        self.where = look.where.copy()
        self.where[-len(TILES) :] = [a.ctypes.data for a in (heights, place, self.missing)]

    def shade(
        self, wanted: Any, face: Any, depth: Any, u: Any, v: Any, camera: Any, rays: Any, hidden: Any, shadows: bool,
        row0: int, rgb: Any,
    ) -> NDArray[np.int32]:  # fmt: skip
        """See `shade_rows`; returns the numbers of the sun map's tiles that are missing: fill them and come again."""
        absent = shade_rows(
            wanted, face, depth, u, v, camera, *rays, self.where, self.row, self.pitch, self.spare, hidden, shadows,
            row0, rgb,
        )  # fmt: skip
        missing = np.unique(self.missing[:absent])
        return missing[missing >= 0]


@kernel
def shade_rows(
    wanted: Any, face: Any, depth: Any, u: Any, v: Any, camera: Any, lefts: Any, ups: Any, where: Any, row: Any,
    pitch: int, spare: Any, hidden: Any, shadows: bool, row0: int, rgb: Any,
) -> int:  # fmt: skip
    """Colours of the pixels in `face` … `v` (see `raster.see_rows`), whose first row is row0 of `rgb` (H, W, 3) uint8.

    wanted          (R,) uint8: only rows that are not 0, and afterwards only those that lack a tile of the sun map
    camera          (cx, cy, 1/focal, 1/focal_y) of a pinhole; `lefts`, `ups` (H, W) directions of any other, else empty
    where           addresses of ARRAYS; row, pitch, spare  scratch (see `Shader`)
    hidden          (R, W) uint8, not 0 where something that moves hides the sun, LANES bytes longer; or empty
    Returns how many entries of `missing` are taken.
    """
    height, width = face.shape
    absent = 0
    table, planes = where.ctypes.data, row.ctypes.data
    to_u, to_v, to_depth, to_hidden, to_rgb = (
        u.ctypes.data, v.ctypes.data, depth.ctypes.data, hidden.ctypes.data, rgb.ctypes.data
    )  # fmt: skip
    whole = width & ~(LANES - 1)
    for y in range(height):
        if wanted[y] == 0:
            continue
        before = absent
        if len(lefts):
            for x in range(width):
                row[LEFT * pitch + x] = lefts[row0 + y, x]
                row[UP * pitch + x] = ups[row0 + y, x]
        else:
            for x in range(width):
                row[LEFT * pitch + x] = (camera[0] - x) * camera[2]
                row[UP * pitch + x] = (camera[1] - (row0 + y)) * camera[3]
        x = 0
        while x < width:
            seen = face[y, x]
            n = 1
            while n < RUN and x + n < width and face[y, x + n] == seen:
                n += 1
            if seen < 0:
                sky_run(table, planes + 4 * x, pitch, n)
            else:
                at = y * width + x
                absent = surface_run(
                    table, planes + 4 * x, pitch, n, seen, to_depth + 4 * at, to_u + 4 * at, to_v + 4 * at,
                    to_hidden + at if len(hidden) else 0, shadows, absent, before, MISSING,
                )  # fmt: skip
            x += n
        wanted[y] = absent > before or absent == MISSING
        to = to_rgb + 3 * (row0 + y) * width
        encode_row(table, planes, pitch, whole, to)
        if whole < width:  # a width that is no multiple of eight
            encode_row(table, planes + 4 * whole, pitch, LANES, spare.ctypes.data)
            for k in range(3 * (width - whole)):
                rgb[row0 + y, whole + k // 3, k % 3] = spare[k]
    return absent
