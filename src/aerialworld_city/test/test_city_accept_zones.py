"""One real house, moved to cities all over Japan: the right plane zone, and every corner where its coordinates say."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pyproj
import pytest
from scipy.spatial import cKDTree

from aerialworld_city.convert import convert
from aerialworld_city.options import ConversionOptions

sys.path.insert(0, str(Path(__file__).parent))
import accept_city_truth as truth

pytestmark = pytest.mark.skipif(
    not truth.PLATEAU.is_dir(), reason=f"no real PLATEAU files below {truth.PLATEAU}: set AERIALWORLD_SHARED"
)
EXACT = {"preview": False, "workers": 1, "keep_tiles": False}
#: latitude, longitude, municipality, EPSG of its official zone (Ministry's notice of 2002, zones I-XIX)
PLACES = {
    "nagasaki": (32.750, 129.877, "42201", 6669),
    "fukuoka": (33.590, 130.402, "40130", 6670),
    "kumamoto": (32.803, 130.708, "43100", 6670),
    "hiroshima": (34.385, 132.455, "34100", 6671),
    "takamatsu": (34.343, 134.047, "37201", 6672),
    "okayama": (34.655, 133.919, "33100", 6673),
    "osaka": (34.694, 135.502, "27100", 6674),
    "kaga": (36.303, 136.315, "17206", 6675),
    "nagoya": (35.181, 136.906, "23100", 6675),
    "numazu": (35.096, 138.864, "22203", 6676),
    "nagano": (36.648, 138.195, "20201", 6676),
    "tokyo": (35.690, 139.700, "13104", 6677),
    "sendai": (38.268, 140.869, "04100", 6678),
    "hakodate": (41.769, 140.729, "01202", 6679),
    "sapporo": (43.062, 141.354, "01100", 6680),
    "kushiro": (42.985, 144.382, "01206", 6681),
    "ogasawara": (27.094, 142.192, "13421", 6682),
    "naha": (26.212, 127.681, "47201", 6683),
    "ishigaki": (24.345, 124.157, "47207", 6684),
    "daito": (25.829, 131.232, "47357", 6685),
}


def moved(text, latitude, longitude):
    """Every coordinate of a file moved by whole degrees and parts, so that its first corner lies at the place."""
    first = truth.numbers(re.search(r"<gml:posList>([^<]*)", text)[1])
    shift = np.array([latitude - first[0], longitude - first[1], 0.0])

    def change(match):
        points = truth.numbers(match[2]).reshape(-1, 3) + shift
        return match[1] + " ".join(repr(float(v)) for v in points.ravel())

    return re.sub(r"(<gml:(?:posList|lowerCorner|upperCorner)>)([^<]*)", change, text)


def house():
    return (next(truth.PLATEAU.glob("04_*")) / "udx" / "bldg" / "53392546_bldg_6697_2_op.gml").read_text(
        encoding="utf-8"
    )


def without_codes(text):
    return re.sub(r"<uro:(city|prefecture)[^<]*</uro:\1>", "", text)


def check(out, path, epsgs):
    w = truth.World(out)
    assert w.city["crs"]["epsg"] in epsgs
    faces = [f for t in truth.read_gml(path).things for f in t.faces[t.best]]
    source = np.concatenate([r for f in faces for r in f.rings])
    expected = truth.place(source, w.city)
    written = w.triangles("building").reshape(-1, 3)
    gap, nearest = cKDTree(written).query(expected)
    assert gap.max() < 1.1e-3
    # Independent of any zone: distances on the ellipsoid (a zone's scale differs from 1 by less than 2e-4).
    geod = pyproj.Geod(ellps="GRS80")
    a, b = source[0], source[len(source) // 2]
    _, _, truly = geod.inv(a[1], a[0], b[1], b[0])
    ours = np.linalg.norm(written[nearest[0], :2] - written[nearest[len(source) // 2], :2])
    assert ours == pytest.approx(truly, rel=3e-4, abs=2e-3)
    # The georeference is the origin's place: the city lies around it.
    reference = w.city["georeference"]
    _, _, away = geod.inv(a[1], a[0], reference["longitude"], reference["latitude"])
    assert away == pytest.approx(np.linalg.norm(expected[0, :2]), rel=1e-3, abs=0.01) and away < 200
    sdf = (out / "world.sdf").read_text()
    assert float(re.search(r"<latitude_deg>([^<]*)", sdf)[1]) == reference["latitude"]
    assert float(re.search(r"<longitude_deg>([^<]*)", sdf)[1]) == reference["longitude"]


@pytest.mark.parametrize("name", PLACES)
def test_the_zone_follows_the_municipality(tmp_path, name):
    """Codes in the file's own attributes, as every release since 2020 has them."""
    latitude, longitude, code, epsg = PLACES[name]
    text = re.sub(r"(<uro:city [^>]*>)\d+", rf"\g<1>{code}", moved(house(), latitude, longitude))
    text = re.sub(r"(<uro:prefecture [^>]*>)\d+", rf"\g<1>{code[:2]}", text)
    path = tmp_path / "city_bldg_6697_op.gml"
    path.write_text(text, encoding="utf-8")
    convert(path, tmp_path / "world", ConversionOptions(**EXACT))
    check(tmp_path / "world", path, {epsg})


@pytest.mark.parametrize("name", ["kaga", "okayama", "hakodate"])
def test_the_zone_follows_the_data_sets_name(tmp_path, name):
    latitude, longitude, code, epsg = PLACES[name]
    folder = tmp_path / f"{code}_{name}-shi_city_2022_citygml_1_op" / "udx" / "bldg"
    folder.mkdir(parents=True)
    path = folder / "city_bldg_6697_op.gml"
    path.write_text(without_codes(moved(house(), latitude, longitude)), encoding="utf-8")
    convert(folder.parents[1], tmp_path / "world", ConversionOptions(**EXACT))
    check(tmp_path / "world", path, {epsg})


@pytest.mark.parametrize("name", ["sapporo", "osaka", "naha", "ogasawara", "fukuoka", "tokyo", "kushiro"])
def test_the_zone_follows_the_place_where_no_municipality_is_known(tmp_path, name):
    latitude, longitude, _, epsg = PLACES[name]
    path = tmp_path / "city_bldg_6697_op.gml"
    path.write_text(without_codes(moved(house(), latitude, longitude)), encoding="utf-8")
    convert(path, tmp_path / "world", ConversionOptions(**EXACT))
    check(tmp_path / "world", path, {epsg})


def test_a_code_of_another_island_does_not_pull_a_city_into_a_far_zone(tmp_path):
    """A file that says Tokyo but lies in Okinawa: 1,500 km from zone IX its scale would be off by percent."""
    path = tmp_path / "city_bldg_6697_op.gml"
    path.write_text(moved(house(), *PLACES["naha"][:2]), encoding="utf-8")
    convert(path, tmp_path / "world", ConversionOptions(**EXACT))
    check(tmp_path / "world", path, {6683})


def test_the_zone_and_the_origin_can_be_ordered(tmp_path):
    path = tmp_path / "city_bldg_6697_op.gml"
    path.write_text(moved(house(), *PLACES["kaga"][:2]), encoding="utf-8")
    origin = (PLACES["kaga"][0] + 0.001, PLACES["kaga"][1] - 0.001)
    convert(path, tmp_path / "world", ConversionOptions(**EXACT, crs=6674, origin=origin))
    check(tmp_path / "world", path, {6674})
    reference = truth.World(tmp_path / "world").city["georeference"]
    assert (reference["latitude"], reference["longitude"]) == pytest.approx(origin, abs=1e-12)
