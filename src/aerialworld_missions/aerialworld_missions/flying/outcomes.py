"""How a mission may end: one word for machines, one sentence for people, an exit code for scripts."""

from __future__ import annotations

from enum import StrEnum

from aerialworld_core.errors import AerialWorldError


class Outcome(StrEnum):
    """What a mission came to; docs/missions_flying.md says what each leads to."""

    COMPLETE = "complete"
    NO_VEHICLE = "no vehicle"
    NOT_READY = "not ready"
    REFUSED = "refused"
    LINK_LOST = "link lost"
    FAILSAFE = "failsafe"
    LOW_BATTERY = "low battery"
    FENCE = "fence"
    TAKEN_OVER = "taken over"
    STUCK = "stuck"
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    RESTARTED = "restarted"
    NOT_RECORDED = "not recorded"
    INTERRUPTED = "interrupted"


#: Exit codes of the commands and nodes. 1, 2 and 28 are those of other errors.
EXIT_CODES = {outcome: 10 + number for number, outcome in enumerate(Outcome)} | {
    Outcome.COMPLETE: 0,
    Outcome.INTERRUPTED: 130,
}


class MissionEnded(AerialWorldError):
    """A mission that ends before its plan does: why, in a sentence with what the autopilot said."""

    def __init__(self, outcome: Outcome, reason: str) -> None:
        super().__init__(f"{outcome}: {reason}")
        self.outcome, self.reason = outcome, reason
        self.exit_code = EXIT_CODES[outcome]
