"""What a conversion did, for people and for conversion_report.json."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from aerialworld_city.features import Skipped


@dataclass(eq=False)
class ConversionReport:
    """What went in, what came out, and what was left out or changed on the way.

    `read` and `written` are counts by name; `changed` counts repairs and what was chosen not to be taken; `notes` are
    for people; `bounds` are map metres, lowest and highest corner, of `buildings` (where there are any) and of the
    `world`. `seconds` (wall time) and `reused` (files and models that did not have to be made again, and how many there
    are) stand in no file, so that equal input gives equal bytes.
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
    reused: dict[str, int] = field(default_factory=dict)

    def add(self, group: dict[str, int], counts: dict[str, int]) -> None:
        """Add counts by name to one of the report's."""
        for name, number in counts.items():
            group[name] = group.get(name, 0) + number

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def to_file(self) -> dict[str, Any]:
        """What conversion_report.json holds."""
        written = self.to_dict()
        del written["seconds"], written["reused"]
        return written
