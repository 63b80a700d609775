"""Which files are read: real data sets, selections on them, names, links, releases side by side."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pyproj
import pytest

from aerialworld_city.convert import convert
from aerialworld_city.options import ConversionOptions
from aerialworld_city.sources.discover import Sources, open_sources
from aerialworld_city.sources.files import municipality_of
from aerialworld_city.sources.meshcode import bounds
from aerialworld_city.sources.region import region
from aerialworld_core.errors import InputError

SHARED = Path(os.environ.get("AERIALWORLD_SHARED", Path(__file__).resolve().parents[3].parent / "shared"))
PLATEAU = SHARED / "data" / "plateau"
real = pytest.mark.skipif(not PLATEAU.is_dir(), reason="the real data sets are not beside this repository")


def look(paths: Path | list[Path], **options) -> Sources:
    paths = [paths] if isinstance(paths, Path) else paths
    with open_sources(paths, ConversionOptions(**options), Path(paths[0]).parent) as sources:
        return sources


def names(sources: Sources) -> list[str]:
    return [file.name for file in sources.files]


def refused(paths: Path | list[Path], **options) -> str:
    with pytest.raises(InputError) as raised:
        look(paths, **options)
    return str(raised.value)


def dataset(number: str) -> Path:
    return next(PLATEAU.glob(f"{number}_*"))


def files(folder: Path, *given: str) -> Path:
    for name in given:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    return folder


# -- real data sets -----------------------------------------------------------------------------------------------

TILES_08 = ["bldg/51357371_bldg_6697_op.gml", "bldg/52350301_bldg_6697_op.gml", "tran/51357371_tran_6697_op.gml"]


@real
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, TILES_08),
        ({"modules": ("bldg",)}, TILES_08[:2]),
        ({"modules": ("tran", "dem")}, TILES_08[2:]),
        ({"region": region(["51357371"])}, [TILES_08[0], TILES_08[2]]),
        ({"region": region(["52350301"])}, [TILES_08[1]]),
        ({"region": region(["5135", "5235"])}, TILES_08),
        ({"region": region(["523503"])}, [TILES_08[1]]),
        ({"region": region(["5235030144"])}, [TILES_08[1]]),  # a quarter: the tile that holds it
        # The middle of 51357371 (34.6458, 135.39375), and a circle that reaches 52350301, 2.3 km to the north.
        ({"region": region(arounds=[(34.6458, 135.39375, 100.0)])}, [TILES_08[0], TILES_08[2]]),
        ({"region": region(arounds=[(34.6458, 135.39375, 2400.0)])}, TILES_08),
        ({"region": region(bboxes=[(135.389, 34.667, 135.390, 34.668)])}, [TILES_08[1]]),
    ],
)
def test_selections_on_set_08(options, expected):
    sources = look(dataset("08"), **options)
    assert names(sources) == expected
    dropped = 3 - len(expected)
    assert (dropped == 0) or sources.passed_over


@real
def test_a_selection_beside_the_data_names_what_there_is(tmp_path):
    message = refused(dataset("08"), region=region(["53394525"]))
    assert "in the region" in message and "3 files outside the region" in message


@real
def test_set_07_and_the_buildings_that_hang_over_the_edge():
    """Buildings of 51357393 reach 135.4262, 110 m east of the mesh's edge at 135.425: within 200 m it is read."""
    east, middle = 135.425, 34.6625
    metre = 1 / 91_500  # degrees of longitude at 34.66° N
    just = look(dataset("07"), region=region(bboxes=[(east + 150 * metre, middle, east + 160 * metre, middle + 0.001)]))
    assert {f.mesh for f in just.files} == {"51357393"} and len(just.files) == 2
    assert "outside" in refused(
        dataset("07"), region=region(bboxes=[(east + 260 * metre, middle, east + 300 * metre, middle + 0.001)])
    )


@real
def test_set_06_is_an_obj_release_with_terrain():
    sources = look(dataset("06"))
    assert [(f.module, f.format, f.mesh) for f in sources.files] == [
        ("bldg", "obj", "53393599"),
        ("dem", "obj", "53393599"),
    ]
    assert names(look(dataset("06"), modules=("dem",))) == ["demoSrc/53393599_dem_6677.obj"]
    # A circle in the tile, one beyond its edge by less than what buildings overhang, one far off.
    assert len(look(dataset("06"), region=region(arounds=[(35.6625, 139.74375, 50.0)])).files) == 2
    assert len(look(dataset("06"), region=region(arounds=[(35.6625, 139.7525, 50.0)])).files) == 2
    assert "outside" in refused(dataset("06"), region=region(arounds=[(35.6625, 139.7600, 50.0)]))


@real
def test_the_other_sets():
    sources = look(dataset("04"))
    assert [f.module for f in sources.files] == ["bldg", "bldg", "bldg", "tran", "dem"]
    assert sources.passed_over == ["udx/luse/533925_luse_6697_park_op.gml (luse is not converted)"]
    one = look(dataset("01"))
    assert one.city_code == "13100" and one.files[0].root == dataset("01")
    alone = look(one.files[0].path)
    assert alone.files[0].root.name == "13100_tokyo23-ku_2022_citygml_1_3_op"  # above udx, where the codelists are
    assert alone.city_code == "13100" and alone.name == "53392633_bldg_6697_2_op"
    assert [f.module for f in look(dataset("09")).files] == ["veg", "tran"]


@real
def test_a_fingerprint_is_of_the_files_bytes():
    import hashlib

    file = look(dataset("10")).files[0]
    data = file.path.read_bytes()
    assert file.fingerprint() == {"name": file.name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


@real
@pytest.mark.parametrize(
    ("number", "options"),
    [
        ("07", {"meshes": ["5135739344"]}),
        pytest.param("07", {"arounds": [(34.6625, 135.4185, 300.0)]}, marks=pytest.mark.long),
        pytest.param("08", {"meshes": ["52350301"]}, marks=pytest.mark.long),
        pytest.param("08", {"bboxes": [(135.392, 34.646, 135.399, 34.650)]}, marks=pytest.mark.long),
        pytest.param("06", {"arounds": [(35.6625, 139.7437, 200.0)]}, marks=pytest.mark.long),
    ],
)
def test_a_region_gives_exactly_the_buildings_in_it(tmp_path, number, options):
    """Of the whole city those whose middle lies in the region, found here by pyproj alone; each stands as it stood."""
    settings = {"preview": False, "textures": False, "workers": 1, "keep_tiles": False}
    cities = []
    for name, more in (("whole", {}), ("part", {"region": region(**options)})):
        convert(dataset(number), tmp_path / name, ConversionOptions(**settings, **more))
        cities.append(json.loads((tmp_path / name / "city.json").read_text()))
    whole, part = ({b["id"]: b for b in city["buildings"]} for city in cities)
    crs = pyproj.CRS.from_epsg(cities[0]["crs"]["epsg"])
    boxes = np.array([b["bbox"] for b in whole.values()])
    origin = cities[0]["crs"]["origin_east"], cities[0]["crs"]["origin_north"]
    middle = (boxes[:, :2] + boxes[:, 3:5]) / 2 + origin
    longitude, latitude = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True).transform(*middle.T)
    if "arounds" in options:
        ((lat, lon, radius),) = options["arounds"]
        one = np.ones(len(latitude))
        inside = pyproj.Geod(ellps="GRS80").inv(one * lon, one * lat, longitude, latitude)[2] <= radius
    elif "bboxes" in options:
        ((west, south, east, north),) = options["bboxes"]
        inside = (longitude >= west) & (longitude <= east) & (latitude >= south) & (latitude <= north)
    else:
        inside = np.array([options["meshes"][0][:8] in b["source"] for b in whole.values()])
        if len(options["meshes"][0]) > 8:
            west, south, east, north = bounds(options["meshes"][0])
            inside &= (longitude >= west) & (longitude <= east) & (latitude >= south) & (latitude <= north)
    expected = {i for i, yes in zip(whole, inside, strict=True) if yes}
    assert 0 < len(expected) < len(whole) and set(part) == expected
    assert all(part[i]["lod"] == whole[i]["lod"] for i in expected)
    heights = np.array([[part[i]["height"], whole[i]["height"]] for i in expected])
    assert np.abs(heights[:, 0] - heights[:, 1]).max() < 2e-3


def test_an_asked_mesh_opens_its_own_files_only(tmp_path):
    """Its neighbours share an edge with it, yet of a city of 700 tiles one is wanted; a box opens what may reach it."""
    around = [f"udx/bldg/5339{n}_bldg_6697_op.gml" for n in ("4514", "4515", "4516", "4524", "4525")]
    files(tmp_path, *around, "udx/dem/533945_dem_6697_op.gml", "udx/dem/533946_dem_6697_op.gml", "udx/tran/x_tran_.gml")
    chosen = names(look(tmp_path, region=region(["53394525"])))
    assert chosen == ["udx/bldg/53394525_bldg_6697_op.gml", "udx/tran/x_tran_.gml", "udx/dem/533945_dem_6697_op.gml"]
    west, south, east, north = bounds("53394525")
    assert len(look(tmp_path, region=region(bboxes=[(west, south, east, north)])).files) == 7


# -- names and modules --------------------------------------------------------------------------------------------


def test_modules_by_name_and_folder(tmp_path):
    expected = {
        "udx/bldg/53394525_bldg_6697_op.gml": "bldg",
        "udx/rwy/53394525_rwy_6697_op.gml": "tran",
        "udx/squr/53394525_squr_6697_op.gml": "tran",
        "udx/trk/53394525_trk_6697_op.gml": "tran",
        "udx/wwy/53394525_wwy_6697_op.gml": "tran",
        "udx/tran/plain.gml": "tran",
        "udx/brid/53394525/x.gml": "brid",
        "udx/wtr/53394525_wtr_6697_op.gml": "wtr",
        "elsewhere/any.GML": "",
        "53394525_dem_6697_01_op.gml": "dem",
    }
    aside = [f"udx/{m}/53394525_{m}_6697_op.gml" for m in ("fld", "luse", "ubld", "tun", "urf", "unf", "gen", "htd")]
    files(tmp_path, *expected, *aside, "udx/bldg/readme.txt", "codelists/a.gml", "metadata/b.gml", ".git/c_bldg.gml")
    sources = look(tmp_path)
    assert {f.name: f.module for f in sources.files} == expected
    assert sorted(line.split(" ")[0] for line in sources.passed_over) == sorted(aside)
    order = [f.module for f in sources.files]
    assert order == sorted(order, key=["bldg", "", "brid", "frn", "veg", "tran", "wtr", "dem"].index)


def test_words_of_everyday_names_are_no_modules(tmp_path):
    expected = ["area/gen/city.gml", "my_area.gml", "next_gen_city.gml", "unf/x.gml"]
    files(tmp_path, *expected)
    assert {f.name: f.module for f in look(tmp_path).files} == dict.fromkeys(expected, "")
    assert look(tmp_path / "area/gen/city.gml").files[0].module == ""
    assert look(files(tmp_path, "dem/tile.gml") / "dem/tile.gml").files[0].module == "dem"


def test_a_data_sets_names_state_its_municipality():
    assert municipality_of("13100_tokyo23-ku_2022_citygml_1_3_op") == "13100"
    assert municipality_of("17206_kaga-shi_2020_citygml_5_op") == "17206"
    assert municipality_of("08220_tsukuba-shi_city_2023_citygml_2_op") == "08220"
    assert municipality_of("12347_tako-machi_city_2025_citygml_1_op_bldg") == "12347"
    for name in ("99100_nowhere-shi_2022_citygml", "my_13100_city", "53394525_bldg_6697_op", "2022_tokyo_2022"):
        assert municipality_of(name) is None


def test_many_files_passed_over_are_counted(tmp_path):
    files(tmp_path, "a_bldg_.gml", *(f"udx/fld/{n:04d}_fld_6697.gml" for n in range(300)))
    (line,) = look(tmp_path).passed_over
    assert line == "300 files, udx/fld/0000_fld_6697.gml to udx/fld/0299_fld_6697.gml (fld is not converted)"


# -- releases side by side ----------------------------------------------------------------------------------------

LOD1 = "obj/bldg/lod1/53394525_bldg_6677.obj"
LOD2 = "obj/bldg/lod2/533945254/533945254_bldg_6677.obj"


@pytest.mark.parametrize(
    ("lod", "expected"), [("auto", [LOD1, LOD2]), ("2", [LOD1, LOD2]), ("3", [LOD1, LOD2]), ("1", [LOD1])]
)
def test_levels_of_an_obj_release(tmp_path, lod, expected):
    files(tmp_path, LOD1, LOD2)
    sources = look(tmp_path, lod=lod)
    assert names(sources) == expected
    assert [f.lod for f in sources.files] == [1, 2][: len(expected)]


def test_a_higher_level_is_read_where_there_is_no_other(tmp_path):
    other = LOD2.replace("53394525", "53394611")
    files(tmp_path, LOD1, LOD2, other)
    assert names(look(tmp_path, lod="1")) == [LOD1, other]


def test_parts_of_a_third_mesh_are_kept_with_all_of_it(tmp_path):
    """The release's ninth digit is not said to be that of a half mesh, so it excludes nothing."""
    files(tmp_path, LOD2)
    assert names(look(tmp_path, region=region(["533945251"]))) == [LOD2]
    assert "outside" in refused(tmp_path, region=region(["53394611"]))


def test_citygml_before_obj_of_the_same_mesh(tmp_path):
    gml, obj = "udx/bldg/53394525_bldg_6697_op.gml", "obj/53394525_bldg_6677.obj"
    elsewhere, dem = "obj/53394611_bldg_6677.obj", "obj/53394525_dem_6677.obj"
    files(tmp_path, gml, obj, elsewhere, dem, "model.glb")
    sources = look(tmp_path)
    assert names(sources) == [elsewhere, gml, dem]
    assert sources.passed_over == [f"{obj} (its CityGML is read)", "model.glb (its CityGML or OBJ is read)"]


def test_other_meshes_where_there_is_nothing_else(tmp_path):
    files(tmp_path, "campus.glb", "hill_dem.ply", "x.png")
    sources = look(tmp_path)
    assert [(f.name, f.module, f.format) for f in sources.files] == [
        ("campus.glb", "bldg", "mesh"),
        ("hill_dem.ply", "dem", "mesh"),
    ]
    files(tmp_path, "road_tran_.obj")
    assert "as a mesh is not converted" in " ".join(look(tmp_path).passed_over)


# -- several paths ------------------------------------------------------------------------------------------------


def test_names_are_unique_over_all_paths(tmp_path):
    one = files(tmp_path / "one", "udx/bldg/a_bldg_.gml")
    two = files(tmp_path / "two", "udx/bldg/a_bldg_.gml", "udx/dem/a_dem_.gml")
    assert names(look([one, two])) == ["one/udx/bldg/a_bldg_.gml", "two/udx/bldg/a_bldg_.gml", "two/udx/dem/a_dem_.gml"]
    gml = [one / "udx/bldg/a_bldg_.gml", two / "udx/bldg/a_bldg_.gml"]
    assert names(look(gml)) == ["one/udx/bldg/a_bldg_.gml", "two/udx/bldg/a_bldg_.gml"]
    assert names(look([gml[0], two / "udx/dem/a_dem_.gml"])) == ["a_bldg_.gml", "a_dem_.gml"]
    assert names(look([gml[0], gml[0], one / "udx/bldg/../bldg/a_bldg_.gml"])) == ["a_bldg_.gml"]
    assert str(tmp_path) not in " ".join(names(look([one, two])))


def test_the_world_is_named_after_the_data(tmp_path):
    folder = files(tmp_path / "13100_tokyo23-ku_2022_v1.2", "udx/bldg/a_bldg_.gml", "udx/bldg/b_bldg_.gml")
    assert look(folder).name == "13100_tokyo23-ku_2022_v1.2"
    assert look(sorted((folder / "udx/bldg").iterdir())).name == "13100_tokyo23-ku_2022_v1.2"
    other = files(tmp_path / "27100_osaka-shi_2022_citygml", "udx/bldg/a_bldg_.gml")
    assert look([folder, other]).city_code is None and look(other).city_code == "27100"


# -- what is refused, what is not followed ------------------------------------------------------------------------


def test_links_that_leave_the_folder_are_not_followed(tmp_path):
    outside = files(tmp_path / "outside", "udx/bldg/secret_bldg_.gml")
    inside = files(tmp_path / "inside", "udx/bldg/a_bldg_.gml")
    (inside / "udx/bldg/b_bldg_.gml").symlink_to(outside / "udx/bldg/secret_bldg_.gml")
    (inside / "udx/more").symlink_to(outside)
    (inside / "udx/again").symlink_to(inside / "udx")
    (inside / "udx/bldg/c_bldg_.gml").symlink_to(inside / "udx/bldg/a_bldg_.gml")
    (inside / "udx/bldg/d_bldg_.gml").symlink_to(inside / "udx/bldg/nowhere.gml")
    (inside / "udx/loop").symlink_to(inside / "udx/loop")
    sources = look(inside)
    assert names(sources) == ["udx/bldg/a_bldg_.gml"]
    assert sorted(line.split(" ")[0] for line in sources.passed_over) == ["udx/bldg/b_bldg_.gml", "udx/more"]
    link = tmp_path / "link"
    link.symlink_to(inside)  # what the user names is his own choice
    assert names(look(link)) == ["udx/bldg/a_bldg_.gml"]


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda p: p / "missing", "no such file"),
        (lambda p: files(p, "empty/readme.txt") / "empty", "holds no city file"),
        (lambda p: files(p, "photo.jpg") / "photo.jpg", "not a city model"),
        (lambda p: files(p, "data.7z") / "data.7z", "unpack it first"),
        (lambda p: files(p, "data.tar.gz") / "data.tar.gz", "unpack it first"),
        (lambda p: files(p, "5339_fld_6697.gml") / "5339_fld_6697.gml", "fld is not converted"),
        (lambda p: files(p, "udx/urf/x.gml") / "udx/urf/x.gml", "urf is not converted"),
        (lambda p: files(p, "w/world.sdf", "w/city.json", "w/models/a.glb") / "w", "converted already"),
        (lambda p: Path("/dev/null"), "pipe or device"),
        (lambda p: p / ("x" * 300), ""),
    ],
)
def test_what_is_no_source(tmp_path, make, word):
    assert word in refused(make(tmp_path))


def test_a_world_beside_the_source_is_not_read_as_one(tmp_path):
    files(tmp_path, "tile.obj", "world/world.sdf", "world/models/x/meshes/x.obj")
    assert names(look(tmp_path)) == ["tile.obj"]


def test_a_folder_that_cannot_be_read_is_reported(tmp_path):
    files(tmp_path, "a_bldg_.gml", "closed/b_bldg_.gml")
    (tmp_path / "closed").chmod(0)
    try:
        if os.access(tmp_path / "closed", os.R_OK):
            pytest.skip("this user may read everything")
        assert any(line.startswith("closed (cannot be read") for line in look(tmp_path).passed_over)
    finally:
        (tmp_path / "closed").chmod(0o700)


def test_the_order_of_files_does_not_depend_on_the_disk(tmp_path):
    made = [f"udx/bldg/5339452{n}_bldg_6697_op.gml" for n in np.random.default_rng(3).permutation(10)]
    assert names(look(files(tmp_path, *made))) == sorted(made)
