"""Moving air with gusts that a seed decides: one value a tick, whatever the steps in which time passes."""

from __future__ import annotations

import math

import numpy as np

from aerialworld_sim.vehicles.parameters import Vector, Wind

_BLOCK = 1024


class Air:
    """The air's velocity in map, tick by tick. Gusts are a first-order Gauss-Markov process per axis."""

    def __init__(self, wind: Wind, seed: int, dt: float) -> None:
        self._mean = wind.mean
        self._still = wind.gust == 0.0
        self._decay = math.exp(-dt / wind.gust_time)
        step = wind.gust * math.sqrt(1.0 - self._decay * self._decay)
        self._step = step, step, 0.5 * step
        self._random = np.random.default_rng([seed & 0xFFFFFFFFFFFFFFFF, 0x77696E64])
        self._numbers: list[list[float]] = []
        first = self._random.standard_normal(3)
        spread = wind.gust, wind.gust, 0.5 * wind.gust
        self._gust = [float(n * s) for n, s in zip(first, spread, strict=True)]

    def next(self) -> Vector:
        """The wind at the next tick."""
        if self._still:
            return self._mean
        if not self._numbers:
            self._numbers = self._random.standard_normal((_BLOCK, 3)).tolist()
        noise = self._numbers.pop()
        gust, mean = self._gust, self._mean
        for axis in range(3):
            gust[axis] = self._decay * gust[axis] + self._step[axis] * noise[axis]
        return mean[0] + gust[0], mean[1] + gust[1], mean[2] + gust[2]
