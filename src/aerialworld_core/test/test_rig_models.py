"""The shipped rigs and vehicles hold the numbers that the design names, and rigs of others are read or refused."""

import numpy as np
import pytest

from aerialworld_core.errors import InputError, WorldError
from aerialworld_core.frames import rotation_from_rpy
from aerialworld_core.resources import model_path
from aerialworld_core.rig import CUBE_FACES, Rig
from aerialworld_core.topics import vehicle_topics
from aerialworld_core.world import load_rig, load_world

YAWS = {
    "cam_front": 0,
    "cam_front_left": 55,
    "cam_front_right": -55,
    "cam_back": 180,
    "cam_back_left": 110,
    "cam_back_right": -110,
}
#: pitch of the cameras, image size, face, down face, beams × columns, elevations, cube centre
EXPECTED = {
    "rig_drone": (30, (1600, 900), 400, 800, (32, 1024), (-60, 10), (0, 0, -0.12)),
    "rig_rover": (0, (1600, 900), 400, 400, (32, 1024), (-25, 15), (0, 0, 1.5)),
    "rig_small": (15, (320, 180), 100, 100, (8, 128), (-45, 15), (0, 0, 0.3)),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_shipped_rigs(name):
    pitch, size, face, down, (beams, columns), elevations, centre = EXPECTED[name]
    rig = load_rig(name)
    assert rig.name == name and [c.name for c in rig.cameras] == list(YAWS)
    for camera in rig.cameras:
        assert (camera.width, camera.height) == size and camera.rate == 10
        assert np.degrees(camera.hfov) == pytest.approx(70)
        wanted = rotation_from_rpy(0, np.radians(pitch), np.radians(YAWS[camera.name]))
        assert np.allclose(camera.pose.rotation, wanted, atol=1e-9)
        assert camera.pose.rotation[2, 0] == pytest.approx(-np.sin(np.radians(pitch)))  # pitched down
        # It stands on the side that it looks to, so that it does not look through the vehicle.
        assert camera.pose.position[:2] @ camera.pose.rotation[:2, 0] > 0.1
    assert [d.name for d in rig.depth] == list(CUBE_FACES)
    for depth in rig.depth:
        assert depth.width == depth.height == (down if depth.name == "down" else face)
        assert np.degrees(depth.hfov) == pytest.approx(90) and (depth.near, depth.far) == (0.1, 200)
        assert np.allclose(depth.pose.position, centre)
        yaw, tilt = CUBE_FACES[depth.name]
        assert np.allclose(depth.pose.rotation, rotation_from_rpy(0, tilt, yaw), atol=1e-9)
    assert np.allclose(rig.depth[5].pose.rotation[:, 0], [0, 0, -1])  # down looks down
    lidar = rig.lidar
    assert (lidar.beams, lidar.columns) == (beams, columns) and (lidar.min_range, lidar.max_range) == (0.5, 120)
    assert np.degrees([lidar.min_elevation, lidar.max_elevation]) == pytest.approx(elevations)
    assert np.degrees(lidar.azimuths[0]) == pytest.approx(-180)
    assert np.degrees(np.diff(lidar.azimuths)) == pytest.approx(360 / columns)  # and no doubled seam:
    assert np.degrees(lidar.azimuths[-1]) == pytest.approx(180 - 360 / columns)
    assert lidar.noise_stddev == 0.01 and lidar.rate == 10
    assert rig.imu.rate == 100 and min(rig.imu.gyro_noise_stddev, rig.imu.accel_noise_stddev) > 0
    assert min(rig.imu.gyro_bias_stddev, rig.imu.accel_bias_stddev) > 0
    again = Rig.from_dict(rig.to_dict())  # as a session keeps it
    assert again.lidar.columns == columns and np.allclose(again.depth[5].pose.matrix, rig.depth[5].pose.matrix)


@pytest.mark.parametrize(("vehicle", "rig"), [("drone", "rig_drone"), ("rover", "rig_rover")])
def test_a_vehicle_carries_its_rig_in_base_link(vehicle, rig):
    a, b = load_rig(vehicle).to_dict(), load_rig(rig).to_dict()
    assert a.pop("name") == vehicle and b.pop("name") == rig
    assert a == b
    assert load_rig(model_path(vehicle)).to_dict() == load_rig(model_path(vehicle).parent).to_dict()
    topics = [t.name for t in vehicle_topics("drone_1", load_rig(vehicle))]
    assert len(set(topics)) == len(topics) and "/drone_1/semantic/down/image" in topics


@pytest.mark.parametrize(("vehicle", "label", "low", "high"), [("drone", 0, -0.25, 0.08), ("rover", 4, 0.0, 1.8)])
def test_vehicles_are_solid_things_of_their_class(vehicle, label, low, high):
    world = load_world(model_path(vehicle))
    assert set(world.scene.face_class) == {label}
    # As a world of its own it has no sensors of its own that it could be hidden from.
    assert all(note.startswith("<visibility_flags>") for note in world.notes), world.notes
    assert world.bounds[0, 2] == pytest.approx(low, abs=1e-3) and world.bounds[1, 2] <= high
    size = world.bounds[1] - world.bounds[0]
    assert (size[:2] > 0.4).all() and (size[:2] < 1.2).all()


def test_every_visual_of_a_vehicle_is_hidden_from_its_own_sensors():
    from aerialworld_core.safexml import parse

    for vehicle, rig in (("drone", "rig_drone"), ("rover", "rig_rover")):
        flags = {int(e.text) for e in parse(model_path(vehicle)).iter("visibility_flags")}
        visuals = list(parse(model_path(vehicle)).iter("visual"))
        assert len(flags) == 1 and all(v.find("visibility_flags") is not None for v in visuals)
        root = parse(model_path(rig))
        masks = [int(e.text) for e in root.iter("visibility_mask")]
        assert len(masks) == 6 + 12 + 1 and len(set(masks)) == 1
        assert masks[0] & flags.pop() == 0 and masks[0] & 1  # the world's visuals stay visible


def test_inertias_are_physical():
    from aerialworld_core.safexml import parse

    for name in ("drone", "rover", *EXPECTED):
        for inertial in parse(model_path(name)).iter("inertial"):
            x, y, z = (float(inertial.find(f"inertia/{k}").text) for k in ("ixx", "iyy", "izz"))
            assert min(x, y, z) > 0 and x + y >= z and y + z >= x and z + x >= y
            assert float(inertial.find("mass").text) > 0


def sensor(kind="camera", name="cam_front", pose="0 0 0 0 0 0", rate="10", body=None, image="64 48"):
    width, height = image.split()
    body = body or (
        f"<camera><horizontal_fov>1</horizontal_fov><image><width>{width}</width><height>{height}</height></image>"
        "<clip><near>0.1</near><far>50</far></clip></camera>"
    )
    return f'<sensor name="{name}" type="{kind}"><pose>{pose}</pose><update_rate>{rate}</update_rate>{body}</sensor>'


def write_rig(folder, *sensors, before="", link="base_link", pose="0 0 0 0 0 0"):
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / "my.sdf"
    path.write_text(
        f'<sdf version="1.9"><model name="mine">{before}<link name="{link}"><pose>{pose}</pose>{"".join(sensors)}'
        "</link></model></sdf>"
    )
    return path


def test_sensor_poses_are_in_base_link(tmp_path):
    # base_link stands 2 m up and is turned left; the camera on another link 3 m up, 1 m north of the origin.
    before = f'<link name="mast"><pose>0 1 3 0 0 0</pose>{sensor(pose="0 0 0.5 0 0 0")}</link>'
    rig = load_rig(write_rig(tmp_path, before=before, pose="0 0 2 0 0 1.5707963267948966"))
    camera = rig.cameras[0]
    assert np.allclose(camera.pose.position, [1, 0, 1.5]) and camera.pose.yaw == pytest.approx(-np.pi / 2)
    assert rig.depth == () and rig.lidar is None and rig.imu is None and rig.name == "mine"


def test_a_plain_include_and_a_merged_one_give_the_same_rig(tmp_path, monkeypatch):
    write_rig(tmp_path / "their_rig", sensor(pose="1 0 0 0 0 0"), link="rig_link")
    (tmp_path / "their_rig" / "my.sdf").rename(tmp_path / "their_rig" / "model.sdf")
    monkeypatch.setenv("GZ_SIM_RESOURCE_PATH", str(tmp_path))
    rigs = []
    for merge in ("", ' merge="true"'):
        include = f"<include{merge}><uri>model://their_rig</uri><pose>0 0 1 0 0 1.5707963267948966</pose></include>"
        rigs.append(load_rig(write_rig(tmp_path / "vehicle", before=include)))
    assert np.allclose(rigs[0].cameras[0].pose.position, [0, 1, 1])
    assert rigs[0].to_dict() == rigs[1].to_dict()


@pytest.mark.parametrize(
    ("sensors", "match"),
    [
        ([], "carries a camera"),
        ([sensor(), sensor()], "two sensors of this name"),
        ([sensor(rate="0")], "update_rate"),
        ([sensor(image="64.5 48")], "whole number"),
        ([sensor(image="0 48")], "1 to 16384"),
        ([sensor(image="x 48")], "is not 1 number"),
        ([sensor(body="<camera/>")], "has no <image/width>"),
        ([sensor("wideanglecamera")], "wideanglecamera"),
        ([sensor("depth_camera", "front")], "depth_front"),
        ([sensor("segmentation_camera", "semantic_front")], "has no depth_front"),
        (
            [
                sensor("depth_camera", "depth_front"),
                sensor("segmentation_camera", "semantic_front", pose="0 0 1 0 0 0"),
            ],
            "must have the pose",
        ),
        ([sensor("gpu_lidar", "lidar", body="<lidar/>")], "has no <scan/horizontal/samples>"),
        ([sensor("imu", "imu", body=" "), sensor("imu", "imu2", body=" ")], "has an IMU already"),
    ],
)
def test_rigs_that_cannot_be_used(tmp_path, sensors, match):
    with pytest.raises(WorldError, match=match):
        load_rig(write_rig(tmp_path, *sensors))


def test_an_unknown_rig_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(InputError, match=r"model rig_nobody: no rig_nobody/model\.sdf in"):
        load_rig("rig_nobody")
    with pytest.raises(InputError, match="no such SDF file"):
        load_rig(tmp_path / "none.sdf")
