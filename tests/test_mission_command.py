"""`aerialworld mission plan` and `show`: patterns, files, exports, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from aerialworld.cli import app
from aerialworld_core.plan import Plan

WORLD = Path(__file__).resolve().parents[1] / "worlds" / "small_city"


def run(*words: object):
    return CliRunner().invoke(app, ["mission", *(str(w) for w in words)])


@pytest.mark.parametrize(
    ("pattern", "options", "kind"),
    [
        ("survey", ["--size", "60,40", "--overlap", "0.6", "--heading", "30", "--centre", "150,100"], "drone"),
        ("figure8", ["--radius", "20", "--look", "0,200", "--altitude-frame", "home", "--altitude", "60"], "drone"),
        ("corridor", ["--line", "-100,0 0,10 120,40", "--altitude", "40", "--avoid", "raise"], "drone"),
        ("random", ["--duration", "20", "--seed", "4", "--vehicle", "drone_7"], "drone"),
        ("roads", ["--duration", "15", "--vehicle", "rover"], "rover"),
        ("patrol", ["--size", "120", "--duration", "15", "--jitter"], "rover"),
    ],
)
def test_every_pattern_is_planned_and_shown(tmp_path: Path, pattern: str, options: list[str], kind: str) -> None:
    out = tmp_path / "plan.json"
    result = run("plan", WORLD, "--pattern", pattern, *options, "--out", out)
    assert result.exit_code == 0, result.output
    plan = Plan.read(out)
    assert (plan.pattern, plan.agent_type) == (pattern, kind)
    assert plan.vehicle == ("drone_7" if pattern == "random" else f"{kind}_1")
    shown = run("show", out, "--world", WORLD, "--json", "--waypoints")
    assert shown.exit_code == 0, shown.output
    figures = json.loads(shown.stdout)
    assert figures["seconds"] == pytest.approx(plan.duration) and figures["in_a_solid_s"] == 0
    assert figures["waypoint_count"] == len(figures["waypoints"]) == len(plan.route())
    if kind == "drone":
        assert figures["over_ground_m"]["lowest"] > 2 and (figures["nearest_building_m"] or 99) >= 4.95
    text = run("show", out)
    assert text.exit_code == 0 and f"{pattern} of {plan.vehicle}" in text.stdout and "fence: 4 corners" in text.stdout


def test_a_plan_goes_to_a_ground_station_and_comes_back(tmp_path: Path) -> None:
    out, mission, line = tmp_path / "plan.json", tmp_path / "m.plan", tmp_path / "m.geojson"
    first = run(
        "plan", WORLD, "--pattern", "corridor", "--line", "-100,0 0,10 120,40", "--altitude", "60", "--out", out,
        "--export", mission, "--export", line, "--picture", tmp_path / "map.png",
    )  # fmt: skip
    assert first.exit_code == 0, first.output
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    again = run("plan", WORLD, "--pattern", "waypoints", "--file", mission, "--out", tmp_path / "again.json")
    assert again.exit_code == 0 and "the return ends over home" in again.output, again.output
    there = Plan.read(out).position
    back = Plan.read(tmp_path / "again.json").position
    for point in there[::20]:
        assert np.linalg.norm(back - point, axis=1).min() < 1.0
    flown = run(
        "plan", WORLD, "--pattern", "corridor", "--line", line, "--altitude", "60", "--out", tmp_path / "l.json"
    )
    assert flown.exit_code == 0, flown.output
    shown = run("show", mission, "--world", WORLD)
    assert shown.exit_code == 0 and "waypoints of drone_1" in shown.stdout


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--pattern", "survey", "--vehicle", "plane"], "unknown vehicle"),
        (["--pattern", "survey", "--vehicle", "rover"], "this pattern is for a drone"),
        (["--pattern", "patrol", "--vehicle", "drone_2"], "this pattern is for a rover"),
        (["--pattern", "survey", "--spacing", "0"], "--spacing: 0.0 is not a positive number"),
        (["--pattern", "survey", "--altitude", "-5"], "--altitude: -5.0 is not a positive number"),
        (["--pattern", "survey", "--size", "5000"], "does not fit the world"),
        (["--pattern", "survey", "--size", "a"], "--size"),
        (["--pattern", "survey", "--overlap", "1.5"], "overlap must be"),
        (["--pattern", "survey", "--overlap", "0.5", "--spacing", "9"], "say the same"),
        (["--pattern", "survey", "--radius", "9"], "--radius: the pattern survey does not use it"),
        (["--pattern", "survey", "--length", "9"], "--length: the pattern survey does not use it"),
        (["--pattern", "survey", "--file", "x.plan"], "--file: a survey reads none"),
        (["--pattern", "survey", "--fence", "0,0,20,20"], "leaves its fence"),
        (["--pattern", "survey", "--fence", "a"], "--fence"),
        (["--pattern", "waypoints"], "give --file"),
        (["--pattern", "waypoints", "--file", "/none.plan"], "no such file"),
        (["--pattern", "corridor"], "either a line"),
        (["--pattern", "corridor", "--line", "1,2"], "neither a GeoJSON file nor points"),
        (["--pattern", "corridor", "--line", "-100,0 0,10", "--altitude", "3", "--avoid", "refuse"], "nearer than 5 m"),
        (["--pattern", "orbit", "--look", "up"], "--look"),
        (["--pattern", "orbit", "--export", "x.kml"], "plans are written as"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_one_line(tmp_path: Path, options: list[str], says: str) -> None:
    result = run("plan", WORLD, *options, "--out", tmp_path / "plan.json")
    assert result.exit_code == 2, result.output
    text = " ".join(result.output.split())
    assert says in text and "Traceback" not in text


def test_show_needs_a_world_for_maps_and_for_places_on_earth(tmp_path: Path) -> None:
    for words, says in (
        (["plan.json", "--picture", "x.png"], "needs --world"),
        (["mission.plan"], "give the world"),
        (["none.json"], "no such plan"),
    ):
        result = run("show", *words)
        assert result.exit_code == 2 and says in " ".join(result.output.split())
