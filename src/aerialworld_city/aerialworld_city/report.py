"""What a conversion did, for people and for conversion_report.json."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from aerialworld_city.features import Skipped


@dataclass(eq=False)
class ConversionReport:
    """What went in, what came out, and what was left out or changed on the way.

    `read` and `written` are counts by name; `changed` counts repairs; `bounds` are map metres, lowest and highest
    corner, of `buildings` and of the `world`; `seconds` is wall time and stands in no file, so that equal input gives
    equal bytes.
    """

    world: str
    read: dict[str, int] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    bounds: dict[str, list[list[float]]] = field(default_factory=dict)
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
