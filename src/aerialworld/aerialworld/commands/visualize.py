"""`aerialworld visualize`: films of an evaluation's saved forecasts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aerialworld.console import command, say
from aerialworld.lazy import stage
from aerialworld_core.errors import InputError


@command
def visualize(
    evaluation: Annotated[
        Path, typer.Argument(help="Folder of an evaluation, or a run's folder that holds one.", show_default=False)
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for prediction_*.mp4. Default: beside the predictions.")
    ] = None,
    window: Annotated[int | None, typer.Option("--window", min=0, help="One saved window. Default: all.")] = None,
    width: Annotated[int, typer.Option("--width", min=120, max=1600, help="Pixels of each of three columns.")] = 420,
) -> None:
    """Write an MP4 of each saved forecast: truth, fused warp and prediction, oblique and from above, by horizon.

    Truth shows what was observed; the others show all they say. Needs aerialworld\\[video] (PyAV).
    """
    if not evaluation.is_dir():
        raise InputError(f"{evaluation}: no such folder")
    film = stage("aerialworld.film")
    chosen = film.saved_predictions(evaluation)
    if window is not None:
        chosen = [p for p in chosen if p.stem == f"prediction_{window}"]
        if not chosen:
            raise InputError(f"{evaluation}: holds no prediction_{window}.npz")
    for path in chosen:
        target = (out or path.parent) / f"{path.stem}.mp4"
        film.write_film(path, target, width)
        say(str(target))
