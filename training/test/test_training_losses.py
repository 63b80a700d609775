"""Losses against numbers worked out by hand, against plain formulas, and against their memory-saving forms."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import FREE
from aerialworld_training.binary_losses import (
    binary_losses,
    dice_loss,
    focal_loss,
    mean_matching_loss,
    occupied_logit,
)
from aerialworld_training.box_city import BoxCity, BoxSession
from aerialworld_training.losses import chunked_cross_entropy, lovasz_softmax, masked_cross_entropy, motion_loss
from aerialworld_training.voxels import near_occupied, sample_voxels

sys.path.insert(0, str(Path(__file__).parent))
from training_tiny import random_window, tiny


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def test_binary_losses_by_hand() -> None:
    """Two known voxels, occupied at p = 0.8 and free at p = 0.4, and one unknown that says nonsense."""
    logits = torch.tensor([logit(0.8), logit(0.4), 50.0])
    target, known = torch.tensor([1, 0, 0]), torch.tensor([True, True, False])
    focal = (0.99 * 0.2**2 * -math.log(0.8) + 0.01 * 0.4**2 * -math.log(0.6)) / 2
    dice = 1 - (2 * 0.8 + 1) / (1.2 + 1 + 1)
    mean = abs(0.6 - 0.5)
    assert focal_loss(logits, target, known).item() == pytest.approx(focal, rel=1e-5)
    assert dice_loss(logits, target, known).item() == pytest.approx(dice, rel=1e-5)
    assert mean_matching_loss(logits, target, known).item() == pytest.approx(mean, rel=1e-5)
    total, parts = binary_losses(logits, target, known)
    assert total.item() == pytest.approx(focal + dice + 10 * mean, rel=1e-5)
    assert set(parts) == {"focal", "dice", "mean_matching"}


def test_unknown_voxels_have_no_gradient() -> None:
    logits = torch.randn(50, requires_grad=True)
    target, known = torch.randint(2, (50,)), torch.arange(50) < 20
    binary_losses(logits, target, known)[0].backward()
    assert logits.grad is not None and (logits.grad[20:] == 0).all() and (logits.grad[:20] != 0).all()
    nothing, _ = binary_losses(logits, target, torch.zeros(50, dtype=torch.bool))
    assert torch.isfinite(nothing)


def test_being_occupied_is_being_of_any_class_but_free() -> None:
    logits = torch.randn(7, 18)
    p = logits.softmax(-1)[:, :17].sum(-1)
    assert torch.allclose(torch.sigmoid(occupied_logit(logits)), p, atol=1e-6)
    swapped = torch.cat([logits[:, 17:], logits[:, :17]], 1)
    assert torch.allclose(occupied_logit(swapped, free=0), occupied_logit(logits), atol=1e-6)


def plain_lovasz(probabilities: Tensor, target: Tensor) -> Tensor:
    """Berman's formula with plain operations."""
    losses = []
    for c in target.unique().tolist():
        truth = (target == c).to(probabilities.dtype)
        errors, order = torch.sort((truth - probabilities[:, c]).abs(), descending=True)
        hit = truth[order]
        jaccard = 1 - (truth.sum() - hit.cumsum(0)) / (truth.sum() + (1 - hit).cumsum(0))
        losses.append((errors * torch.cat([jaccard[:1], jaccard[1:] - jaccard[:-1]])).sum())
    return torch.stack(losses).mean()


def test_lovasz_and_its_gradient_are_those_of_the_plain_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(300, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    target = torch.randint(4, (300,), generator=generator)  # class 4 is absent
    results = []
    for function in (lovasz_softmax, plain_lovasz):
        loss = function(logits.softmax(-1), target)
        results.append((loss, torch.autograd.grad(2.5 * loss, logits)[0]))
    assert torch.allclose(results[0][0], results[1][0]) and torch.allclose(results[0][1], results[1][1])
    # Two voxels, one class: errors 0.3 and 0.1 in that order; the Jaccard steps are ½ and ½.
    by_hand = lovasz_softmax(torch.tensor([[0.7], [0.9]]), torch.tensor([0, 0]))
    assert by_hand.item() == pytest.approx(0.2)


def test_chunks_give_the_whole_loss_and_gradient() -> None:
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(1000, 8, generator=generator, requires_grad=True)
    table = torch.randn(18, 8, generator=generator, requires_grad=True)
    target = torch.randint(18, (1000,), generator=generator)
    for weight in (None, torch.rand(1000, generator=generator) * (torch.arange(1000) % 3 > 0)):
        whole = masked_cross_entropy(features @ table.T, target, weight)
        parts = chunked_cross_entropy(lambda f: f @ table.T, (features,), target.to(torch.uint8), weight, chunk=77)
        assert torch.allclose(whole, parts, rtol=1e-6)
        for a, b in zip(*(torch.autograd.grad(x, [features, table]) for x in (whole, parts)), strict=True):
            assert torch.allclose(a, b, atol=1e-7)
    with torch.no_grad():
        assert not chunked_cross_entropy(lambda f: f @ table.T, (features,), target).requires_grad


def test_motion_loss_by_hand_and_at_a_perfect_prediction() -> None:
    truth = torch.tensor([[[0.0, 3.0], [4.0, 0.0]]])
    modes = torch.tensor([[[0.0, 1.0], [0.0, 1.0]]])
    predicted = torch.zeros(1, 2, 2, 2, requires_grad=True)
    assert motion_loss(predicted, truth, modes).item() == pytest.approx((3 + 5) / 2)
    perfect = torch.stack([torch.zeros(1, 2, 2), truth], 2).requires_grad_()
    loss = motion_loss(perfect, truth, modes)
    loss.backward()
    assert loss.item() < 1e-5 and perfect.grad is not None and torch.isfinite(perfect.grad).all()


def test_kept_keys_and_values_change_no_number() -> None:
    model = tiny()
    zq, rel, modes = random_window(model, 4)
    future = modes[:, :1].expand(-1, 6, -1)
    cached, plain = (model.rollout(zq, rel, modes, future, cached=c) for c in (True, False))
    assert torch.equal(cached.indices, plain.indices) and cached.indices.unique().numel() > 3
    for name in ("logits", "displacements", "fed_back"):
        a, b = getattr(cached, name), getattr(plain, name)
        assert (a - b).abs().max() <= 1e-5 * max(1.0, float(b.abs().max()))
    # Feeding the codes it took changes nothing; feeding others does, and only from the next frame on.
    same = model.rollout(zq, rel, modes, future, codes=cached.indices)
    other = model.rollout(zq, rel, modes, future, codes=(cached.indices + 1) % model.config.n_e)
    assert torch.equal(same.logits, cached.logits)
    assert torch.equal(other.logits[:, 0], cached.logits[:, 0]) and not torch.allclose(
        other.logits[:, 1], cached.logits[:, 1]
    )


def test_recomputed_blocks_give_the_same_bits() -> None:
    model = tiny()
    zq, rel, modes = random_window(model, 4)
    volume = torch.randint(18, (2, *model.config.grid_shape), generator=torch.Generator().manual_seed(0))

    def gradients() -> list[Tensor]:
        logits, moves = model(zq, rel, modes)
        features, embed, _ = model.vae(volume)
        loss = logits.square().mean() + moves.square().mean() + features.square().mean() + embed
        return [g for g in torch.autograd.grad(loss, list(model.parameters()), allow_unused=True) if g is not None]

    kept = gradients()
    model.save_memory()
    again = gradients()
    assert len(kept) == len(again) > 200 and all(torch.equal(a, b) for a, b in zip(kept, again, strict=True))


def test_sampled_loss_is_an_unbiased_estimate_and_leaves_out_the_unknown() -> None:
    grid = VoxelGrid((-16, -16, -2), (2, 2, 3), (16, 16, 9))
    frame = BoxSession(BoxCity(1), grid, frames=1, start=(0, 0)).occupancy(0)
    semantics, observed = torch.from_numpy(frame.semantics), torch.from_numpy(frame.observed)
    generator = torch.Generator().manual_seed(0)
    rows, weights = sample_voxels(semantics, observed, 100, 1.0, generator)
    surfaces = near_occupied(semantics != FREE) & observed
    assert observed.flatten()[rows].all() and len(set(rows.tolist())) == len(rows)
    assert set(torch.nonzero(surfaces.flatten())[:, 0].tolist()) <= set(rows.tolist())
    assert len(rows) == int(surfaces.sum()) + 100 < int(observed.sum())
    assert weights.sum().item() == pytest.approx(observed.sum().item())  # the drawn stand for all observed
    heavy = sample_voxels(semantics, observed, 100, 3.0, torch.Generator().manual_seed(0))
    assert torch.equal(heavy[0], rows)
    assert torch.equal(heavy[1], torch.where(semantics.flatten()[rows] != FREE, 3.0 * weights, weights))
    # Over many draws the sampled loss is the whole one in the mean; with every voxel drawn it is the whole one.
    logits = torch.randn(semantics.numel(), 18, generator=torch.Generator().manual_seed(0))
    target = semantics.flatten().long()
    whole = masked_cross_entropy(logits, target, observed.flatten().float()).item()

    def sampled(count: int) -> float:
        chosen, weight = sample_voxels(semantics, observed, count, 1.0, generator)
        return masked_cross_entropy(logits[chosen], target[chosen], weight).item()

    assert sampled(0) == pytest.approx(whole, rel=1e-5)
    draws = torch.tensor([sampled(100) for _ in range(300)])
    assert draws.mean().item() == pytest.approx(whole, abs=4 * draws.std().item() / math.sqrt(300))
