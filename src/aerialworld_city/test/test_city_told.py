"""What is said: causes in the names that the user knows, whom the data is owed to, and what was not used or drawn."""

from __future__ import annotations

import errno
import json
import os
import sys
import zipfile
from pathlib import Path

import pytest

from aerialworld_city.convert import GENERATED_CREDIT, PLATEAU_CREDIT, convert
from aerialworld_city.geodesy import Projection
from aerialworld_city.inspect import city_info
from aerialworld_city.options import ConversionOptions
from aerialworld_city.synthetic.generate import generate_city
from aerialworld_city.synthetic.shapes import prism, rectangle
from aerialworld_city.tiles import store
from aerialworld_city.writing import preview
from aerialworld_core.errors import AerialWorldError, InputError
from aerialworld_core.files import StorageError

sys.path.insert(0, str(Path(__file__).parent))
from test_city_convert import EAST, NORTH, write_city

QUICK = ConversionOptions(preview=False, workers=1, keep_tiles=False)
MODEL = '<core:CityModel xmlns:core="http://www.opengis.net/citygml/2.0" xmlns:gml="http://www.opengis.net/gml" xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:bldg="http://www.opengis.net/citygml/building/2.0">{}</core:CityModel>'  # noqa: E501
BUILDING = '<core:cityObjectMember><bldg:Building gml:id="b"><bldg:lod1Solid>{}</bldg:lod1Solid></bldg:Building></core:cityObjectMember>'  # noqa: E501
RING = "<gml:Solid{}><gml:exterior><gml:Polygon><gml:exterior><gml:LinearRing><gml:posList>{}</gml:posList></gml:LinearRing></gml:exterior></gml:Polygon></gml:exterior></gml:Solid>"  # noqa: E501
CAUSES = {
    "other.gml": ("<gpx/>", "no city model"),
    "empty.gml": (MODEL.format(""), "no city object"),
    "links.gml": (MODEL.format(BUILDING.format('<gml:Solid xlink:href="#gone"/>')), "no city object in it has a coord"),
    "abroad.gml": (MODEL.format(BUILDING.format(RING.format("", "48.1 11.5 500 48.2 11.5 500"))), "coordinate is 48"),
    "system.gml": (
        MODEL.format(BUILDING.format(RING.format(' srsName="EPSG:31467"', "5300000 4400000 500 5300001 4400000 500"))),
        "EPSG:31467",
    ),
    "unnamed.gml": (MODEL.format(BUILDING.format(RING.format(' srsName="Bessel"', "53000 44000 500"))), "'Bessel'"),
    "broken.gml": (MODEL.format("<a>"), "line 1"),
    "points.obj": ("v 1 2 3\nv 2 3 4\n", "no face"),
    "text.obj": ("hello\n", "no vertex"),
    "other.glb": ("solid\n", "not a GLB"),
}  # fmt: skip


def zipped(path, name, data):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as handle:
        handle.writestr(name, data, zipfile.ZIP_DEFLATED)
    return path


def a_box(path):
    """An OBJ of a user's own: metres about a place, no header."""
    faces = prism(rectangle(10, 6, (0, 0)), 3.0, 9.0)
    lines, count = [], 0
    for _, (ring,) in faces:
        lines += ["v " + " ".join(f"{v:.3f}" for v in p) for p in ring]
        lines.append("f " + " ".join(str(count + i + 1) for i in range(len(ring))))
        count += len(ring)
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("name", CAUSES)
def test_the_cause_is_told_in_the_files_name_also_of_an_archives_member(tmp_path, name):
    text, cause = CAUSES[name]
    (tmp_path / "source").mkdir()
    plain = tmp_path / "source" / name
    plain.write_text(text)
    archive = zipped(tmp_path / "set.zip", f"udx/bldg/{name}", text)
    for source, called in ((plain, str(plain)), (archive, f"{archive}: udx/bldg/{name}")):
        with pytest.raises(InputError) as caught:
            convert(source, tmp_path / "world", QUICK)
        assert str(caught.value).startswith(called + ": ") and cause in str(caught.value)
        assert ".partial" not in str(caught.value)
        try:
            problem = city_info(source)["zone_problem"]
        except InputError as error:
            problem = str(error)
        assert problem.startswith(called + ": ") and "aerialworld-" not in problem


def test_a_bomb_is_refused_by_its_archives_name(tmp_path):
    archive = zipped(tmp_path / "set.zip", "udx/bldg/53394525_bldg_6697_op.gml", b" " * 30_000_000)
    with pytest.raises(InputError, match=r"set\.zip: member 'udx/bldg/53394525_bldg_6697_op\.gml' .*bomb"):
        convert(archive, tmp_path / "world", QUICK)


def test_what_an_archives_tiles_say_does_not_depend_on_where_it_was_unpacked(tmp_path):
    """A material library that cannot be read, told in the report: no temporary path, equal bytes again."""
    text = "mtllib a.mtl\nusemtl x\n" + a_box(tmp_path / "a.obj").read_text()
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as handle:
        handle.writestr("bldg/a.obj", text)
        handle.writestr("bldg/a.mtl", b"\x1f\x8b not a text")
    told = []
    for name in ("one", "two"):
        convert(tmp_path / "set.zip", tmp_path / name, ConversionOptions(crs=6677, preview=False, workers=1))
        told.append((tmp_path / name / "conversion_report.json").read_text())
    assert told[0] == told[1] and "a.mtl" in told[0]
    assert "partial" not in told[0] and "unpacked-" not in told[0]


def test_nothing_to_convert_names_the_first_reasons(tmp_path):
    flat = "35.66 139.74 3 " * 4
    path = tmp_path / "flat.gml"
    path.write_text(MODEL.format(BUILDING.format(RING.format(' srsName="EPSG:6697"', flat))))
    with pytest.raises(InputError, match=r"flat\.gml: b.*:"):
        convert(path, tmp_path / "world", QUICK)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_no_room_is_no_fault_of_the_file(tmp_path, monkeypatch, number):
    """It ends the conversion, also where other files could still be read; nothing is left behind."""
    path = write_city(tmp_path / "53393599_bldg_6697_op.gml", {"b_1": prism(rectangle(10, 6, (20, 30)), 4.0, 9.0)})

    def full(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(store, "canonical_json", full)
    with pytest.raises(StorageError, match=f"world.*{os.strerror(number)}.*bytes free") as caught:
        convert(path, tmp_path / "world", QUICK)
    assert caught.value.exit_code == 28 and ".partial" not in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name]


# --- whom it is owed to -----------------------------------------------------------------------------------------------


def attribution(folder):
    return json.loads((folder / "city.json").read_text())["attribution"]


def test_each_source_is_credited_as_what_it_is(tmp_path):
    own = a_box(tmp_path / "mine.obj")
    of_plateau = write_city(tmp_path / "53393599_bldg_6697_op.gml", {"b_1": prism(rectangle(10, 6, (0, 0)), 4.0, 9.0)})
    neutral = "Converted by AerialWorld from mine.obj; see the sources for their licence."
    here = Projection(6677).inverse(EAST, NORTH)
    plane = ConversionOptions(crs=6677, preview=False, workers=1)
    convert(own, tmp_path / "own", plane)
    assert attribution(tmp_path / "own") == neutral
    convert(of_plateau, tmp_path / "plateau", plane)
    assert attribution(tmp_path / "plateau") == PLATEAU_CREDIT
    moved = tmp_path / "53393599_bldg_6677.obj"  # a name of the OBJ release
    moved.write_text(own.read_text())
    convert(moved, tmp_path / "release", plane)
    assert attribution(tmp_path / "release") == PLATEAU_CREDIT
    shifted = "\n".join(
        f"v {float(x) + EAST} {float(y) + NORTH} {z}" if kind == "v" else f"{kind} {x} {y} {z}"
        for kind, x, y, z in (line.split(maxsplit=3) for line in own.read_text().splitlines())
    )
    own.write_text(shifted)
    convert([of_plateau, own], tmp_path / "both", ConversionOptions(crs=6677, preview=False, workers=1, origin=here))
    assert attribution(tmp_path / "both") == f"{PLATEAU_CREDIT} / {neutral}"
    convert(own, tmp_path / "stated", ConversionOptions(crs=6677, preview=False, workers=1, attribution="Me, 2026"))
    assert attribution(tmp_path / "stated") == "Me, 2026"


def test_the_made_up_city_credits_nobody(tmp_path):
    convert(generate_city(tmp_path / "source", 1), tmp_path / "world", QUICK)
    assert attribution(tmp_path / "world") == GENERATED_CREDIT


def test_citygml_of_other_countries_in_japan_is_not_plateaus(tmp_path):
    """The schema tells: this file is no release by name, and its namespaces are CityGML's own."""
    path = tmp_path / "campus.gml"
    ring = " ".join(f"{lat} {lon} {z}" for lat, lon, z in ((35.66, 139.74, 3), (35.6601, 139.74, 3), (35.66, 139.7401, 9), (35.66, 139.74, 3)))  # fmt: skip # noqa: E501
    path.write_text(MODEL.format(BUILDING.format(RING.format(' srsName="EPSG:6697"', ring))))
    convert(path, tmp_path / "world", QUICK)
    assert attribution(tmp_path / "world").startswith("Converted by AerialWorld from campus.gml")


@pytest.mark.parametrize("text", ["", "  ", "x" * 1001])
def test_an_attribution_is_a_text(text):
    with pytest.raises(AerialWorldError, match="attribution"):
        ConversionOptions(attribution=text)


# --- what was not used, not drawn, and does not stand on the ground ---------------------------------------------------


def test_a_world_without_pictures_says_so(tmp_path, monkeypatch):
    path = write_city(tmp_path / "53393599_bldg_6697_op.gml", {"b_1": prism(rectangle(10, 6, (20, 30)), 4.0, 9.0)})
    monkeypatch.setattr(preview, "MAX_MODELS", 1)
    report = convert(path, tmp_path / "world", ConversionOptions(workers=1))
    assert not list((tmp_path / "world").glob("*.png"))
    assert any("no preview was drawn" in note and "at most 1 " in note for note in report.notes)
