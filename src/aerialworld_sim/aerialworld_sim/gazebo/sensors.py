"""A rig as Gazebo's sensors: the sensors of a `Rig` as SDF, with the topics and frames that the engine's node has.

What is written is what was read: `load_rig` gives the same rig back (but for a receiver's noise: METRES_PER_DEGREE).
Gazebo adds to a sensor's <topic>: images come on it and their camera_info beside it, class images on …/labels_map,
clouds on …/points (gz-sensors 8).
"""

from __future__ import annotations

from typing import Any

from aerialworld_core import topics
from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose
from aerialworld_core.rig import CameraSpec, ImuSpec, LidarSpec, NavSatSpec, Rig
from aerialworld_sim.gazebo.xml import add, add_all, pose_text

#: What Gazebo appends to the topics of segmentation cameras and LiDARs.
LABELS, POINTS = "/labels_map", "/points"
#: Gazebo adds a receiver's horizontal noise to latitude and longitude in degrees (gz-sensors 8 and 9, NavSatSensor), so
#: that is how it is written: right to the north, and by the cosine of the latitude too small to the east.
METRES_PER_DEGREE = 111_195.0
#: Rate of the fixes of a vehicle whose rig has no receiver (Hz), as of `topics.vehicle_topics`.
FIXES = 10.0

#: SDF's names of the fields of `navigation.AxisNoise`.
_AXIS_NOISE = (
    ("mean", "mean"),
    ("stddev", "stddev"),
    ("bias_mean", "bias_mean"),
    ("bias_stddev", "bias_stddev"),
    ("dynamic_bias_stddev", "drift_stddev"),
    ("dynamic_bias_correlation_time", "drift_time"),
    ("precision", "precision"),
)


def add_sensors(link: Any, vehicle: str, rig: Rig, mask: int) -> None:
    """Append the rig's sensors to a link that lies in base_link's frame; `mask` is their visibility mask.

    Raises InputError for a lens that Gazebo does not render.
    """
    for camera in rig.cameras:
        if camera.distortion is not None:
            raise InputError(
                f"rig {rig.name}: camera {camera.name}: Gazebo's ogre2 renders no lens distortion, so its pictures "
                "would not be what the calibration says; leave <distortion> out, or use the embedded engine"
            )
        element = _sensor(link, camera.name, "camera", camera.pose, camera.rate, topics.camera(vehicle, camera.name))
        _camera(element, camera, topics.optical_frame(vehicle, camera.name), mask, "R8G8B8")
    for face in rig.depth:
        frame = topics.optical_frame(vehicle, face.name)
        depth = _sensor(
            link, f"depth_{face.name}", "depth_camera", face.pose, face.rate, topics.depth(vehicle, face.name)
        )
        _camera(depth, face, frame, mask, "R_FLOAT32")
        topic = topics.semantic(vehicle, face.name)
        classes = _sensor(link, f"semantic_{face.name}", "segmentation_camera", face.pose, face.rate, topic)
        add(classes, "gz_frame_id", frame)
        inner = _camera(classes, face, frame, mask, None)
        segmentation = add(inner, "segmentation_type", "semantic")
        inner.insert(0, segmentation)
    if rig.lidar:
        _lidar(link, vehicle, rig.lidar, mask)
    if rig.imu:
        _imu(link, vehicle, rig.imu)
    _navsat(link, vehicle, rig.navsat)


def _sensor(link: Any, name: str, kind: str, pose: Pose, rate: float, topic: str) -> Any:
    element = add(link, "sensor", name=name, type=kind)
    add_all(element, (("pose", pose_text(pose)), ("update_rate", rate), ("topic", topic)))
    return element


def _camera(sensor: Any, spec: CameraSpec, frame: str, mask: int, pixels: str | None) -> Any:
    """Its <camera>; noise only of those that Gazebo disturbs, pictures and depth."""
    camera = add(sensor, "camera")
    add(camera, "horizontal_fov", spec.hfov)
    image = add(camera, "image")
    add_all(image, (("width", spec.width), ("height", spec.height)))
    if pixels:
        add(image, "format", pixels)
    add_all(add(camera, "clip"), (("near", spec.near), ("far", spec.far)))
    if pixels and (spec.noise_stddev or spec.noise_mean):
        noise = add(camera, "noise")
        add_all(noise, (("type", "gaussian"), ("mean", spec.noise_mean), ("stddev", spec.noise_stddev)))
    if not spec.ideal:
        k = spec.intrinsics
        intrinsics = add(add(camera, "lens"), "intrinsics")
        add_all(
            intrinsics,
            (("fx", float(k[0, 0])), ("fy", float(k[1, 1])), ("cx", float(k[0, 2])), ("cy", float(k[1, 2])), ("s", 0)),
        )
    add_all(camera, (("optical_frame_id", frame), ("visibility_mask", mask)))
    return camera


def _lidar(link: Any, vehicle: str, spec: LidarSpec, mask: int) -> None:
    topic = topics.lidar(vehicle).removesuffix(POINTS)
    sensor = _sensor(link, spec.name, "gpu_lidar", spec.pose, spec.rate, topic)
    add(sensor, "gz_frame_id", topics.sensor_frame(vehicle, spec.name))
    lidar = add(sensor, "lidar")
    scan = add(lidar, "scan")
    for axis, samples, low, high in (
        ("horizontal", spec.columns, spec.min_azimuth, spec.max_azimuth),
        ("vertical", spec.beams, spec.min_elevation, spec.max_elevation),
    ):
        add_all(add(scan, axis), (("samples", samples), ("min_angle", low), ("max_angle", high)))
    add_all(add(lidar, "range"), (("min", spec.min_range), ("max", spec.max_range)))
    if spec.noise_stddev or spec.noise_mean:
        noise = add(lidar, "noise")
        add_all(noise, (("type", "gaussian"), ("mean", spec.noise_mean), ("stddev", spec.noise_stddev)))
    add(lidar, "visibility_mask", mask)


def _imu(link: Any, vehicle: str, spec: ImuSpec) -> None:
    """East-north-up is what its orientation counts from: Gazebo would count from where it stood at first."""
    sensor = _sensor(link, spec.name, "imu", spec.pose, spec.rate, topics.imu(vehicle))
    add(sensor, "gz_frame_id", topics.sensor_frame(vehicle, spec.name))
    imu = add(sensor, "imu")
    add(add(imu, "orientation_reference_frame"), "localization", "ENU")
    for quantity, tag in (("gyro", "angular_velocity"), ("accel", "linear_acceleration")):
        parent, values = add(imu, tag), spec.noise(quantity)
        for number, axis in enumerate("xyz"):
            noise = add(add(parent, axis), "noise", type="gaussian")
            add_all(noise, ((t, float(getattr(values, name)[number])) for t, name in _AXIS_NOISE))


def _navsat(link: Any, vehicle: str, spec: NavSatSpec | None) -> None:
    """The rig's receiver, or the true place of base_link."""
    name = spec.name if spec else "navsat"
    pose, rate = (spec.pose, spec.rate) if spec else (Pose.identity(), FIXES)
    sensor = _sensor(link, name, "navsat", pose, rate, topics.navsat(vehicle))
    add(sensor, "gz_frame_id", topics.sensor_frame(vehicle, spec.name) if spec else topics.base_frame(vehicle))
    if spec:
        position = add(add(sensor, "navsat"), "position_sensing")
        errors = (("horizontal", spec.horizontal_stddev / METRES_PER_DEGREE), ("vertical", spec.vertical_stddev))
        for axis, stddev in errors:
            add_all(add(add(position, axis), "noise", type="gaussian"), (("mean", 0), ("stddev", stddev)))
