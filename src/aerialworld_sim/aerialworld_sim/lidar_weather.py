"""Weather before a LiDAR: returns that are lost in it, dimmed by it, and made by fog and raindrops.

Echo power is counted as the reflectivity (0–1) of a Lambertian surface that fills the beam at the sensor's greatest
range and would give the same, in clear air: P = ρ cos θ · (R_max / R)² · G(R) · exp(−2αR), the LiDAR equation
(R. Rasshofer, M. Spies and H. Spies, "Influences of weather phenomena on automotive laser radar systems", Advances in
Radio Science 9, 2011) with the receiver's gain G, which falls off nearer than CROSSOVER. A sweep reports the strongest
echo of every beam, if its power reaches THRESHOLD (as V. Kilic et al., "Lidar light scattering augmentation", 2021).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.air import DROPLET_RATIO, Air, drops_larger
from aerialworld_core.frames import Array
from aerialworld_core.rig import LidarSpec
from aerialworld_sim.noise import uniform

#: The least power that is a return: a white surface's at the greatest range (Kilic et al. 2021).
THRESHOLD = 0.9
#: Without weather every surface within the greatest range is a return, as in Gazebo. So the faintest has this much to
#: spare, on average: 3 dB.
MARGIN = 2.0
#: Metres below which the receiver's gain falls as R², so that near echoes grow no stronger: optics that do not overlap
#: yet, and a time-varied gain.
CROSSOVER = 10.0
#: The beam's width at the sensor, metres, and its divergence, radians.
BEAM_WIDTH, DIVERGENCE = 0.01, 0.003
#: Metres of one range cell: half the way that light goes during a pulse of 5 ns.
CELL = 0.75
#: A drop's disc sends back as much as a Lambertian surface of this reflectivity: it takes twice what falls on it, and
#: returns that over DROPLET_RATIO per steradian; the surface returns ρ/π.
DROP_REFLECTIVITY = 2.0 * np.pi / DROPLET_RATIO
#: Speckles that an echo is averaged over: its power is gamma distributed with this shape, from pulse to pulse (J.
#: Goodman, "Speckle phenomena in optics", 2007).
SPECKLES = 4
_LEVELS = 96
#: Beams that are worked on at a time, and metres that no range is below.
_CHUNK, _LEAST = 8192, 1e-3


@dataclass(frozen=True, eq=False)
class Returns:
    """beams (N,) int64 in rising order, ranges (N,) float64 metres, intensity (N,) float32."""

    beams: NDArray[np.int64]
    ranges: NDArray[np.float64]
    intensity: NDArray[np.float32]


class LidarWeather:
    """What air does to the scans of one LiDAR.

    Echoes of drops and of fog are points of a Poisson process in range and power. `rates` (L, C) is how many echoes of
    at least the power `powers` (L,) a beam has in its first C range cells, on average; `edges` (C,) is where they end.
    """

    def __init__(self, air: Air, spec: LidarSpec) -> None:
        self.air, self.spec = air, spec
        cells = max(1, int(np.ceil((spec.max_range - spec.min_range) / CELL)))
        self.edges = np.minimum(spec.min_range + CELL * np.arange(1, cells + 1), spec.max_range)
        begin = np.append(spec.min_range, self.edges[:-1])
        middle, length = (begin + self.edges) / 2.0, self.edges - begin
        span = self._at(1.0, middle)  # the power of a white wall there
        self.powers = THRESHOLD * (max(float(span.max()), 1.0) / THRESHOLD * 10.0) ** np.linspace(0.0, 1.0, _LEVELS)
        per_cell = self._drops(middle, span, length) + self._fog(span, length)
        self.rates = np.cumsum(per_cell, axis=1)

    def _at(self, reflectivity: Array | float, ranges: Array) -> Array:
        """(N,) echo power of surfaces at `ranges` (N,)."""
        ranges = np.maximum(ranges, _LEAST)
        gain = np.minimum(1.0, (ranges / CROSSOVER) ** 2)
        dimmed = np.exp(-2.0 * self.air.lidar_extinction * ranges)
        return np.asarray(reflectivity * (self.spec.max_range / ranges) ** 2 * gain * dimmed)

    def _drops(self, middle: Array, span: Array, length: Array) -> Array:
        """(L, C) drops of a cell whose echo reaches a power: those that are large enough, in the beam's volume."""
        if self.air.rain_mm_h <= 0:
            return np.zeros((_LEVELS, len(middle)))
        area = np.pi / 4.0 * (BEAM_WIDTH + DIVERGENCE * middle) ** 2
        disc = self.powers[:, None] / (span * DROP_REFLECTIVITY) * area  # m², of the smallest
        diameter = 1e3 * np.sqrt(4.0 / np.pi * disc)
        return drops_larger(self.air.rain_mm_h, diameter) * area * length

    def _fog(self, span: Array, length: Array) -> Array:
        """(L, C) the same for haze and fog, of which every cell gives one echo, its power drawn around that of the
        backscatter: −ln of the chance that it stays below."""
        mean = np.pi * self.air.lidar_backscatter * length * span
        if not self.air.lidar_backscatter > 0:
            return np.zeros((_LEVELS, len(mean)))
        with np.errstate(divide="ignore"):
            return np.asarray(-np.log1p(-chance_of(mean / self.powers[:, None])))

    def scan(
        self,
        beams: NDArray[np.int64],
        ranges: NDArray[np.float64],
        reflectivity: NDArray[np.float32],
        intensity: NDArray[np.float32],
        stream: np.uint64,
    ) -> Returns:
        """The returns of a scan whose clear ones are `beams` (N,) in rising order with their true `ranges` (N,),
        `reflectivity` (N,) 0–1 times the cosine of incidence, and `intensity` (N,). `stream` is a key (`noise.key`).

        Of the pulses whose echo fluctuates to THRESHOLD in clear air, those remain that do so in this air: the same
        ones, and fewer, the thicker it is.
        """
        dimmed = np.exp(-2.0 * self.air.lidar_extinction * ranges)
        power = np.maximum(self._at(reflectivity.astype(np.float64), ranges), MARGIN * THRESHOLD * dimmed)
        count = self.spec.beams * self.spec.columns
        luck, strength, place = uniform(stream, 3 * count).reshape(3, -1)
        seen = luck[beams] * chance_of(power / dimmed / THRESHOLD) < chance_of(power / THRESHOLD)
        limit, target, shown = np.full(count, np.inf), np.zeros(count), np.zeros(count, np.float32)
        distance = np.full(count, np.inf)
        limit[beams] = ranges
        at = beams[seen]
        distance[at], target[at] = ranges[seen], power[seen]
        shown[at] = intensity[seen] * dimmed[seen].astype(np.float32)
        self._add_echoes(limit, target, strength, place, distance, shown)
        found = np.flatnonzero(np.isfinite(distance))
        return Returns(found, distance[found], shown[found])

    def _add_echoes(
        self, limit: Array, target: Array, strength: Array, place: Array, distance: Array, shown: NDArray[np.float32]
    ) -> None:
        """Put the strongest echo of the air before `limit` (B,) metres in the place of a weaker `target` (B,).

        Its power and range are those that the numbers `strength` and `place` (B,) in (0, 1) draw.
        """
        cells = np.searchsorted(self.edges, limit, side="right")  # whole ones only
        wanted = -np.log(strength)  # the strongest echo is above a power as often as e^−rate is above `strength`
        reached = np.flatnonzero((cells > 0) & (self.rates[0, np.maximum(cells, 1) - 1] > wanted))
        for start in range(0, len(reached), _CHUNK):
            beam = reached[start : start + _CHUNK]
            last = cells[beam] - 1
            level, above, power = self._power(wanted[beam], last)
            won = power > target[beam]
            beam, power = beam[won], power[won]
            at = self._range(place[beam], last[won], level[won], above[won])
            distance[beam] = at
            gain = (self.spec.max_range / at) ** 2 * np.minimum(1.0, (at / CROSSOVER) ** 2)
            shown[beam] = 100.0 * power / gain

    def _power(self, wanted: Array, last: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
        """Where echoes in cells 0 … `last` (N,) number `wanted` (N,): between which two of `powers`, and the power."""
        level = (self.rates[:, last] > wanted).sum(axis=0) - 1  # the highest whose rate is above
        above = np.minimum(level + 1, _LEVELS - 1)
        low, high = self.rates[level, last], self.rates[above, last]
        part = np.clip((low - wanted) / np.maximum(low - high, 1e-300), 0.0, 1.0)
        return level, above, self.powers[level] * (self.powers[above] / self.powers[level]) ** part

    def _range(
        self, share: Array, last: NDArray[np.int64], level: NDArray[np.int64], above: NDArray[np.int64]
    ) -> Array:
        """(N,) metres below which a `share` (N,) of the echoes between two powers in cells 0 … `last` lie."""
        spread = self.rates[level] - np.where((above > level)[:, None], self.rates[above], 0.0)
        rows = np.arange(len(spread))
        goal = share * spread[rows, last]
        cell = np.minimum((spread <= goal[:, None]).sum(axis=1), last)
        before = np.where(cell > 0, spread[rows, np.maximum(cell, 1) - 1], 0.0)
        within = np.clip((goal - before) / np.maximum(spread[rows, cell] - before, 1e-300), 0.0, 1.0)
        begin = np.where(cell > 0, self.edges[np.maximum(cell, 1) - 1], self.spec.min_range)
        return np.maximum(begin + within * (self.edges[cell] - begin), _LEAST)


def chance_of(power: Array) -> Array:
    """How often an echo of so many times THRESHOLD, on average, reaches it: speckle makes it fluctuate."""
    from scipy.special import gammaincc

    with np.errstate(divide="ignore"):
        return np.asarray(gammaincc(SPECKLES, SPECKLES / power))
