"""Films of saved forecasts: truth, fused warp and prediction side by side, oblique above and from straight above below.

A film's first picture is the last history frame; then every horizon follows at the recording's own pace.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld.lazy import MissingStageError
from aerialworld.report.predictions import load_prediction
from aerialworld.report.recorded import heights_shown
from aerialworld.report.voxels import View, cropped_levels, render_voxels
from aerialworld_core.errors import InputError
from aerialworld_core.files import write_stream
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import FREE

Picture = NDArray[np.uint8]
#: Straight down, the vehicle's forward up in the picture.
ABOVE = View(azimuth=np.pi, elevation=np.pi / 2)
BACKGROUND, INK, FAINT = (250, 250, 248), (30, 34, 40), (110, 116, 124)
MARGIN, HEAD, CAPTION = 16, 56, 30
#: Pictures a second; a horizon stays as long as its time step.
FRAME_RATE = 10


def pictures(data: dict[str, Any], width: int = 420) -> Iterator[tuple[float, Picture]]:
    """Seconds after the last history frame and the picture (H, W, 3), of one saved window; H and W are even."""
    from PIL import Image, ImageDraw, ImageFont

    grid: VoxelGrid = data["grid"]
    truth, observed = data["truth_semantics"], data["truth_observed"]
    warp, predicted = data["ego_warp_fused_semantics"], data["predicted_semantics"]
    seen = np.where((truth != FREE).any(0), np.uint8(0), np.uint8(FREE))
    levels, cropped = cropped_levels(grid, *heights_shown(seen, grid))
    columns = (
        ("truth, what was observed", [data["last_semantics"], *np.where(observed, truth, FREE)]),
        ("history moved by the true motion", [data["last_semantics"], *warp]),
        (f"{data.get('model', 'model')}'s prediction", [data["last_semantics"], *predicted]),
    )
    title, small = ImageFont.load_default(22), ImageFont.load_default(15)
    for k, seconds in enumerate((0.0, *data["horizons_s"])):
        shown = [
            [
                _on_background(render_voxels(volumes[k][:, :, levels], cropped, view=view, width=width))
                for _, volumes in columns
            ]
            for view in (View(), ABOVE)
        ]
        heights = [row[0].shape[0] for row in shown]
        wide = MARGIN + len(columns) * (width + MARGIN)
        high = HEAD + CAPTION + sum(h + MARGIN for h in heights)
        canvas = Image.new("RGB", (wide + wide % 2, high + high % 2), BACKGROUND)
        pen = ImageDraw.Draw(canvas)
        when = "last history frame" if k == 0 else f"+{seconds:g} s"
        pen.text((MARGIN, 14), when, INK, font=title)
        pen.text((MARGIN + 240, 20), str(data["session"]), FAINT, font=small)
        top = HEAD + CAPTION
        for column, (caption, _) in enumerate(columns):
            pen.text((MARGIN + column * (width + MARGIN), HEAD), caption, INK, font=small)
        for row, height in zip(shown, heights, strict=True):
            for column, picture in enumerate(row):
                canvas.paste(Image.fromarray(picture), (MARGIN + column * (width + MARGIN), top))
            top += height + MARGIN
        yield float(seconds), np.asarray(canvas)


def _on_background(rgba: Picture) -> Picture:
    share = rgba[..., 3:].astype(np.float64) / 255
    return (rgba[..., :3] * share + np.array(BACKGROUND) * (1 - share)).round().astype(np.uint8)


def write_film(prediction: Path, out: Path, width: int = 420) -> int:
    """An MP4 (H.264) of one `prediction_{k}.npz`; returns its number of pictures.

    Raises InputError for a file that is no prediction, MissingStageError without PyAV. Nothing half-written stays.
    """
    try:
        import av
    except ImportError as error:
        raise MissingStageError("films need PyAV, which is not installed: pip install 'aerialworld[video]'") from error
    data = load_prediction(prediction)
    step = float(data["horizons_s"][0])
    out.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with write_stream(out) as handle, av.open(handle, "w", format="mp4") as film:
        stream = film.add_stream("libx264", rate=FRAME_RATE, options={"crf": "18", "preset": "medium"})
        stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, FRAME_RATE)
        for _, picture in pictures(data, width):
            if count == 0:
                stream.height, stream.width = picture.shape[:2]
            for _ in range(max(1, round(step * FRAME_RATE))):
                film.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            count += 1
        film.mux(stream.encode())
    return count


def saved_predictions(folder: Path) -> list[Path]:
    """The `prediction_{k}.npz` of an evaluation's folder, or of a run folder's `evaluation`. Raises InputError."""
    for place in (folder, folder / "evaluation"):
        found = sorted(place.glob("prediction_*.npz"))
        if found:
            return found
    raise InputError(
        f"{folder}: holds no prediction_*.npz; run `aerialworld evaluate … --out {folder} --saved-windows 2`"
    )
