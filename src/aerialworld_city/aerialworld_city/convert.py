"""From a city model to a world folder: the whole conversion, step by step."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from aerialworld_city.features import Skipped
from aerialworld_city.geodesy import LocalFrame, Projection, choose_zone
from aerialworld_city.geometry.terrain import EXTENSION, Terrain, make_terrain
from aerialworld_city.kinds import KINDS
from aerialworld_city.options import ConversionOptions
from aerialworld_city.report import ConversionReport
from aerialworld_city.sources.discover import SourceFile, Sources, open_sources
from aerialworld_city.tiles.jobs import TileJob, TileResult, make_tile
from aerialworld_city.tiles.pool import Pool, workers_for
from aerialworld_city.tiles.select import Masks, plane_bounds, select
from aerialworld_city.tiles.squares import Squares, by_cell, refuse_too_many, share_out
from aerialworld_city.tiles.store import StoredTile, forget_folders, read_tile
from aerialworld_city.writing import chunks
from aerialworld_city.writing.city_json import GENERATED_CREDIT, PLATEAU_CREDIT, Body, city_json
from aerialworld_city.writing.folder import TILES, Workplace, workplace
from aerialworld_city.writing.kept import group_key, read_kept, write_kept
from aerialworld_city.writing.preview_kept import previews
from aerialworld_city.writing.world_writer import safe_name, unique_names, world_sdf
from aerialworld_core import __version__
from aerialworld_core.errors import InputError
from aerialworld_core.files import write_bytes, write_json
from aerialworld_core.frames import Array

__all__ = ["GENERATED_CREDIT", "PLATEAU_CREDIT", "ConversionReport", "convert"]

Progress = Callable[[str, float], None]


def convert(
    source: Path | Sequence[Path],
    out: Path,
    options: ConversionOptions | None = None,
    *,
    progress: Progress | None = None,
) -> ConversionReport:
    """Convert a city model into the world folder `out`.

    `source` is a file, a folder or zip of a data set, or several of them. `progress(stage, share)` is called on the
    way; `share` of the whole grows from 0 to 1.

    Raises InputError (UnsafeInputError) that names file and element: missing, malformed or no city model, nothing in
    it, unknown reference system, a folder in the way. Of several files the good ones are converted, and the others stand
    in the report; `options.strict` stops at the first. After an error nothing stands under `out` that was not there
    before; after Ctrl-C or a crash a hidden folder beside it keeps what was read, and the next run goes on from there.
    """
    begin = time.monotonic()
    paths = [Path(source)] if isinstance(source, str | Path) else [Path(p) for p in source]
    conversion = _Conversion(options or ConversionOptions(), progress or (lambda stage, share: None))
    forget_folders()
    chunks.forget()
    try:
        with workplace(Path(out)) as place, open_sources(paths, conversion.options, place.work) as sources:
            report = conversion.run(paths, sources, place)
    finally:
        chunks.forget()
    conversion.tell("write", 1.0)
    report.seconds = round(time.monotonic() - begin, 3)
    return report


@dataclass(eq=False)
class _City:
    """What was read: files, tiles and the features taken (masks), all in one order; `boxes` (N, 2, 3) map metres of
    the features taken, tile by tile, and their `kinds`."""

    files: list[SourceFile]
    tiles: list[StoredTile]
    masks: Masks
    projection: Projection
    sources: list[dict[str, Any]]

    @property
    def boxes(self) -> Array:
        """Plane metres."""
        return np.concatenate(
            [t.boxes[m] for t, m in zip(self.tiles, self.masks, strict=True)] or [np.zeros((0, 2, 3))]
        )

    @property
    def kinds(self) -> list[str]:
        return [t.features[i].kind for t, m in zip(self.tiles, self.masks, strict=True) for i in np.flatnonzero(m)]


class _Conversion:
    """One run: the steps in their order, and what they share."""

    def __init__(self, options: ConversionOptions, tell: Progress) -> None:
        self.options = options
        self.tell = tell

    def run(self, paths: Sequence[Path], sources: Sources, place: Workplace) -> ConversionReport:
        self.tell("read", 0.0)
        self.report = ConversionReport(safe_name(sources.name), passed_over=list(sources.passed_over))
        size = sum(f.path.stat().st_size for f in sources.files if f.path.is_file())
        with ExitStack() as stack:
            self.pool = stack.enter_context(Pool(workers_for(self.options.workers, len(sources.files), size)))
            projection = choose_zone(sources.files, sources.city_code, self.options)
            city = self._read(paths, sources, projection, place)
            generated = all(t.generated for t in city.tiles)
            if generated:
                self.report.world = "small_city"
            self.tell("ground", 0.5)
            frame = self._frame(city)
            terrain = self._ground(city, frame, place)
            self.tell("write", 0.55)
            self._write(city, frame, terrain, place, generated)
        return self.report

    # -- reading --------------------------------------------------------------------------------------------------

    def _read(self, paths: Sequence[Path], sources: Sources, projection: Projection, place: Workplace) -> _City:
        """Every file as a tile, and what of it is wanted."""
        files, store = sources.files, place.world / TILES
        older = place.older / TILES if place.older is not None and (place.older / TILES).is_dir() else None
        sizes = [max(f.path.stat().st_size, 1) if f.path.is_file() else 1 for f in files]
        finished = [0]

        def done(number: int) -> None:
            finished[0] += sizes[number]
            self.tell("read", 0.5 * finished[0] / sum(sizes))

        results = self.pool.run(
            make_tile,
            [TileJob(f, projection.epsg, self.options, store, older) for f in files],
            names=[f.name for f in files],
            weights=sizes,
            done=done,
        )
        good = self._good(files, results)
        tiles = [read_tile(store / str(results[i].key)) for i in good]
        report = self.report
        report.read["files"] = len(files)
        for tile in tiles:
            report.skipped += tile.skipped
            report.add(report.read, tile.counts)
            report.add(report.changed, tile.changed)
            report.notes += [n for n in tile.notes if n not in report.notes]
        report.reused["files"] = sum(results[i].reused for i in good)
        report.reused["of files"] = len(good)
        chosen = [files[i] for i in good]
        masks, left = select(chosen, tiles, self.options.modules, self.options.region, projection)
        report.add(report.changed, left)
        fingerprints = [results[i].fingerprint for i in good]
        city = _City(chosen, tiles, masks, projection, [f for f in fingerprints if f is not None])
        if not sum(int(m.sum()) for m in masks) and not any(t.rows["terrain"] for t in tiles):
            raise InputError(self._nothing(paths, tiles))
        return city

    def _good(self, files: Sequence[SourceFile], results: Sequence[TileResult]) -> list[int]:
        """Numbers of the files that could be read; the others are reported. Raises the first error when none could."""
        good = []
        for number, (file, result) in enumerate(zip(files, results, strict=True)):
            if result.error is None:
                good.append(number)
            else:
                reason = str(result.error).replace(str(file.path), file.name)
                self.report.skipped.append(Skipped(file.name, "file", reason))
        if not good:
            raise next(r.error for r in results if r.error is not None)
        return good

    def _nothing(self, paths: Sequence[Path], tiles: Sequence[StoredTile]) -> str:
        found = ", ".join(f"{v} {k}" for k, v in sorted(self.report.read.items()) if k != "files") or "nothing else"
        reasons = [s.reason for s in self.report.skipped][:1]
        left = [f"{v} {k}" for k, v in self.report.changed.items() if k.startswith("objects")]
        where = ", ".join(str(p) for p in paths[:3])
        return f"{where}: nothing in it that can be converted ({found})" + "".join(f"; {r}" for r in reasons + left)

    # -- placing --------------------------------------------------------------------------------------------------

    def _frame(self, city: _City) -> LocalFrame:
        """Map's origin: as asked, else the middle of the bodies, of everything where there are none, to a metre."""
        boxes, projection = city.boxes, city.projection
        bodies = np.array([not KINDS[k].lies for k in city.kinds], bool)
        if bodies.any():
            corners = boxes[bodies][:, :, :2].reshape(-1, 2)
        elif len(boxes):
            corners = boxes[:, :, :2].reshape(-1, 2)
        else:
            corners = np.concatenate([t.terrain()[:, :, :2].reshape(-1, 2) for t in city.tiles])
            corners = corners[np.isfinite(corners).all(axis=1)]
            if not len(corners):
                raise InputError(f"{city.files[0].name}: no coordinate of its terrain is a place on earth")
        if self.options.origin is not None:
            frame = LocalFrame.at(projection, *self.options.origin)
        else:
            middle = np.round((corners.min(axis=0) + corners.max(axis=0)) / 2)
            frame = LocalFrame.at_plane(projection, float(middle[0]), float(middle[1]))
        everything = np.concatenate([corners, boxes[:, :, :2].reshape(-1, 2)])
        extent = np.abs(everything - [frame.east, frame.north]).max()
        if extent > 100_000:
            raise InputError(
                f"the city reaches {extent / 1000:.0f} km from map's origin (at most 100 km): "
                + (
                    "choose an --origin in the city"
                    if self.options.origin
                    else "some coordinates are far off; convert fewer files"
                )
            )
        return frame

    def _ground(self, city: _City, frame: LocalFrame, place: Workplace) -> Terrain:
        """The terrain below and around everything, light enough for its models."""
        origin = np.array([frame.east, frame.north])
        boxes = city.boxes - np.array([frame.east, frame.north, 0.0])
        bounds = np.array([boxes[:, 0, :2].min(axis=0), boxes[:, 1, :2].max(axis=0)]) if len(boxes) else None
        if self.options.region is not None:
            asked = plane_bounds(self.options.region, city.projection) - origin
            bounds = (
                asked
                if bounds is None
                else np.array([np.minimum(bounds[0], asked[0]), np.maximum(bounds[1], asked[1])])
            )
        source = self._source_terrain(city, frame, bounds)
        if bounds is None:
            finite = source[np.isfinite(source).all(axis=(1, 2))]
            bounds = np.array([finite[:, :, :2].min(axis=(0, 1)), finite[:, :, :2].max(axis=(0, 1))])
        if not len(boxes) and not len(source):
            raise InputError("nothing of the source lies in the region asked for")
        bases = _bases(boxes, city.kinds)
        if not len(source) and len(bases):
            more, number = _continued(boxes, city.kinds, bases)
            bases = np.concatenate([bases, more])
            if number:
                self.report.notes.append(
                    f"{number} surfaces without heights lie more than {_FAR:g} m from anything that tells the ground's "
                    "height; the ground goes on level there"
                )
        terrain = make_terrain(source, bases, bounds)
        for reason, number in terrain.dropped.items():
            self.report.changed[f"terrain triangles: {reason}"] = number
        self.report.notes += terrain.notes
        return self._lighter(terrain)

    def _source_terrain(self, city: _City, frame: LocalFrame, bounds: Array | None) -> Array:
        """(K, 3, 3) map: the source's terrain triangles that touch the bounds and their surroundings."""
        found = [np.zeros((0, 3, 3))]
        if "dem" not in self.options.modules:
            return found[0]
        outside = 0
        for tile in city.tiles:
            triangles = tile.terrain()
            if bounds is not None:
                low, high = bounds[0] - EXTENSION, bounds[1] + EXTENSION
                xy = triangles[:, :, :2] - np.array([frame.east, frame.north])
                far = (xy.max(axis=1) < low).any(axis=1) | (xy.min(axis=1) > high).any(axis=1)
                outside += int(far.sum())
                triangles = triangles[~far]
            found.append(triangles - np.array([frame.east, frame.north, 0.0]))
        if outside:
            self.report.add(self.report.changed, {"terrain triangles: outside the city": outside})
        return np.concatenate(found)

    def _lighter(self, terrain: Terrain) -> Terrain:
        """Squares with more terrain triangles than a model should have are simplified, before anything is laid on
        them."""
        chunk, target = self.options.chunk, self.options.target_faces
        place = np.floor(terrain.triangles[:, :, :2].mean(axis=1) / chunk).astype(np.int64)
        heavy = [(cell, rows) for cell, rows in by_cell(place) if len(rows) > target]
        if not heavy:
            return terrain
        results = self.pool.run(
            chunks.simplify_square,
            [chunks.GroundJob(terrain.triangles[rows], self.options) for _, rows in heavy],
            names=[f"the ground of square {cell}" for cell, _ in heavy],
        )
        keep = np.ones(len(terrain.triangles), bool)
        for _, rows in heavy:
            keep[rows] = False
        parts = [terrain.triangles[keep], *(triangles for triangles, _ in results)]
        light = np.concatenate(parts)
        worst = max(moved for _, moved in results)
        self.report.notes.append(
            f"terrain: {len(terrain.triangles)} triangles became {len(light)}; no point moved by more than {worst:.3f} m"
        )
        return Terrain(light, terrain.source_count, terrain.kind, terrain.dropped, terrain.notes)

    # -- writing --------------------------------------------------------------------------------------------------

    def _write(self, city: _City, frame: LocalFrame, terrain: Terrain, place: Workplace, generated: bool) -> None:
        """All models, square by square, then the documents about them."""
        options, world, report = self.options, place.world, self.report
        squares = share_out(city.tiles, city.masks, np.array([frame.east, frame.north]), options.chunk)
        ground = np.floor(terrain.triangles[:, :, :2].mean(axis=1) / options.chunk).astype(np.int64)
        for cell, _ in by_cell(ground):
            squares.setdefault(cell, {})
        refuse_too_many(squares, options.chunk, options.per_building)
        terrain.save(place.work / "terrain")
        shared = chunks.Place(
            world,
            place.older,
            tuple(t.folder for t in city.tiles),
            tuple((f.path.parent, f.root) for f in city.files),
            place.work / "terrain",
            frame.east,
            frame.north,
            options,
        )
        (world / "models").mkdir()
        kept = read_kept(place.older)
        cells = sorted(squares)
        names = self._names(city, squares, cells)
        jobs = [chunks.SquareJob(shared, c, squares[c], names[c], _of_cell(kept, c, squares[c])) for c in cells]
        finished = [0]

        def done(number: int) -> None:
            finished[0] += 1
            self.tell("write", 0.55 + 0.35 * finished[0] / len(jobs))

        results = self.pool.run(chunks.make_square, jobs, names=[f"square {c}" for c in cells], done=done)
        groups = {
            chunks.group_name(cell, kind): record
            for cell, result in zip(cells, results, strict=True)
            for kind, record in sorted(result.groups.items())
        }
        report.reused["models"] = sum(len(r.groups[kind]["files"]) for r in results for kind in r.reused)
        bodies = _bodies(city, squares, cells, results)
        buildings = [b for b in bodies if b.feature.kind == "building"]
        self._tell_written(city, cells, squares, results, buildings)
        models = sorted(name for record in groups.values() for name in record["files"])
        report.written["models"] = len(models)
        report.reused["of models"] = len(models)
        objects: dict[str, int] = {}
        for kind in city.kinds:
            objects[kind] = objects.get(kind, 0) + 1
        document = city_json(report, frame, terrain, buildings, objects, city.sources, generated)
        write_json(world / "city.json", document, sync=False)
        write_bytes(world / "world.sdf", world_sdf(report.world, frame.georeference, models), sync=False)
        shutil.rmtree(place.work / "terrain", ignore_errors=True)
        if options.preview:
            self.tell("preview", 0.9)
            key = group_key([{n: r["key"] for n, r in groups.items()}, document])
            groups["previews"] = previews(world, place.older, key, kept.get("previews"), report)
        write_json(world / "conversion_report.json", {"version": __version__, **report.to_file()}, sync=False)
        self._keep_tiles(world, city, groups)

    def _names(self, city: _City, squares: Squares, cells: Sequence[Any]) -> dict[Any, list[str]]:
        """Model names of single buildings, by square, in the order of its picks."""
        if not self.options.per_building:
            return {cell: [] for cell in cells}
        ids = [
            [city.tiles[p.tile].features[i].id for p in squares[c].get("building", []) for i in p.features.tolist()]
            for c in cells
        ]
        taken = [f"{chunks.group_name(c, k)}" for c in cells for k in KINDS]
        unique = iter(unique_names([*taken, *(i for group in ids for i in group)])[len(taken) :])
        return {cell: [next(unique) for _ in group] for cell, group in zip(cells, ids, strict=True)}

    def _tell_written(
        self, city: _City, cells: Sequence[Any], squares: Squares, results: Sequence[Any], buildings: Sequence[Body]
    ) -> None:
        report, written = self.report, self.report.written
        kinds = city.kinds
        written["buildings"] = len(buildings)
        written["closed buildings"] = sum(b.feature.closed for b in buildings)
        lods = [t.features[i].lod for t, m in zip(city.tiles, city.masks, strict=True) for i in np.flatnonzero(m)]
        for kind, lod in sorted(zip(kinds, lods, strict=True)):
            report.add(written, {f"{kind} LOD{lod}": 1})
        draped: dict[str, set[tuple[int, int]]] = {}
        bounds: dict[str, list[Array]] = {"world": []}
        problems: dict[str, None] = {}
        images: set[str] = set()
        simplified: list[list[float]] = []
        for cell, result in zip(cells, results, strict=True):
            for kind, record in result.groups.items():
                report.add(written, {f"{kind} triangles": record["triangles"]})
                report.add(report.changed, {f"{kind} objects lowered to the ground": record.get("lowered", 0)})
                for name, number in record.get("laid", {}).items():
                    report.add(written, {f"{kind} {_LAID[name]}": number})
                members = [(p.tile, i) for p in squares[cell].get(kind, []) for i in p.features.tolist()]
                draped.setdefault(kind, set()).update(members[i] for i in record.get("draped", []))
                problems.update(dict.fromkeys(record["problems"]))
                images.update(record["images"])
                simplified += record["simplified"]
                if record["bounds"] is not None:
                    bounds["world"].append(np.array(record["bounds"]))
                    if kind == "building":
                        bounds.setdefault("buildings", []).append(np.array(record["bounds"]))
        report.changed["buildings whose base was lowered to the ground"] = report.changed.pop(
            "building objects lowered to the ground", 0
        )
        report.changed = {name: number for name, number in report.changed.items() if number or "lowered" not in name}
        flat = [np.abs(t.boxes[:, :, 2]).max(axis=1, initial=0.0) < chunks.NO_HEIGHT for t in city.tiles]
        for kind, features in draped.items():
            report.add(written, {f"{kind} objects draped on the ground": len(features)})
            without = sum(
                int(flat[n][i])
                for n, m in enumerate(city.masks)
                for i in np.flatnonzero(m)
                if city.tiles[n].features[i].kind == kind
            )
            report.add(written, {f"{kind} {_LAID['beyond']}": without - len(features)})
        written["images"] = len(images)
        report.written = {name: n for name, n in written.items() if n or name in ("buildings", "closed buildings")}
        report.notes += [f"{line}; that surface is drawn by its class" for line in sorted(problems)]
        if simplified:
            before, after, worst = (
                sum(s[0] for s in simplified),
                sum(s[1] for s in simplified),
                max(s[2] for s in simplified),
            )
            report.notes.append(
                f"{len(simplified)} models simplified from {before} to {after} triangles; no point moved by more than {worst:.3f} m"
            )
        report.bounds = {
            name: [
                [round(float(v), 4) for v in np.min([c[0] for c in corners], axis=0)],
                [round(float(v), 4) for v in np.max([c[1] for c in corners], axis=0)],
            ]
            for name, corners in sorted(bounds.items())
            if corners
        }

    def _keep_tiles(self, world: Path, city: _City, groups: dict[str, Any]) -> None:
        """Leave the tiles of this world for the next run, and no others; or none."""
        store = world / TILES
        if not self.options.keep_tiles:
            shutil.rmtree(store, ignore_errors=True)
            return
        used = {t.folder.name for t in city.tiles}
        for entry in sorted(store.iterdir()):
            if entry.name not in used:
                shutil.rmtree(entry)
        write_kept(world, groups)


_LAID = {
    "near": "objects on the ground with their own heights",
    "own": "objects at their own height (bridges and the like)",
    "cut": "triangles cut off where the ground ends",
    "beyond": "objects outside the ground",
}


def _of_cell(kept: dict[str, Any], cell: Any, kinds: dict[str, Any]) -> dict[str, Any]:
    names = [chunks.group_name(cell, kind) for kind in {*kinds, "terrain"}]
    return {name: kept[name] for name in names if name in kept}


#: What tells where the ground is, best first; each is asked only where the ones before are farther than `_FAR` metres.
_FEET = (("building",), ("furniture", "vegetation"), ("road", "sidewalk", "flat", "planting", "water"), ("bridge",))
_FAR = 250.0


def _bases(boxes: Array, kinds: Sequence[str]) -> Array:
    """(N, 3) middles of the feet that tell where the ground is: of buildings, elsewhere of what else stands on it, of
    surfaces that have heights, and in the end of bridges."""
    names = np.array(kinds, dtype=object)
    found = np.zeros((0, 3))
    for group in _FEET:
        chosen = np.isin(names, group)
        if KINDS[group[0]].lies:
            chosen &= np.abs(boxes[:, :, 2]).max(axis=1, initial=0.0) > 0
        feet = np.column_stack([boxes[chosen][:, :, :2].mean(axis=1), boxes[chosen, 0, 2]])
        if len(found) and len(feet):
            feet = feet[cKDTree(found[:, :2]).query(feet[:, :2])[0] > _FAR]
        found = np.concatenate([found, feet])
    return found


def _continued(boxes: Array, kinds: Sequence[str], bases: Array) -> tuple[Array, int]:
    """Feet (N, 3) below surfaces without heights that lie far from all others, as high as the nearest; and how many
    such surfaces there are."""
    lies = np.array([KINDS[k].lies for k in kinds], bool) & (np.abs(boxes[:, :, 2]).max(axis=1) < chunks.NO_HEIGHT)
    box = boxes[lies][:, :, :2]
    places = np.stack([box.mean(axis=1), *(box[:, [i, j], [0, 1]] for i in (0, 1) for j in (0, 1))], axis=1)
    distance, nearest = cKDTree(bases[:, :2]).query(places.reshape(-1, 2))
    far = (distance > _FAR).reshape(places.shape[:2])
    found = np.column_stack([places.reshape(-1, 2), bases[nearest, 2]])[far.reshape(-1)]
    return found, int(far.any(axis=1).sum())


def _bodies(city: _City, squares: Squares, cells: Sequence[Any], results: Sequence[Any]) -> list[Body]:
    """Every body in the world, in the sources' order."""
    found: dict[tuple[int, int], Body] = {}
    for cell, result in zip(cells, results, strict=True):
        for kind, record in result.groups.items():
            rows = iter(record.get("bodies", []))
            for pick in squares[cell].get(kind, []) if "bodies" in record else []:
                for i in pick.features.tolist():
                    model, base, top, *box = next(rows)
                    found[pick.tile, i] = Body(city.tiles[pick.tile].features[i], model, base, top, box)
    return [found[place] for place in sorted(found)]
