"""Tiles on disk: a folder of arrays per tile, memory-mapped by whoever needs a part.

    {key}/mesh_*.npy, terrain.npy, starts.npy, boxes.npy
    {key}/meta.json     all but the triangles, with the sizes and the CRC-32 of every array
    {key}/whole.json    the CRC-32 of meta.json, written last

The key is made of all that the tile depends on: the file's bytes, the options that matter for reading, the plane
system, and the program. A folder that is damaged, half written or of another program counts as absent.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import zlib
from dataclasses import asdict, dataclass, fields
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_city.arrays import write_array
from aerialworld_city.features import Feature, Material, Skipped, Tile
from aerialworld_city.geometry.mesh import Mesh
from aerialworld_city.geometry.solids import bounding_boxes
from aerialworld_city.kinds import KINDS
from aerialworld_city.options import ConversionOptions
from aerialworld_city.sources.discover import SourceFile
from aerialworld_core.errors import InputError
from aerialworld_core.files import canonical_json, open_regular, read_json, storage_errors, write_bytes
from aerialworld_core.frames import Array

_FORMAT = 1
_MESH = {
    "triangles": (np.float64, (3, 3)),
    "feature": (np.int32, ()),
    "surface": (np.int8, ()),
    "double": (np.bool_, ()),
    "material": (np.int32, ()),
    "uv": (np.float32, (3, 2)),
}


_FEATURE = attrgetter(*(f.name for f in fields(Feature)))


@dataclass(eq=False)
class StoredTile:
    """A tile on disk: all but its triangles in memory.

    `starts` (F + 1,): feature f's triangles are rows starts[f] … starts[f + 1] of the mesh; `boxes` (F, 2, 3) plane
    metres, lowest and highest corner.
    """

    folder: Path
    source: str
    epsg: int
    features: list[Feature]
    materials: list[Material]
    starts: NDArray[np.int64]
    boxes: Array
    skipped: list[Skipped]
    counts: dict[str, int]
    changed: dict[str, int]
    notes: list[str]
    generated: bool
    rows: dict[str, int]

    def mesh(self) -> Mesh:
        """Its triangles, mapped from disk. Raises ValueError for arrays that are not what was written."""
        parts = {}
        for name, (dtype, shape) in _MESH.items():
            if f"mesh_{name}" in self.rows:
                parts[name] = _load(self.folder, f"mesh_{name}", dtype, (self.rows[f"mesh_{name}"], *shape), "r")
        return Mesh(**parts)

    def terrain(self) -> Array:
        """(K, 3, 3) mapped from disk."""
        return np.asarray(_load(self.folder, "terrain", np.float64, (self.rows["terrain"], 3, 3), "r"))


def tile_key(file: SourceFile, digest: str, epsg: int, options: ConversionOptions, maker: str) -> str:
    """What the tile of a file with this sha256 is called; `maker` is `program()`, asked once per conversion."""
    words = {
        "content": digest,
        "beside": _beside(file),
        "file": [file.name, file.module, file.format, file.lod],
        "epsg": epsg,
        "options": [options.lod, options.crs, options.up, sorted(options.modules)],
        "origin": options.origin if file.format == "mesh" else None,
        "program": maker,
        "format": _FORMAT,
    }
    return hashlib.sha256(canonical_json(words)).hexdigest()[:40]


@cache
def program() -> str:
    """A hash of this package's and of its parsers' source: another version converts anew."""
    import aerialworld_core

    total = hashlib.sha256(np.__version__.encode())
    package = Path(__file__).parent.parent
    for path in [*sorted(package.rglob("*.py")), Path(aerialworld_core.__file__).parent / "safexml.py"]:
        total.update(path.name.encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def _beside(file: SourceFile) -> str:
    """A hash of what a reader looks up beside the file: codelists, material libraries, a glTF's buffers."""
    if file.format == "citygml":
        folder = _codelists(file)
        return _folder_hash(folder, (".xml",)) if folder else ""
    return _folder_hash(file.path.parent, (".mtl", ".bin", ".gltf"))


def _codelists(file: SourceFile) -> Path | None:
    root = file.root.resolve()
    for folder in file.path.resolve().parents:
        if (folder / "codelists").is_dir():
            return folder / "codelists"
        if folder == root:
            break
    return None


@cache
def _folder_hash(folder: Path, suffixes: tuple[str, ...]) -> str:
    """Of the names and bytes of the files that end so; once per conversion, however many ask."""
    total = hashlib.sha256()
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            if entry.name.lower().endswith(suffixes) and entry.is_file():
                total.update(entry.name.encode() + b"\0")
                with open_regular(entry.path) as handle:
                    total.update(hashlib.file_digest(handle, "sha256").digest())
    return total.hexdigest()


def forget_folders() -> None:
    """Between conversions: what lies beside files may have changed."""
    _folder_hash.cache_clear()


def write_tile(folder: Path, tile: Tile) -> None:
    """Write a tile as `folder`, which appears when it is whole. Raises StorageError."""
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    with storage_errors(folder):
        temporary.mkdir(parents=True)
    count = len(tile.features)
    mesh = tile.mesh
    if len(mesh) and (np.diff(mesh.feature) < 0).any():
        mesh = mesh.take(np.argsort(mesh.feature, kind="stable"))
    arrays: dict[str, Any] = {f"mesh_{name}": getattr(mesh, name) for name in _MESH}
    if mesh.uv is None:
        del arrays["mesh_uv"]
    arrays["terrain"] = np.asarray(tile.terrain, np.float64).reshape(-1, 3, 3)
    arrays["starts"] = np.searchsorted(mesh.feature, np.arange(count + 1)).astype(np.int64)
    arrays["boxes"] = bounding_boxes(mesh, count)
    stored = {
        name: {"rows": len(array), "crc": write_array(temporary / f"{name}.npy", array)}
        for name, array in arrays.items()
    }
    meta = {
        "format": _FORMAT,
        "source": tile.source,
        "epsg": tile.epsg,
        "arrays": stored,
        "features": [list(_FEATURE(f)) for f in tile.features],
        "materials": [asdict(m) for m in tile.materials],
        "skipped": [asdict(s) for s in tile.skipped],
        "counts": tile.counts,
        "changed": tile.changed,
        "notes": tile.notes,
        "generated": tile.generated,
    }
    write_bytes(temporary / "meta.json", canonical_json(meta), sync=False)
    write_bytes(temporary / "whole.json", canonical_json({"meta": file_crc(temporary / "meta.json")}), sync=False)
    shutil.rmtree(folder, ignore_errors=True)
    with storage_errors(folder):
        temporary.rename(folder)


def file_crc(path: Path) -> int:
    """CRC-32 of a file."""
    value = 0
    with open(path, "rb") as handle:
        while data := handle.read(1 << 20):
            value = zlib.crc32(data, value)
    return value


def is_whole(folder: Path) -> bool:
    """Whether a stored tile is there, and every array is what was written."""
    try:
        if read_json(folder / "whole.json")["meta"] != file_crc(folder / "meta.json"):
            return False
        arrays = read_json(folder / "meta.json")["arrays"]
        if any(file_crc(folder / f"{name}.npy") != entry["crc"] for name, entry in arrays.items()):
            return False
        tile = read_tile(folder)
        tile.mesh(), tile.terrain()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, InputError):
        return False
    return True


def read_tile(folder: Path) -> StoredTile:
    """Open a stored tile. Raises OSError, ValueError, KeyError, TypeError for one that is not what was written."""
    meta = read_json(folder / "meta.json")
    if meta["format"] != _FORMAT:
        raise ValueError(f"{folder}: another format")
    rows = {name: int(entry["rows"]) for name, entry in meta["arrays"].items()}
    features = [Feature(*row) for row in meta["features"]]
    if any(f.kind not in KINDS for f in features):
        raise ValueError(f"{folder}: an unknown kind")
    starts = _load(folder, "starts", np.int64, (len(features) + 1,))
    boxes = _load(folder, "boxes", np.float64, (len(features), 2, 3))
    if int(starts[-1]) != rows["mesh_triangles"] or (np.diff(starts) < 0).any() or int(starts[0]) != 0:
        raise ValueError(f"{folder}: features and triangles do not fit")
    return StoredTile(
        folder,
        meta["source"],
        meta["epsg"],
        features,
        [_material(m) for m in meta["materials"]],
        starts,
        boxes,
        [Skipped(**s) for s in meta["skipped"]],
        meta["counts"],
        meta["changed"],
        meta["notes"],
        meta["generated"],
        rows,
    )


def _load(folder: Path, name: str, dtype: Any, shape: tuple[int, ...], mode: Any = None) -> Any:
    # The format asks for at least one byte to map.
    mode = mode if all(shape) else None
    array = np.load(folder / f"{name}.npy", mmap_mode=mode, allow_pickle=False)
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(f"{folder / name}.npy: not what was written")
    return array


def _material(entry: dict[str, Any]) -> Material:
    known = {f.name for f in fields(Material)}
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items() if k in known}
    return Material(**values)


def adopt(source: Path, target: Path) -> None:
    """Take over a folder of files by hard links (copies where the disk has none); `target` appears when it is whole."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for path in sorted(source.rglob("*")):
        place = temporary / path.relative_to(source)
        if path.is_symlink():
            raise ValueError(f"{path}: a link; nothing that was written here has one")
        if path.is_dir():
            place.mkdir()
            continue
        try:
            os.link(path, place)
        except OSError:
            shutil.copy2(path, place)
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)
