"""An evaluation on a terminal: IoU by horizon, then where it matters, then the goals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Seconds ahead that the narrow tables show.
SECONDS = (1.0, 2.0, 3.0)


def print_evaluation(result: Mapping[str, Any]) -> None:
    """All three."""
    print_table(result)
    for line in strata_lines(result):
        print(line)
    print()
    for goal in result["goals"]:
        print(goal["text"])


def print_table(result: Mapping[str, Any]) -> None:
    """IoU per horizon of every row, plain text."""
    horizons = result["horizons_s"]
    width = max(len(row["label"]) for row in result["rows"].values())
    print("IoU, %".ljust(width), *(f"{t:6.1f} s" for t in horizons))
    for row in result["rows"].values():
        cells = [h["strata"]["all"]["iou"] for h in row["horizons"]]
        print(row["label"].ljust(width), *(f"{100 * c:8.1f}" if c is not None else "       –" for c in cells))


def strata_lines(result: Mapping[str, Any]) -> list[str]:
    """A table for each knowledge of the vehicle's way: a line per stratum, a column per row, IoU at 1, 2 and 3 s."""
    at = [k for k, t in enumerate(result["horizons_s"]) if any(abs(t - s) < 1e-6 for s in SECONDS)]
    told = "/".join(f"{result['horizons_s'][k]:g}" for k in at)
    lines = []
    for motion, names in result["compared"].items() if at else ():
        title = f"IoU, %, at {told} s, {motion}"
        width = max(len(title), *map(len, result["strata"]))
        columns = [max(len(name), 5 * len(at) - 1) for name in names]
        lines += ["", "  ".join([title.ljust(width), *(n.rjust(c) for n, c in zip(names, columns, strict=True))])]
        for stratum in result["strata"]:
            cells = [
                "/".join(_percent(result["rows"][row]["horizons"][k]["strata"][stratum]["iou"]) for k in at)
                for row in names.values()
            ]
            lines.append("  ".join([stratum.ljust(width), *(t.rjust(c) for t, c in zip(cells, columns, strict=True))]))
    return lines


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"
