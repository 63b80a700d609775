"""What clouds, haze, fog and rain leave of daylight, and how bright a camera shows the rest.

Clouds come first, then LAYER metres of haze, fog or rain below them. Each says how much of all light reaches level
ground and how much of that still comes straight from the sun; what is left over is ambient.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from aerialworld_core.air import (
    LAYER,
    Air,
    haze_extinction,
    lidar_haze_backscatter,
    lidar_haze_extinction,
    rain_extinction,
)
from aerialworld_core.daylight import (
    REFERENCE_HORIZON,
    Daylight,
    air_mass,
    exposed,
    following_gain,
    usual_level,
)
from aerialworld_core.frames import Array
from aerialworld_core.world.scene import Light

#: How much of scattered light goes on forwards (the asymmetry of droplets and large aerosol).
FORWARDS = 0.85
#: How bright air looks that lies endless before one, of how bright level white ground is: as the horizon of converted
#: worlds is beside their ground.
AIRLIGHT = float(REFERENCE_HORIZON.mean()) / usual_level()
#: Sunlight below this share of the ambient light casts no shadow that a picture shows.
_FAINT = 1e-3
#: Of the light around it a drop sends a camera so much, from above and below alike (K. Garg and S. Nayar, "Vision and
#: rain", Int. J. Computer Vision 75, 2007, section 4), and ground sends back so much of what falls on it.
DROP, GROUND = 0.94, 0.2
#: Stops, against the converted worlds' exposure, within which an automatic exposure stays.
AUTO_STOPS = (-2.0, 4.0)

#: Stops, or "auto", or None: the exposure follows the light half-way.
Exposure = float | str | None


def beneath_clouds(day: Daylight, cover: float) -> Daylight:
    """Under a cloud `cover` of 0 to 1.

    F. Kasten and G. Czeplak, "Solar and terrestrial radiation dependent on the amount and type of cloud", Solar Energy
    24, 1980: of all light 1 − 0.75 c^3.4 is left, and of that the share from the sky rises from 0.3 to 1 as 0.3 +
    0.7 c²: what comes straight from the sun falls as 1 − c². An overcast zenith is 9/7 as bright as white ground under
    it (the CIE's overcast sky; P. Moon and D. Spencer, "Illumination from a non-uniform sky", Illum. Eng. 37, 1942);
    the horizon, before which there is much air, is AIRLIGHT as bright, and not a third of the zenith as theirs.
    """
    left, straight = 1.0 - 0.75 * cover**3.4, 1.0 - cover**2
    own = replace(day, ambient=day.ambient - day.glow)  # clouds take none of a city's own light
    beneath = _shared(day, left * own.level + day.glow / np.pi, left * straight * day.sun)
    return replace(
        beneath,
        horizon=straight * day.horizon + cover**2 * AIRLIGHT * beneath.level,
        zenith=straight * day.zenith + cover**2 * 9.0 / 7.0 * beneath.level,
    )


def through(day: Daylight, depth: float) -> Daylight:
    """Under a layer of optical depth `depth` overhead that scatters and takes nothing.

    C. Bohren, "Multiple scattering of light and some of its observable consequences", Am. J. Physics 55, 1987: 1 / (1 +
    (1 − g) τ / 2) of all light comes down. What is straight from the sun falls as exp(−τ m), m the air mass.
    """
    left = 1.0 / (1.0 + 0.5 * (1.0 - FORWARDS) * depth)
    return _shared(day, left * day.level, day.sun * np.exp(-depth * air_mass(day.elevation)))


def _shared(day: Daylight, level: Array, sun: Array) -> Daylight:
    """With so much light on level ground, of which the sun gives its part; faint sunlight joins the ambient."""
    if not np.any(sun > _FAINT * day.ambient):
        sun = np.zeros(3)
    direct = replace(day, sun=sun).direct
    return replace(day, sun=sun, ambient=np.maximum(np.pi * (level - direct), 0.0))


def weathered(
    day: Daylight,
    usual: float,
    *,
    shadows: bool,
    cover: float = 0.0,
    visibility_m: float | None = None,
    rain_mm_h: float = 0.0,
    exposure: Exposure = None,
) -> Light:
    """`day` under clouds, in haze, fog or rain, as a camera shows it. `usual` is how bright level ground has to be for
    the exposure that follows half-way to be that of the day itself."""
    extinction = (haze_extinction(visibility_m) if visibility_m else 0.0) + rain_extinction(rain_mm_h)
    below = beneath_clouds(day, cover) if cover > 0 else day
    lit = through(below, LAYER * extinction) if extinction > 0 else below
    gain = gain_of(float(lit.level.mean()), usual, exposure)
    if extinction == 0:
        return exposed(lit, gain, shadows=shadows)
    clear = float(np.exp(-LAYER * extinction))
    airlight = clear * lit.horizon + (1.0 - clear) * AIRLIGHT * lit.level
    sky = (clear * (lit.horizon + lit.zenith) + (1.0 - clear) * 2.0 * airlight) / 2.0
    air = Air(
        extinction=extinction,
        airlight=gain * airlight,
        lidar_extinction=(lidar_haze_extinction(visibility_m) if visibility_m else 0.0) + rain_extinction(rain_mm_h),
        lidar_backscatter=lidar_haze_backscatter(visibility_m) if visibility_m else 0.0,
        rain_mm_h=rain_mm_h,
        drop_light=gain * DROP * (sky + GROUND * lit.level) / 2.0,
    )
    return exposed(lit, gain, shadows=shadows, air=air)


def gain_of(level: float, usual: float, exposure: Exposure) -> float:
    """What all light is multiplied with when level white ground is `level` bright.

    Stops are against the exposure of converted worlds. "auto" meters the light that falls on level ground, and shows it
    as bright as those worlds', within AUTO_STOPS.
    """
    if exposure is None:
        return following_gain(level, usual)
    if exposure == "auto":
        return float(np.clip(usual_level() / level, 2.0 ** AUTO_STOPS[0], 2.0 ** AUTO_STOPS[1]))
    return float(2.0 ** float(exposure))
