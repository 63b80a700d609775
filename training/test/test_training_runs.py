"""Whole runs: configs, resume bit for bit, signals, bad input, the same bytes twice, and a model that can memorise."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import aerialworld_training.evaluate as evaluation
import aerialworld_training.train as training
from aerialworld_core.errors import InputError
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import FREE
from aerialworld_training.checkpoint import Checkpoints
from aerialworld_training.config import Config, config_names, load_config, parse_config
from aerialworld_training.dataset import PooledSession
from aerialworld_training.evaluation_rows import BASELINES, MODEL
from aerialworld_training.losses import masked_cross_entropy
from aerialworld_training.runtime import Interrupted, TrainingError
from aerialworld_training.stages import VaeStage, shuffled
from aerialworld_training.trainer import learning_rate

sys.path.insert(0, str(Path(__file__).parent))
from aerialworld_training.box_city import BoxCity, BoxSession

GRID = VoxelGrid((-16, -16, -2), (2, 2, 3), (16, 16, 9))
NAMES = ["drone_20240115_120000", "drone_20240115_120001", "drone_20240115_120002"]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Three runs in two made cities, handed to training in place of folders."""
    runs = {
        name: BoxSession(BoxCity(k // 2), GRID, frames=13, start=(20.0 * k, 5.0), yaw=k, yaw_rate=0.1 * k)
        for k, name in enumerate(NAMES)
    }

    def load(root: Path, names: Sequence[str], factors: Sequence[int], **_: Any) -> dict[str, PooledSession]:
        return {n: PooledSession.from_source(n, runs[n], factors, key=n) for n in names}

    monkeypatch.setattr(training, "load_sessions", load)
    monkeypatch.setattr(evaluation, "load_sessions", load)
    for name in NAMES:
        (tmp_path / "sessions" / name).mkdir(parents=True)
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train": NAMES[:1], "val": NAMES[1:2], "test": NAMES[2:]}))
    return tmp_path / "sessions", split


SMALL = ["threads=1", "data.pooling=[1, 1, 1]", "vae.checkpoint_every=1", "transformer.checkpoint_every=1"]


def stopping_at(work_dir: Path, step: int) -> Callable[[str, float], None]:
    """Kill the run as a power cut would: at a step's end, before anything else is written."""

    class PowerCut(BaseException):
        pass

    def progress(what: str, fraction: float) -> None:
        if Checkpoints(work_dir / "checkpoints").steps()[-1:] == [step]:
            raise PowerCut

    progress.error = PowerCut  # type: ignore[attr-defined]
    return progress


def model_bytes(work_dir: Path) -> dict[str, torch.Tensor]:
    state = torch.load(work_dir / "model.pth", weights_only=True)["state_dict"]
    return dict(state)


def test_resumed_runs_equal_the_uninterrupted_one(data: tuple[Path, Path], tmp_path: Path) -> None:
    sessions, split = data
    whole = tmp_path / "whole"
    training.train(sessions, split, whole, "fast", 7, overrides=SMALL)
    for step in (2, 4, 9, 12, 15):  # before and after the codebook starts, at the stage's end, within stage 2
        cut = tmp_path / f"cut_{step}"
        stop = stopping_at(cut, step)
        with pytest.raises(stop.error):  # type: ignore[attr-defined]
            training.train(sessions, split, cut, "fast", 7, stop, overrides=SMALL)
        assert not (cut / "model.pth").exists()
        training.train(sessions, split, cut, "fast", 7, overrides=SMALL, resume=True)
        a, b = model_bytes(whole), model_bytes(cut)
        assert all(torch.equal(a[k], b[k]) for k in a)
        assert (cut / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
        assert (cut / "train.json").read_bytes() == (whole / "train.json").read_bytes()


def test_same_seed_same_bytes_and_the_evaluation_is_complete(data: tuple[Path, Path], tmp_path: Path) -> None:
    sessions, split = data
    for name in ("one", "two"):
        training.train(sessions, split, tmp_path / name, "fast", 3, overrides=SMALL)
        result = evaluation.evaluate(sessions, split, tmp_path / name, tmp_path / name / "out")
    one, two = tmp_path / "one" / "out", tmp_path / "two" / "out"
    assert (one / "evaluation.json").read_bytes() == (two / "evaluation.json").read_bytes()
    assert (one / "prediction_0.npz").read_bytes() == (two / "prediction_0.npz").read_bytes()
    assert json.loads((one / "evaluation.json").read_text()) == result
    assert list(result["rows"]) == [*BASELINES, MODEL]
    assert [h["t"] for h in result["rows"]["copy"]["horizons"]] == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    with np.load(one / "prediction_0.npz", allow_pickle=False) as saved:
        assert saved["predicted_semantics"].shape == (6, *GRID.shape)
        truth = BoxSession(BoxCity(1), GRID, frames=13, start=(40.0, 5.0), yaw=2, yaw_rate=0.2)
        frame = truth.occupancy(int(saved["future_frames"][3]))
        assert (saved["truth_semantics"][3] == frame.semantics).all()
        assert (saved["truth_observed"][3] == frame.observed).all()
    # The JSON's numbers follow from its own counts and from the saved frames' kind of data.
    for row in result["rows"].values():
        for h in row["horizons"]:
            parts = [h["strata"][s]["counts"]["voxels"] for s in ("persistent", "unseen")]
            assert sum(parts) == h["strata"]["all"]["counts"]["voxels"]
    ahead = [h["strata"]["persistent"]["iou"] for h in result["rows"]["ego_warp_fused"]["horizons"]]
    copied = [h["strata"]["persistent"]["iou"] for h in result["rows"]["copy"]["horizons"]]
    assert all(a > b for a, b in zip(ahead, copied, strict=True))  # a turning vehicle in a static city
    unseen = result["rows"]["ego_warp_fused"]["horizons"][5]["strata"]["unseen"]
    assert unseen["counts"]["truth_occupied"] > 0 and unseen["iou"] == 0.0  # a warp knows nothing of the unseen
    other = tmp_path / "other"
    training.train(sessions, split, other, "fast", 4, overrides=SMALL)
    assert not torch.equal(
        model_bytes(other)["vae.class_embeds.weight"], model_bytes(tmp_path / "one")["vae.class_embeds.weight"]
    )


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_write_a_checkpoint_and_tell_how_to_go_on(
    data: tuple[Path, Path], tmp_path: Path, signum: int, code: int, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    sessions, split = data
    work = tmp_path / "work"

    def raise_signal(what: str, fraction: float) -> None:
        if "vae 7/" in what:
            signal.raise_signal(signum)

    before = signal.getsignal(signum)
    with pytest.raises(Interrupted, match="--resume") as caught:
        training.train(sessions, split, work, "fast", 0, raise_signal, overrides=[*SMALL, "vae.checkpoint_every=99"])
    assert caught.value.exit_code == code and signal.getsignal(signum) is before
    assert Checkpoints(work / "checkpoints").steps() == [7]
    with pytest.raises(InputError, match="holds checkpoints of an earlier run"):
        training.train(sessions, split, work, "fast", 0, overrides=SMALL)
    with pytest.raises(InputError, match="another config or another seed"):
        training.train(sessions, split, work, "fast", 1, overrides=[*SMALL, "vae.checkpoint_every=99"], resume=True)


def test_a_damaged_newest_checkpoint_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (9, 10, 13):
        checkpoints.save(step, {"step": step})
    assert checkpoints.steps() == [10, 13] and (tmp_path / "latest").read_text() == "checkpoint_00000013.pth\n"
    raw = checkpoints.path(13).read_bytes()
    checkpoints.path(13).write_bytes(raw[: len(raw) // 2])
    with caplog.at_level("WARNING", "aerialworld_training"):
        assert checkpoints.load_newest() == (10, {"step": 10})
    checkpoints.path(10).write_bytes(b"")
    assert "00000013" in caplog.text
    with pytest.raises(InputError, match="no checkpoint can be read"):
        checkpoints.load_newest()


def test_a_loss_that_is_not_finite_names_the_frames(
    data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions, split = data
    step = VaeStage.step

    def poisoned(self: VaeStage, number: int) -> Any:
        if number == 5:
            with torch.no_grad():
                self.model.vae.decoder.conv_out.bias.fill_(float("nan"))  # type: ignore[union-attr]
        return step(self, number)

    monkeypatch.setattr(VaeStage, "step", poisoned)
    with pytest.raises(TrainingError, match=rf"vae step 5: the loss is nan on {NAMES[0]} frame 0000\d\d"):
        training.train(sessions, split, tmp_path / "work", "fast", 0, overrides=SMALL)


def test_missing_sessions_and_foreign_grids_are_refused(data: tuple[Path, Path], tmp_path: Path) -> None:
    sessions, split = data
    training.train(sessions, split, tmp_path / "work", "fast", 0, overrides=SMALL)
    data_ = torch.load(tmp_path / "work" / "model.pth", weights_only=True)
    torch.save(
        {**data_, "grid": {**VoxelGrid((-16, -16, -2), (2, 2, 2), (16, 16, 9)).to_dict()}},
        tmp_path / "work" / "model.pth",
    )
    with pytest.raises(InputError, match="train on sessions of this grid"):
        evaluation.evaluate(sessions, split, tmp_path / "work", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    shutil.rmtree(sessions / NAMES[2])
    with pytest.raises(InputError, match=NAMES[2]):
        training.train(sessions, split, tmp_path / "w2", "fast", 0, overrides=SMALL)
    assert training.main(["--sessions", str(sessions), "--split", "none.json", "--work-dir", str(tmp_path / "w3")]) == 2
    assert not (tmp_path / "w3").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["vae.step=5"], r"unknown key 'vae\.step'; did you mean 'vae\.steps'"),
        (["vaee.steps=5"], r"did you mean 'vae\.steps'"),
        (["learning_rate=5"], "unknown key 'learning_rate'"),
        (["vae.steps=many"], r"vae\.steps must be a whole number, not 'many'"),
        (["vae.steps"], r"key\.sub=value"),
        (["data.pooling=[2, 2]"], "a list of 3"),
        (["model.num_frames=5"], "exceed"),
        (["vae.lr=yes"], r"vae\.lr must be a number"),
    ],
)
def test_bad_overrides_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_config("demo", overrides)


def test_configs_load_override_and_round_trip(tmp_path: Path) -> None:
    assert {"demo", "fast"} <= set(config_names())
    config = load_config("demo", ["vae.lr=1e-3", "model.ch_mult=[1, 2]", "evaluation.max_windows=3"])
    assert config.vae.lr == 1e-3 and config.model.ch_mult == (1, 2) and config.evaluation.max_windows == 3
    assert parse_config(config.to_yaml()) == config
    path = tmp_path / "own.yaml"
    path.write_text("vae: {steps: 7, codebook_start: 2}\n")
    assert load_config(path).vae.steps == 7 and load_config(path).transformer == Config().transformer
    path.write_text("vae: {stepz: 7}\n")
    with pytest.raises(InputError, match=r"own\.yaml: unknown key 'vae\.stepz'; did you mean 'vae\.steps'"):
        load_config(path)
    with pytest.raises(InputError, match="no such config file"):
        load_config("nonesuch")


def test_every_pass_sees_every_sample_once_in_an_order_of_its_own() -> None:
    first = [i for step in range(5) for i in shuffled(10, 2, step, seed=1)]
    second = [i for step in range(5, 10) for i in shuffled(10, 2, step, seed=1)]
    assert sorted(first) == sorted(second) == list(range(10)) and first != second
    assert shuffled(10, 3, 3, seed=1)[0] == first[9]


def test_learning_rate_warms_up_and_falls_to_its_floor() -> None:
    config = load_config("demo", ["vae.steps=200", "vae.codebook_start=100", "vae.warmup=10", "vae.lr=1e-3"]).vae
    rates = [learning_rate(config, s) for s in range(200)]
    assert rates[9] == pytest.approx(1e-3) and max(rates) <= 1e-3 + 1e-12
    assert (np.diff(rates[:10]) >= 0).all() and (np.diff(rates[10:]) <= 0).all() and rates[-1] < 2e-6


def test_sampled_loss_is_an_unbiased_estimate_and_leaves_out_the_unknown() -> None:
    session = PooledSession.from_source("s", BoxSession(BoxCity(1), GRID, frames=1, start=(0, 0)), (1, 1, 1))
    config = load_config("fast", ["vae.free_samples=100", "vae.occupied_weight=1"]).vae
    stage = VaeStage.__new__(VaeStage)
    stage.config = config
    semantics, observed = session.semantics(0), session.observed_mask(0)
    rows, weights = stage.sample_voxels([semantics], [observed], np.random.default_rng(0))
    assert observed.reshape(-1)[rows.numpy()].all() and len(set(rows.tolist())) == len(rows)
    assert set(np.flatnonzero((semantics != FREE) & observed)) <= set(rows.tolist())
    assert weights.sum().item() == pytest.approx(observed.sum())  # the sampled stand for all observed
    # With every free voxel drawn, the sampled loss is the whole one.
    stage.config = load_config("fast", ["vae.free_samples=100000", "vae.occupied_weight=1"]).vae
    rows, weights = stage.sample_voxels([semantics], [observed], np.random.default_rng(0))
    logits = torch.randn(semantics.size, 18, generator=torch.Generator().manual_seed(0))
    target, known = torch.from_numpy(semantics.reshape(-1)).long(), torch.from_numpy(observed.reshape(-1)).float()
    sampled = masked_cross_entropy(logits[rows], target[rows], weights)
    assert sampled.item() == pytest.approx(masked_cross_entropy(logits, target, known).item(), rel=1e-5)


@pytest.mark.long
def test_a_small_model_memorises_two_sequences(
    data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained and scored on the same two runs the forecast must reach IoU 0.95: the model can represent what it
    sees."""
    grid = VoxelGrid((-16, -16, -2), (1, 1, 3), (32, 32, 9))
    runs = {
        n: BoxSession(BoxCity(k), grid, frames=10, start=(0.0, 0.0), yaw=0.5 * k, yaw_rate=0.1)
        for k, n in enumerate(NAMES[:2])
    }

    def load(root: Path, names: Sequence[str], factors: Sequence[int], **_: Any) -> dict[str, PooledSession]:
        both = {n: PooledSession.from_source(n, runs[n], factors, key=n) for n in NAMES[:2]}
        return {n: both.get(n, both[NAMES[0]]) for n in names}

    monkeypatch.setattr(training, "load_sessions", load)
    monkeypatch.setattr(evaluation, "load_sessions", load)
    sessions, split = data
    split.write_text(json.dumps({"train": NAMES[:2], "val": NAMES[2:], "test": ["drone_20240115_120009"]}))
    (sessions / "drone_20240115_120009").mkdir()
    training.train(sessions, split, tmp_path / "work", "fast", 0, overrides=[
        "threads=1", "data.pooling=[1, 1, 1]", "model.expansion=4", "model.ch=32", "model.ch_mult=[1, 2]",
        "model.z_channels=32", "model.n_e=256", "model.e_dim=32", "model.channels=[64, 64, 64]",
        "vae.steps=700", "vae.codebook_start=200", "vae.restart_every=20", "vae.batch=2", "vae.lr=3e-3",
        "vae.warmup=20", "vae.free_logit=5", "vae.checkpoint_every=700", "vae.validate_every=700",
        "transformer.steps=250", "transformer.lr=2e-3", "transformer.warmup=20", "transformer.checkpoint_every=250",
        "transformer.validate_every=250",
    ])  # fmt: skip
    result = evaluation.evaluate(sessions, split, tmp_path / "work", tmp_path / "out", "train")
    for row in ("reconstruction", "occworld"):
        ious = [h["strata"]["all"]["iou"] for h in result["rows"][row]["horizons"]]
        assert min(ious) > 0.95, (row, ious)
