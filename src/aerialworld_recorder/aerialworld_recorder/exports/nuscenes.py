"""nuScenes' layout (v1.0 schema, nuscenes-devkit): thirteen tables of JSON, samples/CHANNEL/…, one scene per session.

Every frame is a keyframe. Quaternions are w, x, y, z and sizes w, l, h there, stamps microseconds. Unlike nuScenes'
own, ego poses have their true height, roll and pitch (base_link in map). The LiDAR is called LIDAR_TOP and its points
have five numbers, the last the ring, which a session does not store: it is 0. How visible an object is, is told by the
session's boxes of pixels, over all cameras; where it keeps none, nobody judged, and all are v80-100.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core import png
from aerialworld_core.boxes import Box
from aerialworld_core.files import write_bytes, write_json
from aerialworld_core.frames import Pose
from aerialworld_core.session import Session
from aerialworld_core.session.layout import parse_time
from aerialworld_recorder.exports.common import OnFrame, new_folder, require_distinct, token, wxyz

VERSION = "v1.0-trainval"
LIDAR = "LIDAR_TOP"
#: nuScenes' categories by Occ3D's class ids, for actors.
CATEGORIES = {
    2: "vehicle.bicycle",
    3: "vehicle.bus.rigid",
    4: "vehicle.car",
    5: "vehicle.construction",
    6: "vehicle.motorcycle",
    7: "human.pedestrian.adult",
    9: "vehicle.trailer",
    10: "vehicle.truck",
}
OTHER = "movable_object.debris"
#: The levels of visibility: the share seen that is the least of each.
_LEVELS = ((0.8, "4"), (0.6, "3"), (0.4, "2"), (0.0, "1"))
_TABLES = (
    "category attribute visibility instance sensor calibrated_sensor ego_pose log scene sample sample_data "
    "sample_annotation map"
).split()


def export_nuscenes(sessions: list[Session], out: Path, *, on_frame: OnFrame = lambda: None) -> Path:
    """Write the sessions as scenes of one data set into the new folder `out`. Raises InputError, SessionError for
    damage, StorageError."""
    names = require_distinct(sessions)
    with new_folder(out) as folder:
        tables = _Tables(folder)
        for name, session in zip(names, sessions, strict=True):
            _Scene(tables, name, session).write(on_frame)
        tables.write()
    return out


def visibility(boxes: dict[str, list[Box]] | None) -> Callable[[str], str]:
    """By an actor's id nuScenes' level of how much of it all cameras together see: the pixels that show it, of those
    that would. What no pixel shows is of the lowest. Without boxes, or where they are projections, all is visible."""
    listed = [box for of_camera in (boxes or {}).values() for box in of_camera]
    if boxes is None or any(box.pixels is None for box in listed):
        return lambda name: "4"
    shown: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for box in listed:
        shown[str(box.id)] += box.pixels or 0
        whole[str(box.id)] += (box.pixels or 0) + (box.hidden or 0)
    return lambda name: next(level for least, level in _LEVELS if shown[name] >= least * max(whole[name], 1))


class _Tables:
    """The tables as they grow; what several scenes share is there once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: dict[str, list[dict[str, Any]]] = {name: [] for name in _TABLES}
        for name in sorted({*CATEGORIES.values(), OTHER}):
            self.add("category", token("category", name), name=name, description="")
        for level, text in ((1, "0-40"), (2, "40-60"), (3, "60-80"), (4, "80-100")):
            self.rows["visibility"].append({"token": str(level), "level": f"v{text}", "description": ""})
        (folder / "maps").mkdir()
        # The devkit opens a mask for every log; an empty one says that nothing is known of drivable ground.
        write_bytes(folder / "maps" / "none.png", png.encode(np.zeros((16, 16, 3), np.uint8)), sync=False)

    def add(self, table: str, key: str, **row: Any) -> str:
        self.rows[table].append({"token": key, **row})
        return key

    def sensor(self, channel: str, modality: str) -> str:
        key = token("sensor", channel)
        if all(row["token"] != key for row in self.rows["sensor"]):
            self.add("sensor", key, channel=channel, modality=modality)
        return key

    def write(self) -> None:
        logs = [row["token"] for row in self.rows["log"]]
        self.add("map", token("map"), category="semantic_prior", filename="maps/none.png", log_tokens=logs)
        (self.folder / VERSION).mkdir()
        for name, rows in self.rows.items():
            write_json(self.folder / VERSION / f"{name}.json", rows, sync=False)


class _Scene:
    """One session's rows and files."""

    def __init__(self, tables: _Tables, name: str, session: Session) -> None:
        self.tables, self.name, self.session = tables, name, session
        self.start = parse_time(session.meta.start_time)
        self.calibrated: dict[str, str] = {}
        self.samples = [token(name, "sample", i) for i in session.frame_indices]
        self.data: dict[str, list[dict[str, Any]]] = {}
        self.seen: dict[str, list[dict[str, Any]]] = {}
        self.kinds: dict[str, int] = {}

    def write(self, on_frame: OnFrame) -> None:
        meta, tables = self.session.meta, self.tables
        log = tables.add(
            "log", token(self.name, "log"), logfile=self.name, vehicle=meta.vehicle,
            date_captured=f"{self.start:%Y-%m-%d}", location=meta.world["name"],
        )  # fmt: skip
        scene = tables.add(
            "scene", token(self.name, "scene"), log_token=log, nbr_samples=len(self.samples), name=self.name,
            first_sample_token=self.samples[0], last_sample_token=self.samples[-1],
            description=f"{meta.agent_type} in {meta.world['name']}",
        )  # fmt: skip
        self._calibrate()
        for n, index in enumerate(self.session.frame_indices):
            self._frame(n, index, scene)
            on_frame()
        self._link()

    def _calibrate(self) -> None:
        rig = self.session.meta.rig
        for camera in rig.cameras:
            channel = camera.name.upper()
            self._mount(channel, "camera", camera.optical_pose, camera.intrinsics.tolist())
        if rig.lidar is not None:
            self._mount(LIDAR, "lidar", rig.lidar.pose, [])

    def _mount(self, channel: str, modality: str, pose: Pose, intrinsics: list[list[float]]) -> None:
        self.calibrated[channel] = self.tables.add(
            "calibrated_sensor", token(self.name, "mount", channel), sensor_token=self.tables.sensor(channel, modality),
            translation=pose.position.tolist(), rotation=wxyz(pose.orientation), camera_intrinsic=intrinsics,
        )  # fmt: skip

    def _frame(self, n: int, index: int, scene: str) -> None:
        record = self.session.pose(index)
        moment = self.start + timedelta(microseconds=record.stamp_ns // 1000)
        stamp = round(moment.timestamp() * 1e6)
        self.tables.add(
            "sample", self.samples[n], timestamp=stamp, scene_token=scene,
            prev=self.samples[n - 1] if n else "", next=self.samples[n + 1] if n + 1 < len(self.samples) else "",
        )  # fmt: skip
        ego = self.tables.add(
            "ego_pose", token(self.name, "ego", index), timestamp=stamp,
            translation=record.pose.position.tolist(), rotation=wxyz(record.pose.orientation),
        )  # fmt: skip
        for camera in self.session.meta.rig.cameras:
            channel = camera.name.upper()
            jpeg = self.session.image_bytes(index, channel)
            if jpeg is not None:
                self._datum(channel, "jpg", jpeg, n, index, stamp, ego, camera.height, camera.width)
        points = self.session.lidar(index)
        if points is not None:
            five = np.hstack([points, np.zeros((len(points), 1), np.float32)]).astype("<f4")
            self._datum(LIDAR, "pcd", five.tobytes(), n, index, stamp, ego, 0, 0)
        lidar = self.session.meta.rig.lidar
        in_map = np.zeros((0, 3))
        if points is not None and lidar is not None:
            in_map = record.pose.transform(lidar.pose.transform(points[:, :3]))
        levels = visibility(self.session.boxes(index))
        for actor in self.session.actors(index):
            self._annotate(actor, n, in_map, levels(str(actor["id"])))

    def _datum(
        self, channel: str, kind: str, data: bytes, n: int, index: int, stamp: int, ego: str, height: int, width: int
    ) -> None:
        suffix = "pcd.bin" if kind == "pcd" else kind
        file = f"samples/{channel}/{self.name}__{channel}__{stamp}.{suffix}"
        (self.tables.folder / file).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(self.tables.folder / file, data, sync=False)
        row = {
            "token": token(self.name, channel, index), "sample_token": self.samples[n], "ego_pose_token": ego,
            "calibrated_sensor_token": self.calibrated[channel], "timestamp": stamp, "fileformat": kind,
            "is_key_frame": True, "height": height, "width": width, "filename": file, "prev": "", "next": "",
        }  # fmt: skip
        self.tables.rows["sample_data"].append(row)
        self.data.setdefault(channel, []).append(row)

    def _annotate(self, actor: dict[str, Any], n: int, points: NDArray[np.float64], level: str) -> None:
        """An actor's box, with the number of LiDAR returns in it; `points` (N, 3) in map."""
        name, size = str(actor["id"]), [float(v) for v in actor["size"]]
        placed = Pose(actor["position"], actor["orientation"])
        local = placed.inverse().transform(points)
        returns = int((np.abs(local) <= np.array(size) / 2).all(axis=1).sum())
        row = {
            "token": token(self.name, "annotation", name, n), "sample_token": self.samples[n],
            "instance_token": token(self.name, "instance", name), "attribute_tokens": [], "visibility_token": level,
            "translation": [float(v) for v in actor["position"]], "size": [size[1], size[0], size[2]],
            "rotation": wxyz(actor["orientation"]), "num_lidar_pts": returns, "num_radar_pts": 0,
            "prev": "", "next": "",
        }  # fmt: skip
        self.tables.rows["sample_annotation"].append(row)
        self.seen.setdefault(name, []).append(row)
        self.kinds[name] = int(actor["class"])

    def _link(self) -> None:
        """Each sensor's and each object's rows in order of time, and the objects themselves."""
        for rows in (*self.data.values(), *self.seen.values()):
            for row, later in pairwise(rows):
                row["next"], later["prev"] = later["token"], row["token"]
        for name, rows in self.seen.items():
            self.tables.add(
                "instance", token(self.name, "instance", name), nbr_annotations=len(rows),
                category_token=token("category", CATEGORIES.get(self.kinds[name], OTHER)),
                first_annotation_token=rows[0]["token"], last_annotation_token=rows[-1]["token"],
            )  # fmt: skip
