"""Augmentations: every voxel and every pose change together, so that what is in map stays in map."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose, grid_from_map
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import FREE
from aerialworld_training.dataset.transforms import Dropout, Flip, Noise, Rotate, Rotate90, get_train_transforms

GRID = VoxelGrid.from_range((-8, -8, -2, 8, 8, 4), (0.8, 0.8, 1.5))
DATUM = -3.0


def sample(seed: int) -> dict[str, Any]:
    """Random voxels and tilted poses: no symmetry hides a mistake."""
    rng = np.random.default_rng(seed)
    made: dict[str, Any] = {}
    for part, frames in (("history", 2), ("future", 3)):
        occupancy = (rng.random((frames, *GRID.shape)) < 0.1).astype(np.uint8)
        semantics = np.where(occupancy, rng.integers(0, 17, occupancy.shape), FREE).astype(np.uint8)
        observed = (occupancy | (rng.random(occupancy.shape) < 0.5)).astype(np.uint8)
        poses = [
            [*pose.position, *pose.orientation, *rng.normal(size=6)]
            for pose in (
                Pose.from_rpy(*rng.normal(0, 20, 3), *rng.uniform(-0.3, 0.3, 2), rng.uniform(-3, 3))
                for _ in range(frames)
            )
        ]
        made |= {
            f"{part}_occupancy": torch.from_numpy(occupancy), f"{part}_semantics": torch.from_numpy(semantics),
            f"{part}_observed": torch.from_numpy(observed), f"{part}_poses": torch.tensor(poses, dtype=torch.float64),
        }  # fmt: skip
    return made


def in_map(made: dict[str, Any], part: str, kind: str, frame: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres in map of the voxels that say something, and what they say; sorted."""
    values = made[f"{part}_{kind}"][frame].numpy()
    ijk = np.argwhere(values != (FREE if kind == "semantics" else 0))
    pose = made[f"{part}_poses"][frame].numpy()
    back = np.linalg.inv(grid_from_map(Pose(pose[:3], pose[3:7]), DATUM))
    points = GRID.centers(ijk) @ back[:3, :3].T + back[:3, 3]
    order = np.lexsort(np.round(points, 4).T)
    return points[order], values[tuple(ijk.T)][order]


@given(seed=st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_quarter_turns_leave_every_voxel_where_it_is_in_map(seed: int) -> None:
    before = sample(seed)
    after = Rotate90(torch.Generator().manual_seed(seed))(before)
    for part, frames in (("history", 2), ("future", 3)):
        for frame in range(frames):
            for kind in ("occupancy", "semantics", "observed"):
                (p, a), (q, b) = in_map(before, part, kind, frame), in_map(after, part, kind, frame)
                np.testing.assert_allclose(q, p, atol=1e-6)
                np.testing.assert_array_equal(a, b)
            # The vehicle is where it was and moves as it did; its tilt in its own frame is the same.
            a, b = before[f"{part}_poses"][frame].numpy(), after[f"{part}_poses"][frame].numpy()
            np.testing.assert_array_equal(np.delete(a, np.s_[3:7]), np.delete(b, np.s_[3:7]))
            old, new = Pose(a[:3], a[3:7]), Pose(b[:3], b[3:7])
            np.testing.assert_allclose(old.rotation[2], new.rotation[2], atol=1e-9)


def test_all_four_quarters_are_drawn() -> None:
    made, turn = sample(1), Rotate90(torch.Generator().manual_seed(0))
    yaws = set()
    for _ in range(40):
        p, q = made["history_poses"][0].numpy(), turn(made)["history_poses"][0].numpy()
        yaws.add(round(float((Pose(q[:3], q[3:7]).yaw - Pose(p[:3], p[3:7]).yaw) % (2 * np.pi) / (np.pi / 2))) % 4)
    assert yaws == {0, 1, 2, 3}


@given(seed=st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_a_flip_mirrors_the_world(seed: int) -> None:
    before, mirror = sample(seed), np.array([1.0, -1, 1])
    after = Flip(1.0)(before)
    for part, kind in (("history", "semantics"), ("future", "observed")):
        (p, a), (q, b) = in_map(before, part, kind, 1), in_map(after, part, kind, 1)
        p = p * mirror
        order = np.lexsort(np.round(p, 4).T)
        np.testing.assert_allclose(q, p[order], atol=1e-6)
        np.testing.assert_array_equal(a[order], b)
    a, b = before["future_poses"][2].numpy(), after["future_poses"][2].numpy()
    m = np.diag(mirror)
    old, new = Pose(a[:3], a[3:7]), Pose(b[:3], b[3:7])
    np.testing.assert_allclose(new.rotation, m @ old.rotation @ m, atol=1e-9)
    np.testing.assert_allclose(b[7:10], m @ a[7:10])
    # An angular velocity is an axial vector: w̃ = M [w]× M.
    cross = lambda w: np.array([[0, -w[2], w[1]], [w[2], 0, -w[0]], [-w[1], w[0], 0]])  # noqa: E731
    np.testing.assert_allclose(cross(b[10:]), m @ cross(a[10:]) @ m, atol=1e-12)
    assert Flip(0.0)(before) is before


def test_a_small_rotation_moves_voxels_by_less_than_half_a_diagonal() -> None:
    before = sample(3)
    after = Rotate(20.0, torch.Generator().manual_seed(5))(before)
    (p, a), (q, b) = in_map(before, "history", "semantics", 0), in_map(after, "history", "semantics", 0)
    turned = Pose(*np.split(after["history_poses"][0].numpy()[:7], [3])).yaw
    assert abs(turned - Pose(*np.split(before["history_poses"][0].numpy()[:7], [3])).yaw) > 0.05
    reach = 0.8 * np.sqrt(2) / 2 + 1e-6
    for point, label in zip(q, b, strict=True):
        near = np.linalg.norm(p - point, axis=1) <= reach
        assert (a[near] == label).any()
    assert len(q) > 0.8 * len(p)
    # Far corners came in from outside the grid: nothing is known there.
    assert not after["history_observed"][0, 0, 0].any() or not after["history_observed"][0, -1, 0].any()


def test_noise_and_dropout_touch_the_history_alone() -> None:
    before = sample(4)
    noisy = Noise(0.2, torch.Generator().manual_seed(1))(before)
    changed = noisy["history_occupancy"] != before["history_occupancy"]
    seen = before["history_observed"] != 0
    assert not (changed & ~seen).any() and abs(float(changed[seen].float().mean()) - 0.2) < 0.02
    assert ((noisy["history_semantics"] != FREE) == (noisy["history_occupancy"] != 0)).all()
    gone = Dropout(0.3, torch.Generator().manual_seed(1))(before)
    lost = seen & (gone["history_observed"] == 0)
    assert abs(float(lost.sum() / seen.sum()) - 0.3) < 0.02
    assert not gone["history_occupancy"][lost].any() and (gone["history_semantics"][lost] == FREE).all()
    for made in (noisy, gone):
        assert all(made[k] is before[k] for k in before if k.startswith("future") or k == "history_poses")


def test_samples_that_cannot_be_turned_are_refused() -> None:
    made = sample(5)
    for extra in ({"history_images": []}, {"history_lidar": []}, {"history_occupied": None}):
        with pytest.raises(InputError, match="cannot be turned"):
            Flip(1.0)(made | extra)
    oblong = VoxelGrid.from_range((-8, -4, -2, 8, 4, 4), (0.8, 0.8, 1.5))
    assert dataclasses.asdict(oblong)["shape"][0] != oblong.shape[1]
    long = {k: v if k.endswith("poses") else v[:, :, :10] for k, v in made.items()}
    with pytest.raises(InputError, match="columns cannot be turned"):
        Rotate(5.0)(long)
    with pytest.raises(InputError, match="set voxels="):
        Noise()({k: v for k, v in made.items() if "semantics" not in k})


def test_one_generator_gives_one_result() -> None:
    a, b = (get_train_transforms(torch.Generator().manual_seed(9))(sample(6)) for _ in range(2))
    assert all(torch.equal(a[k], b[k]) for k in a)
