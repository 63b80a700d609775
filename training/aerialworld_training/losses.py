"""OccWorld's losses: cross-entropy and Lovász-softmax on voxels with unknown ones masked, and the planned motion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from aerialworld_training.models.occworld.recompute import recompute


def masked_cross_entropy(logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean cross-entropy of logits (N, C) against classes (N,), each row weighted by `weight` (N,) ≥ 0 (None: all 1).

    Rows of weight 0 count neither above nor below the line; all-zero weights give 0.
    """
    losses = F.cross_entropy(logits, target, reduction="none")
    if weight is None:
        return losses.mean()
    total = weight.sum()
    return (losses * weight).sum() / total.clamp(min=torch.finfo(losses.dtype).tiny)


def chunked_cross_entropy(
    classify: Callable[..., Tensor],
    rows: Sequence[Tensor],
    target: Tensor,
    weight: Tensor | None = None,
    chunk: int = 1 << 18,
) -> Tensor:
    """`masked_cross_entropy(classify(*rows), target, weight)` with the logits of one chunk in memory at a time.

    rows: what `classify` makes logits of, each (N, …): features (8 numbers per voxel where logits are 18), and states
    of the moved past. Logits are computed again in the backward pass. The sum is taken chunk by chunk, so
    it differs from the whole by rounding alone.
    """

    def part(target: Tensor, weight: Tensor | None, *rows: Tensor) -> Tensor:
        losses = F.cross_entropy(classify(*rows), target.long(), reduction="none")
        return losses.sum() if weight is None else (losses * weight).sum()

    total = rows[0].new_zeros(())
    for start in range(0, len(target), chunk):
        at = slice(start, start + chunk)
        arguments = target[at], None if weight is None else weight[at], *(row[at] for row in rows)
        total = total + recompute(True, part, *arguments)
    count = total.new_tensor(len(target)) if weight is None else weight.sum()
    return total / count.clamp(min=torch.finfo(total.dtype).tiny)


class _LovaszSoftmax(torch.autograd.Function):
    """Keeps one number per voxel and class for the gradient, where plain operations would keep five."""

    @staticmethod
    def forward(ctx: Any, probabilities: Tensor, target: Tensor) -> Tensor:
        gradient = torch.zeros_like(probabilities)
        total, present = probabilities.new_zeros(()), 0
        for c in range(probabilities.shape[1]):
            truth = (target == c).to(probabilities.dtype)
            positives = truth.sum()
            if positives == 0:
                continue
            present += 1
            signed = truth - probabilities[:, c]
            errors, order = torch.sort(signed.abs(), descending=True, stable=True)
            hit = truth[order]
            intersection = positives - hit.cumsum(0)
            union = positives + (1 - hit).cumsum(0)
            jaccard = 1 - intersection / union
            jaccard[1:] -= jaccard[:-1].clone()
            total = total + (errors * jaccard).sum()
            gradient[order, c] = jaccard
            gradient[:, c] *= -signed.sign()
        present = max(present, 1)
        ctx.save_for_backward(gradient.div_(present))
        return total / present

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * outputs[0], None


def lovasz_softmax(probabilities: Tensor, target: Tensor) -> Tensor:
    """Lovász-softmax (Berman 2018) over the classes present: probabilities (N, C), target (N,) → ().

    Leave unknown voxels out of both. In voxels of equal error the order is that of the rows.
    """
    return _LovaszSoftmax.apply(probabilities, target)


def motion_loss(displacements: Tensor, truth: Tensor, modes: Tensor, eps: float = 1e-12) -> Tensor:
    """OccWorld's planning loss: L2 distance of the accumulated displacements in the mode that was driven.

    displacements (B, F, modes, 2), truth (B, F, 2), modes (B, F, modes) one-hot; metres; mean over batch and frames.
    `eps` under the root keeps the gradient finite where prediction and truth coincide.
    """
    predicted = displacements.cumsum(1)
    wanted = truth.cumsum(1)[:, :, None]
    distance = torch.sqrt(((predicted - wanted) ** 2).sum(-1) + eps)
    return (distance * modes).sum() / (truth.shape[0] * truth.shape[1])
