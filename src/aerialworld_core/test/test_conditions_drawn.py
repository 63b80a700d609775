"""Conditions that are drawn: the same for the same session and seed, within what was asked, as often as was asked."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from aerialworld_core.conditions import Conditions
from aerialworld_core.conditions_drawn import RandomConditions, conditions_for, conditions_from, read_conditions
from aerialworld_core.errors import InputError
from aerialworld_core.weathers import bounds_of

BLOCK = {
    "randomise": {
        "local_time": ["06:00", "18:00"],
        "date": ["2024-03-01", "2024-04-30"],
        "weather": ["clear", "rain", "fog", "rain"],
        "rain_mm_h": [1, 20],
        "visibility_m": [100, 8000],
        "exposure": [-1, 1],
    },
    "seed": 3,
    "utc_offset_h": 9,
}
MANY = [f"drone_{i}" for i in range(4000)]


def drawn(block=BLOCK) -> list[Conditions]:
    wanted = conditions_from(block)
    assert isinstance(wanted, RandomConditions)
    return [wanted.draw(name) for name in MANY]


def test_equal_sessions_and_seeds_have_equal_conditions() -> None:
    first = drawn()
    assert first == drawn() and len(set(first)) > 3000
    assert conditions_for(conditions_from(BLOCK), "drone_7") == first[7]
    other = drawn({**BLOCK, "seed": 4})
    assert sum(a == b for a, b in zip(first, other, strict=True)) < 10
    assert conditions_for(Conditions(weather="fog"), "drone_7") == Conditions(weather="fog")


def test_one_entry_does_not_change_another() -> None:
    fewer = {k: v for k, v in BLOCK["randomise"].items() if k not in ("visibility_m", "date")}
    for a, b in zip(drawn(), drawn({**BLOCK, "randomise": fewer}), strict=True):
        assert (a.local_time, a.weather, a.rain_mm_h, a.exposure) == (b.local_time, b.weather, b.rain_mm_h, b.exposure)


def test_every_value_lies_where_it_was_asked() -> None:
    found = drawn()
    assert all("06:00" <= c.local_time <= "18:00" and c.utc_offset_h == 9 for c in found)
    assert {c.local_time[:2] for c in found} == {f"{h:02d}" for h in range(6, 19)}
    assert {c.date for c in found} >= {"2024-03-01", "2024-03-31", "2024-04-30"}
    assert all("2024-03-01" <= c.date <= "2024-04-30" and -1 <= c.exposure <= 1 for c in found)
    for c in found:
        assert (c.rain_mm_h is not None) == (c.weather == "rain")
        low, high = bounds_of(c.weather, "visibility_m")
        assert c.visibility_m is not None and max(low, 100) <= c.visibility_m <= min(high, 8000)


def test_they_are_spread_as_stated() -> None:
    """Words in equal parts, one that stands twice twice as often; hours and stops evenly; rates in their logarithm."""
    found = drawn()
    count = Counter(c.weather for c in found)
    for word, share in (("clear", 0.25), ("fog", 0.25), ("rain", 0.5)):
        assert count[word] / len(found) == pytest.approx(share, abs=5 * np.sqrt(share * (1 - share) / len(found)))
    minutes = np.array([60 * int(c.local_time[:2]) + int(c.local_time[3:]) for c in found])
    assert minutes.mean() == pytest.approx(720, abs=5 * 208 / np.sqrt(len(found)))
    rates = np.log([c.rain_mm_h for c in found if c.rain_mm_h is not None])
    assert rates.mean() == pytest.approx(np.log(20) / 2, abs=5 * np.log(20) / np.sqrt(12 * len(rates)))
    assert np.corrcoef(minutes, [c.exposure for c in found])[0, 1] == pytest.approx(0, abs=0.08)


def test_a_night_runs_past_midnight() -> None:
    times = {c.local_time for c in drawn({"randomise": {"local_time": ["22:00", "02:00"]}})}
    assert all(t >= "22:00" or t <= "02:00" for t in times) and len(times) == 241


def test_a_fixed_weather_bounds_what_is_drawn() -> None:
    found = drawn({"weather": "fog", "randomise": {"visibility_m": [500, 5000]}})
    assert all(500 <= c.visibility_m <= 1000 for c in found)
    found = drawn({"randomise": {"weather": ["haze", "fog"], "visibility_m": [2000, 5000]}})
    assert all(c.visibility_m is None for c in found if c.weather == "fog"), "none of it is fog: fog's own"
    assert all(2000 <= c.visibility_m <= 5000 for c in found if c.weather == "haze")


def test_files_hold_them(tmp_path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(BLOCK))
    (tmp_path / "b.yaml").write_text(
        "randomise:\n  local_time: [06:00, 18:00]\n  date: [2024-03-01, 2024-04-30]\n"
        "  weather: [clear, rain, fog, rain]\n  rain_mm_h: [1, 20]\n  visibility_m: [100, 8000]\n  exposure: [-1, 1]\n"
        "seed: 3\nutc_offset_h: 9\n"
    )
    wanted = conditions_from(BLOCK)
    assert [read_conditions(p) for p in sorted(tmp_path.iterdir())] == [wanted, wanted]
    assert isinstance(wanted, RandomConditions) and conditions_from(wanted.to_dict()) == wanted
    (tmp_path / "c.yaml").write_text("weather: fog\n")
    assert read_conditions(tmp_path / "c.yaml") == Conditions(weather="fog")
    (tmp_path / "d.yaml").write_text("randomise: {weather: [fog], rain_mm_h: [1, 2]}\n")
    with pytest.raises(InputError, match=r"d\.yaml: conditions: randomise: rain_mm_h"):
        read_conditions(tmp_path / "d.yaml")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"randomise": {}}, "randomise is a mapping"),
        ({"randomise": ["weather"]}, "randomise is a mapping"),
        ({"randomise": {"weathr": ["clear"]}}, "did you mean weather"),
        ({"randomise": {"utc_offset_h": [1, 2]}}, "cannot be drawn"),
        ({"randomise": {"weather": "fog"}}, "takes a list"),
        ({"randomise": {"weather": []}}, "takes a list"),
        ({"randomise": {"weather": ["clear", "hail"]}}, "'hail' is not simulated"),
        ({"randomise": {"weather": [["clear"]]}}, "is not simulated"),
        ({"randomise": {"local_time": ["06:00"]}}, "two values"),
        ({"randomise": {"local_time": ["06:00", "25:00"]}}, "'25:00'"),
        ({"randomise": {"local_time": ["06:00", None]}}, "leaves an end open"),
        ({"randomise": {"local_time": ["06:00", "07:00"], "date": ["2024-05-01", "2024-04-01"]}}, "before it begins"),
        ({"randomise": {"date": ["2024-05-01", "2024-06-01"]}}, "add local_time"),
        ({"randomise": {"cloud_cover": [0.5, 0.2]}}, "two numbers that rise"),
        ({"randomise": {"cloud_cover": [0.5, float("nan")]}}, "two numbers that rise"),
        ({"randomise": {"rain_mm_h": [1, 20]}}, "fits no weather that can be drawn (clear)"),
        ({"randomise": {"exposure": ["auto", 1]}}, "two numbers"),
        ({"randomise": {"weather": ["clear"]}, "weather": "fog"}, "both fixed and in randomise"),
        ({"randomise": {"weather": ["clear", "fog"]}, "visibility_m": 100}, "as weather clear has it"),
        ({"randomise": {"weather": ["clear"]}, "clouds": 1}, "unknown entry 'clouds'"),
        ({"randomise": {"weather": ["clear"]}, "seed": -1}, "seed -1"),
        ({"randomise": {"weather": ["clear"]}, "seed": 1.5}, "seed 1.5"),
    ],
)
def test_what_cannot_be_drawn_is_named(data, words: str) -> None:
    with pytest.raises(InputError) as refused:
        conditions_from(data)
    assert words in str(refused.value)
