"""What shading needs to know of every triangle, in one cache line each, computed once per world and light."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import WorldError
from aerialworld_core.world.scene import Light, Material, Scene
from aerialworld_sim.textures import TextureBlock, level_texels, pack_textures, unpack_texels

#: The sun's light on a surface, as Gazebo's renderer (ogre2) shows it: Disney's diffuse lobe, normalised as in "Moving
#: Frostbite to Physically Based Rendering" (Lagarde and de Rousiers, 2014), with light power scaled by π against the
#: lobe's 1/π: albedo · sun · n·l · gain · (1 + k(1 − n·l)⁵)(1 + k(1 − n·v)⁵), k = roughness/2 + 2 roughness (v·h)² − 1.
#: Roughness 0.5 is Gazebo's default. The gain is the energy factor, 1 + (1/1.51 − 1)·roughness, times 0.967 (what
#: the specular lobe keeps), fitted to 34,403 pixels of recorded pictures: half of them within 0.3 grey levels, 99 %
#: within 1.
ROUGHNESS = 0.5
SUN_GAIN = (1.0 + (1.0 / 1.51 - 1.0) * ROUGHNESS) * 0.967
#: Light from everywhere: linear = albedo · ambient / π (measured exactly on shaded faces).
AMBIENT_GAIN = 1.0 / np.pi

# Fields of a record.
UV, DUV1, DUV2, SUN, DENSITY, NORMAL = 0, 2, 4, 6, 9, 10
RECORD = 16


@dataclass(frozen=True, eq=False)
class Surfaces:
    """records   (F, 16) float32, 64-byte aligned: uv of corner 0, its changes to corners 1 and 2, cosine to the sun at
                 corner 0 and its changes, texels² per m², unit normal
    material     (F,) int32; labels (F,) int32 class + 256·instance
    colour       (M, 3) float32 linear
    retro        (M,) float32 laser_retro
    textures     of the materials
    sun, ambient (3,) float32: light per unit of albedo, with the renderer's gains
    horizon, zenith  (3,) float32 linear: what a ray sees that hits nothing, by the sine of its elevation
    to_sun       (3,) float32 unit
    shadows      whether the sun casts shadows
    """

    records: NDArray[np.float32]
    colour: NDArray[np.float32]
    retro: NDArray[np.float32]
    textures: TextureBlock
    sun: NDArray[np.float32]
    ambient: NDArray[np.float32]
    horizon: NDArray[np.float32]
    zenith: NDArray[np.float32]
    to_sun: NDArray[np.float32]
    shadows: bool

    material: NDArray[np.int32]
    labels: NDArray[np.int32]

    @property
    def mean_colour(self) -> NDArray[np.float32]:
        """(M, 3) float32 linear: a material's colour times its texture's mean (its last mip level)."""
        mean = self.colour.copy()
        t = self.textures
        for i in np.flatnonzero(t.levels):
            last = int(t.first_level[i] + t.levels[i]) - 1
            mean[i] *= unpack_texels(level_texels(t, last)).mean(axis=(0, 1))
        return mean


def _aligned_zeros(rows: int) -> NDArray[np.float32]:
    raw = np.zeros(rows * RECORD + RECORD, np.float32)
    skip = (-raw.ctypes.data % 64) // 4
    return raw[skip : skip + rows * RECORD].reshape(rows, RECORD)


def _check_colours(materials: Sequence[Material], light: Light) -> None:
    """The kernels look brightness up in a table: what is negative or not finite must not reach them."""
    for material in materials:
        if np.shape(material.colour) != (3,) or not (np.isfinite(material.colour).all() and min(material.colour) >= 0):
            raise WorldError(f"material {material.name}: colour {material.colour} is not three finite numbers from 0")
        if not (np.isfinite(material.laser_retro) and material.laser_retro >= 0):
            raise WorldError(f"material {material.name}: laser_retro {material.laser_retro} is not a number from 0")
    for name in ("sun", "ambient", "background", "zenith"):
        value = getattr(light, name)
        if name == "zenith" and value is None:
            continue
        if np.shape(value) != (3,) or not (np.isfinite(value).all() and min(value) >= 0):
            raise WorldError(f"light: {name} {value} is not three finite numbers from 0")
    if np.shape(light.direction) != (3,) or not np.isfinite(light.direction).all():
        raise WorldError(f"light: direction {light.direction} is not three finite numbers")


def build_surfaces(parts: Sequence[Scene], light: Light) -> Surfaces:
    """Records for the faces of all `parts`, one part after the other, under `light`.

    Raises WorldError, naming the material or light, for colours that are none.
    """
    materials = [m for part in parts for m in part.materials]
    _check_colours(materials, light)
    textures = pack_textures(materials)
    length = float(np.linalg.norm(light.direction))
    to_sun = -np.asarray(light.direction, np.float64) / length if length > 0 else np.array([0.0, 0.0, 1.0])
    colour = np.array([m.colour for m in materials], np.float32).reshape(-1, 3)
    horizon = np.asarray(light.background, np.float32)
    faces = sum(len(part.faces) for part in parts)
    surfaces = Surfaces(
        _aligned_zeros(faces),
        colour if len(colour) else np.ones((1, 3), np.float32),
        np.array([m.laser_retro for m in materials] or [0.0], np.float32),
        textures,
        np.asarray(light.sun, np.float32) * np.float32(SUN_GAIN),
        np.asarray(light.ambient, np.float32) * np.float32(AMBIENT_GAIN),
        horizon,
        horizon if light.zenith is None else np.asarray(light.zenith, np.float32),
        to_sun.astype(np.float32),
        bool(light.shadows and np.any(light.sun > 0)),
        np.empty(faces, np.int32),
        np.empty(faces, np.int32),
    )
    texels = np.array(
        [
            int(textures.level_width[f]) * int(textures.level_height[f]) if n else 0
            for f, n in zip(textures.first_level, textures.levels, strict=True)
        ],
        np.float64,
    )
    row = first_material = 0
    for part in parts:
        _fill(surfaces, row, part, first_material, texels)
        row += len(part.faces)
        first_material += len(part.materials)
    return surfaces


def _fill(
    surfaces: Surfaces, row: int, part: Scene, first_material: int, texels: NDArray[np.float64], chunk: int = 262_144
) -> None:
    """One part's records, from `row` on; in chunks, so that millions of triangles need no large temporaries."""
    for a in range(0, len(part.faces), chunk):
        some = slice(a, a + chunk)
        corners = part.vertices[part.faces[some]]
        rows = slice(row + a, row + a + len(corners))
        out = surfaces.records[rows]
        uv = part.uv[some].astype(np.float64)
        uv = uv - np.floor(uv[:, :1])  # whole turns of a repeating texture cost float32 precision
        d1, d2 = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
        out[:, UV : UV + 2], out[:, DUV1 : DUV1 + 2], out[:, DUV2 : DUV2 + 2] = uv[:, 0], d1, d2
        twice_area = relight(surfaces, rows, corners, part.normals[some].astype(np.float64))
        material = part.face_material[some].astype(np.int64) + first_material
        uv_area = np.abs(d1[:, 0] * d2[:, 1] - d1[:, 1] * d2[:, 0])
        safe = np.maximum(twice_area, 1e-12)
        out[:, DENSITY] = np.where(twice_area > 1e-12, uv_area / safe * texels[material], 0.0)
        surfaces.material[rows] = material
        instance = part.face_instance[some].astype(np.int32)
        surfaces.labels[rows] = part.face_class[some].astype(np.int32) + 256 * instance


def relight(
    surfaces: Surfaces, rows: slice, corners: NDArray[np.float32], normals: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Normals and the sun's cosines of faces that stand at `corners` (F, 3, 3) in map, with corner normals (F, 3, 3).

    Returns twice their areas (F,), m².
    """
    out = surfaces.records[rows]
    c = corners.astype(np.float64)
    cross = np.cross(c[:, 1] - c[:, 0], c[:, 2] - c[:, 0])
    twice_area: NDArray[np.float64] = np.linalg.norm(cross, axis=1)
    out[:, NORMAL : NORMAL + 3] = cross / np.maximum(twice_area, 1e-12)[:, None]
    if surfaces.sun.any():
        cosine = np.clip(normals @ surfaces.to_sun.astype(np.float64), -1.0, 1.0)
        out[:, SUN] = cosine[:, 0]
        out[:, SUN + 1] = cosine[:, 1] - cosine[:, 0]
        out[:, SUN + 2] = cosine[:, 2] - cosine[:, 0]
    return twice_area
