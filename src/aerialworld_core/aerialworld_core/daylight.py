"""Sun, sky and ambient light of a clear day, from how high the sun stands.

Only the ratios are physical: the sun is attenuated and reddened by the air on its way, and half of what the air takes
comes down as scattered light. They scale the light of converted worlds, so that pictures keep those worlds' exposure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aerialworld_core.air import Air
from aerialworld_core.frames import Array
from aerialworld_core.world.scene import Light

#: The light of converted worlds, whose sun stands 50° high: with the sun there, a local time gives the same exposure.
REFERENCE_ELEVATION = 50.0
REFERENCE_SUN = np.array([0.9, 0.87, 0.8])
REFERENCE_AMBIENT = np.array([0.8, 0.85, 0.95])
#: The sky at the horizon and overhead with the sun at the reference elevation; mixed they are about the worlds' sky.
REFERENCE_HORIZON = np.array([0.56, 0.70, 0.88])
REFERENCE_ZENITH = np.array([0.20, 0.38, 0.74])
#: The horizon's colour when all light comes a long way through the air.
LOW_SUN_HORIZON = np.array([0.92, 0.74, 0.58])
#: What stays when the sun is far below the horizon: a city's own glow.
NIGHT_AMBIENT = np.array([0.040, 0.045, 0.060])
NIGHT_SKY = np.array([0.006, 0.008, 0.016])

#: Vertical optical depths of clear air for red, green and blue (610, 550, 465 nm): molecules (Hansen and Travis 1974),
#: haze of turbidity 0.05 (Ångström's formula, exponent 1.3), and ozone (300 Dobson units).
OPTICAL_DEPTH = np.array([0.064 + 0.095 + 0.035, 0.097 + 0.109 + 0.027, 0.193 + 0.135 + 0.004])
#: A camera opens up as it darkens, by the square root of what is missing, and so far at most.
MOST_EXPOSURE = 2.5
#: Degrees over which the scattered light goes out at the horizon: that of twilight.
_TWILIGHT = 2.5


@dataclass(frozen=True, eq=False)
class Daylight:
    """Light as it falls, before a camera's exposure; colours (3,) are linear RGB as in `Light`.

    to_sun  (3,) unit; sun, ambient, horizon, zenith as of `Light`
    glow    (3,) the part of the ambient light that does not come from the sun
    """

    to_sun: Array
    sun: Array
    ambient: Array
    horizon: Array
    zenith: Array
    glow: Array

    @property
    def elevation(self) -> float:
        """Of the sun, degrees."""
        return _elevation(self.to_sun)

    @property
    def direct(self) -> Array:
        """(3,) how bright level white ground is shown in the sun's light alone, in linear light (see `Light`)."""
        return _direct(self.sun, self.elevation)

    @property
    def level(self) -> Array:
        """(3,) the same in all light."""
        return np.asarray(self.direct + self.ambient / np.pi)


def clear_daylight(to_sun: Array) -> Daylight:
    """Sun, ambient light and sky of a clear day for a sun in the direction `to_sun` (3,).

    The sun is dimmed and reddened by the air on its way (Kasten and Young 1989, see `air_mass`); below the horizon it
    is off. Half of what the air takes from it comes down as scattered light, which colours the sky and the ambient
    light; after sunset that goes out over some degrees of twilight until the night's own light is left. All is relative
    to the light of converted worlds at REFERENCE_ELEVATION.
    """
    elevation = _elevation(to_sun)
    scattered = _scattered(elevation) / _scattered(REFERENCE_ELEVATION)
    brightness = scattered.mean()
    # By eye: the horizon warms as the sun's green goes, overhead it stays blue; both fall faster than what they light.
    warm = float(np.clip(1.0 - transmittance(elevation)[1] / transmittance(REFERENCE_ELEVATION)[1], 0.0, 1.0))
    return Daylight(
        to_sun=np.asarray(to_sun, np.float64),
        sun=_sun(elevation),
        ambient=REFERENCE_AMBIENT * scattered + NIGHT_AMBIENT,
        horizon=((1.0 - warm) * REFERENCE_HORIZON + warm * LOW_SUN_HORIZON) * brightness**1.5 + NIGHT_SKY,
        zenith=REFERENCE_ZENITH * brightness**1.5 + NIGHT_SKY,
        glow=NIGHT_AMBIENT,
    )


def usual_level() -> float:
    """How bright level white ground is shown in the converted worlds' light."""
    direct = _direct(_sun(REFERENCE_ELEVATION), REFERENCE_ELEVATION)
    return float((direct + REFERENCE_AMBIENT / np.pi).mean())


def following_gain(level: float, usual: float) -> float:
    """The exposure that opens half-way, in stops, when level ground is `level` bright instead of `usual`."""
    return min(float(np.sqrt(usual / level)), MOST_EXPOSURE)


def clear_light(towards_sun: Array, *, shadows: bool = True) -> Light:
    """`clear_daylight` as cameras show it whose exposure follows it half-way."""
    day = clear_daylight(towards_sun)
    return exposed(day, following_gain(float(day.level.mean()), usual_level()), shadows=shadows)


def exposed(day: Daylight, gain: float, *, shadows: bool, air: Air | None = None) -> Light:
    """The light that a camera shows at an exposure of `gain` times the reference's. `air` is exposed already."""
    return Light(
        direction=-day.to_sun,
        sun=gain * day.sun,
        ambient=gain * day.ambient,
        background=np.minimum(gain * day.horizon, 1.0),
        shadows=shadows,
        zenith=np.minimum(gain * day.zenith, 1.0),
        air=air,
    )


def _sun(elevation: float) -> Array:
    """(3,) the sun's light through the air, off below the horizon."""
    if elevation <= 0:
        return np.zeros(3)
    return np.asarray(REFERENCE_SUN * transmittance(elevation) / transmittance(REFERENCE_ELEVATION))


def _elevation(to_sun: Array) -> float:
    """Degrees."""
    return float(np.degrees(np.arcsin(np.clip(to_sun[2], -1.0, 1.0))))


def _direct(sun: Array, elevation: float) -> Array:
    """(3,) how bright level white ground is shown in the sun's light alone, in linear light (see `Light`)."""
    return np.asarray(0.8 * sun * np.sin(np.radians(max(elevation, 0.0))))


def air_mass(elevation: float) -> float:
    """How many times the air overhead lies in the way of a ray at `elevation` degrees, 38 at and below the horizon.

    F. Kasten and A. T. Young, "Revised optical air mass tables and approximation formula", Applied Optics 28, 1989.
    """
    e = max(elevation, 0.0)
    return float(1.0 / (np.sin(np.radians(e)) + 0.50572 * (e + 6.07995) ** -1.6364))


def transmittance(elevation: float) -> Array:
    """(3,) share of the sun's red, green and blue light that comes through clear air (Beer and Lambert)."""
    return np.asarray(np.exp(-OPTICAL_DEPTH * air_mass(elevation)))


def _scattered(elevation: float) -> Array:
    """(3,) sunlight that the air scatters downwards, as a share of what reaches it."""
    height = _TWILIGHT * np.logaddexp(0.0, elevation / _TWILIGHT)
    return np.asarray(0.5 * np.sin(np.radians(height)) * (1.0 - transmittance(elevation)))
