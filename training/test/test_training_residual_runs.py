"""Runs with residual codes: they reconstruct better, resume to the same bits, and start from shallower files."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from aerialworld_core.errors import InputError
from aerialworld_training.building import build
from aerialworld_training.dataset.packed import unpack_sample
from aerialworld_training.models.aerial import AerialOccWorld, states
from aerialworld_training.runconfig import RunConfig
from aerialworld_training.running import train
from aerialworld_training.running.codes import SessionCodes, prepare
from aerialworld_training.running.data import windows
from aerialworld_training.running.ranks import Ranks
from aerialworld_training.runtime import StopRequest

sys.path.insert(0, str(Path(__file__).parent))
from training_run import PowerCut, config, cut_at, same, state_of, world
from training_tiny import noisy


def test_deeper_codes_reconstruct_better(tmp_path: Path, sessions: Path) -> None:
    """Two codes at each depth, fitted to the same frames in as many steps from the same values."""
    scores = {}
    for depth in (1, 2):
        run = config(
            tmp_path, sessions, model={"n_e": 2, "code_depth": depth}, epochs=8,
            augment={"flip_probability": 0.0, "rotate_deg": 0.0}, data={"val_ratio": 0.0, "binary": True},
            loss={"occupied_weight": 2.0}, optimizer={"lr": 5e-3}, codebook={"start": 16}, checkpoint={"interval": 8},
            evaluation={"interval": 8, "samples": 15},
        )  # fmt: skip
        scores[depth] = train(run, tmp_path / f"depth_{depth}")
    assert scores[2]["val_iou"] > scores[1]["val_iou"] + 0.015, scores
    assert scores[2]["val_codes_used_2"] == 2 and "val_codes_used_2" not in scores[1]


def resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: RunConfig, cut: int) -> None:
    """The run in `tmp_path` / whole, and beside it one that a power cut ended after so many iterations and that went on
    to the same bits."""
    train(run, tmp_path / "whole")
    with monkeypatch.context() as patch:
        cut_at(patch, cut)
        with pytest.raises(PowerCut):
            train(run, tmp_path / "cut")
    train(run, tmp_path / "cut", resume=True)
    one, other = (torch.load(tmp_path / n / "latest.pth", weights_only=True) for n in ("whole", "cut"))
    other["run_config"] = one["run_config"]  # holds the work folder's name
    assert same(one, other)


def test_a_resumed_run_equals_the_uninterrupted_one(
    tmp_path: Path, sessions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = config(tmp_path, sessions, epochs=2, model={"code_depth": 2}, checkpoint={"iterations": 1})
    resumed(tmp_path, monkeypatch, run, 6)  # codes were started at 3 and restarted since
    state = torch.load(tmp_path / "whole" / "latest.pth", weights_only=True)["stage_state"]
    assert state["usage"].shape == (32,) and len(state["used"]) == 2 and min(state["used"]) > 0


def test_from_a_shallow_file_to_a_forecast(
    tmp_path: Path, sessions: Path, vae: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The frozen VAE of a file of depth 1, its further codebook trained, and stage occworld upon it."""
    file, depth = {"vqvae_from": str(vae / "latest.pth")}, {"code_depth": 2}
    still = {"start": 0, "restart_every": 0}
    run = config(
        tmp_path, sessions, epochs=1, freeze={"vae": True}, checkpoint=file, model=depth, codebook=still
    )  # fmt: skip
    scores = train(run, tmp_path / "vae")
    before, after = state_of(vae / "latest.pth"), state_of(tmp_path / "vae" / "latest.pth")
    assert all(torch.equal(before[k], after[k]) for k in before if k.startswith("vae."))
    # No start was asked for: a table of zeros is started all the same, or its first code alone would ever be used.
    assert scores["val_codes_used_2"] > 4
    command = "--work-dir out/vqvae_depth2 --set model.code_depth=2 --set checkpoint.vqvae_from=.*latest.pth"
    with pytest.raises(InputError, match=f"nothing ever trained.*--config train_adapt {command}"):
        train(world(tmp_path, sessions, vae, model=depth), tmp_path / "no")
    with pytest.raises(InputError, match=r"codes of depth 2; this config says model.code_depth=1"):
        train(world(tmp_path, sessions, tmp_path / "vae"), tmp_path / "no")
    with caplog.at_level(logging.WARNING, "aerialworld_training"):
        train(world(tmp_path, sessions, vae, epochs=1), tmp_path / "low")
    (told,) = [r.getMessage() for r in caplog.records if "ceiling" in r.getMessage()]
    assert "--set model.code_depth=2" in told and "checkpoint.vqvae_from=out/vqvae_depth2/best.pth" in told
    run = world(
        tmp_path, sessions, tmp_path / "vae", model=depth, loss={"voxels": 0.5}, checkpoint={"iterations": 1}, epochs=2
    )  # fmt: skip
    resumed(tmp_path, monkeypatch, run, 1)
    trained, begun = state_of(tmp_path / "whole" / "latest.pth"), after
    moved = {k for k in trained if k.startswith("aerial.residual.") and not torch.equal(trained[k], begun[k])}
    assert moved and all(".heads." in k for k in moved)
    assert torch.equal(trained["vae.vqvae.embedding.weight"], before["vae.vqvae.embedding.weight"])
    lines = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert {"ce_of_depth", "ce_of_depth_2", "code_accuracy_2"} <= set(lines[0])
    assert {"val_ce", "val_code_accuracy", "val_code_accuracy_2"} <= set(lines[-1]) and np.isfinite(lines[-1]["val_ce"])


def test_deep_codes_are_kept_and_go_stale(tmp_path: Path, sessions: Path, vae: Path) -> None:
    run = world(tmp_path, sessions, vae, model={"code_depth": 2})
    model = build(run)
    model.load_state_dict(state_of(vae / "latest.pth"), strict=False)
    assert isinstance(model, AerialOccWorld) and model.aerial.residual is not None
    noisy(model.aerial.residual)
    (dataset,) = windows(run, "train")
    (prepared,) = prepare(model, run, [dataset], tmp_path / "codes", 1, Ranks(), lambda what: None, StopRequest())
    semantics, observed = unpack_sample(dataset[1], dataset.grid.shape)
    codes = prepared[1]["codes"]
    assert codes.dtype == torch.uint16 and codes.shape[:2] == (4, 2) and codes[:, 1].long().unique().numel() > 1
    assert torch.equal(codes.long(), model.quantizer.encode_indices(model.encode(states(semantics, observed))))
    name = dataset.sessions[0]
    maker = SessionCodes(model, run, dataset, tmp_path / "codes")
    path = maker.path(name, 0)
    whole = np.load(path)
    np.save(path, whole[:, 0])  # another depth under the same head
    with pytest.raises(InputError, match="damaged codes"):
        maker.open(name, 0)
    np.save(path, whole)
    assert maker.open(name, 0).codes.shape == whole.shape
    noisy(model.aerial.residual.heads)
    assert SessionCodes(model, run, dataset, tmp_path / "codes").is_there(name, 0)
    noisy(model.aerial.residual.codebooks)
    with pytest.raises(InputError, match="stale codes"):
        SessionCodes(model, run, dataset, tmp_path / "codes").open(name, 0)
