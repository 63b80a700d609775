"""HOME_POSITION and GPS_GLOBAL_ORIGIN: streams on request, and sent to all when they change."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from aerialworld_core.mavlink.wire import Message

if TYPE_CHECKING:
    from aerialworld_sim.autopilot.core import Autopilot


def home_position(autopilot: Autopilot) -> Message:
    """Home, which there must be; its local position is NaN while there is no origin."""
    estimator = autopilot.estimator
    if estimator.home is None:
        raise ValueError("there is no home to tell of yet")
    latitude, longitude = autopilot.earth.e7_of(estimator.home)
    north, east, down = estimator.ned(estimator.home)
    return Message(
        "home_position",
        {
            "latitude": latitude,
            "longitude": longitude,
            "altitude": round(estimator.home_altitude() * 1000),
            "x": north,
            "y": east,
            "z": down,
            "q": [math.nan] * 4,
            "approach_x": 0.0,
            "approach_y": 0.0,
            "approach_z": 0.0,
            "time_usec": autopilot.boot_us(),
        },
    )


def global_origin(autopilot: Autopilot) -> Message:
    """The estimator's origin, which there must be."""
    origin = autopilot.estimator.origin
    if origin is None:
        raise ValueError("there is no origin to tell of yet")
    latitude, longitude = autopilot.earth.e7_of(origin)
    return Message(
        "gps_global_origin",
        {
            "latitude": latitude,
            "longitude": longitude,
            "altitude": round(autopilot.earth.altitude_of(float(origin[2])) * 1000),
            "time_usec": autopilot.boot_us(),
        },
    )
