"""KITTI's odometry layout: sequences/NN with image_2, velodyne, calib.txt and times.txt, poses/NN.txt.

cam0 is the session's front camera (the first one without a CAM_FRONT); it is written as P0 to P3 alike, since a
session has no stereo pair. `Tr` takes LiDAR points into it, poses are cam0's in the first frame's cam0. SemanticKITTI's
voxels lie beside (voxels/NNNNNN.bin, .invalid: packed bits; .label: uint16, Occ3D id + 1, 0 where free), in the
session's own grid: voxels/grid.json says which. Pictures are PNG, which KITTI's readers look for.

A session that keeps boxes adds label_2/NNNNNN.txt beside image_2, as KITTI's object benchmark has them: what moves in
the front camera's picture. There a box stands upright in the camera: its yaw about the camera's y axis is kept, its
tilt, under a camera that rolls or looks down, is not. Occlusion: 0 from 80 % visible, 1 from 40 %, 2 below, 3 where
nobody knows.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import simplejpeg

from aerialworld_core import png
from aerialworld_core.boxes import Box
from aerialworld_core.errors import InputError, SessionError
from aerialworld_core.files import write_bytes, write_json
from aerialworld_core.frames import Array
from aerialworld_core.labels import FREE, NAMES
from aerialworld_core.rig import CameraSpec
from aerialworld_core.session import Session
from aerialworld_recorder.exports.common import OnFrame, new_folder, require_distinct

#: KITTI's types by Occ3D's class ids.
TYPES = {2: "Cyclist", 4: "Car", 7: "Pedestrian", 10: "Truck"}
OTHER = "Misc"


def export_kitti(sessions: list[Session], out: Path, *, on_frame: OnFrame = lambda: None) -> Path:
    """Write the sessions as sequences 00, 01, … of one data set into the new folder `out`. Raises InputError when a rig
    has no camera or no LiDAR, or a camera's lens distorts (KITTI's pictures are rectified)."""
    names = require_distinct(sessions)
    for session in sessions:
        _front(session)
    with new_folder(out) as folder:
        (folder / "poses").mkdir()
        for number, session in enumerate(sessions):
            _sequence(f"{number:02d}", session, folder, on_frame)
        write_json(folder / "sequences.json", {f"{n:02d}": name for n, name in enumerate(names)}, sync=False)
    return out


def _front(session: Session) -> CameraSpec:
    cameras = {c.name.upper(): c for c in session.meta.rig.cameras}
    if not cameras or session.meta.rig.lidar is None:
        raise InputError(f"{session.path}: KITTI needs a camera and a LiDAR")
    front = cameras.get("CAM_FRONT") or next(iter(cameras.values()))
    if front.distortion is not None:
        raise InputError(f"{session.path}: {front.name} has a distorting lens, and KITTI's pictures are rectified")
    return front


def _sequence(number: str, session: Session, folder: Path, on_frame: OnFrame) -> None:
    meta, front = session.meta, _front(session)
    place = folder / "sequences" / number
    for part in ("image_2", "velodyne", "voxels", *(("label_2",) if meta.keeps_boxes else ())):
        (place / part).mkdir(parents=True)
    lidar = meta.rig.lidar
    assert lidar is not None
    projection = np.hstack([front.intrinsics, np.zeros((3, 1))])
    lidar_to_camera = (front.optical_pose.inverse() @ lidar.pose).matrix
    lines = [f"P{n}: {_numbers(projection)}" for n in range(4)] + [f"Tr: {_numbers(lidar_to_camera[:3])}"]
    write_bytes(place / "calib.txt", ("\n".join(lines) + "\n").encode(), sync=False)
    write_json(place / "voxels" / "grid.json", {**meta.grid.to_dict(), "classes": list(NAMES)}, sync=False)
    first: Array | None = None
    start, times, poses = 0, [], []
    for n, index in enumerate(session.frame_indices):
        record = session.pose(index)
        camera = (record.pose @ front.optical_pose).matrix
        if first is None:
            first, start = np.linalg.inv(camera).astype(np.float64), record.stamp_ns
        times.append(f"{(record.stamp_ns - start) * 1e-9:.9e}")
        poses.append(_numbers((first @ camera)[:3]))
        _write_frame(session, index, n, front, place)
        on_frame()
    write_bytes(place / "times.txt", ("\n".join(times) + "\n").encode(), sync=False)
    write_bytes(folder / "poses" / f"{number}.txt", ("\n".join(poses) + "\n").encode(), sync=False)


def _write_frame(session: Session, index: int, n: int, front: CameraSpec, place: Path) -> None:
    points, jpeg = session.lidar(index), session.image_bytes(index, front.name.upper())
    if points is None or jpeg is None:
        raise SessionError(f"{session.path}: frame {index} has no {'LiDAR' if points is None else front.name}")
    write_bytes(place / "velodyne" / f"{n:06d}.bin", points.astype("<f4").tobytes(), sync=False)
    write_bytes(place / "image_2" / f"{n:06d}.png", _png(jpeg, session, index), sync=False)
    boxes = session.boxes(index)
    if boxes is not None:
        lines = "".join(label(box) + "\n" for box in boxes[front.name.upper()])
        write_bytes(place / "label_2" / f"{n:06d}.txt", lines.encode(), sync=False)
    occupancy = session.occupancy(index)
    labels = np.where(occupancy.semantics == FREE, 0, occupancy.semantics + 1).astype("<u2")
    for suffix, data in (
        ("bin", np.packbits(occupancy.occupancy.reshape(-1)).tobytes()),
        ("invalid", np.packbits(~occupancy.observed.reshape(-1)).tobytes()),
        ("label", labels.tobytes()),
    ):
        write_bytes(place / "voxels" / f"{n:06d}.{suffix}", data, sync=False)


def label(box: Box) -> str:
    """A box as a line of KITTI's label_2: type, truncation, occlusion, alpha, 2-D box, height, width, length, the
    middle of its bottom in the camera, rotation about the camera's y axis."""
    length, width, height = (float(v) for v in box.size)
    forward = box.pose.rotation[:, 0]
    turn = float(np.arctan2(-forward[2], forward[0]))
    x, y, z = (float(v) for v in box.pose.position)
    alpha = (turn - np.arctan2(x, z) + np.pi) % (2 * np.pi) - np.pi
    visible = box.visible
    occlusion = 3 if visible is None else 0 if visible >= 0.8 else 1 if visible >= 0.4 else 2
    left, top, right, bottom = box.rectangle
    numbers = (alpha, left, top, right - 1, bottom - 1, height, width, length, x, y + height / 2, z, turn)
    kind = TYPES.get(box.label, OTHER)
    return f"{kind} {box.truncated:.2f} {occlusion} " + " ".join(f"{v:.2f}" for v in numbers)


def _numbers(values: Array) -> str:
    return " ".join(f"{v:.12e}" for v in np.asarray(values).reshape(-1))


def _png(jpeg: bytes, session: Session, index: int) -> bytes:
    try:
        return png.encode(simplejpeg.decode_jpeg(jpeg, colorspace="RGB"))
    except (ValueError, io.UnsupportedOperation) as error:
        raise SessionError(f"{session.path}: frame {index}: its picture cannot be read: {error}") from error
