"""Where vehicles start: free and level ground, as near as can be to the place that was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import InputError

#: Metres around a vehicle that must be free, between two vehicles, and how far is looked for a place.
CLEAR, APART, FARTHEST = 2.5, 6.0, 300.0
#: Where base_link stands above the ground that it is put on (m).
STANDING = {"drone": 0.25, "rover": 0.0}
#: How much the ground may rise within CLEAR, and what may lie on it (m).
LEVEL, LOW = 0.5, 0.05


class Ground(Protocol):
    """What is asked of a world: `aerialworld_core.world.World`."""

    def terrain_height(self, xy: Any) -> NDArray[np.float64]: ...
    def surface_height(self, xy: Any) -> NDArray[np.float64]: ...


def starts(world: Ground, centre: tuple[float, float], count: int) -> NDArray[np.float64]:
    """(count, 3) map positions on the ground, at least APART from each other; the same for the same world.

    Raises InputError where there are not so many within FARTHEST of `centre`.
    """
    chosen: list[NDArray[np.float64]] = []
    for ring in _rings(centre):
        for spot in _free(world, ring):
            if all(np.hypot(*(spot - other)[:2]) >= APART for other in chosen):
                chosen.append(spot)
                if len(chosen) == count:
                    return np.array(chosen)
    raise InputError(
        f"place:={centre[0]:g},{centre[1]:g}: {len(chosen)} of {count} vehicles find free and level ground within "
        f"{FARTHEST:g} m; give another place, or fewer vehicles"
    )


def _rings(centre: tuple[float, float]) -> Iterator[NDArray[np.float64]]:
    """Candidates (N, 2) ring by ring, each ring from east anticlockwise."""
    yield np.array([centre], dtype=np.float64)
    for radius in np.arange(APART / 2, FARTHEST, APART / 2):
        angle = np.linspace(0, 2 * np.pi, max(8, int(2 * np.pi * radius / APART)), endpoint=False)
        yield np.asarray(centre) + radius * np.column_stack([np.cos(angle), np.sin(angle)])


def _free(world: Ground, spots: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """(3,) the spots that are free, with the ground's height there."""
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    circle = np.column_stack([np.cos(angle), np.sin(angle)])
    around = np.concatenate([np.zeros((1, 2)), circle * CLEAR / 2, circle * CLEAR])
    points = (spots[:, None] + around).reshape(-1, 2)
    terrain = world.terrain_height(points).reshape(len(spots), -1)
    above = world.surface_height(points).reshape(len(spots), -1) - terrain
    # NaN, where there is no ground, compares as false.
    good = (np.ptp(terrain, axis=1) <= LEVEL) & (above <= LOW).all(axis=1)
    return [np.array([*spot, height]) for spot, height, ok in zip(spots, terrain[:, 0], good, strict=True) if ok]
