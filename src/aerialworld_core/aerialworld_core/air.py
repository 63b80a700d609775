"""The air between things: what haze, fog and rain take from light on its way, and what a LiDAR gets back from them.

Lengths in metres, extinction per metre, drops' diameters in millimetres, rain rates in mm/h.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aerialworld_core.frames import Array

#: Koschmieder's constant, ln 50: at the visibility a black object has 2 % of its contrast left. (The meteorological
#: optical range of WMO and ICAO takes 5 %, ln 20 = 2.996: it is 0.766 times this visibility.)
KOSCHMIEDER = 3.912
#: How much of such air lies overhead: the sky is seen through LAYER / sin(elevation) of it, and the sun shines through.
LAYER = 1000.0
#: Marshall and Palmer, "The distribution of raindrops with size", J. Meteorology 5, 1948: N(D) = N0 exp(−ΛD) drops per
#: m³ and mm of diameter, Λ = 4.1 R^−0.21 per mm.
DROPS, SLOPE, SLOPE_POWER = 8000.0, 4.1, -0.21
#: Larger drops break up.
LARGEST_DROP = 6.0
#: Extinction over backscatter, steradians: of water droplets at 905 nm (O'Connor et al., "A technique for
#: autocalibration of cloud lidar", J. Atmos. Oceanic Technol. 21, 2004: 18.8 ± 0.8), and of urban haze (40 to 70 is
#: usual, Müller et al., J. Geophys. Res. 112, 2007).
DROPLET_RATIO, HAZE_RATIO = 18.8, 50.0
#: Visibility below which haze is fog (WMO, International Cloud Atlas).
FOG = 1000.0
#: Wavelengths, micrometres: where visibility is defined, and of the LiDAR.
_VISIBLE, _LIDAR = 0.55, 0.905


@dataclass(frozen=True, eq=False)
class Air:
    """Air that is not clear; colours (3,) are linear RGB, exposed as the rest of the light.

    extinction        per metre, of visible light by haze, fog and rain together
    airlight          (3,) what an endless way through this air looks like
    lidar_extinction  per metre, the same at 905 nm
    lidar_backscatter per metre and steradian, by haze and fog; raindrops are met one by one
    rain_mm_h         rain rate, 0 without rain
    drop_light        (3,) how bright a raindrop is
    """

    extinction: float
    airlight: Array
    lidar_extinction: float
    lidar_backscatter: float
    rain_mm_h: float
    drop_light: Array


def haze_extinction(visibility_m: float) -> float:
    """Per metre, of visible light: Koschmieder 1924, 3.912 / visibility."""
    return KOSCHMIEDER / visibility_m


def lidar_haze_extinction(visibility_m: float) -> float:
    """Per metre, at 905 nm: (905 / 550)^−q of that of visible light, with Kim's q.

    I. Kim, B. McArthur and E. Korevaar, "Comparison of laser beam propagation at 785 nm and 1550 nm in fog and haze",
    Proc. SPIE 4214, 2001. Fog droplets are so large that the wavelength does not count.
    """
    km = visibility_m / 1000.0
    q = np.select([km > 50.0, km > 6.0, km > 1.0, km > 0.5], [1.6, 1.3, 0.16 * km + 0.34, km - 0.5], 0.0)
    return float(haze_extinction(visibility_m) * (_LIDAR / _VISIBLE) ** -q)


def lidar_haze_backscatter(visibility_m: float) -> float:
    """Per metre and steradian, at 905 nm: the extinction over its ratio, that of droplets in fog, of aerosol else."""
    return lidar_haze_extinction(visibility_m) / (DROPLET_RATIO if visibility_m < FOG else HAZE_RATIO)


def slope_of_drops(rain_mm_h: float) -> float:
    """Marshall and Palmer's Λ, per millimetre of diameter. The rate is above 0."""
    return float(SLOPE * rain_mm_h**SLOPE_POWER)


def drops_larger(rain_mm_h: float, diameter: Array) -> Array:
    """Drops per m³ of more than `diameter` (N,) mm, and at most LARGEST_DROP."""
    slope = slope_of_drops(rain_mm_h)
    above = np.exp(-slope * np.asarray(diameter)) - np.exp(-slope * LARGEST_DROP)
    return np.asarray(DROPS / slope * np.maximum(above, 0.0))


def fall_speed(diameter: Array) -> Array:
    """m/s of drops of `diameter` (N,) mm in still air: D. Atlas, R. Srivastava and R. Sekhon, "Doppler radar
    characteristics of precipitation at vertical incidence", Rev. Geophys. 11, 1973. From 0.5 mm on."""
    return np.asarray(9.65 - 10.3 * np.exp(-0.6 * np.asarray(diameter)))


def rain_extinction(rain_mm_h: float) -> float:
    """Per metre, from visible light to near infrared, whose waves are short beside drops: they take twice the light
    that falls on them (H. van de Hulst, "Light scattering by small particles", 1957). 0 without rain.

    2 ∫ N(D) πD²/4 dD = πN0/Λ³ of Marshall and Palmer's drops: 3.65e-4 R^0.63 per metre, a visibility of 10.7 R^−0.63
    km (D. Atlas, J. Meteorology 10, 1953, observed 11.6 R^−0.63).
    """
    if rain_mm_h <= 0:
        return 0.0
    return float(np.pi * DROPS * 1e-6 / slope_of_drops(rain_mm_h) ** 3)
