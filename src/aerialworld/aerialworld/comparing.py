"""Two engines at the same poses: how far what one sees is what the other sees, frame by frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld.lazy import stage
from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.rig import Rig

#: Depths that differ by less agree (m); Gazebo tessellates what the embedded engine traces exactly.
AGREES = 0.05


@dataclass(frozen=True)
class Comparison:
    """One frame. `occupancy_iou`: occupied voxels of both over those of either; `depth_median`, metres, and
    `depth_agree`, the share within AGREES, of pixels that are finite in both; `depth_missing`, the share of pixels that
    are finite in one alone; `class_agree`, the share of equal classes where both are finite."""

    stamp: float
    occupancy_iou: float
    depth_median: float
    depth_agree: float
    depth_missing: float
    class_agree: float

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


def iou(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Of two boolean arrays; 1 where both are empty."""
    either = int(np.count_nonzero(a | b))
    return 1.0 if either == 0 else int(np.count_nonzero(a & b)) / either


def compare_engines(
    one: Any,
    other: Any,
    vehicle: str,
    stamps: NDArray[np.int64],
    rig: Rig,
    grid: VoxelGrid,
    datum: float,
    on_frame: Callable[[int], None] = lambda done: None,
) -> list[Comparison]:
    """Render the depth faces of `vehicle` in both engines at every stamp (rising integer nanoseconds from 0 on)."""
    project = stage("aerialworld_recorder", "OccupancyProjector")(rig, grid, datum)
    found = []
    for number, stamp in enumerate(stamps):
        frames = []
        for engine in (one, other):
            if stamp > engine.stamp_ns:
                engine.step(int(stamp - engine.stamp_ns))
            frames.append(engine.render(vehicle, modalities=("depth",)))
        found.append(_compared(project, *frames))
        on_frame(number + 1)
    return found


def evenly(duration: float, frames: int, period_ns: int) -> NDArray[np.int64]:
    """Stamps of `frames` ticks spread over a plan of `duration` seconds, first and last included; fewer where the plan
    has fewer ticks. Raises InputError for less than one."""
    if frames < 1:
        raise InputError(f"--frames: {frames}; one at least is compared")
    ticks = int(duration * 1e9 + 1) // period_ns + 1
    return np.unique(np.linspace(0, ticks - 1, min(frames, ticks)).round().astype(np.int64)) * period_ns


def _compared(project: Any, a: Any, b: Any) -> Comparison:
    pose: Pose = a.state.pose
    voxels = [project.project(pose, f.depth, f.semantic).occupancy.astype(bool) for f in (a, b)]
    names = sorted(a.depth)
    one, two = (np.concatenate([f.depth[n].ravel() for n in names]) for f in (a, b))
    classes = [np.concatenate([f.semantic[n].ravel() for n in names]) for f in (a, b)]
    both = np.isfinite(one) & np.isfinite(two)
    difference = np.abs(one[both] - two[both])
    some = bool(both.any())
    return Comparison(
        stamp=a.stamp_ns * 1e-9,
        occupancy_iou=iou(*voxels),
        depth_median=float(np.median(difference)) if some else 0.0,
        depth_agree=float((difference <= AGREES).mean()) if some else 1.0,
        depth_missing=float((np.isfinite(one) != np.isfinite(two)).mean()),
        class_agree=float((classes[0][both] == classes[1][both]).mean()) if some else 1.0,
    )
