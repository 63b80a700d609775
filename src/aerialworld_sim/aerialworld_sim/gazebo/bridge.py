"""How Gazebo's topics become ROS topics: the configuration of ros_gz_bridge, and what ros_gz_image compresses.

Everything comes from `aerialworld_core.topics`. Pictures go through ros_gz_image, which compresses them and keeps the
Gazebo topic's name; all else through one ros_gz_bridge for each vehicle, lazily: a sensor that nobody subscribes to is
not rendered.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import yaml

from aerialworld_core import topics
from aerialworld_core.rig import Rig
from aerialworld_core.topics import Topic
from aerialworld_sim.gazebo.drives import command_topic
from aerialworld_sim.gazebo.sensors import LABELS

Direction = Literal["GZ_TO_ROS", "ROS_TO_GZ"]
GZ_TO_ROS: Direction = "GZ_TO_ROS"
ROS_TO_GZ: Direction = "ROS_TO_GZ"
#: Gazebo's message of each kind of topic that ros_gz_bridge carries.
GZ_TYPES = {
    "odom": "gz.msgs.Odometry",
    "navsat": "gz.msgs.NavSat",
    "imu": "gz.msgs.IMU",
    "camera_info": "gz.msgs.CameraInfo",
    "depth": "gz.msgs.Image",
    "depth_info": "gz.msgs.CameraInfo",
    "semantic": "gz.msgs.Image",
    "lidar": "gz.msgs.PointCloudPacked",
}
#: Kinds that ros_gz_image publishes.
IMAGES = frozenset({"image", "compressed"})
#: Messages that wait on either side: of kinds that come faster than frames, one second of them.
LEAST_QUEUE = 10


@dataclass(frozen=True)
class Bridged:
    """One topic that ros_gz_bridge carries; `lazy`: only while somebody on the receiving side subscribes to it."""

    ros_topic: str
    gz_topic: str
    ros_type: str
    gz_type: str
    queue: int
    direction: Direction = GZ_TO_ROS
    lazy: bool = True

    def entry(self) -> dict[str, object]:
        """As in ros_gz_bridge's configuration file."""
        return {
            "ros_topic_name": self.ros_topic,
            "gz_topic_name": self.gz_topic,
            "ros_type_name": self.ros_type,
            "gz_type_name": self.gz_type,
            "direction": self.direction,
            "publisher_queue": self.queue,
            "subscriber_queue": self.queue,
            "lazy": self.lazy,
        }


def gz_topic(topic: Topic) -> str:
    """Where Gazebo publishes what ROS knows as `topic`."""
    return topic.name + LABELS if topic.kind == "semantic" else topic.name


def vehicle_bridge(vehicle: str, rig: Rig, autopilot: str = "ardupilot") -> list[Bridged]:
    """What one vehicle's bridge carries: its topics, and the way back for the commands of a kinematic one."""
    carried = [
        Bridged(t.name, gz_topic(t), t.type, GZ_TYPES[t.kind], max(LEAST_QUEUE, round(t.rate)))
        for t in topics.vehicle_topics(vehicle, rig)
        if t.kind not in IMAGES
    ]
    if autopilot == "none":
        topic = command_topic(vehicle)
        carried.append(
            Bridged(topic, topic, "geometry_msgs/msg/Twist", "gz.msgs.Twist", LEAST_QUEUE, ROS_TO_GZ, lazy=False)
        )
    return carried


def clock_bridge() -> list[Bridged]:
    """The clock, which all vehicles share."""
    return [Bridged(topics.CLOCK, topics.CLOCK, "rosgraph_msgs/msg/Clock", "gz.msgs.Clock", LEAST_QUEUE, lazy=False)]


def image_topics(vehicle: str, rig: Rig) -> list[str]:
    """What ros_gz_image is told to carry: it publishes each as it is, and compressed on …/compressed."""
    return [topics.camera(vehicle, camera.name) for camera in rig.cameras]


def control_service(world: str) -> str:
    """Gazebo's service that pauses and steps a world; ros_gz_bridge carries it (ros_gz_interfaces/srv/ControlWorld)."""
    return f"/world/{world}/control"


def bridge_yaml(carried: Iterable[Bridged]) -> str:
    """The configuration file of a ros_gz_bridge."""
    return yaml.safe_dump([b.entry() for b in carried], sort_keys=False)
