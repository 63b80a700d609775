"""UniOcc's layout (github.com/tasl-lab/UniOcc): SCENE/N.npz with labels, camera mask and voxel flow, scene_infos.pkl.

The flow of an occupied voxel is where its content is in the next (previous) frame's grid, less where it is now, in
voxels along each axis: the ego frame is the grid's (below the vehicle at the datum's height, turned by its yaw alone),
what stands still moves against it, actors' voxels move with their boxes. The format keeps cameras and annotations as
pickled objects; they are written here and never read.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.files import write_bytes
from aerialworld_core.frames import Array, Pose, grid_pose
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import DYNAMIC, FREE
from aerialworld_core.occupancy import Occupancy
from aerialworld_core.session import Session
from aerialworld_recorder.exports.common import OnFrame, new_folder, require_distinct, token
from aerialworld_recorder.exports.visibility import camera_mask

#: UniOcc's classes (undefined, car, bicycle, motorcycle, pedestrian, traffic cone, vegetation, road, terrain, building,
#: free) by Occ3D's.
LABELS = np.array([0, 0, 2, 1, 1, 1, 3, 4, 5, 1, 1, 7, 8, 8, 8, 9, 6, 10], np.uint8)
#: Metres by which an actor's box is grown to take its voxels: a surface lies in them by up to half of one.
_BOX_MARGIN = 0.5


def export_uniocc(sessions: list[Session], out: Path, *, on_frame: OnFrame = lambda: None) -> Path:
    """Write the sessions as scenes of one data set into the new folder `out`. Raises InputError, SessionError for
    damage, StorageError."""
    names = require_distinct(sessions)
    infos = []
    with new_folder(out) as folder:
        for name, session in zip(names, sessions, strict=True):
            paths = _scene(name, session, folder, on_frame)
            infos.append(
                {"scene_name": name, "occ_in_scene_paths": paths, "start_frame": 0, "end_frame": len(paths) - 1}
            )
        write_bytes(folder / "scene_infos.pkl", pickle.dumps(infos, protocol=4), sync=False)
    return out


def _scene(name: str, session: Session, folder: Path, on_frame: OnFrame) -> list[str]:
    (folder / name).mkdir()
    frames, paths = session.frame_indices, []
    for n, index in enumerate(frames):
        before = frames[n - 1] if n else None
        after = frames[n + 1] if n + 1 < len(frames) else None
        path = f"{name}/{n}.npz"
        write_bytes(folder / path, _frame(name, session, index, before, after, folder), sync=False)
        paths.append(path)
        on_frame()
    return paths


def _frame(name: str, session: Session, index: int, before: int | None, after: int | None, folder: Path) -> bytes:
    meta, record, occupancy = session.meta, session.pose(index), session.occupancy(index)
    ego = grid_pose(record.pose, meta.datum)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        occ_label=LABELS[occupancy.semantics],
        occ_mask_camera=camera_mask(occupancy, meta.grid, meta.datum, record.pose, meta.rig.cameras),
        occ_flow_forward=voxel_flow(session, index, after, occupancy),
        occ_flow_backward=voxel_flow(session, index, before, occupancy),
        ego_to_world_transformation=ego.matrix,
        cameras=_objects(_cameras(name, session, index, ego, folder)),
        annotations=_objects([_annotation(actor, ego) for actor in session.actors(index)]),
        range=np.array(meta.grid.range),
        voxel_size=np.array(meta.grid.voxel_size),
    )
    return buffer.getvalue()


def _objects(values: list[dict[str, Any]]) -> NDArray[Any]:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _cameras(name: str, session: Session, index: int, ego: Pose, folder: Path) -> list[dict[str, Any]]:
    found, pose = [], session.pose(index).pose
    for camera in session.meta.rig.cameras:
        channel = camera.name.upper()
        jpeg = session.image_bytes(index, channel)
        if jpeg is None:
            continue
        picture = f"images/{name}/{channel}/{index:06d}.jpg"
        (folder / picture).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / picture, jpeg, sync=False)
        mounted = ego.inverse() @ pose @ camera.optical_pose
        found.append(
            {"name": channel, "filename": picture, "intrinsics": camera.intrinsics, "extrinsics": mounted.matrix}
        )
    return found


def _annotation(actor: dict[str, Any], ego: Pose) -> dict[str, Any]:
    placed = _placed(actor)
    return {
        "token": token(actor["id"]),
        "agent_to_ego": (ego.inverse() @ placed).matrix,
        "agent_to_world": placed.matrix,
        "size": np.array(actor["size"], float),
        "category_id": int(LABELS[int(actor["class"])]),
    }


def _placed(actor: dict[str, Any]) -> Pose:
    return Pose(actor["position"], actor["orientation"])


def voxel_flow(session: Session, index: int, other: int | None, occupancy: Occupancy) -> NDArray[np.float32]:
    """(X, Y, Z, 3) float32 voxels: where each occupied voxel's content is in the grid of frame `other`, less where it
    is in its own frame's (`index`); zero where nothing is, and everywhere without another frame."""
    meta = session.meta
    flow = np.zeros((*meta.grid.shape, 3), np.float32)
    if other is None:
        return flow
    here, there = (grid_pose(session.pose(i).pose, meta.datum) for i in (index, other))
    ijk = np.argwhere(occupancy.semantics != FREE)
    if not len(ijk):
        return flow
    in_map = here.transform(meta.grid.centers(ijk))
    moved = _moved(in_map, occupancy.semantics[tuple(ijk.T)], session.actors(index), session.actors(other))
    flow[tuple(ijk.T)] = _displacement(meta.grid, ijk, there.inverse().transform(moved))
    return flow


def _displacement(grid: VoxelGrid, ijk: NDArray[np.int64], later: Array) -> NDArray[np.float32]:
    return ((later - grid.centers(ijk)) / np.array(grid.voxel_size)).astype(np.float32)


def _moved(points: Array, classes: NDArray[np.uint8], now: list[dict[str, Any]], then: list[dict[str, Any]]) -> Array:
    """The points (N, 3) of map where they are in the other frame: those of classes that move, within an actor's box,
    go with it."""
    found, later = points.copy(), {actor["id"]: actor for actor in then}
    moving = np.isin(classes, DYNAMIC) | np.isin(classes, [int(a["class"]) for a in now])
    for actor in now:
        if actor["id"] not in later:
            continue
        placed = _placed(actor)
        local = placed.inverse().transform(points)
        within = moving & (np.abs(local) <= np.array(actor["size"], float) / 2 + _BOX_MARGIN).all(axis=1)
        found[within] = _placed(later[actor["id"]]).transform(local[within])
    return found
