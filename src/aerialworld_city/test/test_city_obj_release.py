"""The OBJ release: the real LOD1 tile of Roppongi, and a LOD2 release made of the real buildings of Haneda."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from aerialworld_city.features import Surface
from aerialworld_city.geodesy import Projection
from aerialworld_city.options import ConversionOptions
from aerialworld_city.readers.obj import read_obj
from aerialworld_city.sources.files import SourceFile
from aerialworld_core.errors import InputError

SHARED = Path(os.environ.get("AERIALWORLD_SHARED", Path(__file__).resolve().parents[4] / "shared"))
PLATEAU = SHARED / "data" / "plateau"
real = pytest.mark.skipif(not PLATEAU.is_dir(), reason=f"no real PLATEAU files below {PLATEAU}")
NINE = Projection(6677)
HEADER = '# COORDINATE_SYSTEM: PROJCS["JGD2011 / Japan Plane Rectangular CS IX",AUTHORITY["EPSG","6677"]]\n'


def obj_file(path, module="bldg", root=None, lod=None):
    return SourceFile(path, path.name, module, "obj", root or path.parent, None, lod)


def read(path, options=None, projection=NINE, **kwargs):
    return read_obj(obj_file(path, **kwargs), projection, options or ConversionOptions())


def box_lines(east=-8000.0, north=-37000.0, base=3.0, size=(10.0, 6.0, 5.0), first=1):
    """Eight vertices and six outward quads."""
    x, y, z = size
    corners = [(0, 0, 0), (x, 0, 0), (x, y, 0), (0, y, 0), (0, 0, z), (x, 0, z), (x, y, z), (0, y, z)]
    lines = [f"v {east + a} {north + b} {base + c}" for a, b, c in corners]
    quads = [(4, 3, 2, 1), (5, 6, 7, 8), (1, 2, 6, 5), (2, 3, 7, 6), (3, 4, 8, 7), (4, 1, 5, 8)]
    return "\n".join(lines) + "\n", ["f " + " ".join(str(i + first - 1) for i in q) for q in quads]


def box(**kwargs):
    vertices, faces = box_lines(**kwargs)
    return vertices + "\n".join(faces) + "\n"


@real
def test_the_roppongi_tile_is_read_as_it_stands():
    folder = next(PLATEAU.glob("06_*")) / "demoSrc"
    path = next(folder.glob("*_bldg_*.obj"))
    begin = time.process_time()
    tile = read(path, lod=1)
    assert time.process_time() - begin < 1.5
    assert len(tile.features) == 915 and len(tile.mesh) == 42424 and not tile.skipped
    assert tile.counts["vertices"] == 22968 and tile.counts["Building LOD1"] == 915
    assert sum(f.closed for f in tile.features) >= 914 and all(f.volume > 0 for f in tile.features)
    assert (np.diff(tile.mesh.feature) >= 0).all() and tile.mesh.uv is None and (tile.mesh.material == -1).all()
    # The same triangles, parsed line by line in plain Python.
    rows = [line.split() for line in path.read_text().splitlines()]
    vertices = np.array([[float(x) for x in r[1:4]] for r in rows if r[:1] == ["v"]])
    faces = np.array([[int(x) for x in r[1:4]] for r in rows if r[:1] == ["f"]]) - 1
    want, got = vertices[faces].reshape(-1, 9), tile.mesh.triangles.reshape(-1, 9)
    assert np.array_equal(want[np.lexsort(want.T)], got[np.lexsort(got.T)])  # none turned: all were outward
    heights = [np.ptp(tile.mesh.triangles[tile.mesh.feature == i, :, 2]) for i in range(915)]
    assert max(heights) == pytest.approx(235.46, abs=0.005) and np.median(heights) == pytest.approx(10.27, abs=0.01)
    ground = read(next(folder.glob("*_dem_*.obj")), module="dem")
    assert ground.terrain.shape == (44663, 3, 3) and not ground.features and len(ground.mesh) == 0
    assert ground.terrain[..., 2].min() == pytest.approx(2.07, abs=0.005)


@pytest.fixture(scope="module")
def haneda(tmp_path_factory):
    """The nine LOD2 buildings of set 01 as a tile, and written as an OBJ release."""
    if not PLATEAU.is_dir():
        pytest.skip(f"no real PLATEAU files below {PLATEAU}")
    from aerialworld_city.tiles.build import build_tile

    path = next(next(PLATEAU.glob("01_*")).rglob("*_bldg_*.gml"))
    root = next(PLATEAU.glob("01_*"))
    tile = build_tile(SourceFile(path, path.name, "bldg", "citygml", root), NINE, ConversionOptions())
    out = tmp_path_factory.mktemp("release")
    folder = out / "LOD2" / "53392633"
    (folder / "materials_textures").mkdir(parents=True)
    library, body = ["newmtl plain", "Kd 0.5 0.25 0.75"], [HEADER + "mtllib materials.mtl"]
    for i, material in enumerate(tile.materials):
        image = Path(material.image).name
        shutil.copy(path.parent / material.image, folder / "materials_textures" / image)
        library += [f"newmtl m{i}", "Kd 1 1 1", f"map_Kd materials_textures\\{image}" if i % 2 else
                    f"map_Kd materials_textures/{image}"]  # fmt: skip
    state = None
    for row in range(len(tile.mesh)):
        wanted = (int(tile.mesh.feature[row]), int(tile.mesh.material[row]))
        if wanted != state:
            body += [f"g {tile.features[wanted[0]].id}", "usemtl " + (f"m{wanted[1]}" if wanted[1] >= 0 else "plain")]
            state = wanted
        body += ["v {:.9f} {:.9f} {:.9f}".format(*p) for p in tile.mesh.triangles[row]]
        body += ["vt {:.9f} {:.9f}".format(*p) for p in tile.mesh.uv[row]]
        body.append("f -3/-3 -2/-2 -1/-1" if wanted[1] >= 0 else "f -3 -2 -1")
    (folder / "53392633_bldg_6677.obj").write_text("\n".join(body) + "\n")
    (folder / "materials.mtl").write_text("\n".join(library) + "\n")
    return tile, folder / "53392633_bldg_6677.obj", out


def test_a_lod2_release_gives_the_same_triangles_uv_and_images(haneda):
    want, path, root = haneda
    got = read(path, root=root, lod=2)
    assert [f.id for f in got.features] == [f.id for f in want.features] and not got.skipped
    assert all(f.lod == 2 for f in got.features) and got.counts["Building LOD2"] == len(want.features) == 9
    assert np.array_equal(got.mesh.feature, want.mesh.feature) and len(got.mesh) == len(want.mesh)
    # A shell may be turned; the corners' set says that the triangles are the same.
    same = np.abs(np.sort(got.mesh.triangles, axis=1) - np.sort(want.mesh.triangles, axis=1)).max()
    assert same < 1e-8
    pictured = want.mesh.material >= 0
    assert pictured.sum() > 500
    names = [Path(m.image).name if m.image else None for m in got.materials]
    assert [names[m] for m in got.mesh.material[pictured]] == [
        Path(want.materials[m].image).name for m in want.mesh.material[pictured]
    ]
    assert all((path.parent / m.image).is_file() for m in got.materials if m.image)
    plain = got.materials[int(got.mesh.material[~pictured][0])]
    assert plain.image is None and plain.colour == (0.5, 0.25, 0.75)
    # At every corner the same texture place as in the CityGML, whichever way the triangle is wound.
    order_got = np.lexsort(np.moveaxis(got.mesh.triangles.round(6), 2, 0), axis=1)
    order_want = np.lexsort(np.moveaxis(want.mesh.triangles.round(6), 2, 0), axis=1)
    uv_got = np.take_along_axis(got.mesh.uv, order_got[..., None], axis=1)[pictured]
    uv_want = np.take_along_axis(want.mesh.uv, order_want[..., None], axis=1)[pictured]
    assert np.abs(uv_got - uv_want).max() < 1e-6
    # The triangles leave out corners on straight lines; the shells are closed all the same.
    assert [f.closed for f in got.features] == [f.closed for f in want.features] and got.changed == {}
    assert [f.volume for f in got.features] == pytest.approx([f.volume for f in want.features], rel=1e-6)


def test_reading_twice_gives_equal_bytes(haneda):
    _, path, root = haneda
    a, b = read(path, root=root), read(path, root=root)
    assert a.mesh.triangles.tobytes() == b.mesh.triangles.tobytes() and a.materials == b.materials
    assert a.mesh.uv.tobytes() == b.mesh.uv.tobytes()
    assert [vars(f) for f in a.features] == [vars(f) for f in b.features]


def test_another_zone_is_reprojected_exactly(tmp_path):
    path = tmp_path / "x_bldg_6677.obj"
    path.write_text(box())
    eight = Projection(6676)
    tile = read(path, projection=eight)
    latitude, longitude = eight.inverse(tile.mesh.triangles[..., 0], tile.mesh.triangles[..., 1])
    east, north = NINE.forward(latitude, longitude)
    assert np.unique(np.round(east, 5)).tolist() == [-8000, -7990]
    assert np.unique(np.round(north, 5)).tolist() == [-37000, -36994]
    assert tile.epsg == 6676


def test_what_says_where_an_obj_file_is(tmp_path):
    path = tmp_path / "x_bldg_6677.obj"
    path.write_text(HEADER.replace("6677", "6676") + box())
    assert read(path, projection=Projection(6676)).mesh.triangles[..., 0].min() == -8000  # the header before the name
    bare = tmp_path / "house.obj"
    bare.write_text(box(east=0, north=0, base=0))
    with pytest.raises(InputError, match=r"house\.obj.*--crs.*--origin"):
        read(bare)
    assert read(bare, ConversionOptions(crs=6677)).mesh.triangles.reshape(-1, 3).max(axis=0).tolist() == [10, 6, 5]
    latitude, longitude = NINE.inverse(-8000.0, -37000.0)
    placed = read(bare, ConversionOptions(origin=(latitude, longitude))).mesh.triangles.reshape(-1, 3)
    assert placed.min(axis=0) == pytest.approx([-8000, -37000, 0], abs=1e-6)
    assert placed.max(axis=0) == pytest.approx([-7990, -36994, 5], abs=1e-6)
    with pytest.raises(InputError, match=r"leave --crs out"):
        read(bare, ConversionOptions(crs=6677, origin=(latitude, longitude)))
    up = read(bare, ConversionOptions(crs=6677, up="y")).mesh.triangles.reshape(-1, 3)
    assert up.min(axis=0).tolist() == [0, -5, 0] and up.max(axis=0).tolist() == [10, 0, 6]


UUID = "bldg_0a1b2c3d-0000-4000-8000-00000000000"


def test_groups_name_buildings_only_where_they_can(tmp_path):
    vertices = "".join(box_lines(east=-8000.0 + 20 * i)[0] for i in range(6))
    faces = [box_lines(first=1 + 8 * i)[1] for i in range(6)]
    text = HEADER + vertices
    text += f"g {UUID}1\n" + "\n".join(faces[0] + faces[1]) + "\n"  # an identifier: two pieces, one building
    text += "g tower\n" + "\n".join(faces[2]) + "\n"  # a name of one whole piece
    text += "g shops\n" + "\n".join(faces[3] + faces[4][:3]) + "\n"  # a name of more than one piece
    text += "g rest\n" + "\n".join(faces[4][3:]) + "\n"
    text += f"g {UUID}2_roof\n" + faces[5][1] + f"\ng {UUID}2_wall\n" + "\n".join(faces[5][2:]) + "\n"
    path = tmp_path / "53393599_bldg_6677.obj"
    path.write_text(text)
    tile = read(path)
    stem = "53393599_bldg_6677"
    assert [f.id for f in tile.features] == [
        f"{UUID}1", "tower", f"{stem}_00003", f"{stem}_00004", f"{UUID}2",
    ]  # fmt: skip
    assert [round(f.volume, 6) for f in tile.features] == [600, 300, 300, 300, 0]
    assert [f.closed for f in tile.features] == [True, True, True, True, False]
    assert tile.mesh.double[tile.mesh.feature == 4].all() and not tile.mesh.double[tile.mesh.feature < 4].any()


def test_inward_boxes_are_turned_and_surfaces_found_by_slope(tmp_path):
    vertices, faces = box_lines()
    inward = ["f " + " ".join(reversed(f.split()[1:])) for f in faces]
    path = tmp_path / "x_6677.obj"
    path.write_text(vertices + "\n".join(inward))
    tile = read(path)
    assert tile.features[0].volume == pytest.approx(300) and sum(tile.changed.values()) == 12
    t = tile.mesh.triangles - tile.mesh.triangles[0, 0]
    assert (t[:, 0] * np.cross(t[:, 1], t[:, 2])).sum() / 6 == pytest.approx(300)
    counts = np.bincount(tile.mesh.surface, minlength=4)
    assert counts[Surface.ROOF] == 2 and counts[Surface.GROUND] == 2 and counts[Surface.WALL] == 8


def test_polygons_with_many_corners_keep_their_area(tmp_path):
    """A prism over an L (concave, with a corner on a straight side) as two caps of seven corners and seven quads."""
    ring = np.array([(0, 0), (5, 0), (10, 0), (10, 4), (4, 4), (4, 9), (0, 9)], float)
    n = len(ring)
    lines = [f"v {x - 8000} {y - 37000} {z}" for z in (2, 12) for x, y in ring]
    lines.append("f " + " ".join(str(i) for i in range(n, 0, -1)))
    lines.append("f " + " ".join(str(i + n) for i in range(1, n + 1)))
    lines += [f"f {i + 1} {(i + 1) % n + 1} {(i + 1) % n + 1 + n} {i + 1 + n}" for i in range(n)]
    path = tmp_path / "l_6677.obj"
    path.write_text("\n".join(lines))
    tile = read(path)
    area = 10 * 4 + 4 * 5
    assert tile.features[0].closed and tile.features[0].volume == pytest.approx(10 * area)
    n_ = np.cross(
        tile.mesh.triangles[:, 1] - tile.mesh.triangles[:, 0], tile.mesh.triangles[:, 2] - tile.mesh.triangles[:, 0]
    )
    top = tile.mesh.surface == Surface.ROOF
    assert np.linalg.norm(n_[top], axis=1).sum() / 2 == pytest.approx(area) and (n_[top, 2] > -1e-9).all()


def split_side(lines, along=0.5, off=0.0):
    """The box's side y = 0 as three triangles over a corner on its upper edge, which the top does not have."""
    vertices, faces = lines
    vertices += f"v {-8000 + 10 * along} {-37000 - off} 8\n"
    return vertices, [f for f in faces if f != "f 1 2 6 5"] + ["f 1 2 9", "f 2 6 9", "f 1 9 5"]


@pytest.mark.parametrize(("along", "off", "closed"), [(0.5, 0, True), (0.001, 0.0005, True), (0.5, 0.01, False)])
def test_a_corner_on_a_neighbours_edge_leaves_the_shell_closed(tmp_path, along, off, closed):
    vertices, faces = split_side(box_lines(), along, off)
    path = tmp_path / "x_6677.obj"
    for order in (1, -1):  # outward and inward
        turned = ["f " + " ".join(f.split()[1:][::order]) for f in faces]
        path.write_text(vertices + "\n".join(turned))
        tile = read(path)
        assert tile.features[0].closed is closed and len(tile.mesh) == 13
        assert tile.mesh.double.any() != closed
        if closed:
            assert tile.features[0].volume == pytest.approx(300, abs=0.05)
    path.write_text(vertices + "\n".join(faces[:-1]))  # a real hole stays one
    assert not read(path).features[0].closed


@pytest.mark.parametrize("form", ["{v}", "{v}/{t}", "{v}//{n}", "{v}/{t}/{n}"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "  \\\n"])
def test_every_form_of_a_corner_means_the_same(tmp_path, form, ending):
    vertices, faces = box_lines()
    text = vertices.replace("\n", " 0.5 0.5 0.5\n") + "vt 0 0\nvt 4.5 -3 0\nvt 1\nvn 0 0 1\n"
    for k, face in enumerate(faces):
        words = [
            form.format(v=int(w) if k % 2 else int(w) - 9, t=1 + i % 3, n=-1) for i, w in enumerate(face.split()[1:])
        ]
        middle = " " if ending != "  \\\n" else ending
        text += "f " + middle.join(words) + (ending if ending != "  \\\n" else "\n")
    path = tmp_path / "x_6677.obj"
    path.write_bytes(text.encode())
    tile = read(path)
    assert tile.features[0].volume == pytest.approx(300) and tile.features[0].closed and len(tile.mesh) == 12


def test_blocks_do_not_change_what_is_read(tmp_path, monkeypatch):
    from aerialworld_city.readers import obj_lines

    vertices = "".join(box_lines(east=-8000.0 + 20 * i)[0] for i in range(40))
    text = vertices + "".join(f"o b{i}\n" + "\n".join(box_lines(first=1 + 8 * i)[1]) + "\n" for i in range(40))
    text = text.replace("f 4 3 2 1\n", "f 4 3 \\\n 2 1\n")
    path = tmp_path / "x_6677.obj"
    path.write_text(text)
    whole = read(path)
    monkeypatch.setattr(obj_lines, "_BLOCK", 97)
    parts = read(path)
    assert parts.mesh.triangles.tobytes() == whole.mesh.triangles.tobytes()
    assert [f.id for f in parts.features] == [f.id for f in whole.features] == [f"b{i}" for i in range(40)]
    path.write_text(text + "f 1 2 x\n")
    with pytest.raises(InputError, match=f"line {len(text.splitlines()) + 1}: 'f 1 2 x'"):
        read(path)
