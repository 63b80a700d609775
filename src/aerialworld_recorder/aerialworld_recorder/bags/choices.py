"""What is imported from a bag, and as what: rig, topics, grid, datum and place, given or found in the bag."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from aerialworld_core import markers, topics
from aerialworld_core.errors import InputError, SessionError
from aerialworld_core.frames import Georeference
from aerialworld_core.grid import DEFAULT_GRID, VoxelGrid
from aerialworld_core.rig import Rig
from aerialworld_core.session import SessionMeta
from aerialworld_recorder.bags.bag import Bag
from aerialworld_recorder.bags.errors import BagError
from aerialworld_recorder.bags.kept import Kept, kept_images
from aerialworld_recorder.stream import cdr
from aerialworld_recorder.stream.assembly import read_actors
from aerialworld_recorder.stream.channels import CALIBRATIONS, COMPRESSED, RAW, Channel, vehicle_channels
from aerialworld_recorder.stream.messages import ContentError

GRID, DEPTH, LIDAR = SOURCES = ("grid", "depth", "lidar")
#: Channels of the map file that are not the recorder's: keys → kind of topic.
EXTRA_KEYS = ("occupancy", "ground", "navsat")
_MESSAGE_TYPES = {
    "occupancy": "foxglove_msgs/msg/VoxelGrid",
    "ground": "geometry_msgs/msg/PointStamped",
    "navsat": "sensor_msgs/msg/NavSatFix",
}


@dataclass(frozen=True)
class ImportOptions:
    """What the caller says; None is found in the bag.

    vehicle        its name in the session (`drone_1`); in a bag of ours the name of the one to import
    rig            sensors, their places and names; without it that of the session that the bag was exported from
    topics         channel key (`odom`, `lidar`, `camera/cam_front`, `depth/down`, …) → topic, where it is another one
    source         what occupancy comes from: grid (a VoxelGrid of the session's own grid), depth or lidar
    datum, grid, georeference, period_ns, start_time   of the session
    tolerance_ns   how far a sensor's stamp may be from a frame's
    max_gap_ns     between two odometry messages that a pose is interpolated over
    velocity       twist or positions
    partial        accept what comes before damage
    """

    vehicle: str | None = None
    rig: Rig | None = None
    topics: Mapping[str, str] = field(default_factory=dict)
    source: str | None = None
    datum: float | None = None
    grid: VoxelGrid | None = None
    georeference: Georeference | None = None
    period_ns: int | None = None
    start_time: str | None = None
    tolerance_ns: int | None = None
    max_gap_ns: int = 200_000_000
    velocity: str = "twist"
    partial: bool = False


@dataclass(frozen=True, eq=False)
class Choice:
    """What will be imported: `document` is the exported session's meta where the bag carries one; `notes` say what was
    left out, and why."""

    vehicle: str
    rig: Rig
    channels: tuple[Channel, ...]
    source: str
    extra: Mapping[str, str]
    grid: VoxelGrid
    period_ns: int
    tolerance_ns: int
    document: SessionMeta | None
    mission: Mapping[str, Any]
    notes: tuple[str, ...]
    images: Kept = field(default_factory=Kept)


def choose(bag: Bag, options: ImportOptions) -> Choice:
    """Decide what to import. Raises InputError, naming topics, when the bag lacks what is needed."""
    document, mission = _document(bag, options.vehicle)
    vehicle = options.vehicle or (document.vehicle if document else "drone_1")
    rig = options.rig or (document.rig if document else None)
    if rig is None:
        raise InputError(
            f"{bag.path}: say which sensors recorded it (--rig NAME or a model's SDF): a bag does not hold where they "
            "are mounted and what they see"
        )
    renamed = {k: v for k, v in options.topics.items() if k not in EXTRA_KEYS}
    extra = {
        "occupancy": topics.occupancy_grid(vehicle),
        "ground": topics.ground(vehicle),
        "navsat": topics.navsat(vehicle),
        **{k: v for k, v in options.topics.items() if k in EXTRA_KEYS},
    }
    for key in EXTRA_KEYS:
        if extra[key] not in bag.topics:
            if key in options.topics:
                raise InputError(
                    f"{bag.path}: has no topic {extra[key]} ({key}); of {_MESSAGE_TYPES[key]} it has "
                    f"{_listed(bag, _MESSAGE_TYPES[key])}"
                )
            del extra[key]
        else:
            _require_type(bag, extra[key], _MESSAGE_TYPES[key])
    moving, unread = _moving(bag, vehicle, renamed)
    full = vehicle_channels(vehicle, rig, _transport(bag, vehicle, rig), renamed, actors=moving)
    rig, notes = _heard(bag, rig, full)
    notes += unread
    source = _source(bag, options.source, extra, rig, full)
    kept = _kept(full, rig, source)
    for channel in kept:
        _require_type(bag, channel.topic, channel.type)
    if source == LIDAR:
        rig = replace(rig, depth=())
    images, unread = kept_images(bag, document, rig)
    notes += unread
    if source != DEPTH and "depth" not in images.kinds and _has(bag, full, "depth"):
        notes += ("depth images are not read: occupancy comes from the " + source,)
    period = options.period_ns or (document.frame_period_ns if document else 500_000_000)
    rates = [c.rate for c in kept if c.kind not in ("odom", "imu", *CALIBRATIONS)]
    tolerance = options.tolerance_ns if options.tolerance_ns is not None else int(0.5e9 / max(rates))
    return Choice(
        vehicle=vehicle,
        rig=rig,
        channels=kept,
        source=source,
        extra=extra,
        grid=options.grid or (document.grid if document else DEFAULT_GRID),
        period_ns=period,
        tolerance_ns=min(tolerance, period // 2),
        document=document,
        mission=mission,
        notes=notes,
        images=images,
    )


def _document(bag: Bag, vehicle: str | None) -> tuple[SessionMeta | None, dict[str, Any]]:
    """The session that the bag was exported from."""
    if not bag.documents:
        return None, {}
    if vehicle is None and len(bag.documents) > 1:
        raise InputError(f"{bag.path}: holds {', '.join(sorted(bag.documents))}; say which with --vehicle")
    found = bag.documents.get(vehicle) if vehicle else next(iter(bag.documents.values()))
    if found is None:
        return None, {}
    try:
        meta = SessionMeta.from_dict(found["document"])
    except SessionError as error:
        raise BagError(f"{bag.path}: the session's description in it cannot be used: {error}") from error
    mission = found.get("mission")
    return meta, mission if isinstance(mission, dict) else {}


def _transport(bag: Bag, vehicle: str, rig: Rig) -> str:
    """Compressed pictures where the bag has any; they are stored as they come."""
    compressed = [f"{topics.camera(vehicle, c.name)}/compressed" in bag.topics for c in rig.cameras]
    raw = [topics.camera(vehicle, c.name) in bag.topics for c in rig.cameras]
    return RAW if any(raw) and not any(compressed) else COMPRESSED


def _moving(bag: Bag, vehicle: str, renamed: Mapping[str, str]) -> tuple[bool, tuple[str, ...]]:
    """Whether the bag says what moves nearby: markers that were not made for it are told, and left out."""
    topic = renamed.get("actors", topics.actors(vehicle))
    found = bag.topics.get(topic)
    if found is None and "actors" not in renamed:
        return False, ()
    _require_type(bag, topic, markers.TYPE)
    first = next(iter(bag.messages({topic})), None) if found is not None else None
    if first is None:
        raise InputError(f"{bag.path}: has nothing on {topic} (actors)")
    try:
        read_actors(cdr.message(topic, markers.TYPE, first.data).load())
    except ContentError as error:
        if "actors" in renamed:
            raise InputError(f"{bag.path}: {topic}: {error}") from error
        return False, (f"actors are not imported: {topic}: {error}",)
    return True, ()


def _has(bag: Bag, channels: tuple[Channel, ...], kind: str) -> bool:
    return any(c.topic in bag.topics for c in channels if c.kind == kind)


def _heard(bag: Bag, rig: Rig, channels: tuple[Channel, ...]) -> tuple[Rig, tuple[str, ...]]:
    """The rig without what the bag has no topic of. A sensor's absence is told; one camera's of several is an error."""
    odometry = next(c for c in channels if c.kind == "odom")
    if odometry.topic not in bag.topics:
        raise InputError(
            f"{bag.path}: has no odometry on {odometry.topic}; name its topic in the map (odom: /topic). "
            f"Of {odometry.type} it has {_listed(bag, odometry.type)}"
        )
    notes: list[str] = []
    cameras = [c for c in channels if c.kind in ("compressed", "image")]
    missing = [c.topic for c in cameras if c.topic not in bag.topics]
    if missing and len(missing) < len(cameras):
        raise InputError(
            f"{bag.path}: has no {', '.join(missing)}, though it has other cameras of the rig; name the topics in the "
            "map, or give a rig without these cameras"
        )
    if missing:
        notes.append(f"no camera images: the bag has none of {missing[0]} …")
        rig = replace(rig, cameras=())
    for kind in ("lidar", "imu"):
        channel = next((c for c in channels if c.kind == kind), None)
        if channel is not None and channel.topic not in bag.topics:
            notes.append(f"no {kind}: the bag has no {channel.topic}")
            rig = replace(rig, lidar=None) if kind == "lidar" else replace(rig, imu=None)
    return rig, tuple(notes)


def _source(bag: Bag, asked: str | None, extra: Mapping[str, str], rig: Rig, channels: tuple[Channel, ...]) -> str:
    """Where occupancy comes from: as asked, or the most exact that the bag has."""
    faces = [c.topic for c in channels if c.kind in ("depth", "semantic")]
    missing = [topic for topic in faces if topic not in bag.topics]
    possible = [GRID] if "occupancy" in extra else []
    if faces and not missing:
        possible.append(DEPTH)
    if rig.lidar is not None:
        possible.append(LIDAR)
    lacking = f"; of the depth faces it has no {', '.join(missing)}" if missing else ""
    if asked is not None and asked not in SOURCES:
        raise InputError(f"occupancy comes from {', '.join(SOURCES)}, not {asked!r}")
    if not possible:
        raise InputError(f"{bag.path}: has neither voxels, depth images nor a LiDAR to make occupancy of{lacking}")
    if asked is not None and asked not in possible:
        raise InputError(f"{bag.path}: has no {asked} to make occupancy of; it has {', '.join(possible)}{lacking}")
    return asked or possible[0]


def _kept(channels: tuple[Channel, ...], rig: Rig, source: str) -> tuple[Channel, ...]:
    """The channels that are read: those of the sensors that are left, and depth only where occupancy needs it."""
    cameras = {c.name for c in rig.cameras}
    kept = []
    for channel in channels:
        if channel.kind in ("compressed", "image", "camera_info"):
            wanted = channel.sensor in cameras
        elif channel.kind in ("depth", "semantic", "depth_info"):
            wanted = source == DEPTH
        elif channel.kind == "lidar":
            wanted = rig.lidar is not None
        elif channel.kind == "imu":
            wanted = rig.imu is not None
        else:
            wanted = True
        if wanted:
            kept.append(channel)
    return tuple(kept)


def _require_type(bag: Bag, topic: str, kind: str) -> None:
    found = bag.topics.get(topic)
    if found is None:
        return  # camera_info may be missing; a missing sensor shows as frames without it
    if found.type != kind:
        raise InputError(f"{bag.path}: {topic} is {found.type}; {kind} is needed")
    if found.encoding != "cdr":
        raise InputError(f"{bag.path}: {topic} is serialised as {found.encoding!r}; ROS 2's cdr is read")


def _listed(bag: Bag, kind: str) -> str:
    """The bag's topics of a type; all of them where it has none."""
    names = sorted(t.name for t in bag.topics.values() if t.type == kind) or [
        f"none; its topics are {', '.join(sorted(bag.topics)[:40])}"
    ]
    return ", ".join(names[:40]) + (" …" if len(names) > 40 or len(bag.topics) > 40 else "")
