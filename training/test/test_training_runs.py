"""Configs of several stages, from sessions to an evaluation: resumed bit for bit, the same bytes wherever they lie."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import aerialworld_training.evaluate as evaluation
from aerialworld_core.errors import InputError
from aerialworld_core.session import Session
from aerialworld_training.dataset.pooling import pool_occupancy
from aerialworld_training.evaluation_rows import BASELINES, MODEL
from aerialworld_training.made_sessions import write_sessions
from aerialworld_training.runconfig import load_run_config, load_stages, read_resolved, write_overrides
from aerialworld_training.running import codes, loop
from aerialworld_training.running.command import run_config
from aerialworld_training.runtime import TrainingError
from aerialworld_training.train import main
from aerialworld_training.trained import load_trained

sys.path.insert(0, str(Path(__file__).parent))
from training_run import GRID, made, same

POOLING = (1, 1, 2)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sessions of six frames and a split, one session for each part."""
    root = made(tmp_path_factory.mktemp("runs") / "sessions", frames=6)
    names = sorted(p.name for p in root.iterdir())
    split = {part: [name] for part, name in zip(("train", "val", "test"), names, strict=True)}
    (root / "split.json").write_text(json.dumps(split))
    return root


def keys(sessions: Path, *more: str) -> list[str]:
    """Overrides of the config `fast` for these sessions: 6 iterations of stage adapt, 3 of occworld."""
    given = {
        "data.root": sessions, "data.split_file": sessions / "split.json", "data.point_cloud_range": GRID.range,
        "data.voxel_size": GRID.voxel_size, "data.pooling": POOLING, "data.history_frames": 2,
        "data.future_frames": 2, "log.tensorboard": False, "log.interval": 1, "checkpoint.iterations": 2,
    }  # fmt: skip
    return [*write_overrides(given), *more]


def train(sessions: Path, folder: Path, *more: str, **options: Any) -> dict[str, float]:
    return run_config("fast", keys(sessions, *more), folder, level="ERROR", **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, sessions: Path) -> Path:
    """An uninterrupted run of both stages."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(sessions, folder)
    return folder


def checkpoint(file: Path) -> dict[str, Any]:
    """All of a checkpoint but the config's text, which holds the folder's name."""
    data = dict(torch.load(file, weights_only=True))
    assert read_resolved(file.parent / "config.yaml").to_yaml() == data.pop("run_config")
    return data


class PowerCut(BaseException):
    """Ends a run as a power cut would: nothing of the program catches it."""


def cut_in_stage(stage: str, iteration: int) -> Callable[[pytest.MonkeyPatch], None]:
    def cut(patch: pytest.MonkeyPatch) -> None:
        iterate = loop.Loop.iterate

        def until(self: loop.Loop, *arguments: Any) -> None:
            if self.config.stage == stage and self.iteration == iteration:
                raise PowerCut
            iterate(self, *arguments)

        patch.setattr(loop.Loop, "iterate", until)

    return cut


def cut_in_codes(patch: pytest.MonkeyPatch) -> None:
    """After the training session's codes, before the validation session's."""
    make, asked = codes.SessionCodes.make, list[str]()

    def until(self: codes.SessionCodes, session: str, *arguments: Any) -> Any:
        asked.append(session)
        if len(asked) == 2:
            raise PowerCut
        return make(self, session, *arguments)

    patch.setattr(codes.SessionCodes, "make", until)


CUTS = {"adapt": cut_in_stage("adapt", 4), "codes": cut_in_codes, "occworld": cut_in_stage("occworld", 2)}


@pytest.mark.parametrize(
    "where", [pytest.param("adapt", marks=pytest.mark.long), pytest.param("codes", marks=pytest.mark.long), "occworld"]
)
def test_a_resumed_run_equals_the_uninterrupted_one(
    where: str, tmp_path: Path, sessions: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        CUTS[where](patch)
        with pytest.raises(PowerCut):
            train(sessions, tmp_path)
    assert not (tmp_path / "2_occworld" / "best.pth").exists()
    with pytest.raises(InputError, match="holds checkpoints of an earlier run; use --resume"):
        train(sessions, tmp_path)
    train(sessions, tmp_path, resume=True)
    for stage in ("1_adapt", "2_occworld"):
        for name in ("latest.pth", "best.pth", "epoch_1.pth"):
            assert same(checkpoint(whole / stage / name), checkpoint(tmp_path / stage / name)), (stage, name)
        assert (tmp_path / stage / "metrics.jsonl").read_bytes() == (whole / stage / "metrics.jsonl").read_bytes()
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.pth")}
    scores = train(sessions, tmp_path, resume=True)  # with nothing left to do
    assert before == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.pth")}
    assert scores == checkpoint(whole / "2_occworld" / "latest.pth")["metrics"]


def test_the_second_stage_begins_with_the_first_ones_vae(whole: Path) -> None:
    """Which stays as it is, with the height adapter; the rest trains."""
    first, second = (checkpoint(whole / n / "best.pth")["state_dict"] for n in ("1_adapt", "2_occworld"))
    assert all(torch.equal(v, second[k]) for k, v in first.items() if k.startswith(("vae.", "aerial.heights.")))
    assert not torch.equal(first["transformer.conv_out.bias"], second["transformer.conv_out.bias"])
    trained = load_trained(whole)
    assert trained.path == whole / "2_occworld" / "best.pth" and trained.grid == GRID.pooled(POOLING)


def test_a_whole_models_file_reaches_the_last_stage(tmp_path: Path, sessions: Path, whole: Path) -> None:
    given = whole / "2_occworld" / "best.pth"
    train(sessions, tmp_path / "run", *write_overrides({"stages.0.checkpoint.load_from": given}))
    files = [read_resolved(tmp_path / "run" / name / "config.yaml").checkpoint for name in ("1_adapt", "2_occworld")]
    first = tmp_path / "run" / "1_adapt" / "best.pth"
    assert [(f.load_from, f.vqvae_from) for f in files] == [(str(given), None), (str(first), None)]
    before, after = (checkpoint(f)["state_dict"] for f in (given, first))
    kept = [k for k in before if k.startswith(("transformer.", "aerial.motion.", "aerial.correction."))]
    assert kept and all(torch.equal(before[k], after[k]) for k in kept)
    assert not torch.equal(before["vae.decoder.conv_out.weight"], after["vae.decoder.conv_out.weight"])


def test_one_checkpoint_cannot_be_gone_on_with_by_several_stages(tmp_path: Path, sessions: Path, whole: Path) -> None:
    file = write_overrides({"checkpoint.resume_from": whole / "2_occworld" / "best.pth"})
    with pytest.raises(InputError, match=r"has 2 stages, a checkpoint is of one; go on with --resume"):
        train(sessions, tmp_path / "run", *file)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("key", ["load_from", "vqvae_from"])
def test_a_later_stage_cannot_start_from_a_file_of_its_own(tmp_path: Path, sessions: Path, key: str) -> None:
    with pytest.raises(
        InputError, match=rf"stages\.1\.checkpoint\.{key} a\.pth: each stage after the first starts from"
    ):
        train(sessions, tmp_path / "run", f"stages.1.checkpoint.{key}=a.pth")
    assert not (tmp_path / "run").exists()


def test_stages_are_scored_where_they_were_trained(tmp_path: Path, sessions: Path, whole: Path) -> None:
    with pytest.raises(InputError, match=r"1_adapt/best\.pth: is not there for stage occworld to start from"):
        train(sessions, tmp_path / "run", evaluate_only=True)
    assert "val_iou" in json.loads((tmp_path / "run" / "1_adapt" / "validation.json").read_text())
    trained = shutil.copytree(whole, tmp_path / "trained")
    files = {p: p.read_bytes() for p in trained.rglob("*.pth")}
    scores = train(sessions, trained, evaluate_only=True, resume=True)
    assert scores == checkpoint(whole / "2_occworld" / "latest.pth")["metrics"]
    assert json.loads((trained / "2_occworld" / "validation.json").read_text()) == scores
    assert files == {p: p.read_bytes() for p in trained.rglob("*.pth")}


def test_progress_is_of_all_stages_and_another_seed_gives_other_weights(
    tmp_path: Path, sessions: Path, whole: Path
) -> None:
    told: list[tuple[str, float]] = []
    train(sessions, tmp_path, "runtime.seed=7", tell=lambda what, fraction: told.append((what, fraction)))
    one, other = (checkpoint(f / "2_occworld" / "latest.pth")["state_dict"] for f in (whole, tmp_path))
    assert not torch.equal(one["vae.class_embeds.weight"], other["vae.class_embeds.weight"])
    fractions = [fraction for _, fraction in told]
    assert fractions == sorted(fractions) and fractions[0] == 0.0 and fractions[-1] == 1.0
    assert {what.split()[0] for what, fraction in told if fraction < 0.5} == {"adapt"}
    assert {what.split()[0] for what, fraction in told if fraction > 0.5} == {"occworld"}
    epochs = [fraction for what, fraction in told if " epoch 1/1" in what]
    assert epochs == pytest.approx([k / 12 for k in range(1, 7)] + [0.5 + k / 6 for k in range(1, 4)])


def test_the_same_seed_gives_the_same_evaluation_wherever_it_lies(tmp_path: Path, sessions: Path, whole: Path) -> None:
    # Names that YAML would read as a number and as a table.
    moved, folder = tmp_path / "a: b" / "123", tmp_path / "456"
    shutil.copytree(sessions, moved)
    arguments = ["--config", "fast", "--sessions", str(moved), "--split", str(moved / "split.json")]
    shape = [word for pair in keys(sessions)[2:] for word in ("--set", pair)]
    assert main([*arguments, "--work-dir", str(folder), *shape]) == 0
    stored = read_resolved(folder / "2_occworld" / "config.yaml")
    assert stored.data.root == str(moved) and stored.checkpoint.vqvae_from == str(folder / "1_adapt" / "best.pth")
    results = {}
    for name, root, run in (("one", sessions, whole), ("two", moved, folder)):
        out = tmp_path / name
        results[name] = evaluation.evaluate(root, root / "split.json", run, out, max_windows=2, threads=1)
    for name in ("evaluation.json", "prediction_0.npz", "MODEL_CARD.md", "DATA_CARD.md"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    card = (tmp_path / "one" / "MODEL_CARD.md").read_text()
    assert str(sessions) not in card and str(whole) not in card
    result = results["one"]
    assert json.loads((tmp_path / "one" / "evaluation.json").read_text()) == result
    assert {*BASELINES, MODEL} <= set(result["rows"])
    for row in result["rows"].values():
        for h in row["horizons"]:
            parts = [h["strata"][s]["counts"]["voxels"] for s in ("persistent", "unseen")]
            assert sum(parts) == h["strata"]["all"]["counts"]["voxels"]
    with np.load(tmp_path / "one" / "prediction_0.npz", allow_pickle=False) as saved:
        frame = Session.open(sessions / result["sessions"][0]).occupancy(int(saved["future_frames"][1]))
        pooled = pool_occupancy(frame, POOLING)
        assert (saved["truth_semantics"][1] == pooled.semantics).all()
        assert (saved["truth_observed"][1] == pooled.observed).all()


def test_sessions_that_were_recorded_anew_are_refused(
    tmp_path: Path, sessions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "sessions"
    shutil.copytree(sessions, root)
    cut_in_stage("adapt", 2)(monkeypatch)
    with pytest.raises(PowerCut):
        train(root, tmp_path / "run")
    (name,) = json.loads((root / "split.json").read_text())["train"]
    shutil.rmtree(root / name)
    write_sessions(tmp_path / "anew", 1, 6, seed=5, grid=GRID)
    shutil.move(tmp_path / "anew" / name, root / name)
    with pytest.raises(
        TrainingError, match=r"1_adapt/latest\.pth: was made with other sessions, or they were recorded"
    ):
        train(root, tmp_path / "run", resume=True)


def test_missing_sessions_and_splits_are_named(tmp_path: Path, sessions: Path) -> None:
    (name,) = json.loads((sessions / "split.json").read_text())["train"]
    root = tmp_path / "sessions"
    shutil.copytree(sessions, root)
    shutil.rmtree(root / name)
    with pytest.raises(InputError, match=name):
        train(root, tmp_path / "run")
    with pytest.raises(InputError, match=r"gone\.json"):
        train(sessions, tmp_path / "run", f"data.split_file={tmp_path / 'gone.json'}")
    assert not (tmp_path / "run").exists()


def test_sessions_of_a_foreign_grid_are_refused(tmp_path: Path, sessions: Path, whole: Path) -> None:
    finer = tmp_path / "finer"
    write_sessions(finer, 3, 6, grid=GRID.pooled((2, 1, 1)))
    with pytest.raises(InputError, match="nor a whole number of times finer"):
        evaluation.evaluate(finer, sessions / "split.json", whole, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- what a config of several stages may say ---


def test_overrides_are_of_all_stages_or_of_one() -> None:
    adapt, world = (config for config, _ in load_stages("demo", ["optimizer.lr=1e-4", "stages.0.epochs=7"]))
    assert (adapt.stage, world.stage) == ("adapt", "occworld")
    assert adapt.optimizer.lr == world.optimizer.lr == 1e-4
    assert (adapt.epochs, world.epochs) == (7, load_stages("demo")[1][0].epochs)
    assert not adapt.freeze.vae and world.freeze.vae
    assert [c.loss.free_samples for c, _ in load_stages("fast", ["stages.1.loss.free_samples=9"])] == [2000, 9]
    assert [c.epochs for c, _ in load_stages("demo", ["epochs=3"])] == [3, 3]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["stages.0.epoch=5"], r"unknown key 'epoch'; did you mean 'epochs'"),
        (["stages.1.loss.voxel=5"], r"unknown key 'loss\.voxel'; did you mean 'loss\.voxels'"),
        (["epocs=5"], r"unknown key 'epocs'; did you mean 'epochs'"),
        (["stages.2.epochs=5"], r"stages is a list of 2; name a position in it"),
        (["stages.adapt.epochs=5"], r"stages is a list of 2; name a position in it"),
        (["stages.0=5"], "--set stages.0=5: name a key of the stage"),
        (["stages.0.epochs=many"], r"epochs must be a whole number, not 'many'"),
        (["data.pooling=[2, 2]"], "a list of 3"),
        (["data.pooling=[0, 2, 2]"], "three whole factors"),
        (["stages=[]"], "stages must be a list of tables, one for each stage, not \\[\\]"),
        (["stages=[adapt]"], "stages must be a list of tables"),
        (["stages=3"], "stages must be a list of tables, one for each stage, not 3"),
    ],
)
def test_mistakes_in_stages_are_named(overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_stages("fast", overrides)


def test_one_stage_is_asked_for_where_one_is_needed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=r"demo: has the stages adapt, occworld; .* this takes a config of one"):
        load_run_config("demo")
    own = tmp_path / "own.yaml"
    own.write_text("epochs: 3\nstages:\n- {stage: adapt, freeze: {vae: false}}\n")
    config, notes = load_run_config(own)
    assert (config.stage, config.epochs, config.freeze.vae, notes) == ("adapt", 3, False, [])
    own.write_text("stages: {stage: adapt}\n")
    assert main(["--config", str(own), "--work-dir", str(tmp_path / "run")]) == 2
    assert "own.yaml: stages must be a list of tables" in capsys.readouterr().err


def test_text_stays_text_on_the_way_through_overrides() -> None:
    """Names of folders that YAML would read as something else."""
    for text in ("123", "1e-3", "a: b", "null", "[x", "~", 'it\'s "so"', " x ", "東京 🗼", "a\nb", "#1", "2024-01-15"):
        (config, _), *_ = load_stages("demo", write_overrides({"data.root": text, "log.wandb_tags": [text, "b"]}))
        assert config.data.root == text and config.log.wandb_tags == (text, "b"), text
        assert load_stages("demo", write_overrides({"data.root": Path(text)}))[0][0].data.root == text
    assert write_overrides({"epochs": None, "log.wandb": True, "optimizer.lr": 1e-5}) == [
        "log.wandb=True", "optimizer.lr=1e-05"
    ]  # fmt: skip
