"""Runs whose codebook starts late: what comes before it is scored as it is, and never handed on."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from aerialworld_core.errors import InputError
from aerialworld_training.building import build
from aerialworld_training.running import train
from aerialworld_training.running.autoencoding import AutoencodingStage
from aerialworld_training.running.ranks import Ranks

sys.path.insert(0, str(Path(__file__).parent))
from training_run import config


def test_the_best_model_is_one_that_has_codes(tmp_path: Path, sessions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five iterations an epoch: the codebook starts with the third, until when nothing is quantised, also not in the
    validation after the second. Scores fall from epoch to epoch, as they do where codes cost what they cannot say."""
    validate = AutoencodingStage.validate

    def falling(stage: AutoencodingStage, iteration: int) -> dict[str, float]:
        return {**validate(stage, iteration), "val_iou": 1 - iteration / 100}

    monkeypatch.setattr(AutoencodingStage, "validate", falling)
    run = config(tmp_path, sessions, epochs=4, codebook={"start": 10, "restart_every": 0})
    train(run, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    used = {line["run_step"]: line["val_codes_used"] for line in lines if "val_iou" in line}
    assert list(used) == [5, 10, 15, 20]
    assert used[5] == used[10] == 0 and min(used[15], used[20]) > 0
    best = torch.load(tmp_path / "run" / "best.pth", weights_only=True)
    assert best["iteration"] == 15 and best["best"] == pytest.approx(0.85)


@pytest.mark.parametrize(("start", "at"), [(0.0, 0), (0.5, 10), (0.26, 5), (1.0, 1), (12, 12)])
def test_below_one_the_start_is_a_share_of_the_run(tmp_path: Path, sessions: Path, start: float, at: int) -> None:
    run = config(tmp_path, sessions, epochs=4, codebook={"start": start})
    stage = AutoencodingStage(build(run), run, Ranks())
    assert stage.total == 20 and stage.start == at
    assert [stage.is_whole(n) for n in (at, at + 1)] == [at == 0, True]


def test_a_start_after_the_end_is_refused(tmp_path: Path, sessions: Path) -> None:
    run = config(tmp_path, sessions, epochs=4, codebook={"start": 20})
    with pytest.raises(InputError, match="is the iteration 20, and the run has 20"):
        AutoencodingStage(build(run), run, Ranks())


def test_half_an_iteration_is_refused(tmp_path: Path, sessions: Path) -> None:
    with pytest.raises(InputError, match="whole number of iterations"):
        config(tmp_path, sessions, codebook={"start": 2.5})
