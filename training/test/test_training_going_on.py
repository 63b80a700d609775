"""Motion that goes on as it was: without effect at first, constant velocity for runs that begin from scratch."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from aerialworld_training.building import build
from aerialworld_training.models.aerial import AerialOccWorld
from aerialworld_training.models.aerial.motion import COS, EGO, HEIGHT, PITCH, ROLL, SHIFT, SIN, SPEED, UP, turn_of
from aerialworld_training.running import weights

sys.path.insert(0, str(Path(__file__).parent))
from training_run import config, world
from training_tiny import AERIAL, GRID, noisy, random_window, tiny_aerial


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def ego_of(ups: Tensor, turns: Tensor, height: float = 30.0) -> Tensor:
    """ego (B, F, 8) of steps that climb `ups` and turn by `turns`, each (B, F); everything else is small and odd."""
    ego = 0.1 * torch.randn(*ups.shape, len(EGO), generator=torch.Generator().manual_seed(5))
    ego[..., UP], ego[..., SIN], ego[..., COS] = ups, turns.sin(), turns.cos() - 1
    ego[..., HEIGHT] = height + torch.cat([torch.zeros_like(ups[:, :1]), ups[:, :-1].cumsum(1)], 1)
    ego[..., SHIFT] = 1.25
    return ego


def window(model: AerialOccWorld, frames: int = 4) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """zq, rel_poses, modes and ego of two windows with motion of their own."""
    zq, rel, modes = random_window(model, frames)
    generator = torch.Generator().manual_seed(3)
    ups, turns = (torch.randn(2, frames, generator=generator) for _ in range(2))
    return zq, rel, modes, ego_of(ups, turns)


def going_on(model: AerialOccWorld) -> AerialOccWorld:
    """With noise on all else that motion passes through."""
    noisy(model.aerial.motion, 6)
    model.start_going_on()
    return model


@torch.no_grad()
def test_without_carry_motion_is_what_the_decoders_say() -> None:
    model = tiny_aerial()
    noisy(model.aerial.motion.head, 6)
    assert not model.aerial.motion.carry.any()  # as it begins
    zq, rel, modes, ego = window(model)
    pose, conditions = model.conditioned(rel, modes, ego)
    out = model.transformer(zq, pose, None, conditions)[1]
    _, displacements, climb_turn = model.forward_with_turns(zq, rel, modes, ego)
    assert torch.equal(displacements, model.pose_decoder(out))
    assert torch.equal(climb_turn, model.aerial.motion.climb_and_turn(out))
    # And where no ego-motion is given there is nothing to carry.
    model.aerial.motion.carry.fill_(1.0)
    assert torch.equal(
        model(zq, rel, modes)[1], model.pose_decoder(model.transformer(zq, model.encode_pose(rel, modes), None)[1])
    )


@torch.no_grad()
def test_each_share_is_of_its_own_part_of_the_step() -> None:
    model = tiny_aerial()
    model.aerial.motion.carry.copy_(torch.tensor([0.5, 0.25, 2.0, -1.0]))
    rel, ego = torch.tensor([[4.0, 8.0]]), ego_of(torch.tensor([[3.0]]), torch.tensor([[0.4]]))[0]
    displacement, climb_turn = model.aerial.motion.carried(rel, ego)
    assert displacement.tolist() == [[[2.0, 2.0]]]
    assert climb_turn.flatten().tolist() == pytest.approx([6.0, -0.4])


@torch.no_grad()
def test_teacher_forced_every_step_is_the_one_before() -> None:
    model = going_on(tiny_aerial())
    zq, rel, modes, ego = window(model)
    _, displacements, climb_turn = model.forward_with_turns(zq, rel, modes, ego)
    for mode in range(modes.shape[-1]):
        assert torch.equal(displacements[:, :, mode], rel)
        assert torch.equal(climb_turn[:, :, mode, 0], ego[..., UP])
        assert torch.equal(climb_turn[:, :, mode, 1], turn_of(ego))


@torch.no_grad()
@pytest.mark.parametrize("cached", [True, False])
def test_rolled_out_the_last_step_goes_on(cached: bool) -> None:
    model = going_on(tiny_aerial())
    zq, rel, modes, ego = window(model)
    rolled = model.rollout(zq, rel, modes, modes[:, -1:].expand(-1, 4, -1), cached=cached, ego=ego)
    for k in range(4):
        assert torch.allclose(rolled.fed_back[:, k], rel[:, -1], atol=1e-6)
        assert torch.allclose(rolled.climb_turn[:, k, 0], ego[:, -1, UP], atol=1e-6)
        assert torch.allclose(rolled.climb_turn[:, k, 1], turn_of(ego[:, -1]), atol=1e-5)


@torch.no_grad()
def test_the_step_that_completes_a_history_is_the_last_known_one() -> None:
    model = going_on(tiny_aerial())
    zq, rel, modes, ego = window(model)
    completed, full = model.complete_ego(zq, rel[:, :-1], modes, ego)
    assert torch.equal(completed[:, -1], rel[:, -2]) and torch.equal(completed[:, :-1], rel[:, :-1])
    assert torch.equal(full[:, :-1], ego[:, :-1])
    last, before = full[:, -1], ego[:, -2]
    assert torch.allclose(last[:, [UP, SIN, COS]], before[:, [UP, SIN, COS]], atol=1e-6)
    assert torch.equal(last[:, [HEIGHT, SHIFT]], ego[:, -1][:, [HEIGHT, SHIFT]])
    assert not last[:, [ROLL, PITCH]].any()
    metres = torch.cat([rel[:, -2], before[:, UP, None]], 1).norm(dim=1)
    assert torch.allclose(last[:, SPEED], metres / AERIAL.step)


@torch.no_grad()
def test_a_forecast_follows_the_curve_worked_out_by_hand() -> None:
    """At (10, 20) facing north: 1 m right is east. Each step is 2 m ahead and 1 m right, then a quarter turn to the
    left, and 0.5 m up: to (11, 22) facing west, where ahead is −x and right +y, to (9, 23) facing south, to (8, 21)."""
    model = going_on(tiny_aerial())
    states = torch.full((1, 3, *GRID.shape), 17, dtype=torch.uint8)
    # The history went the same way; of its poses the forecast reads the last alone.
    poses = torch.tensor([[[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [10.0, 20.0, np.pi / 2]]], dtype=torch.float64)
    ego = ego_of(torch.full((1, 3), 0.5), torch.full((1, 3), np.pi / 2))
    ego[:, -1, [UP, SIN, COS]] = 7.0  # the last row's motion is not known, and not read
    rel, modes = torch.tensor([[[1.0, 2.0], [1.0, 2.0]]]), torch.tensor([[[0.0, 0.0, 1.0]]]).expand(-1, 3, -1)
    out = model.forecast(states, poses, rel, modes, ego, 3, from_past=False)
    want = [[11.0, 22.0, np.pi], [9.0, 23.0, 1.5 * np.pi], [8.0, 21.0, 2.0 * np.pi]]
    assert np.allclose(out.poses[0].numpy(), want, atol=1e-4)
    assert np.allclose(out.moves[0].numpy(), [[1.0, 2.0]] * 3, atol=1e-5)
    assert np.allclose(out.climbs[0].numpy(), 0.5, atol=1e-6)


@torch.no_grad()
def test_runs_from_scratch_begin_so_and_whole_models_stay_as_they_are(tmp_path: Path) -> None:
    untrained = {"freeze": {"vae": False}}
    run = config(tmp_path, tmp_path, **untrained)

    def model_of(seed: int) -> AerialOccWorld:
        torch.manual_seed(seed)
        model = build(run)
        assert isinstance(model, AerialOccWorld)
        return model

    given = model_of(1)
    noisy(given, 2)
    torch.save({"state_dict": given.state_dict()}, tmp_path / "given.pth")

    def goes_on(model: AerialOccWorld) -> bool:
        last = (*model.pose_decoder.pose_decoder[-1].parameters(), *model.aerial.motion.head.parameters())
        return bool((model.aerial.motion.carry == 1).all()) and not any(p.any() for p in last)

    model = model_of(3)
    weights.start(model, run, False)
    assert goes_on(model)
    whole = config(tmp_path, tmp_path, checkpoint={"load_from": str(tmp_path / "given.pth")}, **untrained)
    weights.start(model, whole, False)
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in given.state_dict().items())
    model = model_of(3)
    weights.start(model, whole, True)
    assert goes_on(model) and not torch.equal(model.vae.class_embeds.weight, given.vae.class_embeds.weight)
    # A VAE of an earlier stage brings no motion.
    (tmp_path / "given.pth").rename(tmp_path / "latest.pth")
    model = model_of(3)
    weights.start(model, world(tmp_path, tmp_path, tmp_path), False)
    assert goes_on(model) and torch.equal(model.vae.class_embeds.weight, given.vae.class_embeds.weight)
