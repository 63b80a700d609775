"""What a request for traffic may say."""

from __future__ import annotations

import pytest

from aerialworld_core.errors import InputError
from aerialworld_core.traffic import TrafficOptions


def test_text_becomes_options_and_plain_values_become_the_same_again():
    options = TrafficOptions.parse("cars=100, pedestrians=20/km,parked=0.5,seed=7")
    assert (options.cars, options.pedestrians, options.parked, options.seed) == (100, 20, 0.5, 7)
    assert options.count("cars", 3.0) == 100
    assert options.count("pedestrians", 2.53) == 51
    assert options.to_dict() == {"cars": 100, "pedestrians": "20/km", "parked": 0.5, "emergencies": 6, "seed": 7}
    assert TrafficOptions.from_dict(options.to_dict()) == options


def test_nothing_is_the_default():
    assert TrafficOptions.parse("") == TrafficOptions()
    assert TrafficOptions().count("cars", 9.0) == 0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("cars", "is not entry=value"),
        ("cars=", "is not entry=value"),
        ("lorries=3", "unknown entry 'lorries'; there are cars, pedestrians"),
        ("cars=3,cars=4", "cars is given twice"),
        ("cars=many", "cars=many is no number"),
        ("cars=nan", "is not finite"),
        ("cars=2.5", "cars=2.5 is no whole number"),
        ("cars=-1", "from 0 to 2000"),
        ("cars=2001", "from 0 to 2000"),
        ("parked=1.5", "parked is a number from 0 to 1"),
        ("parked=3/km", "only cars and pedestrians"),
        ("cars=3/mile", "only cars and pedestrians can be given per km"),
        ("seed=1.5", "seed is a whole number"),
        ("emergencies=61", "from 0 to 60"),
    ],
)
def test_what_cannot_be_is_refused(text, why):
    with pytest.raises(InputError, match=why):
        TrafficOptions.parse(text)
