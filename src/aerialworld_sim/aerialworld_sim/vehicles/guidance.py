"""From a goal to where a multirotor should be now: position, velocity, acceleration and heading, tick by tick."""

from __future__ import annotations

import math

from aerialworld_sim.vehicles.goals import vector, wrap
from aerialworld_sim.vehicles.interface import Circle, Goal, GoTo, Land, Leg, TakeOff, Track, Velocity
from aerialworld_sim.vehicles.legs import LegFollower, same
from aerialworld_sim.vehicles.moments import TICK, Moment
from aerialworld_sim.vehicles.parameters import MultirotorParameters, Vector
from aerialworld_sim.vehicles.shaping import Shaped, root_speed

#: Below this share of the goal's speed the heading stays as it is.
_SLOW = 0.05
#: Acceleration of a circle's angle, at least, rad/s² (2°/s², as AC_Circle).
_LEAST_ANGULAR = math.radians(2.0)


class MultirotorGuidance:
    """Leads a target point. `point` is the target; `heading` and `heading_rate` are shaped within the yaw's limits."""

    def __init__(self, parameters: MultirotorParameters) -> None:
        self._p = parameters
        self.point = Shaped()
        self._legs = LegFollower(parameters.leg_limits, parameters.radius)
        self._wanted_heading = 0.0
        self.heading = 0.0
        self.heading_rate = 0.0
        self._angle = 0.0
        self._angle_rate = 0.0
        #: Angle that the present circle's target has covered, radians, counter-clockwise positive.
        self.circled = 0.0
        self._track: Vector = (0.0, 0.0, 0.0)

    def place(self, moment: Moment, heading: float) -> None:
        """Begin anew where the vehicle is."""
        self.point.place(moment.position, moment.velocity)
        self._legs.leave()
        self.heading = self._wanted_heading = heading
        self.heading_rate = 0.0

    def take_up(self, goal: Goal, before: Goal | None, moment: Moment) -> bool:
        """A new goal; the target goes on from where it is, but for a first leg, at whose start it begins (True)."""
        if isinstance(goal, Leg):
            return self._take_leg(goal, before, moment)
        self._legs.leave()
        if isinstance(goal, Circle) and not (
            isinstance(before, Circle) and same(vector(goal.centre), vector(before.centre))
        ):
            x, y, _ = vector(goal.centre)
            self._angle = math.atan2(self.point.y - y, self.point.x - x)
            if math.hypot(self.point.y - y, self.point.x - x) < 1e-3:
                self._angle = wrap(self.heading + math.pi)
            self._angle_rate = self.circled = 0.0
        if isinstance(goal, Track):
            self._track = vector(goal.position)
        return False

    def _take_leg(self, goal: Leg, before: Goal | None, moment: Moment) -> bool:
        end = vector(goal.end)
        following = None if goal.following is None else vector(goal.following)
        if isinstance(before, Leg) and self._legs.take_up(
            vector(goal.start), end, following, goal.speed, goal.radius, (vector(before.start), vector(before.end))
        ):
            return False
        start = self.stopping_point(moment)
        if isinstance(before, TakeOff):
            start = self.point.x, self.point.y, before.altitude
        self._legs.begin(start, end, following, goal.speed, goal.radius)
        return not isinstance(before, Leg)

    def stopping_point(self, moment: Moment) -> Vector:
        """Where the vehicle comes to rest within its limits."""
        p = self._p
        x, y, z = self.point.x, self.point.y, self.point.z
        vx, vy, vz = moment.velocity
        speed = math.hypot(vx, vy)
        if speed > 0.1:
            way = _stopping_distance(speed, p.position_gain, p.acceleration)
            x, y = moment.position[0] + way * vx / speed, moment.position[1] + way * vy / speed
        if abs(vz) > 0.1:
            z = moment.position[2] + math.copysign(
                _stopping_distance(abs(vz), p.height_gain, p.vertical_acceleration), vz
            )
        return x, y, z

    @property
    def leg_passed(self) -> bool:
        return self._legs.passed

    def advance(self, goal: Goal, moment: Moment, ground: float) -> None:
        """Move the target on by one tick. `ground` is the height of what lies below."""
        point, p = self.point, self._p
        if isinstance(goal, Leg):
            self._advance_leg(moment)
            self._turn(goal.yaw, None, _SLOW * goal.speed)
            return
        if isinstance(goal, GoTo):
            x, y, z = vector(goal.position)
            self._level_to(x, y, 0.0, 0.0, goal.speed)
            up, down = goal.climb_speed or p.climb_speed, goal.descent_speed or p.descent_speed
            point.height_to(z, 0.0, up, down, p.vertical_acceleration, p.jerk, TICK)
            self._turn(goal.yaw, None, _SLOW * goal.speed)
        elif isinstance(goal, Velocity):
            vx, vy, vz = vector(goal.velocity)
            point.level_velocity(vx, vy, p.acceleration, p.jerk, TICK)
            self._climb_at(vz)
            self._turn(goal.yaw, goal.yaw_rate, 0.5)
        elif isinstance(goal, Track):
            self._advance_track(goal)
        elif isinstance(goal, Circle):
            self._advance_circle(goal)
        elif isinstance(goal, Land):
            point.level_velocity(0.0, 0.0, p.acceleration, p.jerk, TICK)
            self._climb_at(-self._landing_speed(goal, moment.position[2] - ground))
            self._turn(None, 0.0, 0.0)
        elif isinstance(goal, TakeOff):
            point.level_velocity(0.0, 0.0, p.acceleration, p.jerk, TICK)
            point.height_to(
                goal.altitude, 0.0, p.climb_speed, p.descent_speed, p.vertical_acceleration, p.jerk, TICK
            )  # fmt: skip
            self._turn(None, 0.0, 0.0)
        else:
            # Brake; and what is told to idle or to switch off while it flies holds its place.
            point.level_velocity(0.0, 0.0, p.brake_acceleration, p.jerk, TICK)
            self._climb_at(0.0)
            self._turn(None, 0.0, 0.0)

    def pull(self, moment: Moment, speed: float, touching: bool) -> None:
        """Keep the target within reach of a vehicle that cannot follow, so that nothing winds up."""
        p = self._p
        farthest = speed * speed / (2.0 * p.acceleration) + p.acceleration / (2.0 * p.position_gain**2) + 1.0
        dx, dy = self.point.x - moment.position[0], self.point.y - moment.position[1]
        distance = math.hypot(dx, dy)
        if distance > farthest:
            self.point.x = moment.position[0] + dx * farthest / distance
            self.point.y = moment.position[1] + dy * farthest / distance
        if touching:
            # Nothing leads below the ground that it stands on.
            self.point.z = max(self.point.z, moment.position[2] - 0.05)
            self.point.vz, self.point.az = max(self.point.vz, -0.3), max(self.point.az, 0.0)
        height = p.climb_speed**2 / (2.0 * p.vertical_acceleration) + 1.0
        self.point.z = min(max(self.point.z, moment.position[2] - height), moment.position[2] + height)

    def _level_to(self, x: float, y: float, vx: float, vy: float, speed: float) -> None:
        self.point.level_to(x, y, vx, vy, speed, self._p.acceleration, self._p.jerk, TICK)

    def _climb_at(self, vz: float) -> None:
        p = self._p
        vz = min(max(vz, -max(p.descent_speed, p.climb_speed)), p.climb_speed)
        self.point.height_velocity(vz, p.vertical_acceleration, p.jerk, TICK)

    def _advance_leg(self, moment: Moment) -> None:
        point = self.point
        now = (point.x, point.y, point.z), (point.vx, point.vy, point.vz), (point.ax, point.ay, point.az)
        self._legs.advance(TICK, now, moment.position, moment.velocity)
        position, velocity, acceleration = self._legs.target()
        point.x, point.y, point.z = position
        point.vx, point.vy, point.vz = velocity
        point.ax, point.ay, point.az = acceleration

    def _advance_track(self, goal: Track) -> None:
        p = self._p
        x, y, z = self._track
        vx, vy, vz = vector(goal.velocity)
        self._track = x, y, z = x + vx * TICK, y + vy * TICK, z + vz * TICK
        self._level_to(x, y, vx, vy, p.speed)
        self.point.height_to(z, vz, p.climb_speed, p.descent_speed, p.vertical_acceleration, p.jerk, TICK)
        self._turn(goal.yaw, goal.yaw_rate, 0.5)

    def _advance_circle(self, goal: Circle) -> None:
        p = self._p
        x, y, z = vector(goal.centre)
        radius = max(goal.radius, 0.0)
        rate, gain = goal.rate, math.radians(20.0)
        if radius > 0:
            # No more than half of the acceleration may go into the circle, as AC_Circle limits it.
            most = min(p.speed, math.sqrt(0.5 * p.acceleration * radius)) / radius
            rate = min(max(rate, -most), most)
            gain = max(p.acceleration / radius, _LEAST_ANGULAR)
        self._angle_rate += min(max(rate - self._angle_rate, -gain * TICK), gain * TICK)
        self.circled += self._angle_rate * TICK
        self._angle = wrap(self._angle + self._angle_rate * TICK)
        self._level_to(x + radius * math.cos(self._angle), y + radius * math.sin(self._angle), 0.0, 0.0, p.speed)
        self.point.height_to(z, 0.0, p.climb_speed, p.descent_speed, p.vertical_acceleration, p.jerk, TICK)
        inward = math.atan2(y - self.point.y, x - self.point.x) if radius > 0 else wrap(self._angle + math.pi)
        self._turn(inward, None, 0.0)

    def _landing_speed(self, goal: Land, height: float) -> float:
        above = height - goal.slow_below
        fast = root_speed(above, self._p.height_gain, self._p.vertical_acceleration) if above > 0 else 0.0
        return min(max(fast, goal.slow_speed), goal.speed)

    def _turn(self, yaw: float | None, yaw_rate: float | None, slow: float) -> None:
        """Shape the heading: to `yaw`, at `yaw_rate`, or along the target's way where it is faster than `slow`."""
        p, point = self._p, self.point
        feed = 0.0
        if yaw is not None:
            self._wanted_heading = yaw
        elif yaw_rate is not None:
            feed = min(max(yaw_rate, -p.yaw_rate), p.yaw_rate)
            self._wanted_heading = wrap(self._wanted_heading + feed * TICK) if feed else self._wanted_heading
        else:
            speed2 = point.vx * point.vx + point.vy * point.vy
            if speed2 > slow * slow and speed2 > 1e-6:
                self._wanted_heading = math.atan2(point.vy, point.vx)
                feed = (point.vx * point.ay - point.vy * point.ax) / speed2
        error = wrap(self._wanted_heading - self.heading)
        gain = p.attitude_gain
        want = feed + math.copysign(root_speed(abs(error), gain, 0.5 * p.yaw_acceleration), error)
        want = min(max(want, -p.yaw_rate), p.yaw_rate)
        step = p.yaw_acceleration * TICK
        self.heading_rate += min(max(want - self.heading_rate, -step), step)
        self.heading = wrap(self.heading + self.heading_rate * TICK)


def _stopping_distance(speed: float, gain: float, acceleration: float) -> float:
    """From `speed` to rest under `root_speed`."""
    linear = acceleration / gain
    if speed < linear:
        return speed / gain
    return acceleration / (2.0 * gain * gain) + speed * speed / (2.0 * acceleration)
