"""MTL libraries: colours, opacity, photographs, and references that lead out of the source."""

from __future__ import annotations

import os

import numpy as np
import pytest

from aerialworld_city.features import Material
from aerialworld_city.geodesy import Projection
from aerialworld_city.options import ConversionOptions
from aerialworld_city.readers.obj import read_obj
from aerialworld_city.sources.files import SourceFile
from aerialworld_city.tiles.build import build_tile
from aerialworld_core.errors import InputError

#: A tetrahedron with one material on its base and another on its sides.
OBJ = """mtllib {library}
v -8000 -37000 3
v -7990 -37000 3
v -8000 -36990 3
v -8000 -37000 9
vt 0 0
vt 2.5 0
vt 0 -1.25
usemtl base
f 3/3 2/2 1/1
usemtl side
f 1/1 2/2 4/3
f 2/1 3/2 4/3
f 3/1 1/2 4/3
"""


@pytest.fixture
def release(tmp_path):
    """A folder within a root, with a file beside the root that nothing may reach."""
    (tmp_path / "secret").write_text("newmtl side\nKd 1 0 0\n")
    folder = tmp_path / "root" / "LOD2"
    folder.mkdir(parents=True)
    path = folder / "x_bldg_6677.obj"
    path.write_text(OBJ.format(library="materials.mtl"))
    return path


def read(path, **options):
    file = SourceFile(path, path.name, "bldg", "obj", path.parents[1])
    return read_obj(file, Projection(6677), ConversionOptions(**options))


def library(path, text):
    (path.parent / "materials.mtl").write_text(text)
    return read(path)


def of(tile):
    """Materials of the base and of a side."""
    base = int(np.argmin(tile.mesh.triangles[:, :, 2].max(axis=1)))
    side = 0 if base else 1
    return [None if m < 0 else tile.materials[m] for m in tile.mesh.material[[base, side]]]


@pytest.mark.parametrize(
    ("text", "side"),
    [
        ("Kd 0.25 0.5 1", Material(None, (0.25, 0.5, 1.0))),
        ("Kd 0.5", Material(None, (0.5, 0.5, 0.5))),
        ("Kd 2 -1 0", Material(None, (1.0, 0.0, 0.0))),
        ("Kd 1 1 1\nd 0.5", Material(None, (1.0, 1.0, 1.0), 0.5)),
        ("Kd 1 1 1\nTr 0.25", Material(None, (1.0, 1.0, 1.0), 0.75)),
        ("Kd 1 1 1\nd 0.5\nTr 0.9", Material(None, (1.0, 1.0, 1.0), 0.5)),
        ("Kd 1 1 1\nTr 0.9\nd 0.5", Material(None, (1.0, 1.0, 1.0), 0.5)),
        ("Kd 1 1 1\nd 0", Material(None, (1.0, 1.0, 1.0), 1.0)),
        ("map_Kd t/a b.jpg", Material("t/a b.jpg")),
        ('MAP_KD "t\\a.jpg"  ', Material("t/a.jpg")),
        ("map_Kd -blendu on -mm 0 1 -clamp off t.jpg", Material("t.jpg")),
        ("map_Kd ../shared/t.jpg", Material("../shared/t.jpg")),
        ("  Kd 1 0 0 # not a comment there", None),
        ("Ns 12\nillum 2\nKa 0 0 0\nmap_Bump b.png", None),
    ],
)
def test_what_a_material_says(release, text, side):
    tile = library(release, f"# made by hand\nnewmtl base\nnewmtl side\n{text}\n")
    assert of(tile) == [None, side]


def test_texture_coordinates_are_kept_beyond_one_and_follow_the_options_of_the_map(release):
    tile = library(release, "newmtl side\nmap_Kd t.jpg\n")
    assert tile.mesh.uv is not None
    assert set(np.unique(tile.mesh.uv).tolist()) == {0.0, 2.5, -1.25}
    tile = library(release, "newmtl side\nmap_Kd -s 2 4 -o 0.5 0.25 0 my photo.jpg\n")
    assert of(tile)[1] == Material("my photo.jpg") and not tile.skipped
    side = tile.mesh.uv[tile.mesh.material >= 0].reshape(-1, 2)
    assert sorted(set(map(tuple, side.tolist()))) == [(0.5, -4.75), (0.5, 0.25), (5.5, 0.25)]


def test_faces_without_texture_coordinates_keep_the_colour(release):
    release.write_text(release.read_text().replace("f 1/1 2/2 4/3", "f 1 2 4"))
    tile = library(release, "newmtl side\nKd 0 1 0\nmap_Kd t.jpg\n")
    side = tile.mesh.material[tile.mesh.triangles[:, :, 2].max(axis=1) > 3]
    assert {tile.materials[m] for m in side} == {Material("t.jpg", (0.0, 1.0, 0.0)), Material(None, (0.0, 1.0, 0.0))}
    assert tile.counts["triangles with a photograph but no texture coordinates"] == 1


@pytest.mark.parametrize(
    "name",
    [
        "../../secret",
        "/etc/passwd",
        "..\\..\\secret",
        "C:\\windows\\x.mtl",
        "http://host/x.mtl",
        "link.mtl",
        "a/../../../secret",
    ],
)
def test_a_library_outside_the_source_is_reported_and_not_read(release, name):
    os.symlink(release.parents[2] / "secret", release.parent / "link.mtl")
    release.write_text(OBJ.format(library=name))
    tile = read(release)
    assert of(tile) == [None, None] and len(tile.mesh) == 4
    assert [s.id for s in tile.skipped] == [f"mtllib {name}"] and "source" in tile.skipped[0].reason
    with pytest.raises(InputError, match="mtllib"):
        build_tile(
            SourceFile(release, release.name, "bldg", "obj", release.parents[1]),
            Projection(6677),
            ConversionOptions(strict=True),
        )


@pytest.mark.parametrize(
    "name", ["../../secret", "/etc/passwd", "..\\..\\secret", "D:\\photos\\x.jpg", "https://host/x.jpg", "l"]
)
def test_an_image_outside_the_source_is_reported_and_leaves_the_colour(release, name):
    os.symlink("/etc/passwd", release.parent / "l")
    tile = library(release, f"newmtl side\nKd 0 0 1\nmap_Kd {name}\n")
    assert of(tile)[1] == Material(None, (0.0, 0.0, 1.0))
    assert tile.skipped[0].id == "material side" and "source" in tile.skipped[0].reason


def test_libraries_that_are_not_there_broken_or_double(release):
    tile = read(release)
    assert "not there" in tile.notes[0] and of(tile) == [None, None] and not tile.skipped
    (release.parent / "materials.mtl").write_bytes(b"\x1f\x8b\x08\0" + bytes(20))
    assert "gzip" in read(release).skipped[0].reason
    (release.parent / "a b.mtl").write_text("newmtl side\nKd 1 0 0\n")
    (release.parent / "c.mtl").write_text("newmtl side\nKd 0 1 0\nnewmtl base\nKd 0 0 1\n")
    release.write_text(OBJ.format(library="a b.mtl\nmtllib c.mtl"))
    assert of(read(release)) == [Material(None, (0.0, 0.0, 1.0)), Material(None, (1.0, 0.0, 0.0))]
    (release.parent / "b.mtl").write_text("newmtl side\nKd 1 1 0\n")
    release.write_text(OBJ.format(library="c.mtl b.mtl"))  # several on a line
    assert of(read(release)) == [Material(None, (0.0, 0.0, 1.0)), Material(None, (0.0, 1.0, 0.0))]
    os.symlink("loop.mtl", release.parent / "loop.mtl")
    release.write_text(OBJ.format(library="loop.mtl\nmtllib " + "x" * 5000))
    tile = read(release)
    assert len(tile.mesh) == 4 and len(tile.skipped) + len(tile.notes) >= 2
    release.write_text(OBJ.format(library="c.mtl").replace("usemtl side", "usemtl lost"))
    assert "'lost'" in read(release).notes[0]


@pytest.mark.parametrize("bad", ["nan", "inf", "1e9"])
def test_texture_coordinates_that_are_none_lose_the_photograph_only(release, bad):
    release.write_text(release.read_text().replace("vt 2.5 0", f"vt {bad} 0"))
    tile = library(release, "newmtl side\nKd 0 1 0\nmap_Kd t.jpg\n")
    assert len(tile.mesh) == 4 and "texture coordinates" in tile.skipped[0].reason
    assert of(tile)[1] == Material(None, (0.0, 1.0, 0.0))
