"""Texture images and heights: PNG and JPEG only, their size known before a pixel is decoded."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import UnsafeInputError, WorldError
from aerialworld_core.processors import processors
from aerialworld_core.world.mesh import Picture

MAX_PIXELS = 64 * 1024 * 1024

#: Files of fewer bytes are decoded where they are asked for: threads would cost more than they save.
_SMALL = 32 * 1024

_Value = TypeVar("_Value", np.uint8, np.float64)


class Pictures:
    """Decodes pictures, large ones on threads while the caller goes on. A context manager: leaving it stops the
    threads; pictures that were not asked for by then are lost. Without `threaded` all are decoded at once."""

    def __init__(self, *, threaded: bool = True) -> None:
        self._threaded = threaded
        self._pool: ThreadPoolExecutor | None = None

    def decoded(self, data: bytes, context: str) -> Picture:
        """The picture in `data` (see `decode`), which raises, when it is asked for, what was wrong with it. Small ones
        are decoded here and raise here."""
        if not self._threaded or len(data) < _SMALL:
            pixels = decode(data, context)
            return lambda: pixels
        if self._pool is None:
            self._pool = ThreadPoolExecutor(min(processors(), 8), thread_name_prefix="pictures")
        return self._pool.submit(decode, data, context).result

    def __enter__(self) -> Pictures:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def decode(data: bytes, context: str) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 sRGB, row 0 at the top; transparency is dropped.

    Raises WorldError (no PNG or JPEG, broken) or UnsafeInputError (more than 64 Mpx), beginning with `context`.
    """
    return _read(data, context, lambda image: np.array(image if image.mode == "RGB" else image.convert("RGB")))


def decode_heights(data: bytes, context: str) -> NDArray[np.float64]:
    """(H, W) values 0-1 of a heightmap, row 0 at the top: grey of 8 or 16 bits, or the red of a colour picture.

    Raises as `decode`.
    """

    def values(image: Any) -> NDArray[np.float64]:
        if image.mode.startswith("I"):
            return np.asarray(np.array(image, dtype=np.float64) / 65535.0)
        return np.array(image.convert("RGB"), dtype=np.float64)[..., 0] / 255.0

    return _read(data, context, values)


#: How warnings are filtered belongs to the process, not to the thread.
_LOCK = threading.Lock()


def _read(data: bytes, context: str, convert: Callable[[Any], NDArray[_Value]]) -> NDArray[_Value]:
    from PIL import Image

    try:
        with _LOCK, warnings.catch_warnings():
            # Pillow's own warning comes at a lower limit than ours, which is checked here.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
        with image:
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
