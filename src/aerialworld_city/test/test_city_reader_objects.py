"""Which surfaces the CityGML reader takes: levels of detail, parts, references, placed shapes, roads, CityGML 3.0."""

from __future__ import annotations

import math

import numpy as np
import pyproj
import pytest

from aerialworld_city.features import Surface
from aerialworld_city.options import ConversionOptions
from aerialworld_city.readers.citygml import read_citygml
from aerialworld_city.sources.files import SourceFile

HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<core:CityModel xmlns:core="http://www.opengis.net/citygml/2.0" xmlns:gml="http://www.opengis.net/gml"
 xmlns:b="http://www.opengis.net/citygml/building/2.0" xmlns:brid="http://www.opengis.net/citygml/bridge/2.0"
 xmlns:tran="http://www.opengis.net/citygml/transportation/2.0" xmlns:xlink="http://www.w3.org/1999/xlink"
 xmlns:uro="https://www.geospatial.jp/iur/uro/3.1" xmlns:gen="http://www.opengis.net/citygml/generics/2.0"
 xmlns:veg="http://www.opengis.net/citygml/vegetation/2.0" xmlns:wtr="http://www.opengis.net/citygml/waterbody/2.0"
 xmlns:dem="http://www.opengis.net/citygml/relief/2.0">
<gml:boundedBy><gml:Envelope srsName="http://www.opengis.net/def/crs/EPSG/0/6697" srsDimension="3"/></gml:boundedBy>
"""
TAIL = "</core:CityModel>"


def read(tmp_path, body, head=HEAD, **options):
    path = tmp_path / "x.gml"
    path.write_text(head + body + TAIL, encoding="utf-8")
    return read_citygml(SourceFile(path, path.name, "", "citygml", tmp_path), ConversionOptions(**options))


def within(path, inner):
    """The elements of a path, "b:boundedBy/b:Room", around something."""
    names = path.split("/")
    return "".join(f"<{n}>" for n in names) + inner + "".join(f"</{n}>" for n in reversed(names))


def member(inner):
    return within("core:cityObjectMember", inner) + "\n"


def polygon(mark, identifier=None, height=0.0, turned=False):
    """A triangle whose first longitude is 139 + mark / 1000, so that it can be told from others."""
    points = [(35.0, 139 + mark / 1000), (35.0, 139.0005 + mark / 1000), (35.001, 139 + mark / 1000)]
    points = points[::-1] if turned else points
    text = " ".join(f"{a!r} {b!r} {height!r}" for a, b in [*points, points[0]])
    name = f' gml:id="{identifier}"' if identifier else ""
    return (
        f"<gml:Polygon{name}><gml:exterior><gml:LinearRing><gml:posList>{text}</gml:posList></gml:LinearRing>"
        "</gml:exterior></gml:Polygon>"
    )


def surfaces(*members):
    inner = "".join(
        f'<gml:surfaceMember xlink:href="{m}"/>'
        if not m.startswith("<")
        else f"<gml:surfaceMember>{m}</gml:surfaceMember>"
        for m in members
    )
    return f"<gml:MultiSurface>{inner}</gml:MultiSurface>"


def solid(*members):
    inner = surfaces(*members).replace("MultiSurface", "CompositeSurface")
    return f"<gml:Solid><gml:exterior>{inner}</gml:exterior></gml:Solid>"


def wall(kind, level, *members):
    return within(f"b:boundedBy/b:{kind}/b:lod{level}MultiSurface", surfaces(*members))


def building(inner, identifier="x", name="b:Building"):
    return member(f'<{name} gml:id="{identifier}">{inner}</{name}>')


def marks(content, feature=None):
    """The marks of the polygons that were read, in order."""
    start = content.polygons.ring_start[content.polygons.polygon_start[:-1]]
    found = np.round((content.polygons.points[start, 1] - 139) * 1000).astype(int)
    return found.tolist() if feature is None else found[content.polygons.feature == feature].tolist()


@pytest.mark.parametrize(
    ("have", "lod", "taken"),
    [
        ((1, 2, 3), "auto", 3), ((1, 2, 3), "1", 1), ((1, 2, 3), "2", 2), ((1, 2, 3), "3", 3),
        ((1, 3), "2", 1), ((2, 3), "1", 2), ((3,), "1", 3), ((1,), "auto", 1), ((1,), "3", 1),
    ],
)  # fmt: skip
def test_the_best_level_up_to_the_wanted_else_the_lowest_above(tmp_path, have, lod, taken):
    inner = "".join(f"<b:lod{n}MultiSurface>{surfaces(polygon(n))}</b:lod{n}MultiSurface>" for n in (0, *have))
    content = read(tmp_path, building(inner), lod=lod)
    assert marks(content) == [taken] and content.features[0].lod == taken
    assert content.counts[f"Building LOD{taken}"] == 1 and content.skipped == []


def test_a_footprint_alone_is_no_shape(tmp_path):
    content = read(tmp_path, building(f"<b:lod0FootPrint>{surfaces(polygon(0))}</b:lod0FootPrint>"))
    assert content.features == [] and len(content.polygons.points) == 0
    assert [(s.id, s.file) for s in content.skipped] == [("x", "x.gml")] and "no LOD1" in content.skipped[0].reason
    assert "line 9" in content.skipped[0].reason


def test_a_level_whose_polygons_are_all_broken_falls_back(tmp_path):
    bad = polygon(2).replace("35.0 ", "north ", 1)
    inner = f"<b:lod2MultiSurface>{surfaces(bad)}</b:lod2MultiSurface><b:lod1Solid>{solid(polygon(1))}</b:lod1Solid>"
    content = read(tmp_path, building(inner))
    assert marks(content) == [1] and content.features[0].lod == 1
    assert "'north' is not a number" in content.skipped[0].reason


def test_surfaces_and_the_solid_that_repeats_them_are_read_once(tmp_path):
    by_link = wall("WallSurface", 2, polygon(1, "p1")) + wall("RoofSurface", 2, polygon(2, "p2"))
    links = f"<b:lod2Solid>{solid('#p1', '#p2')}</b:lod2Solid>"
    for inner in (by_link + links, links + by_link):
        content = read(tmp_path, building(inner))
        assert marks(content) == [1, 2] and content.skipped == []
        assert content.polygons.surface.tolist() == [Surface.WALL, Surface.ROOF]
    # The other way round: the solid has the polygons, the surfaces refer to them.
    turned = wall("WallSurface", 2, "#p1") + f"<b:lod2Solid>{solid(polygon(1, 'p1'), polygon(2, 'p2'))}</b:lod2Solid>"
    assert sorted(marks(read(tmp_path, building(turned)))) == [1, 2]
    # Written twice, without a reference.
    copied = by_link + f"<b:lod2Solid>{solid(polygon(1), polygon(2), polygon(3))}</b:lod2Solid>"
    assert marks(read(tmp_path, building(copied))) == [1, 2, 3]


def test_doors_and_windows_of_lod3_are_surfaces_and_rooms_are_not(tmp_path):
    opening = (
        f"<b:opening><b:Window><b:lod3MultiSurface>{surfaces(polygon(2))}</b:lod3MultiSurface></b:Window></b:opening>"
    )
    inner = (
        f"<b:boundedBy><b:WallSurface><b:lod3MultiSurface>{surfaces(polygon(1))}</b:lod3MultiSurface>{opening}"
        "</b:WallSurface></b:boundedBy>"
        + wall("InteriorWallSurface", 3, polygon(7))
        + f"<b:interiorRoom><b:Room>{wall('FloorSurface', 3, polygon(8))}</b:Room></b:interiorRoom>"
    )
    content = read(tmp_path, building(inner))
    assert marks(content) == [1, 2] and content.polygons.surface.tolist() == [Surface.WALL] * 2
    assert content.counts["Window"] == 1
    # A window alone makes no LOD3.
    only = inner.replace(f"<b:lod3MultiSurface>{surfaces(polygon(1))}</b:lod3MultiSurface>", "", 1).replace(
        "</b:WallSurface>", f"<b:lod2MultiSurface>{surfaces(polygon(3))}</b:lod2MultiSurface></b:WallSurface>", 1
    )
    assert marks(read(tmp_path, building(only))) == [3]


def part(inner):
    return f"<b:consistsOfBuildingPart><b:BuildingPart>{inner}</b:BuildingPart></b:consistsOfBuildingPart>"


def lod(level, mark):
    return f"<b:lod{level}MultiSurface>{surfaces(polygon(mark))}</b:lod{level}MultiSurface>"


def test_parts_choose_their_own_level(tmp_path):
    both = part(lod(1, 1) + lod(2, 2)) + part(lod(1, 3))
    content = read(tmp_path, building(both))
    assert marks(content) == [2, 3] and len(content.features) == 1 and content.features[0].lod == 2
    # A block of the whole is dropped where all its parts are finer, and kept beside parts of its own level.
    assert marks(read(tmp_path, building(lod(1, 9) + part(lod(2, 1)) + part(lod(2, 2))))) == [1, 2]
    assert marks(read(tmp_path, building(lod(2, 9) + part(lod(2, 1))))) == [9, 1]
    assert marks(read(tmp_path, building(lod(1, 9) + part(lod(2, 1))), lod="1")) == [1]


def test_attributes_come_from_the_parts_where_the_whole_has_none(tmp_path):
    attributes = "<b:usage>{}</b:usage><b:measuredHeight uom='m'>{}</b:measuredHeight>"
    inner = part(attributes.format(402, 12.5) + lod(1, 1)) + part(attributes.format(411, 30.0) + lod(1, 2))
    feature = read(tmp_path, building(inner)).features[0]
    assert (feature.usage, feature.usage_label, feature.measured_height) == ("402", "商業施設", 30.0)


def test_installations_belong_to_the_fine_shape_not_to_the_block(tmp_path):
    def installation(inner):
        return within("b:outerBuildingInstallation/b:BuildingInstallation", inner)

    balcony = f"<b:lod2Geometry>{surfaces(polygon(5))}</b:lod2Geometry>"
    body = building(lod(1, 1) + lod(2, 2) + installation(balcony))
    assert marks(read(tmp_path, body)) == [2, 5]
    assert marks(read(tmp_path, body, lod="1")) == [1]
    assert marks(read(tmp_path, building(installation(balcony)))) == [5]
    fine = f"<b:lod3Geometry>{surfaces(polygon(6))}</b:lod3Geometry>"
    assert marks(read(tmp_path, building(lod(2, 2) + lod(3, 3) + installation(balcony + fine)), lod="2")) == [2, 5]
    # The whole refers to what is fixed to it: once.
    linked = installation(balcony.replace("<gml:Polygon", '<gml:Polygon gml:id="q"'))
    assert sorted(
        marks(read(tmp_path, building(f"<b:lod2Solid>{solid(polygon(2), '#q')}</b:lod2Solid>" + linked)))
    ) == [
        2,
        5,
    ]


# -- references ---------------------------------------------------------------------------------------------------


def test_references_to_other_objects_forward_and_backward(tmp_path):
    one = building(lod(2, 1).replace("<gml:Polygon", '<gml:Polygon gml:id="p1"'), "one")
    two = building(f"<b:lod2Solid>{solid(polygon(2, 'p2'), '#p1')}</b:lod2Solid>", "two")
    for body in (one + two, two + one):
        content = read(tmp_path, body)
        rows = {f.id: sorted(marks(content, n)) for n, f in enumerate(content.features)}
        assert rows == {"one": [1], "two": [1, 2]} and content.skipped == []
    # By way of a surface that refers on.
    named = surfaces("#p1").replace("<gml:MultiSurface", '<gml:MultiSurface gml:id="s"')
    via = building(within("b:lod2MultiSurface", named), "via")
    three = building(f"<b:lod2MultiSurface>{surfaces('#s')}</b:lod2MultiSurface>", "three")
    content = read(tmp_path, three + via + one)
    assert {f.id: marks(content, n) for n, f in enumerate(content.features)} == {"three": [1], "via": [1], "one": [1]}


def test_references_to_nowhere_take_the_next_level(tmp_path):
    inner = f"<b:lod2Solid>{solid('#nowhere', '#neither')}</b:lod2Solid>" + lod(1, 1)
    content = read(tmp_path, building(inner) + building(lod(2, 4), "y"))
    assert {f.id: (f.lod, marks(content, n)) for n, f in enumerate(content.features)} == {"x": (1, [1]), "y": (2, [4])}
    (skipped,) = content.skipped
    assert skipped.id == "x" and "2 of its surfaces are not in the file, first #nowhere" in skipped.reason
    assert content.counts["Building LOD1"] == content.counts["Building LOD2"] == 1
    # Found after all: the substitute goes.
    found = read(
        tmp_path,
        building(inner.replace("#neither", "#p"))
        + building(lod(2, 4).replace("<gml:Polygon", '<gml:Polygon gml:id="p"'), "y"),
    )
    assert {f.id: (f.lod, marks(found, n)) for n, f in enumerate(found.features)} == {"x": (2, [4]), "y": (2, [4])}
    nothing = read(tmp_path, building(f"<b:lod1Solid>{solid('#nowhere')}</b:lod1Solid>"))
    assert nothing.features == [] and [s.id for s in nothing.skipped] == ["x"]


def test_references_to_other_files_are_named_and_not_opened(tmp_path):
    (tmp_path / "other.gml").write_text("not to be opened")
    inner = f"<b:lod2MultiSurface>{surfaces('other.gml#a', '../../etc/passwd#b', 'other.gml#c')}</b:lod2MultiSurface>"
    content = read(tmp_path, building(inner + lod(1, 1)))
    assert marks(content) == [1] and content.features[0].lod == 1
    reasons = [s.reason for s in content.skipped]
    assert any("2 of its surfaces are in another file, 'other.gml'" in r for r in reasons)
    assert any("'../../etc/passwd', which is not opened" in r for r in reasons)
    own = building(f"<b:lod2MultiSurface>{surfaces('x.gml#p')}</b:lod2MultiSurface>" + lod(1, 1)) + building(
        lod(2, 3).replace("<gml:Polygon", '<gml:Polygon gml:id="p"'), "y"
    )
    assert sorted(marks(read(tmp_path, own))) == [3, 3]


def test_references_in_circles_end_with_a_report(tmp_path):
    def linked(identifier, target, extra=""):
        link = f'<gml:surfaceMember xlink:href="#{target}"/>{extra}'
        return f'<gml:CompositeSurface gml:id="{identifier}">{link}</gml:CompositeSurface>'

    def body(inner, name):
        return building(f"<b:lod2Geometry>{inner}</b:lod2Geometry>", name)

    own = read(
        tmp_path,
        body(linked("a", "a"), "own")
        + body(linked("z", "z", f"<gml:surfaceMember>{polygon(1)}</gml:surfaceMember>"), "good"),
    )
    assert [f.id for f in own.features] == ["good"] and marks(own) == [1]
    assert sum("circle" in s.reason for s in own.skipped) == 2
    pair = read(tmp_path, body(linked("a", "b"), "one") + body(linked("b", "a"), "two") + building(lod(1, 1), "good"))
    assert [f.id for f in pair.features] == ["good"] and any("circle" in s.reason for s in pair.skipped)
    ring = "".join(body(linked(f"n{i}", f"n{(i + 1) % 40}"), f"o{i}") for i in range(40))
    long = read(tmp_path, ring + building(lod(1, 1), "good"))
    assert [f.id for f in long.features] == ["good"] and len(long.skipped) >= 40


# -- implicit geometry --------------------------------------------------------------------------------------------


def implicit(matrix, place, shape):
    return (
        "<veg:lod2ImplicitRepresentation><core:ImplicitGeometry>"
        f"<core:transformationMatrix>{' '.join(map(repr, matrix))}</core:transformationMatrix>"
        f"{shape}<core:referencePoint><gml:Point><gml:pos>{' '.join(map(repr, place))}</gml:pos></gml:Point>"
        "</core:referencePoint></core:ImplicitGeometry></veg:lod2ImplicitRepresentation>"
    )


def local_polygon(points, identifier="proto"):
    text = " ".join(repr(float(v)) for p in [*points, points[0]] for v in p)
    return (
        f'<core:relativeGMLGeometry><gml:MultiSurface gml:id="{identifier}"><gml:surfaceMember><gml:Polygon>'
        f"<gml:exterior><gml:LinearRing><gml:posList>{text}</gml:posList></gml:LinearRing></gml:exterior>"
        "</gml:Polygon></gml:surfaceMember></gml:MultiSurface></core:relativeGMLGeometry>"
    )


PLACE = (35.68, 139.76, 12.5)
TRIANGLE = [(0.0, 0.0, 0.0), (50.0, 0.0, 0.0), (-20.0, 45.0, 7.0)]


def true_places(points, place):
    """By PROJ's topocentric frame, the ellipsoid GRS80: an independent way."""
    pipeline = pyproj.Transformer.from_pipeline(
        f"+proj=pipeline +step +inv +proj=topocentric +ellps=GRS80 +lat_0={place[0]} +lon_0={place[1]} +h_0={place[2]}"
        " +step +inv +proj=cart +ellps=GRS80"
    )
    longitude, latitude, height = pipeline.transform(*np.array(points).T)
    return np.column_stack([latitude, longitude, height])


def test_an_implicit_geometry_stands_where_it_should_within_a_millimetre(tmp_path):
    turn = math.radians(30)
    matrix = [2 * math.cos(turn), -2 * math.sin(turn), 0, 1.5, 2 * math.sin(turn), 2 * math.cos(turn), 0, -2.5,
              0, 0, 2, 0.25, 0, 0, 0, 1]  # fmt: skip
    shape = [(x / 2, y / 2, z / 2) for x, y, z in TRIANGLE]
    body = building(implicit(matrix, PLACE, local_polygon(shape)), "tree", "veg:SolitaryVegetationObject")
    points = read(tmp_path, body).polygons.points[:3]
    rotated = [
        (math.cos(turn) * x - math.sin(turn) * y + 1.5, math.sin(turn) * x + math.cos(turn) * y - 2.5, z + 0.25)
        for x, y, z in TRIANGLE
    ]
    expected = true_places(rotated, PLACE)
    metres = (points - expected) * [111_000, 91_000, 1]
    assert np.abs(metres).max() < 1e-3


def test_prototypes_are_shared_wherever_they_stand(tmp_path):
    identity = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]
    link = '<core:relativeGMLGeometry xlink:href="#proto"/>'
    places = [(PLACE[0] + 0.001 * n, PLACE[1], 5.0 + n) for n in range(3)]
    trees = [
        building(implicit(identity, place, local_polygon(TRIANGLE) if n == 1 else link), f"t{n}",
                 "veg:SolitaryVegetationObject")
        for n, place in enumerate(places)
    ]  # fmt: skip
    content = read(tmp_path, "".join(trees))
    assert [f.id for f in content.features] == ["t0", "t1", "t2"] and content.skipped == []
    for n, place in enumerate(places):
        rows = content.polygons.points.reshape(-1, 4, 3)[content.polygons.feature == n]
        assert rows.shape == (1, 4, 3)
        assert rows[0, 0] == pytest.approx(place, abs=1e-12)
        assert np.abs((rows[0, :3] - true_places(TRIANGLE, place)) * [111_000, 91_000, 1]).max() < 1e-3


def test_a_mirrored_shape_still_faces_outward(tmp_path):
    mirror = [-1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]
    upward = [(0, 0, 0), (10, 0, 0), (0, 10, 0)]
    body = building(implicit(mirror, PLACE, local_polygon(upward)), "t", "veg:SolitaryVegetationObject")
    points = read(tmp_path, body).polygons.points[:3]
    east, north = points[:, 1] - points[0, 1], points[:, 0] - points[0, 0]
    assert east[1] * north[2] - east[2] * north[1] > 0


def test_implicit_geometries_that_cannot_be_placed_are_skipped(tmp_path):
    library = building(
        implicit([1] * 16, PLACE, "<core:libraryObject>../tree.obj</core:libraryObject>"), "t",
        "veg:SolitaryVegetationObject")  # fmt: skip
    short = building(implicit([1] * 15, PLACE, local_polygon(TRIANGLE)), "u", "veg:SolitaryVegetationObject")
    infinite = building(implicit([1e999] * 16, PLACE, local_polygon(TRIANGLE)), "v", "veg:SolitaryVegetationObject")
    content = read(tmp_path, library + short + infinite + building(lod(1, 1), "good"))
    assert [f.id for f in content.features] == ["good"]
    assert any("'../tree.obj', which is not read" in s.reason for s in content.skipped)
    assert sum("16 numbers" in s.reason for s in content.skipped) == 2


# -- roads, water, terrain ----------------------------------------------------------------------------------------


def area(kind, function, level, *members):
    code = f"<tran:function>{function}</tran:function>" if function else ""
    name = kind[0].lower() + kind[1:]
    inner = f"<tran:lod{level}MultiSurface>{surfaces(*members)}</tran:lod{level}MultiSurface>"
    return f"<tran:{name}><tran:{kind}>{code}{inner}</tran:{kind}></tran:{name}>"


def test_areas_become_kinds_by_their_function(tmp_path):
    codes = {1000: "road", 1020: "road", 1100: "road", 1080: "flat", 2000: "sidewalk", 2020: "sidewalk",
             3000: "flat", 5000: "planting", 7000: "road", 6000: "flat", 9999: "road", None: "road"}  # fmt: skip
    own = f"<tran:lod1MultiSurface>{surfaces(polygon(90))}</tran:lod1MultiSurface>"
    inner = own + "".join(area("TrafficArea", c, 2, polygon(n)) for n, c in enumerate(codes))
    content = read(tmp_path, building(inner, "r", "tran:Road"))
    found = {m: f.kind for n, f in enumerate(content.features) for m in marks(content, n)}
    assert found == dict(enumerate(codes.values())) and {f.id for f in content.features} == {"r"}
    assert content.counts["Road LOD2"] == 1
    low = read(tmp_path, building(inner, "r", "tran:Road"), lod="1")
    assert marks(low) == [90] and [f.kind for f in low.features] == ["road"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("tran:Road", "road"), ("tran:Square", "flat"), ("tran:Railway", "flat"), ("tran:Track", "sidewalk"),
     ("uro:Waterway", "water")],
)  # fmt: skip
def test_ways_without_areas_are_of_their_own_kind(tmp_path, name, kind):
    inner = f"<tran:lod1MultiSurface>{surfaces(polygon(3))}</tran:lod1MultiSurface>"
    content = read(tmp_path, building(inner, "r", name))
    assert [f.kind for f in content.features] == [kind] and marks(content) == [3]
    assert read(tmp_path, building(inner, "r", name), modules=("bldg",)).features == []


def test_a_road_and_its_areas_are_read_once_and_its_own_rest_is_kept(tmp_path):
    inner = (
        f"<tran:lod3MultiSurface>{surfaces('#p1', '#p2', polygon(3))}</tran:lod3MultiSurface>"
        + area("TrafficArea", 1000, 3, polygon(1, "p1"))
        + area("AuxiliaryTrafficArea", None, 3, polygon(2, "p2"))
        + f"<tran:lod1MultiSurface>{surfaces(polygon(4))}</tran:lod1MultiSurface>"
    )
    content = read(tmp_path, building(inner, "r", "tran:Road"))
    assert {f.kind: sorted(marks(content, n)) for n, f in enumerate(content.features)} == {"road": [1, 3], "flat": [2]}
    squares = f"<tran:lod3MultiSurface>{surfaces('other.gml#p')}</tran:lod3MultiSurface>" + (
        f"<tran:lod1MultiSurface>{surfaces(polygon(4))}</tran:lod1MultiSurface>"
    )
    square = read(tmp_path, building(squares, "s", "tran:Square"))
    assert marks(square) == [4] and square.features[0].lod == 1 and "other.gml" in square.skipped[0].reason
    lost = read(tmp_path, building(squares.replace("other.gml#p", "#p"), "s", "tran:Square"))
    assert marks(lost) == [4] and lost.features[0].lod == 1 and "not in the file" in lost.skipped[0].reason


def test_water_is_the_surface_that_is_seen_from_above(tmp_path):
    def bounded(kind, mark):
        return within(f"wtr:boundedBy/wtr:{kind}/wtr:lod2Surface", polygon(mark, f"w{mark}"))

    fine = (
        bounded("WaterSurface", 1)
        + bounded("WaterGroundSurface", 2)
        + f"<wtr:lod2Solid>{solid('#w1', '#w2')}</wtr:lod2Solid>"
    )
    assert marks(read(tmp_path, building(fine, "w", "wtr:WaterBody"))) == [1]
    # North before east: this triangle faces down, and up when turned.
    block = f"<wtr:lod1Solid>{solid(polygon(3), polygon(4, None, 2.0, turned=True))}</wtr:lod1Solid>"
    content = read(tmp_path, building(block, "w", "wtr:WaterBody"))
    up = content.polygons.points
    area_up = np.sum(up[:, 1] * np.roll(up[:, 0], -1) - up[:, 0] * np.roll(up[:, 1], -1))
    assert len(content.polygons.feature) == 1 and area_up > 0
    plain = f"<wtr:lod1MultiSurface>{surfaces(polygon(5))}</wtr:lod1MultiSurface>"
    assert marks(read(tmp_path, building(plain, "w", "wtr:WaterBody"))) == [5]


@pytest.mark.parametrize(
    "mark",
    ["<wtr:class>1140</wtr:class>",
     "<uro:floodingRiskAttribute><uro:WaterBodyRiverFloodingRiskAttribute/></uro:floodingRiskAttribute>"],
)  # fmt: skip
def test_a_flood_area_is_no_water(tmp_path, mark):
    plain = f"{mark}<wtr:lod1MultiSurface>{surfaces(polygon(5))}</wtr:lod1MultiSurface>"
    content = read(tmp_path, building(plain, "w", "wtr:WaterBody"))
    assert content.features == [] and content.counts["flood areas passed over"] == 1


def tin(level, *marks_):
    triangles = "".join(polygon(m).replace("Polygon", "Triangle") for m in marks_)
    return (
        f"<dem:reliefComponent><dem:TINRelief><dem:lod>{level}</dem:lod><dem:tin><gml:TriangulatedSurface>"
        f"<gml:trianglePatches>{triangles}</gml:trianglePatches></gml:TriangulatedSurface></dem:tin></dem:TINRelief>"
        "</dem:reliefComponent>"
    )


def test_terrain_of_several_levels_and_what_is_no_triangle(tmp_path):
    def relief(inner):
        return member(f"<dem:ReliefFeature>{inner}</dem:ReliefFeature>")

    body = relief(tin(1, 1, 2)) + relief(tin(1, 3) + tin(2, 4, 5))
    content = read(tmp_path, body + building(lod(2, 9).replace("Polygon", "Triangle")))
    assert np.round((content.terrain[:, 0, 1] - 139) * 1000).tolist() == [1, 2, 4, 5]
    assert content.counts["Triangle"] == 5 and marks(content) == [9]
    assert len(read(tmp_path, body, lod="1").terrain) == 3
    other = relief("<dem:reliefComponent><dem:MassPointRelief/></dem:reliefComponent>") + relief(tin(1))
    content = read(tmp_path, other)
    assert len(content.terrain) == 0 and [s.id for s in content.skipped] == ["MassPointRelief", "TINRelief"]
    nan = read(tmp_path, relief(tin(1, 1, 2).replace("35.0 ", "nan ", 1)))
    assert len(nan.terrain) == 1 and "Triangle 1" in nan.skipped[0].id and "no place" in nan.skipped[0].reason


# -- ids, systems, schema years -----------------------------------------------------------------------------------


def test_ids_that_occur_again_stay_apart(tmp_path):
    body = building(lod(1, 1)) + building(lod(1, 2)) + building(lod(1, 3), "x#2") + building(lod(1, 4))
    content = read(tmp_path, body + building(lod(1, 5), "é" * 1000))
    ids = [f.id for f in content.features]
    assert len(set(ids)) == 5 and ids[0] == "x" and ids[1] == "x#2" and len(ids[4]) == 200
    assert content.counts["ids that occur again"] == 3 and sum("occurs again" in n for n in content.notes) == 3


def test_the_city_that_most_objects_state(tmp_path):
    def of(code):
        return within("uro:buildingIDAttribute/uro:BuildingIDAttribute/uro:buildingID", f"{code}-bldg-1")

    body = building(of(13111) + lod(1, 1)) + building(of(13103) + lod(1, 2), "y") + building(of(13103) + lod(1, 3), "z")
    content = read(tmp_path, body)
    assert content.municipality == "13103" and content.features[0].code == "13111-bldg-1"


def test_two_dimensions_and_the_system_on_a_solid(tmp_path):
    flat = polygon(1).replace(" 0.0", "")
    head = HEAD.replace('srsDimension="3"', 'srsDimension="2"').replace("/6697", "/6668")
    content = read(tmp_path, building(f"<b:lod1MultiSurface>{surfaces(flat)}</b:lod1MultiSurface>"), head)
    assert content.epsg == 6668 and (content.polygons.points[:, 2] == 0).all() and marks(content) == [1]
    bare = HEAD.replace('srsName="http://www.opengis.net/def/crs/EPSG/0/6697" ', "")
    on_solid = lod(1, 1).replace("<gml:MultiSurface", '<gml:MultiSurface srsName="urn:ogc:def:crs:EPSG::6697"')
    assert read(tmp_path, building(on_solid), bare).epsg == 6697
    assert read(tmp_path, building(lod(1, 1)), bare, crs=6677).epsg == 6677


THREE = """<?xml version="1.0" encoding="UTF-8"?>
<core:CityModel xmlns:core="http://www.opengis.net/citygml/3.0" xmlns:gml="http://www.opengis.net/gml/3.2"
 xmlns:bldg="http://www.opengis.net/citygml/building/3.0" xmlns:con="http://www.opengis.net/citygml/construction/3.0"
 xmlns:tran="http://www.opengis.net/citygml/transportation/3.0" xmlns:uro="https://www.geospatial.jp/iur/uro/4.0"
 xmlns:app="http://www.opengis.net/citygml/appearance/3.0" xmlns:wtr="http://www.opengis.net/citygml/waterbody/3.0"
 xmlns:xlink="http://www.w3.org/1999/xlink">
<gml:boundedBy><gml:Envelope srsName="http://www.opengis.net/def/crs/EPSG/0/6697" srsDimension="3"/></gml:boundedBy>
"""


def three(kind, inner):
    return f"<core:boundary><{kind}>{inner}</{kind}></core:boundary>"


def space(level, *members):
    return f"<core:lod{level}MultiSurface>{surfaces(*members)}</core:lod{level}MultiSurface>"


def test_citygml_three(tmp_path):
    window = f"<con:fillingSurface><con:WindowSurface>{space(3, polygon(4))}</con:WindowSurface></con:fillingSurface>"
    body = member(
        '<bldg:Building gml:id="x"><core:lod1Solid>' + solid(polygon(1)) + "</core:lod1Solid>"
        + three("con:WallSurface", space(3, polygon(2, "p2")) + window) + three("con:RoofSurface", space(3, polygon(3)))
        + f"<core:lod3Solid>{solid('#p2')}</core:lod3Solid><bldg:usage>461</bldg:usage>"
        + within("con:height/con:Height", "<con:status>measured</con:status><con:value uom='m'>5.5</con:value>") +
        "<bldg:adeOfAbstractBuilding><uro:BuildingIDAttribute><uro:buildingID>16211-bldg-100</uro:buildingID>"
        "<uro:city>16211</uro:city></uro:BuildingIDAttribute></bldg:adeOfAbstractBuilding></bldg:Building>"
    ) + member(
        '<tran:Road gml:id="r">' + space(3, "#a1") + within(
            "tran:section/tran:Section/tran:trafficSpace/tran:TrafficSpace",
            three("tran:TrafficArea", space(3, polygon(5, "a1"), polygon(6)) + "<tran:function>2000</tran:function>")
            + "<tran:function>1000</tran:function>",
        ) + "</tran:Road>"
    ) + member('<wtr:WaterBody gml:id="w">' + three("wtr:WaterSurface", space(1, polygon(7))) + "</wtr:WaterBody>") + (
        "<app:appearanceMember><app:Appearance><app:theme>rgbTexture</app:theme><app:surfaceData>"
        "<app:ParameterizedTexture><app:imageURI>a/b.png</app:imageURI><app:textureParameterization>"
        "<app:TextureAssociation><app:target>#p2</app:target><app:textureParameterization><app:TexCoordList>"
        "<app:textureCoordinates>0 0 1 0 0 1 0 0</app:textureCoordinates><app:ring>#ring2</app:ring></app:TexCoordList>"
        "</app:textureParameterization></app:TextureAssociation></app:textureParameterization></app:ParameterizedTexture>"
        "</app:surfaceData></app:Appearance></app:appearanceMember>"
    )  # fmt: skip
    body = body.replace(
        'gml:id="p2"><gml:exterior><gml:LinearRing', 'gml:id="p2"><gml:exterior><gml:LinearRing gml:id="ring2"'
    )
    content = read(tmp_path, body, THREE)
    kinds = {f.kind: (f.lod, sorted(marks(content, n))) for n, f in enumerate(content.features)}
    assert kinds == {"building": (3, [2, 3, 4]), "sidewalk": (3, [5, 6]), "water": (1, [7])}
    house = content.features[0]
    assert (house.usage_label, house.measured_height, house.code) == ("不明", 5.5, "16211-bldg-100")
    assert content.municipality == "16211" and content.skipped == []
    assert [m.image for m in content.materials] == ["a/b.png"] and (content.polygons.material >= 0).sum() == 1
    assert content.polygons.uv[:4].tolist() == [[0, 0], [1, 0], [0, 1], [0, 0]]


def test_codelists_are_read_inside_the_source_only(tmp_path):
    usage = '<b:usage codeSpace="{}">411</b:usage>'
    text = (
        '<gml:Dictionary xmlns:gml="http://www.opengis.net/gml"><gml:dictionaryEntry><gml:Definition>'
        "<gml:description>{}</gml:description><gml:name>411</gml:name></gml:Definition></gml:dictionaryEntry></gml:Dictionary>"
    )
    (tmp_path / "codelists").mkdir()
    (tmp_path / "codelists" / "Building_usage.xml").write_text(text.format("a house"))
    folder = tmp_path / "udx"
    folder.mkdir()
    path = folder / "x.gml"

    def label(space, root=tmp_path):
        path.write_text(HEAD + building(usage.format(space) + lod(1, 1)) + TAIL)
        content = read_citygml(SourceFile(path, "udx/x.gml", "", "citygml", root), ConversionOptions())
        return content.features[0].usage_label, content.skipped

    assert label("../codelists/Building_usage.xml") == ("a house", [])
    assert label("../codelists/Building_usage.xml", folder) == ("住宅", [])
    assert label("../codelists/absent_Building_usage.xml")[0] == "住宅"
    assert label("/etc/Building_usage.xml")[0] == label("http://a/Building_usage.xml")[0] == "住宅"
    assert label("../codelists/Other.xml") == (None, [])
    (tmp_path / "codelists" / "Building_usage.xml").write_text("<!DOCTYPE a []><a/>")
    found, skipped = label("../codelists/Building_usage.xml")
    assert found == "住宅" and "DOCTYPE" in skipped[0].reason and str(tmp_path) not in skipped[0].reason


def test_orientable_surfaces_are_turned(tmp_path):
    inner = f'<gml:OrientableSurface orientation="-">{within("gml:baseSurface", polygon(1))}</gml:OrientableSurface>'
    content = read(tmp_path, building(f"<b:lod2MultiSurface>{surfaces(inner)}</b:lod2MultiSurface>"))
    plain = read(tmp_path, building(lod(2, 1)))
    assert np.array_equal(content.polygons.points, plain.polygons.points[::-1])


def test_a_hole_before_its_outer_ring_is_put_behind_it(tmp_path):
    inner = polygon(1).replace("<gml:Polygon>", "<gml:Polygon>" + polygon(2)[13:-14].replace("exterior", "interior"))
    content = read(tmp_path, building(f"<b:lod2MultiSurface>{surfaces(inner)}</b:lod2MultiSurface>"))
    assert marks(content) == [1] and content.counts["interior rings"] == 1 and content.skipped == []
