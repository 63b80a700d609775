"""Ground alignment: windows are moved by whole levels so that streets look alike at any height above the datum."""

import numpy as np
import pytest

from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import DRIVEABLE_SURFACE, FREE, MANMADE
from aerialworld_training.baselines import constant_prediction
from aerialworld_training.dataset import PooledSession, SessionWindows
from aerialworld_training.dataset.pooling import shift_levels
from aerialworld_training.strata import height_bands

GRID = VoxelGrid((-4, -4, -2), (2, 2, 3), (4, 4, 12))


def street(level: int, frames: int = 12) -> PooledSession:
    """A road at `level` with one house four levels high on it, standing still relative to the vehicle."""
    volume = np.full(GRID.shape, FREE, np.uint8)
    volume[:, :, level] = DRIVEABLE_SURFACE
    volume[1, 1, level : level + 4] = MANMADE
    cells = np.flatnonzero(volume != FREE)
    count = len(cells)
    return PooledSession(
        name=f"street_{level}",
        agent_type="drone",
        grid=GRID,
        datum=0.0,
        frame_period_ns=500_000_000,
        numbers=np.arange(frames),
        stamps=np.arange(frames) * 500_000_000,
        position=np.zeros((frames, 3)),
        orientation=np.tile([0.0, 0.0, 0.0, 1.0], (frames, 1)),
        offsets=np.arange(frames + 1) * count,
        cells=np.tile(cells, frames).astype(np.uint32),
        classes=np.tile(volume.reshape(-1)[cells], frames),
        observed=np.tile(np.packbits(np.ones(GRID.size, bool)), (frames, 1)),
    )


def test_levels_move_and_what_leaves_is_dropped() -> None:
    volume = np.arange(2 * 2 * 5, dtype=np.uint8).reshape(2, 2, 5)
    up, down = shift_levels(volume, 2, 99), shift_levels(volume, -2, 99)
    assert (up[:, :, 2:] == volume[:, :, :3]).all() and (up[:, :, :2] == 99).all()
    assert (down[:, :, :3] == volume[:, :, 2:]).all() and (down[:, :, 3:] == 99).all()
    assert (shift_levels(volume, 5, 99) == 99).all() and (shift_levels(volume, -7, 99) == 99).all()
    assert shift_levels(volume, 0, 99) is volume


@pytest.mark.parametrize("level", [0, 1, 6])
def test_a_window_is_the_same_at_any_height(level: int) -> None:
    """The model's input does not depend on how high above the datum the street lies."""
    session = street(level)
    assert (session.ground_levels == level).all()
    windows = SessionWindows([session], ground_level=1)
    sample = windows[0]
    reference = SessionWindows([street(1)], ground_level=None)[0]
    assert windows.shift(windows.windows[0]) == 1 - level
    assert (sample["semantics"].numpy() == reference["semantics"].numpy()).all()
    missing = max(level - 1, 0), max(1 - level, 0)  # levels that the move left without observation, top and bottom
    seen = sample["observed"].numpy()
    assert seen[..., missing[1] : GRID.shape[2] - missing[0]].all()
    assert not seen[..., : missing[1]].any() and not seen[..., GRID.shape[2] - missing[0] :].any()


def test_the_constant_is_learned_at_the_ground_and_bands_follow_it() -> None:
    sessions = [street(2), street(7)]
    aligned = constant_prediction(sessions, 1)
    assert (aligned[0, 0] == np.where(np.arange(12) == 1, DRIVEABLE_SURFACE, FREE)).all()
    assert (aligned[1, 1, 1:5] == MANMADE).all()
    assert (constant_prediction(sessions) == FREE).all()  # half of the frames each: no majority at either height
    assert (height_bands(GRID, -3)[3:] == height_bands(GRID)[:-3]).all()


def test_frames_without_ground_take_the_session_s_median() -> None:
    session = street(4, frames=3)
    bare = PooledSession(
        **{
            **{f: getattr(session, f) for f in session.__dataclass_fields__},
            "offsets": np.array([0, session.offsets[1], session.offsets[1], session.offsets[2]]),
            "cells": session.cells[: session.offsets[2]],
            "classes": session.classes[: session.offsets[2]],
        }
    )
    assert bare.ground_levels.tolist() == [4, 4, 4]
