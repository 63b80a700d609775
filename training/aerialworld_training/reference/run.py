"""What a reference set records, computed with our model: every function gives the arrays under the set's names.

Where the caller gives codes they are used in place of the nearest or likeliest ones, so that one tie that rounding
decides otherwise does not spoil all that follows from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from aerialworld_core.labels import FREE
from aerialworld_training.losses import lovasz_softmax, masked_cross_entropy, motion_loss
from aerialworld_training.models.occworld import OccWorld
from aerialworld_training.models.occworld.quantizer import squared_distances

#: Frames that pass the VAE together.
FRAMES = 2


def in_chunks(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`function` on a few rows at a time."""
    return torch.cat([function(x[i : i + FRAMES]) for i in range(0, len(x), FRAMES)])


@torch.no_grad()
def encode(model: OccWorld, occupancy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Occupancy (N, H, W, D) → latent z, nearest codes (N, h, w) and their margins (N, h, w): second-best minus best
    squared distance."""
    z = in_chunks(model.vae.encode, occupancy)
    vq = model.vae.vqvae

    def codes(z: Tensor) -> Tensor:
        zp = vq.quant_conv(z).permute(0, 2, 3, 1)
        nearest = squared_distances(zp.reshape(-1, vq.e_dim), vq.embedding.weight).topk(2, largest=False)
        margin = nearest.values[:, 1] - nearest.values[:, 0]
        return torch.stack([nearest.indices[:, 0].double(), margin.double()], 1).reshape(*zp.shape[:3], 2)

    both = in_chunks(codes, z)
    return z, both[..., 0].long(), both[..., 1].float()


@torch.no_grad()
def vae_outputs(model: OccWorld, occupancy: Tensor, z: Tensor, indices: Tensor) -> dict[str, Tensor]:
    """Everything recorded of the VAE. occupancy (B, F, H, W, D) uint8, z and indices of its B·F frames."""
    frames = occupancy.flatten(0, 1)
    quantised = in_chunks(model.vae.vqvae.quant_conv, z)
    zq, embed, _ = model.vae.vqvae.quantize(quantised, indices)
    logits = in_chunks(model.vae.decode, zq)
    flat, target = logits.reshape(-1, logits.shape[-1]), frames.reshape(-1).long()
    recon, lovasz = masked_cross_entropy(flat, target), lovasz_softmax(flat.softmax(-1), target)
    return {
        "z": z,
        "shapes": torch.tensor(model.vae.shapes),
        "z_quantconv": quantised,
        "zq": zq,
        "embed_loss": embed,
        "logits": logits.unflatten(0, occupancy.shape[:2]),
        "losses_recon_lovasz_embed_total": torch.stack([recon, lovasz, embed, 10 * recon + lovasz + embed]),
    }


@torch.no_grad()
def straight_through(model: OccWorld, z: Tensor, indices: Tensor) -> Tensor:
    """The quantised latent in the form z + (e − z) that the original feeds to its transformer."""
    return model.vae.vqvae.quantize(in_chunks(model.vae.vqvae.quant_conv, z), indices)[0]


@torch.no_grad()
def teacher_forced(model: OccWorld, z: Tensor, indices: Tensor, rel_poses: Tensor, modes: Tensor) -> dict[str, Tensor]:
    """Code logits, poses and losses of frames 1 … F − 1. z, indices: of the B·F frames; rel_poses (B, F, 2)."""
    b, f = rel_poses.shape[:2]
    zq = straight_through(model, z, indices).unflatten(0, (b, f))
    labels = indices.unflatten(0, (b, f))[:, 1:].flatten(0, 1)
    logits, displacements = model(zq[:, :-1], rel_poses[:, :-1], modes[:, :-1])
    flat = logits.flatten(0, 1)
    ce = F.cross_entropy(flat, labels)
    plan = motion_loss(displacements, rel_poses[:, 1:], modes[:, 1:])
    return {
        "pose_tokens_in": model.encode_pose(rel_poses[:, :-1], modes[:, :-1]),
        "tf_ce_inputs": flat,
        "tf_pose_decoded": displacements,
        "tf_losses_ce_plan_total": torch.stack([ce, plan, ce + 0.1 * plan]),
    }


@torch.no_grad()
def decode(model: OccWorld, codes: Tensor) -> Tensor:
    """Codes (N, h, w) → class logits (N, H, W, D, classes)."""
    return in_chunks(lambda c: model.vae.decode(model.vae.vqvae.lookup(c)), codes)


@torch.no_grad()
def rolled_out(
    model: OccWorld,
    zq: Tensor,
    rel_poses: Tensor,
    modes: Tensor,
    mid: int,
    end: int,
    codes: Tensor | None,
    cached: bool,
) -> dict[str, Tensor]:
    """The forecast of frames mid … end − 1 from the context zq (B, mid, e, h, w)."""
    out = model.rollout(
        zq, rel_poses[:, :mid], modes[:, :mid], modes[:, mid:end],
        cached=cached, codes=None if codes is None else codes.unflatten(0, (zq.shape[0], end - mid)),
    )  # fmt: skip
    return {
        "ar_ce_inputs": out.logits.flatten(0, 1),
        "ar_indices": out.indices.flatten(0, 1),
        "ar_pose_decoded": out.displacements,
        "ar_poses_fed_back": out.fed_back,
    }


def classes(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The likeliest class (…) uint8 of logits (…, C) and by how much it leads."""
    best = logits.topk(2, -1)
    return best.indices[..., 0].to(torch.uint8), best.values[..., 0] - best.values[..., 1]


def occupied(predicted: Tensor) -> Tensor:
    return (predicted != FREE).to(torch.uint8)


def gradients(loss: Tensor, model: OccWorld, prefixes: Sequence[str]) -> dict[str, Tensor]:
    """d loss / d parameter of the parameters under `prefixes`, by name."""
    named = {k: p for k, p in model.named_parameters() if k.split(".")[0] in prefixes}
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {k: torch.zeros_like(p) if g is None else g for (k, p), g in zip(named.items(), found, strict=True)}


def vae_training(
    model: OccWorld, occupancy: Tensor, indices: Tensor | None = None
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Losses and gradients of stage 1 on frames (B, F, H, W, D), with the given codes (B·F, h, w) or the nearest."""
    frames, vq = occupancy.flatten(0, 1), model.vae.vqvae
    zq, embed, _ = vq.quantize(vq.quant_conv(model.vae.encode(frames)), indices)
    features = model.vae.decode_features(vq.post_quant_conv(zq))
    flat, target = model.vae.classify(features).flatten(0, -2), frames.reshape(-1).long()
    recon, lovasz = masked_cross_entropy(flat, target), lovasz_softmax(flat.softmax(-1), target)
    total = 10 * recon + lovasz + embed
    losses = {
        "ReconLoss": recon.item(),
        "LovaszLoss": lovasz.item(),
        "VQVAEEmbedLoss": embed.item(),
        "total": total.item(),
    }
    return losses, gradients(total, model, ["vae"])


def transformer_training(
    model: OccWorld, zq: Tensor, labels: Tensor, rel_poses: Tensor, modes: Tensor
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Losses and gradients of stage 2. zq (B, F, e, h, w), labels (B·(F − 1), h, w)."""
    logits, displacements = model(zq[:, :-1], rel_poses[:, :-1], modes[:, :-1])
    ce = F.cross_entropy(logits.flatten(0, 1), labels)
    plan = motion_loss(displacements, rel_poses[:, 1:], modes[:, 1:])
    total = ce + 0.1 * plan
    losses = {"CeLoss": ce.item(), "PlanRegLossLidar": plan.item(), "total": total.item()}
    return losses, gradients(total, model, ["transformer", "pose_encoder", "pose_decoder"])
