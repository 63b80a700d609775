"""Figures of recorded data: how much, how far, how fast, what is in the voxels, and where the bytes are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from aerialworld_core.labels import NAMES, NUM_CLASSES
from aerialworld_core.session.reader import Session


def session_stats(path: Path, *, on_frame: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Plain values for printing or JSON. Reads every frame's pose, voxels, LiDAR and actors; raises SessionError.

    `speed_m_s`, `height_m` (above the ground; above the datum where that is not known), `lidar_points`,
    `occupied_voxels`, `observed_share`, `actors` and `boxes` (of all cameras, where they are kept) are min, mean, max
    over frames; `class_voxels` counts occupied voxels of all frames by class; `bytes` is by folder.
    """
    session = Session.open(path)
    meta = session.meta
    classes = np.zeros(256, np.int64)
    columns: dict[str, list[float]] = {
        k: [] for k in ("speed_m_s", "height_m", "lidar_points", "occupied_voxels", "observed_share", "actors", "boxes")
    }
    stamps, positions = [], []
    for index in session.frame_indices:
        record, voxels = session.pose(index), session.occupancy(index)
        stamps.append(record.stamp_ns)
        positions.append(record.pose.position)
        ground = meta.datum if record.ground_z is None else record.ground_z
        columns["speed_m_s"].append(float(np.linalg.norm(record.linear_velocity)))
        columns["height_m"].append(float(record.pose.position[2] - ground))
        lidar = session.lidar(index)
        if lidar is not None:
            columns["lidar_points"].append(float(len(lidar)))
        taken = voxels.semantics[voxels.occupancy != 0]
        classes += np.bincount(taken, minlength=256)
        columns["occupied_voxels"].append(float(len(taken)))
        columns["observed_share"].append(float(np.count_nonzero(voxels.observed)) / meta.grid.size)
        columns["actors"].append(float(len(session.actors(index))))
        boxes = session.boxes(index)
        if boxes is not None:
            columns["boxes"].append(float(sum(map(len, boxes.values()))))
        on_frame()
    sizes: Counter[str] = Counter()
    for file in session.path.rglob("*"):
        if file.is_file():
            parts = file.relative_to(session.path).parts
            sizes[parts[0] if len(parts) > 1 else "description"] += file.stat().st_size
    steps = np.linalg.norm(np.diff(np.array(positions).reshape(-1, 3), axis=0), axis=1)
    return {
        "name": session.path.name,
        "agent_type": meta.agent_type,
        "world": meta.world["name"],
        "frames": len(stamps),
        "seconds": (stamps[-1] - stamps[0]) * 1e-9 if stamps else 0.0,
        "distance_m": float(steps.sum()),
        **{name: _spread(values) for name, values in columns.items()},
        "class_voxels": {NAMES[i]: int(classes[i]) for i in range(NUM_CLASSES) if classes[i]},
        "bytes": dict(sorted(sizes.items())),
    }


def added(stats: list[dict[str, Any]]) -> dict[str, Any]:
    """The sums of several sessions, and the spreads over all of their frames."""
    total: dict[str, Any] = {"sessions": len(stats)}
    for key in ("frames", "seconds", "distance_m"):
        total[key] = sum(s[key] for s in stats)
    for key in [k for k in (stats[0] if stats else {}) if isinstance(stats[0][k], dict) and "mean" in stats[0][k]]:
        parts = [(s[key], s[key]["count"]) for s in stats if s[key]["count"]]
        count = sum(n for _, n in parts)
        total[key] = {
            "count": count,
            "min": min((p["min"] for p, _ in parts), default=None),
            "mean": sum(p["mean"] * n for p, n in parts) / count if count else None,
            "max": max((p["max"] for p, _ in parts), default=None),
        }
    for key in ("class_voxels", "bytes"):
        counts: Counter[str] = Counter()
        for s in stats:
            counts.update(s[key])
        total[key] = dict(sorted(counts.items()))
    total["by_agent"] = dict(Counter(s["agent_type"] for s in stats))
    total["by_world"] = dict(Counter(s["world"] for s in stats))
    return total


def _spread(values: list[float]) -> dict[str, Any]:
    if not values:
        return {"count": 0, "min": None, "mean": None, "max": None}
    return {"count": len(values), "min": min(values), "mean": float(np.mean(values)), "max": max(values)}
