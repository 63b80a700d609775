"""What is counted on occupied voxels alone equals counting every voxel, one by one, on random small scenes."""

from __future__ import annotations

from collections import Counter, deque

import numpy as np
import pytest

from aerialworld_core.frames import Pose
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import CAR, DYNAMIC, FREE, MANMADE, NUM_CLASSES, PEDESTRIAN
from aerialworld_training.actor_forecast import clusters_of
from aerialworld_training.baselines import fill_from_neighbours, fuse_states
from aerialworld_training.metrics import StratifiedCounts
from aerialworld_training.models.aerial import UNKNOWN
from aerialworld_training.occupied import Occupied, connected
from aerialworld_training.panoptic import Objects, PanopticQuality
from aerialworld_training.strata import BAND_EDGES, CELLS, Asked, height_bands

Volume = np.ndarray
SEEDS = range(6)


def scene(rng: np.random.Generator, shape: tuple[int, ...], share: float = 0.15) -> Volume:
    """Random classes in a share of the voxels."""
    classes = rng.integers(0, FREE, shape)
    return np.where(rng.random(shape) < share, classes, FREE).astype(np.uint8)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("full", [False, True])
def test_confusion_tables_are_those_of_a_loop_over_voxels(seed: int, full: bool) -> None:
    rng = np.random.default_rng(seed)
    grid = VoxelGrid((-2, -2, -2), (1, 1, 9.0), (5, 4, 11))
    truth, fused = scene(rng, grid.shape), scene(rng, grid.shape)
    fused = np.where(rng.random(grid.shape) < 0.6, truth, fused)
    seen, observed, dynamic = (rng.random(grid.shape) < p for p in (0.7, 0.6, 0.1))
    fused[~seen] = FREE
    up = int(rng.integers(-2, 3))
    guesses = [scene(rng, grid.shape, share) for share in (0.0, 0.2, 1.0)]
    boxes = np.flatnonzero(dynamic)
    asked = Asked.of(
        Occupied.of(truth), seen, None if full else observed, height_bands(grid, up), np.repeat(boxes, 2),
        Occupied.of(fused), ~observed if full else None,
    )  # fmt: skip
    cells = 2 * CELLS if full else CELLS
    for guess in guesses:
        counts = StratifiedCounts(2, cells)
        for _ in range(2):
            counts.add(1, asked, Occupied.of(guess), "place")
        expected = np.zeros((cells, NUM_CLASSES, NUM_CLASSES), np.int64)
        for i, j, k in np.ndindex(grid.shape):
            if not full and not observed[i, j, k]:
                continue
            height = -2 + 9.0 * (k + up + 0.5)
            cell = sum(height >= edge for edge in BAND_EDGES) + 4 * (not seen[i, j, k]) + 8 * dynamic[i, j, k]
            cell += 16 * ((truth[i, j, k] != FREE) != (fused[i, j, k] != FREE))
            cell += CELLS * (full and not observed[i, j, k])
            expected[cell, truth[i, j, k], guess[i, j, k]] += 2
        np.testing.assert_array_equal(counts.tables[1], expected)
        assert not counts.tables[0].any() and counts.tables.dtype == np.int64


@pytest.mark.parametrize("seed", SEEDS)
def test_parts_are_those_of_a_flood(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (7, 6, 5)
    marked = rng.random(shape) < 0.12 + 0.02 * seed
    cells = np.flatnonzero(marked)
    parts = np.full(shape, -1)
    count = 0
    for start in np.argwhere(marked):
        if parts[tuple(start)] >= 0:
            continue
        queue = deque([tuple(start)])
        parts[tuple(start)] = count
        while queue:
            at = queue.popleft()
            for step in np.ndindex(3, 3, 3):
                to = tuple(a + s - 1 for a, s in zip(at, step, strict=True))
                inside = all(0 <= t < n for t, n in zip(to, shape, strict=True))
                if inside and marked[to] and parts[to] < 0:
                    parts[to] = count
                    queue.append(to)
        count += 1
    np.testing.assert_array_equal(connected(cells, shape), parts.reshape(-1)[cells])
    assert len(connected(cells[:0], shape)) == 0


def test_parts_of_a_long_winding_line() -> None:
    """Hundreds of voxels of which each touches the next alone, beside a line that touches none of them."""
    marked = np.zeros((40, 41, 3), bool)
    marked[::4, 2:39, 0] = True
    for row in range(0, 36, 4):
        marked[row : row + 4, 38 if row % 8 == 0 else 2, 0] = True
    marked[:, 0, 2] = True
    parts = connected(np.flatnonzero(marked), marked.shape)
    assert set(parts) == {0, 1} and (parts == 0).sum() == 40  # the straight line holds the first voxel


def test_objects_of_two_classes_do_not_join() -> None:
    grid = VoxelGrid((0, 0, 0), (1, 1, 1), (4, 4, 1))
    semantics = np.full(grid.shape, FREE, np.uint8)
    semantics[0, 0, 0], semantics[1, 1, 0], semantics[1, 2, 0], semantics[3, 3, 0] = CAR, PEDESTRIAN, CAR, MANMADE
    bodies, centres = clusters_of(Occupied.of(semantics), grid, Pose.from_rpy(10, 0, 0), 0.0)
    assert bodies.classes.tolist() == [CAR, CAR, PEDESTRIAN] and {CAR, PEDESTRIAN} <= set(DYNAMIC)
    np.testing.assert_allclose(centres, [[10.5, 0.5, 0.5], [11.5, 2.5, 0.5], [11.5, 1.5, 0.5]])
    assert bodies.voxels.cells.tolist() == [0, 6, 5] and bodies.objects.tolist() == [0, 1, 2]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_latest_observation_wins_voxel_by_voxel(seed: int) -> None:
    """Frames that look straight on, a whole number of voxels apart."""
    rng = np.random.default_rng(seed)
    grid = VoxelGrid((-3, -2, 0), (1, 1, 1), (6, 4, 9))
    frames = [np.where(rng.random(grid.shape) < 0.5, scene(rng, grid.shape, 0.4), UNKNOWN) for _ in range(3)]
    frames = [f.astype(np.uint8) for f in frames]
    moves = rng.integers(-2, 3, (3, 2))
    poses = [Pose.from_rpy(float(x), float(y), 0) for x, y in moves]
    expected = np.full(grid.shape, UNKNOWN, np.uint8)
    for frame, (x, y) in zip(frames, moves, strict=True):
        for i, j, k in np.ndindex(grid.shape):
            a, b = i - x, j - y  # the target is at the map's origin
            if 0 <= a < 6 and 0 <= b < 4 and frame[a, b, k] != UNKNOWN:
                expected[i, j, k] = frame[a, b, k]
    np.testing.assert_array_equal(fuse_states(grid, frames, poses, Pose.from_rpy(0, 0, 0), 0.0), expected)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("levels", [5, 64, 70])
def test_fills_are_those_of_a_loop_over_voxels(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (6, 5, levels)
    seen = rng.random(shape) < 0.08
    semantics = np.where(seen, scene(rng, shape, 0.5), FREE).astype(np.uint8)
    for steps in (1, 3, 20):
        state = np.where(seen, semantics, UNKNOWN)
        for _ in range(steps):
            before = state.copy()
            for i, j, k in np.argwhere(before == UNKNOWN):
                for a, b in ((1, 0), (0, 1), (-1, 0), (0, -1)):
                    inside = 0 <= i + a < shape[0] and 0 <= j + b < shape[1]
                    if inside and before[i + a, j + b, k] != UNKNOWN:
                        state[i, j, k] = before[i + a, j + b, k]
                        break
        filled = fill_from_neighbours(Occupied.of(semantics), seen, steps)
        np.testing.assert_array_equal(filled.volume(shape), np.minimum(state, FREE))
        assert len(np.unique(filled.cells)) == len(filled.cells)


@pytest.mark.parametrize("seed", SEEDS)
def test_panoptic_sizes_are_those_of_a_loop_over_voxels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (4, 3, 3)
    true, own = (rng.integers(0, 4, (2, *shape)) for _ in range(2))
    own = np.where(rng.random(own.shape) < 0.7, true, own)
    seen = rng.random(own.shape) < 0.8
    classes = {1: CAR, 2: CAR, 3: PEDESTRIAN}

    def objects(labels: Volume) -> list[Objects]:
        return [Objects(np.flatnonzero(v), v[v > 0].astype(np.int64), classes) for v in labels]

    total = PanopticQuality(2)
    total.add(objects(true), objects(own), list(seen))
    for k in range(2):
        pairs = Counter(
            (int(a), int(b))
            for a, b, s in zip(true[: k + 1].flat, own[: k + 1].flat, seen[: k + 1].flat, strict=True)
            if s
        )
        quality: dict[int, list[float]] = {CAR: [0, 0, 0, 0], PEDESTRIAN: [0, 0, 0, 0]}
        sizes = [Counter[int](), Counter[int]()]
        for (a, b), n in pairs.items():
            sizes[0][a] += n
            sizes[1][b] += n
        hits = set()
        for (a, b), n in sorted(pairs.items()):
            union = sizes[0][a] + sizes[1][b] - n
            if a and b and classes[a] == classes[b] and 2 * n > union:
                quality[classes[a]][0] += 1
                quality[classes[a]][3] += n / union
                hits |= {(0, a), (1, b)}
        for side in (0, 1):
            for label in sizes[side]:
                if label and (side, label) not in hits:
                    quality[classes[label]][2 - side] += 1
        expected = [q[3] / (q[0] + 0.5 * q[1] + 0.5 * q[2]) for q in quality.values()]
        assert total.result([0.5, 1.0])[k]["vpq"] == pytest.approx(np.mean(expected), abs=1e-12)
