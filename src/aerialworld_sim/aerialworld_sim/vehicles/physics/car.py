"""A rover that PWM moves: `Rover` under throttle and steering, or under the two sides of a skid-steered one."""

from __future__ import annotations

from collections.abc import Sequence

from aerialworld_sim.vehicles.interface import Drive, Off
from aerialworld_sim.vehicles.moments import TICK_NS, Moment, of_state
from aerialworld_sim.vehicles.parameters import Vector
from aerialworld_sim.vehicles.rover import Rover


class CarBody:
    """Implements `sitl.Body` at 100 Hz (Rover asks for 1.8 × 50 Hz at least).

    Channels as ArduPilot's defaults: 1 steering (right positive) and 3 throttle; for a skid-steered rover 1 the left
    and 3 the right side. 1500 µs is neutral; below 900 µs, the outputs before arming, is none.
    """

    period_ns = TICK_NS

    def __init__(self, rover: Rover | None = None) -> None:
        self.rover = rover or Rover()
        self.reset()

    def reset(self) -> None:
        self.rover.reset()
        self.moment: Moment = of_state(self.rover.state)
        self.home: Vector = self.moment.position

    @property
    def incident(self) -> str:
        return self.rover.incident

    @property
    def on_ground(self) -> bool:
        return True

    @property
    def throttle(self) -> float:
        return self.rover.throttle

    def step(self, pwm: Sequence[int]) -> None:
        if pwm[0] < 900 or pwm[2] < 900:
            self.rover.command(Off())
        else:
            first, third = ((min(max(value, 1000), 2000) - 1500) / 500.0 for value in (pwm[0], pwm[2]))
            if self.rover.parameters.steering == "skid":
                self.rover.command(Drive(0.5 * (first + third), 0.5 * (third - first)))
            else:
                self.rover.command(Drive(third, -first))
        self.moment = of_state(self.rover.step(TICK_NS))
