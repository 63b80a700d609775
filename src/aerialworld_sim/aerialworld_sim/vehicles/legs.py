"""A mission's legs in one movement: each has its own profile from rest to rest, and in a corner the next one begins
while this one still slows down, so that their sum cuts the corner within the waypoint's radius (as ArduPilot's AC_WPNav
does)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from aerialworld_sim.vehicles.parameters import LegLimits, Vector
from aerialworld_sim.vehicles.profile import Profile

#: Points nearer than this are the same point, metres.
SAME = 0.05
#: A leg's clock may run this much ahead of what the vehicle achieves.
_BUFFER = 0.05

Target = tuple[Vector, Vector, Vector]


def _minus(a: Vector, b: Vector) -> Vector:
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def _norm(a: Vector) -> float:
    return math.sqrt(a[0] * a[0] + a[1] * a[1] + a[2] * a[2])


def same(a: Vector, b: Vector) -> bool:
    return _norm(_minus(a, b)) < SAME


@dataclass(eq=False)
class _Piece:
    """One leg and how much of its time has passed."""

    start: Vector
    end: Vector
    speed: float
    direction: Vector
    profile: Profile
    time: float = 0.0

    @property
    def left(self) -> float:
        return self.profile.duration - self.time

    def advance(self, dt: float) -> None:
        self.time = min(self.time + dt, self.profile.duration)


def _limit(along: float, up: float, level: float, upward: float, downward: float) -> float:
    """A limit along a direction of which `along` is the horizontal and `up` the signed vertical share."""
    limit = level / along if along > 1e-9 else math.inf
    vertical = upward if up > 0 else downward
    return min(limit, vertical / abs(up)) if abs(up) > 1e-9 else limit


class LegFollower:
    """Where the target is along legs. `advance` moves it, `target` says where it is."""

    def __init__(self, limits: LegLimits, radius: float) -> None:
        self._p = limits
        self._before: _Piece | None = None
        self._now: _Piece | None = None
        self._next: _Piece | None = None
        self._radius = radius
        self._pace = 1.0
        self.passed = False

    def _piece(self, start: Vector, end: Vector, speed: float, initial: float = 0.0) -> _Piece:
        delta = _minus(end, start)
        length = _norm(delta)
        p = self._p
        direction = (delta[0] / length, delta[1] / length, delta[2] / length) if length > 0 else (0.0, 0.0, 0.0)
        along = math.hypot(direction[0], direction[1])
        top = _limit(along, direction[2], speed, p.climb_speed, p.descent_speed)
        acceleration = _limit(
            along, direction[2], p.acceleration, p.vertical_acceleration, p.vertical_acceleration
        )  # fmt: skip
        if length <= 0:
            top, acceleration = speed, p.acceleration
        return _Piece(start, end, speed, direction, Profile(length, top, acceleration, p.jerk, p.snap, initial))

    @property
    def begun(self) -> bool:
        """Whether a leg is followed."""
        return self._now is not None

    def leave(self) -> None:
        """Something else than a leg is followed from now on."""
        self._now = None
        self.passed = False

    def take_up(
        self,
        start: Vector,
        end: Vector,
        following: Vector | None,
        speed: float,
        radius: float,
        before: tuple[Vector, Vector],
    ) -> bool:
        """The leg from `start` to `end` after that between the two points `before`: the same one amended, or the next
        one; False where it has to begin anew."""
        if self._now is None:
            return False
        if same(end, before[1]) and same(start, before[0]):
            self.amend(following, speed, radius)
            return True
        return same(start, before[1]) and self.proceed(end, following, speed, radius)

    def begin(self, start: Vector, end: Vector, following: Vector | None, speed: float, radius: float) -> None:
        """A leg after standing (or after anything that is no leg), from `start`."""
        self._before = None
        self._now = self._piece(start, end, speed)
        self._pace = 1.0
        self._follow(following, speed, radius)

    def proceed(self, end: Vector, following: Vector | None, speed: float, radius: float) -> bool:
        """The next leg to `end`, from where the present one ends; False where it does not continue a passed leg."""
        now = self._now
        if now is None or not self.passed:
            return False
        following_piece = self._next
        self._before = now
        if following_piece is not None and same(following_piece.end, end) and following_piece.speed == speed:
            self._now = following_piece
        else:
            self._now = self._piece(now.end, end, speed)
        self._follow(following, speed, radius)
        return True

    def amend(self, following: Vector | None, speed: float, radius: float) -> None:
        """Another speed, radius or following point on the way. With another speed the rest of the leg is planned anew
        from the present one; a corner that has begun is finished as it is."""
        now = self._now
        assert now is not None
        again = speed != now.speed
        if again:
            distance, pace, _ = now.profile.at(now.time)
            (x, y, z), (dx, dy, dz) = now.start, now.direction
            here = x + distance * dx, y + distance * dy, z + distance * dz
            self._now = self._piece(here, now.end, speed, pace)
        begun = self._next is not None and self._next.time > 0.0
        other = (following is None) != (self._next is None) or (
            following is not None and self._next is not None and not same(following, self._next.end)
        )
        if not begun and (again or other):
            passed = self.passed
            self._follow(following, speed, radius)
            self.passed = passed
        self._radius = radius

    def _follow(self, following: Vector | None, speed: float, radius: float) -> None:
        assert self._now is not None
        self._radius = radius
        self.passed = False
        end = self._now.end
        self._next = None if following is None or same(following, end) else self._piece(end, following, speed)

    def advance(self, dt: float, target: Target, position: Vector, velocity: Vector) -> None:
        """Move on by `dt`; the clock slows down where the vehicle at `position` with `velocity` is behind `target`."""
        now, following = self._now, self._next
        assert now is not None
        dt *= self._keep_pace(dt, target, position, velocity)
        if self._before is not None:
            self._before.advance(dt)
        now.advance(dt)
        turning = following is not None and following.time > 0.0
        if following is not None and (turning or self._may_turn(now, following)):
            following.advance(dt)
            turning = True
        if now.left <= 0.0 or (turning and following is not None and following.time >= now.left):
            self.passed = True

    def _keep_pace(self, dt: float, target: Target, position: Vector, velocity: Vector) -> float:
        where, speed, _ = target
        pace = _norm(speed)
        wanted = 1.0
        if pace > 0:
            way = speed[0] / pace, speed[1] / pace, speed[2] / pace
            x, y, z = way
            behind = (where[0] - position[0]) * x + (where[1] - position[1]) * y + (where[2] - position[2]) * z
            moving = velocity[0] * x + velocity[1] * y + velocity[2] * z
            wanted = min(max(_BUFFER + (moving - self._p.position_gain * behind) / pace, 0.0), 1.0)
        self._pace += (wanted - self._pace) * dt * self._p.jerk / self._p.acceleration
        return self._pace

    def _may_turn(self, now: _Piece, following: _Piece) -> bool:
        """Whether the next leg may begin: the middle of the turn keeps radius, speed and acceleration."""
        if now.time < now.profile.decelerates or now.left > following.profile.accelerated:
            return False
        half = 0.5 * now.left
        s0, v0, a0 = now.profile.at(now.time + half)
        s1, v1, a1 = following.profile.at(half)
        s0 -= now.profile.length
        place = [s0 * d + s1 * e for d, e in zip(now.direction, following.direction, strict=True)]
        speed = [v0 * d + v1 * e for d, e in zip(now.direction, following.direction, strict=True)]
        force = [a0 * d + a1 * e for d, e in zip(now.direction, following.direction, strict=True)]
        slowest = min(now.profile.top, following.profile.top)
        return (
            math.hypot(*place) < self._radius
            and math.hypot(*speed) < slowest
            and math.hypot(force[0], force[1]) < self._p.corner_acceleration
            and abs(force[2]) < self._p.vertical_acceleration
        )

    def target(self) -> Target:
        """Position, velocity and acceleration of the target now."""
        now = self._now
        assert now is not None
        parts = [(now, 0.0)]
        if self._next is not None and self._next.time > 0.0:
            parts.append((self._next, 0.0))
        if self._before is not None:
            parts.append((self._before, self._before.profile.length))
        x, y, z = now.start
        vx = vy = vz = ax = ay = az = 0.0
        for piece, less in parts:
            s, v, a = piece.profile.at(piece.time)
            s -= less
            dx, dy, dz = piece.direction
            x, y, z = x + s * dx, y + s * dy, z + s * dz
            vx, vy, vz = vx + v * dx, vy + v * dy, vz + v * dz
            ax, ay, az = ax + a * dx, ay + a * dy, az + a * dz
        return (x, y, z), (vx, vy, vz), (ax, ay, az)
