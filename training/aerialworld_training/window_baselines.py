"""The baselines of one window, horizon by horizon; what they share (frames, the fused past, objects) is made once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.frames import Pose
from aerialworld_core.labels import FREE
from aerialworld_training.actor_forecast import move_actors, oracle_objects, tracked_objects
from aerialworld_training.baselines import fill_from_neighbours, fuse_states, move_frame, states_of
from aerialworld_training.dataset import PooledSession
from aerialworld_training.dataset.actors import box_cells
from aerialworld_training.models.aerial import UNKNOWN
from aerialworld_training.motion_ahead import Path
from aerialworld_training.occupied import Occupied


@dataclass(frozen=True, eq=False)
class Horizon:
    """One future frame. rows: what each baseline expects; fused and seen (X, Y, Z): the history along the true motion,
    what is occupied of it and what it saw; dynamic: flat indices, some of them twice, of what meets a moving object's
    true box at that time, or its box at the last history frame."""

    rows: dict[str, Occupied]
    fused: Occupied
    seen: NDArray[np.bool_]
    dynamic: NDArray[np.int64]


class WindowBaselines:
    """past: the history's frames of a session, oldest first; going_on: the way at constant velocity; constant: the
    training frames' majority, at this window's heights; fill_steps: how many columns far the unseen is filled."""

    def __init__(
        self, session: PooledSession, past: Sequence[int], going_on: Path, constant: Occupied, fill_steps: int
    ) -> None:
        self.session, self.last, self.going_on = session, past[-1], going_on
        self.constant, self.fill_steps = constant, fill_steps
        self.states = [states_of(session, n) for n in past]
        self.poses = [session.pose(n) for n in past]
        self.copy = session.occupied(self.last)
        self.objects = {
            "actors_tracked": tracked_objects(session, past[-2], self.last),
            "actors_oracle": oracle_objects(session, self.last),
        }

    def _fused(self, target: Pose) -> tuple[Occupied, NDArray[np.bool_]]:
        """What is occupied of the fused history in the grid of `target`, and what it saw (X, Y, Z)."""
        states = fuse_states(self.session.grid, self.states, self.poses, target, self.session.datum)
        return Occupied.of(np.minimum(states, np.uint8(FREE))), states != UNKNOWN

    def _filled(self, name: str, fused: Occupied, seen: NDArray[np.bool_]) -> dict[str, Occupied]:
        unseen = self.constant.where(~seen.reshape(-1)[self.constant.cells])
        return {
            f"{name}_height": fused.and_also(unseen),
            f"{name}_nearest": fill_from_neighbours(fused, seen, self.fill_steps),
        }

    def at(self, k: int, n: int) -> Horizon:
        """Horizon k, which is frame n."""
        session, ahead = self.session, self.going_on.pose(k)
        fused, seen = self._fused(session.pose(n))
        along, seen_along = self._fused(ahead)
        rows = {
            "constant": self.constant,
            "copy": self.copy,
            "ego_warp": Occupied.of(move_frame(session, self.last, n)[0]),
            "ego_warp_fused": fused,
            "ego_warp_fused_constant_velocity": along,
            **self._filled("ego_warp_fill", fused, seen),
            **self._filled("ego_warp_constant_velocity_fill", along, seen_along),
            **{name: move_actors(session, fused, self.last, n, *objects) for name, objects in self.objects.items()},
            "actors_tracked_constant_velocity": move_actors(
                session, along, self.last, n, *self.objects["actors_tracked"], pose=ahead
            ),
        }
        return Horizon(rows, fused, seen, self._dynamic(n))

    def _dynamic(self, n: int) -> NDArray[np.int64]:
        session = self.session
        boxes = [session.actors[m] for m in (self.last, n)] if session.actors else []
        cells = [c for b in boxes for c in box_cells(session.grid, session.pose(n), session.datum, b)]
        return np.concatenate([np.zeros(0, np.int64), *cells])
