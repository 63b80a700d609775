"""Records a set of our own, in the form of the original's: a guard against drift where the original's is not at hand.

python -m aerialworld_training.reference.write model_config.json DIR

Weights are random, with noise on norms and biases so that a missing one shows, and codes drawn from the encoder's own
outputs so that many are used. What is recorded is our model's output: worth as much as the comparison that our model
passed when it was recorded.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aerialworld_core.errors import AerialWorldError
from aerialworld_core.files import read_json, write_bytes
from aerialworld_core.labels import CAR, DRIVEABLE_SURFACE, FREE, MANMADE, TERRAIN
from aerialworld_training.models.occworld import OccWorld, OccWorldConfig
from aerialworld_training.reference import run
from aerialworld_training.reference.form import write_arrays


def street(shape: tuple[int, int, int], batch: int, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Occupancy (B, F, H, W, D) uint8 of ground, a road, buildings and a box that moves from frame to frame."""
    h, w, d = shape
    voxels = np.full((batch, frames, h, w, d), FREE, np.uint8)
    voxels[..., 0] = TERRAIN
    voxels[:, :, :, w // 3 : w // 2, 0] = DRIVEABLE_SURFACE
    for b in range(batch):
        for _ in range(4):
            x, y = (int(rng.integers(0, max(n - 2, 1))) for n in (h, w))
            voxels[b, :, x : x + max(h // 5, 1), y : y + max(w // 6, 1), : int(rng.integers(1, d + 1))] = MANMADE
        for f in range(frames):
            x = (f * 2 + b) % h
            voxels[b, f, x : x + 2, w // 3 : w // 3 + 2, min(1, d - 1)] = CAR
    return voxels


@torch.no_grad()
def disturb(model: OccWorld, occupancy: Tensor, generator: torch.Generator) -> None:
    """Noise on every norm and bias; the codebook becomes distinct encoder outputs, with repeats slightly moved."""
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1 or ".ln." in name:
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    vq = model.vae.vqvae
    z = run.in_chunks(model.vae.encode, occupancy.flatten(0, 1))
    points = vq.quant_conv(z).permute(0, 2, 3, 1).reshape(-1, vq.e_dim)
    chosen = points[torch.randint(len(points), (vq.n_e,), generator=generator)]
    vq.embedding.weight.copy_(chosen + 0.1 * points.std() * torch.randn(chosen.shape, generator=generator))


def record(
    config: dict[str, Any],
    folder: Path,
    *,
    batch: int,
    frames: int,
    context: int,
    seed: int,
    sample_above: int,
    samples: int,
    gradients: bool,
) -> None:
    """Write the set. `frames` per sequence, of which `context` come before the forecast."""
    torch.manual_seed(seed)
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    model = OccWorld(OccWorldConfig.from_original(config)).eval()
    shape = model.config.grid_shape
    occupancy = street(shape, batch, frames, rng)
    noise = rng.integers(0, 18, (batch, min(2, frames), *shape)).astype(np.uint8)
    rel_poses = rng.normal((0.0, 2.0), 0.5, (batch, frames, 2)).astype(np.float32)
    modes = np.eye(3, dtype=np.float32)[rng.integers(0, 3, (batch, frames))]
    x = torch.from_numpy(occupancy)
    disturb(model, x, generator)

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model_config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    save(folder / "state_dict.pt", {"state_dict": model.state_dict()})
    limits = sample_above, samples
    named = {"occ_structured": occupancy, "occ_random": noise, "rel_poses": rel_poses, "gt_mode": modes}
    np.savez_compressed(folder / "inputs.npz", **named, allow_pickle=False)
    rel, mode = torch.from_numpy(rel_poses), torch.from_numpy(modes)

    shown = {"struct": x[:, : min(4, frames)], "random": torch.from_numpy(noise)}
    vae: dict[str, np.ndarray] = {}
    for case, part in shown.items():
        z, indices, margin = run.encode(model, part.flatten(0, 1))
        out = run.vae_outputs(model, part, z, indices)
        out |= {"indices": indices.int(), "index_margin": margin.flatten(), "sem_pred": run.classes(out["logits"])[0]}
        vae |= {f"vae_{case}_{k}": v.numpy() for k, v in out.items()}
    write_arrays(folder / "outputs_vae.npz", vae, *limits)

    z, indices, _ = run.encode(model, x.flatten(0, 1))
    forced = run.teacher_forced(model, z, indices, rel, mode)
    labels = indices.unflatten(0, (batch, frames))[:, 1:].flatten(0, 1)
    forced["tf_ce_labels"] = labels.int()
    forced["tf_logits"] = run.decode(model, forced["tf_ce_inputs"].argmax(1)).unflatten(0, (batch, frames - 1))
    forced["tf_sem_pred"] = run.classes(forced["tf_logits"])[0]
    forced["tf_iou_pred"] = run.occupied(forced["tf_sem_pred"])
    write_arrays(folder / "outputs_teacher_forced.npz", {k: v.numpy() for k, v in forced.items()}, *limits)

    end = min(frames, model.config.num_frames + 1)
    zq = run.straight_through(model, z, indices).unflatten(0, (batch, frames))
    rolled = run.rolled_out(model, zq[:, :context], rel, mode, context, end, None, cached=False)
    lead = rolled["ar_ce_inputs"].topk(2, 1).values
    rolled["ar_logits"] = run.decode(model, rolled["ar_indices"]).unflatten(0, (batch, end - context))
    rolled["ar_sem_pred"] = run.classes(rolled["ar_logits"])[0]
    rolled["ar_iou_pred"] = run.occupied(rolled["ar_sem_pred"])
    rolled |= {
        "ar_frames_start_mid_end_nin": torch.tensor([0, context, end, frames]),
        "ar_ce_labels": indices.unflatten(0, (batch, frames))[:, context:end].flatten(0, 1).int(),
        "ar_index_margin": lead[:, 0] - lead[:, 1],
        "ar_indices": rolled["ar_indices"].int(),
    }
    write_arrays(folder / "outputs_autoregressive.npz", {k: v.numpy() for k, v in rolled.items()}, *limits)
    if gradients:
        for name, (losses, grads) in {
            "train_vae_grads.pt": run.vae_training(model, shown["struct"]),
            "train_worldmodel_grads.pt": run.transformer_training(model, zq.detach(), labels, rel, mode),
        }.items():
            total = losses.pop("total")
            save(folder / name, {"loss_total": total, "loss_dict": losses, "grads": grads})


def save(path: Path, data: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    torch.save(data, buffer)
    write_bytes(path, buffer.getbuffer())


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m aerialworld_training.reference.write", description=__doc__.split("\n")[0]
    )
    parser.add_argument("config", type=Path, help="the original's nested model dictionary as JSON")
    parser.add_argument("folder", type=Path, help="where the set goes")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--frames", type=int, help="frames per sequence (default: num_frames + 1)")
    parser.add_argument("--context", type=int, default=3, help="frames before the forecast (default 3)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sample-above", type=int, default=6_000_000, help="larger arrays are kept as samples")
    parser.add_argument("--samples", type=int, default=40_000, help="how many of a larger array (default 40000)")
    parser.add_argument("--no-gradients", action="store_true")
    options = parser.parse_args(arguments)
    try:
        config = read_json(options.config)
        frames = options.frames or int(config["transformer"]["num_frames"]) + 1
        record(
            config, options.folder, batch=options.batch, frames=frames, context=options.context, seed=options.seed,
            sample_above=options.sample_above, samples=options.samples, gradients=not options.no_gradients,
        )  # fmt: skip
    except AerialWorldError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
