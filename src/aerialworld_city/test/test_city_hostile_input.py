"""Sources that cannot be used end in a message that names the file, the line or the option; nothing is left behind.

What hostile files may cost, and fuzzing: `test_city_accept_hostile.py`, `test_city_accept_fuzz.py`.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from aerialworld_city.convert import convert as convert_with
from aerialworld_city.options import ConversionOptions
from aerialworld_city.synthetic.generate import generate_city
from aerialworld_core.errors import InputError, UnsafeInputError

sys.path.insert(0, str(Path(__file__).parent))
from city_shapes import OBJ_BOX as OBJ

HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<core:CityModel xmlns:core="http://www.opengis.net/citygml/2.0" xmlns:gml="http://www.opengis.net/gml"
 xmlns:bldg="http://www.opengis.net/citygml/building/2.0" xmlns:tran="http://www.opengis.net/citygml/transportation/2.0"
 xmlns:xlink="http://www.w3.org/1999/xlink">
<gml:boundedBy><gml:Envelope srsName="http://www.opengis.net/def/crs/EPSG/0/6697" srsDimension="3"/></gml:boundedBy>
"""
TAIL = "</core:CityModel>"
# A box of about 9 m × 11 m × 5 m: bottom, top, four walls as latitude, longitude, height.
A, B = (35.6600, 139.7400), (35.6601, 139.7401)


def convert(source, out, **options):
    return convert_with(source, out, ConversionOptions(preview=False, workers=1, keep_tiles=False, **options))


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
        (HEAD + TAIL, "no city object in it: its CityModel has no", InputError),
        (HEAD + GOOD, "line", InputError),
        (
            HEAD + building("b", ["<gml:surfaceMember xlink:href='#nowhere'/>"]) + TAIL,
            "no city object in it has a coordinate.*refer to is not there",
            InputError,
        ),
        (HEAD.replace("EPSG/0/6697", "EPSG/0/31467") + GOOD + TAIL, "EPSG:31467", InputError),
        (HEAD.replace('srsName="http://www.opengis.net/def/crs/EPSG/0/6697"', "") + GOOD + TAIL, "srsName", InputError),
        (HEAD + GOOD.replace("35.66", "5.66") + TAIL, "Japan", InputError),
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


def test_missing_and_foreign_sources(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        convert(tmp_path / "nothing.gml", tmp_path / "world")
    with pytest.raises(InputError, match="no city file"):
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


def test_a_broken_polygon_leaves_the_rest_of_its_building(tmp_path):
    path = tmp_path / "x_bldg_6697.gml"
    path.write_text(HEAD + building("half", [*box(), polygon([corner(0, 3), corner(1, 3)])]) + TAIL)
    report = convert(path, tmp_path / "world")
    assert report.written["closed buildings"] == 1
    assert [(s.file, s.id) for s in report.skipped] == [(path.name, "half polygon 7")]


def test_an_obj_box_is_one_closed_building_of_its_volume(tmp_path):
    path = tmp_path / "x_bldg.obj"
    negative = OBJ.replace("f 4 1 5 8", "f -5 -8 -4 -1")
    for text in (OBJ, negative, OBJ + "mtllib ../../etc/passwd\nusemtl a\n"):
        path.write_text(text)
        report = convert(path, tmp_path / "world")
        assert report.written["closed buildings"] == 1 and report.written["building triangles"] == 12
        assert np.ptp(np.array(report.bounds["buildings"]), axis=0).tolist() == pytest.approx([10, 6, 5], abs=1e-3)


def test_an_obj_that_names_no_zone_says_what_to_give(tmp_path):
    """Other broken OBJ files: test_city_obj_hostile.py."""
    refused(tmp_path, OBJ.replace("EPSG", "NONE"), "names no plane zone.*--crs", name="x_bldg.obj")


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
    with pytest.raises(InputError, match=r"lost\.gml.*(finite|number|no place)"):
        convert(source, tmp_path / "w")
    assert not (tmp_path / "w").exists() and not [w for w in recwarn if w.category is RuntimeWarning]
