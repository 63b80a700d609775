"""Occupancy of a frame from its neighbours as well: what stands still is fused by the poses, what moves is not.

Each frame's sensors are projected anew into the grid of the frame that is asked for, from where they were: nothing is
resampled from voxels, so a wall keeps its place to the millimetre. What moves is taken from the frame itself only:
neighbours' pixels of classes that move, and LiDAR points within actors' boxes, say nothing.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import InputError, SessionError
from aerialworld_core.frames import Pose
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import DYNAMIC
from aerialworld_core.occupancy import Occupancy
from aerialworld_core.rig import Rig
from aerialworld_core.session import Session
from aerialworld_core.session.extra_files import CENTIMETRES
from aerialworld_recorder.lidar_occupancy import LidarProjector
from aerialworld_recorder.occupancy import OccupancyProjector
from aerialworld_recorder.votes import majority

DEPTH, LIDAR = SOURCES = ("depth", "lidar")
#: Frames that may be fused into one.
MAX_WINDOW = 99
#: Metres by which an actor's box is grown before the points in it are left out: its pose is of the frame's stamp, a
#: LiDAR's turn takes a while.
ACTOR_MARGIN = 0.3


class Sight(Protocol):
    """What one frame saw, and how it is projected into the grid around a pose."""

    pose: Pose

    def project(self, around: Pose, *, static: bool) -> Occupancy: ...


@dataclasses.dataclass(eq=False)
class DepthSight:
    """A frame's depth faces and their classes (None: unlabelled)."""

    pose: Pose
    depth: dict[str, NDArray[np.float32]]
    semantic: dict[str, NDArray[np.uint8]] | None
    projector: OccupancyProjector

    def project(self, around: Pose, *, static: bool) -> Occupancy:
        depth = self.depth
        if static and self.semantic is not None:
            depth = {}
            for name, image in self.depth.items():
                moving = np.isin(self.semantic[name], DYNAMIC) & np.isfinite(image)
                depth[name] = np.where(moving, np.float32(-np.inf), image)
        return self.projector.project(self.pose, depth, self.semantic, around=around)


@dataclasses.dataclass(eq=False)
class LidarSight:
    """A frame's LiDAR returns (N, 4) in the LiDAR's frame, and the boxes of what moved."""

    pose: Pose
    points: NDArray[np.float32]
    actors: list[dict[str, Any]]
    projector: LidarProjector

    def project(self, around: Pose, *, static: bool) -> Occupancy:
        points = self.points
        if static and self.actors:
            in_map = self.pose.transform(self.projector.spec.pose.transform(points[:, :3]))
            points = points[~_within(in_map, self.actors)]
        return self.projector.project(self.pose, points, around=around)


def _within(points: NDArray[np.float64], actors: list[dict[str, Any]]) -> NDArray[np.bool_]:
    """Which points (N, 3) of map lie in an actor's box."""
    found = np.zeros(len(points), np.bool_)
    for actor in actors:
        pose = Pose(actor["position"], actor["orientation"])
        local = pose.inverse().transform(points)
        found |= (np.abs(local) <= np.array(actor["size"], float) / 2 + ACTOR_MARGIN).all(axis=1)
    return found


def fused(own: Sight, neighbours: list[Sight]) -> Occupancy:
    """The voxels of `own` frame's grid, with the static part of its neighbours.

    A surface that any frame saw is occupied; a voxel that the frame itself holds occupied keeps its class, others take
    the majority of the neighbours'. Observed is what any of them observed.
    """
    mine = own.project(own.pose, static=False)
    if not neighbours:
        return mine
    taken, observed = mine.occupancy.astype(np.bool_), mine.observed.copy()
    cells, kinds = [], []
    for sight in neighbours:
        theirs = sight.project(own.pose, static=True)
        found = np.flatnonzero(theirs.occupancy)
        cells.append(found)
        kinds.append(theirs.semantics.reshape(-1)[found])
        observed |= theirs.observed
    cell, kind = majority(np.concatenate(cells), np.concatenate(kinds))
    new = ~taken.reshape(-1)[cell]
    occupancy, semantics = mine.occupancy.copy(), mine.semantics.copy()
    occupancy.reshape(-1)[cell[new]] = 1
    semantics.reshape(-1)[cell[new]] = kind[new]
    return Occupancy(occupancy, semantics, observed)


class SessionSights:
    """A session's recorded depth or LiDAR, ready to be projected into `grid` at `datum`; frames are kept while a window
    passes over them. Raises InputError when the session holds no such data."""

    def __init__(
        self, session: Session, grid: VoxelGrid, datum: float, *, source: str | None = None, window: int = 1
    ) -> None:
        if not 1 <= window <= MAX_WINDOW:
            raise InputError(f"a window of {window} frames; it must be 1 to {MAX_WINDOW}")
        kept, rig = session.meta.kept, session.meta.rig
        if source is None:
            source = DEPTH if "depth" in kept and rig.depth else LIDAR
        if source not in SOURCES:
            raise InputError(f"occupancy comes from {' or '.join(SOURCES)}, not {source!r}")
        self.session, self.source, self.window = session, source, window
        self._labelled = "semantic" in kept
        self._sights: OrderedDict[int, Sight] = OrderedDict()
        if source == DEPTH:
            if "depth" not in kept or not rig.depth:
                raise InputError(
                    f"{session.path}: holds no depth images of its faces; record or rerender it with --keep "
                    "depth,semantic, or use its LiDAR (--from lidar)"
                )
            if window > 1 and not self._labelled:
                raise InputError(
                    f"{session.path}: without class images nobody knows what moves, so neighbouring frames cannot be "
                    "fused; use --occupancy-window 1, or rerender it with --keep depth,semantic"
                )
            self._depth = OccupancyProjector(_rounded(rig), grid, datum)
        elif rig.lidar is None:
            raise InputError(f"{session.path}: holds neither depth images of its faces (--keep depth) nor a LiDAR")
        else:
            self._lidar = LidarProjector(rig.lidar, grid, datum)

    def occupancy(self, index: int) -> Occupancy:
        """The voxels of a frame, its window fused: as many frames before it as after it, one more before when the
        window is even. Ticks without a frame count: the window is one of time."""
        before, after = self.window // 2, (self.window - 1) // 2
        frames = [i for i in self.session.frame_indices if index - before <= i <= index + after]
        for old in [i for i in self._sights if i not in frames]:
            del self._sights[old]
        sights = {i: self._sight(i) for i in frames}
        own = sights.pop(index)
        return fused(own, list(sights.values()))

    def _sight(self, index: int) -> Sight:
        if index not in self._sights:
            self._sights[index] = self._depth_sight(index) if self.source == DEPTH else self._lidar_sight(index)
        return self._sights[index]

    def _depth_sight(self, index: int) -> Sight:
        session, depth, semantic = self.session, {}, {}
        for face in session.meta.rig.depth:
            image = session.depth(index, face.name)
            if image is None:
                raise SessionError(f"{session.path}: frame {index} has no depth of {face.name}")
            depth[face.name] = image
            if self._labelled:
                labels = session.semantic(index, face.name)
                if labels is None:
                    raise SessionError(f"{session.path}: frame {index} has no classes of {face.name}")
                semantic[face.name] = labels
        return DepthSight(session.pose(index).pose, depth, semantic if self._labelled else None, self._depth)

    def _lidar_sight(self, index: int) -> Sight:
        points = self.session.lidar(index)
        if points is None:
            raise SessionError(f"{self.session.path}: frame {index} has no LiDAR")
        return LidarSight(self.session.pose(index).pose, points, self.session.actors(index), self._lidar)


def _rounded(rig: Rig) -> Rig:
    """The rig as its stored depth has it: rounding to a centimetre is noise of 1 cm / √12."""
    step = 1.0 / CENTIMETRES / np.sqrt(12.0)
    faces = tuple(
        dataclasses.replace(face, noise_stddev=float(np.hypot(face.noise_stddev, step))) for face in rig.depth
    )
    return dataclasses.replace(rig, depth=faces)
