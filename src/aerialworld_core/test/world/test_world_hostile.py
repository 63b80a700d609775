"""Damaged files end in an InputError or load; nothing else may come out, and memory stays bounded."""

import random
import struct

import numpy as np
import pytest

from aerialworld_core.errors import InputError
from aerialworld_core.world import load_rig, load_world
from aerialworld_core.world.meshes import load_mesh
from aerialworld_core.world.sdf import Notes

ROUNDS = 250


def mutations(data, seed):
    """Cut, flipped, repeated and overwritten variants of a file."""
    rng = random.Random(seed)  # noqa: S311  (no secret)
    special = [
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x80",
        b"-1",
        b"1e999",
        b"nan",
        b"99999999999",
        b"<",
        b'"',
        b"[]",
        b"{}",
    ]
    for _ in range(ROUNDS):
        out = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(out))
            kind = rng.randrange(4)
            if kind == 0:
                out[at] = rng.randrange(256)
            elif kind == 1:
                token = rng.choice(special)
                out[at : at + len(token)] = token
            elif kind == 2:
                end = min(len(out), at + rng.randint(1, 40))
                del out[at:end]
            else:
                out[at:at] = out[at : at + rng.randint(1, 60)]
            if not out:
                out = bytearray(b"x")
        yield bytes(out)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["glb", "obj", "stl"])
def test_damaged_meshes(tmp_path, sdf, kind):
    vertices = np.random.default_rng(0).uniform(-1, 1, (6, 3))
    faces = [[0, 1, 2], [3, 4, 5]]
    path = tmp_path / f"a.{kind}"
    if kind == "glb":
        material = {"pbrMetallicRoughness": {"baseColorFactor": [1, 0.5, 0.25, 1]}}
        part = {"name": "n", "vertices": vertices, "faces": faces, "uv": vertices[:, :2], "material": material}
        sdf.write_glb(path, [part, {**part, "node": {"rotation": [0, 0, 0, 1], "scale": [1, 2, 3]}}])
    elif kind == "obj":
        rows = "".join("v {} {} {}\nvt {} {}\n".format(*v, *v[:2]) for v in vertices)
        path.write_text(rows + "o a\nf 1/1 2/2 3/3\ng b\nf 4/4 5/5 6/6\n")
    else:
        records = b"".join(struct.pack("<12fH", 0, 0, 0, *vertices[f].ravel(), 0) for f in faces)
        path.write_bytes(b"\0" * 80 + struct.pack("<I", 2) + records)
    original = path.read_bytes()
    assert len(load_mesh(path, "model m", Notes())) >= 1
    loaded = 0
    for data in mutations(original, kind):
        path.write_bytes(data)
        try:
            parts = load_mesh(path, "model m", Notes())
        except InputError as error:
            assert "a." + kind in str(error)
            continue
        loaded += 1
        for part in parts:
            assert np.isfinite(part.vertices).all() and (not len(part.faces) or part.faces.max() < len(part.vertices))
            assert not len(part.faces) or part.faces.min() >= 0
    assert loaded > 0


@pytest.mark.filterwarnings("error")
def test_damaged_worlds(tmp_path, sdf):
    body = (
        '<scene><ambient>1 1 1 1</ambient></scene><light type="directional" name="s"><direction>0 1 -1</direction>'
        "</light>"
        "<spherical_coordinates><latitude_deg>35</latitude_deg><longitude_deg>139</longitude_deg></spherical_coordinates>"
        + sdf.model("a", sdf.visual(sdf.box(1, 2, 3)), sdf.visual(sdf.mesh("t.obj", "1 2 1"), name="w"), label=14)
        + sdf.model("b", sdf.visual("<plane><normal>0 1 1</normal><size>2 2</size></plane>"), label=15)
    )
    (tmp_path / "t.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3")
    path = tmp_path / "world.sdf"
    original = f'<?xml version="1.0"?><sdf version="1.10"><world name="w">{body}</world></sdf>'.encode()
    path.write_bytes(original)
    assert len(load_world(path).scene.faces) == 12 + 1 + 2
    loaded = 0
    for data in mutations(original, "world"):
        path.write_bytes(data)
        try:
            world = load_world(path)
        except InputError:
            continue
        loaded += 1
        assert np.isfinite(world.scene.vertices).all()
    assert loaded > 0


@pytest.mark.filterwarnings("error")
def test_damaged_rigs(tmp_path):
    from aerialworld_core.resources import model_path

    original = model_path("rig_small").read_bytes()
    path = tmp_path / "model.sdf"
    for data in mutations(original, "rig"):
        path.write_bytes(data)
        try:
            load_rig(path)
        except InputError as error:
            assert str(tmp_path) in str(error) or "camera" in str(error) or "lidar" in str(error)


def test_files_that_multiply_themselves_are_stopped(tmp_path, sdf, monkeypatch):
    monkeypatch.setattr("aerialworld_core.world.tree._MAX_MODELS", 500)
    # Ten levels of models, each including the next ten times: 10^10 boxes from eleven small files.
    for level in range(11):
        folder = tmp_path / f"m{level}"
        folder.mkdir()
        inner = "".join(f"<include><uri>../m{level + 1}</uri><name>n{i}</name></include>" for i in range(10))
        if level == 10:
            inner = f'<link name="l">{sdf.visual(sdf.box(1, 1, 1))}</link>'
        (folder / "model.sdf").write_text(
            f'<sdf version="1.10"><model name="m"><static>1</static>{inner}</model></sdf>'
        )
    (tmp_path / "world.sdf").write_text(
        '<sdf version="1.10"><world name="w"><include><uri>m0</uri></include></world></sdf>'
    )
    with pytest.raises(InputError, match="more than 500 models"):
        load_world(tmp_path)
    # A glTF whose nodes share children.
    node = {"children": [1, 1]}
    parts = [{"name": f"n{i}", "vertices": np.eye(3), "faces": [[0, 1, 2]], "node": node} for i in range(2)]
    sdf.write_glb(tmp_path / "a.glb", parts)
    with pytest.raises(InputError, match="two parents"):
        load_mesh(tmp_path / "a.glb", "model m", Notes())
