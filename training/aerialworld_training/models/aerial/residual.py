"""Residual codes (RVQ): each further codebook says what the earlier ones left of a latent, and their sum is what the
decoder and the transformer read (van den Oord's quantiser in depth, as SoundStream, Zeghidour 2021, and RQ-VAE,
Lee 2022, have it).

Indices have a depth axis, (N, depth, h, w), first codebook first; code logits are (N, depth, n_e, h, w).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aerialworld_training.models.occworld import OccWorldConfig
from aerialworld_training.models.occworld.quantizer import VectorQuantizer, chosen, nearest, soft_codes
from aerialworld_training.models.occworld.recompute import recompute


class ResidualQuantizer:
    """OccWorld's quantiser with further tables behind its own; holds no parameters itself.

    It is called as `VectorQuantizer` is. With tables of zeros it gives that one's vectors and loss.
    """

    def __init__(self, first: VectorQuantizer, further: tuple[nn.Parameter, ...]) -> None:
        self.n_e, self.e_dim, self.beta, self.quant_conv = first.n_e, first.e_dim, first.beta, first.quant_conv
        self.tables = (*first.tables, *further)

    def quantize(self, z: Tensor, indices: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """z (N, e_dim, h, w) after `quant_conv` → straight-through zq of that shape, the mean over depths of the loss
        (), indices (N, depth, h, w): the given ones, or the nearest to what the depths before left."""
        zp = z.permute(0, 2, 3, 1)
        rest, total, loss, taken = zp, torch.zeros_like(zp), z.new_zeros(()), []
        for depth, codes in enumerate(self.tables):
            at = nearest(rest, codes) if indices is None else indices[:, depth]
            e, part = chosen(rest, codes, self.beta, at)
            # What is left draws the encoder towards the sum so far, never the earlier tables.
            total, loss, rest = total + e, loss + part, rest - e.detach()
            taken.append(at)
        zq = zp + (total - zp).detach()
        return zq.permute(0, 3, 1, 2), loss / len(self.tables), torch.stack(taken, 1)

    def lookup(self, indices: Tensor) -> Tensor:
        """Indices (N, depth, h, w) → the sum of their code vectors (N, e_dim, h, w)."""
        first, *further = (F.embedding(indices[:, depth], codes) for depth, codes in enumerate(self.tables))
        return sum(further, first).permute(0, 3, 1, 2)

    def indices(self, z: Tensor) -> Tensor:
        """z (N, e_dim, h, w) after `quant_conv` → indices (N, depth, h, w)."""
        rest, taken = z.permute(0, 2, 3, 1), []
        for codes in self.tables:
            taken.append(nearest(rest, codes))
            rest = rest - F.embedding(taken[-1], codes)
        return torch.stack(taken, 1)

    @torch.no_grad()
    def encode_indices(self, z: Tensor) -> Tensor:
        """Encoder output (N, z_channels, h, w) → indices (N, depth, h, w)."""
        return self.indices(self.quant_conv(z))


class ResidualCodes(nn.Module):
    """The further codebooks, and for each a head that reads the transformer's features and the vectors of the codes
    that the depths before took.

    Tables and the heads' last layers begin at zero: the sum then is the first code's vector, whatever the indices.
    """

    def __init__(self, config: OccWorldConfig, depth: int) -> None:
        super().__init__()
        width, n_e, e_dim = config.channels[0], config.n_e, config.e_dim
        self.codebooks, self.heads = nn.ModuleList(), nn.ModuleList()
        for _ in range(depth - 1):
            self.codebooks.append(nn.Embedding.from_pretrained(torch.zeros(n_e, e_dim), freeze=False))
            last = nn.Conv2d(width, n_e, 1)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(cast(Tensor, last.bias))
            self.heads.append(nn.Sequential(nn.Conv2d(width + e_dim, width, 3, padding=1), nn.SiLU(), last))
        self.recompute = False

    @property
    def tables(self) -> tuple[nn.Parameter, ...]:
        """The further codes (n_e, e_dim), by depth."""
        return tuple(cast(nn.Parameter, book.weight) for book in self.codebooks)

    @property
    def trained(self) -> bool:
        """Whether every table was begun: a table of zeros says nothing."""
        return all(bool((table != 0).any()) for table in self.tables)

    def levels(self) -> Iterator[tuple[nn.Module, Tensor]]:
        """Head and table of each depth after the first."""
        return zip(self.heads, self.tables, strict=True)

    def logits(self, head: nn.Module, features: Tensor, so_far: Tensor) -> Tensor:
        """One depth's logits (N, n_e, h, w) from features (N, C, h, w) and the sum of the vectors taken so far."""
        return cast(Tensor, recompute(self.recompute, head, torch.cat([features, so_far], 1)))

    def known(self, vectors: Tensor, features: Tensor, codes: Tensor) -> list[Tensor]:
        """Logits of each depth after the first where the codes (N, depth, h, w) are known: teacher-forced. `vectors`
        (N, e_dim, h, w) are those of the first."""
        out = []
        for depth, (head, table) in enumerate(self.levels(), 1):
            out.append(self.logits(head, features, vectors))
            vectors = vectors + F.embedding(codes[:, depth], table).permute(0, 3, 1, 2)
        return out

    def likeliest(self, vectors: Tensor, features: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Logits and likeliest codes (N, h, w) of each depth after the first, each chosen before the next is read."""
        out, taken = [], []
        for head, table in self.levels():
            out.append(self.logits(head, features, vectors))
            taken.append(out[-1].argmax(1))
            vectors = vectors + F.embedding(taken[-1], table).permute(0, 3, 1, 2)
        return out, taken

    def soft(self, vectors: Tensor, features: Tensor) -> Tensor:
        """`soft_codes` summed over depths: `vectors` (N, e_dim, h, w) are the first depth's. The heads read the chosen
        vectors without a gradient, which reaches each depth by its own logits."""
        for head, table in self.levels():
            vectors = vectors + soft_codes(self.logits(head, features, vectors.detach()), table)
        return vectors
