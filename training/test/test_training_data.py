"""Pooling, windows, motion, splits, the cache."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose
from aerialworld_core.grid import DEFAULT_GRID, VoxelGrid
from aerialworld_core.labels import CAR, DRIVEABLE_SURFACE, FREE, MANMADE, TERRAIN
from aerialworld_core.occupancy import Occupancy
from aerialworld_training.dataset import PooledSession, SessionWindows, read_split
from aerialworld_training.dataset.frames import content_key
from aerialworld_training.dataset.motion import LEFT, RIGHT, STRAIGHT, displacements, past_commands
from aerialworld_training.dataset.pooling import pool_occupancy
from aerialworld_training.dataset.windows import find_windows

sys.path.insert(0, str(Path(__file__).parent))
from aerialworld_training.box_city import BoxCity, BoxSession

STEP = 500_000_000


def frame(
    shape: tuple[int, int, int], voxels: dict[tuple[int, int, int], int], seen: list[tuple[int, int, int]]
) -> Occupancy:
    empty = Occupancy.empty(VoxelGrid((0, 0, 0), (1, 1, 1), shape))
    for at, label in voxels.items():
        empty.occupancy[at], empty.semantics[at], empty.observed[at] = 1, label, True
    for at in seen:
        empty.observed[at] = True
    return empty


def test_pooling_by_hand() -> None:
    voxels = {
        (0, 0, 0): TERRAIN, (1, 0, 0): TERRAIN, (1, 1, 1): MANMADE,  # two against one
        (2, 0, 0): DRIVEABLE_SURFACE, (3, 0, 0): DRIVEABLE_SURFACE, (3, 1, 0): DRIVEABLE_SURFACE, (2, 1, 1): CAR,
        (0, 2, 0): MANMADE, (1, 3, 1): DRIVEABLE_SURFACE,  # a tie: the lower id
        (3, 3, 4): MANMADE,  # the remainder level, dropped
    }  # fmt: skip
    pooled = pool_occupancy(frame((4, 4, 5), voxels, [(2, 2, 2), (0, 0, 4)]), (2, 2, 2))
    assert pooled.occupancy.shape == (2, 2, 2)
    expected = np.full((2, 2, 2), FREE)
    expected[0, 0, 0], expected[1, 0, 0], expected[0, 1, 0] = TERRAIN, CAR, DRIVEABLE_SURFACE
    assert (pooled.semantics == expected).all()
    assert (pooled.occupancy == (expected != FREE)).all()
    observed = np.zeros((2, 2, 2), bool)
    observed[0, 0, 0] = observed[1, 0, 0] = observed[0, 1, 0] = observed[1, 1, 1] = True
    assert (pooled.observed == observed).all()


def test_pooling_equals_a_loop_over_blocks() -> None:
    rng = np.random.default_rng(3)
    shape, factors = (7, 6, 5), (2, 3, 2)
    occupied = rng.random(shape) < 0.3
    semantics = np.where(occupied, rng.integers(0, 17, shape), FREE).astype(np.uint8)
    observed = occupied | (rng.random(shape) < 0.2)
    pooled = pool_occupancy(Occupancy(occupied.astype(np.uint8), semantics, observed), factors)
    for ijk in np.ndindex(3, 2, 2):
        block = tuple(slice(i * f, (i + 1) * f) for i, f in zip(ijk, factors, strict=True))
        inside = semantics[block][occupied[block]].tolist()
        assert pooled.occupancy[ijk] == bool(inside)
        assert pooled.observed[ijk] == observed[block].any()
        moving = [c for c in inside if c in (2, 3, 4, 5, 6, 7, 9, 10)]
        pool = moving or inside
        assert pooled.semantics[ijk] == (min(set(pool), key=lambda c: (-pool.count(c), c)) if pool else FREE)


def test_default_grid_pools_to_the_demos() -> None:
    grid = DEFAULT_GRID.pooled((2, 2, 2))
    assert grid.shape == (100, 100, 60) and grid.voxel_size == (0.8, 0.8, 2.5)


def test_windows_skip_gaps_and_unequal_steps() -> None:
    ticks = np.array([0, 1, 2, 4, 5, 6, 7, 8])  # tick 3 was dropped
    assert find_windows(ticks * STEP, 4, STEP) == [(3, 4, 5, 6), (4, 5, 6, 7)]
    stamps = np.arange(8) * STEP
    stamps[6:] += STEP // 50  # one step is 2 % too long
    assert find_windows(stamps, 4, STEP) == [(0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5)]
    stamps = np.arange(8) * STEP
    stamps[6:] += STEP // 200  # half a percent is allowed
    assert len(find_windows(stamps, 4, STEP)) == 5
    fast = np.arange(21) * (STEP // 5)
    assert find_windows(fast, 4, STEP, frame_skip=5)[0] == (0, 5, 10, 15)
    assert find_windows(fast, 4, STEP) == []


def test_displacements_are_right_and_forward_of_the_frame_they_start_in() -> None:
    # Facing east, moving 3 m east and 1 m north (left); then facing north, moving 2 m east (right).
    position = np.array([[0, 0, 10], [3, 1, 10], [5, 1, 12]], float)
    moves = displacements(position, np.array([0.0, np.pi / 2, 0.0]))
    np.testing.assert_allclose(moves, [[-1, 3], [2, 0]], atol=1e-12)


def test_commands_come_from_the_past_alone() -> None:
    yaw = np.array([0, 0, 0.2, 0.4, 0.4, 0.1, 0.1])
    position = np.stack([np.arange(7) * 2.0, np.zeros(7), np.zeros(7)], 1)  # 4 m/s
    stamps = np.arange(7) * STEP
    commands = past_commands(position, yaw, stamps, STEP)
    assert commands.tolist() == [STRAIGHT, STRAIGHT, LEFT, LEFT, STRAIGHT, RIGHT, STRAIGHT]
    changed = position.copy()
    changed[4:] += 100
    assert past_commands(changed, np.append(yaw[:4], [3, 1, 2]), stamps, STEP)[:4].tolist() == commands[:4].tolist()
    stamps[2:] += STEP  # after a gap nothing is known
    assert past_commands(position, yaw, stamps, STEP + 1)[2] == STRAIGHT


@pytest.fixture(scope="module")
def source() -> BoxSession:
    grid = VoxelGrid((-16, -16, -2), (2, 2, 2), (16, 16, 9))
    return BoxSession(BoxCity(5), grid, frames=12, start=(0, 0), yaw=0.7, yaw_rate=0.2)


def test_pooled_session_holds_what_pooling_gives_and_survives_its_cache(source: BoxSession, tmp_path: Path) -> None:
    session = PooledSession.from_source("drone_x", source, (2, 2, 2), threads=2)
    session.save(tmp_path / "cache.npz")
    again = PooledSession.load(tmp_path / "cache.npz")
    for n in (0, 7, 11):
        pooled = pool_occupancy(source.occupancy(n), (2, 2, 2))
        for s in (session, again):
            assert (s.semantics(n) == pooled.semantics).all()
            assert (s.observed_mask(n) == pooled.observed).all()
    assert again.grid == session.grid == source.meta.grid.pooled((2, 2, 2))
    session.save(tmp_path / "twice.npz")
    assert (tmp_path / "twice.npz").read_bytes() == (tmp_path / "cache.npz").read_bytes()


def test_window_samples_agree_with_the_session(source: BoxSession) -> None:
    session = PooledSession.from_source("drone_x", source, (1, 1, 1))
    data = SessionWindows([session], history=4, future=6)
    assert len(data) == 3
    sample = data[2]
    assert sample["frames"] == list(range(2, 12))
    assert (np.asarray(sample["semantics"])[5] == source.occupancy(7).semantics).all()
    assert (np.asarray(sample["observed"])[9] == source.occupancy(11).observed).all()
    # A constant turn to the left at 4 m/s: forward 2 m per step, and the command says so.
    np.testing.assert_allclose(np.asarray(sample["rel_poses"])[:9], np.tile([0, 2], (9, 1)), atol=1e-5)
    assert np.asarray(sample["modes"]).argmax(1).tolist() == [LEFT] * 10


def test_wrong_time_step_and_too_short_sessions_are_refused(source: BoxSession) -> None:
    session = PooledSession.from_source("drone_x", source, (1, 1, 1))
    with pytest.raises(InputError, match=r"drone_x.*data\.frame_skip"):
        SessionWindows([session], step_ns=1_000_000_000)
    with pytest.raises(InputError, match=r"val: no window of 4 \+ 20 frames"):
        SessionWindows([session], future=20, split="val")


def test_an_occupied_voxel_without_a_class_names_the_frame(source: BoxSession) -> None:
    class Broken(BoxSession):
        def occupancy(self, index: int) -> Occupancy:
            good = super().occupancy(index)
            if index == 3:
                good.semantics[good.occupancy == 1] = FREE
            return good

    broken = Broken(source.city, source.meta.grid, frames=5, start=(0, 0))
    with pytest.raises(InputError, match=r"drone_x: frame 000003: .* have no class"):
        PooledSession.from_source("drone_x", broken, (1, 1, 1))


def test_cache_key_follows_content_and_pooling(tmp_path: Path) -> None:
    (tmp_path / "hashes").mkdir()
    (tmp_path / "session.json").write_text("{}")
    (tmp_path / "hashes" / "000000.json").write_text("a")
    key = content_key(tmp_path, (2, 2, 2))
    assert content_key(tmp_path, (2, 2, 2)) == key != content_key(tmp_path, (1, 1, 1))
    (tmp_path / "hashes" / "000000.json").write_text("b")
    assert content_key(tmp_path, (2, 2, 2)) != key


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"train": ["a"], "val": [], "test": ["b"]}, "val is empty"),
        ({"train": ["a"], "test": ["b"]}, "val is empty"),
        ({"train": [], "val": ["a"], "test": ["b"]}, "train is empty"),
        ({"train": ["a"], "val": ["b"], "test": ["a"]}, "a is in train and in test"),
        ({"train": ["a"], "val": ["b"], "test": ["../c"]}, "not the name of a session folder"),
        ({"train": ["a"], "val": ["b"], "tset": ["c"]}, "unknown part 'tset'"),
        ([], "needs an object"),
    ],
)
def test_unusable_splits_are_refused(tmp_path: Path, content: object, message: str) -> None:
    path = tmp_path / "split.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        read_split(path)


def test_missing_and_broken_split_files_name_themselves(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such split file"):
        read_split(tmp_path / "none.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(InputError, match=r"broken\.json"):
        read_split(tmp_path / "broken.json")


def test_box_city_moves_as_a_rigid_world(source: BoxSession) -> None:
    """The made city itself: what one frame shows lies, moved, where the next frame has it."""
    from aerialworld_training.baselines import move_frame

    session = PooledSession.from_source("drone_x", source, (1, 1, 1))
    moved, seen = move_frame(session, 4, 6)
    truth = session.semantics(6)
    both = (moved != FREE) & (truth != FREE) & seen
    assert both.sum() / ((moved != FREE) | ((truth != FREE) & seen)).sum() > 0.6
    assert isinstance(source.pose(4).pose, Pose)
