"""A small made-up city in PLATEAU's own form, for demonstrations and tests: no real place, equal bytes for a seed.

480 m × 240 m: block A in the west, block B in the east, 136 m of open, rolling ground between, one road across.
Buildings of 4 to 60 m (gabled and hipped houses, flats with parapets, an L, a courtyard, towers), LOD1 and LOD2;
streets with sidewalks, published without heights as most real ones are; a terrain of hills several metres high.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from aerialworld_city.geodesy import Projection
from aerialworld_city.geometry.overlay import TriangleIndex
from aerialworld_city.readers.citygml import GENERATED_MARK
from aerialworld_city.synthetic import gml_writer as gml
from aerialworld_city.synthetic.shapes import (
    Face,
    gabled,
    hipped,
    inset,
    l_shape,
    parapet,
    prism,
    rectangle,
    round_tower,
)
from aerialworld_core.errors import InputError
from aerialworld_core.files import write_bytes
from aerialworld_core.frames import Array

#: South-west corner of the local metres: inside one third-level mesh of plane zone IX.
LATITUDE, LONGITUDE, ZONE = 35.6515, 139.6280, 6677
WIDTH, DEPTH = 480.0, 240.0
#: West edges of the two blocks, and their size; the ground between them is open.
BLOCKS = {"A": 0.0, "B": 308.0}
BLOCK_WIDTH = 172.0
#: Streets: full width with sidewalks, and the sidewalk's share on each side, metres.
STREET, SIDEWALK = 16.0, 3.0
#: How far the terrain reaches beyond the city, metres.
_MARGIN = 30.0
_LOT_ROWS = 4


@dataclass(eq=False)
class _House:
    """One building: its footprint, LOD1 faces, LOD2 faces (or none), parts (LOD1 faces each)."""

    usage: str
    footprint: list[Array]
    base: float
    top: float
    lod1: list[Face] = field(default_factory=list)
    lod2: list[Face] = field(default_factory=list)
    parts: list[list[Face]] = field(default_factory=list)


def generate_city(folder: Path, seed: int = 0) -> Path:
    """Write the data set (`udx/bldg`, `udx/tran`, `udx/dem`) into `folder` and return it.

    The same seed gives the same bytes; another seed gives other hills, lots and buildings on the same streets. Raises
    InputError when `folder` is a file or holds another city, or `seed` is negative.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; give a folder for the generated city")
    if seed < 0:
        raise InputError(f"seed {seed}: give a whole number from 0")
    rng = np.random.default_rng(seed)
    to, mesh = _georeference()
    terrain = _terrain(rng)
    houses = _houses(rng, TriangleIndex(terrain))
    files = {
        "bldg": [_building(house, number, to) for number, house in enumerate(houses, 1)],
        "tran": _roads(to),
        "dem": [gml.relief(terrain, to)],
    }
    low, high = terrain.min(axis=(0, 1)), terrain.max(axis=(0, 1))
    high[2] = max(house.top for house in houses)
    bounds = to(np.array([low, high]))
    paths = {module: folder / "udx" / module / f"{mesh}_{module}_6697_op.gml" for module in files}
    _refuse_another_city(folder, set(paths.values()))
    for module, members in files.items():
        path = paths[module]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, gml.document(members, bounds).encode(), sync=False)
    return folder


def _refuse_another_city(folder: Path, ours: set[Path]) -> None:
    """A generated city replaces an older generated one, and is never mixed with real files."""
    for path in sorted(folder.glob("udx/**/*")):
        if not path.is_dir() and (path not in ours or GENERATED_MARK.encode() not in path.read_bytes()[:4096]):
            raise InputError(f"{path}: the folder holds another city already; choose another folder")


def _georeference() -> tuple[gml.ToGeographic, str]:
    """Local metres to latitude, longitude, height; and the code of the third-level mesh (JIS X 0410)."""
    projection = Projection(ZONE)
    east, north = projection.forward(LATITUDE, LONGITUDE)

    def to(points: Array) -> Array:
        latitude, longitude = projection.inverse(points[:, 0] + east, points[:, 1] + north)
        return np.column_stack([latitude, longitude, points[:, 2]])

    p, a = divmod(LATITUDE * 60, 40)
    q, b = divmod(a, 5)
    u, f = divmod(LONGITUDE - 100, 1)
    v, g = divmod(f * 60, 7.5)
    return to, f"{int(p)}{int(u)}{int(q)}{int(v)}{int(b * 60 / 30)}{int(g * 60 / 45)}"


def _terrain(rng: np.random.Generator, step: float = 10.0) -> Array:
    """Hills of about ten metres of relief as a TIN (T, 3, 3), its inner corners shifted off the grid."""
    nx, ny = int((WIDTH + 2 * _MARGIN) / step), int((DEPTH + 2 * _MARGIN) / step)
    x, y = np.meshgrid(np.linspace(-_MARGIN, WIDTH + _MARGIN, nx + 1), np.linspace(-_MARGIN, DEPTH + _MARGIN, ny + 1))
    inner = np.zeros(x.shape, bool)
    inner[1:-1, 1:-1] = True
    x = x + np.where(inner, rng.uniform(-2.5, 2.5, x.shape), 0.0)
    y = y + np.where(inner, rng.uniform(-2.5, 2.5, y.shape), 0.0)
    phase = rng.uniform(0, 2 * np.pi, 4)
    z = (
        14.0
        + 2.4 * np.sin(x / 70 + phase[0]) * np.cos(y / 62 + phase[1])
        + 1.8 * np.sin((x + 0.7 * y) / 120 + phase[2])
        + 0.5 * np.cos((0.4 * x - y) / 28 + phase[3])
    )
    p = np.round(np.stack([x, y, z], axis=-1), 3)
    a, b, c, d = p[:-1, :-1], p[:-1, 1:], p[1:, 1:], p[1:, :-1]
    halves = [np.stack([a, b, c], axis=2), np.stack([a, c, d], axis=2)]
    return np.concatenate([h.reshape(-1, 3, 3) for h in halves])


# -- streets ----------------------------------------------------------------------------------------------------------


def _streets(west: float) -> tuple[list[float], list[float]]:
    """Centre lines of a block's streets: x of those that run north, y of those that run east."""
    half = STREET / 2
    return (
        [west + half, west + BLOCK_WIDTH / 2, west + BLOCK_WIDTH - half],
        [half, DEPTH / 2, DEPTH - half],
    )


def _rect(x0: float, y0: float, x1: float, y1: float) -> Array:
    """A counter-clockwise ring at height 0: streets are published without heights."""
    return np.array([[x0, y0, 0.0], [x1, y0, 0.0], [x1, y1, 0.0], [x0, y1, 0.0]])


def _stretch(x0: float, y0: float, x1: float, y1: float) -> list[tuple[str, Array]]:
    """Carriageway and two sidewalks of a straight street; its longer side is its direction."""
    s = SIDEWALK
    if x1 - x0 > y1 - y0:
        sides = [_rect(x0, y0, x1, y0 + s), _rect(x0, y1 - s, x1, y1)]
        middle = _rect(x0, y0 + s, x1, y1 - s)
    else:
        sides = [_rect(x0, y0, x0 + s, y1), _rect(x1 - s, y0, x1, y1)]
        middle = _rect(x0 + s, y0, x1 - s, y1)
    return [("1000", middle), *[("2000", side) for side in sides]]


def _roads(to: gml.ToGeographic) -> list[str]:
    """Crossings, LOD1 only, and the stretches between them, which have LOD2 parts too."""
    half = STREET / 2
    members: list[str] = []

    def add(x0: float, y0: float, x1: float, y1: float, parts: bool) -> None:
        areas = _stretch(x0, y0, x1, y1) if parts else []
        members.append(gml.road(f"tran_{len(members) + 1:04d}", [[_rect(x0, y0, x1, y1)]], areas, to))

    for west in BLOCKS.values():
        xs, ys = _streets(west)
        for x in xs:
            for y in ys:
                add(x - half, y - half, x + half, y + half, False)
            for y0, y1 in pairwise(ys):
                add(x - half, y0 + half, x + half, y1 - half, True)
        for y in ys:
            for x0, x1 in pairwise(xs):
                add(x0 + half, y - half, x1 - half, y + half, True)
    add(BLOCKS["A"] + BLOCK_WIDTH, DEPTH / 2 - half, BLOCKS["B"], DEPTH / 2 + half, True)
    return members


# -- buildings --------------------------------------------------------------------------------------------------------


def _houses(rng: np.random.Generator, terrain: TriangleIndex) -> list[_House]:
    """Four cells per block between the streets; each cell has 2 × 4 lots, some of them joined."""
    houses: list[_House] = []
    half = STREET / 2
    for west in BLOCKS.values():
        xs, ys = _streets(west)
        cells = [(x0 + half, y0 + half, x1 - half, y1 - half) for x0, x1 in pairwise(xs) for y0, y1 in pairwise(ys)]
        landmarks = list(rng.permutation(["courtyard", "podium", "tower", "round"]))
        for cell, landmark in zip(cells, landmarks, strict=True):
            for kind, lot in _lots(rng, cell, str(landmark)):
                houses += _build(rng, kind, lot, terrain)
    return houses


def _lots(
    rng: np.random.Generator, cell: tuple[float, float, float, float], landmark: str
) -> list[tuple[str, tuple[float, float, float, float]]]:
    """(kind, lot) of a cell: a landmark on two joined lots, an L on two others, and flats, office, houses, garden."""
    x0, y0, x1, y1 = cell
    width, depth = (x1 - x0) / 2, (y1 - y0) / _LOT_ROWS
    lots: list[tuple[str, tuple[float, float, float, float]]] = []
    big = (0, int(rng.integers(0, _LOT_ROWS - 1)))
    joined = (1, int(rng.integers(0, _LOT_ROWS - 1)))
    small = list(rng.permutation(["flats", "office", "houses", "garden"]))
    for column in (0, 1):
        row = 0
        while row < _LOT_ROWS:
            rows = 2 if (column, row) in (big, joined) else 1
            kind = landmark if (column, row) == big else "l_shape" if (column, row) == joined else str(small.pop())
            x = x0 + column * width
            lots.append((kind, (x, y0 + row * depth, x + width, y0 + (row + rows) * depth)))
            row += rows
    return lots


def _build(
    rng: np.random.Generator, kind: str, lot: tuple[float, float, float, float], terrain: TriangleIndex
) -> list[_House]:
    x0, y0, x1, y1 = lot
    w, d, centre = x1 - x0 - 5.0, y1 - y0 - 5.0, ((x0 + x1) / 2, (y0 + y1) / 2)
    if kind == "garden":
        return []
    if kind == "houses":
        return [_house(rng, (centre[0] + side * (x1 - x0) / 4, centre[1]), terrain) for side in (-1.0, 1.0)]
    if kind == "courtyard":
        ring = rectangle(w, d, centre)
        return [_block(terrain, "412", ring, rng.uniform(14, 22), holes=[inset(ring, min(w, d) * 0.3)])]
    if kind == "l_shape":
        return [_block(terrain, "422", l_shape(w, d, rng.uniform(0.4, 0.55), centre), rng.uniform(9, 18), rim=1.0)]
    if kind == "tower":
        side = min(w, d) * rng.uniform(0.75, 0.9)
        return [_block(terrain, "401", rectangle(side, side, centre), rng.uniform(48, 58), rim=1.4)]
    if kind == "round":
        return [_block(terrain, "403", round_tower(min(w, d) * 0.42, centre), rng.uniform(30, 42))]
    if kind == "podium":
        return [_podium(rng, terrain, rectangle(w, d, centre))]
    if kind == "flats":
        ring = rectangle(w * rng.uniform(0.7, 0.95), d * rng.uniform(0.6, 0.8), centre)
        return [_block(terrain, "412", ring, rng.uniform(12, 27), rim=0.9)]
    ring = rectangle(w * rng.uniform(0.8, 1.0), d * rng.uniform(0.75, 0.95), centre)
    lone = bool(rng.random() < 0.5)
    return [_block(terrain, "402" if lone else "401", ring, rng.uniform(6, 20), rim=None if lone else 1.1)]


def _ground_under(terrain: TriangleIndex, ring: Array) -> float:
    """The lowest terrain under a footprint, as real bases have it (to a centimetre)."""
    low, high = ring.min(axis=0), ring.max(axis=0)
    x, y = np.meshgrid(np.linspace(low[0], high[0], 25), np.linspace(low[1], high[1], 25))
    return round(float(terrain.height(np.column_stack([x.ravel(), y.ravel()])).min()), 2)


def _block(
    terrain: TriangleIndex, usage: str, ring: Array, height: float, *, rim: float | None = None,
    holes: list[Array] | None = None,
) -> _House:  # fmt: skip
    """A flat-roofed building; with `rim` it has LOD2 with a parapet of that height."""
    base = _ground_under(terrain, ring)
    deck = base + round(height, 1)
    house = _House(usage, [ring, *[h[::-1] for h in holes or []]], base, deck + (rim or 0.0))
    house.lod1 = prism(ring, base, deck, holes or [])
    if rim is not None:
        house.lod2 = parapet(ring, base, deck, deck + rim)
    return house


def _podium(rng: np.random.Generator, terrain: TriangleIndex, ring: Array) -> _House:
    """A tower on a podium: two building parts, the building itself without geometry."""
    base = _ground_under(terrain, ring)
    step, top = base + round(rng.uniform(7, 11), 1), base + round(rng.uniform(36, 52), 1)
    house = _House("404", [ring], base, top)
    house.parts = [prism(ring, base, step), prism(inset(ring, 6.0), step, top)]
    return house


def _house(rng: np.random.Generator, centre: tuple[float, float], terrain: TriangleIndex) -> _House:
    """A one- or two-storey house with a gabled or hipped roof, turned a little."""
    ring = rectangle(rng.uniform(9.0, 11.0), rng.uniform(7.0, 9.0), centre, np.radians(rng.uniform(-8, 8)))
    if rng.random() < 0.5:
        ring = np.roll(ring, 1, axis=0)
    base = _ground_under(terrain, ring)
    eave = base + round(float(rng.choice([3.2, 5.8, 6.1])), 1)
    ridge = eave + round(rng.uniform(1.6, 2.8), 1)
    house = _House("411", [ring], base, ridge)
    house.lod1 = prism(ring, base, round((eave + ridge) / 2, 2))
    house.lod2 = (gabled if rng.random() < 0.6 else hipped)(ring, base, eave, ridge)
    return house


def _building(house: _House, number: int, to: gml.ToGeographic) -> str:
    identifier = f"bldg_{number:04d}"
    footprint = gml.surface([[np.column_stack([r, np.zeros(len(r))]) for r in house.footprint]], to)
    geometry = ""
    if house.lod1:
        geometry += gml.lod1(house.lod1, to)
    if house.lod2:
        geometry += "\n" + gml.lod2(house.lod2, to, identifier)
    height = house.top - house.base
    parts = [gml.lod1(part, to) for part in house.parts]
    return gml.building(identifier, house.usage, height, max(round(height / 3.2), 1), footprint, geometry, parts)
