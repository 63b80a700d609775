"""A bundle of messages as the frame that it is: arrays in the rig's sizes, JPEGs as they came."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aerialworld_core.errors import InputError
from aerialworld_core.markers import marked_actors
from aerialworld_core.rig import CameraSpec, Rig
from aerialworld_core.sensing import SensorFrame
from aerialworld_recorder.stream.channels import DEPTH, Channel
from aerialworld_recorder.stream.clouds import ReadFields, check_cloud, decode_cloud, own_fields
from aerialworld_recorder.stream.images import (
    CLASSES,
    DEPTHS,
    PICTURES,
    check_jpeg,
    check_raw,
    decode_classes,
    decode_depth,
    decode_picture,
)
from aerialworld_recorder.stream.messages import ContentError, Markers, Message, Payload
from aerialworld_recorder.stream.synchroniser import Bad, Bundle

_ENCODINGS = {"image": PICTURES, "depth": DEPTHS, "semantic": CLASSES}


class UnusableFrame(ContentError):
    """A frame whose messages looked right and could not be decoded: `bad` says which, `missing` what it lacks so."""

    def __init__(self, bad: list[Bad], missing: tuple[str, ...]) -> None:
        super().__init__("; ".join(map(str, bad)))
        self.bad, self.missing = bad, missing


class Assembler:
    """Checks and decodes the messages of one vehicle's rig. `ground` is the terrain's height (map z, metres; NaN where
    there is none) at x, y in map; `read` gets the fields of clouds. Any thread may use it."""

    def __init__(self, rig: Rig, ground: Callable[[float, float], float], read: ReadFields = own_fields) -> None:
        self._read = read
        self._cameras = {c.name: c for c in rig.cameras}
        self._faces = {f.name: f for f in rig.depth}
        self._ground = ground

    def check(self, channel: Channel, message: Message) -> None:
        """Look at what a sensor's message says of itself; cheap. Raises ContentError when it cannot be used."""
        payload = message.load()
        if channel.kind == "lidar":
            check_cloud(payload)
        elif channel.kind == "actors":
            read_actors(payload)
        elif channel.kind == "compressed":
            check_jpeg(payload, self._spec(channel))
        else:
            check_raw(payload, self._spec(channel), _ENCODINGS[channel.kind])

    def frame(self, bundle: Bundle) -> tuple[SensorFrame, dict[str, bytes]]:
        """The frame, and the JPEGs of cameras that came compressed (name as in the rig). Raises UnusableFrame."""
        x, y = bundle.state.pose.position[:2]
        frame = SensorFrame(bundle.state, self._ground(float(x), float(y)), imu=bundle.imu)
        jpegs: dict[str, bytes] = {}
        bad: list[Bad] = []
        missing: list[str] = []
        for channel, message in bundle.messages.items():
            try:
                self._put(frame, jpegs, channel, message.load())
            except ContentError as error:
                bad.append(Bad(message.topic, message.stamp_ns, str(error)))
                missing.append(channel.label)
        if bad:
            raise UnusableFrame(bad, tuple(dict.fromkeys(missing)))
        return frame, jpegs

    def _put(self, frame: SensorFrame, jpegs: dict[str, bytes], channel: Channel, payload: Payload) -> None:
        if channel.kind == "lidar":
            frame.lidar, frame.lidar_ring = decode_cloud(payload, self._read)
            return
        if channel.kind == "actors":
            frame.actors = read_actors(payload)
            return
        spec = self._spec(channel)
        if channel.kind == "compressed":
            jpegs[spec.name] = bytes(check_jpeg(payload, spec))
            return
        decode: dict[str, tuple[dict[str, Any], Callable[[Payload, CameraSpec], Any]]] = {
            "image": (frame.images, decode_picture),
            DEPTH: (frame.depth, decode_depth),
            "semantic": (frame.semantic, decode_classes),
        }
        arrays, decoder = decode[channel.kind]
        arrays[spec.name] = decoder(payload, spec)

    def _spec(self, channel: Channel) -> CameraSpec:
        specs = self._cameras if channel.kind in ("compressed", "image") else self._faces
        return specs[channel.sensor or ""]


def read_actors(payload: Payload) -> list[dict[str, Any]]:
    if not isinstance(payload, Markers):
        raise ContentError(f"a {type(payload).__name__}, where markers are expected")
    try:
        return marked_actors(payload.markers)
    except InputError as error:
        raise ContentError(str(error)) from error
