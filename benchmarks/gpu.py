"""What a GPU is rented for: parity, memory and times of the model, then a world model trained and scored on a held-out
place. Steps that are finished are not run again: the same command goes on after an interruption.

    python benchmarks/gpu.py --out out/gpu --reference DIR --sessions DIR --split split.json
    python benchmarks/gpu.py --out out/gpu --campaign campaign.yaml          # sessions made here, on all processors
    python benchmarks/gpu.py --out out/gpu_small --small                     # the rehearsal: made sessions, tiny model

    model       every --reference set with TF32 off; loader, memory and step times (benchmarks/training.py)
    sessions    those given, made by the campaign, or (--small) synthetic ones
    tokenizer   stage adapt: VAE and height adapter; its reconstruction IoU is every forecast's ceiling
    world       stage occworld on cached codes with the decoded frame's loss; then the test part, scored

Stages train as many whole epochs as --minutes allow, measured by one epoch that is thrown away. `results.json` holds
all figures, `curves/` the training curves. Needs aerialworld_core and aerialworld_training alone (a campaign: all of
`aerialworld`); nothing is fetched.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from aerialworld_core.files import write_json
from aerialworld_core.processors import processors

HERE = Path(__file__).resolve().parent
#: What makes `test_local` fit made sessions, and the real model fit a GPU.
SMALL = ("data.point_cloud_range=[-32.0, -32.0, -2.0, 32.0, 32.0, 38.0]", "data.voxel_size=[1.0, 1.0, 1.25]")
REAL = ("runtime.precision=bf16", "model.save_memory=true")
#: Seconds that a stopped training run gets to write its checkpoint.
GRACE = 60


class Bench:
    """One folder of results."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.out = options, options.out
        self.out.mkdir(parents=True, exist_ok=True)
        self.file = self.out / "results.json"
        self.results: dict[str, Any] = json.loads(self.file.read_text()) if self.file.exists() else {}
        self.results["machine"] = {
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
            "cores": processors(), "python": platform.python_version(), "torch": torch.__version__,
            "command": " ".join(sys.argv),
        }  # fmt: skip

    def step(self, name: str, work: Callable[[], dict[str, Any]]) -> None:
        """Run a step unless its figures are there."""
        if name in self.results:
            print(f"{name}: done before", flush=True)
            return
        start = time.monotonic()
        figures = work()
        self.results[name] = {"wall_s": round(time.monotonic() - start, 1), **figures}
        write_json(self.file, self.results)
        print(f"{name}: {json.dumps(self.results[name])[:2000]}", flush=True)

    def call(self, *command: str | Path, limit: float | None = None) -> float:
        """Run a command of this Python and return its seconds. One that takes longer than `limit` is asked to stop and
        counts as done when it then ends as interrupted. Raises SystemExit when it fails."""
        words = [sys.executable, *map(str, command)]
        print("$ " + " ".join(words), flush=True)
        start = time.monotonic()
        process = subprocess.Popen(words)
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
            code = process.wait(GRACE)
            code = 0 if code == 128 + signal.SIGTERM else code
        finally:
            if process.poll() is None:
                process.kill()
        if code:
            raise SystemExit(f"exit code {code}: {' '.join(words)}")
        return time.monotonic() - start

    # --- the steps ---

    def model(self) -> dict[str, Any]:
        figures: dict[str, Any] = {}
        device = "cuda" if torch.cuda.is_available() else "cpu"
        for folder in self.options.reference:
            report = self.out / f"reference_{folder.name}.json"
            self.call("-m", "aerialworld_training.reference_check", folder, "--device", device, "--json", report)
            rows = json.loads(report.read_text())["rows"]
            figures[f"reference_{folder.name}"] = {
                "comparisons": len(rows), "within": sum(r["within"] for r in rows),
                "nearest_to_limit": max(r["largest"] / r["limit"] for r in rows if r["limit"]),
            }  # fmt: skip
        report = self.out / "training.json"
        self.call(HERE / "training.py", "--json", report)
        return figures | {"training": json.loads(report.read_text())}

    def sessions(self) -> dict[str, Any]:
        root, split = self.data()
        if self.options.campaign:
            self.call("-m", "aerialworld", "generate", self.options.campaign, "--out", root)
        elif self.options.small:
            self.call("-m", "aerialworld_training.made_sessions", root, "--sessions", "4", "--frames", "14")
            names = sorted(p.name for p in root.iterdir() if p.is_dir())
            write_json(split, {"train": names[:2], "val": names[2:3], "test": names[3:]})
        parts = json.loads(split.read_text())
        return {part: len(parts[part]) for part in ("train", "val", "test")}

    def data(self) -> tuple[Path, Path]:
        """Sessions' folder and split file."""
        if self.options.sessions:
            return self.options.sessions, self.options.split
        made = self.out / "sessions"
        return made, made / "split.json"

    def tokenizer(self) -> dict[str, Any]:
        return self.train("tokenizer", ["stage=adapt"])

    def world(self) -> dict[str, Any]:
        tokenizer = trained(self.out / "tokenizer")
        figures = self.train(
            "world", ["stage=occworld", "freeze.vae=true", f"checkpoint.vqvae_from={tokenizer}", "loss.voxels=1.0"]
        )
        root, split = self.data()
        folder = self.out / "evaluation"
        self.call(
            "-m", "aerialworld_training.evaluate", "--sessions", root, "--split", split,
            "--work-dir", trained(self.out / "world"), "--out", folder, "--saved-windows", "0",
            "--threads", str(processors()),
        )  # fmt: skip
        rows = json.loads((folder / "evaluation.json").read_text())["rows"]
        return figures | {"iou_mean_1_2_3": {name: row["mean_1_2_3"] for name, row in rows.items()}}

    def train(self, name: str, settings: Sequence[str]) -> dict[str, Any]:
        """One stage in `out/name`, within --minutes."""
        root, split = self.data()
        folder = self.out / name
        config = "test_local" if self.options.small else "train_adapt"
        every = [*(SMALL if self.options.small else REAL), *settings, *self.options.set]
        common = [
            "-m", "aerialworld_training.train", "--config", config, "--sessions", root, "--split", split,
            *[word for setting in every for word in ("--set", setting)],
        ]  # fmt: skip
        limit = 60 * self.options.minutes
        plan = folder / "plan.json"
        if not plan.exists():
            # Codes are kept for the run itself: what the thrown-away epoch waited for is not waited for again.
            probe = self.call(
                *common, "--work-dir", folder / "probe", "--epochs", "1", "--set", "evaluation.interval=1"
            )
            epochs = max(1, int(0.85 * limit / probe))
            shutil.rmtree(folder / "probe")
            folder.mkdir(parents=True, exist_ok=True)
            write_json(plan, {"epochs": epochs, "probe_s": round(probe, 2)})
        planned = json.loads(plan.read_text())
        seconds = self.call(
            *common, "--work-dir", folder, "--epochs", str(planned["epochs"]), "--resume",
            "--set", f"evaluation.interval={max(1, planned['epochs'] // 10)}", limit=limit,
        )  # fmt: skip
        curve = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        kept = self.out / "curves" / f"{name}.jsonl"
        kept.parent.mkdir(exist_ok=True)
        shutil.copyfile(folder / "metrics.jsonl", kept)
        validated = [row for row in curve if "val_iou" in row]
        return {**planned, "train_s": round(seconds, 1), "last": curve[-1], "validated": validated[-1:]}


def trained(folder: Path) -> Path:
    """A run's best checkpoint, or its latest where time ran out before the first validation."""
    best = folder / "best.pth"
    return best if best.exists() else folder / "latest.pth"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--reference", type=Path, action="append", default=[], help="a recorded set; repeatable")
    parser.add_argument("--sessions", type=Path, help="folder of session folders")
    parser.add_argument("--split", type=Path, help="of --sessions")
    parser.add_argument("--campaign", type=Path, help="make the sessions here")
    parser.add_argument("--small", action="store_true", help="tiny model and made sessions, for a CPU")
    parser.add_argument("--minutes", type=float, default=8.0, help="of training per stage (default 8)")
    parser.add_argument("--steps", nargs="+", default=["model", "sessions", "tokenizer", "world"])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of both stages' config")
    options = parser.parse_args()
    ways = (bool(options.sessions), bool(options.campaign), options.small)
    if sum(ways) != 1 or bool(options.sessions) != bool(options.split):
        parser.error("give --sessions with --split, or --campaign, or --small")
    os.environ.setdefault("OMP_NUM_THREADS", str(processors()))
    bench = Bench(options)
    for name in options.steps:
        bench.step(name, getattr(bench, name))
    print(bench.file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
