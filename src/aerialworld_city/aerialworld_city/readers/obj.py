"""Reading OBJ: the OBJ release of PLATEAU (LOD1 without materials, LOD2 with photographs), and other OBJ files.

In the release x is east, y north, z the height above T.P.; the plane zone stands in a comment of the header or in the
file's name. See `mesh_place` for files that name no zone and `mesh_tile` for what becomes a building.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from aerialworld_city.features import Material, Skipped, Tile
from aerialworld_city.geodesy import PLANE_ZONES, Projection
from aerialworld_city.options import ConversionOptions
from aerialworld_city.readers.mesh_faces import Faces, split_faces
from aerialworld_city.readers.mesh_features import Names
from aerialworld_city.readers.mesh_place import place
from aerialworld_city.readers.mesh_tile import Coats, Remarks, check_count, is_terrain, make_tile, terrain_tile
from aerialworld_city.readers.mtl import ObjMaterial, OutsideError, library_paths, read_mtl
from aerialworld_city.readers.obj_lines import ObjLines, read_lines
from aerialworld_city.sources.files import SourceFile
from aerialworld_core.errors import InputError, UnsafeInputError

#: mtllib lines that are followed or reported.
MAX_LIBRARIES = 1000


def read_obj(file: SourceFile, projection: Projection, options: ConversionOptions) -> Tile:
    """One OBJ file as a tile in the projection's plane system.

    Objects, images and libraries that cannot be used are in the tile's `skipped`. Raises InputError (UnsafeInputError):
    missing, empty, a folder, compressed, above 1 GiB, a malformed line (with its number), no usable face, nothing says
    where it is (see `mesh_place.place`).
    """
    lines = read_lines(file.path)
    remarks = Remarks(counts={"vertices": len(lines.vertices)})
    zone = stated_zone(lines.header, file.path)
    check_count(file, len(lines.corner), len(lines.face_start) - 1)
    points = place(lines.vertices, file.path, zone, projection, options, "z")
    faces = split_faces(points, lines.corner, lines.face_start)
    remarks.counts["triangles"] = len(faces.triangles)
    if is_terrain(file):
        if (lines.material >= 0).any():
            remarks.note(f"{file.name}: the terrain's photograph is not used; the ground is drawn")
        return terrain_tile(file, projection.epsg, points[lines.corner[faces.triangles]], remarks)
    coats = _coats(file, lines, faces, remarks)
    names = [Names(lines.object, lines.names), Names(lines.group, lines.names)]
    return make_tile(file, projection.epsg, faces, names, coats, remarks)


def stated_zone(header: bytes, path: Path) -> int | None:
    """The EPSG code of the WKT in the header's comments, else the plane zone in the file's name, else None."""
    for line in header.splitlines()[:64]:
        if line.startswith(b"#") and b"PROJCS" in line:
            codes = re.findall(rb'AUTHORITY\["EPSG","(\d{1,9})"\]', line)
            if codes:
                return int(codes[-1])
    match = re.search(r"_(\d{4})(?=_|$)", path.stem)
    return int(match[1]) if match and int(match[1]) in PLANE_ZONES else None


def _coats(file: SourceFile, lines: ObjLines, faces: Faces, remarks: Remarks) -> Coats:
    """Materials and texture coordinates of the triangles."""
    named = lines.material[faces.face]
    library = _library(file, lines, remarks)
    used = np.unique(named[named >= 0]).tolist()
    missing = [lines.names[i] for i in used if lines.names[i] not in library]
    if missing and lines.libraries:
        remarks.note(f"{file.name}: {len(missing)} materials are in no library, the first is {missing[0][:80]!r}")
    elif missing:
        remarks.note(f"{file.name}: names {len(missing)} materials but no library (mtllib); drawn by class")
    # Twice as many: every material again without its image, for faces without texture coordinates.
    entries = [library.get(name, ObjMaterial()) for name in lines.names]
    materials = [e.material for e in entries]
    materials += [Material(None, m.colour, m.opacity) for m in materials]
    has_image = np.array([m.image is not None for m in materials[: len(entries)]] + [False])
    index = lines.corner_uv[faces.triangles]
    wants = has_image[named]
    bare = wants & (index < 0).any(axis=1)
    material = np.where(bare, named + len(entries), named).astype(np.int32)
    if bare.any():
        remarks.counts["triangles with a photograph but no texture coordinates"] = int(bare.sum())
    textured = np.flatnonzero(wants & ~bare)
    if len(textured) == 0:
        return Coats(materials, material)
    uv = np.zeros((len(named), 3, 2), np.float32)
    place_ = lines.uv[index[textured]]
    scale = np.array([e.scale for e in entries])[named[textured], None]
    offset = np.array([e.offset for e in entries])[named[textured], None]
    place_ = place_ * scale + offset
    finite = np.asarray((np.abs(place_) < 1e6).all(axis=(1, 2)))
    uv[textured[finite]] = place_[finite]
    broken = textured[~finite]
    if len(broken):
        material[broken] += len(entries)
        reason = f"{len(broken)} triangles' texture coordinates are no numbers or above 1e6; they get no photograph"
        remarks.skipped.append(Skipped(file.name, "texture coordinates", reason))
    return Coats(materials, material, uv)


def _library(file: SourceFile, lines: ObjLines, remarks: Remarks) -> dict[str, ObjMaterial]:
    """All materials of the libraries that the file names; of equal names the first counts."""
    found: dict[str, ObjMaterial] = {}
    folder = file.path.parent
    done: set[Path] = set()
    wanted = list(dict.fromkeys(lines.libraries))
    if len(wanted) > MAX_LIBRARIES:
        raise UnsafeInputError(f"{file.path}: names {len(wanted):,} material libraries (at most {MAX_LIBRARIES})")
    for text in wanted:
        try:
            paths = library_paths(text, folder, file.root)
        except OutsideError as error:
            remarks.skipped.append(Skipped(file.name, f"mtllib {text[:80]}", str(error)))
            paths = []
        else:
            if not paths:
                remarks.note(f"{file.name}: its material library {text[:80]!r} is not there; drawn by class")
        for path in paths:
            if path in done:
                continue
            done.add(path)
            try:
                entries = read_mtl(path, file.name, folder, file.root, remarks)
            except InputError as error:
                remarks.skipped.append(Skipped(file.name, f"mtllib {text[:80]}", str(error).replace(f"{path}: ", "")))
                continue
            found = {**entries, **found}
    return found
