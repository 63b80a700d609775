"""Losses of both stages: cross-entropy with unknown voxels masked, Lovász-softmax, and the planned motion."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def masked_cross_entropy(logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean cross-entropy of logits (N, C) against classes (N,), each row weighted by `weight` (N,) ≥ 0 (None: all 1).

    Rows of weight 0 count neither above nor below the line; all-zero weights give 0.
    """
    losses = F.cross_entropy(logits, target, reduction="none")
    if weight is None:
        return losses.mean()
    total = weight.sum()
    return (losses * weight).sum() / total.clamp(min=torch.finfo(losses.dtype).tiny)


def lovasz_softmax(probabilities: Tensor, target: Tensor) -> Tensor:
    """Lovász-softmax (Berman 2018) over the classes present. probabilities (N, C), target (N,)."""
    losses = []
    for c in range(probabilities.shape[1]):
        truth = (target == c).to(probabilities.dtype)
        positives = truth.sum()
        if positives == 0:
            continue
        errors, order = torch.sort((truth - probabilities[:, c]).abs(), descending=True, stable=True)
        hit = truth[order]
        intersection = positives - hit.cumsum(0)
        union = positives + (1 - hit).cumsum(0)
        jaccard = 1 - intersection / union
        jaccard = torch.cat([jaccard[:1], jaccard[1:] - jaccard[:-1]])
        losses.append((errors * jaccard).sum())
    return torch.stack(losses).mean() if losses else probabilities.sum() * 0.0


def motion_loss(displacements: Tensor, truth: Tensor, modes: Tensor, eps: float = 1e-12) -> Tensor:
    """OccWorld's planning loss: L2 distance of the accumulated displacements in the mode that was driven.

    displacements (B, F, modes, 2), truth (B, F, 2), modes (B, F, modes) one-hot; metres; mean over batch and frames.
    `eps` under the root keeps the gradient finite where prediction and truth coincide.
    """
    predicted = displacements.cumsum(1)
    wanted = truth.cumsum(1)[:, :, None]
    distance = torch.sqrt(((predicted - wanted) ** 2).sum(-1) + eps)
    return (distance * modes).sum() / (truth.shape[0] * truth.shape[1])
