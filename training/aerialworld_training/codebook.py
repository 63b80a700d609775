"""A codebook that is used: set to k-means centres of what the encoder says, and dead codes moved to what it lacks."""

from __future__ import annotations

import torch
from torch import Tensor

from aerialworld_core.labels import FREE
from aerialworld_training.models.occworld.quantizer import VectorQuantizer
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


@torch.no_grad()
def start_codebook(vq: VectorQuantizer, z: Tensor, generator: torch.Generator, rounds: int = 8) -> None:
    """Set the codes to k-means centres of encoder outputs z (N, e_dim, h, w), after `quant_conv`."""
    points = z.permute(0, 2, 3, 1).reshape(-1, z.shape[1])
    codes = vq.embedding.weight
    codes.copy_(farthest_points(points, len(codes), generator))
    for _ in range(rounds):
        nearest = vq.distances(points).argmin(1)
        sums = torch.zeros_like(codes).index_add_(0, nearest, points)
        counts = torch.bincount(nearest, minlength=len(codes))
        filled = counts > 0
        codes[filled] = sums[filled] / counts[filled, None]


@torch.no_grad()
def restart_dead_codes(vq: VectorQuantizer, z: Tensor, usage: Tensor, generator: torch.Generator) -> int:
    """Move codes with `usage` (n_e,) 0 to those of the outputs z (N, e_dim, h, w) that lie far from every code, which
    say what the codebook lacks; returns how many moved."""
    points = z.permute(0, 2, 3, 1).reshape(-1, vq.e_dim)
    dead = torch.nonzero(usage == 0)[:, 0].to(points.device)
    if not len(dead):
        return 0
    far = vq.distances(points).amin(1).argsort(descending=True, stable=True)[: 4 * len(dead)]
    picked = far[torch.randperm(len(far), generator=generator)[: len(dead)].to(points.device)]
    vq.embedding.weight[dead[: len(picked)]] = points[picked]
    return len(picked)


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
