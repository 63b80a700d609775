"""Training, evaluation and forecasts keep every tensor on the model's device, a GPU's too, where there is none to try
it on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aerialworld_core.frames import Pose
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import FREE, MANMADE
from aerialworld_training import evaluate as evaluation
from aerialworld_training.building import build
from aerialworld_training.codebook import start_from_free
from aerialworld_training.forecaster import Forecaster
from aerialworld_training.predictors import predictor
from aerialworld_training.running.autoencoding import AutoencodingStage
from aerialworld_training.running.forecasting import ForecastingStage
from aerialworld_training.running.order import Draw, mixed
from aerialworld_training.running.ranks import Ranks
from aerialworld_training.runtime import StopRequest
from aerialworld_training.trained import Trained, load_trained

sys.path.insert(0, str(Path(__file__).parent))
from training_checkpoints import run_config, synthetic, write_run, write_split
from training_devices import GPU, MixedDevices, PretendedGpu, put, put_module
from training_run import config
from training_tiny import noisy

PLAIN = {"kind": "occworld", "slots": 12, "slot_minimum": -2.0, "slot_size": 3.0, "expansion": 8}
TURNED = {"flip_probability": 0.5, "rotate_deg": 20.0, "rotate_probability": 1.0}


@pytest.fixture(autouse=True)
def draws_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator of a GPU cannot be made without one."""
    torch.set_num_threads(1)

    def generator(draw: Draw, purpose: int = 0, device: Any = "cpu") -> torch.Generator:
        return torch.Generator().manual_seed(mixed(draw.seed, draw.epoch, draw.position, purpose))

    monkeypatch.setattr(Draw, "generator", generator)


def test_what_a_gpu_refuses_is_refused() -> None:
    here, there = torch.zeros(3), put(torch.zeros(3), GPU)
    with PretendedGpu():
        assert (there + 1).device == there.to(torch.float64).device == here.to(there.device).device == GPU
        assert here.device == there.cpu().device == torch.device("cpu") and there[torch.tensor([0])].device == GPU
        assert torch.zeros(2, device=there.device).device == GPU and there.cpu().numpy().sum() == 0
        for call in (
            lambda: here + there, lambda: torch.stack([here, there]), lambda: torch.where(here > 0, there, there),
            lambda: here[there.long()], there.numpy, lambda: here.__setitem__(there.long(), 1.0),
        ):  # fmt: skip
            with pytest.raises(MixedDevices):
                call()


@pytest.mark.parametrize(
    "changes",
    [
        {
            "model": {"code_depth": 2},
            "augment": {**TURNED, "occupancy_noise": 0.1, "occupancy_dropout": 0.1},
        },
        {"stage": "vqvae", "model": PLAIN, "augment": TURNED},
        {"loss": {"kind": "binary"}, "data": {"binary": True}, "augment": TURNED},
    ],
    ids=["deep", "plain", "binary"],
)
def test_the_stages_of_the_vae(tmp_path: Path, sessions: Path, changes: dict[str, Any]) -> None:
    run = config(tmp_path, sessions, codebook={"start": 1, "restart_every": 1}, **changes)
    model = build(run)
    start_from_free(model.vae, 1.0)
    put_module(model)
    with PretendedGpu():
        stage = AutoencodingStage(model, run, Ranks(device=GPU))
        batches = stage.micro_batches(0, 0)
        for iteration in range(3):
            stage.begin(iteration)
            result = stage.step(next(batches), iteration)
            assert result.loss.device == GPU
            result.loss.backward()
            stage.end(iteration)
        assert 0 <= stage.validate(3)["val_iou"] <= 1


@pytest.mark.parametrize(
    "model", [{"code_depth": 2}, {"from_past": False}, PLAIN], ids=["deep", "without the past", "plain"]
)
def test_stage_occworld(tmp_path: Path, sessions: Path, model: dict[str, Any]) -> None:
    turned = {**TURNED, "copies": 2}
    run = config(tmp_path, sessions, stage="occworld", model=model, loss={"voxels": 1.0}, augment=turned)
    whole = build(run)
    noisy(whole)
    put_module(whole)
    with PretendedGpu():
        stage = ForecastingStage(whole, run, Ranks(device=GPU), tmp_path / "run", lambda what: None, StopRequest())
        for batch in stage.micro_batches(0, 0):
            assert stage.step(batch, 0).loss.device == GPU
        assert 0 <= stage.validate(1)["val_iou"] <= 1


def on_the_gpu(path: Path, device: object = None) -> Trained:
    trained = load_trained(path)
    put_module(trained.model)
    return trained


def test_an_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal to that on the CPU, for it is the same computation."""
    write_split(tmp_path, tmp_path / "split.json", 8)
    write_run(tmp_path / "best.pth", run_config(synthetic().GRID.pooled((2, 2, 1)), "model.code_depth=2"), change=noisy)
    given: Any = (tmp_path, tmp_path / "split.json", tmp_path / "best.pth")
    plain = evaluation.evaluate(*given, tmp_path / "cpu", max_windows=1, threads=1, device="cpu")
    monkeypatch.setattr(evaluation, "load_trained", on_the_gpu)
    with PretendedGpu():
        pretended = evaluation.evaluate(*given, tmp_path / "gpu", max_windows=1, threads=1, device="cpu")
    assert pretended["rows"] == plain["rows"]


@pytest.mark.parametrize("levels", [16, 20], ids=["plain", "tall"])
def test_a_forecast(tmp_path: Path, levels: int) -> None:
    grid = VoxelGrid((-8.0, -8.0, -1.0), (0.5, 0.5, 0.4), (32, 32, levels))
    write_run(tmp_path / "best.pth", run_config(grid), change=noisy)
    semantics = np.full((3, *grid.shape), FREE, np.uint8)
    semantics[:, 10:20, 12, 4:9] = MANMADE  # its ground lies above level 1: what moves down is lost at the bottom
    poses = [Pose.from_rpy(0.5 * n, 0.0, 5.0) for n in range(3)]
    with PretendedGpu():
        forecaster = Forecaster(on_the_gpu(tmp_path / "best.pth"))
        coder = predictor(forecaster.trained)
        codes = coder.codes(semantics[0], np.ones(grid.shape, bool), 1)
        assert coder.reconstruct(codes, 1).shape == grid.shape
        step = round(forecaster.step_s * 1e9)
        future = forecaster.forecast(semantics, None, poses, [step * n for n in range(3)], 0.0)
    assert future.classes.shape[1:] == grid.shape and forecaster.trained.name == (
        "OccWorld" if levels == 16 else "AerialOccWorld"
    )
