"""The autoregressive U-Net transformer of OccWorld: the next frame's codes from the frames so far.

Two streams share the convolutions: `queries` stand for the next frame, `tokens` for the frames seen. Only queries
attend, to the tokens of their own and earlier frames. The pose stream looks at the image queries; the image never
looks at poses. All attention is post-norm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aerialworld_training.models.occworld.attention import KeyValueCache, PoseLayer, TemporalLayer, layers_of
from aerialworld_training.models.occworld.config import OccWorldConfig
from aerialworld_training.models.occworld.recompute import recompute

Cache: TypeAlias = KeyValueCache | None
Conditions: TypeAlias = Sequence[tuple[Tensor, Tensor]] | None


def perceptron(cin: int, cout: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(cin, cout), nn.ReLU(), nn.Linear(cout, cout), nn.ReLU())


class UnetBlock(nn.Module):
    """Norm over `norm_shape`, two convolutions with ReLU, plus the un-normed input."""

    def __init__(self, norm_shape: tuple[int, ...], cin: int, cout: int) -> None:
        super().__init__()
        self.ln = nn.LayerNorm(norm_shape)
        self.conv1, self.conv2 = nn.Conv2d(cin, cout, 3, padding=1), nn.Conv2d(cout, cout, 3, padding=1)
        if cin != cout:
            self.shortcut = nn.Conv2d(cin, cout, 1)
        self.changes_width = cin != cout
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(self.act(self.conv1(self.ln(x))))
        return self.act(h + (self.shortcut(x) if self.changes_width else x))


class PlanUAutoRegTransformer(nn.Module):
    """Frames of codes and pose features → logits of each next frame's codes, and pose features of the next step.

    `recompute` saves memory in training: attention layers and convolution blocks keep their inputs alone (layers that
    fill a cache run once).
    """

    def __init__(self, config: OccWorldConfig) -> None:
        super().__init__()
        widths, shapes, heads = config.channels, config.unet_shapes, config.num_heads
        levels = len(widths) - 1
        n_t, n_p = config.temporal_attn_layers, config.pose_attn_layers
        rows = config.num_frames + 1
        self.max_frames, self.recompute = config.num_frames, False
        self.temporal_embeddings = nn.Embedding(rows, config.e_dim)
        self.pose_temporal_embeddings = nn.Embedding(rows, config.pose_channels)

        # Registered in the original's order, by which its optimizer states number the parameters.
        self.temporal_attentions_en, self.temporal_attentions_de = nn.ModuleList(), nn.ModuleList()
        self.encoders, self.decoders = nn.ModuleList(), nn.ModuleList()
        self.pose_attn_en, self.pose_en = nn.ModuleList(), nn.ModuleList()
        self.pose_attn_de, self.pose_de, self.pose_up = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        self.downsamples, self.upsamples = nn.ModuleList(), nn.ModuleList()

        inputs = config.unet_inputs
        self.temporal_attentions_en.extend([layers_of(TemporalLayer, c, heads, n_t) for c in inputs])
        self.pose_attn_en.extend([layers_of(PoseLayer, c, heads, n_p) for c in inputs])
        self.pose_en.extend([perceptron(c, w) for c, w in zip(inputs, widths, strict=False)])
        for i, cin in enumerate(inputs):
            # The encoder's norm is over space alone, per channel; the middle's and decoder's over channels too.
            self.encoders.append(
                nn.Sequential(UnetBlock(shapes[i], cin, widths[i]), UnetBlock(shapes[i], widths[i], widths[i]))
            )
            self.downsamples.append(nn.Conv2d(widths[i], widths[i], 2, stride=2))
        top, mid = widths[levels - 1], widths[levels]
        self.mid = nn.Sequential(
            UnetBlock((top, *shapes[levels]), top, mid), UnetBlock((mid, *shapes[levels]), mid, mid)
        )
        self.pose_mid = perceptron(top, mid)

        previous = mid
        for i in reversed(range(levels)):
            c = widths[i]
            self.upsamples.append(nn.ConvTranspose2d(previous, c, 2, stride=2))
            self.temporal_attentions_de.append(layers_of(TemporalLayer, 2 * c, heads, n_t))
            self.pose_up.append(nn.Linear(previous, c))
            self.pose_attn_de.append(layers_of(PoseLayer, 2 * c, heads, n_p))
            self.pose_de.append(perceptron(2 * c, c))
            self.decoders.append(
                nn.Sequential(UnetBlock((2 * c, *shapes[i]), 2 * c, c), UnetBlock((c, *shapes[i]), c, c))
            )
            previous = c
        self.conv_out = nn.Conv2d(previous, config.n_e, 3, padding=1)
        self.pose_out = nn.Linear(previous, config.pose_channels)

    def attend_poses(self, layers: nn.Module, pq: Tensor, pt: Tensor, queries: Tensor, cache: Cache) -> Tensor:
        """Pose queries (B, F, C) look at pose tokens (B, F, C) of the past and at their frame's image
        (B, F, C, h, w)."""
        image = queries.flatten(3).flatten(0, 1).transpose(1, 2)
        for layer in cast(nn.ModuleList, layers):
            pq = recompute(self.recompute and cache is None, layer, pq, pt, image, cache)
        return pq

    def attend_time(self, layers: nn.Module, queries: Tensor, tokens: Tensor, cache: Cache) -> Tensor:
        """Each position's queries look at that position's tokens of the same and earlier frames; (B, F, C, h, w)."""
        b, f, c, h, w = queries.shape
        q, t = (x.permute(0, 3, 4, 1, 2).reshape(b * h * w, f, c) for x in (queries, tokens))
        for layer in cast(nn.ModuleList, layers):
            q = recompute(self.recompute and cache is None, layer, q, t, cache)
        return q.reshape(b, h, w, f, c).permute(0, 3, 4, 1, 2)

    def on_frames(self, module: nn.Module, x: Tensor) -> Tensor:
        """An image network on every frame of x (B, F, C, h, w)."""
        y = x.flatten(0, 1)
        for part in module if isinstance(module, nn.Sequential) else [module]:
            y = recompute(self.recompute, part, y)
        return y.unflatten(0, x.shape[:2])

    def forward(
        self, tokens: Tensor, pose: Tensor, cache: Cache = None, conditions: Conditions = None
    ) -> tuple[Tensor, Tensor]:
        """As `features`, with code logits (B, F, n_e, h, w) in their place."""
        q, pose = self.features(tokens, pose, cache, conditions)
        return self.code_logits(q), pose

    def code_logits(self, features: Tensor) -> Tensor:
        """Features (B, F, C, h, w) → code logits (B, F, n_e, h, w)."""
        return self.on_frames(self.conv_out, features)

    def features(
        self, tokens: Tensor, pose: Tensor, cache: Cache = None, conditions: Conditions = None
    ) -> tuple[Tensor, Tensor]:
        """tokens (B, F, e_dim, h, w), pose (B, F, C) → what the codes are read from (B, F, C, h, w), pose (B, F, C).

        Output f speaks of frame f + 1 and depends on frames 0 … f alone. With a cache these frames follow those that
        it holds, and it holds them too afterwards; 1 ≤ all frames ≤ num_frames. `conditions`: for each encoder level
        and the middle a scale and a shift, each (B, F, C of its input), applied as x · (1 + scale) + shift to queries
        and tokens alike.
        """
        known, f = cache.frames if cache else 0, tokens.shape[1]
        if not 1 <= f <= self.max_frames - known:
            raise ValueError(f"a window of {known + f} frames; the temporal tables hold 1 to {self.max_frames}")
        rows = slice(known, known + f + 1)
        time, pose_time = self.temporal_embeddings.weight[rows], self.pose_temporal_embeddings.weight[rows]
        q = tokens + time[1:, :, None, None]
        t = tokens + time[:-1, :, None, None]
        pq, pt = pose + pose_time[1:], pose + pose_time[:-1]

        skips = []
        for i in range(len(self.encoders)):
            if conditions:
                q, t = modulate(q, conditions[i]), modulate(t, conditions[i])
            pq = self.attend_poses(self.pose_attn_en[i], pq, pt, q, cache)
            pq, pt = self.pose_en[i](pq), self.pose_en[i](pt)
            q = self.attend_time(self.temporal_attentions_en[i], q, t, cache)
            q, t = (self.on_frames(self.encoders[i], x) for x in (q, t))
            skips.append((q, t, pq, pt))
            q, t = (self.on_frames(self.downsamples[i], x) for x in (q, t))
        if conditions:
            q, t = modulate(q, conditions[-1]), modulate(t, conditions[-1])
        q, t = (self.on_frames(self.mid, x) for x in (q, t))
        pq, pt = self.pose_mid(pq), self.pose_mid(pt)
        for i in range(len(self.decoders)):
            skip_q, skip_t, skip_pq, skip_pt = skips.pop()
            q = torch.cat([pad_to(self.on_frames(self.upsamples[i], q), skip_q), skip_q], 2)
            t = torch.cat([pad_to(self.on_frames(self.upsamples[i], t), skip_t), skip_t], 2)
            q = self.attend_time(self.temporal_attentions_de[i], q, t, cache)
            pq = torch.cat([self.pose_up[i](pq), skip_pq], -1)
            pt = torch.cat([self.pose_up[i](pt), skip_pt], -1)
            pq = self.pose_de[i](self.attend_poses(self.pose_attn_de[i], pq, pt, q, cache))
            q = self.on_frames(self.decoders[i], q)
            if i < len(self.decoders) - 1:  # nothing reads the tokens after the last level
                t, pt = self.on_frames(self.decoders[i], t), self.pose_de[i](pt)
        if cache:
            cache.frames += f
        return q, self.pose_out(pq)


def modulate(x: Tensor, condition: tuple[Tensor, Tensor]) -> Tensor:
    """Feature-wise scale and shift, each (B, F, C), of x (B, F, C, h, w)."""
    scale, shift = (c[..., None, None] for c in condition)
    return x * (1 + scale) + shift


def pad_to(x: Tensor, like: Tensor) -> Tensor:
    """Zeros around the last two axes so that they match `like`; an odd remainder goes to the bottom and right."""
    dh, dw = like.shape[-2] - x.shape[-2], like.shape[-1] - x.shape[-1]
    return F.pad(x, (dw // 2, dw - dw // 2, dh // 2, dh - dh // 2))
