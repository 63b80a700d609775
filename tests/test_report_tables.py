"""Tables of the report on evaluations whose numbers are written by hand: objects, paths, goals, and who knows what."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from aerialworld.report import render_report
from aerialworld.report.metrics import metrics_section, verdict

sys.path.insert(0, str(Path(__file__).parent))
from report_evaluations import evaluation


def moving_evaluation() -> dict[str, Any]:
    """As `evaluation(0.6)`, with objects, paths, goals and what each row knows."""
    made = evaluation(0.6) | {"model": "AerialOccWorld"}
    knows = {"copy": "nothing of the future", "ego_warp": "the true motion", "occworld": "nothing of the future"}
    for (name, entry), quality in zip(made["rows"].items(), (0.25, 0.5, 1.0, None), strict=True):
        entry["knows"] = knows.get(name, "the true future frame")
        entry["vpq"] = [{"t": t, "vpq": quality, "per_class": {}} for t in (1.0, 2.0, 3.0)]
    # Off by 1, 2 and 4 m: the means until then are 1, 1.5 and 7/3.
    until = {"occworld": (1.0, 1.5, 7 / 3), "constant_velocity": (0.0, 1.5, 2.0)}
    at = {"occworld": (1.0, 2.0, 4.0), "constant_velocity": (0.0, 3.0, 3.0)}
    made["motion"] = {
        name: {
            "l2": [{"t": k + 1.0, "metres": at[name][k], "up_to": until[name][k]} for k in range(3)],
            "ade": until[name][-1], "fde": at[name][-1],
        }
        for name in at
    }  # fmt: skip
    made["planning"] = {
        name: [{"t": k + 1.0, "at": r, "up_to": r, "collisions": 0, "windows": 8 - k} for k, r in enumerate(rates)]
        for name, rates in {"occworld": (0.125, 0.25, None), "constant_velocity": (0.125, 0.5, None)}.items()
    }
    made["compared"] = {"history only": {"model": "occworld", "copied": "copy"}}
    made["goals"] = [{"verdict": "not met", "text": "not met: all voxels"}, {"verdict": "met", "text": "met: unseen"}]
    return made


def test_objects_and_paths_have_tables_where_the_evaluation_has_them() -> None:
    tables = {t.title: t for t in metrics_section(moving_evaluation())["tables"]}
    objects = tables["Moving objects (VPQ), until then"]
    assert [[c.text for c in r.cells] for r in objects.rows] == [[v] * 3 for v in ("25.0", "50.0", "100.0", "–")]
    assert [r.cells[0].best for r in objects.rows] == [False, True, False, False]  # the ceiling is no forecast
    assert [r.knows for r in objects.rows][:2] == ["nothing of the future", "the true motion"]
    motion = tables["Own motion, error in metres"]
    assert [[c.text for c in r.cells] for r in motion.rows] == [
        ["1.00", "2.00", "4.00", "2.33", "4.00"], ["0.00", "3.00", "3.00", "2.00", "3.00"]
    ]  # fmt: skip
    assert [c.best for c in motion.rows[0].cells] == [False, True, False, False, False]
    planning = tables["Planning: L2 in metres, collisions in percent"]
    assert [[c.text for c in r.cells] for r in planning.rows] == [
        ["1.00", "1.50", "2.33", "12.5", "25.0", "–"], ["0.00", "1.50", "2.00", "12.5", "50.0", "–"]
    ]  # fmt: skip
    assert [c.best for c in planning.rows[0].cells] == [False, False, False, False, True, False]  # equals win nothing
    assert "8 at 1\u00a0s, 7 at 2\u00a0s, 6 at 3\u00a0s" in planning.note
    assert planning.rows[0].label == "AerialOccWorld" and planning.rows[0].is_model
    without = [t.title for t in metrics_section(evaluation(0.6))["tables"]]
    assert not {"Moving objects (VPQ), until then", "Own motion, error in metres"} & set(without)


def test_rows_are_compared_with_those_that_know_as_much() -> None:
    made = moving_evaluation()
    told = verdict(made)
    assert "The model beats: copy (50.0 %)" in told and "ego-warp" not in told and "told more" in told
    compared = next(t for t in metrics_section(made)["tables"] if t.title == "IoU (%) at 1/2/3 s, history only")
    assert compared.columns == ["model", "copied"] and [r.label for r in compared.rows] == ["all", "unseen"]
    assert [(c.text, c.best) for c in compared.rows[0].cells] == [("60.0/60.0/60.0", True), ("50.0/50.0/50.0", False)]


def test_columns_of_nothing_are_left_out() -> None:
    made = evaluation(0.6)
    for name, entry in made["rows"].items():
        for place in (*entry["horizons"], {"strata": entry["mean_1_2_3"]}):
            place["strata"]["unseen"] = place["strata"]["unseen"] | {"iou": 0.0 if name == "reconstruction" else None}
    table = next(t for t in metrics_section(made)["tables"] if t.title.startswith("IoU by what is asked"))
    assert "unseen" not in table.columns


def test_goals_stand_on_the_page(tmp_path: Path) -> None:
    run = {
        "command": ["aerialworld", "demo"], "city": "generated", "seed": 0, "rig": "rig_small", "frame_rate": 2.0,
        "grid": {"shape": [4, 4, 4], "voxel_size": [1, 1, 1], "range": [0, 0, 0, 4, 4, 4]}, "duration": 1.0,
        "config": "demo", "overrides": [], "versions": {},
        "machine": {"cpu": "one", "cores": 2, "memory_gb": 1.0, "system": "Linux", "python": "3"},
    }  # fmt: skip
    (tmp_path / "run.json").write_text(json.dumps(run))
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "evaluation.json").write_text(json.dumps(moving_evaluation()))
    html = render_report(tmp_path)
    assert '<li class="not-met">not met: all voxels</li>' in html and '<li class="met">met: unseen</li>' in html
    assert '<span class="knows">knows nothing of the future</span>' in html
    assert 'alt="IoU by horizon, a panel for each stratum" src="data:image/png;base64,' in html
