"""`full` truth: the world's meshes and the boxes of what moves, as voxels, whether anybody saw them or not.

A voxel is occupied when a triangle of the world meets it, or the (solid) box of a moving object does, whose class then
counts. Needs `aerialworld_core[world]`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import InputError
from aerialworld_core.frames import grid_from_map
from aerialworld_training.dataset.actors import box_cells
from aerialworld_training.dataset.frames import PooledSession


class FullTruth:
    """The world that sessions were made in, asked frame by frame."""

    def __init__(self, world: Path, sessions: Iterable[PooledSession]) -> None:
        """Raises InputError or WorldError for a world that cannot be read, or that a session was not made in."""
        try:
            from aerialworld_core.world import load_world
        except ImportError as error:
            raise InputError(f"--world needs aerialworld_core[world] ({error.name} is missing)") from error
        self.world = load_world(Path(world))
        for session in sessions:
            made_in = session.world.get("sha256")
            if made_in != self.world.sha256:
                raise InputError(
                    f"{session.name}: recorded in the world {session.world.get('name', '?')} ({str(made_in)[:12]}…), "
                    f"not in {world} ({self.world.sha256[:12]}…); full truth needs that world"
                )

    def semantics(self, session: PooledSession, n: int) -> NDArray[np.uint8]:
        """(X, Y, Z) class ids of everything in the grid of frame n, FREE elsewhere."""
        from aerialworld_core.world.voxelise import world_voxel_classes

        pose = session.pose(n)
        voxels = world_voxel_classes(self.world, session.grid, grid_from_map(pose, session.datum))
        if session.actors:
            actors = session.actors[n]
            for kind, cells in zip(actors.classes, box_cells(session.grid, pose, session.datum, actors), strict=True):
                voxels.reshape(-1)[cells] = kind
        return voxels
