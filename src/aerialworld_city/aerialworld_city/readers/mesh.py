"""Reading any mesh as a city: glTF (.glb, .gltf), STL, PLY and OFF; OBJ goes to its own reader.

A mesh file names no place, so that the user has to (`mesh_place`). glTF is y-up by its specification and is turned;
the others are taken as z-up; --up decides. A file whose name says _dem_ is the ground.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aerialworld_city.features import Material, Tile
from aerialworld_city.geodesy import Projection
from aerialworld_city.options import ConversionOptions
from aerialworld_city.readers.mesh_faces import Faces, soup, split_faces
from aerialworld_city.readers.mesh_features import Names, unique
from aerialworld_city.readers.mesh_gltf import Gltf, GltfPart, step_of
from aerialworld_city.readers.mesh_off import read_off
from aerialworld_city.readers.mesh_place import place
from aerialworld_city.readers.mesh_ply import read_ply
from aerialworld_city.readers.mesh_stl import read_stl
from aerialworld_city.readers.mesh_tile import Coats, Remarks, check_count, is_terrain, make_tile, terrain_tile
from aerialworld_city.readers.obj import read_obj
from aerialworld_city.sources.files import SourceFile
from aerialworld_core.errors import InputError

#: With so many named nodes, each is taken as one object; with fewer, connected pieces are.
MANY_NODES = 10
#: Steps between neighbouring coordinates that a user should know of, metres.
_COARSE = 1e-3
#: Formats that are XML or archives, or need a converter that is not safe on files of others.
_REFUSED = (".dae", ".3mf", ".zae", ".3dxml", ".xaml", ".fbx", ".blend", ".skp", ".3ds", ".ifc", ".usdz", ".dxf")


def read_mesh(file: SourceFile, projection: Projection, options: ConversionOptions) -> Tile:
    """One mesh file as a tile in the projection's plane system.

    Materials and images that cannot be used are in the tile's `skipped`. Raises InputError (UnsafeInputError): missing,
    empty, a folder, compressed, too large, broken, of a format that is not read, references that lead out of the
    source, no usable face, nothing says where it is (see `mesh_place.place`).
    """
    suffix = file.path.suffix.lower()
    if suffix == ".obj":
        return read_obj(file, projection, options)
    remarks = Remarks()
    up = "z"
    names: list[Names] = []
    if suffix in (".glb", ".gltf"):
        gltf = Gltf(file.path, file.name, file.root, remarks)
        parts = [p for p in gltf.parts() if len(p.faces)]
        up = "z" if gltf.generator.startswith("AerialWorld") else "y"  # our own models are z-up, as Gazebo reads them
        faces = _joined(parts, file)
        _tell_step(max((p.step for p in parts), default=0.0), file, remarks)
        names, coats = [_nodes(parts, file, remarks)], _coats(gltf, parts)
    else:
        faces = _read_plain(file, suffix)
        if suffix == ".stl" and np.array_equal(faces.points, faces.points.astype(np.float32), equal_nan=True):
            _tell_step(step_of(faces.points), file, remarks)
        coats = Coats([], np.full(len(faces.triangles), -1, np.int32))
    remarks.counts["vertices"] = len(faces.points)
    faces.points = place(faces.points, file.path, None, projection, options, up)
    remarks.counts["triangles"] = len(faces.triangles)
    if is_terrain(file):
        return terrain_tile(file, projection.epsg, faces.points[faces.corner[faces.triangles]], remarks)
    return make_tile(file, projection.epsg, faces, names, coats, remarks)


def _tell_step(step: float, file: SourceFile, remarks: Remarks) -> None:
    """Say so where 32-bit numbers far from their zero are coarse."""
    if step > _COARSE:
        remarks.note(
            f"{file.name}: its 32-bit coordinates are {1000 * step:.0f} mm apart; where that matters, export it "
            "with a local origin and --origin, or with the place in a node's translation"
        )


def _read_plain(file: SourceFile, suffix: str) -> Faces:
    """Faces of a format without nodes and materials, in the file's coordinates."""
    if suffix == ".stl":
        triangles = read_stl(file.path)
        if not len(triangles):
            raise InputError(f"{file.path}: holds no triangles")
        check_count(file, 3 * len(triangles), len(triangles))
        return soup(triangles)
    if suffix in (".ply", ".off"):
        vertices, corner, start = read_ply(file.path) if suffix == ".ply" else read_off(file.path)
        check_count(file, len(corner), len(start) - 1)
        return split_faces(vertices, corner, start)
    why = "XML, archives and makers' own formats are not read" if suffix in _REFUSED else "not a known mesh format"
    raise InputError(f"{file.path}: {suffix or 'no extension'}: {why}; convert it to .glb, .obj, .stl, .ply or .off")


def _joined(parts: list[GltfPart], file: SourceFile) -> Faces:
    if not parts:
        raise InputError(f"{file.path}: holds no triangles")
    before = np.cumsum([0] + [len(p.vertices) for p in parts])
    corner = np.concatenate([p.faces + b for p, b in zip(parts, before[:-1], strict=True)]).reshape(-1)
    start = 3 * np.arange(len(corner) // 3 + 1)
    rows = np.arange(len(corner)).reshape(-1, 3)
    return Faces(np.concatenate([p.vertices for p in parts]), corner, start, rows, np.arange(len(rows)))


def _nodes(parts: list[GltfPart], file: SourceFile, remarks: Remarks) -> Names:
    """The node of each triangle; nodes of one name stay apart (their ids are numbered)."""
    number: dict[int, int] = {}
    texts: list[str] = []
    for part in parts:
        if part.name and part.node not in number:
            number[part.node] = len(texts)
            texts.append(part.name)
    many = len(texts) >= MANY_NODES
    if many:
        remarks.note(f"{file.name}: each of its {len(texts)} named nodes is taken as one object")
    of = [np.full(len(p.faces), number.get(p.node, -1), np.int32) for p in parts]
    return Names(np.concatenate(of), unique(texts), whole=many)


def _coats(gltf: Gltf, parts: list[GltfPart]) -> Coats:
    """Every material twice: as it is, and without its image for parts that have no texture coordinates."""
    used = sorted({p.material for p in parts if p.material >= 0})
    number = {index: 2 * i for i, index in enumerate(used)}
    materials = [m for i in used for m in (gltf.materials.material(i), _bare(gltf.materials.material(i)))]
    material, uv = [], []
    for part in parts:
        index = number.get(part.material, -1)
        place_ = np.zeros((len(part.faces), 3, 2), np.float32)
        own: NDArray[np.int32] = np.full(len(part.faces), index, np.int32)
        if index >= 0 and part.uv is not None:
            finite = np.asarray((np.abs(part.uv[part.faces]) < 1e6).all(axis=(1, 2)))
            place_[finite] = part.uv[part.faces[finite]]
            own[~finite] += 1
        elif index >= 0:
            own += 1
        material.append(own)
        uv.append(place_)
    return Coats(materials, np.concatenate(material), np.concatenate(uv))


def _bare(material: Material) -> Material:
    return Material(None, material.colour, material.opacity)
