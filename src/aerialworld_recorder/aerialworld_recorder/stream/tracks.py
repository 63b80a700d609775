"""What is between ticks: poses from odometry on both sides of a tick, and the IMU's samples up to it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.frames import Array, Pose
from aerialworld_core.sensing import VehicleState
from aerialworld_recorder.stream.messages import ContentError, Imu, Odometry

#: Where velocities come from: the messages' twist, or the positions on both sides (where the source smooths its twist).
TWIST, POSITIONS = VELOCITIES = ("twist", "positions")
#: Metres from map's origin beyond which a position is taken for nonsense; how far a quaternion's length may be from 1.
FARTHEST, NORM_SLACK = 1e7, 1e-2


class PoseTrack:
    """Odometry in the order of its stamps, whatever order it comes in; a stamp that comes again is not taken again."""

    def __init__(self, velocity: str = TWIST, max_gap_ns: int = 200_000_000) -> None:
        self._stamps: list[int] = []
        self._values: dict[int, Odometry] = {}
        self._by_positions, self._max_gap = velocity == POSITIONS, max_gap_ns

    def add(self, stamp_ns: int, odometry: Odometry) -> bool:
        """Whether it was new. Raises ContentError for numbers that are no pose."""
        values = (*odometry.position, *odometry.orientation, *odometry.linear, *odometry.angular)
        if not np.isfinite(values).all() or np.abs(odometry.position).max() > FARTHEST:
            raise ContentError(f"a pose of {odometry.position}, {odometry.orientation}; its numbers must be finite")
        length = float(np.linalg.norm(odometry.orientation))
        if abs(length - 1.0) > NORM_SLACK:
            raise ContentError(f"an orientation {odometry.orientation} of length {length:.3g}; it must be 1")
        if stamp_ns in self._values:
            return False
        insort(self._stamps, stamp_ns)
        self._values[stamp_ns] = odometry
        return True

    def covers(self, stamp_ns: int) -> bool:
        """Whether what is needed of later messages for the state at a stamp is there."""
        if not self._stamps:
            return False
        return self._stamps[-1] > stamp_ns if self._by_positions else self._stamps[-1] >= stamp_ns

    def at(self, stamp_ns: int) -> VehicleState | None:
        """The state at a stamp: as said, where a message has this stamp, else between its neighbours (positions and
        velocities linearly, orientations by slerp). None where there is none on one side, or too long a gap."""
        i = bisect_left(self._stamps, stamp_ns)
        exact = i < len(self._stamps) and self._stamps[i] == stamp_ns
        if exact:
            before = after = self._stamps[i]
        elif 0 < i < len(self._stamps) and self._stamps[i] - self._stamps[i - 1] <= self._max_gap:
            before, after = self._stamps[i - 1], self._stamps[i]
        else:
            return None
        share = 0.0 if exact else (stamp_ns - before) / (after - before)
        a, b = self._values[before], self._values[after]
        position = (1 - share) * np.array(a.position) + share * np.array(b.position)
        pose = Pose(position, slerp(np.array(a.orientation), np.array(b.orientation), share))
        if self._by_positions:
            linear = self._slope(i - 1, i + 1) if exact else self._slope(i - 1, i)
            if linear is None:
                return None
        else:
            linear = (1 - share) * _in_map(a) + share * _in_map(b)
        angular = (1 - share) * np.array(a.angular) + share * np.array(b.angular)
        return VehicleState(stamp_ns, pose, linear, angular)

    def _slope(self, i: int, j: int) -> Array | None:
        """Velocity (3,) from the i-th to the j-th position; at the track's ends, from what there is."""
        i, j = max(i, 0), min(j, len(self._stamps) - 1)
        span = self._stamps[j] - self._stamps[i]
        if span == 0 or span > 2 * self._max_gap:
            return None
        a, b = (np.array(self._values[self._stamps[n]].position) for n in (i, j))
        slope: Array = (b - a) / (span * 1e-9)
        return slope

    def forget_before(self, stamp_ns: int) -> None:
        """Let go of what no tick from `stamp_ns` on needs."""
        keep = max(bisect_left(self._stamps, stamp_ns) - 2, 0)
        for stamp in self._stamps[:keep]:
            del self._values[stamp]
        del self._stamps[:keep]


def _in_map(odometry: Odometry) -> Array:
    """The twist's linear part (3,), which is in the child frame, turned to the parent's axes."""
    return Pose(np.zeros(3), np.array(odometry.orientation)).rotation @ np.array(odometry.linear)


def slerp(a: Array, b: Array, share: float) -> Array:
    """The rotation at `share` of the way from a to b, the short way round (Shoemake, 1985); quaternions x, y, z, w."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    dot = float(a @ b)
    if dot < 0.0:
        b, dot = -b, -dot
    if share == 0.0:
        return a
    # The angle by its sine and cosine: the arc cosine alone loses half the digits of small turns.
    angle = float(np.arctan2(np.linalg.norm(b - dot * a), dot))
    if angle < 1e-9:
        return a
    return (np.sin((1 - share) * angle) * a + np.sin(share * angle) * b) / np.sin(angle)


class ImuTrack:
    """The IMU's samples in the order of their stamps."""

    def __init__(self) -> None:
        self._stamps: list[int] = []
        self._values: dict[int, Imu] = {}

    def add(self, stamp_ns: int, sample: Imu) -> bool:
        """Whether it was new. Raises ContentError for numbers that are not finite."""
        if not np.isfinite((*sample.gyro, *sample.accel)).all():
            raise ContentError(f"a sample of {sample.gyro}, {sample.accel}; its numbers must be finite")
        if stamp_ns in self._values:
            return False
        insort(self._stamps, stamp_ns)
        self._values[stamp_ns] = sample
        return True

    def covers(self, stamp_ns: int) -> bool:
        """Whether the samples up to a stamp are there: one at it or after it is."""
        return bool(self._stamps) and self._stamps[-1] >= stamp_ns

    def is_whole(self, after_ns: int, until_ns: int, spacing_ns: int) -> bool:
        """Whether no two neighbours from the last sample up to after_ns to the first from until_ns on are farther apart
        than `spacing_ns`: nothing is lost, or still under way."""
        first = max(bisect_right(self._stamps, after_ns) - 1, 0)
        stamps = self._stamps[first : bisect_left(self._stamps, until_ns) + 1]
        return all(b - a <= spacing_ns for a, b in pairwise(stamps))

    def between(self, after_ns: int, until_ns: int) -> NDArray[np.float64] | None:
        """Samples (K, 7) with after_ns < stamp ≤ until_ns: t [s], gyro, accel; None where there are none."""
        stamps = self._stamps[bisect_right(self._stamps, after_ns) : bisect_right(self._stamps, until_ns)]
        if not stamps:
            return None
        return np.array([(s * 1e-9, *self._values[s].gyro, *self._values[s].accel) for s in stamps])

    def forget_before(self, stamp_ns: int) -> None:
        """Let go of samples up to `stamp_ns`, but for the last."""
        keep = min(bisect_right(self._stamps, stamp_ns), max(len(self._stamps) - 1, 0))
        for stamp in self._stamps[:keep]:
            del self._values[stamp]
        del self._stamps[:keep]
