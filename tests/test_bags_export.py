"""Sessions as MCAP: what other readers find in the file is what the session holds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from aerialworld.cli import app
from aerialworld_core.frames import Pose, grid_from_map
from aerialworld_core.session import Session

rosbag2 = pytest.importorskip("rosbags.rosbag2", reason="rosbags is not installed (aerialworld_recorder[bags])")
mcap_reader = pytest.importorskip("mcap.reader", reason="mcap is not installed (aerialworld_recorder[bags])")


@pytest.fixture(scope="module")
def session(turn_session: Path) -> Session:
    return Session.open(turn_session)


@pytest.fixture(scope="module")
def bag(session: Session, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bags") / "turn.mcap"
    result = CliRunner().invoke(app, ["session", "export", "mcap", str(session.path), "--out", str(out)])
    assert result.exit_code == 0, result.stdout + result.stderr
    return out


@pytest.fixture(scope="module")
def read(bag: Path) -> dict[str, list]:
    """Topic → decoded messages, by the schemas that the file itself carries."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.EMPTY)
    found: dict[str, list] = {}
    with rosbag2.Reader(bag) as reader:
        for connection in reader.connections:
            types = get_types_from_msg(connection.msgdef.data, connection.msgtype)
            store.register({k: v for k, v in types.items() if k not in store.types})
        for connection, stamp, raw in reader.messages():
            found.setdefault(connection.topic, []).append((stamp, store.deserialize_cdr(raw, connection.msgtype)))
    return found


def stamp_of(header) -> int:
    return header.stamp.sec * 10**9 + header.stamp.nanosec


def cloud(message) -> np.ndarray:
    kinds = {2: "u1", 7: "<f4"}
    dtype = np.dtype(
        {
            "names": [f.name for f in message.fields],
            "formats": [kinds[f.datatype] for f in message.fields],
            "offsets": [f.offset for f in message.fields],
            "itemsize": message.point_step,
        }
    )
    return np.frombuffer(message.data.tobytes(), dtype)


def test_mcaps_own_reader_accepts_every_chunk(bag: Path, session: Session) -> None:
    with open(bag, "rb") as stream:
        reader = mcap_reader.make_reader(stream, validate_crcs=True)
        assert reader.get_header().profile == "ros2"
        stamps = [message.log_time for _, _, message in reader.iter_messages(log_time_order=False)]
        (record,) = [m for m in reader.iter_metadata() if m.name == "aerialworld.session"]
    assert stamps == sorted(stamps) and len(stamps) > 5 * 20
    assert json.loads(record.metadata["json"])["document"] == json.loads(json.dumps(session.meta.to_dict()))


def test_odometry_carries_the_pose_and_the_twist_in_the_body_frame(read: dict[str, list], session: Session) -> None:
    odometry = read["/drone_1/odom"]
    assert [stamp_of(m.header) for _, m in odometry] == [session.pose(i).stamp_ns for i in session.frame_indices]
    for index, (_, message) in zip(session.frame_indices, odometry, strict=True):
        record, p, q = session.pose(index), message.pose.pose.position, message.pose.pose.orientation
        assert (message.header.frame_id, message.child_frame_id) == ("map", "drone_1/base_link")
        assert np.array_equal([p.x, p.y, p.z], record.pose.position)
        assert np.array_equal([q.x, q.y, q.z, q.w], record.pose.orientation)
        v, w = message.twist.twist.linear, message.twist.twist.angular
        assert record.pose.rotation @ [v.x, v.y, v.z] == pytest.approx(record.linear_velocity, abs=1e-12)
        assert np.array_equal([w.x, w.y, w.z], record.angular_velocity)


def test_pictures_and_points_are_the_sessions_own_bytes(read: dict[str, list], session: Session) -> None:
    for camera in session.cameras:
        pictures = read[f"/drone_1/camera/{camera.lower()}/image/compressed"]
        for index, (_, message) in zip(session.frame_indices, pictures, strict=True):
            assert message.data.tobytes() == session.image_bytes(index, camera)
            assert "jpeg" in message.format and message.header.frame_id == f"drone_1/{camera.lower()}_optical_frame"
    for index, (_, message) in zip(session.frame_indices, read["/drone_1/lidar/points"], strict=True):
        points = cloud(message)
        assert np.array_equal(np.column_stack([points[n] for n in ("x", "y", "z", "intensity")]), session.lidar(index))


def test_camera_info_projects_as_the_rig_does(read: dict[str, list], session: Session) -> None:
    for spec in session.meta.rig.cameras:
        _, message = read[f"/drone_1/camera/{spec.name}/camera_info"][0]
        assert (message.width, message.height) == (spec.width, spec.height)
        assert np.array_equal(message.k.reshape(3, 3), spec.intrinsics)
        assert np.array_equal(message.p.reshape(3, 4)[:, :3], spec.intrinsics)


def test_kept_depth_goes_as_metres(read: dict[str, list], session: Session) -> None:
    index = session.frame_indices[2]
    for face in session.meta.rig.depth:
        _, message = read[f"/drone_1/depth/{face.name}/image"][2]
        assert message.encoding == "32FC1" and message.step == 4 * message.width
        pixels = message.data.view("<f4").reshape(message.height, message.width)
        assert np.array_equal(pixels, session.depth(index, face.name))
        _, classes = read[f"/drone_1/semantic/{face.name}/image"][2]
        assert np.array_equal(classes.data.reshape(message.height, -1), session.semantic(index, face.name))


def test_imu_samples_have_stamps_of_their_own(read: dict[str, list], session: Session) -> None:
    samples = np.concatenate([session.imu(i) for i in session.frame_indices])
    messages = read["/drone_1/imu"]
    assert np.allclose([stamp_of(m.header) * 1e-9 for _, m in messages], samples[:, 0], atol=1e-9)
    assert [m.linear_acceleration.z for _, m in messages] == samples[:, 6].tolist()
    assert {m.orientation_covariance[0] for _, m in messages} == {-1.0}


def test_a_voxel_lies_in_the_map_where_the_session_has_it(read: dict[str, list], session: Session) -> None:
    """By Foxglove's own reading of a VoxelGrid: byte offset → cell → corner, in the frame that /tf places in map."""
    index = session.frame_indices[3]
    stamp, grid = read["/drone_1/occupancy/grid"][3]
    (moving,) = [m for s, m in read["/tf"] if s == stamp]
    (link,) = [t for t in moving.transforms if t.child_frame_id == grid.frame_id]
    t, r = link.transform.translation, link.transform.rotation
    placed = Pose(np.array([t.x, t.y, t.z]), np.array([r.x, r.y, r.z, r.w]))
    names = {f.name: f.offset for f in grid.fields}
    cells = np.arange(0, len(grid.data), grid.cell_stride)
    occupied = cells[grid.data[cells + names["alpha"]] == 255]
    size = np.array([grid.cell_size.x, grid.cell_size.y, grid.cell_size.z])
    low = np.array([grid.pose.position.x, grid.pose.position.y, grid.pose.position.z])
    corner = np.column_stack(
        [
            occupied % grid.row_stride // grid.cell_stride,
            occupied % grid.slice_stride // grid.row_stride,
            occupied // grid.slice_stride,
        ]
    )
    found = placed.transform((corner + 0.5) * size + low)
    meta, truth = session.meta, session.occupancy(index)
    ijk = np.argwhere(truth.occupancy)
    back = np.linalg.inv(grid_from_map(session.pose(index).pose, meta.datum))
    expected = meta.grid.centers(ijk) @ back[:3, :3].T + back[:3, 3]
    assert len(found) == len(expected) > 100
    order, other = np.lexsort(found.round(6).T), np.lexsort(expected.round(6).T)
    assert np.allclose(found[order], expected[other], atol=1e-6)
    assert sorted(grid.data[occupied + names["class"]]) == sorted(truth.semantics[tuple(ijk.T)])
    assert grid.data[cells + names["observed"]].sum() == truth.observed.sum()
    _, points = read["/drone_1/occupancy"][3]
    assert np.allclose(np.sort(cloud(points)["x"]), np.sort(meta.grid.centers(ijk)[:, 0]), atol=1e-5)


def test_the_static_transforms_place_the_sensors(read: dict[str, list], session: Session) -> None:
    ((_, message),) = read["/tf_static"]
    placed = {t.child_frame_id: t.transform for t in message.transforms}
    for camera in session.meta.rig.cameras:
        t = placed[f"drone_1/{camera.name}_optical_frame"].translation
        assert [t.x, t.y, t.z] == camera.optical_pose.position.tolist()


def test_fixes_lie_where_the_vehicle_is(read: dict[str, list], session: Session) -> None:
    """Against the length of a degree on WGS 84 (Rapp, Geometric Geodesy I), good to a centimetre over a city."""
    origin = session.meta.georeference
    first, last = (read["/drone_1/navsat"][n][1] for n in (0, -1))
    latitude = np.radians(origin.latitude)
    north = 111132.954 - 559.822 * np.cos(2 * latitude) + 1.175 * np.cos(4 * latitude)
    east = 111412.84 * np.cos(latitude) - 93.5 * np.cos(3 * latitude)
    moved = session.pose(session.frame_indices[-1]).pose.position - session.pose(session.frame_indices[0]).pose.position
    assert (last.longitude - first.longitude) * east == pytest.approx(moved[0], abs=0.02)
    assert (last.latitude - first.latitude) * north == pytest.approx(moved[1], abs=0.02)
    assert last.altitude - first.altitude == pytest.approx(moved[2], abs=0.01)


def test_the_layout_names_topics_that_the_file_has(bag: Path, read: dict[str, list]) -> None:
    layout = json.loads(bag.with_name("turn.foxglove.json").read_text())
    panels = layout["configById"]

    def leaves(node) -> list[str]:
        return [node] if isinstance(node, str) else leaves(node["first"]) + leaves(node["second"])

    assert sorted(leaves(layout["layout"])) == sorted(panels)
    named = set(panels["3D!world"]["topics"])
    named |= {v for p in panels.values() for v in p.get("imageMode", {}).values()}
    named |= {path["value"].split(".")[0] for path in panels["Plot!motion"]["paths"]}
    assert named <= set(read)


def test_one_file_takes_one_session_of_a_vehicle(session: Session, tmp_path: Path) -> None:
    words = ["session", "export", "mcap", str(session.path), str(session.path), "--out", str(tmp_path / "two.mcap")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2 and "drone_1" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_damage_stops_the_export_and_leaves_no_file(session: Session, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "sessions" / session.path.name
    shutil.copytree(session.path, copy)
    file = next((copy / "images").iterdir())
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    result = CliRunner().invoke(app, ["session", "export", "mcap", str(copy), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2 and file.name in result.stderr
    assert list((tmp_path / "out").iterdir()) == []
