"""The missions that a campaign file may name, and what of each it may say."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, field_validator

from aerialworld.campaign.parts import (
    Clearance,
    Degrees,
    DriveSpeed,
    Edge,
    FlightSpeed,
    Height,
    Name,
    Part,
    Radius,
    Range,
    Spacing,
    between,
    listed,
    refused,
)


class Mission(Part):
    """What all missions have. A number is used as it is; of [low, high] every session draws its own."""

    agent_type: ClassVar[str] = "drone"
    pattern: str
    name: Name | None = None
    vehicle: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")] | None = None
    rig: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    count: Annotated[int, Field(ge=1, le=1000)] = 1
    near_buildings: Annotated[float, Field(ge=0, le=1)] = 0.5


class Flight(Mission):
    """What all flights have."""

    altitude: Height = (20.0, 60.0)
    altitude_frame: Literal["ground", "home"] = "ground"
    speed: FlightSpeed = (3.0, 7.0)
    clearance: Clearance = (5.0, 5.0)


class Shaped(Flight):
    """Flights that keep their shape."""

    avoid: Literal["raise", "refuse"] = "raise"


class Line(Flight):
    """Flights that may bend around buildings."""

    avoid: Literal["raise", "bend", "refuse"] = "raise"


class Drive(Mission):
    """What all drives have."""

    agent_type: ClassVar[str] = "rover"
    speed: DriveSpeed = (2.0, 4.0)
    clearance: Clearance = (2.0, 2.0)


class Survey(Shaped):
    """Lanes over a square."""

    pattern: Literal["survey"]
    size: Edge = (40.0, 120.0)
    spacing: Spacing = (10.0, 20.0)
    heading: Degrees = (0.0, 360.0)


class Orbit(Shaped):
    """Circles around a point."""

    pattern: Literal["orbit"]
    radius: Radius = (20.0, 50.0)
    look: Literal["path", "centre", "either"] = "either"
    direction: Literal["left", "right", "either"] = "either"


class Figure8(Shaped):
    """Two circles that touch, one flown to the left and one to the right."""

    pattern: Literal["figure8"]
    radius: Radius = (15.0, 40.0)
    heading: Degrees = (0.0, 360.0)


class Corridor(Line):
    """A line of straight legs that bends at random, flown back and forth."""

    pattern: Literal["corridor"]
    length: Annotated[Range, between(20.0, 5000.0)] = (100.0, 250.0)
    bend: Annotated[Range, between(0.0, 90.0)] = (0.0, 60.0)


class Random(Line):
    """Flights to random places, up and down."""

    pattern: Literal["random"]
    size: Annotated[Range, between(30.0, 2000.0)] = (80.0, 150.0)
    vary: Annotated[Range, between(0.0, 0.9)] = (0.25, 0.25)


class Waypoints(Line):
    """A shape of one's own, flown at places and headings that are drawn."""

    pattern: Literal["waypoints"]
    points: Annotated[tuple[Annotated[tuple[float, ...], BeforeValidator(listed)], ...], BeforeValidator(listed)]
    heading: Degrees = (0.0, 360.0)

    @field_validator("points")
    @classmethod
    def _is_a_shape(cls, value: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
        if not 2 <= len(value) <= 1000 or any(len(p) not in (2, 3) or max(map(abs, p)) > 5000 for p in value):
            raise refused("is a list of 2 to 1000 points [forward, left] or [forward, left, altitude], metres")
        if len({p[:2] for p in value}) < 2:
            raise refused("needs two points that lie apart")
        return value


class Road(Drive):
    """Drives along roads and open ground."""

    pattern: Literal["road"]
    size: Edge = (60.0, 150.0)


class Roads(Drive):
    """Drives on the lanes of the city's roads."""

    pattern: Literal["roads"]
    size: Annotated[Range, between(20.0, 5000.0)] = (150.0, 400.0)


class Patrol(Drive):
    """Rounds of four posts."""

    pattern: Literal["patrol"]
    size: Annotated[Range, between(20.0, 2000.0)] = (60.0, 150.0)


MissionSpec = Annotated[
    Survey | Orbit | Figure8 | Corridor | Random | Waypoints | Road | Roads | Patrol, Field(discriminator="pattern")
]
PATTERNS = ("survey", "orbit", "figure8", "corridor", "random", "waypoints", "road", "roads", "patrol")
