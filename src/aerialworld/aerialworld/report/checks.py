"""The validation's figures as a table."""

from __future__ import annotations

from typing import Any

#: Figures of `aerialworld_core.session.validate` that the table shows, where they exist, and how.
FIGURES = (
    ("frames", "frames", "{:.0f}"),
    ("occupied_fraction", "occupied", "{:.2%}"),
    ("observed_fraction", "observed", "{:.1%}"),
    ("recall", "recall", "{:.4f}"),
    ("precision", "precision", "{:.4f}"),
    ("lidar_agreement", "LiDAR agrees", "{:.1%}"),
)
NOTE = (
    "Recall: share of the mesh surface visible from the cube (a dense ray oracle) that is occupied. Precision: share "
    "of occupied voxels that intersect the mesh. IoU: trivial forecasts over observed voxels. Copy repeats the frame "
    "of 1 s before, ego warp moves it with the true motion, constant never changes (chosen with the answers known)."
)


def check_table(validation: dict[str, Any]) -> dict[str, Any]:
    """Columns that at least one session has a figure for; errors and warnings below."""
    figures = {name: _numbers(report["figures"]) for name, report in validation.items()}
    columns = [(key, title, form) for key, title, form in FIGURES if any(key in f for f in figures.values())]
    columns += [
        (key, key.removeprefix("baseline_").replace("_", " ") + " IoU", "{:.3f}")
        for key in sorted({k for f in figures.values() for k in f if k.startswith("baseline_")})
    ]
    rows = [
        {"name": name, "cells": [form.format(f[key]) if key in f else "–" for key, _, form in columns]}
        for name, f in figures.items()
    ]
    problems = [
        {"kind": kind, "text": f"{name}: {line}"}
        for name, report in validation.items()
        for kind, lines in (("bad", report["errors"]), ("warn", report["warnings"]))
        for line in lines
    ]
    return {"columns": [c[1] for c in columns], "rows": rows, "problems": problems, "note": NOTE}


def _numbers(figures: dict[str, Any]) -> dict[str, float]:
    return {k: float(v) for k, v in figures.items() if isinstance(v, int | float) and not isinstance(v, bool)}
