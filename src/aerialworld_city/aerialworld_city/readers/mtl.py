"""MTL, the material library of an OBJ file: diffuse colours, opacity and photographs.

Nothing outside the source's folder is named in the result: a library or image whose path leads out of it is reported.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from aerialworld_city.features import Material, Skipped
from aerialworld_city.readers.mesh_tile import Remarks
from aerialworld_core.errors import UnsafeInputError
from aerialworld_core.safexml import MIB, CountedFile

MAX_MTL_BYTES = 64 * MIB
MAX_MATERIALS = 100_000
#: Options of map_Kd and how many words follow them at most; -o, -s and -t may have one to three numbers.
_OPTIONS = {
    "-blendu": 1, "-blendv": 1, "-boost": 1, "-cc": 1, "-clamp": 1, "-imfchan": 1, "-mm": 2, "-bm": 1, "-texres": 1,
    "-type": 1, "-o": 3, "-s": 3, "-t": 3,
}  # fmt: skip


@dataclass(frozen=True)
class ObjMaterial:
    """A material and what its -s and -o do: uv of the image = uv × `scale` + `offset`."""

    material: Material = field(default_factory=Material)
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)


class OutsideError(ValueError):
    """A reference that leads out of the source; the text says how."""


def inside(reference: str, folder: Path, root: Path) -> Path:
    """The absolute path of a file that a file in `folder` refers to. Raises OutsideError unless it stays below `root`,
    also where links are followed."""
    text = reference.replace("\\", "/")
    if not text or "\0" in text or text.startswith("/") or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", text):
        raise OutsideError("an absolute path or address; only files within the source are read")
    path = Path(os.path.abspath(folder / text))
    top = Path(os.path.abspath(root))
    try:
        within = path.is_relative_to(top) and path.resolve().is_relative_to(top.resolve())
    except (OSError, RuntimeError) as error:  # links in circles
        raise OutsideError("a path that cannot be followed within the source") from error
    if not within:
        raise OutsideError("a path that leads out of the source")
    return path


def read_mtl(path: Path, file: str, folder: Path, root: Path, remarks: Remarks) -> dict[str, ObjMaterial]:
    """The materials of the library `path` by name; images are given relative to `folder`. `file` is the OBJ file's name
    for the report.

    What cannot be used is reported and leaves the rest of its material. Raises InputError (missing, above 64 MiB,
    compressed, more than 100,000 materials).
    """
    with CountedFile(path, max_bytes=MAX_MTL_BYTES, what="material library") as handle:
        lines = handle.read().replace(b"\\\r\n", b" ").replace(b"\\\n", b" ").splitlines()
    found: dict[str, ObjMaterial] = {}
    name: str | None = None
    opaque: set[str] = set()
    mapped: set[str] = set()
    coloured: set[str] = set()
    for line in lines:
        key, _, rest = line.decode("utf-8", "replace").strip().partition(" ")
        key, rest = key.strip().lower(), rest.strip()
        if key == "newmtl":
            if len(found) >= MAX_MATERIALS:
                raise UnsafeInputError(f"{path}: more than {MAX_MATERIALS:,} materials; this is no city's library")
            name = rest
            found[name] = ObjMaterial()
        elif name is None or not key or key.startswith("#"):
            continue
        elif key == "kd" and name not in coloured:
            coloured.add(name)
            colour = _numbers(rest)[:3]
            colour = colour * 3 if len(colour) == 1 else colour
            if len(colour) == 3:
                red, green, blue = (min(max(c, 0.0), 1.0) for c in colour)
                found[name] = _with(found[name], colour=(red, green, blue))
            else:
                remarks.skipped.append(Skipped(file, f"material {name}", f"Kd {rest[:40]!r} is no colour"))
        elif key in ("d", "tr"):
            numbers = _numbers(rest.removeprefix("-halo"))[:1]
            if numbers and (key == "d" or name not in opaque):
                value = min(max(numbers[0] if key == "d" else 1.0 - numbers[0], 0.0), 1.0)
                found[name] = _with(found[name], opacity=value)
                if key == "d":
                    opaque.add(name)  # d outranks Tr, whose meaning exporters do not agree on
        elif key == "map_kd" and name not in mapped:
            mapped.add(name)
            found[name] = _map(found[name], rest, path.parent, folder, root, Where(file, name, remarks))
    for name, entry in found.items():
        if entry.material.opacity == 0.0:
            remarks.note(f"{file}: materials that are wholly transparent are drawn opaque")
            found[name] = _with(entry, opacity=1.0)
    return found


@dataclass(frozen=True, eq=False)
class Where:
    """The material that is being read, for the report."""

    file: str
    name: str
    remarks: Remarks

    def skip(self, reason: str) -> None:
        self.remarks.skipped.append(Skipped(self.file, f"material {self.name}", reason))


def _with(entry: ObjMaterial, **change: object) -> ObjMaterial:
    return replace(entry, material=replace(entry.material, **change))  # type: ignore[arg-type]


def _map(entry: ObjMaterial, text: str, own: Path, folder: Path, root: Path, where: Where) -> ObjMaterial:
    """A material with the image of its map_Kd line, whose options stand before the path (which may hold spaces)."""
    scale, offset = [1.0, 1.0], [0.0, 0.0]
    words = text.split()
    while words and words[0].lower() in _OPTIONS:
        option, most = words[0].lower(), _OPTIONS[words[0].lower()]
        count = 1
        if option in ("-o", "-s", "-t", "-mm"):
            count = 0
            while count < most and len(words) > count + 2 and _numbers(words[count + 1]):
                count += 1
        values = _numbers(" ".join(words[1 : 1 + count])) if option in ("-o", "-s") else []
        if option == "-s":
            scale[: min(2, len(values))] = values[:2]
        elif option == "-o":
            offset[: min(2, len(values))] = values[:2]
        elif not (option in ("-blendu", "-blendv", "-texres", "-bm") or words[1 : 1 + count] == ["off"]):
            where.remarks.note(f"{where.file}: {option} of map_Kd is not applied")
        text = text[text.index(words[0]) + len(words[0]) :].lstrip()
        for word in words[1 : 1 + count]:
            text = text[len(word) :].lstrip()
        words = words[1 + count :]
    text = text.strip().strip('"').strip()
    try:
        image = inside(text, own, root)
    except OutsideError as error:
        where.skip(f"image {text[:80]!r}: {error}")
        return entry
    relative = os.path.relpath(image, os.path.abspath(folder)).replace(os.sep, "/")
    return replace(_with(entry, image=relative), scale=(scale[0], scale[1]), offset=(offset[0], offset[1]))


def _numbers(text: str) -> list[float]:
    """The finite numbers that the words are; empty where one is none."""
    try:
        values = [float(word) for word in text.split()]
    except ValueError:
        return []
    return values if np.isfinite(values).all() else []


def library_paths(text: str, folder: Path, root: Path) -> list[Path]:
    """The libraries that a mtllib line names: one whose name may hold spaces, else several; none where none is there.
    Raises OutsideError."""
    whole = inside(text, folder, root)
    if _is_file(whole):
        return [whole]
    return [path for path in (inside(name, folder, root) for name in text.split()) if _is_file(path)]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file system can have
        return False
