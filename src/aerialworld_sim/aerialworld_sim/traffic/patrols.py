"""Where a world has no roads: straight strips of its open ground on which traffic goes to and fro."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Array
from aerialworld_core.labels import GROUND
from aerialworld_core.roads.ground import Ground, World, strips_ground, topmost
from aerialworld_core.world.seams import ground_height

#: Edge of the raster on which strips are looked for, metres; more than `MOST` square cells are coarsened.
CELL, MOST = 3.0, 250_000
#: Half width, shortest and longest of a strip, metres; metres that it keeps from whatever stands on the ground.
HALF_WIDTH, SHORTEST, LONGEST, CLEAR = 9.0, 60.0, 250.0, 2.0
#: Steepest ground of a strip, rise over run; and how many strips are made at most.
STEEPEST, STRIPS = 0.12, 24
_DIRECTIONS = 12


def patrol_ground(world: World, sidewalks: Ground | None) -> Ground:
    """The raster of made-up straight roads over flat ground that nothing stands on; a world's own `sidewalks` stay
    unused. Raises InputError where there is none."""
    low, high = np.asarray(world.bounds, np.float64)[:, :2]
    extent = high - low
    if len(world.scene.faces) == 0 or not (extent > SHORTEST).all():
        raise _no_room("is too small")
    cell = max(CELL, float(np.sqrt(extent[0] * extent[1] / MOST)))
    free = _free(world, low, extent, cell)
    room = np.asarray(distance_transform_edt(np.pad(free, 1)))[1:-1, 1:-1] * cell
    strips: list[Array] = []
    taken = np.zeros_like(free)
    need = HALF_WIDTH + CLEAR + cell
    while len(strips) < STRIPS:
        found = _longest(room, taken, cell, need)
        if found is None:
            break
        begin, end = (low + (p[::-1] + 0.5) * cell for p in found)
        along = (end - begin) / np.linalg.norm(end - begin)
        side = np.array([-along[1], along[0]]) * HALF_WIDTH
        strips.append(np.array([begin - side, end - side, end + side, begin + side]))
        _cross_out(taken, found, (2 * HALF_WIDTH + 4.0) / cell)
    if not strips:
        raise _no_room("has no flat strip of open ground, 60 m × 18 m")
    return strips_ground(low, high, strips)


def _no_room(why: str) -> InputError:
    return InputError(
        f"traffic: this world has no roads, and {why} for straight patrols; convert the city's roads as well "
        "(--modules bldg,tran,dem), or simulate without --traffic"
    )


def _free(world: World, low: Array, extent: Array, cell: float) -> NDArray[np.bool_]:
    """(R, C) cells whose topmost surface is ground, and flat."""
    columns, rows = (int(n) for n in extent // cell)
    x, y = low[0] + (np.arange(columns) + 0.5) * cell, low[1] + (np.arange(rows) + 0.5) * cell
    xy = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    # Several rays per cell, so that a thin wall is not missed.
    clear = np.ones(len(xy), bool)
    for dx in (-0.33, 0.0, 0.33):
        for dy in (-0.33, 0.0, 0.33):
            face = topmost(world, xy + cell * np.array([dx, dy]))
            clear &= (face >= 0) & np.isin(world.scene.face_class[np.maximum(face, 0)], GROUND)
    z = ground_height(world, xy).reshape(rows, columns)
    slope = np.hypot(*np.gradient(z, cell))
    with np.errstate(invalid="ignore"):
        flat = slope < STEEPEST
    return np.asarray(binary_erosion(clear.reshape(rows, columns) & flat, border_value=0))


def _longest(room: Array, taken: NDArray[np.bool_], cell: float, need: float) -> tuple[Array, Array] | None:
    """Both ends (row, column) of the longest straight line along which there is room for a strip; None for none."""
    good = (room >= need) & ~taken
    best: tuple[float, Array, Array] | None = None
    rows, columns = np.nonzero(good)
    if not len(rows):
        return None
    starts = np.stack([rows, columns], axis=1)[:: max(1, len(rows) // 1500)].astype(np.float64)
    steps = np.arange(0, int(LONGEST / cell) + 1)
    for k in range(_DIRECTIONS):
        angle = np.pi * k / _DIRECTIONS
        way = np.array([np.sin(angle), np.cos(angle)])
        at = np.round(starts[:, None] + steps[:, None] * way).astype(int)
        inside = (at >= 0).all(axis=2) & (at < good.shape).all(axis=2)
        clear = inside & good[np.clip(at[..., 0], 0, good.shape[0] - 1), np.clip(at[..., 1], 0, good.shape[1] - 1)]
        reach = np.where(clear.all(axis=1), len(steps), np.argmin(clear, axis=1)) - 1
        i = int(np.argmax(reach))
        if reach[i] * cell >= SHORTEST and (best is None or reach[i] > best[0]):
            best = float(reach[i]), starts[i], starts[i] + reach[i] * way
    return None if best is None else (best[1], best[2])


def _cross_out(taken: NDArray[np.bool_], line: tuple[Array, Array], radius: float) -> None:
    """Mark the cells within `radius` cells of a line, so that strips do not cross."""
    row, column = np.indices(taken.shape)
    a, b = line
    along = (b - a) / max(float((b - a) @ (b - a)), 1e-9)
    t = np.clip((row - a[0]) * along[0] + (column - a[1]) * along[1], 0.0, 1.0)
    distance = np.hypot(row - a[0] - t * (b - a)[0], column - a[1] - t * (b - a)[1])
    taken |= distance < radius
