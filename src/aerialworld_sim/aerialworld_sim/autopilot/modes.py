"""Flight modes by ArduPilot's numbers: what each is called and what it asks for."""

from __future__ import annotations

from dataclasses import dataclass

from aerialworld_core.mavlink.words import CUSTOM_MODE, GUIDED_FLAG, MANUAL_INPUT, STABILIZED
from aerialworld_sim.vehicles.interface import Kind


@dataclass(frozen=True)
class Mode:
    """`base` is the heartbeat's base_mode, unarmed. `position`: refused in the air without a position estimate.
    `armable`: may be armed in. `pilot`: flown by the sticks. `planned`: goes where it was told, which is told to
    clients."""

    name: str
    number: int
    base: int
    position: bool = False
    armable: bool = False
    pilot: bool = False
    planned: bool = False


_COPTER = CUSTOM_MODE | MANUAL_INPUT | STABILIZED
_COPTER_NAV = _COPTER | GUIDED_FLAG

COPTER_MODES = (
    Mode("STABILIZE", 0, _COPTER, armable=True, pilot=True),
    Mode("ACRO", 1, _COPTER, armable=True, pilot=True),
    Mode("ALT_HOLD", 2, _COPTER, armable=True, pilot=True),
    Mode("AUTO", 3, _COPTER_NAV, position=True, planned=True),
    Mode("GUIDED", 4, _COPTER_NAV, position=True, armable=True, planned=True),
    Mode("LOITER", 5, _COPTER_NAV, position=True, armable=True, pilot=True),
    Mode("RTL", 6, _COPTER_NAV, position=True, planned=True),
    Mode("CIRCLE", 7, _COPTER_NAV, position=True),
    Mode("LAND", 9, _COPTER_NAV),
    Mode("POSHOLD", 16, _COPTER_NAV, position=True, armable=True, pilot=True),
    Mode("BRAKE", 17, _COPTER_NAV, position=True),
)

ROVER_MODES = (
    Mode("MANUAL", 0, CUSTOM_MODE | MANUAL_INPUT, armable=True, pilot=True),
    Mode("HOLD", 4, CUSTOM_MODE, armable=True),
    Mode("LOITER", 5, CUSTOM_MODE | GUIDED_FLAG, position=True, armable=True),
    Mode("CIRCLE", 9, CUSTOM_MODE | GUIDED_FLAG, position=True, armable=True, planned=True),
    Mode("AUTO", 10, CUSTOM_MODE | GUIDED_FLAG, position=True, armable=True, planned=True),
    Mode("RTL", 11, CUSTOM_MODE | GUIDED_FLAG, position=True, armable=True, planned=True),
    Mode("GUIDED", 15, CUSTOM_MODE | GUIDED_FLAG, position=True, armable=True, planned=True),
    Mode("INITIALISING", 16, CUSTOM_MODE | MANUAL_INPUT),
)


def modes_of(kind: Kind) -> dict[int, Mode]:
    """The modes of a copter or a rover by number."""
    return {mode.number: mode for mode in (COPTER_MODES if kind == "drone" else ROVER_MODES)}


def mode_named(kind: Kind, name: str) -> Mode:
    """A mode by its name; there is one."""
    return next(mode for mode in (COPTER_MODES if kind == "drone" else ROVER_MODES) if mode.name == name)
