"""Broken and hostile sources end in a message that names the file, or in a reported skip; nothing is left behind."""

from __future__ import annotations

import gzip
import re
import time
from random import Random

import numpy as np
import pytest

from aerialworld_city.convert import convert
from aerialworld_city.inspect import city_info
from aerialworld_city.synthetic.generate import generate_city
from aerialworld_core.errors import InputError, UnsafeInputError

HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<core:CityModel xmlns:core="http://www.opengis.net/citygml/2.0" xmlns:gml="http://www.opengis.net/gml"
 xmlns:bldg="http://www.opengis.net/citygml/building/2.0" xmlns:tran="http://www.opengis.net/citygml/transportation/2.0"
 xmlns:xlink="http://www.w3.org/1999/xlink">
<gml:boundedBy><gml:Envelope srsName="http://www.opengis.net/def/crs/EPSG/0/6697" srsDimension="3"/></gml:boundedBy>
"""
TAIL = "</core:CityModel>"
# A box of about 9 m × 11 m × 5 m: bottom, top, four walls as latitude, longitude, height.
A, B = (35.6600, 139.7400), (35.6601, 139.7401)


def corner(i, z):
    return f"{(A, A, B, B)[i][0]} {(A, B, B, A)[i][1]} {z}"


def ring(points):
    return f"<gml:LinearRing><gml:posList>{' '.join(points)}</gml:posList></gml:LinearRing>"


def polygon(points):
    return (
        f"<gml:surfaceMember><gml:Polygon><gml:exterior>{ring(points)}</gml:exterior></gml:Polygon></gml:surfaceMember>"
    )


def box():
    faces = [[corner(i, 3) for i in (0, 3, 2, 1, 0)], [corner(i, 8) for i in (0, 1, 2, 3, 0)]]
    for i in range(4):
        j = (i + 1) % 4
        faces.append([corner(i, 3), corner(j, 3), corner(j, 8), corner(i, 8), corner(i, 3)])
    return [polygon(f) for f in faces]


def building(identifier, polygons):
    inner = "".join(polygons)
    return (
        f'<core:cityObjectMember><bldg:Building gml:id="{identifier}"><bldg:lod1Solid><gml:Solid><gml:exterior>'
        f"<gml:CompositeSurface>{inner}</gml:CompositeSurface></gml:exterior></gml:Solid></bldg:lod1Solid>"
        "</bldg:Building></core:cityObjectMember>\n"
    )


GOOD = building("good", box())


def refused(tmp_path, data, match, error=InputError, name="x_bldg_6697.gml", **options):
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    begin = time.process_time()
    with pytest.raises(error, match=match) as caught:
        convert(path, tmp_path / "world", **options)
    assert time.process_time() - begin < 5
    assert caught.value.exit_code == 2 and path.name in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("text", "match", "error"),
    [
        ("", "empty", InputError),
        ("no xml at all", "line 1", InputError),
        ("<gpx/>", "no city model", InputError),
        (HEAD + TAIL, "no building", InputError),
        (HEAD + GOOD, "line", InputError),
        (HEAD + building("b", ["<gml:surfaceMember xlink:href='#nowhere'/>"]) + TAIL, "no building", InputError),
        (HEAD.replace("EPSG/0/6697", "EPSG/0/31467") + GOOD + TAIL, "EPSG:31467", InputError),
        (HEAD.replace('srsName="http://www.opengis.net/def/crs/EPSG/0/6697"', "") + GOOD + TAIL, "srsName", InputError),
        (HEAD + GOOD.replace("35.66", "5.66") + TAIL, "plane zones", InputError),
        (
            '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;&b;">]>' + HEAD.split("\n", 1)[1] + GOOD + TAIL,
            "DOCTYPE",
            UnsafeInputError,
        ),
        (
            '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
            "DOCTYPE",
            UnsafeInputError,
        ),
    ],
)
def test_whole_files_that_cannot_be_used(tmp_path, text, match, error):
    refused(tmp_path, text, match, error)


def test_archives_and_binary_files_are_named(tmp_path):
    refused(tmp_path, gzip.compress((HEAD + GOOD + TAIL).encode()), "gzip", UnsafeInputError)
    refused(tmp_path, bytes(range(256)) * 10, "line 1")


def test_missing_and_foreign_sources(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        convert(tmp_path / "nothing.gml", tmp_path / "world")
    with pytest.raises(InputError, match="no building, road or terrain file"):
        convert(tmp_path, tmp_path / "world")
    (tmp_path / "a.pdf").write_bytes(b"x")
    with pytest.raises(InputError, match=r"a\.pdf: not a city model"):
        convert(tmp_path / "a.pdf", tmp_path / "world")
    (tmp_path / "a_bldg_6697.gml").write_text(HEAD + GOOD + TAIL)
    with pytest.raises(InputError, match="EPSG:99"):
        convert(tmp_path / "a_bldg_6697.gml", tmp_path / "world", crs=99)
    with pytest.raises(InputError, match="chunk"):
        convert(tmp_path / "a_bldg_6697.gml", tmp_path / "world", chunk=float("nan"))
    with pytest.raises(InputError, match="100 km"):
        convert(tmp_path / "a_bldg_6697.gml", tmp_path / "world", origin=(34.0, 135.0))
    assert not (tmp_path / "world").exists()


BROKEN = {
    "nan": ([polygon([corner(0, 3), corner(1, 3), f"{B[0]} nan 3", corner(0, 3)])], "no place"),
    "far": ([polygon([corner(0, 3), "1000000000 139.74 3", corner(2, 3), corner(0, 3)])], "no place"),
    "high": ([polygon([corner(0, 3), corner(1, "1e300"), corner(2, 3), corner(0, 3)])], "no place"),
    "two": ([polygon([corner(0, 3), corner(1, 3)])], "2 distinct"),
    "line": ([polygon([corner(0, 3), corner(1, 3), corner(0, 3), corner(1, 3), corner(0, 3)])], "no area"),
    "words": ([polygon(["thirty five 3"])], "is not a number"),
    "odd": ([polygon([corner(0, 3), "35.66"])], "multiple of 3"),
    "empty": ([polygon([])], "0 distinct"),
    "none": ([], "no LOD1 or LOD2"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_building_is_skipped_with_its_name_and_strict_stops(tmp_path, name):
    polygons, reason = BROKEN[name]
    path = tmp_path / "x_bldg_6697.gml"
    path.write_text(HEAD + building("bad", polygons) + GOOD + TAIL)
    report = convert(path, tmp_path / "world")
    assert report.written["buildings"] == 1 and report.written["closed buildings"] == 1
    assert any("bad" in s.id and reason in s.reason and s.file == path.name for s in report.skipped)
    with pytest.raises(InputError, match=r"bad.*strict"):
        convert(path, tmp_path / "strict", strict=True)
    assert not (tmp_path / "strict").exists()


def test_a_broken_polygon_leaves_the_rest_of_its_building(tmp_path):
    path = tmp_path / "x_bldg_6697.gml"
    path.write_text(HEAD + building("half", [*box(), polygon([corner(0, 3), corner(1, 3)])]) + TAIL)
    report = convert(path, tmp_path / "world")
    assert report.written["closed buildings"] == 1 and [s.id for s in report.skipped] == ["half polygon 7"]


@pytest.mark.parametrize("count", [9_000, 100_000])
def test_polygons_of_very_many_points_neither_hang_nor_crash(tmp_path, count):
    angle = np.linspace(0, 2 * np.pi, count)
    noise = np.random.default_rng(0).uniform(0.5, 1.0, count)
    points = [f"{35.66 + 0.001 * r * np.sin(a):.9f} {139.74 + 0.001 * r * np.cos(a):.9f} 3"
              for a, r in zip(angle, noise, strict=True)]  # fmt: skip
    path = tmp_path / "x_bldg_6697.gml"
    path.write_text(HEAD + building("huge", [polygon(points)]) + GOOD + TAIL)
    begin = time.process_time()
    report = convert(path, tmp_path / "world")
    assert time.process_time() - begin < 8
    assert report.written["buildings"] == (2 if count < 10_000 else 1)


def test_a_building_far_away_costs_no_endless_ground(tmp_path):
    """A mistyped digit: 55 km north; the ground is laid near the buildings only."""
    path = tmp_path / "x_bldg_6697.gml"
    path.write_text(
        HEAD + GOOD + building("far", [p.replace("35.66", "36.16").replace("139.74", "140.24") for p in box()]) + TAIL
    )
    begin = time.process_time()
    report = convert(path, tmp_path / "world")
    assert time.process_time() - begin < 6
    assert report.written["buildings"] == 2 and report.written["models"] < 200
    assert any("wide" in note for note in report.notes)


def test_roads_alone_are_no_city_and_bad_roads_are_skipped(tmp_path):
    def road(polygons):
        surface = f"<gml:MultiSurface>{''.join(polygons)}</gml:MultiSurface>"
        return (
            f'<core:cityObjectMember><tran:Road gml:id="r"><tran:lod1MultiSurface>{surface}'
            "</tran:lod1MultiSurface></tran:Road></core:cityObjectMember>"
        )

    flat = polygon([corner(i, 0) for i in (0, 1, 2, 3, 0)])
    refused(tmp_path, HEAD + road([flat]) + TAIL, "no building in it.*1 Road")
    path = tmp_path / "x_bldg_6697.gml"
    path.write_text(HEAD + GOOD + road([flat, polygon([corner(0, 0), "nan nan nan", corner(1, 0)])]) + TAIL)
    report = convert(path, tmp_path / "world")
    assert report.written["road triangles"] >= 2 and [s.id for s in report.skipped] == ["r polygon 2"]


OBJ = """# COORDINATE_SYSTEM: PROJCS["JGD2011 / Japan Plane Rectangular CS IX",AUTHORITY["EPSG","6677"]]
v -8000 -37000 3
v -7990 -37000 3
v -7990 -36994 3
v -8000 -36994 3
v -8000 -37000 8
v -7990 -37000 8
v -7990 -36994 8
v -8000 -36994 8
f 4 3 2 1
f 5 6 7 8
f 1/1 2/2 6/3 5/4
f 2//1 3//1 7//1 6//1
f 3 4 8 7
f 4 1 5 8
"""


def test_an_obj_box_is_one_closed_building_of_its_volume(tmp_path):
    path = tmp_path / "x_bldg.obj"
    negative = OBJ.replace("f 4 1 5 8", "f -5 -8 -4 -1")
    for text in (OBJ, negative, OBJ + "mtllib ../../etc/passwd\nusemtl a\n"):
        path.write_text(text)
        report = convert(path, tmp_path / "world")
        assert report.written["closed buildings"] == 1 and report.written["building triangles"] == 12
        assert np.ptp(np.array(report.bounds["buildings"]), axis=0).tolist() == pytest.approx([10, 6, 5], abs=1e-3)
    assert city_info(path)["counts"]["Building"] == 1


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("EPSG", "NONE", "names no plane zone"),
        ('"6677"', '"31467"', "EPSG:31467"),
        ("v -7990 -37000 3", "v -7990 east 3", "line 3"),
        ("v -7990 -37000 3", "v -7990", "line 3"),
        ("f 4 3 2 1", "f 4 3", "line 10"),
        ("f 4 3 2 1", "f 4 x 2 1", "line 10"),
        ("f 4 3 2 1", "f 4 3 2 999999999999", "vertex 999999999999"),
        ("f 4 3 2 1", "f 0 3 2 1", "vertex 0"),
        ("f 4 3 2 1", "f 4 3 2 " + "9" * 60, "line 10"),
        ("f ", "# ", "vertices"),
        ("v -8000 -37000 3", "v nan -37000 3", "no usable face"),
        ("v -8000 -37000 3", "v 1e300 -37000 3", "no usable face"),
    ],
)
def test_broken_obj_files_name_line_or_reason(tmp_path, old, new, match):
    refused(tmp_path, OBJ.replace(old, new), match, name="x_bldg.obj")


WORDS = [b"nan", b"inf", b"1e9", b"1e308", b"-1", b"0", b"", b"<", b"&amp;", b"9" * 30, b"-9999", b"35.66", b" "]


def mutated(data, random):
    """Numbers replaced, bytes changed, pieces cut out or doubled: one to five times."""
    data = bytearray(data)
    for _ in range(random.choice([1, 1, 2, 5])):
        start = random.randrange(max(len(data) - 200, 1))
        kind = random.random()
        if kind < 0.55:
            numbers = [m.span() for m in re.finditer(rb"[-0-9.]+", bytes(data))]
            begin, end = random.choice(numbers)
            data[begin:end] = random.choice(WORDS)
        elif kind < 0.7:
            data[start] = random.randrange(256)
        elif kind < 0.85:
            del data[start : start + random.randrange(1, 150)]
        else:
            data[start:start] = data[start : start + random.randrange(1, 200)]
    return bytes(data)


@pytest.mark.parametrize("kind", ["gml", "obj"])
def test_mutated_files_end_in_a_world_or_our_error(tmp_path, kind):
    random = Random(kind)  # noqa: S311 - mutations, no secrets
    good = (HEAD + GOOD + building("second", box()) + TAIL) if kind == "gml" else OBJ
    outcomes = {"world": 0, "error": 0}
    for _ in range(30):
        path = tmp_path / f"x_bldg_6677.{kind}"
        path.write_bytes(mutated(good.encode(), random))
        begin = time.process_time()
        try:
            report = convert(path, tmp_path / "world")
            assert np.isfinite(report.bounds["world"]).all()
            outcomes["world"] += 1
        except InputError:
            outcomes["error"] += 1
        assert time.process_time() - begin < 6
        assert {p.name for p in tmp_path.iterdir()} <= {path.name, "world"}
    assert min(outcomes.values()) > 0


def test_a_generated_city_is_never_mixed_with_another(tmp_path):
    generate_city(tmp_path, 1)
    generate_city(tmp_path, 2)  # an older generated one is replaced
    real = tmp_path / "udx" / "bldg" / "53393580_bldg_6697_op.gml"
    for path in (tmp_path / "udx" / "bldg" / "53394525_bldg_6697_op.gml", real):
        path.write_text(HEAD + GOOD + TAIL)
        with pytest.raises(InputError, match=path.name):
            generate_city(tmp_path, 1)
        assert path.read_text() == HEAD + GOOD + TAIL
        path.unlink()


@pytest.mark.parametrize("word", ["NaN", "inf"])
def test_a_city_without_one_finite_coordinate_says_so(tmp_path, word, recwarn):
    source = tmp_path / "lost.gml"
    lost = re.sub(r"(<gml:posList>)([^<]*)", lambda m: m[1] + " ".join(word for _ in m[2].split()), HEAD + GOOD + TAIL)
    source.write_text(lost)
    with pytest.raises(InputError, match=r"lost\.gml.*(finite|number)"):
        convert(source, tmp_path / "w")
    assert not (tmp_path / "w").exists() and not [w for w in recwarn if w.category is RuntimeWarning]
