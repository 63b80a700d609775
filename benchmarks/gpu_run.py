"""What a rented GPU is used for, in three steps that each keep what they found and are not done twice.

    python benchmarks/gpu_run.py OUT --reference shared/reference/occworld/small [--sessions DIR] [--size full|tiny]

a  parity with the original's numbers (TF32 off), memory and time of a training step, latency of a forecast with keys
   and values kept and without
b  stage adapt of the config train_aerial on the sessions (made ones, where none are given), and the ceiling
c  its codes once, stage occworld with a decoded frame, the evaluation of the held-out sessions

OUT/results.json holds all figures, OUT/adapt and OUT/occworld the runs, OUT/evaluation the tables;
what was cut short goes on with the same command. `--size tiny` is the rehearsal on a CPU, in a minute or two: its
figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from _memory import HISTORY

from aerialworld_core.files import write_json
from aerialworld_core.grid import DEFAULT_GRID, VoxelGrid
from aerialworld_core.session.reader import list_sessions
from aerialworld_training import reference_check
from aerialworld_training.building import build
from aerialworld_training.dataset.splits import split_by_ratio
from aerialworld_training.evaluate import evaluate
from aerialworld_training.made_sessions import write_sessions
from aerialworld_training.models.aerial import AerialOccWorld
from aerialworld_training.runconfig import RunConfig, load_run_config, load_stages, write_overrides
from aerialworld_training.running import train

TINY_GRID = VoxelGrid((-16.0, -16.0, -2.0), (2.0, 2.0, 3.0), (16, 16, 12))
TINY = [
    f"data.point_cloud_range={list(TINY_GRID.range)}", f"data.voxel_size={list(TINY_GRID.voxel_size)}", "model.slots=4",
    "model.expansion=4", "model.ch=8", "model.ch_mult=[1, 2]", "model.num_res_blocks=1", "model.z_channels=16",
    "model.n_e=16", "model.e_dim=16", "model.channels=[16, 16, 32]", "model.temporal_attn_layers=1",
    "model.pose_attn_layers=1", "model.num_heads=2", "model.motion_width=8", "model.correction_width=8", "epochs=1",
]  # fmt: skip


def settings(name: str, tiny: bool, *more: str) -> RunConfig:
    size = TINY if tiny else ["runtime.precision=bf16"]
    return load_run_config(name, [*size, "log.tensorboard=false", *more])[0]


def seconds(call: Callable[[], Any], device: torch.device, repeats: int = 5) -> float:
    """The median of `repeats` calls after one that is not counted."""
    times = []
    for _ in range(repeats + 1):
        begun = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return sorted(times[1:])[repeats // 2]


def parity_and_times(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Step a."""
    found: dict[str, Any] = {}
    if options.reference:
        file = options.out / "reference.json"
        found["reference_exit_code"] = reference_check.main(
            [str(options.reference), "--device", device.type, "--json", str(file)]
        )
    config = settings("finetune_tokyo", options.size == "tiny", "checkpoint.load_from=null")
    model = build(config).to(device)
    assert isinstance(model, AerialOccWorld)
    model.freeze_vae()
    frames = config.data.history_frames + config.data.future_frames
    zq = torch.randn(1, frames, model.config.e_dim, *model.config.latent_shape, device=device)
    rel, ego = torch.randn(1, frames, 2, device=device), torch.zeros(1, frames, 8, device=device)
    modes = torch.zeros(1, frames, 3, device=device)
    modes[..., 2] = 1

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            logits, *_ = model.forward_with_turns(zq[:, :-1], rel[:, :-1], modes[:, :-1], ego[:, :-1])
            loss = logits.float().logsumexp(2).mean()
        loss.backward()
        model.zero_grad(set_to_none=True)

    for name, saved in (("plain", False), ("recomputed", True)):
        model.save_memory(saved)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        found[f"step_s_{name}"] = seconds(step, device)
        if device.type == "cuda":
            found[f"step_peak_bytes_{name}"] = torch.cuda.max_memory_allocated()
    model.eval()
    past = (zq[:, :HISTORY], rel[:, :HISTORY], modes[:, :HISTORY], modes[:, HISTORY:])
    for name, cached in (("cached", True), ("plain", False)):
        found[f"rollout_s_{name}"] = seconds(
            lambda cached=cached: model.rollout(*past, cached=cached, ego=ego[:, :HISTORY]), device
        )
    return found


def sessions_of(options: argparse.Namespace) -> Path:
    """The given sessions, or made ones."""
    if options.sessions:
        return Path(options.sessions)
    made = options.out / "sessions"
    if not made.is_dir():
        tiny = options.size == "tiny"
        write_sessions(made, 3 if tiny else 12, 12, grid=TINY_GRID if tiny else DEFAULT_GRID)
    return made


def split_of(options: argparse.Namespace) -> Path:
    """The sessions' own split, or one by their names."""
    root = sessions_of(options)
    own, made = root / "split.json", options.out / "split.json"
    if own.is_file():
        return own
    if not made.is_file():
        write_json(made, split_by_ratio([p.name for p in list_sessions(root)], 0.1, 0.1))
    return made


def run(stage: str, options: argparse.Namespace, *more: str) -> dict[str, Any]:
    """A stage of train_aerial in OUT/STAGE, gone on with where it was cut short."""
    size = TINY if options.size == "tiny" else [f"epochs={options.epochs}"]
    data = write_overrides({"data.root": sessions_of(options), "data.split_file": split_of(options)})
    stages = load_stages("train_aerial", [*size, *data, "log.tensorboard=false", "checkpoint.iterations=200", *more])
    (config,) = [config for config, _ in stages if config.stage == stage]
    begun = time.perf_counter()
    return {**train(config, options.out / stage, resume=True), "seconds": time.perf_counter() - begun}


def adapt(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Step b."""
    return run("adapt", options)


def world(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Step c."""
    found = run("occworld", options, *write_overrides({"checkpoint.vqvae_from": options.out / "adapt" / "best.pth"}))
    begun = time.perf_counter()
    table = evaluate(
        sessions_of(options), split_of(options), options.out / "occworld", options.out / "evaluation",
        max_windows=2 if options.size == "tiny" else 16, device=device.type,
    )  # fmt: skip
    iou = {name: [h["strata"]["all"]["iou"] for h in row["horizons"]] for name, row in table["rows"].items()}
    evaluation = {"iou": iou, "goals": table["goals"], "seconds": time.perf_counter() - begun}
    return {**found, "evaluation": evaluation}


STEPS: dict[str, Callable[[argparse.Namespace, torch.device], dict[str, Any]]] = {
    "a": parity_and_times, "b": adapt, "c": world,
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", nargs="+", choices=list(STEPS), default=list(STEPS))
    parser.add_argument("--reference", type=Path, help="a reference set for step a")
    parser.add_argument("--sessions", type=Path, help="recorded sessions instead of made ones")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--size", choices=("full", "tiny"), default="full")
    options = parser.parse_args(arguments)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "results.json"
    results: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    results["machine"] = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu", "torch": torch.__version__,
        "size": options.size,
    }  # fmt: skip
    for name in options.steps:
        if name not in results:
            results[name] = STEPS[name](options, device)
            write_json(file, results)
    print(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
