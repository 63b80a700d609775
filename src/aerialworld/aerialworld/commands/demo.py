"""`aerialworld demo`: the whole pipeline with one command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aerialworld.console import command, kept, note, say
from aerialworld.options import (
    FrameRateOption,
    GridRangeOption,
    RigOption,
    SeedOption,
    VoxelSizeOption,
    grid_from_options,
    overrides_from_options,
)


@command
def demo(
    city: Annotated[
        Path | None, typer.Option("--city", help="A PLATEAU file or folder. Default: a small generated city.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Run folder. Default: out/demo, or out/demo_<city>.")
    ] = None,
    seed: SeedOption = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start anew instead of resuming.")] = False,
    rig: RigOption = None,
    grid_range: GridRangeOption = None,
    voxel_size: VoxelSizeOption = None,
    frame_rate: FrameRateOption = 2.0,
    duration: Annotated[float, typer.Option("--duration", help="Seconds of each of the five runs.")] = 25.0,
    config: Annotated[str, typer.Option("--config", help="Training config: shipped name or YAML file.")] = "demo",
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a training key; repeatable.")
    ] = None,
) -> None:
    """From a city file to an evaluated world model and report.html, in one go.

    Seven steps: city, missions, simulate, validate, train, evaluate, report. Each is recorded when it is finished;
    the same command again goes on after the last finished step, and repeats a step whose inputs or outputs changed.
    """
    from aerialworld.demo.pipeline import Demo, DemoOptions, tell_result
    from aerialworld.demo.steps import clear, locked

    folder = out or Path("out") / (f"demo_{city.resolve().stem}" if city else "demo")
    options = DemoOptions(
        out=folder, city=city, seed=seed, rig=rig, grid=grid_from_options(grid_range, voxel_size),
        frame_rate=frame_rate, duration=duration, config=config, overrides=overrides_from_options(overrides or []),
    )  # fmt: skip
    note(f"demo in {folder}", style="bold")
    with locked(folder), kept(f"finished steps and frames are kept in {folder}; go on with the same command"):
        if fresh:
            clear(folder)
        report = Demo(options).run()
        tell_result(report)
    say(str(report))
