"""Recorded exchanges with a real ArduPilot, and a scripted client that plays their sending side to our endpoint.

A recording is read into what the client sent and what it was told, both with the vehicle's time. The scripted client
sends each message at its recorded time, but not before our endpoint has given as many answers as the real one had given
by then (acknowledgements, mission requests, mode changes, reached items): it reacts as the recorded client did. A
vehicle that flies a leg a second slower is therefore no difference, a missing answer is.
"""

from __future__ import annotations

import json
import math
import os
import re
import threading
import time
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from aerialworld_core.frames import Georeference, Pose
from aerialworld_core.mavlink.signing import Signer
from aerialworld_core.mavlink.wire import dialect
from aerialworld_sim.autopilot import Autopilot, Settings
from aerialworld_sim.autopilot.endpoint import Endpoint, Served
from aerialworld_sim.autopilot.links import Place
from aerialworld_sim.vehicles.multirotor import Multirotor
from aerialworld_sim.vehicles.rover import Rover

RECORDINGS = Path(os.environ.get("AERIALWORLD_SHARED", "../shared")) / "reference" / "ardupilot"
HOME = Georeference(35.681236, 139.767125, 10.0)
STEP_NS = 10_000_000
#: Seconds that a scripted client waits for an answer beyond the recorded time before it goes on without.
PATIENCE = 60.0
#: Answers that the recorded client waited for.
GATES = ("ACK", "MISSION_ACK", "MISSION_REQUEST", "MODE", "ARMED", "REACHED")


@dataclass
class Sent:
    """A message of the client at a second of the vehicle's time, with what it had been told by then."""

    at: float
    message: Any
    system: int
    component: int
    before: dict[str, int]


@dataclass
class Recording:
    """What was sent, and what was told, by kind in order."""

    sent: list[Sent] = field(default_factory=list)
    told: dict[str, list[Any]] = field(default_factory=dict)
    end: float = 0.0

    def note(self, entries: list[tuple[str, Any]]) -> None:
        for kind, value in entries:
            self.told.setdefault(kind, []).append(value)

    def counts(self) -> dict[str, int]:
        return {kind: len(self.told.get(kind, [])) for kind in GATES}


class Listener:
    """Turns what a vehicle sends into comparable entries (kind, value)."""

    def __init__(self) -> None:
        self._last: tuple[Any, ...] | None = None
        self._current: tuple[Any, ...] | None = None
        self.asked: set[str] = set()

    def entries(self, message: Any) -> list[tuple[str, Any]]:
        name = message.get_type()
        if name == "HEARTBEAT":
            return self._heartbeat(message)
        if name == "COMMAND_ACK":
            return [("ACK", (message.command, message.result))]
        if name == "STATUSTEXT":
            text = plain_text(message.text)
            return [("TEXT", (message.severity, text))] if text else []
        if name == "MISSION_ACK":
            return [("MISSION_ACK", (message.type, message.mission_type))]
        if name == "MISSION_REQUEST":
            return [("MISSION_REQUEST", (message.seq, message.mission_type))]
        if name == "MISSION_COUNT":
            return [("MISSION_COUNT", (message.count, message.mission_type))]
        if name in ("MISSION_ITEM", "MISSION_ITEM_INT"):
            params = tuple(round(getattr(message, f"param{i}"), 3) for i in range(1, 5))
            return [("MISSION_ITEM", (name, message.seq, message.frame, message.command, params))]
        if name == "MISSION_ITEM_REACHED":
            return [("REACHED", message.seq)]
        if name == "PARAM_VALUE" and message.param_id in self.asked:
            return [("PARAM", (message.param_id, round(message.param_value, 4), message.param_type))]
        if name in ("AUTOPILOT_VERSION", "HOME_POSITION", "GPS_GLOBAL_ORIGIN"):
            return [("ONCE", name)]
        if name == "MISSION_CURRENT":
            state = (message.seq, message.total, message.mission_state, message.mission_mode)
            fresh, self._current = state != self._current, state
            return [("CURRENT", state)] if fresh else []
        return []

    def _heartbeat(self, message: Any) -> list[tuple[str, Any]]:
        now = (message.custom_mode, bool(message.base_mode & 128), message.system_status)
        before, self._last = self._last or (None, None, None), now
        kinds = ("MODE", "ARMED", "STATUS")
        return [(k, v) for k, v, old in zip(kinds, now, before, strict=True) if v != old]


def plain_text(text: str) -> str:
    """A status text without what differs from run to run; empty for what only names a build."""
    if text.startswith(":") or text.startswith("aerialworld:"):
        return ""
    text = re.sub(r"^(Ardu\w+ V\S+) \(.*\)$", r"\1", text)
    text = re.sub(r"Hit ground at \S+ m/s", "Hit ground", text)
    return re.sub(r"IMU\d (MAG0 in-flight)", r"IMU \1", text)


def load(name: str) -> Recording:
    """A recorded exchange; skips the test where the recordings are absent."""
    log = RECORDINGS / f"{name}.tlog"
    events = RECORDINGS / f"{name}.events.jsonl"
    if not events.is_file():
        pytest.skip(f"no recording {events}")
    return _from_log(log) if log.is_file() else _from_events(events)


def told(name: str) -> list[Any]:
    """Every message of the vehicle in a recording's log; skips the test where there is none."""
    log = RECORDINGS / f"{name}.tlog"
    if not log.is_file():
        pytest.skip(f"no recording {log}")
    return [message for _, message in _logged(log) if message.get_srcSystem() < 200]


def _from_log(path: Path) -> Recording:
    messages = list(_logged(path))
    clock = _Clock([(t, m.time_boot_ms / 1000.0) for t, m in messages if getattr(m, "time_boot_ms", 0) > 1000])
    clock.anchor(next(t for t, m in messages if m.get_type() == "HEARTBEAT" and m.get_srcSystem() < 200), 1.01)
    recording, listener = Recording(), Listener()
    for t, message in messages:
        if message.get_srcSystem() >= 200:
            if message.get_type() in ("PARAM_SET", "PARAM_REQUEST_READ"):
                listener.asked.add(message.param_id)
            made = Sent(
                clock.vehicle_time(t), message, message.get_srcSystem(), message.get_srcComponent(), recording.counts()
            )
            recording.sent.append(made)
        else:
            recording.note(listener.entries(message))
    recording.end = clock.vehicle_time(messages[-1][0])
    return recording


def _logged(path: Path) -> Iterator[tuple[float, Any]]:
    """(wall second, message) of a telemetry log: each frame after 8 bytes of big-endian microseconds."""
    data, mavlink, at = path.read_bytes(), dialect().MAVLink(None), 0
    while at + 20 <= len(data):
        stamp = int.from_bytes(data[at : at + 8], "big") / 1e6
        size = 12 + data[at + 9] + (13 if data[at + 10] & 1 else 0)
        yield stamp, mavlink.decode(bytearray(data[at + 8 : at + 8 + size]))
        at += 8 + size


class _Clock:
    """Wall seconds of a recording to the vehicle's seconds since the connection."""

    def __init__(self, pairs: list[tuple[float, float]]) -> None:
        self._pairs: list[tuple[float, float]] = []
        for wall, boot in sorted(pairs):
            if not self._pairs or boot > self._pairs[-1][1] + 0.05:
                self._pairs.append((wall, boot))

    def anchor(self, wall: float, boot: float) -> None:
        self._pairs.insert(0, (wall, boot))

    def vehicle_time(self, wall: float) -> float:
        at = min(max(bisect_right(self._pairs, (wall, 1e9)), 1), len(self._pairs) - 1)
        (w0, b0), (w1, b1) = self._pairs[at - 1], self._pairs[at]
        share = (wall - w0) / (w1 - w0) if w1 > w0 else 0.0
        return b0 + min(share, 1.0) * (b1 - b0) - 0.09 if share >= 0 else b0 + (wall - w0) - 0.09


def _from_events(path: Path) -> Recording:
    """A recording without a log: its client's heartbeats are added each second."""
    words = dialect()
    events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    pairs = [(e["t"], e["sim_ms"] / 1000.0) for e in events if e["sim_ms"]]
    clock = _Clock(pairs)
    clock.anchor(0.92, 1.01)
    recording, listener = Recording(), Listener()
    next_beat = 1.5
    for event in events:
        at, fields = clock.vehicle_time(event["t"]), event.get("f") or {}
        while next_beat < at:
            beat = words.MAVLink_heartbeat_message(6, 8, 0, 0, 4, 3)
            recording.sent.append(Sent(next_beat, beat, 255, 190, recording.counts()))
            next_beat += 1.0
        if event["k"] == "TX":
            fields = {k: v.encode() if isinstance(v, str) else v for k, v in fields.items()}
            made = getattr(words, f"MAVLink_{event['type'].lower()}_message")(**fields)
            if event["type"] in ("PARAM_SET", "PARAM_REQUEST_READ"):
                listener.asked.add(made.param_id)
            recording.sent.append(Sent(at, made, 255, 190, recording.counts()))
        elif event["k"] in ("RX", "HB_CHANGE"):
            kind = "HEARTBEAT" if event["k"] == "HB_CHANGE" else event["type"]
            fields = {k: v.encode() if isinstance(v, str) else v for k, v in fields.items()}
            recording.note(listener.entries(getattr(words, f"MAVLink_{kind.lower()}_message")(**fields)))
        elif event["k"] == "PARAM" and event["value"] is not None:
            recording.note([("PARAM", (event["name"], round(event["value"], 4), event["ptype"]))])
    recording.end = clock.vehicle_time(events[-1]["t"])
    return recording


class Bench:
    """An autopilot with its vehicle and one client, in lock step."""

    def __init__(self, kind: str = "drone", parameters: dict[str, float] | None = None, sysid: int = 1) -> None:
        stand = 0.25 if kind == "drone" else 0.0
        reference = Georeference(HOME.latitude, HOME.longitude, HOME.height - stand)
        north = Pose.from_rpy(0, 0, 0, 0, 0, math.pi / 2)
        self.vehicle = Multirotor(north) if kind == "drone" else Rover(north)
        self.autopilot = Autopilot(self.vehicle, Settings(kind, reference, sysid), parameters)
        self.channel = self.autopilot.open_channel("client")
        self.words = dialect()
        self._decoder = self.words.MAVLink(None)
        self._links: dict[tuple[int, int], Any] = {}
        self.heard: list[Any] = []
        #: Whether the client sends a heartbeat each second, as a ground-control program does.
        self.beating = False

    @property
    def now(self) -> float:
        return self.autopilot.now

    def send(self, message: Any, system: int = 255, component: int = 190) -> None:
        """Send a message as a station of that system and component."""
        link = self._links.setdefault(
            (system, component), self.words.MAVLink(None, srcSystem=system, srcComponent=component)
        )
        self.channel.receive(message.pack(link))
        link.seq = (link.seq + 1) % 256

    def step(self) -> list[Any]:
        """10 ms of simulation; what the vehicle said meanwhile."""
        if self.beating and self.autopilot.now_ns % 1_000_000_000 == 0:
            self.heartbeat()
        self.autopilot.advance(STEP_NS)
        self.vehicle.step(STEP_NS)
        data = self.channel.take_all()
        said = (self._decoder.parse_buffer(data) or []) if data else []
        self.heard += said
        return said

    def run(self, seconds: float) -> list[Any]:
        """Some seconds; what the vehicle said."""
        said: list[Any] = []
        for _ in range(round(seconds / (STEP_NS * 1e-9))):
            said += self.step()
        return said

    def run_until(self, condition: Any, limit: float) -> list[Any]:
        """Until `condition()` holds; fails after `limit` seconds."""
        said, end = [], self.now + limit
        while not condition():
            assert self.now < end, f"not within {limit} s; heard last: {[str(m) for m in self.heard[-12:]]}"
            said += self.step()
        return said

    def hear(self, text: str, limit: float) -> None:
        """Run until a status text is heard, from now on or in what was heard before."""
        if text not in self.texts():
            end = self.now + limit
            while text not in self.texts(self.step()):
                assert self.now < end, f"{text!r} not within {limit} s; heard: {self.texts()[-12:]}"

    # Shorthands

    def command(self, number: int, *params: float, system: int = 255, target: int = 1) -> list[Any]:
        """A COMMAND_LONG and what is said in the next 50 ms."""
        filled = [float(p) for p in params] + [0.0] * (7 - len(params))
        self.send(self.words.MAVLink_command_long_message(target, 1, number, 0, *filled), system)
        return self.run(0.05)

    def result(self, number: int, *params: float) -> int | None:
        """The result of a COMMAND_LONG, None without an acknowledgement."""
        said = self.command(number, *params)
        acks = [m.result for m in said if m.get_type() == "COMMAND_ACK" and m.command == number]
        assert len(acks) <= 1
        return acks[0] if acks else None

    def heartbeat(self, system: int = 255) -> None:
        self.send(self.words.MAVLink_heartbeat_message(6, 8, 0, 0, 4, 3), system)

    def every(self, name: str, hz: float) -> None:
        """Ask for a stream."""
        number = getattr(self.words, f"MAVLINK_MSG_ID_{name}")
        assert self.result(511, number, 1e6 / hz) == 0

    def ready(self) -> Bench:
        """Boot until it may be armed with a position."""
        self.run(43.0 - self.now)
        return self

    def flying(self, height: float = 20.0) -> Bench:
        """In GUIDED at a height."""
        self.ready()
        assert self.result(176, 1, 4) == 0
        assert self.result(400, 1) == 0
        assert self.result(22, 0, 0, 0, 0, 0, 0, height) == 0
        self.run_until(lambda: not self.autopilot.modes.taking_off, 60)
        return self

    def texts(self, messages: list[Any] | None = None) -> list[str]:
        return [m.text for m in (self.heard if messages is None else messages) if m.get_type() == "STATUSTEXT"]


class Served20:
    """An autopilot behind real sockets on loopback at 20 times real time, in a thread of its own."""

    def __init__(
        self,
        kind: str = "drone",
        *,
        tcp: bool = True,
        udp: int | None = None,
        sysid: int = 1,
        wait: bool = False,
        speedup: float = 20.0,
        udp_server: bool = False,
        signer: Signer | None = None,
    ) -> None:
        vehicle = Multirotor() if kind == "drone" else Rover()
        self.autopilot = Autopilot(vehicle, Settings(kind, HOME, sysid, speedup))
        served = Served(self.autopilot, signer=signer)
        self.links: list[Any] = served.links
        asked = (("tcp", 0 if tcp else None), ("udpin" if udp_server else "udp", udp))
        served.open(Place(way, "127.0.0.1", port) for way, port in asked if port is not None)
        self.endpoint = Endpoint([served], wait=wait)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self.endpoint.run()
        except BaseException as error:
            self._failure = error

    @property
    def port(self) -> int:
        return int(self.links[0].address[1])

    def until(self, second: float) -> None:
        """Wait until the vehicle's clock shows so much."""
        deadline = time.monotonic() + 60.0
        while self.autopilot.now < second:
            assert time.monotonic() < deadline and self._thread.is_alive(), self._failure
            time.sleep(0.01)

    def __enter__(self) -> Served20:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.endpoint.stop()
        self._thread.join(20.0)
        self.endpoint.close()
        assert self._failure is None, self._failure


def play(
    recording: Recording, kind: str, parameters: dict[str, float] | None = None
) -> tuple[Bench, dict[str, list[Any]]]:
    """Play a recording's client to our endpoint; what was told, by kind in order."""
    bench, listener, ours = Bench(kind, parameters), Listener(), Recording()
    listener.asked = {
        s.message.param_id for s in recording.sent if s.message.get_type() in ("PARAM_SET", "PARAM_REQUEST_READ")
    }

    def go_on() -> None:
        for message in bench.step():
            ours.note(listener.entries(message))

    late = 0.0
    for sent in recording.sent:
        while bench.now < sent.at + late:
            go_on()
        limit = bench.now + PATIENCE
        while bench.now < limit and any(ours.counts()[k] < n for k, n in sent.before.items()):
            go_on()
        late = max(late, bench.now - sent.at)
        bench.send(sent.message, sent.system, sent.component)
    end = recording.end + late
    while bench.now < end or (bench.now < end + PATIENCE and _behind(ours, recording)):
        go_on()
    return bench, ours.told


def _behind(ours: Recording, theirs: Recording) -> bool:
    return any(ours.counts()[kind] < n for kind, n in theirs.counts().items())
