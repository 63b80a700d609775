"""From a city model to a world folder: the whole conversion, step by step."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from aerialworld_city.city import City
from aerialworld_city.features import Skipped
from aerialworld_city.geodesy import LocalFrame, Projection
from aerialworld_city.geometry.heightmap import Heightmap
from aerialworld_city.geometry.terrain import Terrain
from aerialworld_city.options import ConversionOptions
from aerialworld_city.placing import choose_frame, make_ground
from aerialworld_city.plane_system import choose_zone
from aerialworld_city.report import ConversionReport
from aerialworld_city.sources.credit import GENERATED_CREDIT, PLATEAU_CREDIT
from aerialworld_city.sources.discover import SourceFile, Sources, open_sources
from aerialworld_city.summary import bodies_of, tell_written
from aerialworld_city.tiles.jobs import TileJob, TileResult, make_tile
from aerialworld_city.tiles.pool import Pool, workers_for
from aerialworld_city.tiles.select import select
from aerialworld_city.tiles.squares import model_names, refuse_too_many, share_out, weight
from aerialworld_city.tiles.store import forget_folders, program, read_tile
from aerialworld_city.writing import chunks
from aerialworld_city.writing.city_json import city_json, document_bytes
from aerialworld_city.writing.folder import TILES, Workplace, workplace
from aerialworld_city.writing.ground_models import write_heightmap
from aerialworld_city.writing.kept import group_key, read_kept, write_kept
from aerialworld_city.writing.preview_kept import previews, why_none
from aerialworld_city.writing.world_writer import safe_name, world_sdf
from aerialworld_core import __version__
from aerialworld_core.errors import InputError
from aerialworld_core.files import storage_errors, write_bytes, write_json

__all__ = ["GENERATED_CREDIT", "PLATEAU_CREDIT", "ConversionReport", "convert"]

Progress = Callable[[str, float], None]
#: Shares of the whole at which the steps end.
_READ, _GROUND, _WRITTEN = 0.5, 0.55, 0.9
#: So many reasons are told where nothing can be converted.
_REASONS = 3


def convert(
    source: Path | Sequence[Path],
    out: Path,
    options: ConversionOptions | None = None,
    *,
    progress: Progress | None = None,
) -> ConversionReport:
    """Convert a city model into the world folder `out`.

    `source` is a file, a folder or zip of a data set, or several of them. `progress(stage, share)` is called on the way
    (stages "read", "ground", "write", "preview"); `share` of the whole grows from 0 to 1.

    Raises InputError (UnsafeInputError) that names file and element: missing, malformed or no city model, nothing in
    it, unknown reference system, a folder in the way. Of several files the good ones are converted and the others are
    reported; `options.strict` stops at the first. After an error nothing stands under `out` that was not there before;
    after Ctrl-C or a crash a hidden folder beside it keeps what was read, and the next run goes on from there.
    """
    begin = time.monotonic()
    paths = [Path(source)] if isinstance(source, str | Path) else [Path(p) for p in source]
    conversion = _Conversion(options or ConversionOptions(), progress or (lambda stage, share: None))
    _forget()
    try:
        with workplace(Path(out)) as place, open_sources(paths, conversion.options, place.work) as sources:
            report = conversion.run(paths, sources, place)
    finally:
        _forget()
    conversion.tell("preview" if conversion.options.preview else "write", 1.0)
    report.seconds = round(time.monotonic() - begin, 3)
    return report


def _forget() -> None:
    """Let go of what is kept open within a conversion: the next one has other files in the same places."""
    forget_folders()
    chunks.forget()


class _Conversion:
    """One run: the steps in their order, and what they share."""

    def __init__(self, options: ConversionOptions, tell: Progress) -> None:
        self.options = options
        self.tell = tell
        self.maker = program()

    def run(self, paths: Sequence[Path], sources: Sources, place: Workplace) -> ConversionReport:
        self.tell("read", 0.0)
        self.report = ConversionReport(safe_name(sources.name), passed_over=list(sources.passed_over))
        size = sum(_size(f) for f in sources.files)
        with Pool(workers_for(self.options.workers, len(sources.files), size)) as self.pool:
            projection = choose_zone(sources.files, sources.city_code, self.options)
            city = self._read(paths, sources.files, projection, place)
            if city.generated:
                self.report.world = "small_city"
            self.tell("ground", _READ)
            frame = choose_frame(city, self.options)
            terrain, heightmap = make_ground(city, frame, self.options, self.report, self.pool)
            self.tell("write", _GROUND)
            self._write(city, frame, terrain, heightmap, place)
        return self.report

    # -- reading --------------------------------------------------------------------------------------------------

    def _read(
        self, paths: Sequence[Path], files: Sequence[SourceFile], projection: Projection, place: Workplace
    ) -> City:
        """Every file as a tile, and what of it is wanted."""
        report, store = self.report, place.world / TILES
        older = place.older / TILES if place.older is not None else None
        sizes = [_size(f) for f in files]
        results = self.pool.run(
            make_tile,
            [TileJob(f, projection.epsg, self.options, store, older, self.maker) for f in files],
            names=[f.name for f in files],
            weights=sizes,
            done=self._steps("read", 0.0, _READ, sizes),
        )
        good = self._good(files, results)
        tiles = [read_tile(store / str(results[i].key)) for i in good]
        report.read["files"] = len(files)
        for tile in tiles:
            report.skipped += tile.skipped
            report.add(report.read, tile.counts)
            report.add(report.changed, tile.changed)
            report.notes += [note for note in tile.notes if note not in report.notes]
        report.reused.update({"files": sum(results[i].reused for i in good), "of files": len(good)})
        chosen = [files[i] for i in good]
        masks, left = select(chosen, tiles, self.options.modules, self.options.region, projection)
        report.add(report.changed, left)
        fingerprints = [results[i].fingerprint or {} for i in good]
        if not any(m.any() for m in masks) and not any(t.rows["terrain"] for t in tiles):
            raise InputError(self._nothing(paths))
        return City(chosen, tiles, masks, projection, fingerprints)

    def _good(self, files: Sequence[SourceFile], results: Sequence[TileResult]) -> list[int]:
        """Numbers of the files that could be read; the others are reported. Raises the first error when none could."""
        good = []
        for number, (file, result) in enumerate(zip(files, results, strict=True)):
            if result.error is None:
                good.append(number)
            else:
                reason = str(result.error).replace(file.shown, file.name)
                self.report.skipped.append(Skipped(file.name, "file", reason))
        if not good:
            raise next(r.error for r in results if r.error is not None)
        return good

    def _nothing(self, paths: Sequence[Path]) -> str:
        found = ", ".join(f"{v} {k}" for k, v in sorted(self.report.read.items()) if k != "files") or "nothing else"
        skipped = self.report.skipped
        reasons = [f"{s.file}: {s.id}: {s.reason}" for s in skipped[:_REASONS]]
        if len(skipped) > _REASONS:
            reasons.append(f"and {len(skipped) - _REASONS} more")
        left = [f"{v} {k}" for k, v in self.report.changed.items() if k.startswith("objects")]
        where = ", ".join(str(p) for p in paths[:3])
        return f"{where}: nothing in it that can be converted ({found})" + "".join(f"; {r}" for r in reasons + left)

    # -- writing --------------------------------------------------------------------------------------------------

    def _write(
        self, city: City, frame: LocalFrame, terrain: Terrain, heightmap: Heightmap | None, place: Workplace
    ) -> None:
        """All models, square by square, then the documents about them."""
        options, report, world = self.options, self.report, place.world
        squares = share_out(city.tiles, city.masks, frame, None if heightmap else terrain, options.chunk)
        refuse_too_many(squares, options.chunk, options.per_building)
        with storage_errors(place.work / "terrain"):
            terrain.save(place.work / "terrain")
        shared = chunks.Place.of(city, frame, place, options, self.maker)
        cells, kept = sorted(squares), read_kept(place.older)
        names = model_names(city.tiles, squares, cells) if options.per_building else {}
        jobs = [chunks.SquareJob.of(shared, cell, squares[cell], names.get(cell, []), kept) for cell in cells]
        weights = [weight(city.tiles, squares[cell]) for cell in cells]
        results = self.pool.run(
            chunks.make_square,
            jobs,
            names=[f"square {cell}" for cell in cells],
            weights=weights,
            done=self._steps("write", _GROUND, _WRITTEN, weights),
        )
        groups = {
            chunks.group_name(cell, kind): record
            for cell, result in zip(cells, results, strict=True)
            for kind, record in result.groups.items()
        }
        if heightmap is not None:
            groups["terrain"] = write_heightmap(world, heightmap, terrain, self.maker)
        tell_written(report, city, squares, cells, results, groups.get("terrain"))
        models = sorted(name for record in groups.values() for name in record["files"])
        report.written["models"] = len(models)
        same = sum(len(r.groups[kind]["files"]) for r in results for kind in r.reused)
        report.reused.update({"models": same, "of models": len(models)})
        bodies = bodies_of(city, squares, cells, results)
        document = city_json(report, city, frame, terrain, bodies, options)
        write_bytes(world / "city.json", document_bytes(document), sync=False)
        write_bytes(world / "world.sdf", world_sdf(report.world, frame.georeference, models), sync=False)
        if options.preview:
            self.tell("preview", _WRITTEN)
            key = group_key([{name: record["key"] for name, record in groups.items()}, document], self.maker)
            groups["previews"] = previews(world, place.older, key, kept.get("previews"))
            if not groups["previews"]["files"][""]:
                report.notes.append(why_none(len(models)))
        write_json(world / "conversion_report.json", {"version": __version__, **report.to_file()}, sync=False)
        self._keep_tiles(world, city, groups)

    def _keep_tiles(self, world: Path, city: City, groups: dict[str, Any]) -> None:
        """Leave the tiles of this world for the next run, and no others; or none."""
        store = world / TILES
        if not self.options.keep_tiles:
            shutil.rmtree(store, ignore_errors=True)
            return
        used = {tile.folder.name for tile in city.tiles}
        for entry in sorted(store.iterdir()):
            if entry.name not in used:
                shutil.rmtree(entry)
        write_kept(world, groups)

    def _steps(self, stage: str, begin: float, end: float, weights: Sequence[float]) -> Callable[[int], None]:
        """A listener that tells how much of a step is done as its jobs end."""
        total, finished = float(sum(weights)), 0.0

        def done(number: int) -> None:
            nonlocal finished
            finished += weights[number]
            self.tell(stage, begin + (end - begin) * min(finished / total, 1.0))

        return done


def _size(file: SourceFile) -> int:
    """Bytes to read; 1 for what cannot be read, which is found out later."""
    return max(file.path.stat().st_size, 1) if file.path.is_file() else 1
