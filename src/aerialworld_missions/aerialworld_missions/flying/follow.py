"""A plan's motion streamed as setpoints in GUIDED: position, velocity, acceleration and yaw, at a rate of the vehicle's
own time.

The plan's time runs with the vehicle's as long as the vehicle keeps up: a setpoint follows each place that the vehicle
tells, and is for that moment, so that neither a speed-up nor a busy machine moves it off the path. In between the
autopilot moves it on by itself. It sets out from rest, slows down when the vehicle falls behind, and waits when it is
far: after a lost link the motion goes on where it was, and wind or a limit of the vehicle's stretches the plan instead
of cutting its corners.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from aerialworld_core.earth import heading_of, ned_of
from aerialworld_core.frames import Array, rotation_from_quaternion
from aerialworld_core.mavlink.words import Frame
from aerialworld_core.plan import Plan
from aerialworld_missions.flying.site import Site
from aerialworld_missions.flying.vehicle import LOOK, Vehicle

#: Seconds between the samples of the plan that are kept.
SAMPLE = 0.05
#: How far behind, metres, the vehicle may be before the plan's time slows down, and before it stands.
NEAR, FAR = 3.0, 6.0
#: The pace of the plan's time grows by so much each second, at most.
SETTING_OUT = 0.4
#: Vehicle seconds that one step of the plan's time covers at most: an autopilot lets a setpoint move on for 3 s
#: (GUID_TIMEOUT), and what a lost link took beyond that is not made up for.
LONGEST_STEP = 2.0
#: A vehicle that follows a moving setpoint flies a curve too wide, by its acceleration to the side times so many s²: as
#: a guess, as the most that is believed, and how fast it is learned from the distance to the path (1/s).
WIDE, WIDEST, GAIN = 0.5, 2.0, 0.25
#: Acceleration to the side, m/s², below which nothing is learned, seconds between setpoints above which nothing is, and
#: the setpoints' farthest offset, metres.
STRAIGHT, STALLED, MOST_OFFSET = 0.3, 0.3, 3.0
#: Seconds of the plan behind and ahead of its time in which the vehicle's nearest point of the path is sought.
BEHIND, AHEAD = 3.0, 1.0
#: Acceleration, m/s², above which the plan is flown slower (WPNAV_ACCEL allows 2.5), and for how many seconds
#: ahead it is looked for.
HARDEST, FORESEEN = 1.5, 2.0
#: Deceleration, m/s², at which it comes to rest at the plan's end, and the speed, m/s, of the last stretch.
BRAKING, CREEP = 1.0, 0.3
#: Share of the time between two setpoints by which one may come early, so that a stream of the same rate is met.
EARLY = 0.2
#: Seconds by which the vehicle's places in its own plane and on earth may be apart to be taken for one.
PAIRED = 0.5
#: Bits of a setpoint's type_mask: take all but the yaw rate; only position and yaw.
IGNORE_YAW_RATE = 0x800
IGNORE_MOTION = 0x038 | 0x1C0


@dataclass(frozen=True, eq=False)
class Track:
    """A plan as samples `SAMPLE` seconds apart: position, velocity, acceleration (N, 3) in map, yaw (N,) unwrapped."""

    position: Array
    velocity: Array
    acceleration: Array
    yaw: Array

    @classmethod
    def of(cls, plan: Plan) -> Track:
        motion = plan.trajectory().sample(np.arange(0.0, plan.duration, SAMPLE))
        forward = np.array([rotation_from_quaternion(q)[:2, 0] for q in motion.orientation])
        yaw = np.unwrap(np.arctan2(forward[:, 1], forward[:, 0]))
        return cls(motion.position, motion.linear_velocity, motion.linear_acceleration, yaw)

    @property
    def duration(self) -> float:
        return SAMPLE * (len(self.yaw) - 1)

    def off(self, t: float, position: Array) -> float:
        """How far to the left of the path a position (3,) is, by the path's nearest point on the map around `t`."""
        first = max(int((t - BEHIND) / SAMPLE), 0)
        near = self.position[first : int((t + AHEAD) / SAMPLE) + 2]
        k = first + int(np.argmin(((near[:, :2] - position[:2]) ** 2).sum(axis=1)))
        return float((position - self.position[k]) @ left_of(self.velocity[k]))

    @cached_property
    def left(self) -> Array:
        """Metres of path from each sample to the end (N,)."""
        steps = np.linalg.norm(np.diff(self.position, axis=0), axis=1)
        return np.append(np.cumsum(steps[::-1])[::-1], 0.0)

    def pace_allowed(self, t: float) -> float:
        """How fast the plan's time may run so that the accelerations soon after `t` can be followed, and so that the
        vehicle comes to rest at the end, however fast the plan ends there: 0 … 1."""
        k = min(int(t / SAMPLE), len(self.yaw) - 1)
        coming = self.acceleration[k : k + int(FORESEEN / SAMPLE) + 1, :2]
        hardest = float(np.sqrt((coming**2).sum(axis=1).max()))
        turning = float(np.sqrt(HARDEST / hardest)) if hardest > 0 else 1.0
        speed = float(np.linalg.norm(self.velocity[k]))
        left = max(float(self.left[k]) - speed * (t - k * SAMPLE), 0.0)
        stopping = max(float(np.sqrt(2.0 * BRAKING * left)), CREEP) / speed if speed > CREEP else 1.0
        return min(1.0, turning, stopping)

    def at(self, t: float) -> tuple[Array, Array, Array, float]:
        """Position, velocity, acceleration and yaw at a time of the plan."""
        place = min(max(t / SAMPLE, 0.0), len(self.yaw) - 1.0)
        k = min(int(place), len(self.yaw) - 2)
        u = place - k
        return (
            (1 - u) * self.position[k] + u * self.position[k + 1],
            (1 - u) * self.velocity[k] + u * self.velocity[k + 1],
            (1 - u) * self.acceleration[k] + u * self.acceleration[k + 1],
            float((1 - u) * self.yaw[k] + u * self.yaw[k + 1]),
        )


def left_of(velocity: Array) -> Array:
    """The level unit vector (3,) to the left of a velocity; zero where nothing moves on the map."""
    speed = float(np.hypot(velocity[0], velocity[1]))
    return np.array([-velocity[1], velocity[0], 0.0]) / speed if speed > 0.1 else np.zeros(3)


def send_setpoint(
    vehicle: Vehicle,
    site: Site,
    position: Array,
    yaw: float,
    velocity: Array | None = None,
    acceleration: Array | None = None,
) -> None:
    """One setpoint in map: a place with a yaw, and how it moves on, if it does.

    It is given in the vehicle's own plane, from where the vehicle is in both: ArduCopter takes an acceleration there
    alone, and so moves the place along a curve until the next setpoint comes, however late that is.
    """
    state = vehicle.state
    with vehicle.station.changed:
        local, here = state.local, vehicle.position(site)
        later = 0.0 if local is None else (state.place_ms - local.boot_ms) * 1e-3
    north, east, down = ned_of(velocity if velocity is not None else np.zeros(3))
    a_north, a_east, a_down = ned_of(acceleration if acceleration is not None else np.zeros(3))
    fields = {
        "time_boot_ms": 0,
        "type_mask": IGNORE_YAW_RATE | (IGNORE_MOTION if velocity is None else 0),
        "vx": north, "vy": east, "vz": down, "afx": a_north, "afy": a_east, "afz": a_down,
        "yaw": heading_of(yaw), "yaw_rate": 0.0,
    }  # fmt: skip
    if local is not None and abs(later) < PAIRED:
        x, y, z = ned_of(local.position + local.velocity * later + (position - here))
        frame = int(Frame.LOCAL_NED)
        vehicle.send("set_position_target_local_ned", coordinate_frame=frame, x=x, y=y, z=z, **fields)
        return
    lat, lon = site.lat_lon(position)
    vehicle.send(
        "set_position_target_global_int",
        coordinate_frame=int(Frame.GLOBAL_RELATIVE_ALT_INT),
        lat_int=lat,
        lon_int=lon,
        alt=site.above_home(position[2]),
        **fields,
    )


class Follower:
    """Streams a track; `time` is how far it has come. It may be left and taken up again."""

    def __init__(self, vehicle: Vehicle, site: Site, track: Track, rate: float = 10.0) -> None:
        self._vehicle, self._site, self._track, self._rate = vehicle, site, track, rate
        self.time = 0.0
        self._pace = 0.0
        self._wide = WIDE

    @property
    def share(self) -> float:
        """How much of the track is behind it, 0 … 1."""
        return min(self.time / self._track.duration, 1.0)

    def run(self, report: Callable[[float], None]) -> None:
        """Until the track's end, where the last setpoint stands still. Raises what the vehicle's guard raises."""
        vehicle, clock = self._vehicle, self._vehicle.state.clock
        before, self._pace = clock.now, 0.0
        while self.time < self._track.duration:
            with vehicle.station.changed:
                vehicle.check()
                passed = clock.now - before
                if passed * self._rate < 1.0 - EARLY:
                    vehicle.station.changed.wait(LOOK)
                    continue
                before = clock.now
                self._step(min(passed, LONGEST_STEP))
            report(self.share)
        position, _, _, yaw = self._track.at(self._track.duration)
        send_setpoint(vehicle, self._site, position, yaw)

    def _step(self, seconds: float) -> None:
        here = self._vehicle.position(self._site)
        coming, _, _, _ = self._track.at(self.time + self._pace * seconds)
        behind = float(np.linalg.norm(here - coming))
        allowed = min(max((FAR - behind) / (FAR - NEAR), 0.0), 1.0)
        keeps_up = allowed == 1.0
        self._pace = min(allowed, self._track.pace_allowed(self.time), self._pace + SETTING_OUT * seconds)
        self.time += self._pace * seconds
        position, velocity, acceleration, yaw = self._track.at(self.time)
        left = left_of(velocity)
        sideways = float(acceleration @ left) * self._pace**2
        if keeps_up and seconds < STALLED and abs(sideways) > STRAIGHT:
            learned = self._wide - GAIN * seconds * self._track.off(self.time, here) / sideways
            self._wide = min(max(learned, 0.0), WIDEST)
        position = position + left * min(max(self._wide * sideways, -MOST_OFFSET), MOST_OFFSET)
        send_setpoint(self._vehicle, self._site, position, yaw, velocity * self._pace, acceleration * self._pace**2)
