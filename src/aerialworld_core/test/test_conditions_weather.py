"""The air's formulas against their sources, what clouds and haze leave of the light, exposures, bad entries."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from aerialworld_core import air, daylight, skies
from aerialworld_core.conditions import Conditions
from aerialworld_core.errors import InputError
from aerialworld_core.frames import Georeference
from aerialworld_core.weathers import WEATHERS
from aerialworld_core.world.scene import Light

TOKYO = Georeference(35.658, 139.741, 0.0)
WORLD = Light(np.array([-0.45, 0.45, -0.77]), np.array([0.9, 0.87, 0.8]), np.array([0.8, 0.85, 0.95]),
              np.array([0.45, 0.62, 0.85]), True)  # fmt: skip


def lit(world: Light = WORLD, **entries) -> Light:
    return Conditions.from_dict(entries).light(world, TOKYO)


def level(light: Light) -> float:
    """How bright level white ground is shown."""
    down = -light.direction[2] / np.linalg.norm(light.direction)
    return float((0.8 * light.sun * max(down, 0.0) + light.ambient / np.pi).mean())


def test_at_the_visibility_two_percent_of_contrast_are_left() -> None:
    """And 5 % at the meteorological optical range, 0.766 of it."""
    for visibility in (50.0, 200.0, 2_000.0, 20_000.0):
        extinction = air.haze_extinction(visibility)
        assert np.exp(-extinction * visibility) == pytest.approx(0.02, rel=1e-3)
        assert np.exp(-extinction * 0.766 * visibility) == pytest.approx(0.05, rel=2e-3)


@pytest.mark.parametrize("rate", [0.5, 5.0, 25.0, 100.0])
def test_rain_takes_twice_its_drops_discs(rate: float) -> None:
    """The closed form is the integral over Marshall and Palmer's drops (8000 exp(−4.1 R^−0.21 D) per m³ and mm)."""

    def disc(d: float) -> float:
        return 2.0 * 8000.0 * np.exp(-4.1 * rate**-0.21 * d) * np.pi / 4.0 * (1e-3 * d) ** 2

    assert air.rain_extinction(rate) == pytest.approx(quad(disc, 0, 60)[0], rel=1e-6)
    # Atlas 1953: visibility 11.6 R^−0.63 km.
    assert air.KOSCHMIEDER / air.rain_extinction(rate) == pytest.approx(11_600 * rate**-0.63, rel=0.1)
    number = quad(lambda d: 8000.0 * np.exp(-4.1 * rate**-0.21 * d), 1.5, 6.0)[0]
    assert air.drops_larger(rate, np.array([1.5, 6.0, 7.0])) == pytest.approx([number, 0.0, 0.0])


def test_drops_fall_as_measured() -> None:
    """Gunn and Kinzer 1949: 4.03, 6.49, 8.06, 8.83, 9.09 m/s at 1, 2, 3, 4 and 5 mm."""
    assert air.fall_speed(np.arange(1.0, 6.0)) == pytest.approx([4.03, 6.49, 8.06, 8.83, 9.09], abs=0.12)


def test_infrared_passes_haze_better_than_light_and_fog_no_better() -> None:
    for visibility in (20.0, 300.0, 500.0):
        assert air.lidar_haze_extinction(visibility) == pytest.approx(air.haze_extinction(visibility), rel=1e-12)
    for visibility, q in ((750.0, 0.25), (4_000.0, 0.98), (10_000.0, 1.3), (60_000.0, 1.6)):
        share = (905.0 / 550.0) ** -q
        assert air.lidar_haze_extinction(visibility) == pytest.approx(share * air.haze_extinction(visibility))


def test_clear_weather_is_the_light_that_it_was() -> None:
    assert lit() is WORLD and lit(weather="clear").air is None
    noon = lit(local_time="12:00", weather="clear")
    same = daylight.clear_light(Conditions(local_time="12:00").sun(TOKYO))
    for name in ("direction", "sun", "ambient", "background", "zenith"):
        assert np.array_equal(getattr(noon, name), getattr(same, name)), name


@pytest.mark.parametrize("cover", [0.2, 0.5, 0.75])
def test_clouds_leave_what_kasten_and_czeplak_measured(cover: float) -> None:
    day = daylight.clear_daylight(Conditions(local_time="12:00", date="2024-06-21").sun(TOKYO))
    below = skies.beneath_clouds(day, cover)
    own = day.level - day.glow / np.pi
    assert below.level - day.glow / np.pi == pytest.approx((1 - 0.75 * cover**3.4) * own)
    assert below.direct == pytest.approx((1 - 0.75 * cover**3.4) * (1 - cover**2) * day.direct)
    nothing = skies.beneath_clouds(day, 1e-9)
    assert nothing.sun == pytest.approx(day.sun) and nothing.zenith == pytest.approx(day.zenith)


def test_overcast_has_neither_sun_nor_shadows_and_more_ambient_light() -> None:
    """At a fixed exposure a quarter of all light is left; a camera that follows half-way shows half."""
    for time in ({}, {"local_time": "12:00", "date": "2024-04-01"}):
        clear, grey = lit(**time), lit(**time, weather="overcast")
        assert not grey.sun.any() and (grey.ambient > clear.ambient).all()
        assert level(grey) / level(clear) == pytest.approx(0.5, rel=0.05)
        fixed, glow = level(lit(**time, exposure=0)), daylight.NIGHT_AMBIENT.mean() / np.pi if time else 0.0
        assert level(lit(**time, weather="overcast", exposure=0)) == pytest.approx(0.25 * (fixed - glow) + glow)
        assert grey.zenith is not None and np.ptp(grey.zenith) < 0.1 < np.ptp(WORLD.background), "grey, not blue"


def test_fog_hides_the_sun_and_haze_veils_it() -> None:
    clear, haze, fog = (lit(weather=w, exposure=0) for w in ("clear", "haze", "fog"))
    assert 0 < haze.sun.max() < 0.2 * clear.sun.max() and not fog.sun.any()
    assert clear.ambient.max() < haze.ambient.max() and 0.3 < level(fog) / level(clear) < 0.5
    assert fog.air is not None and haze.air is not None
    # Koschmieder: an endless way through it looks like the horizon.
    assert fog.air.airlight.mean() == pytest.approx(skies.AIRLIGHT * level(fog), rel=1e-3)
    thin = lit(weather="clear", visibility_m=200_000, exposure=0)
    assert thin.air is not None and thin.air.airlight == pytest.approx(WORLD.background, rel=0.05)


@pytest.mark.parametrize("weather", WEATHERS)
@pytest.mark.parametrize("time", [None, "12:00", "16:45", "22:00"])
def test_stops_multiply_all_light(weather: str, time: str | None) -> None:
    """A linear renderer: two stops are four times the light, in sun, ambient and airlight alike."""
    given = {"weather": weather} if time is None else {"weather": weather, "local_time": time}
    one, four = lit(**given, exposure=-3), lit(**given, exposure=-1)
    for name in ("sun", "ambient", "background", "zenith"):
        a, b = getattr(one, name), getattr(four, name)
        assert b == pytest.approx(np.minimum(4 * a, 1.0) if name in ("background", "zenith") else 4 * a), name
    assert (one.air is None) == (four.air is None)
    if one.air is not None and four.air is not None:
        assert four.air.airlight == pytest.approx(4 * one.air.airlight)
        assert four.air.drop_light == pytest.approx(4 * one.air.drop_light)


def test_an_automatic_exposure_shows_the_ground_as_bright_as_worlds_do_within_its_limits() -> None:
    want = daylight.usual_level()
    for given in ({}, {"weather": "overcast"}, {"weather": "fog", "visibility_m": 50}, {"weather": "rain"},
                  {"local_time": "16:00"}, {"local_time": "16:00", "weather": "overcast"}):  # fmt: skip
        assert level(lit(**given, exposure="auto")) == pytest.approx(want, rel=1e-6), given
    bright = Light(WORLD.direction, 40 * WORLD.sun, 40 * WORLD.ambient, WORLD.background, True)
    assert level(lit(bright, exposure="auto")) == pytest.approx(level(bright) / 4)
    night, fixed = (lit(local_time="23:00", exposure=e) for e in ("auto", 0))
    assert level(night) == pytest.approx(16 * level(fixed)) and 0.1 * want < level(night) < 0.5 * want


def test_night_is_darker_than_noon_and_not_black() -> None:
    for weather in WEATHERS:
        noon, night = (lit(local_time=t, weather=weather) for t in ("12:00", "23:00"))
        assert 0.01 < level(night) < 0.15 * level(noon), weather
    stops = [level(lit(local_time="23:00", exposure=e)) for e in (-2, 0, 2, 4)]
    assert np.diff(np.log2(stops)) == pytest.approx([2, 2, 2])


def test_what_the_weather_sets_is_written_down() -> None:
    assert Conditions(weather="fog").resolved(None).to_dict() == {
        "weather": "fog", "visibility_m": 200.0, "cloud_cover": 0.0,
    }  # fmt: skip
    rain = Conditions(weather="rain", rain_mm_h=3).resolved(None)
    assert (rain.rain_mm_h, rain.cloud_cover, rain.visibility_m) == (3.0, 1.0, None)
    for weather in WEATHERS:
        known = Conditions(weather=weather, local_time="07:30", exposure="auto").resolved(TOKYO)
        assert Conditions.of_session(known.recorded(WORLD, TOKYO)[0]) == known == known.resolved(TOKYO)
        a, b = Conditions(weather=weather).light(WORLD, None), known.light(WORLD, TOKYO)
        assert (a.air is None) == (b.air is None) == (weather in ("clear", "overcast"))
    parsed = Conditions.parse("weather=rain,rain_mm_h=12.5,visibility_m=900,cloud_cover=0.9,exposure=-1.5")
    assert parsed == Conditions(weather="rain", rain_mm_h=12.5, visibility_m=900, cloud_cover=0.9, exposure=-1.5)
    assert Conditions.parse("exposure=auto").exposure == "auto"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"weather": "fog", "visibility_m": 3000}, "3000 m goes with weather haze or rain"),
        ({"weather": "haze", "visibility_m": 100}, "100 m goes with weather fog or rain"),
        ({"visibility_m": 1000}, "as weather clear has it"),
        ({"rain_mm_h": 5}, "rain_mm_h says nothing in weather clear; 5 mm/h goes with weather rain"),
        ({"weather": "fog", "rain_mm_h": 5}, "says nothing in weather fog"),
        ({"weather": "rain", "rain_mm_h": 0}, "rain_mm_h 0"),
        ({"weather": "rain", "rain_mm_h": 2000}, "rain_mm_h 2000"),
        ({"weather": "rain", "cloud_cover": 0.2}, "cloud_cover 0.2"),
        ({"weather": "overcast", "cloud_cover": 0.1}, "goes with weather clear or haze or fog"),
        ({"cloud_cover": 1.5}, "cloud_cover 1.5"),
        ({"weather": "fog", "visibility_m": float("nan")}, "nan"),
        ({"weather": "fog", "visibility_m": True}, "True"),
        ({"weather": "fog", "visibility_m": "thick"}, "'thick'"),
        ({"exposure": "bright"}, "neither auto nor a number"),
        ({"exposure": 11}, "stops from -10 to 10"),
        ({"exposure": True}, "exposure True"),
        ({"rain_mmh": 3}, "did you mean rain_mm_h"),
    ],
)
def test_what_contradicts_is_named(data, words: str) -> None:
    with pytest.raises(InputError) as refused:
        Conditions.from_dict(data)
    assert words in str(refused.value)


def test_a_world_without_light_has_no_weather() -> None:
    dark = Light(WORLD.direction, np.zeros(3), np.zeros(3), np.zeros(3), False)
    with pytest.raises(InputError, match="add local_time"):
        lit(dark, weather="fog")
    assert lit(dark, weather="fog", local_time="12:00").ambient.max() > 0.5
