"""How fast training is: loader samples per CPU second in each form, steps of a config's stages (the demo's), latency of
a forecast; and what a step of the 72 M configuration keeps in memory.

    python benchmarks/training.py [--config NAME] [--sessions DIR] [--json FILE]

Without sessions made ones are used (a street of blocks on the recordings' grid): times depend on sizes, hardly on
content. CPU seconds of this process (all its threads) and wall seconds, medians of several runs.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import _loader
import _memory
import torch
from _figures import add_json_option, tell

from aerialworld_core.processors import processors
from aerialworld_training.building import build
from aerialworld_training.models.aerial import AerialOccWorld
from aerialworld_training.models.occworld import OccWorld
from aerialworld_training.runconfig import RunConfig, load_stages, write_overrides
from aerialworld_training.running import coding, data, freezing
from aerialworld_training.running.autoencoding import AutoencodingStage
from aerialworld_training.running.forecasting import ForecastingStage
from aerialworld_training.running.order import Draw
from aerialworld_training.running.ranks import Ranks
from aerialworld_training.runtime import StopRequest, deterministic


def measure(work: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Median wall and CPU seconds of `repeats` calls after one that is not counted."""
    work()
    wall, cpu = [], []
    for _ in range(repeats):
        w, c = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - w)
        cpu.append(time.process_time() - c)
    return {"wall_s": round(statistics.median(wall), 4), "cpu_s": round(statistics.median(cpu), 4)}


def stage_step(stage: AutoencodingStage | ForecastingStage, config: RunConfig, repeats: int) -> dict[str, float]:
    """One iteration's forward and backward pass, in the first epoch, after the codebook's start."""
    freezing.apply(stage.model, config, 1)
    stage.model.train()
    batch = next(iter(stage.micro_batches(0, 0)))
    iteration = config.epochs * stage.order.iterations - 1

    def step() -> None:
        stage.model.zero_grad(set_to_none=True)
        stage.step(batch, iteration).loss.backward()

    return measure(step, repeats)


@torch.no_grad()
def forecast_parts(stage: ForecastingStage, config: RunConfig, repeats: int) -> dict[str, Any]:
    """A frame into codes and back, a roll-out of codes, and the whole forecast of a window."""
    model = stage.model.eval()
    _, sample, packed = stage.validation[Draw(0, 0, 0, 0)]
    dense = data.unpacked(config, packed, stage.device)
    history, steps = config.data.history_frames, config.data.future_frames
    semantics, observed = dense["history_semantics"][:history], dense["history_observed"][:history].bool()
    zq = model.vae.vqvae.lookup(sample["codes"][:history].long())
    rel, modes, ego = (sample[k][None, :history] for k in ("rel_poses", "modes", "ego"))
    held = modes[:, -1:].expand(-1, steps, -1)
    more = {"ego": ego} if isinstance(model, AerialOccWorld) else {}
    return {
        "encode_frame": measure(lambda: coding.indices_of(model, semantics[:1], observed[:1]), repeats),
        "decode_frame": measure(lambda: coding.occupied_of(model, zq[:1]), repeats),
        "rollout": measure(lambda: model.rollout(zq[None], rel, modes, held, **more), repeats),
        "forecast": measure(lambda: stage.forecast(sample, semantics, observed), repeats),
    }


def steps(configs: Sequence[RunConfig], folder: Path, repeats: int) -> tuple[dict[str, Any], OccWorld]:
    """Figures of the stages in turn, and the last one's model; each takes over the one before's weights, untrained."""
    figures: dict[str, Any] = {}
    model: OccWorld | None = None
    ranks = Ranks()
    for config in configs:
        torch.manual_seed(0)
        before, model = model, build(config)
        if before is not None:
            model.load_state_dict(before.state_dict())
        if config.stage == "occworld":
            stage = ForecastingStage(model, config, ranks, folder, lambda what: None, StopRequest())
            figures["step_occworld"] = stage_step(stage, config, repeats)
            figures |= forecast_parts(stage, config, repeats)
        else:
            figures[f"step_{config.stage}"] = stage_step(AutoencodingStage(model, config, ranks), config, repeats)
    assert model is not None, "a config has a stage"
    return figures, model


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sessions", type=Path, help="measure on these sessions instead of made ones")
    parser.add_argument("--config", default="demo")
    parser.add_argument("--repeats", type=int, default=5)
    add_json_option(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        if options.sessions is None:
            _loader.write_session(Path(made) / "sessions")
        given = {
            "data.root": options.sessions or Path(made) / "sessions", "data.val_ratio": 0.0, "data.test_ratio": 0.0,
            "data.workers": 0, "evaluation.samples": 1,
        }  # fmt: skip
        configs = [config for config, _ in load_stages(options.config, write_overrides(given))]
        threads = configs[0].runtime.threads or torch.get_num_threads()
        with deterministic(threads):
            figures, model = steps(configs, Path(made) / "work", options.repeats)
    result = {
        "command": f"python benchmarks/training.py --config {options.config} --repeats {options.repeats}",
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": processors(),
            "threads": threads,
            "load_before": os.getloadavg()[0],
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        "grid": configs[0].data.grid.to_dict(),
        "parameters": sum(p.numel() for p in model.parameters()),
        "figures": figures,
        "loader": _loader.figures(),
        "memory": _memory.figures(),
    }
    tell(result, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
