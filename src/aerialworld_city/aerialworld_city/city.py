"""A city between reading and writing: files, their stored tiles, and which features of them are taken."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_city.features import Feature
from aerialworld_city.geodesy import Projection
from aerialworld_city.kinds import KINDS
from aerialworld_city.sources.discover import SourceFile
from aerialworld_city.tiles.select import Masks
from aerialworld_city.tiles.store import StoredTile
from aerialworld_core.frames import Array

#: Surfaces whose heights are all this near to 0 have none, metres (as `geometry.ground` has it).
NO_HEIGHT = 1e-6


@dataclass(eq=False)
class City:
    """`files`, `tiles`, `masks` (which features are taken) and `sources` (fingerprints) are in one order."""

    files: list[SourceFile]
    tiles: list[StoredTile]
    masks: Masks
    projection: Projection
    sources: list[dict[str, Any]]

    @cached_property
    def features(self) -> list[Feature]:
        """The features taken, tile by tile."""
        return [t.features[i] for t, m in zip(self.tiles, self.masks, strict=True) for i in np.flatnonzero(m).tolist()]

    @cached_property
    def boxes(self) -> Array:
        """(N, 2, 3) plane metres, lowest and highest corner of each feature taken."""
        return np.concatenate([np.zeros((0, 2, 3)), *(t.boxes[m] for t, m in zip(self.tiles, self.masks, strict=True))])

    @cached_property
    def lies(self) -> NDArray[np.bool_]:
        """(N,) whether a feature is a surface that lies on the ground."""
        return np.array([KINDS[f.kind].lies for f in self.features], bool)

    @cached_property
    def without_height(self) -> NDArray[np.bool_]:
        """(N,) whether a feature is such a surface and has no heights."""
        return np.asarray(self.lies & (np.abs(self.boxes[:, :, 2]).max(axis=1, initial=0.0) < NO_HEIGHT))

    @property
    def generated(self) -> bool:
        """Whether all of it is AerialWorld's made-up city."""
        return all(t.generated for t in self.tiles)
