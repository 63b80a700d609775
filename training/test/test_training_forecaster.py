"""Forecasts for whoever has frames and poses: untrained it is the moved past, and what does not fit says so."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import FREE, MANMADE
from aerialworld_core.occupancy import Occupancy
from aerialworld_training import Forecaster, FutureFrames
from aerialworld_training.baselines import fuse_history
from aerialworld_training.dataset import PooledSession, SessionWindows
from aerialworld_training.dataset.pooling import shift_levels
from aerialworld_training.motion_ahead import Path as Way
from aerialworld_training.motion_ahead import constant_velocity, follow_steps
from aerialworld_training.predictors import levels_lost

sys.path.insert(0, str(Path(__file__).parent))
from training_checkpoints import run_config, synthetic, write_run

from aerialworld_training.box_city import BoxCity, BoxSession

TALL = VoxelGrid((-16.0, -16.0, -2.0), (1.6, 1.6, 1.25), (20, 20, 30))
LOW = VoxelGrid((-16.0, -16.0, -1.0), (1.6, 1.6, 0.4), (20, 20, 16))
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def session_on(grid: VoxelGrid, frames: int = 8) -> PooledSession:
    run = BoxSession(BoxCity(3), grid, frames=frames, start=(40.0, 5.0), yaw=2, yaw_rate=0.3, speed=5.3)
    return PooledSession.from_source("s", run, (1, 1, 1))


def forecast(forecaster: Forecaster, session: PooledSession, history: int, **options: object) -> FutureFrames:
    frames = range(history)
    return forecaster.forecast(
        np.stack([session.semantics(n) for n in frames]),
        np.stack([session.observed_mask(n) for n in frames]),
        [session.pose(n) for n in frames],
        session.stamps[:history],
        session.datum,
        **options,  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def tall(tmp_path_factory: pytest.TempPathFactory) -> Forecaster:
    path = tmp_path_factory.mktemp("tall") / "best.pth"
    write_run(path, run_config(TALL))
    return Forecaster(path.parent)  # a training folder


def test_untrained_it_is_the_moved_past_on_every_level(tall: Forecaster) -> None:
    """At the ground's level, so that volumes are moved up and down: what the model does not see is the past as well."""
    session = session_on(TALL)
    ups = set()
    for lift in (0, 3):
        raised = PooledSession(**{**vars(session), "cells": session.cells + lift}) if lift else session
        for history in (2, 4):
            way = Way(session.position[history : history + 3], session.orientation[history : history + 3])
            future = forecast(tall, raised, history, motion=way)
            ups.add(tall._up(np.stack([raised.semantics(history - 1)])))
            for k in range(3):
                expected, _ = fuse_history(raised, range(history), history + k)
                assert (future.classes[k] == expected).all()
                # exp(4) against 17 classes without a vote where something was seen, exp(1) where nothing was.
                assert future.occupied[k][expected != FREE].min() == pytest.approx(1 - 1 / (np.exp(4) + 17), abs=1e-3)
                assert future.occupied[k][expected == FREE].max() == pytest.approx(17 / (np.e + 17), abs=1e-3)
            assert np.allclose(future.position, way.position) and future.horizons_s.tolist() == [0.5, 1.0, 1.5]
    assert len(ups) > 1 and min(ups) < 0  # moved by different numbers of levels, past the grid's bottom


def test_a_model_of_one_class_is_given_one_class(tall: Forecaster) -> None:
    session = session_on(TALL)
    way = constant_velocity(session.pose(1), session.pose(2), 3)
    known = forecast(tall, session, 3, motion=way)
    single = forecast(Forecaster(dataclasses.replace(tall.trained, binary=True)), session, 3, motion=way)
    assert len(np.unique(known.classes)) > 2 and set(np.unique(single.classes)) == {MANMADE, FREE}
    assert ((known.classes != FREE) == (single.classes != FREE)).all()


def test_the_levels_that_leave_by_hand() -> None:
    assert [levels_lost(10, up) for up in (0, 2, -3)] == [slice(10, 10), slice(8, 10), slice(0, 3)]


def test_going_on_as_before_and_the_models_own_way(tall: Forecaster) -> None:
    session = session_on(TALL)
    steady = forecast(tall, session, 4, motion="constant_velocity", steps=4)
    assert np.allclose(steady.position, session.position[4:8], atol=1e-6)  # a steady turn goes on as it did
    assert np.allclose([steady.pose(k).yaw for k in range(4)], [session.pose(n).yaw for n in range(4, 8)])
    own = forecast(tall, session, 4, steps=4)
    assert np.allclose([own.pose(k).yaw for k in range(4)], session.pose(3).yaw)  # untrained, no turn is predicted
    assert np.allclose(own.position[:, 2], session.position[3, 2])


def test_paths_by_hand() -> None:
    """Facing north: right is east. One step of 2 m ahead and 1 m right, turning 90° left, climbing 0.5 m; then ahead
    is west and right is north."""
    start = Pose.from_rpy(10.0, 20.0, 5.0, 0.02, -0.03, np.pi / 2)
    way = follow_steps(start, np.array([[1.0, 2.0], [1.0, 2.0]]), np.full(2, np.pi / 2), np.full(2, 0.5))
    assert np.allclose(way.position, [[11.0, 22.0, 5.5], [9.0, 23.0, 6.0]])
    assert np.allclose(np.abs(way.yaw), [np.pi, np.pi / 2]) and way.yaw[1] < 0
    ahead = constant_velocity(Pose.from_rpy(0, 0, 1, 0, 0, np.pi - 0.1), Pose.from_rpy(-1, 0, 2, 0, 0, -np.pi + 0.1), 2)
    assert np.allclose(ahead.position[:, 2], [3.0, 4.0])
    assert np.allclose(ahead.yaw, [-np.pi + 0.3, -np.pi + 0.5])  # the turn across ±π is 0.2, not −6.1


def test_sixteen_levels_agree_with_the_models_parts(tmp_path: Path) -> None:
    model = write_run(tmp_path / "latest.pth", run_config(LOW))
    forecaster = Forecaster(str(tmp_path))
    assert forecaster.trained.name == "OccWorld" and forecaster.grid == LOW
    session = session_on(LOW)
    h = forecaster.history
    future = forecast(forecaster, session, h, steps=2)
    # By hand: encode, complete the motion, roll out, decode; heights moved so that the ground lies in level 1.
    up = forecaster._up(np.stack([session.semantics(h - 1)]))
    moved = np.stack([shift_levels(session.semantics(n), up, FREE) for n in range(h)])
    windows = SessionWindows([session], history=h, future=2)
    rel, modes = windows.motion(windows.windows[0])
    with torch.no_grad():
        zq = model.vae.vqvae.lookup(model.vae.vqvae.encode_indices(model.vae.encode(torch.from_numpy(moved))))[None]
        motion = model.complete_motion(zq, rel[None, : h - 1], modes[None, :h])
        rolled = model.rollout(zq, motion, modes[None, :h], modes[None, h - 1 : h].expand(-1, 2, -1))
        logits = model.vae.decode(model.vae.vqvae.lookup(rolled.indices[0]))
    assert up < 0
    back = slice(-up, None)  # of the session's levels, those that the model saw
    assert (future.classes[..., back] == logits.argmax(-1)[..., :up].numpy()).all()
    assert (future.classes[..., :-up] == FREE).all() and not future.occupied[..., :-up].any()
    assert np.allclose(future.occupied[..., back], 1 - logits.softmax(-1)[..., :up, FREE].numpy(), atol=1e-3)
    first = motion[0, -1].double().numpy()
    yaw = session.pose(h - 1).yaw
    expected = session.position[h - 1, :2] + first[1] * np.array([np.cos(yaw), np.sin(yaw)])
    expected += first[0] * np.array([np.sin(yaw), -np.cos(yaw)])
    assert np.allclose(future.position[0, :2], expected)
    with pytest.raises(InputError, match="knows no motion"):
        forecast(forecaster, session, h, steps=2, motion="constant_velocity")


def test_what_does_not_fit_says_so(tall: Forecaster, tmp_path: Path) -> None:
    session = session_on(TALL)
    semantics, observed = np.stack([session.semantics(n) for n in range(3)]), None
    poses, stamps = [session.pose(n) for n in range(3)], session.stamps[:3]
    cases = [
        ((semantics, observed, poses, stamps * 2), "1 s apart; this model was trained on steps of 0.5 s"),
        ((semantics[:, :19], observed, poses, stamps), "20, 20, 30"),
        ((semantics.astype(np.int64), observed, poses, stamps), "int64"),
        ((semantics[:1], observed, poses[:1], stamps[:1]), "at least 2"),
        ((semantics, observed, poses[:2], stamps), "3 frames, 2 poses"),
        ((np.full_like(semantics, 18), observed, poses, stamps), "class 18"),
        ((semantics, observed, np.zeros((3, 7)), stamps), "quaternion"),
    ]
    for arguments, message in cases:
        with pytest.raises(InputError, match=message):
            tall.forecast(*arguments, datum=session.datum)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="at most 10"):
        tall.forecast(semantics, observed, poses, stamps, session.datum, steps=8)
    with pytest.raises(InputError, match="holds none of"):
        Forecaster(tmp_path)
    torch.save({"state_dict": tall.trained.model.state_dict()}, tmp_path / "bare.pth")
    with pytest.raises(InputError, match=r"aerialworld_training\.fit"):
        Forecaster(tmp_path / "bare.pth")
    config = run_config(TALL, "model.ch=16")
    torch.save({"state_dict": tall.trained.model.state_dict(), "run_config": config.to_yaml()}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="of another shape"):
        Forecaster(tmp_path / "other.pth")


def test_a_finer_frame_is_pooled_to_the_models_grid(tall: Forecaster) -> None:
    fine = VoxelGrid(TALL.minimum, (0.8, 0.8, 0.625), (40, 40, 60))
    frame = Occupancy(np.zeros(fine.shape, np.uint8), np.full(fine.shape, FREE, np.uint8), np.zeros(fine.shape, bool))
    frame.occupancy[3, 4, 5], frame.semantics[3, 4, 5], frame.observed[3, 4, 5] = 1, MANMADE, True
    frame.observed[39, 39, 59] = True
    pooled = tall.pooled(frame, fine)
    assert np.argwhere(pooled.semantics != FREE).tolist() == [[1, 2, 2]] and pooled.semantics[1, 2, 2] == MANMADE
    assert np.argwhere(pooled.observed).tolist() == [[1, 2, 2], [19, 19, 29]]
    assert tall.pooled(pooled, TALL) is pooled
    with pytest.raises(InputError, match="nor a whole number of times finer"):
        tall.pooled(pooled, LOW)


@pytest.mark.parametrize("factors", [(1, 1, 1), (2, 2, 2)], ids=["its own grid", "pooled"])
def test_the_guides_example_runs(
    factors: tuple[int, int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = synthetic()
    made.write(tmp_path / "sessions", made.frames(4))
    write_run(tmp_path / "run" / "1_adapt" / "best.pth", run_config(made.GRID))
    write_run(tmp_path / "run" / "2_occworld" / "best.pth", run_config(made.GRID.pooled(factors)))
    code = re.search(r"```python\n(.*?)```", (DOCS / "forecasting.md").read_text(encoding="utf-8"), re.S)
    assert code
    monkeypatch.chdir(tmp_path)
    exec(compile(code[1], "docs/forecasting.md", "exec"), {})  # noqa: S102 - our own page
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["+0.5", "+1", "+1.5"]
