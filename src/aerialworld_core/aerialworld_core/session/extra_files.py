"""The files that a session holds only on request: depth, class and instance images of its cameras and faces, as PNG."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core import png
from aerialworld_core.errors import SessionError
from aerialworld_core.labels import FREE
from aerialworld_core.rig import Rig
from aerialworld_core.sensing import SensorFrame
from aerialworld_core.session.layout import EXTRA, IMAGE_NAME

DEPTH, SEMANTIC, INSTANCE = EXTRA
BITS = {DEPTH: 16, SEMANTIC: 8, INSTANCE: 16}

#: Depth is stored in centimetres: NEARER where it is nearer than `near`, BEYOND where no surface is before `far`, or
#: where the surface is farther than FARTHEST metres.
CENTIMETRES = 100.0
NEARER, BEYOND = 0, 65535
FARTHEST = (BEYOND - 1) / CENTIMETRES

#: Labels come in runs, for which zlib's run-length strategy gives half the bytes in the same time.
_STRATEGY = {DEPTH: zlib.Z_DEFAULT_STRATEGY, SEMANTIC: zlib.Z_RLE, INSTANCE: zlib.Z_RLE}


def image_sizes(rig: Rig, faces_only: bool = False) -> dict[str, tuple[int, int]]:
    """Name → (height, width) of every image that one kind has in a frame: cameras in upper case (not with
    `faces_only`), faces as they are. A name that could not be a file's is left out."""
    cameras = () if faces_only else rig.cameras
    sizes = {camera.name.upper(): (camera.height, camera.width) for camera in cameras}
    sizes |= {face.name: (face.height, face.width) for face in rig.depth}
    return {name: size for name, size in sizes.items() if IMAGE_NAME.match(name)}


def frame_images(
    frame: SensorFrame, rig: Rig, kind: str, faces_only: bool = False
) -> Iterator[tuple[str, NDArray[Any] | None]]:
    """The images of one kind that a frame should bring, by name as in files; None where it does not."""
    images: dict[str, tuple[Mapping[str, NDArray[Any]], Mapping[str, NDArray[Any]]]] = {
        DEPTH: (frame.camera_depth, frame.depth),
        SEMANTIC: (frame.camera_semantic, frame.semantic),
        INSTANCE: (frame.camera_instance, frame.instance),
    }
    cameras, faces = images[kind]
    for camera in () if faces_only else rig.cameras:
        yield camera.name.upper(), cameras.get(camera.name)
    for face in rig.depth:
        yield face.name, faces.get(face.name)


def encode(kind: str, image: NDArray[Any]) -> bytes:
    """PNG bytes of one image (H, W): depth in metres (float32, −inf and +inf as in SensorFrame), class ids (uint8), or
    instances (uint16). Raises SessionError for another type, and for depth that is not a number."""
    if image.ndim != 2 or not image.size:
        raise SessionError(f"a {kind} image of shape {image.shape}; needs (height, width)")
    if kind == DEPTH:
        image = centimetres(image)
    elif image.dtype != np.dtype(f"u{BITS[kind] // 8}"):
        raise SessionError(f"a {kind} image of {image.dtype}; needs unsigned integers of {BITS[kind]} bits")
    return png.encode(image, _STRATEGY[kind])


def centimetres(depth: NDArray[Any]) -> NDArray[np.uint16]:
    """(H, W) metres as they are stored. Raises SessionError for NaN."""
    lowest = depth.min()
    if np.isnan(lowest):
        raise SessionError("a depth image holds values that are not numbers")
    scaled = np.clip(depth * np.float32(CENTIMETRES), NEARER + 1, BEYOND)
    scaled += np.float32(0.5)
    stored = scaled.astype(np.uint16)
    if lowest == -np.inf:
        stored[depth == -np.inf] = NEARER
    return stored


def metres(stored: NDArray[np.uint16]) -> NDArray[np.float32]:
    """(H, W) float32 metres of a stored depth image: −inf nearer than `near`, +inf where nothing was hit."""
    depth = stored.astype(np.float32) / np.float32(CENTIMETRES)
    depth[stored == NEARER] = -np.inf
    depth[stored == BEYOND] = np.inf
    return depth


def check(kind: str, name: str, raw: bytes, size: tuple[int, int], what: str) -> None:
    """Raises SessionError unless `raw` begins as a grey PNG of the kind's bits and of `size` (height, width)."""
    if raw[:8] != png.SIGNATURE or raw[12:16] != b"IHDR" or len(raw) < 33:
        raise SessionError(f"{what}: is no PNG")
    width, height, bits, colour, _, _, interlace = struct.unpack(">IIBBBBB", raw[16:29])
    if (bits, colour, interlace) != (BITS[kind], 0, 0):
        raise SessionError(f"{what}: is no plain grey PNG of {BITS[kind]} bits")
    if (height, width) != size:
        raise SessionError(f"{what}: is {width}×{height}, the rig's {name} {size[1]}×{size[0]}")


def decode(kind: str, name: str, raw: bytes, size: tuple[int, int], what: str) -> NDArray[Any]:
    """The image (H, W) as it is stored, uint8 or uint16. Raises SessionError, naming `what`, for anything else, and
    where Pillow (`aerialworld_core[world]`) is not installed."""
    check(kind, name, raw, size, what)
    try:
        from PIL import Image
    except ImportError as error:
        raise SessionError(f"{what}: reading PNG needs Pillow: pip install 'aerialworld_core[world]'") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(raw), formats=("PNG",)) as picture:
                values = np.array(picture)
    except (OSError, ValueError, SyntaxError, zlib.error, struct.error, Image.DecompressionBombWarning) as error:
        raise SessionError(f"{what}: no readable PNG: {error}") from error
    if values.shape != size or values.dtype.kind != "u" or values.dtype.itemsize != BITS[kind] // 8:
        raise SessionError(f"{what}: holds {values.dtype} {values.shape}, not {BITS[kind]} bits of {size}")
    if kind == SEMANTIC and values.max(initial=0) >= FREE:
        raise SessionError(f"{what}: holds {values.max()}; classes are 0 … {FREE - 1}")
    return values
