"""Which skin every triangle bears and where its texture lies.

A photograph wins, then the source's colour, then a drawn look by class. Drawn façades fit storeys and bays into each
wall in whole numbers. What a partly photographed building has no photograph for gets a quiet tone near that of its
photographs, not windows of another building.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerialworld_city.features import Feature, Surface
from aerialworld_city.geometry.mesh import Mesh
from aerialworld_city.writing import looks
from aerialworld_city.writing.glb import Plain, Skin
from aerialworld_city.writing.textures import Photo
from aerialworld_core.frames import Array

#: A roof flatter than this (cosine of about 6°) is a flat roof.
_FLAT = 0.9945
#: Walls are steeper than this (60° from level), trunks too; a deck is flatter than 45°.
_UPRIGHT, _DECK = 0.5, 0.707
#: A trunk stands in the lower part of a tree and within this share of its width of its middle.
_TRUNK_TOP, _TRUNK_WIDTH = 0.45, 0.25


@dataclass(eq=False)
class Dressed:
    """`skins`; per triangle `which` of them (T,) and its texture coordinates `uv` (T, 3, 2), origin bottom-left."""

    skins: list[Skin]
    which: NDArray[np.int64]
    uv: Array


def source_skins(
    photos: Sequence[Photo | None], colours: Sequence[tuple[float, float, float] | None]
) -> list[Skin | None]:
    """The skin of each of the source's materials: its photograph, else its colour, else None."""
    skins: list[Skin | None] = []
    for photo, colour in zip(photos, colours, strict=True):
        if photo is not None or colour is None:
            skins.append(photo)
        else:
            r, g, b = (round(float(np.clip(v, 0.0, 1.0)) * 255) for v in colour)
            skins.append(Plain(f"colour_{r:02x}{g:02x}{b:02x}", (r / 255, g / 255, b / 255)))
    return skins


def dress_bodies(
    mesh: Mesh,
    normals: Array,
    kind: str,
    features: Sequence[Feature],
    bases: Array,
    tops: Array,
    materials: Sequence[Skin | None],
) -> Dressed:
    """Buildings, bridges, furniture, vegetation. `normals` (T, 3) unit; `bases`, `tops` (B,) heights of each feature's
    foot and highest point, metres; `materials` as from `source_skins`, for `mesh.material`."""
    names, which, uv = _drawn(mesh, normals, kind, features, bases, tops)
    drawn: list[Skin] = [looks.look(name) for name in names]
    return _with_source(mesh, Dressed(drawn, which, uv), materials, len(features))


def dress_ground(mesh: Mesh, kind: str, materials: Sequence[Skin | None]) -> Dressed:
    """Surfaces that lie: the class's look in plan, except where the source has a photograph or a colour."""
    look = looks.look(kind)
    drawn = Dressed([look], np.zeros(len(mesh), np.int64), mesh.triangles[:, :, :2] / look.metres)
    return _with_source(mesh, drawn, materials, 0)


def _with_source(mesh: Mesh, drawn: Dressed, materials: Sequence[Skin | None], features: int) -> Dressed:
    """The source's own skins; `drawn` where it has none, in quiet tones on `features` that have photographs."""
    usable = np.array([m is not None for m in materials], bool)
    is_photo = np.array([isinstance(m, Photo) for m in materials], bool)
    own = mesh.material >= 0
    own[own] = usable[mesh.material[own]]
    photo = own.copy()
    photo[own] = is_photo[mesh.material[own]]
    uv = drawn.uv
    if photo.any():
        placed: NDArray[np.bool_] = np.zeros(len(mesh), bool)
        if mesh.uv is not None:
            placed = np.asarray(np.isfinite(mesh.uv).all(axis=(1, 2)))
        own &= placed | ~photo  # a photograph without a place on this triangle says nothing of it
        photo &= placed
        if photo.any() and mesh.uv is not None:
            uv = drawn.uv.copy()
            uv[photo] = mesh.uv[photo]
    skins, which = list(drawn.skins), drawn.which.copy()
    if photo.any() and features:
        _quieten(mesh, photo, own, materials, features, skins, which)
    numbers: dict[str, int] = {}
    for material in np.unique(mesh.material[own]):
        skin = materials[material]
        assert skin is not None
        if skin.name not in numbers:
            numbers[skin.name] = len(skins)
            skins.append(skin)
        which[own & (mesh.material == material)] = numbers[skin.name]
    return Dressed(skins, which, uv)


def _quieten(
    mesh: Mesh,
    photo: NDArray[np.bool_],
    own: NDArray[np.bool_],
    materials: Sequence[Skin | None],
    features: int,
    skins: list[Skin],
    which: NDArray[np.int64],
) -> None:
    """Give the drawn triangles of photographed features the tone that is nearest to their photographs' mean."""
    means = np.array([m.mean if isinstance(m, Photo) else (0.0, 0.0, 0.0) for m in materials])
    sums = np.zeros((features, 3))
    np.add.at(sums, mesh.feature[photo], means[mesh.material[photo]])
    count = np.bincount(mesh.feature[photo], minlength=features)
    tones = np.array(list(looks.QUIET.values())) / 255.0
    mean = sums / np.maximum(count, 1)[:, None]
    tone = np.linalg.norm(mean[:, None] - tones[None], axis=2).argmin(axis=1)
    underside = [i for i, skin in enumerate(skins) if skin.name == "underside"]
    rest = (count[mesh.feature] > 0) & ~own & ~np.isin(which, underside)
    which[rest] = len(skins) + tone[mesh.feature[rest]]
    skins.extend(looks.look(name) for name in looks.QUIET)


def _drawn(
    mesh: Mesh, n: Array, kind: str, features: Sequence[Feature], bases: Array, tops: Array
) -> tuple[list[str], NDArray[np.int64], Array]:
    """Names of looks, which one each triangle bears, and texture coordinates."""
    uv = plan_uv(mesh.triangles, n)
    if kind == "building":
        names, which, is_facade = _building(mesh, n, features, tops - bases)
    else:
        names, which = _other_body(mesh, n, kind, bases, tops, len(features))
        is_facade = np.zeros(len(mesh), bool)
    uv /= np.array([looks.look(name).metres for name in names])[which][:, None, None]
    if is_facade.any():
        uv[is_facade] = _facade_uv(mesh.take(is_facade), n[is_facade], bases, tops - bases)
    return names, which, uv


def _building(
    mesh: Mesh, n: Array, features: Sequence[Feature], height: Array
) -> tuple[list[str], NDArray[np.int64], NDArray[np.bool_]]:
    names = sorted({*looks.FACADES, *looks.ROOF_FLAT, *looks.ROOF_SLOPED, "underside"})
    number = {name: i for i, name in enumerate(names)}
    facade = [number[looks.facade_of(f.id, f.usage, float(h))] for f, h in zip(features, height, strict=True)]
    flat_roof = [number[looks.roof_of(f.id, False)] for f in features]
    sloped_roof = [number[looks.roof_of(f.id, True)] for f in features]
    owner, slope = mesh.feature, np.abs(n[:, 2])
    # A vertical "roof" (parapets, eaves) is drawn as roof, but laid out like a wall.
    which = np.where(slope > _FLAT, np.array(flat_roof)[owner], np.array(sloped_roof)[owner])
    is_facade = (mesh.surface == Surface.WALL) & (slope < _UPRIGHT)
    which = np.where(is_facade, np.array(facade)[owner], which)
    which = np.where(mesh.surface == Surface.GROUND, number["underside"], which)
    return names, which.astype(np.int64), is_facade


def _other_body(
    mesh: Mesh, n: Array, kind: str, bases: Array, tops: Array, count: int
) -> tuple[list[str], NDArray[np.int64]]:
    if kind == "bridge":
        return ["concrete", "deck"], (n[:, 2] > _DECK).astype(np.int64)
    if kind != "vegetation":
        return ["metal"], np.zeros(len(mesh), np.int64)
    centre = mesh.triangles.mean(axis=1)
    low, high = np.full((count, 2), np.inf), np.full((count, 2), -np.inf)
    np.minimum.at(low, mesh.feature, centre[:, :2])
    np.maximum.at(high, mesh.feature, centre[:, :2])
    with np.errstate(invalid="ignore"):  # features without triangles
        middle, width = (low + high) / 2, (high - low).max(axis=1)
    aside = np.linalg.norm(centre[:, :2] - middle[mesh.feature], axis=1)
    share = (centre[:, 2] - bases[mesh.feature]) / np.maximum(tops - bases, 0.1)[mesh.feature]
    trunk = (np.abs(n[:, 2]) < _UPRIGHT) & (share < _TRUNK_TOP) & (aside < _TRUNK_WIDTH * width[mesh.feature])
    return ["leaves", "bark"], trunk.astype(np.int64)


def _tangents(n: Array) -> Array:
    """(T, 3) horizontal, to the right for someone who looks at the surface from outside; east where it is level."""
    level = np.hypot(n[:, 0], n[:, 1])
    safe = np.where(level > 1e-6, level, 1.0)
    right = np.column_stack([-n[:, 1] / safe, n[:, 0] / safe, np.zeros(len(n))])
    right[level <= 1e-6] = (1.0, 0.0, 0.0)
    return right


def plan_uv(triangles: Array, n: Array) -> Array:
    """Metres along and up the surface (T, 3, 2)."""
    right = _tangents(n)
    up = np.cross(n, right)
    return np.stack([(triangles * right[:, None]).sum(-1), (triangles * up[:, None]).sum(-1)], axis=-1)


def _facade_uv(mesh: Mesh, n: Array, bases: Array, height: Array) -> Array:
    """Whole bays across each plane wall and whole storeys up each building."""
    right = _tangents(n)
    along = (mesh.triangles * right[:, None]).sum(-1)
    offset = (mesh.triangles[:, 0] * n).sum(-1)
    azimuth = np.round(np.degrees(np.arctan2(n[:, 1], n[:, 0])))
    key = np.column_stack([mesh.feature, azimuth, np.round(offset * 2)]).astype(np.int64)
    _, wall = np.unique(key, axis=0, return_inverse=True)
    wall = wall.reshape(-1)
    low, high = np.full(wall.max() + 1, np.inf), np.full(wall.max() + 1, -np.inf)
    np.minimum.at(low, wall, along.min(axis=1))
    np.maximum.at(high, wall, along.max(axis=1))
    bays = np.maximum(np.round((high - low) / looks.BAY), 1.0)
    scale = bays / np.maximum(high - low, 0.1)
    u = (along - low[wall, None]) * scale[wall, None] / looks.TILE_BAYS
    storeys = np.maximum(np.round(height / looks.STOREY), 1.0) / np.maximum(height, 0.1)
    v = (mesh.triangles[:, :, 2] - bases[mesh.feature, None]) * storeys[mesh.feature, None] / looks.TILE_STOREYS
    return np.stack([u, v], axis=-1)
