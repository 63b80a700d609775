"""Coordinates: places land where pyproj says, in the zone that the survey law names, in the right handedness."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest

from aerialworld_city.geodesy import LocalFrame, Projection, find_zone, plane_of, to_plane
from aerialworld_city.options import ConversionOptions
from aerialworld_city.plane_system import choose_zone
from aerialworld_city.readers.citygml import epsg_of
from aerialworld_city.sources.files import SourceFile
from aerialworld_city.sources.zones import official_zone
from aerialworld_core.errors import InputError


@pytest.mark.parametrize(
    ("place", "zone"),
    [
        ((32.80, 130.71), 6670),  # Kumamoto
        ((34.69, 135.50), 6674),  # Osaka
        ((35.10, 138.86), 6676),  # Numazu
        ((36.65, 138.19), 6676),  # Nagano
        ((35.68, 139.76), 6677),  # Tokyo
        ((36.08, 140.11), 6677),  # Tsukuba
        ((43.06, 141.35), 6680),  # Sapporo
        ((27.09, 142.19), 6682),  # Ogasawara
        ((26.21, 127.68), 6683),  # Naha
    ],
)
def test_zones_of_known_cities(place, zone):
    assert find_zone(*place) == zone


def test_outside_japan_is_an_error():
    with pytest.raises(InputError, match="none of Japan's plane zones"):
        find_zone(48.85, 2.35)


def test_points_land_at_pyproj_coordinates_to_a_millimetre():
    points = np.array([[35.6581, 139.7414, 25.0], [35.665, 139.75, 2.5], [35.70, 139.60, 300.0]])
    projection = Projection(6677)
    frame = LocalFrame.at(projection, 35.66, 139.745)
    local = frame.from_plane(to_plane(points, 6697, projection))
    reference = pyproj.Transformer.from_crs("EPSG:6668", "EPSG:6677", always_xy=True)
    e0, n0 = reference.transform(139.745, 35.66)
    e, n = reference.transform(points[:, 1], points[:, 0])
    assert local == pytest.approx(np.column_stack([e - e0, n - n0, points[:, 2]]), abs=1e-3)
    assert local[1, 0] > 0 and local[1, 1] > 0  # further east and north is +x, +y


def test_the_projection_agrees_with_the_geodesic_on_the_ellipsoid():
    """Distances by an independent method: the inverse geodesic problem, times the plane's scale."""
    projection = Projection(6677)
    a, b = (35.6600, 139.7450), (35.6640, 139.7490)
    east, north = projection.forward(np.array([a[0], b[0]]), np.array([a[1], b[1]]))
    azimuth, _, distance = pyproj.Geod(ellps="GRS80").inv(a[1], a[0], b[1], b[0])
    scale = projection.scale(35.662, 139.747)
    assert np.hypot(*np.diff([east, north], axis=1)) == pytest.approx(distance * scale, abs=1e-4)
    bearing = np.degrees(np.arctan2(np.diff(east), np.diff(north)))[0]
    # Convergence: grid north lies clockwise of true north by γ, so a grid bearing is the true azimuth minus γ.
    assert bearing == pytest.approx(azimuth - projection.convergence(*a), abs=1e-3)


def test_origin_round_trip_and_heights():
    frame = LocalFrame.at_plane(Projection(6677), -8100.0, -37400.0)
    again = LocalFrame.at(frame.projection, frame.georeference.latitude, frame.georeference.longitude)
    assert (again.east, again.north) == pytest.approx((-8100.0, -37400.0), abs=1e-6)
    assert frame.from_plane(np.array([[-8100.0, -37400.0, 24.8]])) == pytest.approx(np.array([[0, 0, 24.8]]))


def test_plane_systems_come_north_first():
    points = to_plane(np.array([[-37035.87, -8234.16, 24.8]]), 10170, Projection(6677))
    assert points == pytest.approx(np.array([[-8234.16, -37035.87, 24.8]]))


def test_impossible_places_become_nan_and_leave_the_others_alone():
    rows = [[35.66, 139.7, 3.0], [np.nan, 139.7, 3.0], [1e9, 139.7, 3.0], [35.66, 139.7, 1e9], [35.66, np.inf, 0.0]]
    plane = to_plane(np.array(rows), 6697, Projection(6677))
    assert np.isfinite(plane[0]).all() and np.isnan(plane[1:]).all()


@pytest.mark.parametrize("code", [1234567, 4326, 6697, 3857 + 900000])
def test_unknown_or_unfit_target_systems_are_refused(code):
    with pytest.raises(InputError, match="EPSG"):
        Projection(code)


def test_codes_in_names():
    assert epsg_of("http://www.opengis.net/def/crs/EPSG/0/6697") == 6697
    assert epsg_of("urn:ogc:def:crs:EPSG::6697") == 6697
    assert epsg_of("EPSG:6677") == 6677
    assert epsg_of(None) is None and epsg_of("somewhere") == 0
    with pytest.raises(InputError):
        plane_of(0)


# -- the official zones -------------------------------------------------------------------------------------------

#: Prefectures as EPSG's register spells them, with their codes of JIS X 0401.
PREFECTURES = {
    "Aomori": 2, "Iwate": 3, "Miyagi": 4, "Akita": 5, "Yamagata": 6, "Niigata": 15, "Toyama": 16, "Ishikawa": 17,
    "Fukui": 18, "Yamanashi": 19, "Nagano": 20, "Gifu": 21, "Shizuoka": 22, "Aichi": 23, "Mie": 24, "Shiga": 25,
    "Kyoto": 26, "Osaka": 27, "Hyogo": 28, "Nara": 29, "Wakayama": 30, "Tottori": 31, "Shimane": 32, "Okayama": 33,
    "Hiroshima": 34, "Yamaguchi": 35, "Tokushima": 36, "Kagawa": 37, "Ehime": 38, "Kochi": 39, "Fukuoka": 40,
    "Saga": 41, "Nagasaki": 42, "Kumamoto": 43, "Oita": 44, "Miyazaki": 45,
}  # fmt: skip


def test_prefectures_are_in_the_zones_that_the_register_of_crs_names():
    """EPSG's register lists the prefectures of each zone in the text of its area of use."""
    named = {}
    for zone in range(1, 11):
        text = pyproj.CRS.from_epsg(6668 + zone).area_of_use.name
        for name, code in PREFECTURES.items():
            if f"{name}-ken" in text or f"{name}-fu" in text:
                named[code] = 6668 + zone
    assert len(named) == len(PREFECTURES)
    assert {code: official_zone(f"{code:02d}201") for code in named} == named
    # Zone IX: EPSG names Tokyo only; the law adds the six prefectures around it and Fukushima.
    assert {official_zone(f"{code:02d}201") for code in (7, 8, 9, 10, 11, 12, 13, 14)} == {6677}


@pytest.mark.parametrize(
    ("code", "place", "zone"),
    [
        ("01203", None, 11), ("01202", None, 11), ("01233", None, 11), ("01236", None, 11), ("01404", None, 11),
        ("01571", None, 11), ("01367", None, 11), ("01346", None, 11), ("01100", None, 12), ("01204", None, 12),
        ("01213", None, 12), ("01205", None, 12), ("01219", None, 12), ("01559", None, 12), ("01517", None, 12),
        ("01207", None, 13), ("01206", None, 13), ("01208", None, 13), ("01211", None, 13), ("01223", None, 13),
        ("01564", None, 13), ("01631", None, 13), ("01665", None, 13), ("01694", None, 13),
        ("01000", (43.06, 141.35), 12), ("01000", (42.98, 144.38), 13),
        ("13101", None, 9), ("13101", (35.69, 139.75), 9), ("13364", (34.20, 139.13), 9), ("13401", (33.10, 139.79), 9),
        ("13421", (27.09, 142.19), 14), ("13421", (20.42, 136.08), 18), ("13421", (24.29, 153.98), 19),
        ("46201", (31.59, 130.56), 2), ("46222", (28.38, 129.49), 1), ("46215", (31.84, 129.86), 1),
        ("46505", (30.39, 130.65), 2), ("46304", (29.85, 129.87), 1), ("46529", (28.32, 129.93), 1),
        ("47201", (26.21, 127.68), 15), ("47207", (24.34, 124.16), 16), ("47357", (25.83, 131.23), 17),
        ("47201", None, 15),
    ],
)  # fmt: skip
def test_split_prefectures(code, place, zone):
    """Municipalities on both sides of each line of the law."""
    assert official_zone(code, *(place or ())) == 6668 + zone


def test_every_municipality_code_has_a_zone_and_others_have_none():
    for prefecture in range(1, 48):
        assert official_zone(f"{prefecture:02d}201") in range(6669, 6688)
    assert official_zone("48201") is None and official_zone("00000") is None


# -- choosing -----------------------------------------------------------------------------------------------------


def gml(path, places=(), *, srs="EPSG/0/6697", envelope=None, city=None, junk=""):
    """A file with one building per place (latitude, longitude)."""
    code = f"<uro:city>{city}</uro:city>" if city else ""
    members = "".join(
        f"<core:cityObjectMember><b>{code}<gml:posList>{lat} {lon} 3 {lat} {lon} 4</gml:posList></b>"
        "</core:cityObjectMember>"
        for lat, lon in places
    )
    box = f"<gml:lowerCorner>{envelope} 0</gml:lowerCorner>" if envelope else ""
    srs = f' srsName="http://www.opengis.net/def/crs/{srs}"' if srs else ""
    path.write_text(
        '<core:CityModel xmlns:core="c" xmlns:gml="g" xmlns:uro="u">'
        f"<gml:boundedBy><gml:Envelope{srs}>{box}</gml:Envelope></gml:boundedBy>{junk}{members}</core:CityModel>"
    )
    return path


def source(path, format="citygml", mesh=None):
    return SourceFile(path, path.name, "bldg", format, path.parent, mesh)


def chosen(*files, code=None, **options):
    return choose_zone(list(files), code, ConversionOptions(**options)).epsg


KAGA, TOKYO, NAHA = (36.303, 136.315), (35.69, 139.70), (26.21, 127.68)


def test_the_municipality_decides_where_it_can_be_true(tmp_path):
    kaga = gml(tmp_path / "a.gml", [KAGA])
    assert chosen(source(kaga)) == 6674  # by the place alone: the nearer meridian
    assert chosen(source(kaga), code="17206") == 6675
    assert chosen(source(gml(tmp_path / "b.gml", [KAGA], city="17206"))) == 6675
    assert chosen(source(kaga), code="13100") == 6674  # Tokyo's zone does not hold Kaga
    assert chosen(source(gml(tmp_path / "c.gml", [NAHA], city="13101"))) == 6683


def test_where_the_place_is_looked_for(tmp_path):
    """First an object's place, then the envelope, then the mesh code of the name; local coordinates are no place."""
    local = "<core:cityObjectMember><i><gml:pos>0 0 0</gml:pos></i></core:cityObjectMember>"
    assert chosen(source(gml(tmp_path / "a.gml", [NAHA], envelope="35.6 139.7", junk=local))) == 6683
    assert chosen(source(gml(tmp_path / "b.gml", envelope="35.6 139.7", junk=local))) == 6677
    assert chosen(source(gml(tmp_path / "c.gml", [(0, 0)], envelope="0 0"), mesh="53394525")) == 6677
    with pytest.raises(InputError, match=r"nothing in it lies in Japan.*--crs"):
        chosen(source(gml(tmp_path / "d.gml", [(48.85, 2.35)])))


def test_plane_systems_of_the_source(tmp_path):
    """10170 is zone IX with heights, north first; 6677 alike."""
    for number in (10170, 6677):
        file = source(gml(tmp_path / f"{number}.gml", [(-37035.9, -8234.2)], srs=f"EPSG/0/{number}"))
        assert chosen(file) == 6677
        assert chosen(file, crs=6676) == 6676


def test_files_that_state_no_system_take_the_given_one(tmp_path):
    file = source(gml(tmp_path / "a.gml", [NAHA], srs=None))
    assert chosen(file, crs=6668) == 6683
    assert chosen(file) == 6683  # what can be latitude and longitude of Japan is taken for it; the reader refuses it


FACE = "v 0 0 0\nv 9 0 0\nv 0 9 0\nf 1 2 3\n"


def test_an_obj_file_states_its_zone_in_header_or_name(tmp_path):
    wkt = '# COORDINATE_SYSTEM: PROJCS["x",GEOGCS["y",AUTHORITY["EPSG","6668"]],AUTHORITY["EPSG","6674"]]\n'
    path = tmp_path / "tile.obj"
    path.write_text(wkt + FACE)
    assert chosen(source(path, "obj")) == 6674
    named = tmp_path / "53393599_bldg_6677.obj"
    named.write_text(FACE)
    assert chosen(source(named, "obj")) == 6677
    path.write_text(FACE)
    assert chosen(source(path, "obj"), crs=6671) == 6671
    with pytest.raises(InputError, match="--crs 6677"):
        chosen(source(path, "obj"))


def test_other_meshes_need_a_word_from_the_user(tmp_path):
    path = tmp_path / "campus.glb"
    path.write_bytes(b"glTF")
    assert chosen(source(path, "mesh"), origin=NAHA) == 6683
    assert chosen(source(path, "mesh"), crs=6677) == 6677
    with pytest.raises(InputError, match=r"--crs 6677.*--origin"):
        chosen(source(path, "mesh"))


def test_a_broken_file_leaves_the_choice_to_the_others(tmp_path):
    broken = tmp_path / "a.gml"
    broken.write_text("<core:CityModel")
    good = gml(tmp_path / "b.gml", [TOKYO])
    assert chosen(source(broken), source(good)) == 6677
    with pytest.raises(InputError, match="not a well-formed"):
        chosen(source(broken))
    assert chosen(source(broken, mesh="53394525")) == 6677  # its name tells; the reader will say what is wrong
    late = gml(tmp_path / "d.gml", [TOKYO])
    late.write_text(late.read_text().replace("</core:CityModel>", "<x:undeclared/></core:CityModel>"))
    assert chosen(source(late)) == 6677
    other = tmp_path / "e.gml"
    other.write_text("<gpx><gpx/></gpx>")
    with pytest.raises(InputError, match="no city model"):
        chosen(source(other))
    with pytest.raises(InputError, match=r"f\.gml: EPSG:31467"):
        chosen(source(gml(tmp_path / "f.gml", [TOKYO], srs="EPSG/0/31467")))
    bomb = tmp_path / "c.gml"
    bomb.write_text('<!DOCTYPE a [<!ENTITY x "y">]><core:CityModel/>')
    with pytest.raises(InputError, match="DOCTYPE"):
        chosen(source(bomb))


@pytest.mark.parametrize(("crs", "scale"), [(6677, 1.0), (32654, 1.0), (2451, 1.0), (6676, 1.0)])
def test_another_plane_system_may_be_ordered(tmp_path, crs, scale):
    file = source(gml(tmp_path / "a.gml", [TOKYO]))
    projection = choose_zone([file], None, ConversionOptions(crs=crs))
    assert projection.epsg == crs and projection.scale(*TOKYO) == pytest.approx(scale, abs=1e-3)


@pytest.mark.parametrize("crs", [3857, 6669, 32631, 6684])
def test_a_system_that_would_stretch_the_city_is_refused(tmp_path, crs):
    """Web Mercator's metre is 0.81 m in Tokyo; a far zone's differs by percents."""
    with pytest.raises(InputError, match=f"--crs {crs}.*one metre on the ground"):
        chosen(source(gml(tmp_path / "a.gml", [TOKYO])), crs=crs)


def test_obj_and_other_meshes_too_are_not_stretched(tmp_path):
    """An OBJ of zone IX may be ordered into UTM, not into Web Mercator, whether its zone is stated or its vertices are
    said to be in that system; of a mesh no place is known before it is read."""
    obj = tmp_path / "53393599_bldg_6677.obj"
    obj.write_text("v -7990.0 -37000.0 3.0\nf 1 1 1\n")
    plain = tmp_path / "plain.obj"
    plain.write_text("# x\nv 15556000 4254000 3.0\nf 1 1 1\n")
    glb = tmp_path / "a.glb"
    glb.write_bytes(b"glTF")
    assert chosen(source(obj, "obj"), crs=32654) == 32654
    assert chosen(source(obj, "obj")) == 6677
    for file in (source(obj, "obj"), source(plain, "obj"), source(glb, "mesh")):
        with pytest.raises(InputError, match=r"--crs 3857.*one metre on the ground"):
            chosen(file, crs=3857)


@pytest.mark.parametrize("crs", [1234567 // 10, 4979 + 1, 2263])
def test_systems_that_are_none_or_not_in_metres(tmp_path, crs):
    with pytest.raises(InputError, match="EPSG"):
        chosen(source(gml(tmp_path / "a.gml", [TOKYO])), crs=crs)
