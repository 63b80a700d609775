"""Textures and colours of CityGML: the right image and coordinates for each ring, or a class colour and a report."""

from __future__ import annotations

import math
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aerialworld_city.features import Material
from aerialworld_city.options import ConversionOptions
from aerialworld_city.readers.citygml import read_citygml
from aerialworld_city.readers.citygml_appearance import clean_image
from aerialworld_city.sources.files import SourceFile

HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<core:CityModel xmlns:core="http://www.opengis.net/citygml/2.0" xmlns:gml="http://www.opengis.net/gml"
 xmlns:b="http://www.opengis.net/citygml/building/2.0" xmlns:app="http://www.opengis.net/citygml/appearance/2.0"
 xmlns:xlink="http://www.w3.org/1999/xlink">
<gml:boundedBy><gml:Envelope srsName="http://www.opengis.net/def/crs/EPSG/0/6697" srsDimension="3"/></gml:boundedBy>
"""
TAIL = "</core:CityModel>"
UV = [(0.0, 0.0), (1.0, 0.0), (0.25, 0.5)]


def read(folder, body, **options):
    path = Path(folder) / "x.gml"
    path.write_text(HEAD + body + TAIL, encoding="utf-8")
    return read_citygml(SourceFile(path, path.name, "", "citygml", Path(folder)), ConversionOptions(**options))


def numbers(rows):
    return " ".join(repr(float(v)) for row in rows for v in row)


def ring(identifier, points):
    return f'<gml:LinearRing gml:id="{identifier}"><gml:posList>{numbers(points)}</gml:posList></gml:LinearRing>'


def triangle(mark, size=0.001):
    first = (35.0 + mark / 100, 139.0, 1.0)
    return [first, (first[0], 139 + size, 1.0), (first[0] + size, 139.0, 2.0), first]


def polygon(name, *rings):
    outer, *holes = rings
    inner = f"<gml:exterior>{outer}</gml:exterior>" + "".join(f"<gml:interior>{h}</gml:interior>" for h in holes)
    return f'<gml:surfaceMember><gml:Polygon gml:id="{name}">{inner}</gml:Polygon></gml:surfaceMember>'


def building(*polygons, group="", inside="", name="x"):
    return (
        f'<core:cityObjectMember><b:Building gml:id="{name}">{inside}<b:lod2MultiSurface><gml:MultiSurface{group}>'
        f"{''.join(polygons)}</gml:MultiSurface></b:lod2MultiSurface></b:Building></core:cityObjectMember>"
    )


def coordinates(name, uv):
    return f'<app:textureCoordinates ring="#{name}">{numbers(uv)}</app:textureCoordinates>'


def texture(image, *targets, extra=""):
    inner = "".join(f'<app:target uri="#{t}"><app:TexCoordList>{c}</app:TexCoordList></app:target>' for t, c in targets)
    return (
        f"<app:surfaceDataMember><app:ParameterizedTexture>{extra}<app:imageURI>{image}</app:imageURI>{inner}"
        "</app:ParameterizedTexture></app:surfaceDataMember>"
    )


def material(colour, *targets, transparency=None):
    clear = "" if transparency is None else f"<app:transparency>{transparency}</app:transparency>"
    inner = "".join(f"<app:target>#{t}</app:target>" for t in targets)
    return (
        f"<app:surfaceDataMember><app:X3DMaterial><app:diffuseColor>{colour}</app:diffuseColor>{clear}{inner}"
        "</app:X3DMaterial></app:surfaceDataMember>"
    )


def appearance(*data, theme="rgbTexture", where="app:appearanceMember"):
    inner = f"<app:Appearance><app:theme>{theme}</app:theme>{''.join(data)}</app:Appearance>"
    return f"<{where}>{inner}</{where}>"


HOUSE = polygon("p", ring("r", triangle(0)))
PHOTO = texture("a/house.jpg", ("p", coordinates("r", [*UV, UV[0]])))


@pytest.mark.parametrize("where", ["before", "after", "inside"])
def test_an_appearance_may_stand_before_after_or_inside_the_object(tmp_path, where):
    inside = appearance(PHOTO, where="app:appearance") if where == "inside" else ""
    body = building(HOUSE, inside=inside)
    look = appearance(PHOTO)
    content = read(tmp_path, {"before": look + body, "after": body + look, "inside": body}[where])
    assert content.materials == [Material(image="a/house.jpg")] and content.polygons.material.tolist() == [0]
    assert content.polygons.uv.tolist() == [list(p) for p in [*UV, UV[0]]]
    assert content.counts["texture targets"] == 1 and content.skipped == []


@pytest.mark.parametrize("turned", [False, True])
def test_the_texture_wins_over_the_colour_and_the_theme_over_both(tmp_path, turned):
    def order(*data):
        return data[::-1] if turned else data

    both = order(material("1 0 0", "p"), PHOTO)
    assert read(tmp_path, building(HOUSE) + appearance(*both)).materials == [Material(image="a/house.jpg")]
    infrared = appearance(texture("heat.jpg", ("p", coordinates("r", [*UV, UV[0]]))), theme="infrared")
    colour = appearance(material("0.2 0.4 0.6", "p", transparency=0.25))
    content = read(tmp_path, building(HOUSE) + "".join(order(infrared, colour)))
    assert content.materials == [Material(colour=(0.2, 0.4, 0.6), opacity=0.75)] and content.polygons.uv is None
    alone = read(tmp_path, building(HOUSE) + infrared)
    assert alone.materials == [Material(image="heat.jpg")]


def test_without_textures_the_colours_stay(tmp_path):
    content = read(tmp_path, building(HOUSE) + appearance(PHOTO, material("1 0 0", "p")), textures=False)
    assert content.materials == [Material(colour=(1.0, 0.0, 0.0))] and content.polygons.uv is None


def test_one_image_of_several_textures_is_one_material(tmp_path):
    second = polygon("q", ring("s", triangle(1)))
    data = PHOTO + texture("./a//house.jpg", ("q", coordinates("s", [*UV, UV[0]]))) + texture("unused.jpg")
    content = read(tmp_path, building(HOUSE, second) + appearance(data, material("1 1 1", "nobody")))
    assert content.materials == [Material(image="a/house.jpg")] and content.polygons.material.tolist() == [0, 0]
    assert content.counts["targets to ids not read"] == 1


def test_a_surface_around_the_polygons_may_be_the_target(tmp_path):
    second = polygon("q", ring("s", triangle(1)))
    body = building(HOUSE, second, group=' gml:id="all"')
    content = read(tmp_path, body + appearance(material("1 0 0", "all"), material("0 1 0", "q")))
    colours = [content.materials[m].colour for m in content.polygons.material]
    assert colours == [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0)]
    rings = coordinates("r", [*UV, UV[0]]) + coordinates("s", [*UV[::-1], UV[2]])
    content = read(tmp_path, body + appearance(texture("a.png", ("all", rings)), material("0 1 0", "q")))
    assert content.materials == [Material(image="a.png")]
    assert content.polygons.uv[4:].tolist() == [list(p) for p in [*UV[::-1], UV[2]]]


def test_rings_without_fitting_coordinates_lose_the_texture_and_are_counted(tmp_path):
    def count(*given, rings=(ring("r", triangle(0)),)):
        body = building(polygon("p", *rings)) + appearance(texture("a.jpg", ("p", "".join(given))))
        content = read(tmp_path, body)
        key = "polygons whose texture coordinates are missing or do not fit"
        return content.counts.get(key, 0), content.materials, content.polygons.uv

    whole = coordinates("r", [*UV, UV[0]])
    assert count(whole)[0] == 0
    # The closing point's may be left out; then it is the first one's.
    assert count(coordinates("r", UV))[2].tolist() == [list(p) for p in [*UV, UV[0]]]
    assert count(coordinates("r", UV[:2])) == (1, [], None)
    assert count(coordinates("r", UV), rings=(ring("r", [*triangle(0)[:3], (35.1, 139.0, 0.0)]),))[0] == 1
    assert count(coordinates("other", [*UV, UV[0]])) == (1, [], None)
    hole = ring("h", triangle(0, 0.0001)[::-1])
    assert count(whole, rings=(ring("r", triangle(0)), hole))[0] == 1
    both = count(whole, coordinates("h", [*UV[::-1], UV[2]]), rings=(ring("r", triangle(0)), hole))
    assert both[0] == 0 and both[2][4:].tolist() == [list(p) for p in [*UV[::-1], UV[2]]]


@pytest.mark.parametrize("words", ["0 0 1", "a b", "nan 0 1 0 0 1 0 0", ""])
def test_coordinates_that_are_no_numbers_are_reported(tmp_path, words):
    bad = f'<app:textureCoordinates ring="#r">{words}</app:textureCoordinates>'
    content = read(tmp_path, building(HOUSE) + appearance(texture("a.jpg", ("p", bad))))
    assert content.materials == [] and content.features[0].id == "x"
    assert [s.id for s in content.skipped] == ["ring #r"] and "no pairs of numbers" in content.skipped[0].reason


def test_turned_surfaces_take_their_coordinates_along(tmp_path):
    turned = HOUSE.replace("<gml:Polygon", '<gml:OrientableSurface orientation="-"><gml:baseSurface><gml:Polygon')
    turned = turned.replace("</gml:Polygon>", "</gml:Polygon></gml:baseSurface></gml:OrientableSurface>")
    plain = read(tmp_path, building(HOUSE) + appearance(PHOTO)).polygons
    other = read(tmp_path, building(turned) + appearance(PHOTO)).polygons
    assert np.array_equal(plain.points[::-1], other.points) and np.array_equal(plain.uv[::-1], other.uv)


def test_what_is_not_supported_is_reported_once(tmp_path):
    formula = "<app:TexCoordGen><app:worldToTexture>1 0 0 0 0 1 0 0 0 0 0 1</app:worldToTexture></app:TexCoordGen>"
    generated = texture("a.jpg", ("p", ""), ("q", "")).replace("<app:TexCoordList></app:TexCoordList>", formula)
    placed = "<app:surfaceDataMember><app:GeoreferencedTexture/></app:surfaceDataMember>"
    content = read(tmp_path, building(HOUSE) + appearance(generated, placed))
    assert sorted(s.id for s in content.skipped) == ["GeoreferencedTexture", "TexCoordGen"]
    assert content.counts["targets with TexCoordGen"] == 2 and content.materials == []
    back = texture("a.jpg", ("p", coordinates("r", [*UV, UV[0]])), extra="<app:isFront>false</app:isFront>")
    assert read(tmp_path, building(HOUSE) + appearance(back)).materials == []


@pytest.mark.parametrize(
    ("colour", "transparency", "expected"),
    [
        ("0.5 0.25 1", None, Material(colour=(0.5, 0.25, 1.0))),
        ("2 -1 0.5", 3, Material(colour=(1.0, 0.0, 0.5), opacity=0.0)),
        ("", None, None), ("1 1", None, None), ("red", None, None), ("nan 0 0", None, None), ("0 0 0", "inf", None),
    ],
)  # fmt: skip
def test_colours(tmp_path, colour, transparency, expected):
    content = read(tmp_path, building(HOUSE) + appearance(material(colour, "p", transparency=transparency)))
    assert content.materials == ([expected] if expected else [])
    assert len(content.skipped) == (expected is None)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("a/b.jpg", "a/b.jpg"), (" a/b.JPG\n", "a/b.JPG"), ("a\\b.tif", "a/b.tif"), ("./a/./b.png", "a/b.png"),
        ("a%20b/c%E5%BB%BA.jpg", "a b/c建.jpg"), ("a/..b.jpg", "a/..b.jpg"), ("写真/屋根.jpg", "写真/屋根.jpg"),
        ("../a.jpg", None), ("a/../../b.jpg", None), ("a/../b.jpg", None), ("%2e%2e/a.jpg", None),
        ("..%5ca.jpg", None), ("/etc/passwd", None), ("%2Fetc/passwd", None), ("\\\\host\\a.jpg", None),
        ("C:\\a.jpg", None), ("c:/a.jpg", None), ("http://a/b.jpg", None), ("file:///etc/passwd", None),
        ("data:image/png;base64,AAAA", None), ("", None), ("   ", None), (".", None), ("a\x00b.jpg", None),
        ("a%00b.jpg", None), ("a%0Ab.jpg", None), ("x" * 2000, None),
    ],
)  # fmt: skip
def test_image_paths(uri, expected):
    path, reason = clean_image(uri)
    assert path == expected and (path is not None or reason)


def test_a_path_that_is_not_followed_is_reported_once_and_drawn_by_class(tmp_path):
    second = polygon("q", ring("s", triangle(1)))
    targets = [("p", coordinates("r", [*UV, UV[0]])), ("q", coordinates("s", [*UV, UV[0]]))]
    data = [texture("../../etc/passwd", t) for t in targets] + [texture("http://a/b.jpg", targets[0])]
    content = read(tmp_path, building(HOUSE, second) + appearance(*data, material("1 0 0", "p")))
    assert [m.colour for m in content.materials] == [(1.0, 0.0, 0.0)]
    assert content.polygons.material.tolist() == [0, -1]
    assert [s.id for s in content.skipped] == ["image '../../etc/passwd'", "image 'http://a/b.jpg'"]
    assert all("drawn by class" in s.reason for s in content.skipped)


# -- any polygons, any coordinates --------------------------------------------------------------------------------

FLOATS = st.floats(-1e6, 1e6, allow_nan=False)


@st.composite
def rings(draw):
    """Points of a ring (at least three distinct), closed or not, with or without texture coordinates."""
    points = draw(st.lists(st.tuples(FLOATS, FLOATS, FLOATS), min_size=3, max_size=7, unique=True))
    if draw(st.booleans()):
        points = [*points, points[0]]
    uv = draw(st.lists(st.tuples(FLOATS, FLOATS), min_size=len(points), max_size=len(points)))
    return points, uv


POLYGONS = st.lists(st.tuples(st.lists(rings(), min_size=1, max_size=3), st.booleans()), min_size=1, max_size=6)


def written(points, name, style):
    """One ring in one of the ways in which GML may say it."""
    if style == 0:
        inner = f"<gml:posList>{numbers(points)}</gml:posList>"
    elif style == 1:
        inner = "".join(f"<gml:pos>{numbers([p])}</gml:pos>" for p in points)
    else:
        words = numbers(points).split(" ")
        inner = f"<gml:posList>\n  {words[0]}<!-- a comment -->\n\t{'  '.join(words[1:])}\n</gml:posList>"
    return f'<gml:LinearRing gml:id="{name}">{inner}</gml:LinearRing>'


@settings(max_examples=120, deadline=None)
@given(POLYGONS, st.integers(0, 2), st.booleans(), st.booleans())
def test_the_numbers_that_were_written_come_back(polygons, style, first, linked):
    names = [(f"p{n}", [f"r{n}_{i}" for i in range(len(p))]) for n, (p, _) in enumerate(polygons)]
    shapes = [
        polygon(name, *(written(points, ring_name, style) for (points, _), ring_name in zip(p, of, strict=True)))
        for (name, of), (p, _) in zip(names, polygons, strict=True)
    ]
    targets = [
        (name, "".join(coordinates(r, uv) for (_, uv), r in zip(p, of, strict=True)))
        for (name, of), (p, textured) in zip(names, polygons, strict=True)
        if textured
    ]
    look = appearance(texture("a.jpg", *targets), material("1 1 1", "p0"))
    body = building(*shapes)
    if linked:  # the solid refers to all of it once more
        again = "".join(f'<gml:surfaceMember xlink:href="#{name}"/>' for name, _ in names)
        solid = f"<b:lod2Solid><gml:CompositeSurface>{again}</gml:CompositeSurface></b:lod2Solid>"
        body = body.replace("<b:lod2MultiSurface>", solid + "<b:lod2MultiSurface>")
    with TemporaryDirectory() as folder:
        content = read(folder, look + body if first else body + look)
    packed = content.polygons
    assert content.skipped == [] and len(packed.feature) == len(polygons)
    every = [r for p, _ in polygons for r in p]
    assert packed.points.tolist() == [list(q) for points, _ in every for q in points]
    assert np.diff(packed.ring_start).tolist() == [len(points) for points, _ in every]
    assert np.diff(packed.polygon_start).tolist() == [len(p) for p, _ in polygons]
    images = [m >= 0 and content.materials[m].image == "a.jpg" for m in packed.material]
    assert images == [textured for _, textured in polygons]
    if any(images):
        wanted = [uv if t else [(math.nan, math.nan)] * len(points) for p, t in polygons for points, uv in p]
        flat = np.array([q for uv in wanted for q in uv], np.float64).astype(np.float32)
        assert np.array_equal(packed.uv, flat, equal_nan=True)
    else:
        assert packed.uv is None
