"""Who may fly a vehicle, and the ports at which its ends meet, as ArduPilot counts them: for the stage that opens them
and for the commands that name them."""

from __future__ import annotations

from typing import Literal

Pilot = Literal["embedded", "sitl"]
#: Who may fly a vehicle: our autopilot, or an ArduPilot SITL binary that has it as its physics.
PILOTS: tuple[Pilot, ...] = ("embedded", "sitl")
#: The first vehicle's MAVLink port (TCP) and where its SITL sends motor outputs to (UDP); what each further one adds.
MAVLINK_PORT, PHYSICS_PORT, PORTS_PER_INSTANCE = 5760, 9002, 10
