"""glTF as a city: node transforms, axes, materials, embedded images; files that are broken or made to harm."""

from __future__ import annotations

import base64
import gzip
import io
import json
import struct
import subprocess
import sys
import time
from random import Random

import numpy as np
import pytest
import trimesh
from PIL import Image

from aerialworld_city.features import Material
from aerialworld_city.geodesy import Projection
from aerialworld_city.options import ConversionOptions
from aerialworld_city.readers.embedded import embedded_image
from aerialworld_city.readers.mesh import read_mesh
from aerialworld_city.sources.files import SourceFile
from aerialworld_core.errors import InputError, UnsafeInputError

NINE = Projection(6677)
ORIGIN = np.array([-8000.0, -37000.0, 0.0])
LATITUDE, LONGITUDE = NINE.inverse(*ORIGIN[:2])
LOCAL = ConversionOptions(origin=(LATITUDE, LONGITUDE))


def read(path, options=LOCAL, root=None, module="bldg"):
    return read_mesh(SourceFile(path, path.name, module, "mesh", root or path.parent), NINE, options)


def png(colour, size=4):
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(buffer, "PNG")
    return buffer.getvalue()


class Builder:
    """A glTF document and its binary, written by hand from the specification."""

    def __init__(self):
        self.blob = bytearray()
        self.json = {"asset": {"version": "2.0", "generator": "test"}, "scene": 0, "scenes": [{"nodes": []}],
                     "nodes": [], "meshes": [], "accessors": [], "bufferViews": [], "materials": []}  # fmt: skip

    def view(self, data):
        self.blob += bytes(-len(self.blob) % 4)
        self.json["bufferViews"].append({"buffer": 0, "byteOffset": len(self.blob), "byteLength": len(data)})
        self.blob += data
        return len(self.json["bufferViews"]) - 1

    def accessor(self, array, kind, **extra):
        code = {"f4": 5126, "u4": 5125, "u2": 5123, "u1": 5121, "i2": 5122}[array.dtype.str[1:]]
        self.json["accessors"].append(
            {
                "bufferView": self.view(array.tobytes()),
                "componentType": code,
                "count": len(array),
                "type": kind,
                **extra,
            }
        )
        return len(self.json["accessors"]) - 1

    def mesh(self, vertices, faces=None, uv=None, material=None, mode=None):
        primitive = {"attributes": {"POSITION": self.accessor(np.asarray(vertices, "<f4"), "VEC3")}}
        if faces is not None:
            primitive["indices"] = self.accessor(np.asarray(faces, "<u4").reshape(-1), "SCALAR")
        if uv is not None:
            primitive["attributes"]["TEXCOORD_0"] = self.accessor(np.asarray(uv, "<f4"), "VEC2")
        if material is not None:
            primitive["material"] = material
        if mode is not None:
            primitive["mode"] = mode
        self.json["meshes"].append({"primitives": [primitive]})
        return len(self.json["meshes"]) - 1

    def node(self, *, root=True, **fields):
        self.json["nodes"].append(fields)
        if root:
            self.json["scenes"][0]["nodes"].append(len(self.json["nodes"]) - 1)
        return len(self.json["nodes"]) - 1

    def glb(self):
        document = {k: v for k, v in self.json.items() if v != []}
        document["buffers"] = [{"byteLength": len(self.blob)}]
        text = json.dumps(document).encode()
        text += b" " * (-len(text) % 4)
        blob = bytes(self.blob) + bytes(-len(self.blob) % 4)
        chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(blob), 0x004E4942) + blob
        return struct.pack("<III", 0x46546C67, 2, 12 + len(chunks)) + chunks

    def gltf(self, uri=None):
        uri = uri or "data:application/octet-stream;base64," + base64.b64encode(bytes(self.blob)).decode()
        document = {k: v for k, v in self.json.items() if v != []}
        document["buffers"] = [{"byteLength": len(self.blob), "uri": uri}]
        return json.dumps(document).encode()


BOX = trimesh.creation.box((10, 6, 5))  # about the origin


def box_builder(**node):
    b = Builder()
    b.node(mesh=b.mesh(BOX.vertices, BOX.faces), **node)
    return b


def write(tmp_path, data, name="x.glb"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def test_y_is_up_by_the_specification_unless_told_otherwise(tmp_path):
    path = write(tmp_path, box_builder().glb())
    for options, extent in [
        (LOCAL, [10, 5, 6]),
        (ConversionOptions(origin=LOCAL.origin, up="y"), [10, 5, 6]),
        (ConversionOptions(origin=LOCAL.origin, up="z"), [10, 6, 5]),
    ]:
        tile = read(path, options)
        assert np.ptp(tile.mesh.triangles.reshape(-1, 3), axis=0) == pytest.approx(extent, abs=1e-6)
        assert tile.features[0].volume == pytest.approx(300) and not tile.changed
    b = Builder()  # a point to the south (glTF +z) and up (glTF +y)
    b.node(mesh=b.mesh([(0, 0, 0), (0, 0, 7), (0, 3, 0)], [(0, 1, 2)]))
    corners = read(write(tmp_path, b.glb())).mesh.triangles[0] - ORIGIN
    assert corners == pytest.approx(np.array([(0, 0, 0), (0, -7, 0), (0, 0, 3)], float), abs=1e-6)


def test_a_file_that_aerialworld_wrote_is_z_up(tmp_path):
    b = box_builder()
    b.json["asset"]["generator"] = "AerialWorld"
    tile = read(write(tmp_path, b.glb()))
    assert np.ptp(tile.mesh.triangles.reshape(-1, 3), axis=0) == pytest.approx([10, 6, 5], abs=1e-6)


def turn(axis, degrees):
    return trimesh.transformations.rotation_matrix(np.radians(degrees), axis)


def test_a_scene_of_nested_nodes_comes_back_as_trimesh_places_it(tmp_path):
    scene = trimesh.Scene()
    scene.add_geometry(BOX, geom_name="box", node_name="a", transform=turn([0, 1, 0], 30))
    above = turn([1, 2, 3], 50)
    above[:3, 3] = 40, 3, -20
    scene.add_geometry(
        trimesh.creation.cylinder(3, 8, sections=12), node_name="b", parent_node_name="a", transform=above
    )
    mirror = np.diag([-2.0, 1.0, 0.5, 1.0])
    mirror[:3, 3] = -60, 0, 10
    scene.add_geometry(BOX, geom_name="box2", node_name="c", transform=mirror)
    tile = read(write(tmp_path, scene.export(file_type="glb")))
    want = {}
    for node in ("a", "b", "c"):
        matrix, name = scene.graph[node]
        mesh = scene.geometry[name].copy().apply_transform(matrix)  # trimesh turns mirrored faces round
        want[node] = (mesh.vertices[:, [0, 2, 1]] * [1, -1, 1] + ORIGIN, abs(mesh.volume))
    assert [f.id for f in tile.features] == ["a", "b", "c"] and all(f.closed for f in tile.features)
    for i, (node, (vertices, volume)) in enumerate(want.items()):
        got = tile.mesh.triangles[tile.mesh.feature == i].reshape(-1, 3)
        assert tile.features[i].volume == pytest.approx(volume, rel=1e-5), node
        distance = np.linalg.norm(got[:, None] - vertices[None], axis=2)
        assert distance.min(axis=1).max() < 1e-4 and distance.min(axis=0).max() < 1e-4
    assert tile.changed == {}  # nothing had to be turned: the mirror turned its faces round


def test_translations_are_kept_in_double_precision(tmp_path):
    b = box_builder(translation=[-8123.456789, 12.5, 37012.345678])
    tile = read(write(tmp_path, b.glb()), ConversionOptions(crs=6677))
    middle = (tile.mesh.triangles.reshape(-1, 3).min(axis=0) + tile.mesh.triangles.reshape(-1, 3).max(axis=0)) / 2
    assert middle == pytest.approx([-8123.456789, -37012.345678, 12.5], abs=1e-7) and not tile.notes


def test_strips_fans_and_bare_lists_are_the_same_square(tmp_path):
    square = [(0, 0, 0), (10, 0, 0), (10, 0, -10), (0, 0, -10)]
    strip, fan = [square[0], square[1], square[3], square[2]], square
    plain = [square[i] for i in (0, 1, 2, 0, 2, 3)]
    for vertices, mode in ((strip, 5), (fan, 6), (plain, 4), (plain, None)):
        b = Builder()
        b.node(mesh=b.mesh(vertices, mode=mode))
        t = read(write(tmp_path, b.glb())).mesh.triangles
        n = np.cross(t[:, 1] - t[:, 0], t[:, 2] - t[:, 0])
        assert n.sum(axis=0) == pytest.approx([0, 0, 200]) and (n[:, 2] > 0).all()
    b.node(mesh=b.mesh(square, mode=1))
    assert "points and lines" in read(write(tmp_path, b.glb())).notes[0]


def textured(image, **texture):
    b = Builder()
    b.json["images"] = [image]
    b.json["textures"] = [{"source": 0}]
    b.json["materials"] = [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0, **texture}}}]
    uv = [(0, 0), (1, 0), (3.5, -2)]
    b.node(mesh=b.mesh([(0, 0, 0), (10, 0, 0), (0, 10, 0)], [(0, 1, 2)], uv, 0))
    return b


def test_embedded_images_are_found_where_they_lie(tmp_path):
    picture = png((255, 0, 0))
    b = textured({})
    b.json["images"][0] = {"bufferView": b.view(picture), "mimeType": "image/png"}
    tile = read(write(tmp_path, b.glb()))
    material = tile.materials[0]
    assert material.image == "x.glb" and embedded_image(tmp_path / material.image, material.span) == picture
    # glTF's v runs down from the top; the tile's runs up from the bottom.
    assert tile.mesh.uv[0].tolist() == [[0, 1], [1, 1], [3.5, 3]]
    uri = "data:image/png;base64," + base64.b64encode(picture).decode()
    for text in (textured({"uri": uri}).gltf(), textured({"uri": uri}).gltf().replace(b"/", b"\\/"),
                 textured({"uri": uri}).glb()):  # fmt: skip
        path = write(tmp_path, text, "y.glb" if text[:4] == b"glTF" else "y.gltf")
        material = read(path).materials[0]
        assert material.image == path.name and embedded_image(path, material.span) == picture
    (tmp_path / "part.bin").write_bytes(bytes(b.blob))
    material = read(write(tmp_path, b.gltf("part.bin"), "z.gltf")).materials[0]
    assert material.image == "part.bin" and embedded_image(tmp_path / "part.bin", material.span) == picture
    with pytest.raises(InputError, match="cut off"):
        embedded_image(tmp_path / "part.bin", (material.span[0], 10**6))


def test_images_beside_the_file_and_outside_the_source(tmp_path):
    root = tmp_path / "root"
    (root / "models").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(png((1, 2, 3)))
    for uri, image in [("t%20a.png", "t a.png"), ("../shared/t.jpg", "../shared/t.jpg")]:
        path = write(root / "models", textured({"uri": uri}).glb())
        assert read(path, root=root).materials == [Material(image, (1.0, 1.0, 1.0))]
    for uri in ("../../secret.png", "/etc/passwd", "file:///etc/passwd", "http://host/x.png", "..%2f..%2fsecret.png"):
        tile = read(write(root / "models", textured({"uri": uri}).glb()), root=root)
        assert tile.materials == [Material(None, (1.0, 1.0, 1.0))] and "source" in tile.skipped[0].reason, uri
        assert tile.mesh.uv is None
    tile = read(write(root / "models", textured({"uri": "data:text/html;base64,AAAA"}).glb()), root=root)
    assert "not PNG or JPEG" in tile.skipped[0].reason


def test_colours_opacity_and_moved_textures(tmp_path):
    b = Builder()
    b.json["materials"] = [{"pbrMetallicRoughness": {"baseColorFactor": [0.5, 0, 1, 0.25]}, "alphaMode": "BLEND"}]
    b.node(mesh=b.mesh(BOX.vertices, BOX.faces, material=0))
    material = read(write(tmp_path, b.glb())).materials[0]
    assert material.colour == pytest.approx((0.735357, 0, 1), abs=1e-5) and material.opacity == 0.25
    change = {"extensions": {"KHR_texture_transform": {"offset": [0.5, 0.25], "scale": [2, 4]}}}
    tile = read(write(tmp_path, textured({"uri": "t.png"}, **change).glb()))
    assert tile.mesh.uv[0].tolist() == [[0.5, 0.75], [2.5, 0.75], [7.5, 8.75]]  # v: 1 - (4 v + 0.25)
    change["extensions"]["KHR_texture_transform"]["rotation"] = np.pi / 2
    tile = read(write(tmp_path, textured({"uri": "t.png"}, **change).glb()))  # (u, v) → (4 v + 0.5, -2 u + 0.25)
    assert tile.mesh.uv[0] == pytest.approx(np.array([(0.5, 0.75), (0.5, 2.75), (-7.5, 7.75)]), abs=1e-6)


def test_integer_texture_coordinates_are_fractions(tmp_path):
    b = textured({"uri": "t.png"})
    primitive = b.json["meshes"][0]["primitives"][0]
    uv = np.array([(0, 0), (65535, 0), (0, 13107)], "<u2")
    primitive["attributes"]["TEXCOORD_0"] = b.accessor(uv, "VEC2", normalized=True)
    got = read(write(tmp_path, b.glb())).mesh.uv[0]
    assert got == pytest.approx(np.array([(0, 1), (1, 1), (0, 0.8)]), abs=1e-6)


def test_many_named_nodes_are_objects_and_few_are_not(tmp_path):
    pair = trimesh.util.concatenate([BOX, BOX.copy().apply_translation([0, 20, 0])])
    for count, features in ((3, 6), (12, 12)):
        b = Builder()
        mesh = b.mesh(pair.vertices, pair.faces)
        for i in range(count):
            b.node(mesh=mesh, name="house" if i < 2 else f"house {i}", translation=[100 * i, 0, 0])
        tile = read(write(tmp_path, b.glb()))
        assert len(tile.features) == features and len({f.id for f in tile.features}) == features
        assert sum(f.volume for f in tile.features) == pytest.approx(600 * count)
    assert [f.id for f in tile.features][:3] == ["house", "house_2", "house 2"] and "12 named nodes" in tile.notes[0]


def test_a_mesh_named_as_terrain_is_ground(tmp_path):
    path = write(tmp_path, box_builder().glb(), "53393599_dem_x.glb")
    tile = read(path)
    assert tile.terrain.shape == (12, 3, 3) and not tile.features and len(tile.mesh) == 0


def test_nothing_says_where_it_is(tmp_path):
    with pytest.raises(InputError, match=r"x\.glb.*--crs.*--origin"):
        read(write(tmp_path, box_builder().glb()), ConversionOptions())


def broken(change):
    b = box_builder(name="n")
    change(b)
    return b.glb()


def set_(*keys, value):
    def change(b):
        target = b.json
        for key in keys[:-1]:
            target = target[key]
        target[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (set_("accessors", 0, "count", value=2**31), "beyond its buffer view"),
        (set_("accessors", 1, "count", value=-1), "beyond|broken"),
        (set_("accessors", 0, "byteOffset", value=-4), "beyond"),
        (set_("accessors", 0, "byteOffset", value=2**62), "beyond"),
        (set_("accessors", 0, "componentType", value=7), "broken glTF"),
        (set_("accessors", 0, "type", value="MAT4"), "MAT4"),
        (set_("accessors", 0, "sparse", value={}), "sparse"),
        (set_("bufferViews", 0, "byteLength", value=10**12), "beyond its buffer"),
        (set_("bufferViews", 0, "byteOffset", value=-8), "beyond its buffer"),
        (set_("bufferViews", 0, "byteStride", value=1), "beyond its buffer view"),
        (set_("bufferViews", 0, "buffer", value=3), "broken glTF|nowhere"),
        (set_("nodes", 0, "children", value=[0]), "two parents"),
        (set_("nodes", 0, "children", value=[-1]), "two parents"),
        (set_("nodes", 0, "children", value=[5]), "broken glTF"),
        (set_("nodes", 0, "mesh", value="x"), "broken glTF"),
        (set_("nodes", 0, "matrix", value=[0] * 16), "flattens"),
        (set_("nodes", 0, "translation", value=[1e400, 0, 0]), "JSON|finite"),
        (set_("nodes", 0, "scale", value=[1, 1]), "broken glTF"),
        (set_("nodes", value={"a": 1}), "broken glTF"),
        (set_("asset", "version", value="1.0"), "version 1.0"),
        (set_("asset", value=7), "not a glTF"),
        (set_("extensionsRequired", value=["KHR_draco_mesh_compression"]), "KHR_draco_mesh_compression"),
        (set_("meshes", 0, "primitives", 0, "mode", value=1), "no triangles"),
        (set_("meshes", 0, "primitives", value=[]), "no triangles"),
        (set_("meshes", 0, "primitives", 0, "material", value=9), "broken glTF"),
    ],
)
def test_broken_gltf_names_the_file_and_what_is_wrong(tmp_path, change, match):
    with pytest.raises(InputError, match=rf"x\.glb.*({match})"):
        read(write(tmp_path, broken(change)))


def test_indices_beyond_the_vertices_and_vertices_that_are_no_place(tmp_path):
    b = Builder()
    faces = BOX.faces.copy()
    faces[0, 0] = 2**31 - 1
    b.node(mesh=b.mesh(BOX.vertices, faces), name="tower")
    with pytest.raises(InputError, match=r"'tower'.*2147483647 of 8"):
        read(write(tmp_path, b.glb()))
    for word in (np.nan, np.inf, 1e30):
        b = box_builder(name="good")
        vertices = BOX.vertices.copy()
        vertices[0, 0] = word
        b.node(mesh=b.mesh(vertices, BOX.faces), name="bad", translation=[50, 0, 0])
        tile = read(write(tmp_path, b.glb()))
        assert [f.id for f in tile.features] == ["good"] and [s.id for s in tile.skipped] == ["bad"]


@pytest.mark.parametrize(
    "uri", ["../secret.bin", "/etc/passwd", "..\\secret.bin", "http://host/x.bin", "%2e%2e/secret.bin", "link.bin"]
)
def test_buffers_outside_the_source_are_refused(tmp_path, uri):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(box_builder().blob))
    (root / "link.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(UnsafeInputError, match=r"x\.gltf.*source"):
        read(write(root, box_builder().gltf(uri), "x.gltf"))


def test_what_is_no_gltf(tmp_path):
    good = box_builder().glb()
    for data, match in [
        (b"", "empty"),
        (gzip.compress(good), "gzip"),
        (b"PK\x03\x04" + good, "zip"),
        (b"glTF", "cut off"),
        (good[:-100], "cut off"),
        (good[:20], "cut off|beyond"),
        (b"hello", "not a glTF"),
        (b"[" * 100_000, "not a glTF"),
        (b"[]", "not a glTF"),
        (b'{"asset":{"version":"2.0"}}', "no triangles"),
    ]:
        with pytest.raises(InputError, match=match):
            read(write(tmp_path, data))
    (tmp_path / "d.glb").mkdir()
    for name in ("d.glb", "none.glb"):
        with pytest.raises(InputError, match=name):
            read(tmp_path / name)
    for name in ("x.dae", "x.3mf", "x.fbx", "x.xyz", "x"):
        with pytest.raises(InputError, match=r"convert it to \.glb"):
            read(write(tmp_path, b"<x/>", name))


def deep_chain(b):
    for _ in range(100):
        last = len(b.json["nodes"]) - 1
        b.json["nodes"][last]["children"] = [last + 1]
        b.node(root=False)


def many_copies(b):
    ball = trimesh.creation.icosphere(subdivisions=5)
    mesh = b.mesh(ball.vertices, ball.faces)
    for _ in range(5000):
        b.node(mesh=mesh)


def test_bombs_are_refused_in_bounded_time_and_memory(tmp_path):
    """A scene of 102 million triangles in a MB, nodes 100 deep, JSON that would become 30 million objects, base64 that
    is none: each within 512 MiB above what Python with the readers takes."""
    for name, data in {
        "copies.glb": broken(many_copies),
        "deep.glb": broken(deep_chain),
        "objects.gltf": b'{"asset":{"version":"2.0"},"nodes":[' + b"{}," * 15_000_000 + b"{}]}",
        "base64.gltf": box_builder().gltf("data:;base64," + "A" * 30_000_001 + "!"),
        "large.gltf": b" " * (129 * 2**20),
    }.items():
        write(tmp_path, data, name)
    code = (
        "import sys, resource\n"
        "from pathlib import Path\n"
        "from aerialworld_city.geodesy import Projection\n"
        "from aerialworld_city.options import ConversionOptions\n"
        "from aerialworld_city.readers.mesh import read_mesh\n"
        "from aerialworld_city.sources.files import SourceFile\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for name in sys.argv[2:]:\n"
        "    path = Path(sys.argv[1]) / name\n"
        "    try:\n"
        "        read_mesh(SourceFile(path, name, 'bldg', 'mesh', path.parent), Projection(6677), "
        "ConversionOptions(crs=6677))\n"
        "    except Exception as error:\n"
        "        print(type(error).__name__, error)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    names = ["copies.glb", "deep.glb", "objects.gltf", "base64.gltf", "large.gltf"]
    begin = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), *names], capture_output=True, text=True, check=True, timeout=60
    )
    assert time.monotonic() - begin < 30
    lines = result.stdout.splitlines()
    for line, name, match in zip(
        lines, names, ["repeat meshes", "64 deep", "JSON is too large", "base64", "128 MiB"], strict=False
    ):
        assert name in line and match in line and line.split()[0] in ("InputError", "UnsafeInputError"), line
    assert int(lines[-1]) < 512


def test_mutated_files_end_in_a_tile_or_our_error(tmp_path):
    random = Random(5)  # noqa: S311 - mutations, no secrets
    b = textured({})
    b.json["images"][0] = {"bufferView": b.view(png((9, 9, 9))), "mimeType": "image/png"}
    good, outcomes = b.glb(), {"tile": 0, "error": 0}
    length = 20 + struct.unpack_from("<I", good, 12)[0]
    for _ in range(500):
        data = bytearray(good)
        for _ in range(random.choice([1, 1, 3])):
            at = random.randrange(length if random.random() < 0.8 else len(data))
            data[at] = random.choice([*b'0123456789-,:[]{}"', random.randrange(256)])
        try:
            tile = read(write(tmp_path, bytes(data)))
            assert len(tile.mesh) and np.isfinite(tile.mesh.triangles).all()
            outcomes["tile"] += 1
        except InputError as error:
            assert "x.glb" in str(error)
            outcomes["error"] += 1
    assert min(outcomes.values()) > 30
