"""Where the sun stands, from date, time and place: the equations of NOAA's solar calculator.

They follow Meeus, "Astronomical Algorithms" (2nd edition, 1998, chapters 16, 22, 25 and 28), and are good to about
0.01° between the years 1900 and 2100, refraction near the horizon aside.
"""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from aerialworld_core.frames import Array

#: Noon of 1 January 2000, from which centuries of 36,525 days are counted.
_EPOCH = datetime(2000, 1, 1, 12, tzinfo=UTC)


def sun_direction(instant: datetime, latitude: float, longitude: float) -> Array:
    """(3,) unit vector towards the sun in east, north, up, as seen through the air: refraction lifts it by up to 0.6°.

    `instant` has a time zone; latitude and longitude in degrees, east positive.
    """
    declination, hour_angle = _declination_and_hour_angle(instant, longitude)
    d, h, lat = np.radians([declination, hour_angle, latitude])
    east = -np.cos(d) * np.sin(h)
    north = np.sin(d) * np.cos(lat) - np.cos(d) * np.cos(h) * np.sin(lat)
    up = np.sin(d) * np.sin(lat) + np.cos(d) * np.cos(h) * np.cos(lat)
    elevation = np.degrees(np.arcsin(np.clip(up, -1.0, 1.0)))
    apparent = np.radians(elevation + refraction(float(elevation)))
    level = np.hypot(east, north)
    if level < 1e-12:  # overhead
        return np.array([0.0, 0.0, np.sign(up)])
    return np.array([east / level * np.cos(apparent), north / level * np.cos(apparent), np.sin(apparent)])


def _declination_and_hour_angle(instant: datetime, longitude: float) -> tuple[float, float]:
    """Degrees; the hour angle is that of the true sun at `longitude`, westwards from the meridian."""
    days = (instant - _EPOCH).total_seconds() / 86400.0
    t = days / 36525.0
    mean_longitude = (280.46646 + t * (36000.76983 + t * 0.0003032)) % 360.0
    mean_anomaly = 357.52911 + t * (35999.05029 - 0.0001537 * t)
    eccentricity = 0.016708634 - t * (0.000042037 + 0.0000001267 * t)
    m = np.radians(mean_anomaly)
    centre = (
        np.sin(m) * (1.914602 - t * (0.004817 + 0.000014 * t))
        + np.sin(2 * m) * (0.019993 - 0.000101 * t)
        + np.sin(3 * m) * 0.000289
    )
    node = np.radians(125.04 - 1934.136 * t)
    apparent_longitude = mean_longitude + centre - 0.00569 - 0.00478 * np.sin(node)
    seconds = 21.448 - t * (46.815 + t * (0.00059 - t * 0.001813))
    obliquity = np.radians(23.0 + (26.0 + seconds / 60.0) / 60.0 + 0.00256 * np.cos(node))
    declination = np.degrees(np.arcsin(np.sin(obliquity) * np.sin(np.radians(apparent_longitude))))
    y, two_l = np.tan(obliquity / 2) ** 2, np.radians(2 * mean_longitude)
    equation_of_time = np.degrees(
        y * np.sin(two_l)
        - 2 * eccentricity * np.sin(m)
        + 4 * eccentricity * y * np.sin(m) * np.cos(two_l)
        - 0.5 * y * y * np.sin(2 * two_l)
        - 1.25 * eccentricity**2 * np.sin(2 * m)
    )  # as an angle: 15° are an hour
    since_noon = (days % 1.0) * 360.0  # the epoch is a noon
    return float(declination), float((since_noon + longitude + equation_of_time + 180.0) % 360.0 - 180.0)


def refraction(elevation: float) -> float:
    """Degrees by which standard air lifts the sun at a true elevation in degrees (the calculator's approximation)."""
    if elevation > 85.0:
        return 0.0
    tangent = np.tan(np.radians(elevation))
    if elevation > 5.0:
        seconds = 58.1 / tangent - 0.07 / tangent**3 + 0.000086 / tangent**5
    elif elevation > -0.575:
        e = elevation
        seconds = 1735.0 + e * (-518.2 + e * (103.4 + e * (-12.79 + e * 0.711)))
    else:
        seconds = -20.772 / tangent
    return float(seconds / 3600.0)
