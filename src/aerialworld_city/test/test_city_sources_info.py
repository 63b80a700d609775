"""`city_info` on real data sets: the figures of their READMEs, from folders and from zips."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from aerialworld_city.inspect import city_info
from aerialworld_city.options import ConversionOptions
from aerialworld_city.sources.region import region

SHARED = Path(os.environ.get("AERIALWORLD_SHARED", Path(__file__).resolve().parents[3].parent / "shared"))
PLATEAU = SHARED / "data" / "plateau"
pytestmark = pytest.mark.skipif(not PLATEAU.is_dir(), reason="the real data sets are not beside this repository")


def dataset(number: str) -> Path:
    return next(PLATEAU.glob(f"{number}_*"))


#: Objects by kind and level, images (named, missing), i-UR version, zone, and the extent in height, all by the READMEs.
FIGURES = {
    "01": ({"building": {"LOD2": 9}}, (9, 0), ["v2 (i-UR 2.0)"], 6677, None),
    "02": ({"building": {"LOD2": 10}}, (10, 0), ["v1 (i-UR 1.4)"], 6677, None),
    "03": (
        {"building": {"LOD2": 1}, "bridge": {"LOD2": 21}, "furniture": {"LOD2": 2}}, (38, 0), ["v1 (i-UR 1.4)"], 6677,
        None,
    ),
    "05": ({"building": {"LOD2": 8}}, (8, 1), ["v1 (i-UR 1.4)"], 6677, None),
    "06": ({"building": {"LOD1": 915}}, (0, 0), [], 6677, (2.07, 243.32)),
    "07": ({"building": {"LOD1": 407}}, (0, 0), ["v3 (i-UR 3.0)"], 6674, None),
    "08": ({"building": {"LOD1": 3, "LOD2": 89}}, (89, 89), ["v3 (i-UR 3.0)"], 6674, (0.85, 38.80)),
    "10": ({"building": {"LOD1": 98}}, (0, 0), ["v5 (i-UR 3.2)"], 6677, None),
}  # fmt: skip


@pytest.mark.parametrize("number", FIGURES)
def test_the_figures_of_the_real_sets(number):
    kinds, (named, missing), specification, zone, heights = FIGURES[number]
    info = city_info(dataset(number))
    bodies = ("building", "bridge", "furniture")
    assert {k: v for k, v in info["kinds"].items() if k in bodies} == kinds
    assert info["textures"] == {"named": named, "present": named - missing, "missing": missing}
    assert (info["specification"], info["zone"]) == (specification, zone)
    if heights:
        assert [info["bounds"][0][2], info["bounds"][1][2]] == pytest.approx(heights, abs=0.02)
    assert not any("error" in file for file in info["files"])


def test_the_extent_of_set_06():
    """README: buildings 35.65824 … 35.66707 N, 139.73731 … 139.75009 E; the box of the plane is a little wider."""
    low, high = city_info(dataset("06"))["bounds"]
    assert (low[0], high[0]) == pytest.approx((35.65824, 35.66707), abs=2e-5)
    assert (low[1], high[1]) == pytest.approx((139.73731, 139.75009), abs=2e-5)
    info = city_info(dataset("06"))
    assert info["terrain_triangles"] == 44663 and info["coverage"] == {"bldg": ["53393599"], "dem": ["53393599"]}


def test_roads_at_height_0_do_not_pull_the_city_down():
    """Set 07: bases at 0.3-3.1 m, roads at z = 0; set 11 is a road alone, so its own height is told."""
    assert city_info(dataset("07"))["bounds"][0][2] == pytest.approx(0.3, abs=0.05)
    assert city_info(dataset("11"))["bounds"][0][2] == 0.0


def test_a_zip_tells_the_same_as_its_folder(tmp_path):
    folder = next(dataset("01").glob("13100*"))
    path = tmp_path / f"{folder.name}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, f"{folder.name}/{file.relative_to(folder).as_posix()}")
    packed, plain = city_info(path), city_info(folder)
    for key in ("kinds", "counts", "textures", "bounds", "zone", "specification", "coverage"):
        assert packed[key] == plain[key]
    assert packed["textures"]["present"] == 9


def test_only_the_wanted_part_of_an_archive_is_touched(tmp_path):
    """Of 60 MB, a selection reads the directory and its own tile (counted by the kernel)."""
    path = tmp_path / "city.zip"
    gml = (dataset("07") / "bldg" / "51357393_bldg_6697_op.gml").read_bytes()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for n in range(15):
            archive.writestr(f"udx/bldg/533945{n:02d}_bldg_6697_op.gml", bytes(4_000_000))
        archive.writestr("udx/bldg/51357393_bldg_6697_op.gml", gml)

    def read_so_far() -> int:
        return int(next(line for line in Path("/proc/self/io").read_text().splitlines() if "rchar" in line).split()[1])

    before = read_so_far()
    info = city_info(path, ConversionOptions(region=region(["51357393"])))
    assert info["kinds"] == {"building": {"LOD1": 407}}
    assert read_so_far() - before < 5 * len(gml) + 3_000_000  # unpacked once for the zone, once for itself


def test_the_broken_set_is_told_file_by_file():
    info = city_info(dataset("12"))
    errors = {Path(f["name"]).name: f["error"] for f in info["files"] if "error" in f}
    assert set(errors) == {"54377074_bldg_6697_op.gml", "TestCaseOfInvalidFileNameGml.gml"}
    assert errors["54377074_bldg_6697_op.gml"].startswith("line 146: not a well-formed CityGML file")
    assert sum("54377074" in f["name"] for f in info["files"]) == 2  # the other of that name is whole
