"""OccWorld's VAE: a 2-D U-shaped encoder and decoder over the bird's-eye view, with height folded into channels.

Zheng et al., "OccWorld: Learning a 3D Occupancy World Model for Autonomous Driving", ECCV 2024. Parameter names are the
original's, so that its checkpoints load.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aerialworld_training.models.occworld.config import OccWorldConfig, norm_groups
from aerialworld_training.models.occworld.quantizer import VectorQuantizer
from aerialworld_training.models.occworld.recompute import recompute

Shape = tuple[int, int]


def group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(norm_groups(channels), channels, eps=1e-6)


def conv3(cin: int, cout: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(cin, cout, 3, stride=stride, padding=1)


class ResnetBlock(nn.Module):
    """norm, swish, conv, norm, swish, conv, plus the input (through a 1×1 convolution where the width changes)."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = group_norm(cin), conv3(cin, cout)
        self.norm2, self.conv2 = group_norm(cout), conv3(cout, cout)
        if cin != cout:
            self.nin_shortcut = nn.Conv2d(cin, cout, 1)
        self.changes_width = cin != cout

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return (self.nin_shortcut(x) if self.changes_width else x) + h


class AttnBlock(nn.Module):
    """Single-head self-attention over all positions of the image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        n = self.norm(x)
        q, k, v = (f(n).reshape(b, 1, c, h * w).transpose(2, 3) for f in (self.q, self.k, self.v))
        out = F.scaled_dot_product_attention(q, k, v).transpose(2, 3).reshape(b, c, h, w)
        return x + self.proj_out(out)


class Downsample(nn.Module):
    """Stride 2, padded on all sides (not the asymmetric padding of other VQ models)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv3(channels, channels, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Upsample(nn.Module):
    """Nearest neighbour ×2, padded to `shape`, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv3(channels, channels)

    def forward(self, x: Tensor, shape: Shape) -> Tensor:
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        dh, dw = shape[0] - x.shape[2], shape[1] - x.shape[3]
        return self.conv(F.pad(x, (dw // 2, dw - dw // 2, dh // 2, dh - dh // 2)))


class Middle(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block_1, self.attn_1 = ResnetBlock(channels, channels), AttnBlock(channels)
        self.block_2 = ResnetBlock(channels, channels)

    def forward(self, x: Tensor, again: bool) -> Tensor:
        for part in (self.block_1, self.attn_1, self.block_2):
            x = recompute(again, part, x)
        return x


class Level(nn.Module):
    """One resolution: residual blocks, each followed by attention where the config asks for it, then a resampling."""

    downsample: Downsample
    upsample: Upsample

    def __init__(self, cin: int, cout: int, blocks: int, attention: bool) -> None:
        super().__init__()
        self.block = nn.ModuleList([ResnetBlock(cin if i == 0 else cout, cout) for i in range(blocks)])
        self.attn = nn.ModuleList([AttnBlock(cout) for _ in range(blocks if attention else 0)])

    def blocks(self, x: Tensor, again: bool) -> Tensor:
        """Blocks and attention; with `again` their inner values are computed a second time for the gradients."""
        for i, block in enumerate(self.block):
            x = recompute(again, block, x)
            if len(self.attn):
                x = recompute(again, self.attn[i], x)
        return x


def level_widths(config: OccWorldConfig, *, decoder: bool) -> list[tuple[int, bool]]:
    """Per resolution, finest first: channels, and whether attention runs there."""
    widths = [config.ch * mult for mult in config.ch_mult]
    return list(zip(widths, config.attention(decoder=decoder), strict=True))


class Encoder2D(nn.Module):
    def __init__(self, config: OccWorldConfig) -> None:
        super().__init__()
        widths = level_widths(config, decoder=False)
        self.recompute = False
        self.conv_in = conv3(config.grid_shape[2] * config.expansion, config.ch)
        levels = []
        cin = config.ch
        for i, (cout, attention) in enumerate(widths):
            level = Level(cin, cout, config.num_res_blocks, attention)
            if i < len(widths) - 1:
                level.downsample = Downsample(cout)
            levels.append(level)
            cin = cout
        self.down = nn.ModuleList(levels)
        self.mid = Middle(cin)
        self.norm_out, self.conv_out = group_norm(cin), conv3(cin, config.z_channels)

    @property
    def levels(self) -> list[Level]:
        """Finest first."""
        return [cast(Level, level) for level in self.down]

    def forward(self, x: Tensor) -> tuple[Tensor, list[Shape]]:
        """x (N, D·e, H, W) → latent (N, z, h, w) and the sizes before each downsampling, finest first."""
        shapes: list[Shape] = []
        h = self.conv_in(x)
        for i, level in enumerate(self.levels):
            h = level.blocks(h, self.recompute)
            if i < len(self.levels) - 1:
                shapes.append((h.shape[2], h.shape[3]))
                h = level.downsample(h)
        return self.conv_out(F.silu(self.norm_out(self.mid(h, self.recompute)))), shapes


class Decoder2D(nn.Module):
    def __init__(self, config: OccWorldConfig) -> None:
        super().__init__()
        widths = level_widths(config, decoder=True)
        cin = widths[-1][0]
        self.recompute = False
        self.conv_in = conv3(config.z_channels, cin)
        self.mid = Middle(cin)
        levels = []
        for i in reversed(range(len(widths))):
            cout, attention = widths[i]
            level = Level(cin, cout, config.num_res_blocks, attention)
            if i > 0:
                level.upsample = Upsample(cout)
            levels.append(level)
            cin = cout
        self.up = nn.ModuleList(levels[::-1])  # index 0 is the finest, as in the original's state dict
        self.norm_out = group_norm(cin)
        self.conv_out = conv3(cin, config.grid_shape[2] * config.expansion)

    @property
    def levels(self) -> list[Level]:
        """Finest first."""
        return [cast(Level, level) for level in self.up]

    def forward(self, z: Tensor, shapes: list[Shape]) -> Tensor:
        """z (N, z, h, w), `shapes` as the encoder gave them → (N, D·e, H, W)."""
        h = self.mid(self.conv_in(z), self.recompute)
        for i in reversed(range(len(self.levels))):
            h = self.levels[i].blocks(h, self.recompute)
            if i > 0:
                h = self.levels[i].upsample(h, shapes[i - 1])
        return self.conv_out(F.silu(self.norm_out(h)))


class VAERes2D(nn.Module):
    """Semantic voxels to code indices and back."""

    def __init__(self, config: OccWorldConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decoder = Encoder2D(config), Decoder2D(config)
        self.class_embeds = nn.Embedding(config.num_classes, config.expansion)
        self.vqvae = VectorQuantizer(config.n_e, config.e_dim, config.z_channels, config.beta)

    @property
    def shapes(self) -> list[Shape]:
        """The sizes that `encode` records, known from the config: decoding needs no encoding first."""
        h, w = self.config.grid_shape[:2]
        shapes = []
        for _ in self.config.ch_mult[1:]:
            shapes.append((h, w))
            h, w = (h + 1) // 2, (w + 1) // 2
        return shapes

    def encode(self, semantics: Tensor) -> Tensor:
        """semantics (N, H, W, D) integer classes → latent (N, z, h, w)."""
        n, h, w, d = semantics.shape
        # Channel order is d·e + k: height-major, embedding-minor.
        x = self.embed(semantics.reshape(-1)).reshape(n, h, w, d * self.config.expansion).permute(0, 3, 1, 2)
        return self.encoder(x)[0]

    def embed(self, classes: Tensor) -> Tensor:
        """Classes (M,) → embeddings (M, e). Nearly all voxels are of the last class, free: it is spread first and the
        few others are copied over it, which gives the same numbers as a look-up and spares the gradient a scatter over
        all."""
        table = self.class_embeds.weight
        rows = torch.nonzero(classes != len(table) - 1)[:, 0]
        spread = table[-1].expand(len(classes), -1)
        return spread.index_copy(0, rows, self.class_embeds(classes[rows].long()))

    def decode_features(self, z: Tensor) -> Tensor:
        """Latent after `post_quant_conv` (N, z, h, w) → per-voxel features (N, H, W, D, e)."""
        x = self.decoder(z, self.shapes).permute(0, 2, 3, 1)
        return x.reshape(*x.shape[:3], self.config.grid_shape[2], self.config.expansion)

    def classify(self, features: Tensor) -> Tensor:
        """Features (…, e) → class logits (…, num_classes); the weights are the embedding's."""
        return features @ self.class_embeds.weight.T

    def decode(self, zq: Tensor) -> Tensor:
        """Quantised latent before `post_quant_conv` (N, e_dim, h, w) → logits (N, H, W, D, num_classes)."""
        return self.classify(self.decode_features(self.vqvae.post_quant_conv(zq)))

    @torch.no_grad()
    def decode_classes(self, zq: Tensor, chunk: int = 1 << 14) -> Tensor:
        """The likeliest class of every voxel (N, H, W, D) uint8: `decode(zq).argmax(-1)` in pieces that stay in cache.

        Which class it is gets asked only where some class beats the last one, free.
        """
        features = self.decode_features(self.vqvae.post_quant_conv(zq))
        flat, table = features.reshape(-1, features.shape[-1]), self.class_embeds.weight
        free = len(table) - 1
        out = torch.full((len(flat),), free, dtype=torch.uint8, device=flat.device)
        for start in range(0, len(flat), chunk):
            logits = table @ flat[start : start + chunk].T
            rows = torch.nonzero(logits[:free].amax(0) >= logits[free])[:, 0]
            out[start + rows] = logits[:, rows].argmax(0).to(torch.uint8)
        return out.reshape(features.shape[:-1])

    def forward(self, semantics: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """semantics (N, H, W, D) → features (N, H, W, D, e), embedding loss (), indices (N, h, w)."""
        zq, loss, indices = self.vqvae(self.encode(semantics))
        return self.decode_features(self.vqvae.post_quant_conv(zq)), loss, indices
