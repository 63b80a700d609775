"""Voxels to codes and back, for the plain model and for tall grids alike; and how well that goes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import FREE
from aerialworld_training.models.aerial import AerialOccWorld, states
from aerialworld_training.models.occworld import OccWorld
from aerialworld_training.strata import BAND_NAMES, height_bands


def encode(model: OccWorld, semantics: Tensor, observed: Tensor) -> Tensor:
    """Frames (N, X, Y, Z) uint8 and what was seen of them (bool) → latent (N, z, h, w) before quantising. OccWorld's
    own grid knows no state *unknown*: such voxels are free."""
    if isinstance(model, AerialOccWorld):
        return model.encode(states(semantics, observed))
    return model.vae.encode(semantics)


def decode(model: OccWorld, zq: Tensor) -> Tensor:
    """Code vectors (N, e_dim, h, w) → features (N, X, Y, Z, e) for `model.vae.classify`."""
    if isinstance(model, AerialOccWorld):
        return model.decode_features(zq)
    return model.vae.decode_features(model.vae.vqvae.post_quant_conv(zq))


@torch.no_grad()
def indices_of(model: OccWorld, semantics: Tensor, observed: Tensor) -> Tensor:
    """Codes (N, h, w), or (N, depth, h, w), int64 of frames, one frame at a time."""
    one = [encode(model, s[None], o[None]) for s, o in zip(semantics, observed, strict=True)]
    return torch.cat([model.quantizer.encode_indices(z) for z in one])


@torch.no_grad()
def occupied_of(model: OccWorld, zq: Tensor, chunk: int = 1 << 20) -> Tensor:
    """Which voxels (N, X, Y, Z) bool are of any class but free in what code vectors decode to."""
    features = decode(model, zq)
    flat = features.reshape(-1, features.shape[-1])
    parts = [model.vae.classify(part).argmax(1) != FREE for part in flat.split(chunk)]
    return torch.cat(parts).reshape(features.shape[:-1])


def by_depth(name: str, values: Sequence[float | Tensor]) -> dict[str, float]:
    """Scores of each depth of the codes: `name` is the first's, `name_2` the second's, and so on."""
    return {name if k == 1 else f"{name}_{k}": float(value) for k, value in enumerate(values, 1)}


class Overlap:
    """Intersection and union of occupied voxels among the known ones, by height band; int64, so that sums over
    processes are exact."""

    def __init__(self, grid: VoxelGrid, device: torch.device) -> None:
        self.bands = torch.from_numpy(height_bands(grid).astype(np.int64)).to(device)
        self.counts = torch.zeros(2, len(BAND_NAMES), dtype=torch.int64, device=device)

    def add(self, predicted: Tensor, truth: Tensor, known: Tensor) -> None:
        """All (..., Z) bool."""
        for row, hit in enumerate((predicted & truth & known, (predicted | truth) & known)):
            levels = hit.flatten(0, -2).sum(0)
            self.counts[row].index_add_(0, self.bands, levels)

    def scores(self, prefix: str) -> dict[str, float]:
        """IoU of all, and of each band that has voxels."""
        both, either = self.counts.tolist()
        out = {f"{prefix}iou": sum(both) / max(sum(either), 1)}
        for name, b, e in zip(BAND_NAMES, both, either, strict=True):
            if e:
                out[f"{prefix}iou_{name}"] = b / e
        return out
