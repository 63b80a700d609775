"""Images that a session keeps on request (depth, classes, instances): from an exported bag back to the files they were.

A bag says what was kept in the session's description that it carries; bags of others have none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from aerialworld_core import topics
from aerialworld_core.errors import SessionError
from aerialworld_core.labels import FREE
from aerialworld_core.rig import CameraSpec, Rig
from aerialworld_core.session import SessionMeta, extra_files
from aerialworld_recorder.bags.bag import Bag
from aerialworld_recorder.stream import cdr
from aerialworld_recorder.stream.images import check_raw, decode_classes, decode_depth, decode_instances
from aerialworld_recorder.stream.messages import ContentError

IMAGE = "sensor_msgs/msg/Image"
_ENCODINGS = {extra_files.DEPTH: ("32FC1",), extra_files.SEMANTIC: ("mono8",), extra_files.INSTANCE: ("mono16",)}


@dataclass(frozen=True)
class Kept:
    """`kinds` of images that a bag brings, of all cameras and faces (`faces_only`: of these alone): (kind, name as in
    files) → topic."""

    kinds: tuple[str, ...] = ()
    faces_only: bool = False
    topics: Mapping[tuple[str, str], str] = field(default_factory=dict)


def kept_images(bag: Bag, document: SessionMeta | None, rig: Rig) -> tuple[Kept, tuple[str, ...]]:
    """What of the images that the session kept the bag has, for the sensors of `rig`; and what it lacks, in words.

    A kind comes whole or not at all: a session holds it of every camera and face. Of another rig than the session's
    nothing is taken: its images would not be of its cameras.
    """
    if document is None or not document.kept:
        return Kept(), ()
    if document.kept_images and any(spec.to_dict() not in _stated(document.rig) for spec in (*rig.cameras, *rig.depth)):
        return Kept(), (f"kept images ({', '.join(document.kept_images)}) are not read: they are of another rig",)
    faces = {face.name for face in rig.depth}
    found: dict[tuple[str, str], str] = {}
    kinds, notes = [], []
    if document.keeps_boxes:
        notes.append("boxes are not read back: they are in the bag as annotations to look at; their actors are read")
    names = extra_files.image_sizes(rig, document.faces_only)
    for kind in document.kept_images:
        of_kind = {(kind, name): topics.extra_image(document.vehicle, kind, name, face=name in faces) for name in names}
        lacking = sorted(t for t in of_kind.values() if t not in bag.topics or bag.topics[t].type != IMAGE)
        if lacking or not of_kind:
            notes.append(f"no {kind} images are kept: the bag has no {', '.join(lacking[:3]) or 'camera of them'}")
            continue
        kinds.append(kind)
        found |= of_kind
    return Kept(tuple(kinds), document.faces_only and bool(kinds), found), tuple(notes)


def _stated(rig: Rig) -> list[object]:
    return [spec.to_dict() for spec in (*rig.cameras, *rig.depth)]


def png_of(kind: str, spec: CameraSpec, data: bytes | memoryview) -> bytes:
    """The file of one message. Raises ContentError for what is no image of that kind and size."""
    image = check_raw(cdr.message("", IMAGE, data).load(), spec, _ENCODINGS[kind])
    pixels: NDArray[Any]
    if kind == extra_files.DEPTH:
        pixels = decode_depth(image, spec)
    elif kind == extra_files.INSTANCE:
        pixels = decode_instances(image, spec)
    else:
        pixels = decode_classes(image, spec)
        if pixels.max(initial=0) >= FREE:
            raise ContentError(f"class {pixels.max()}; classes are 0 … {FREE - 1}")
    try:
        return extra_files.encode(kind, pixels)
    except SessionError as error:
        raise ContentError(str(error)) from error
