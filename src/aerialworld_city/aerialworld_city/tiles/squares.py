"""Which square of the world takes what: bodies by their middle, surfaces by every square that they touch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aerialworld_city.geodesy import LocalFrame
from aerialworld_city.geometry.packing import cells_between, ranges
from aerialworld_city.geometry.terrain import Terrain
from aerialworld_city.kinds import KINDS
from aerialworld_city.tiles.select import Masks
from aerialworld_city.tiles.store import StoredTile
from aerialworld_city.writing.chunks import Cell, Pick, group_name
from aerialworld_city.writing.world_writer import unique_names
from aerialworld_core.errors import InputError
from aerialworld_core.frames import Array

#: More models of a kind than this are no world that a simulator loads.
MAX_SQUARES = 5000

Squares = dict[Cell, dict[str, list[Pick]]]


def share_out(
    tiles: Sequence[StoredTile], masks: Masks, frame: LocalFrame, terrain: Terrain | None, chunk: float
) -> Squares:
    """The picks of every square and kind, tiles and features in order; squares that have only terrain have none.
    `terrain` None where it is no matter of the squares."""
    origin = np.array([frame.east, frame.north])
    squares: Squares = {}
    if terrain is not None:
        ground = np.floor(terrain.triangles[:, :, :2].mean(axis=1) / chunk).astype(np.int64)
        squares = {cell: {} for cell, _ in by_cell(ground)}
    for number, (tile, mask) in enumerate(zip(tiles, masks, strict=True)):
        chosen = np.flatnonzero(mask)
        kinds = np.array([tile.features[i].kind for i in chosen.tolist()])
        for kind in np.unique(kinds).tolist():
            own = chosen[kinds == kind]
            if KINDS[kind].lies:
                feature, cell, home = _touched(tile, own, origin, chunk)
            else:
                cell = np.floor((tile.boxes[own, :, :2].mean(axis=1) - origin) / chunk).astype(np.int64)
                feature, home = own, np.ones(len(own), bool)
            for place, rows in by_cell(cell):
                squares.setdefault(place, {}).setdefault(kind, []).append(Pick(number, feature[rows], home[rows]))
    return squares


def weight(tiles: Sequence[StoredTile], picks: dict[str, list[Pick]]) -> float:
    """How much work a square is: the triangles of its features, and a little for the square itself."""
    picked = [p for group in picks.values() for p in group]
    return 100.0 + sum(
        float((tiles[p.tile].starts[p.features + 1] - tiles[p.tile].starts[p.features]).sum()) for p in picked
    )


def _touched(
    tile: StoredTile, own: NDArray[np.int64], origin: Array, chunk: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """(feature, cell) pairs of all squares that the features' triangles touch, and which is the feature's first."""
    mesh = tile.mesh()
    size = (tile.starts[own + 1] - tile.starts[own]).astype(np.int64)
    xy = (mesh.triangles[ranges(tile.starts[own], size)][:, :, :2] - origin) / chunk
    low, high = np.floor(xy.min(axis=1)).astype(np.int64), np.floor(xy.max(axis=1)).astype(np.int64)
    if float((high - low + 1).prod(axis=1).astype(np.float64).sum()) > 50e6:
        raise InputError(f"{tile.source}: a surface covers too many squares of {chunk:g} m; choose a larger --chunk")
    triangle, cell = cells_between(low, high)
    pairs = np.unique(np.column_stack([np.repeat(np.arange(len(own)), size)[triangle], cell]), axis=0)
    home = np.r_[True, pairs[1:, 0] != pairs[:-1, 0]] if len(pairs) else np.zeros(0, bool)
    return own[pairs[:, 0]], pairs[:, 1:], home


def by_cell(place: NDArray[np.int64]) -> list[tuple[Cell, NDArray[np.int64]]]:
    """(cell, rows) for every cell (N, 2) that occurs, in order."""
    if not len(place):
        return []
    low = place.min(axis=0)
    width = int(place[:, 1].max() - low[1]) + 1
    key = (place[:, 0] - low[0]) * width + (place[:, 1] - low[1])
    order = np.argsort(key, kind="stable")
    begin = np.flatnonzero(np.r_[True, np.diff(key[order]) != 0])
    cells = place[order[begin]].tolist()
    return [((c[0], c[1]), rows) for c, rows in zip(cells, np.split(order, begin[1:]), strict=True)]


def model_names(tiles: Sequence[StoredTile], squares: Squares, cells: Sequence[Cell]) -> dict[Cell, list[str]]:
    """Names of single buildings' models, by square, in the order of its picks; none is that of a square's model."""
    ids = [
        [tiles[p.tile].features[i].id for p in squares[cell].get("building", []) for i in p.features.tolist()]
        for cell in cells
    ]
    taken = [group_name(cell, kind) for cell in cells for kind in KINDS]
    unique = iter(unique_names([*taken, *(i for group in ids for i in group)])[len(taken) :])
    return {cell: [next(unique) for _ in group] for cell, group in zip(cells, ids, strict=True)}


def refuse_too_many(squares: Squares, chunk: float, per_building: bool) -> None:
    """Raises InputError above MAX_SQUARES squares, or single buildings."""
    if len(squares) > MAX_SQUARES:
        raise InputError(
            f"the city covers {len(squares)} squares of {chunk:g} m (at most {MAX_SQUARES}): choose a larger --chunk, "
            "a part of the city, or fewer files; a few coordinates far off the city do this too"
        )
    single = sum(len(p.features) for kinds in squares.values() for p in kinds.get("building", []))
    if per_building and single > MAX_SQUARES:
        raise InputError(
            f"{single} buildings as models of their own (at most {MAX_SQUARES}): choose a part of the city, or leave "
            "--per-building out"
        )
