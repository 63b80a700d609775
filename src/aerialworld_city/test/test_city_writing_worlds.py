"""Whole worlds of real sets: SDF 1.10 all through, every mesh read back, what is seen and what is touched agree."""

from __future__ import annotations

import json
import os
import re
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from aerialworld_city.convert import convert
from aerialworld_city.options import ConversionOptions
from aerialworld_core.world import load_world

sys.path.insert(0, str(Path(__file__).parent))
import city_sdf_structure as sdf

trimesh = pytest.importorskip("trimesh")
SHARED = Path(os.environ.get("AERIALWORLD_SHARED", Path(__file__).parents[4] / "shared")) / "data" / "plateau"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason=f"no PLATEAU files below {SHARED}: set AERIALWORLD_SHARED")
PLAIN = {"preview": False, "workers": 1, "keep_tiles": False}
CASES = {
    "01": {},
    "03": {"target_faces": 2000},
    "04": {"terrain": "heightmap"},
    "05": {"per_building": True, "max_texture_size": 100},
    "09": {"textures": False},
}


@pytest.fixture(scope="module", params=sorted(CASES))
def world(request, tmp_path_factory):
    """The folder and the report of a set, converted with options that change what is written."""
    out = tmp_path_factory.mktemp(request.param) / "world"
    source = next(SHARED.glob(f"{request.param}_*"))
    return request.param, out, convert(source, out, ConversionOptions(**PLAIN, **CASES[request.param]))


def read(path):
    with open(path, "rb") as handle:
        scene = trimesh.load(handle, file_type="glb", process=False)
    return trimesh.util.concatenate(list(scene.geometry.values()))


def header(path):
    data = path.read_bytes()
    return json.loads(data[20 : 20 + struct.unpack_from("<I", data, 12)[0]])


def volume(triangles):
    return float(np.einsum("ij,ij->i", triangles[:, 0], np.cross(triangles[:, 1], triangles[:, 2])).sum() / 6)


def test_the_world_is_sdf_all_through(world):
    _, folder, _ = world
    assert sdf.world_problems(folder) == []


def test_every_mesh_reads_back_and_what_is_touched_is_what_is_seen(world):
    number, folder, report = world
    triangles: dict[str, int] = {}
    for model in sorted((folder / "models").iterdir()):
        for path in sorted((model / "meshes").glob("*.glb")) if (model / "meshes").is_dir() else []:
            mesh = read(path)
            assert np.isfinite(mesh.vertices).all() and len(mesh.faces) > 0
            lengths = np.linalg.norm(mesh.vertex_normals, axis=1)
            assert lengths == pytest.approx(1, abs=1e-3)
            attributes = [set(p["attributes"]) for p in header(path)["meshes"][0]["primitives"]]
            assert all("NORMAL" in a for a in attributes)
            if path.name != "collision.glb":
                triangles[path.stem] = triangles.get(path.stem, 0) + len(mesh.faces)
        seen = [p for p in (model / "meshes").glob("*.glb") if p.name != "collision.glb"]
        if (model / "meshes/collision.glb").exists():
            one, other = read(seen[0]), read(model / "meshes/collision.glb")
            assert other.bounds == pytest.approx(one.bounds, abs=1e-4)
            assert len(other.faces) <= len(one.faces)
            if len(other.faces) == len(one.faces):  # no backs: the same surface, so the same volume
                origin = one.bounds.mean(axis=0)
                assert volume(other.triangles - origin) == pytest.approx(
                    volume(one.triangles - origin), rel=1e-4, abs=1e-2
                )
    for kind, count in triangles.items():
        assert count == report.written[f"{kind} triangles"], kind
    assert number == "09" or "building" in triangles


def test_images_are_embedded_jpeg_or_png_within_the_size_and_repeat(world):
    number, folder, report = world
    count = set()
    for path in folder.glob("models/*/meshes/*.glb"):
        document = header(path)
        assert not any("uri" in part for part in document["buffers"] + document.get("images", []))
        assert {i["mimeType"] for i in document.get("images", [])} <= {"image/png", "image/jpeg"}
        assert all(s["wrapS"] == s["wrapT"] == 10497 for s in document.get("samplers", []))
        assert all("alphaMode" not in m for m in document.get("materials", []))
        count |= {i["name"] for i in document.get("images", [])}
    photos = {n for n in count if re.fullmatch(r".+_[0-9a-f]{8}", n)}
    expected = {"01": 9, "03": 38, "04": 0, "05": 7, "09": 0}[number]
    assert len(photos) == expected and report.written.get("images", 0) == expected
    largest = CASES[number].get("max_texture_size", 2048)
    for material in load_world(folder).scene.materials:
        assert material.texture is None or max(material.texture.shape[:2]) <= max(largest, 128)  # drawn ones have 128


def test_our_engine_reads_it_without_a_complaint(world):
    number, folder, report = world
    loaded = load_world(folder)
    assert loaded.notes == []
    low, high = report.bounds["world"]
    if CASES[number].get("terrain") == "heightmap":  # a square, and wider than the city
        assert (loaded.bounds[0, :2] <= np.array(low[:2]) + 1e-3).all()
        assert (loaded.bounds[1, :2] >= np.array(high[:2]) - 1e-3).all()
    else:
        assert loaded.bounds == pytest.approx(np.array([low, high]), abs=2e-3)
    assert set(loaded.scene.face_class.tolist()) <= {11, 12, 13, 14, 15, 16} and 14 in loaded.scene.face_class
