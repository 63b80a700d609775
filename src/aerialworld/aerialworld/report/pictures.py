"""Pictures as data URIs, so that the page needs no other file: photographs, slices of voxels, curves."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import COLOURS, FREE

SEEN_FREE = (236, 240, 243)
UNKNOWN = (176, 184, 192)
UNKNOWN_HATCH = (158, 166, 175)
EGO = (230, 40, 40)
THUMBNAIL_WIDTH = 560


def data_uri(data: bytes, kind: str) -> str:
    """`kind` is a media type such as image/png."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def png_uri(pixels: NDArray[np.uint8]) -> str:
    """A PNG of (H, W, 3 or 4) pixels."""
    from PIL import Image

    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    if pixels.shape[-1] == 4:
        image = image.quantize(128, method=Image.Quantize.FASTOCTREE)
    image.save(buffer, "PNG", optimize=True)
    return data_uri(buffer.getvalue(), "image/png")


def thumbnail_uri(jpeg: bytes, width: int = THUMBNAIL_WIDTH) -> str:
    """A recorded JPEG, made small."""
    from PIL import Image

    with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
        height = max(1, round(image.height * width / image.width))
        image.draft("RGB", (width, height))
        small = image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=84, optimize=True)
    return data_uri(buffer.getvalue(), "image/jpeg")


def slice_colours(semantics: NDArray[np.uint8], observed: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """(A, B, 3) colours of a plane of voxels: class, seen free, or unknown (hatched)."""
    a, b = np.indices(semantics.shape)
    hatch = ((a + b) // 3 % 3 == 0)[..., None]
    colours = np.where(hatch, np.array(UNKNOWN_HATCH), np.array(UNKNOWN))
    colours = np.where(observed[..., None], np.array(SEEN_FREE), colours)
    return np.where((semantics != FREE)[..., None], COLOURS[semantics], colours).astype(np.uint8)


def enlarged(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Nearest-neighbour enlargement to exactly (height, width)."""
    rows = np.arange(height) * pixels.shape[0] // height
    columns = np.arange(width) * pixels.shape[1] // width
    return pixels[rows][:, columns]


def horizontal_slice(
    semantics: NDArray[np.uint8], observed: NDArray[np.bool_], grid: VoxelGrid, level: int, width: int = 420
) -> NDArray[np.uint8]:
    """The plane z = level seen from above: forward is up, left is left; a red mark at the vehicle."""
    plane = slice_colours(semantics[:, :, level], observed[:, :, level])[::-1, ::-1]
    lx, ly = (grid.maximum[a] - grid.minimum[a] for a in (0, 1))
    height = max(1, round(width * lx / ly))
    picture = enlarged(plane, height, width)
    own = (round(grid.maximum[0] / lx * height), round(grid.maximum[1] / ly * width))
    return _marked(picture, *own)


def vertical_slice(
    semantics: NDArray[np.uint8],
    observed: NDArray[np.bool_],
    grid: VoxelGrid,
    altitude: float,
    width: int = 420,
) -> NDArray[np.uint8]:
    """The plane y = 0 seen from the right: forward is right, up is up; a red mark at `altitude` metres in the grid."""
    j = int(np.clip(-grid.minimum[1] / grid.voxel_size[1], 0, grid.shape[1] - 1))
    plane = slice_colours(semantics[:, j], observed[:, j]).transpose(1, 0, 2)[::-1]
    lx, lz = (grid.maximum[a] - grid.minimum[a] for a in (0, 2))
    height = max(1, round(width * lz / lx))
    picture = enlarged(plane, height, width)
    own = (round((grid.minimum[2] + lz - altitude) / lz * height), round(-grid.minimum[0] / lx * width))
    return _marked(picture, *own)


def _marked(picture: NDArray[np.uint8], row: int, column: int, size: int = 5) -> NDArray[np.uint8]:
    r, c = np.indices(picture.shape[:2])
    picture = picture.copy()
    picture[np.abs(r - row) + np.abs(c - column) <= size] = EGO
    return picture


def chosen_level(grid: VoxelGrid, ground: float) -> int:
    """The level about 4 m above `ground` (metres above the datum), where walls are and the ground is not."""
    return int(np.clip((ground + 4.0 - grid.minimum[2]) / grid.voxel_size[2], 0, grid.shape[2] - 1))


def curves_uri(curves: dict[str, dict[str, list[list[float]]]]) -> str:
    """Training curves as SVG: a panel per name, in each the lines label → [[step, value], …]."""
    import matplotlib
    from matplotlib.figure import Figure

    grey = "#7d8590"
    with matplotlib.rc_context(
        {
            "svg.hashsalt": "aerialworld",
            "axes.edgecolor": grey,
            "axes.labelcolor": grey,
            "xtick.color": grey,
            "ytick.color": grey,
            "text.color": grey,
            "font.size": 9,
        }
    ):
        figure = Figure(figsize=(4.6 * len(curves), 2.9))
        for axes, (title, lines) in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True):
            for label, line in lines.items():
                values: Any = np.array(line, dtype=float)
                axes.plot(values[:, 0], values[:, 1], label=label, linewidth=1.4, marker="o", markersize=2.5)
            axes.set_title(title, fontsize=10)
            axes.set_xlabel("step")
            axes.grid(alpha=0.25)
            if len(lines) > 1:
                axes.legend(frameon=False, fontsize=8)
        figure.tight_layout()
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return data_uri(buffer.getvalue(), "image/svg+xml")
