"""What the recorder subscribes to is what Gazebo publishes: sensors, bridge, engine and recorder have one source, and
are compared each with the others by what Gazebo does with a sensor's <topic>."""

import posixpath

import pytest
import yaml

from aerialworld_core import topics
from aerialworld_core.world import load_rig
from aerialworld_recorder.stream.channels import MODALITIES, recorded_rig, vehicle_channels
from aerialworld_sim.gazebo.bridge import bridge_yaml, clock_bridge, control_service, image_topics, vehicle_bridge
from aerialworld_sim.gazebo.vehicle import GazeboVehicle, vehicle_element

#: Pairs that ros_gz_bridge converts (its README), of those that we ask for.
CONVERTED = {
    ("nav_msgs/msg/Odometry", "gz.msgs.Odometry"),
    ("sensor_msgs/msg/NavSatFix", "gz.msgs.NavSat"),
    ("sensor_msgs/msg/Imu", "gz.msgs.IMU"),
    ("sensor_msgs/msg/CameraInfo", "gz.msgs.CameraInfo"),
    ("sensor_msgs/msg/Image", "gz.msgs.Image"),
    ("sensor_msgs/msg/PointCloud2", "gz.msgs.PointCloudPacked"),
    ("rosgraph_msgs/msg/Clock", "gz.msgs.Clock"),
    ("geometry_msgs/msg/Twist", "gz.msgs.Twist"),
}
FLEET = [("drone_1", "rig_drone"), ("drone_2", "rig_small"), ("rover_1", "rig_rover")]


def beside(topic: str) -> str:
    return posixpath.join(posixpath.dirname(topic), "camera_info")


def published(model) -> dict[str, str]:
    """Gazebo topic → type of everything that a vehicle's sensors and systems publish (gz-sensors 8, gz-sim 8)."""
    found: dict[str, str] = {}
    for sensor in model.iter("sensor"):
        topic, kind = sensor.findtext("topic"), sensor.get("type")
        if topic is None:
            continue  # a scoped name of its own, which nobody bridges
        new = {
            "camera": {topic: "Image", beside(topic): "CameraInfo"},
            "depth_camera": {topic: "Image", f"{topic}/points": "PointCloudPacked", beside(topic): "CameraInfo"},
            "segmentation_camera": {
                f"{topic}/labels_map": "Image",
                f"{topic}/colored_map": "Image",
                f"{topic}/camera_info": "CameraInfo",
            },
            "gpu_lidar": {topic: "LaserScan", f"{topic}/points": "PointCloudPacked"},
            "imu": {topic: "IMU"},
            "navsat": {topic: "NavSat"},
        }[kind]
        assert not set(new) & set(found), f"two sensors publish {set(new) & set(found)}"
        found |= new
    for plugin in model.iter("plugin"):
        if plugin.findtext("odom_topic"):
            found[plugin.findtext("odom_topic")] = "Odometry"
    return {topic: f"gz.msgs.{kind}" for topic, kind in found.items()}


@pytest.fixture(scope="module", params=["ardupilot", "none"])
def fleet(request):
    """Vehicle → rig, model, and what its bridge carries, as read from the file that is written."""
    rigs = {name: load_rig(rig) for name, rig in FLEET}
    return {
        name: (
            rig,
            vehicle_element(GazeboVehicle(name, rig, request.param, instance=i)),
            yaml.safe_load(bridge_yaml(vehicle_bridge(name, rig, request.param))),
        )
        for i, (name, rig) in enumerate(rigs.items())
    }


def test_everything_bridged_is_published_with_its_type(fleet):
    for name, (rig, model, entries) in fleet.items():
        offered = published(model)
        for entry in entries:
            assert (entry["ros_type_name"], entry["gz_type_name"]) in CONVERTED
            if entry["direction"] == "GZ_TO_ROS":
                assert offered[entry["gz_topic_name"]] == entry["gz_type_name"]
            else:  # the other way: a system of the model listens there
                assert entry["gz_topic_name"] in {p.findtext("topic") for p in model.iter("plugin")}
        # ros_gz_image keeps the topic's name.
        assert {offered[topic] for topic in image_topics(name, rig)} <= {"gz.msgs.Image"}


def test_ros_sees_what_the_engine_would_publish(fleet):
    for name, (rig, _, entries) in fleet.items():
        images = image_topics(name, rig)
        seen = {e["ros_topic_name"]: e["ros_type_name"] for e in entries if e["direction"] == "GZ_TO_ROS"}
        assert not seen.keys() & set(images)
        seen |= dict.fromkeys(images, "sensor_msgs/msg/Image")
        seen |= {f"{topic}/compressed": "sensor_msgs/msg/CompressedImage" for topic in images}
        assert seen == {t.name: t.type for t in topics.vehicle_topics(name, rig)}
        # A second of messages, at least, waits for whoever is slow.
        queues = {e["ros_topic_name"]: e["publisher_queue"] for e in entries}
        assert all(queues[t.name] >= t.rate for t in topics.vehicle_topics(name, rig) if t.name in queues)


@pytest.mark.parametrize("transport", ["compressed", "raw"])
def test_everything_the_recorder_subscribes_to_is_there(fleet, transport):
    for name, (rig, _, entries) in fleet.items():
        images = image_topics(name, rig)
        seen = {e["ros_topic_name"]: e["ros_type_name"] for e in entries}
        seen |= dict.fromkeys(images, "sensor_msgs/msg/Image")
        seen |= {f"{topic}/compressed": "sensor_msgs/msg/CompressedImage" for topic in images}
        channels = vehicle_channels(name, recorded_rig(rig, MODALITIES), transport)
        assert {c.topic: c.type for c in channels}.items() <= seen.items()


def test_sensors_bear_the_frames_that_the_transforms_have(fleet):
    pytest.importorskip("rclpy")
    from aerialworld_sim.nodes.messages import rig_transforms

    for name, (rig, model, _) in fleet.items():
        known = {t.child_frame_id for t in rig_transforms(name, rig)} | {topics.base_frame(name)}
        frames = {e.text for e in model.iter("gz_frame_id", "optical_frame_id")}
        assert frames <= known and len(frames) == len(rig.cameras) + len(rig.depth) + 3


def test_no_two_vehicles_share_a_topic(fleet):
    for side in ("ros_topic_name", "gz_topic_name"):
        sets = [{e[side] for e in entries} for _, _, entries in fleet.values()]
        assert sum(map(len, sets)) == len(set.union(*sets))


def test_clock_and_control():
    (clock,) = yaml.safe_load(bridge_yaml(clock_bridge()))
    assert (clock["ros_topic_name"], clock["gz_topic_name"]) == (topics.CLOCK, "/clock")
    assert (clock["ros_type_name"], clock["gz_type_name"]) in CONVERTED
    assert control_service("tokyo") == "/world/tokyo/control"
