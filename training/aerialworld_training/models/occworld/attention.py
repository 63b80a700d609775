"""Attention of the transformer, by PyTorch's memory-saving kernels, with the keys and values of past frames kept.

Tokens (the context frames) never attend, so a frame's keys and values depend on that frame alone: a roll-out that
keeps them passes each frame through the network once, with the same numbers as running every frame again.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Multi-head attention with the parameters of `torch.nn.MultiheadAttention`, keys and values apart from queries."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.channels, self.heads = channels, heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * channels, channels))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * channels))
        self.out_proj = nn.Linear(channels, channels)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(cast(Tensor, self.out_proj.bias))

    def split(self, x: Tensor) -> Tensor:
        """(N, L, C) → (N, heads, L, C / heads)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What x (N, L, C) offers to queries: keys and values (N, heads, L, C / heads)."""
        c = self.channels
        k, v = F.linear(x, self.in_proj_weight[c:], self.in_proj_bias[c:]).chunk(2, -1)
        return self.split(k), self.split(v)

    def forward(self, q: Tensor, keys: Tensor, values: Tensor, causal: bool = False) -> Tensor:
        """q (N, L, C) looks at keys and values of M ≥ L positions → (N, L, C). `causal`: the queries stand for the
        last L of the M positions, and each sees its own and the earlier ones."""
        c = self.channels
        length, known = q.shape[1], keys.shape[2]
        q = self.split(F.linear(q, self.in_proj_weight[:c], self.in_proj_bias[:c]))
        mask = None
        if causal and 1 < length < known:
            mask = torch.ones(length, known, dtype=torch.bool, device=q.device).tril(known - length)
        whole = causal and length == known > 1
        out = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask, is_causal=whole)
        return self.out_proj(out.transpose(1, 2).flatten(2))


class KeyValueCache:
    """Keys and values of the frames that a roll-out has passed, per attention layer."""

    def __init__(self) -> None:
        self.frames = 0
        self._kept: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def extend(self, layer: nn.Module, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add new frames' keys and values (N, heads, L, c); returns those of all frames."""
        if layer in self._kept:
            old_keys, old_values = self._kept[layer]
            keys, values = torch.cat([old_keys, keys], 2), torch.cat([old_values, values], 2)
        self._kept[layer] = keys, values
        return keys, values


def past_and_present(layer: Attention, x: Tensor, cache: KeyValueCache | None) -> tuple[Tensor, Tensor]:
    """Keys and values of x (N, L, C), after those that the cache holds."""
    keys, values = layer.keys_values(x)
    return (keys, values) if cache is None else cache.extend(layer, keys, values)


class FeedForward(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class TemporalLayer(nn.ModuleList):
    """Queries look at the tokens of their own and earlier frames. Children by number, as in the public checkpoint:
    0 attention, 1 norm, 2 feed-forward, 3 norm."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__(
            [Attention(channels, heads), nn.LayerNorm(channels), FeedForward(channels), nn.LayerNorm(channels)]
        )

    def forward(self, q: Tensor, tokens: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """q and tokens (N, F, C) → (N, F, C)."""
        attention, norm1, feed_forward, norm2 = self
        q = norm1(q + attention(q, *past_and_present(cast(Attention, attention), tokens, cache), causal=True))
        return norm2(q + feed_forward(q))


class PoseLayer(nn.ModuleList):
    """Pose queries look at the pose tokens of the past, then at their own frame's image. Children by number: 0
    attention over time, 1 norm, 2 attention over the image, 3 norm, 4 feed-forward, 5 norm."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__(
            [
                Attention(channels, heads),
                nn.LayerNorm(channels),
                Attention(channels, heads),
                nn.LayerNorm(channels),
                FeedForward(channels),
                nn.LayerNorm(channels),
            ]
        )

    def forward(self, q: Tensor, tokens: Tensor, image: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """q and tokens (B, F, C), image (B·F, h·w, C) → (B, F, C)."""
        temporal, norm1, spatial, norm2, feed_forward, norm3 = self
        b, f, c = q.shape
        q = norm1(q + temporal(q, *past_and_present(cast(Attention, temporal), tokens, cache), causal=True))
        q = q.reshape(b * f, 1, c)
        q = norm2(q + spatial(q, *cast(Attention, spatial).keys_values(image)))
        return norm3(q + feed_forward(q)).reshape(b, f, c)


def layers_of(kind: type[TemporalLayer] | type[PoseLayer], channels: int, heads: int, count: int) -> nn.ModuleList:
    """`count` layers of one width."""
    return nn.ModuleList([kind(channels, heads) for _ in range(count)])
