"""How a vehicle is left when a mission is over, whatever ended it."""

from __future__ import annotations

from collections.abc import Callable

from aerialworld_core.mavlink.words import CUSTOM_MODE, Cmd
from aerialworld_missions.flying.items import HOLD, LAND
from aerialworld_missions.flying.outcomes import MissionEnded, Outcome
from aerialworld_missions.flying.vehicle import Vehicle

#: Vehicle seconds in which a copter comes home or lands, and a rover stops.
HOMEWARD, STOPPING = 600.0, 30.0
#: Metres a second slower than which a rover stands.
STANDING = 0.2
#: Seconds of another mode on the way down after which somebody else flies.
TAKEN = 5.0
#: Modes in which a copter is already on its way down.
DOWNWARD = frozenset({"RTL", "LAND"})
#: What leaves the vehicle as it is: nothing was begun, or somebody else has it.
HANDS_OFF = frozenset({Outcome.NO_VEHICLE, Outcome.TAKEN_OVER, Outcome.RESTARTED, Outcome.CRASHED})


def leave_safe(vehicle: Vehicle, outcome: Outcome, end: str, guard: Callable[[], None]) -> tuple[Outcome, str]:
    """Bring the vehicle down or to a stand; the outcome, and what more there is to say of it.

    A complete mission whose end fails is not complete: then the outcome is that of the end.
    """
    vehicle.guard = guard
    if outcome in HANDS_OFF or not vehicle.state.armed:
        return outcome, ""
    if outcome is Outcome.LINK_LOST:
        return outcome, _call_after(vehicle)
    try:
        if vehicle.kind == "rover":
            _stop(vehicle)
        else:
            _bring_down(vehicle, outcome, end)
    except MissionEnded as ended:
        failed = ended.outcome if outcome is Outcome.COMPLETE else outcome
        return failed, f"; then: {ended.reason}"
    return outcome, ""


def _stop(vehicle: Vehicle) -> None:
    """A rover holds, and is switched off when it stands."""
    vehicle.set_mode("HOLD")
    vehicle.wait(lambda: _speed(vehicle) < STANDING, "coming to a stand", STOPPING)
    vehicle.disarm()


def _speed(vehicle: Vehicle) -> float:
    place = vehicle.state.place
    return 0.0 if place is None else float((place.velocity[:2] ** 2).sum() ** 0.5)


def _bring_down(vehicle: Vehicle, outcome: Outcome, end: str) -> None:
    """A copter lands where it is (interrupted), stays (a plan that ends so), or goes home; what is on its way down by
    itself, or by its mission's last item, is only watched."""
    state = vehicle.state
    if outcome is Outcome.COMPLETE and end == HOLD:
        if vehicle.mode not in ("GUIDED", "AUTO"):
            vehicle.set_mode("GUIDED")
        return
    if not state.armed:
        return
    if outcome is Outcome.INTERRUPTED:
        vehicle.set_mode("LAND")
    elif outcome is Outcome.COMPLETE and vehicle.mode == "AUTO":
        pass  # the mission's own last item
    elif vehicle.mode not in DOWNWARD:
        wanted = "LAND" if outcome is Outcome.COMPLETE and end == LAND else "RTL"
        try:
            vehicle.set_mode(wanted)
        except MissionEnded:
            vehicle.set_mode("LAND")
    _watch_down(vehicle)


def _watch_down(vehicle: Vehicle) -> None:
    """Until the motors are off. Raises MissionEnded when somebody else takes it."""
    clock, strange = vehicle.state.clock, vehicle.state.clock.now

    def down() -> bool:
        nonlocal strange
        if vehicle.mode in DOWNWARD or vehicle.mode == "AUTO":
            strange = clock.now
        elif clock.now - strange > TAKEN:
            raise MissionEnded(Outcome.TAKEN_OVER, f"on its way down the mode was changed to {vehicle.mode}")
        return not vehicle.state.armed

    vehicle.wait(down, "landing", HOMEWARD)


def _call_after(vehicle: Vehicle) -> str:
    """It may still hear us: ask it to come home or to stand, without an answer to wait for."""
    name = "RTL" if vehicle.kind == "drone" else "HOLD"
    for _ in range(3):
        vehicle.ask(Cmd.DO_SET_MODE, (CUSTOM_MODE, vehicle.modes[name]))
    return f"; {name} was sent after it"
