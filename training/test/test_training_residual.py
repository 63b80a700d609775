"""Residual codes: sums by hand, depth 1 inside every depth, heads that read what was chosen, roll-outs that agree."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from aerialworld_core.errors import InputError
from aerialworld_training.codebook import restart_dead_codes, start_codebook
from aerialworld_training.evaluate import evaluate
from aerialworld_training.graphs import parts_of
from aerialworld_training.models.aerial import UNKNOWN, AerialConfig, AerialOccWorld, states
from aerialworld_training.models.aerial.residual import ResidualQuantizer
from aerialworld_training.models.occworld.quantizer import VectorQuantizer
from aerialworld_training.predictors import predictor
from aerialworld_training.running.forecasting import code_losses
from aerialworld_training.trained import load_trained

sys.path.insert(0, str(Path(__file__).parent))
from training_checkpoints import run_config, synthetic, write_run, write_split
from training_run import config, same
from training_tiny import AERIAL, CONFIG, GRID, noisy, random_window, tiny_aerial


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def deep(depth: int, seed: int = 0) -> AerialOccWorld:
    return tiny_aerial(seed, dataclasses.replace(AERIAL, code_depth=depth))


def quantizer(*tables: list[list[float]], beta: float = 0.25) -> ResidualQuantizer:
    """Of two-dimensional codes, given by depth."""
    vq = VectorQuantizer(len(tables[0]), 2, 2, beta)
    vq.embedding.weight.data = torch.tensor(tables[0])
    return ResidualQuantizer(vq, tuple(torch.nn.Parameter(torch.tensor(t)) for t in tables[1:]))


THREE = ([[0.0, 0.0], [4.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [-0.5, 0.0]])


# --- codes and their sums ---


def test_what_is_left_is_coded_again_by_hand() -> None:
    """(3.6, 1.1) → (4, 0), leaving (−0.4, 1.1) → (0, 1), leaving (−0.4, 0.1) → (−0.5, 0), leaving (0.1, 0.1)."""
    q = quantizer(*THREE)
    z = torch.tensor([3.6, 1.1]).view(1, 2, 1, 1).requires_grad_()
    zq, loss, indices = q.quantize(z)
    assert indices.shape == (1, 3, 1, 1) and indices.flatten().tolist() == [1, 1, 1]
    assert zq.flatten().tolist() == pytest.approx([3.5, 1.0])
    assert q.lookup(indices).flatten().tolist() == [3.5, 1.0]
    # (0.16 + 1.21) / 2, (0.16 + 0.01) / 2 and (0.01 + 0.01) / 2, their mean, once for the codes and β for the tables.
    assert loss.item() == pytest.approx(1.25 * (0.685 + 0.085 + 0.01) / 3)
    loss.backward(retain_graph=True)
    assert z.grad is not None
    assert z.grad.flatten().tolist() == pytest.approx([(-0.4 - 0.4 + 0.1) / 3, (1.1 + 0.1 + 0.1) / 3])
    for table, pull in zip(q.tables, ([0.4, -1.1], [0.4, -0.1], [-0.1, -0.1]), strict=True):
        assert table.grad is not None
        assert table.grad[1].tolist() == pytest.approx([0.25 * p / 3 for p in pull]) and not table.grad[0].any()
    z.grad = None
    zq.sum().backward()
    assert z.grad.flatten().tolist() == [1.0, 1.0]  # straight through
    given = torch.tensor([1, 0, 1]).view(1, 3, 1, 1)
    assert q.quantize(z, given)[0].flatten().tolist() == pytest.approx([3.5, 0.0])
    q.quant_conv.weight.data = torch.eye(2)[..., None, None]
    q.quant_conv.bias.data.zero_()
    assert torch.equal(q.encode_indices(z), indices)


def test_a_start_and_a_restart_reach_every_depth() -> None:
    """Points on (±4, ±1): the first table takes the centres of x, the second what is left of y."""
    z = torch.tensor([[4.0, 4, -4, -4] * 3, [1.0, -1, 1, -1] * 3]).view(1, 2, 1, 12)
    q = quantizer([[0.0, 0.0]] * 2, [[0.0, 0.0]] * 2)
    start_codebook(q, z, torch.Generator().manual_seed(0))
    assert (q.lookup(q.indices(z)) - z).abs().max() < 1e-6
    before = q.tables[0].clone()
    start_codebook(quantizer(before.tolist(), [[0.0, 0.0]] * 2), z, torch.Generator().manual_seed(1), first=1)
    assert torch.equal(before, q.tables[0])
    dead = quantizer(before.tolist(), [[50.0, 0.0], [0.0, 0.0]])
    dead.tables[0].requires_grad_(False)
    usage = torch.tensor([[12, 0], [0, 12]])  # the frozen table's unused code stays
    assert restart_dead_codes(dead, z, usage, torch.Generator().manual_seed(0)) == 1
    assert torch.equal(dead.tables[0], before) and torch.equal(dead.tables[1][1], torch.zeros(2))
    left = z[0, :, 0].T - before[torch.cdist(z[0, :, 0].T, before).argmin(1)]
    assert (left == dead.tables[1][0]).all(1).any()


def test_an_untrained_depth_changes_nothing() -> None:
    one, three = deep(1), deep(3)
    extra = set(three.state_dict()) - set(one.state_dict())
    assert extra and all(k.startswith("aerial.residual.") for k in extra)
    assert same(dict(one.state_dict()), {k: v for k, v in three.state_dict().items() if k not in extra})
    rng = np.random.default_rng(0)
    volume = torch.from_numpy(rng.choice([17, 17, 15, UNKNOWN], (2, *GRID.shape)).astype(np.uint8))
    zq, rel, modes = random_window(one, 4)
    ego, future = torch.randn(2, 4, 8), modes[:, -1:].expand(-1, 3, -1)
    with torch.no_grad():
        (f1, l1, i1), (f3, l3, i3) = one.reconstruct(volume), three.reconstruct(volume)
        assert torch.equal(f1, f3) and torch.allclose(l1, l3, rtol=1e-6) and torch.equal(i1, i3[:, 0])
        assert not i3[:, 1:].any()
        logits, moves, turns = three.forward_with_turns(zq, rel, modes, ego)
        plain = one.forward_with_turns(zq, rel, modes, ego)
        assert logits.shape == (2, 4, 3, CONFIG.n_e, *CONFIG.latent_shape) and not logits[:, :, 1:].any()
        assert torch.equal(logits[:, :, 0], plain[0]) and torch.equal(moves, plain[1]) and torch.equal(turns, plain[2])
    a, b = (m.rollout(zq, rel, modes, future, ego=ego) for m in (one, three))
    assert torch.equal(a.indices, b.indices[:, :, 0]) and torch.equal(a.fed_back, b.fed_back)
    assert torch.equal(one.quantizer.lookup(a.indices[0]), three.quantizer.lookup(b.indices[0]))


def test_sizes_and_kinds_that_do_not_go_with_depth_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"code_depth = 5.*1 to 4"):
        AerialOccWorld(CONFIG, AerialConfig(grid=GRID, code_depth=5))
    low = {"slots": 12, "slot_minimum": -2.0, "slot_size": 3.0, "expansion": 8}
    for kind in ("occworld", "auto"):
        with pytest.raises(InputError, match="768 keys stay as they are; residual codes are AerialOccWorld's"):
            config(tmp_path, tmp_path, model={**low, "kind": kind, "code_depth": 2})
    assert config(tmp_path, tmp_path, model={**low, "kind": "aerial", "code_depth": 2}).aerial_config().code_depth == 2


# --- the transformer's heads ---


def noisy_deep(depth: int = 3) -> AerialOccWorld:
    model = deep(depth)
    noisy(model.aerial.motion, 6)
    noisy(model.aerial.residual, 7, 0.3)  # type: ignore[arg-type]
    return model


def test_a_depth_reads_the_codes_before_it_and_no_others() -> None:
    model = noisy_deep()
    zq, rel, modes = random_window(model, 3)
    codes = torch.randint(CONFIG.n_e, (2, 3, 3, *CONFIG.latent_shape), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        greedy = model.forward_with_turns(zq, rel, modes, None)[0]
        known = model.forward_with_turns(zq, rel, modes, None, greedy.argmax(3))[0]
        assert torch.equal(greedy, known)  # given what it would take itself, it says the same
        before = model.forward_with_turns(zq, rel, modes, None, codes)[0]
        for depth in range(3):
            other = codes.clone()
            other[:, :, depth] = (other[:, :, depth] + 1) % CONFIG.n_e
            after = model.forward_with_turns(zq, rel, modes, None, other)[0]
            changed = [bool((after[:, :, k] != before[:, :, k]).any()) for k in range(3)]
            assert changed == [k > depth for k in range(3)]


def test_a_rollout_feeds_the_sum_back_with_and_without_kept_keys() -> None:
    model = noisy_deep()
    zq, rel, modes = random_window(model, 3)
    ego, future = torch.randn(2, 3, 8), modes[:, -1:].expand(-1, 5, -1)
    cached, plain = (model.rollout(zq, rel, modes, future, ego=ego, cached=c) for c in (True, False))
    assert cached.indices.shape == (2, 5, 3, *CONFIG.latent_shape) and cached.indices[:, :, 2].unique().numel() > 3
    assert torch.equal(cached.indices, plain.indices)
    assert torch.allclose(cached.logits, plain.logits, atol=1e-4 * float(plain.logits.abs().max()))
    assert torch.equal(cached.logits.argmax(3), cached.indices)
    # Teacher-forced over the sums of the codes that it took, the transformer says the same.
    still = model.rollout(zq, rel, modes, future)  # motion of its own, without ego
    moves = torch.cat([rel, still.fed_back[:, :-1]], 1)
    own = model.quantizer.lookup(still.indices[:, :-1].flatten(0, 1)).unflatten(0, (2, 4))
    held = torch.cat([modes, future[:, :-1]], 1)
    with torch.no_grad():
        logits = model(torch.cat([zq, own], 1), moves, held)[0]
    assert torch.allclose(logits[:, 2:], still.logits, atol=1e-4 * float(logits.abs().max()))


def test_soft_codes_are_the_greedy_sum_in_value_and_reach_every_head() -> None:
    model = noisy_deep()
    features = torch.randn(2, CONFIG.channels[0], *CONFIG.latent_shape, requires_grad=True)
    first = model.transformer.conv_out(features)
    soft = model.soft_lookup(first, features)
    with torch.no_grad():
        logits, codes = model.pick(first, features)
    assert torch.allclose(soft, model.quantizer.lookup(codes), atol=1e-5) and logits.shape[1] == 3
    (soft * torch.randn_like(soft)).sum().backward()
    assert model.aerial.residual is not None
    for part in (model.transformer.conv_out, *model.aerial.residual.heads):
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in part.parameters())


def test_the_loss_is_the_mean_over_depths_by_hand() -> None:
    logits = torch.zeros(1, 2, 4, 1, 1)
    logits[0, 0, :, 0, 0] = torch.tensor([0.0, np.log(3.0), 0.0, 0.0])
    loss, told = code_losses(logits, torch.tensor([1, 2]).view(1, 2, 1, 1))
    assert float(loss) == pytest.approx((np.log(2.0) + np.log(4.0)) / 2)  # 3 of 6, and 1 of 4
    assert told["ce_of_depth"] == pytest.approx(np.log(2)) and told["ce_of_depth_2"] == pytest.approx(np.log(4))
    assert (told["code_accuracy"], told["code_accuracy_2"]) == (1.0, 0.0)
    alone, told = code_losses(logits[:, 0], torch.tensor([1]).view(1, 1, 1))
    assert float(alone) == pytest.approx(np.log(2.0)) and "ce_of_depth" not in told


def test_whoever_uses_a_model_uses_its_deep_codes(tmp_path: Path) -> None:
    """An evaluation counts them by depth, a predictor passes them on, exported parts find them depth by depth."""
    write_split(tmp_path, tmp_path / "split.json", 8)
    grid = synthetic().GRID.pooled((2, 2, 1))
    write_run(tmp_path / "best.pth", run_config(grid, "model.code_depth=2"), change=noisy)
    trained = load_trained(tmp_path / "best.pth")
    model = trained.aerial
    assert model is not None and model.aerial.residual is not None
    result = evaluate(tmp_path, tmp_path / "split.json", tmp_path / "best.pth", tmp_path / "out", max_windows=1,
                      threads=1)  # fmt: skip
    counts = result["counts"]
    assert counts["codes"] == 32 and counts["codes_used"] == sum(counts["codes_used_by_depth"])
    rng = np.random.default_rng(0)
    semantics = rng.choice([17, 17, 15, 11], grid.shape).astype(np.uint8)
    observed, one = rng.random(grid.shape) < 0.7, predictor(trained)
    codes = one.codes(semantics, observed, 0)
    seen = states(torch.from_numpy(semantics), torch.from_numpy(observed))[None]
    with torch.no_grad():
        features, _, indices = model.reconstruct(seen)
        assert codes.shape == (2, *model.config.latent_shape) and torch.equal(codes, indices[0])
        assert (one.reconstruct(codes, 0) == model.likeliest(features)[0].numpy()).all()
        parts = parts_of(trained)
        assert torch.equal(parts["encoder"].module(seen), indices)
        _, moved, context = parts["decoder"].inputs.values()
        hints = model.hints(moved)
        corrected = model.correct(model.quantizer.lookup(indices), moved, hints, context)
        wanted = model.likeliest(corrected, moved, hints)[0]
        assert (parts["decoder"].module(indices, moved, context)[0][0] != wanted).float().mean() < 1e-3
        logits, _, _, image = parts["transformer"].module(*parts["transformer"].inputs.values())
        found = torch.zeros_like(indices)
        found[:, 0] = logits[:, -1].argmax(1)
        found[:, 1] = parts["residual"].module(image[:, -1], found)[:, 0].argmax(1)
        codes, *motion = parts["transformer"].inputs.values()
        zq = model.quantizer.lookup(codes[0])[None]
        greedy = model.forward_with_turns(zq, *motion)[0]
        assert torch.equal(greedy[:, -1].argmax(2), found) and found[:, 1].unique().numel() > 1
