"""The MAVLink rows of the fault table at their full counts: damaged bytes by the million, and missions through links
that lose, repeat, disorder, delay and damage what they carry. `make soak`."""

from __future__ import annotations

import os
import random
import sys
from collections import Counter, deque
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from autopilot_recordings import RECORDINGS, Bench, dialect
from test_autopilot_wire import HANDLED, WORDS, frame, of_payload

from aerialworld_sim.autopilot.runner import COMPLETE

pytestmark = pytest.mark.soak
ACCEPTED, INVALID_SEQUENCE = 0, 13
#: Mutated frames and random streams (row F15); missions for each share of loss (row F12).
FRAMES, STREAMS, MISSIONS = 1_000_000, 100_000, 250
PER_STEP = 100


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def corpus() -> list[bytes]:
    """Every frame that the recorded clients sent, and one of each kind that is handled."""
    frames = [of_payload(name, bytes(64)) for name in HANDLED]
    for log in sorted(RECORDINGS.glob("*.tlog")):
        data, at = log.read_bytes(), 0
        while at + 20 <= len(data):
            size = 12 + data[at + 9] + (13 if data[at + 10] & 1 else 0)
            if data[at + 13] >= 200:
                frames.append(data[at + 8 : at + 8 + size])
            at += 8 + size
    return frames


def mutated(rng: random.Random, original: bytes) -> bytes:
    """A frame with bytes changed, cut, doubled or thrown in; one in two is made whole again behind its checksum."""
    data = bytearray(original)
    for _ in range(rng.randint(1, 4)):
        how, at = rng.randrange(4), rng.randrange(max(1, len(data)))
        if how == 0 and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif how == 1:
            del data[at : at + rng.randint(1, 6)]
        elif how == 2:
            data[at:at] = data[at : at + rng.randint(1, 6)]
        else:
            data[at:at] = rng.randbytes(rng.randint(1, 6))
    if rng.random() < 0.5:
        return bytes(data)
    name = rng.choice(HANDLED)
    return of_payload(name, bytes(data[10:-2]), rng.choice((255, 254, 1)))


def test_a_million_damaged_frames_and_a_hundred_thousand_streams_of_noise_harm_nothing() -> None:
    """No exception, no growth of 10 MiB, and the vehicle answers at the end as at the beginning."""
    rng, frames, bench = random.Random(1), corpus(), Bench("drone").ready()  # noqa: S311  # seeded, for a test
    before = None
    for sent in range(0, FRAMES, PER_STEP):
        bench.channel.receive(b"".join(mutated(rng, rng.choice(frames)) for _ in range(PER_STEP)))
        bench.step()
        bench.heard.clear()
        if sent == FRAMES // 10:
            before = resident()
    for _ in range(0, STREAMS, PER_STEP):
        bench.channel.receive(b"".join(rng.randbytes(rng.randint(1, 120)) for _ in range(PER_STEP)))
        bench.step()
        bench.heard.clear()
    assert before is not None and resident() - before < 10 * 2**20
    bench.run(5.0)
    bench.send(WORDS.MAVLink_command_long_message(1, 1, 512, 0, 148, 0, 0, 0, 0, 0, 0))
    bench.run_until(lambda: any(m.get_type() == "AUTOPILOT_VERSION" for m in bench.heard), 30.0)


class Link:
    """Frames one way: lost, repeated, put off and damaged as seeded; now and then nothing passes for three seconds."""

    def __init__(self, rng: random.Random, loss: float) -> None:
        self._rng, self._loss = rng, loss
        self._under_way: list[tuple[float, int, bytes]] = []
        self._count = 0
        self._dead_until = 0.0

    def put(self, now: float, data: bytes) -> None:
        rng = self._rng
        if self._loss and rng.random() < 0.001:
            self._dead_until = now + 3.0
        for _ in range(2 if rng.random() < 0.05 else 1):
            if now < self._dead_until or rng.random() < self._loss:
                continue
            delay = rng.uniform(0.0, 0.5) if rng.random() < 0.10 else rng.uniform(0.0, 0.05)
            damaged = bytearray(data)
            if rng.random() < 0.01:
                damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
            self._count += 1
            self._under_way.append((now + delay, self._count, bytes(damaged)))

    def take(self, now: float) -> bytes:
        due = sorted(item for item in self._under_way if item[0] <= now)
        self._under_way = [item for item in self._under_way if item[0] > now]
        return b"".join(data for _, _, data in due)


class Client:
    """Uploads a mission, arms, and has it driven, saying each thing again until it is answered; every vehicle that the
    link fails for `deadline` seconds is given up."""

    def __init__(self, seed: int, loss: float) -> None:
        rng = random.Random(seed)  # noqa: S311  # seeded, for a test
        self.bench = Bench("rover").ready()
        self.up, self.down = Link(rng, loss), Link(rng, loss)
        self.words, self._parser = dialect(), dialect().MAVLink(None)
        self._parser.robust_parsing = True
        self.heard: deque[Any] = deque()
        self.failed_uploads = 0

    def send(self, message: Any) -> None:
        self.up.put(self.bench.now, frame(message))

    def step(self) -> list[Any]:
        """10 ms; what came through."""
        bench = self.bench
        bench.channel.receive(self.up.take(bench.now))
        bench.autopilot.advance(10_000_000)
        bench.vehicle.step(10_000_000)
        while (data := bench.channel.take()) is not None:
            self.down.put(bench.now, data)
        return self._parser.parse_buffer(self.down.take(bench.now)) or []

    def until(self, wanted: Any, say: Any, again: float, limit: float) -> Any:
        """Say something every `again` seconds until `wanted(message)`; None when `limit` seconds have gone."""
        end, due = self.bench.now + limit, self.bench.now
        while self.bench.now < end:
            if self.bench.now >= due:
                say()
                due = self.bench.now + again
            for message in self.step():
                if wanted(message):
                    return message
        return None

    def upload(self, items: list[Any]) -> bool:
        """The whole mission, and all of it anew after whatever went wrong. An item that is out of its turn does not
        end an upload (13), it is asked for again."""

        def ended(message: Any) -> bool:
            if message.get_type() in ("MISSION_REQUEST", "MISSION_REQUEST_INT") and message.seq < len(items):
                self.send(items[message.seq])
            return message.get_type() == "MISSION_ACK" and message.type != INVALID_SEQUENCE

        for _ in range(12):
            self.send(self.words.MAVLink_mission_count_message(1, 1, len(items), 0))
            ack = self.until(ended, lambda: None, 1.0, 12.0)
            if ack is not None and ack.type == ACCEPTED:
                return True
            self.failed_uploads += 1
            self.until(lambda message: False, lambda: None, 1.0, 2.0)  # what is still under way arrives
        return False

    def command(self, number: int, *params: float) -> bool:
        filled = [*params, *[0.0] * (7 - len(params))]
        confirmation = iter(range(1000))

        def say() -> None:
            self.send(self.words.MAVLink_command_long_message(1, 1, number, min(next(confirmation), 255), *filled))

        ack = self.until(lambda m: m.get_type() == "COMMAND_ACK" and m.command == number, say, 1.0, 40.0)
        return ack is not None and ack.result == ACCEPTED


def mission(words: Any) -> list[Any]:
    """Home, 12 m to the north, 6 m to the east of there."""
    places = [(0.0, 0.0), (12.0, 0.0), (12.0, 6.0)]
    return [
        words.MAVLink_mission_item_int_message(
            1, 1, seq, 6 if seq else 0, 16, 0, 1, 0, 0, 0, 0, round((35.681236 + north / 111_000) * 1e7),
            round((139.767125 + east / 90_400) * 1e7), 10, 0,
        )
        for seq, (north, east) in enumerate(places)
    ]  # fmt: skip


@pytest.mark.parametrize("loss", [0.0, 0.01, 0.05, 0.10, 0.20, 0.30])
def test_missions_are_uploaded_and_driven_through_bad_links(loss: float) -> None:
    """Every mission up to a tenth of loss, 99 of 100 at a fifth; above, a client that gives up knows that it does. What
    is driven is the whole mission: none is ever stored mixed."""
    outcome: Counter[str] = Counter()
    uploads: Counter[int] = Counter()
    for seed in range(MISSIONS):
        client = Client(seed, loss)
        items = mission(client.words)
        if not client.upload(items):
            outcome["not uploaded"] += 1
            continue
        vehicle = client.bench.autopilot
        stored = [(i.x, i.y) for i in vehicle.missions.items]
        assert stored == [(i.x, i.y) for i in items[1:]], (loss, seed)
        if not (client.command(400, 1) and client.command(300)):
            outcome["not started"] += 1
            continue
        done = client.until(
            lambda m: m.get_type() == "STATUSTEXT" and m.text == "Mission Complete", lambda: None, 1.0, 60.0
        )
        assert vehicle.runner.state == COMPLETE, (loss, seed)  # whether or not the end was heard
        uploads[client.failed_uploads] += 1
        outcome["driven" if done is not None else "driven, its end not heard"] += 1
    print(f"loss {loss:.0%}: {dict(outcome)}; by failed uploads {dict(uploads)}")
    arrived = sum(n for what, n in outcome.items() if what.startswith("driven"))
    assert arrived >= MISSIONS * (1.0 if loss <= 0.10 else 0.99 if loss <= 0.20 else 0.0)
