"""Which look every triangle bears, and where its texture lies: storeys and bays fit each wall in whole numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aerialworld_city.features import Surface
from aerialworld_city.geometry.solids import Mesh, normals
from aerialworld_city.writing import looks
from aerialworld_core.frames import Array

#: A roof flatter than this (cosine of about 6°) is a flat roof.
_FLAT = 0.9945


def dress(
    mesh: Mesh, bases: Array, tops: Array, ids: list[str], usages: list[str | None]
) -> tuple[NDArray[np.int64], list[str], Array]:
    """Looks and texture coordinates of building triangles.

    `bases`, `tops` (B,) heights of each building's foot and highest point. Returns the index (T,) into a list of look
    names, that list, and texture coordinates (T, 3, 2) with the origin at the bottom left.
    """
    n = normals(mesh.triangles)
    height = tops - bases
    names = sorted({f.name for f in looks._FACADES} | set(looks.ROOF_FLAT) | set(looks.ROOF_SLOPED) | {"underside"})
    number = {name: i for i, name in enumerate(names)}
    facade = np.array([number[looks.facade_of(i, u, h)] for i, u, h in zip(ids, usages, height, strict=True)])
    flat_roof = np.array([number[looks.roof_of(i, False)] for i in ids])
    sloped_roof = np.array([number[looks.roof_of(i, True)] for i in ids])
    owner, slope = mesh.building, np.abs(n[:, 2])
    # A vertical "roof" (parapets, eaves) is drawn as roof, but laid out like a wall.
    upright = slope < 0.5
    which = np.where(slope > _FLAT, flat_roof[owner], sloped_roof[owner])
    which = np.where((mesh.surface == Surface.WALL) & upright, facade[owner], which)
    which = np.where(mesh.surface == Surface.GROUND, number["underside"], which)
    is_facade = which == facade[owner]
    uv = _plan_uv(mesh.triangles, n)
    uv /= np.array([looks.look(name).metres for name in names])[which][:, None, None]
    if is_facade.any():
        uv[is_facade] = _facade_uv(mesh.take(is_facade), n[is_facade], bases, height)
    return which, names, uv


def _tangents(n: Array) -> Array:
    """(T, 3) horizontal, to the right for someone who looks at the surface from outside; east where it is level."""
    level = np.hypot(n[:, 0], n[:, 1])
    safe = np.where(level > 1e-6, level, 1.0)
    right = np.column_stack([-n[:, 1] / safe, n[:, 0] / safe, np.zeros(len(n))])
    right[level <= 1e-6] = (1.0, 0.0, 0.0)
    return right


def _plan_uv(triangles: Array, n: Array) -> Array:
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
    key = np.column_stack([mesh.building, azimuth, np.round(offset * 2)]).astype(np.int64)
    _, wall = np.unique(key, axis=0, return_inverse=True)
    wall = wall.reshape(-1)
    low, high = np.full(wall.max() + 1, np.inf), np.full(wall.max() + 1, -np.inf)
    np.minimum.at(low, wall, along.min(axis=1))
    np.maximum.at(high, wall, along.max(axis=1))
    bays = np.maximum(np.round((high - low) / looks.BAY), 1.0)
    scale = bays / np.maximum(high - low, 0.1)
    u = (along - low[wall, None]) * scale[wall, None] / looks.TILE_BAYS
    storeys = np.maximum(np.round(height / looks.STOREY), 1.0) / np.maximum(height, 0.1)
    v = (mesh.triangles[:, :, 2] - bases[mesh.building, None]) * storeys[mesh.building, None] / looks.TILE_STOREYS
    return np.stack([u, v], axis=-1)
