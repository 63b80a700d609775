"""Texture images and heights: PNG and JPEG only, their size known before a pixel is decoded."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import UnsafeInputError, WorldError

MAX_PIXELS = 64 * 1024 * 1024

_Value = TypeVar("_Value", np.uint8, np.float64)


def decode(data: bytes, context: str) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 sRGB, row 0 at the top; transparency is dropped.

    Raises WorldError (no PNG or JPEG, broken) or UnsafeInputError (more than 64 Mpx), beginning with `context`.
    """
    return _read(data, context, lambda image: np.array(image.convert("RGB"), dtype=np.uint8))


def decode_heights(data: bytes, context: str) -> NDArray[np.float64]:
    """(H, W) values 0-1 of a heightmap, row 0 at the top: grey of 8 or 16 bits, or the red of a colour picture.

    Raises as `decode`.
    """

    def values(image: Any) -> NDArray[np.float64]:
        if image.mode.startswith("I"):
            return np.asarray(np.array(image, dtype=np.float64) / 65535.0)
        return np.array(image.convert("RGB"), dtype=np.float64)[..., 0] / 255.0

    return _read(data, context, values)


def _read(data: bytes, context: str, convert: Callable[[Any], NDArray[_Value]]) -> NDArray[_Value]:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            # Pillow's own warning comes at a lower limit than ours, which is checked here.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise UnsafeInputError(
                        f"{context}: an image of {width}×{height} is above {MAX_PIXELS // 2**20} Mpx; make it smaller"
                    )
                return convert(image)
    except Image.DecompressionBombError as error:
        raise UnsafeInputError(f"{context}: {error}") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise WorldError(f"{context}: not a readable PNG or JPEG image: {error}") from error
