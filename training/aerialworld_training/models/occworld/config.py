"""Sizes of OccWorld: one flat, typed table from which every layer is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aerialworld_core.errors import InputError
from aerialworld_core.labels import NUM_CLASSES
from aerialworld_training.models.occworld.original_config import SHARED, part, require


@dataclass(frozen=True)
class OccWorldConfig:
    """Sizes of the VAE, the quantiser, the transformer and the pose coders. The defaults are the official model's.

    `grid_shape` is the voxel grid [x, y, z] that goes in. `channels` are the U-Net's widths: of the encoder's levels,
    and last of the middle. `num_frames` sizes the temporal tables (num_frames + 1 rows) and is the longest window of
    transitions; shorter windows are allowed. The VAE attends where its resolution, halved from `resolution` (None:
    grid_shape[0]), is in `attn_resolutions`. `pose_layers` are the linear layers of each pose coder.
    """

    grid_shape: tuple[int, int, int] = (200, 200, 16)
    num_classes: int = NUM_CLASSES
    expansion: int = 8
    ch: int = 64
    ch_mult: tuple[int, ...] = (1, 2, 4)
    num_res_blocks: int = 2
    attn_resolutions: tuple[int, ...] = (50,)
    resolution: int | None = None
    z_channels: int = 128
    n_e: int = 512
    e_dim: int = 128
    beta: float = 1.0
    num_frames: int = 15
    channels: tuple[int, ...] = (128, 256, 512)
    temporal_attn_layers: int = 6
    pose_attn_layers: int = 2
    num_heads: int = 8
    pose_channels: int = 128
    pose_layers: int = 2
    num_modes: int = 3

    def __post_init__(self) -> None:
        if len(self.grid_shape) != 3 or min(self.grid_shape) < 1:
            raise InputError(f"model.grid_shape: three voxel counts ≥ 1, not {self.grid_shape}")
        if len(self.channels) < 2:
            raise InputError(f"model.channels: at least one U-Net level and the middle, not {self.channels}")
        # Attention runs on what enters the encoder's levels and on twice what leaves the decoder's.
        attending = {"e_dim": self.e_dim, "pose_channels": self.pose_channels}
        attending |= {f"channels[{i}]": width for i, width in enumerate(self.channels[:-2])}
        attending[f"channels[{len(self.channels) - 2}]"] = 2 * self.channels[-2]
        for name, width in attending.items():
            if width % self.num_heads:
                raise InputError(
                    f"model.{name}: attention over {width} channels cannot be split among num_heads = {self.num_heads}"
                )
        if self.pose_layers < 2:
            raise InputError(f"model.pose_layers: at least 2, not {self.pose_layers}")
        if self.pose_channels != self.e_dim:
            raise InputError(
                f"model.pose_channels {self.pose_channels} must equal e_dim {self.e_dim} (shared attention)"
            )
        for level in range(len(self.ch_mult)):
            width = self.ch * self.ch_mult[level]
            if width % norm_groups(width):
                raise InputError(f"model.ch · ch_mult[{level}] = {width} channels cannot be split into norm groups")
        if min(self.unet_shapes[-1]) < 1:
            raise InputError(
                f"model: the latent {self.latent_shape} is too small for {len(self.channels) - 1} U-Net levels"
            )

    @property
    def latent_shape(self) -> tuple[int, int]:
        """Height and width of the code image: each stride-2 convolution halves, rounding up."""
        h, w = self.grid_shape[:2]
        for _ in self.ch_mult[1:]:
            h, w = (h + 1) // 2, (w + 1) // 2
        return h, w

    @property
    def unet_shapes(self) -> tuple[tuple[int, int], ...]:
        """Image sizes of the U-Net from the finest level to the middle; each 2×2 convolution halves, rounding down."""
        shapes = [self.latent_shape]
        for _ in self.channels[1:]:
            shapes.append((shapes[-1][0] // 2, shapes[-1][1] // 2))
        return tuple(shapes)

    @property
    def unet_inputs(self) -> tuple[int, ...]:
        """The width that enters each encoder level of the U-Net."""
        return (self.e_dim, *self.channels[:-2])

    def attention(self, *, decoder: bool) -> tuple[bool, ...]:
        """Per level of the VAE, finest first, whether it attends. The original's decoder doubles the coarsest size, so
        that after an odd one it counts otherwise than the encoder (37, 18, 9, and back 18, 36)."""
        size, last = self.resolution or self.grid_shape[0], len(self.ch_mult) - 1
        sizes = [(size >> last) << (last - i) if decoder else size >> i for i in range(last + 1)]
        return tuple(n in self.attn_resolutions for n in sizes)

    @classmethod
    def vae_from_original(cls, vae: Mapping[str, Any]) -> OccWorldConfig:
        """From the dictionary of a stage-1 config, which describes the VAE alone; the transformer's widths follow from
        its code width as in the public model. Raises InputError."""
        quantiser, encoder = part(vae, "vqvae_cfg"), part(vae, "encoder_cfg")
        width, size = int(quantiser["e_dim"]), int(encoder["resolution"])
        for _ in encoder["ch_mult"][1:]:
            size = (size + 1) // 2
        transformer = {
            "num_tokens": 1,
            "num_frames": cls.num_frames,
            "channels": (width, 2 * width, 4 * width),
            "temporal_attn_layers": cls.temporal_attn_layers,
            "pose_attn_layers": cls.pose_attn_layers,
            "pose_output_channel": width,
            "img_shape": (width, size, size),
            "output_channel": int(quantiser["n_e"]),
            "tpe_dim": width,
            "learnable_queries": False,
        }
        return cls.from_original(
            {
                "num_frames": cls.num_frames,
                "vae": vae,
                "transformer": transformer,
                "pose_encoder": {"in_channels": 2 + cls.num_modes, "out_channels": width},
                "pose_decoder": {"in_channels": width},
            }
        )

    @classmethod
    def from_original(cls, config: Mapping[str, Any], grid: tuple[int, int] | None = None) -> OccWorldConfig:
        """From the nested `model` dictionary of the original's config files; what it omits has the original's default.

        grid  rows and columns of the frames where they are not resolution × resolution: the original's networks take
              frames of any size, and the dictionary holds that of their latents alone

        Raises InputError for a missing key, for what is not supported and for sizes that contradict each other.
        """
        whole, vae, transformer = part(config, ""), part(config, "vae"), part(config, "transformer")
        encoder, decoder, quantiser = part(vae, "encoder_cfg"), part(vae, "decoder_cfg"), part(vae, "vqvae_cfg")
        poses, displacements = part(config, "pose_encoder"), part(config, "pose_decoder")
        expansion, resolution = int(vae["expansion"]), int(encoder["resolution"])
        rows, columns = grid or (resolution, resolution)
        pose_width = transformer["pose_output_channel"]
        sizes = cls(
            grid_shape=(rows, columns, int(encoder["in_channels"]) // expansion),
            num_classes=int(vae["num_classes"]),
            expansion=expansion,
            ch=int(encoder["ch"]),
            ch_mult=tuple(encoder["ch_mult"]),
            num_res_blocks=int(encoder["num_res_blocks"]),
            attn_resolutions=tuple(encoder["attn_resolutions"]),
            resolution=None if rows == resolution else resolution,
            z_channels=int(encoder["z_channels"]),
            n_e=int(quantiser["n_e"]),
            e_dim=int(quantiser["e_dim"]),
            beta=float(quantiser["beta"]),
            num_frames=int(transformer["num_frames"]),
            channels=tuple(transformer["channels"]),
            temporal_attn_layers=int(transformer["temporal_attn_layers"]),
            pose_attn_layers=int(transformer["pose_attn_layers"]),
            num_heads=int(transformer["num_heads"]),
            pose_channels=int(transformer["output_channel"] if pose_width is None else pose_width),
            pose_layers=int(poses["num_layers"]),
            num_modes=int(poses["num_modes"]),
        )
        wanted = {
            **{f"vae.decoder_cfg.{k}": (decoder[k], encoder[k]) for k in SHARED},
            "num_frames": (whole["num_frames"], sizes.num_frames),
            "vae.encoder_cfg.in_channels": (encoder["in_channels"], sizes.grid_shape[2] * expansion),
            "vae.decoder_cfg.out_ch": (decoder["out_ch"], encoder["in_channels"]),
            "vae.vqvae_cfg.z_channels": (quantiser["z_channels"], sizes.z_channels),
            "transformer.img_shape": (transformer["img_shape"], [sizes.e_dim, *sizes.latent_shape]),
            "transformer.output_channel": (transformer["output_channel"], sizes.n_e),
            "transformer.tpe_dim": (transformer["tpe_dim"], sizes.e_dim),
            "pose_encoder.in_channels": (poses["in_channels"], 2 + sizes.num_modes),
            "pose_encoder.out_channels": (poses["out_channels"], sizes.e_dim),
            "pose_decoder.in_channels": (displacements["in_channels"], sizes.pose_channels),
            "pose_decoder.num_modes": (displacements["num_modes"], sizes.num_modes),
            "pose_decoder.num_layers": (displacements["num_layers"], sizes.pose_layers),
        }
        for key, (given, only) in wanted.items():
            require(key, given, only, " beside the other sizes")
        return sizes


def norm_groups(channels: int) -> int:
    """Groups of a GroupNorm over `channels`: a quarter of them up to 32 channels, 32 above."""
    return max(channels // 4, 1) if channels <= 32 else 32
