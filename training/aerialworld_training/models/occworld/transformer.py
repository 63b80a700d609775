"""The autoregressive U-Net transformer of OccWorld: the next frame's codes from the frames so far.

Two streams share the convolutions: `queries` stand for the next frame, `tokens` for the frames seen. Only queries
attend, to the tokens of their own and earlier frames. The pose stream looks at the image queries; the image never
looks at poses. All attention is post-norm.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aerialworld_training.models.occworld.config import OccWorldConfig


class FeedForward(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


def attention(channels: int, heads: int) -> nn.MultiheadAttention:
    return nn.MultiheadAttention(channels, heads, batch_first=True)


def temporal_layers(channels: int, heads: int, layers: int) -> nn.ModuleList:
    return nn.ModuleList(
        [
            nn.ModuleList(
                [attention(channels, heads), nn.LayerNorm(channels), FeedForward(channels), nn.LayerNorm(channels)]
            )
            for _ in range(layers)
        ]
    )


def pose_layers(channels: int, heads: int, layers: int) -> nn.ModuleList:
    return nn.ModuleList(
        [
            nn.ModuleList(
                [
                    attention(channels, heads),
                    nn.LayerNorm(channels),
                    attention(channels, heads),
                    nn.LayerNorm(channels),
                    FeedForward(channels),
                    nn.LayerNorm(channels),
                ]
            )
            for _ in range(layers)
        ]
    )


def perceptron(cin: int, cout: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(cin, cout), nn.ReLU(), nn.Linear(cout, cout), nn.ReLU())


def attend(layer: nn.Module, q: Tensor, kv: Tensor, mask: Tensor | None = None) -> Tensor:
    return layer(q, kv, kv, attn_mask=mask, need_weights=False)[0]


class UnetBlock(nn.Module):
    """Norm over `norm_shape`, two convolutions with ReLU, plus the un-normed input."""

    def __init__(self, norm_shape: tuple[int, ...], cin: int, cout: int) -> None:
        super().__init__()
        self.ln = nn.LayerNorm(norm_shape)
        self.conv1, self.conv2 = nn.Conv2d(cin, cout, 3, padding=1), nn.Conv2d(cout, cout, 3, padding=1)
        if cin != cout:
            self.shortcut = nn.Conv2d(cin, cout, 1)
        self.changes_width = cin != cout

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(F.relu(self.conv1(self.ln(x))))
        return F.relu(h + (self.shortcut(x) if self.changes_width else x))


class PlanUAutoRegTransformer(nn.Module):
    """Frames of codes and pose features → logits of each next frame's codes, and pose features of the next step."""

    attn_mask: Tensor

    def __init__(self, config: OccWorldConfig) -> None:
        super().__init__()
        widths, shapes, heads = config.channels, config.unet_shapes, config.num_heads
        levels = len(widths) - 1
        n_t, n_p = config.temporal_attn_layers, config.pose_attn_layers
        rows = config.num_frames + 1
        self.max_frames = config.num_frames
        self.temporal_embeddings = nn.Embedding(rows, config.e_dim)
        self.pose_temporal_embeddings = nn.Embedding(rows, config.pose_channels)
        blocked = torch.ones(config.num_frames, config.num_frames, dtype=torch.bool).triu(1)
        self.register_buffer("attn_mask", blocked, persistent=False)

        inputs = [config.e_dim, *widths[: levels - 1]]  # width that enters each encoder level
        self.temporal_attentions_en = nn.ModuleList([temporal_layers(c, heads, n_t) for c in inputs])
        self.pose_attn_en = nn.ModuleList([pose_layers(c, heads, n_p) for c in inputs])
        self.pose_en = nn.ModuleList([perceptron(c, w) for c, w in zip(inputs, widths, strict=False)])
        self.encoders, self.downsamples = nn.ModuleList(), nn.ModuleList()
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

        self.upsamples, self.decoders = nn.ModuleList(), nn.ModuleList()
        self.temporal_attentions_de, self.pose_attn_de = nn.ModuleList(), nn.ModuleList()
        self.pose_up, self.pose_de = nn.ModuleList(), nn.ModuleList()
        previous = mid
        for i in reversed(range(levels)):
            c = widths[i]
            self.upsamples.append(nn.ConvTranspose2d(previous, c, 2, stride=2))
            self.temporal_attentions_de.append(temporal_layers(2 * c, heads, n_t))
            self.pose_up.append(nn.Linear(previous, c))
            self.pose_attn_de.append(pose_layers(2 * c, heads, n_p))
            self.pose_de.append(perceptron(2 * c, c))
            self.decoders.append(
                nn.Sequential(UnetBlock((2 * c, *shapes[i]), 2 * c, c), UnetBlock((c, *shapes[i]), c, c))
            )
            previous = c
        self.conv_out = nn.Conv2d(previous, config.n_e, 3, padding=1)
        self.pose_out = nn.Linear(previous, config.pose_channels)

    def attend_poses(self, layers: nn.Module, pq: Tensor, pt: Tensor, queries: Tensor) -> Tensor:
        """Pose queries (B, F, C) look at pose tokens (B, F, C) of the past and at their frame's image (B, F, C, h,
        w)."""
        b, f, c = pq.shape
        image = queries.reshape(b * f, c, -1).transpose(1, 2)
        mask = self.attn_mask[:f, :f]
        for temporal, norm1, spatial, norm2, ffn, norm3 in layers:  # type: ignore[attr-defined]
            pq = norm1(pq + attend(temporal, pq, pt, mask))
            pq = pq.reshape(b * f, 1, c)
            pq = norm2(pq + attend(spatial, pq, image))
            pq = norm3(pq + ffn(pq)).reshape(b, f, c)
        return pq

    def attend_time(self, layers: nn.Module, queries: Tensor, tokens: Tensor) -> Tensor:
        """Each position's queries look at that position's tokens of the same and earlier frames; (B, F, C, h, w)."""
        b, f, c, h, w = queries.shape
        q, t = (x.permute(0, 3, 4, 1, 2).reshape(b * h * w, f, c) for x in (queries, tokens))
        mask = self.attn_mask[:f, :f]
        for temporal, norm1, ffn, norm2 in layers:  # type: ignore[attr-defined]
            q = norm1(q + attend(temporal, q, t, mask))
            q = norm2(q + ffn(q))
        return q.reshape(b, h, w, f, c).permute(0, 3, 4, 1, 2)

    def forward(self, tokens: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
        """tokens (B, F, e_dim, h, w), pose (B, F, C), 1 ≤ F ≤ num_frames → code logits (B, F, n_e, h, w), pose (B, F,
        C).

        Output f speaks of frame f + 1 and depends on frames 0 … f alone.
        """
        b, f = tokens.shape[:2]
        if not 1 <= f <= self.max_frames:
            raise ValueError(f"a window of {f} frames; the temporal tables hold 1 to {self.max_frames}")
        time, pose_time = self.temporal_embeddings.weight, self.pose_temporal_embeddings.weight
        q = tokens + time[1 : f + 1, :, None, None]
        t = tokens + time[:f, :, None, None]
        pq, pt = pose + pose_time[1 : f + 1], pose + pose_time[:f]

        def on_frames(module: nn.Module, x: Tensor) -> Tensor:
            y = module(x.reshape(-1, *x.shape[2:]))
            return y.reshape(b, f, *y.shape[1:])

        skips = []
        for i in range(len(self.encoders)):
            pq = self.attend_poses(self.pose_attn_en[i], pq, pt, q)
            pq, pt = self.pose_en[i](pq), self.pose_en[i](pt)
            q = self.attend_time(self.temporal_attentions_en[i], q, t)
            q, t = on_frames(self.encoders[i], q), on_frames(self.encoders[i], t)
            skips.append((q, t, pq, pt))
            q, t = on_frames(self.downsamples[i], q), on_frames(self.downsamples[i], t)
        q, t = on_frames(self.mid, q), on_frames(self.mid, t)
        pq, pt = self.pose_mid(pq), self.pose_mid(pt)
        for i in range(len(self.decoders)):
            skip_q, skip_t, skip_pq, skip_pt = skips.pop()
            q = torch.cat([pad_to(on_frames(self.upsamples[i], q), skip_q), skip_q], 2)
            t = torch.cat([pad_to(on_frames(self.upsamples[i], t), skip_t), skip_t], 2)
            q = self.attend_time(self.temporal_attentions_de[i], q, t)
            pq = torch.cat([self.pose_up[i](pq), skip_pq], -1)
            pt = torch.cat([self.pose_up[i](pt), skip_pt], -1)
            pq = self.pose_de[i](self.attend_poses(self.pose_attn_de[i], pq, pt, q))
            q = on_frames(self.decoders[i], q)
            if i < len(self.decoders) - 1:  # nothing reads the tokens after the last level
                t, pt = on_frames(self.decoders[i], t), self.pose_de[i](pt)
        return on_frames(self.conv_out, q), self.pose_out(pq)


def pad_to(x: Tensor, like: Tensor) -> Tensor:
    """Zeros around the last two axes so that they match `like`; an odd remainder goes to the bottom and right."""
    dh, dw = like.shape[-2] - x.shape[-2], like.shape[-1] - x.shape[-1]
    return F.pad(x, (dw // 2, dw - dw // 2, dh // 2, dh - dh // 2))
