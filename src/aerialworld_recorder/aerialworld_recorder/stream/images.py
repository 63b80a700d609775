"""What images hold: pictures, depth and classes, from raw messages of several encodings, and JPEGs as they come.

`check_…` looks only at what a message says of itself and is cheap; `decode_…` checks, then makes the array. All raise
ContentError, with what is wrong. Sizes are those of the rig: nothing is allocated by what a message claims.
"""

from __future__ import annotations

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from aerialworld_core.rig import CameraSpec
from aerialworld_recorder.stream.messages import CompressedImage, ContentError, Payload, RawImage

#: Encoding → bytes per channel, channels.
_LAYOUT = {
    "rgb8": (1, 3),
    "bgr8": (1, 3),
    "rgba8": (1, 4),
    "bgra8": (1, 4),
    "mono8": (1, 1),
    "8UC1": (1, 1),
    "8UC3": (1, 3),
    "32FC1": (4, 1),
    "16UC1": (2, 1),
    "mono16": (2, 1),
}
PICTURES = ("rgb8", "bgr8", "rgba8", "bgra8", "mono8")
#: 16UC1 is millimetres (REP-118), 0 where there is no depth.
DEPTHS = ("32FC1", "16UC1")
#: Class ids: of three channels, red (as Gazebo's segmentation camera gives them) — all three are equal there.
CLASSES = ("mono8", "8UC1", "rgb8", "8UC3")
_JPEG = b"\xff\xd8\xff"
#: Where a JPEG's header ends, at the latest: a picture's metadata may come before it.
_HEADER_BYTES = 262_144
#: Zeros that some cameras leave after a picture's end, at most.
_PADDING = 4096


def check_raw(payload: Payload, spec: CameraSpec, encodings: tuple[str, ...]) -> RawImage:
    """The payload as an image of one of `encodings` and of the rig's size."""
    if not isinstance(payload, RawImage):
        raise ContentError(f"a {type(payload).__name__}, where a raw image is expected")
    if payload.encoding not in encodings:
        raise ContentError(f"encoding {payload.encoding[:40]!r} is none of {', '.join(encodings)}")
    if (payload.width, payload.height) != (spec.width, spec.height):
        raise ContentError(f"{payload.width}×{payload.height} pixels; the rig says {spec.width}×{spec.height}")
    size, channels = _LAYOUT[payload.encoding]
    row = payload.width * size * channels
    if payload.step < row:
        raise ContentError(
            f"a step of {payload.step} bytes; a row of {payload.width} {payload.encoding} pixels has {row}"
        )
    length = len(payload.data)
    if length != payload.step * payload.height:
        raise ContentError(f"{length} bytes of data; {payload.height} rows of {payload.step} bytes are expected")
    return payload


def _pixels(image: RawImage) -> NDArray[np.generic]:
    """(H, W) or (H, W, C) in the machine's byte order: a view where nothing is to be changed."""
    size, channels = _LAYOUT[image.encoding]
    kind = np.dtype({"32FC1": "f4", "16UC1": "u2", "mono16": "u2"}.get(image.encoding, "u1"))
    kind = kind.newbyteorder(">" if image.is_bigendian else "<")
    rows = np.frombuffer(image.data, np.uint8).reshape(image.height, image.step)[:, : image.width * size * channels]
    pixels = np.ascontiguousarray(rows).view(kind).astype(kind.newbyteorder("="), copy=False)
    return pixels if channels == 1 else pixels.reshape(image.height, image.width, channels)


def decode_picture(payload: Payload, spec: CameraSpec) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of a raw image; grey in all three channels where it is mono8."""
    image = check_raw(payload, spec, PICTURES)
    pixels: NDArray[np.uint8] = _pixels(image).view(np.uint8)
    if image.encoding == "mono8":
        return np.repeat(pixels[..., None], 3, axis=2)
    if image.encoding.startswith("bgr"):
        return np.ascontiguousarray(pixels[..., 2::-1])
    return np.ascontiguousarray(pixels[..., :3])


def decode_depth(payload: Payload, spec: CameraSpec) -> NDArray[np.float32]:
    """(H, W) float32 metres along the optical axis; ±inf as they come (REP-117), NaN, zero and less as −inf: nothing is
    known there. An array that may be written to."""
    image = check_raw(payload, spec, DEPTHS)
    depth: NDArray[np.float32] = _pixels(image).astype(np.float32)
    if image.encoding == "16UC1":
        depth *= np.float32(1e-3)
    if not depth.min() > 0:
        depth[~(depth > 0)] = -np.inf
    return depth


def decode_classes(payload: Payload, spec: CameraSpec) -> NDArray[np.uint8]:
    """(H, W) uint8 class ids."""
    image = check_raw(payload, spec, CLASSES)
    pixels: NDArray[np.uint8] = _pixels(image).view(np.uint8)
    return np.ascontiguousarray(pixels if pixels.ndim == 2 else pixels[..., 0])


def decode_instances(payload: Payload, spec: CameraSpec) -> NDArray[np.uint16]:
    """(H, W) uint16 numbers of a mono16 image."""
    pixels: NDArray[np.uint16] = _pixels(check_raw(payload, spec, ("mono16",))).view(np.uint16)
    return pixels


def check_jpeg(payload: Payload, spec: CameraSpec) -> bytes | memoryview:
    """The bytes of a JPEG of the rig's size. Only its header is read, and that it is whole to its last marker."""
    if not isinstance(payload, CompressedImage):
        raise ContentError(f"a {type(payload).__name__}, where a compressed image is expected")
    data = payload.data
    if bytes(data[:3]) != _JPEG:
        raise ContentError(f"format {payload.format[:60]!r}: its bytes are no JPEG; only JPEG is recorded")
    if not bytes(data[-_PADDING:]).rstrip(b"\0").endswith(b"\xff\xd9"):
        raise ContentError(f"a JPEG of {len(data)} bytes without its end")
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(bytes(data[:_HEADER_BYTES]), strict=False)
    except (ValueError, KeyError) as error:  # the latter for colours that the library has no name for
        raise ContentError(f"a JPEG that cannot be read: {error}") from error
    if (width, height) != (spec.width, spec.height):
        raise ContentError(f"{width}×{height} pixels; the rig says {spec.width}×{spec.height}")
    return data
