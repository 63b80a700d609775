"""Clocks that jump: the wall's changes nothing of a recording, the simulation's begins a session and is told.

Twelve scenarios, each with stamps and messages in the order that a seed gives them.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from aerialworld_core.session import Session, list_sessions
from aerialworld_recorder.stream.assembly import Assembler
from aerialworld_recorder.stream.messages import Message
from aerialworld_recorder.stream.pipeline import Pipeline
from aerialworld_recorder.stream.synchroniser import Timing

sys.path.insert(0, str(Path(__file__).parent))
from recorder_stream_messages import MS, SPEED, VEHICLE, Log, Plane, channels, flight, small_rig

HOUR, END = 3600.0, 2000 * MS
REAL = time.time


def wall_clocks(rng: random.Random) -> dict:
    """Name → the wall clock while recording."""
    jump, begun = rng.uniform(0.0, 0.05), REAL()
    drift = rng.uniform(0.5, 1.5)
    return {
        "an hour forward": lambda: REAL() + (HOUR if REAL() - begun > jump else 0.0),
        "an hour back": lambda: REAL() - (HOUR if REAL() - begun > jump else 0.0),
        "always backwards": lambda: begun - (REAL() - begun),
        "a leap second": lambda: REAL() - (1.0 if REAL() - begun > jump else 0.0),
        "frozen": lambda: begun,
        "drifting": lambda: begun + drift * (REAL() - begun),
    }


def some_order(messages: list[Message], rng: random.Random) -> list[Message]:
    """As a graph may bring them: none more than 100 ms of simulation time late."""
    return sorted(messages, key=lambda m: m.stamp_ns + rng.uniform(0, 95 * MS))


def simulated(rng: random.Random) -> dict[str, tuple[list[list[Message]], set[int]]]:
    """Name → what comes, by sessions that it should make; and the ticks that each lacks."""
    first, second = rng.choice(range(500, 1600, 100)) * MS, rng.choice(range(700, 1600, 100)) * MS
    one, two = some_order(flight(max(first, 600 * MS)), rng), some_order(flight(second), rng)
    whole = some_order(flight(END), rng)
    gap = [m for m in whole if not 700 * MS < m.stamp_ns < 1300 * MS]
    return {
        "a reset": ([one, two], set()),
        "two resets": ([one, two, some_order(flight(END), rng)], set()),
        "a pause": ([whole], set()),
        "twenty times as fast": ([whole], set()),
        "stands still": ([[*whole, *whole[-30:], *whole[-30:]]], set()),
        "a jump forward": ([gap], {2}),
    }


SCENARIOS = [*wall_clocks(random.Random(0)), *simulated(random.Random(0))]  # noqa: S311


def play(root: Path, scenario: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)  # noqa: S311
    parts, lacking = simulated(rng).get(scenario, ([some_order(flight(END), rng)], set()))
    if scenario in wall_clocks(rng):
        monkeypatch.setattr(time, "time", wall_clocks(rng)[scenario])
    log, sessions = Log(), Plane(root)
    pipeline = Pipeline(
        VEHICLE, channels(), Timing(500 * MS, 50 * MS), Assembler(small_rig(), sessions.ground), sessions, log,
        queue_frames=100,
    )  # fmt: skip
    for part in parts:
        for n, message in enumerate(part):
            if scenario == "a pause" and n == len(part) // 2:
                time.sleep(0.05)
            pipeline.put(message)
    pipeline.close()
    monkeypatch.undo()
    found = [Session.open(p) for p in sorted(list_sessions(root))]
    assert len(found) == len(parts) == pipeline.tally.sessions, log.text
    for session, part in zip(found, parts, strict=True):
        last = max(m.stamp_ns for m in part) // (500 * MS)
        # Of a session that a reset ends the last frames may lack what was on its way.
        expected = [i for i in range(last + 1) if i not in lacking]
        assert session.frame_indices == expected[: len(session.frame_indices)], log.text
        assert len(session.frame_indices) >= len(expected) - (part is not parts[-1])
        assert session.meta.frames == len(session.frame_indices)
        stamps = [session.pose(i).stamp_ns for i in session.frame_indices]
        assert stamps == [i * 500 * MS for i in session.frame_indices]  # stamps only rise, and are the simulation's
        for i in session.frame_indices:
            assert session.damage(i) == []
            place = session.pose(i).pose.position[:2]
            assert np.allclose(place, SPEED * i * 0.5 * np.array([np.cos(0.5), np.sin(0.5)]), atol=1e-9)
        assert session.meta.start_time == "2024-01-15T12:00:00Z"
    assert log.text.count("time jumped back") == len(parts) - 1, log.text
    assert pipeline.tally.dropped >= len(lacking)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_clocks_that_jump(tmp_path, monkeypatch, scenario):
    play(tmp_path, scenario, 1, monkeypatch)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_clocks_that_jump_in_every_order(tmp_path, monkeypatch, scenario, seed):
    play(tmp_path, scenario, 100 + seed, monkeypatch)
