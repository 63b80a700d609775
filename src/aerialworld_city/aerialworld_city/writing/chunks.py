"""One square of the city: its bodies reach the ground, its surfaces are laid, its models are written. Runs in a worker.

Everything comes from the stored tiles and the stored terrain, so squares know nothing of each other. A group is what a
square has of one kind: one model, or one per building.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_city.city import NO_HEIGHT, City
from aerialworld_city.features import Feature
from aerialworld_city.geodesy import LocalFrame
from aerialworld_city.geometry.ground import OFFSETS, REACH, LayCounts, lay, reach_down
from aerialworld_city.geometry.mesh import Mesh
from aerialworld_city.geometry.overlay import TriangleIndex
from aerialworld_city.geometry.packing import ranges
from aerialworld_city.geometry.solids import bounding_boxes
from aerialworld_city.geometry.terrain import Terrain
from aerialworld_city.kinds import KINDS
from aerialworld_city.options import ConversionOptions
from aerialworld_city.sources.files import stamp
from aerialworld_city.tiles.store import StoredTile, read_tile
from aerialworld_city.writing.folder import Workplace, sync_tree
from aerialworld_city.writing.kept import fingerprints, group_key, take_over
from aerialworld_city.writing.models import (
    ModelInfo,
    PlacedMaterial,
    write_body_model,
    write_ground_model,
)
from aerialworld_city.writing.textures import Textures
from aerialworld_core.files import open_regular
from aerialworld_core.frames import Array

Cell = tuple[int, int]
#: Bodies whose foot is higher above the lowest ground under it, or deeper below it, are counted; metres.
ABOVE, BELOW = 1.0, 3.0
#: Corners within this of a body's lowest one are its foot's, metres.
_FOOT = 0.01


@dataclass(frozen=True, eq=False)
class Pick:
    """Features (K,) of one tile that belong to a group; `home` (K,) False for surfaces that another square counts."""

    tile: int
    features: NDArray[np.int64]
    home: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Place:
    """What all squares share. `tiles` are folders of stored tiles, `images` for each the folder that image paths start
    at and the one they must not leave; `east`, `north` map's origin in the plane; `older` the world whose models may be
    taken over; `maker` is `tiles.store.program()`."""

    world: Path
    older: Path | None
    tiles: tuple[Path, ...]
    images: tuple[tuple[Path, Path], ...]
    terrain: Path
    east: float
    north: float
    options: ConversionOptions
    maker: str

    @classmethod
    def of(cls, city: City, frame: LocalFrame, place: Workplace, options: ConversionOptions, maker: str) -> Place:
        """With the terrain saved in the workplace."""
        return cls(
            place.world,
            place.older,
            tuple(tile.folder for tile in city.tiles),
            tuple((file.path.parent, file.root) for file in city.files),
            place.work / "terrain",
            frame.east,
            frame.north,
            options,
            maker,
        )


@dataclass(frozen=True, eq=False)
class SquareJob:
    """A square's groups: picks by kind, names for single buildings, and the older world's records by group."""

    place: Place
    cell: Cell
    picks: dict[str, list[Pick]]
    names: list[str]
    kept: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, place: Place, cell: Cell, picks: dict[str, list[Pick]], names: list[str], kept: dict[str, Any]
    ) -> SquareJob:
        """With what of `kept`, the older world's records, is this square's."""
        groups = [group_name(cell, kind) for kind in (*picks, "terrain")]
        return cls(place, cell, picks, names, {name: kept[name] for name in groups if name in kept})


@dataclass(eq=False)
class SquareResult:
    """Per kind, the group's record (see `_Record`); the kinds whose models were taken over."""

    groups: dict[str, dict[str, Any]]
    reused: set[str]


def group_name(cell: Cell, kind: str) -> str:
    """Of the models of a kind in a square; of the model itself where there is one."""
    return f"x{cell[0]}y{cell[1]}_{kind}"


def make_square(job: SquareJob) -> SquareResult:
    """Write all models of a square, or take them over."""
    groups: dict[str, dict[str, Any]] = {}
    reused = set()
    meshes = job.place.options.terrain == "mesh"
    for kind in sorted({*job.picks, "terrain"} if meshes else job.picks):
        name = group_name(job.cell, kind)
        group = _Group(job, kind)
        if not len(group.mesh):
            continue
        key = group.key()
        record = take_over(job.kept.get(name), key, job.place.older, job.place.world)
        if record is not None:
            reused.add(kind)
        else:
            record = {"key": key, **group.write()}
        groups[kind] = record
    models = job.place.world / "models"
    sync_tree(*(models / name for record in groups.values() for name in record["files"]))
    return SquareResult(groups, reused)


@lru_cache(maxsize=32)
def _tile(folder: Path) -> tuple[StoredTile, Mesh]:
    tile = read_tile(folder)
    return tile, tile.mesh()


@lru_cache(maxsize=2)
def _terrain(folder: Path) -> Terrain:
    return Terrain.open(folder)


@lru_cache(maxsize=2)
def _textures(size: int) -> Textures:
    return Textures(size)


class _Group:
    """A square's features of one kind, gathered from the tiles: `mesh` in map, features numbered as picked."""

    def __init__(self, job: SquareJob, kind: str) -> None:
        self.job, self.kind, self.place = job, kind, job.place
        self.options = job.place.options
        self.features: list[Feature] = []
        self.materials: list[PlacedMaterial] = []
        self.home = np.concatenate([p.home for p in job.picks.get(kind, [])] or [np.zeros(0, bool)])
        self.flat: list[bool] = []
        self.square = np.array([job.cell, np.array(job.cell) + 1]) * self.options.chunk
        if kind == "terrain":
            self.mesh = self._ground()
            return
        self.mesh = Mesh.joined([self._gather(pick) for pick in job.picks[kind]])

    def _ground(self) -> Mesh:
        terrain = _terrain(self.place.terrain)
        rows = terrain.rows.near(terrain.triangles, *self.square)
        triangles = np.asarray(terrain.triangles[rows])
        triangles = triangles[_inside(triangles, self.square)]
        n = len(triangles)
        return Mesh(triangles, np.zeros(n, np.int32), np.zeros(n, np.int8), np.zeros(n, bool), np.full(n, -1, np.int32))

    def _gather(self, pick: Pick) -> Mesh:
        tile, whole = _tile(self.place.tiles[pick.tile])
        begin, end = tile.starts[pick.features], tile.starts[pick.features + 1]
        size = end - begin
        mesh = whole.take(ranges(begin, size))
        mesh.triangles = mesh.triangles - np.array([self.place.east, self.place.north, 0.0])
        mesh.feature = (np.repeat(np.arange(len(size)), size) + len(self.features)).astype(np.int32)
        flat = np.abs(tile.boxes[pick.features, :, 2]).max(axis=1) < NO_HEIGHT
        self.flat += flat.tolist()
        if KINDS[self.kind].lies:
            # What has no heights is draped piece by piece: what is far from this square says nothing here.
            xy = mesh.triangles[:, :, :2]
            near = (xy.max(axis=1) >= self.square[0]).all(axis=1) & (xy.min(axis=1) < self.square[1]).all(axis=1)
            mesh = mesh.take(near | ~np.repeat(flat, size))
        self.features += [tile.features[i] for i in pick.features.tolist()]
        used, number = np.unique(mesh.material, return_inverse=True)
        number = number.reshape(-1).astype(np.int32) + np.int32(len(self.materials) - (used[:1] < 0).sum())
        mesh.material = np.where(mesh.material < 0, np.int32(-1), number)
        folder, root = self.place.images[pick.tile]
        self.materials += [(folder, root, tile.materials[i]) for i in used[used >= 0].tolist()]
        return mesh

    def key(self) -> str:
        """Of all that the models depend on."""
        o = self.options
        words: dict[str, Any] = {
            "kind": self.kind,
            "cell": list(self.job.cell),
            "origin": [self.place.east, self.place.north],
            "options": [o.chunk, o.textures, o.max_texture_size, o.target_faces, o.max_deviation],
            "features": [
                [self.place.tiles[p.tile].name, p.features.tolist()] for p in self.job.picks.get(self.kind, [])
            ],
            "names": self.job.names if self._single else [],
            "images": self._image_hashes() if o.textures else [],
            "ground": _hash(self.mesh.triangles if self.kind == "terrain" else self._under.triangles),
        }
        return group_key(words, self.place.maker)

    @property
    def _single(self) -> bool:
        return self.kind == "building" and self.options.per_building

    def _image_hashes(self) -> list[list[str]]:
        images = sorted({folder / m.image for folder, _, m in self.materials if m.image is not None})
        return [[path.name, _image_hash(path, stamp(path))] for path in images]

    @cached_property
    def _under(self) -> TriangleIndex:
        """The index of the terrain below all of it."""
        xy = self.mesh.triangles[:, :, :2]
        return _terrain(self.place.terrain).part(xy.min(axis=(0, 1)), xy.max(axis=(0, 1)))

    def write(self) -> dict[str, Any]:
        """Make the models; returns the group's record: `files` (CRC-32 by model and file), `triangles`, `collision`,
        `images`, `problems`, `bounds`, `simplified` (before, after, deviation), and of bodies `bodies`, of surfaces
        `laid`."""
        if self.kind == "terrain":
            return self._record([self._write_ground(self.mesh)], self.mesh)
        if KINDS[self.kind].lies:
            return self._write_laid()
        return self._write_bodies()

    # -- bodies ---------------------------------------------------------------------------------------------------

    def _write_bodies(self) -> dict[str, Any]:
        count = len(self.features)
        tops = bounding_boxes(self.mesh, count)[:, 1, 2]
        mesh, bases, lowered = reach_down(self.mesh, count, self._under, limit=REACH[self.kind])
        boxes = bounding_boxes(mesh, count)
        groups: list[tuple[str, Any]] = [(group_name(self.job.cell, self.kind), None)]
        if self._single:
            groups = list(zip(self.job.names, range(count), strict=True))
        infos, owners, meshes = [], [], []
        simplified: list[list[float]] = []
        for name, number in groups:
            part, features, foot, top = mesh, self.features, bases, tops
            if number is not None:
                part = mesh.take(mesh.feature == number)
                part.feature = np.zeros(len(part), np.int32)
                features, foot, top = features[number : number + 1], bases[[number]], tops[[number]]
            if len(part) > self.options.target_faces:
                part = self._lighter(part, features, simplified)
            textures = _textures(self.options.max_texture_size)
            infos.append(
                (
                    name,
                    write_body_model(
                        self.place.world,
                        name,
                        self.kind,
                        part,
                        features,
                        self.materials,
                        foot,
                        top,
                        self.options,
                        textures,
                    ),
                )
            )
            owners += [name] * len(features)
            meshes.append(part)
        record = self._record(infos, Mesh.joined(meshes), simplified)
        record["bodies"] = [
            [
                owners[i] if owners[i] in record["files"] else None,
                round(float(bases[i]), 6),
                round(float(tops[i]), 6),
                *(round(float(v), 6) for v in boxes[i].flat),
            ]
            for i in range(count)
        ]
        record["lowered"] = len(lowered)
        if REACH[self.kind]:  # bridges have heights of their own
            above = _above_ground(mesh, boxes[:, 0, 2], self._under)
            record["above"], record["below"] = int((above > ABOVE).sum()), int((above < -BELOW).sum())
        return record

    def _lighter(self, mesh: Mesh, features: Sequence[Feature], simplified: list[list[float]]) -> Mesh:
        from aerialworld_city.geometry.simplify import simplify  # its compiler takes a while to load

        closed = np.array([f.closed for f in features])
        mesh, done = simplify(mesh, self.options.target_faces, self.options.max_deviation, closed=closed)
        if done.after != done.before:
            simplified.append([done.before, done.after, round(done.worst, 6)])
        return mesh

    # -- surfaces -------------------------------------------------------------------------------------------------

    def _write_laid(self) -> dict[str, Any]:
        """Features are laid whole, so that neighbouring squares agree on each; what has its middle here is kept.

        Those without heights are draped triangle by triangle, which comes to the same. Each feature, or triangle, is
        counted in one square.
        """
        from aerialworld_city.geometry.dissolve import dissolve  # its libraries take a while to load

        index, count, kind = self._under, len(self.features), self.kind
        flat = np.array(self.flat)[self.mesh.feature]
        here = np.where(flat, _inside(self.mesh.triangles, self.square), self.home[self.mesh.feature])
        found, total = [], {name: 0 for name in asdict(LayCounts())}
        placed: set[int] = set()
        for of_flat, counted in ((True, True), (True, False), (False, True), (False, False)):
            part = self.mesh.take((flat == of_flat) & (here == counted))
            mesh, counts = lay(part, count, index, offset=OFFSETS[kind])
            if of_flat:
                placed.update(np.unique(mesh.feature).tolist())
                counts.beyond = 0  # known only when all squares have been asked
            if counted:
                total = {name: total[name] + number for name, number in asdict(counts).items()}
            found.append(mesh.take(_inside(mesh.triangles, self.square)))
        mesh = dissolve(Mesh.joined(found), index)
        infos = [self._write_ground(mesh)] if len(mesh) else []
        laid = {name: total[name] for name in ("near", "own", "cut", "beyond")}
        return {**self._record(infos, mesh), "laid": laid, "draped": sorted(placed)}

    def _write_ground(self, mesh: Mesh) -> tuple[str, ModelInfo]:
        name = group_name(self.job.cell, self.kind)
        textures = _textures(self.options.max_texture_size)
        return name, write_ground_model(self.place.world, name, self.kind, mesh, self.materials, self.options, textures)

    def _record(
        self, infos: Sequence[tuple[str, ModelInfo]], mesh: Mesh, simplified: list[list[float]] | None = None
    ) -> dict[str, Any]:
        corners = mesh.triangles.reshape(-1, 3)
        # A model without any triangle that has an area is not written.
        written = [name for name, info in infos if info.triangles]
        return {
            "files": fingerprints(self.place.world / "models", written),
            "triangles": sum(i.triangles for _, i in infos),
            "collision": sum(i.collision_triangles for _, i in infos),
            "images": sorted({image for _, i in infos for image in i.images}),
            "problems": sorted({line for _, i in infos for line in i.problems}),
            "bounds": [corners.min(axis=0).tolist(), corners.max(axis=0).tolist()] if len(corners) else None,
            "simplified": simplified or [],
        }


def _inside(triangles: Array, square: Array) -> NDArray[np.bool_]:
    """(T,) bool: which triangles have their middle in the square."""
    middle = triangles[:, :, :2].mean(axis=1)
    return np.asarray(((middle >= square[0]) & (middle < square[1])).all(axis=1))


def _above_ground(mesh: Mesh, feet: Array, index: TriangleIndex) -> Array:
    """(F,) how high feet (F,) are above the lowest ground at the lowest corners, metres; NaN where there is none."""
    row, corner = np.nonzero(mesh.triangles[:, :, 2] <= feet[mesh.feature][:, None] + _FOOT)
    ground = np.full(len(feet), np.inf)
    np.fmin.at(ground, mesh.feature[row], index.height(mesh.triangles[row, corner, :2]))
    known = np.isfinite(ground) & np.isfinite(feet)
    return np.subtract(feet, ground, where=known, out=np.full(len(feet), np.nan))


def _hash(array: Array) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


@lru_cache(maxsize=4096)
def _image_hash(path: Path, now: tuple[int, int] | None) -> str:
    try:
        with open_regular(path) as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError:
        return "missing"


def forget() -> None:
    """Let go of what is kept open between squares: the next conversion has other files in these places."""
    for kept in (_tile, _terrain, _textures, _image_hash):
        kept.cache_clear()
