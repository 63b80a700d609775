"""Exports to other data sets' formats: the numbers in them project, move and mask as the session does.

The formats' own readers check them too where there are some: set AERIALWORLD_DEVKIT_PYTHON to a Python that has
nuscenes-devkit and pykitti (they want other library versions than this project).
"""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from typer.testing import CliRunner

from aerialworld.cli import app
from aerialworld_core.frames import Pose, grid_from_map, rotation_from_quaternion
from aerialworld_core.labels import FREE
from aerialworld_core.occupancy import Occupancy
from aerialworld_core.session import Session
from aerialworld_recorder.exports.visibility import camera_mask

SYNTHETIC = Path(__file__).parents[1] / "src" / "aerialworld_core" / "test" / "session" / "synthetic.py"
DEVKIT = os.environ.get("AERIALWORLD_DEVKIT_PYTHON")


@pytest.fixture(scope="module")
def synthetic() -> ModuleType:
    spec = importlib.util.spec_from_file_location("exports_synthetic", SYNTHETIC)
    module = importlib.util.module_from_spec(spec)
    sys.modules["exports_synthetic"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def session(synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """Four frames of a drone that circles among boxes; a car of 2 m/s whose box says 1 m per frame."""
    made = synthetic.frames(4)
    return Session.open(synthetic.write(tmp_path_factory.mktemp("data"), made))


def exported(kind: str, session: Session, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / kind
    result = CliRunner().invoke(app, ["session", "export", kind, str(session.path), "--out", str(out)])
    assert result.exit_code == 0, result.stdout + result.stderr
    return out


@pytest.fixture(scope="module")
def nuscenes(session: Session, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported("nuscenes", session, tmp_path_factory)


@pytest.fixture(scope="module")
def occ3d(session: Session, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported("occ3d", session, tmp_path_factory)


@pytest.fixture(scope="module")
def uniocc(session: Session, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported("uniocc", session, tmp_path_factory)


@pytest.fixture(scope="module")
def kitti(session: Session, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported("kitti", session, tmp_path_factory)


def placed(row: dict) -> Pose:
    w, x, y, z = row["rotation"]
    return Pose(np.array(row["translation"]), np.array([x, y, z, w]))


# --- Occ3D -----------------------------------------------------------------------------------------------------------


def test_occ3d_labels_are_the_voxels(occ3d: Path, session: Session) -> None:
    about = json.loads((occ3d / "annotations.json").read_text())
    (name,) = about["train_split"]
    frames = about["scene_infos"][name]
    assert len(frames) == len(session)
    for index, (token, frame) in zip(session.frame_indices, frames.items(), strict=True):
        assert frame["gt_path"] == f"gts/{name}/{token}/labels.npz"
        labels, truth = np.load(occ3d / frame["gt_path"]), session.occupancy(index)
        assert np.array_equal(labels["semantics"], truth.semantics) and labels["semantics"].dtype == np.uint8
        assert np.array_equal(labels["mask_lidar"], truth.observed)
        assert (labels["mask_camera"] <= labels["mask_lidar"]).all() and labels["mask_camera"].any()
        assert np.array_equal(labels["range"], session.meta.grid.range)
    tokens = list(frames)
    assert [f["prev"] for f in frames.values()] == ["", *tokens[:-1]]


def test_occ3d_cameras_see_a_map_point_where_the_session_does(occ3d: Path, session: Session) -> None:
    """A point of map through ego pose and extrinsics falls on the pixel that the rig's own camera gives."""
    about = json.loads((occ3d / "annotations.json").read_text())
    frame = next(iter(next(iter(about["scene_infos"].values())).values()))
    pose = session.pose(0).pose
    for camera, sensor in zip(session.meta.rig.cameras, frame["camera_sensor"].values(), strict=True):
        assert (occ3d / sensor["img_path"]).read_bytes() == session.image_bytes(0, sensor["channel"])
        point = pose.transform(camera.optical_pose.transform(np.array([0.4, -0.2, 3.0])))
        in_ego = placed(sensor["ego_pose"]).inverse().transform(point)
        in_camera = placed(sensor["extrinsic"]).inverse().transform(in_ego)
        assert in_camera == pytest.approx([0.4, -0.2, 3.0], abs=1e-9)
        # The ego frame is the one that voxels are in.
        m = grid_from_map(pose, session.meta.datum)
        assert in_ego == pytest.approx(m[:3, :3] @ point + m[:3, 3], abs=1e-9)


def test_a_wall_hides_what_is_behind_it(session: Session, synthetic: ModuleType) -> None:
    """By geometry: a full wall of voxels across the view, everything observed."""
    grid, camera = session.meta.grid, session.meta.rig.cameras[0]
    pose = Pose.from_rpy(0, 0, 5.0)
    occupied = np.zeros(grid.shape, np.uint8)
    wall = 28
    occupied[wall] = 1
    occupancy = Occupancy(occupied, np.where(occupied, 15, FREE).astype(np.uint8), np.ones(grid.shape, bool))
    seen = camera_mask(occupancy, grid, session.meta.datum, pose, (camera,)) == 1
    assert seen[wall].sum() > 20 and not seen[wall + 1 :].any()
    back = np.linalg.inv(grid_from_map(pose, session.meta.datum))
    centres = grid.centers(np.argwhere(np.ones(grid.shape))) @ back[:3, :3].T + back[:3, 3]
    local = (camera.optical_pose.inverse().transform(pose.inverse().transform(centres))).reshape(*grid.shape, 3)
    z = local[..., 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        u = camera.focal * local[..., 0] / z + camera.width / 2
        v = camera.focal * local[..., 1] / z + camera.height / 2
    view = (z > camera.near) & (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height)
    assert np.array_equal(seen[: wall + 1], view[: wall + 1])


def test_a_lens_that_distorts_shows_what_it_shows(session: Session) -> None:
    """Every voxel's centre through aerialworld_core.lens, in an empty grid that is all observed."""
    from dataclasses import replace

    from aerialworld_core import lens

    camera = replace(session.meta.rig.cameras[0], distortion=(-0.15, 0.02, 0.001, -0.002, 0.0))
    grid, pose, datum = session.meta.grid, Pose.from_rpy(1, 2, 5.0, 0.1, 0.2, 0.7), session.meta.datum
    free = Occupancy(np.zeros(grid.shape, np.uint8), np.full(grid.shape, FREE, np.uint8), np.ones(grid.shape, bool))
    seen = camera_mask(free, grid, datum, pose, (camera,)) == 1
    back = np.linalg.inv(grid_from_map(pose, datum))
    centres = grid.centers(np.argwhere(np.ones(grid.shape))) @ back[:3, :3].T + back[:3, 3]
    x, y, z = camera.optical_pose.inverse().transform(pose.inverse().transform(centres)).T
    front = z > camera.near
    u, v = lens.distort(x[front] / z[front], y[front] / z[front], camera.distortion)
    k = camera.intrinsics
    px, py = k[0, 0] * u + k[0, 2], k[1, 1] * v + k[1, 2]
    shown = np.zeros(len(z), bool)
    narrow = np.hypot(x[front], y[front]) / z[front] < 1.2  # far outside, the polynomials fold back
    shown[front] = (px >= 0) & (px < camera.width) & (py >= 0) & (py < camera.height) & narrow
    assert np.array_equal(seen.ravel(), shown) and seen.sum() > 500


# --- UniOcc ----------------------------------------------------------------------------------------------------------


def test_uniocc_flow_takes_what_stands_to_its_next_place(uniocc: Path, session: Session) -> None:
    """Voxel plus flow, through the next ego frame, is the same point of map."""
    infos = pickle.loads((uniocc / "scene_infos.pkl").read_bytes())  # noqa: S301 (written a moment ago)
    paths = infos[0]["occ_in_scene_paths"]
    files = [np.load(uniocc / p, allow_pickle=True) for p in paths]
    grid = session.meta.grid
    for n in range(len(files) - 1):
        now, later = files[n], files[n + 1]
        still = np.argwhere(np.isin(now["occ_label"], (7, 8, 9)))
        flow = now["occ_flow_forward"][tuple(still.T)]
        there = np.array(grid.minimum) + (still + 0.5 + flow) * np.array(grid.voxel_size)
        a = np.column_stack([grid.centers(still), np.ones(len(still))]) @ now["ego_to_world_transformation"].T
        b = np.column_stack([there, np.ones(len(still))]) @ later["ego_to_world_transformation"].T
        assert np.allclose(a[:, :3], b[:, :3], atol=1e-4) and len(still) > 100 and np.abs(flow).max() > 1
        # Backward flow of the later frame undoes it.
        back = later["occ_flow_backward"]
        still = np.argwhere(np.isin(later["occ_label"], (7, 8, 9)))
        there = np.array(grid.minimum) + (still + 0.5 + back[tuple(still.T)]) * np.array(grid.voxel_size)
        a = np.column_stack([grid.centers(still), np.ones(len(still))]) @ later["ego_to_world_transformation"].T
        b = np.column_stack([there, np.ones(len(still))]) @ now["ego_to_world_transformation"].T
        assert np.allclose(a[:, :3], b[:, :3], atol=1e-4)
        assert (now["occ_flow_forward"][now["occ_label"] == 10] == 0).all()
    assert not files[-1]["occ_flow_forward"].any() and not files[0]["occ_flow_backward"].any()
    first = files[0]
    assert first["cameras"][0]["name"] == "CAM_FRONT"
    assert (uniocc / first["cameras"][0]["filename"]).read_bytes() == session.image_bytes(0, "CAM_FRONT")
    (car,) = first["annotations"]
    assert car["agent_to_world"][:3, 3].tolist() == [1.0, 2.0, 0.5] and car["category_id"] == 1
    assert np.allclose(first["ego_to_world_transformation"] @ car["agent_to_ego"], car["agent_to_world"])


def test_an_actors_voxels_move_with_it(synthetic: ModuleType, tmp_path: Path) -> None:
    from aerialworld_core.labels import CAR
    from aerialworld_recorder.exports.uniocc import voxel_flow

    made = []
    for index, (frame, occupancy, images) in enumerate(synthetic.frames(2)):
        actor = {**frame.actors[0], "position": [16.0 + 0.8 * index, 2.0 + index, 2.0]}
        frame.actors[:] = [actor]
        m = grid_from_map(frame.state.pose, synthetic.DATUM)
        ijk, inside = synthetic.GRID.indices(np.array([actor["position"]]) @ m[:3, :3].T + m[:3, 3])
        assert inside.all()
        at = tuple(ijk[0])
        occupancy.occupancy[at], occupancy.semantics[at], occupancy.observed[at] = 1, CAR, True
        made.append((frame, occupancy, images, at))
    session = Session.open(synthetic.write(tmp_path, [m[:3] for m in made]))
    flow = voxel_flow(session, 0, 1, session.occupancy(0))
    expected = np.array(made[1][3]) - np.array(made[0][3])
    assert np.abs(flow[made[0][3]] - expected).max() <= 1.0  # both are the voxels that hold one point of the car
    still = voxel_flow(session, 0, 1, session.occupancy(0))
    assert np.isfinite(still).all()


# --- KITTI and nuScenes ----------------------------------------------------------------------------------------------


def test_kitti_points_fall_on_the_pixels_of_the_rig(kitti: Path, session: Session) -> None:
    lines = dict(line.split(": ") for line in (kitti / "sequences/00/calib.txt").read_text().splitlines())
    projection = np.array(lines["P2"].split(), float).reshape(3, 4)
    to_camera = np.array(lines["Tr"].split(), float).reshape(3, 4)
    points = np.fromfile(kitti / "sequences/00/velodyne/000001.bin", "<f4").reshape(-1, 4)
    assert np.array_equal(points, session.lidar(1))
    front, lidar = session.meta.rig.cameras[0], session.meta.rig.lidar
    local = front.optical_pose.inverse().transform(lidar.pose.transform(points[:, :3]))
    image = (
        projection @ np.vstack([to_camera @ np.vstack([points[:, :3].T, np.ones(len(points))]), np.ones(len(points))])
    ).T
    assert np.allclose(image, local @ front.intrinsics.T, atol=1e-4)
    poses = np.loadtxt(kitti / "poses/00.txt").reshape(-1, 3, 4)
    first = (session.pose(0).pose @ front.optical_pose).matrix
    for index, pose in zip(session.frame_indices, poses, strict=True):
        truth = (session.pose(index).pose @ front.optical_pose).matrix
        assert np.allclose(first @ np.vstack([pose, [0, 0, 0, 1]]), truth, atol=1e-9)
    voxels = np.unpackbits(
        np.fromfile(kitti / "sequences/00/voxels/000002.bin", np.uint8), count=session.meta.grid.size
    )
    assert np.array_equal(voxels.reshape(session.meta.grid.shape), session.occupancy(2).occupancy)
    labels = np.fromfile(kitti / "sequences/00/voxels/000002.label", "<u2").reshape(session.meta.grid.shape)
    semantics = session.occupancy(2).semantics
    assert np.array_equal(labels[semantics != FREE] - 1, semantics[semantics != FREE])


def test_nuscenes_tables_point_at_each_other(nuscenes: Path, session: Session) -> None:
    root = nuscenes / "v1.0-trainval"
    tables = {p.stem: {row["token"]: row for row in json.loads(p.read_text())} for p in root.glob("*.json")}
    assert len(tables) == 13
    for name, rows in tables.items():
        for row in rows.values():
            for key, value in row.items():
                if key.endswith("_token") and key not in ("first_sample_token", "last_sample_token"):
                    table = key[: -len("_token")].replace("first_annotation", "sample_annotation")
                    table = table.replace("last_annotation", "sample_annotation")
                    assert value in tables[table], f"{name}: {key}"
    for row in tables["sample_data"].values():
        assert (nuscenes / row["filename"]).is_file()
    (scene,) = tables["scene"].values()
    token, stamps = scene["first_sample_token"], []
    while token:
        stamps.append(tables["sample"][token]["timestamp"])
        token = tables["sample"][token]["next"]
    assert np.diff(stamps).tolist() == [500_000] * 3
    boxes = sorted(tables["sample_annotation"].values(), key=lambda r: r["translation"][0])
    assert [b["size"] for b in boxes] == [[1.8, 4.0, 1.5]] * 4 and boxes[0]["translation"] == [1.0, 2.0, 0.5]
    ego = placed(tables["ego_pose"][next(iter(tables["sample_data"].values()))["ego_pose_token"]])
    assert np.allclose(ego.rotation, rotation_from_quaternion(session.pose(0).pose.orientation))


NUSCENES_CHECK = """
import sys, numpy as np
from nuscenes.nuscenes import NuScenes
from nuscenes.utils.data_classes import LidarPointCloud
n = NuScenes(version="v1.0-trainval", dataroot=sys.argv[1], verbose=False)
sample = n.sample[0]
path, boxes, k = n.get_sample_data(sample["data"]["CAM_FRONT"])
assert k.shape == (3, 3)
path, boxes, _ = n.get_sample_data(sample["data"]["LIDAR_TOP"])
points = LidarPointCloud.from_file(path)
assert points.points.shape[0] == 4 and points.points.shape[1] > 100
assert len(boxes) == 1 and boxes[0].name == "vehicle.car"
n.list_scenes()
print("ok", points.points.shape[1], *boxes[0].center)
"""
KITTI_CHECK = """
import sys, numpy as np, pykitti
k = pykitti.odometry(sys.argv[1], "00")
assert len(k) == len(k.poses) == len(k.velo_files) == len(k.cam2_files) == 4
assert k.get_velo(1).shape[1] == 4 and np.asarray(k.get_cam2(0)).ndim == 3
assert np.allclose(k.poses[0], np.eye(4)) and np.allclose(np.linalg.det(k.calib.T_cam2_velo[:3, :3]), 1)
print("ok", k.timestamps[-1].total_seconds())
"""


@pytest.mark.skipif(DEVKIT is None, reason="AERIALWORLD_DEVKIT_PYTHON names no Python with nuscenes-devkit and pykitti")
@pytest.mark.parametrize("kind", ["nuscenes", "kitti"])
def test_the_formats_own_reader_opens_it(kind: str, request: pytest.FixtureRequest, session: Session) -> None:
    folder = request.getfixturevalue(kind)
    code = NUSCENES_CHECK if kind == "nuscenes" else KITTI_CHECK
    done = subprocess.run([DEVKIT, "-c", code, str(folder)], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    word, *values = done.stdout.split("\n")[-2].split()
    assert word == "ok"
    if kind == "nuscenes":
        # The devkit brings the car's box into the LiDAR's frame, by its own arithmetic.
        lidar = session.pose(0).pose @ session.meta.rig.lidar.pose
        truth = lidar.inverse().transform(np.array([1.0, 2.0, 0.5]))
        assert np.allclose(np.array(values[1:], float), truth, atol=1e-6)
        assert int(values[0]) == len(session.lidar(0))
    else:
        assert float(values[0]) == pytest.approx(1.5)


def test_an_export_never_writes_over_something(session: Session, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "mine.txt").write_text("mine")
    result = CliRunner().invoke(app, ["session", "export", "occ3d", str(session.path), "--out", str(tmp_path / "x")])
    assert result.exit_code == 2 and "exists already" in result.stderr
    assert [p.name for p in tmp_path.rglob("*")] == ["x", "mine.txt"]
