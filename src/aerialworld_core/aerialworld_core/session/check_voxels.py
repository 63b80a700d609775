"""Is the occupancy a world's, and does the LiDAR, which is measured another way, agree with it?"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import SessionError
from aerialworld_core.frames import grid_from_map
from aerialworld_core.labels import NAMES, OTHERS
from aerialworld_core.occupancy import Occupancy
from aerialworld_core.rig import CUBE_FACES
from aerialworld_core.session.baselines import BaselineScores
from aerialworld_core.session.frame_files import PoseRecord, check_occupancy
from aerialworld_core.session.reader import Session
from aerialworld_core.session.report import ValidationReport
from aerialworld_core.weathers import thick_air

#: A prediction that never changes must not reach this IoU over observed voxels: error, warning.
CONSTANT_ERROR, CONSTANT_WARNING = 0.98, 0.90
#: Share of LiDAR points, of those in observed voxels, that lie in or next to an occupied one: error, warning below.
LIDAR_ERROR, LIDAR_WARNING = 0.85, 0.95
#: Share of LiDAR points that lie in voxels never observed and not next to an occupied one: beyond it the two cannot
#: share a frame. A whole cube sees nearly all that a LiDAR beside it sees; for fewer faces it is only a warning.
UNOBSERVED_LIMIT = 0.25
LIDAR_SAMPLE, LIDAR_LEAST = 4096, 200
#: In haze, fog and rain the air itself echoes, up to so many metres: returns nearer than that say nothing.
ECHOES = 15.0
#: Share of moving pairs of frames that may be equal: beyond, the data stands still while the vehicle moves.
EQUAL_ERROR = 0.2
OTHERS_WARNING = 0.05


class VoxelChecks:
    """Fed frame by frame in order; `finish` writes errors, warnings and figures."""

    def __init__(self, session: Session, report: ValidationReport) -> None:
        meta = session.meta
        self.session, self.report = session, report
        self.baselines = BaselineScores(meta.grid, meta.datum, meta.frame_period_ns)
        self._occupied: list[float] = []
        self._observed: list[float] = []
        self._classes = np.zeros(256, np.int64)
        self._inconsistent: list[str] = []
        self._previous: tuple[int, PoseRecord, str, str] | None = None
        self._moving = 0
        self._equal_voxels = 0
        self._equal_lidar = 0
        self._lidar_frames = 0
        self._points: dict[str, NDArray[np.int64]] = {k: np.zeros(2, np.int64) for k in ("all", "above_ground")}
        self._unobserved = 0

    def add(self, index: int, record: PoseRecord, occupancy: Occupancy, lidar: NDArray[np.float32] | None) -> None:
        """The next frame."""
        grid = self.session.meta.grid
        try:
            check_occupancy(occupancy, grid)
        except SessionError as error:
            self._inconsistent.append(f"frame {index}: {error}")
        self._occupied.append(float(np.count_nonzero(occupancy.occupancy)) / grid.size)
        self._observed.append(float(np.count_nonzero(occupancy.observed)) / grid.size)
        self._classes += np.bincount(occupancy.semantics[occupancy.occupancy.view(np.bool_)], minlength=256)
        self.baselines.add(index, record.pose, occupancy)
        if lidar is not None and len(lidar):
            self._lidar_frames += 1
            self._compare_lidar(record, occupancy, lidar)
        self._compare_with_previous(index, record, occupancy, lidar)

    def _compare_lidar(self, record: PoseRecord, occupancy: Occupancy, lidar: NDArray[np.float32]) -> None:
        meta = self.session.meta
        if meta.rig.lidar is None:
            return
        points = lidar[:, :3]
        if thick_air(meta.conditions):
            points = points[np.einsum("ij,ij->i", points, points) > ECHOES**2]
        points = points[:: max(1, len(points) // LIDAR_SAMPLE)]
        in_map = record.pose.transform(meta.rig.lidar.pose.transform(points))
        m = grid_from_map(record.pose, meta.datum)
        ijk, inside = meta.grid.indices(in_map @ m[:3, :3].T + m[:3, 3])
        ijk, in_map = ijk[inside], in_map[inside]
        seen = occupancy.observed[tuple(ijk.T)]
        near = _near_occupied(occupancy.occupancy, ijk)
        # A return a hair behind a surface falls into the unknown voxel inside it: that one is not held against it.
        self._unobserved += int(np.count_nonzero(~seen & ~near))
        hit = near[seen]
        self._points["all"] += np.array([np.count_nonzero(hit), len(hit)])
        if record.ground_z is not None:
            above = in_map[seen, 2] > record.ground_z + 2 * meta.grid.voxel_size[2]
            self._points["above_ground"] += np.array([np.count_nonzero(hit[above]), np.count_nonzero(above)])

    def _compare_with_previous(
        self, index: int, record: PoseRecord, occupancy: Occupancy, lidar: NDArray[np.float32] | None
    ) -> None:
        voxels = _digest(occupancy.occupancy, occupancy.observed, occupancy.semantics)
        returns = _digest(lidar) if lidar is not None and len(lidar) else ""
        if self._previous is not None and self._previous[0] == index - 1:
            _, before, old_voxels, old_returns = self._previous
            step = np.linalg.norm(record.pose.position[:2] - before.pose.position[:2])
            if step > 2 * max(self.session.meta.grid.voxel_size[:2]):
                self._moving += 1
                self._equal_voxels += voxels == old_voxels
                self._equal_lidar += bool(returns) and returns == old_returns
        self._previous = (index, record, voxels, returns)

    def finish(self) -> None:
        """Judge what has been seen."""
        report, figures = self.report, self.report.figures
        if not self._occupied:
            return
        report.errors_of(self._inconsistent, "frames whose voxel arrays contradict each other")
        figures |= _spread("occupied_fraction", self._occupied) | _spread("observed_fraction", self._observed)
        total = int(self._classes.sum())
        figures["class_shares"] = {
            name: float(self._classes[i] / total) for i, name in enumerate(NAMES) if total and self._classes[i]
        }
        self._judge_emptiness(total)
        self._judge_sameness()
        self._judge_constancy()
        self._judge_lidar()

    def _judge_emptiness(self, total: int) -> None:
        empty = sum(f == 0 for f in self._occupied)
        unseen = sum(f == 0 for f in self._observed)
        if empty == len(self._occupied):
            self.report.error("no frame has an occupied voxel")
        elif empty:
            self.report.warn(f"{empty} frames have no occupied voxel")
        if unseen:
            self.report.error(f"{unseen} frames have observed nothing")
        if total and self._classes[OTHERS] / total > OTHERS_WARNING:
            share = self._classes[OTHERS] / total
            self.report.warn(f"{share:.1%} of the occupied voxels are of class 0, which also means unlabelled")

    def _judge_sameness(self) -> None:
        for what, equal in (("occupancy", self._equal_voxels), ("LiDAR", self._equal_lidar)):
            self.report.figures[f"equal_{what.lower()}_while_moving"] = equal
            if equal:
                text = f"{what} stays the same in {equal} of {self._moving} intervals in which the vehicle moves"
                (self.report.error if equal > EQUAL_ERROR * self._moving else self.report.warn)(text)

    def _judge_constancy(self) -> None:
        scores = self.baselines.result()
        constant = scores["constant"]
        self.report.figures |= {
            "baseline_constant": constant["best"],
            "baseline_copy_1s": scores["copy"].get("1"),
            "baseline_ego_warp_1s": scores["ego_warp"].get("1"),
            "baselines": scores,
        }
        moving = self._moving >= 2
        found = [("one full level of voxels", constant["slab"], True), ("a constant", constant["majority"], moving)]
        for what, score, counts in found:
            if counts and score is not None and score > CONSTANT_ERROR:
                self.report.error(f"{what} predicts every frame with IoU {score:.4f}: the data holds no world")
                return
        for what, score, counts in found:
            if counts and score is not None and score > CONSTANT_WARNING:
                self.report.warn(f"{what} predicts every frame with IoU {score:.3f}: little but ground was recorded")
                return

    def _judge_lidar(self) -> None:
        report = self.report
        if self.session.meta.rig.lidar is not None and not self._lidar_frames:
            report.error("the rig has a LiDAR, but no frame has a LiDAR return")
            return
        shares: dict[str, Any] = {k: (float(h / n) if n else None) for k, (h, n) in self._points.items()}
        seen = int(self._points["all"][1])
        report.figures |= {
            "lidar_agreement": shares["all"],
            "lidar_agreement_above_ground": shares["above_ground"],
            "lidar_points_compared": seen,
            "lidar_unobserved_share": self._unobserved / (self._unobserved + seen) if self._unobserved + seen else None,
        }
        total = self._unobserved + seen
        if total >= LIDAR_LEAST and self._unobserved > UNOBSERVED_LIMIT * total:
            whole = set(CUBE_FACES) <= {face.name for face in self.session.meta.rig.depth}
            text = f"{self._unobserved / total:.1%} of the LiDAR points lie in voxels that the depth rig never observed"
            (report.error if whole else report.warn)(text)
        for key, (hits, count) in self._points.items():
            if count < LIDAR_LEAST:
                continue
            share, where = hits / count, "" if key == "all" else " above the ground"
            text = f"only {share:.1%} of the LiDAR points{where} lie in or next to an occupied voxel"
            if share < LIDAR_ERROR:
                report.error(f"{text}: LiDAR and occupancy show different worlds")
            elif share < LIDAR_WARNING:
                report.warn(text)


def _near_occupied(occupancy: NDArray[np.uint8], ijk: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which voxels are occupied or touch an occupied one (26 neighbours)."""
    hit = np.zeros(len(ijk), np.bool_)
    limit = np.array(occupancy.shape) - 1
    for offset in np.ndindex(3, 3, 3):
        neighbour = np.clip(ijk + np.array(offset) - 1, 0, limit)
        hit |= occupancy[tuple(neighbour.T)] != 0
    return hit


def _digest(*arrays: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()


def _spread(name: str, values: list[float]) -> dict[str, float]:
    """Mean under the plain name, and the extremes."""
    return {name: float(np.mean(values)), f"{name}_min": float(min(values)), f"{name}_max": float(max(values))}
