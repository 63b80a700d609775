"""OBJ files that are broken or made to harm: an error or a reported skip, in bounded time and memory."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
import time
from random import Random

import numpy as np
import pytest

from aerialworld_city.geodesy import Projection
from aerialworld_city.options import ConversionOptions
from aerialworld_city.readers import obj_lines
from aerialworld_city.readers.obj import read_obj
from aerialworld_city.sources.files import SourceFile
from aerialworld_core.errors import InputError, UnsafeInputError

NINE = Projection(6677)
GOOD = """# COORDINATE_SYSTEM: PROJCS["JGD2011 / Japan Plane Rectangular CS IX",AUTHORITY["EPSG","6677"]]
v -8000 -37000 3
v -7990 -37000 3
v -7990 -36994 3
v -8000 -36994 3
v -8000 -37000 8
v -7990 -37000 8
v -7990 -36994 8
v -8000 -36994 8
vt 0 0
vt 1 0
g bldg_0a1b2c3d-0000-4000-8000-000000000001
usemtl a
f 4 3 2 1
f 5/1 6/2 7/1 8/2
f 1/1/1 2/2/1 6/1/1 5/1/1
f 2//1 3//1 7//1 6//1
f -6 -5 -1 -2
f 4 1 5 8
"""
#: A second box 100 m away, good in every case.
OTHER = "".join(f"v {int(x) + 100} {y} {z}\n" for x, y, z in re.findall(r"^v (\S+) (\S+) (\S+)", GOOD, re.MULTILINE))
OTHER_FACES = "g other\nf 12 11 10 9\nf 13 14 15 16\nf 9 10 14 13\nf 10 11 15 14\nf 11 12 16 15\nf 12 9 13 16\n"


def read(path, **options):
    return read_obj(SourceFile(path, path.name, "bldg", "obj", path.parent), NINE, ConversionOptions(**options))


def read_text(tmp_path, text, name="x_bldg_6677.obj"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(path)


def test_the_good_file_is_good(tmp_path):
    tile = read_text(tmp_path, GOOD)
    assert tile.features[0].volume == pytest.approx(300) and tile.features[0].closed


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ('"6677"', '"31467"', "EPSG:31467"),
        ("v -7990 -37000 3", "v -7990 east 3", "line 3"),
        ("v -7990 -37000 3", "v -7990", "line 3"),
        ("v -7990 -37000 3", "v 1_0 -37000 3", "line 3"),
        ("v -7990 -37000 3", "v -7990 -37000 0x3", "line 3"),
        ("vt 1 0", "vt", "line 11"),
        ("vt 1 0", "vt one", "line 11"),
        ("f 4 3 2 1", "f 4 3", "line 14"),
        ("f 4 3 2 1", "f 4 x 2 1", "line 14"),
        ("f 4 3 2 1", "f 4 1_0 2 1", "line 14"),
        ("f 4 3 2 1", "f 4 3.5 2 1", "line 14"),
        ("f 4 3 2 1", "f 4 / 2 1", "line 14"),
        ("f 4 3 2 1", "f 4 3 2 999999999999", "line 14.*vertex 999999999999"),
        ("f 4 3 2 1", "f 4 3 2 2147483648", "line 14.*vertex 2147483648.*8"),
        ("f 4 3 2 1", "f 4 3 2 4294967297", "line 14"),
        ("f 4 3 2 1", "f 4 3 2 " + "9" * 60, "line 14"),
        ("f 4 3 2 1", "f 4 3 2 -" + "9" * 60, "line 14"),
        ("f 4 3 2 1", "f 0 3 2 1", "vertex 0"),
        ("f -6 -5 -1 -2", "f -6 -5 -1 -9", "line 18.*-9"),
        ("f 5/1 6/2 7/1 8/2", "f 5/1 6/3 7/1 8/2", "line 15.*texture coordinate 3"),
        ("f 5/1 6/2 7/1 8/2", "f 5/1 6/-3 7/1 8/2", "line 15.*-3"),
        ("f 4 3 2 1", "f" + " 1" * 5000, "line 14.*1024"),
        ("f ", "# ", "vertices"),
        ("v ", "# ", "line 18.*0 so far"),
        ("v -8000 -37000 3", "v nan -37000 3", "no usable face"),
        ("v -8000 -37000 3", "v 1e300 -37000 3", "no usable face"),
        ("v -8000 -37000 3", "v -8000 -37000 9999999", "no usable face"),
    ],
)
def test_broken_files_name_file_and_line_or_reason(tmp_path, old, new, match):
    assert old in GOOD
    with pytest.raises(InputError, match=rf"x_bldg_6677\.obj.*{match}"):
        read_text(tmp_path, GOOD.replace(old, new))


@pytest.mark.parametrize("word", ["nan", "inf", "-inf", "1e9", "1e308", "-2000000"])
def test_a_piece_with_a_vertex_that_is_no_place_is_skipped_alone(tmp_path, word):
    text = GOOD.replace("v -7990 -36994 8", f"v {word} -36994 8").replace("vt 0 0\n", OTHER + "vt 0 0\n")
    tile = read_text(tmp_path, text.replace("f -6 -5 -1 -2", "f 3 4 8 7") + OTHER_FACES)
    assert [f.id for f in tile.features] == ["other"] and tile.features[0].volume == pytest.approx(300)
    assert [s.id for s in tile.skipped] == ["bldg_0a1b2c3d-0000-4000-8000-000000000001"]
    assert "not a place" in tile.skipped[0].reason and np.isfinite(tile.mesh.triangles).all()
    assert len(tile.mesh) == 12


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "empty"),
        (gzip.compress(GOOD.encode()), "gzip"),
        (b"PK\x03\x04" + bytes(100), "zip"),
        (b"BZh91AY" + bytes(100), "bzip2"),
        (bytes(1000), "vertices"),
        (b"\xff" * 1000, "vertices"),
        (b"\n" * 1000, "vertices"),
        (b"v", "vertices|three numbers"),
        (b"\\\n" * 1000, "vertices"),
    ],
)
def test_what_is_no_obj_file(tmp_path, data, match):
    with pytest.raises(InputError, match=match):
        read_text(tmp_path, data)


def test_a_folder_a_missing_file_and_endless_statements(tmp_path, monkeypatch):
    (tmp_path / "a.obj").mkdir()
    for name in ("a.obj", "none.obj"):
        with pytest.raises(InputError, match=name):
            read(tmp_path / name)
    monkeypatch.setattr(obj_lines, "MAX_STATEMENTS", 100_000)
    monkeypatch.setattr(obj_lines, "_MAX_ODD_LINES", 100_000)
    begin = time.process_time()
    with pytest.raises(UnsafeInputError, match="usemtl"):
        read_text(tmp_path, GOOD + "g\n" * 110_000)
    with pytest.raises(InputError, match="mixes"):
        read_text(tmp_path, GOOD + "f 1/1 2 3\n" * 100_100)
    assert time.process_time() - begin < 2  # a million of each, the limits as they are, take ten times as long


def test_a_soup_of_triangles_that_touch_nowhere_is_no_city(tmp_path, monkeypatch):
    from aerialworld_city.readers import mesh_features

    monkeypatch.setattr(mesh_features, "MAX_FEATURES", 10)
    corners = "".join(f"v {-8000 + i} {-37000 + i % 3} {i % 2}\n" for i in range(33))
    faces = "".join(f"f {3 * i + 1} {3 * i + 2} {3 * i + 3}\n" for i in range(11))
    with pytest.raises(UnsafeInputError, match=r"x_bldg_6677\.obj.*11 pieces"):
        read_text(tmp_path, corners + faces)
    with pytest.raises(UnsafeInputError, match="libraries"):
        read_text(tmp_path, "".join(f"mtllib {i}.mtl\n" for i in range(1001)) + GOOD)


def test_equal_and_degenerate_faces_change_no_volume(tmp_path):
    text = GOOD + "f 1 1 2\nf 1 2 1\nf 5 5 5\n"
    tile = read_text(tmp_path, text)
    assert tile.counts["collapsed triangles dropped"] == 3 and tile.features[0].volume == pytest.approx(300)


def test_a_name_cannot_carry_control_characters_or_be_endless(tmp_path):
    text = GOOD.replace("g bldg_0a1b2c3d-0000-4000-8000-000000000001", "g tower\x1b[31m\x07<b>" + "x" * 5000)
    name = read_text(tmp_path, text).features[0].id
    assert len(name) <= 200 and name.isprintable() and name.startswith("tower")


WORDS = [
    b"nan",
    b"inf",
    b"1e9",
    b"1e308",
    b"-1",
    b"0",
    b"",
    b"/",
    b"//",
    b"\\\n",
    b"9" * 30,
    b"-9999",
    b" ",
    b"\r",
    b"\0",
]


def mutated(data, random):
    data = bytearray(data)
    for _ in range(random.choice([1, 1, 2, 5])):
        start = random.randrange(max(len(data) - 50, 1))
        kind = random.random()
        if kind < 0.55:
            begin, end = random.choice([m.span() for m in re.finditer(rb"[-0-9.]+", bytes(data))])
            data[begin:end] = random.choice(WORDS)
        elif kind < 0.7:
            data[start] = random.randrange(256)
        elif kind < 0.85:
            del data[start : start + random.randrange(1, 50)]
        else:
            data[start:start] = data[start : start + random.randrange(1, 100)]
    return bytes(data)


def test_mutated_files_end_in_a_tile_or_our_error(tmp_path):
    random = Random(3)  # noqa: S311 - mutations, no secrets
    outcomes = {"tile": 0, "error": 0}
    for _ in range(400):
        try:
            tile = read_text(tmp_path, mutated(GOOD.encode(), random))
            assert len(tile.mesh) and np.isfinite(tile.mesh.triangles).all()
            assert tile.mesh.feature.max() < len(tile.features) and (np.diff(tile.mesh.feature) >= 0).all()
            outcomes["tile"] += 1
        except InputError as error:
            assert "x_bldg_6677.obj" in str(error)
            outcomes["error"] += 1
    assert min(outcomes.values()) > 50


CHILD = """
import resource, sys
from pathlib import Path
from aerialworld_city.geodesy import Projection
from aerialworld_city.options import ConversionOptions
from aerialworld_city.readers import obj_lines
from aerialworld_city.readers.obj import read_obj
from aerialworld_city.sources.files import SourceFile
path = Path(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
tile = read_obj(SourceFile(path, path.name, "bldg", "obj", path.parent), Projection(6677), ConversionOptions())
print(len(tile.features), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_large_file_takes_no_multiple_of_python_objects(tmp_path):
    """32 MB, 38,000 boxes: as lists of words the lines alone would take over 500 MB."""
    count = 38_000
    corners = np.array([(x, y, z) for z in (0, 5) for x, y in ((0, 0), (10, 0), (10, 6), (0, 6))], float)
    quads = np.array([(4, 3, 2, 1), (5, 6, 7, 8), (1, 2, 6, 5), (2, 3, 7, 6), (3, 4, 8, 7), (4, 1, 5, 8)])
    path = tmp_path / "x_bldg_6677.obj"
    with open(path, "w") as handle:
        for i in range(count):
            place = corners + np.array([-8000 + 20 * (i % 200), -37000 + 20 * (i // 200), 3])
            handle.write("".join("v {:.6f} {:.6f} {:.6f}\n".format(*p) for p in place))
            handle.write("".join("f {} {} {} {}\n".format(*q) for q in (quads + 8 * i).tolist()))
    result = subprocess.run([sys.executable, "-c", CHILD, str(path)], capture_output=True, text=True, check=True)
    features, kilobytes = map(int, result.stdout.split())
    assert features == count
    assert kilobytes < 12 * path.stat().st_size / 1024
