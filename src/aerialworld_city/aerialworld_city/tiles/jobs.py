"""A source file's way into the store: found there, taken over from an older world, or read. Runs in a worker."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aerialworld_city.geodesy import Projection
from aerialworld_city.options import ConversionOptions
from aerialworld_city.sources.discover import SourceFile
from aerialworld_city.sources.files import stamp
from aerialworld_city.tiles.build import build_tile
from aerialworld_city.tiles.store import adopt, is_whole, tile_key, write_tile
from aerialworld_city.writing.folder import sync_tree
from aerialworld_core.errors import AerialWorldError, InputError
from aerialworld_core.files import StorageError, storage_errors


@dataclass(frozen=True)
class TileJob:
    """`store` is the folder for tiles; `older` one of an older world, or None; `maker` is `store.program()`."""

    file: SourceFile
    epsg: int
    options: ConversionOptions
    store: Path
    older: Path | None
    maker: str


@dataclass(frozen=True)
class TileResult:
    """`key` names the tile's folder in the store, None where the file could not be read (`error` says why); `reused`
    whether nothing had to be read; `fingerprint` the file's name, size and sha256, as in city.json."""

    key: str | None
    fingerprint: dict[str, Any] | None
    reused: bool = False
    error: AerialWorldError | None = None


def make_tile(job: TileJob) -> TileResult:
    """See to it that the file's tile stands in the store.

    What is wrong with the file is returned, not raised, so that the others are read; `options.strict` raises.
    """
    try:
        with job.file.speaking():
            return _make(job)
    except StorageError:
        raise  # nothing is wrong with the file
    except AerialWorldError as error:
        if job.options.strict:
            raise
        return TileResult(None, None, error=error)


def _make(job: TileJob) -> TileResult:
    before = stamp(job.file.path)
    try:
        fingerprint = job.file.fingerprint()
    except OSError as error:
        raise InputError(f"{job.file.path}: cannot be read: {error.strerror}") from error
    key = tile_key(job.file, fingerprint["sha256"], job.epsg, job.options, job.maker)
    place = job.store / key
    if is_whole(place):
        return TileResult(key, fingerprint, reused=True)
    if job.older is not None and is_whole(job.older / key):
        with storage_errors(place):
            adopt(job.older / key, place)
        sync_tree(place)
        return TileResult(key, fingerprint, reused=True)
    # The projection is looked up here: it cannot be handed from process to process.
    tile = build_tile(job.file, Projection(job.epsg), job.options)
    tile.skipped = [replace(s, reason=job.file.said(s.reason)) for s in tile.skipped]
    tile.notes = [job.file.said(note) for note in tile.notes]
    if stamp(job.file.path) != before:
        raise InputError(f"{job.file.path}: changed while it was read; convert again when it is finished")
    write_tile(place, tile)
    sync_tree(place)
    return TileResult(key, fingerprint)
