"""The sun against another formulation and published times, the light against what worlds have, bad conditions."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from aerialworld_core import daylight
from aerialworld_core.conditions import DEFAULT_DATE, MAX_FILE_BYTES, Conditions
from aerialworld_core.errors import InputError
from aerialworld_core.frames import Georeference
from aerialworld_core.sun import refraction, sun_direction
from aerialworld_core.world.scene import Light

TOKYO = Georeference(35.658, 139.741, 0.0)
WORLD = Light(np.array([-0.45, 0.45, -0.77]), np.array([0.9, 0.87, 0.8]), np.array([0.8, 0.85, 0.95]),
              np.array([0.45, 0.62, 0.85]), True)  # fmt: skip


def elevation(local_time: str, date: str, place: Georeference = TOKYO, **more: float) -> float:
    sun = Conditions(local_time=local_time, date=date, **more).sun(place)
    return float(np.degrees(np.arcsin(sun[2])))


def almanac(instant: datetime, latitude: float, longitude: float) -> np.ndarray:
    """Towards the sun in east, north, up, without refraction, by another way: the Astronomical Almanac's low-precision
    coordinates (0.01° from 1950 to 2050) turned by Greenwich mean sidereal time."""
    n = (instant - datetime(2000, 1, 1, 12, tzinfo=UTC)).total_seconds() / 86400.0
    mean, anomaly = np.radians(280.460 + 0.9856474 * n), np.radians(357.528 + 0.9856003 * n)
    ecliptic = mean + np.radians(1.915) * np.sin(anomaly) + np.radians(0.020) * np.sin(2 * anomaly)
    tilt = np.radians(23.439 - 4e-7 * n)
    x, y, z = np.cos(ecliptic), np.cos(tilt) * np.sin(ecliptic), np.sin(tilt) * np.sin(ecliptic)
    sidereal = np.radians((18.697374558 + 24.06570982441908 * n) * 15.0 + longitude)
    c, s = np.cos(sidereal), np.sin(sidereal)
    towards_meridian, west_of_it = c * x + s * y, s * x - c * y
    lat = np.radians(latitude)
    return np.array(
        [
            -west_of_it,
            z * np.cos(lat) - towards_meridian * np.sin(lat),
            z * np.sin(lat) + towards_meridian * np.cos(lat),
        ]
    )


@pytest.mark.parametrize("place", [(35.658, 139.741), (-33.86, 151.2), (64.1, -21.9), (0.0, 0.0), (89.0, 10.0)])
def test_the_sun_stands_where_the_almanac_says(place: tuple[float, float]) -> None:
    """Within 0.02° through years, seasons and hours; refraction is taken out of the elevation."""
    rng = np.random.default_rng(4)
    for days in rng.uniform(0, 365.25 * 40, 300):
        instant = datetime(2000, 1, 1, tzinfo=UTC) + timedelta(days=float(days))
        truth, found = almanac(instant, *place), sun_direction(instant, *place)
        assert np.linalg.norm(found) == pytest.approx(1.0)
        height = float(np.degrees(np.arcsin(truth[2])))
        assert np.degrees(np.arcsin(found[2])) - refraction(height) == pytest.approx(height, abs=0.02)
        if abs(height) < 89.0:
            turn = np.arctan2(found[0], found[1]) - np.arctan2(truth[0], truth[1])
            assert abs(np.degrees((turn + np.pi) % (2 * np.pi) - np.pi)) * np.cos(np.radians(height)) < 0.02


@pytest.mark.parametrize(
    ("date", "height"), [("2024-03-20", 0.0), ("2024-06-21", 23.44), ("2024-09-22", 0.0), ("2024-12-21", -23.44)]
)
def test_noon_is_as_high_as_the_season_says(date: str, height: float) -> None:
    """90° − latitude ± 23.44° at the highest, in the south."""
    heights = [elevation(f"{11 + m // 60}:{m % 60:02d}", date) for m in range(0, 90, 5)]
    assert max(heights) == pytest.approx(90.0 - TOKYO.latitude + height, abs=0.4)  # equinoxes fall between noons
    sun = Conditions(local_time="11:45", date=date).sun(TOKYO)
    assert abs(sun[0]) < 0.08 and sun[1] < 0


@pytest.mark.parametrize(
    ("date", "rise", "set_"),
    [
        ("2024-01-15", "06:50", "16:51"),
        ("2024-03-21", "05:44", "17:53"),
        ("2024-05-05", "04:45", "18:31"),
        ("2024-06-21", "04:25", "19:00"),
        ("2024-12-21", "06:47", "16:32"),
    ],
)
def test_tokyo_sees_the_sun_rise_and_set_at_the_published_times(date: str, rise: str, set_: str) -> None:
    """Japan's published times are of the sun's upper edge, 0.27° above its middle, to a minute."""
    for published, sign in ((rise, 1), (set_, -1)):
        hours, minutes = map(int, published.split(":"))
        minute = 60 * hours + minutes
        before, after = (f"{m // 60:02d}:{m % 60:02d}" for m in (minute - 3, minute + 3))
        assert sign * (elevation(before, date) + 0.267) < 0 < sign * (elevation(after, date) + 0.267), published


def test_the_same_moment_is_the_same_sun_in_any_zone() -> None:
    japan = Conditions(local_time="07:30", date="2024-04-01", utc_offset_h=9).sun(TOKYO)
    universal = Conditions(local_time="22:30", date="2024-03-31", utc_offset_h=0).sun(TOKYO)
    india = Conditions(local_time="04:00", date="2024-04-01", utc_offset_h=5.5).sun(TOKYO)
    assert japan == pytest.approx(universal, abs=1e-12) and japan == pytest.approx(india, abs=1e-12)
    assert japan[0] > 0.5  # in the east in the morning


def test_air_mass_is_that_of_the_tables() -> None:
    """Kasten and Young's own table: 1.0 overhead, 1.9939 at 30°, 5.5841 … 5.6 at 10°, 10.3 at 5°, 38 at the horizon."""
    for height, mass in ((90.0, 1.0), (30.0, 1.9939), (10.0, 5.586), (5.0, 10.306), (0.0, 37.92)):
        assert daylight.air_mass(height) == pytest.approx(mass, rel=3e-3)


def light(local_time: str, date: str = "2024-06-21") -> Light:
    return Conditions(local_time=local_time, date=date).light(WORLD, TOKYO)


def test_at_the_worlds_own_elevation_the_light_is_the_worlds_own() -> None:
    """The converted worlds' sun stands 50.4° high: with ours there, sun, ambient and the sky's mean agree."""
    direction = WORLD.direction / np.linalg.norm(WORLD.direction)
    ours = daylight.clear_light(-direction)
    assert ours.sun == pytest.approx(WORLD.sun, rel=0.03) and ours.ambient == pytest.approx(WORLD.ambient, rel=0.06)
    assert ours.zenith is not None
    assert (ours.background + ours.zenith) / 2 == pytest.approx(WORLD.background, abs=0.1)


def test_noon_has_the_exposure_of_the_worlds_own_light_in_every_season() -> None:
    """Level ground (see Light) within a third of a stop."""

    def level(lit: Light) -> float:
        down = -lit.direction[2] / np.linalg.norm(lit.direction)
        return float((0.8 * lit.sun * max(down, 0) + lit.ambient / np.pi).mean())

    for date in ("2024-01-15", "2024-04-01", "2024-06-21", "2024-10-01"):
        assert abs(np.log2(level(light("12:00", date)) / level(WORLD))) < 1 / 3, date


def test_the_day_begins_and_ends_without_a_jump() -> None:
    """Minute by minute no colour changes by more than a twenty-fifth; low suns are warm; nights are dim and blue."""
    lights = [light(f"{m // 60:02d}:{m % 60:02d}") for m in range(24 * 60)]
    for name in ("sun", "ambient", "background", "zenith"):
        values = np.array([getattr(x, name) for x in lights])
        assert np.isfinite(values).all() and (values >= 0).all()
        assert np.abs(np.diff(values, axis=0)).max() < 0.04, name
    heights = np.array([np.degrees(np.arcsin(-x.direction[2])) for x in lights])
    for x, height in zip(lights, heights, strict=True):
        assert (x.sun > 0).any() == (height > 0)
        if 0.5 < height < 20:
            assert x.sun[0] > x.sun[1] > x.sun[2]
        if height < -12:
            assert 0.02 < x.ambient.max() < 0.2 and x.background.argmax() == 2
    low, high = lights[int(np.argmin(abs(heights - 5)))], lights[int(heights.argmax())]
    assert low.sun[0] / low.sun[2] > 2 * high.sun[0] / high.sun[2]
    assert low.background[0] > low.background[2] and high.background[0] < high.background[2]


def test_without_a_local_time_the_light_is_the_worlds() -> None:
    for place in (None, TOKYO):
        assert Conditions().light(WORLD, place) is WORLD
        assert Conditions().resolved(place) == Conditions()
    assert Conditions().to_dict() == {"weather": "clear"}
    with pytest.raises(InputError, match="spherical_coordinates"):
        Conditions(local_time="12:00").light(WORLD, None)


def test_shadows_are_the_worlds_unless_it_has_no_sun() -> None:
    noon = Conditions(local_time="12:00")
    dark = Light(WORLD.direction, np.zeros(3), WORLD.ambient, WORLD.background, False)
    without = Light(WORLD.direction, WORLD.sun, WORLD.ambient, WORLD.background, False)
    assert noon.light(WORLD, TOKYO).shadows and noon.light(dark, TOKYO).shadows
    assert not noon.light(without, TOKYO).shadows


def test_what_is_not_given_comes_from_the_place_and_the_session() -> None:
    given = Conditions(local_time="07:30")
    assert given.resolved(TOKYO) == Conditions("07:30", DEFAULT_DATE, 9.0)
    assert given.resolved(TOKYO, "2023-08-02T23:59:00Z").date == "2023-08-02"
    assert given.resolved(Georeference(40.7, -74.0, 0)).utc_offset_h == -5.0
    fixed = Conditions("07:30", "2024-04-01", 8.5)
    assert fixed.resolved(TOKYO, "2023-08-02T23:59:00Z") == fixed
    record, _ = fixed.recorded(WORLD, TOKYO)
    assert Conditions.of_session(record) == fixed and len(record["sun_direction"]) == 3
    assert Conditions.of_session({"weather": "clear", "sun_direction": [0, 0, -1]}) == Conditions()


def test_every_way_of_writing_them_says_the_same(tmp_path) -> None:
    want = Conditions("07:30", "2024-04-01", 9)
    assert Conditions.parse("local_time=07:30, date=2024-04-01,utc_offset_h=9,weather=clear") == want
    assert Conditions.from_dict(want.to_dict()) == want
    (tmp_path / "a.json").write_text(json.dumps(want.to_dict()))
    (tmp_path / "b.yaml").write_text("local_time: '07:30'\ndate: 2024-04-01\nutc_offset_h: 9\n")
    (tmp_path / "c.yml").write_text("local_time: 07:30\ndate: '2024-04-01'\nutc_offset_h: 9.0\nweather: clear\n")
    assert [Conditions.read(p) for p in sorted(tmp_path.iterdir())] == [want] * 3
    (tmp_path / "noon.yaml").write_text("local_time: 12:00\n")  # which YAML 1.1 reads as a number to base 60
    assert Conditions.read(tmp_path / "noon.yaml").local_time == "12:00"
    (tmp_path / "none.yaml").write_text("# the world's own sun\n")
    assert Conditions.read(tmp_path / "none.yaml") == Conditions()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"local_time": "7:30"}, "local_time '7:30'"),
        ({"local_time": "24:00"}, "07:30"),
        ({"local_time": 1440}, "1440"),
        ({"local_time": True}, "True"),
        ({"local_time": "12:00", "date": "2024-02-30"}, "2024-02-30"),
        ({"local_time": "12:00", "date": "20240401"}, "20240401"),
        ({"local_time": "12:00", "date": "1492-10-12"}, "1900"),
        ({"local_time": "12:00", "utc_offset_h": 15}, "utc_offset_h 15"),
        ({"local_time": "12:00", "utc_offset_h": float("nan")}, "nan"),
        ({"local_time": "12:00", "utc_offset_h": "9"}, "'9'"),
        ({"date": "2024-04-01"}, "add local_time"),
        ({"weather": "snow"}, "'snow' is not simulated"),
        ({"weather": ["clear"]}, "is not simulated"),
        ({"localtime": "12:00"}, "did you mean local_time"),
        ({"moon": 3}, "there are local_time, date"),
        ({1: 2}, "unknown entry 1"),
        (["local_time"], "must be a mapping"),
    ],
)
def test_what_they_cannot_be_is_named(data, words: str) -> None:
    with pytest.raises(InputError) as refused:
        Conditions.from_dict(data)
    assert words in str(refused.value)


@pytest.mark.parametrize("text", ["local_time", "local_time=", "=3", "local_time=12:00,local_time=13:00",
                                  "utc_offset_h=nine,local_time=12:00", "12:00"])  # fmt: skip
def test_a_command_line_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        Conditions.parse(text)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", b'{"local_time": NaN}'),
        ("a.json", b"[" * 5000),
        ("a.yaml", b"local_time: [\n"),
        ("a.yaml", b"a: &x 1\nb: *x\n"),
        ("a.yaml", b"- " * 3000),
        ("a.yaml", b"!!python/object/apply:os.system ['touch /tmp/marker']"),
        ("a.yaml", b"\xff\xfe\x00"),
        ("a.yaml", b"a" * (MAX_FILE_BYTES + 1)),
        ("a.yaml", b"weather: hail\n"),
    ],
)
def test_hostile_files_are_refused_by_name(tmp_path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        Conditions.read(tmp_path / name)


def test_a_missing_file_and_a_folder_are_refused(tmp_path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(InputError):
            Conditions.read(path)
