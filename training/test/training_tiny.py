"""Tiny models with random weights, for tests of what holds whatever the weights."""

from __future__ import annotations

import torch

from aerialworld_core.grid import VoxelGrid
from aerialworld_training.models.aerial import AerialConfig, AerialOccWorld
from aerialworld_training.models.occworld import OccWorld, OccWorldConfig

#: As wide as `GRID`, four slots of 0.4 m. Odd latent sizes, so that padding takes part.
CONFIG = OccWorldConfig(
    grid_shape=(20, 20, 4), expansion=4, ch=8, ch_mult=(1, 2), num_res_blocks=1, attn_resolutions=(10,), z_channels=16,
    n_e=16, e_dim=16, num_frames=9, channels=(16, 16, 32), temporal_attn_layers=2, pose_attn_layers=1, num_heads=2,
    pose_channels=16,
)  # fmt: skip
GRID = VoxelGrid((-16.0, -16.0, -2.0), (1.6, 1.6, 1.25), (20, 20, 30))
AERIAL = AerialConfig(grid=GRID, motion_width=8, correction_width=8)


def noisy(model: torch.nn.Module, seed: int = 0, scale: float = 0.1) -> None:
    """Noise on every parameter, so that nothing is zero or one by chance of its start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += scale * torch.randn(parameter.shape, generator=generator)


def tiny(seed: int = 0) -> OccWorld:
    torch.manual_seed(seed)
    model = OccWorld(CONFIG)
    noisy(model, seed)
    return model.eval()


def tiny_aerial(seed: int = 0, aerial: AerialConfig = AERIAL, config: OccWorldConfig = CONFIG) -> AerialOccWorld:
    """Random core, untrained `aerial.`"""
    torch.manual_seed(seed)
    model = AerialOccWorld(config, aerial)
    for part in (model.vae, model.transformer, model.pose_encoder, model.pose_decoder):
        noisy(part, seed)
    return model.eval()


def random_window(model: OccWorld, frames: int, batch: int = 2, seed: int = 1) -> tuple[torch.Tensor, ...]:
    """zq (B, F, e_dim, h, w), rel_poses (B, F, 2), modes (B, F, 3)."""
    generator = torch.Generator().manual_seed(seed)
    config = model.config
    codes = torch.randint(config.n_e, (batch * frames, *config.latent_shape), generator=generator)
    zq = model.vae.vqvae.lookup(codes).detach().unflatten(0, (batch, frames))
    rel = torch.randn(batch, frames, 2, generator=generator)
    modes = torch.nn.functional.one_hot(torch.randint(3, (batch, frames), generator=generator), 3).float()
    return zq, rel, modes
