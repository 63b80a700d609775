"""Reads the sensors of a vehicle from SDF: the one place where rigs become `Rig` objects.

Names say what a sensor is for: an RGB camera bears its nuScenes name in lower case (`cam_front`), a depth camera is
`depth_{face}` and its class image `semantic_{face}`. Plugins are never run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from aerialworld_core.errors import WorldError
from aerialworld_core.frames import Array, Pose
from aerialworld_core.rig import CUBE_FACES, CameraSpec, ImuSpec, LidarSpec, NavSatSpec, Rig
from aerialworld_core.world.sdf import Document, text_of, where
from aerialworld_core.world.sensor_reader import read_camera, read_imu, read_lidar, read_navsat
from aerialworld_core.world.single_model import SingleModel, open_model
from aerialworld_core.world.tree import PlacedLink

_IGNORED = {"magnetometer", "air_pressure", "altimeter", "contact", "force_torque", "air_speed"}
_SAME = 1e-6
#: Metres from base_link; farther out stands no sensor, and single precision would not do.
_MAX_MOUNT = 1000.0


def load_rig(source: str | Path) -> Rig:
    """The rig of a shipped model (by name), or of a model's SDF file or folder; includes are followed.

    Poses are in `base_link`, or in the model's frame where it has no such link. Raises WorldError, naming file and
    sensor, for what cannot be used: no sensor at all, two LiDARs, a class image without its depth image, wrong values.
    """
    return _Collector(open_model(source, "rig or vehicle file")).rig()


class _Collector:
    def __init__(self, model: SingleModel) -> None:
        self.model, self.file, self.name = model, model.file, model.name
        self.cameras: dict[str, CameraSpec] = {}
        self.depth: dict[str, CameraSpec] = {}
        self.semantic: dict[str, CameraSpec] = {}
        self.lidar: LidarSpec | None = None
        self.imu: ImuSpec | None = None
        self.navsat: NavSatSpec | None = None

    def rig(self) -> Rig:
        for link in self.model.links:
            for sensor in link.element.findall("sensor"):
                self._add(link.document, sensor, _mount(link, sensor, self.model.from_root))
        for face, spec in self.semantic.items():
            twin = self.depth.get(face)
            if twin is None:
                raise WorldError(f"{self.file}: sensor semantic_{face} has no depth_{face}; class is read with depth")
            if not _same_geometry(twin, spec):
                raise WorldError(
                    f"{self.file}: semantic_{face} must have the pose, size and field of view of depth_{face}"
                )
        if not (self.cameras or self.depth or self.lidar or self.imu):
            raise WorldError(f"{self.file}: no link of model {self.name} carries a camera, depth camera, LiDAR or IMU")
        order = list(CUBE_FACES)
        faces = sorted(self.depth, key=lambda face: (order.index(face) if face in order else len(order), face))
        depth = tuple(self.depth[face] for face in faces)
        return Rig(self.name, tuple(self.cameras.values()), depth, self.lidar, self.imu, self.navsat)

    def _add(self, document: Document, sensor: Any, pose: Pose) -> None:
        kind, name = sensor.get("type", ""), sensor.get("name", "")
        context = where(document, sensor)
        if not name:
            raise WorldError(f"{context}: has no name")
        if kind == "camera":
            self._new(self.cameras, name.lower(), read_camera(document, sensor, name.lower(), pose), context)
        elif kind in ("depth_camera", "segmentation_camera", "segmentation"):
            prefix = "depth_" if kind == "depth_camera" else "semantic_"
            if not name.startswith(prefix) or len(name) == len(prefix):
                raise WorldError(f"{context}: a {kind} is named {prefix}{{face}}, for example {prefix}front")
            face = name.removeprefix(prefix)
            if kind != "depth_camera":
                style = (
                    text_of(sensor, "camera/segmentation_type") or text_of(sensor, "segmentation_type") or "semantic"
                )
                if style != "semantic":
                    raise WorldError(f"{context}: segmentation_type must be semantic, not {style!r}")
            target = self.depth if kind == "depth_camera" else self.semantic
            spec = read_camera(document, sensor, face, pose)
            if not spec.ideal:
                raise WorldError(
                    f"{context}: a {kind} must be an ideal pinhole: no <distortion>, fx = fy, the principal point in "
                    "the picture's centre"
                )
            self._new(target, face, spec, context)
        elif kind in ("gpu_lidar", "lidar", "gpu_ray", "ray"):
            if self.lidar is not None:
                raise WorldError(f"{context}: the rig has a LiDAR already ({self.lidar.name}); one is supported")
            self.lidar = read_lidar(document, sensor, name, pose)
        elif kind == "imu":
            if self.imu is not None:
                raise WorldError(f"{context}: the rig has an IMU already ({self.imu.name}); one is supported")
            self.imu = read_imu(document, sensor, name, pose)
        elif kind in ("navsat", "gps"):
            if self.navsat is not None:
                raise WorldError(f"{context}: the rig has a NavSat already ({self.navsat.name}); one is supported")
            self.navsat = read_navsat(document, sensor, name, pose)
        elif kind not in _IGNORED:
            raise WorldError(
                f"{context}: sensor type {kind!r} is not supported; use camera, depth_camera, segmentation_camera, "
                "gpu_lidar, imu or navsat"
            )

    @staticmethod
    def _new(target: dict[str, CameraSpec], name: str, spec: CameraSpec, context: str) -> None:
        if name in target:
            raise WorldError(f"{context}: there are two sensors of this name")
        target[name] = spec


def _mount(link: PlacedLink, sensor: Any, from_root: Array) -> Pose:
    """The sensor's pose in base_link."""
    matrix = from_root @ link.place(sensor.find("pose"))
    distance = float(np.abs(matrix[:3, 3]).max())
    if not distance <= _MAX_MOUNT:
        raise WorldError(
            f"{where(link.document, sensor)}: lies {distance:g} m from base_link; poses are metres, and at most "
            f"{_MAX_MOUNT:g} m are taken"
        )
    return Pose.from_matrix(matrix)


def _same_geometry(a: CameraSpec, b: CameraSpec) -> bool:
    return (
        (a.width, a.height) == (b.width, b.height)
        and abs(a.hfov - b.hfov) < _SAME
        and bool(np.allclose(a.pose.matrix, b.pose.matrix, atol=_SAME))
    )
