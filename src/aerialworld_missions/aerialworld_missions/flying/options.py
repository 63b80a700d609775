"""What a flight is asked, what it tells on the way, and what it came to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from aerialworld_core.frames import Georeference
from aerialworld_missions.flying.guard import Limits
from aerialworld_missions.flying.outcomes import Outcome

Method = Literal["auto", "guided"]
METHODS: tuple[Method, ...] = ("auto", "guided")


class Recording(Protocol):
    """What records while the plan is flown, and not on the way there and home."""

    def start(self) -> None:
        """Raises MissionEnded (not recorded) when it cannot."""
        ...

    def stop(self) -> None:
        """What is under way is still written. Raises MissionEnded when it cannot."""
        ...

    def finish(self) -> None:
        """Wait until it is written: called when the vehicle is safe. Raises MissionEnded when it was not."""
        ...


@dataclass(frozen=True)
class FlightOptions:
    """How a plan is flown.

    method        "auto": uploaded and flown by the autopilot; "guided": streamed as setpoints; None: auto for a plan
                  that looks ahead, guided for one that looks elsewhere
    end           "rtl", "land" or "hold"; None: rtl for a drone, hold for a rover
    georeference  where the plan's map lies; None: its origin is the vehicle's home
    ground        height of map's ground at (x, y), where a world is known
    transit       height of map at which a drone reaches the start, from (x, y) to (x, y), where a world is known
    paused        whether the simulation is known to stand
    rate          setpoints for each second of the vehicle
    connect, ready  seconds that the first heartbeat (wall) and readiness (vehicle) may take
    """

    method: Method | None = None
    end: str | None = None
    georeference: Georeference | None = None
    ground: Callable[[float, float], float] | None = None
    transit: Callable[[tuple[float, float], tuple[float, float]], float] | None = None
    paused: Callable[[], bool] = lambda: False
    rate: float = 10.0
    connect: float = 30.0
    ready: float = 120.0
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Progress:
    """Where a mission is: a word, how much of the plan is flown (0 … 1), a sentence."""

    phase: str
    share: float
    text: str


@dataclass(frozen=True)
class Flown:
    """What a mission came to. `seconds` of the vehicle's time; `silence` the longest that was lived through, wall;
    `modes` that it was in, by name and since when (seconds of its time)."""

    outcome: Outcome
    reason: str
    seconds: float
    share: float
    mode: str
    armed: bool
    silence: float
    resumed: int
    modes: tuple[tuple[float, str], ...] = ()
