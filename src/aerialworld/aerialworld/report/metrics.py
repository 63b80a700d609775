"""The metric tables with their baselines, the sentence that says honestly who wins, and the training curves."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
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
    label: str
    cells: list[Cell]
    is_model: bool = False


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
    """Percentages, a row per forecast; the best forecast of each column is marked, the ceiling never is."""
    rows = evaluation["rows"]
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
                is_model=name == MODEL,
            )
            for name, line in values.items()
        ],
        note,
    )


def _at(horizon: int, stratum: str, key: str) -> Callable[[dict[str, Any]], float | None]:
    def value(row: dict[str, Any]) -> float | None:
        found: float | None = row["horizons"][horizon]["strata"][stratum][key]
        return found

    return value


def _mean(stratum: str, key: str) -> Callable[[dict[str, Any]], float | None]:
    """The mean over 1, 2 and 3 s; over all horizons where these are not all there."""

    def value(row: dict[str, Any]) -> float | None:
        if row["mean_1_2_3"] is not None:
            found: float | None = row["mean_1_2_3"][stratum][key]
            return found
        values = [h["strata"][stratum][key] for h in row["horizons"]]
        return None if None in values else sum(values) / len(values)

    return value


def mean_name(evaluation: dict[str, Any]) -> str:
    """What the mean is over."""
    whole = all(row["mean_1_2_3"] is not None for row in evaluation["rows"].values())
    return "mean of 1, 2, 3 s" if whole else "mean of all horizons"


def metric_table(evaluation: dict[str, Any]) -> Table:
    """IoU of occupied against free, by horizon."""
    columns = [Column(f"+{t:g} s", _at(i, "all", "iou")) for i, t in enumerate(evaluation["horizons_s"])]
    columns.append(Column(mean_name(evaluation), _mean("all", "iou")))
    note = (
        "Occupied against free, percent, over all voxels that were observed at that time. Marked: the best forecast of "
        "the column. The reconstruction is no forecast but what the model's codes can say at most."
    )
    return score_table(evaluation, "IoU by horizon", columns, note)


def metrics_section(evaluation: dict[str, Any]) -> dict[str, Any]:
    """All that the page shows of an evaluation."""
    mean = mean_name(evaluation)
    strata = [Column(stratum_name(n), _mean(n, "iou")) for n in evaluation["strata"] if n != "all"]
    strata.append(Column("without ground", _mean("all", "above_ground")))
    strata_note = "; ".join(
        f"{stratum_name(name)}: {meaning}"
        for name, meaning in evaluation["strata"].items()
        if meaning != stratum_name(name)
    )
    classes = [
        Column("mIoU, classes that occur", _mean("all", "miou")),
        Column("mIoU as OccWorld reports it", _mean("all", "miou_occworld")),
    ]
    model = _mean("all", "iou")(evaluation["rows"][MODEL])
    counts = evaluation["counts"]
    return {
        "tables": [
            metric_table(evaluation),
            score_table(evaluation, f"IoU by what is asked, {mean}", strata, f"{strata_note}."),
            score_table(evaluation, f"Classes, {mean}", classes, "OccWorld counts a class that never occurs as 100 %."),
            *_motion_table(evaluation),
        ],
        "verdict": verdict(evaluation),
        "headline": None if model is None else {"value": f"{100 * model:.1f} %", "label": f"model's IoU, {mean}"},
        "protocol": f"{evaluation['protocol']} Evaluated: {counts['windows_evaluated']} of "
        f"{counts['windows_available']} windows, {counts['frames']} frames; the codes used: {counts['codes_used']} of "
        f"{counts['codes']}.",
    }


def stratum_name(name: str) -> str:
    """height_0_6 → 0–6 m, height_above_75 → above 75 m."""
    if not name.startswith("height_"):
        return name
    return name.removeprefix("height_").replace("above_", "above ").replace("_", "–") + " m"


def _motion_table(evaluation: dict[str, Any]) -> list[Table]:
    motion = evaluation.get("motion")
    if not motion:
        return []
    names = {"occworld": "OccWorld", "constant_displacement": "constant displacement"}
    columns = [f"+{e['t']:g} s" for e in next(iter(motion.values()))["l2"]] + ["ADE", "FDE"]
    lines = {name: [e["metres"] for e in m["l2"]] + [m["ade"], m["fde"]] for name, m in motion.items()}
    best = [min(line[i] for line in lines.values()) for i in range(len(columns))]
    rows = [
        Row(
            names.get(name, name.replace("_", " ")),
            [Cell(f"{v:.2f}", v == best[i]) for i, v in enumerate(line)],
            is_model=name == MODEL,
        )
        for name, line in lines.items()
    ]
    return [Table("Own motion, error in metres", columns, rows, "Lower is better.")]


def verdict(evaluation: dict[str, Any]) -> str:
    """Which baselines the model beats and which it does not, by the mean IoU over all observed voxels."""
    value = _mean("all", "iou")
    rows = evaluation["rows"]
    model = value(rows[MODEL])
    if model is None:
        return "The model could not be scored: nothing was occupied in the observed voxels."
    beaten: list[str] = []
    not_beaten: list[str] = []
    for name, row in rows.items():
        score = value(row)
        if name.startswith(MODEL) or name == CEILING or score is None:
            continue
        (beaten if model > score else not_beaten).append(f"{row['label']} ({100 * score:.1f} %)")
    text = f"IoU {100 * model:.1f} % ({mean_name(evaluation)}) on a place that training never saw."
    if beaten:
        text += f" The model beats: {', '.join(beaten)}."
    if not_beaten:
        text += f" It does not beat: {', '.join(not_beaten)}."
    ceiling = value(rows[CEILING]) if CEILING in rows else None
    if ceiling is not None:
        text += f" Its own codes could reach {100 * ceiling:.1f} % if it knew the future."
    return text


VAE, WORLD = ("vqvae", "adapt"), ("occworld",)
#: Panel → (stages, value) → line.
CURVES: dict[str, dict[tuple[tuple[str, ...], str], str]] = {
    "VAE: loss": {(VAE, "loss"): "training"},
    "VAE: IoU of the reconstruction": {(VAE, "val_iou"): "validation"},
    "VAE: codes in use": {(VAE, "val_codes_used"): "validation"},
    "World model: cross-entropy of codes": {(WORLD, "ce"): "training", (WORLD, "val_ce"): "validation"},
    "World model: cross-entropy of voxels": {(WORLD, "voxels"): "training"},
    "World model: codes right": {(WORLD, "val_code_accuracy"): "validation"},
    "World model: IoU of the forecast": {(WORLD, "val_iou"): "validation"},
}


def read_curves(work_dir: Path) -> dict[str, dict[str, list[list[float]]]]:
    """From metrics.jsonl of a training folder and of its stages' (`1_adapt`, …): panel → line → [[iteration, value],
    …]; empty when there is no training."""
    files = [work_dir / "metrics.jsonl", *sorted(work_dir.glob("[0-9]*_*/metrics.jsonl"))]
    entries = [
        json.loads(line)
        for path in files
        if path.is_file()
        for line in path.read_text(encoding="utf-8").splitlines()
        if line
    ]
    curves: dict[str, dict[str, list[list[float]]]] = {}
    for title, lines in CURVES.items():
        panel = {
            label: [[float(e["run_step"]), float(e[key])] for e in entries if e["stage"] in stages and key in e]
            for (stages, key), label in lines.items()
        }
        panel = {label: line for label, line in panel.items() if line}
        if panel:
            curves[title] = panel
    return curves
