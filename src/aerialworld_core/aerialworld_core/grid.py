"""The voxel grid: which box of space around a vehicle is described, and how finely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import InputError


@dataclass(frozen=True)
class VoxelGrid:
    """A box of voxels with index order [x, y, z]; x forward and y left of the vehicle, z above the session's datum.

    `minimum` and `voxel_size` are metres, `shape` voxels. Voxel (i, j, k) covers the half-open box from
    minimum + (i, j, k)·voxel_size to minimum + (i + 1, j + 1, k + 1)·voxel_size.
    """

    minimum: tuple[float, float, float]
    voxel_size: tuple[float, float, float]
    shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        if min(self.voxel_size) <= 0 or min(self.shape) < 1:
            raise InputError(f"a grid needs positive voxels and at least one per axis: {self.voxel_size}, {self.shape}")
        if not np.isfinite([*self.minimum, *self.voxel_size]).all():
            raise InputError(f"a grid needs finite numbers: {self.minimum}, {self.voxel_size}")
        if int(np.prod(np.array(self.shape, dtype=np.int64))) > 100_000_000:
            raise InputError(f"a grid of {self.shape} voxels has over 10^8; use larger voxels or less range")

    @classmethod
    def from_range(cls, bounds: Sequence[float], voxel_size: Sequence[float]) -> VoxelGrid:
        """From [x0, y0, z0, x1, y1, z1] and the voxel's edges; what does not divide evenly is left out at the top."""
        if len(bounds) != 6 or len(voxel_size) != 3:
            raise InputError("a grid takes 6 range numbers (x0 y0 z0 x1 y1 z1) and 3 voxel edges")
        lo, hi = np.array(bounds[:3], float), np.array(bounds[3:], float)
        size = np.array(voxel_size, float)
        if (size <= 0).any() or not np.isfinite([*lo, *hi, *size]).all():
            raise InputError(f"a grid needs finite numbers and positive voxels: {list(bounds)}, {list(voxel_size)}")
        n = np.floor((hi - lo) / size + 1e-6).astype(int)
        return cls(
            (float(lo[0]), float(lo[1]), float(lo[2])),
            (float(size[0]), float(size[1]), float(size[2])),
            (int(n[0]), int(n[1]), int(n[2])),
        )

    @property
    def maximum(self) -> tuple[float, float, float]:
        a = [m + n * s for m, n, s in zip(self.minimum, self.shape, self.voxel_size, strict=True)]
        return a[0], a[1], a[2]

    @property
    def range(self) -> tuple[float, ...]:
        """[x0, y0, z0, x1, y1, z1] as covered."""
        return (*self.minimum, *(round(m, 9) for m in self.maximum))

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    def indices(self, points: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Voxel indices (N, 3) of points (N, 3) in the grid's frame, and which of them lie inside."""
        p = np.asarray(points, dtype=np.float64)
        ijk = np.floor((p - np.array(self.minimum)) / np.array(self.voxel_size))
        inside = np.isfinite(ijk).all(axis=-1) & (ijk >= 0).all(axis=-1) & (ijk < np.array(self.shape)).all(axis=-1)
        return np.where(inside[..., None], ijk, 0).astype(np.int64), inside

    def centers(self, ijk: NDArray[Any]) -> NDArray[np.float64]:
        """Centres (N, 3) of voxels (N, 3) in the grid's frame."""
        return np.array(self.minimum) + (np.asarray(ijk) + 0.5) * np.array(self.voxel_size)

    def pooled(self, factors: Sequence[int]) -> VoxelGrid:
        """The grid whose voxels are `factors` times as large; remainders at the top are dropped."""
        if len(factors) != 3 or min(factors) < 1:
            raise InputError(f"pooling takes three whole factors ≥ 1, not {list(factors)}")
        s = [v * f for v, f in zip(self.voxel_size, factors, strict=True)]
        n = [v // f for v, f in zip(self.shape, factors, strict=True)]
        return VoxelGrid(self.minimum, (s[0], s[1], s[2]), (n[0], n[1], n[2]))

    def to_dict(self) -> dict[str, Any]:
        return {"shape": list(self.shape), "range": list(self.range), "voxel_size": list(self.voxel_size)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> VoxelGrid:
        try:
            grid = cls.from_range(data["range"], data["voxel_size"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"a grid needs range (6 numbers) and voxel_size (3 numbers): {error}") from error
        if "shape" in data and tuple(data["shape"]) != grid.shape:
            raise InputError(f"grid: shape {data['shape']} does not follow from range and voxel_size ({grid.shape})")
        return grid


#: 200×200×121 voxels of 0.4×0.4×1.25 m over ±40 m and −2 … 149.25 m above the datum.
DEFAULT_GRID = VoxelGrid.from_range((-40, -40, -2, 40, 40, 150), (0.4, 0.4, 1.25))
