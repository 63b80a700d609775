"""Pictures that lie inside a mesh file (`features.Material.span`), read without loading the rest of it."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from aerialworld_core.errors import InputError
from aerialworld_core.files import open_regular


def embedded_image(path: Path, span: tuple[int, int]) -> bytes:
    """The bytes of the picture at `span` (offset, bytes) of the file: as they are in a .glb, or from the base64 of a
    `data:` URI in a .gltf.

    Raises InputError: the file is gone or shorter than the span, or the base64 is broken.
    """
    offset, size = span
    try:
        with open_regular(path) as handle:
            handle.seek(offset)
            data = handle.read(size)
    except OSError as error:
        raise InputError(f"{path}: cannot read the image inside it: {error.strerror}") from error
    if len(data) < size:
        raise InputError(f"{path}: the image at byte {offset} is cut off; the file changed since it was read")
    if not data.startswith(b"data:"):
        return data
    try:
        # A JSON writer may have escaped the slashes of the base64.
        return base64.b64decode(data.partition(b",")[2].replace(b"\\/", b"/"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"{path}: the image at byte {offset} is broken base64: {error}") from error
