"""One vehicle's topics: which are wanted, and what is sent on them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from importlib.util import find_spec
from typing import Any

from nav_msgs.msg import Odometry
from rclpy.duration import Duration
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, Imu, NavSatFix, PointCloud2
from visualization_msgs.msg import MarkerArray

from aerialworld_core import topics
from aerialworld_core.frames import Georeference
from aerialworld_core.sensing import SensorFrame, VehicleState
from aerialworld_sim import engine
from aerialworld_sim.imu import ImuModel, sample_stamps
from aerialworld_sim.motion import Vehicle
from aerialworld_sim.navsat import fix
from aerialworld_sim.nodes import messages

_TYPES = {
    t.__name__: t for t in (Odometry, CameraInfo, CompressedImage, Image, Imu, NavSatFix, PointCloud2)
}  # the last part of a topic's type
Key = tuple[str, str | None]
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
_ACTORS: Key = ("actors", None)
#: Kinds that come with a sensor frame, at the node's `sensor_rate`; those that are seen only when rays are cast.
_FRAME_KINDS = frozenset(_MODALITY) - {"imu"} | {"actors"}
_RENDERED = _FRAME_KINDS - {"camera_info", "depth_info", "actors"}


class Outlet:
    """One publisher that knows whom it has served: `wanted` is asked once for everything that falls due."""

    def __init__(self, node: Node, kind: type, topic: str, quality: QoSProfile) -> None:
        # rclpy's default events put two more things to wait for per publisher into every spin: 8 ms for a rig's topics.
        # A subscriber with incompatible QoS is still told by its own side.
        silent = PublisherEventCallbacks(use_default_callbacks=False)
        self.publisher: Any = node.create_publisher(kind, topic, quality, event_callbacks=silent)
        self.message: Any = None
        self._served = 0

    def wanted(self, newcomers: bool = False) -> bool:
        """Whether somebody listens, and if `newcomers`, somebody who did not when this was asked last."""
        count = self.publisher.get_subscription_count()
        more, self._served = count > self._served, count
        return more if newcomers else count > 0

    def send(self, message: Any) -> None:
        """Publish, and keep the message: its memory is used again."""
        self.message = message
        self.publisher.publish(message)


class VehiclePublishers:
    """Publishers of `topics.vehicle_topics` for the modalities asked for, and of `topics.actors`; one second of
    messages deep."""

    def __init__(
        self,
        node: Node,
        name: str,
        vehicle: Vehicle,
        *,
        modalities: frozenset[str],
        sensor_rate: float,
        reliability: ReliabilityPolicy,
        georeference: Georeference | None,
        seed: int,
        encoders: Executor,
    ) -> None:
        self.name, self.rig, self.georeference = name, vehicle.rig, georeference
        self._motion, self._seed, self._encoders = vehicle.motion, seed, encoders
        imu = vehicle.rig.imu if engine.IMU in modalities else None
        self._imu = ImuModel(imu, seed, name) if imu else None
        self._outlets: dict[Key, Outlet] = {}
        #: Nanoseconds from fix to fix.
        self.navsat_ns = 0
        for topic in topics.vehicle_topics(name, vehicle.rig):
            if topic.kind == "navsat" and georeference is None:
                continue
            if topic.kind in _MODALITY and _MODALITY[topic.kind] not in modalities:
                continue
            rate = sensor_rate if topic.kind in _FRAME_KINDS else topic.rate
            quality = QoSProfile(depth=max(1, math.ceil(rate)), reliability=reliability)
            kind = _TYPES[topic.type.rsplit("/", 1)[1]]
            self._outlets[topic.kind, topic.sensor] = Outlet(node, kind, topic.name, quality)
            if topic.kind == "navsat":
                self.navsat_ns = round(1e9 / topic.rate)
        quality = QoSProfile(depth=max(1, math.ceil(sensor_rate)), reliability=reliability)
        self._outlets[_ACTORS] = Outlet(node, MarkerArray, topics.actors(name), quality)

    def publishers(self) -> Iterable[Any]:
        return (outlet.publisher for outlet in self._outlets.values())

    def publish_odometry(self, state: VehicleState, newcomers: bool = False) -> None:
        outlet = self._outlets["odom", None]
        if outlet.wanted(newcomers):
            outlet.send(messages.odometry(state, self.name))

    def publish_navsat(self, state: VehicleState, newcomers: bool = False) -> None:
        outlet = self._outlets.get(("navsat", self.rig.navsat.name if self.rig.navsat else None))
        if outlet and self.georeference and outlet.wanted(newcomers):
            place = fix(self.rig.navsat, state, self.georeference, self._seed, self.name)
            outlet.send(messages.navsat(state, self.name, place, self.rig.navsat))

    def publish_imu(self, after_ns: int, until_ns: int, newcomers: bool = False) -> None:
        """The IMU's samples with after_ns < stamp ≤ until_ns; each has a stamp of its own."""
        if self._imu is None:
            return
        spec = self._imu.spec
        outlet = self._outlets["imu", spec.name]
        if not outlet.wanted(newcomers):
            return
        frame = topics.sensor_frame(self.name, spec.name)
        stamps = sample_stamps(spec.rate, max(after_ns, -1), until_ns)
        for stamp, sample in zip(stamps, self._imu.samples(self._motion, stamps), strict=True):
            outlet.send(messages.imu(stamp, frame, sample, self._motion.state(stamp), spec))

    def wanted(self, newcomers: bool = False) -> set[Key]:
        """What of a sensor frame somebody listens to now."""
        return {key for key, o in self._outlets.items() if key[0] in _FRAME_KINDS and o.wanted(newcomers)}

    @staticmethod
    def to_render(wanted: set[Key]) -> tuple[set[str], set[str]]:
        """Modalities and sensors that must be rendered for what is wanted; camera_info needs no rendering."""
        rendered = [(kind, sensor) for kind, sensor in wanted if kind in _RENDERED]
        return {_MODALITY[kind] for kind, _ in rendered}, {sensor for _, sensor in rendered if sensor}

    def publish_frame(self, frame: SensorFrame, stamp_ns: int, wanted: set[Key]) -> None:
        """What the rig saw, of what is wanted, all with one stamp. JPEGs are encoded by the pool while the rest goes
        out, and go last; none is left over when this returns."""
        if _ACTORS in wanted:
            self._outlets[_ACTORS].send(messages.actors(stamp_ns, frame.actors))
        jpegs: list[tuple[str, Future[bytes]]] = [
            (camera.name, self._encoders.submit(messages.jpeg, frame.images[camera.name]))
            for camera in self.rig.cameras
            if ("compressed", camera.name) in wanted
        ]
        for camera in self.rig.cameras:
            self._send_image("image", camera.name, frame.images, stamp_ns, wanted)
            self._send_info("camera_info", camera, stamp_ns, wanted)
        for face in self.rig.depth:
            self._send_image("depth", face.name, frame.depth, stamp_ns, wanted)
            self._send_image("semantic", face.name, frame.semantic, stamp_ns, wanted)
            self._send_info("depth_info", face, stamp_ns, wanted)
        lidar = self.rig.lidar
        if lidar and ("lidar", lidar.name) in wanted and frame.lidar is not None and frame.lidar_ring is not None:
            outlet, link = self._outlets["lidar", lidar.name], topics.sensor_frame(self.name, lidar.name)
            outlet.send(messages.point_cloud(stamp_ns, link, frame.lidar, frame.lidar_ring, outlet.message))
        for name, encoded in jpegs:
            link = topics.optical_frame(self.name, name)
            self._outlets["compressed", name].send(messages.compressed_image(stamp_ns, link, encoded.result()))

    def _send_image(self, kind: str, sensor: str, pictures: dict[str, Any], stamp_ns: int, wanted: set[Key]) -> None:
        if (kind, sensor) in wanted:
            outlet, link = self._outlets[kind, sensor], topics.optical_frame(self.name, sensor)
            outlet.send(messages.image(stamp_ns, link, pictures[sensor], outlet.message))

    def _send_info(self, kind: str, spec: Any, stamp_ns: int, wanted: set[Key]) -> None:
        if (kind, spec.name) in wanted:
            link = topics.optical_frame(self.name, spec.name)
            self._outlets[kind, spec.name].send(messages.camera_info(stamp_ns, link, spec))


class TransformPublishers:
    """/tf_static and /tf of all vehicles, for rviz and Foxglove. They need tf2_msgs, which pip does not have: where
    `available` is False nothing is published, and nothing of AerialWorld misses it."""

    available = find_spec("tf2_msgs") is not None

    def __init__(self, node: Node, vehicles: dict[str, Vehicle]) -> None:
        from tf2_msgs.msg import TFMessage  # type: ignore[import-not-found, unused-ignore]

        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        fixed = node.create_publisher(TFMessage, "/tf_static", latched)
        fixed.publish(
            TFMessage(transforms=[t for name, v in vehicles.items() for t in messages.rig_transforms(name, v.rig)])
        )
        self._fixed, self._moving = fixed, Outlet(node, TFMessage, "/tf", QoSProfile(depth=100))
        self._message: Callable[..., Any] = TFMessage

    def publish(self, states: dict[str, VehicleState], newcomers: bool = False) -> None:
        """Every vehicle's base_link in map."""
        if self._moving.wanted(newcomers):
            self._moving.send(
                self._message(
                    transforms=[
                        messages.transform(s.stamp_ns, "map", topics.base_frame(name), s.pose)
                        for name, s in states.items()
                    ]
                )
            )


def flush(publishers: Iterable[Any], seconds: float) -> bool:
    """Wait until all subscribers have what was published on reliable topics; False when time ran out."""
    return all(p.wait_for_all_acked(Duration(seconds=seconds)) for p in publishers)
