"""The demo's seven steps: city → missions → simulate → validate → train → evaluate → report."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aerialworld import learning
from aerialworld.console import note
from aerialworld.demo import fingerprint
from aerialworld.demo.steps import RunFolder, Work
from aerialworld.judging import content_errors
from aerialworld.lazy import stage
from aerialworld.opened import open_world
from aerialworld.progress import meter
from aerialworld.recording import (
    RecordingOptions,
    frame_bytes,
    record_plan,
    require_space,
    rig_for,
    session_name,
    start_time,
)
from aerialworld_core.errors import AerialWorldError, InputError
from aerialworld_core.files import read_json, write_bytes, write_json
from aerialworld_core.grid import DEFAULT_GRID, VoxelGrid
from aerialworld_core.plan import Plan
from aerialworld_core.provenance import machine, provenance, versions

#: Windows of the test session that the demo scores, which takes about as long as a stage of training.
EVALUATED = 8


class ValidationFailed(AerialWorldError):
    """A recorded session failed its content checks; the demo stops before it trains on it."""


@dataclass(frozen=True)
class DemoOptions:
    """What `aerialworld demo` was asked for. `city` None means the generated one; `duration` is seconds per run."""

    out: Path
    city: Path | None = None
    seed: int = 0
    rig: str | None = None
    grid: VoxelGrid = DEFAULT_GRID
    frame_rate: float = 2.0
    duration: float = 25.0
    truth_frames: int = 2
    config: str = "demo"
    overrides: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.city is not None and not self.city.exists():
            raise InputError(f"{self.city}: no such file or folder")
        if not 5.0 <= self.duration <= 3600.0:
            raise InputError(f"--duration: {self.duration} s is not between 5 and 3600 s")
        _ = self.recording  # refuses a bad frame rate before anything is written

    @property
    def recording(self) -> RecordingOptions:
        return RecordingOptions(self.grid, self.frame_rate, seed=self.seed)


class Demo:
    """One run of the demo in its folder; `run()` does what is not done yet and returns the report's path."""

    def __init__(self, options: DemoOptions) -> None:
        self.options = options
        self.root = options.out
        self.folder = RunFolder(options.out)
        self._world: Any = None

    def run(self) -> Path:
        options = self.options
        recording = options.recording
        write_json(self.root / "run.json", self.description())
        source = {"path": "generated", "seed": options.seed}
        if options.city is not None:
            source = {"name": options.city.name, "content": fingerprint.of_tree(options.city)}
        self.folder.run("city", {"source": source, "versions": _own_versions("city")}, self._city, "city → world")
        self.folder.run(
            "missions",
            {
                "world": self._outputs("city", "world"),
                "seed": options.seed,
                "duration": options.duration,
                "limits": mission_limits(options.grid),
                "versions": _own_versions("missions"),
            },
            self._missions,
            "missions",
        )
        plans = [Plan.read(path) for path in sorted((self.root / "plans").glob("*.json"))]
        rigs = [rig_for(plan, options.rig) for plan in plans]
        steps = [f"simulate_{index + 1}" for index in range(len(plans))]
        inputs = [
            {
                "world": self._outputs("city", "world"),
                "plan": plan.to_dict(),
                "rig": rig.to_dict(),
                "recording": recording.to_dict(),
                "start_time": start_time(index),
                "versions": _own_versions("sim", "recorder"),
            }
            for index, (plan, rig) in enumerate(zip(plans, rigs, strict=True))
        ]
        todo = [i for i, name in enumerate(steps) if not self.folder.is_done(name, inputs[i])]
        require_space(
            self.root,
            sum(
                recording.frames(plans[i]) * frame_bytes(rigs[i].recorded(recording.modalities), recording.grid)
                for i in todo
            ),
            f"recording {len(todo)} session(s)",
        )
        for index, (name, plan, rig) in enumerate(zip(steps, plans, rigs, strict=True)):
            title = f"simulate {index + 1}/{len(plans)}: {plan.name}"
            self.folder.run(name, inputs[index], self._simulate(index, plan, rig), title)
        sessions = self.folder.digest(*steps)
        self.folder.run(
            "validate",
            {
                "sessions": sessions,
                "world": self._outputs("city", "world"),
                "truth_frames": options.truth_frames,
                "versions": _own_versions(),
            },
            self._validate,
            "validate",
        )
        split = self._outputs("missions", "split.json")
        self.folder.run(
            "train",
            {
                "sessions": sessions,
                "split": split,
                "config": options.config,
                "overrides": options.overrides,
                "seed": options.seed,
                "versions": _own_versions("training", "torch"),
            },
            self._train,
            "train",
        )
        self.folder.run(
            "evaluate",
            {
                "sessions": sessions,
                "split": split,
                "model": self.folder.digest("train"),
                "versions": _own_versions("training", "torch"),
            },
            self._evaluate,
            "evaluate",
        )
        self._world = None
        every = ["city", "missions", *steps, "validate", "train", "evaluate"]
        self.folder.run(
            "report",
            {
                "results": self.folder.digest(*every),
                "seconds": {name: (self.folder.record(name) or {})["seconds"] for name in every},
                "run": self.description(),
                "aerialworld": versions()["aerialworld"],
            },
            self._report,
            "report",
        )
        return self.root / "report.html"

    def description(self) -> dict[str, Any]:
        """run.json: what was asked for and where it ran, for the report and for running it again."""
        o = self.options
        return {
            "command": self.command(),
            "city": o.city.name if o.city else "generated",
            "seed": o.seed,
            "rig": Path(o.rig).name if o.rig else "rig_drone for drones, rig_rover for rovers",
            "grid": o.grid.to_dict(),
            "frame_rate": o.frame_rate,
            "duration": o.duration,
            "config": o.config,
            "overrides": o.overrides,
            "machine": machine(),
            "versions": versions(),
        }

    def command(self) -> list[str]:
        """The words that make this run again, with file names but no folders of this machine."""
        o = self.options
        words = ["aerialworld", "demo", "--seed", str(o.seed)]
        if o.city is not None:
            words += ["--city", o.city.name]
        if o.rig:
            words += ["--rig", Path(o.rig).name]
        if o.grid != DEFAULT_GRID:
            words += ["--grid-range", ",".join(f"{v:g}" for v in o.grid.range)]
            words += ["--voxel-size", ",".join(f"{v:g}" for v in o.grid.voxel_size)]
        if o.frame_rate != 2.0:
            words += ["--frame-rate", f"{o.frame_rate:g}"]
        if o.duration != DemoOptions.duration:
            words += ["--duration", f"{o.duration:g}"]
        if o.config != "demo":
            words += ["--config", Path(o.config).name]
        for pair in o.overrides:
            words += ["--set", pair]
        return words

    def _outputs(self, step: str, name: str) -> str:
        record = self.folder.record(step)
        if record is None:
            raise InputError(f"{self.root}: step {step} left no record; run the demo again")
        return str(record["outputs"][name])

    @property
    def world(self) -> Any:
        """The world, loaded once."""
        if self._world is None:
            self._world = open_world(self.root / "world")
        return self._world

    def _city(self, work: Work) -> None:
        source = self.options.city
        if source is None:
            made = work.partial / "city"
            shutil.rmtree(made, ignore_errors=True)
            stage("aerialworld_city.synthetic.generate", "generate_city")(made, self.options.seed)
            source = work.publish(made, "city")
        world = work.partial / "world"
        shutil.rmtree(world, ignore_errors=True)
        with meter("city", 1.0) as bar:
            # The step's own record says whether its work is done: nothing is kept for a second conversion.
            options = stage("aerialworld_city.options", "ConversionOptions")(keep_tiles=False)
            report = stage("aerialworld_city.convert", "convert")(
                source, world, options, progress=lambda what, fraction: bar.update(fraction, what)
            )
        work.figures.update(_plain_figures(report.to_dict()))
        work.publish(world, "world")
        self._world = None

    def _missions(self, work: Work) -> None:
        plans = stage("aerialworld_missions", "plan_demo")(
            self.world, seed=self.options.seed, duration=self.options.duration, **mission_limits(self.options.grid)
        )
        made = work.partial / "plans"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        for index, plan in enumerate(plans):
            plan.write(made / f"{index + 1}_{plan.name}.json")
        write_json(work.partial / "split.json", split_by_place(plans))
        write_bytes(work.partial / "map.png", stage("aerialworld_missions", "draw")(plans, self.world, None))
        work.publish(made, "plans")
        work.publish(work.partial / "split.json", "split.json")
        work.publish(work.partial / "map.png", "map.png")
        work.figures["plans"] = len(plans)

    def _simulate(self, index: int, plan: Plan, rig: Any) -> Any:
        def work_on(work: Work) -> None:
            unfinished = sorted(p for p in work.partial.iterdir() if p.is_dir()) if work.resumed else []
            recording = self.options.recording
            frames = recording.frames(plan)
            with meter(plan.name, frames, "frames") as bar:
                path = record_plan(
                    self.world, plan, rig, work.partial, recording,
                    started=start_time(index), provenance=provenance(),
                    resume=unfinished[0] if unfinished else None, on_frame=bar.update,
                )  # fmt: skip
            work.figures.update(frames=frames)
            work.publish(path, f"sessions/{session_name(plan.agent_type, index)}")

        return work_on

    def _validate(self, work: Work) -> None:
        from aerialworld.commands.session import print_reports

        check = stage("aerialworld_core.session", "validate")
        folders = sorted((self.root / "sessions").iterdir())
        reports = {}
        with meter("validate", len(folders)) as bar:
            for done, path in enumerate(folders, 1):
                report = check(path, world=self.world, truth_frames=self.options.truth_frames)
                reports[path.name] = report.to_dict()
                bar.update(done, path.name)
        print_reports(reports)
        write_json(work.partial / "validation.json", reports)
        work.publish(work.partial / "validation.json", "validation.json")
        for name, result in reports.items():
            wrong = content_errors(result)
            if wrong:
                raise ValidationFailed(f"{self.root}/sessions/{name}: {'; '.join(wrong)} (see validation.json)")

    def _train(self, work: Work) -> None:
        made = work.partial / "training"
        made.mkdir(exist_ok=True)
        options = self.options
        sessions, split, grid = self.root / "sessions", self.root / "split.json", options.grid
        learning.require_inputs(sessions, split)
        given = {
            "data.root": sessions, "data.split_file": split, "data.point_cloud_range": grid.range,
            "data.voxel_size": grid.voxel_size, "runtime.seed": options.seed,
        }  # fmt: skip
        keys = [*stage("aerialworld_training.runconfig", "write_overrides")(given), *options.overrides]
        # The sessions were validated, and what so small a model lacks is in the report.
        scores = learning.train_model(options.config, made, keys, resume=work.resumed, level="ERROR")
        work.figures.update(_plain_figures(scores))
        work.publish(made, "training")

    def _evaluate(self, work: Work) -> None:
        made = work.partial / "evaluation"
        shutil.rmtree(made, ignore_errors=True)
        sessions, split, trained = (self.root / name for name in ("sessions", "split.json", "training"))
        learning.evaluate_model(sessions, split, trained, made, max_windows=EVALUATED, threads=1)
        work.publish(made, "evaluation")

    def _report(self, work: Work) -> None:
        page = stage("aerialworld.report", "render_report")(self.root)
        write_bytes(work.partial / "report.html", page.encode())
        work.publish(work.partial / "report.html", "report.html")


def mission_limits(grid: VoxelGrid) -> dict[str, float]:
    """What a grid asks of the missions, metres: `separation` of any two poses in different places, so that the grids of
    one, turned anyhow, hold nothing of the other's (what is tested was not trained on); `ceiling` above the datum, so
    that no drone leaves its own grid."""
    x0, y0, _, x1, y1, top = grid.range
    reach = math.hypot(max(abs(x0), abs(x1)), max(abs(y0), abs(y1)))
    return {"separation": float(math.ceil(2 * reach + 1)), "ceiling": float(math.floor(top))}


def split_by_place(plans: list[Plan]) -> dict[str, Any]:
    """Training, validation and test sessions by place: what is tested in the air was seen in no training session.

    Place A trains; in place B the rover's run validates and the drone's survey tests.
    """
    split: dict[str, Any] = {"train": [], "val": [], "test": []}
    for index, plan in enumerate(plans):
        part = "train" if plan.place == "A" else "val" if plan.agent_type == "rover" else "test"
        split[part].append(session_name(plan.agent_type, index))
    return split


def _plain_figures(data: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in data.items() if isinstance(v, int | float | str | bool) and k != "seconds"}


def _own_versions(*names: str) -> dict[str, str]:
    known = versions()
    wanted = {n if n == "torch" else f"aerialworld_{n}" for n in names} | {"aerialworld_core"}
    return {k: v for k, v in known.items() if k in wanted}


def tell_result(path: Path) -> None:
    """The last words of a demo."""
    evaluation = read_json(path.parent / "evaluation" / "evaluation.json")
    from aerialworld.commands.training import print_evaluation

    print_evaluation(evaluation)
    note("report:")
