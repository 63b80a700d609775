"""Occ3D's layout (github.com/Tsinghua-MARS-Lab/Occ3D): gts/SCENE/FRAME/labels.npz, imgs/CAMERA/…, annotations.json.

`labels.npz` holds `semantics`, `mask_lidar` (observed) and `mask_camera` as uint8 of the session's grid, which is not
Occ3D's 200 × 200 × 16: `range` and `voxel_size` stand beside them. The ego frame is the one that the voxels are in: at
the datum's height below the vehicle, turned by its yaw alone; camera extrinsics and ego poses are given for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from aerialworld_core.files import write_bytes, write_json
from aerialworld_core.frames import grid_pose
from aerialworld_core.session import Session
from aerialworld_core.session.arrays import dump_npz
from aerialworld_recorder.exports.common import OnFrame, new_folder, require_distinct, token, wxyz
from aerialworld_recorder.exports.visibility import camera_mask


def export_occ3d(sessions: list[Session], out: Path, *, on_frame: OnFrame = lambda: None) -> Path:
    """Write the sessions as scenes of one data set into the new folder `out`. Raises InputError, SessionError for
    damage, StorageError."""
    names = require_distinct(sessions)
    scenes: dict[str, Any] = {}
    with new_folder(out) as folder:
        for name, session in zip(names, sessions, strict=True):
            scenes[name] = _scene(name, session, folder, on_frame)
        splits = {"train_split": names, "val_split": [], "scene_infos": scenes}
        write_json(folder / "annotations.json", splits, sync=False)
    return out


def _scene(name: str, session: Session, folder: Path, on_frame: OnFrame) -> dict[str, Any]:
    frames: dict[str, Any] = {}
    tokens = [token(name, index) for index in session.frame_indices]
    for n, index in enumerate(session.frame_indices):
        frames[tokens[n]] = {
            **_frame(name, session, index, tokens[n], folder),
            "prev": tokens[n - 1] if n else "",
            "next": tokens[n + 1] if n + 1 < len(tokens) else "",
        }
        on_frame()
    return frames


def _frame(name: str, session: Session, index: int, frame: str, folder: Path) -> dict[str, Any]:
    meta, record, occupancy = session.meta, session.pose(index), session.occupancy(index)
    labels = dump_npz(
        {
            "semantics": occupancy.semantics,
            "mask_lidar": occupancy.observed.astype(np.uint8),
            "mask_camera": camera_mask(occupancy, meta.grid, meta.datum, record.pose, meta.rig.cameras),
            "range": np.array(meta.grid.range),
            "voxel_size": np.array(meta.grid.voxel_size),
        }
    )
    place = f"gts/{name}/{frame}/labels.npz"
    (folder / place).parent.mkdir(parents=True)
    write_bytes(folder / place, labels, sync=False)
    ego = grid_pose(record.pose, meta.datum)
    where = {"translation": ego.position.tolist(), "rotation": wxyz(ego.orientation)}
    sensors = {}
    for camera in meta.rig.cameras:
        channel = camera.name.upper()
        jpeg = session.image_bytes(index, channel)
        if jpeg is None:
            continue  # a session may lack pictures; then the format lists fewer cameras
        picture = f"imgs/{channel}/{name}__{channel}__{record.stamp_ns // 1000}.jpg"
        (folder / picture).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / picture, jpeg, sync=False)
        mounted = ego.inverse() @ record.pose @ camera.optical_pose
        sensors[token(frame, channel)] = {
            "channel": channel,
            "img_path": picture,
            "intrinsic": camera.intrinsics.tolist(),
            "extrinsic": {"translation": mounted.position.tolist(), "rotation": wxyz(mounted.orientation)},
            "ego_pose": where,
        }
    stamp = str(record.stamp_ns // 1000)
    return {"timestamp": stamp, "camera_sensor": sensors, "ego_pose": where, "gt_path": place}
