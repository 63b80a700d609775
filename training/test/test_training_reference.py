"""The model against numbers that the original code produced."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from aerialworld_core.errors import InputError
from aerialworld_training.losses import lovasz_softmax, masked_cross_entropy, motion_loss
from aerialworld_training.models.occworld import OccWorld, OccWorldConfig, load_complete, read_state_dict

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = Path(os.environ.get("AERIALWORLD_SHARED", ROOT.parent / "shared")) / "reference" / "occworld"
needs_reference = pytest.mark.skipif(
    not (REFERENCE / "small" / "state_dict.pt").exists(), reason="shared/reference/occworld is absent"
)


def close(value: torch.Tensor, reference: np.ndarray) -> None:
    value, reference = value.detach().double().numpy(), np.asarray(reference, np.float64)
    assert value.shape == reference.shape
    deviation = np.abs(value - reference).max()
    assert deviation <= 1e-4 * max(1.0, np.abs(reference).max()), deviation


@pytest.fixture(scope="module")
def model() -> OccWorld:
    config = OccWorldConfig.from_original(json.loads((REFERENCE / "small" / "model_config.json").read_text()))
    model = OccWorld(config)
    state = read_state_dict(REFERENCE / "small" / "state_dict.pt")
    report = load_complete(model, state, "state_dict.pt")
    assert report.complete and report.matched == len(state)
    return model.eval()


def load(name: str) -> dict[str, np.ndarray]:
    with np.load(REFERENCE / "small" / name, allow_pickle=False) as archive:
        return {k: archive[k] for k in archive}


@needs_reference
@pytest.mark.parametrize("case", ["struct", "random"])
def test_vae_equals_the_original(model: OccWorld, case: str) -> None:
    inputs, ref = load("inputs.npz"), load("outputs_vae.npz")
    x = inputs["occ_structured"][:, :4] if case == "struct" else inputs["occ_random"]
    voxels = torch.from_numpy(x).reshape(-1, *x.shape[2:])
    with torch.no_grad():
        z = model.vae.encode(voxels)
        close(z, ref[f"vae_{case}_z"])
        close(model.vae.vqvae.quant_conv(z), ref[f"vae_{case}_z_quantconv"])
        zq, embed, indices = model.vae.vqvae(z)
        clear = ref[f"vae_{case}_index_margin"] > 1e-3
        assert (indices.numpy().ravel()[clear] == ref[f"vae_{case}_indices"].ravel()[clear]).all()
        close(zq, ref[f"vae_{case}_zq"])
        logits = model.vae.decode(zq)
    close(logits.reshape(ref[f"vae_{case}_logits"].shape), ref[f"vae_{case}_logits"])
    flat, target = logits.reshape(-1, 18), voxels.reshape(-1).long()
    recon, lovasz = masked_cross_entropy(flat, target), lovasz_softmax(flat.softmax(-1), target)
    total = 10 * recon + lovasz + embed
    close(torch.stack([recon, lovasz, embed, total]), ref[f"vae_{case}_losses_recon_lovasz_embed_total"])


@needs_reference
def test_teacher_forced_equals_the_original(model: OccWorld) -> None:
    inputs, ref = load("inputs.npz"), load("outputs_teacher_forced.npz")
    x = torch.from_numpy(inputs["occ_structured"])
    rel, mode = torch.from_numpy(inputs["rel_poses"]), torch.from_numpy(inputs["gt_mode"])
    b, f = x.shape[:2]
    with torch.no_grad():
        zq, _, indices = model.vae.vqvae(model.vae.encode(x.reshape(-1, *x.shape[2:])))
        zq, indices = zq.reshape(b, f, *zq.shape[1:]), indices.reshape(b, f, *indices.shape[1:])
        close(model.encode_pose(rel[:, :-1], mode[:, :-1]), ref["pose_tokens_in"])
        logits, displacements = model(zq[:, :-1], rel[:, :-1], mode[:, :-1])
    flat = logits.flatten(0, 1)
    labels = indices[:, 1:].flatten(0, 1)
    assert (labels.numpy() == ref["tf_ce_labels"]).all()
    close(flat, ref["tf_ce_inputs"])
    close(displacements, ref["tf_pose_decoded"])
    ce = F.cross_entropy(flat, labels)
    plan = motion_loss(displacements, rel[:, 1:], mode[:, 1:])
    close(torch.stack([ce, plan, ce + 0.1 * plan]), ref["tf_losses_ce_plan_total"])
    decoded = model.vae.decode(model.vae.vqvae.lookup(flat.argmax(1)))
    close(decoded.reshape(ref["tf_logits"].shape), ref["tf_logits"])


@needs_reference
def test_rollout_equals_the_original(model: OccWorld) -> None:
    inputs, ref = load("inputs.npz"), load("outputs_autoregressive.npz")
    _, mid, end, n_in = ref["ar_frames_start_mid_end_nin"].tolist()
    x = torch.from_numpy(inputs["occ_structured"][:, :n_in])
    rel, mode = torch.from_numpy(inputs["rel_poses"]), torch.from_numpy(inputs["gt_mode"])
    b = x.shape[0]
    with torch.no_grad():
        zq = model.vae.vqvae(model.vae.encode(x[:, :mid].reshape(-1, *x.shape[2:])))[0]
        out = model.rollout(zq.reshape(b, mid, *zq.shape[1:]), rel[:, :mid], mode[:, :mid], mode[:, mid:end])
        logits = model.vae.decode(model.vae.vqvae.lookup(out.indices.flatten(0, 1)))
    close(out.logits.flatten(0, 1), ref["ar_ce_inputs"])
    assert (out.indices.flatten(0, 1).numpy() == ref["ar_indices"]).all()
    close(out.displacements, ref["ar_pose_decoded"])
    close(out.fed_back, ref["ar_poses_fed_back"])
    close(logits.reshape(ref["ar_logits"].shape), ref["ar_logits"])
    assert (logits.argmax(-1).numpy().reshape(ref["ar_sem_pred"].shape) == ref["ar_sem_pred"]).mean() > 0.9999


@needs_reference
def test_gradients_equal_the_original(model: OccWorld) -> None:
    inputs = load("inputs.npz")
    x = torch.from_numpy(inputs["occ_structured"][:, :4])
    ref = torch.load(REFERENCE / "small" / "train_vae_grads.pt", weights_only=True)
    voxels = x.reshape(-1, *x.shape[2:])
    model.zero_grad()
    features, embed, _ = model.vae(voxels)
    flat, target = model.vae.classify(features).reshape(-1, 18), voxels.reshape(-1).long()
    total = 10 * masked_cross_entropy(flat, target) + lovasz_softmax(flat.softmax(-1), target) + embed
    total.backward()
    assert abs(total.item() - ref["loss_total"]) < 1e-4 * ref["loss_total"]
    own = dict(model.vae.named_parameters())
    assert len(ref["grads"]) == len(own)
    for name, gradient in ref["grads"].items():
        close(own[name.removeprefix("vae.")].grad, gradient.numpy())

    ref = torch.load(REFERENCE / "small" / "train_worldmodel_grads.pt", weights_only=True)
    x = torch.from_numpy(inputs["occ_structured"])
    rel, mode = torch.from_numpy(inputs["rel_poses"]), torch.from_numpy(inputs["gt_mode"])
    b, f = x.shape[:2]
    with torch.no_grad():
        zq, _, indices = model.vae.vqvae(model.vae.encode(x.reshape(-1, *x.shape[2:])))
    zq, indices = zq.reshape(b, f, *zq.shape[1:]), indices.reshape(b, f, *indices.shape[1:])
    model.zero_grad()
    logits, displacements = model(zq[:, :-1], rel[:, :-1], mode[:, :-1])
    loss = F.cross_entropy(logits.flatten(0, 1), indices[:, 1:].flatten(0, 1))
    loss = loss + 0.1 * motion_loss(displacements, rel[:, 1:], mode[:, 1:])
    loss.backward()
    assert abs(loss.item() - ref["loss_total"]) < 1e-4 * ref["loss_total"]
    own = dict(model.named_parameters())
    for name, gradient in ref["grads"].items():
        close(own[name].grad, gradient.numpy())


@pytest.mark.skipif(not (REFERENCE / "occworld_state_dict.csv").exists(), reason="shared/reference/occworld is absent")
def test_official_sizes_have_the_public_checkpoints_keys() -> None:
    with torch.device("meta"):
        state = OccWorld(OccWorldConfig()).state_dict()
    with open(REFERENCE / "occworld_state_dict.csv") as handle:
        table = {row["key"]: row["shape"] for row in csv.DictReader(handle)}
    assert len(table) == 768
    assert {k: "x".join(map(str, v.shape)) for k, v in state.items()} == table


def test_incomplete_checkpoint_is_refused_and_nothing_is_loaded(tmp_path: Path) -> None:
    config = OccWorldConfig(
        grid_shape=(8, 8, 2), expansion=2, ch=4, ch_mult=(1, 2), num_res_blocks=1, attn_resolutions=(), z_channels=8,
        n_e=4, e_dim=8, num_frames=3, channels=(8, 8), temporal_attn_layers=1, pose_attn_layers=1, num_heads=2,
        pose_channels=8,
    )  # fmt: skip
    torch.manual_seed(0)
    source, target = OccWorld(config), OccWorld(config)
    before = {k: v.clone() for k, v in target.state_dict().items()}
    state = {f"module.{k}": v for k, v in source.state_dict().items()}
    state.pop("module.transformer.conv_out.bias")
    state["module.head.weight"] = torch.zeros(1)
    torch.save({"state_dict": state}, tmp_path / "file.pth")
    with pytest.raises(InputError, match=r"1 missing, 1 unexpected.*transformer\.conv_out\.bias"):
        load_complete(target, read_state_dict(tmp_path / "file.pth"), "file.pth")
    assert all(torch.equal(v, before[k]) for k, v in target.state_dict().items())
