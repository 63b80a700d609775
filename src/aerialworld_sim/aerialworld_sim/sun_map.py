"""Where the sun reaches: heights towards the sun on square lattices, found when a picture first asks for them.

Texels are squares in the plane across the sun's direction, and hold how far towards the sun the topmost surface over
their centre lies (front and back faces: walls cast shadows either way). A point is lit where its own plane, carried on
to the four texels around it, is nowhere below; between lit and shaded texels the light fades linearly, so that a
shadow's edge is soft by one texel. Texels double from level to level, as a pixel covers more of the ground.

Heights are kept in tiles of TILE × TILE texels (4096 bytes), made by whichever thread needs one first: its content is a
function of scene and light alone, so two threads that make one at the same time make the same. Only what is looked at
takes memory, and when that becomes much, all is forgotten and made anew.
"""

# Kernels have machine types that annotations cannot say.
# mypy: disable-error-code="arg-type, assignment, call-arg, call-overload, operator, type-var, misc"

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.frames import Array
from aerialworld_sim.bvh import COUNT, FIRST, MAX_DEPTH, Tree
from aerialworld_sim.compiled import aligned, kernel
from aerialworld_sim.lanes import LANES
from aerialworld_sim.vectors import PIXELS, TILE, cover8, least

#: Edge of the finest level's texels in metres, number of levels, and the most tiles that the finest level may be
#: divided into: larger worlds get larger texels.
FINEST, LEVELS, MAX_DIVISION = 0.05, 8, 16e6
#: Tiles that are kept at first, and at most (4 KiB each).
FIRST_TILES, MAX_TILES = 2048, 40_960
#: A tile's texels but the last column and row, which are the next tile's first: the four texels around a point always
#: lie in one tile.
CELLS = TILE - 1
#: Below everything: a texel over which there is nothing.
NOTHING = np.float32(-3.0e38)
#: Metres by which a surface may lie below another along the sun's direction without being in its shadow.
BIAS = 0.06


class SunMap:
    """The map over a box `bounds` (2, 3) in map, for a direction (3,) to the sun; empty at first.

    axes    (3, 3) float64: two axes of the plane across the sun's direction, and that direction
    first   (L,) int64 number of each level's first tile; size (L, 2) int64 tiles in a row and in a column
    corner  (L, 2) int64 column and row, on the level's lattice, of its first texel; texel (L,) float64 metres
    """

    def __init__(self, bounds: Array, to_sun: Array) -> None:
        self.axes = sun_axes(to_sun)
        corners = np.stack(np.meshgrid(*np.asarray(bounds, np.float64).T, indexing="ij"), -1).reshape(-1, 3)
        low, high = (corners @ self.axes[:2].T).min(axis=0), (corners @ self.axes[:2].T).max(axis=0)
        finest = max(FINEST, float(np.sqrt(np.prod(high - low) / MAX_DIVISION)) / CELLS)
        self.texel = finest * 2.0 ** np.arange(LEVELS)
        self.corner = np.floor(low / self.texel[:, None]).astype(np.int64) - 1
        self.size = -(-(np.ceil(high / self.texel[:, None]).astype(np.int64) + 1 - self.corner) // CELLS)
        tiles = self.size.prod(axis=1)
        self.first = np.cumsum(tiles) - tiles
        self._lock = threading.Lock()
        self._total = int(tiles.sum())
        self._begin(FIRST_TILES)

    def _begin(self, room: int) -> None:
        """Heights (N, PIXELS) float32 of the tiles made, and the place (T,) int32 of each tile among them, −1 for none.
        The two are replaced together, never apart: a kernel that still reads the old pair finds it whole."""
        self._kept = np.empty((room, PIXELS), np.float32), np.full(self._total, -1, np.int32)
        self._used = 0

    @property
    def kept(self) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Heights of the tiles made, and each tile's place among them (see `_begin`)."""
        return self._kept

    def fill(self, tree: Tree, tiles: NDArray[np.int32]) -> None:
        """Make the tiles of these numbers; safe on several threads at once."""
        scratch, stack = aligned(4 * PIXELS), np.empty(MAX_DEPTH + 4, np.int32)
        made = np.empty((len(tiles), PIXELS), np.float32)
        for row, number in enumerate(tiles.tolist()):
            level = int(np.searchsorted(self.first, number, side="right")) - 1
            ty, tx = divmod(number - int(self.first[level]), int(self.size[level, 0]))
            x0, y0 = int(self.corner[level, 0]) + tx * CELLS, int(self.corner[level, 1]) + ty * CELLS
            _fill(
                tree.nodes, tree.links, tree.corners, self.axes, float(self.texel[level]), x0, y0, scratch, stack, made,
                row,
            )  # fmt: skip
        with self._lock:
            for row, number in enumerate(tiles.tolist()):
                self._keep(number, made[row])

    def _keep(self, number: int, tile: NDArray[np.float32]) -> None:
        heights, place = self._kept
        if place[number] >= 0:
            return  # another thread was faster
        if self._used == len(heights):
            if len(heights) >= MAX_TILES:
                self._begin(len(heights))
            else:
                wider = np.empty((2 * len(heights), PIXELS), np.float32)
                wider[: len(heights)] = heights
                self._kept = wider, place.copy()
            heights, place = self._kept
        heights[self._used] = tile
        place[number] = self._used  # last: whoever finds it finds the heights
        self._used += 1


def sun_axes(to_sun: Array) -> Array:
    """(3, 3): two unit vectors across the direction to the sun, and that direction."""
    up = np.asarray(to_sun, np.float64) / np.linalg.norm(to_sun)
    across = np.cross([0.0, 1.0, 0.0] if abs(up[1]) < 0.9 else [1.0, 0.0, 0.0], up)
    across /= np.linalg.norm(across)
    return np.stack([across, np.cross(up, across), up])


@kernel
def _across(boxes: Any, i: int, axes: Any, axis: int) -> Any:
    """Least and greatest value of box i along an axis."""
    middle = edge = 0.0
    for k in range(3):
        middle += axes[axis, k] * (np.float64(boxes[i, k]) + boxes[i, k + 3])
        edge += abs(axes[axis, k]) * (np.float64(boxes[i, k + 3]) - boxes[i, k])
    return 0.5 * (middle - edge), 0.5 * (middle + edge)


@kernel
def _cover(corners: Any, i: int, axes: Any, texel: float, x0: int, y0: int, address: int) -> bool:
    """Scan-convert triangle i into a tile of heights; True where it is topmost somewhere."""
    ax, ay, az = corners[i, 0], corners[i, 1], corners[i, 2]
    bx, by, bz = corners[i, 3], corners[i, 4], corners[i, 5]
    cx, cy, cz = corners[i, 6], corners[i, 7], corners[i, 8]
    f0, f1, f2, scale = axes[0, 0], axes[0, 1], axes[0, 2], 1.0 / texel
    x1, x2 = (f0 * ax + f1 * ay + f2 * az) * scale - 0.5 - x0, (f0 * bx + f1 * by + f2 * bz) * scale - 0.5 - x0
    x3 = (f0 * cx + f1 * cy + f2 * cz) * scale - 0.5 - x0
    left = int(max(np.ceil(min(x1, min(x2, x3))), 0.0))
    right = int(min(max(np.floor(max(x1, max(x2, x3))), -1.0), TILE - 1.0))
    if left > right:
        return False
    f0, f1, f2 = axes[1, 0], axes[1, 1], axes[1, 2]
    y1, y2 = (f0 * ax + f1 * ay + f2 * az) * scale - 0.5 - y0, (f0 * bx + f1 * by + f2 * bz) * scale - 0.5 - y0
    y3 = (f0 * cx + f1 * cy + f2 * cz) * scale - 0.5 - y0
    top = int(max(np.ceil(min(y1, min(y2, y3))), 0.0))
    bottom = int(min(max(np.floor(max(y1, max(y2, y3))), -1.0), TILE - 1.0))
    area = (x2 - x1) * (y3 - y1) - (x3 - x1) * (y2 - y1)
    if top > bottom or area == 0.0:
        return False
    f0, f1, f2 = axes[2, 0], axes[2, 1], axes[2, 2]
    h1, h2, h3 = f0 * ax + f1 * ay + f2 * az, f0 * bx + f1 * by + f2 * bz, f0 * cx + f1 * cy + f2 * cz
    turn = 1.0 if area > 0.0 else -1.0
    # Edge functions a·x + b·y + c, positive inside.
    a1, b1, a2, b2 = turn * (y2 - y3), turn * (x3 - x2), turn * (y3 - y1), turn * (x1 - x3)
    a3, b3 = turn * (y1 - y2), turn * (x2 - x1)
    c1, c2, c3 = -(a1 * x2 + b1 * y2), -(a2 * x3 + b2 * y3), -(a3 * x1 + b3 * y1)
    za, zb = (h1 * a1 + h2 * a2 + h3 * a3) / abs(area), (h1 * b1 + h2 * b2 + h3 * b3) / abs(area)
    zc = h1 - za * x1 - zb * y1
    g1, g2, g3, gz = np.float32(a1), np.float32(a2), np.float32(a3), np.float32(za)
    one, infinite = np.float32(1.0), np.float32(np.inf)
    seen = False
    for row in range(top, bottom + 1):
        for column in range(left & ~(LANES - 1), right + 1, LANES):
            seen |= cover8(
                address, row * TILE + column, np.float32(c1 + a1 * column + b1 * row),
                np.float32(c2 + a2 * column + b2 * row), np.float32(c3 + a3 * column + b3 * row),
                np.float32(zc + za * column + zb * row), g1, g2, g3, gz, one, np.int32(0), infinite,
            )  # fmt: skip
    return seen


@kernel
def _fill(
    nodes: Any, links: Any, corners: Any, axes: Any, texel: float, x0: int, y0: int, tile: Any, stack: Any,
    heights: Any, number: int,
) -> None:  # fmt: skip
    """Tile `number` of heights, whose first texel is (x0, y0) on the lattice; tile and stack are scratch."""
    address = tile.ctypes.data
    for i in range(PIXELS):
        tile[i] = NOTHING
    low_a, high_a = (x0 + 0.5) * texel, (x0 + TILE - 0.5) * texel
    low_b, high_b = (y0 + 0.5) * texel, (y0 + TILE - 0.5) * texel
    lowest = NOTHING
    stack[0] = 0
    top = 1
    while top > 0:
        top -= 1
        node = stack[top]
        a0, a1 = _across(nodes, node, axes, 0)
        if a1 < low_a or a0 > high_a:
            continue
        b0, b1 = _across(nodes, node, axes, 1)
        if b1 < low_b or b0 > high_b:
            continue
        if _across(nodes, node, axes, 2)[1] <= lowest:
            continue
        begin, held = links[node, FIRST], links[node, COUNT]
        if held == 0:
            # The child that reaches higher is taken first: it hides more.
            swap = _across(nodes, begin, axes, 2)[1] > _across(nodes, begin + 1, axes, 2)[1]
            stack[top] = begin + 1 if swap else begin
            stack[top + 1] = begin if swap else begin + 1
            top += 2
            continue
        seen = False
        for i in range(begin, begin + held):
            seen |= _cover(corners, i, axes, texel, x0, y0, address)
        if seen:
            lowest = least(address, PIXELS)
    for i in range(PIXELS):
        heights[number, i] = tile[i]
