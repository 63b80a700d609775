"""The mission protocol from the client's side: count, item by item as the autopilot asks, its last word.

ArduPilot asks with the older MISSION_REQUEST, takes an upload back after 8 s of silence, and, when it refuses an item,
keeps a mixture of the new and the old mission, which it would fly: so a refused upload is followed by clearing all.
https://mavlink.io/en/services/mission.html
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from aerialworld_core.mavlink.words import MissionResult
from aerialworld_missions.flying.items import Item
from aerialworld_missions.flying.outcomes import MissionEnded, Outcome
from aerialworld_missions.flying.vehicle import LOOK, Vehicle

#: Wall seconds after which what was said last is said again, and after which an upload is given up.
AGAIN, SILENT = 1.0, 15.0
#: Uploads that are tried when the link spoils one, and wall seconds between them, in which what is still under way
#: arrives: an answer to the last one is none to the next.
TRIES, SETTLE = 8, 0.6
#: MAV_MISSION_TYPE_MISSION.
MISSION = 0
#: Answers that do not end an upload: a number out of order, of which the next request tells the right one.
GO_ON = frozenset({MissionResult.INVALID_SEQUENCE})
#: What a link makes of an upload: it was taken back after a silence; an item came when none was asked for, because the
#: autopilot's last word was lost or an older item was late.
SPOILT = frozenset({MissionResult.OPERATION_CANCELLED, MissionResult.ERROR})


def upload(vehicle: Vehicle, items: Sequence[Item]) -> None:
    """Give the vehicle a mission, items[0] being home. Raises MissionEnded (refused), naming the item."""
    said = vehicle.state.said
    for _ in range(TRIES):
        result, asked = _exchange(vehicle, items)
        if result not in SPOILT:
            break
        vehicle.pause(SETTLE)  # and all of it again
    if result == MissionResult.ACCEPTED:
        return
    why = "no answer" if result is None else mission_result_name(result)
    where = f", item {asked} ({items[asked].describe()})" if asked is not None and result is not None else ""
    vehicle.pause(0.3)
    cleared = clear(vehicle)
    left = "" if cleared else "; it could not be cleared and may hold a mixture: do not fly AUTO"
    raise MissionEnded(Outcome.REFUSED, f"uploading the mission{where}: {why}{vehicle.said(said)}{left}")


def clear(vehicle: Vehicle) -> bool:
    """Forget the vehicle's mission, whole or mixed; whether it said so."""
    after, begin = vehicle.state.answered, time.monotonic()
    with vehicle.station.changed:
        while time.monotonic() - begin < 4 * AGAIN:
            vehicle.send("mission_clear_all", mission_type=MISSION)
            until = time.monotonic() + AGAIN
            while time.monotonic() < until:
                vehicle.check()
                for _, message in vehicle.state.answers(after, "MISSION_ACK"):
                    if message.type == MissionResult.ACCEPTED and _ours(vehicle, message):
                        return True
                vehicle.station.changed.wait(LOOK)
    return False


def _exchange(vehicle: Vehicle, items: Sequence[Item]) -> tuple[int | None, int | None]:
    """One upload: the autopilot's last word (None: it fell silent), and the item that it asked for last."""
    state = vehicle.state
    after, asked = state.answered, None
    heard = told = time.monotonic()
    seen: set[int] = set()
    _count(vehicle, items)
    with vehicle.station.changed:
        while time.monotonic() - heard < SILENT:
            vehicle.check()
            for number, message in state.answers(after, "MISSION_REQUEST", "MISSION_REQUEST_INT", "MISSION_ACK"):
                after = number
                if not _ours(vehicle, message):
                    continue
                heard = told = time.monotonic()
                if message.get_type() != "MISSION_ACK":
                    if 0 <= message.seq < len(items):
                        asked = int(message.seq)
                        seen.add(asked)
                        _item(vehicle, asked, items[asked])
                elif message.type == MissionResult.ACCEPTED:
                    if len(seen) == len(items):
                        return MissionResult.ACCEPTED, asked
                elif message.type not in GO_ON:
                    return int(message.type), asked
            if time.monotonic() - told > AGAIN:
                told = time.monotonic()
                # The request may have been lost, or the item, or the last word: the autopilot answers each again.
                if asked is None:
                    _count(vehicle, items)
                else:
                    _item(vehicle, asked, items[asked])
                    if len(seen) == len(items) and time.monotonic() - heard > 3 * AGAIN:
                        asked, seen = None, set()  # it is done and says no more: the same once again
            vehicle.station.changed.wait(LOOK)
    return None, asked


def _ours(vehicle: Vehicle, message: Any) -> bool:
    mission = getattr(message, "mission_type", MISSION) == MISSION
    return mission and message.target_system in (0, vehicle.station.system)


def _count(vehicle: Vehicle, items: Sequence[Item]) -> None:
    vehicle.send("mission_count", count=len(items), mission_type=MISSION)


def _item(vehicle: Vehicle, seq: int, item: Item) -> None:
    vehicle.send(
        "mission_item_int",
        seq=seq,
        frame=int(item.frame),
        command=int(item.command),
        current=0,
        autocontinue=1,
        **{f"param{i}": float(p) for i, p in enumerate(item.params, start=1)},
        x=item.x,
        y=item.y,
        z=float(item.z),
        mission_type=MISSION,
    )


def mission_result_name(number: int) -> str:
    """MAV_MISSION_RESULT by name."""
    return MissionResult(number).name if number in set(MissionResult) else f"MAV_MISSION_RESULT {number}"
