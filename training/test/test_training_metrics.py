"""Metrics, strata and baselines on scenes whose numbers are worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aerialworld_core.frames import Pose
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import CAR, FREE, MANMADE, TERRAIN
from aerialworld_training.baselines import constant_prediction, fuse_history, move_frame
from aerialworld_training.dataset import PooledSession
from aerialworld_training.losses import lovasz_softmax, masked_cross_entropy, motion_loss
from aerialworld_training.metrics import StratifiedCounts, confusion, scores
from aerialworld_training.motion_scores import MotionScores
from aerialworld_training.occupied import Occupied
from aerialworld_training.strata import CELLS, STRATA, Asked, height_bands


def test_scores_by_hand() -> None:
    truth = np.array([MANMADE] * 4 + [TERRAIN] * 4 + [FREE] * 4, np.uint8)
    guess = np.array(
        [MANMADE, MANMADE, TERRAIN, FREE, TERRAIN, TERRAIN, TERRAIN, FREE, FREE, FREE, CAR, FREE], np.uint8
    )
    s = scores(confusion(truth, guess, np.ones(12, bool)))
    assert s["iou"] == pytest.approx(6 / 9)  # 6 occupied in both, 8 true, 7 guessed
    assert s["precision"] == pytest.approx(6 / 7) and s["recall"] == pytest.approx(6 / 8)
    assert s["per_class"] == {
        "car": 0.0,
        "terrain": pytest.approx(3 / 5),
        "manmade": pytest.approx(2 / 4),
    }
    assert s["miou"] == pytest.approx((0 + 3 / 5 + 2 / 4) / 3)
    # The 15 classes that truth does not hold count 1 in OccWorld's mean, the wrong car too; free is not among the 17.
    assert s["miou_occworld"] == pytest.approx((15 + 3 / 5 + 2 / 4) / 17)
    # Without ground: truth has 4, the guess 3 (one of them in the air), 2 agree.
    assert s["above_ground"] == pytest.approx(2 / 5)
    assert s["counts"]["voxels"] == 12


def test_unknown_voxels_are_not_scored() -> None:
    truth = np.array([MANMADE, FREE, FREE], np.uint8)
    guess = np.array([MANMADE, MANMADE, FREE], np.uint8)
    assert scores(confusion(truth, guess, np.array([True, False, True])))["iou"] == 1.0
    nothing = scores(confusion(truth, guess, np.zeros(3, bool)))
    assert nothing["iou"] is None and nothing["miou"] is None and nothing["miou_occworld"] == 1.0


def test_counts_do_not_round_beyond_float32() -> None:
    table = np.zeros((18, 18), np.int64)
    table[MANMADE, MANMADE], table[MANMADE, FREE] = 2**25 + 1, 1
    assert scores(table)["counts"]["both_occupied"] == 33_554_433


def test_bands_and_strata_by_hand() -> None:
    grid = VoxelGrid((-2, -2, -2), (2, 2, 4), (2, 2, 30))  # centres at 0, 4, 8, 12 … 116 m
    bands = height_bands(grid)
    assert bands[:3].tolist() == [0, 0, 1] and bands[7] == 1 and bands[8] == 2
    assert np.bincount(bands).tolist() == [2, 6, 11, 11]
    truth = np.full(grid.shape, FREE, np.uint8)
    truth[0, 0, 0] = truth[0, 0, 29] = truth[1, 0, 5] = MANMADE
    observed = np.ones(grid.shape, bool)
    observed[1, 0, 5] = False
    seen = np.ones(grid.shape, bool)
    seen[0, 0, 29] = False
    counts = StratifiedCounts(1, CELLS)
    guess = np.full(grid.shape, FREE, np.uint8)
    guess[0, 0, 0] = MANMADE
    known = Occupied.of(truth)
    counts.add(0, Asked.of(known, seen, observed, bands, np.zeros(0, int), known), Occupied.of(guess))
    result = {s.name: scores(counts.tables[0, list(s.cells)].sum(0)) for s in STRATA}
    assert result["all"]["iou"] == 0.5 and result["all"]["counts"]["voxels"] == 119
    assert result["persistent"]["iou"] == 1.0 and result["unseen"]["iou"] == 0.0
    assert result["unseen"]["counts"]["voxels"] == 1
    assert result["height_0_6"]["iou"] == 1.0 and result["height_above_75"]["iou"] == 0.0
    assert result["height_6_30"]["iou"] is None
    assert sum(result[f"height_{b}"]["counts"]["voxels"] for b in ("0_6", "6_30", "30_75", "above_75")) == 119


def session(
    frames: list[dict[tuple[int, int, int], int]], poses: list[Pose], unseen: set[int] = frozenset()
) -> PooledSession:  # type: ignore[assignment]
    grid = VoxelGrid((-2, -2, 0), (1, 1, 1), (4, 4, 2))
    cells, classes, offsets = [], [], [0]
    for voxels in frames:
        flat = sorted((int(np.ravel_multi_index(at, grid.shape)), c) for at, c in voxels.items())
        cells += [f[0] for f in flat]
        classes += [f[1] for f in flat]
        offsets.append(len(cells))
    observed = [np.packbits(np.full(grid.size, n not in unseen)) for n in range(len(frames))]
    return PooledSession(
        name="drone_hand", agent_type="drone", grid=grid, datum=0.0, frame_period_ns=500_000_000,
        numbers=np.arange(len(frames)), stamps=np.arange(len(frames)) * 500_000_000,
        position=np.array([p.position for p in poses]), orientation=np.array([p.orientation for p in poses]),
        offsets=np.array(offsets), cells=np.array(cells, np.uint32), classes=np.array(classes, np.uint8),
        observed=np.stack(observed),
    )  # fmt: skip


def test_warp_and_fusion_by_hand() -> None:
    """The vehicle moves 1 m forward (east) per frame: a wall 1.5 m ahead comes to 0.5 m ahead, then under it."""
    poses = [Pose.from_rpy(float(n), 0, 5) for n in range(3)]
    s = session([{(3, 2, 0): MANMADE}, {(2, 2, 0): MANMADE, (3, 0, 1): CAR}, {}], poses)
    moved, seen = move_frame(s, 0, 1)
    assert np.argwhere(moved != FREE).tolist() == [[2, 2, 0]] and moved[2, 2, 0] == MANMADE
    assert seen[:3].all() and not seen[3].any()  # the newest column in front was not in the old grid
    fused, known = fuse_history(s, [0, 1], 2)
    assert np.argwhere(fused != FREE).tolist() == [[1, 2, 0], [2, 0, 1]]
    assert known[:3].all() and not known[3].any()
    blind = session([{(3, 2, 0): MANMADE}, {}, {}], poses, unseen={1})
    fused, known = fuse_history(blind, [0, 1], 2)  # the later frame saw nothing, so the earlier one counts
    assert np.argwhere(fused != FREE).tolist() == [[1, 2, 0]] and known[:2].all() and not known[2:].any()
    emptied = session([{(3, 2, 0): MANMADE}, {}, {}], poses)
    assert (fuse_history(emptied, [0, 1], 2)[0] == FREE).all()  # it saw that the voxel is free


def test_warp_turns_with_the_vehicle() -> None:
    poses = [Pose.from_rpy(0, 0, 5), Pose.from_rpy(0, 0, 5, yaw=np.pi / 2)]
    s = session([{(3, 2, 0): MANMADE}, {}], poses)  # ahead, a little left
    moved, _ = move_frame(s, 0, 1)  # after turning left it lies on the right, a little ahead
    assert np.argwhere(moved != FREE).tolist() == [[2, 0, 0]]


def test_constant_prediction_is_the_majority_of_what_was_seen() -> None:
    poses = [Pose.from_rpy(0, 0, 5)] * 4
    a, b = (0, 0, 0), (1, 1, 1)
    s = session([{a: MANMADE, b: CAR}, {a: TERRAIN}, {a: TERRAIN, b: CAR}, {}], poses, unseen={3})
    constant = constant_prediction([s])
    assert constant[a] == TERRAIN and constant[b] == CAR and (constant != FREE).sum() == 2
    s = session([{a: MANMADE}, {}, {}, {a: MANMADE}], poses)
    assert (constant_prediction([s]) == FREE).all()  # two of four is no majority


def test_masked_voxels_do_not_move_the_loss() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(6, 18), torch.randint(0, 18, (6,))
    weight = torch.tensor([1.0, 1, 1, 0, 0, 0])
    expected = torch.nn.functional.cross_entropy(logits[:3], target[:3])
    torch.testing.assert_close(masked_cross_entropy(logits, target, weight), expected)
    assert masked_cross_entropy(logits, target, torch.zeros(6)) == 0


def test_lovasz_of_two_classes_by_hand() -> None:
    # One voxel of each class; p(true) = 0.6 and 0.9: per class the errors are (0.4, 0.1), each Jaccard step by step.
    p = torch.tensor([[0.6, 0.4], [0.1, 0.9]])
    # class 0: errors 0.4 (a hit) then 0.1: jaccard 1, 1 → 0.4·1 + 0.1·0; class 1: errors 0.4 (a miss), 0.1: 0.5, 1
    expected = (0.4 + (0.4 * 0.5 + 0.1 * 0.5)) / 2
    assert lovasz_softmax(p, torch.tensor([0, 1])).item() == pytest.approx(expected)


def test_motion_loss_accumulates_and_has_a_finite_gradient_at_the_truth() -> None:
    truth = torch.tensor([[[0.0, 1.0], [0.0, 1.0]]])
    modes = torch.tensor([[[0.0, 0, 1], [0, 0, 1]]])
    guess = torch.zeros(1, 2, 3, 2, requires_grad=True)
    assert motion_loss(guess, truth, modes).item() == pytest.approx((1 + 2) / 2, abs=1e-5)
    exact = truth[:, :, None].repeat(1, 1, 3, 1).requires_grad_()
    loss = motion_loss(exact, truth, modes)
    loss.backward()
    assert loss.item() < 1e-5 and torch.isfinite(exact.grad).all()  # type: ignore[arg-type]


def test_motion_errors_by_hand() -> None:
    """Off by 3, 4 → 5 m at the second step of one window and by 1 m at both of another: means 0.5 and 3, ADE 1.75."""
    motion, truth = MotionScores(2), np.array([[1.0, 0.0], [2.0, 0.0]])
    motion.add({"a": truth + np.array([[0, 0], [3, 4]]), "b": truth}, truth)
    motion.add({"a": truth + np.array([[1, 0], [0, 1]]), "b": truth}, truth)
    result = motion.result([0.5, 1.0])
    assert [e["metres"] for e in result["a"]["l2"]] == [0.5, 3.0]
    assert (result["a"]["ade"], result["a"]["fde"], result["b"]["ade"]) == (1.75, 3.0, 0.0)
