"""Mesh files: coordinates, winding, texture coordinates, materials, names, and what is refused."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from aerialworld_core.errors import InputError, UnsafeInputError, WorldError
from aerialworld_core.world import load_world
from aerialworld_core.world.meshes import load_mesh
from aerialworld_core.world.sdf import Notes

QUAD = [[0, 0, 0], [2, 0, 0], [2, 0, 3], [0, 0, 3]]  # a wall that looks along −y, z up
FACES = [[0, 1, 2], [0, 2, 3]]


def png(pixels):
    out = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(out, "PNG")
    return out.getvalue()


def test_glb_keeps_z_up_and_puts_the_image_the_right_way_up(write_world, sdf, tmp_path):
    # Left column red, right column green; top row bright, bottom row dark. glTF: v = 0 is the top row.
    image = png([[[255, 0, 0], [0, 255, 0]], [[100, 0, 0], [0, 100, 0]]])
    uv = [[0, 1], [1, 1], [1, 0], [0, 0]]  # lower left, lower right, upper right, upper left
    material = {"pbrMetallicRoughness": {"baseColorFactor": [1, 0.5, 0.25, 1], "baseColorTexture": {"index": 0}}}
    part = {"name": "wall", "vertices": QUAD, "faces": FACES, "uv": uv, "material": material}
    sdf.write_glb(tmp_path / "wall.glb", [part], [image])
    world = load_world(write_world(sdf.model("w", sdf.visual(sdf.mesh("wall.glb"), pose="10 20 30 0 0 0"))))
    assert world.bounds.tolist() == [[10, 20, 30], [12, 20, 33]]  # not turned to y up
    distance, face = world.cast([[11, 15, 31]], [[0, 1, 0]])
    assert distance[0] == 5.0 and np.isinf(world.cast([[11, 25, 31]], [[0, -1, 0]])[0][0])
    scene = world.scene
    corner = np.argwhere((scene.vertices[scene.faces] == [12, 20, 33]).all(-1))[0]  # upper right
    assert scene.uv[tuple(corner)].tolist() == [1, 1]
    material = scene.materials[scene.face_material[face[0]]]
    assert material.colour.tolist() == [1, 0.5, 0.25]
    u, v = scene.uv[tuple(corner)] - 0.01
    row, column = int((1 - v) * 2), int(u * 2)
    assert material.texture[row, column].tolist() == [0, 255, 0]  # bright green is up on the right
    assert np.allclose(scene.normals, [0, -1, 0])


def test_glb_nodes_are_instances_with_their_transforms(write_world, sdf, tmp_path):
    up = [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
    parts = [
        {"name": "bldg_a", "vertices": up, "faces": [[0, 1, 2]], "node": {"translation": [0, 0, 5]}},
        # A quarter turn about z and twice the size.
        {"name": "bldg_b", "vertices": up, "faces": [[0, 1, 2]],
         "node": {"rotation": [0, 0, 0.5**0.5, 0.5**0.5], "scale": [2, 2, 2], "translation": [10, 0, 0]}},
        # Mirrored: the face must still look up.
        {"name": "bldg_c", "vertices": up, "faces": [[0, 1, 2]], "node": {"scale": [-1, 1, 1]}},
    ]  # fmt: skip
    sdf.write_glb(tmp_path / "chunk.glb", parts)
    world = load_world(write_world(sdf.model("chunk", sdf.visual(sdf.mesh("chunk.glb")), label=15)))
    scene = world.scene
    assert scene.instances == ["bldg_a", "bldg_b", "bldg_c"] and scene.face_instance.tolist() == [1, 2, 3]
    assert np.allclose(scene.triangles[0], [[0, 0, 5], [1, 0, 5], [0, 1, 5]])
    assert np.allclose(scene.triangles[1], [[10, 0, 0], [10, 2, 0], [8, 0, 0]], atol=1e-6)
    normal = np.cross(*(scene.triangles[:, i] - scene.triangles[:, 0] for i in (1, 2)))
    assert (normal[:, 2] > 0).all() and (scene.face_class == 15).all()


def test_one_mesh_of_one_node_is_an_instance_named_by_its_model(write_world, sdf, tmp_path):
    sdf.write_glb(tmp_path / "a.glb", [{"name": "node", "vertices": QUAD, "faces": FACES}])
    world = load_world(
        write_world(sdf.model("m", sdf.visual(sdf.mesh("a.glb")), sdf.visual(sdf.box(1, 1, 1), name="x")))
    )
    assert world.scene.instances == ["m"] and set(world.scene.face_instance) == {1}


def test_obj_and_stl_agree_with_glb(write_world, sdf, tmp_path):
    sdf.write_glb(tmp_path / "q.glb", [{"name": "q", "vertices": QUAD, "faces": FACES}])
    rows = "\n".join("v {} {} {}".format(*p) for p in QUAD)
    (tmp_path / "q.obj").write_text(f"# c\n{rows}\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nf 1/1 2/2 3/3 4/4\n")
    (tmp_path / "neg.obj").write_text(f"{rows}\nvn 0 -1 0\nf -4//1 -3//1 -2//1 -1//1\n")
    triangles = np.array(QUAD, float)[np.array(FACES)]
    binary = b"\0" * 80 + struct.pack("<I", 2)
    text = "solid q\n"
    for t in triangles:
        binary += struct.pack("<12fH", 0, 0, 0, *t.ravel(), 0)
        text += "facet normal 0 0 0\nouter loop\n" + "".join("vertex {} {} {}\n".format(*p) for p in t)
        text += "endloop\nendfacet\n"
    (tmp_path / "bin.stl").write_bytes(binary)
    (tmp_path / "text.stl").write_text(text + "endsolid q\n")
    reference = None
    for name in ("q.glb", "q.obj", "neg.obj", "bin.stl", "text.stl"):
        world = load_world(write_world(sdf.model("m", sdf.visual(sdf.mesh(name, "0.001 2 3")))))
        t = world.scene.triangles
        assert np.allclose(t, triangles * [0.001, 2, 3]), name
        assert np.allclose(world.scene.normals, [0, -1, 0]), name
        reference = t if reference is None else reference
        assert (t == reference).all(), name
        if name == "q.obj":
            assert world.scene.uv[0].tolist() == [[0, 0], [1, 0], [1, 1]]


def test_a_negative_scale_keeps_the_outside_outside(write_world, sdf, tmp_path):
    (tmp_path / "t.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3")
    world = load_world(write_world(sdf.model("m", sdf.visual(sdf.mesh("t.obj", "-1 1 1")))))
    assert world.cast([[-0.2, 0.2, 5]], [[0, 0, -1]])[0][0] == 5.0


def test_degenerate_triangles_are_dropped_and_counted(write_world, sdf, tmp_path):
    (tmp_path / "t.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nv 2 0 0\nf 1 2 3\nf 1 2 2\nf 1 2 4\n")
    world = load_world(write_world(sdf.model("m", sdf.visual(sdf.mesh("t.obj")), label=15)))
    assert len(world.scene.faces) == 1 and world.notes == ["m: 2 triangles without area were left out"]
    assert world.bounds[1].tolist() == [1, 1, 0]  # the vertex of the dropped triangle is gone


@pytest.mark.parametrize("name", ["nan.glb", "inf.obj", "nan.stl"])
def test_vertices_that_are_no_numbers_name_the_file(write_world, sdf, tmp_path, name):
    bad = [[0, 0, 0], [1, 0, 0], [0, np.nan, 0]]
    if name.endswith("glb"):
        sdf.write_glb(tmp_path / name, [{"name": "n", "vertices": bad, "faces": [[0, 1, 2]]}])
    elif name.endswith("obj"):
        (tmp_path / name).write_text("v 0 0 0\nv 1 0 0\nv 0 inf 0\nf 1 2 3")
    else:
        (tmp_path / name).write_bytes(
            b"\0" * 80 + struct.pack("<I", 1) + struct.pack("<12fH", 0, 0, 0, *np.ravel(bad), 0)
        )
    with pytest.raises(WorldError, match=f"model m.*{name}.*not finite"):
        load_world(write_world(sdf.model("m", sdf.visual(sdf.mesh(name)))))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.dae", b"<COLLADA/>", "COLLADA"),
        ("a.ply", b"ply", r"meshes are \.glb, \.obj, \.stl or \(trusted\) \.dae"),
        ("a.glb", b"glXF" + b"\0" * 40, "not a binary glTF"),
        ("a.glb", b"glTF" + struct.pack("<II", 2, 4000) + b"\0" * 40, "cut off"),
        ("a.glb", b"glTF" + struct.pack("<IIII", 2, 22, 2, 0x4E4F534A) + b"{}", None),
        ("a.glb", b"glTF" + struct.pack("<IIII", 2, 22, 2, 0x4E4F534A) + b"{x", "broken glTF"),
        ("a.obj", b"v 0 0 0\nf 1 2 3\n", "line 2"),
        ("a.obj", b"v 0 0\n", "line 1"),
        ("a.obj", b"v 0 0 0\nv 1 0 0\nf 1 2\n", "line 3"),
        ("a.obj", b"v 0 0 0\nf 99999999999999999999 1 1\n", "line 2"),
        ("a.stl", b"\0" * 80 + struct.pack("<I", 5), "cut off"),
        ("a.stl", b"solid x\nvertex 0 0 z", "vertex line"),
        ("a.stl", b"PK\x03\x04" + b"\0" * 100, "zip"),
    ],
)
def test_broken_meshes(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    if message is None:
        assert load_mesh(tmp_path / name, "model m", Notes()) == []
        return
    with pytest.raises(InputError, match=message):
        load_mesh(tmp_path / name, "model m", Notes())


def test_glb_accessors_may_not_leave_the_file(tmp_path, sdf):
    sdf.write_glb(tmp_path / "a.glb", [{"name": "n", "vertices": QUAD, "faces": FACES}])
    data = (tmp_path / "a.glb").read_bytes()
    for old, new in ((b'"count": 4', b'"count": 9'), (b'"byteLength": 48', b'"byteLength": 99')):
        assert old in data
        (tmp_path / "b.glb").write_bytes(data.replace(old, new, 1))
        with pytest.raises(WorldError, match="beyond"):
            load_mesh(tmp_path / "b.glb", "model m", Notes())
    view = b'"buffer": 0, "byteOffset": 0'
    assert view in data
    (tmp_path / "b.glb").write_bytes(data.replace(view, b'"buffer":0, "byteStride": 4 '.ljust(len(view)), 1))
    with pytest.raises(WorldError, match="byteStride 4 is less"):
        load_mesh(tmp_path / "b.glb", "model m", Notes())
    (tmp_path / "b.glb").write_bytes(data.replace(b'"buffer": 0', b'"buffer": 1', 1))
    with pytest.raises(InputError):
        load_mesh(tmp_path / "b.glb", "model m", Notes())


def test_glb_textures_outside_the_file_are_refused(tmp_path, sdf):
    material = {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}
    part = {"name": "n", "vertices": QUAD, "faces": FACES, "material": material}
    sdf.write_glb(tmp_path / "a.glb", [part], [png(np.zeros((2, 2, 3)))])
    data = (tmp_path / "a.glb").read_bytes()
    (tmp_path / "b.glb").write_bytes(
        data.replace(b'"bufferView": 2, "mimeType"', b'"uri": "/etc/passwd","xx"'.ljust(27))
    )
    with pytest.raises(InputError):
        load_mesh(tmp_path / "b.glb", "model m", Notes())


def test_images_are_png_or_jpeg_of_bounded_size(write_world, sdf, tmp_path, monkeypatch):
    material = "<material><diffuse>0.5 1 1</diffuse><pbr><metal><albedo_map>{}</albedo_map></metal></pbr></material>"
    body = lambda name: sdf.model("m", sdf.visual(sdf.box(1, 1, 1), extra=material.format(name)))  # noqa: E731
    (tmp_path / "ok.png").write_bytes(png([[[1, 2, 3]]]))
    world = load_world(write_world(body("ok.png")))
    assert world.scene.materials[0].texture.tolist() == [[[1, 2, 3]]]
    assert world.scene.materials[0].colour.tolist() == [0.5, 1, 1]
    Image.new("RGB", (3, 2)).save(tmp_path / "a.bmp")
    (tmp_path / "fake.png").write_bytes((tmp_path / "a.bmp").read_bytes())
    (tmp_path / "cut.png").write_bytes(png(np.random.default_rng(0).integers(0, 255, (50, 50, 3)))[:900])
    for name in ("fake.png", "cut.png"):
        with pytest.raises(WorldError, match=f"{name}.*PNG or JPEG"):
            load_world(write_world(body(name)))
    # A bomb: the header promises 30,000 × 30,000 pixels; it is refused before anything is decoded.
    bomb = bytearray(png([[[0, 0, 0]]]))
    bomb[16:24] = struct.pack(">II", 30_000, 30_000)
    import zlib

    bomb[29:33] = struct.pack(">I", zlib.crc32(bomb[12:29]))
    (tmp_path / "bomb.png").write_bytes(bomb)
    with pytest.raises(UnsafeInputError, match=r"bomb\.png"):
        load_world(write_world(body("bomb.png")))
