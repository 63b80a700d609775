"""One model's folder: `model.sdf`, `model.config` and `meshes/` with what is seen and what wheels touch.

models/{name}/model.sdf, model.config
models/{name}/meshes/{kind}.glb       visual: skins, flat or smooth normals, back faces where they are needed
models/{name}/meshes/collision.glb    collision: the same triangles once, welded, without skins
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aerialworld_city.features import Feature, Material
from aerialworld_city.geometry.mesh import Mesh
from aerialworld_city.geometry.solids import normals
from aerialworld_city.kinds import KINDS
from aerialworld_city.options import ConversionOptions
from aerialworld_city.writing import looks
from aerialworld_city.writing.dress import Dressed, dress_bodies, dress_ground, source_skins
from aerialworld_city.writing.glb import Part, Skin, flat_part, smooth_part, welded_part, write_glb
from aerialworld_city.writing.textures import Photo, TextureError, Textures
from aerialworld_city.writing.world_writer import Heightmap, heightmap_sdf, model_config, model_sdf, safe_name
from aerialworld_core.errors import InputError
from aerialworld_core.files import write_bytes
from aerialworld_core.frames import Array

#: A material of the source and where its image lies: the folder that `Material.image` starts at, and the folder that
#: it must not leave.
PlacedMaterial = tuple[Path, Path, Material]

#: Twice the area in m² that a triangle must have to be written, after rounding to float32; smaller ones have no normal.
_SMALLEST = 1e-10


@dataclass(frozen=True)
class ModelInfo:
    """What was written: `triangles` of the visual (back faces counted), `collision_triangles`, the names of the
    photographs (equal names are equal images), and one line per image that could not be used."""

    triangles: int
    collision_triangles: int
    images: tuple[str, ...] = ()
    problems: tuple[str, ...] = field(default=())


def write_body_model(
    folder: Path,
    name: str,
    kind: str,
    mesh: Mesh,
    features: Sequence[Feature],
    materials: Sequence[PlacedMaterial],
    bases: Array,
    tops: Array,
    options: ConversionOptions,
    textures: Textures,
) -> ModelInfo:
    """Write `folder/models/<name>` with bodies (buildings, bridges, furniture, trees): flat shading, the back of
    `mesh.double` triangles as well.

    `mesh` in map; `mesh.feature` counts `features`, `mesh.material` counts `materials`; `bases`, `tops` (B,) heights of
    each feature's foot and highest point. A model without any triangle that has an area is not written; its info says 0
    triangles. Raises StorageError; ValueError for a name that is not safe.
    """
    skins, problems = _skins(mesh, materials, options, textures)
    mesh = mesh.take(_solid(mesh.triangles))
    if not len(mesh):
        return _write(folder, name, kind, [], mesh.triangles, problems)
    n = normals(mesh.triangles)
    dressed = dress_bodies(mesh, n, kind, features, bases, tops, skins)
    parts = []
    for skin, rows in _by_skin(dressed):
        back = rows[mesh.double[rows]]
        triangles = np.concatenate([mesh.triangles[rows], mesh.triangles[back][:, ::-1]])
        uv = np.concatenate([dressed.uv[rows], dressed.uv[back][:, ::-1]])
        parts.append(flat_part(skin, triangles, np.concatenate([n[rows], -n[back]]), uv))
    return _write(folder, name, kind, parts, mesh.triangles, problems)


def write_ground_model(
    folder: Path,
    name: str,
    kind: str,
    mesh: Mesh,
    materials: Sequence[PlacedMaterial],
    options: ConversionOptions,
    textures: Textures,
) -> ModelInfo:
    """Write `folder/models/<name>` with surfaces that lie (terrain, roads, water): smooth shading, one-sided.

    `mesh` in map, facing up; `mesh.material` counts `materials`. The rest is as with `write_body_model`.
    """
    skins, problems = _skins(mesh, materials, options, textures)
    mesh = mesh.take(_solid(mesh.triangles))
    dressed = dress_ground(mesh, kind, skins)
    parts = [smooth_part(skin, mesh.triangles[rows], dressed.uv[rows]) for skin, rows in _by_skin(dressed)]
    return _write(folder, name, kind, parts, mesh.triangles, problems)


def write_heightmap_model(
    folder: Path,
    name: str,
    png: bytes,
    size: tuple[float, float, float],
    position: tuple[float, float, float],
    kind: str = "terrain",
) -> ModelInfo:
    """Write `folder/models/<name>` with a heightmap: a square 16-bit grey PNG of 2ⁿ + 1 pixels (row 0 north, column 0
    west) whose outer pixels' centres lie on the border of `size` (x, y, z metres) around `position` (x, y of the
    middle, z of pixel value 0); 65,535 is `size[2]` higher and must occur.

    What Gazebo Harmonic does with it (gz-common 5, gz-rendering 8 and gz-physics 7, read in their sources):
    - 16 bits are read as such, value / 65535. The renderer then divides by the greatest value that occurs, the physics
      too; so unless 65,535 occurs, the ground is stretched.
    - The renderer (ogre2's Terra) wants 2ⁿ samples and drops the last row and column of a 2ⁿ + 1 picture; sample i lies
      at −size/2 + i·size/2ⁿ from <pos>. So the eastern and southern strip of one sample's width is not drawn; the
      samples that are drawn lie where they should. <pos> is a place in the world: the visual's pose is not applied.
      <pos>'s z is the height of value 0. Farther ground is drawn with fewer samples.
    - The physics (DART) keeps all samples, spaces them size/(2ⁿ + 1) and centres them; it applies the collision's
      <pose> and not <pos>. So the collision is written (2ⁿ + 1)/2ⁿ as large, which puts its samples on the visual's.
    - Label and laser_retro of the visual are honoured.

    Raises StorageError; InputError for a picture of another kind; ValueError for a name that is not safe.
    """
    pixels = _heightmap_pixels(png)
    model = _folder(folder, name)
    larger = pixels / (pixels - 1)
    shown = Heightmap(size, position)
    touched = Heightmap((size[0] * larger, size[1] * larger, size[2]), position) if KINDS[kind].collides else None
    look = looks.look(kind)
    textures = ("textures/ground.png", "textures/flat_normal.png", look.metres)
    flat = np.full((4, 4, 3), (128, 128, 255), np.uint8)
    (model / "textures").mkdir(parents=True, exist_ok=True)
    write_bytes(model / "textures/heights.png", png, sync=False)
    write_bytes(model / textures[0], looks.png(look.texture), sync=False)
    write_bytes(model / textures[1], looks.png(flat), sync=False)
    sdf = heightmap_sdf(name, KINDS[kind], "textures/heights.png", textures, shown, touched)
    write_bytes(model / "model.sdf", sdf, sync=False)
    write_bytes(model / "model.config", model_config(name), sync=False)
    triangles = 2 * (pixels - 1) ** 2
    return ModelInfo(triangles, triangles if touched else 0)


def _heightmap_pixels(png: bytes) -> int:
    """Pixels along a side. Raises InputError."""
    if png[:8] != b"\x89PNG\r\n\x1a\n" or len(png) < 33:
        raise InputError("heightmap: is no PNG")
    width, height, depth, colour = struct.unpack(">IIBB", png[16:26])
    if width != height or width < 3 or (width - 1) & (width - 2) or (depth, colour) != (16, 0):
        raise InputError(
            f"heightmap: {width}×{height} pixels of {depth} bits: Gazebo takes a square 16-bit grey PNG, 2ⁿ + 1 pixels"
        )
    return int(width)


def _skins(
    mesh: Mesh, materials: Sequence[PlacedMaterial], options: ConversionOptions, textures: Textures
) -> tuple[list[Skin | None], tuple[str, ...]]:
    """The skin of every material that the mesh uses (None: drawn by class), and what went wrong, once per image."""
    photos: list[Photo | None] = [None] * len(materials)
    colours: list[tuple[float, float, float] | None] = [None] * len(materials)
    problems: dict[str, None] = {}
    if options.textures:
        used = np.unique(mesh.material[mesh.material >= 0])
        for number in used:
            folder, root, material = materials[number]
            colours[number] = material.colour
            if material.image is None:
                continue
            try:
                photos[number] = textures.load(folder / material.image, root, material.span)
            except TextureError as error:
                problems[str(error)] = None
    return source_skins(photos, colours), tuple(problems)


def _solid(triangles: Array) -> NDArray[np.bool_]:
    """(T,) bool: which triangles still have an area when their corners are float32, as the file holds them."""
    corners = triangles.astype(np.float32).astype(np.float64)
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return np.asarray(np.linalg.norm(cross, axis=1) > _SMALLEST)


def _by_skin(dressed: Dressed) -> list[tuple[Skin, NDArray[np.int64]]]:
    order = np.argsort(dressed.which, kind="stable")
    numbers, starts = np.unique(dressed.which[order], return_index=True)
    rows = np.split(order, starts[1:]) if len(numbers) else []
    return [(dressed.skins[i], r) for i, r in zip(numbers, rows, strict=True)]


def _folder(folder: Path, name: str) -> Path:
    if safe_name(name) != name:
        raise ValueError(f"{name!r} is no name for a model; make it with safe_name or unique_names")
    return Path(folder) / "models" / name


def _write(
    folder: Path, name: str, kind: str, parts: list[Part], triangles: Array, problems: tuple[str, ...]
) -> ModelInfo:
    model = _folder(folder, name)
    if not parts:
        return ModelInfo(0, 0, (), problems)
    (model / "meshes").mkdir(parents=True, exist_ok=True)
    mesh, collision, touched = f"meshes/{kind}.glb", None, 0
    write_bytes(model / mesh, write_glb(parts, name), sync=False)
    if KINDS[kind].collides:
        collision = "meshes/collision.glb"
        part = welded_part(triangles)
        touched = len(part.indices)
        write_bytes(model / collision, write_glb([part], f"{name}_collision"), sync=False)
    write_bytes(model / "model.sdf", model_sdf(name, KINDS[kind], mesh, collision), sync=False)
    write_bytes(model / "model.config", model_config(name), sync=False)
    images = tuple(sorted({part.skin.name for part in parts if isinstance(part.skin, Photo)}))
    return ModelInfo(sum(len(part.indices) for part in parts), touched, images, problems)
