"""The satellite receiver: where on earth the antenna is, with the receiver's error.

SDF gives the position noise in metres, and so it is taken here. (gz-sensors adds it to latitude and longitude in
degrees: a horizontal stddev of 1 moves Gazebo's fixes by about 100 km.)
"""

from __future__ import annotations

from aerialworld_core.frames import Georeference
from aerialworld_core.rig import NavSatSpec
from aerialworld_core.sensing import VehicleState
from aerialworld_sim import noise


def fix(
    spec: NavSatSpec | None, state: VehicleState, georeference: Georeference, seed: int, vehicle: str
) -> tuple[float, float, float]:
    """Latitude and longitude in degrees and altitude in metres at `state`.

    Map's east, north and up at the georeference are taken to WGS 84 (pymap3d), as Gazebo does; the altitude refers to
    what the georeference's height refers to. The error is a function of seed, vehicle, sensor and stamp. Without a
    specification: the true place of base_link.
    """
    from pymap3d import enu2geodetic

    east, north, up = (float(v) for v in (state.pose.transform(spec.pose.position) if spec else state.pose.position))
    if spec and (spec.horizontal_stddev > 0 or spec.vertical_stddev > 0):
        error = noise.normal(noise.key(seed, vehicle, spec.name, "navsat", state.stamp_ns), 3)
        east += spec.horizontal_stddev * float(error[0])
        north += spec.horizontal_stddev * float(error[1])
        up += spec.vertical_stddev * float(error[2])
    g = georeference
    latitude, longitude, altitude = enu2geodetic(east, north, up, g.latitude, g.longitude, g.height)
    return float(latitude), float(longitude), float(altitude)
