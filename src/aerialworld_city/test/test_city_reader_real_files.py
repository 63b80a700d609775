"""The CityGML reader against real PLATEAU files: what their READMEs measured, and a second, plain way of reading."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from aerialworld_city.features import Surface
from aerialworld_city.options import ConversionOptions
from aerialworld_city.readers.citygml import read_citygml
from aerialworld_city.sources.files import SourceFile
from aerialworld_core.errors import InputError
from aerialworld_core.safexml import parse

SHARED = Path(os.environ.get("AERIALWORLD_SHARED", Path(__file__).resolve().parents[4] / "shared"))
PLATEAU = SHARED / "data" / "plateau"
pytestmark = pytest.mark.skipif(not PLATEAU.is_dir(), reason=f"no real PLATEAU files below {PLATEAU}")


def path_of(pattern):
    (path,) = PLATEAU.glob(pattern)
    return path


def read(pattern, **options):
    path = path_of(pattern)
    root = next((p.parent for p in path.parents if p.name == "udx"), path.parent)
    return read_citygml(SourceFile(path, path.name, "", "citygml", root), ConversionOptions(**options))


# File: what its README counts there (objects, surfaces, LOD properties, textures) and what is taken.
FILES = {
    "01_*/*/udx/bldg/*.gml": (
        {"Building": 9, "GroundSurface": 11, "WallSurface": 460, "RoofSurface": 412, "lod0RoofEdge": 9, "lod1Solid": 9,
         "lod2Solid": 9, "lod2MultiSurface": 897, "ParameterizedTexture": 9, "appearances": 1, "texture targets": 886,
         "Building LOD2": 9, "Polygon": 897},
        9, 9, "13111",
    ),
    "02_*/tests/data/*.gml": (
        {"Building": 10, "GroundSurface": 12, "WallSurface": 652, "RoofSurface": 538, "lod1Solid": 10, "lod2Solid": 10,
         "lod2MultiSurface": 1217, "ParameterizedTexture": 10, "Building LOD2": 10, "Polygon": 1217},
        10, 10, "13111",
    ),
    "03_*/udx/bldg/*.gml": (
        {"Building": 1, "BuildingInstallation": 3, "GroundSurface": 1, "WallSurface": 19, "RoofSurface": 204,
         "lod2Geometry": 3, "lod2MultiSurface": 224, "interior rings": 26, "Building LOD2": 1},
        1, 0, "13104",
    ),
    "03_*/udx/brid/*.gml": (
        {"Bridge": 59, "lod2MultiSurface": 21, "Bridge LOD2": 21, "Polygon": 2314, "interior rings": 3,
         "ParameterizedTexture": 21, "texture targets": 2240},
        21, 21, None,
    ),
    "03_*/udx/frn/*.gml": (
        {"CityFurniture": 2, "lod2Geometry": 2, "Polygon": 481, "ParameterizedTexture": 17, "CityFurniture LOD2": 2},
        2, 17, None,
    ),
    "04_*/udx/bldg/53392547_bldg_6697_op2.gml": (
        {"Building": 25, "lod0RoofEdge": 25, "lod1Solid": 25, "Building LOD1": 25, "Polygon": 244 - 25}, 25, 0, "13111",
    ),
    "04_*/udx/dem/*.gml": ({"TINRelief": 1, "Triangle": 44, "ReliefFeature": 1}, 0, 0, None),
    "04_*/udx/luse/*.gml": ({"LandUse": 10, "objects passed over": 10}, 0, 0, None),
    "04_*/udx/tran/*.gml": ({"Road": 9, "lod1MultiSurface": 9, "Polygon": 9, "Road LOD1": 9}, 9, 0, None),
    "05_*/udx/bldg/*.gml": (
        {"Building": 8, "GroundSurface": 13, "WallSurface": 380, "RoofSurface": 139, "lod2MultiSurface": 540,
         "ParameterizedTexture": 8, "Building LOD2": 8, "Polygon": 540},
        8, 8, "13111",
    ),
    "07_*/bldg/*.gml": (
        {"Building": 407, "lod0FootPrint": 407, "lod1Solid": 407, "Building LOD1": 407, "Polygon": 3382 - 407},
        407, 0, "27100",
    ),
    "07_*/tran/*.gml": ({"Road": 58, "Polygon": 58, "interior rings": 1, "Road LOD1": 58}, 58, 0, None),
    "08_*/bldg/51357371*.gml": (
        {"Building": 12, "GroundSurface": 9, "WallSurface": 99, "RoofSurface": 20, "lod2Solid": 9, "Building LOD2": 9,
         "Building LOD1": 3, "ParameterizedTexture": 9},
        12, 9, "27100",
    ),
    "08_*/bldg/52350301*.gml": (
        {"Building": 80, "GroundSurface": 80, "WallSurface": 368, "RoofSurface": 175, "Polygon": 623}, 80, 80, "27100",
    ),
    "08_*/tran/*.gml": (
        {"Road": 75, "TrafficArea": 14, "AuxiliaryTrafficArea": 8, "lod1MultiSurface": 75, "lod3MultiSurface": 24,
         "X3DMaterial": 2, "material targets": 603, "Road LOD1": 73, "Road LOD3": 2, "Polygon": 603 + 73},
        None, 2, None,
    ),
    "09_*/*/udx/tran/*.gml": (
        {"Road": 210, "TrafficArea": 3, "AuxiliaryTrafficArea": 10, "Road LOD1": 209, "Road LOD3": 1,
         "Polygon": 1558 - 1, "X3DMaterial": 4, "ParameterizedTexture": 4, "texture targets": 1348},
        None, 4, None,
    ),
    "09_*/*/udx/veg/*.gml": (
        {"SolitaryVegetationObject": 3, "PlantCover": 3, "SolitaryVegetationObject LOD3": 3, "PlantCover LOD3": 3,
         "Polygon": 718 + 39, "ParameterizedTexture": 6, "X3DMaterial": 6},
        6, None, None,
    ),
    "10_*/*/udx/bldg/*.gml": (
        {"Building": 98, "lod0RoofEdge": 98, "lod1Solid": 98, "Building LOD1": 98, "Polygon": 934 - 98}, 98, 0, "12347",
    ),
    "11_*/*/udx/tran/*.gml": (
        {"Road": 1, "TrafficArea": 2, "AuxiliaryTrafficArea": 3, "lod2MultiSurface": 6, "Road LOD2": 1, "Polygon": 68},
        None, 0, None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("pattern", FILES)
def test_counts_are_those_that_were_measured(pattern):
    expected, features, materials, municipality = FILES[pattern]
    content = read(pattern)
    assert {key: content.counts.get(key) for key in expected} == expected
    assert content.epsg == 6697 and content.municipality == municipality and not content.generated
    assert features is None or len(content.features) == features
    assert materials is None or len(content.materials) == materials
    assert len(content.terrain) == expected.get("Triangle", 0)
    assert len({f.id for f in content.features if f.kind == "building"}) == content.counts.get("Building", 0)
    bridges = 38 if "brid" in pattern else 0
    assert len(content.skipped) == bridges and all("no LOD1" in s.reason for s in content.skipped)
    polygons = content.polygons
    assert polygons.ring_start[-1] == len(polygons.points) and polygons.polygon_start[-1] + 1 == len(
        polygons.ring_start
    )
    assert np.isfinite(polygons.points).all() and set(polygons.feature) == set(range(len(content.features)))


def plainly(path):
    """Polygon id → rings' coordinates, ring ids; and ring id → texture coordinates; by the whole tree in memory."""
    root = parse(path)
    gid = "{http://www.opengis.net/gml}id"
    polygons, uv, images = {}, {}, {}
    for polygon in root.iter("{*}Polygon"):
        rings = [
            (
                np.array(ring.findtext("{*}posList").split(), float).reshape(-1, 3),
                ring.get(gid),
            )
            for ring in polygon.iter("{*}LinearRing")
        ]
        polygons.setdefault(polygon.get(gid), rings)
    for texture in root.iter("{*}ParameterizedTexture"):
        for target in texture.iter("{*}target"):
            images[target.get("uri")[1:]] = texture.findtext("{*}imageURI")
            for coordinates in target.iter("{*}textureCoordinates"):
                uv[coordinates.get("ring")[1:]] = np.array(coordinates.text.split(), float).reshape(-1, 2)
    return polygons, uv, images


@pytest.mark.parametrize(
    "pattern",
    ["01_*/*/udx/bldg/*.gml", "02_*/tests/data/*.gml", "03_*/udx/brid/*.gml", "03_*/udx/frn/*.gml",
     "05_*/udx/bldg/*.gml", "09_*/*/udx/tran/*.gml", "09_*/*/udx/veg/*.gml"],
)  # fmt: skip
def test_every_textured_polygon_has_its_image_and_coordinates(pattern):
    content = read(pattern)
    polygons, uv, images = plainly(path_of(pattern))
    by_shape = {}
    for identifier, rings in polygons.items():
        if identifier is not None:
            by_shape.setdefault(b"".join(r.tobytes() for r, _ in rings), []).append(identifier)
    packed = content.polygons
    textured = 0
    for n in range(len(packed.feature)):
        spans = [slice(*packed.ring_start[r : r + 2]) for r in range(*packed.polygon_start[n : n + 2])]
        # Equal polygons are told apart by what is said of them.
        candidates = by_shape.get(b"".join(packed.points[s].tobytes() for s in spans), [])
        image = content.materials[packed.material[n]].image if packed.material[n] >= 0 else None
        if image is None:
            assert np.isnan(packed.uv[slice(spans[0].start, spans[-1].stop)]).all()
            assert not candidates or any(c not in images for c in candidates)
            continue
        textured += 1
        assert any(
            images.get(c) == image
            and all(np.array_equal(packed.uv[s], uv[ring].astype(np.float32)) for s, (_, ring) in zip(
                spans, polygons[c], strict=True))
            for c in candidates
        )  # fmt: skip
    read_ids = {c for n in by_shape.values() for c in n}
    assert textured > 0
    if "veg" not in pattern:  # there, lower levels of detail have textures of their own
        assert textured == len(set(images) & read_ids)


def test_lower_levels_of_detail_on_request():
    content = read("01_*/*/udx/bldg/*.gml", lod="1")
    assert content.counts["Building LOD1"] == 9 and content.counts["Polygon"] == 1083 - 9 - 897
    assert content.polygons.uv is None and content.materials == []
    assert content.counts["targets to ids not read"] == 886
    assert read("08_*/bldg/51357371*.gml", lod="1").counts["Building LOD1"] == 12
    roads = read("08_*/tran/*.gml", lod="1")
    assert roads.counts["Road LOD1"] == 75 and {f.kind for f in roads.features} == {"road"}
    assert (roads.polygons.points[:, 2] == 0).all()
    plants = read("09_*/*/udx/veg/*.gml", lod="2")
    assert plants.counts["Polygon"] == 258 + 39 and plants.counts["PlantCover LOD2"] == 3


def test_two_schema_years_say_the_same_of_the_same_buildings():
    new, old = read("01_*/*/udx/bldg/*.gml"), read("02_*/tests/data/*.gml")
    assert {f.id[5:]: f.measured_height for f in new.features}.items() <= {
        f.id[4:]: f.measured_height for f in old.features
    }.items()
    # The number of a building is uro:buildingID in 2022; in 2020 it stood in a generic attribute.
    codes = {f.id[4:]: f.code for f in old.features}
    assert all(f.code == codes[f.id[5:]] and f.code.startswith("13111-bldg-") for f in new.features)


def test_heights_and_usages_that_say_nothing_are_none():
    tako = read("10_*/*/udx/bldg/*.gml")
    heights = [f.measured_height for f in tako.features]
    assert heights.count(None) == 24 and min(h for h in heights if h) == 1.8 and max(h for h in heights if h) == 15.9
    assert {(f.usage, f.usage_label) for f in tako.features} == {("461", "不明")}
    odd = read("05_*/udx/bldg/*.gml")  # one measuredHeight is "2.8（テスト）"
    known = [f.measured_height for f in odd.features if f.measured_height is not None]
    assert len(known) == 7 and (min(known), np.median(known), max(known)) == (3.6, 5.1, 16.1)
    osaka = read("07_*/bldg/*.gml")
    usages = [f.usage for f in osaka.features]
    assert {u: usages.count(u) for u in set(usages)} == {
        "431": 165, "441": 35, "401": 18, "421": 6, "454": 3, None: 180}  # fmt: skip
    assert {f.usage_label for f in osaka.features if f.usage == "431"} == {"運輸倉庫施設"}


def test_the_far_footprint_of_set_05_is_not_read():
    points = read("05_*/udx/bldg/*.gml").polygons.points
    assert np.ptp(points[:, 0]) < 0.01 and np.ptp(points[:, 1]) < 0.02


def test_surfaces_are_told_by_their_type():
    content = read("01_*/*/udx/bldg/*.gml")
    kinds, numbers = np.unique(content.polygons.surface, return_counts=True)
    # 14 OuterCeilingSurfaces count as walls.
    assert dict(zip(kinds.tolist(), numbers.tolist(), strict=True)) == {
        Surface.ROOF: 412, Surface.WALL: 460 + 14, Surface.GROUND: 11}  # fmt: skip


def test_road_areas_become_the_surfaces_that_they_are():
    content = read("11_*/*/udx/tran/*.gml")
    numbers = np.bincount(content.polygons.feature)
    kinds = dict(zip([f.kind for f in content.features], numbers.tolist(), strict=True))
    assert set(kinds) == {"road", "sidewalk", "flat"} and sum(kinds.values()) == 68
    assert len({f.id for f in content.features}) == 1 and {f.lod for f in content.features} == {2}
    root = parse(path_of("11_*/*/udx/tran/*.gml"))
    lanes = [a for a in root.iter("{*}TrafficArea", "{*}AuxiliaryTrafficArea") if a.findtext("{*}function")[0] == "1"]
    assert kinds["road"] == sum(1 for a in lanes for _ in a.iter("{*}Polygon"))


def test_broken_sets():
    def case(name, **options):
        return read(f"12_broken/{name}", **options)

    with pytest.raises(InputError, match=r"54377074.*line 146"):
        case("L01_xml_tag_mismatch/udx/bldg/*.gml")
    with pytest.raises(InputError, match=r"InvalidFileName.*line 1: not a well-formed CityGML file"):
        case("libplateau_undeclared_prefix/udx/bldg/TestCase*.gml")
    assert case("L06_ring_not_closed/udx/bldg/*.gml").counts["Polygon"] == 12
    assert case("L07_too_short_ring/udx/bldg/*.gml").counts["Building LOD1"] == 1
    assert case("L09_duplicate_points/udx/bldg/*.gml").counts["Polygon"] == 6
    holes = case("osaka_holes_Issue138/*.gml")
    assert holes.counts["interior rings"] == 4 and holes.counts["Building LOD1"] == 2
    parts = case("BuildingPart/udx/bldg/*.gml")
    assert parts.counts["Polygon"] == 12 and [f.lod for f in parts.features] == [1, 2]
    assert [f.usage_label for f in parts.features] == ["住宅", "住宅"]
    twice = case("duplicate_gml_id/udx/bldg/*.gml")
    assert twice.counts["Polygon"] == 3 and len(twice.features) == 1
    for name in ("dem_degenerate", "dem_triangle_flipped"):
        assert len(case(f"{name}/udx/dem/*.gml").terrain) == (2 if "deg" in name else 9)


def test_the_undeclared_prefix_is_read_over_with_a_note():
    twin = read("05_*/udx/bldg/*.gml")
    lenient = read("12_broken/libplateau_undeclared_prefix/udx/bldg/53392642*.gml")
    assert np.array_equal(lenient.polygons.points, twin.polygons.points)
    assert any("'energy' is not declared" in note for note in lenient.notes) and lenient.skipped == []
    with pytest.raises(InputError, match=r"line 538.*energy"):
        read("12_broken/libplateau_undeclared_prefix/udx/bldg/53392642*.gml", strict=True)


def test_strict_stops_where_something_would_be_left_out():
    with pytest.raises(InputError, match=r"53394525_brid.*Bridge_4.*no LOD1"):
        read("03_*/udx/brid/*.gml", strict=True)
    for pattern in ("01_*/*/udx/bldg/*.gml", "08_*/tran/*.gml", "09_*/*/udx/veg/*.gml"):
        assert read(pattern, strict=True).skipped == []


def test_modules_that_are_not_wanted_are_only_counted():
    content = read("01_*/*/udx/bldg/*.gml", modules=("tran",))
    assert content.features == [] and content.counts["Building"] == content.counts["objects passed over"] == 9
    assert len(read("04_*/udx/dem/*.gml", modules=("bldg",)).terrain) == 0
