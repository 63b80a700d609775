"""A real tile (PLATEAU set 06) as Gazebo recorded it: our rays must give the same depth and classes."""

import os
from pathlib import Path

import numpy as np
import pytest

from aerialworld_core.frames import rotation_from_rpy
from aerialworld_core.rig import CUBE_FACES
from aerialworld_core.world import load_world

SHARED = Path(os.environ.get("AERIALWORLD_SHARED", Path(__file__).resolve().parents[5] / "shared"))
MESHES = SHARED / "data" / "plateau" / "06_obj_minato_roppongi_53393599" / "demoSrc"
REFERENCE = SHARED / "reference" / "gazebo" / "tile06"


@pytest.fixture(scope="module")
def tile(tmp_path_factory):
    if not (MESHES.is_dir() and REFERENCE.is_dir()):
        pytest.skip(f"the recorded tile is not below {SHARED} (set AERIALWORLD_SHARED)")
    folder = tmp_path_factory.mktemp("tile06")
    models = ""
    for name, label in (("bldg", 15), ("dem", 14)):
        (folder / f"{name}.obj").write_bytes((MESHES / f"53393599_{name}_6677.obj").read_bytes())
        models += (
            f'<model name="{name}"><static>true</static><plugin filename="gz-sim-label-system" '
            f'name="gz::sim::systems::Label"><label>{label}</label></plugin><link name="l"><visual name="v">'
            f"<pose>8100 37400 0 0 0 0</pose><geometry><mesh><uri>{name}.obj</uri></mesh></geometry></visual></link>"
            "</model>"
        )
    (folder / "world.sdf").write_text(f'<sdf version="1.10"><world name="tile06">{models}</world></sdf>')
    return load_world(folder)


def test_the_tile_is_read_whole(tile):
    assert len(tile.scene.faces) == 42424 + 44663 and tile.notes == []
    expected = [[-594.38, -511.74, 2.07], [563.59, 466.06, 243.32]]
    assert np.abs(tile.bounds - expected).max() < 0.01
    assert tile.datum(0, 0) == pytest.approx(2.0695, abs=1e-3)


def test_no_ray_slips_between_two_triangles_of_the_terrain(tile):
    scene = tile.scene
    ground = scene.faces[scene.face_class == 14]
    edges, count = np.unique(
        np.sort(ground[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1), axis=0, return_counts=True
    )
    vertices = scene.vertices.astype(np.float64)
    inner = vertices[edges[count == 2]]
    assert len(inner) > 60_000
    corners = vertices[np.setdiff1d(ground, edges[count == 1])]  # not on the tile's rim
    shares = (0.5, np.random.default_rng(0).uniform(size=(len(inner), 1)))
    for points in (corners, *(inner[:, 0] + share * (inner[:, 1] - inner[:, 0]) for share in shares)):
        assert np.abs(tile.terrain_height(points[:, :2]) - points[:, 2]).max() < 1e-6  # NaN fails too


@pytest.mark.parametrize("number", [0, 2, 4])
def test_depth_and_class_as_gazebo_recorded_them(tile, number):
    data = np.load(REFERENCE / f"pose{number}.npz", allow_pickle=False)
    pose = data["pose_xyzrpy"]
    offset = (np.arange(400) + 0.5 - 200) / 200
    rays = np.stack(np.broadcast_arrays(1.0, -offset[None, :], -offset[:, None]), axis=-1).reshape(-1, 3)
    for face, (yaw, pitch) in CUBE_FACES.items():
        directions = rays @ (rotation_from_rpy(*pose[3:]) @ rotation_from_rpy(0, pitch, yaw)).T
        distance, index = tile.cast(np.broadcast_to(pose[:3], directions.shape), directions, max_distance=300.0)
        depth = distance / np.linalg.norm(rays, axis=1)
        recorded = data[f"{face}_depth"].ravel().astype(np.float64)
        both = np.isfinite(depth) & np.isfinite(recorded)
        assert (np.isfinite(depth) != np.isfinite(recorded)).sum() <= 3, (number, face)
        if both.any():
            error = np.abs(depth[both] - recorded[both])
            assert np.median(error) <= 2e-4, (number, face)
            assert (error > 0.05).mean() <= 5e-4, (number, face)
            classes = tile.scene.face_class[index[both]]
            assert (classes != data[f"{face}_label"].ravel()[both]).mean() <= 5e-4, (number, face)
