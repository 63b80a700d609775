"""`aerialworld train` and `aerialworld evaluate`: the world model, from sessions and a split."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from aerialworld.console import command, kept, note, say
from aerialworld.lazy import stage
from aerialworld.learning import evaluate_model, train_model
from aerialworld_core.files import write_bytes

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
    work_dir: WorkDirOption,
    sessions: Annotated[Path | None, typer.Option("--sessions", help="Folder that holds the sessions.")] = None,
    split: Annotated[
        Path | None, typer.Option("--split", help='JSON: {"train": […], "val": […], "test": […]}, session names.')
    ] = None,
    config: Annotated[
        str,
        typer.Option(
            "--config",
            "--py-config",
            help="Shipped config's name, a Python or a YAML file.",
        ),
    ] = "demo",
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a config key; repeatable.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Random seed; the config's where it is not given.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint in --work-dir.")] = False,
    resume_from: Annotated[
        Path | None, typer.Option("--resume-from", help="Go on from this checkpoint; a foreign one gives its weights.")
    ] = None,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Without the config's pretrained weights.")
    ] = False,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Samples per process and micro-step.")] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="Highest learning rate.")] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="Of every stage.")] = None,
    gpu_ids: Annotated[list[int] | None, typer.Option("--gpu-ids", help="The GPU of this process; repeatable.")] = None,
    amp: Annotated[str | None, typer.Option("--amp", metavar="bf16|fp16", help="Mixed precision.")] = None,
    eval_only: Annotated[bool, typer.Option("--eval-only", help="Score and train nothing.")] = False,
    wandb: Annotated[bool, typer.Option("--wandb", help="Also to Weights & Biases.")] = False,
    wandb_project: Annotated[str | None, typer.Option("--wandb-project", help="Its project there.")] = None,
    wandb_run_name: Annotated[str | None, typer.Option("--wandb-run-name", help="The run's name there.")] = None,
    wandb_tags: Annotated[list[str] | None, typer.Option("--wandb-tags", help="Repeatable.")] = None,
) -> None:
    """Train the occupancy world model on recorded sessions: the stage of a config, or all of them in turn.

    Without --config the demo's model is trained: both stages, adapt and occworld, in some minutes.
    """
    keys = stage("aerialworld_training.running.command", "overrides")(
        overrides or [], sessions=sessions, split=split, batch_size=batch_size, lr=lr, epochs=epochs, seed=seed,
        amp=amp, wandb=wandb, wandb_project=wandb_project, wandb_run_name=wandb_run_name, wandb_tags=wandb_tags,
        resume_from=resume_from,
    )  # fmt: skip
    with kept(f"checkpoints are kept in {work_dir}; go on with the same command and --resume"):
        scores = train_model(
            config, work_dir, keys, resume=resume, from_scratch=from_scratch, evaluate_only=eval_only,
            gpus=gpu_ids or [],
        )  # fmt: skip
    for name, value in scores.items():
        say(f"{name} {value:.4f}")
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
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Of the model (default: 1, steady on a busy machine).")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="cpu, cuda, cuda:1 (default: a GPU where there is one).")
    ] = None,
) -> None:
    """Score the trained model on sessions it has not seen, beside the trivial baselines."""
    result = evaluate_model(
        sessions, split, work_dir, out,
        split_name=split_name, world=world, max_windows=max_windows, saved_windows=saved_windows,
        threads=threads, device=device,
    )  # fmt: skip
    print_evaluation(result)
    say(str(out / "evaluation.json"))
    draw_evaluation(result, out / "scores.png")


def draw_evaluation(result: dict[str, Any], picture: Path) -> None:
    """IoU by horizon and stratum; told where matplotlib is missing (a GPU host's installation)."""
    try:
        from aerialworld.report.plots import score_plots

        drawn = score_plots(result)
    except ModuleNotFoundError as error:
        note(f"no {picture.name}: {error.name} is not installed (pip install 'aerialworld[video]')")
        return
    write_bytes(picture, drawn)
    say(str(picture))


def print_evaluation(result: dict[str, Any]) -> None:
    """The metric table, the strata of rows that know equally much, and the goals, on the terminal."""
    from rich.table import Table

    from aerialworld.console import OUT
    from aerialworld.report.metrics import compared_tables, metric_table

    shown = [("IoU (%) by horizon", metric_table(result))] + [(t.title, t) for t in compared_tables(result)]
    for title, table in shown:
        view = Table(title=title, title_justify="left")
        view.add_column("row")
        for column in table.columns:
            view.add_column(column, justify="right")
        for row in table.rows:
            view.add_row(row.label, *[f"[bold]{c.text}[/]" if c.best else c.text for c in row.cells])
        OUT.print(view)
    for goal in result.get("goals", ()):
        say(goal["text"])
