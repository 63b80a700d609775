"""One SDF `<sensor>` as a specification: cameras, LiDAR, IMU, NavSat.

Follows SDFormat 1.10 (sdformat.org/spec) and what gz-sensors makes of it. What is declared and cannot be honoured is an
error that names file, line and the way out. Without effect, as in Gazebo: a LiDAR's
`<range><resolution>`. Without effect here: the noise of a NavSat's velocity, since no velocity is given out.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

from aerialworld_core.errors import WorldError
from aerialworld_core.frames import Pose
from aerialworld_core.rig import CameraSpec, ImuSpec, LidarSpec, NavSatSpec
from aerialworld_core.world.sdf import Document, boolean, number, parse_numbers, text_of, where

_Spec = TypeVar("_Spec", CameraSpec, LidarSpec, ImuSpec, NavSatSpec)

#: SDF's noise values, all 0 by default.
_NOISE = (
    "mean",
    "stddev",
    "bias_mean",
    "bias_stddev",
    "dynamic_bias_stddev",
    "dynamic_bias_correlation_time",
    "precision",
)
#: What `ImuSpec` calls them, after gyro_ or accel_.
_IMU_NOISE = {"mean": "noise_mean", "stddev": "noise_stddev"}


def read_camera(document: Document, sensor: Any, name: str, pose: Pose) -> CameraSpec:
    """A camera, depth camera or segmentation camera; the name is the specification's."""
    camera = sensor.find("camera")
    context = where(document, sensor)
    if camera is None:
        raise WorldError(f"{context}: has no <camera>")
    inner = camera.find("pose")
    if inner is not None and (inner.text or "").strip():
        raise WorldError(f"{context}: give the sensor its <pose>, not its <camera>")
    if camera.find("depth_camera/clip") is not None:
        raise WorldError(f"{context}: give <near> and <far> in <camera><clip>, not in <depth_camera><clip>")
    if boolean(document, camera, "triggered", False):
        raise WorldError(f"{context}: <triggered> cameras are not supported; give it an <update_rate>")
    size = []
    for tag in ("width", "height"):
        value = number(document, camera, f"image/{tag}")
        if not value.is_integer():
            raise WorldError(f"{context}: <{tag}> must be a whole number, not {value:g}")
        size.append(int(value))
    noise = _mean_and_stddev(document, camera)
    hfov = number(document, camera, "horizontal_fov")
    return _made(
        CameraSpec,
        context,
        **{
            "name": name,
            "pose": pose,
            "width": size[0],
            "height": size[1],
            "hfov": hfov,
            "near": number(document, camera, "clip/near"),
            "far": number(document, camera, "clip/far"),
            "rate": _rate(document, sensor),
            "noise_mean": noise["mean"],
            "noise_stddev": noise["stddev"],
            "distortion": _distortion(document, camera),
            **_intrinsics(document, camera, size[0]),
        },
    )


def _distortion(document: Document, camera: Any) -> tuple[float, float, float, float, float] | None:
    """k1, k2, p1, p2, k3 of `<distortion>`; SDF does not order them as OpenCV does."""
    element = camera.find("distortion")
    if element is None:
        return None
    _only(document, element, ("k1", "k2", "k3", "p1", "p2", "center"))
    centre = element.find("center")
    if centre is not None:
        context = where(document, centre)
        if parse_numbers(centre.text, 2, context).tolist() != [0.5, 0.5]:
            raise WorldError(
                f"{context}: the distortion is centred on the principal point; leave <center> at 0.5 0.5 and move "
                "that point with <lens><intrinsics> <cx>, <cy>"
            )
    k1, k2, p1, p2, k3 = (number(document, element, tag, 0.0) for tag in ("k1", "k2", "p1", "p2", "k3"))
    return k1, k2, p1, p2, k3


def _intrinsics(document: Document, camera: Any, width: int) -> dict[str, Any]:
    """What `<lens>` says of a perspective camera; its fx takes the place of `<horizontal_fov>`, as the spec says."""
    lens = camera.find("lens")
    if lens is None:
        return {}
    _only(document, lens, ("type", "intrinsics"), "; cameras are perspective, described by <intrinsics>")
    kind = text_of(lens, "type", "gnomonical")
    if kind != "gnomonical":
        raise WorldError(f"{where(document, lens)}: <type> {kind!r} is not supported; use gnomonical (perspective)")
    element = lens.find("intrinsics")
    if element is None:
        return {}
    context = where(document, element)
    _only(document, element, ("fx", "fy", "cx", "cy", "s"))
    if number(document, element, "s", 0.0) != 0.0:
        raise WorldError(f"{context}: <s> must be 0: pictures have no skew")
    fx, fy, cx, cy = (number(document, element, tag) for tag in ("fx", "fy", "cx", "cy"))
    if fx <= 0:
        raise WorldError(f"{context}: <fx> must be positive, not {fx:g}")
    return {"hfov": 2.0 * math.atan(width / 2.0 / fx), "focal_y": fy, "principal_point": (cx, cy)}


def read_lidar(document: Document, sensor: Any, name: str, pose: Pose) -> LidarSpec:
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
    noise = _mean_and_stddev(document, ray)
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
        noise_stddev=noise["stddev"],
        noise_mean=noise["mean"],
    )


def read_imu(document: Document, sensor: Any, name: str, pose: Pose) -> ImuSpec:
    values: dict[str, Any] = {}
    for quantity, tag in (("gyro", "angular_velocity"), ("accel", "linear_acceleration")):
        axes = [_noise(document, sensor, f"imu/{tag}/{axis}") for axis in "xyz"]
        for key in _NOISE:
            values[f"{quantity}_{_IMU_NOISE.get(key, key)}"] = tuple(axis[key] for axis in axes)
    return _made(ImuSpec, where(document, sensor), name=name, pose=pose, rate=_rate(document, sensor), **values)


def read_navsat(document: Document, sensor: Any, name: str, pose: Pose) -> NavSatSpec:
    tag = "navsat" if sensor.find("navsat") is not None else "gps"
    values = {
        f"{axis}_stddev": _mean_and_stddev(document, sensor, f"{tag}/position_sensing/{axis}", mean=False)["stddev"]
        for axis in ("horizontal", "vertical")
    }
    return _made(NavSatSpec, where(document, sensor), name=name, pose=pose, rate=_rate(document, sensor), **values)


def _rate(document: Document, sensor: Any) -> float:
    rate = number(document, sensor, "update_rate")
    if rate <= 0:
        raise WorldError(f"{where(document, sensor)}: <update_rate> must be positive, not {rate:g}")
    return rate


def _only(document: Document, element: Any, allowed: tuple[str, ...], hint: str = "") -> None:
    for child in element:
        if isinstance(child.tag, str) and child.tag not in allowed:
            raise WorldError(f"{where(document, child)}: is not supported in <{element.tag}>{hint}")


def _made(kind: type[_Spec], context: str, **values: Any) -> _Spec:
    """The specification; what it refuses is told with file and line, which it does not know."""
    try:
        return kind(**values)
    except WorldError as error:
        raise WorldError(f"{context}: {error}") from error


def _mean_and_stddev(document: Document, element: Any, path: str = "", *, mean: bool = True) -> dict[str, float]:
    """Noise of a sensor that has no bias of its own; what it cannot have is an error."""
    values = _noise(document, element, path)
    for key, value in values.items():
        if value != 0.0 and key != "stddev" and not (key == "mean" and mean):
            noise = element.find(f"{path}/noise" if path else "noise")
            way = "a constant offset is a <mean>" if mean else "only <stddev> is"
            raise WorldError(f"{where(document, noise)}: <{key}> is not supported here; {way}")
    return values


def _noise(document: Document, element: Any, path: str = "") -> dict[str, float]:
    """All values of a `<noise>`; zeros where there is none, or of type none."""
    noise = element.find(f"{path}/noise" if path else "noise")
    if noise is None:
        return dict.fromkeys(_NOISE, 0.0)
    values = {key: number(document, noise, key, 0.0) for key in _NOISE}
    context = where(document, noise)
    for key, value in values.items():
        if value < 0 and not key.endswith("mean"):
            raise WorldError(f"{context}: <{key}> cannot be negative: {value:g}")
    kind = noise.get("type") or text_of(noise, "type")
    if kind is None and any(values.values()):
        raise WorldError(f'{context}: has no type; write <noise type="gaussian">, or "none"')
    if kind not in (None, "none", "gaussian"):
        raise WorldError(f"{context}: noise type {kind!r} is not supported; use gaussian")
    return values if kind == "gaussian" else dict.fromkeys(_NOISE, 0.0)
