"""`aerialworld train` and `aerialworld evaluate`: the world model, from sessions and a split."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aerialworld.console import command, kept, say
from aerialworld.learning import evaluate_model, train_model
from aerialworld.options import SeedOption, overrides_from_options

SessionsOption = Annotated[Path, typer.Option("--sessions", help="Folder that holds the sessions.", show_default=False)]
SplitOption = Annotated[
    Path,
    typer.Option("--split", help='JSON: {"train": […], "val": […], "test": […]}, session names.', show_default=False),
]
WorkDirOption = Annotated[
    Path, typer.Option("--work-dir", help="Checkpoints, curve and resolved config.", show_default=False)
]


@command
def train(
    sessions: SessionsOption,
    split: SplitOption,
    work_dir: WorkDirOption,
    config: Annotated[str, typer.Option("--config", help="Shipped config's name, or a YAML file.")] = "demo",
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a config key; repeatable.")
    ] = None,
    seed: SeedOption = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint in --work-dir.")] = False,
) -> None:
    """Train the occupancy world model (VAE, quantiser, transformer) on the training sessions of the split."""
    with kept(f"checkpoints are kept in {work_dir}; go on with the same command and --resume"):
        train_model(
            sessions, split, work_dir,
            config=config, overrides=overrides_from_options(overrides or []), seed=seed, resume=resume,
        )  # fmt: skip
    say(str(work_dir))


@command
def evaluate(
    sessions: SessionsOption,
    split: SplitOption,
    work_dir: Annotated[
        Path, typer.Option("--work-dir", help="The training folder, or one checkpoint of it.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for evaluation.json and prediction_*.npz.")],
    split_name: Annotated[str, typer.Option("--split-name", help="Which part of the split to score.")] = "test",
    world: Annotated[
        Path | None, typer.Option("--world", help="The sessions' world: score against full truth too.")
    ] = None,
    max_windows: Annotated[
        int | None, typer.Option("--max-windows", min=1, help="Evenly spread over the split (default: 16).")
    ] = None,
    saved_windows: Annotated[
        int | None, typer.Option("--saved-windows", min=0, help="Of these, kept for pictures (default: 2).")
    ] = None,
) -> None:
    """Score the trained model on sessions it has not seen, beside the trivial baselines."""
    result = evaluate_model(
        sessions, split, work_dir, out,
        split_name=split_name, world=world, max_windows=max_windows, saved_windows=saved_windows,
    )  # fmt: skip
    print_evaluation(result)
    say(str(out / "evaluation.json"))


def print_evaluation(result: dict[str, object]) -> None:
    """The metric table on the terminal."""
    from rich.table import Table

    from aerialworld.console import OUT
    from aerialworld.report.metrics import metric_table

    table = metric_table(result)
    view = Table(title="IoU (%) by horizon", title_justify="left")
    view.add_column("row")
    for column in table.columns:
        view.add_column(column, justify="right")
    for row in table.rows:
        view.add_row(row.label, *[f"[bold]{c.text}[/]" if c.best else c.text for c in row.cells])
    OUT.print(view)
