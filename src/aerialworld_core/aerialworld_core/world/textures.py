"""Texture images: PNG and JPEG only, their size known before a pixel is decoded."""

from __future__ import annotations

import io
import warnings

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import UnsafeInputError, WorldError

MAX_PIXELS = 64 * 1024 * 1024


def decode(data: bytes, context: str) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 sRGB, row 0 at the top; transparency is dropped.

    Raises WorldError (no PNG or JPEG, broken) or UnsafeInputError (more than 64 Mpx), beginning with `context`.
    """
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
                return np.array(image.convert("RGB"), dtype=np.uint8)
    except Image.DecompressionBombError as error:
        raise UnsafeInputError(f"{context}: {error}") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise WorldError(f"{context}: not a readable PNG or JPEG image: {error}") from error
