"""What a pass over a CityGML file collected, as the file's content: who needs which polygon, materials, counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aerialworld_city.features import Feature, Polygons
from aerialworld_city.readers.citygml_geometry import Packed, as_array
from aerialworld_city.readers.citygml_references import References


def used_polygons(
    packed: Packed,
    features: list[Feature],
    references: References,
    material: NDArray[np.int32],
    uv: NDArray[np.float32] | None,
) -> tuple[list[Feature], Polygons]:
    """Features with polygons, and those polygons: without stand-ins that nobody needed and faces taken back.

    `material` (N,) and `uv` (P, 2) belong to all packed polygons and points.
    """
    feature = _without_stand_ins(as_array(packed.feature, np.int32), features, references)
    keep = feature >= 0
    places = np.unique(feature[keep])
    order = np.full(len(features) + 1, -1, np.int32)
    order[places] = np.arange(len(places))
    polygons = Polygons(
        np.frombuffer(packed.points).reshape(-1, 3) if packed.points else np.zeros((0, 3)),
        uv,
        as_array(packed.ring_start, np.int64),
        as_array(packed.polygon_start, np.int64),
        order[feature],
        as_array(packed.surface, np.int8),
        material,
    )
    return [features[i] for i in places], polygons if keep.all() else _subset(polygons, keep)


def _without_stand_ins(
    feature: NDArray[np.int32], features: list[Feature], references: References
) -> NDArray[np.int32]:
    """Each polygon's feature, where what stands in for another feature has become it, or is not needed (−1)."""
    becomes = np.append(np.arange(len(features), dtype=np.int32), np.int32(-1))
    has = np.bincount(feature[feature >= 0], minlength=len(features)) > 0
    for substitute in sorted(references.stand_ins):
        chain = [references.stand_ins[substitute]]
        while chain[-1] in references.stand_ins:
            chain.append(references.stand_ins[chain[-1]])
        first = chain[-1]
        if not references.delivered.isdisjoint(chain):
            becomes[substitute] = -1
        elif has[substitute] and features[first].kind == features[substitute].kind:
            becomes[substitute] = first
            level = features[substitute].lod
            features[first].lod = max(features[first].lod, level) if has[first] else level
            has[first] = True
    return becomes[feature]


def no_polygons() -> Polygons:
    """None at all, packed."""
    none, start = np.zeros(0, np.int32), np.zeros(1, np.int64)
    return Polygons(np.zeros((0, 3)), None, start, start, none, np.zeros(0, np.int8), none)


def _subset(polygons: Polygons, keep: NDArray[np.bool_]) -> Polygons:
    """The polygons of a mask, with their rings and points."""
    rings = np.diff(polygons.polygon_start)
    ring_keep = np.repeat(keep, rings)
    sizes = np.diff(polygons.ring_start)
    point_keep = np.repeat(ring_keep, sizes)
    return Polygons(
        polygons.points[point_keep],
        None if polygons.uv is None else polygons.uv[point_keep],
        np.concatenate([[0], np.cumsum(sizes[ring_keep])]).astype(np.int64),
        np.concatenate([[0], np.cumsum(rings[keep])]).astype(np.int64),
        polygons.feature[keep],
        polygons.surface[keep],
        polygons.material[keep],
    )
