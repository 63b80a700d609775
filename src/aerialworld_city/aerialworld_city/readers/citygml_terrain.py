"""Terrain of a CityGML file: triangles of TINRelief, one at a time."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

import numpy as np

from aerialworld_city.readers.citygml_geometry import ring_values
from aerialworld_city.readers.citygml_words import child_text, preferred_levels
from aerialworld_core.frames import Array


class Terrain:
    """Collects triangles; `open` between the start and the end of a TINRelief. Nothing is kept unless `wanted`."""

    def __init__(
        self, lod: str, wanted: bool, skip: Callable[[str, str, int | None], None], count: Callable[..., None]
    ) -> None:
        self.lod, self.wanted, self.skip, self.count = lod, wanted, skip, count
        self.open = False
        self._values = array("d")
        self._pieces: list[tuple[int, int, int]] = []  # first value, ReliefFeature, level
        self._number = 0
        self._begun = 0

    def begin(self, relief: int) -> None:
        """A TINRelief of the file's `relief`th ReliefFeature starts."""
        self.open, self._begun = True, self._number
        self._pieces.append((len(self._values), relief, 0))

    def end(self, element: Any) -> None:
        self.open = False
        self.count("TINRelief")
        first, relief, _ = self._pieces[-1]
        text = child_text(element, "lod") or ""
        self._pieces[-1] = (first, relief, int(text) if text in ("0", "1", "2", "3", "4") else 0)
        if self._number == self._begun:
            self.skip("TINRelief", "terrain without a triangle", element.sourceline)

    def triangle(self, element: Any, dimension: int) -> None:
        """One gml:Triangle; collapsed ones are left to those who build the ground, who count them."""
        self._number += 1
        self.count("Triangle")
        if not self.wanted:
            return
        try:
            values = ring_values(element, dimension, check=False)
        except ValueError as error:
            self.skip(f"Triangle {self._number}", str(error), element.sourceline)
            return
        if len(values) not in (9, 12):
            reason = f"a terrain triangle of {len(values) // 3} points"
            self.skip(f"Triangle {self._number}", reason, element.sourceline)
            return
        self._values.extend(values[:9])

    def chosen(self) -> Array:
        """(K, 3, 3). Where one relief has its terrain at several levels, the best wanted one of them."""
        triangles = np.frombuffer(self._values).reshape(-1, 3, 3) if self._values else np.zeros((0, 3, 3))
        levels: dict[int, set[int]] = {}
        for _, relief, level in self._pieces:
            levels.setdefault(relief, set()).add(level)
        keep = np.ones(len(triangles), bool)
        ends = [*(p[0] for p in self._pieces[1:]), len(self._values)][: len(self._pieces)]
        for (first, relief, level), end in zip(self._pieces, ends, strict=True):
            best = preferred_levels(levels[relief], self.lod)
            if best and level != best[0]:
                keep[first // 9 : end // 9] = False
        return triangles if keep.all() else triangles[keep]
