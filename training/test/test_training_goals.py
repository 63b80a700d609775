"""The goals and the narrow tables, on rows whose numbers are written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from aerialworld_training.evaluation_rows import compared
from aerialworld_training.evaluation_tables import print_evaluation
from aerialworld_training.goals import judge

STRATA = ("all", "unseen", "dynamic")


def row(iou: float | None, **other: float | None) -> dict[str, Any]:
    """IoU at 1, 2 and 3 s and in their mean: `iou`, but for the strata that are named."""
    strata = {name: {"iou": other.get(name, iou)} for name in STRATA}
    return {"label": "row", "mean_1_2_3": strata, "horizons": [{"t": t, "strata": strata} for t in (1.0, 2.0, 3.0)]}


def rows(**changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Of an OccWorld: the model 0.5; along constant velocity the warp 0.4, its fills 0.3 and 0.2, its objects 0.45."""
    made = {
        "ego_warp_fused": row(0.9),
        "ego_warp_fused_constant_velocity": row(0.4),
        "ego_warp_fill_height": row(0.9),
        "ego_warp_fill_nearest": row(0.9),
        "ego_warp_constant_velocity_fill_height": row(0.3),
        "ego_warp_constant_velocity_fill_nearest": row(0.2),
        "actors_tracked": row(0.9),
        "actors_tracked_constant_velocity": row(0.45),
        "occworld": row(0.5),
    }
    return made | changes


def verdicts(given: dict[str, dict[str, Any]]) -> dict[tuple[str, str], str]:
    return {(g["stratum"], g["motion"]): g["verdict"] for g in judge(given)}


def test_a_forecast_is_measured_against_what_knows_no_more() -> None:
    """0.5 ≥ 0.4 + 0.02 and ≥ 1.3 · 0.3, but 1.2 · 0.45 is 0.54; rows along the true motion count for nothing here."""
    goals = judge(rows())
    assert [g["verdict"] for g in goals] == ["met", "met", "not met"]
    assert {g["motion"] for g in goals} == {"history only"} and {g["row"] for g in goals} == {"occworld"}
    assert [g["needed"] for g in goals] == pytest.approx([0.42, 0.39, 0.54])
    assert [g["baseline"] for g in goals] == [
        "ego_warp_fused_constant_velocity", "ego_warp_constant_velocity_fill_height", "actors_tracked_constant_velocity"
    ]  # fmt: skip
    assert (
        goals[2]["text"].startswith("not met: dynamic")
        and "model 50.0, baseline 45.0, needed 54.0 %" in (goals[2]["text"])
    )


def test_the_true_motion_has_goals_of_its_own() -> None:
    """0.92 is two points above 0.9; 1.3 and 1.2 times as good as 0.7 are 0.91 and 0.84."""
    true = {"ego_warp_fill_height": row(0.7), "actors_tracked": row(0.7), "ego_warp_fill_nearest": row(0.1)}
    good = rows(**true, occworld_true_motion=row(0.9200001, unseen=0.91000001, dynamic=0.8400001))
    assert {v for (_, motion), v in verdicts(good).items() if motion == "true motion"} == {"met"}
    bad = rows(**true, occworld_true_motion=row(0.9199, unseen=0.9099, dynamic=0.8399))
    assert {v for (_, motion), v in verdicts(bad).items() if motion == "true motion"} == {"not met"}
    assert len(judge(bad)) == 6


def test_what_is_lacking_is_not_measured() -> None:
    nothing_moves = rows(occworld=row(0.5, dynamic=None))
    assert verdicts(nothing_moves)["dynamic", "history only"] == "not measured"
    short = {name: r | {"mean_1_2_3": None, "horizons": r["horizons"][:2]} for name, r in rows().items()}
    goals = judge(short)
    assert {g["verdict"] for g in goals} == {"not measured"} and goals[0]["needed"] is None
    assert goals[0]["text"].endswith("(history only)")


def test_no_share_of_nothing_is_a_goal_met() -> None:
    none = row(0.0)
    fills = {f"ego_warp_constant_velocity_fill_{kind}": none for kind in ("height", "nearest")}
    assert verdicts(rows(**fills, occworld=none))["unseen", "history only"] == "not met"
    assert verdicts(rows(**fills, occworld=row(0.01)))["unseen", "history only"] == "met"


def test_the_terminal_shows_rows_beside_their_like(capsys: pytest.CaptureFixture[str]) -> None:
    given = rows(occworld=row(0.5, unseen=None))
    result = {
        "horizons_s": [0.5, 1.0, 2.0, 3.0], "rows": given, "strata": dict.fromkeys(STRATA, ""),
        "compared": compared(given), "goals": judge(given),
    }  # fmt: skip
    for r in given.values():
        r["horizons"] = [{"t": 0.5, "strata": r["horizons"][0]["strata"]}, *r["horizons"]]
    print_evaluation(result)
    lines = capsys.readouterr().out.splitlines()
    header = next(line for line in lines if line.startswith("IoU, %, at 1/2/3 s, history only"))
    assert [part.strip() for part in header.split("  ") if part][1:] == [
        "model", "fused warp", "fill: constant", "fill: nearest", "tracked objects"
    ]  # fmt: skip
    unseen = next(line for line in lines if line.startswith("unseen"))
    assert unseen.split()[1:] == ["–/–/–", "40.0/40.0/40.0", "30.0/30.0/30.0", "20.0/20.0/20.0", "45.0/45.0/45.0"]
    assert max(map(len, lines)) <= 150 and lines[-1].startswith("not met: dynamic")
