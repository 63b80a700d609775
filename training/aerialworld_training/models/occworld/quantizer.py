"""The vector quantiser: latents to the nearest of n_e codes, with a straight-through gradient (van den Oord 2017)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def squared_distances(flat: Tensor, codes: Tensor) -> Tensor:
    """Squared distances (M, n_e) of vectors (M, e_dim) to every code (n_e, e_dim)."""
    return (flat**2).sum(1, keepdim=True) + (codes**2).sum(1) - 2 * flat @ codes.T


def nearest(zp: Tensor, codes: Tensor) -> Tensor:
    """Vectors (N, h, w, e_dim) → indices (N, h, w) of their nearest codes, the first of equals."""
    return squared_distances(zp.reshape(-1, zp.shape[-1]), codes).argmin(1).view(zp.shape[:3])


def chosen(zp: Tensor, codes: Tensor, beta: float, indices: Tensor) -> tuple[Tensor, Tensor]:
    """The codes (N, h, w, e_dim) that stand for zp of that shape, and the loss () that draws them together."""
    e = F.embedding(indices.reshape(-1), codes).view(zp.shape)
    # The legacy form: beta weighs the codebook term.
    return e, ((e.detach() - zp) ** 2).mean() + beta * ((e - zp.detach()) ** 2).mean()


def soft_codes(logits: Tensor, codes: Tensor) -> Tensor:
    """Code logits (N, n_e, h, w) → vectors (N, e_dim, h, w): in value the likeliest code's, in gradient the expected
    code's, so that a loss on decoded voxels reaches the logits."""
    expected = torch.einsum("nkhw,kc->nchw", logits.softmax(1), codes)
    return expected + (F.embedding(logits.argmax(1), codes).permute(0, 3, 1, 2) - expected).detach()


class VectorQuantizer(nn.Module):
    """Nearest-code quantiser between two 1×1 convolutions; no moving averages, no restarts (training may do those)."""

    def __init__(self, n_e: int, e_dim: int, z_channels: int, beta: float) -> None:
        super().__init__()
        self.n_e, self.e_dim, self.beta = n_e, e_dim, beta
        self.embedding = nn.Embedding(n_e, e_dim)
        nn.init.uniform_(self.embedding.weight, -1.0 / n_e, 1.0 / n_e)
        self.quant_conv = nn.Conv2d(z_channels, e_dim, 1)
        self.post_quant_conv = nn.Conv2d(e_dim, z_channels, 1)

    @property
    def tables(self) -> tuple[nn.Parameter, ...]:
        """The codes (n_e, e_dim) of each depth: there is one."""
        return (cast(nn.Parameter, self.embedding.weight),)

    def quantize(self, z: Tensor, indices: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """z (N, e_dim, h, w) after `quant_conv` → straight-through zq of that shape, loss (), indices (N, h, w): the
        given ones, or the nearest (the first of equals)."""
        zp = z.permute(0, 2, 3, 1)
        indices = nearest(zp, self.embedding.weight) if indices is None else indices.reshape(zp.shape[:3])
        zq, loss = chosen(zp, self.embedding.weight, self.beta, indices)
        zq = zp + (zq - zp).detach()
        return zq.permute(0, 3, 1, 2), loss, indices

    def lookup(self, indices: Tensor) -> Tensor:
        """Indices (N, h, w) → code vectors (N, e_dim, h, w), exact rows of the table."""
        return self.embedding(indices).permute(0, 3, 1, 2)

    def soft_lookup(self, logits: Tensor) -> Tensor:
        """`soft_codes` of the table."""
        return soft_codes(logits, self.embedding.weight)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encoder output (N, z_channels, h, w) → as `quantize`."""
        return self.quantize(self.quant_conv(z))

    def indices(self, z: Tensor) -> Tensor:
        """z (N, e_dim, h, w) after `quant_conv` → indices (N, h, w)."""
        return nearest(z.permute(0, 2, 3, 1), self.embedding.weight)

    @torch.no_grad()
    def encode_indices(self, z: Tensor) -> Tensor:
        """Encoder output (N, z_channels, h, w) → indices (N, h, w)."""
        return self.indices(self.quant_conv(z))
