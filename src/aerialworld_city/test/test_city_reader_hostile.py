"""Broken and hostile CityGML: a skip that names line and element, or an error that names the file; bounded time."""

from __future__ import annotations

import gzip
import os
import re
import time
import tracemalloc
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aerialworld_city.options import ConversionOptions
from aerialworld_city.readers.citygml import read_citygml
from aerialworld_city.sources.files import SourceFile
from aerialworld_core.errors import AerialWorldError, InputError, UnsafeInputError

HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<core:CityModel xmlns:core="http://www.opengis.net/citygml/2.0" xmlns:gml="http://www.opengis.net/gml"
 xmlns:b="http://www.opengis.net/citygml/building/2.0" xmlns:app="http://www.opengis.net/citygml/appearance/2.0"
 xmlns:tran="http://www.opengis.net/citygml/transportation/2.0" xmlns:xlink="http://www.w3.org/1999/xlink"
 xmlns:dem="http://www.opengis.net/citygml/relief/2.0" xmlns:veg="http://www.opengis.net/citygml/vegetation/2.0">
<gml:boundedBy><gml:Envelope srsName="http://www.opengis.net/def/crs/EPSG/0/6697" srsDimension="3"/></gml:boundedBy>
"""
TAIL = "</core:CityModel>"
PLACE = "35.0 139.0 1.0"
RING = f"{PLACE} 35.0 139.1 1.0 35.1 139.0 1.0 {PLACE}"


def read(tmp_path, text, **options):
    path = tmp_path / "evil.gml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    begin = time.process_time()
    try:
        return read_citygml(SourceFile(path, path.name, "", "citygml", tmp_path), ConversionOptions(**options))
    finally:
        assert time.process_time() - begin < 10


def polygon(text, name="", interior=None):
    hole = "" if interior is None else f"<gml:interior><gml:LinearRing><gml:posList>{interior}</gml:posList></gml:LinearRing></gml:interior>"  # noqa: E501  # fmt: skip
    return (
        f"<gml:surfaceMember>\n<gml:Polygon{name}><gml:exterior><gml:LinearRing><gml:posList>{text}</gml:posList>"
        f"</gml:LinearRing></gml:exterior>{hole}</gml:Polygon></gml:surfaceMember>"
    )


def building(name, *polygons):
    return (
        f'<core:cityObjectMember><b:Building gml:id="{name}"><b:lod1Solid><gml:Solid><gml:exterior>'
        f"<gml:CompositeSurface>{''.join(polygons)}</gml:CompositeSurface></gml:exterior></gml:Solid></b:lod1Solid>"
        "</b:Building></core:cityObjectMember>\n"
    )


GOOD = building("good", polygon(RING))


@pytest.mark.parametrize(
    ("text", "match", "error"),
    [
        ("", "empty", InputError),
        ("これは文章です。", "line 1: not a well-formed CityGML file", InputError),
        (bytes(range(256)), "line 1", InputError),
        ("<gpx><Envelope/></gpx>", "<gpx> is the root", InputError),
        ("<gpx/>", "no CityModel element", InputError),
        (HEAD + GOOD, "line 9", InputError),
        (HEAD + GOOD.replace("</b:Building>", "</b:House>") + TAIL, "line 8", InputError),
        (HEAD.replace("EPSG/0/6697", "EPSG/0/31467") + GOOD + TAIL, "EPSG:31467", InputError),
        (HEAD.replace("EPSG/0/6697", "somewhere") + GOOD + TAIL, "names no EPSG code", InputError),
        (HEAD.replace(' srsName="http://www.opengis.net/def/crs/EPSG/0/6697"', "") + GOOD + TAIL, "--crs", InputError),
        ('<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>' + HEAD[39:] + TAIL, "DOCTYPE", UnsafeInputError),
        (gzip.compress((HEAD + GOOD + TAIL).encode()), "gzip", UnsafeInputError),
        (b"PK\x03\x04" + b"\0" * 40, "zip", UnsafeInputError),
        (HEAD + "<a>" * 300 + "</a>" * 300 + TAIL, "depth", UnsafeInputError),
    ],
)  # fmt: skip
def test_whole_files_that_cannot_be_used(tmp_path, text, match, error):
    with pytest.raises(error, match=match) as caught:
        read(tmp_path, text)
    assert "evil.gml" in str(caught.value) and caught.value.exit_code == 2


def test_entities_without_a_doctype_are_an_error(tmp_path):
    with pytest.raises(InputError, match="line"):
        read(tmp_path, HEAD + GOOD.replace("good", "&lol;") + TAIL)


@pytest.mark.parametrize(
    ("ring", "reason"),
    [
        ("thirty five 3", "'thirty' is not a number"),
        ("35.0 139.0 1.0 35.0 139.1", "5 numbers in a ring, not a multiple of 3"),
        (f"{PLACE} {PLACE[:8]} nan 1.0 1.0 {PLACE}", "not a multiple|no place"),
        (RING.replace("139.1", "nan"), "nan, which is no place"),
        (RING.replace("139.1", "-inf"), "-inf, which is no place"),
        (RING.replace("139.1", "1e999"), "inf, which is no place"),
        (RING.replace("139.1", "1_39"), "'_' in a number"),
        (f"{PLACE} 35.0 139.1 1.0", "2 distinct points"),
        (f"{PLACE} 35.0 139.1 1.0 {PLACE}", "2 distinct points"),
        (PLACE, "1 distinct points"),
        ("", "0 distinct points"),
    ],
)
def test_a_broken_polygon_is_named_with_its_line_and_the_rest_stays(tmp_path, ring, reason):
    text = HEAD + building("half", polygon(RING), polygon(ring), polygon(RING)) + GOOD + TAIL
    content = read(tmp_path, text)
    assert len(content.polygons.feature) == 3 and [f.id for f in content.features] == ["half", "good"]
    (skipped,) = content.skipped
    assert (skipped.file, skipped.id) == ("evil.gml", "half polygon 2")
    assert re.search(rf"line 9: .*({reason})", skipped.reason)
    with pytest.raises(InputError, match=rf"evil\.gml: half polygon 2: line 9: .*({reason})"):
        read(tmp_path, text, strict=True)


def test_a_hole_of_two_points_goes_and_its_polygon_stays(tmp_path):
    content = read(tmp_path, HEAD + building("x", polygon(RING, interior=f"{PLACE} 35.0 139.1 1.0")) + TAIL)
    assert len(content.polygons.feature) == 1 and "interior rings" not in content.counts
    assert content.skipped[0].id == "x polygon 1 hole"
    # A hole that cannot be read would be filled: then the polygon goes.
    broken = read(tmp_path, HEAD + building("x", polygon(RING, interior="a b c"), polygon(RING)) + TAIL)
    assert len(broken.polygons.feature) == 1 and broken.skipped[0].id == "x polygon 1"


def test_polygons_without_or_with_two_outer_rings(tmp_path):
    none = polygon(RING).replace("exterior", "interior")
    two = polygon(RING).replace("</gml:exterior>", "</gml:exterior><gml:exterior><gml:LinearRing><gml:posList>"
                                f"{RING}</gml:posList></gml:LinearRing></gml:exterior>")  # fmt: skip
    content = read(tmp_path, HEAD + building("x", none, two, polygon(RING)) + TAIL)
    assert len(content.polygons.feature) == 1
    assert ["no outer ring" in content.skipped[0].reason, "2 outer rings" in content.skipped[1].reason] == [True] * 2


def test_very_many_points_and_places_far_away_pass_as_they_are(tmp_path):
    angle = np.linspace(0, 2 * np.pi, 100_000)
    text = " ".join(f"{35 + 0.01 * np.sin(a):.9f} {139 + 0.01 * np.cos(a):.9f} 3" for a in angle)
    far = RING.replace("139.1", "1e9")
    content = read(tmp_path, HEAD + building("huge", polygon(text)) + building("far", polygon(far)) + TAIL)
    assert len(content.polygons.points) == 100_004 and content.polygons.points[:, 1].max() == 1e9


def test_a_text_of_more_than_ten_megabytes_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"evil\.gml"):
        read(tmp_path, HEAD + building("x", polygon("1 " * 6_000_000)) + TAIL)


def test_reports_are_bounded(tmp_path):
    content = read(tmp_path, HEAD + "".join(building(f"b{i}", polygon("x")) for i in range(11_000)) + GOOD + TAIL)
    assert len(content.skipped) == 10_000 and content.counts["further things skipped"] == 12_000
    kinds = "".join(f"<core:cityObjectMember><b:K{i}/></core:cityObjectMember>" for i in range(5_000))
    content = read(tmp_path, HEAD + kinds + TAIL)
    assert len(content.counts) <= 1_001 and sum(content.counts.values()) == 10_000
    same = read(tmp_path, HEAD + GOOD * 5_000 + TAIL)
    assert len({f.id for f in same.features}) == 5_000 and len(same.notes) == 100


def test_very_many_references_to_nowhere_end(tmp_path):
    links = "".join(f'<gml:surfaceMember xlink:href="#n{i}"/>' for i in range(100_000))
    content = read(tmp_path, HEAD + building("x", links) + GOOD + TAIL)
    assert [f.id for f in content.features] == ["good"]
    assert "100000 of its surfaces are not in the file" in content.skipped[0].reason


def test_references_that_meet_again_and_again_are_read_once(tmp_path):
    """2^20 ways lead to one polygon."""
    steps = "".join(
        building(f"o{i}", f'<gml:surfaceMember><gml:CompositeSurface gml:id="s{i}">'
                 + f'<gml:surfaceMember xlink:href="#s{i + 1}"/>' * 2
                 + "</gml:CompositeSurface></gml:surfaceMember>")
        for i in range(20)
    )  # fmt: skip
    last = building("last", polygon(RING, ' gml:id="s20"'))
    for text in (steps + last, last + steps):
        content = read(tmp_path, HEAD + text + TAIL)
        assert len(content.polygons.feature) <= 21 and "last" in [f.id for f in content.features]
    inside = "".join(
        f'<gml:surfaceMember><gml:CompositeSurface gml:id="s{i}">'
        + f'<gml:surfaceMember xlink:href="#s{i + 1}"/>' * 2
        + "</gml:CompositeSurface></gml:surfaceMember>"
        for i in range(20)
    )
    one = read(tmp_path, HEAD + building("x", inside, polygon(RING, ' gml:id="s20"')) + TAIL)
    assert len(one.polygons.feature) == 1


@pytest.mark.long
def test_one_shape_in_very_many_places_has_an_end(tmp_path):
    """A million times ten thousand points would be what 10 MB of text ask for."""
    matrix = "<core:transformationMatrix>1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1</core:transformationMatrix>"
    place = f"<core:referencePoint><gml:Point><gml:pos>{PLACE}</gml:pos></gml:Point></core:referencePoint>"

    def tree(shape):
        inner = f"<core:ImplicitGeometry>{matrix}{shape}{place}</core:ImplicitGeometry>"
        return (
            "<core:cityObjectMember><veg:SolitaryVegetationObject><veg:lod1ImplicitRepresentation>"
            f"{inner}</veg:lod1ImplicitRepresentation></veg:SolitaryVegetationObject></core:cityObjectMember>"
        )

    many = " ".join(f"{i} {i * i % 7} 0" for i in range(100_000))
    first = tree(f'<core:relativeGMLGeometry><gml:MultiSurface gml:id="m">{polygon(many)}</gml:MultiSurface></core:relativeGMLGeometry>')  # noqa: E501  # fmt: skip
    content = read(tmp_path, HEAD + first + tree('<core:relativeGMLGeometry xlink:href="#m"/>') * 1_000 + TAIL)
    assert 2 <= len(content.features) <= 60 and len(content.polygons.points) < 6_000_000
    assert sum("by reference exceeds" in s.reason for s in content.skipped) > 900


def test_an_object_of_very_many_properties(tmp_path):
    inner = "".join(
        f"<b:lod2MultiSurface><gml:MultiSurface>{polygon(RING.replace('139.1', str(139.1 + i)))}</gml:MultiSurface>"
        "</b:lod2MultiSurface>"
        for i in range(10_000)
    )
    text = HEAD + f'<core:cityObjectMember><b:Building gml:id="x">{inner}</b:Building></core:cityObjectMember>' + TAIL
    assert len(read(tmp_path, text).polygons.feature) == 10_000


@pytest.mark.parametrize("number", ["1e308", "-1.7e308", "1e200"])
def test_numbers_that_overflow(tmp_path, number):
    ring = RING.replace("139.1", number).replace("35.1", number)
    content = read(tmp_path, HEAD + building("x", polygon(ring)) + TAIL)
    assert content.polygons.points.max() == float(number) or content.polygons.points.min() == float(number)
    implicit = EVERYTHING.replace("0 0 0 1 0 0 0 1 0 0 0 0", f"0 0 0 {number} {number} 0 0 1 0 0 0 0")
    implicit = implicit.replace("1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1", f"1e200 {number} 0 0 0 1 0 0 0 0 1 0 0 0 0 1")
    assert any("cannot be placed" in s.reason for s in read(tmp_path, implicit).skipped)


def test_a_texture_of_very_many_targets_is_read_without_its_tree(tmp_path):
    target = (
        '<app:target uri="#p{0}"><app:TexCoordList><app:textureCoordinates ring="#r{0}">0 0 1 0 1 1 0 0'
        "</app:textureCoordinates></app:TexCoordList></app:target>"
    )
    look = "".join(target.format(i) for i in range(60_000))
    text = (
        HEAD + "<app:appearanceMember><app:Appearance><app:surfaceDataMember><app:ParameterizedTexture><app:imageURI>"
        f"a.jpg</app:imageURI>{look}</app:ParameterizedTexture></app:surfaceDataMember></app:Appearance>"
        "</app:appearanceMember>" + building("x", polygon(RING, ' gml:id="p7"').replace(
            "<gml:LinearRing", '<gml:LinearRing gml:id="r7"')) + TAIL
    )  # fmt: skip
    content = read(tmp_path, text)
    assert content.counts["texture targets"] == 60_000 and content.counts["targets to ids not read"] == 59_999
    assert content.polygons.uv.tolist() == [[0, 0], [1, 0], [1, 1], [0, 0]]


def test_memory_is_the_numbers_not_the_tree(tmp_path):
    """5 000 buildings of one polygon: Python's share stays near the packed arrays and the features."""
    text = HEAD + "".join(building(f"b{i}", polygon(RING)) for i in range(5_000)) + TAIL
    path = tmp_path / "many.gml"
    path.write_text(text)
    del text
    tracemalloc.start()
    content = read_citygml(SourceFile(path, path.name, "", "citygml", tmp_path), ConversionOptions())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(content.features) == 5_000 and peak < 15e6


WORDS = [b"nan", b"inf", b"1e9", b"1e308", b"-1", b"0", b"", b"<", b"&amp;", b"9" * 30, b"-9999", b" ", b"#p1", b"p1"]
EVERYTHING = (
    HEAD
    + building("one", polygon(RING, ' gml:id="p1"'), '<gml:surfaceMember xlink:href="#p2"/>')
    + building("two", polygon(RING, ' gml:id="p2"', interior=RING), '<gml:surfaceMember xlink:href="#two"/>')
    + '<core:cityObjectMember><tran:Road gml:id="r"><tran:trafficArea><tran:TrafficArea><tran:function>2000'
    f"</tran:function><tran:lod2MultiSurface><gml:MultiSurface>{polygon(RING)}</gml:MultiSurface>"
    "</tran:lod2MultiSurface></tran:TrafficArea></tran:trafficArea></tran:Road></core:cityObjectMember>"
    '<core:cityObjectMember><veg:SolitaryVegetationObject><veg:lod1ImplicitRepresentation><core:ImplicitGeometry>'
    "<core:transformationMatrix>1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1</core:transformationMatrix>"
    f'<core:relativeGMLGeometry><gml:MultiSurface gml:id="m">{polygon("0 0 0 1 0 0 0 1 0 0 0 0")}</gml:MultiSurface>'
    f"</core:relativeGMLGeometry><core:referencePoint><gml:Point><gml:pos>{PLACE}</gml:pos></gml:Point>"
    "</core:referencePoint></core:ImplicitGeometry></veg:lod1ImplicitRepresentation></veg:SolitaryVegetationObject>"
    "</core:cityObjectMember><core:cityObjectMember><dem:ReliefFeature><dem:reliefComponent><dem:TINRelief><dem:lod>1"
    "</dem:lod><dem:tin><gml:TriangulatedSurface><gml:trianglePatches><gml:Triangle><gml:exterior><gml:LinearRing>"
    f"<gml:posList>{RING}</gml:posList></gml:LinearRing></gml:exterior></gml:Triangle></gml:trianglePatches>"
    "</gml:TriangulatedSurface></dem:tin></dem:TINRelief></dem:reliefComponent></dem:ReliefFeature>"
    "</core:cityObjectMember><app:appearanceMember><app:Appearance><app:theme>rgbTexture</app:theme>"
    "<app:surfaceDataMember><app:ParameterizedTexture><app:imageURI>a.jpg</app:imageURI>"
    '<app:target uri="#p1"><app:TexCoordList><app:textureCoordinates ring="#q">0 0 1 0 1 1 0 0'
    "</app:textureCoordinates></app:TexCoordList></app:target></app:ParameterizedTexture></app:surfaceDataMember>"
    "<app:surfaceDataMember><app:X3DMaterial><app:diffuseColor>1 0 0</app:diffuseColor><app:target>#p2</app:target>"
    "</app:X3DMaterial></app:surfaceDataMember></app:Appearance></app:appearanceMember>"
    + TAIL
).replace("<gml:LinearRing>", '<gml:LinearRing gml:id="q">', 1)  # fmt: skip


def mutated(data, random):
    data = bytearray(data)
    for _ in range(random.choice([1, 1, 2, 5])):
        start = random.randrange(len(data) - 200)
        kind = random.random()
        if kind < 0.45:
            spans = [m.span() for m in re.finditer(rb'(?<=[ >"])[-#0-9a-z.]+', bytes(data))]
            begin, end = random.choice(spans)
            data[begin:end] = random.choice(WORDS)
        elif kind < 0.7:
            elements = [m.span() for m in re.finditer(rb"<(\w+:\w+)[^<>]*>[^<>]*</\1>|<\w+:\w+[^<>]*/>", bytes(data))]
            begin, end = random.choice(elements)
            piece = data[begin:end]
            data[begin:end] = random.choice([b"", piece * 2, piece + piece[: len(piece) // 2]])
        elif kind < 0.8:
            data[start] = random.randrange(256)
        else:
            names = [m.span(1) for m in re.finditer(rb"</?\w+:(\w+)", bytes(data))]
            begin, end = random.choice(names)
            other = random.choice(names)
            word = bytes(data[begin:end])
            data = bytearray(bytes(data).replace(b":" + word, b":" + bytes(data[slice(*other)])))
    return bytes(data)


def test_mutated_files_end_in_content_or_our_error(tmp_path):
    random = Random(20_26)  # noqa: S311 - mutations, no secrets
    assert len(read(tmp_path, EVERYTHING).features) == 4
    outcomes = {"content": 0, "error": 0}
    for _ in range(400):
        data = mutated(EVERYTHING.encode(), random)
        try:
            content = read(tmp_path, data)
        except AerialWorldError:
            outcomes["error"] += 1
            continue
        outcomes["content"] += 1
        packed = content.polygons
        assert np.isfinite(packed.points).all() and np.isfinite(content.terrain).all()
        assert packed.ring_start[-1] == len(packed.points) and packed.polygon_start[-1] == len(packed.ring_start) - 1
        assert len(packed.feature) == 0 or packed.feature.max() < len(content.features)
        assert len(packed.material) == 0 or packed.material.max() < len(content.materials)
        assert packed.uv is None or packed.uv.shape == (len(packed.points), 2)
    assert min(outcomes.values()) > 40


SHARED = Path(os.environ.get("AERIALWORLD_SHARED", Path(__file__).resolve().parents[4] / "shared"))
REAL = SHARED / "data" / "plateau" / "12_broken" / "osaka_holes_Issue138" / "51357441_bldg_Issue138-A.gml"


@pytest.mark.skipif(not REAL.is_file(), reason=f"no {REAL}")
@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.sampled_from(["word", "cut", "double", "byte"]), st.integers(0, 255)),
        min_size=1,
        max_size=6,
    )
)
def test_a_real_file_with_any_changes_ends_in_content_or_our_error(changes):
    data = bytearray(REAL.read_bytes())
    for share, how, number in changes:
        at = int(share * (len(data) - 1))
        if how == "word":
            at = max(data.rfind(b" ", 0, at), data.rfind(b">", 0, at)) + 1
            end = next((i for i in range(at, min(at + 60, len(data))) if data[i] in b" <>"), at)
            data[at:end] = WORDS[number % len(WORDS)]
        elif how == "cut":
            del data[at : at + number]
        elif how == "double":
            data[at:at] = data[at : at + 4 * number]
        else:
            data[at] = number
    with TemporaryDirectory() as folder:
        try:
            content = read(Path(folder), bytes(data))
        except AerialWorldError as error:
            assert "evil.gml" in str(error)
            return
    packed = content.polygons
    assert np.isfinite(packed.points).all() and packed.polygon_start[-1] == len(packed.ring_start) - 1
    assert set(packed.feature) == set(range(len(content.features))) or not len(packed.feature)
