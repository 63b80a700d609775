"""From a goal to what a rover is to do now: a wanted forward speed and a wanted turn rate, tick by tick."""

from __future__ import annotations

import math

from aerialworld_sim.vehicles.goals import vector, wrap
from aerialworld_sim.vehicles.interface import Circle, Goal, GoTo, Leg, Track, Velocity
from aerialworld_sim.vehicles.legs import LegFollower, Target, same
from aerialworld_sim.vehicles.moments import TICK, Moment
from aerialworld_sim.vehicles.parameters import RoverParameters, Vector
from aerialworld_sim.vehicles.shaping import Shaped, root_speed

#: Filter of the velocity error, Hz (PSC_VEL_FLTE).
_FILTER = 1.0 - math.exp(-2.0 * math.pi * 5.0 * TICK)
#: Sideways acceleration, m/s², with which a rover that faces away from its target leaves that balance.
_NUDGE = 0.05
#: Turn rates are wanted as for at least this speed, m/s.
_SLOWEST = 0.5


class RoverGuidance:
    """Leads a target along legs and circles and steers after it as Rover's AR_PosControl does."""

    def __init__(self, parameters: RoverParameters) -> None:
        self._p = parameters
        self._legs = LegFollower(parameters.leg_limits, parameters.radius)
        self._target: Target = ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
        self._shaped = Shaped()
        self._error = [0.0, 0.0]
        self._angle = 0.0
        self._around = 0.0
        self._share = 1.0
        self._on_edge = self._strayed = False
        #: Angle that the present circle's target has covered, radians, counter-clockwise positive.
        self.circled = 0.0
        self._speed = 0.0

    def take_up(self, goal: Goal, before: Goal | None, now: Moment, heading: float, speed: float) -> None:
        """A new goal, for a rover that moves as `now` with `heading` and forward `speed`."""
        if not isinstance(before, Leg | GoTo | Circle | Velocity | Track):
            self._speed = speed
            self._error = [0.0, 0.0]
        if isinstance(goal, Leg | GoTo):
            self._take_leg(goal, before, now.position, now.velocity)
            return
        self._legs.leave()
        if isinstance(goal, Circle) and not (
            isinstance(before, Circle) and same(vector(goal.centre), vector(before.centre))
        ):
            self._begin_circle(goal, now, heading)
        if isinstance(goal, Track):
            self._shaped.place(vector(goal.position), vector(goal.velocity))

    def _take_leg(self, goal: Leg | GoTo, before: Goal | None, position: Vector, velocity: Vector) -> None:
        if isinstance(goal, GoTo):
            end, following, radius = _flat(goal.position), None, self._p.radius
            if isinstance(before, GoTo) and self._legs.begun and same(end, _flat(before.position)):
                self._legs.amend(None, goal.speed, radius)
                return
        else:
            end, radius = _flat(goal.end), goal.radius
            following = None if goal.following is None else _flat(goal.following)
            if isinstance(before, Leg) and self._legs.take_up(
                _flat(goal.start), end, following, goal.speed, radius, (_flat(before.start), _flat(before.end))
            ):
                return
        self._legs.begin(self.stopping_point(position, velocity), end, following, goal.speed, radius)

    def stopping_point(self, position: Vector, velocity: Vector) -> Vector:
        """Where a rover at `position` with `velocity` comes to rest, on the level."""
        speed = math.hypot(velocity[0], velocity[1])
        way = speed / (2.0 * self._p.acceleration)
        return position[0] + way * velocity[0], position[1] + way * velocity[1], 0.0

    @property
    def leg_passed(self) -> bool:
        return self._legs.passed

    def advance(
        self, goal: Goal, position: Vector, velocity: Vector, heading: float, speed: float
    ) -> tuple[float, float]:
        """Wanted forward speed (m/s) and turn rate (rad/s, left positive) at this tick."""
        p = self._p
        if isinstance(goal, Leg | GoTo):
            flat = (position[0], position[1], 0.0)
            self._legs.advance(TICK, self._target, flat, (velocity[0], velocity[1], 0.0))
            self._target = self._legs.target()
            if self._legs.passed and (isinstance(goal, GoTo) or goal.following is None):
                where = _flat(goal.position if isinstance(goal, GoTo) else goal.end)
                if math.dist(where, flat) < 0.5 * p.radius and abs(speed) < 0.3:
                    return self._limited(0.0), 0.0  # a car does not circle to meet a point by centimetres
            return self._follow(position, velocity, heading, goal.speed)
        if isinstance(goal, Circle):
            return self._follow(position, velocity, heading, self._advance_circle(goal, position))
        if isinstance(goal, Track):
            x, y, z = self._shaped.x, self._shaped.y, self._shaped.z
            vx, vy, _ = vector(goal.velocity)
            self._shaped.x, self._shaped.y = x + vx * TICK, y + vy * TICK
            self._target = (x, y, z), (vx, vy, 0.0), (0.0, 0.0, 0.0)
            return self._follow(position, velocity, heading, max(p.speed, math.hypot(vx, vy)))
        if isinstance(goal, Velocity):
            return self._drive_at(goal, heading)
        return self._limited(0.0), 0.0

    def _begin_circle(self, goal: Circle, now: Moment, heading: float) -> None:
        (x, y, _), lead = vector(goal.centre), self._shaped
        east, north = now.position[0] - x, now.position[1] - y
        self._angle = math.atan2(north, east) if math.hypot(east, north) > 0.0 else heading
        self._around = self.circled = 0.0
        self._share = 1.0
        self._on_edge = self._strayed = False
        lead.place((now.position[0], now.position[1], 0.0), (now.velocity[0], now.velocity[1], 0.0))
        lead.ax, lead.ay = now.acceleration[0], now.acceleration[1]

    def _advance_circle(self, goal: Circle, position: Vector) -> float:
        """Move the circle's target on; the speed that it may be followed with. As Rover's CIRCLE: first straight to the
        nearest point of the circle, then around from rest, with half of the acceleration."""
        p = self._p
        x, y, _ = vector(goal.centre)
        radius = max(goal.radius, p.turn_radius)
        most = min(abs(goal.rate) * radius, math.sqrt(p.side_acceleration * radius)) * self._share
        astray = abs(math.hypot(position[0] - x, position[1] - y) - radius)
        if not self._on_edge:
            self._on_edge = astray <= p.turn_radius
            acceleration = min(p.acceleration, p.side_acceleration)
            c, s, lead = math.cos(self._angle), math.sin(self._angle), self._shaped
            lead.level_to(x + radius * c, y + radius * s, 0.0, 0.0, most, acceleration, p.acceleration, TICK)
            self._target = (lead.x, lead.y, 0.0), (lead.vx, lead.vy, 0.0), (lead.ax, lead.ay, 0.0)
            return most
        if astray > 2.0 * p.turn_radius and not self._strayed:
            # Too fast for it: slower, and the target waits beside the rover until it is back.
            self._strayed, self._share = True, 0.8 * self._share
        elif astray < p.turn_radius:
            self._strayed = False
        gain = 0.5 * p.acceleration * TICK
        change = min(max(most - self._around, -gain), gain)
        self._around += change
        turning = math.copysign(1.0, goal.rate)
        if self._strayed:
            self._angle = math.atan2(position[1] - y, position[0] - x)
        else:
            turn = turning * self._around / radius * TICK
            self.circled += turn
            self._angle = wrap(self._angle + turn)
        c, s, v = math.cos(self._angle), math.sin(self._angle), turning * self._around
        inward, ahead = v * v / radius, turning * change / TICK
        self._target = (
            (x + radius * c, y + radius * s, 0.0),
            (-v * s, v * c, 0.0),
            (-inward * c - ahead * s, -inward * s + ahead * c, 0.0),
        )
        return most

    def _follow(self, position: Vector, velocity: Vector, heading: float, most: float) -> tuple[float, float]:
        p = self._p
        (x, y, _), (vx, vy, _), (ax, ay, _) = self._target
        dx, dy = x - position[0], y - position[1]
        distance = math.hypot(dx, dy)
        if distance > 0:
            want = root_speed(distance, p.position_gain, min(p.acceleration, p.side_acceleration)) / distance
            vx, vy = vx + want * dx, vy + want * dy
        size = math.hypot(vx, vy)
        if size > most:
            vx, vy, size = vx * most / size, vy * most / size, most
        self._error[0] += _FILTER * (vx - velocity[0] - self._error[0])
        self._error[1] += _FILTER * (vy - velocity[1] - self._error[1])
        ax, ay = ax + p.velocity_gain * self._error[0], ay + p.velocity_gain * self._error[1]
        c, s = math.cos(heading), math.sin(heading)
        # A car that is to turn needs some speed: what its tightest turn allows with half of the side acceleration.
        least = min(size, math.sqrt(0.5 * p.side_acceleration * p.turn_radius)) if p.steering == "ackermann" else 0.0
        forward, side = vx * c + vy * s, -ax * s + ay * c
        if forward < 0.0 and abs(side) < _NUDGE:
            # Straight away from where it is to go: no side is nearer, and it has to take one.
            side = math.copysign(_NUDGE, side)
        wanted = self._limited(max(least, forward))
        return wanted, self._rate(side, wanted)

    def _rate(self, side: float, speed: float) -> float:
        """The turn rate that gives the sideways acceleration `side` at `speed`, within the limits."""
        p = self._p
        side = min(max(side, -p.side_acceleration), p.side_acceleration)
        rate = side / max(abs(speed), _SLOWEST)
        return min(max(rate, -p.yaw_rate), p.yaw_rate)

    def _drive_at(self, goal: Velocity, heading: float) -> tuple[float, float]:
        p = self._p
        vx, vy, _ = vector(goal.velocity)
        along = vx * math.cos(heading) + vy * math.sin(heading)
        if goal.yaw_rate is not None:
            return self._limited(along), min(max(goal.yaw_rate, -p.yaw_rate), p.yaw_rate)
        moving = math.hypot(vx, vy)
        if goal.yaw is None and moving < 0.05:
            return self._limited(0.0), 0.0
        error = wrap((goal.yaw if goal.yaw is not None else math.atan2(vy, vx)) - heading)
        rate = min(max(p.heading_gain * error, -p.yaw_rate), p.yaw_rate)
        if goal.yaw is None and p.steering == "ackermann":
            # Without a heading of its own it turns towards the way, for which a car has to roll.
            along = max(along, min(moving, math.sqrt(0.5 * p.side_acceleration * p.turn_radius)))
        return self._limited(along), rate

    def _limited(self, speed: float) -> float:
        step = self._p.acceleration * TICK
        self._speed += min(max(speed - self._speed, -step), step)
        return self._speed


def _flat(position: object) -> Vector:
    x, y, _ = vector(position)
    return x, y, 0.0
