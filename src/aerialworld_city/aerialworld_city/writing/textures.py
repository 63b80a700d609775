"""Photographs of a city as a GLB carries them: checked, decoded once, kept as they are where that is possible.

Gazebo loads PNG and JPEG from a GLB and nothing else, so TIFF is converted; so is what only some of its loaders know
(CMYK, 16 bits, palettes). Everything else keeps its bytes, unless it is larger than asked.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import warnings
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from aerialworld_city.readers.embedded import embedded_image
from aerialworld_core.errors import InputError
from aerialworld_core.files import open_regular, read_counted

#: A larger picture is refused before it is decoded.
MAX_PIXELS = 64 * 1024 * 1024
#: A larger file is not read: 64 Mpx of uncompressed RGBA.
MAX_BYTES = 256 * 1024 * 1024
#: Encoded bytes that stay in memory per process for the next models that use them.
CACHE_BYTES = 64 * 1024 * 1024

_FORMATS = ("JPEG", "PNG", "TIFF")
#: Baseline TIFF and the lossless packings that PLATEAU's early textures come in.
_TIFF_PACKINGS = frozenset({"raw", "packbits", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate"})
_JPEG_QUALITY = 90

_Key = tuple[Path, tuple[int, int] | None]


class TextureError(InputError):
    """An image that cannot be used; the text says which and why."""


@dataclass(frozen=True)
class Photo:
    """An image ready to be embedded: `data` is a `mime` file of `width` × `height` pixels, `mean` its average sRGB
    colour (0-1), `name` made from the file's name and its content, so that equal names are equal images."""

    name: str
    mime: str
    data: bytes
    width: int
    height: int
    mean: tuple[float, float, float]


class Textures:
    """Loads images, each once per process. `max_size` is the longest side in pixels."""

    def __init__(self, max_size: int) -> None:
        if max_size < 1:
            raise InputError(f"max_texture_size {max_size}: give at least 1 pixel")
        self.max_size = max_size
        self._photos: OrderedDict[_Key, Photo] = OrderedDict()
        self._bytes = 0
        self._bad: dict[_Key, str] = {}

    def load(self, path: Path, root: Path, span: tuple[int, int] | None = None) -> Photo:
        """The image `path`, which must lie below the folder `root`; with `span` the image inside that file
        (`features.Material.span`). Where only a file whose name differs in case is there, that is meant: data sets are
        made on systems that do not tell the two apart.

        Raises TextureError: missing, outside `root` (also through a link), no JPEG, PNG or TIFF by its content, broken,
        above 64 Mpx or 256 MiB.
        """
        inside = _inside(_found(Path(path)), Path(root))
        key = (inside, span)
        if key in self._bad:
            raise TextureError(self._bad[key])
        photo = self._photos.get(key)
        if photo is not None:
            self._photos.move_to_end(key)
            return photo
        try:
            photo = read_photo(inside, self.max_size, span)
        except TextureError as error:
            self._bad[key] = str(error)
            raise
        self._photos[key] = photo
        self._bytes += len(photo.data)
        while self._bytes > CACHE_BYTES and len(self._photos) > 1:
            _, old = self._photos.popitem(last=False)
            self._bytes -= len(old.data)
        return photo


def read_photo(path: Path, max_size: int, span: tuple[int, int] | None = None) -> Photo:
    """Read and check one image file, or the image at `span` of a file. Raises TextureError."""
    data = _read(path) if span is None else _read_span(path, span)
    from PIL import Image

    try:
        with warnings.catch_warnings():
            # Pillow's warning of bombs has another limit than ours, which is checked below; what it warns of in broken
            # TIFF tags either fails to decode or does not matter.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            warnings.filterwarnings("ignore", module="PIL")
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                return _photo(path, data, image, max_size)
    except TextureError:
        raise
    except Image.UnidentifiedImageError as error:
        raise TextureError(f"{path.name}: is no JPEG, PNG or TIFF image") from error
    except Image.DecompressionBombError as error:
        raise TextureError(f"{path.name}: is above {MAX_PIXELS >> 20} Mpx; make it smaller") from error
    except (OSError, SyntaxError, ValueError, KeyError, IndexError, TypeError, EOFError, MemoryError) as error:
        raise TextureError(f"{path.name}: broken image: {type(error).__name__}: {error}") from error


def _inside(path: Path, root: Path) -> Path:
    """The real file, if it lies below the real root. Links within the root are followed, others refused."""
    try:
        base, real = root.resolve(strict=True), path.resolve(strict=True)
    except (FileNotFoundError, NotADirectoryError):
        # The text does not tell what exists outside the root.
        if _below(Path(os.path.normpath(path)), Path(os.path.normpath(root))):
            raise TextureError(f"{path.name}: no such file") from None
        raise TextureError(f"{path.name}: leaves the source's folder; refused") from None
    except (OSError, RuntimeError, ValueError) as error:
        raise TextureError(f"{path.name}: cannot be opened: {error}") from error
    if not _below(real, base):
        raise TextureError(f"{path.name}: leaves the source's folder; refused")
    return real


@lru_cache(maxsize=64)
def _names(folder: Path, changed: int) -> dict[str, list[str]]:
    """The names in a folder by their lower-case form; `changed` is the folder's time of change."""
    names: dict[str, list[str]] = {}
    for name in os.listdir(folder):
        names.setdefault(name.casefold(), []).append(name)
    return names


def _found(path: Path) -> Path:
    """`path`, or the one file beside it whose name differs in case only."""
    try:
        if os.path.lexists(path):
            return path
        like = _names(path.parent, path.parent.stat().st_mtime_ns).get(path.name.casefold(), [])
    except (OSError, ValueError):
        return path  # `_inside` says what is wrong with it
    return path.with_name(like[0]) if len(like) == 1 else path


def _below(path: Path, root: Path) -> bool:
    return path != root and path.is_relative_to(root)


def _read(path: Path) -> bytes:
    """The whole of a regular file of at most MAX_BYTES; a pipe or a device does not block."""
    try:
        with open_regular(path) as handle:
            data = read_counted(handle, MAX_BYTES)
    except OSError as error:
        raise TextureError(f"{path.name}: cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise TextureError(f"{path.name}: is larger than {MAX_BYTES >> 20} MiB")
    return data


def _read_span(path: Path, span: tuple[int, int]) -> bytes:
    if not (span[0] >= 0 and 0 <= span[1] <= MAX_BYTES):
        raise TextureError(f"{path.name}: the image inside it at {span} has no place or is too large")
    try:
        return embedded_image(path, span)
    except InputError as error:
        raise TextureError(str(error).replace(str(path), path.name)) from error


def _photo(path: Path, data: bytes, image: Any, max_size: int) -> Photo:
    from PIL import Image

    width, height = image.size
    if width < 1 or height < 1:
        raise TextureError(f"{path.name}: has no pixels")
    if width * height > MAX_PIXELS:
        raise TextureError(f"{path.name}: {width}×{height} is above {MAX_PIXELS >> 20} Mpx; make it smaller")
    kind = image.format
    if kind == "TIFF" and image.info.get("compression", "raw") not in _TIFF_PACKINGS:
        raise TextureError(
            f"{path.name}: TIFF packed with {image.info.get('compression')} is not read; save it as JPEG or PNG"
        )
    image.load()  # all of it, so that a cut file is found here and not in the simulator
    keep = max(width, height) <= max_size and _kept_as_it_is(kind, image, data)
    plain = _eight_bits(image, path.name)
    if not keep:
        if max(width, height) > max_size:
            scale = max_size / max(width, height)
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            plain = plain.resize(size, Image.Resampling.LANCZOS)
        data, kind = _encoded(plain, lossless=kind == "PNG")
    r, g, b = (round(v / 255.0, 4) for v in _opaque(plain).resize((1, 1), Image.Resampling.BOX).getpixel((0, 0)))
    name = f"{_safe(path.stem)}_{hashlib.sha256(data).hexdigest()[:8]}"
    mime = "image/png" if kind == "PNG" else "image/jpeg"
    width, height = plain.size
    return Photo(name, mime, data, width, height, (r, g, b))


def _kept_as_it_is(kind: str, image: Any, data: bytes) -> bool:
    """What every glTF reader and both generations of Gazebo's image library show alike."""
    if kind == "JPEG":
        return image.mode in ("RGB", "L")
    # PNG: 8 bits, RGB or RGBA (IHDR's bit depth and colour type).
    return kind == "PNG" and data[24:26] in (b"\x08\x02", b"\x08\x06")


def _eight_bits(image: Any, name: str) -> Any:
    """The picture as RGB, or RGBA where something is transparent."""
    from PIL import Image

    if image.mode in ("I;16", "I;16L", "I;16B", "I;16N", "I"):
        values = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise TextureError(f"{name}: has floating-point pixels, which are no colours; save it as JPEG or PNG")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or (image.mode == "P" and "transparency" in image.info):
        rgba = image.convert("RGBA")
        return rgba if rgba.getchannel("A").getextrema()[0] < 255 else rgba.convert("RGB")
    return _opaque(image)


def _opaque(image: Any) -> Any:
    return image if image.mode == "RGB" else image.convert("RGB")


def _encoded(image: Any, *, lossless: bool) -> tuple[bytes, str]:
    out = io.BytesIO()
    if lossless or image.mode == "RGBA":
        image.save(out, "PNG", compress_level=9)
        return out.getvalue(), "PNG"
    image.save(out, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return out.getvalue(), "JPEG"


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_")[:40] or "image"
