"""A run's folder: one run at a time, made where it can be, and a signal between two stages stops there."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from aerialworld_core.errors import InputError
from aerialworld_training.running import files, train
from aerialworld_training.running.files import RunFiles
from aerialworld_training.running.sequence import train_stages
from aerialworld_training.runtime import Interrupted

sys.path.insert(0, str(Path(__file__).parent))
from training_run import config, same, state_of


def test_a_second_run_in_the_same_folder_is_refused(
    tmp_path: Path, sessions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LINGERING", 0.3)
    run = config(tmp_path, sessions, epochs=1)
    with RunFiles(tmp_path / "run").held():
        with pytest.raises(InputError, match=r"run: another run is at work in it.*--work-dir"):
            train(run, tmp_path / "run")
        assert list((tmp_path / "run").iterdir()) == []
    assert not (tmp_path / "run").exists()  # made in vain
    train(run, tmp_path / "run")
    assert (tmp_path / "run" / "best.pth").exists()


def test_a_run_waits_for_what_a_killed_one_left_behind(tmp_path: Path) -> None:
    """A worker of its loader holds the folder until it sees that its parent is gone."""
    held = RunFiles(tmp_path).held()
    held.__enter__()
    worker = os.fork()
    if worker == 0:
        signal.pause()
    held.__exit__(None, None, None)  # as the parent's death does
    end = threading.Timer(0.5, os.kill, (worker, signal.SIGKILL))
    end.start()
    with RunFiles(tmp_path).held():
        assert end.finished.is_set()
    os.waitpid(worker, 0)


def test_a_file_in_the_way_is_named(tmp_path: Path, sessions: Path) -> None:
    (tmp_path / "taken").write_text("a note")
    for folder in (tmp_path / "taken", tmp_path / "taken" / "run"):
        with pytest.raises(InputError, match=f"{folder}: a file is in the way"):
            train(config(tmp_path, sessions), folder)


def test_a_folder_of_other_stages_is_refused(tmp_path: Path, sessions: Path) -> None:
    one = config(tmp_path, sessions, epochs=1)
    (tmp_path / "several" / "1_vqvae").mkdir(parents=True)
    with pytest.raises(InputError, match="several: holds 1_vqvae of a run of other stages"):
        train_stages([one], tmp_path / "several", resume=True)
    with pytest.raises(InputError, match="several: holds 1_vqvae of a run of other stages"):
        train_stages([one, one], tmp_path / "several")
    (tmp_path / "single").mkdir()
    (tmp_path / "single" / "latest.pth").touch()
    with pytest.raises(InputError, match="single: holds checkpoints of a run of other stages"):
        train_stages([one, one], tmp_path / "single")


def test_scores_of_a_new_folder_are_written(tmp_path: Path, sessions: Path) -> None:
    scores = train(config(tmp_path, sessions), tmp_path / "run", evaluate_only=True)
    assert json.loads((tmp_path / "run" / "validation.json").read_text()) == scores
    with pytest.raises(InputError, match=r"1_adapt/best\.pth: is not there for stage"):
        train_stages([config(tmp_path, sessions)] * 2, tmp_path / "several", evaluate_only=True)


def test_a_signal_while_a_stage_ends_stops_the_next(tmp_path: Path, sessions: Path) -> None:
    """The first stage has nothing left to do when it is told; the second must not begin in earnest."""
    stages = [config(tmp_path, sessions, epochs=1), config(tmp_path, sessions, epochs=1, stage="occworld")]

    def tell(what: str, fraction: float) -> None:
        if what == "adapt validating":
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="--resume to go on") as stopped:
        train_stages(stages, tmp_path / "cut", tell=tell)
    assert stopped.value.exit_code == 128 + signal.SIGTERM
    assert (tmp_path / "cut" / "1_adapt" / "best.pth").exists()
    assert not list((tmp_path / "cut" / "2_occworld").glob("*.pth"))
    train_stages(stages, tmp_path / "cut", resume=True)
    train_stages(stages, tmp_path / "whole")
    ends = [state_of(tmp_path / name / "2_occworld" / "latest.pth") for name in ("cut", "whole")]
    assert same(*ends)
