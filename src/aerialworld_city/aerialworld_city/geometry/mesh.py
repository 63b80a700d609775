"""Triangles of many features with all that belongs to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.frames import Array


@dataclass(eq=False)
class Mesh:
    """Triangles of several features.

    triangles (T, 3, 3) float64 metres, counter-clockwise seen from outside or above
    feature   (T,) int32, the index of each triangle's feature in a list that goes with the mesh
    surface   (T,) int8 of `features.Surface`
    double    (T,) bool, True where the back has to be written too
    material  (T,) int32 into a list of `features.Material` that goes with the mesh, -1: drawn by class
    uv        (T, 3, 2) float32, origin bottom-left, may leave 0-1 (repeat); None where no triangle has an image
    """

    triangles: Array
    feature: NDArray[np.int32]
    surface: NDArray[np.int8]
    double: NDArray[np.bool_]
    material: NDArray[np.int32]
    uv: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.triangles)

    def take(self, rows: Any) -> Mesh:
        """The triangles of a mask or of indices."""
        return Mesh(
            self.triangles[rows],
            self.feature[rows],
            self.surface[rows],
            self.double[rows],
            self.material[rows],
            None if self.uv is None else self.uv[rows],
        )

    @classmethod
    def empty(cls) -> Mesh:
        return cls(
            np.zeros((0, 3, 3)),
            np.zeros(0, np.int32),
            np.zeros(0, np.int8),
            np.zeros(0, np.bool_),
            np.zeros(0, np.int32),
        )

    @classmethod
    def joined(cls, meshes: Sequence[Mesh]) -> Mesh:
        """One after the other; indices are taken as they are (of one list for all)."""
        meshes = [m for m in meshes if len(m)]
        if not meshes:
            return cls.empty()
        uv = None
        if any(m.uv is not None for m in meshes):
            uv = np.concatenate([np.zeros((len(m), 3, 2), np.float32) if m.uv is None else m.uv for m in meshes])
        return cls(
            np.concatenate([m.triangles for m in meshes]),
            np.concatenate([m.feature for m in meshes]),
            np.concatenate([m.surface for m in meshes]),
            np.concatenate([m.double for m in meshes]),
            np.concatenate([m.material for m in meshes]),
            uv,
        )
