"""How pixels look: texture, sun, shadow, ambient light and sky, as sRGB.

A picture is shaded row by row: what runs of pixels that see one triangle have in common, then eight neighbouring pixels
after the other, then the row's light and encoding. What is done to the pixels themselves is `shading_code`'s.
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
    COLUMN,
    HEIGHT,
    HORIZON,
    LATTICE,
    LEFT,
    NUMBERS,
    PAST_A,
    PER_METRE,
    PIXEL,
    PLANE,
    PLANES,
    RUN_NUMBERS,
    SUN_LIGHT,
    TEXELS,
    TILES,
    TO_SUN,
    TURNED,
    UP,
    ZENITH,
    encode_row,
    mix_runs,
    prepare_runs,
    sky_run,
    spread_run,
    surface_pixels,
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

    numbers  (NUMBERS,) float32; lattice (LEVELS, LATTICE) float32: the sun map's levels, as `shading_code` places them
    """

    def __init__(self, surfaces: Any, numbers: NDArray[np.float32], lattice: NDArray[np.float32]) -> None:
        t = surfaces.textures
        read: dict[str, NDArray[Any]] = {
            "records": surfaces.records, "material": surfaces.material, "colour": surfaces.colour,
            "first_level": t.first_level, "levels": t.levels, "texels": t.texels, "level_offset": t.level_offset,
            "level_width": t.level_width, "level_height": t.level_height, "encode": ENCODE, "numbers": numbers,
            "lattice": lattice,
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
    numbers[TURNED : TURNED + 9] = turned.T.ravel()
    numbers[HEIGHT] = sun_map.axes[2] @ origin
    lattice = np.zeros((LEVELS, LATTICE), np.float32)
    lattice[:, PAST_A : PAST_A + 2] = here - cell
    lattice[:, PER_METRE] = 1.0 / sun_map.texel
    whole = lattice.view(np.int32)[:, COLUMN:]
    whole[:, :2] = cell - sun_map.corner
    whole[:, 2:4] = sun_map.size
    whole[:, 4] = sun_map.first
    return Look(surfaces, numbers, lattice)


class Shader:
    """One thread's way to `shade_rows` for pictures of a width: scratch, a picture's look, the sun map's tiles as they
    are now."""

    def __init__(self, width: int) -> None:
        self.missing = np.empty(MISSING, np.int32)
        self.pitch = (width + 2 * LANES) & -LANES
        self.row, self.spare = aligned(PLANES * self.pitch), np.empty(3 * LANES, np.uint8)
        self.runs, self.lanes = aligned(self.pitch * RUN_NUMBERS), aligned(LANES * RUN_NUMBERS)
        self.run_face, self.run_middle, self.run_end = np.zeros((3, self.pitch), np.int32)
        self.which = np.zeros(LANES, np.int32)
        self.where = np.zeros(len(ARRAYS), np.int64)
        self._held: tuple[Any, ...] = ()

    def look_at(self, look: Look, heights: NDArray[np.float32], place: NDArray[np.int32]) -> None:
        """Take up a picture, and the sun map as it is."""
        self._held = (look, heights, place)
        self.run_face[:] = 0  # numbers of another scene's triangles may be greater than this one has
        self.where[:] = look.where
        self.where[-len(TILES) :] = [a.ctypes.data for a in (heights, place, self.missing)]

    def shade(
        self, wanted: Any, face: Any, depth: Any, u: Any, v: Any, camera: Any, rays: Any, hidden: Any, shadows: bool,
        row0: int, rgb: Any,
    ) -> NDArray[np.int32]:  # fmt: skip
        """See `shade_rows`; returns the numbers of the sun map's tiles that are missing: fill them and come again."""
        absent = shade_rows(
            wanted, face, depth, u, v, camera, *rays, self.where, self.row, self.pitch, self.spare, self.runs,
            self.lanes, self.run_face, self.run_middle, self.run_end, self.which, hidden, shadows,
            row0, rgb,
        )  # fmt: skip
        if absent == 0:
            return self.missing[:0]
        missing = np.unique(self.missing[:absent])
        return missing[missing >= 0]


@kernel
def _find_runs(face: Any, y: int, run_face: Any, run_middle: Any, run_end: Any) -> int:
    """The runs of row y: what each sees (−1: sky), its middle pixel and where it ends; returns how many there are."""
    width = face.shape[1]
    count = x = 0
    while x < width:
        seen = face[y, x]
        n = 1
        while n < RUN and x + n < width and face[y, x + n] == seen:
            n += 1
        run_face[count], run_middle[count] = seen, x + (n >> 1)
        x += n
        run_end[count] = x
        count += 1
    return count


@kernel
def shade_rows(
    wanted: Any, face: Any, depth: Any, u: Any, v: Any, camera: Any, lefts: Any, ups: Any, where: Any, row: Any,
    pitch: int, spare: Any, runs: Any, lanes: Any, run_face: Any, run_middle: Any, run_end: Any, which: Any,
    hidden: Any, shadows: bool, row0: int, rgb: Any,
) -> int:  # fmt: skip
    """Colours of the pixels in `face` … `v` (see `raster.see_rows`), whose first row is row0 of `rgb` (H, W, 3) uint8.

    wanted          (R,) uint8: only rows that are not 0, and afterwards only those that lack a tile of the sun map
    camera          (cx, cy, 1/focal, 1/focal_y) of a pinhole; `lefts`, `ups` (H, W) directions of any other, else empty
    where           addresses of ARRAYS; row, pitch … which  scratch (see `Shader`)
    hidden          (R, W) uint8, not 0 where something that moves hides the sun, LANES bytes longer; or empty
    Returns how many entries of `missing` are taken.
    """
    height, width = face.shape
    absent = 0
    table, planes, prepared, numbers = where.ctypes.data, row.ctypes.data, runs.ctypes.data, lanes.ctypes.data
    to_face, to_middle, to_which = run_face.ctypes.data, run_middle.ctypes.data, which.ctypes.data
    to_u, to_v, to_depth, to_hidden, to_rgb = (
        u.ctypes.data, v.ctypes.data, depth.ctypes.data, hidden.ctypes.data, rgb.ctypes.data
    )  # fmt: skip
    whole = width & ~(LANES - 1)
    if not len(lefts):
        for x in range(width):
            row[LEFT * pitch + x] = (camera[0] - x) * camera[2]
    for y in range(height):
        if wanted[y] == 0:
            continue
        before = absent
        if len(lefts):
            for x in range(width):
                row[LEFT * pitch + x] = lefts[row0 + y, x]
                row[UP * pitch + x] = ups[row0 + y, x]
        else:
            up = np.float32((camera[1] - (row0 + y)) * camera[3])
            for x in range(width):
                row[UP * pitch + x] = up
        count = _find_runs(face, y, run_face, run_middle, run_end)
        surfaces = 0
        for r in range(count):
            surfaces += run_face[r] >= 0
        if surfaces:
            prepare_runs(table, planes, pitch, to_face, to_middle, to_depth + 4 * y * width, count, prepared)
        r, spread = 0, -1
        for x in range(0, width if surfaces else 0, LANES):
            last = min(x + LANES, width)
            while run_end[r] <= x:
                r += 1
            if run_end[r] >= last:
                if run_face[r] < 0:
                    continue
                if spread != r:
                    spread_run(prepared + 4 * RUN_NUMBERS * r, numbers)
                    spread = r
            else:
                k = r
                for i in range(LANES):
                    while k < count - 1 and run_end[k] <= x + i:
                        k += 1
                    which[i] = k
                mix_runs(prepared, to_which, numbers)
                spread = -1
            at = y * width + x
            absent = surface_pixels(
                table, numbers, planes + 4 * x, pitch, last - x, to_depth + 4 * at, to_u + 4 * at, to_v + 4 * at,
                to_hidden + at if len(hidden) else 0, shadows, absent, before, MISSING,
            )  # fmt: skip
        for r in range(count if surfaces < count else 0):
            if run_face[r] < 0:
                x = run_end[r - 1] if r else 0
                sky_run(table, planes + 4 * x, pitch, run_end[r] - x)
        wanted[y] = absent > before or absent == MISSING
        to = to_rgb + 3 * (row0 + y) * width
        encode_row(table, planes, pitch, whole, to)
        if whole < width:  # a width that is no multiple of eight
            encode_row(table, planes + 4 * whole, pitch, LANES, spare.ctypes.data)
            for k in range(3 * (width - whole)):
                rgb[row0 + y, whole + k // 3, k % 3] = spare[k]
    return absent
