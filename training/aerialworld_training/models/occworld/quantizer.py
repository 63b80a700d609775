"""The vector quantiser: latents to the nearest of n_e codes, with a straight-through gradient (van den Oord 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class VectorQuantizer(nn.Module):
    """Nearest-code quantiser between two 1×1 convolutions; no moving averages, no restarts (training may do those)."""

    def __init__(self, n_e: int, e_dim: int, z_channels: int, beta: float) -> None:
        super().__init__()
        self.n_e, self.e_dim, self.beta = n_e, e_dim, beta
        self.embedding = nn.Embedding(n_e, e_dim)
        nn.init.uniform_(self.embedding.weight, -1.0 / n_e, 1.0 / n_e)
        self.quant_conv = nn.Conv2d(z_channels, e_dim, 1)
        self.post_quant_conv = nn.Conv2d(e_dim, z_channels, 1)

    def distances(self, flat: Tensor) -> Tensor:
        """Squared distances (M, n_e) of vectors (M, e_dim) to every code."""
        codes = self.embedding.weight
        return (flat**2).sum(1, keepdim=True) + (codes**2).sum(1) - 2 * flat @ codes.T

    def quantize(self, z: Tensor, indices: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """z (N, e_dim, h, w) after `quant_conv` → straight-through zq of that shape, loss (), indices (N, h, w): the
        given ones, or the nearest (the first of equals)."""
        zp = z.permute(0, 2, 3, 1)
        if indices is None:
            indices = self.distances(zp.reshape(-1, self.e_dim)).argmin(1)
        zq = self.embedding(indices.reshape(-1)).view(zp.shape)
        # The legacy form: beta weighs the codebook term.
        loss = ((zq.detach() - zp) ** 2).mean() + self.beta * ((zq - zp.detach()) ** 2).mean()
        zq = zp + (zq - zp).detach()
        return zq.permute(0, 3, 1, 2), loss, indices.view(zp.shape[:3])

    def lookup(self, indices: Tensor) -> Tensor:
        """Indices (N, h, w) → code vectors (N, e_dim, h, w), exact rows of the table."""
        return self.embedding(indices).permute(0, 3, 1, 2)

    def soft_lookup(self, logits: Tensor) -> Tensor:
        """Code logits (N, n_e, h, w) → vectors (N, e_dim, h, w): in value the likeliest code's, in gradient the
        expected code's, so that a loss on decoded voxels reaches the logits."""
        expected = torch.einsum("nkhw,kc->nchw", logits.softmax(1), self.embedding.weight)
        return expected + (self.lookup(logits.argmax(1)) - expected).detach()

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encoder output (N, z_channels, h, w) → as `quantize`."""
        return self.quantize(self.quant_conv(z))

    @torch.no_grad()
    def encode_indices(self, z: Tensor) -> Tensor:
        """Encoder output (N, z_channels, h, w) → indices (N, h, w)."""
        zp = self.quant_conv(z).permute(0, 2, 3, 1)
        return self.distances(zp.reshape(-1, self.e_dim)).argmin(1).view(zp.shape[:3])
