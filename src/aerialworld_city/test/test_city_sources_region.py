"""Mesh codes against the standard's arithmetic, circles against the geodesic, and no place lost by a quick look."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pyproj
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aerialworld_city.sources import meshcode
from aerialworld_city.sources.region import region
from aerialworld_core.errors import InputError


def encode(latitude: Fraction, longitude: Fraction, digits: int) -> str:
    """JIS X 0410 as the standard words it: latitude × 1.5 and longitude − 100, then eighths, tenths, halves, halves."""
    p, a = divmod(latitude * 60, 40)
    u, f = divmod(longitude - 100, 1)
    code = f"{int(p):02d}{int(u):02d}"
    q, b = divmod(a, 5)
    v, g = divmod(f * 60, Fraction(15, 2))
    code += f"{int(q)}{int(v)}"
    r, c = divmod(b * 60, 30)
    w, h = divmod(g * 60, 45)
    code += f"{int(r)}{int(w)}"
    s, d = divmod(c, 15)
    x, i = divmod(h, Fraction(45, 2))
    code += str(int(s) * 2 + int(x) + 1)
    t, _ = divmod(d, Fraction(15, 2))
    y, _ = divmod(i, Fraction(45, 4))
    return (code + str(int(t) * 2 + int(y) + 1))[:digits]


@settings(max_examples=300, deadline=None)
@given(
    st.fractions(20, Fraction("45.9"), max_denominator=10**6),
    st.fractions(122, Fraction("154.9"), max_denominator=10**6),
    st.sampled_from([4, 6, 8, 9, 10]),
)
def test_a_place_lies_in_the_mesh_that_the_standard_gives_it(latitude, longitude, digits):
    west, south, east, north = meshcode.bounds(encode(latitude, longitude, digits))
    assert west - 1e-12 <= longitude <= east + 1e-12 and south - 1e-12 <= latitude <= north + 1e-12
    size = {4: (Fraction(2, 3), 1), 6: (Fraction(1, 12), Fraction(1, 8)), 8: (Fraction(1, 120), Fraction(1, 80)),
            9: (Fraction(1, 240), Fraction(1, 160)), 10: (Fraction(1, 480), Fraction(1, 320))}[digits]  # fmt: skip
    assert (north - south, east - west) == pytest.approx([float(v) for v in size], abs=1e-12)


def test_known_meshes():
    """Tokyo station's first and third mesh; the tile of set 06 by the corners of its terrain (README)."""
    assert meshcode.bounds("5339") == (139.0, pytest.approx(35 + 1 / 3), 140.0, 36.0)
    assert meshcode.bounds("53393599") == pytest.approx((139.7375, 35.65833333, 139.75, 35.66666667))
    assert encode(Fraction("35.681236"), Fraction("139.767125"), 8) == "53394611"


def test_neighbours_share_their_edge_to_the_bit_and_parts_tile_the_whole():
    for whole, parts in [("5339", [f"5339{a}{b}" for a in range(8) for b in range(8)]),
                         ("533945", [f"533945{a}{b}" for a in range(10) for b in range(10)]),
                         ("53394525", [f"53394525{n}" for n in range(1, 5)]),
                         ("533945252", [f"533945252{n}" for n in range(1, 5)])]:  # fmt: skip
        boxes = np.array([meshcode.bounds(p) for p in parts])
        low, high = boxes.min(axis=0), boxes.max(axis=0)
        assert (low[0], low[1], high[2], high[3]) == meshcode.bounds(whole)
        side = round(len(parts) ** 0.5)
        assert len(set(boxes[:, 0])) == len(set(boxes[:, 2])) == len(set(boxes[:, 1])) == side
        assert set(boxes[:, 0]) - {low[0]} == set(boxes[:, 2]) - {high[2]}
        assert set(boxes[:, 1]) - {low[1]} == set(boxes[:, 3]) - {high[3]}


@pytest.mark.parametrize(
    "code",
    [
        "",
        "533",
        "53394",
        "533945250",
        "5339452",
        "533985",
        "53394525a",
        "９９３９",
        "0000",
        "9999",
        "5339452511111",
        "-5339",
    ],
)
def test_what_is_no_mesh_code(code):
    with pytest.raises(InputError, match="mesh code"):
        meshcode.bounds(code)


def test_codes_in_file_names():
    names = {
        "53394525_bldg_6697_2_op": "53394525", "533925_dem_6697_op": "533925", "533946214_bldg_6677": "533946214",
        "53394525": "53394525", "2022_report": None, "53394525x_bldg": None, "x_53394525": None, "20221122_bldg": None,
        "99999999_bldg": None,
    }  # fmt: skip
    assert {name: meshcode.in_name(name) for name in names} == names


@pytest.mark.parametrize(("latitude", "longitude"), [(35.66, 139.74), (43.06, 141.35), (24.34, 124.16), (45.5, 141.9)])
@pytest.mark.parametrize("radius", [1.0, 300.0, 5000.0, 100_000.0])
def test_circles_are_circles_on_the_ellipsoid(latitude, longitude, radius):
    """Points made by the direct geodesic problem, just within and just without, in every direction."""
    azimuth = np.linspace(0, 360, 72, endpoint=False)
    at = np.ones(72)
    geod = pyproj.Geod(ellps="GRS80")
    chosen = region(arounds=[(latitude, longitude, radius)])
    for share, inside in ((0.9995, True), (1.0005, False)):
        lon, lat, _ = geod.fwd(at * longitude, at * latitude, azimuth, at * radius * share)
        assert (chosen.contains(np.array(lat), np.array(lon)) == inside).all()
    assert chosen.contains(np.array([latitude]), np.array([longitude])).all()


def test_unions_edges_and_places_that_are_none():
    chosen = region(["53394525"], [(139.0, 35.0, 139.1, 35.1)], [(36.0, 140.0, 100.0)])
    latitude = np.array([35.685, 35.05, 36.0, 35.0, 35.1, 35.2, np.nan, np.inf])
    longitude = np.array([139.69, 139.05, 140.0, 139.0, 139.1, 139.05, 139.05, 139.05])
    assert chosen.contains(latitude, longitude).tolist() == [True, True, True, True, True, False, False, False]
    assert chosen.contains(np.zeros(0), np.zeros(0)).shape == (0,)
    assert chosen.meshes == ("53394525",)
    west, south, east, north = chosen.bounds()
    assert (west, south) == (139.0, 35.0) and 140.001 < east < 140.002 and 36.0009 < north < 36.001


@settings(max_examples=200, deadline=None)
@given(
    st.floats(24, 45),
    st.floats(123, 145),
    st.floats(1, 30_000),
    st.floats(0, 500),
    st.floats(0.0, 1.2),
    st.floats(0, 360),
)
def test_a_box_that_comes_near_is_never_passed_over(latitude, longitude, radius, margin, share, azimuth):
    """A third mesh with a point within the circle's radius and the margin touches the region."""
    lon, lat, _ = pyproj.Geod(ellps="GRS80").fwd(longitude, latitude, azimuth, (radius + margin) * share)
    box = meshcode.bounds(encode(Fraction(lat), Fraction(lon), 8))
    touches = region(arounds=[(latitude, longitude, radius)]).touches(box, margin)
    if share <= 1.0:
        assert touches


def test_far_boxes_are_passed_over():
    chosen = region(["53394525"])
    assert chosen.touches(meshcode.bounds("53394526"), 0.0)  # they share an edge
    assert not chosen.touches(meshcode.bounds("53394527"), 200.0)
    assert chosen.touches(meshcode.bounds("53394527"), 1200.0)
    circle = region(arounds=[(35.6875, 139.69375, 300.0)])  # the middle of 53394525
    assert not circle.touches(meshcode.bounds("53394526"), 200.0) and circle.touches(meshcode.bounds("53394526"), 300.0)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({}, "needs a mesh"),
        ({"meshes": ["12"]}, "mesh code"),
        ({"bboxes": [(139.1, 35.0, 139.0, 35.1)]}, "bbox"),
        ({"bboxes": [(139.0, 35.1, 139.1, 35.0)]}, "bbox"),
        ({"bboxes": [(139.0, 35.0, 139.0, 35.1)]}, "bbox"),
        ({"bboxes": [(35.0, 139.0, 35.1, 139.1)]}, "bbox"),
        ({"bboxes": [(float("nan"), 35.0, 139.0, 35.1)]}, "bbox"),
        ({"arounds": [(139.7, 35.6, 300.0)]}, "around"),
        ({"arounds": [(float("nan"), 139.0, 300.0)]}, "around"),
        ({"arounds": [(35.6, 139.7, 0.0)]}, "radius"),
        ({"arounds": [(35.6, 139.7, float("inf"))]}, "radius"),
        ({"arounds": [(35.6, 139.7, 1e6)]}, "radius"),
    ],
)
def test_regions_that_are_none(arguments, word):
    with pytest.raises(InputError, match=word):
        region(**arguments)
