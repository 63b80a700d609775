"""AerialOccWorld: OccWorld's 768 parameters untouched, and what flying needs around them under `aerial.`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from aerialworld_training.models.aerial.config import AerialConfig
from aerialworld_training.models.aerial.correction import CorrectionHead
from aerialworld_training.models.aerial.fill import fill_hints, with_hints
from aerialworld_training.models.aerial.heights import HeightAdapter
from aerialworld_training.models.aerial.motion import (
    HEIGHT,
    SHIFT,
    UP,
    MotionConditioner,
    follow,
    predicted_ego,
    turn_of,
)
from aerialworld_training.models.aerial.residual import ResidualCodes, ResidualQuantizer
from aerialworld_training.models.aerial.warp import WarpEvidence, fuse_history
from aerialworld_training.models.occworld import OccWorld, OccWorldConfig, Rollout
from aerialworld_training.models.occworld.model import Quantizer
from aerialworld_training.models.occworld.transformer import Conditions


class Aerial(nn.Module):
    """All that a tall-grid file holds beyond OccWorld."""

    def __init__(self, config: OccWorldConfig, aerial: AerialConfig) -> None:
        super().__init__()
        self.heights = HeightAdapter(config, aerial)
        self.motion = MotionConditioner(config, aerial)
        self.warp = WarpEvidence()
        self.correction = CorrectionHead(config, aerial)
        # Last, so that the parts before begin with the same values at every depth.
        self.residual = ResidualCodes(config, aerial.code_depth) if aerial.code_depth > 1 else None


@dataclass(frozen=True, eq=False)
class AerialRollout(Rollout):
    """`climb_turn` (B, T, 2): metres up and radians to the left from each predicted frame to its next."""

    climb_turn: Tensor


@dataclass(frozen=True, eq=False)
class FutureMotion:
    """The motion of a forecast where it is not the model's own: the true one, or one at constant velocity.

    rel_poses (B, T, 2) and ego (B, T, 8) of the steps that lead *to* each future frame (the first begins at the last
    history frame; `height` in ego is the frame's that the step leaves); poses (B, T, 3) float64 planar [x, y, yaw] of
    the future frames, in the frame of the history's.
    """

    rel_poses: Tensor
    ego: Tensor
    poses: Tensor

    def to(self, device: torch.device) -> FutureMotion:
        return FutureMotion(self.rel_poses.to(device), self.ego.to(device), self.poses.to(device))


@dataclass(frozen=True, eq=False)
class Forecast:
    """classes (B, T, X, Y, levels) uint8, their probability of being occupied float16; poses (B, T, 3) float64 planar;
    moves (B, T, 2) metres right and forward and climbs (B, T) metres up of the steps that lead there; the roll-out
    behind them."""

    classes: Tensor
    occupied: Tensor
    poses: Tensor
    moves: Tensor
    climbs: Tensor
    rollout: AerialRollout


class AerialOccWorld(OccWorld):
    """Untrained it reproduces its low-grid OccWorld, and its forecast is exactly the fused ego-warp of the history.

    Volumes are voxel states (`aerial.states`); `ego` rows are `aerial.motion.EGO`. Without `ego`, forward and rollout
    are plain OccWorld's.
    """

    def __init__(self, config: OccWorldConfig, aerial: AerialConfig) -> None:
        super().__init__(config)
        aerial.check(config)
        self.aerial_config = aerial
        self.aerial = Aerial(config, aerial)

    def save_memory(self, enabled: bool = True) -> None:
        super().save_memory(enabled)
        if self.aerial.residual is not None:
            self.aerial.residual.recompute = enabled

    # --- voxels to codes and back ---

    @property
    def quantizer(self) -> Quantizer:
        """OccWorld's own, or with the residual codebooks behind it."""
        first, residual = self.vae.vqvae, self.aerial.residual
        return first if residual is None else ResidualQuantizer(first, residual.tables)

    def encode(self, states: Tensor) -> Tensor:
        """States (N, X, Y, levels) uint8 → latent (N, z, h, w)."""
        return self.vae.encoder(self.aerial.heights.encode(states, self.vae.class_embeds.weight))[0]

    def decode_image(self, zq: Tensor) -> Tensor:
        """Code vectors (N, e_dim, h, w) → the VAE decoder's output (N, slots · e, X, Y)."""
        return self.vae.decoder(self.vae.vqvae.post_quant_conv(zq), self.vae.shapes)

    def decode_features(self, zq: Tensor) -> Tensor:
        """Code vectors (N, e_dim, h, w) → features (N, X, Y, levels, e) of the plain reconstruction."""
        return self.aerial.heights.decode(self.decode_image(zq), self.vae.class_embeds.weight)

    def reconstruct(self, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """States (N, X, Y, levels) → features (N, X, Y, levels, e), embedding loss (), code indices (N, h, w), or
        (N, depth, h, w) of residual codes."""
        quantizer = self.quantizer
        zq, loss, indices = quantizer.quantize(quantizer.quant_conv(self.encode(states)))
        return self.decode_features(zq), loss, indices

    def hints(self, moved: Tensor) -> Tensor:
        """Moved past (N, X, Y, levels) uint8 → what lies beside the unseen (`fill.fill_hints`)."""
        return fill_hints(self.aerial_config.grid, moved, self.aerial_config.fill_reach)

    def correct(self, zq: Tensor, moved: Tensor, hints: Tensor, context: Tensor) -> Tensor:
        """Features (N, X, Y, levels, e) of the correction: code vectors (N, e_dim, h, w) of the forecast, moved past
        and hints (N, X, Y, levels) uint8, context (N, 7)."""
        embeds = self.vae.class_embeds.weight
        past, filled = (self.aerial.heights.encode(v, embeds) for v in (moved, with_hints(moved, hints)))
        return self.aerial.correction(self.decode_image(zq), past, filled, context)

    def classify(self, features: Tensor, samples: Tensor | None = None, hints: Tensor | None = None) -> Tensor:
        """Class logits (M, classes) of M voxels: features (M, e), plus (M, K) states of the moved past and hints (M,)
        where the forecast starts from it."""
        logits = self.vae.classify(features)
        return logits if samples is None else self.aerial.warp(samples, hints) + logits

    # --- the transformer ---

    def conditioned(self, rel_poses: Tensor, modes: Tensor, ego: Tensor | None) -> tuple[Tensor, Conditions]:
        """Pose features (…, C) and the U-Net's conditions."""
        if ego is None:
            return self.encode_pose(rel_poses, modes), None
        first, *rest = self.pose_encoder.pose_encoder
        pose = first(torch.cat([rel_poses, modes], -1)) + self.aerial.motion.widen(ego)
        for layer in rest:
            pose = layer(pose)
        return pose, self.aerial.motion.conditions(rel_poses, ego)

    def forward(self, zq: Tensor, rel_poses: Tensor, modes: Tensor, ego: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As OccWorld's; see `forward_with_turns` for climb and turn, and for residual codes."""
        return self.forward_with_turns(zq, rel_poses, modes, ego)[:2]

    def forward_with_turns(
        self, zq: Tensor, rel_poses: Tensor, modes: Tensor, ego: Tensor | None, codes: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Teacher-forced: code logits (B, F, n_e, h, w), displacements (B, F, modes, 2) and climb and turn
        (B, F, modes, 2) of frames 1 … F from zq (B, F, e_dim, h, w), rel_poses (B, F, 2), modes (B, F, modes) and ego
        (B, F, 8).

        Logits of residual codes are (B, F, depth, n_e, h, w). A depth reads the codes of those before it: `codes`
        (B, F, depth, h, w), the true ones of frames 1 … F, or without them the likeliest.
        """
        features, moves, turns = self.features(zq, rel_poses, modes, ego)
        return self.code_logits(features, codes), moves, turns

    def features(
        self, zq: Tensor, rel_poses: Tensor, modes: Tensor, ego: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `forward_with_turns`, with what the codes are read from (B, F, C, h, w) in place of their logits."""
        pose, conditions = self.conditioned(rel_poses, modes, ego)
        features, out = self.transformer.features(zq, pose, None, conditions)
        return features, *self.decode_motion(out, rel_poses, ego)

    def decode_motion(self, pose: Tensor, rel_poses: Tensor, ego: Tensor | None) -> tuple[Tensor, Tensor]:
        """Displacements and climbs and turns, each (…, modes, 2), of the step after the one that rel_poses (…, 2) and
        ego (…, 8) tell, from the pose output (…, C) of its frame."""
        displacements, climb_turn = self.pose_decoder(pose), self.aerial.motion.climb_and_turn(pose)
        if ego is None:
            return displacements, climb_turn
        carried = self.aerial.motion.carried(rel_poses, ego)
        return displacements + carried[0], climb_turn + carried[1]

    @torch.no_grad()
    def start_going_on(self) -> None:
        """Begin at constant velocity, for motion that is learned from scratch: every step as the one before. A decoder
        of random values would take longer to find that than a short run lasts, and the moved past lies wrong by as
        much."""
        self.aerial.motion.carry.fill_(1.0)
        for layer in (self.pose_decoder.pose_decoder[-1], self.aerial.motion.head):
            for parameter in layer.parameters():
                parameter.zero_()

    def code_logits(self, features: Tensor, codes: Tensor | None = None) -> Tensor:
        """Logits of features (B, F, C, h, w), as `forward_with_turns` gives them."""
        first, residual = self.transformer.code_logits(features), self.aerial.residual
        if residual is None:
            return first
        if codes is None:
            return self.pick(first.flatten(0, 1), features.flatten(0, 1))[0].unflatten(0, features.shape[:2])
        flat, vectors = codes.flatten(0, 1), self.vae.vqvae.lookup(codes[:, :, 0].flatten(0, 1))
        further = residual.known(vectors, features.flatten(0, 1), flat)
        return torch.stack([first, *(x.unflatten(0, features.shape[:2]) for x in further)], 2)

    def pick(self, logits: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """As OccWorld's; of residual codes logits (B, depth, n_e, h, w) and codes (B, depth, h, w), depth after
        depth, each reading what was taken before."""
        residual, best = self.aerial.residual, logits.argmax(1)
        if residual is None:
            return logits, best
        further, taken = residual.likeliest(self.vae.vqvae.lookup(best), features)
        return torch.stack([logits, *further], 1), torch.stack([best, *taken], 1)

    def soft_lookup(self, logits: Tensor, features: Tensor) -> Tensor:
        """Vectors (N, e_dim, h, w) of the likeliest codes in value, of the expected ones in gradient, summed over
        depths: first-depth logits (N, n_e, h, w), features (N, C, h, w)."""
        first, residual = self.vae.vqvae.soft_lookup(logits), self.aerial.residual
        return first if residual is None else residual.soft(first, features)

    @torch.no_grad()
    def rollout(
        self,
        zq: Tensor,
        rel_poses: Tensor,
        modes: Tensor,
        future_modes: Tensor,
        *,
        cached: bool = True,
        codes: Tensor | None = None,
        ego: Tensor | None = None,
        future: FutureMotion | None = None,
    ) -> AerialRollout:
        """As OccWorld's, with ego (B, N, 8) of the context. With `future` its motion is fed in place of the decoded."""
        steps = future_modes.shape[1]
        displacements: list[Tensor] = []
        fed_back: list[Tensor] = []
        climbs: list[Tensor] = []
        height = None if ego is None else ego[:, -1, HEIGHT] + ego[:, -1, UP]
        last = rel_poses[:, -1], None if ego is None else ego[:, -1]  # the step that the newest frame was told

        def feed_back(step: int, pose: Tensor) -> tuple[Tensor, Conditions]:
            nonlocal height, last
            mode = future_modes[:, step]
            displacement, climb_turn = self.decode_motion(pose, *last)
            displacements.append(displacement)
            rel = (displacement * mode[..., None]).sum(1)
            climbs.append((climb_turn * mode[..., None]).sum(1))
            next_ego = None
            if ego is not None and height is not None:
                next_ego = predicted_ego(rel, climbs[-1], height, ego[:, -1, SHIFT], self.aerial_config.step)
                height = height + climbs[-1][:, 0]
            if future is not None and step + 1 < steps:  # the last frame's step leads out of the forecast
                rel = future.rel_poses[:, step + 1]
                next_ego = None if ego is None else future.ego[:, step + 1]
            fed_back.append(rel)
            last = rel, next_ego
            features, conditions = self.conditioned(
                rel[:, None], mode[:, None], None if next_ego is None else next_ego[:, None]
            )
            return features, conditions

        pose, conditions = self.conditioned(rel_poses, modes, ego)
        logits, indices = self.roll(zq, pose, conditions, steps, feed_back, cached, codes)
        return AerialRollout(
            logits, indices, torch.stack(displacements, 1), torch.stack(fed_back, 1), torch.stack(climbs, 1)
        )

    @torch.no_grad()
    def complete_ego(self, zq: Tensor, rel_poses: Tensor, modes: Tensor, ego: Tensor) -> tuple[Tensor, Tensor]:
        """Motion of N context frames, the last step decoded: rel_poses (B, N − 1, 2), modes (B, N, modes) → (B, N, 2);
        ego (B, N, 8), of whose last row only height and z shift are read → (B, N, 8)."""
        n = rel_poses.shape[1]
        pose, conditions = self.conditioned(rel_poses, modes[:, :n], ego[:, :n])
        out = self.transformer(zq[:, :n], pose, None, conditions)[1][:, -1]
        mode = modes[:, n, :, None]
        displacement, climb_turn = self.decode_motion(out, rel_poses[:, -1], ego[:, n - 1])
        rel, climb_turn = (displacement * mode).sum(1), (climb_turn * mode).sum(1)
        last = predicted_ego(rel, climb_turn, ego[:, n, HEIGHT], ego[:, n, SHIFT], self.aerial_config.step)
        return torch.cat([rel_poses, rel[:, None]], 1), torch.cat([ego[:, :n], last[:, None]], 1)

    # --- the whole ---

    @torch.no_grad()
    def forecast(
        self,
        states: Tensor,
        poses: Tensor,
        rel_poses: Tensor,
        modes: Tensor,
        ego: Tensor,
        steps: int,
        *,
        future: FutureMotion | None = None,
        from_past: bool = True,
        indices: Tensor | None = None,
    ) -> Forecast:
        """Forecast `steps` frames after a history of H.

        states (B, H, X, Y, levels) uint8; poses (B, H, 3) float64 planar [x, y, yaw] in map; rel_poses (B, H − 1, 2);
        modes (B, H, modes), whose last row is held; ego (B, H, 8), of whose last row only height and z shift are read.
        The motion ahead is the model's own unless `future` gives it. `from_past` adds the moved past to the decoded
        correction; without it the codes' plain reconstruction is given, as OccWorld would. `indices` (B, H, h, w), or
        (B, H, depth, h, w), are the history's codes where they are known already.
        """
        b, h = states.shape[:2]
        if indices is None:
            frames = states.flatten(0, 1).split(1)
            flat = torch.cat([self.quantizer.encode_indices(self.encode(frame)) for frame in frames])
        else:
            flat = indices.flatten(0, 1)
        zq = self.quantizer.lookup(flat).unflatten(0, (b, h))
        if future is None:
            rel, ego = self.complete_ego(zq, rel_poses, modes, ego)
        else:
            rel = torch.cat([rel_poses, future.rel_poses[:, :1]], 1)
            ego = torch.cat([ego[:, :-1], future.ego[:, :1]], 1)
        held = modes[:, -1:].expand(-1, steps, -1)
        rolled = self.rollout(zq, rel, modes, held, ego=ego, future=future)
        if future is None:
            moves = torch.cat([rel[:, -1:], rolled.fed_back[:, :-1]], 1)
            turns = torch.cat([turn_of(ego[:, -1:]), rolled.climb_turn[:, :-1, 1]], 1)
            ahead = follow(poses[:, -1], moves, turns)
            climbs = torch.cat([ego[:, -1:, UP], rolled.climb_turn[:, :-1, 0]], 1)
        else:
            ahead, moves, climbs = future.poses, future.rel_poses, future.ego[..., UP]
        frames = [
            list(self._frames(states[i], poses[i], ahead[i], rolled.indices[i], ego[i, -1], from_past))
            for i in range(b)
        ]
        classes, occupied = (torch.stack([torch.stack([f[k] for f in one]) for one in frames]) for k in (0, 1))
        return Forecast(classes, occupied, ahead, moves, climbs, rolled)

    def _frames(
        self, states: Tensor, poses: Tensor, ahead: Tensor, indices: Tensor, ego: Tensor, from_past: bool
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One forecast's frames as `likeliest` gives them, one at a time: logits of a tall grid are large."""
        grid = self.aerial_config.grid
        for t in range(len(ahead)):
            zq = self.quantizer.lookup(indices[t : t + 1])
            if not from_past:
                yield self.likeliest(self.decode_features(zq), None)
                continue
            samples = fuse_history(grid, states, poses, ahead[t : t + 1], self.aerial_config.warp_samples)[0]
            context = self.context(poses[-1:], ahead[t : t + 1], ego[None], t + 1)
            middle = samples[len(samples) // 2 : len(samples) // 2 + 1]
            hints = self.hints(middle)
            yield self.likeliest(self.correct(zq, middle, hints, context), samples, hints)

    def context(self, last: Tensor, ahead: Tensor, ego: Tensor, horizon: int) -> Tensor:
        """The correction head's context (N, 7) for planar poses last and ahead (N, 3), ego (N, 8) of the last history
        frame, `horizon` frames ahead."""
        away, turn = ahead[:, :2] - last[:, :2], ahead[:, 2] - last[:, 2]
        c, s = last[:, 2].cos(), last[:, 2].sin()
        forward, left = c * away[:, 0] + s * away[:, 1], c * away[:, 1] - s * away[:, 0]
        seconds = torch.full_like(turn, horizon * self.aerial_config.step)
        rows = torch.stack([seconds, -left, forward, turn.sin(), turn.cos() - 1], 1).to(ego.dtype)
        return torch.cat([rows, ego[:, [HEIGHT, SHIFT]]], 1)

    def coded_grid(self) -> Any:
        return self.aerial_config.grid.to_dict()
