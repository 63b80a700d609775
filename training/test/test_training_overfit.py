"""Can the model memorise? The documented commands of overfit_64, within the CPU time that they claim."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def spent(*command: str) -> float:
    """CPU seconds of a command that must succeed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", *command], check=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def last(folder: Path) -> dict[str, Any]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "val_iou" in line][-1]


@pytest.mark.long
@pytest.mark.timeout(2400)
def test_two_sequences_are_memorised(tmp_path: Path) -> None:
    made, vae, world = tmp_path / "made", tmp_path / "vae", tmp_path / "world"
    spent("aerialworld_training.made_sessions", str(made), "--sessions", "2", "--frames", "10")
    run = ("aerialworld_training.train", "--config", "overfit_64", "--sessions", str(made))
    seconds = spent(*run, "--work-dir", str(vae))
    reconstruction = last(vae)
    assert reconstruction["val_iou"] > 0.95 and reconstruction["val_codes_used"] > 128
    assert seconds < 180
    stage = ("--set", "stage=occworld", "--set", f"checkpoint.vqvae_from={vae / 'latest.pth'}", "--epochs", "150")
    seconds = spent(*run, "--work-dir", str(world), *stage, "--set", "evaluation.interval=50")
    assert last(world)["val_iou"] > 0.90
    assert seconds < 300
