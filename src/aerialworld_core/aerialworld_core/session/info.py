"""A session at a glance, from its metadata and file names: nothing large is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from aerialworld_core.session.lease import is_held
from aerialworld_core.session.reader import Session


def session_info(path: Path) -> dict[str, Any]:
    """Plain values for printing or JSON; raises SessionError when `path` is no session.

    `seconds` spans the first to the last frame; `distance_m` is along the recorded positions; `bytes` is all files.
    """
    session = Session.open(path)
    meta, frames = session.meta, session.frame_indices
    poses = [session.pose(i) for i in frames]
    positions = np.array([p.pose.position for p in poses]).reshape(-1, 3)
    return {
        "name": session.path.name,
        "schema_version": meta.schema_version,
        "vehicle": meta.vehicle,
        "agent_type": meta.agent_type,
        "engine": dict(meta.engine),
        "world": dict(meta.world),
        "mission": meta.mission if isinstance(meta.mission, str) else dict(meta.mission),
        "conditions": dict(meta.conditions),
        "start_time": meta.start_time,
        "attribution": meta.attribution,
        "seed": meta.seed,
        "grid": {**meta.grid.to_dict(), "datum": meta.datum},
        "cameras": session.cameras,
        "lidar": meta.rig.lidar is not None,
        "imu": meta.rig.imu is not None,
        "kept": list(meta.kept),
        "frame_period_s": meta.frame_period_ns * 1e-9,
        "frames": len(frames),
        "frames_missing": (frames[-1] + 1 - frames[0] - len(frames)) if frames else 0,
        "closed": meta.frames is not None,
        "written_by": is_held(session.path),
        "seconds": (poses[-1].stamp_ns - poses[0].stamp_ns) * 1e-9 if poses else 0.0,
        "distance_m": float(np.linalg.norm(np.diff(positions, axis=0), axis=1).sum()) if len(poses) > 1 else 0.0,
        "bounds": [positions.min(axis=0).tolist(), positions.max(axis=0).tolist()] if poses else None,
        "bytes": sum(p.stat().st_size for p in session.path.rglob("*") if p.is_file()),
    }
