"""GML polygons into packed arrays: no object is kept for a polygon, so that a file of millions of them stays small."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_city.geodesy import GEOGRAPHIC
from aerialworld_city.readers.citygml_words import HREF, identifier_of, local
from aerialworld_core.frames import Array

POLYGONS = ("Polygon", "PolygonPatch", "Triangle", "Rectangle")
_RINGS = ("LinearRing", "Ring")
#: A texture's target may be a surface around a polygon: of its ancestors, so many are remembered.
_MAX_GROUPS = 4
#: GRS80, the ellipsoid of JGD2011.
_AXIS, _FLATTENING = 6_378_137.0, 1 / 298.257222101


def key_of(identifier: str | None) -> int:
    """64 bits that stand for an id (two of a million ids are alike once in 10⁷ files); 0 for none."""
    return (hash(identifier) or 1) if identifier is not None else 0


class Packed:
    """Growing arrays of polygons; see `aerialworld_city.features.Polygons`.

    Besides, `polygon_key` and `ring_key` stand for the ids that appearances name, `ring_turned` is 1 for rings that
    were reversed, and `group_key`, `group_polygon` pair the ids of surrounding surfaces with their polygons.
    """

    def __init__(self) -> None:
        self.points = array("d")
        self.ring_start = array("q", [0])
        self.ring_key = array("q")
        self.ring_turned = array("b")
        self.polygon_start = array("q", [0])
        self.polygon_key = array("q")
        self.feature = array("i")
        self.surface = array("b")
        self.group_key = array("q")
        self.group_polygon = array("q")

    def __len__(self) -> int:
        return len(self.feature)

    def outline(self, polygon: int) -> frozenset[tuple[float, ...]]:
        """The places of a polygon's outer ring, whatever their order."""
        ring = self.polygon_start[polygon]
        values = self.points[self.ring_start[ring] * 3 : self.ring_start[ring + 1] * 3]
        return outline_of(values)


def outline_of(values: Any) -> frozenset[tuple[float, ...]]:
    return frozenset(zip(values[0::3], values[1::3], values[2::3], strict=True))


class Placement:
    """Where an implicit geometry stands: local metres (x east, y north, z up) → the file's coordinates.

    `matrix` (16 numbers, row by row) is applied first, then the reference point is added; for geographic systems by the
    radii of curvature of GRS80 there, which is exact to 1 mm within 50 m. CityGML 2.0, 8.3.
    """

    def __init__(self, matrix: list[float], reference: list[float], epsg: int) -> None:
        self.matrix = np.array(matrix, np.float64).reshape(4, 4)
        self.reference, self.geographic = reference, epsg in GEOGRAPHIC
        #: A mirror turns faces inside out.
        with np.errstate(all="ignore"):
            self.mirrors = bool(np.linalg.det(self.matrix[:3, :3]) < 0)

    @np.errstate(all="ignore")
    def apply(self, values: list[float]) -> list[float]:
        """x, y, z … in local metres → the file's coordinates. Raises ValueError where that gives no numbers."""
        x, y, z = np.array(values).reshape(-1, 3).T
        # Written out: a product of matrices would keep every core of the machine busy for a few numbers.
        east, north, up = (a * x + b * y + c * z + d for a, b, c, d in self.matrix[:3])
        first, second, height = self.reference
        if self.geographic:
            latitude = math.radians(first)
            square = _FLATTENING * (2 - _FLATTENING)
            root = math.sqrt(1 - square * math.sin(latitude) ** 2)
            turned = north / (_AXIS * (1 - square) / root**3 + height)
            # The parallel half way north, so that the meridians' convergence does not count.
            parallel = (_AXIS / root + height) * np.cos(latitude + turned / 2)
            north, east = np.degrees(turned), np.degrees(east / parallel)
        placed = np.column_stack([first + north, second + east, height + up])
        if not np.isfinite(placed).all():
            raise ValueError("a point that cannot be placed")
        return placed.ravel().tolist()


class Part:
    """What is being read: an object of the city, `element`, and what was found of it so far.

    `skip(what, reason, line)` reports; `taken` are the ids that were read for the whole object; `references` are
    (href, feature, surface, placement, line, path), waiting to be resolved when the object was seen whole.
    """

    def __init__(self, skip: Callable[[str, str, int | None], None], element: Any = None) -> None:
        self.skip, self.element = skip, element
        self.feature = 0
        self.taken: set[str] = set()
        self.references: list[tuple[str, int, int, Placement | None, int | None, tuple[str, ...]]] = []
        self.known: set[frozenset[tuple[float, ...]]] | None = None
        self.number = 0
        self.path: tuple[str, ...] = ()
        self._ids: dict[str, Any] | None = None

    def inside(self, identifier: str) -> Any:
        """The element of that id in the object; None where there is none."""
        if self._ids is None:
            found = ((identifier_of(e), e) for e in self.element.iter() if local(e))
            self._ids = {i: e for i, e in found if i is not None}
        return self._ids.get(identifier)


class Geometry:
    """Reads surfaces and solids of one file into `packed`. `dimension` is 2 where the file has no heights."""

    def __init__(self) -> None:
        self.packed = Packed()
        self.dimension = 3
        #: srsName found on a geometry, for files whose envelope states none.
        self.srs: str | None = None
        #: Elements that were looked at, for those who have to set a limit.
        self.visited = 0

    def read(
        self, element: Any, surface: int, part: Part, placement: Placement | None = None, turned: bool = False
    ) -> None:
        """Every polygon in an element, and the references below it."""
        self._walk(element, surface, part, placement, turned, ())

    def _walk(
        self, element: Any, surface: int, part: Part, placement: Placement | None, turned: bool, groups: tuple[int, ...]
    ) -> None:
        self.visited += 1
        name = local(element)
        if name in POLYGONS:
            self._polygon(element, surface, part, placement, turned, groups)
            return
        if element.attrib:
            href = element.get(HREF)
            if href and key_of(href.strip().removeprefix("#")) in groups:
                part.skip("", f"line {element.sourceline}: {href[:200]} refers to itself in a circle", None)
            elif href:
                part.references.append((href, part.feature, surface, placement, element.sourceline, part.path))
            identifier = identifier_of(element)
            if identifier is not None:
                part.taken.add(identifier)
                groups = (*groups, key_of(identifier))
            if self.srs is None:
                self.srs = element.get("srsName")
            if name == "OrientableSurface" and element.get("orientation") == "-":
                turned = not turned
        for child in element:
            self._walk(child, surface, part, placement, turned, groups)

    def _polygon(
        self, element: Any, surface: int, part: Part, placement: Placement | None, turned: bool, groups: tuple[int, ...]
    ) -> None:
        part.number += 1
        identifier = identifier_of(element)
        if identifier is not None:
            part.taken.add(identifier)
        if placement is not None and placement.mirrors:
            turned = not turned
        rings: list[list[float]] = []
        keys: list[int] = []
        outer = 0
        for boundary in element:
            name = local(boundary)
            if name not in ("exterior", "interior"):
                continue
            for ring in boundary:
                if local(ring) not in _RINGS:
                    continue
                try:
                    values = ring_values(ring, self.dimension)
                    if placement is not None:
                        values = placement.apply(values)
                except ValueError as error:
                    hole = name == "interior" and isinstance(error, TooFewPoints)
                    part.skip(f"polygon {part.number}{' hole' if hole else ''}", str(error), None)
                    if hole:
                        continue
                    return
                at = len(rings) if name == "interior" else outer
                outer += name == "exterior"
                rings.insert(at, values)
                keys.insert(at, key_of(identifier_of(ring)))
        if outer != 1:
            what = "no outer ring" if outer == 0 else f"{outer} outer rings"
            part.skip(f"polygon {part.number}", f"line {element.sourceline}: a polygon with {what}", None)
            return
        if part.known is not None and outline_of(rings[0]) in part.known:
            return
        self._append(rings, keys, key_of(identifier), surface, part.feature, turned, groups)

    def _append(
        self,
        rings: list[list[float]],
        keys: list[int],
        key: int,
        surface: int,
        feature: int,
        turned: bool,
        groups: tuple[int, ...],
    ) -> None:
        packed = self.packed
        for values in rings:
            if turned:
                values = np.array(values).reshape(-1, 3)[::-1].ravel().tolist()
            packed.points.extend(values)
            packed.ring_start.append(len(packed.points) // 3)
            packed.ring_turned.append(turned)
        packed.ring_key.extend(keys)
        packed.polygon_start.append(len(packed.ring_start) - 1)
        packed.polygon_key.append(key)
        packed.surface.append(surface)
        packed.feature.append(feature)
        for group in groups[-_MAX_GROUPS:]:
            packed.group_key.append(group)
            packed.group_polygon.append(len(packed.feature) - 1)


class TooFewPoints(ValueError):
    """A ring of less than three places encloses nothing."""


def ring_values(ring: Any, dimension: int = 3, check: bool = True) -> list[float]:
    """x, y, z, x, y, z … of a ring as the file has them. Raises ValueError that names line and fault, and, with
    `check`, TooFewPoints."""
    values: list[float] = []
    size = dimension
    for child in ring.iter("{*}posList", "{*}pos"):
        text = child.text or ""
        if len(child):  # a comment between the numbers
            text += " ".join(c.tail or "" for c in child)
        stated = child.get("srsDimension") if child.attrib else None
        if stated in ("2", "3"):
            size = int(stated)
        try:
            values.extend(map(float, text.split()))
        except ValueError:
            bad = next(w for w in text.split() if not is_number(w))
            raise ValueError(f"line {child.sourceline}: {bad[:40]!r} is not a number") from None
        if "_" in text:
            raise ValueError(f"line {child.sourceline}: '_' in a number")
    if len(values) % size:
        raise ValueError(f"line {ring.sourceline}: {len(values)} numbers in a ring, not a multiple of {size}")
    total = sum(values)
    if total - total != 0:  # NaN, an infinity, or very large numbers
        for value in values:
            if not math.isfinite(value):
                raise ValueError(f"line {ring.sourceline}: a point with {value}, which is no place")
    if size == 2:
        flat = np.zeros((len(values) // 2, 3))
        flat[:, :2] = np.array(values).reshape(-1, 2)
        values = flat.ravel().tolist()
    if check and len(values) <= 12:
        distinct = len(outline_of(values))
        if distinct < 3:
            raise TooFewPoints(f"line {ring.sourceline}: a ring of {distinct} distinct points")
    return values


def is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def up_facing(points: Array, geographic: bool) -> bool:
    """Whether a ring (N, 3) of source coordinates lies rather than stands, and is seen from above."""
    north, east, up = points[:, 0], points[:, 1], points[:, 2]
    if geographic:
        scale = math.radians(_AXIS)
        east = east * scale * math.cos(math.radians(float(north[0])))
        north = north * scale
    ring = np.column_stack([east - east[0], north - north[0], up - up[0]])
    normal = np.cross(ring, np.roll(ring, -1, axis=0)).sum(axis=0)
    length = float(np.linalg.norm(normal))
    return length > 0 and float(normal[2]) > 0.5 * length


def as_array(values: array[Any], kind: Any) -> NDArray[Any]:
    """A packed array as numpy, its own copy."""
    return np.frombuffer(values, values.typecode).astype(kind) if len(values) else np.zeros(0, kind)
