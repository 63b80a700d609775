"""Which findings of a validation make a recording worthless, for all that record many sessions."""

from __future__ import annotations

from typing import Any


def content_errors(report: dict[str, Any]) -> list[str]:
    """Errors of a validation report that stop a demo or fail a campaign's session. Low recall or precision alone does
    not: it tells how finely the chosen rig sees at the chosen voxel size, and stands in red in the report."""
    measures = ("recall of the surface", "precision of the surface")
    return [line for line in report["errors"] if not line.startswith(measures)]
