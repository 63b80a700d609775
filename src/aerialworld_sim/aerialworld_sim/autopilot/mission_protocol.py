"""Uploading and downloading missions, fences and rally points: MAVLink's mission protocol as ArduPilot speaks it.

Facts that a client must live with, and that are kept here: an upload asks with the old MISSION_REQUEST; a failed one
leaves a mixed list behind; an item out of turn is refused and the upload stays open; a lost one is asked for again each
second, for eight; another station is kept out meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aerialworld_core.mavlink.wire import Message
from aerialworld_core.mavlink.words import Frame, MissionResult, MissionType, Severity
from aerialworld_sim.autopilot import mission_items
from aerialworld_sim.autopilot.channel import Channel
from aerialworld_sim.autopilot.mission_items import CAPACITY, Item

if TYPE_CHECKING:
    from aerialworld_sim.autopilot.core import Autopilot

#: Seconds after which an item is asked for again, and after which the upload is given up.
REPEAT, GIVE_UP = 1.0, 8.0
#: Points of a fence and rally points at most.
OTHER_CAPACITY = {MissionType.FENCE: 255, MissionType.RALLY: 100}


@dataclass
class Upload:
    """An upload in work, of `sender` (system, component) over `channel`."""

    kind: MissionType
    channel: Channel
    sender: tuple[int, int]
    count: int
    next: int = 0
    asked_at: float = 0.0
    heard_at: float = 0.0
    #: A fence or the rally points, which are replaced when all have come.
    collected: list[Item] | None = None


class MissionProtocol:
    """Server side of the mission protocol."""

    def __init__(self, autopilot: Autopilot) -> None:
        self._autopilot = autopilot
        self._upload: Upload | None = None
        #: What answers the protocol's messages, by their names.
        self.handlers: dict[str, Callable[[Channel, Any], None]] = {
            "MISSION_COUNT": self._count,
            "MISSION_ITEM_INT": self._item,
            "MISSION_ITEM": self._item,
            "MISSION_WRITE_PARTIAL_LIST": self._partial,
            "MISSION_REQUEST_LIST": self._request_list,
            "MISSION_REQUEST_INT": self._request,
            "MISSION_REQUEST": self._request,
            "MISSION_CLEAR_ALL": self._clear,
            "MISSION_SET_CURRENT": self._set_current,
        }

    def update(self) -> None:
        """Ask again for what does not come, and give up in the end."""
        upload, now = self._upload, self._autopilot.now
        if upload is None:
            return
        if now - upload.heard_at >= GIVE_UP:
            self._upload = None
            self._ack(upload.channel, upload.sender, MissionResult.OPERATION_CANCELLED, upload.kind)
            self._autopilot.say("Mission upload timeout", Severity.WARNING)
        elif now - upload.asked_at >= REPEAT:
            self._ask(upload)

    # Uploads

    def _count(self, channel: Channel, message: Any) -> None:
        self._begin(channel, message, 0, message.count)

    def _partial(self, channel: Channel, message: Any) -> None:
        sender, kind = _sender(message), _kind(message)
        total = self._autopilot.missions.count
        if kind is not MissionType.MISSION or not 0 <= message.start_index <= message.end_index < total:
            self._ack(channel, sender, MissionResult.ERROR, message.mission_type)
            return
        self._begin(channel, message, message.start_index, message.end_index + 1)

    def _begin(self, channel: Channel, message: Any, first: int, count: int) -> None:
        autopilot, sender, kind = self._autopilot, _sender(message), _kind(message)
        if kind is None:
            self._ack(channel, sender, MissionResult.UNSUPPORTED, message.mission_type)
            return
        if self._upload is not None and (self._upload.sender, self._upload.channel) != (sender, channel):
            self._ack(channel, sender, MissionResult.DENIED, kind)
            return
        capacity = CAPACITY if kind is MissionType.MISSION else OTHER_CAPACITY[kind]
        if count > capacity:
            autopilot.say(f"Only {capacity} items are supported", Severity.WARNING)
            self._ack(channel, sender, MissionResult.NO_SPACE, kind)
            return
        collected: list[Item] | None = None if kind is MissionType.MISSION else []
        self._upload = Upload(kind, channel, sender, count, first, heard_at=autopilot.now, collected=collected)
        if count == 0:
            self._upload = None
            self._clear_list(channel, sender, kind)
            if kind is MissionType.MISSION:
                autopilot.say("Flight plan received")
            return
        if kind is MissionType.MISSION and first == 0:
            autopilot.missions.truncate(count)
        self._ask(self._upload)

    def _item(self, channel: Channel, message: Any) -> None:
        upload, sender, kind = self._upload, _sender(message), _kind(message)
        if upload is None:
            if self._is_guided_point(message):
                self._autopilot.modes.old_guided_point(_item_of(message))
                self._ack(channel, sender, MissionResult.ACCEPTED, message.mission_type)
            else:
                self._ack(channel, sender, MissionResult.ERROR, message.mission_type)
        elif (upload.sender, upload.channel) != (sender, channel):
            self._ack(channel, sender, MissionResult.DENIED, message.mission_type)
        elif kind is not upload.kind:
            self._ack(channel, sender, MissionResult.INVALID, message.mission_type)
        elif message.seq != upload.next:
            self._ack(channel, sender, MissionResult.INVALID_SEQUENCE, kind)
        else:
            self._store(upload, _item_of(message))

    def _is_guided_point(self, message: Any) -> bool:
        """The old way to send a copter somewhere: a waypoint with current = 2 in GUIDED."""
        autopilot = self._autopilot
        return (
            message.get_type() == "MISSION_ITEM"
            and message.current == 2
            and autopilot.mode.name == "GUIDED"
            and isinstance(mission_items.accepted(_item_of(message)), Item)
        )

    def _store(self, upload: Upload, item: Item) -> None:
        autopilot = self._autopilot
        check = {
            MissionType.MISSION: mission_items.accepted,
            MissionType.FENCE: mission_items.accepted_in_fence,
            MissionType.RALLY: mission_items.accepted_rally,
        }[upload.kind]
        kept = check(item)
        if isinstance(kept, MissionResult):
            self._upload = None
            self._ack(upload.channel, upload.sender, kept, upload.kind)
            return
        if upload.collected is None:
            autopilot.missions.put(upload.next, kept)
        else:
            upload.collected.append(kept)
        upload.next += 1
        upload.heard_at = autopilot.now
        if upload.next < upload.count:
            self._ask(upload)
        else:
            self._upload = None
            self._finish(upload)

    def _finish(self, upload: Upload) -> None:
        autopilot, result = self._autopilot, MissionResult.ACCEPTED
        texts: list[tuple[str, Severity]] = []
        if upload.kind is MissionType.MISSION:
            texts = [("Flight plan received", Severity.INFO)]
        elif upload.collected is not None and upload.kind is MissionType.RALLY:
            autopilot.missions.rally = upload.collected
            autopilot.parameters.keep("RALLY_TOTAL", len(upload.collected))
        elif upload.collected is not None:
            problem = autopilot.fence.problem(upload.collected)
            if problem:
                result = MissionResult.ERROR
                texts = [(problem, Severity.WARNING), ("Fence validation failed", Severity.WARNING)]
            else:
                autopilot.fence.load(upload.collected)
                texts = [("Fence Indexed OK", Severity.DEBUG)]
        self._ack(upload.channel, upload.sender, result, upload.kind)
        for text, severity in texts:
            autopilot.say(text, severity)

    def _ask(self, upload: Upload) -> None:
        upload.asked_at = self._autopilot.now
        system, component = upload.sender
        fields = {"target_system": system, "target_component": component, "seq": upload.next}
        upload.channel.post(Message("mission_request", {**fields, "mission_type": int(upload.kind)}))

    # Downloads

    def _list(self, kind: MissionType) -> list[Item]:
        missions = self._autopilot.missions
        if kind is MissionType.MISSION:
            return [missions.home_item(), *missions.items] if missions.count else []
        return missions.fence if kind is MissionType.FENCE else missions.rally

    def _request_list(self, channel: Channel, message: Any) -> None:
        sender, kind = _sender(message), _kind(message)
        if kind is None:
            self._ack(channel, sender, MissionResult.UNSUPPORTED, message.mission_type)
        elif self._upload is not None:
            self._ack(channel, sender, MissionResult.DENIED, kind)
        else:
            self._tell_count(channel, sender, kind)

    def _tell_count(self, channel: Channel, sender: tuple[int, int], kind: MissionType) -> None:
        fields = {"target_system": sender[0], "target_component": sender[1], "count": len(self._list(kind))}
        channel.post(Message("mission_count", {**fields, "mission_type": int(kind)}))

    def _request(self, channel: Channel, message: Any) -> None:
        sender, kind = _sender(message), _kind(message)
        if kind is None:
            self._ack(channel, sender, MissionResult.UNSUPPORTED, message.mission_type)
            return
        if self._upload is not None and self._upload.sender != sender:
            self._ack(channel, sender, MissionResult.DENIED, kind)
            return
        items = self._list(kind)
        if message.seq >= len(items):
            self._tell_count(channel, sender, kind)  # so that the client learns how many there are
            self._ack(channel, sender, MissionResult.INVALID_SEQUENCE, kind)
            return
        old = message.get_type() == "MISSION_REQUEST"
        channel.post(self._item_message(items[message.seq], message.seq, sender, kind, old))
        if old and kind is MissionType.MISSION:
            self._autopilot.say("got MISSION_REQUEST; use MISSION_REQUEST_INT!", Severity.WARNING)

    def _item_message(self, item: Item, seq: int, sender: tuple[int, int], kind: MissionType, old: bool) -> Message:
        current = kind is MissionType.MISSION and seq == self._autopilot.runner.current and seq > 0
        fields = {
            "target_system": sender[0],
            "target_component": sender[1],
            "seq": seq,
            "frame": item.frame,
            "command": item.command,
            "current": int(current),
            "autocontinue": 1,
            **{f"param{i}": p for i, p in enumerate(item.params, start=1)},
            "x": item.x * 1e-7 if old else item.x,
            "y": item.y * 1e-7 if old else item.y,
            "z": item.z,
            "mission_type": int(kind),
        }
        return Message("mission_item" if old else "mission_item_int", fields)

    # The rest

    def _clear(self, channel: Channel, message: Any) -> None:
        sender = _sender(message)
        if self._upload is not None and self._upload.sender != sender:
            self._ack(channel, sender, MissionResult.DENIED, message.mission_type)
            return
        self._upload = None
        if message.mission_type == MissionType.ALL:
            results = [self._clear_now(kind) for kind in (MissionType.MISSION, MissionType.FENCE, MissionType.RALLY)]
            worst = MissionResult.ACCEPTED if all(results) else MissionResult.ERROR
            self._ack(channel, sender, worst, MissionType.ALL)
            return
        kind = _kind(message)
        if kind is None:
            self._ack(channel, sender, MissionResult.UNSUPPORTED, message.mission_type)
        else:
            self._clear_list(channel, sender, kind)

    def _clear_list(self, channel: Channel, sender: tuple[int, int], kind: MissionType) -> None:
        done = self._clear_now(kind)
        self._ack(channel, sender, MissionResult.ACCEPTED if done else MissionResult.ERROR, kind)

    def _clear_now(self, kind: MissionType) -> bool:
        autopilot = self._autopilot
        if kind is MissionType.MISSION:
            if autopilot.runner.running:
                return False
            autopilot.missions.clear()
            autopilot.runner.reset()
        elif kind is MissionType.FENCE:
            autopilot.fence.load([])
        else:
            autopilot.missions.rally = []
            autopilot.parameters.keep("RALLY_TOTAL", 0)
        return True

    def _set_current(self, channel: Channel, message: Any) -> None:
        """Out of range: silence, as ArduPilot has it."""
        if self._autopilot.runner.jump_to(message.seq):
            channel.post(self._autopilot.telemetry.mission_current())

    def _ack(self, channel: Channel, sender: tuple[int, int], result: MissionResult, kind: int) -> None:
        fields = {"target_system": sender[0], "target_component": sender[1], "type": int(result)}
        channel.post(Message("mission_ack", {**fields, "mission_type": int(kind)}))


def _sender(message: Any) -> tuple[int, int]:
    return message.get_srcSystem(), message.get_srcComponent()


def _kind(message: Any) -> MissionType | None:
    known = (MissionType.MISSION, MissionType.FENCE, MissionType.RALLY)
    return MissionType(message.mission_type) if message.mission_type in known else None


def _item_of(message: Any) -> Item:
    x, y = message.x, message.y
    if message.get_type() == "MISSION_ITEM":
        x, y = (_e7(v) if message.frame not in (Frame.LOCAL_NED, Frame.BODY_NED) else 0 for v in (x, y))
    params = (message.param1, message.param2, message.param3, message.param4)
    return Item(message.command, message.frame, params, int(x), int(y), float(message.z))


def _e7(degrees: float) -> int:
    """Degrees as a whole number; what no place on earth can be becomes one that is refused."""
    return round(degrees * 1e7) if abs(degrees) <= 200.0 else 2**31 - 1
