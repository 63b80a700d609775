"""Training: sessions in, a work folder with checkpoints and curves out.

    python -m aerialworld_training.train --config finetune_tokyo --sessions DIR --work-dir DIR [--resume]

`running` trains OccWorld by a `RunConfig`. What is here besides the command is the demo's small run: both stages of a
small plain model in one go.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from aerialworld_core.errors import AerialWorldError, InputError
from aerialworld_core.files import canonical_json, write_bytes, write_json
from aerialworld_training.checkpoint import Checkpoints, save_torch
from aerialworld_training.config import Config, config_names, load_config
from aerialworld_training.dataset import PooledSession, SessionWindows, Split, read_split
from aerialworld_training.dataset.frames import load_sessions
from aerialworld_training.logbook import Curve, Progress, TensorBoard
from aerialworld_training.models.occworld import OccWorld, load_complete
from aerialworld_training.runconfig.typed import read_table
from aerialworld_training.running import command
from aerialworld_training.runtime import Interrupted, StopRequest, deterministic
from aerialworld_training.stages import TransformerStage, VaeStage
from aerialworld_training.trainer import Loop, Stage

ProgressCallback = Callable[[str, float], None]
FORMAT = 1


def train(
    sessions: Path,
    split: Path,
    work_dir: Path,
    config: str | Path | Config = "demo",
    seed: int = 0,
    progress: ProgressCallback | None = None,
    *,
    overrides: Sequence[str] = (),
    resume: bool = False,
) -> dict[str, Any]:
    """Train both stages and write `work_dir/model.pth`; returns the summary that `train.json` holds.

    sessions   folder of session folders; split: JSON file {"train": […], "val": […], "test": […]}
    config     a built-in name, a YAML file or a Config; `overrides` are `key.sub=value`
    progress   called with a text and the finished fraction
    resume     go on from the newest checkpoint in `work_dir` if there is one; without it such a folder is refused

    The same seed, data and machine give the same bytes of model, curve and summary. SIGINT and SIGTERM write a
    checkpoint and raise Interrupted (exit code 130 or 143). Raises InputError for bad input, TrainingError when the
    loss is not finite.
    """
    settings = config if isinstance(config, Config) else load_config(config, overrides)
    parts = read_split(Path(split))
    work_dir = Path(work_dir)
    checkpoints = Checkpoints(work_dir / "checkpoints")
    if checkpoints.steps() and not resume:
        raise InputError(f"{work_dir}: holds checkpoints of an earlier run; use --resume or another --work-dir")
    missing = [n for p in (parts.train, parts.val, parts.test) for n in p if not (Path(sessions) / n).is_dir()]
    if missing:
        raise InputError(f"{split}: names sessions that {sessions} does not hold: {', '.join(missing)}")
    stop = StopRequest()
    with stop.listening(), deterministic(settings.threads):
        run = Run(Path(sessions), parts, work_dir, settings, seed, progress or (lambda what, fraction: None), stop)
        return run.go(checkpoints)


class Run:
    """One run of `train`, from data to model."""

    def __init__(
        self,
        root: Path,
        split: Split,
        work_dir: Path,
        config: Config,
        seed: int,
        progress: ProgressCallback,
        stop: StopRequest,
    ) -> None:
        self.root, self.split, self.work_dir = root, split, work_dir
        self.config, self.seed, self.progress, self.stop = config, seed, progress, stop
        self.total = config.vae.steps + config.transformer.steps
        self.seconds: dict[str, float] = {}

    def go(self, checkpoints: Checkpoints) -> dict[str, Any]:
        start = time.perf_counter()
        self.work_dir.mkdir(parents=True, exist_ok=True)
        loaded = self.load()
        self.seconds["load"] = time.perf_counter() - start
        train = [loaded[n] for n in self.split.train]
        val = [loaded[n] for n in self.split.val]
        windows = {part: self.windows(group, part) for part, group in (("train", train), ("val", val))}
        sizes = self.config.model.for_grid(train[0].grid)
        torch.manual_seed(self.seed)
        self.model = OccWorld(sizes)
        self.fingerprint = hashlib.sha256(
            canonical_json([FORMAT, self.config.to_yaml(), self.seed, [[s.name, s.key] for s in (*train, *val)]])
        ).hexdigest()
        newest = self.find_checkpoint(checkpoints)
        resumed_at = newest[0] if newest else None
        write_bytes(self.work_dir / "config.yaml", self.config.to_yaml().encode())
        self.curve = Curve(self.work_dir / "metrics.jsonl", resumed_at)
        self.board = TensorBoard(self.work_dir / "logs", (resumed_at or 0) + 1)
        try:
            last = newest[1] if newest else None
            vae = VaeStage(self.model, self.config.vae, train, val, self.seed, self.config.data.ground_level)
            self.run_stage(vae, self.config.vae, 0, checkpoints, last)
            self.progress("codes", self.fraction(self.config.vae.steps))
            transformer = TransformerStage(
                self.model, self.config.transformer, windows["train"], windows["val"], self.seed
            )
            self.run_stage(transformer, self.config.transformer, self.config.vae.steps, checkpoints, last)
        finally:
            self.board.close()
        save_torch(self.work_dir / "model.pth", {**self.payload(), "grid": train[0].grid.to_dict()})
        summary = self.summary(train, windows)
        write_json(self.work_dir / "train.json", summary)
        write_json(self.work_dir / "timings.json", {k: round(v, 3) for k, v in self.seconds.items()})
        self.progress("trained", 1.0)
        return summary

    def load(self) -> dict[str, PooledSession]:
        names = (*self.split.train, *self.split.val)
        done = 0

        def on_frame() -> None:
            nonlocal done
            done += 1
            if self.stop.signum is not None:
                raise Interrupted(
                    "stopped while reading sessions; run the same command again to go on", self.stop.signum
                )
            self.progress(f"reading sessions, {done} frames", 0.0)

        return load_sessions(
            self.root,
            names,
            self.config.data.pooling,
            cache=self.work_dir / "cache",
            threads=self.config.threads,
            on_frame=on_frame,
        )

    def windows(self, group: Sequence[PooledSession], part: str) -> SessionWindows:
        data = self.config.data
        return SessionWindows(
            group,
            history=data.history,
            future=data.future,
            frame_skip=data.frame_skip,
            step_ns=round(data.step * 1e9),
            ground_level=data.ground_level,
            split=part,
        )

    def find_checkpoint(self, checkpoints: Checkpoints) -> tuple[int, dict[str, Any]] | None:
        """The newest checkpoint, loaded into the model; refused when it comes from other data, settings or seed."""
        newest = checkpoints.load_newest()
        if newest is None:
            return None
        step, data = newest
        if data.get("fingerprint") != self.fingerprint:
            raise InputError(
                f"{checkpoints.path(step)}: was made with other sessions, another config or another seed; "
                "resume with the same ones or choose another --work-dir"
            )
        load_complete(self.model, data["state_dict"], str(checkpoints.path(step)))
        return newest

    def run_stage(
        self,
        stage: Stage,
        config: Any,
        offset: int,
        checkpoints: Checkpoints,
        resumed: dict[str, Any] | None,
    ) -> None:
        """Run a stage's remaining steps; none if the checkpoint is of a later stage or of this one's end."""
        start = time.perf_counter()
        done = 0
        if resumed is not None:
            resumed_run_step = resumed["stage_step"] + (self.config.vae.steps if resumed["stage"] != "vae" else 0)
            done = min(max(resumed_run_step - offset, 0), config.steps)
        loop = Loop(
            stage,
            config,
            run_offset=offset,
            curve=self.curve,
            board=self.board,
            checkpoints=checkpoints,
            payload=self.payload,
            stop=self.stop,
            progress=lambda what, run_step: self.progress(what, self.fraction(run_step)),
        )
        if resumed is not None and resumed["stage"] == stage.name:
            loop.load(resumed)
        loop.run(done)
        self.seconds[stage.name] = time.perf_counter() - start

    def fraction(self, run_step: int) -> float:
        return run_step / self.total

    def payload(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "seed": self.seed,
            "config": self.config.to_yaml(),
            "state_dict": self.model.state_dict(),
        }

    def summary(self, train: Sequence[PooledSession], windows: dict[str, SessionWindows]) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "steps": {"vae": self.config.vae.steps, "transformer": self.config.transformer.steps},
            "parameters": {
                name: sum(p.numel() for p in module.parameters()) for name, module in self.model.named_children()
            },
            "grid": train[0].grid.to_dict(),
            "latent": list(self.model.config.latent_shape),
            "codes": self.model.config.n_e,
            "sessions": {"train": list(self.split.train), "val": list(self.split.val), "test": list(self.split.test)},
            "frames": sum(len(s) for s in train),
            "windows": {part: len(w) for part, w in windows.items()},
            "occupied_fraction": sum(len(s.cells) for s in train)
            / max(sum(len(s.cells) / max(s.occupied_fraction, 1e-12) for s in train), 1),
            "config": "config.yaml",
            "model": "model.pth",
            "curve": "metrics.jsonl",
        }


def is_small(config: str) -> bool:
    """Whether a config is of the demo's small run: one of its names, or YAML with its tables."""
    if config in config_names():
        return True
    path = Path(config)
    if path.suffix not in (".yaml", ".yml") or not path.is_file():
        return False
    keys = read_table(path.read_text(encoding="utf-8"), config)
    return bool({"vae", "transformer"} & set(keys)) and "stage" not in keys


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m aerialworld_training.train", description=__doc__.split("\n")[0],
        epilog="Without --config, or with demo, fast or YAML of their kind, the demo's small model is trained in both "
        "stages; it needs --sessions and --split, and takes --work-dir, --seed, --set and --resume.",
    )  # fmt: skip
    command.add_options(parser)
    parser.add_argument("--fast", action="store_true", help="the config 'fast': a few steps of the small model")
    options = parser.parse_args(arguments)
    options.config = "fast" if options.fast else options.config or "demo"
    try:
        small = is_small(options.config)
    except (AerialWorldError, OSError, UnicodeDecodeError) as error:
        print(f"{options.config}: {error}", file=sys.stderr)
        return 2
    return small_run(parser, options) if small else command.run(options)


def small_run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """The demo's two stages. Options that it does not know are an error."""
    known = {"config", "fast", "sessions", "split", "work_dir", "seed", "set", "resume"}
    for name, value in vars(options).items():
        if name not in known and value not in (None, False, []):
            parser.error(f"--{name.replace('_', '-')} is not for the config {options.config}, the demo's small model")
    if options.sessions is None or options.split is None:
        parser.error(f"the config {options.config} needs --sessions and --split; a run of another needs --config")
    bar = Progress("training")
    try:
        train(
            options.sessions, options.split, options.work_dir, options.config, options.seed or 0, bar,
            overrides=options.set, resume=options.resume,
        )  # fmt: skip
    except AerialWorldError as error:
        bar.close()
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; run the same command with --resume to go on", file=sys.stderr)
        return 130
    finally:
        bar.close()
    print(options.work_dir / "model.pth")
    return 0


if __name__ == "__main__":
    sys.exit(main())
