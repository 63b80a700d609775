"""Campaign files: what may stand in them, and what is said about everything else."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from aerialworld.campaign.card import recipe
from aerialworld.campaign.example import EXAMPLE
from aerialworld.campaign.manifest import asked_of
from aerialworld.campaign.spec import parse_campaign, read_campaign
from aerialworld.campaign.worlds import find_worlds
from aerialworld.campaign.yaml_text import MAX_BYTES, CampaignError, parse_yaml
from aerialworld.cli import app
from aerialworld_core.grid import DEFAULT_GRID

WORLD = Path(__file__).resolve().parents[1] / "worlds" / "small_city"


def campaign_of(text: str):  # type: ignore[no-untyped-def]
    return parse_campaign(parse_yaml(text, "c.yaml"), "c.yaml")


def test_a_world_and_a_number_are_enough() -> None:
    campaign = campaign_of("worlds: [x]\nsessions: 10")
    assert campaign.mission_names == ("survey", "orbit", "road")
    assert (campaign.sessions, campaign.frame_count, campaign.flight_seconds) == (10, 100, 49.5)
    assert campaign.grid.grid() == DEFAULT_GRID
    assert campaign.split.shares() == {"train": 0.8, "val": 0.1, "test": 0.1}


def test_the_example_says_the_defaults() -> None:
    """But for what its comments mark as examples, the printed file changes nothing."""
    written, plain = campaign_of(EXAMPLE), campaign_of("worlds: [worlds/roppongi]\nsessions: 10")
    a, b = (asked_of(c, ["w"]) for c in (written, plain))
    assert a.pop("frames") == 100 and b.pop("frames") is None
    assert [{k: v for k, v in c.items() if v is not None} for c in a.pop("conditions")] == [{"weather": "clear"}]
    b.pop("conditions")
    assert a == b
    result = CliRunner().invoke(app, ["generate", "--example"])
    assert (result.exit_code, result.stdout.strip()) == (0, EXAMPLE.strip())


def test_the_card_s_recipe_is_a_campaign_that_says_the_same() -> None:
    import yaml

    text = "worlds: [{path: a/b, split: test}]\nseeds: [3, 4]\nduration: 30\nmissions: [{pattern: orbit, radius: 25}]"
    asked = asked_of(campaign_of(text), ["b"])
    again = campaign_of(yaml.safe_dump(recipe(asked)))
    assert asked_of(again, ["b"]) == asked


def test_times_dates_and_words_stay_what_they_look_like() -> None:
    data = parse_yaml("a: 12:00\nb: 2024-06-21\nc: no\nd: 1e3\ne: 007\nf: 0x10\ng: ~\nh: true\ni: .5\nj: 1_000", "c")
    assert data == {
        "a": "12:00", "b": "2024-06-21", "c": "no", "d": 1000.0, "e": 7, "f": 16, "g": None, "h": True, "i": 0.5,
        "j": "1_000",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("frames", "rate", "seconds"),
    [(500, 2.0, 249.5), (4, 10.0, 0.3), (100, 3.0, 33.0), (5, 100.0, 0.3), (7, 30.0, 0.3)],
)
def test_a_plan_is_long_enough_for_every_frame(frames: int, rate: float, seconds: float) -> None:
    campaign = parse_campaign({"worlds": ["x"], "frames": frames, "frame_rate": rate}, "c")
    assert campaign.flight_seconds == pytest.approx(seconds)
    assert campaign.flight_seconds * 1e9 + 1 >= (frames - 1) * campaign.period_ns
    assert parse_campaign({"worlds": ["x"], "duration": 49.5}, "c").frame_count == 100


BAD = [
    ("", "is a table"),
    ("- x", "is a table"),
    ("worlds: x", "worlds: is a list"),
    ("worlds: []", "worlds:"),
    ("sessions: 3", "worlds: is missing"),
    ("worlds: [5]", "worlds[0]"),
    ("worlds: [{pth: x}]", "did you mean path?"),
    ("worlds: [x]\nsesions: 3", "unknown key sesions; did you mean sessions?"),
    ("worlds: [x]\nvalidate_sessions: true", "did you mean validate?"),
    ("worlds: [x]\nsessions: 0", "sessions"),
    ("worlds: [x]\nsessions: 1.5", "sessions"),
    ("worlds: [x]\nsessions: true", "sessions"),
    ("worlds: [x]\nsessions: ten", "'ten'"),
    ("worlds: [x]\nsessions: 99999999999999999999999", "sessions"),
    ("worlds: [x]\nframes: 3", "frames"),
    ("worlds: [x]\nframes: 50\nduration: 9", "give one of them"),
    ("worlds: [x]\nframe_rate: .inf", "frame_rate: must be a finite number"),
    ("worlds: [x]\nframe_rate: 0", "frame_rate"),
    ("worlds: [x]\nmissions: []", "missions"),
    ("worlds: [x]\nmissions: [{pattern: survay}]", "did you mean survey?"),
    ("worlds: [x]\nmissions: [{altitude: 3}]", "missions[0]: needs a pattern"),
    ("worlds: [x]\nmissions: [{pattern: survey, altitud: 3}]", "missions[0]: unknown key altitud; did you mean alti"),
    ("worlds: [x]\nmissions: [{pattern: road, altitude: 3}]", "unknown key altitude"),
    ("worlds: [x]\nmissions: [{pattern: survey, altitude: [30, 10]}]", "missions[0].altitude: [30, 10] must rise"),
    ("worlds: [x]\nmissions: [{pattern: survey, altitude: 9999}]", "within 2 and 500"),
    ("worlds: [x]\nmissions: [{pattern: survey, altitude: .nan}]", "finite"),
    ("worlds: [x]\nmissions: [{pattern: survey, altitude: [1, 2, 3]}]", "two in brackets"),
    ("worlds: [x]\nmissions: [{pattern: survey, altitude: yes}]", "two in brackets"),
    ("worlds: [x]\nmissions: [{pattern: survey, name: a}, {pattern: orbit, name: a}]", "a is there twice"),
    ("worlds: [x]\nmissions: [{pattern: survey, name: ../a}]", "missions[0].name"),
    ("worlds: [x]\nmissions: [{pattern: survey, vehicle: Drone 1}]", "missions[0].vehicle"),
    ("worlds: [x]\nseeds: [1, 1]", "1 is there twice"),
    ("worlds: [x]\nseeds: [-1]", "seeds[0]"),
    ("worlds: [x]\nseeds: 3", "seeds"),
    ("worlds: [x]\nconditions: [{local_time: 25:00}]", 'HH:MM'),
    ("worlds: [x]\nconditions: [{weather: snow}]", "conditions[0].weather"),
    ("worlds: [x]\nconditions: []", "conditions"),
    ("worlds: [x]\nconditions: [{weather: fog, rain_mm_h: 3}]", "rain_mm_h says nothing in weather fog"),
    ("worlds: [x]\nconditions: {seed: 3}", "unknown entry 'seed'"),
    ("worlds: [x]\nconditions: {randomise: {weather: [clear, hail]}}", "'hail' is not simulated"),
    ("worlds: [x]\nconditions: {randomise: {whether: [clear]}}", "did you mean weather?"),
    ("worlds: [x]\nmodalities: [images]", "modalities need depth"),
    ("worlds: [x]\nmodalities: [radar, depth]", "modalities[0]"),
    ("worlds: [x]\ngrid: {voxel_size: [0, 1, 1]}", "grid:"),
    ("worlds: [x]\ngrid: {voxel_size: [1, 1]}", "grid.voxel_size"),
    ("worlds: [x]\ngrid: {voxel_size: [0.001, 0.001, 0.001]}", "10^8"),
    ("worlds: [x]\ngrid: {range: [9, 0, 0, 1, 1, 1]}", "grid:"),
    ("worlds: [x]\nsplit: {train: 0.5}", "add up to 1"),
    ("worlds: [x]\nsplit: {by: window}", "'place' or 'world'"),
    ("worlds: [{path: x, region: [3, 3, 1, 1]}]", "worlds[0].region"),
    ("worlds: [{path: x, split: eval}]", "worlds[0].split"),
    ("worlds: [x]\nlicense: 'MIT; rm'", "license"),
    ("worlds: &a [x]\nseeds: *a", "line 2: aliases"),
    ("worlds: [x]\nworlds: [y]", "line 2: 'worlds' is given twice"),
    ("worlds: [x\n", "line 2"),
    ("worlds: [!!python/object/apply:os.system ['touch x']]", "line 1"),
    ("? [a]\n: b", "plain words"),
    ("a: " + "[" * 500 + "]" * 500, "nested too deeply"),
    ("\x00", "no YAML"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "says"), BAD, ids=[b[0][:40] for b in BAD])
def test_a_bad_campaign_is_refused_by_file_and_key(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    result = CliRunner().invoke(app, ["generate", str(file), "--out", str(tmp_path / "out")])
    told = " ".join(result.stderr.split())
    assert result.exit_code == 2, told
    assert says in told and str(file) in "".join(result.stderr.split("\n")), told
    assert "Traceback" not in told
    assert [p.name for p in tmp_path.iterdir()] == ["c.yaml"]


def test_files_that_are_no_campaigns(tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match="--example"):
        read_campaign(tmp_path / "missing.yaml")
    (tmp_path / "large.yaml").write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(CampaignError, match="larger than"):
        read_campaign(tmp_path / "large.yaml")
    (tmp_path / "latin.yaml").write_bytes("worlds: [渋谷]".encode("shift_jis"))
    with pytest.raises(CampaignError, match="UTF-8"):
        read_campaign(tmp_path / "latin.yaml")
    with pytest.raises(CampaignError, match="cannot be read"):
        read_campaign(tmp_path)


def test_worlds_are_found_from_the_file_and_named_once(tmp_path: Path) -> None:
    (tmp_path / "city").mkdir()
    (tmp_path / "東京 (1)").mkdir()
    found = find_worlds(campaign_of(f"worlds: ['{WORLD}', city, '東京 (1)']"), tmp_path, tmp_path / "out")
    assert [w.name for w in found] == ["small_city", "city", "東京__1_"]
    assert found[0].source is None and found[1].path == tmp_path / "out" / "worlds" / "city"
    for text, says in (
        ("worlds: [nowhere]", "no such file"),
        ("worlds: [city, ./city]", "second world called city"),
        (f"worlds: [{{path: '{WORLD}', convert: {{lod: 1}}}}]", "is a world already"),
    ):
        with pytest.raises(CampaignError, match=says):
            find_worlds(campaign_of(text), tmp_path, tmp_path / "out")


def test_a_condition_that_cannot_be_shown_is_refused_not_ignored(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(f"worlds: ['{WORLD}']\nconditions: [{{date: '2024-04-01'}}]\n")
    result = CliRunner().invoke(app, ["generate", str(file), "--out", str(tmp_path / "out")])
    told = " ".join(result.stderr.split())
    assert result.exit_code == 2 and "date says nothing without local_time" in told
    assert told.endswith("for example 12:00"), "the way out is the last word, not the value once more"
    assert not (tmp_path / "out").exists()
