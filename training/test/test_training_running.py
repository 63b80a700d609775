"""Runs of a RunConfig: schedules by formula, frozen parts stay, resuming gives equal bits, errors name a way out."""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aerialworld_core.errors import InputError
from aerialworld_core.files import StorageError
from aerialworld_training.building import build
from aerialworld_training.dataset.packed import unpack_sample
from aerialworld_training.models.aerial import states
from aerialworld_training.models.occworld.state_dict_adapter import to_original
from aerialworld_training.runconfig import load_run_config, read_resolved
from aerialworld_training.runconfig.load import parse_resolved
from aerialworld_training.runconfig.schema import FreezeConfig, OptimizerConfig, ScheduleConfig
from aerialworld_training.running import codes, freezing, loop, train, weights
from aerialworld_training.running.codes import CodesFile, SessionCodes, prepare
from aerialworld_training.running.data import windows
from aerialworld_training.running.files import RunFiles
from aerialworld_training.running.order import EpochOrder
from aerialworld_training.running.ranks import Ranks
from aerialworld_training.running.schedule import learning_rate, make_optimizer
from aerialworld_training.runtime import Interrupted, StopRequest, TrainingError
from aerialworld_training.train import main

sys.path.insert(0, str(Path(__file__).parent))
from training_run import GRID, PowerCut, config, cut_at, made, same, state_of, world
from training_tiny import noisy

# --- schedule, order, optimizer ---


def test_learning_rate_is_the_formula() -> None:
    schedule = ScheduleConfig(min_lr=1e-6, warmup_iters=10, warmup_ratio=0.1)
    assert learning_rate(1e-3, schedule, 0, 110) == pytest.approx(1e-4)
    assert learning_rate(1e-3, schedule, 5, 110) == pytest.approx(1e-3 * (0.1 + 0.9 / 2))
    assert learning_rate(1e-3, schedule, 10, 110) == pytest.approx(1e-3)
    assert learning_rate(1e-3, schedule, 60, 110) == pytest.approx(1e-6 + (1e-3 - 1e-6) / 2)
    third = 1e-6 + 0.5 * (1e-3 - 1e-6) * (1 + math.cos(math.pi / 3))
    assert learning_rate(1e-3, schedule, 10 + 100 // 3, 110) == pytest.approx(third, rel=0.02)
    rates = [learning_rate(1e-3, schedule, n, 110) for n in range(10, 110)]
    assert rates == sorted(rates, reverse=True) and rates[-1] < 2e-6


def test_an_epoch_sees_every_sample_and_processes_share_it() -> None:
    alone = EpochOrder(11, seed=3, batch=4)
    seen = [[d.sample for d in batch] for batch in alone.batches(5, 0)]
    assert len(seen) == alone.iterations == 3
    flat = [s for batch in seen for s in batch]
    assert sorted(flat[:11]) == list(range(11)) and flat[11:] == flat[:1]  # filled up from the start
    assert alone.order(5).tolist() != alone.order(6).tolist()
    two = EpochOrder(11, seed=3, batch=1, world=2, accumulate=2)
    for iteration, batches in enumerate(
        zip(*[iter(zip(two.batches(5, 0, 0), two.batches(5, 0, 1), strict=True))] * 2, strict=True)
    ):
        together = [d for pair in batches for batch in pair for d in batch]
        assert [d.sample for d in together] == seen[iteration]
    assert [b for b in alone.batches(5, 2)] == [b for b in alone.batches(5, 0)][2:]


def test_weighted_draws_follow_the_weights() -> None:
    weights = torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64).repeat_interleave(1000)
    drawn = EpochOrder(3000, 0, 1, weights=weights).order(0)
    counts = torch.bincount(drawn // 1000, minlength=3).tolist()
    assert counts[0] == 0 and counts[2] / 3000 == pytest.approx(0.75, abs=0.03)


def test_norms_embeddings_and_biases_are_not_decayed(tmp_path: Path, sessions: Path) -> None:
    model = build(config(tmp_path, sessions))
    optimizer = make_optimizer(model, OptimizerConfig(weight_decay=0.5))
    decayed = {id(p) for group in optimizer.param_groups if group["weight_decay"] > 0 for p in group["params"]}
    assert {g["weight_decay"] for g in optimizer.param_groups} == {0.5, 0.0}
    for name, parameter in model.named_parameters():
        keeps = parameter.ndim < 2 or ".ln." in name or "embed" in name or ".norm" in name
        if not keeps and parameter.ndim >= 2:
            assert id(parameter) in decayed, name
        else:
            assert id(parameter) not in decayed, name


def test_what_decodes_motion_learns_at_a_rate_of_its_own(tmp_path: Path, sessions: Path, vae: Path) -> None:
    model = build(config(tmp_path, sessions))
    factors = {
        id(p): g["factor"]
        for g in make_optimizer(model, OptimizerConfig(motion_factor=0.25)).param_groups
        for p in g["params"]
    }
    motion = ("pose_decoder.", "aerial.motion.head.", "aerial.motion.carry")
    for name, parameter in model.named_parameters():
        assert factors[id(parameter)] == (0.25 if name.startswith(motion) else 1.0), name
    # The first step of Adam is the rate, whatever the gradient's size.
    noisy(model)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "given.pth")
    given = {"load_from": str(tmp_path / "given.pth"), "iterations": 1}
    run = world(tmp_path, sessions, vae, epochs=1, optimizer={"motion_factor": 0.25, "lr": 1e-3, "weight_decay": 0.0},
                schedule={"warmup_iters": 0}, checkpoint=given)  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        cut_at(patch, 1)
        with pytest.raises(PowerCut):
            train(run, tmp_path / "run")
    before, after = state_of(tmp_path / "given.pth"), state_of(tmp_path / "run" / "latest.pth")
    for name, rate in (("aerial.motion.carry", 0.25e-3), ("pose_decoder.pose_decoder.2.bias", 0.25e-3),
                       ("transformer.conv_out.bias", 1e-3)):  # fmt: skip
        moved = (after[name] - before[name]).abs()
        assert torch.allclose(moved[moved > 0], torch.tensor(rate), rtol=0.05) and (moved > 0).any(), name


# --- strategies ---

STRATEGIES = {
    "A": FreezeConfig(vae=False),
    "B": FreezeConfig(vae=True, transformer=True),
    "C": FreezeConfig(vae=True, transformer=True, transformer_until=1, decoder_until=2),
}


@pytest.mark.parametrize(
    "strategy", [pytest.param("A", marks=pytest.mark.long), pytest.param("B", marks=pytest.mark.long), "C"]
)
def test_strategies_freeze_what_they_say(strategy: str, tmp_path: Path, sessions: Path, vae: Path) -> None:
    """Parameters are bitwise as before where frozen and other where trained, epoch by epoch."""
    freeze = STRATEGIES[strategy]
    run = world(
        tmp_path, sessions, vae, freeze=freeze.__dict__, loss={"voxels": 1.0}, checkpoint={"keep": 9}, epochs=3,
        schedule={"warmup_iters": 0},
    )  # fmt: skip
    train(run, tmp_path / "run")
    before = {**build(run).state_dict(), **state_of(vae / "latest.pth")}
    for epoch in (1, 2, 3):
        after = state_of(tmp_path / "run" / f"epoch_{epoch}.pth")
        changed = {k.split(".")[0] + "." + k.split(".")[1] for k in after if not torch.equal(before[k], after[k])}
        parts = {c for c in changed if c.startswith(("vae.", "aerial."))}
        assert "vae.encoder" not in changed and "vae.class_embeds" not in changed
        assert torch.equal(before["vae.vqvae.embedding.weight"], after["vae.vqvae.embedding.weight"])
        assert torch.equal(before["aerial.heights.table"], after["aerial.heights.table"])
        decoder = strategy == "A" or (strategy == "C" and epoch == 3)
        transformer = strategy == "A" or (strategy == "C" and epoch >= 2)
        assert ("vae.decoder" in changed) == decoder
        assert any(c.startswith("transformer.") for c in changed) == transformer
        assert any(c.startswith("pose_decoder.") for c in changed)
        assert {"aerial.correction", "aerial.motion"} <= parts
        before = after


def test_the_adapter_trains_where_the_vae_is_frozen(tmp_path: Path, sessions: Path, vae: Path) -> None:
    run = config(
        tmp_path, sessions, freeze={"vae": True}, checkpoint={"vqvae_from": str(vae / "latest.pth")}, epochs=1,
        codebook={"start": 0, "restart_every": 0},
    )  # fmt: skip
    train(run, tmp_path / "run")
    before, after = state_of(vae / "latest.pth"), state_of(tmp_path / "run" / "latest.pth")
    changed = {k for k in after if not torch.equal(before[k], after[k])}
    assert changed == {k for k in after if k.startswith("aerial.heights.")}


# --- resuming ---


def test_a_resumed_run_equals_the_uninterrupted_one(
    tmp_path: Path, sessions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = config(tmp_path, sessions, checkpoint={"iterations": 1}, epochs=2)
    train(run, tmp_path / "whole")
    whole = torch.load(tmp_path / "whole" / "epoch_2.pth", weights_only=True)
    iterations = whole["iteration"]
    assert iterations == 10
    for cut in (3, 5):  # at the codebook's start and at the epoch's end
        folder = tmp_path / f"cut_{cut}"
        with monkeypatch.context() as patch:
            cut_at(patch, cut)
            with pytest.raises(PowerCut):
                train(run, folder)
        for _ in range(2):  # resuming twice, the second time with nothing left to do
            train(run, folder, resume=True)
        resumed = torch.load(folder / "epoch_2.pth", weights_only=True)
        resumed["run_config"] = whole["run_config"]  # holds the work folder's name
        assert same(whole, resumed), cut
        assert (folder / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()


def test_stage_occworld_resumes_to_the_same_bits(
    tmp_path: Path, sessions: Path, vae: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = world(
        tmp_path, sessions, vae, loss={"voxels": 0.5}, augment={"copies": 2}, checkpoint={"iterations": 1}, epochs=2,
    )  # fmt: skip
    train(run, tmp_path / "whole")
    with monkeypatch.context() as patch:
        cut_at(patch, 1)
        with pytest.raises(PowerCut):
            train(run, tmp_path / "cut")
    train(run, tmp_path / "cut", resume=True)
    one, other = (torch.load(tmp_path / n / "latest.pth", weights_only=True) for n in ("whole", "cut"))
    other["run_config"] = one["run_config"]
    assert same(one, other)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_saves_and_ends_the_run(
    signum: signal.Signals, tmp_path: Path, sessions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = config(tmp_path, sessions, epochs=1, evaluation={"interval": 9})
    iterate = loop.Loop.iterate

    def signalled(self: loop.Loop, *arguments: Any) -> None:
        iterate(self, *arguments)
        if self.iteration == 2:
            os.kill(os.getpid(), signum)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Loop, "iterate", signalled)
        with pytest.raises(Interrupted) as stopped:
            train(run, tmp_path / "run")
    assert stopped.value.exit_code == 128 + signum
    assert torch.load(tmp_path / "run" / "latest.pth", weights_only=True)["iteration"] == 2
    train(run, tmp_path / "run", resume=True)
    assert torch.load(tmp_path / "run" / "latest.pth", weights_only=True)["iteration"] == 5


# --- what goes wrong ---


def test_a_loss_that_is_not_finite_names_the_frames_and_stops_after_so_many(
    tmp_path: Path, sessions: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = config(tmp_path, sessions, epochs=1, runtime={"max_nonfinite": 2}, schedule={"warmup_iters": 0})
    from aerialworld_training.running.autoencoding import AutoencodingStage, StepResult

    step = AutoencodingStage.step
    poisoned: list[int] = []

    def broken(self: AutoencodingStage, batch: list[Any], iteration: int) -> StepResult:
        result = step(self, batch, iteration)
        return StepResult(result.loss * float("nan"), result.parts, result.samples) if iteration in poisoned else result

    monkeypatch.setattr(AutoencodingStage, "step", broken)
    poisoned[:] = [1, 3]
    with caplog.at_level(logging.WARNING, "aerialworld_training"):
        train(run, tmp_path / "run")
    told = [r.getMessage() for r in caplog.records if "not finite" in r.getMessage()]
    assert len(told) == 2 and "drone_20240115_12" in told[0] and " frame 00000" in told[0]
    assert all(torch.isfinite(v).all() for v in state_of(tmp_path / "run" / "latest.pth").values())
    poisoned[:] = [0, 1, 2]
    with pytest.raises(TrainingError, match=r"drone_\d+_\d+ frame \d+.*stopped after 3 such iterations"):
        train(run, tmp_path / "other")


def test_a_skipped_iteration_changes_nothing(tmp_path: Path, sessions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from aerialworld_training.running.autoencoding import AutoencodingStage, StepResult

    run = config(tmp_path, sessions, epochs=1, codebook={"start": 0, "restart_every": 0})
    step = AutoencodingStage.step

    def broken(self: AutoencodingStage, batch: list[Any], iteration: int) -> StepResult:
        result = step(self, batch, iteration)
        return StepResult(result.loss * float("inf"), result.parts, result.samples)

    monkeypatch.setattr(AutoencodingStage, "step", broken)
    train(run, tmp_path / "run")
    torch.manual_seed(7)
    model = build(run)
    weights.start(model, run, False)
    assert same(dict(model.state_dict()), state_of(tmp_path / "run" / "latest.pth"))


@pytest.mark.long
def test_damaged_newest_checkpoints_are_passed_over(
    tmp_path: Path, sessions: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = config(tmp_path, sessions, epochs=3, checkpoint={"keep": 3})
    train(run, tmp_path / "run")
    folder = tmp_path / "run"
    whole = (folder / "epoch_3.pth").read_bytes()
    (folder / "epoch_10.pth").write_bytes(b"no checkpoint")  # a higher number than 9 and 3
    (folder / "latest.pth").unlink()
    (folder / "latest.pth").write_bytes(whole[: len(whole) // 2])
    newest = RunFiles(folder).newest()
    assert newest is not None and newest[0].name == "epoch_3.pth"
    assert [r.getMessage().split(":")[0][-11:] for r in caplog.records if "skipped" in r.getMessage()] == [
        "/latest.pth", "epoch_10.pth"[-11:],
    ]  # fmt: skip
    train(run, folder, resume=True)
    for file in folder.glob("*.pth"):
        file.write_bytes(b"")
    with pytest.raises(InputError, match="no checkpoint can be read"):
        train(run, folder, resume=True)


def test_code_in_a_checkpoint_never_runs(tmp_path: Path, sessions: Path) -> None:
    marker = tmp_path / "marker"

    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {marker}",)

    folder = tmp_path / "run"
    folder.mkdir()
    torch.save({"state_dict": {}, "evil": Evil()}, folder / "latest.pth")
    run = config(tmp_path, sessions)
    with pytest.raises(InputError, match="no checkpoint can be read"):
        train(run, folder, resume=True)
    for key in ("load_from", "vqvae_from", "resume_from"):
        with pytest.raises(InputError, match="more than tensors"):
            train(config(tmp_path, sessions, checkpoint={key: str(folder / "latest.pth")}), tmp_path / key)
    assert not marker.exists()


def test_checkpoints_of_another_run_are_refused(tmp_path: Path, sessions: Path, vae: Path) -> None:
    latest = str(vae / "latest.pth")
    with pytest.raises(InputError, match="holds checkpoints of an earlier run; use --resume"):
        train(config(tmp_path, sessions, epochs=1), vae)
    with pytest.raises(InputError, match=r"another config: optimizer.lr 0.001 → 0.5"):
        train(config(tmp_path, sessions, epochs=1, optimizer={"lr": 0.5}), vae, resume=True)
    with pytest.raises(InputError, match="is of stage adapt, this run of occworld"):
        train(world(tmp_path, sessions, vae, epochs=1), vae, resume=True)
    taller = {"point_cloud_range": [-16, -16, -2, 16, 16, 40]}
    with pytest.raises(InputError, match=r"of another shape: aerial.heights.table|does not fit the model"):
        train(config(tmp_path, sessions, data=taller, checkpoint={"load_from": latest}), tmp_path / "tall")


def test_a_full_disk_is_told_and_leaves_the_last_checkpoint(
    tmp_path: Path, sessions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import aerialworld_core.files as files

    run = config(tmp_path, sessions, epochs=2)
    real, calls = os.fsync, 0

    def full(descriptor: int) -> None:
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        if "epoch_2.pth" in name:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(StorageError, match=r"epoch_2.pth: not written: No space left"):
        train(run, tmp_path / "run")
    assert calls == 0 and not [p for p in (tmp_path / "run").iterdir() if p.name.endswith(".tmp")]
    assert torch.load(tmp_path / "run" / "latest.pth", weights_only=True)["epoch"] == 1
    monkeypatch.undo()
    train(run, tmp_path / "run", resume=True)
    train(run, tmp_path / "whole")
    assert same(state_of(tmp_path / "run" / "latest.pth"), state_of(tmp_path / "whole" / "latest.pth"))


def test_collapse_is_told(tmp_path: Path, sessions: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = config(tmp_path, sessions, epochs=1, model={"free_logit": 50.0}, optimizer={"lr": 1e-9})
    with caplog.at_level(logging.WARNING, "aerialworld_training"):
        train(run, tmp_path / "run")
    assert any(r.getMessage().startswith("collapse: 0.00e+00 of the voxels are predicted") for r in caplog.records)


# --- codes ---


def quiet(what: str) -> None:
    """Told to nobody."""


def test_codes_are_what_the_model_gives_for_the_frames(tmp_path: Path, sessions: Path, vae: Path) -> None:
    run = world(tmp_path, sessions, vae, augment={"copies": 2, "flip_probability": 1.0})
    model = build(run)
    model.load_state_dict(state_of(vae / "latest.pth"))
    (dataset,) = windows(run, "train")
    (prepared,) = prepare(model, run, [dataset], tmp_path / "codes", 2, Ranks(), quiet, StopRequest())
    for n in (0, len(prepared) - 1):
        sample, packed = prepared.variant(n, 0), dataset[n]
        semantics, observed = unpack_sample(packed, GRID.shape)
        want = model.vae.vqvae.encode_indices(model.encode(states(semantics, observed)))
        assert torch.equal(sample["codes"].long(), want)
        assert sample["codes"].dtype == torch.uint16
        # The displacement of the first frame, by hand: the straight step turned by −yaw.
        a, b = packed["history_poses"][0].double(), packed["history_poses"][1].double()
        yaw = float(sample["planar"][0, 2])
        away = (b - a)[:2].numpy()
        forward = away @ [np.cos(yaw), np.sin(yaw)]
        right = away @ [np.sin(yaw), -np.cos(yaw)]
        assert sample["rel_poses"][0].tolist() == pytest.approx([right, forward], abs=1e-3)
        turned = prepared.variant(n, 1)
        dense = {"history_semantics": semantics, "history_observed": observed.to(torch.uint8)}
        dense |= {"history_poses": torch.zeros(0, 13), "future_poses": torch.zeros(0, 13)}
        other = prepared.maker.turn(dense, sample["session"], 1)
        assert not torch.equal(other["history_semantics"], semantics)
        seen = states(other["history_semantics"], other["history_observed"].bool())
        assert torch.equal(turned["codes"].long(), model.vae.vqvae.encode_indices(model.encode(seen)))
        # However the vehicle looks, it moves as far.
        assert turned["rel_poses"].norm(dim=1).tolist() == pytest.approx(
            sample["rel_poses"].norm(dim=1).tolist(), abs=1e-4
        )


def test_stale_codes_are_refused_and_made_anew(tmp_path: Path, sessions: Path, vae: Path) -> None:
    run = world(tmp_path, sessions, vae)
    model = build(run)
    model.load_state_dict(state_of(vae / "latest.pth"))
    (dataset,) = windows(run, "train")
    prepare(model, run, [dataset], tmp_path / "codes", 1, Ranks(), quiet, StopRequest())
    name = dataset.sessions[0]
    before = model.codes_key("")
    path = SessionCodes(model, run, dataset, tmp_path / "codes").path(name, 0)
    old = np.load(path).copy()
    with torch.no_grad():
        model.vae.encoder.conv_in.weight += 0.05 * torch.randn_like(model.vae.encoder.conv_in.weight)
    assert model.codes_key("") != before
    maker = SessionCodes(model, run, dataset, tmp_path / "codes")
    with pytest.raises(InputError, match="stale codes: made with another encoder"):
        maker.open(name, 0)
    prepare(model, run, [dataset], tmp_path / "codes", 1, Ranks(), quiet, StopRequest())
    assert maker.open(name, 0).codes.shape == old.shape and not np.array_equal(maker.open(name, 0).codes, old)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 100])
    with pytest.raises(InputError, match="no readable codes"):
        maker.open(name, 0)
    path.with_suffix(".json").unlink()
    with pytest.raises(InputError, match="no readable codes"):
        CodesFile.open(path, maker.key(name, 0))
    other = SessionCodes(model, config(tmp_path, sessions, data={"ground_level": 2}), dataset, tmp_path / "codes")
    assert other.key(name, 0) != maker.key(name, 0) != maker.key(name, 1)


@pytest.mark.long
def test_codes_are_not_computed_twice(
    tmp_path: Path, sessions: Path, vae: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = world(tmp_path, sessions, vae, epochs=1)
    train(run, tmp_path / "run")
    monkeypatch.setattr(codes.SessionCodes, "make", lambda *_: pytest.fail("computed again"))
    train(run, tmp_path / "run", resume=True)


# --- where runs begin ---


def test_occworld_on_a_tall_grid_needs_an_adapted_vae(tmp_path: Path, sessions: Path) -> None:
    run = config(tmp_path, sessions, stage="occworld")
    with pytest.raises(InputError, match=r"12 levels without an adaptation stage.*--config train_adapt --work-dir"):
        train(run, tmp_path / "run")
    low = {"point_cloud_range": [-16, -16, -2, 16, 16, 10], "voxel_size": [2, 2, 3]}
    slots = {"slots": 4, "slot_minimum": -2.0, "slot_size": 3.0}
    with pytest.raises(InputError, match=r"needs a trained VAE.*--config train_vqvae"):
        train(config(tmp_path, sessions, stage="occworld", data=low, model=slots), tmp_path / "run")


def test_frozen_vae_from_scratch_is_refused(tmp_path: Path, sessions: Path) -> None:
    with pytest.raises(InputError, match="nothing ever trained this VAE"):
        train(config(tmp_path, sessions, freeze={"vae": True}), tmp_path / "run")


@pytest.mark.long
def test_a_warm_start_takes_a_public_file_and_says_so(
    tmp_path: Path, sessions: Path, vae: Path, caplog: pytest.LogCaptureFixture
) -> None:
    named = {"resume_from": str(tmp_path / "public.pth"), "allow_missing": ["aerial"]}
    run = config(tmp_path, sessions, epochs=1, checkpoint=named)
    public = {k: v for k, v in state_of(vae / "latest.pth").items() if not k.startswith("aerial.")}
    torch.save({"state_dict": public, "epoch": 125, "optimizer": {"state": {}}}, tmp_path / "public.pth")
    with caplog.at_level(logging.WARNING, "aerialworld_training"):
        train(run, tmp_path / "run")
    assert any("a warm start, from iteration 0" in r.getMessage() for r in caplog.records)
    with pytest.raises(InputError, match="--from-scratch would not use them"):
        train(run, tmp_path / "other", from_scratch=True)
    stored = read_resolved(tmp_path / "run" / "config.yaml")
    assert stored.checkpoint.load_from == str(tmp_path / "public.pth")


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("stage_1", [False, True])
def test_a_warm_start_begins_with_the_files_weights(
    tmp_path: Path, sessions: Path, vae: Path, prefix: str, stage_1: bool
) -> None:
    """Steps that move nothing leave the file's weights, whichever key names it; a stage-1 file gives the VAE's."""
    source = state_of(vae / "latest.pth")
    state = to_original(source, stage_1=True)["state_dict"] if stage_1 else source
    wrapped = {prefix + k: v for k, v in state.items()}
    training = {"optimizer": {"state": {}, "param_groups": []}, "scheduler": {"t_initial": 3}, "epoch": 2}
    torch.save({"state_dict": wrapped, **training, "global_iter": 9}, tmp_path / "public.pth")
    for key in ("resume_from", "load_from"):
        given = config(
            tmp_path / key, sessions, epochs=1, checkpoint={key: str(tmp_path / "public.pth")},
            optimizer={"lr": 1e-30}, schedule={"min_lr": 1e-30}, codebook={"start": 0, "restart_every": 0},
        )  # fmt: skip
        train(given, tmp_path / key / "run")
        ours = state_of(tmp_path / key / "run" / "latest.pth")
        same = [k for k, v in source.items() if torch.allclose(ours[k], v, rtol=0, atol=1e-6)]
        assert {k for k in source if k.startswith("vae.")} <= set(same)
        assert (len(same) == len(source)) == (not stage_1)


def test_a_checkpoint_rebuilds_its_model(vae: Path) -> None:
    data = torch.load(vae / "best.pth", weights_only=True)
    model = build(parse_resolved(data["run_config"], "best.pth"))
    model.load_state_dict(data["state_dict"])
    assert {"optimizer", "schedule", "scaler", "rng", "sampler", "epoch", "iteration", "stage", "metrics"} <= set(data)
    assert data["metrics"]["val_iou"] == data["best"]


# --- the command ---


def command(tmp_path: Path, sessions: Path, *more: str) -> list[str]:
    config(tmp_path, sessions, epochs=1)
    return [
        "--config",
        str(tmp_path / "given.yaml"),
        "--sessions",
        str(sessions),
        "--work-dir",
        str(tmp_path / "run"),
        *more,
    ]


def test_the_guides_flags(
    tmp_path: Path, sessions: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = command(
        tmp_path, sessions, "--batch-size", "4", "--lr", "5e-4", "--epochs", "1", "--seed", "3", "--amp", "bf16",
        "--set", "log.interval=2", "--set", "codebook.start=0",
    )  # fmt: skip
    assert main(arguments) == 0
    stored = read_resolved(tmp_path / "run" / "config.yaml")
    assert (stored.data.batch_size, stored.optimizer.lr, stored.runtime.seed) == (4, 5e-4, 3)
    assert stored.runtime.precision == "bf16" and stored.log.interval == 2 and not stored.log.wandb
    assert "val_iou 0." in capsys.readouterr().out
    assert main(arguments) == 2 and "--resume" in capsys.readouterr().err
    assert main([*arguments, "--resume", "--eval-only"]) == 0
    scores = json.loads((tmp_path / "run" / "validation.json").read_text())
    data = torch.load(tmp_path / "run" / "latest.pth", weights_only=True)
    assert scores == pytest.approx(data["metrics"])
    capsys.readouterr()
    monkeypatch.setenv("RANK", "1")  # the second process of a torchrun has nothing to add
    assert main([*arguments, "--resume", "--eval-only"]) == 0 and capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--set", "optimizer.lrr=1"], "did you mean"),
        (["--set", "checkpoint.load_from=gone.pth"], "--from-scratch"),
        (["--gpu-ids", "0", "1"], "torchrun --nproc_per_node 2"),
        (["--gpu-ids", "99"], "GPUs are there"),
        (["--resume-from", "gone.pth"], "gone.pth: no such checkpoint"),
        (["--set", "data.type=nuscenes"], "its loader is yet to come"),
        (["--set", "data.step=0.25"], "frames lie 0.5 s apart, data.step says 0.25 s"),
    ],
)
def test_commands_say_the_way_out(
    more: list[str], told: str, tmp_path: Path, sessions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tmp_path, sessions, *more)) == 2
    assert told in capsys.readouterr().err


def test_wandb_is_asked_for(
    tmp_path: Path, sessions: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert main(command(tmp_path, sessions, "--wandb", "--wandb-tags", "a", "b")) == 2
    assert "pip install wandb" in capsys.readouterr().err
    assert read_resolved(tmp_path / "run" / "config.yaml").log.wandb_tags == ("a", "b")


def test_from_scratch_leaves_pretrained_weights_out(tmp_path: Path, sessions: Path) -> None:
    assert main(command(tmp_path, sessions, "--set", "checkpoint.load_from=gone.pth", "--from-scratch")) == 0


def test_configs_of_the_package_resolve_for_their_stage() -> None:
    for name, stage in (("train_vqvae", "vqvae"), ("train_adapt", "adapt"), ("train_occworld", "occworld")):
        run, _ = load_run_config(name)
        assert run.stage == stage and freezing.trains(run, "vae.encoder.conv_in.weight", 1) == (stage != "occworld")


# --- forms that runs may take ---

LOW = {"slots": 12, "slot_minimum": -2.0, "slot_size": 3.0}
FORMS: dict[str, dict[str, Any]] = {
    "plain model": {"model": LOW},
    "binary losses": {"loss": {"kind": "binary"}, "data": {"binary": True}},
    "bf16": {"runtime": {"precision": "bf16"}},
    "fp16": {"runtime": {"precision": "fp16"}},
    "accumulated": {"optimizer": {"accumulate": 2}},
    "a worker": {"data": {"workers": 1}},
    "noise": {"augment": {"occupancy_noise": 0.01, "occupancy_dropout": 0.05}},
    "as recorded": {"data": {"ground_level": None}},
    "memory saved": {"model": {"save_memory": True}},
    "a finer past": {"model": {"warp_samples": 2}},
    "residual codes": {"model": {"code_depth": 3, "save_memory": True}, "runtime": {"precision": "bf16"}},
}


@pytest.mark.long
@pytest.mark.parametrize("form", FORMS)
def test_both_stages_run_in_each_form(form: str, tmp_path: Path, sessions: Path) -> None:
    given = {k: dict(v) for k, v in FORMS[form].items()}
    run = config(tmp_path, sessions, epochs=2, schedule={"warmup_iters": 0}, **given)
    scores = train(run, tmp_path / "vae")
    assert 0 <= scores["val_iou"] <= 1
    given["loss"] = {**given.get("loss", {}), "voxels": 0.5}
    scores = train(world(tmp_path, sessions, tmp_path / "vae", epochs=2, **given), tmp_path / "world")
    assert 0 <= scores["val_iou"] <= 1 and math.isfinite(scores["val_ce"])
    lines = [json.loads(line) for line in (tmp_path / "world" / "metrics.jsonl").read_text().splitlines()]
    assert all(math.isfinite(line.get("loss", 0.0)) for line in lines)


@pytest.mark.long
def test_several_roots_are_drawn_by_weight(tmp_path: Path, sessions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = made(tmp_path / "other")
    run = config(tmp_path, sessions, epochs=1, data={"concat": [str(other)], "sample_weights": [0.0, 1.0]})
    from aerialworld_training.running.autoencoding import AutoencodingStage

    step, seen = AutoencodingStage.step, list[int]()

    def noted(self: AutoencodingStage, batch: list[Any], iteration: int) -> Any:
        seen.extend(draw.sample for draw, _ in batch)
        return step(self, batch, iteration)

    monkeypatch.setattr(AutoencodingStage, "step", noted)
    train(run, tmp_path / "run")
    assert min(seen) >= 10 and max(seen) < 20
