"""What validation finds: errors, warnings and figures."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: After so many findings of one kind the rest is counted, not listed.
LISTED = 5


@dataclass
class ValidationReport:
    """`errors` make a session unfit; `warnings` are worth knowing; `figures` are plain numbers for a report."""

    session: str
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """True when there is no error."""
        return not self.errors

    def error(self, text: str) -> None:
        self.errors.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def errors_of(self, texts: list[str], rest: str) -> None:
        """Several errors of one kind; beyond the first few, `rest` says of what there were how many more."""
        self.errors.extend(_shortened(texts, rest))

    def to_dict(self) -> dict[str, Any]:
        """For JSON: session (folder name), ok, errors, warnings, figures."""
        return {
            "session": self.session,
            "ok": self.ok,
            "errors": list(self.errors),
            "warnings": list(self.warnings),
            "figures": dict(self.figures),
        }


def _shortened(texts: list[str], rest: str) -> list[str]:
    return texts if len(texts) <= LISTED else [*texts[:LISTED], f"… and {len(texts) - LISTED} more {rest}"]


def new_report(path: Path) -> ValidationReport:
    return ValidationReport(session=path.name)
