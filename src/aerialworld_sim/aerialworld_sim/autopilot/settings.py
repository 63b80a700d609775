"""What is decided about an autopilot before it boots."""

from __future__ import annotations

from dataclasses import dataclass

from aerialworld_core.errors import MavlinkError
from aerialworld_core.frames import Georeference
from aerialworld_sim.vehicles.interface import Kind


class AutopilotError(MavlinkError):
    """An autopilot that cannot be set up as asked."""


#: The version that the endpoint behaves like, and reports: ArduPilot 4.7.0-dev (major, minor, patch, type).
VERSION = (4, 7, 0, 0)
#: Who answers, in the banner's place of a git hash.
BUILD = "aerialworld"


@dataclass(frozen=True)
class Settings:
    """One vehicle's autopilot. `georeference` is where map's origin lies; `sysid` 1 … 255; `speedup` is what
    SIM_SPEEDUP starts as (the core has no clock: whoever paces it reads the parameter)."""

    kind: Kind
    georeference: Georeference
    sysid: int = 1
    speedup: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.sysid <= 255:
            raise AutopilotError(f"a MAVLink system id is 1 to 255, not {self.sysid}")
        if not 0.0 < self.speedup <= 1000.0:
            raise AutopilotError(f"a speed-up is above 0 and at most 1000, not {self.speedup:g}")
        g = self.georeference
        if not (-90.0 <= g.latitude <= 90.0 and -180.0 <= g.longitude <= 180.0 and abs(g.height) < 1e5):
            raise AutopilotError(
                f"no place on earth: latitude {g.latitude:g}, longitude {g.longitude:g}, {g.height:g} m"
            )
