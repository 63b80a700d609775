"""Trained models behind one protocol: a history in, future frames and the way there out.

The model sees volumes moved up by `up` whole levels (`Trained.ground_level`); what it says is moved back. Levels that
this takes out of the model's sight are free with OccWorld, and the moved past alone with AerialOccWorld.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aerialworld_core.frames import Pose
from aerialworld_core.labels import FREE, MANMADE
from aerialworld_training.dataset.pooling import shift_levels
from aerialworld_training.models.aerial import UNKNOWN, AerialOccWorld, states
from aerialworld_training.models.aerial.motion import ego_features
from aerialworld_training.models.aerial.warp import fuse_history
from aerialworld_training.motion_ahead import Path, follow_steps, future_motion
from aerialworld_training.trained import Trained

Volume = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class History:
    """What a forecast is made of: H frames, oldest first.

    semantics (H, X, Y, Z) uint8 and observed (H, X, Y, Z) bool, in the session's heights; poses of base_link in map;
    rel_poses (H − 1, 2) float32 metres right and forward, frame to frame; modes (H, 3) float32 one-hot commands, of the
    past alone; datum metres in map; up: levels that the model's volumes are moved up.
    """

    semantics: Volume
    observed: NDArray[np.bool_]
    poses: tuple[Pose, ...]
    rel_poses: Tensor
    modes: Tensor
    datum: float
    up: int

    def __len__(self) -> int:
        return len(self.poses)


@dataclass(frozen=True, eq=False)
class Predicted:
    """T future frames: classes (T, X, Y, Z) uint8 and the probability of being occupied (T, X, Y, Z) float16, each in
    the grid of its pose of `path`."""

    classes: Volume
    occupied: NDArray[np.float16]
    path: Path


class Predictor(Protocol):
    """A model under evaluation. `takes_motion`: whether it can be given the way ahead."""

    takes_motion: bool

    def codes(self, semantics: Volume, observed: NDArray[np.bool_], up: int) -> Tensor:
        """Code indices (h, w), or (depth, h, w), of one frame (X, Y, Z)."""

    def reconstruct(self, codes: Tensor, up: int) -> Volume:
        """Codes of a frame → the likeliest classes (X, Y, Z), without any past."""

    def forecast(self, history: History, codes: Tensor, steps: int, path: Path | None = None) -> Predicted:
        """Frames after a history whose codes are (H, [depth,] h, w); along the model's own way, or the given one."""


def predictor(trained: Trained) -> Predictor:
    """The protocol around a model."""
    aerial = trained.aerial
    return PlainPredictor(trained) if aerial is None else AerialPredictor(trained, aerial)


def as_trained(semantics: Volume, trained: Trained) -> Volume:
    """Classes as the model was taught them."""
    return np.where(semantics != FREE, np.uint8(MANMADE), np.uint8(FREE)) if trained.binary else semantics


class PlainPredictor:
    """OccWorld: occupancy from codes alone; the decoded way has no heading and no climb, so both stay as they are."""

    takes_motion = False

    def __init__(self, trained: Trained) -> None:
        self.model, self.trained, self.device = trained.model, trained, trained.device

    @torch.no_grad()
    def codes(self, semantics: Volume, observed: NDArray[np.bool_], up: int) -> Tensor:
        volume = torch.from_numpy(shift_levels(as_trained(semantics, self.trained), up, FREE))[None].to(self.device)
        return self.model.vae.vqvae.encode_indices(self.model.vae.encode(volume))[0].cpu()

    @torch.no_grad()
    def reconstruct(self, codes: Tensor, up: int) -> Volume:
        zq = self.model.vae.vqvae.lookup(codes[None].to(self.device))
        classes: Volume = self.model.vae.decode_classes(zq)[0].cpu().numpy()
        return shift_levels(classes, -up, FREE)

    @torch.no_grad()
    def forecast(self, history: History, codes: Tensor, steps: int, path: Path | None = None) -> Predicted:
        vae, modes = self.model.vae, history.modes[None].to(self.device)
        context = vae.vqvae.lookup(codes.to(self.device))[None]
        # The last history frame's displacement already lies in the future: it is decoded.
        rel = self.model.complete_motion(context, history.rel_poses[None].to(self.device), modes)
        held = modes[:, -1:].expand(-1, steps, -1)  # the command of the future is not known
        roll = self.model.rollout(context, rel, modes, held)
        moves = torch.cat([rel[:, -1:], roll.fed_back[:, :-1]], 1)[0].double().cpu().numpy()
        frames = []
        for indices in roll.indices[0]:
            features = vae.decode_features(vae.vqvae.post_quant_conv(vae.vqvae.lookup(indices[None])))
            frames.append(self.model.likeliest(features))
        none = np.zeros(steps)
        return Predicted(
            np.stack([shift_levels(c.cpu().numpy(), -history.up, FREE) for c, _ in frames]),
            np.stack([shift_levels(p.cpu().numpy(), -history.up, 0) for _, p in frames]),
            follow_steps(history.poses[-1], moves, none, none),
        )


class AerialPredictor:
    """AerialOccWorld: its own way, or any."""

    takes_motion = True

    def __init__(self, trained: Trained, model: AerialOccWorld) -> None:
        self.model, self.from_past, self.trained, self.device = model, trained.from_past, trained, trained.device

    def states(self, semantics: Volume, observed: NDArray[np.bool_], up: int) -> Tensor:
        """What the model sees of a frame (X, Y, Z); what comes from outside the grid is unknown."""
        known = as_trained(semantics, self.trained)
        seen = states(torch.from_numpy(known), torch.from_numpy(observed)).numpy()
        return torch.from_numpy(shift_levels(seen, up, UNKNOWN)).to(self.device)

    @torch.no_grad()
    def codes(self, semantics: Volume, observed: NDArray[np.bool_], up: int) -> Tensor:
        latent = self.model.encode(self.states(semantics, observed, up)[None])
        return self.model.quantizer.encode_indices(latent)[0].cpu()

    @torch.no_grad()
    def reconstruct(self, codes: Tensor, up: int) -> Volume:
        features = self.model.decode_features(self.model.quantizer.lookup(codes[None].to(self.device)))
        return shift_levels(self.model.likeliest(features)[0].cpu().numpy(), -up, FREE)

    @torch.no_grad()
    def forecast(self, history: History, codes: Tensor, steps: int, path: Path | None = None) -> Predicted:
        step, grid = self.model.aerial_config.step, self.model.aerial_config.grid
        z_shift = history.up * grid.voxel_size[2]
        position = np.array([p.position for p in history.poses])
        orientation = np.array([p.orientation for p in history.poses])
        planar = torch.from_numpy(np.column_stack([position[:, :2], [p.yaw for p in history.poses]])).to(self.device)
        shifted, plain = (
            torch.stack([self.states(s, o, up) for s, o in zip(history.semantics, history.observed, strict=True)])
            for up in (history.up, 0)
        )
        rel, modes, ego, codes = (
            part[None].to(self.device)
            for part in (
                history.rel_poses, history.modes,
                ego_features(position, orientation, step, history.datum, z_shift), codes,
            )
        )  # fmt: skip
        future = None
        if path is not None:
            future = future_motion(history.poses[-1], path, step, history.datum, z_shift).to(self.device)
        result = self.model.forecast(
            shifted[None], planar[None], rel, modes, ego, steps,
            future=future, from_past=self.from_past, indices=codes,
        )  # fmt: skip
        classes = np.stack([shift_levels(c.numpy(), -history.up, FREE) for c in result.classes[0].cpu()])
        occupied = np.stack([shift_levels(p.numpy(), -history.up, 0) for p in result.occupied[0].cpu()])
        lost = levels_lost(grid.shape[2], history.up)
        if self.from_past and lost.stop > lost.start:
            self._past_alone(classes, occupied, plain[..., lost].contiguous(), planar, result.poses[0], lost)
        if path is None:
            path = follow_steps(
                history.poses[-1],
                result.moves[0].double().cpu().numpy(),
                np.diff(torch.cat([planar[-1:, 2], result.poses[0, :, 2]]).cpu().numpy()),
                result.climbs[0].double().cpu().numpy(),
            )
        return Predicted(classes, occupied, path)

    def _past_alone(
        self, classes: Volume, occupied: NDArray[np.float16], past: Tensor, planar: Tensor, ahead: Tensor, levels: slice
    ) -> None:
        """Fill `levels`, which the model did not see, with what it would say without a correction."""
        grid, samples = self.model.aerial_config.grid, self.model.aerial_config.warp_samples
        part = replace(grid, shape=(*grid.shape[:2], past.shape[-1]))  # heights do not matter to columns
        for k, pose in enumerate(ahead):
            votes = fuse_history(part, past, planar, pose[None], samples)[0]
            logits = self.model.aerial.warp(votes.flatten(1).T)
            classes[k, ..., levels] = logits.argmax(1).reshape(part.shape).cpu().numpy()
            occupied[k, ..., levels] = (1 - logits.softmax(1)[:, FREE]).half().reshape(part.shape).cpu().numpy()


def levels_lost(levels: int, up: int) -> slice:
    """The levels of a volume that leave it when it is moved up (down if negative)."""
    return slice(max(levels - up, 0), levels) if up >= 0 else slice(0, min(-up, levels))
