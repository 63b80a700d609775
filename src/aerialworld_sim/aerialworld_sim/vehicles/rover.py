"""A rover on the ground: throttle and steering with their lags, wheels that follow the terrain, solids that stop it.

Computed every 10 ms since its start, like `multirotor`; a command takes effect at the tick after it.
"""

from __future__ import annotations

import math

import numpy as np

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Array, Pose, quaternion_from_rotation
from aerialworld_core.sensing import VehicleState
from aerialworld_sim.vehicles.goals import check_goal, same_goal, vector, wrap
from aerialworld_sim.vehicles.interface import (
    Brake,
    Circle,
    Contact,
    Drive,
    Goal,
    GoTo,
    Idle,
    Kind,
    Land,
    Leg,
    Off,
    TakeOff,
    Track,
    Velocity,
)
from aerialworld_sim.vehicles.moments import TICK, TICK_NS, Moment, Quaternion, axes, integrate, of_state, resting
from aerialworld_sim.vehicles.parameters import RoverParameters, Vector
from aerialworld_sim.vehicles.rover_guidance import RoverGuidance
from aerialworld_sim.vehicles.surroundings import Surroundings
from aerialworld_sim.vehicles.ticking import LOOK_EVERY, TickingVehicle

#: base_link stays this far above the ground, so that no pose lies under a triangle (metres).
ABOVE_GROUND = 0.03
#: The suspension: natural frequency (1/s) with which body follows wheels, critically damped.
_SPRING = 20.0
_UPRIGHT = 10.0
#: Filter of the turn rate's error, Hz (ATC_STR_RAT_FLTE).
_TURN_FILTER = 1.0 - math.exp(-2.0 * math.pi * 10.0 * TICK)
#: A rover that was stopped by something is free again when it is this far away, metres.
_FREE = 1.0
#: Room around it in which something that stopped it still stands, metres.
_CLEAR = 0.5
#: With which it stops at a solid, m/s².
_STOP = 40.0


class Rover(TickingVehicle):
    """Implements `interface.SimulatedVehicle`. `start` is base_link in map; its height and slope are the ground's.

    `incident` is what it was stopped by, until it is a metre away from there; only the other direction is open
    meanwhile.
    """

    kind: Kind = "rover"
    _guidance: RoverGuidance

    def __init__(
        self,
        start: Pose | None = None,
        *,
        parameters: RoverParameters | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        self.parameters = parameters or RoverParameters()
        self.surroundings = surroundings or Surroundings()
        self.start = start or Pose.identity()
        self.reset()

    # --- the seam -----------------------------------------------------------------------------------------------------

    @property
    def contact(self) -> Contact:
        return Contact.GROUND

    @property
    def circled(self) -> float:
        """The angle that the present `Circle`'s target has covered, radians, counter-clockwise positive."""
        return self._guidance.circled

    def stopping_point(self) -> Array:
        x, y, _ = self._guidance.stopping_point(self._now.position, self._now.velocity)
        return np.array([x, y, self._now.position[2]])

    def command(self, goal: Goal) -> None:
        """As the interface says. Raises InputError for numbers that are not finite and for goals of the air."""
        if same_goal(goal, self._goal):
            return
        if isinstance(goal, TakeOff | Land):
            raise InputError(f"a rover does not fly: {type(goal).__name__} is for multirotors")
        check_goal(goal)
        before, self._goal = self._goal, goal
        self._guidance.take_up(goal, before, self._now, self._heading, self._speed)

    def arrived(self) -> bool:
        """GoTo: within the radius. Leg: passed (half through the corner) or, at its last point, within the radius.
        Circle: within 3 m of it. Velocity: within 0.5 m/s. Track: within 1 m. Else: standing."""
        goal, now, p = self._goal, self._now, self.parameters
        here = now.position[:2]
        if isinstance(goal, GoTo):
            return math.dist(here, vector(goal.position)[:2]) < p.radius
        if isinstance(goal, Leg):
            passed = self._guidance.leg_passed
            return passed and (goal.following is not None or math.dist(here, vector(goal.end)[:2]) < goal.radius)
        if isinstance(goal, Circle):
            return abs(math.dist(here, vector(goal.centre)[:2]) - goal.radius) < 3.0
        if isinstance(goal, Velocity):
            return math.dist(now.velocity[:2], vector(goal.velocity)[:2]) < 0.5
        if isinstance(goal, Track):
            return math.dist(here, vector(goal.position)[:2]) < 1.0
        return abs(self._speed) < 0.05

    def reset(self, state: VehicleState | None = None) -> None:
        """Back to the start, or to `state` (position, heading, speed and stamp), motors off."""
        stamp, pose = (0, self.start) if state is None else (int(state.stamp_ns), state.pose)
        x, y, z = (float(v) for v in pose.position)
        self._heading = float(pose.yaw)
        self._plane = (z, 0.0, 0.0)
        self._plane = self._behind = self._look_at_ground(x, y)
        height, slope_x, slope_y = self._plane
        normal = _unit(-slope_x, -slope_y, 1.0)
        now = resting(stamp, (x, y, height + ABOVE_GROUND), _standing(self._heading, normal))
        self._speed = 0.0
        if state is not None and math.hypot(*state.linear_velocity[:2]) > 0.05:
            now = of_state(VehicleState(stamp, now.state().pose, state.linear_velocity, np.zeros(3)))
            c, s = math.cos(self._heading), math.sin(self._heading)
            self._speed = float(state.linear_velocity[0] * c + state.linear_velocity[1] * s)
        self._begin(now)
        self._goal = Off()
        self._guidance = RoverGuidance(self.parameters)
        self._integral = 0.0
        self._estimate = self._speed
        self._turn = self._asked = self._turn_error = self._turn_integral = 0.0
        self._blocked = 0.0
        self._met = False
        self._stopped_at = now.position

    # --- one tick -----------------------------------------------------------------------------------------------------

    def _tick(self, now: Moment) -> None:
        speed_change, turn = self._controls(now)
        self._drive(now, speed_change, turn)

    def _controls(self, now: Moment) -> tuple[float, float]:
        """The change of speed (m/s²) and the turn rate (rad/s) that throttle and steering give."""
        p, goal = self.parameters, self._goal or Off()
        if isinstance(goal, Off):
            self._throttle = self._integral = 0.0
            turn = self._by_hand(0.0)
        elif isinstance(goal, Drive):
            self._integral = 0.0
            self._throttle = min(max(goal.throttle, -1.0), 1.0)
            turn = self._by_hand(min(max(goal.steering, -1.0), 1.0))
        else:
            speed, wanted = self._guidance.advance(goal, now.position, now.velocity, self._heading, self._speed)
            turn = self._turn_towards(wanted)
            still = isinstance(goal, Brake | Idle) or speed == 0.0
            self._throttle = 0.0 if still and abs(self._speed) < 0.05 else self._throttle_for(speed)
        if self._blocked * self._throttle > 0:
            self._throttle = self._integral = 0.0
        change = (p.full_speed * self._throttle - self._speed) / p.drive_time
        if isinstance(goal, Off | Brake | Idle) or (self._throttle == 0.0 and not isinstance(goal, Drive)):
            # Rolling friction brings it to rest in finite time.
            change = math.copysign(min(abs(self._speed) / TICK, max(abs(change), 0.5)), -self._speed)
        if self._blocked * self._speed > 0:
            change = math.copysign(min(abs(self._speed) / TICK, _STOP), -self._speed)
        return change, self._limited_turn(turn)

    def _throttle_for(self, speed: float) -> float:
        p = self.parameters
        self._estimate += (self._speed - self._estimate) * TICK / (p.estimate_time + TICK)
        error = speed - self._estimate
        base = speed * p.cruise_throttle / p.cruise_speed
        throttle = base + p.speed_gain * error + self._integral
        if abs(throttle) < 1.0 or throttle * error < 0:
            self._integral += p.speed_integral * error * TICK
        return min(max(throttle, -1.0), 1.0)

    def _steered(self, steering: float) -> float:
        """The turn rate that the wheels (or, of a skid, the sides) give at `steering`, −1 … 1, left positive."""
        p = self.parameters
        if p.steering == "skid":
            return steering * p.yaw_rate
        return self._speed / p.turn_radius * math.sin(p.wheel_angle * steering) / math.sin(p.wheel_angle)

    def _by_hand(self, steering: float) -> float:
        """The turn rate at a steering that nobody corrects."""
        self._asked, self._turn_error, self._turn_integral = self._turn, 0.0, 0.0
        return self._steered(steering)

    def _turn_towards(self, wanted: float) -> float:
        """The turn rate when `wanted` is asked of the steering controller. Rover's steers with a fixed share of what is
        wanted per m/s and mends the rest slowly, so that a turn begins short of what was asked."""
        p = self.parameters
        step = p.turn_acceleration * TICK
        self._asked += min(max(wanted - self._asked, -step), step)
        if p.steering == "skid":
            return self._asked
        speed = abs(self._speed)
        self._turn_error += _TURN_FILTER * (self._asked - self._turn - self._turn_error)
        steering = p.turn_feed * self._asked + p.turn_gain * self._turn_error + self._turn_integral
        steering /= max(speed, 1.0)
        if abs(steering) < 1.0:
            self._turn_integral += p.turn_integral * self._turn_error * TICK
        return math.copysign(1.0, self._speed) * self._steered(min(max(steering, -1.0), 1.0))

    def _limited_turn(self, turn: float) -> float:
        p = self.parameters
        most = p.yaw_rate
        if abs(self._speed) > 0.05:
            most = min(most, p.side_acceleration / abs(self._speed))
        if p.steering == "ackermann":
            most = min(most, abs(self._speed) / p.turn_radius)
        self._turn = min(max(turn, -most), most)
        return self._turn

    def _drive(self, now: Moment, change: float, turn: float) -> None:
        height, slope_x, slope_y, rise = self._ground_now()
        speed = self._speed + change * TICK
        heading = self._heading + turn * TICK
        c, s = math.cos(heading), math.sin(heading)
        climb = slope_x * c + slope_y * s
        level = 1.0 / math.sqrt(1.0 + climb * climb)
        vx, vy = speed * level * c, speed * level * s
        # Forwards by the drive, sideways by the turn; what rounding leaves over is led back within 50 ms.
        ax = change * level * c - speed * level * turn * s + 20.0 * (vx - now.velocity[0] - now.acceleration[0] * TICK)
        ay = change * level * s + speed * level * turn * c + 20.0 * (vy - now.velocity[1] - now.acceleration[1] * TICK)
        z = now.position[2]
        ahead = z + TICK * (now.velocity[2] + 0.5 * TICK * now.acceleration[2])
        under = height + ABOVE_GROUND
        az = _SPRING * _SPRING * (under - ahead) + 2.0 * _SPRING * (rise - now.velocity[2] - now.acceleration[2] * TICK)
        rate = self._body_rate(now, turn, (slope_x, slope_y))
        if speed == 0.0 and abs(under - z) < 1e-4 and abs(now.velocity[2]) < 1e-3 and math.hypot(*rate) < 1e-4:
            after = resting(now.stamp_ns + TICK_NS, now.position, now.orientation)
        else:
            after = integrate(now, (ax, ay, az), rate)
        self._speed, self._heading = speed, wrap(heading)
        self._advance(after)

    def _ground_now(self) -> tuple[float, float, float, float]:
        """Height and slopes of the ground at the next tick, and how fast the height changes: between the last look and
        the place that it looked at, which is where the rover is at the next look."""
        share = ((self._ticks - 1) % LOOK_EVERY + 1) / LOOK_EVERY
        a, b = self._behind, self._plane
        height, slope_x, slope_y = (u + share * (v - u) for u, v in zip(a, b, strict=True))
        return height, slope_x, slope_y, (b[0] - a[0]) / (LOOK_EVERY * TICK)

    def _body_rate(self, now: Moment, turn: float, slopes: tuple[float, float]) -> Vector:
        """The body's rate at the next tick: its z axis follows the ground's normal, its x axis the heading."""
        (fx, fy, fz), (lx, ly, lz), (ux, uy, uz) = axes(now.orientation)
        nx, ny, nz = _unit(-slopes[0], -slopes[1], 1.0)
        cx, cy, cz = uy * nz - uz * ny, uz * nx - ux * nz, ux * ny - uy * nx
        error = wrap(self._heading - math.atan2(fy, fx))
        share = 1.0 - math.exp(-TICK / 0.05)
        roll = _UPRIGHT * (cx * fx + cy * fy + cz * fz) + turn * fz
        pitch = _UPRIGHT * (cx * lx + cy * ly + cz * lz) + turn * lz
        return (
            now.rate[0] + share * (roll - now.rate[0]),
            now.rate[1] + share * (pitch - now.rate[1]),
            (turn + 10.0 * error) * uz,
        )

    # --- ground and solids --------------------------------------------------------------------------------------------

    def _look(self, now: Moment) -> None:
        p = self.parameters
        x, y, z = now.position
        lift = p.body_bottom + 0.5 * p.body_height
        if self._met and not self.surroundings.met((x, y, z + lift), p.body_radius + _CLEAR, now.stamp_ns):
            # What stopped it has gone.
            self._met, self._incident, self._blocked = False, "", 0.0
        if self._incident and math.dist(now.position, self._stopped_at) > _FREE:
            self._met, self._incident, self._blocked = False, "", 0.0
        if self._speed == 0.0 and self._now.velocity[2] == 0.0:
            self._looked = now.position
            self._behind = self._plane
            return
        span = LOOK_EVERY * TICK
        self._behind, self._plane = (
            self._plane,
            self._look_at_ground(x + span * now.velocity[0], y + span * now.velocity[1]),
        )
        before, after = self._looked, now.position
        # What it covers until the next look, and to stop.
        ahead = abs(self._speed) * (LOOK_EVERY * TICK + abs(self._speed) / (2.0 * _STOP))
        what = self.surroundings.struck(
            (before[0], before[1], before[2] + lift), (x, y, z + lift), p.body_radius, p.body_height, now.stamp_ns,
            ahead=ahead, on_ground=True,
        )  # fmt: skip
        met = bool(what) and bool(self.surroundings.met((x, y, z + lift), p.body_radius + ahead, now.stamp_ns))
        what = what or self._no_way(x, y, ahead)
        if what and not self._blocked:
            self._incident = "stopped: " + what
            self._blocked = math.copysign(1.0, self._speed)
            self._stopped_at = after
            self._met = met
        self._looked = after

    def _no_way(self, x: float, y: float, margin: float) -> str:
        """Why the ground ahead cannot be driven on; empty where it can."""
        p = self.parameters
        if self.surroundings.world is None:
            return ""
        reach = math.copysign(0.5 * p.wheelbase + margin, self._speed)
        ahead = x + reach * math.cos(self._heading), y + reach * math.sin(self._heading)
        height = self.surroundings.ground(np.array([ahead]))[0]
        if math.isnan(height):
            return f"no ground at ({ahead[0]:.1f}, {ahead[1]:.1f})"
        if abs(height - self._plane[0]) > math.tan(p.steepest) * abs(reach):
            return f"the ground is too steep at ({ahead[0]:.1f}, {ahead[1]:.1f})"
        return ""

    def _look_at_ground(self, x: float, y: float) -> tuple[float, float, float]:
        """The plane through the ground under the wheels of a rover at (x, y): height under the middle, slopes along
        map's x and y."""
        p = self.parameters
        c, s = math.cos(self._heading), math.sin(self._heading)
        f, b = 0.5 * p.wheelbase, 0.5 * p.track
        points = np.array(
            [
                [x, y],
                [x + f * c, y + f * s],
                [x - f * c, y - f * s],
                [x - b * s, y + b * c],
                [x + b * s, y - b * c],
            ]
        )
        heights = self.surroundings.ground(points)
        if any(math.isnan(h) for h in heights):
            # At the ground's edge what is there counts as level.
            known = [h for h in heights if not math.isnan(h)]
            return known[0] if known else self._plane[0], 0.0, 0.0
        along, across = (heights[1] - heights[2]) / p.wheelbase, (heights[3] - heights[4]) / p.track
        middle = max(heights[0], 0.25 * sum(heights[1:]))
        return middle, along * c - across * s, along * s + across * c


def _unit(x: float, y: float, z: float) -> Vector:
    n = 1.0 / math.sqrt(x * x + y * y + z * z)
    return x * n, y * n, z * n


def _standing(heading: float, normal: Vector) -> Quaternion:
    """The attitude with body z along `normal` and body x towards `heading`."""
    c, s = math.cos(heading), math.sin(heading)
    nx, ny, nz = normal
    # Body y is the normal crossed with the heading, body x what completes it.
    ly = _unit(-nz * s, nz * c, nx * s - ny * c)
    fx = ly[1] * nz - ly[2] * ny, ly[2] * nx - ly[0] * nz, ly[0] * ny - ly[1] * nx
    x, y, z, w = quaternion_from_rotation(np.array([fx, ly, normal]).T).tolist()
    return x, y, z, w
