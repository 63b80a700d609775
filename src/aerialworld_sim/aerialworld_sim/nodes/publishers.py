"""One vehicle's topics: which are wanted, and what is sent on them."""

from __future__ import annotations

import math
from typing import Any

from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, Imu, NavSatFix, PointCloud2

from aerialworld_core import topics
from aerialworld_core.frames import Georeference
from aerialworld_core.sensing import SensorFrame, VehicleState
from aerialworld_sim import engine
from aerialworld_sim.motion import Vehicle
from aerialworld_sim.nodes import messages

_TYPES = {
    t.__name__: t for t in (Odometry, CameraInfo, CompressedImage, Image, Imu, NavSatFix, PointCloud2)
}  # the last part of a topic's type
_MODALITY = {
    "image": engine.IMAGES,
    "compressed": engine.IMAGES,
    "camera_info": engine.IMAGES,
    "depth": engine.DEPTH,
    "depth_info": engine.DEPTH,
    "semantic": engine.DEPTH,
    "lidar": engine.LIDAR,
    "imu": engine.IMU,
}


class VehiclePublishers:
    """Publishers of `topics.vehicle_topics` for the modalities asked for; reliable, one second deep."""

    def __init__(
        self, node: Node, name: str, vehicle: Vehicle, modalities: frozenset[str], georeference: Georeference | None
    ) -> None:
        self.name, self.rig, self.modalities, self.georeference = name, vehicle.rig, modalities, georeference
        self._motion = vehicle.motion
        self._publishers: dict[tuple[str, str | None], Any] = {}
        for topic in topics.vehicle_topics(name, vehicle.rig):
            if topic.kind == "navsat" and georeference is None:
                continue
            if topic.kind in _MODALITY and _MODALITY[topic.kind] not in modalities:
                continue
            quality = QoSProfile(depth=max(1, math.ceil(topic.rate)), reliability=ReliabilityPolicy.RELIABLE)
            kind = _TYPES[topic.type.rsplit("/", 1)[1]]
            self._publishers[topic.kind, topic.sensor] = node.create_publisher(kind, topic.name, quality)

    def _wanted(self, kind: str, sensor: str | None = None) -> Any:
        """The publisher if somebody listens, else None: what nobody hears is not computed."""
        publisher = self._publishers.get((kind, sensor))
        return publisher if publisher is not None and publisher.get_subscription_count() > 0 else None

    def wanted_modalities(self) -> set[str]:
        """Rendered modalities that have a subscriber now (camera_info needs no rendering)."""
        return {
            _MODALITY[kind]
            for kind, sensor in self._publishers
            if kind in ("image", "compressed", "depth", "semantic", "lidar") and self._wanted(kind, sensor)
        }

    def publish_odometry(self, state: VehicleState) -> None:
        if publisher := self._wanted("odom"):
            publisher.publish(messages.odometry(state, self.name))

    def publish_navsat(self, state: VehicleState) -> None:
        if self.georeference and (publisher := self._wanted("navsat")):
            publisher.publish(messages.navsat(state, self.name, self.georeference))

    def publish_imu(self, samples: Any) -> None:
        """Samples (K, 7) as the engine returns them."""
        spec = self.rig.imu
        if spec is None or not (publisher := self._wanted("imu", spec.name)):
            return
        frame = topics.sensor_frame(self.name, spec.name)
        for sample in samples:
            stamp = round(sample[0] * 1e9)
            publisher.publish(messages.imu(stamp, frame, sample, self._motion.state(stamp), spec))

    def publish_frame(self, frame: SensorFrame, stamp_ns: int) -> None:
        """What the rig saw, and the camera_info of every camera."""
        for camera in self.rig.cameras:
            link = topics.optical_frame(self.name, camera.name)
            if camera.name in frame.images:
                pixels = frame.images[camera.name]
                if publisher := self._wanted("compressed", camera.name):
                    publisher.publish(messages.compressed_image(stamp_ns, link, pixels))
                if publisher := self._wanted("image", camera.name):
                    publisher.publish(messages.image(stamp_ns, link, pixels))
            if publisher := self._wanted("camera_info", camera.name):
                publisher.publish(messages.camera_info(stamp_ns, link, camera))
        for face in self.rig.depth:
            link = topics.optical_frame(self.name, face.name)
            if face.name in frame.depth:
                if publisher := self._wanted("depth", face.name):
                    publisher.publish(messages.image(stamp_ns, link, frame.depth[face.name]))
                if publisher := self._wanted("semantic", face.name):
                    publisher.publish(messages.image(stamp_ns, link, frame.semantic[face.name]))
            if publisher := self._wanted("depth_info", face.name):
                publisher.publish(messages.camera_info(stamp_ns, link, face))
        lidar = self.rig.lidar
        if lidar and frame.lidar is not None and frame.lidar_ring is not None:
            if publisher := self._wanted("lidar", lidar.name):
                link = topics.sensor_frame(self.name, lidar.name)
                publisher.publish(messages.point_cloud(stamp_ns, link, frame.lidar, frame.lidar_ring))
