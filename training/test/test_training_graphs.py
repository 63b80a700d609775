"""Exported parts compute what the model does: as torch.export files, and as ONNX by onnxruntime."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

from aerialworld_core.errors import InputError
from aerialworld_core.grid import VoxelGrid
from aerialworld_training import export
from aerialworld_training.graphs import (
    DeviationError,
    Encoder,
    Transformer,
    deviation,
    export_graphs,
    parts_of,
    run_onnx,
)
from aerialworld_training.models.aerial import AerialOccWorld
from aerialworld_training.trained import load_trained

sys.path.insert(0, str(Path(__file__).parent))
from training_checkpoints import run_config, write_run
from training_tiny import noisy

TALL = VoxelGrid((-16.0, -16.0, -2.0), (1.6, 1.6, 1.25), (20, 20, 12))
LOW = VoxelGrid((-16.0, -16.0, -1.0), (1.6, 1.6, 0.4), (20, 20, 16))
ONNX = all(importlib.util.find_spec(m) for m in ("onnx", "onnxscript", "onnxruntime"))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def checkpoint(folder: Path, grid: VoxelGrid, *overrides: str) -> Path:
    """With noise on everything, so that no part is without effect."""
    write_run(folder / "best.pth", run_config(grid, *overrides), change=noisy)
    return folder / "best.pth"


@pytest.mark.parametrize(("grid", "depth"), [(TALL, 1), (LOW, 1), (TALL, 3)], ids=["tall", "low", "deep"])
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("pt2", marks=pytest.mark.long),
        pytest.param("onnx", marks=[pytest.mark.long, pytest.mark.skipif(not ONNX, reason="onnxruntime is absent")]),
    ],
)
def test_graphs_agree_with_the_model(
    tmp_path: Path, grid: VoxelGrid, depth: int, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = checkpoint(tmp_path, grid, f"model.code_depth={depth}"), tmp_path / "graphs"
    assert export.main([str(path), str(out), "--graphs", kind]) == 0
    said = capsys.readouterr().out
    assert said.count(f".{kind}: ") == (3 if depth == 1 else 4) and "codes within 0.0e+00" in said
    described = json.loads((out / "graphs.json").read_text())
    assert described["parts"]["transformer"]["inputs"]["codes"][1][1] == 5  # 3 + 3 − 1 frames
    assert ("ego" in described["parts"]["transformer"]["inputs"]) is (grid == TALL)


def test_parts_are_the_models_own_calls(tmp_path: Path) -> None:
    """The graph's encoder, which looks every voxel up, against the eager ones; and a roll-out that reads frame f of a
    padded window against the model's own."""
    for grid in (TALL, LOW):
        trained = load_trained(checkpoint(tmp_path / str(grid.shape[2]), grid))
        model, parts = trained.model, parts_of(trained)
        states = parts["encoder"].inputs["states"]
        with torch.no_grad():
            latent = model.encode(states) if isinstance(model, AerialOccWorld) else model.vae.encode(states)
            assert torch.equal(Encoder(model)(states), model.vae.vqvae.encode_indices(latent))
            given = dict(parts["transformer"].inputs)
            whole = Transformer(model)(*given.values())[0]
            given["codes"] = given["codes"].clone()
            given["codes"][:, 3:] = 0  # what is not known yet may hold anything
            assert torch.allclose(Transformer(model)(*given.values())[0][:, :3], whole[:, :3], atol=1e-5)


def test_what_deviates_or_cannot_be_said_is_an_error(tmp_path: Path) -> None:
    one = torch.ones(4)
    assert deviation("x", one, one + 5e-5) < 1e-4
    for found in (one + 2e-4, one * torch.nan, torch.ones(5), one.double()):
        with pytest.raises(DeviationError, match="x: "):
            deviation("x", one, found)
    with pytest.raises(DeviationError, match=r"2\.50e-01"):
        deviation("x", torch.tensor([1, 2, 3, 4]), torch.tensor([1, 2, 3, 5]))
    trained = load_trained(checkpoint(tmp_path, TALL))
    with pytest.raises(InputError, match="onnx or pt2"):
        export_graphs(trained, tmp_path / "out", "caffe")
    write_run(tmp_path / "votes.pth", run_config(TALL, "model.warp_samples=2"))
    with pytest.raises(InputError, match="warp_samples"):
        parts_of(load_trained(tmp_path / "votes.pth"))
    assert callable(run_onnx)
