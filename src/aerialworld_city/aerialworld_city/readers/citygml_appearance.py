"""Textures and colours of a CityGML file: which image belongs to which polygon, and where on it.

Surface data may stand before or after the geometry, at the city model or inside an object. Everything is kept in packed
arrays and joined to the polygons at the end. CityGML 2.0, 9; CityGML 3.0, 7.3 (TextureAssociation).
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from aerialworld_city.features import Material
from aerialworld_city.geometry.packing import ranges
from aerialworld_city.readers.citygml_geometry import Packed, as_array, key_of
from aerialworld_city.readers.citygml_words import HREF, local

THEME = "rgbTexture"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_MAX_URI = 1024


def clean_image(uri: str) -> tuple[str | None, str]:
    """The path below the file's folder that an imageURI means, or None and why it is not followed."""
    text = unquote(uri.strip()).replace("\\", "/")
    if not text:
        return None, "names no image"
    if len(text) > _MAX_URI or any(ord(c) < 32 for c in text):
        return None, "is no file name"
    if text.startswith("/") or text[1:2] == ":":
        return None, "is an absolute path"
    if _SCHEME.match(text):
        return None, "is an address, not a file of the data set"
    parts = [p for p in text.split("/") if p not in ("", ".")]
    if ".." in parts:
        return None, "leaves the file's folder"
    return "/".join(parts) or None, "names no image"


class Appearances:
    """Collects surface data while a file is read; `skip(what, reason, line)` reports."""

    def __init__(self, skip: Callable[[str, str, int | None], None], count: Callable[..., None], images: bool) -> None:
        self.skip, self.count, self.images = skip, count, images
        self.theme: str | None = None
        self.looks: list[Material | None] = []
        self.rank = array("q")
        self.target_key = array("q")
        self.target_data = array("q")
        self.ring_key = array("q")
        self.ring_data = array("q")
        self.uv_start = array("q", [0])
        self.uv = array("f")
        self._refused: set[str] = set()

    # -- while streaming ------------------------------------------------------------------------------------------

    def begin(self, textured: bool) -> None:
        """A ParameterizedTexture or X3DMaterial starts; its targets follow, then `end`."""
        self.looks.append(None)
        self.rank.append(2 * (self.theme is not None and self.theme != THEME) + (not textured))

    def target(self, element: Any) -> None:
        """An app:target of the surface data that was begun last: of a texture (uri, TexCoordList) or a material."""
        uri = element.get("uri")
        if uri is None:
            if (element.text or "").strip():
                self.count("material targets")
                self._target(element.text)
            return
        self.count("texture targets")
        self._target(uri)
        for child in element:
            self._coordinates(child)
        if element.get(HREF):
            self.skip(uri[:200], "texture coordinates by reference (xlink) are not followed", element.sourceline)

    def association(self, element: Any) -> None:
        """A TextureAssociation (CityGML 3.0): a target and its textureParameterization."""
        for child in element:
            name = local(child)
            if name == "target":
                self.count("texture targets")
                self._target(child.text or "")
            elif name == "textureParameterization":
                for inner in child:
                    self._coordinates(inner)

    def end(self, element: Any, textured: bool) -> None:
        """The surface data is whole: what it looks like."""
        texts = {local(child): (child.text or "").strip() for child in element if local(child) != "target"}
        if texts.get("isFront") in ("false", "0"):
            self.count("appearances of backs")
        elif textured:
            self.looks[-1] = self._image(texts.get("imageURI", ""), element)
        else:
            self.looks[-1] = self._colour(texts, element)

    def _target(self, uri: str) -> None:
        self.target_key.append(key_of(uri.strip().removeprefix("#")))
        self.target_data.append(len(self.looks) - 1)

    def _coordinates(self, element: Any) -> None:
        name = local(element)
        if name == "TexCoordGen":
            self.count("targets with TexCoordGen")
            if "TexCoordGen" not in self._refused:
                self._refused.add("TexCoordGen")
                self.skip("TexCoordGen", "texture coordinates by a formula are not supported", element.sourceline)
        if name != "TexCoordList":
            return
        lists = [c for c in element if local(c) == "textureCoordinates"]
        rings = [c.text for c in element if local(c) == "ring"]  # CityGML 3.0 has them side by side
        for number, child in enumerate(lists):
            ring = child.get("ring") or (rings[number] if number < len(rings) else None) or ""
            words = (child.text or "").split()
            try:
                values = [float(w) for w in words]
            except ValueError:
                values = []
            if not values or len(values) % 2 or not np.isfinite(values).all():
                reason = "texture coordinates that are no pairs of numbers; the surface is drawn by class"
                self.skip(f"ring {ring.strip()[:200]}", reason, child.sourceline)
                continue
            self.ring_key.append(key_of(ring.strip().removeprefix("#")))
            self.ring_data.append(len(self.looks) - 1)
            self.uv.extend(values)
            self.uv_start.append(len(self.uv) // 2)

    def _image(self, uri: str, element: Any) -> Material | None:
        if not self.images:
            return None
        path, reason = clean_image(uri)
        if path is None:
            if uri not in self._refused and len(self._refused) < 10_000:
                self._refused.add(uri)
                self.skip(f"image {uri[:200]!r}", f"{reason}; its surfaces are drawn by class", element.sourceline)
            return None
        return Material(image=path)

    def _colour(self, texts: dict[str, str], element: Any) -> Material | None:
        try:
            # X3D: diffuseColor is 0.8 grey and transparency 0 where nothing is said.
            colour = [float(w) for w in texts.get("diffuseColor", "0.8 0.8 0.8").split()]
            opacity = 1.0 - float(texts.get("transparency") or 0.0)
        except ValueError:
            colour, opacity = [], 1.0
        if len(colour) != 3 or not np.isfinite([*colour, opacity]).all():
            self.skip("X3DMaterial", "a colour that is not three numbers", element.sourceline)
            return None
        red, green, blue = (min(max(c, 0.0), 1.0) for c in colour)
        return Material(colour=(red, green, blue), opacity=min(max(opacity, 0.0), 1.0))

    # -- at the end -----------------------------------------------------------------------------------------------

    def join(self, packed: Packed) -> tuple[list[Material], NDArray[np.int32], NDArray[np.float32] | None]:
        """Materials in use, the material of each polygon (−1: none), and (P, 2) texture coordinates (None: no image).

        A surface that several say something about takes the theme rgbTexture before others, a texture before a colour,
        what names the polygon itself before what names a surface around it, and then what comes first.
        """
        materials: list[Material] = []
        places: dict[Material, int] = {}
        of_data = np.full(len(self.looks), -1, np.int32)
        for data, look in enumerate(self.looks):
            if look is not None:
                if look not in places:
                    places[look] = len(materials)
                    materials.append(look)
                of_data[data] = places[look]
        chosen = self._choose(packed, of_data)
        uv = self._texture_coordinates(packed, chosen, [m.image is not None for m in materials], of_data)
        material = np.where(chosen >= 0, of_data[chosen] if len(of_data) else -1, -1).astype(np.int32)
        used = np.unique(material[material >= 0])
        order = np.full(len(materials) + 1, -1, np.int32)
        order[used] = np.arange(len(used))
        return [materials[i] for i in used], order[material], uv

    def _choose(self, packed: Packed, of_data: NDArray[np.int32]) -> NDArray[np.int64]:
        """The surface data of each polygon, −1 for none."""
        keys, data = as_array(self.target_key, np.int64), as_array(self.target_data, np.int64)
        chosen = np.full(len(packed), -1, np.int64)
        own = as_array(packed.polygon_key, np.int64)
        group = as_array(packed.group_key, np.int64)
        known = np.isin(keys, own) | np.isin(keys, group)
        if len(keys) - known.sum():
            self.count("targets to ids not read", int(len(keys) - known.sum()))
        usable = known & (of_data[data] >= 0) if len(data) else known
        rows = np.flatnonzero(usable)
        if len(rows) == 0:
            return chosen
        rank = as_array(self.rank, np.int64)
        polygons, targets, around = [], [], []
        for outer, (held, owner) in enumerate(
            [(own, np.arange(len(own))), (group, as_array(packed.group_polygon, np.int64))]
        ):
            order = np.argsort(held, kind="stable")
            first = np.searchsorted(held[order], keys[rows], "left")
            number = np.searchsorted(held[order], keys[rows], "right") - first
            number[keys[rows] == 0] = 0
            repeated = np.repeat(np.arange(len(rows)), number)
            polygons.append(owner[order][ranges(first, number)])
            targets.append(rows[repeated])
            around.append(np.full(len(repeated), outer))
        polygon, target, outer_rank = np.concatenate(polygons), np.concatenate(targets), np.concatenate(around)
        best = np.lexsort((target, outer_rank, rank[data[target]], polygon))
        polygon, target = polygon[best], target[best]
        first_of = np.ones(len(polygon), bool)
        first_of[1:] = polygon[1:] != polygon[:-1]
        chosen[polygon[first_of]] = data[target[first_of]]
        return chosen

    def _texture_coordinates(
        self, packed: Packed, chosen: NDArray[np.int64], has_image: list[bool], of_data: NDArray[np.int32]
    ) -> NDArray[np.float32] | None:
        """(P, 2); polygons whose rings lack fitting coordinates lose their texture (`chosen` becomes −1)."""
        textured = np.zeros(len(chosen), bool)
        found = chosen >= 0
        textured[found] = np.array(has_image, bool)[of_data[chosen[found]]]
        if not textured.any():
            return None
        ring_start, polygon_start = as_array(packed.ring_start, np.int64), as_array(packed.polygon_start, np.int64)
        polygon = np.repeat(np.arange(len(chosen)), np.diff(polygon_start))
        rings = np.flatnonzero(textured[polygon])
        wanted = _pair(as_array(packed.ring_key, np.int64)[rings], chosen[polygon[rings]])
        named = as_array(packed.ring_key, np.int64)[rings] != 0
        given = _pair(as_array(self.ring_key, np.int64), as_array(self.ring_data, np.int64))
        uv_start, values = as_array(self.uv_start, np.int64), as_array(self.uv, np.float32).reshape(-1, 2)
        order = np.argsort(given, kind="stable")
        at = np.searchsorted(given[order], wanted) if len(given) else np.zeros(len(rings), np.int64)
        row = order[np.minimum(at, len(given) - 1)] if len(given) else at
        fits = named & (given[row] == wanted) if len(given) else np.zeros(len(rings), bool)
        size = ring_start[rings + 1] - ring_start[rings]
        number = np.where(fits, uv_start[row + 1] - uv_start[row] if len(given) else 0, 0)
        # Some writers leave out the closing point's coordinates.
        points = as_array(packed.points, np.float64).reshape(-1, 3)
        closed = (points[ring_start[rings]] == points[ring_start[rings + 1] - 1]).all(axis=1)
        closing = fits & closed & (number == size - 1)
        lacking = ~(fits & ((number == size) | closing))
        if lacking.any():
            without = np.unique(polygon[rings[lacking]])
            chosen[without] = -1
            self.count("polygons whose texture coordinates are missing or do not fit", len(without))
        uv = np.full((int(ring_start[-1]), 2), np.nan, np.float32)
        good = chosen[polygon[rings]] >= 0
        uv[ranges(ring_start[rings[good]], number[good])] = values[ranges(uv_start[row[good]], number[good])]
        last = ring_start[rings[good & closing] + 1] - 1
        uv[last] = uv[ring_start[rings[good & closing]]]
        for ring in rings[good & (as_array(packed.ring_turned, np.int8)[rings] != 0)]:
            part = slice(ring_start[ring], ring_start[ring + 1])
            uv[part] = uv[part][::-1].copy()
        return uv if good.any() else None


def _pair(ring: NDArray[np.int64], data: NDArray[np.int64]) -> NDArray[np.int64]:
    """One number for a ring and the surface data that speaks of it (wraps round, as hashes do)."""
    with np.errstate(over="ignore"):
        return ring ^ (data * np.int64(0x9E3779B97F4A7C1 | 1))
