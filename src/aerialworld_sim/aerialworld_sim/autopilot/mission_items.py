"""Mission items as ArduPilot takes them: what each command keeps of what is sent, and why one is refused.

An item goes through what a real autopilot's storage does to it: frames become three, parameters that the command does
not use are lost, altitudes are whole centimetres and delays whole seconds. What is downloaded again is therefore what
will be flown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from aerialworld_core.mavlink.words import (
    ABSOLUTE_FRAMES,
    GLOBAL_FRAMES,
    RELATIVE_FRAMES,
    TERRAIN_FRAMES,
    Cmd,
    Frame,
    MissionResult,
)

#: Items that a mission holds at most, home among them.
CAPACITY = 650
#: Metres beyond which an altitude does not fit (24 bits of centimetres).
MAX_ALTITUDE = 83_000.0


@dataclass(frozen=True)
class Kind:
    """A mission command: its name in status texts, the parameters (1 … 4) that are kept, whether it has a place, and
    what it is: "nav" leads the vehicle, "condition" holds up the next "do"."""

    name: str
    keeps: tuple[int, ...] = ()
    place: bool = False
    role: str = "do"
    #: Parameters that may be "not a number".
    free: tuple[int, ...] = ()


KINDS: dict[int, Kind] = {
    Cmd.NAV_WAYPOINT: Kind("WP", (1,), True, "nav", free=(4,)),
    Cmd.NAV_LOITER_UNLIM: Kind("LoitUnlim", (), True, "nav", free=(4,)),
    Cmd.NAV_LOITER_TURNS: Kind("LoitTurns", (1, 3), True, "nav", free=(2, 4)),
    Cmd.NAV_LOITER_TIME: Kind("LoitTime", (1,), True, "nav", free=(4,)),
    Cmd.NAV_RETURN_TO_LAUNCH: Kind("RTL", (), False, "nav"),
    Cmd.NAV_LAND: Kind("Land", (1,), True, "nav", free=(4,)),
    Cmd.NAV_TAKEOFF: Kind("Takeoff", (1,), True, "nav", free=(4,)),
    Cmd.NAV_SPLINE_WAYPOINT: Kind("SplineWP", (1,), True, "nav", free=(4,)),
    Cmd.NAV_DELAY: Kind("Delay", (1, 2, 3, 4), False, "nav"),
    Cmd.CONDITION_DELAY: Kind("CondDelay", (1,), False, "condition"),
    Cmd.CONDITION_DISTANCE: Kind("CondDist", (1,), False, "condition"),
    Cmd.CONDITION_YAW: Kind("CondYaw", (1, 2, 3, 4), False, "condition"),
    Cmd.DO_JUMP: Kind("Jump", (1, 2)),
    Cmd.DO_CHANGE_SPEED: Kind("ChangeSpeed", (1, 2, 3)),
    Cmd.DO_SET_HOME: Kind("SetHome", (1,), True),
    Cmd.DO_SET_RELAY: Kind("SetRelay", (1, 2)),
    Cmd.DO_REPEAT_RELAY: Kind("RepeatRelay", (1, 2, 3)),
    Cmd.DO_SET_SERVO: Kind("SetServo", (1, 2)),
    Cmd.DO_REPEAT_SERVO: Kind("RepeatServo", (1, 2, 3, 4)),
    Cmd.DO_LAND_START: Kind("DoLandStart", (), True),
    Cmd.DO_SET_REVERSE: Kind("SetReverse", (1,)),
    Cmd.DO_SET_ROI_LOCATION: Kind("SetROI", (), True),
    Cmd.DO_SET_ROI_NONE: Kind("SetROI"),
    Cmd.DO_SET_ROI: Kind("SetROI", (1,), True),
    Cmd.DO_DIGICAM_CONFIGURE: Kind("DigiCamCfg", (1, 2, 3, 4)),
    Cmd.DO_DIGICAM_CONTROL: Kind("DigiCamCtrl", (1, 2, 3, 4)),
    Cmd.DO_MOUNT_CONTROL: Kind("MountControl", (1, 2, 3)),
    Cmd.DO_SET_CAM_TRIGG_DIST: Kind("SetCamTrigDst", (1, 3)),
    Cmd.DO_FENCE_ENABLE: Kind("FenceEnable", (1,)),
}

FENCE_COMMANDS = frozenset(
    {
        Cmd.NAV_FENCE_RETURN_POINT,
        Cmd.NAV_FENCE_POLYGON_VERTEX_INCLUSION,
        Cmd.NAV_FENCE_POLYGON_VERTEX_EXCLUSION,
        Cmd.NAV_FENCE_CIRCLE_INCLUSION,
        Cmd.NAV_FENCE_CIRCLE_EXCLUSION,
    }
)


@dataclass(frozen=True)
class Item:
    """One item: `params` are 1 … 4; `x` and `y` latitude and longitude in degrees × 1e7; `z` metres in `frame`."""

    command: int
    frame: int
    params: tuple[float, float, float, float]
    x: int
    y: int
    z: float

    @property
    def kind(self) -> Kind:
        return KINDS[self.command]

    @property
    def named(self) -> str:
        return self.kind.name if self.command in KINDS else str(self.command)

    @property
    def is_nav(self) -> bool:
        return self.kind.role == "nav"

    @property
    def has_place(self) -> bool:
        """Whether a place was really given: 0, 0 stands for "here"."""
        return bool(self.x or self.y)


def accepted(item: Item) -> Item | MissionResult:
    """The item as a mission stores it, or why it is not taken."""
    if item.command == 0:
        return MissionResult.INVALID
    kind = KINDS.get(item.command)
    bad = _not_a_number(item, kind)
    if bad is not None:
        return bad
    if kind is None:
        return MissionResult.UNSUPPORTED
    params = _kept(item, kind)
    if not kind.place:
        return Item(item.command, Frame.GLOBAL, params, 0, 0, 0.0)
    frame = _stored_frame(item.frame)
    wrong = _bad_place(item)
    if wrong is not None:
        return wrong
    if frame is None:
        return MissionResult.UNSUPPORTED_FRAME
    return Item(item.command, frame, params, item.x, item.y, round(item.z * 100.0) / 100.0)


def accepted_in_fence(item: Item) -> Item | MissionResult:
    """A fence's item as it is stored, or why it is not taken."""
    if item.command not in FENCE_COMMANDS:
        return MissionResult.UNSUPPORTED
    return _plain_place(item)


def accepted_rally(item: Item) -> Item | MissionResult:
    """A rally point as it is stored, or why it is not taken."""
    if item.command != Cmd.NAV_RALLY_POINT:
        return MissionResult.UNSUPPORTED
    return _plain_place(item)


def _plain_place(item: Item) -> Item | MissionResult:
    if item.frame not in GLOBAL_FRAMES:
        return MissionResult.UNSUPPORTED_FRAME
    wrong = _bad_place(item)
    if wrong is not None:
        return wrong
    if not math.isfinite(item.params[0]):
        return MissionResult.INVALID_PARAM1
    a, b, c, d = (p if math.isfinite(p) else 0.0 for p in item.params)
    frame = _stored_frame(item.frame)
    assert frame is not None
    return replace(item, params=(a, b, c, d), frame=frame)


def _not_a_number(item: Item, kind: Kind | None) -> MissionResult | None:
    """ArduPilot looks at the parameters first, before it knows the command."""
    free = kind.free if kind else ()
    for number, value in enumerate(item.params, start=1):
        if number not in free and not math.isfinite(value):
            return MissionResult(MissionResult.INVALID_PARAM1 + number - 1)
    if not math.isfinite(item.z):
        return MissionResult.INVALID_PARAM7
    return None


def _bad_place(item: Item) -> MissionResult | None:
    if abs(item.x) > 900_000_000:
        return MissionResult.INVALID_PARAM5_X
    if abs(item.y) > 1_800_000_000:
        return MissionResult.INVALID_PARAM6_Y
    if not math.isfinite(item.z) or abs(item.z) > MAX_ALTITUDE:
        return MissionResult.INVALID_PARAM7
    return None


def _stored_frame(frame: int) -> int | None:
    if frame == Frame.MISSION or frame in ABSOLUTE_FRAMES:
        return int(Frame.GLOBAL)
    if frame in RELATIVE_FRAMES:
        return int(Frame.GLOBAL_RELATIVE_ALT)
    return int(Frame.GLOBAL_TERRAIN_ALT) if frame in TERRAIN_FRAMES else None


def _kept(item: Item, kind: Kind) -> tuple[float, float, float, float]:
    a, b, c, d = (p if i in kind.keeps and math.isfinite(p) else 0.0 for i, p in enumerate(item.params, start=1))
    if item.command in (Cmd.NAV_WAYPOINT, Cmd.NAV_SPLINE_WAYPOINT, Cmd.NAV_LOITER_TIME, Cmd.NAV_DELAY):
        a = float(min(max(int(a), -1 if item.command == Cmd.NAV_DELAY else 0), 65535))
    elif item.command == Cmd.NAV_LOITER_TURNS:
        a, c = min(max(a, 0.0), 255.0), math.copysign(min(round(abs(c)), 2550), c)
    elif item.command == Cmd.DO_JUMP:
        a, b = float(min(max(int(a), 0), CAPACITY)), float(min(max(int(b), -1), 32767))
    return a, b, c, d
