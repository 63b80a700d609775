"""STL, PLY and OFF as a city: what another library wrote, polygons of any size, and files that are broken."""

from __future__ import annotations

import gzip
import struct
from random import Random

import numpy as np
import pytest
import trimesh

from aerialworld_city.geodesy import Projection
from aerialworld_city.options import ConversionOptions
from aerialworld_city.readers.mesh import read_mesh
from aerialworld_city.sources.files import SourceFile
from aerialworld_core.errors import InputError

NINE = Projection(6677)
PLANE = ConversionOptions(crs=6677)
HOUSE = trimesh.creation.box((10, 6, 5)).apply_translation([-8000, -37000, 5])
TANK = trimesh.creation.cylinder(4, 8, sections=16).apply_translation([-7950, -37000, 7])
CITY = trimesh.util.concatenate([HOUSE, TANK])
FORMATS = {
    "stl": "stl",
    "ascii.stl": "stl_ascii",
    "ply": "ply",
    "ascii.ply": "ply",
    "off": "off",
    "obj": "obj",
    "glb": "glb",
}


def read(path, options=PLANE):
    return read_mesh(SourceFile(path, path.name, "bldg", "mesh", path.parent), NINE, options)


def write(tmp_path, data, name):
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_trimesh_writes_has_the_same_bodies(tmp_path, suffix):
    path = tmp_path / f"two.{suffix}"
    extra = {"encoding": "ascii"} if suffix == "ascii.ply" else {}
    data = CITY.export(file_type=FORMATS[suffix], **extra)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    options = PLANE if suffix != "glb" else ConversionOptions(crs=6677, up="z")  # trimesh writes GLB as it stands
    tile = read(path, options)
    assert len(tile.features) == 2 and all(f.closed for f in tile.features) and tile.changed == {}
    # The GLB and the binary STL hold 32-bit numbers, 4 mm apart at 37 km, and say so.
    assert [n[-130:] for n in tile.notes if "4 mm apart" in n] != [] or suffix not in ("glb", "stl")
    for i, body in enumerate((HOUSE, TANK)):
        got = tile.mesh.triangles[tile.mesh.feature == i]
        assert len(got) == len(body.faces)
        # 32-bit coordinates at 37 km are 4 mm apart.
        assert tile.features[i].volume == pytest.approx(body.volume, rel=3e-3)
        assert got.reshape(-1, 3).min(axis=0) == pytest.approx(body.bounds[0], abs=4e-3)
        assert got.reshape(-1, 3).max(axis=0) == pytest.approx(body.bounds[1], abs=4e-3)


#: A house with a gable: a pentagon twice, three quads and two roof quads; its volume is 10 × (6 × 4 + 6 × 3 / 2).
POINTS = [(x, y, z) for x in (0, 10) for y, z in ((0, 0), (6, 0), (6, 4), (3, 7), (0, 4))]
FACES = [(0, 4, 3, 2, 1), (5, 6, 7, 8, 9), (0, 1, 6, 5), (1, 2, 7, 6), (2, 3, 8, 7), (3, 4, 9, 8), (4, 0, 5, 9)]
VOLUME = 10 * (6 * 4 + 6 * 3 / 2)


def ply(form, order="<"):
    head = f"ply\nformat {form} 1.0\ncomment TextureFile ../../secret.png\nelement vertex {len(POINTS)}\n"
    head += "property double x\nproperty double y\nproperty float z\nproperty uchar red\n"
    head += f"element face {len(FACES)}\nproperty uchar flags\nproperty list uchar int vertex_indices\n"
    head += "property list uchar float texcoord\nelement edge 1\nproperty int vertex1\nend_header\n"
    if form == "ascii":
        rows = [f"{x} {y} {z} 7" for x, y, z in POINTS]
        rows += [f"1 {len(f)} {' '.join(map(str, f))} 2 0.5 0.5" for f in FACES]
        return (head + "\n".join([*rows, "3"]) + "\n").encode()
    body = b"".join(struct.pack(order + "ddfB", *p, 7) for p in POINTS)
    for f in FACES:
        body += struct.pack(f"{order}BB{len(f)}iB2f", 1, len(f), *f, 2, 0.5, 0.5)
    return head.encode() + body + struct.pack(order + "i", 3)


def off(counts=f"{len(POINTS)} {len(FACES)} 0"):
    rows = ["OFF # a house", counts, ""] + [f"{x} {y} {z} 255 0 0" for x, y, z in POINTS]
    return "\n".join(rows + [f"{len(f)}  {' '.join(map(str, f))} 0.5 0.5 0.5" for f in FACES]) + "\n"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (ply("ascii"), "house.ply"),
        (ply("binary_little_endian"), "house.ply"),
        (ply("binary_big_endian", ">"), "house.ply"),
        (off(), "house.off"),
        (off().replace("OFF # a house\n", "COFF "), "house.off"),
    ],
)
def test_polygons_of_different_sizes_close_and_keep_the_volume(tmp_path, data, name):
    tile = read(write(tmp_path, data, name))
    assert len(tile.features) == 1 and tile.features[0].closed and tile.changed == {}
    assert tile.features[0].volume == pytest.approx(VOLUME) and len(tile.mesh) == 2 * 3 + 5 * 2
    up = read(tmp_path / name, ConversionOptions(crs=6677, up="y"))
    assert np.ptp(up.mesh.triangles.reshape(-1, 3), axis=0).tolist() == [10, 7, 6]


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        (b"format ascii", b"format klingon", "klingon"),
        (b"element vertex 10", b"element vertex 4000000000", "malformed"),
        (b"element vertex 10", b"element vertex -1", "malformed"),
        (b"element vertex 10", b"element vertex", "malformed"),
        (b"property double x", b"property quad x", "malformed"),
        (b"property double x", b"property double w", "no x, y, z"),
        (b"vertex_indices", b"corners", "vertex_indices"),
        (b"element face 7", b"element face 0", "no faces"),
        (b"element face 7", b"element face 90", "cut off"),
        (b"end_header", b"", "no header"),
        (b"1 5 0 4 3 2 1", b"1 5 0 4 3 2 10", "not one of 10"),
        (b"1 5 0 4 3 2 1", b"1 5 0 4 3 2 -1", "not one of 10"),
        (b"1 5 0 4 3 2 1", b"1 5 0 4 3 2 1.5", "not one of 10"),
        (b"1 5 0 4 3 2 1", b"1 2147483648 0 4 3 2 1", "cut off"),
        (b"1 5 0 4 3 2 1", b"1 -5 0 4 3 2 1", "cut off"),
        (b"1 5 0 4 3 2 1", b"1 nan 0 4 3 2 1", "cut off"),
        (b"1 5 0 4 3 2 1", b"1 two 0 4 3 2 1", "no number"),
        (b"0 0 0 7", b"nan 0 0 7", "no usable face"),
    ],
)
def test_broken_ply_names_the_file_and_what_is_wrong(tmp_path, old, new, match):
    data = ply("ascii")
    assert old in data
    with pytest.raises(InputError, match=rf"house\.ply.*{match}"):
        read(write(tmp_path, data.replace(old, new, 1), "house.ply"))


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("OFF", "4OFF", "three dimensions"),
        ("OFF", "OFF BINARY", "three dimensions"),
        ("10 7 0", "10", "numbers of vertices"),
        ("10 7 0", "4000000000 7 0", "cut off"),
        ("10 7 0", "-10 7 0", "numbers of vertices"),
        ("10 7 0", "10 0 0", "no faces"),
        ("0 0 0 255 0 0", "0 0", "line 4.*three numbers"),
        ("0 0 0 255", "0 x 0 255", "three numbers"),
        ("5  0 4 3 2 1", "9  0 4 3 2 1", "line 14"),
        ("5  0 4 3 2 1", "2  0 4 3 2 1", "line 14"),
        ("5  0 4 3 2 1", "5  0 4 3 2 10", "line 14.*not one of 10"),
        ("5  0 4 3 2 1", "5  0 4 3 2 2147483648", "line 14.*not one of 10"),
        ("0 0 0 255", "inf 0 0 255", "no usable face"),
    ],
)
def test_broken_off_names_the_file_and_what_is_wrong(tmp_path, old, new, match):
    assert old in off()
    with pytest.raises(InputError, match=rf"house\.off.*{match}"):
        read(write(tmp_path, off().replace(old, new, 1), "house.off"))


def test_broken_stl(tmp_path):
    binary, text = CITY.export(file_type="stl"), CITY.export(file_type="stl_ascii")
    vertex = text.index("vertex")
    for data, match in [
        (binary[:-20], "cut off"),
        (binary[:50], "neither"),
        (struct.pack("<80sI", b"", 0), "no triangles"),
        (struct.pack("<80sI", b"", 2**31), "cut off"),
        (text[:vertex] + "vertex 1 2\n" + text[text.index("\n", vertex) + 1 :], "line 4.*three numbers"),
        (text[:vertex] + "vertex 1 2 x\n" + text[text.index("\n", vertex) + 1 :], "three numbers"),
        (text[:vertex] + text[text.index("\n", vertex) + 1 :], "do not make triangles"),
        ("solid\nendsolid\n", "no triangles"),
    ]:
        with pytest.raises(InputError, match=rf"two\.stl.*{match}"):
            read(write(tmp_path, data, "two.stl"))


@pytest.mark.parametrize("name", ["x.stl", "x.ply", "x.off"])
def test_what_is_no_mesh_file(tmp_path, name):
    for data, match in [
        (b"", "empty"),
        (gzip.compress(b"solid"), "gzip"),
        (b"PK\x03\x04" + bytes(100), "zip"),
        (bytes(1000), "x"),
        (b"\xff" * 1000, "x"),
    ]:
        with pytest.raises(InputError, match=match):
            read(write(tmp_path, data, name))
    (tmp_path / "d" / name).mkdir(parents=True)
    with pytest.raises(InputError, match="is a folder"):
        read(tmp_path / "d" / name)


@pytest.mark.parametrize(
    ("name", "good"),
    [("x.ply", ply("ascii")), ("x.ply", ply("binary_big_endian", ">")), ("x.off", off().encode()),
     ("x.stl", HOUSE.export(file_type="stl")), ("x.stl", HOUSE.export(file_type="stl_ascii").encode())],
)  # fmt: skip
def test_mutated_files_end_in_a_tile_or_our_error(tmp_path, name, good):
    random = Random(7)  # noqa: S311 - mutations, no secrets
    tiles = 0
    for _ in range(150):
        data = bytearray(good)
        for _ in range(random.choice([1, 1, 3])):
            at = random.randrange(len(data))
            kind = random.random()
            if kind < 0.6:
                data[at] = random.choice([*b"0123456789-. \n", random.randrange(256)])
            elif kind < 0.8:
                del data[at : at + random.randrange(1, 30)]
            else:
                data[at:at] = data[at : at + random.randrange(1, 30)]
        try:
            tile = read(write(tmp_path, bytes(data), name))
            assert len(tile.mesh) and np.isfinite(tile.mesh.triangles).all()
            tiles += 1
        except InputError as error:
            assert name in str(error)
    assert tiles > 10
