"""Objects of a city, one whole element at a time: which level of detail is taken and where its surfaces are found."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from aerialworld_city.features import Feature, Surface
from aerialworld_city.geodesy import GEOGRAPHIC
from aerialworld_city.readers import citygml_words as words
from aerialworld_city.readers.citygml_attributes import Attributes
from aerialworld_city.readers.citygml_geometry import Geometry, Part, Placement, up_facing
from aerialworld_city.readers.citygml_references import References
from aerialworld_city.readers.citygml_shape import Shape, shape_of
from aerialworld_city.readers.citygml_words import child_text, local


class Objects:
    """Turns city objects into features and packed polygons; `features` may hold some without polygons at the end."""

    def __init__(
        self,
        geometry: Geometry,
        attributes: Attributes,
        references: References,
        lod: str,
        source: str,
        skip: Callable[[str, str, int | None], None],
        count: Callable[..., None],
        epsg: Callable[[], int],
    ) -> None:
        self.geometry, self.attributes, self.references = geometry, attributes, references
        self.lod, self.source, self.skip, self.count, self.epsg = lod, source, skip, count, epsg
        self.features: list[Feature] = []
        #: What each feature is called in CityGML, by id.
        self.names: dict[str, str] = {}

    # -- bodies ---------------------------------------------------------------------------------------------------

    def body(self, element: Any, name: str) -> None:
        """A building, bridge, plant, piece of furniture or water."""
        kind = words.BODIES[name]
        feature = self.attributes.feature(element, name, kind, self.source)
        if kind == "water" and _is_hazard(element):
            self.count("flood areas passed over")
            return
        self.names[feature.id] = name
        part = self._part(feature, element)
        before = len(self.geometry.packed)
        self._begin(part, feature)
        self._shapes(shape_of(element, self.count), part, kind)
        self.references.resolve_inside(part, self.geometry)
        self._end(feature, part, before, element)

    def _part(self, feature: Feature, element: Any) -> Part:
        return Part(lambda what, reason, line: self.skip(f"{feature.id} {what}".rstrip(), reason, line), element)

    def _begin(self, part: Part, feature: Feature) -> None:
        part.feature = len(self.features)
        self.features.append(feature)

    def _end(self, feature: Feature, part: Part, before: int, element: Any) -> None:
        if len(self.geometry.packed) == before and not part.references:
            self.skip(feature.id, "no LOD1 or LOD2 or LOD3 geometry", element.sourceline)

    def _shapes(self, shape: Shape, part: Part, kind: str) -> None:
        """A shape at its best level, its parts each at theirs, and what is fixed to it."""
        parts = [shape_of(p, self.count) for p in shape.parts]
        levels = words.preferred_levels(shape.levels, self.lod)
        finer = [words.preferred_levels(p.levels, self.lod)[:1] for p in parts]
        if levels and finer and all(f and f[0] > levels[0] for f in finer):
            self.count("coarse shapes that finer parts replace")
            levels = []
        taken = self._best(shape, levels, part, kind)
        self._fixed(shape, taken, part, kind)
        for element, inner in zip(shape.parts, parts, strict=True):
            self.count(local(element))
            self._shapes(inner, part, kind)

    def _best(self, shape: Shape, levels: list[int], part: Part, kind: str) -> int:
        """Read the first level that has anything; returns it, 0 where none has."""
        packed, main = self.geometry.packed, part.feature
        found = 0
        for level in levels:
            polygons, waiting = len(packed), len(part.references)
            feature = self.features[part.feature]
            self._level(shape, level, part, kind)
            where = self.references.whereabouts(part, waiting)
            if len(packed) > polygons or where:
                feature.lod = max(feature.lod, level)
            if len(packed) > polygons or where == "inside":
                found = level
                break
            if where == "elsewhere":
                # All of it lies in other objects of the file, or nowhere: the next level stands in for it.
                found = found or level
                self.references.stand_in(part.feature, len(self.features))
                self._begin(part, replace(feature, lod=0))
        part.feature = main
        return found

    def _level(self, shape: Shape, level: int, part: Part, kind: str) -> None:
        packed = self.geometry.packed
        begin = seen = len(packed)
        known: set[frozenset[tuple[float, ...]]] = set()
        walls = (*shape.walls.get(level, ()), *shape.openings.get(level, ()))
        for element, surface in walls:
            self._property(element, surface, part)
        if kind == "water" and walls:
            return  # The solid would bring the bed of the water along.
        for element in shape.own.get(level, ()):
            # A solid may say again what its boundary surfaces, or another solid, have said.
            first = len(packed)
            if first > begin and _has_polygons(element):
                known.update(packed.outline(i) for i in range(seen, first))
                seen, part.known = first, known
            self._property(element, Surface.UNKNOWN, part)
            if kind == "water" and "Sol" in local(element):
                self._keep_up_facing(first)
        part.known = None

    def _property(self, element: Any, surface: int, part: Part) -> None:
        if "ImplicitRepresentation" in local(element):
            for child in element:
                if local(child) == "ImplicitGeometry":
                    self._implicit(child, surface, part)
        else:
            self.geometry.read(element, surface, part)

    def _fixed(self, shape: Shape, taken: int, part: Part, kind: str) -> None:
        """Balconies, stairs, decks, piers: at LOD1 an object is a block without them."""
        for element in shape.installations:
            self.count(local(element))
            inner = shape_of(element, self.count)
            if taken == 1 or (child_text(element, "relationToConstruction") or "").startswith("inside"):
                continue
            lod = str(taken) if taken in (2, 3) else self.lod
            levels = words.preferred_levels(inner.levels, lod)
            if taken:
                levels = [v for v in levels if v <= taken]
            self._best(inner, levels, part, kind)

    def _keep_up_facing(self, first: int) -> None:
        """Take back the polygons of a solid from `first` on that are not seen from above."""
        packed = self.geometry.packed
        geographic = self.epsg() in GEOGRAPHIC
        for polygon in range(first, len(packed)):
            ring = packed.polygon_start[polygon]
            values = packed.points[packed.ring_start[ring] * 3 : packed.ring_start[ring + 1] * 3]
            if not up_facing(np.array(values).reshape(-1, 3), geographic):
                packed.feature[polygon] = -1

    # -- implicit geometry ----------------------------------------------------------------------------------------

    def _implicit(self, element: Any, surface: int, part: Part) -> None:
        """A shape in local metres, placed by a matrix and a point; libraries in other files are not opened."""
        texts = {local(child): (child.text or "").strip() for child in element}
        shapes = [c for c in element if local(c) in ("relativeGMLGeometry", "relativeGeometry")]
        if not shapes:
            library = texts.get("libraryObject", "")
            reason = f"its shape is the library file {library[:200]!r}, which is not read" if library else "no geometry"
            part.skip("implicit geometry", reason, element.sourceline)
            return
        try:
            matrix = [float(w) for w in texts.get("transformationMatrix", "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1").split()]
            point = next(element.iter("{*}referencePoint"), None)
            position = None if point is None else next(point.iter("{*}pos"), None)
            place = [float(w) for w in (position.text or "").split()] if position is not None else []
        except ValueError:
            matrix, place = [], []
        if len(matrix) != 16 or len(place) != 3 or not all(map(math.isfinite, (*matrix, *place))):
            reason = "a transformationMatrix of 16 numbers and a referencePoint of 3 are needed"
            part.skip("implicit geometry", f"line {element.sourceline}: {reason}", element.sourceline)
            return
        placement = Placement(matrix, place, self.epsg())
        self.count("implicit geometries")
        for shape in shapes:
            self.geometry.read(shape, surface, part, placement)

    # -- roads and other ways -------------------------------------------------------------------------------------

    def way(self, element: Any, name: str) -> None:
        """A road, railway, path or square: its areas by what they are for, else its own surface."""
        plain = words.WAYS[name]
        feature = self.attributes.feature(element, name, plain, self.source)
        self.names[feature.id] = name
        part = self._part(feature, element)
        shape = shape_of(element, self.count)
        areas = [(shape_of(a, self.count), _kind_of_area(a, plain)) for a in _areas(element, self.count)]
        levels = words.preferred_levels(shape.levels | {v for a, _ in areas for v in a.levels}, self.lod)
        packed = self.geometry.packed
        before = len(packed)
        awaited: int | None = None
        for level in levels:
            rows = _Rows(self, feature, level, awaited)
            waiting = len(part.references)
            for inner, kind in areas:
                best = [v for v in words.preferred_levels(inner.levels, self.lod) if 2 <= v <= level or v == level]
                if best:
                    part.feature = rows.of(kind)
                    self._level(inner, best[0], part, kind)
            if level in shape.levels:
                part.feature = rows.of(plain)
                self._level(shape, level, part, plain)
            where = self.references.whereabouts(part, waiting)
            if len(packed) > before or where == "inside":
                break
            if where == "elsewhere":
                awaited = part.feature
        self.references.resolve_inside(part, self.geometry)
        self._end(feature, part, before, element)


class _Rows:
    """The features of one road at one level: one for each kind, all of one id."""

    def __init__(self, objects: Objects, feature: Feature, level: int, awaited: int | None) -> None:
        self.objects, self.feature, self.level, self.awaited = objects, feature, level, awaited
        self.rows: dict[str, int] = {}

    def of(self, kind: str) -> int:
        features = self.objects.features
        if kind not in self.rows:
            self.rows[kind] = len(features)
            if self.awaited is not None:
                self.objects.references.stand_in(self.awaited, len(features))
            features.append(replace(self.feature, kind=kind, lod=self.level))
        return self.rows[kind]


def _areas(element: Any, count: Callable[..., None]) -> Iterator[Any]:
    for area in element.iter("{*}TrafficArea", "{*}AuxiliaryTrafficArea"):
        count(local(area))
        yield area


def _kind_of_area(area: Any, plain: str) -> str:
    function = child_text(area, "function")
    if function is None and local(area) == "AuxiliaryTrafficArea":
        return "flat"
    return words.area_kind(function, plain)


def _has_polygons(element: Any) -> bool:
    return next(element.iter("{*}Polygon", "{*}PolygonPatch", "{*}Triangle", "{*}Rectangle"), None) is not None


def _is_hazard(element: Any) -> bool:
    """A flood, tsunami or high tide area is a WaterBody too: class 1140, or with a risk attribute."""
    if child_text(element, "class") == "1140":
        return True
    return any(
        local(e).endswith("RiskAttribute") for child in element if "ttribute" in local(child) or "ade" in local(child)
        for e in (child, *child)
    )  # fmt: skip
