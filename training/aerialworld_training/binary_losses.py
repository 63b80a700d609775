"""The losses of the published guide for plain occupancy: focal, Dice and mean matching, unknown voxels left out.

Each works against the collapse to *all free* that 1 % of occupied voxels invites: focal weighs them up, Dice asks for
overlap whatever their number, mean matching asks for the right amount of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class BinaryLossWeights:
    """The guide's values."""

    focal: float = 1.0
    focal_alpha: float = 0.99
    focal_gamma: float = 2.0
    dice: float = 1.0
    mean_matching: float = 10.0


def focal_loss(logits: Tensor, target: Tensor, known: Tensor, alpha: float = 0.99, gamma: float = 2.0) -> Tensor:
    """Mean focal loss (Lin 2017) over known voxels; 0 where none is known.

    logits (…) of being occupied, target (…) 0 or 1, known (…) bool. Occupied voxels weigh `alpha`, free ones 1 − alpha.
    """
    target = target.to(logits.dtype)
    ce = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    missed = 1 - torch.exp(-ce)  # 1 − the probability given to the truth
    weight = target * alpha + (1 - target) * (1 - alpha)
    return _mean(weight * missed**gamma * ce, known)


def dice_loss(logits: Tensor, target: Tensor, known: Tensor, smooth: float = 1.0) -> Tensor:
    """1 − (2·overlap + smooth) / (predicted + true + smooth) over known voxels, with soft counts (Milletari 2016)."""
    p, t = torch.sigmoid(logits) * known, target.to(logits.dtype) * known
    return 1 - (2 * (p * t).sum() + smooth) / (p.sum() + t.sum() + smooth)


def mean_matching_loss(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """|mean prediction − mean truth| over known voxels: the occupied share itself."""
    return (_mean(torch.sigmoid(logits), known) - _mean(target.to(logits.dtype), known)).abs()


def binary_losses(
    logits: Tensor, target: Tensor, known: Tensor, weights: BinaryLossWeights = BinaryLossWeights()
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum and its unweighted parts. logits, target, known (…) as in `focal_loss`."""
    parts = {
        "focal": focal_loss(logits, target, known, weights.focal_alpha, weights.focal_gamma),
        "dice": dice_loss(logits, target, known),
        "mean_matching": mean_matching_loss(logits, target, known),
    }
    total = (
        weights.focal * parts["focal"] + weights.dice * parts["dice"] + weights.mean_matching * parts["mean_matching"]
    )
    return total, parts


def occupied_logit(logits: Tensor, free: int = -1) -> Tensor:
    """Class logits (…, C) → the logit (…) of being anything but the class `free`."""
    free = free % logits.shape[-1]
    others = torch.cat([logits[..., :free], logits[..., free + 1 :]], -1)
    return others.logsumexp(-1) - logits[..., free]


def _mean(values: Tensor, known: Tensor) -> Tensor:
    return (values * known).sum() / known.sum().clamp(min=1)
