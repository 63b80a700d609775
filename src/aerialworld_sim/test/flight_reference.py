"""Recorded flights of ArduCopter and Rover as arrays in map, and how far a flight of ours lies from them."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest

from aerialworld_core.frames import rpy_from_rotation

FOLDER = Path(os.environ.get("AERIALWORLD_SHARED", Path(__file__).parents[4] / "shared")) / "reference" / "ardupilot"
needs_recordings = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"no recorded ArduPilot runs below {FOLDER}: set AERIALWORLD_SHARED"
)
STEP = 20_000_000

#: The recorded surveys: 100 m lines, 15 m apart, east and north of home.
SURVEY = [
    np.array([side * 50.0, -50.0 + 15.0 * line, 0.0])
    for line in range(7)
    for side in ((-1.0, 1.0) if line % 2 == 0 else (1.0, -1.0))
]


class Recording:
    """t (N,) s of vehicle time; position, velocity (N, 3) in map; roll, pitch, yaw (N,) as REP-103 counts them."""

    def __init__(self, name: str) -> None:
        with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as data:
            place, attitude = data["LOCAL_POSITION_NED"], data["ATTITUDE"]
        self.t = place[:, 2] * 1e-3
        self.position = place[:, [4, 3, 5]] * [1, 1, -1]
        self.velocity = place[:, [7, 6, 8]] * [1, 1, -1]
        at = attitude[:, 2] * 1e-3
        self.roll = np.interp(self.t, at, attitude[:, 3])
        self.pitch = -np.interp(self.t, at, attitude[:, 4])
        self.yaw = math.pi / 2 - np.interp(self.t, at, np.unwrap(attitude[:, 5]))

    def between(self, begin: float, end: float) -> np.ndarray:
        return np.flatnonzero((self.t >= begin) & (self.t <= end))


class Flight:
    """What a vehicle does while it is commanded; times are the recording's."""

    def __init__(self, vehicle, begin: float) -> None:
        self.vehicle, self.begin = vehicle, begin
        self.events: list[float] = []
        self._rows: list[list[float]] = []
        self._log = np.empty((0, 10))

    @property
    def now(self) -> float:
        return self.begin + self.vehicle.state.stamp_ns * 1e-9

    def until(self, done, limit: float = 120.0) -> float:
        end = self.now + limit
        while self.now < end:
            s = self.vehicle.step(STEP)
            self._rows.append(
                [self.now, *s.pose.position, *s.linear_velocity, *rpy_from_rotation(s.pose.rotation)]
            )  # fmt: skip
            if done():
                self.events.append(self.now)
                return self.now
        raise AssertionError(f"not arrived within {limit} s")

    def wait(self, seconds: float) -> None:
        end = self.now + seconds - 1e-6
        self.until(lambda: self.now >= end, seconds + 1)

    @property
    def log(self) -> np.ndarray:
        """(N, 10): t, position, velocity, roll, pitch, yaw."""
        if len(self._log) != len(self._rows):
            self._log = np.array(self._rows)
        return self._log.copy()

    def at(self, t: np.ndarray) -> np.ndarray:
        """(N, 9) of `log` without its time, at times `t`."""
        log = self.log
        log[:, 9] = np.unwrap(log[:, 9])
        return np.stack([np.interp(t, log[:, 0], column) for column in log.T[1:]], axis=1)


def distances(recording: Recording, flight: Flight, begin: float, end: float, later: float = 0.0) -> np.ndarray:
    """Metres between recording and flight from `begin` to `end`; the flight is `later` seconds behind."""
    rows = recording.between(begin, end)
    ours = flight.at(recording.t[rows] + later)[:, :3]
    base = flight.log[0, 3] if flight.vehicle.kind == "rover" else flight.vehicle.parameters.stand
    return np.linalg.norm(ours - [0, 0, base] - recording.position[rows], axis=1)


def aligned(recording: Recording, flight: Flight, begin: float, end: float, later: float = 0.0) -> np.ndarray:
    """As `distances`, with that delay within 0.6 s of `later` for which the two lie nearest to each other."""
    delays = later + np.arange(-0.6, 0.61, 0.05)
    return min((distances(recording, flight, begin, end, delay) for delay in delays), key=lambda off: off.mean())
