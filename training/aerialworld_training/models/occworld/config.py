"""Sizes of OccWorld: one flat, typed table from which every layer is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aerialworld_core.errors import InputError
from aerialworld_core.labels import NUM_CLASSES


@dataclass(frozen=True)
class OccWorldConfig:
    """Sizes of the VAE, the quantiser, the transformer and the pose coders. The defaults are the official model's.

    `grid_shape` is the voxel grid [x, y, z] that goes in. `channels` are the U-Net's three widths; the first two are
    the encoder levels, the third the middle. `num_frames` sizes the temporal tables (num_frames + 1 rows) and is the
    longest window of transitions; shorter windows are allowed.
    """

    grid_shape: tuple[int, int, int] = (200, 200, 16)
    num_classes: int = NUM_CLASSES
    expansion: int = 8
    ch: int = 64
    ch_mult: tuple[int, ...] = (1, 2, 4)
    num_res_blocks: int = 2
    attn_resolutions: tuple[int, ...] = (50,)
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
    num_modes: int = 3

    def __post_init__(self) -> None:
        if len(self.grid_shape) != 3 or min(self.grid_shape) < 1:
            raise InputError(f"model.grid_shape: three voxel counts ≥ 1, not {self.grid_shape}")
        if len(self.channels) < 2:
            raise InputError(f"model.channels: at least one U-Net level and the middle, not {self.channels}")
        for name in ("e_dim", "pose_channels", *[f"channels[{i}]" for i in range(len(self.channels))]):
            width = self.channels[int(name[9:-1])] if name.startswith("channels[") else int(getattr(self, name))
            if width % self.num_heads:
                raise InputError(f"model.{name} = {width} is not a multiple of num_heads = {self.num_heads}")
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

    @classmethod
    def vae_from_original(cls, vae: Mapping[str, Any]) -> OccWorldConfig:
        """From the dictionary of a stage-1 config, which describes the VAE alone; the transformer's widths follow from
        its code width as in the public model. Raises InputError."""
        try:
            n_e, width = int(vae["vqvae_cfg"]["n_e"]), int(vae["vqvae_cfg"]["e_dim"])
            size = int(vae["encoder_cfg"]["resolution"])
            halvings = len(vae["encoder_cfg"]["ch_mult"]) - 1
        except KeyError as error:
            raise InputError(f"OccWorld config: the key {error} is missing") from error
        for _ in range(halvings):
            size = (size + 1) // 2
        transformer = {
            "num_frames": cls.num_frames,
            "channels": (width, 2 * width, 4 * width),
            "temporal_attn_layers": cls.temporal_attn_layers,
            "pose_attn_layers": cls.pose_attn_layers,
            "pose_output_channel": width,
            "img_shape": (width, size, size),
            "output_channel": n_e,
            "tpe_dim": width,
        }
        modes = {"num_modes": cls.num_modes}
        return cls.from_original({"vae": vae, "transformer": transformer, "pose_encoder": modes})

    @classmethod
    def from_original(cls, config: Mapping[str, Any]) -> OccWorldConfig:
        """From the nested `model` dictionary of the original's config files. Raises InputError for a missing key, for
        what is not supported and for sizes that contradict each other."""
        try:
            vae, transformer = config["vae"], config["transformer"]
            encoder, decoder, quantiser = vae["encoder_cfg"], vae["decoder_cfg"], vae["vqvae_cfg"]
            expansion, resolution = int(vae["expansion"]), int(encoder["resolution"])
            sizes = cls(
                grid_shape=(resolution, resolution, int(encoder["in_channels"]) // expansion),
                num_classes=int(vae["num_classes"]),
                expansion=expansion,
                ch=int(encoder["ch"]),
                ch_mult=tuple(encoder["ch_mult"]),
                num_res_blocks=int(encoder["num_res_blocks"]),
                attn_resolutions=tuple(encoder["attn_resolutions"]),
                z_channels=int(encoder["z_channels"]),
                n_e=int(quantiser["n_e"]),
                e_dim=int(quantiser["e_dim"]),
                beta=float(quantiser["beta"]),
                num_frames=int(transformer["num_frames"]),
                channels=tuple(transformer["channels"]),
                temporal_attn_layers=int(transformer["temporal_attn_layers"]),
                pose_attn_layers=int(transformer["pose_attn_layers"]),
                num_heads=int(transformer.get("num_heads", 8)),
                pose_channels=int(transformer["pose_output_channel"]),
                num_modes=int(config["pose_encoder"]["num_modes"]),
            )
            same = {
                **{f"vae.decoder_cfg.{k}": (decoder[k], encoder[k]) for k in _SHARED},
                "vae.encoder_cfg.in_channels": (encoder["in_channels"], sizes.grid_shape[2] * expansion),
                "vae.decoder_cfg.out_ch": (decoder["out_ch"], encoder["in_channels"]),
                "vae.vqvae_cfg.z_channels": (quantiser["z_channels"], sizes.z_channels),
                "transformer.img_shape": (list(transformer["img_shape"]), [sizes.e_dim, *sizes.latent_shape]),
                "transformer.output_channel": (transformer["output_channel"], sizes.n_e),
                "transformer.tpe_dim": (transformer["tpe_dim"], sizes.e_dim),
                "delta_input": (bool(config.get("delta_input")), False),
                "offset": (config.get("offset", 1), 1),
                "transformer.num_tokens": (transformer.get("num_tokens", 1), 1),
                "transformer.learnable_queries": (bool(transformer.get("learnable_queries")), False),
                "vae.encoder_cfg.double_z": (bool(encoder.get("double_z")), False),
                "vae.vqvae_cfg.use_voxel": (bool(quantiser.get("use_voxel")), False),
                "vae.encoder_cfg.dropout": (float(encoder.get("dropout", 0)), 0.0),
            }
        except KeyError as error:
            raise InputError(f"OccWorld config: the key {error} is missing") from error
        for key, (given, wanted) in same.items():
            if given != wanted:
                raise InputError(
                    f"OccWorld config: {key} = {given!r}; only {wanted!r} is supported with its other sizes"
                )
        return sizes


#: Sizes that the original repeats for the decoder.
_SHARED = ("ch", "ch_mult", "num_res_blocks", "attn_resolutions", "resolution", "z_channels")


def norm_groups(channels: int) -> int:
    """Groups of a GroupNorm over `channels`: a quarter of them up to 32 channels, 32 above."""
    return max(channels // 4, 1) if channels <= 32 else 32
