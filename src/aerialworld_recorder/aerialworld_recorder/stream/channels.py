"""Which topics of a vehicle the recorder listens to, and what each is to a frame."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from aerialworld_core import markers, topics
from aerialworld_core.errors import InputError
from aerialworld_core.rig import Rig

#: What occupancy can be made of, as `fusion` names it.
DEPTH, LIDAR = "depth", "lidar"
MODALITIES = ("images", DEPTH, LIDAR, "imu")
COMPRESSED, RAW = TRANSPORTS = ("compressed", "raw")
#: One message of each is needed for a frame, the nearest to its tick.
SENSORS = ("compressed", "image", "depth", "semantic", "lidar", "actors")
#: Said once for the whole run; checked, and not part of frames.
CALIBRATIONS = ("camera_info", "depth_info")


@dataclass(frozen=True)
class Channel:
    """One topic: `kind`, `sensor` (in the rig's spelling), `rate` (Hz, the rig's) and `type` ("sensor_msgs/msg/Image")
    as in `aerialworld_core.topics.Topic`."""

    topic: str
    type: str
    kind: str
    sensor: str | None
    rate: float

    @property
    def label(self) -> str:
        """As missing sensors are called: "camera cam_front", "depth down", "lidar", "odometry"."""
        if self.kind in ("compressed", "image"):
            return f"camera {self.sensor}"
        if self.kind in ("depth", "semantic"):
            return f"{self.kind} {self.sensor}"
        return "odometry" if self.kind == "odom" else self.kind

    @property
    def key(self) -> str:
        """A name for maps from channels to topics: `odom`, `imu`, `lidar`, `actors`, `camera/cam_front`, `depth/down`,
        `semantic/down`, `camera_info/cam_front`, `depth_info/down`."""
        kind = "camera" if self.kind in ("compressed", "image") else self.kind
        return kind if kind in ("odom", "imu", "lidar", "actors") else f"{kind}/{self.sensor}"


def recorded_rig(rig: Rig, modalities: Collection[str], source: str = DEPTH, *, keep_depth: bool = False) -> Rig:
    """The rig as a session of these modalities holds it. What occupancy is made of (`source`: depth or lidar) is
    needed; depth faces that are neither its source nor kept are not listened to. Raises InputError."""
    unknown = sorted(set(modalities) - set(MODALITIES))
    if unknown:
        raise InputError(f"modalities {', '.join(unknown)} are unknown; there are {', '.join(MODALITIES)}")
    found = rig.recorded(modalities)
    if (source == DEPTH or keep_depth) and (DEPTH not in modalities or not rig.depth):
        what = "there is no occupancy to record" if source == DEPTH else "none can be kept (keep_depth)"
        raise InputError(f"rig {rig.name}: without depth {what}; it needs depth cameras")
    if source == LIDAR and found.lidar is None:
        raise InputError(f"rig {rig.name}: without its LiDAR there is no occupancy to record of it (occupancy_mode)")
    return found if source == DEPTH or keep_depth else replace(found, depth=())


def vehicle_channels(
    vehicle: str,
    rig: Rig,
    transport: str = COMPRESSED,
    renamed: Mapping[str, str] | None = None,
    *,
    actors: bool = False,
) -> tuple[Channel, ...]:
    """Every topic that a session of `rig` (see `recorded_rig`) needs, cameras by `transport`; with `actors` also what
    moves nearby, in every frame.

    `renamed` gives other topics to channels, by `Channel.key`; a camera whose topic ends in "/compressed" is taken
    compressed, any other raw. Raises InputError for a key that no channel has.
    """
    if transport not in TRANSPORTS:
        raise InputError(f"images come {' or '.join(TRANSPORTS)}, not {transport!r}")
    unwanted = {"navsat", "image" if transport == COMPRESSED else "compressed"}
    channels = [
        Channel(t.name, t.type, t.kind, t.sensor, t.rate)
        for t in topics.vehicle_topics(vehicle, rig)
        if t.kind not in unwanted
    ]
    if actors:
        rate = max(c.rate for c in channels if c.kind in SENSORS)
        channels.append(Channel(topics.actors(vehicle), markers.TYPE, "actors", None, rate))
    names = dict(renamed or {})
    channels = [_renamed(c, names.pop(c.key)) if c.key in names else c for c in channels]
    if names:
        keys = ", ".join(c.key for c in channels)
        raise InputError(f"topics of {', '.join(sorted(names))}: {vehicle} has no such channel; it has {keys}")
    return tuple(channels)


def _renamed(channel: Channel, topic: str) -> Channel:
    if channel.kind not in ("compressed", "image"):
        return Channel(topic, channel.type, channel.kind, channel.sensor, channel.rate)
    compressed = topic.endswith("/compressed")
    kind, name = ("compressed", "CompressedImage") if compressed else ("image", "Image")
    return Channel(topic, f"sensor_msgs/msg/{name}", kind, channel.sensor, channel.rate)
