"""GLB files read back: places, normals, textures, colours, and what Gazebo and we need of them."""

from __future__ import annotations

import io
import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from aerialworld_city.writing import looks
from aerialworld_city.writing.glb import (
    Plain,
    flat_part,
    grouped,
    linear,
    near_uv,
    smooth_part,
    welded_part,
    write_glb,
)
from aerialworld_city.writing.textures import Photo

trimesh = pytest.importorskip("trimesh")


def document(glb):
    """The JSON and the binary chunk."""
    magic, version, total = struct.unpack_from("<III", glb)
    assert (magic, version, total) == (0x46546C67, 2, len(glb))
    size, kind = struct.unpack_from("<II", glb, 12)
    assert kind == 0x4E4F534A and size % 4 == 0
    length, second = struct.unpack_from("<II", glb, 20 + size)
    assert second == 0x004E4942 and length % 4 == 0 and 28 + size + length == len(glb)
    return json.loads(glb[20 : 20 + size]), glb[28 + size :]


def accessor(glb, index):
    meta, blob = document(glb)
    a = meta["accessors"][index]
    view = meta["bufferViews"][a["bufferView"]]
    width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3}[a["type"]]
    dtype = {5126: "<f4", 5125: "<u4"}[a["componentType"]]
    data = np.frombuffer(blob, dtype, a["count"] * width, view["byteOffset"]).reshape(-1, width)
    return data


def loaded(glb):
    """One mesh of all parts."""
    scene = trimesh.load(io.BytesIO(glb), file_type="glb", process=False)
    return trimesh.util.concatenate(list(scene.geometry.values()))


def photo(name="wall", colour=(10, 200, 30)):
    out = io.BytesIO()
    Image.new("RGB", (2, 2), colour).save(out, "PNG")
    return Photo(name, "image/png", out.getvalue(), 2, 2, tuple(c / 255 for c in colour))


BOX = trimesh.creation.box((10, 8, 6)).apply_translation((100, -50, 30))
TRIANGLES, NORMALS = np.array(BOX.triangles), np.array(BOX.face_normals)
UV = np.random.default_rng(1).random((12, 3, 2))


def test_a_box_stays_a_box_with_its_volume_and_its_flat_normals():
    glb = write_glb([flat_part(photo(), TRIANGLES, NORMALS, UV)])
    back = loaded(glb)
    assert back.bounds == pytest.approx(BOX.bounds) and len(back.faces) == 12
    assert back.volume == pytest.approx(480, rel=1e-6)
    assert back.triangles == pytest.approx(TRIANGLES)
    meta, _ = document(glb)
    primitive = meta["meshes"][0]["primitives"][0]
    normals = accessor(glb, primitive["attributes"]["NORMAL"])
    faces = accessor(glb, primitive["indices"]).reshape(-1, 3)
    assert normals[faces] == pytest.approx(np.repeat(NORMALS[:, None], 3, axis=1))
    assert "nodes" in meta and not {"rotation", "matrix", "scale"} & set(meta["nodes"][0])  # z stays up
    position = meta["accessors"][primitive["attributes"]["POSITION"]]
    assert position["min"] == pytest.approx(BOX.bounds[0]) and position["max"] == pytest.approx(BOX.bounds[1])


def test_v_runs_down_in_the_file_and_up_here():
    glb = write_glb([flat_part(photo(), TRIANGLES, NORMALS, UV)])
    meta, _ = document(glb)
    primitive = meta["meshes"][0]["primitives"][0]
    uv = accessor(glb, primitive["attributes"]["TEXCOORD_0"])
    faces = accessor(glb, primitive["indices"]).reshape(-1, 3)
    assert uv[faces] == pytest.approx(np.stack([UV[..., 0], 1 - UV[..., 1]], -1), abs=1e-6)


def test_equal_skins_are_written_once_and_images_as_they_are():
    same, other = photo(), photo("roof", (200, 10, 10))
    red = Plain("colour_ff0000", (1.0, 0.0, 0.0))
    parts = [flat_part(skin, TRIANGLES[i : i + 3], NORMALS[i : i + 3], UV[i : i + 3])
             for i, skin in ((0, same), (3, other), (6, photo()), (9, red))]  # fmt: skip
    glb = write_glb(parts, "m")
    meta, blob = document(glb)
    assert [i["mimeType"] for i in meta["images"]] == ["image/png"] * 2
    stored = [meta["bufferViews"][i["bufferView"]] for i in meta["images"]]
    assert [blob[v["byteOffset"] : v["byteOffset"] + v["byteLength"]] for v in stored] == [same.data, other.data]
    assert [m["name"] for m in meta["materials"]] == ["wall", "roof", "colour_ff0000"]
    assert [p["material"] for p in meta["meshes"][0]["primitives"]] == [0, 1, 0, 2]
    assert meta["samplers"][0]["wrapS"] == meta["samplers"][0]["wrapT"] == 10497  # repeat
    assert write_glb(parts, "m") == glb
    assert all("alphaMode" not in m for m in meta["materials"])


def test_colours_are_linear_light():
    red = Plain("c", (0.5, 1.0, 0.0))
    meta, _ = document(write_glb([flat_part(red, TRIANGLES, NORMALS, UV)]))
    factor = meta["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"]
    assert factor == pytest.approx([0.214041, 1.0, 0.0, 1.0], abs=1e-6)
    assert set(meta["meshes"][0]["primitives"][0]["attributes"]) == {"POSITION", "NORMAL"}
    assert "textures" not in meta and "images" not in meta and "samplers" not in meta
    assert linear([0.04045, 0.0031308 * 12.92]) == pytest.approx([0.0031308, 0.0031308], abs=1e-6)


def test_far_texture_coordinates_keep_their_fractions():
    rng = np.random.default_rng(2)
    near = rng.random((200, 3, 2)) * 3
    far = near + np.round(rng.uniform(-25_007, 25_007, (200, 1, 2)))
    part = flat_part(photo(), rng.random((200, 3, 3)), np.tile([0.0, 0, 1], (200, 1)), far)
    back = part.uv[part.indices].astype(float)
    assert np.abs((back - near + 0.5) % 1 - 0.5).max() < 1e-5  # float32 at 25,000 would be 1e-3 off
    assert np.abs(back).max() <= 64.0
    assert (near_uv(near) == near).all()  # what lies near stays
    edges = lambda uv: uv - np.roll(uv, 1, axis=1)  # noqa: E731
    assert edges(near_uv(far)) == pytest.approx(edges(far), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(-2, 2), min_size=3, max_size=3), min_size=1, max_size=40))
def test_grouping_rows_agrees_with_python(rows):
    values = np.array(rows, np.float32)
    number, count = grouped(values + np.float32(0.0))
    seen: dict[tuple[float, ...], int] = {}
    expected = [seen.setdefault(tuple(row), len(seen)) for row in values.tolist()]
    assert number.tolist() == expected and count == len(seen)


def test_grouping_survives_keys_that_are_equal_by_chance(monkeypatch):
    import aerialworld_city.writing.glb as glb

    rows = np.random.default_rng(0).integers(0, 5, (300, 4)).astype(np.float32)
    expected = grouped(rows)
    unique = np.unique
    monkeypatch.setattr(
        glb.np, "unique", lambda a, *r, **k: unique(a if "axis" in k or a.ndim > 1 else a % np.uint64(7), *r, **k)
    )
    number, count = grouped(rows)
    assert count == expected[1] and number.tolist() == expected[0].tolist()


def test_rolling_ground_is_smooth_and_a_kerb_stays_sharp():
    x, y = np.meshgrid(np.arange(6.0), np.arange(6.0))
    height = 0.1 * np.sin(x) + 0.05 * y
    grid = np.stack([x, y, height], -1)
    quads = [(grid[i, j], grid[i, j + 1], grid[i + 1, j + 1], grid[i + 1, j]) for i in range(5) for j in range(5)]
    rolling = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])
    part = smooth_part(looks.look("terrain"), rolling)
    assert len(part.positions) == 36  # every corner once
    slope = np.column_stack([-0.1 * np.cos(part.positions[:, 0]), np.full(36, -0.05), np.ones(36)])
    slope /= np.linalg.norm(slope, axis=1, keepdims=True)
    inner = ((part.positions[:, :2] > 0) & (part.positions[:, :2] < 5)).all(axis=1)
    assert ((part.normals * slope).sum(axis=1)[inner] > 0.999).all()
    assert part.uv[:, 0] == pytest.approx(part.positions[:, 0] / 16.0)
    step = np.array([[[0, 0, 0], [1, 0, 0], [1, 1, 0]], [[1, 0, 0], [1, 0, -0.2], [1, 1, 0]]], float)
    kerb = smooth_part(looks.look("sidewalk"), step)
    assert kerb.normals[kerb.indices[0]] == pytest.approx(np.tile([0, 0, 1], (3, 1)), abs=1e-6)
    assert kerb.normals[kerb.indices[1]] == pytest.approx(np.tile([1, 0, 0], (3, 1)), abs=1e-6)


def test_a_collision_is_welded_closed_and_of_the_same_volume():
    flat = np.array([[[100, -50, 30], [101, -50, 30], [102, -50, 30]], [[0, 0, 0], [0, 0, 0], [5, 5, 5.0]]])
    part = welded_part(np.concatenate([TRIANGLES, flat[1:]]))
    assert len(part.positions) == 8 and len(part.indices) == 12  # the one that shrank to a line is left out
    glb = write_glb([part])
    back = loaded(glb)
    assert back.is_watertight and back.volume == pytest.approx(480, rel=1e-6)
    meta, _ = document(glb)
    primitive = meta["meshes"][0]["primitives"][0]
    assert set(primitive["attributes"]) == {"POSITION", "NORMAL"} and "material" not in primitive
    assert {"materials", "images", "textures", "samplers"} & set(meta) == set()
    normals = accessor(glb, primitive["attributes"]["NORMAL"])
    outward = accessor(glb, primitive["attributes"]["POSITION"]) - [100, -50, 30]
    assert (np.sign(normals) == np.sign(outward)).all() and np.linalg.norm(normals, axis=1) == pytest.approx(1)
