"""What moves and how the vehicle goes: tables of objects, positions and collisions, where an evaluation has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aerialworld.report.tables import MODEL, Cell, Column, Row, Table, score_table

#: Ways that know nothing of the future, as the tables call them.
WAYS = {"constant_displacement": "straight on as in the last step", "constant_velocity": "on as before, turns too"}
SECONDS = (1.0, 2.0, 3.0)


def object_table(evaluation: dict[str, Any]) -> list[Table]:
    """Video panoptic quality by horizon; none where nothing moves or no actors are known."""
    found = [row.get("vpq") or [] for row in evaluation["rows"].values()]
    if not any(v["vpq"] is not None for entries in found for v in entries):
        return []
    columns = [Column(f"+{t:g} s", _vpq(k)) for k, t in enumerate(evaluation["horizons_s"])]
    note = (
        "Video panoptic quality, percent, of moving objects alone: their voxels from now until then must be the true "
        "object's by more than half. Objects of a forecast are its connected voxels of one moving class."
    )
    return [score_table(evaluation, "Moving objects (VPQ), until then", columns, note)]


def _vpq(horizon: int) -> Any:
    def value(row: dict[str, Any]) -> float | None:
        found: float | None = row["vpq"][horizon]["vpq"]
        return found

    return value


def path_tables(evaluation: dict[str, Any]) -> list[Table]:
    """How far the decoded way is off, and what it would collide with."""
    motion, planning = evaluation.get("motion") or {}, evaluation.get("planning") or {}
    names = {name: WAYS.get(name, str(evaluation.get("model", "OccWorld"))) for name in motion}
    tables = []
    if motion:
        titles = [f"+{e['t']:g} s" for e in next(iter(motion.values()))["l2"]] + ["ADE", "FDE"]
        lines = {name: [e["metres"] for e in m["l2"]] + [m["ade"], m["fde"]] for name, m in motion.items()}
        note = (
            "L2 distance from the true position at each horizon; ADE is the mean of all, FDE the last. Lower is better."
        )
        tables.append(_table("Own motion, error in metres", titles, lines, names, ["{:.2f}"] * len(titles), note))
    rates = {name: planning[name] for name in motion if name in planning}
    shown = [k for k, t in enumerate(evaluation["horizons_s"]) if any(abs(t - s) < 1e-6 for s in SECONDS)]
    if rates and shown:
        seconds = [f"{evaluation['horizons_s'][k]:g}\u00a0s" for k in shown]
        titles = [f"L2 until {t}" for t in seconds] + [f"collisions until {t}" for t in seconds]
        lines = {
            name: [motion[name]["l2"][k]["up_to"] for k in shown]
            + [None if entries[k]["up_to"] is None else 100 * entries[k]["up_to"] for k in shown]
            for name, entries in rates.items()
        }
        first = next(iter(rates.values()))
        counted = ", ".join(f"{first[k]['windows']} at {t}" for k, t in zip(shown, seconds, strict=True))
        note = (
            "As ST-P3 and OccWorld average: the mean of all horizons until then. The vehicle's box collides where it "
            f"meets an occupied voxel that is no ground; windows that count: {counted}. – where the true path collides "
            "in every window."
        )
        forms = ["{:.2f}"] * len(shown) + ["{:.1f}"] * len(shown)
        tables.append(_table("Planning: L2 in metres, collisions in percent", titles, lines, names, forms, note))
    return tables


def _table(
    title: str,
    columns: list[str],
    lines: Mapping[str, list[float | None]],
    names: Mapping[str, str],
    forms: list[str],
    note: str,
) -> Table:
    """The lowest of each column is marked, and what reads the same, unless all do."""
    texts = {
        name: ["–" if v is None else form.format(v) for form, v in zip(forms, line, strict=True)]
        for name, line in lines.items()
    }
    marked = []
    for k in range(len(columns)):
        known = {v: texts[name][k] for name, line in lines.items() if (v := line[k]) is not None}
        marked.append(known[min(known)] if len(set(known.values())) > 1 else None)
    rows = [
        Row(
            names[name],
            [Cell(text, text == best) for text, best in zip(line, marked, strict=True)],
            is_model=name == MODEL,
            knows="nothing of the future",
        )
        for name, line in texts.items()
    ]
    return Table(title, columns, rows, note)
