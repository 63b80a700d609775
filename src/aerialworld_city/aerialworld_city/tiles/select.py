"""Which features of the tiles become part of the world: by region, each once, the better of two releases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerialworld_city.geodesy import Projection
from aerialworld_city.geometry.overlay import TriangleIndex
from aerialworld_city.kinds import KINDS
from aerialworld_city.sources.discover import SourceFile
from aerialworld_city.sources.region import Region
from aerialworld_city.tiles.store import StoredTile
from aerialworld_core.frames import Array

Masks = list[NDArray[np.bool_]]
#: Boxes nearer than this are of one object, metres.
_SAME_BOX = 0.1


def select(
    files: Sequence[SourceFile],
    tiles: Sequence[StoredTile],
    modules: Sequence[str],
    region: Region | None,
    projection: Projection,
) -> tuple[Masks, dict[str, int]]:
    """(F,) bool per tile, and counts of what is left out, by reason.

    In a region are features whose bounds' middle lies in it, and all features of a file whose mesh code was asked for.
    """
    masks: Masks = []
    left: dict[str, int] = {}
    for file, tile in zip(files, tiles, strict=True):
        wanted = np.array([KINDS[f.kind].module in modules for f in tile.features], bool)
        inside = np.ones(len(wanted), bool)
        if region is not None and not _asked(file, region):
            middle = tile.boxes[:, :, :2].mean(axis=1)
            inside = region.contains(*projection.inverse(middle[:, 0], middle[:, 1]))
        _count(left, "objects of other modules", wanted)
        _count(left, "objects outside the region", ~wanted | inside)
        masks.append(wanted & inside)
    _drop_lower_release(files, tiles, masks, left)
    _drop_twins(files, tiles, masks, left)
    return masks, left


def _asked(file: SourceFile, region: Region) -> bool:
    return file.mesh is not None and any(file.mesh.startswith(code) for code in region.meshes)


def _count(left: dict[str, int], reason: str, kept: NDArray[np.bool_]) -> None:
    if not kept.all():
        left[reason] = left.get(reason, 0) + int((~kept).sum())


@dataclass(frozen=True, eq=False)
class _Taken:
    """Where the first object of an id comes from: its file, whether that has ids of its own, its box in plan."""

    file: int
    named: bool
    box: Array

    def same(self, other: _Taken) -> bool:
        """Whether both are one object: in CityGML where they overlap, since ids are unique in the world; in other
        formats, whose ids are often made by us, where their boxes are equal."""
        if self.named and other.named:
            return bool((self.box[0] <= other.box[1]).all() and (self.box[1] >= other.box[0]).all())
        return bool(np.abs(self.box - other.box).max() < _SAME_BOX)


def _drop_twins(files: Sequence[SourceFile], tiles: Sequence[StoredTile], masks: Masks, left: dict[str, int]) -> None:
    """The same object in two files counts once; another object of the same id gets an id of its own."""
    taken: dict[tuple[str, str], _Taken] = {}
    twins = renamed = 0
    for number, (file, tile, mask) in enumerate(zip(files, tiles, masks, strict=True)):
        for i in np.flatnonzero(mask).tolist():
            feature = tile.features[i]
            own = _Taken(number, file.format == "citygml", tile.boxes[i, :, :2])
            known = taken.setdefault((feature.id, feature.kind), own)
            if known.file == number:
                continue
            if known.same(own):
                mask[i] = False
                twins += 1
            else:
                feature.id = _other_id(feature.id, feature.kind, taken)
                taken[feature.id, feature.kind] = own
                renamed += 1
    if twins:
        left["objects that two files hold, taken once"] = twins
    if renamed:
        left["objects renamed, because another file uses their id elsewhere (kept)"] = renamed


def _other_id(known: str, kind: str, taken: dict[tuple[str, str], _Taken]) -> str:
    number = 2
    while (f"{known}#{number}", kind) in taken:
        number += 1
    return f"{known}#{number}"


def _drop_lower_release(
    files: Sequence[SourceFile], tiles: Sequence[StoredTile], masks: Masks, left: dict[str, int]
) -> None:
    """Of an OBJ release in two levels, LOD1 pieces that stand where an LOD2 piece stands."""
    low = [i for i, f in enumerate(files) if f.format == "obj" and f.lod == 1 and f.module == "bldg"]
    high = [i for i, f in enumerate(files) if f.format == "obj" and (f.lod or 0) >= 2 and f.module == "bldg"]
    if not low or not high:
        return
    plans = []
    for i in high:
        triangles = np.asarray(tiles[i].mesh().triangles)
        a, b = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
        plans.append(triangles[np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) > 1e-3])
    index = TriangleIndex(np.concatenate(plans))
    for i in low:
        under = masks[i] & np.isfinite(index.height(_inner_points(tiles[i])))
        masks[i] &= ~under
        _count(left, "LOD1 pieces where there is an LOD2 piece", ~under)


def _inner_points(tile: StoredTile) -> Array:
    """(F, 2) a point within the plan of each feature: the middle of its largest triangle in plan."""
    mesh = tile.mesh()
    a, b = mesh.triangles[:, 1] - mesh.triangles[:, 0], mesh.triangles[:, 2] - mesh.triangles[:, 0]
    size = np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
    order = np.lexsort((size, mesh.feature))
    last = np.searchsorted(mesh.feature[order], np.arange(len(tile.features)), side="right") - 1
    return np.asarray(mesh.triangles[order[last]][:, :, :2].mean(axis=1))


def plane_bounds(region: Region, projection: Projection) -> Array:
    """(2, 2) lowest and highest east, north of a region."""
    west, south, east, north = region.bounds()
    x, y = np.linspace(west, east, 5), np.linspace(south, north, 5)
    longitude, latitude = np.meshgrid(x, y)
    plane = np.stack(projection.forward(latitude.ravel(), longitude.ravel()), axis=-1)
    return np.array([plane.min(axis=0), plane.max(axis=0)])
