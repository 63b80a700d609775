"""The metric tables with their baselines, goals, the sentence that says honestly who wins, and the training curves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aerialworld.report.motion import SECONDS, object_table, path_tables
from aerialworld.report.tables import CEILING, MODEL, Cell, Column, Row, Table, score_table


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
    strata = [
        Column(stratum_name(n).replace(" m", "\u00a0m"), _mean(n, "iou")) for n in evaluation["strata"] if n != "all"
    ]
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
            *compared_tables(evaluation),
            score_table(evaluation, f"IoU by what is asked, {mean}", strata, f"{strata_note}."),
            score_table(evaluation, f"Classes, {mean}", classes, "OccWorld counts a class that never occurs as 100 %."),
            *object_table(evaluation),
            *path_tables(evaluation),
        ],
        "verdict": verdict(evaluation),
        "goals": [{"verdict": g["verdict"], "text": g["text"]} for g in evaluation.get("goals", ())],
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


def compared_tables(evaluation: dict[str, Any]) -> list[Table]:
    """A table for each knowledge of the vehicle's way: a line per stratum, a column per row, IoU at 1, 2 and 3 s. The
    highest of a line at the last of these is marked."""
    at = [k for k, t in enumerate(evaluation["horizons_s"]) if t in SECONDS]
    told = "/".join(f"{evaluation['horizons_s'][k]:g}" for k in at)
    tables = []
    for motion, names in evaluation.get("compared", {}).items() if at else ():
        rows = []
        for stratum in evaluation["strata"]:
            found = [[_at(k, stratum, "iou")(evaluation["rows"][row]) for k in at] for row in names.values()]
            if all(v is None for values in found for v in values):
                continue
            last = [values[-1] for values in found if values[-1] is not None]
            best = max(last) if len(last) > 1 else None
            texts = ["/".join("–" if v is None else f"{100 * v:.1f}" for v in values) for values in found]
            marks = [best is not None and values[-1] == best for values in found]
            rows.append(Row(stratum_name(stratum), [Cell(t, m) for t, m in zip(texts, marks, strict=True)]))
        title = f"IoU (%) at {told} s, {motion}"
        note = "Rows that know equally much of the vehicle's way. Marked: the best at the last of these horizons."
        tables.append(Table(title, list(names), rows, note))
    return tables


def verdict(evaluation: dict[str, Any]) -> str:
    """Which baselines the model beats and which it does not, by the mean IoU over all observed voxels: of those that
    know as much of the future as it does, where the evaluation tells."""
    value = _mean("all", "iou")
    rows = evaluation["rows"]
    model = value(rows[MODEL])
    if model is None:
        return "The model could not be scored: nothing was occupied in the observed voxels."
    beaten: list[str] = []
    not_beaten: list[str] = []
    told_more = False
    for name, row in rows.items():
        score = value(row)
        if name.startswith(MODEL) or name == CEILING or score is None:
            continue
        if row.get("knows") != rows[MODEL].get("knows"):
            told_more = True
            continue
        (beaten if model > score else not_beaten).append(f"{row['label']} ({100 * score:.1f} %)")
    text = f"IoU {100 * model:.1f} % ({mean_name(evaluation)}) on a place that training never saw."
    if beaten:
        text += f" The model beats: {', '.join(beaten)}."
    if not_beaten:
        text += f" It does not beat: {', '.join(not_beaten)}."
    if told_more:
        text += " What is told more of the future than the model stands in the tables."
    ceiling = value(rows[CEILING]) if CEILING in rows else None
    if ceiling is not None:
        if evaluation.get("model") == "AerialOccWorld":
            text += f" Its codes alone, of the true future and without the moved past, say {100 * ceiling:.1f} %."
        else:
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
