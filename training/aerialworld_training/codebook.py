"""Codebooks that are used: set to k-means centres of what the encoder says, and dead codes moved to what they lack.

A residual codebook sees what those before it leave.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from aerialworld_core.labels import FREE
from aerialworld_training.models.occworld.quantizer import squared_distances
from aerialworld_training.models.occworld.vae import VAERes2D


def farthest_points(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` rows of points (M, d) (with repeats if M < count), half the draws far apart: D²-sampling as in k-means++,
    done in a few rounds. The generator is of the CPU."""
    chosen = points[torch.randperm(len(points), generator=generator)[: max(count // 8, 1)].to(points.device)]
    while len(chosen) < count:
        distance = (torch.cdist(points, chosen).amin(1).square() + 1e-12).cpu()
        more = torch.multinomial(distance, min(len(chosen), count - len(chosen), len(points)), generator=generator)
        chosen = torch.cat([chosen, points[more.to(points.device)]])
    return chosen


class Tables(Protocol):
    """A quantiser: `tables` has the codes (n_e, e_dim) of each depth."""

    @property
    def tables(self) -> Sequence[Tensor]: ...


@torch.no_grad()
def start_codebook(vq: Tables, z: Tensor, generator: torch.Generator, rounds: int = 8, *, first: int = 0) -> None:
    """Set the codes to k-means centres of encoder outputs z (N, e_dim, h, w), after `quant_conv`: depth after depth,
    of what is left there, from depth `first` on. Frozen tables stay."""
    points = z.permute(0, 2, 3, 1).reshape(-1, z.shape[1])
    for depth, codes in enumerate(vq.tables):
        if depth >= first and codes.requires_grad:
            k_means(codes, points, generator, rounds)
        if depth + 1 < len(vq.tables):
            points = left(points, codes)


def k_means(codes: Tensor, points: Tensor, generator: torch.Generator, rounds: int) -> None:
    """Set `codes` to centres of points (M, e_dim); a centre that lost all its points stays where it was drawn."""
    codes.copy_(farthest_points(points, len(codes), generator))
    for _ in range(rounds):
        nearest = squared_distances(points, codes).argmin(1)
        sums = torch.zeros_like(codes).index_add_(0, nearest, points)
        counts = torch.bincount(nearest, minlength=len(codes))
        filled = counts > 0
        codes[filled] = sums[filled] / counts[filled, None]


def left(points: Tensor, codes: Tensor) -> Tensor:
    """Points (M, e_dim) less their nearest codes."""
    return points - codes[squared_distances(points, codes).argmin(1)]


@torch.no_grad()
def restart_dead_codes(vq: Tables, z: Tensor, usage: Tensor, generator: torch.Generator) -> int:
    """Move codes with `usage` (n_e,) or (depth, n_e) 0 to those of the outputs z (N, e_dim, h, w), or of what is left
    of them, that lie far from every code of the depth, which say what its codebook lacks; returns how many moved.
    Frozen tables stay."""
    points, moved = z.permute(0, 2, 3, 1).reshape(-1, z.shape[1]), 0
    for depth, (codes, used) in enumerate(zip(vq.tables, usage.reshape(len(vq.tables), -1), strict=True)):
        dead = torch.nonzero(used == 0)[:, 0].to(points.device)
        if len(dead) and codes.requires_grad:
            distance = squared_distances(points, codes).amin(1)
            far = distance.argsort(descending=True, stable=True)[: 4 * len(dead)]
            picked = far[torch.randperm(len(far), generator=generator)[: len(dead)].to(points.device)]
            codes[dead[: len(picked)]] = points[picked]
            moved += len(picked)
        if depth + 1 < len(vq.tables):
            points = left(points, codes)
    return moved


@torch.no_grad()
def start_from_free(vae: VAERes2D, logit: float) -> None:
    """Start where nearly every voxel is: free, by a margin of `logit` over each other class.

    The embedding of free becomes 0, so that empty space enters the encoder as nothing and norms see the surfaces; the
    other embeddings get a common part along the first axis, against which the decoder's last bias points. Random
    embeddings would spend a fifth of a short run on finding this.
    """
    table, common = vae.class_embeds.weight, 1.5
    table[:, 0] = common
    table[FREE] = 0.0
    bias = vae.decoder.conv_out.bias
    assert bias is not None
    bias.zero_()
    bias[:: table.shape[1]] = -logit / common
