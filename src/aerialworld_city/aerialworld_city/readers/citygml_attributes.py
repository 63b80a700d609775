"""What is said of a city object besides its shape: id, usage, height, municipality."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from aerialworld_city.features import Feature
from aerialworld_city.readers.citygml_words import PARTS, child_text, local
from aerialworld_city.readers.codelists import Codelists

_MAX_ID = 200
_MAX_CODE = 64
#: Where the building's number stood in 2020, before uro:buildingID.
_OLD_NUMBER = "建物ID"
_CITY = re.compile(r"(\d{5})(?:\D|$)")


class Attributes:
    """Makes the features of one file; their ids are unique in it."""

    def __init__(self, codelists: Codelists, note: Callable[[str], None], count: Callable[..., None]) -> None:
        self.codelists, self.note, self.count = codelists, note, count
        self.cities: Counter[str] = Counter()
        self._ids: dict[str, int] = {}
        self._number = 0

    def feature(self, element: Any, name: str, kind: str, source: str) -> Feature:
        feature = Feature(self._unique(self._id(element, name)), kind, source, 0)
        self._fill(feature, element)
        if feature.usage is None or feature.measured_height is None:
            for child in element:
                if local(child) in PARTS:
                    for part in child:
                        self._fill(feature, part)
        return feature

    def _id(self, element: Any, name: str) -> str:
        self._number += 1
        for key, value in element.attrib.items():
            if key.rpartition("}")[2] == "id" and value:
                return str(value)[:_MAX_ID]
        return f"{name}_{self._number}"

    def _unique(self, identifier: str) -> str:
        number = self._ids.get(identifier, 0) + 1
        self._ids[identifier] = number
        if number == 1:
            return identifier
        self.count("ids that occur again")
        while (unique := f"{identifier}#{number}") in self._ids:
            number += 1
        self._ids[unique] = 1
        self._ids[identifier] = number
        self.note(f"the id {identifier} occurs again; the later object is called {unique}")
        return unique

    def _fill(self, feature: Feature, element: Any) -> None:
        height = feature.measured_height
        for child in element:
            name = local(child)
            if name == "usage" and feature.usage is None:
                self._usage(feature, child)
            elif name == "measuredHeight":
                height = _highest(height, child.text)
            elif name == "height" and len(child):  # CityGML 3.0: con:height/con:Height/con:value
                for value in child.iter("{*}value"):
                    height = _highest(height, value.text)
            elif name.startswith(("buildingI", "buildingD", "ade", "extended")):
                self._identity(feature, child)
            elif name == "stringAttribute" and child.get("name") == _OLD_NUMBER and feature.code is None:
                feature.code = (child_text(child, "value") or "")[:_MAX_ID] or None
        feature.measured_height = height

    def _usage(self, feature: Feature, element: Any) -> None:
        code = (element.text or "").strip()
        if code:
            feature.usage = code[:_MAX_CODE]
            if feature.kind == "building":
                feature.usage_label = self.codelists.label(code, element.get("codeSpace"))

    def _identity(self, feature: Feature, element: Any) -> None:
        """uro:buildingID and the municipality, wherever this version of i-UR has them."""
        for child in element.iter("{*}buildingID", "{*}city"):
            text = (child.text or "").strip()
            if local(child) == "buildingID" and text and feature.code is None:
                feature.code = text[:_MAX_ID]
            match = _CITY.match(text)
            if match:
                self.cities[match[1]] += 1

    @property
    def municipality(self) -> str | None:
        """The code that most objects state; of equals the lowest."""
        if not self.cities:
            return None
        return min(self.cities, key=lambda code: (-self.cities[code], code))


def _highest(known: float | None, text: str | None) -> float | None:
    """The higher of two heights in metres; what is no height (−9999, words) counts for nothing."""
    try:
        value = float(text or "")
    except ValueError:
        return known
    if not (math.isfinite(value) and 0 < value < 1000):
        return known
    return value if known is None else max(known, value)
