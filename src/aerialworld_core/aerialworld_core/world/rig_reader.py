"""Reads the sensors of a vehicle from SDF: the one place where rigs become `Rig` objects.

Names say what a sensor is for: an RGB camera bears its nuScenes name in lower case (`cam_front`), a depth camera is
`depth_{face}` and its class image `semantic_{face}`. Plugins are never run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from aerialworld_core.errors import WorldError
from aerialworld_core.frames import Pose
from aerialworld_core.resources import model_path
from aerialworld_core.rig import CUBE_FACES, CameraSpec, ImuSpec, LidarSpec, Rig
from aerialworld_core.world.sdf import Document, Notes, inverse, number, read_document, text_of, where
from aerialworld_core.world.tree import Model, PlacedLink
from aerialworld_core.world.uris import Files, Resolved

_IGNORED = {"navsat", "gps", "magnetometer", "air_pressure", "altimeter", "contact", "force_torque", "air_speed"}
_SAME = 1e-6
_Spec = TypeVar("_Spec", CameraSpec, LidarSpec)


def load_rig(source: str | Path) -> Rig:
    """The rig of a shipped model (by name), or of a model's SDF file or folder; includes are followed.

    Poses are in `base_link`, or in the model's frame where it has no such link. Raises WorldError, naming file and
    sensor, for what cannot be used: no sensor at all, two LiDARs, a class image without its depth image, wrong values.
    """
    text = str(source)
    path = Path(source)
    if isinstance(source, str) and "/" not in text and "\\" not in text and not text.endswith(".sdf"):
        file = model_path(text)
    else:
        file = path / "model.sdf" if path.is_dir() else path
    document = read_document(file)
    models = document.element.findall("model")
    if len(models) != 1:
        raise WorldError(f"{file}: holds {len(models)} models; a rig or vehicle file needs one")
    files, notes = Files(document.folder), Notes()
    files.use(Resolved(document.path, document.root, document.path.name))
    model = Model(document, models[0], files, notes)
    return _Collector(file, str(models[0].get("name") or file.stem)).rig(list(model.links(np.eye(4))))


class _Collector:
    def __init__(self, file: Path, name: str) -> None:
        self.file, self.name = file, name
        self.cameras: dict[str, CameraSpec] = {}
        self.depth: dict[str, CameraSpec] = {}
        self.semantic: dict[str, CameraSpec] = {}
        self.lidar: LidarSpec | None = None
        self.imu: ImuSpec | None = None

    def rig(self, links: list[PlacedLink]) -> Rig:
        bases = [link for link in links if link.element.get("name") == "base_link"]
        if len(bases) > 1:
            raise WorldError(f"{self.file}: has {len(bases)} links named base_link; need one")
        from_root = inverse(bases[0].matrix) if bases else np.eye(4)
        for link in links:
            for sensor in link.element.findall("sensor"):
                pose = Pose.from_matrix(from_root @ link.place(sensor.find("pose")))
                self._add(link.document, sensor, pose)
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
        return Rig(
            self.name, tuple(self.cameras.values()), tuple(self.depth[face] for face in faces), self.lidar, self.imu
        )

    def _add(self, document: Document, sensor: Any, pose: Pose) -> None:
        kind, name = sensor.get("type", ""), sensor.get("name", "")
        context = where(document, sensor)
        if not name:
            raise WorldError(f"{context}: has no name")
        if kind == "camera":
            self._new(self.cameras, name.lower(), _camera(document, sensor, name.lower(), pose), context)
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
            self._new(target, face, _camera(document, sensor, face, pose), context)
        elif kind in ("gpu_lidar", "lidar", "gpu_ray", "ray"):
            if self.lidar is not None:
                raise WorldError(f"{context}: the rig has a LiDAR already ({self.lidar.name}); one is supported")
            self.lidar = _lidar(document, sensor, name, pose)
        elif kind == "imu":
            if self.imu is not None:
                raise WorldError(f"{context}: the rig has an IMU already ({self.imu.name}); one is supported")
            self.imu = _imu(document, sensor, name, pose)
        elif kind not in _IGNORED:
            raise WorldError(
                f"{context}: sensor type {kind!r} is not supported; use camera, depth_camera, segmentation_camera, "
                "gpu_lidar or imu"
            )

    @staticmethod
    def _new(target: dict[str, CameraSpec], name: str, spec: CameraSpec, context: str) -> None:
        if name in target:
            raise WorldError(f"{context}: there are two sensors of this name")
        target[name] = spec


def _rate(document: Document, sensor: Any) -> float:
    rate = number(document, sensor, "update_rate")
    if rate <= 0:
        raise WorldError(f"{where(document, sensor)}: <update_rate> must be positive, not {rate:g}")
    return rate


def _camera(document: Document, sensor: Any, name: str, pose: Pose) -> CameraSpec:
    camera = sensor.find("camera")
    context = where(document, sensor)
    if camera is None:
        raise WorldError(f"{context}: has no <camera>")
    for tag in ("distortion", "lens"):
        if camera.find(tag) is not None:
            raise WorldError(f"{context}: <{tag}> is not supported; cameras are ideal pinholes")
    inner = camera.find("pose")
    if inner is not None and (inner.text or "").strip():
        raise WorldError(f"{context}: give the sensor its <pose>, not its <camera>")
    size = []
    for tag in ("width", "height"):
        value = number(document, camera, f"image/{tag}")
        if not value.is_integer():
            raise WorldError(f"{context}: <{tag}> must be a whole number, not {value:g}")
        size.append(int(value))
    return _made(
        CameraSpec,
        context,
        name=name,
        pose=pose,
        width=size[0],
        height=size[1],
        hfov=number(document, camera, "horizontal_fov"),
        near=number(document, camera, "clip/near"),
        far=number(document, camera, "clip/far"),
        rate=_rate(document, sensor),
        noise_stddev=_noise(document, camera),
    )


def _lidar(document: Document, sensor: Any, name: str, pose: Pose) -> LidarSpec:
    ray = sensor.find("lidar")
    ray = ray if ray is not None else sensor.find("ray")
    context = where(document, sensor)
    if ray is None:
        raise WorldError(f"{context}: has no <lidar>")
    counts = []
    for axis in ("horizontal", "vertical"):
        if number(document, ray, f"scan/{axis}/resolution", 1.0) != 1.0:
            raise WorldError(f"{context}: <resolution> of the {axis} scan must be 1; give the samples you need")
        samples = number(document, ray, f"scan/{axis}/samples", 1.0 if axis == "vertical" else None)
        if not samples.is_integer() or samples < 1:
            raise WorldError(f"{context}: <samples> must be a positive whole number, not {samples:g}")
        counts.append(int(samples))
    return _made(
        LidarSpec,
        context,
        name=name,
        pose=pose,
        columns=counts[0],
        min_azimuth=number(document, ray, "scan/horizontal/min_angle"),
        max_azimuth=number(document, ray, "scan/horizontal/max_angle"),
        beams=counts[1],
        min_elevation=number(document, ray, "scan/vertical/min_angle", 0.0),
        max_elevation=number(document, ray, "scan/vertical/max_angle", 0.0),
        min_range=number(document, ray, "range/min"),
        max_range=number(document, ray, "range/max"),
        rate=_rate(document, sensor),
        noise_stddev=_noise(document, ray),
    )


def _imu(document: Document, sensor: Any, name: str, pose: Pose) -> ImuSpec:
    values = {}
    for key, tag in (("gyro", "angular_velocity"), ("accel", "linear_acceleration")):
        for kind, suffix in (("noise", "stddev"), ("bias", "bias_stddev")):
            axes = [number(document, sensor, f"imu/{tag}/{axis}/noise/{suffix}", 0.0) for axis in "xyz"]
            if len(set(axes)) > 1 or axes[0] < 0:
                raise WorldError(
                    f"{where(document, sensor)}: {tag}: <{suffix}> must be equal on x, y and z and not negative: {axes}"
                )
            values[f"{key}_{kind}_stddev"] = axes[0]
        for axis in "xyz":
            for unused in ("mean", "bias_mean", "dynamic_bias_stddev"):
                if number(document, sensor, f"imu/{tag}/{axis}/noise/{unused}", 0.0) != 0.0:
                    raise WorldError(f"{where(document, sensor)}: {tag}: <{unused}> is not supported; it must be 0")
    return ImuSpec(name, pose, _rate(document, sensor), **values)


def _made(kind: type[_Spec], context: str, **values: Any) -> _Spec:
    """The specification; what it refuses is told with file and line, which it does not know."""
    try:
        return kind(**values)
    except WorldError as error:
        raise WorldError(f"{context}: {error}") from error


def _noise(document: Document, element: Any) -> float:
    noise = element.find("noise")
    if noise is None:
        return 0.0
    kind = noise.get("type") or text_of(noise, "type") or "none"
    context = where(document, noise)
    if kind not in ("none", "gaussian"):
        raise WorldError(f"{context}: noise type {kind!r} is not supported; use gaussian")
    stddev = number(document, noise, "stddev", 0.0)
    if number(document, noise, "mean", 0.0) != 0.0 or stddev < 0:
        raise WorldError(f"{context}: noise must have mean 0 and a stddev that is not negative")
    return stddev if kind == "gaussian" else 0.0


def _same_geometry(a: CameraSpec, b: CameraSpec) -> bool:
    return (
        (a.width, a.height) == (b.width, b.height)
        and abs(a.hfov - b.hfov) < _SAME
        and bool(np.allclose(a.pose.matrix, b.pose.matrix, atol=_SAME))
    )
