"""AerialOccWorld: untrained it is what it is built around, and every addition begins without effect."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from aerialworld_core import warp as core_warp
from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose
from aerialworld_core.grid import DEFAULT_GRID, VoxelGrid
from aerialworld_core.labels import CAR, FREE, MANMADE
from aerialworld_training.baselines import fill_from_neighbours
from aerialworld_training.baselines import fuse_history as baseline_fused
from aerialworld_training.dataset.frames import PooledSession
from aerialworld_training.dataset.motion import displacements
from aerialworld_training.losses import chunked_cross_entropy, masked_cross_entropy
from aerialworld_training.models.aerial import UNKNOWN, AerialConfig, AerialOccWorld, FutureMotion, states
from aerialworld_training.models.aerial.config import STATES
from aerialworld_training.models.aerial.fill import NONE, fill_hints, with_hints
from aerialworld_training.models.aerial.heights import HeightAdapter, overlap
from aerialworld_training.models.aerial.motion import EGO, ego_features, follow, predicted_ego, turn_of
from aerialworld_training.models.aerial.warp import HINT_SCALE, WarpEvidence, column_sources, fuse_history
from aerialworld_training.models.occworld import OccWorld, OccWorldConfig, load_complete
from aerialworld_training.models.occworld.state_dict_adapter import to_original
from aerialworld_training.occupied import Occupied

sys.path.insert(0, str(Path(__file__).parent))
from training_tiny import AERIAL, CONFIG, GRID, noisy, random_window, tiny, tiny_aerial

from aerialworld_training.box_city import BoxCity, BoxSession

HISTORY, FUTURE = 4, 6


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def session() -> PooledSession:
    run = BoxSession(BoxCity(3), GRID, frames=10, start=(40.0, 5.0), yaw=2, yaw_rate=0.3, speed=5.3)
    return PooledSession.from_source("s", run, (1, 1, 1))


@dataclasses.dataclass
class Inputs:
    states: torch.Tensor
    poses: torch.Tensor
    rel: torch.Tensor
    modes: torch.Tensor
    ego: torch.Tensor
    future: FutureMotion


def inputs_of(session: PooledSession) -> Inputs:
    h = HISTORY
    volumes = [
        states(torch.from_numpy(session.semantics(n)), torch.from_numpy(session.observed_mask(n))) for n in range(h)
    ]
    poses = torch.from_numpy(np.column_stack([session.position[:, :2], session.yaw]))[None]
    rel = torch.from_numpy(displacements(session.position, session.yaw)).float()[None]
    ego = ego_features(session.position, session.orientation, 0.5, session.datum, 1.25)[None]
    modes = torch.eye(3)[torch.full((1, h), 2)]
    future = FutureMotion(rel[:, h - 1 :], ego[:, h - 1 : -1], poses[:, h:])
    return Inputs(torch.stack(volumes)[None], poses[:, :h], rel[:, : h - 1], modes, ego[:, :h], future)


def test_an_untrained_model_is_the_fused_warp(session: PooledSession) -> None:
    model, given = tiny_aerial(), inputs_of(session)
    result = model.forecast(
        given.states, given.poses, given.rel, given.modes, given.ego, FUTURE, future=given.future
    )  # fmt: skip
    changed = 0
    for k in range(FUTURE):
        expected, seen = baseline_fused(session, range(HISTORY), HISTORY + k)
        assert (result.classes[0, k].numpy() == expected).all()
        changed += int((expected != session.semantics(HISTORY - 1)).sum())
        assert 0.2 < seen.mean() < 1.0
    assert changed > 1000  # a turning vehicle: the warp is no copy
    # Its logits are the warp's, bit for bit.
    samples = fuse_history(GRID, given.states[0], given.poses[0], given.future.poses[0, 2:3])[0]
    zq = model.vae.vqvae.lookup(result.rollout.indices[0, 2:3])
    context = model.context(given.poses[:, -1], given.future.poses[:, 2], given.ego[:, -1], 3)
    hints = model.hints(samples)
    features = model.correct(zq, samples, hints, context)
    rows = samples.flatten(1).T
    assert torch.equal(model.classify(features.flatten(0, -2), rows, hints.flatten()), model.aerial.warp(rows))
    plain = model.forecast(
        given.states, given.poses, given.rel, given.modes, given.ego, FUTURE, future=given.future, from_past=False
    )
    codes = model.vae.vqvae.lookup(plain.rollout.indices[0, :1])
    wanted = model.vae.classify(model.decode_features(codes)).argmax(-1)[0]
    assert torch.equal(plain.classes[0, 0].long(), wanted)


def test_own_motion_moves_the_past_along_the_decoded_path(session: PooledSession) -> None:
    model, given = tiny_aerial(), inputs_of(session)
    noisy(model.aerial.motion.head, 4)
    result = model.forecast(given.states, given.poses, given.rel, given.modes, given.ego, 2)
    assert result.rollout.climb_turn.abs().min() > 0
    moved = fuse_history(GRID, given.states[0], given.poses[0], result.poses[0])[:, 0]
    expected = moved.masked_fill(moved == UNKNOWN, FREE)
    assert torch.equal(result.classes[0], expected)
    assert not torch.equal(expected[0], given.states[0, -1].masked_fill(given.states[0, -1] == UNKNOWN, FREE))
    # The past alone decides: what will be seen of the future is not an argument of anything here.
    mode, rolled = given.modes[:, -1], result.rollout
    step = (rolled.displacements[:, 0] * mode[..., None]).sum(1)
    path = follow(result.poses[:, 0], step[:, None], rolled.climb_turn[:, :1, 1])
    assert torch.allclose(result.poses[:, 1], path[:, 0])


def test_columns_move_as_in_core() -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        a, b = (np.array([*rng.uniform(-500, 500, 2), rng.uniform(-4, 4)]) for _ in range(2))
        b[:2] = a[:2] + rng.uniform(-20, 20, 2)
        wanted, inside = core_warp.column_sources(
            GRID, *(Pose.from_rpy(p[0], p[1], 30.0, 0.02, -0.03, p[2]) for p in (a, b))
        )
        own, within = column_sources(GRID, torch.from_numpy(a), torch.from_numpy(b))
        assert (own.numpy() == wanted).all() and (within.numpy() == inside).all()


def test_votes_of_samples_are_the_area_that_a_voxel_takes() -> None:
    """Moved by a quarter voxel, three of four samples across stay in their voxel."""
    grid = VoxelGrid((-4, -4, 0), (1, 1, 1), (8, 8, 1))
    volume = torch.full((1, 8, 8, 1), FREE, dtype=torch.uint8)
    volume[0, 4, 4, 0] = MANMADE
    still, moved = torch.zeros(1, 3, dtype=torch.float64), torch.tensor([[0.25, 0.0, 0.0]], dtype=torch.float64)
    votes = fuse_history(grid, volume, still, moved, samples=4)[0] == MANMADE
    share = votes.float().mean(0)[..., 0]
    assert share[4, 4] == 0.75 and share[3, 4] == 0.25 and share.sum() == 1.0
    fused = fuse_history(grid, volume, still, moved, samples=4)[0, :, 3:5, 4, 0].T
    logits = WarpEvidence()(fused).detach()
    assert logits[0, [MANMADE, FREE]].tolist() == pytest.approx([1.0, 3.0])  # shares of a confidence of 4
    assert logits[1, [MANMADE, FREE]].tolist() == pytest.approx([3.0, 1.0])
    whole = fuse_history(grid, volume, still, torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64), samples=3)[0]
    assert (whole[:, 3, 4] == MANMADE).all() and (whole[:, 7] == UNKNOWN).all()


def test_hints_are_the_nearest_seen_voxels_and_tell_how_far(session: PooledSession) -> None:
    voxels = torch.full((1, 9, 7, 2), UNKNOWN, dtype=torch.uint8)
    voxels[0, 4, 3, 0] = 11
    voxels[0, 8, 3, 0] = FREE
    grid = VoxelGrid((0, 0, 0), (1, 1, 2), (9, 7, 2))
    hints = fill_hints(grid, voxels, 4.0)  # bands of 1 m
    away = (torch.arange(9)[:, None] - 4).abs() + (torch.arange(7) - 3).abs()
    for x in range(9):
        for y in range(7):
            d, f = int(away[x, y]), abs(x - 8) + abs(y - 3)
            state, d = (11, d) if d < f else (FREE, f) if f < d else (FREE, d)  # of equals the one in front
            if d == 0 or d > 4:
                assert hints[0, x, y, 0] == NONE, (x, y)
            elif away[x, y] != f or y == 3:
                assert hints[0, x, y, 0] == (d - 1) * STATES + state, (x, y)
    assert (hints[..., 1] == NONE).all()  # another height
    assert with_hints(voxels, hints)[0, 3, 3, 0] == 11 and with_hints(voxels, hints)[0, 4, 3, 0] == 11
    assert (fill_hints(grid, voxels, 0.0) == NONE).all()
    # The states are those of the baseline's fill.
    fused, seen = baseline_fused(session, range(HISTORY), HISTORY + 2)
    filled = fill_from_neighbours(Occupied.of(fused), seen, round(8.0 / GRID.voxel_size[0])).volume(GRID.shape)
    moved = states(torch.from_numpy(fused), torch.from_numpy(seen))[None]
    ours = with_hints(moved, fill_hints(GRID, moved, 8.0))[0].numpy()
    assert (np.minimum(ours, FREE) == filled).all()
    assert ((ours != FREE) & (ours != UNKNOWN) & ~seen).sum() > 100 < ((ours == FREE) & ~seen).sum()


def test_hints_have_a_say_by_state_and_distance_that_begins_at_zero() -> None:
    evidence = WarpEvidence()
    samples = torch.tensor([[UNKNOWN], [UNKNOWN], [UNKNOWN], [15]], dtype=torch.uint8)
    hints = torch.tensor([11, 3 * STATES + 15, NONE, NONE], dtype=torch.uint8)
    assert torch.equal(evidence(samples, hints), evidence(samples))
    with torch.no_grad():
        evidence.hint_confidence[0, 11] = 8.0 / HINT_SCALE
        evidence.hint_confidence[3, 15] = 4.0 / HINT_SCALE
    wanted = torch.zeros(4, 18)
    wanted[0, 11], wanted[1, 15] = 8.0, 4.0
    assert torch.equal(evidence(samples, hints) - evidence(samples), wanted)


def test_the_later_observation_wins_and_the_unseen_stays_open() -> None:
    grid = VoxelGrid((-2, -2, 0), (1, 1, 1), (4, 4, 2))
    old = torch.full((4, 4, 2), FREE, dtype=torch.uint8)
    old[1, 1] = torch.tensor([CAR, MANMADE], dtype=torch.uint8)
    new = torch.full((4, 4, 2), UNKNOWN, dtype=torch.uint8)
    new[1, 1, 0] = FREE  # the car has left; the upper voxel is not seen again
    still = torch.zeros(2, 3, dtype=torch.float64)
    fused = fuse_history(grid, torch.stack([old, new]), still, still[:1])[0, 0]
    assert fused[1, 1].tolist() == [FREE, MANMADE]


def test_heights_of_the_default_grid_are_the_documented_ones() -> None:
    reads, spread, above = overlap(OccWorldConfig(), AerialConfig())
    assert reads.argmax(0).tolist() == [0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5]
    assert torch.allclose(spread.sum(1), torch.ones(121)) and (spread[2] * 3 == reads[2]).all()
    assert above[:6].sum() == 0 and above[6:].all()


def test_tall_columns_give_the_low_models_latent() -> None:
    """What the plain encoder makes of the resampled low grid, the adapter makes of the tall one."""
    model = tiny_aerial()
    rng = np.random.default_rng(2)
    tall = torch.from_numpy(rng.integers(0, 18, (2, *GRID.shape), dtype=np.uint8))
    reads = overlap(CONFIG, AERIAL)[0].argmax(0)
    with torch.no_grad():
        wanted = model.vae.encode(tall[..., reads])
        assert (model.encode(tall) - wanted).abs().max() < 1e-4 * wanted.abs().max()
        # Unknown begins as a copy of free, and the 121-level head adds nothing to the slots' mean.
        blind = torch.where(tall == FREE, UNKNOWN, tall).to(torch.uint8)
        assert (model.encode(blind) - wanted).abs().max() < 1e-4 * wanted.abs().max()
        zq = model.vae.vqvae(wanted)[0]
        slots = model.vae.decode_features(model.vae.vqvae.post_quant_conv(zq))
        levels = model.decode_features(zq)
        assert torch.allclose(levels[..., 1, :], slots[..., reads == 1, :].mean(-2), atol=1e-5)
        top = slots[..., -1, :] + model.vae.class_embeds.weight[FREE]
        assert torch.allclose(levels[..., 20, :], top, atol=1e-5)


def test_with_equal_heights_the_model_is_occworld() -> None:
    grid = VoxelGrid((-16.0, -16.0, -1.0), (1.6, 1.6, 0.4), CONFIG.grid_shape)
    model = tiny_aerial(aerial=dataclasses.replace(AERIAL, grid=grid))
    rng = np.random.default_rng(2)
    volume = torch.from_numpy(rng.integers(0, 18, (2, *CONFIG.grid_shape), dtype=np.uint8))
    with torch.no_grad():
        z = model.vae.encode(volume)
        assert torch.allclose(model.encode(volume), z, atol=1e-5 * float(z.abs().max()))
        features, loss, indices = model.vae(volume)
        own_features, own_loss, own_indices = model.reconstruct(volume)
        assert torch.equal(indices, own_indices) and torch.allclose(loss, own_loss, rtol=1e-5)
        assert torch.allclose(features, own_features, atol=1e-5)


def test_sparse_columns_equal_the_dense_sum() -> None:
    torch.manual_seed(0)
    adapter = HeightAdapter(CONFIG, AERIAL)
    noisy(adapter, 3, 0.5)
    embeds = torch.randn(18, CONFIG.expansion)
    rng = np.random.default_rng(5)
    volume = torch.from_numpy(rng.choice([FREE, FREE, FREE, UNKNOWN, 4, 15], (2, *GRID.shape)).astype(np.uint8))
    table = adapter.columns(embeds)
    dense = table[torch.arange(GRID.shape[2]), volume.long()].sum(-2).permute(0, 3, 1, 2)
    assert torch.allclose(adapter.encode(volume, embeds), dense, atol=1e-4)
    for constant in (FREE, UNKNOWN):
        same = torch.full((1, *GRID.shape), constant, dtype=torch.uint8)
        assert torch.allclose(adapter.encode(same, embeds)[0, :, 3, 4], table[:, constant].sum(0), atol=1e-4)


def test_ego_motion_begins_without_effect_and_then_reaches_the_occupancy() -> None:
    model = tiny_aerial()
    zq, rel, modes = random_window(model, 5)
    ego = torch.randn(2, 5, len(EGO))
    with torch.no_grad():
        plain = OccWorld.forward(model, zq, rel, modes)
        conditioned = model(zq, rel, modes, ego)
        assert all(torch.equal(a, b) for a, b in zip(plain, conditioned, strict=True))
        noisy(model.aerial.motion, 6)
        logits = model(zq, rel, modes, ego)[0]
        other = ego.clone()
        other[:, 3, 1] += 1.0
        moved = model(zq, rel, modes, other)[0]
        assert torch.equal(moved[:, :3], logits[:, :3])  # causal: earlier frames know nothing of it
        assert (moved[:, 3:] - logits[:, 3:]).abs().amax() > 1e-3


def test_conditioned_rollout_is_the_same_with_and_without_kept_keys() -> None:
    model = tiny_aerial()
    noisy(model.aerial.motion, 6)
    zq, rel, modes = random_window(model, 4)
    ego, future_modes = torch.randn(2, 4, len(EGO)), modes[:, -1:].expand(-1, 6, -1)
    runs = [model.rollout(zq, rel, modes, future_modes, cached=cached, ego=ego) for cached in (True, False)]
    for name in ("logits", "displacements", "fed_back", "climb_turn"):
        a, b = (getattr(r, name) for r in runs)
        assert torch.allclose(a, b, atol=1e-4 * max(1.0, float(b.abs().max())))
    assert torch.equal(runs[0].indices, runs[1].indices)


def test_given_motion_is_fed_in_place_of_the_decoded(session: PooledSession) -> None:
    model, given = tiny_aerial(), inputs_of(session)
    noisy(model.aerial.motion, 6)
    zq, _, _ = random_window(model, HISTORY, batch=1)
    rel = torch.cat([given.rel, given.future.rel_poses[:, :1]], 1)
    held = given.modes[:, -1:].expand(-1, FUTURE, -1)
    out = model.rollout(zq, rel, given.modes, held, ego=given.ego, future=given.future)
    assert torch.equal(out.fed_back[:, :-1], given.future.rel_poses[:, 1:])
    # Teacher-forced over the same frames, with the codes it took, the transformer says the same.
    frames = torch.cat([zq, model.vae.vqvae.lookup(out.indices[0, :-1])[None]], 1)
    motion = torch.cat([given.rel, given.future.rel_poses], 1)
    ego = torch.cat([given.ego, given.future.ego[:, 1:]], 1)
    modes = given.modes[:, :1].expand(-1, frames.shape[1], -1)
    with torch.no_grad():
        logits = model(frames, motion, modes, ego)[0]
    assert torch.allclose(logits[:, HISTORY - 1 :], out.logits, atol=1e-4)


def test_every_addition_learns_and_a_frozen_vae_freezes_nothing_else() -> None:
    model = tiny_aerial()
    model.freeze_vae()
    assert not any(p.requires_grad for p in model.vae.parameters())
    assert all(p.requires_grad for n, p in model.named_parameters() if not n.startswith("vae."))
    rng = np.random.default_rng(0)
    volume = torch.from_numpy(rng.choice([FREE, FREE, 15, UNKNOWN], (1, *GRID.shape)).astype(np.uint8))
    target = volume.masked_fill(volume == UNKNOWN, FREE).flatten().long()
    known = torch.from_numpy(rng.random(target.shape) < 0.8).float()
    zq, rel, modes = random_window(model, 3, batch=1)
    logits, moves, turns = model.forward_with_turns(zq, rel, modes, torch.randn(1, 3, len(EGO)))
    predicted = model.vae.vqvae.soft_lookup(logits[:, -1])
    samples = volume.flatten()[:, None]
    hints = model.hints(volume)
    features = model.correct(predicted, volume, hints, torch.randn(1, 7)).reshape(-1, CONFIG.expansion)
    with torch.no_grad():  # as after some training: hints speak
        model.aerial.warp.hint_confidence.normal_()
    beside = hints.flatten()
    whole = masked_cross_entropy(model.classify(features, samples, beside), target, known)
    loss = chunked_cross_entropy(model.classify, (features, samples, beside), target, known, chunk=1000)
    assert torch.allclose(loss, whole, rtol=1e-5)
    table = model.decode_features(model.vae.vqvae.quant_conv(model.encode(volume)))
    (loss + moves.square().sum() + turns.sum() + logits.square().mean() + table.square().mean()).backward()
    for name in ("heights.table", "heights.head.weight", "correction.conv_out.weight", "warp.log_confidence",
                 "warp.hint_confidence", "motion.films.0.weight", "motion.columns.weight",
                 "motion.head.weight"):  # fmt: skip
        gradient = model.get_parameter(f"aerial.{name}").grad
        assert gradient is not None and gradient.abs().max() > 0, name


def test_soft_codes_are_hard_in_value_and_soft_in_gradient() -> None:
    vq = tiny().vae.vqvae
    logits = torch.randn(2, CONFIG.n_e, 3, 3, requires_grad=True)
    codes = vq.soft_lookup(logits)
    assert torch.allclose(codes, vq.lookup(logits.argmax(1)), atol=1e-6)
    (codes * torch.randn_like(codes)).sum().backward()
    assert logits.grad is not None and logits.grad.abs().min() > 0


def test_a_path_is_followed_by_right_forward_and_turn() -> None:
    start = torch.tensor([[10.0, 20.0, np.pi / 2]], dtype=torch.float64)  # looks along +y
    square = follow(start, torch.tensor([[[0.0, 2.0]] * 4]), torch.full((1, 4), np.pi / 2))
    wanted = [[10, 22, np.pi], [8, 22, 1.5 * np.pi], [8, 20, 2 * np.pi], [10, 20, 2.5 * np.pi]]
    assert np.allclose(square[0].numpy(), wanted, atol=1e-6)
    aside = follow(start, torch.tensor([[[3.0, 0.0]]]), torch.zeros(1, 1))
    assert np.allclose(aside[0, 0].numpy(), [13, 20, np.pi / 2])  # right of +y is +x


def test_ego_rows_say_what_their_names_say(session: PooledSession) -> None:
    position = np.array([[0.0, 0.0, 30.0], [3.0, 4.0, 31.0]])
    pitch = Pose.from_rpy(0, 0, 0, 0.1, -0.2, 0.0).orientation
    turned = Pose.from_rpy(0, 0, 0, 0.1, -0.1, np.pi / 6).orientation
    row = dict(zip(EGO, ego_features(position, np.stack([pitch, turned]), 0.5, 10.0, 2.5)[0].tolist(), strict=True))
    wanted = {"up": 1, "sin_turn": 0.5, "cos_turn_less_1": np.sqrt(3) / 2 - 1, "roll": 0, "pitch": 0.1,
              "speed": np.sqrt(26) / 0.5, "height": 20, "z_shift": 2.5}  # fmt: skip
    assert row == pytest.approx(wanted, abs=1e-6)
    # Displacements and turns of a recorded run lead along its poses.
    given = inputs_of(session)
    start = given.poses[:, -1]
    path = follow(start, given.future.rel_poses, turn_of(given.future.ego))
    away = (path - given.future.poses)[0].numpy()
    assert np.abs(away[:, :2]).max() < 1e-4
    assert np.abs((away[:, 2] + np.pi) % (2 * np.pi) - np.pi).max() < 1e-5
    made = predicted_ego(
        torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, np.pi / 6]]), *torch.tensor([[20.0], [2.5]]), 0.5
    )
    assert made[0].tolist() == pytest.approx(list({**wanted, "pitch": 0.0}.values()), abs=1e-6)


def test_files_hold_occworlds_keys_untouched_and_ours_beside(tmp_path: Path) -> None:
    low, tall = tiny(1), tiny_aerial(2)
    own = tall.state_dict()
    assert set(low.state_dict()) == {k for k in own if not k.startswith("aerial.")}
    assert all(low.state_dict()[k].shape == v.shape for k, v in own.items() if k in low.state_dict())
    with pytest.raises(InputError, match=r"missing: aerial\."):
        load_complete(tall, low.state_dict(), "low.pth")
    report = load_complete(tall, low.state_dict(), "low.pth", ["aerial"])
    assert report.matched == len(low.state_dict()) and len(report.missing) == len(own) - report.matched
    assert not report.unexpected and torch.equal(
        tall.state_dict()["vae.encoder.conv_in.weight"], low.vae.encoder.conv_in.weight
    )
    back = to_original(tall.state_dict())["state_dict"]
    assert load_complete(OccWorld(CONFIG), back, "tall.pth").complete


def test_codes_are_stale_once_their_makers_change() -> None:
    model = tiny_aerial()
    key = model.codes_key("none")
    assert key == tiny_aerial().codes_key("none") != model.codes_key("flip")
    noisy(model.aerial.correction)
    noisy(model.transformer)
    noisy(model.vae.decoder)
    assert model.codes_key("none") == key
    for part in (model.aerial.heights, model.vae.class_embeds, model.vae.vqvae.embedding, model.vae.encoder):
        noisy(part)
        assert key != (key := model.codes_key("none"))


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="voxels wide"):
        AerialOccWorld(CONFIG, AerialConfig(grid=DEFAULT_GRID))
    with pytest.raises(InputError, match="at least 1"):
        AerialOccWorld(CONFIG, dataclasses.replace(AERIAL, warp_samples=0))
    model = tiny_aerial()
    zq, rel, modes = random_window(model, 6)
    with pytest.raises(ValueError, match="num_frames ≥ 11"):
        model.rollout(zq, rel, modes, modes)
