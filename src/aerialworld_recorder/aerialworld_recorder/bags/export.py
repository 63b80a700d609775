"""Sessions as one MCAP file: what Foxglove, rviz (`ros2 bag play`) and the importer read."""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aerialworld_core import markers, topics
from aerialworld_core.errors import InputError
from aerialworld_core.files import dump_json, write_bytes, write_stream
from aerialworld_core.rig import CameraSpec
from aerialworld_core.session import Session
from aerialworld_core.session.extra_files import image_sizes
from aerialworld_core.session.layout import EXTRA
from aerialworld_recorder.bags import drawn_boxes, messages
from aerialworld_recorder.bags.layout import foxglove_layout
from aerialworld_recorder.bags.library import library, typestore

#: Name of the MCAP metadata record that holds a session's session.json, one for each vehicle.
METADATA = "aerialworld.session"
LAYOUT_SUFFIX = ".foxglove.json"
_CHUNK_BYTES = 4 * 1024 * 1024

_FOREVER = "    sec: 9223372036\n    nsec: 854775807\n"
#: QoS as rosbag2 stores it (Jazzy): reliable, keep last; {} is volatile, or transient_local for what is latched.
_QOS = (
    "- history: keep_last\n  depth: 10\n  reliability: reliable\n  durability: {}\n"
    f"  deadline:\n{_FOREVER}  lifespan:\n{_FOREVER}"
    f"  liveliness: automatic\n  liveliness_lease_duration:\n{_FOREVER}"
    "  avoid_ros_namespace_conventions: false\n"
)


@dataclass(frozen=True, eq=False)
class Sent:
    """A message on its way into a file."""

    stamp_ns: int
    topic: str
    type: str
    message: Any


def export_mcap(
    sessions: list[Session], out: Path, *, on_frame: Callable[[], None] = lambda: None, layout: bool = True
) -> Path:
    """Write the sessions, one vehicle each, into the MCAP file `out`, messages in the order of their stamps.

    A Foxglove layout is written beside it (`NAME.foxglove.json`). Every frame is checked against its hashes as it is
    read. Each session.json goes along as a metadata record, from which `import_bag` knows rig, grid and datum. Raises
    InputError for two sessions of one vehicle, SessionError for damage, StorageError when the disk fails.
    """
    vehicles = [s.meta.vehicle for s in sessions]
    twice = sorted({v for v in vehicles if vehicles.count(v) > 1})
    if twice or not sessions:
        raise InputError(
            f"{out}: {', '.join(twice) or 'no session'}: one file holds one session of each vehicle; "
            "give --out a folder, and each session gets a file of its own"
        )
    out = Path(out)
    writer_module = library("mcap.writer")
    with write_stream(out) as stream:
        writer = writer_module.Writer(stream, chunk_size=_CHUNK_BYTES)
        writer.start(profile="ros2", library="aerialworld")
        file = _File(writer)
        for session in sessions:
            file.write_session_document(session)
        flows = [session_messages(session, on_frame) for session in sessions]
        for sent in heapq.merge(*flows, key=lambda s: s.stamp_ns):
            file.send(sent)
        writer.finish()
    if layout:
        write_bytes(layout_path(out), dump_json(foxglove_layout([s.meta for s in sessions])))
    return out


def layout_path(out: Path) -> Path:
    return out.with_name(out.stem + LAYOUT_SUFFIX)


class _File:
    """Schemas and channels as they are first needed."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}
        self._sequence: dict[str, int] = {}

    def write_session_document(self, session: Session) -> None:
        document = {"session": session.path.name, "document": session.meta.to_dict(), "mission": session.mission}
        self._writer.add_metadata(
            METADATA, {"vehicle": session.meta.vehicle, "json": json.dumps(document, ensure_ascii=False)}
        )

    def send(self, sent: Sent) -> None:
        channel = self._channels.get(sent.topic)
        if channel is None:
            channel = self._channels[sent.topic] = self._register(sent.topic, sent.type)
        number = self._sequence[sent.topic] = self._sequence.get(sent.topic, 0) + 1
        data = bytes(typestore().serialize_cdr(sent.message, sent.type))
        self._writer.add_message(channel, sent.stamp_ns, data, sent.stamp_ns, number)

    def _register(self, topic: str, kind: str) -> int:
        if kind not in self._schemas:
            text, _ = typestore().generate_msgdef(kind, ros_version=2)
            self._schemas[kind] = self._writer.register_schema(kind, "ros2msg", text.encode())
        profile = _QOS.format("transient_local" if topic == "/tf_static" else "volatile")
        details = {"offered_qos_profiles": profile, "topic_type_hash": str(typestore().hash_rihs01(kind))}
        return int(self._writer.register_channel(topic, "cdr", self._schemas[kind], details))


def session_messages(session: Session, on_frame: Callable[[], None] = lambda: None) -> Iterator[Sent]:
    """Everything that a session's frames hold, in the order of stamps."""
    for n, index in enumerate(session.frame_indices):
        sent = list(frame_messages(session, index, first=n == 0))
        yield from sorted(sent, key=lambda s: s.stamp_ns)
        on_frame()


def frame_messages(session: Session, index: int, *, first: bool) -> Iterator[Sent]:
    """One frame; with the `first` goes /tf_static."""
    meta, vehicle = session.meta, session.meta.vehicle
    record = session.pose(index)
    stamp = record.stamp_ns
    yield from _imu(session, index)
    if first:
        static = messages.rig_transforms(stamp, vehicle, meta.rig)
        yield Sent(stamp, "/tf_static", "tf2_msgs/msg/TFMessage", static)
    yield Sent(stamp, topics.odometry(vehicle), "nav_msgs/msg/Odometry", messages.odometry(record, vehicle))
    moving = messages.vehicle_transforms(record, vehicle, meta.datum)
    yield Sent(stamp, "/tf", "tf2_msgs/msg/TFMessage", moving)
    fix = messages.navsat(record, vehicle, meta.georeference)
    yield Sent(stamp, topics.navsat(vehicle), "sensor_msgs/msg/NavSatFix", fix)
    if record.ground_z is not None:
        yield Sent(stamp, topics.ground(vehicle), "geometry_msgs/msg/PointStamped", messages.ground(record))
    boxes = session.boxes(index) or {}
    for camera in meta.rig.cameras:
        yield from _camera(session, index, stamp, camera)
        if camera.name.upper() in boxes:
            drawn = drawn_boxes.image_annotations(stamp, boxes[camera.name.upper()])
            yield Sent(stamp, topics.boxes(vehicle, camera.name), drawn_boxes.TYPE, drawn)
    for face in meta.rig.depth:
        yield from _face(session, index, stamp, face)
    lidar = session.lidar(index)
    if lidar is not None and meta.rig.lidar is not None:
        link = topics.sensor_frame(vehicle, meta.rig.lidar.name)
        cloud = messages.lidar_cloud(stamp, link, lidar)
        yield Sent(stamp, topics.lidar(vehicle), "sensor_msgs/msg/PointCloud2", cloud)
    occupancy, frame = session.occupancy(index), topics.grid_frame(vehicle)
    cloud = messages.occupied_cloud(stamp, frame, occupancy, meta.grid)
    yield Sent(stamp, topics.occupancy(vehicle), "sensor_msgs/msg/PointCloud2", cloud)
    voxels = messages.voxel_grid(stamp, frame, occupancy, meta.grid)
    yield Sent(stamp, topics.occupancy_grid(vehicle), "foxglove_msgs/msg/VoxelGrid", voxels)
    yield Sent(stamp, topics.actors(vehicle), markers.TYPE, messages.actors(stamp, session.actors(index)))


def _imu(session: Session, index: int) -> Iterator[Sent]:
    samples, spec = session.imu(index), session.meta.rig.imu
    if samples is None or spec is None:
        return
    vehicle = session.meta.vehicle
    link = topics.sensor_frame(vehicle, spec.name)
    for sample in samples:
        stamp = round(float(sample[0]) * 1e9)
        yield Sent(stamp, topics.imu(vehicle), "sensor_msgs/msg/Imu", messages.imu(stamp, link, sample))


def _camera(session: Session, index: int, stamp: int, spec: CameraSpec) -> Iterator[Sent]:
    vehicle, name = session.meta.vehicle, spec.name.upper()
    topic, link = topics.camera(vehicle, spec.name), topics.optical_frame(vehicle, spec.name)
    jpeg = session.image_bytes(index, name)
    if jpeg is not None:
        picture = messages.compressed_image(stamp, link, jpeg)
        yield Sent(stamp, f"{topic}/compressed", "sensor_msgs/msg/CompressedImage", picture)
    info = messages.camera_info(stamp, link, spec)
    yield Sent(stamp, topics.camera_info(topic), "sensor_msgs/msg/CameraInfo", info)
    yield from _extra(session, index, stamp, name, link, face=False)


def _face(session: Session, index: int, stamp: int, spec: CameraSpec) -> Iterator[Sent]:
    """A depth face's kept images; its camera_info goes with them."""
    link = topics.optical_frame(session.meta.vehicle, spec.name)
    kept = list(_extra(session, index, stamp, spec.name, link, face=True))
    if kept:
        info = messages.camera_info(stamp, link, spec)
        topic = topics.camera_info(topics.depth(session.meta.vehicle, spec.name))
        yield Sent(stamp, topic, "sensor_msgs/msg/CameraInfo", info)
    yield from kept


def _extra(session: Session, index: int, stamp: int, name: str, link: str, *, face: bool) -> Iterator[Sent]:
    read = {"depth": session.depth, "semantic": session.semantic, "instance": session.instance}
    kept = session.meta.kept_images if name in image_sizes(session.meta.rig, session.meta.faces_only) else ()
    for kind in EXTRA:
        pixels = read[kind](index, name) if kind in kept else None
        if pixels is not None:
            topic = topics.extra_image(session.meta.vehicle, kind, name, face=face)
            yield Sent(stamp, topic, "sensor_msgs/msg/Image", messages.image(stamp, link, pixels))
