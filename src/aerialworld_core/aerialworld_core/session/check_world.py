"""Against the world itself: poses outside solids, and how much of the visible surface the occupancy holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aerialworld_core.session.frame_files import PoseRecord
from aerialworld_core.session.reader import Session
from aerialworld_core.session.report import ValidationReport

if TYPE_CHECKING:
    from aerialworld_core.world import World

#: Recall and precision of the surface voxels, mean over the frames looked at: error, warning below. A coarse rig misses
#: surface (and the figure says so) without being wrong; voxels where nothing is are wrong with any rig.
TRUTH_ERROR, TRUTH_WARNING = {"recall": 0.50, "precision": 0.90}, 0.99


def check_world(
    session: Session, poses: dict[int, PoseRecord], world: World, truth_frames: int, report: ValidationReport
) -> None:
    """`truth_frames` frames, evenly spread, are compared with the world's surface; that takes seconds each."""
    if world.sha256 != session.meta.world["sha256"]:
        report.error(
            f"recorded in the world {session.meta.world['name']} ({session.meta.world['sha256'][:12]}…), "
            f"not in the one given ({world.sha256[:12]}…)"
        )
        return
    indices = sorted(poses)
    if not indices:
        return
    inside = np.asarray(world.inside_solid(np.stack([poses[i].pose.position for i in indices])))
    report.figures["poses_inside_solids"] = int(inside.sum())
    if inside.any():
        first = indices[int(np.argmax(inside))]
        report.error(f"{int(inside.sum())} of {len(indices)} poses lie inside a solid, the first at frame {first}")
    if truth_frames > 0:
        _check_truth(session, poses, world, truth_frames, report)


def _check_truth(
    session: Session, poses: dict[int, PoseRecord], world: World, truth_frames: int, report: ValidationReport
) -> None:
    from aerialworld_core.world import truth

    indices = sorted(poses)
    spread = np.linspace(0, len(indices) - 1, min(truth_frames, len(indices))).round().astype(int)
    chosen = sorted({indices[k] for k in spread})
    meta = session.meta
    scores: list[dict[str, Any]] = []
    for index in chosen:
        score = truth.score(world, meta.rig, poses[index].pose, meta.grid, meta.datum, session.occupancy(index))
        scores.append({"frame": index, **score})
    report.figures["truth"] = scores
    for name in TRUTH_ERROR:
        values = [float(s[name]) for s in scores if s.get(name) is not None and np.isfinite(s[name])]
        if not values:
            report.warn(f"{name} could not be measured: no surface in the frames looked at")
            continue
        mean = float(np.mean(values))
        report.figures[name] = mean
        text = f"{name} of the surface is {mean:.4f} over {len(values)} frames (lowest {min(values):.4f})"
        if mean < TRUTH_ERROR[name]:
            report.error(text)
        elif mean < TRUTH_WARNING:
            report.warn(text)
