"""A multirotor as a point mass that leans: thrust along its body's axis, drag of moving air, attitude with limits.

Computed every 10 ms (`moments.TICK_NS`) since its start; between ticks acceleration and body rate change linearly. What
a run is cut into changes nothing; a command takes effect at the tick after it.
"""

from __future__ import annotations

import math

import numpy as np

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Array, Pose
from aerialworld_core.sensing import GRAVITY, VehicleState
from aerialworld_sim.vehicles.control import MultirotorControl
from aerialworld_sim.vehicles.goals import check_goal, same_goal, vector
from aerialworld_sim.vehicles.guidance import MultirotorGuidance
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
from aerialworld_sim.vehicles.moments import (
    TICK,
    TICK_NS,
    Moment,
    facing,
    heading,
    integrate,
    of_state,
    orientation_after,
    resting,
    up_axis,
)
from aerialworld_sim.vehicles.parameters import MultirotorParameters, Vector, Wind
from aerialworld_sim.vehicles.surroundings import Surroundings
from aerialworld_sim.vehicles.ticking import TickingVehicle
from aerialworld_sim.vehicles.wind import Air

#: The landing gear: a damped spring of this stiffness per mass (1/s²) that carries the weight at standing height.
_STIFF = 400.0
_DAMPED = 1.6 * math.sqrt(_STIFF)
_SAG = GRAVITY / _STIFF
#: Sliding faster than this when it touches the ground breaks a multirotor, m/s.
_SCRAPE = 2.0
#: Share of the spool-up in which nothing is felt but idling motors.
_IDLE_SHARE = 0.72
_IDLE_THROTTLE = 0.1


class Multirotor(TickingVehicle):
    """Implements `interface.SimulatedVehicle`.

    start         base_link in map; its height is that of what lies below where `on_ground`, else the vehicle starts
                  there and hovers
    seed          of the gusts
    surroundings  ground, solids and other things that move; by default the plane z = 0
    """

    kind: Kind = "drone"
    _crashed: bool
    _touching: bool
    _motors: str
    _guidance: MultirotorGuidance

    def __init__(
        self,
        start: Pose | None = None,
        *,
        parameters: MultirotorParameters | None = None,
        wind: Wind | None = None,
        seed: int = 0,
        surroundings: Surroundings | None = None,
        on_ground: bool = True,
    ) -> None:
        self.parameters = parameters or MultirotorParameters()
        self.surroundings = surroundings or Surroundings()
        self.wind = wind or Wind()
        self.seed = seed
        self.on_ground = on_ground
        self.start = start or Pose.identity()
        self.reset()

    # --- the seam -----------------------------------------------------------------------------------------------------

    @property
    def contact(self) -> Contact:
        if self._crashed:
            return Contact.CRASHED
        return Contact.GROUND if self._touching else Contact.AIR

    @property
    def circled(self) -> float:
        """The angle that the present `Circle`'s target has covered, radians, counter-clockwise positive. ArduCopter
        counts turns by it: the vehicle follows it with a lag."""
        return self._guidance.circled

    def stopping_point(self) -> Array:
        return np.array(self._guidance.stopping_point(self._now))

    def command(self, goal: Goal) -> None:
        """As the interface says. Raises InputError for numbers that are not finite and for `Drive`."""
        if same_goal(goal, self._goal):
            return
        if isinstance(goal, Drive):
            raise InputError("a multirotor has no wheels: Drive is for rovers")
        check_goal(goal)
        before, self._goal = self._goal, goal
        if self._crashed:
            return
        if isinstance(goal, Off):
            self._motors = "off"
        elif self._motors == "off" or (self._motors == "stopping" and not isinstance(goal, Idle | Land)):
            self._motors = "idle" if self._touching else "flying"
            if self._motors == "flying":
                self._guidance.place(self._now, self._heading())
        if isinstance(goal, TakeOff):
            self._left = self._now.position[2]
        if isinstance(goal, TakeOff) and self._motors == "idle":
            self._motors, self._spool = "spooling", 0.0
            self._guidance.place(self._now, self._heading())
        if isinstance(goal, Idle | Off) and self._motors in ("spooling", "flying") and self._touching:
            self._motors = "idle"
        if self._motors in ("flying", "spooling"):
            if self._guidance.take_up(goal, before, self._now):
                self._control.begin()

    def arrived(self) -> bool:
        """TakeOff: nine tenths of the height, and the climb nearly over (as ArduCopter's AutoTakeoff). Land, Idle, Off:
        on the ground. GoTo: within the radius, slower than 0.5 m/s. Leg: passed (half through the corner) or, at its
        last point, within the radius. Circle: within 3 m of it. Velocity: within 0.5 m/s. Track: within 1 m of the
        moving point. Brake: slower than 0.1 m/s."""
        goal, now, p = self._goal, self._now, self.parameters
        if self._crashed or goal is None:
            return False
        if isinstance(goal, Land | Off | Idle):
            return self._touching and self._motors in ("idle", "off")
        if self._motors != "flying":
            return False
        speed = math.dist(now.velocity, (0.0, 0.0, 0.0))
        if isinstance(goal, TakeOff):
            climbed, whole = now.position[2] - self._left, goal.altitude - self._left
            return abs(climbed) >= 0.9 * abs(whole) and abs(self._guidance.point.vz) < 0.1 * p.climb_speed
        if isinstance(goal, GoTo):
            return math.dist(now.position, vector(goal.position)) < p.radius and speed < 0.5
        if isinstance(goal, Leg):
            passed = self._guidance.leg_passed
            return passed and (goal.following is not None or math.dist(now.position, vector(goal.end)) < goal.radius)
        if isinstance(goal, Circle):
            x, y, _ = vector(goal.centre)
            return abs(math.hypot(now.position[0] - x, now.position[1] - y) - goal.radius) < 3.0
        if isinstance(goal, Velocity):
            return math.dist(now.velocity, vector(goal.velocity)) < 0.5
        if isinstance(goal, Track):
            return math.dist(now.position, vector(goal.position)) < 1.0
        return speed < 0.1

    def reset(self, state: VehicleState | None = None) -> None:
        """Back to the start, or to `state` (its stamp included) with motors off: in the air it falls until a goal
        starts them. A vehicle that starts in the air hovers."""
        air_start = state is None and not self.on_ground
        now = of_state(state) if state is not None else _upright(self.start)
        below = self.surroundings.support((now.position[0], now.position[1], now.position[2] + 0.5))
        standing = below + self.parameters.stand
        if math.isfinite(standing) and not air_start and (state is None or now.position[2] < standing + 0.05):
            x, y, _ = now.position
            now = resting(now.stamp_ns, (x, y, standing), facing(heading(now.orientation)))
        self._begin(now)
        self._support = below
        self._touching = now.position[2] <= standing + 0.01
        self._crashed = False
        self._goal = Brake() if air_start else Off()
        self._motors = "flying" if air_start else "off"
        self._spool = 0.0
        self._thrust = GRAVITY if air_start else 0.0
        self._throttle = self.parameters.hover_throttle if air_start else 0.0
        self._control = MultirotorControl(self.parameters)
        self._motor_share = 1.0 - math.exp(-TICK / self.parameters.motor_time)
        self._left = now.position[2]
        self._air = Air(self.wind, self.seed, TICK)
        self._wind_now = self._air.next()
        self._guidance = MultirotorGuidance(self.parameters)
        self._guidance.place(now, self._heading())

    # --- one tick -----------------------------------------------------------------------------------------------------

    def _tick(self, now: Moment) -> None:
        self._wind_now = self._air.next()
        if self._touching and self._motors in ("off", "idle") and self._thrust < 0.05:
            self._stand(now)
            return
        ax, ay, az = self._wanted_acceleration(now)
        rate = self._rate(now, ax, ay)
        self._set_thrust(now, az)
        self._fly(now, rate)

    def _stand(self, now: Moment) -> None:
        """At rest on the ground: what is left of the last touch is taken away at once."""
        standing = self._support + self.parameters.stand
        after = resting(now.stamp_ns + TICK_NS, (now.position[0], now.position[1], standing), now.orientation)
        self._advance(after)
        self._throttle = _IDLE_THROTTLE if self._motors == "idle" else 0.0

    def _wanted_acceleration(self, now: Moment) -> Vector:
        """What the controllers ask of thrust: acceleration in map without gravity."""
        if self._motors not in ("flying", "spooling") or self._crashed:
            return 0.0, 0.0, 0.0
        if self._motors == "spooling":
            self._spool += TICK
            if self._spool < self.parameters.spool_up:
                return 0.0, 0.0, 0.0
            self._motors = "flying"
            self._guidance.place(now, self._heading())
            self._guidance.take_up(self._goal or Brake(), None, now)
            self._control.relax()
        goal = self._goal or Brake()
        if isinstance(goal, Land) and self._touching:
            self._motors = "stopping"
            return 0.0, 0.0, 0.0
        self._guidance.advance(goal, now, self._support)
        if not isinstance(goal, Leg):
            self._guidance.pull(now, self.parameters.speed, self._touching)
        return self._control.acceleration(self._guidance.point, now)

    def _rate(self, now: Moment, ax: float, ay: float) -> Vector:
        """The body rate at the next tick."""
        if self._crashed or self._motors not in ("flying", "spooling"):
            fade = 1.0 - TICK / 0.5
            return now.rate[0] * fade, now.rate[1] * fade, now.rate[2] * fade
        if self._motors == "spooling":
            return 0.0, 0.0, 0.0
        return self._control.rate(now, ax, ay, self._guidance.heading, self._guidance.heading_rate)

    def _set_thrust(self, now: Moment, az: float) -> None:
        """Thrust per mass follows what is asked with the motors' lag."""
        p = self.parameters
        if self._crashed or self._motors in ("off", "idle"):
            wanted = 0.0
        elif self._motors == "stopping":
            wanted = self._thrust - GRAVITY * TICK / p.spool_down
            if wanted <= 0.0:
                wanted, self._motors = 0.0, "idle"
            self._thrust = wanted
        elif self._motors == "spooling":
            share = (self._spool / p.spool_up - _IDLE_SHARE) / (1.0 - _IDLE_SHARE)
            wanted = 0.95 * GRAVITY * max(0.0, share)
        else:
            upright = max(up_axis(now.orientation)[2], 0.3)
            fall = self._drag(now.velocity)[2]
            wanted = min(max((GRAVITY + az + fall) / upright, 0.0), p.thrust_ratio * GRAVITY)
        self._thrust += (wanted - self._thrust) * self._motor_share
        self._throttle = p.hover_throttle * self._thrust / GRAVITY

    def _fly(self, now: Moment, rate: Vector) -> None:
        """Integrate one tick under thrust, drag, gravity and the ground."""
        p = self.parameters
        orientation = orientation_after(now, rate)
        ux, uy, uz = up_axis(orientation)
        bx, by, bz = now.acceleration
        ahead = now.velocity[0] + TICK * bx, now.velocity[1] + TICK * by, now.velocity[2] + TICK * bz
        height = now.position[2] + TICK * (now.velocity[2] + 0.5 * TICK * bz)
        dx, dy, dz = self._drag(ahead)
        ax = self._thrust * ux - dx
        ay = self._thrust * uy - dy
        az = self._thrust * uz - dz - GRAVITY
        pressed = self._support + p.stand + _SAG - height
        if pressed > 0.0:
            if not self._touching:
                self._touch(now)
            # While it presses on the ground, friction holds it.
            az += max(0.0, _STIFF * pressed - _DAMPED * ahead[2])
            ax, ay = -10.0 * ahead[0], -10.0 * ahead[1]
            if self._motors not in ("flying", "spooling") or isinstance(self._goal, Land):
                rate = (0.0, 0.0, 0.0)
                orientation = orientation_after(now, rate)
        self._touching = pressed > 0.0
        after = integrate(now, (ax, ay, az), rate, orientation)
        floor = self._support + p.stand - 0.1
        if after.position[2] < floor:
            # Harder than the gear can take: the fall ends here, in one tick.
            after = resting(after.stamp_ns, (after.position[0], after.position[1], floor + 0.1), after.orientation)
        self._advance(after)

    def _drag(self, velocity: Vector) -> Vector:
        """Deceleration by the air. Its linear part is the air that the rotors turn around, which grows with the root of
        their thrust; the quadratic part is the body's."""
        p = self.parameters
        (vx, vy, vz), (ax, ay, az) = velocity, self._wind_now
        wx, wy, wz = vx - ax, vy - ay, vz - az
        rotors = math.sqrt(self._thrust / GRAVITY)
        body = p.drag_quadratic * math.sqrt(wx * wx + wy * wy + wz * wz)
        level, vertical = p.drag_linear * rotors + body, p.drag_vertical * rotors + body
        return level * wx, level * wy, vertical * wz

    def _touch(self, now: Moment) -> None:
        speed = math.hypot(now.velocity[0], now.velocity[1])
        if -now.velocity[2] > self.parameters.hard_landing:
            self._crash(f"hit the ground at {-now.velocity[2]:.1f} m/s")
        elif speed > _SCRAPE and not self._crashed:
            self._crash(f"touched the ground at {speed:.1f} m/s sideways")

    def _look(self, now: Moment) -> None:
        if self._touching and self._motors in ("off", "idle"):
            self._looked = now.position
            return
        p = self.parameters
        if not self._crashed:
            what = self.surroundings.struck(self._looked, now.position, p.body_radius, p.body_height, now.stamp_ns)
            if what:
                self._crash(what)
                # What it met takes its speed at once; from where it last was free it falls.
                now = resting(now.stamp_ns, self._looked, now.orientation)
                self._now, self._thrust = now, 0.0
        self._looked = now.position
        x, y, z = now.position
        self._support = self.surroundings.support((x, y, max(z, self._support)))

    def _crash(self, why: str) -> None:
        if not self._crashed:
            self._crashed = True
            self._incident = why
            self._motors = "off"

    def _heading(self) -> float:
        return heading(self._now.orientation)


def _upright(pose: Pose) -> Moment:
    x, y, z = (float(v) for v in pose.position)
    return resting(0, (x, y, z), facing(pose.yaw))
