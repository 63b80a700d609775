"""Weather from the command line to the session: what it changes, what it never does, and that it is recorded."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from aerialworld.campaign.spec import parse_campaign
from aerialworld.cli import app
from aerialworld_core.conditions_drawn import RandomConditions, conditions_from
from aerialworld_core.plan import Plan
from aerialworld_core.session import Session, validate
from aerialworld_core.world import load_world

sys.path.insert(0, str(Path(__file__).parent))
from session_files import content

GRID = ("--grid-range", "-24,-24,-2,24,24,78", "--voxel-size", "1.2,1.2,2.5")
TRUTH = ("occupancy/", "depth/", "semantic/", "instance/", "poses/", "imu/", "actors/")
STORM = "local_time=23:00,date=2024-04-01,weather=rain,rain_mm_h=60,visibility_m=300,exposure=auto"
RANDOM = "seed: 3\nrandomise:\n  local_time: [06:00, 18:00]\n  weather: [fog, rain]\n  rain_mm_h: [2, 50]\n"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def sessions(*arguments: str | Path) -> list[Session]:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return [Session.open(Path(line)) for line in result.stdout.strip().splitlines()]


@pytest.fixture(scope="module")
def plan_file(small_city: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds over the roofs."""
    t = np.arange(6) * 0.4
    top = float(load_world(small_city).bounds[1, 2])
    position = np.column_stack([3 * t, 2 * np.sin(t), np.full(6, top + 4.0)])
    orientation = np.tile([0.0, 0.0, 0.0, 1.0], (6, 1))
    path = tmp_path_factory.mktemp("plan") / "over.json"
    Plan("over", "drone_1", "drone", "survey", "A", 3, t, position, orientation).write(path)
    return path


@pytest.fixture(scope="module")
def simulated(small_city: Path, plan_file: Path, tmp_path_factory: pytest.TempPathFactory):
    def make(*options: str | Path, plans: int = 1) -> list[Session]:
        out = tmp_path_factory.mktemp("sessions")
        keep = "depth,semantic,instance"
        return sessions(
            "simulate", small_city, *[plan_file] * plans, "--out", out, "--rig", "rig_small", *GRID, "--keep", keep,
            "--frame-rate", "1", *options,
        )  # fmt: skip

    return make


@pytest.fixture(scope="module")
def clear(simulated) -> Session:
    return simulated()[0]


@pytest.fixture(scope="module")
def stormy(simulated) -> Session:
    return simulated("--conditions", STORM)[0]


def test_a_stormy_night_changes_pictures_and_scans_and_no_truth(clear: Session, stormy: Session) -> None:
    one, two = content(clear.path), content(stormy.path)
    assert one.keys() == two.keys()
    for name in one:
        if name.startswith(TRUTH):
            assert one[name] == two[name], name
        elif name.startswith(("images/", "lidar/")):
            assert one[name] != two[name], name
    assert any(n.startswith("occupancy/") for n in one) and any(n.startswith("instance/") for n in one)
    told, in_rain = (validate(s.path).errors for s in (clear, stormy))
    assert told == in_rain, "what a short flight lacks, and nothing of the weather"


def test_the_session_says_under_what_it_was_recorded(clear: Session, stormy: Session) -> None:
    told = dict(stormy.meta.conditions)
    assert told.pop("sun_direction")[2] > 0.5, "from below"
    assert told == {
        "local_time": "23:00", "date": "2024-04-01", "utc_offset_h": 9.0, "weather": "rain", "rain_mm_h": 60.0,
        "visibility_m": 300.0, "cloud_cover": 1.0, "exposure": "auto",
    }  # fmt: skip
    assert clear.meta.conditions.keys() == {"weather", "sun_direction"}


def test_a_recorded_storm_renders_to_the_same_bytes(small_city: Path, stormy: Session, tmp_path: Path) -> None:
    again = sessions(
        "rerender", stormy.path, "--world", small_city, "--out", tmp_path, "--rig", "rig_small",
        "--keep", "depth,semantic,instance",
    )  # fmt: skip
    old, new = content(stormy.path), content(again[0].path)
    assert {n for n in old if old[n] != new.get(n)} == {"mission.json"} and old.keys() == new.keys()


def test_drawn_conditions_are_each_session_s_own(small_city: Path, simulated, clear: Session, tmp_path: Path) -> None:
    file = tmp_path / "conditions.yaml"
    file.write_text(RANDOM)
    made = simulated("--conditions", file, plans=2)
    wanted = conditions_from({
        "seed": 3,
        "randomise": {"local_time": ["06:00", "18:00"], "weather": ["fog", "rain"], "rain_mm_h": [2, 50]},
    })  # fmt: skip
    assert isinstance(wanted, RandomConditions)
    for session in made:
        drawn = wanted.draw(session.path.name).to_dict()
        assert drawn.items() <= dict(session.meta.conditions).items(), session.path.name
    assert len({s.meta.conditions["local_time"] for s in made}) == 2
    again = sessions(
        "rerender", clear.path, "--world", small_city, "--out", tmp_path / "again", "--conditions", file,
        "--modalities", "images,depth",
    )  # fmt: skip
    assert wanted.draw(clear.path.name).to_dict().items() <= dict(again[0].meta.conditions).items()


def test_an_interrupted_session_goes_on_under_its_own_conditions(
    small_city: Path, plan_file: Path, simulated, tmp_path: Path
) -> None:
    file = tmp_path / "conditions.yaml"
    file.write_text(RANDOM)
    whole = simulated("--conditions", file)[0]
    arguments = (
        "simulate", small_city, plan_file, "--out", whole.path.parent, "--rig", "rig_small", *GRID,
        "--keep", "depth,semantic,instance", "--frame-rate", "1", "--resume",
    )  # fmt: skip
    kept = run(*arguments, "--conditions", file)
    assert kept.exit_code == 0 and "finished before, kept" in kept.stderr
    file.write_text(RANDOM.replace("seed: 3", "seed: 4"))
    refused = run(*arguments, "--conditions", file)
    assert refused.exit_code == 2 and "another conditions" in refused.stderr


def test_a_look_shows_and_names_the_weather(small_city: Path, tmp_path: Path) -> None:
    from PIL import Image

    pictures = []
    for given in ("weather=clear", "weather=fog,visibility_m=40"):
        out = tmp_path / f"{len(pictures)}.png"
        result = run("look", small_city, "--street", "--rig", "rig_small", "--conditions", given, "--out", out)
        assert result.exit_code == 0, result.output
        pictures.append(np.asarray(Image.open(io.BytesIO(out.read_bytes())).convert("RGB"), float))
    spread = [p[60:700].std() for p in pictures]
    assert spread[1] < 0.8 * spread[0], "fog takes contrast"


def test_a_campaign_draws_conditions_for_each_job() -> None:
    block = {"seed": 3, "randomise": {"weather": ["clear", "fog"], "local_time": ["06:00", "18:00"]}}
    one = parse_campaign({"worlds": ["a"], "conditions": block}, "c").conditions
    many = parse_campaign({"worlds": ["a"], "conditions": [{"weather": "rain"}, block]}, "c").conditions
    assert one[0] == many[1] and many[0].of_session(7) == {"weather": "rain"}
    found = [one[0].of_session(seed) for seed in range(200)]
    assert found == [one[0].of_session(seed) for seed in range(200)]
    assert {f["weather"] for f in found} == {"clear", "fog"} and len({f["local_time"] for f in found}) > 100
