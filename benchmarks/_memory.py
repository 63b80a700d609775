"""What a training step of the 72 M configuration keeps for its gradients, and what a step costs; bf16, one window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from aerialworld_core.labels import FREE, MANMADE
from aerialworld_training.building import build
from aerialworld_training.losses import chunked_cross_entropy
from aerialworld_training.models.aerial import AerialOccWorld
from aerialworld_training.models.aerial.warp import fuse_history
from aerialworld_training.runconfig import load_run_config
from aerialworld_training.running.coding import decode
from aerialworld_training.voxels import sample_voxels

FRAMES, HISTORY = 10, 4


def saved_bytes(model: torch.nn.Module, forward: Callable[[], torch.Tensor]) -> int:
    """Bytes that autograd holds after `forward`, each storage once. Parameters are not counted, but the copies in bf16
    that autocast makes of them are; what is recomputed in the backward pass is not among them."""
    held: dict[int, int] = {}
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            held[storage.data_ptr()] = max(held.get(storage.data_ptr(), 0), storage.nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t), torch.autocast("cpu", torch.bfloat16):
        loss = forward()
    assert loss.requires_grad
    return sum(held.values())


def made_frames(shape: tuple[int, ...], frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    """States of blocks on a plane, 0.9 % occupied, moving by; and what is observed."""
    generator = torch.Generator().manual_seed(0)
    top = torch.randint(1, 8, shape[:2], generator=generator)
    z = torch.arange(shape[2])
    one = torch.where(z == top[..., None], MANMADE, FREE).to(torch.uint8)
    semantics = torch.stack([one.roll(k, 0) for k in range(frames)])
    return semantics, torch.stack([(z >= top[..., None]).roll(k, 0) for k in range(frames)])


def figures() -> dict[str, Any]:
    """Bytes kept by: stage 1 on one frame; stage 2's loss on codes; that with one decoded frame on the moved past."""
    config, _ = load_run_config("finetune_tokyo")
    torch.manual_seed(0)
    model = build(config)
    assert isinstance(model, AerialOccWorld)
    model.save_memory()
    shape, (h, w) = config.data.grid.shape, model.config.latent_shape
    semantics, observed = made_frames(shape, FRAMES)
    rows, weight = sample_voxels(semantics[5], observed[5], 100_000, 1.0, torch.Generator().manual_seed(0))
    target = semantics[5].flatten()[rows].long()

    def autoencoding() -> torch.Tensor:
        z = model.vae.vqvae.quant_conv(model.encode(semantics[5:6])).float()
        with torch.autocast("cpu", enabled=False):
            zq, embed, _ = model.vae.vqvae.quantize(z)
        features = decode(model, zq)[0].float().flatten(0, 2).index_select(0, rows)
        return chunked_cross_entropy(model.vae.classify, (features,), target, weight) + embed

    result: dict[str, Any] = {"stage_1_one_frame": saved_bytes(model, autoencoding)}
    model.freeze_vae()
    model.aerial.heights.requires_grad_(False)
    codes = torch.randint(model.config.n_e, (1, FRAMES, h, w))
    rel, modes = torch.randn(1, FRAMES, 2), F.one_hot(torch.full((1, FRAMES), 2), 3).float()
    ego, poses = torch.zeros(1, FRAMES, 8), torch.zeros(FRAMES, 3, dtype=torch.float64)
    poses[:, 0] = 2.0 * torch.arange(FRAMES)

    def tokens() -> tuple[torch.Tensor, torch.Tensor]:
        zq = model.vae.vqvae.lookup(codes[0, :-1])[None]
        logits, *_ = model.forward_with_turns(zq, rel[:, :-1], modes[:, :-1], ego[:, :-1])
        return logits, F.cross_entropy(logits[0].float(), codes[0, 1:])

    result["stage_2_codes"] = saved_bytes(model, lambda: tokens()[1])

    def decoded() -> torch.Tensor:
        logits, ce = tokens()
        zq = model.vae.vqvae.soft_lookup(logits[0, 4:5])
        samples = fuse_history(config.data.grid, semantics[:HISTORY], poses[:HISTORY], poses[5:6])[0]
        context = model.context(poses[HISTORY - 1 : HISTORY], poses[5:6], ego[0, HISTORY - 1 : HISTORY], 2)
        features = model.correct(zq, samples, context).flatten(0, 3).index_select(0, rows)
        votes = samples.flatten(1).T[rows]
        return ce + chunked_cross_entropy(model.classify, (features.float(), votes), target, weight)

    result["stage_2_with_decoded_frame"] = saved_bytes(model, decoded)
    return {
        "saved_bytes": result, "parameters": sum(p.numel() for p in model.parameters()), "precision": "bf16",
        "frames": FRAMES, "rollout_tflop": rollout_flops(model),
    }  # fmt: skip


def rollout_flops(model: AerialOccWorld) -> dict[str, float]:
    """TFLOP of the transformer for 4 + 6 frames, frames passed once (cached) and again at each step, counted on tensors
    without values."""
    h, w = model.config.latent_shape
    result = {}
    with torch.device("meta"):
        empty = build(load_run_config("finetune_tokyo")[0])
    for name, cached in (("cached", True), ("plain", False)):
        zq = torch.empty(1, HISTORY, model.config.e_dim, h, w, device="meta")
        rel, modes = torch.empty(1, HISTORY, 2, device="meta"), torch.empty(1, HISTORY, 3, device="meta")
        with FlopCounterMode(display=False) as counter:
            empty.rollout(zq, rel, modes, torch.empty(1, FRAMES - HISTORY, 3, device="meta"), cached=cached)
        result[name] = round(counter.get_total_flops() / 1e12, 3)
    return result
