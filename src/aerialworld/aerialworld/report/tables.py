"""Tables of scores: a row for each forecast, the best one of every column marked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

MODEL = "occworld"
#: Not a forecast: the model's reconstruction of the true future, the most that its codes can say.
CEILING = "reconstruction"


@dataclass(frozen=True)
class Cell:
    text: str
    best: bool = False


@dataclass(frozen=True)
class Row:
    """`knows`: what the row knows of the future, where that is told."""

    label: str
    cells: list[Cell]
    is_model: bool = False
    knows: str = ""


@dataclass(frozen=True)
class Table:
    title: str
    columns: list[str]
    rows: list[Row]
    note: str = ""


@dataclass(frozen=True)
class Column:
    """A heading and how a row's value is found; None where there is nothing to score."""

    title: str
    value: Callable[[dict[str, Any]], float | None] = field(repr=False)


def score_table(evaluation: dict[str, Any], title: str, columns: list[Column], note: str = "") -> Table:
    """Percentages, a row per forecast; the best forecast of each column is marked, the ceiling never is. A column in
    which no forecast is scored is left out."""
    rows = evaluation["rows"]
    forecasts = [row for name, row in rows.items() if name != CEILING]
    columns = [column for column in columns if any(column.value(row) is not None for row in forecasts)]
    values = {name: [column.value(row) for column in columns] for name, row in rows.items()}
    best: list[float | None] = []
    for index in range(len(columns)):
        scored = [v[index] for name, v in values.items() if name != CEILING]
        known = [v for v in scored if v is not None]
        best.append(max(known) if len(known) > 1 else None)
    return Table(
        title,
        [c.title for c in columns],
        [
            Row(
                str(rows[name]["label"]),
                [
                    Cell("–" if v is None else f"{100 * v:.1f}", v is not None and name != CEILING and v == best[i])
                    for i, v in enumerate(line)
                ],
                is_model=name.startswith(MODEL),
                knows=str(rows[name].get("knows", "")),
            )
            for name, line in values.items()
        ],
        note,
    )
