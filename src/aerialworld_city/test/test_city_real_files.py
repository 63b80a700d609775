"""Real PLATEAU files: known counts, heights, geography and, for set 06, what real Gazebo saw of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from aerialworld_city.convert import convert
from aerialworld_city.geodesy import Projection
from aerialworld_city.options import ConversionOptions
from aerialworld_city.readers.obj import read_obj
from aerialworld_city.sources.files import SourceFile
from aerialworld_core.errors import InputError
from aerialworld_core.frames import rotation_from_rpy

SHARED = Path(os.environ.get("AERIALWORLD_SHARED", Path(__file__).resolve().parents[4] / "shared"))
PLATEAU = SHARED / "data" / "plateau"
pytestmark = pytest.mark.skipif(not PLATEAU.is_dir(), reason=f"no real PLATEAU files below {PLATEAU}")


def source(prefix):
    return next(PLATEAU.glob(prefix))


def load(world):
    return json.loads((world / "city.json").read_text())


@pytest.fixture(scope="module")
def roppongi(tmp_path_factory):
    world = tmp_path_factory.mktemp("06") / "world"
    report = convert(source("06_*"), world, origin=Projection(6677).inverse(-8100.0, -37400.0))
    return world, report, load(world)


def test_roppongi_counts_bounds_and_tallest(roppongi):
    _, report, city = roppongi
    assert report.written["buildings"] == 915 and report.written["building triangles"] == 42424
    assert max(b["height"] for b in city["buildings"]) == pytest.approx(235.46, abs=0.005)
    low, high = np.array(report.bounds["buildings"])
    assert (high - low)[:2] == pytest.approx([1157.97, 977.80], abs=0.01)
    assert (low + np.array([-8100, -37400, 0])) == pytest.approx([-8694.38, -37911.74, 2.31], abs=0.01)
    assert all(b["volume"] > 0 for b in city["buildings"])
    assert city["terrain"]["source_triangles"] == 44663


def test_roppongi_volume_is_that_of_the_source(roppongi):
    _, _, city = roppongi
    path = next(source("06_*").rglob("*_bldg_*.obj"))
    tile = read_obj(SourceFile(path, path.name, "bldg", "obj", path.parent), Projection(6677), ConversionOptions())
    p = tile.mesh.triangles - np.array([-8100.0, -37400.0, 0.0])
    volume = np.bincount(tile.mesh.feature, (p[:, 0] * np.cross(p[:, 1], p[:, 2])).sum(axis=1) / 6)
    assert [b["volume"] for b in city["buildings"]] == pytest.approx(volume, rel=1e-6, abs=0.02)


def test_roppongi_bases_touch_the_ground(roppongi):
    world_module = pytest.importorskip("aerialworld_core.world")
    world, report, city = roppongi
    assert report.changed["buildings whose base was lowered to the ground"] <= 10
    loaded = world_module.load_world(world / "world.sdf")
    boxes = np.array([b["bbox"] for b in city["buildings"]])
    share = np.linspace(0, 1, 5)
    x = boxes[:, 0, None, None] + (boxes[:, 3] - boxes[:, 0])[:, None, None] * share[:, None]
    y = boxes[:, 1, None, None] + (boxes[:, 4] - boxes[:, 1])[:, None, None] * share
    places = np.stack(np.broadcast_arrays(x, y), axis=-1).reshape(-1, 2)
    ground = np.nanmax(loaded.terrain_height(places).reshape(len(boxes), -1), axis=1)
    assert (boxes[:, 2] <= ground + 0.35).all()


@pytest.mark.parametrize("pose", ["pose0", "pose2", "pose4"])
def test_rays_into_the_converted_world_meet_what_gazebo_saw(roppongi, pose):
    world_module = pytest.importorskip("aerialworld_core.world")
    reference = SHARED / "reference" / "gazebo" / "tile06" / f"{pose}.npz"
    if not reference.is_file():
        pytest.skip(f"no {reference}")
    loaded = world_module.load_world(roppongi[0] / "world.sdf")
    turns = {"front": (0, 0), "left": (0, 90), "back": (0, 180), "right": (0, -90), "up": (-90, 0), "down": (90, 0)}
    centre = (np.arange(400)[1::4] + 0.5 - 200) / 200
    y, z = np.meshgrid(-centre, -centre)
    direction = np.stack([np.ones_like(y), y, z], -1).reshape(-1, 3)
    length = np.linalg.norm(direction, axis=1)
    with np.load(reference, allow_pickle=False) as data:
        rig = data["pose_xyzrpy"]
        for face, (pitch, yaw) in turns.items():
            depth = data[f"{face}_depth"][1::4, 1::4].ravel()
            label = data[f"{face}_label"][1::4, 1::4].ravel()
            turn = rotation_from_rpy(*rig[3:]) @ rotation_from_rpy(0, np.radians(pitch), np.radians(yaw))
            distance, hit = loaded.rays.cast(
                np.tile(rig[:3], (len(direction), 1)), direction @ turn.T, cull_backfaces=True, max_distance=300.0
            )
            ours = distance / length
            seen = np.isfinite(depth)
            assert (np.isfinite(ours) | ~seen).mean() > 0.9998
            # Where only we see something it is the ground's extension, beyond the source's edge.
            assert (loaded.scene.face_class[hit[np.isfinite(ours) & ~seen]] == 14).all()
            both = seen & np.isfinite(ours)
            if both.any():
                difference = np.abs(ours[both] - depth[both])
                assert np.median(difference) < 1e-3 and (difference > 0.05).mean() < 5e-4
                assert (loaded.scene.face_class[hit[both]] != label[both]).mean() < 5e-4


@pytest.mark.parametrize(
    ("prefix", "buildings", "epsg", "tallest", "roads"),
    [
        ("01_*", 9, 6677, 48.7, 0),
        ("02_*", 10, 6677, 48.7, 0),
        ("04_*", 27, 6677, None, 0),
        ("07_*", 407, 6674, None, 58),
        ("08_*", 92, 6674, None, 64),
        ("10_*", 98, 6677, None, 0),
    ],
)
def test_city_gml_of_many_years_converts_whole(tmp_path, prefix, buildings, epsg, tallest, roads):
    report = convert(source(prefix), tmp_path / "world", strict=True)
    city = load(tmp_path / "world")
    assert report.written["buildings"] == report.written["closed buildings"] == buildings
    assert city["crs"]["epsg"] == epsg and report.skipped == []
    assert report.written.get("roads draped", 0) == roads
    if prefix == "07_*":
        world_module = pytest.importorskip("aerialworld_core.world")
        assert world_module.load_world(tmp_path / "world" / "world.sdf").notes == []
    if tallest:
        assert max(b["height"] for b in city["buildings"]) == pytest.approx(tallest, abs=0.25)
    for b in city["buildings"]:
        if b["lod"] == 2 and b["measured_height"]:
            assert b["height"] == pytest.approx(b["measured_height"], abs=2.5)


def test_two_years_of_one_place_agree(tmp_path):
    """The buildings of 2022 (i-UR 2.0) and of 2020 (1.4) stand at one place with equal heights."""
    origin = (35.545, 139.76)
    boxes = []
    for prefix in ("01_*", "02_*"):
        convert(source(prefix), tmp_path / prefix[:2], origin=origin)
        boxes.append(np.array([b["bbox"] for b in load(tmp_path / prefix[:2])["buildings"]]))
    new, old = boxes
    same = np.abs(new[:, None] - old[None])[:, :, [0, 1, 3, 4, 5]].max(axis=2).min(axis=1)
    assert np.sort(same)[:8] == pytest.approx(np.zeros(8), abs=0.02)


BROKEN = {
    "L01_xml_tag_mismatch": "line 146",
    "L13_hole_crosses_outer": "plane zones",
    "L13_two_holes_intersect": "plane zones",
    "dem_degenerate": "no building",
    "dem_triangle_flipped": "no building",
    "tran_orientation": "no building",
    "libplateau_undeclared_prefix": "line 538|line 1",
}


@pytest.mark.parametrize("case", sorted(p.name for p in PLATEAU.glob("12_*/*") if p.is_dir()) or ["none"])
def test_broken_cases_end_in_a_message_or_a_world(tmp_path, case):
    folder = source("12_*") / case
    if case in BROKEN:
        with pytest.raises(InputError, match=BROKEN[case]):
            convert(folder, tmp_path / "world")
        assert list(tmp_path.iterdir()) == []
        return
    report = convert(folder, tmp_path / "world")
    assert report.written["buildings"] >= 1 and report.written["building triangles"] >= 3
    assert np.isfinite(report.bounds["world"]).all()


def test_the_courtyard_with_six_holes_keeps_them(tmp_path):
    convert(source("12_*") / "osaka_holes_Issue138", tmp_path / "world")
    assert all(b["closed"] for b in load(tmp_path / "world")["buildings"])
