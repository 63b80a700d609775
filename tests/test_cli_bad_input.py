"""Bad input on the command line: a clear message on stderr, an exit code that is not 0, nothing half-written."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from aerialworld.cli import app

NOT_A_CITY = '<?xml version="1.0"?><shop><item/></shop>\n'
CITY_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?><core:CityModel xmlns:core="http://www.opengis.net/citygml/2.0" '
    'xmlns:gml="http://www.opengis.net/gml" xmlns:bldg="http://www.opengis.net/citygml/building/2.0">'
)
BOMB = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "xxxxxxxxxx"><!ENTITY y "&x;&x;&x;&x;&x;&x;&x;&x;&x;&x;">]>'
    "<CityModel>&y;</CityModel>"
)


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(w) for w in words])


def text_of(result: Result) -> str:
    return " ".join((result.stdout + result.stderr).split())


def test_without_arguments_help_is_shown() -> None:
    result = run()
    assert "Usage" in result.output
    names = "city mission simulate rerender look generate session train evaluate visualize reproduce report demo doctor"
    for name in names.split():
        assert name in result.output


@pytest.mark.parametrize(
    "words",
    [
        ("city", "generate"), ("city", "convert"), ("city", "info"), ("mission", "plan"), ("simulate",), ("rerender",),
        ("look",), ("generate",),
        ("session", "validate"), ("session", "info"), ("train",), ("evaluate",), ("visualize",),
        ("reproduce",), ("report",), ("demo",), ("doctor",),
    ],
)  # fmt: skip
def test_every_command_teaches_with_an_example(words: tuple[str, ...]) -> None:
    result = run(*words, "--help")
    assert result.exit_code == 0
    assert f"aerialworld {' '.join(words)}" in text_of(result)


def test_version_is_printed_alone() -> None:
    from aerialworld import __version__

    result = run("--version")
    assert (result.exit_code, result.stdout.strip()) == (0, f"aerialworld {__version__}")


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (None, "missing.gml"),
        (NOT_A_CITY, "shop.gml"),
        (CITY_HEAD, "truncated.gml"),
        (BOMB, "bomb.gml"),
        (CITY_HEAD + "</core:CityModel>", "empty.gml"),
    ],
)
def test_a_source_that_is_no_city_is_refused(tmp_path: Path, content: str | None, name: str) -> None:
    source, out = tmp_path / name, tmp_path / "world"
    if content is not None:
        source.write_text(content)
    result = run("city", "convert", source, "--out", out)
    assert result.exit_code == 2
    assert name in text_of(result)
    assert "Traceback" not in text_of(result)
    assert sorted(p.name for p in tmp_path.iterdir()) == ([name] if content is not None else [])


def test_a_demo_of_a_missing_city_writes_nothing(tmp_path: Path) -> None:
    result = run("demo", "--city", tmp_path / "nowhere", "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert "nowhere" in text_of(result)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--grid-range", "1,2,3"),
        ("--grid-range", "40,-40,-2,-40,40,150"),
        ("--grid-range", "a,b,c,d,e,f"),
        ("--grid-range", "nan,-40,-2,40,40,150"),
        ("--voxel-size", "0,1,1"),
        ("--voxel-size", "0.4"),
        ("--voxel-size", "0.001,0.001,0.001"),
        ("--frame-rate", "0"),
        ("--frame-rate", "nan"),
    ],
)
def test_bad_grids_and_rates_are_refused(tmp_path: Path, option: str, value: str) -> None:
    for command in (("simulate", tmp_path / "w", tmp_path / "p.json", "--out", tmp_path / "s"), ("demo",)):
        extra = () if command[0] == "simulate" else ("--out", tmp_path / "run")
        result = run(*command, *extra, option, value)
        assert result.exit_code == 2, text_of(result)
        assert "Traceback" not in text_of(result)
    assert list(tmp_path.iterdir()) == []


def test_modalities_without_depth_are_refused(tmp_path: Path) -> None:
    result = run("simulate", tmp_path, tmp_path / "p.json", "--out", tmp_path / "s", "--modalities", "images")
    assert result.exit_code == 2
    assert "depth is needed" in text_of(result)


def test_an_option_that_a_pattern_does_not_use_is_refused(tmp_path: Path) -> None:
    result = run("mission", "plan", tmp_path, "--pattern", "orbit", "--spacing", "3", "--out", tmp_path / "plan.json")
    assert result.exit_code == 2
    assert "--spacing: the pattern orbit does not use it" in text_of(result)


def test_a_folder_without_sessions_is_refused(tmp_path: Path) -> None:
    for words in (("session", "validate"), ("session", "info")):
        result = run(*words, tmp_path)
        assert result.exit_code == 2
        assert "holds no session" in text_of(result)


def test_truth_needs_a_world(tmp_path: Path) -> None:
    result = run("session", "validate", tmp_path, "--truth-frames", "2")
    assert result.exit_code == 2
    assert "--world" in text_of(result)


def test_training_says_what_is_missing(tmp_path: Path) -> None:
    common = ("--sessions", tmp_path, "--split", tmp_path / "split.json", "--work-dir", tmp_path / "work")
    result = run("train", *common)
    assert (result.exit_code, "holds no session folders" in text_of(result)) == (2, True)
    result = run("train", *common, "--set", "novalue")
    assert (result.exit_code, "key.sub=value" in text_of(result)) == (2, True)
    assert not (tmp_path / "work").exists()


def test_a_report_of_no_run_is_refused(tmp_path: Path) -> None:
    result = run("report", tmp_path)
    assert result.exit_code == 2
    assert "run.json is missing" in text_of(result)
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback_and_may_stand_anywhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "aerialworld", "report", str(tmp_path)]
    plain = subprocess.run(command, capture_output=True, text=True, timeout=60)
    loud = subprocess.run([*command, "--debug"], capture_output=True, text=True, timeout=60)
    assert plain.returncode == loud.returncode == 2
    assert "Traceback" not in plain.stderr and "Traceback" in loud.stderr
    assert plain.stdout == ""


def test_a_missing_stage_names_its_pip_line(tmp_path: Path) -> None:
    """With the city package hidden, `city info` says what to install."""
    hide = (
        "import sys; sys.modules['aerialworld_city'] = None; sys.argv = ['aerialworld', 'city', 'info', 'x']; "
        "from aerialworld.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", hide], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "pip install 'aerialworld[local]'" in done.stderr


def test_help_imports_no_stage() -> None:
    """The command starts where only core is installed: no torch, no Embree, no stage is imported for help."""
    code = (
        "import sys; from aerialworld.cli import app; from typer.testing import CliRunner; "
        "assert CliRunner().invoke(app, ['demo', '--help']).exit_code == 0; "
        "print([m for m in sys.modules if m.split('.')[0] in ('torch', 'numba', 'llvmlite', 'embreex', "
        "'aerialworld_city', 'aerialworld_sim', 'aerialworld_missions', 'aerialworld_recorder', "
        "'aerialworld_training', 'matplotlib')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_doctor_tells_what_is_there() -> None:
    from aerialworld.doctor import version_numbers

    result = run("doctor", "--json")
    data = json.loads(result.stdout)
    checks = {c["name"]: c for c in data["checks"]}
    assert result.exit_code == (0 if data["in_process"] else 1)
    assert data["in_process"] == (not any(c["state"] == "error" for c in checks.values()))
    assert checks["ray through one triangle (Embree)"]["state"] == "ok"
    assert checks["numba kernel"]["state"] == checks["compiled kernel"]["state"] == "ok"
    assert all(c["advice"] for c in checks.values() if c["state"] in ("missing", "warning", "error"))
    assert version_numbers("2.13.0+cpu") == (2, 13, 0)
    assert version_numbers("4.4.0.post1") == (4, 4, 0)


def test_doctor_fails_without_a_library_that_the_engine_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    from aerialworld import doctor

    missing = doctor.Library("no-such-library-here", (1,), "nothing", "pip install it")
    monkeypatch.setattr(doctor, "LIBRARIES", (missing,))
    result = run("doctor", "--json")
    assert result.exit_code == 1
    assert "pip install it" in text_of(result)


def test_output_needs_no_colour_terminal() -> None:
    """Plain pipes get plain text."""
    done = subprocess.run(
        [sys.executable, "-m", "aerialworld", "doctor"],
        capture_output=True, text=True, timeout=120, env={**os.environ, "TERM": "dumb"},
    )  # fmt: skip
    assert "\x1b[" not in done.stdout


def test_a_path_that_cannot_be_used_is_told_in_words(tmp_path: Path) -> None:
    """The system's own refusals: the path, the reason, no errno and no traceback."""
    result = run("city", "convert", tmp_path / ("x" * 300), "--out", tmp_path / "w")
    assert result.exit_code == 2
    assert "File name too long" in text_of(result) and "Errno" not in text_of(result)
    (tmp_path / "file").write_text("mine")
    result = run("simulate", tmp_path, tmp_path / "p.json", "--out", tmp_path / "file")
    assert (result.exit_code, "is a file" in text_of(result)) == (2, True)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(("tag", "value"), [("width", "0"), ("width", "1000000"), ("horizontal_fov", "9")])
def test_a_camera_that_cannot_be_is_told_with_file_and_line(tmp_path: Path, tag: str, value: str) -> None:
    from aerialworld_core.errors import InputError
    from aerialworld_core.resources import model_path
    from aerialworld_core.world import load_rig

    rig = tmp_path / "mine.sdf"
    text = Path(model_path("rig_small")).read_text()
    rig.write_text(re.sub(rf"<{tag}>[^<]*</{tag}>", f"<{tag}>{value}</{tag}>", text))
    with pytest.raises(InputError, match=r"mine\.sdf:\d+: .*cam_front"):
        load_rig(rig)


def test_a_damaged_city_json_is_named(tmp_path: Path) -> None:
    from aerialworld_core.errors import InputError
    from aerialworld_core.resources import share
    from aerialworld_core.world import load_world

    shutil.copytree(share("aerialworld_worlds") / "small_city", tmp_path / "city")
    world = load_world(tmp_path / "city")
    assert world.attribution
    (tmp_path / "city/city.json").write_text('{"attribution": 3')
    with pytest.raises(InputError, match=r"city\.json"):
        _ = world.attribution
