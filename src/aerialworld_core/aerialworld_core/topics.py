"""Topic names, types and rates, derived from the vehicle's name and its rig: the one source for engine, Gazebo models,
bridge and recorder."""

from __future__ import annotations

from dataclasses import dataclass

from aerialworld_core.rig import Rig

CLOCK = "/clock"
#: std_msgs/Header: the listener `frame_id` has taken everything up to `stamp`; an engine in lockstep waits for it.
LOCKSTEP = "/lockstep"


@dataclass(frozen=True)
class Topic:
    """A topic as it is published: `sensor` is the rig's sensor (None for the vehicle itself), `rate` in Hz."""

    name: str
    type: str
    rate: float
    kind: str
    sensor: str | None = None


def odometry(vehicle: str) -> str:
    return f"/{vehicle}/odom"


def imu(vehicle: str) -> str:
    return f"/{vehicle}/imu"


def navsat(vehicle: str) -> str:
    return f"/{vehicle}/navsat"


def camera(vehicle: str, name: str) -> str:
    """The raw image; `/compressed` follows it, `camera_info` stands beside it."""
    return f"/{vehicle}/camera/{name.lower()}/image"


def depth(vehicle: str, face: str) -> str:
    return f"/{vehicle}/depth/{face}/image"


def semantic(vehicle: str, face: str) -> str:
    return f"/{vehicle}/semantic/{face}/image"


def camera_info(image_topic: str) -> str:
    """The camera_info topic beside an image topic."""
    return image_topic.rsplit("/", 1)[0] + "/camera_info"


def lidar(vehicle: str) -> str:
    return f"/{vehicle}/lidar/points"


def occupancy(vehicle: str) -> str:
    return f"/{vehicle}/occupancy"


def occupancy_grid(vehicle: str) -> str:
    """All voxels, free and unknown ones too, as foxglove_msgs/VoxelGrid in `grid_frame`: in bags of sessions."""
    return f"/{vehicle}/occupancy/grid"


def forecast_points(vehicle: str) -> str:
    """A forecast's voxels as PointCloud2 in map: x, y, z, class, probability, horizon."""
    return f"/{vehicle}/forecast/points"


def forecast_path(vehicle: str) -> str:
    """The way that a forecast takes, nav_msgs/Path in map."""
    return f"/{vehicle}/forecast/path"


def ground(vehicle: str) -> str:
    """The terrain's point below the vehicle, geometry_msgs/PointStamped in map: in bags of sessions."""
    return f"/{vehicle}/ground"


def actors(vehicle: str) -> str:
    """Moving objects nearby, as `aerialworld_core.markers` makes them, with every sensor frame. The embedded engine's
    node and bags of sessions have it; Gazebo does not."""
    return f"/{vehicle}/actors"


def extra_image(vehicle: str, kind: str, name: str, *, face: bool) -> str:
    """A kept image (depth, semantic, instance) of a face or a camera; faces' depth and classes are the usual topics."""
    return f"/{vehicle}/{kind}/{name}/image" if face else f"/{vehicle}/camera/{name.lower()}/{kind}"


def boxes(vehicle: str, camera_name: str) -> str:
    """What moves in a camera's picture, as foxglove_msgs/ImageAnnotations: in bags of sessions that keep boxes."""
    return f"{camera(vehicle, camera_name).rsplit('/', 1)[0]}/boxes"


def grid_frame(vehicle: str) -> str:
    """The voxel grid's frame: below or above the vehicle, turned by its yaw alone, z = 0 at the session's datum."""
    return f"{vehicle}/grid"


def base_frame(vehicle: str) -> str:
    return f"{vehicle}/base_link"


def sensor_frame(vehicle: str, sensor: str) -> str:
    return f"{vehicle}/{sensor.lower()}"


def optical_frame(vehicle: str, camera_name: str) -> str:
    return f"{vehicle}/{camera_name.lower()}_optical_frame"


def _navsat_topic(vehicle: str, rig: Rig) -> Topic:
    """Every vehicle says where on earth it is: as its receiver measures it, or the true place of base_link at 10 Hz."""
    rate, sensor = (rig.navsat.rate, rig.navsat.name) if rig.navsat else (10.0, None)
    return Topic(navsat(vehicle), "sensor_msgs/msg/NavSatFix", rate, "navsat", sensor)


def vehicle_topics(vehicle: str, rig: Rig) -> list[Topic]:
    """Every topic that a vehicle with this rig publishes, whichever engine simulates it."""
    topics = [
        Topic(odometry(vehicle), "nav_msgs/msg/Odometry", 50.0, "odom"),
        _navsat_topic(vehicle, rig),
    ]
    if rig.imu:
        topics.append(Topic(imu(vehicle), "sensor_msgs/msg/Imu", rig.imu.rate, "imu", rig.imu.name))
    for spec in rig.cameras:
        name = camera(vehicle, spec.name)
        topics.append(Topic(name, "sensor_msgs/msg/Image", spec.rate, "image", spec.name))
        topics.append(
            Topic(f"{name}/compressed", "sensor_msgs/msg/CompressedImage", spec.rate, "compressed", spec.name)
        )
        topics.append(Topic(camera_info(name), "sensor_msgs/msg/CameraInfo", spec.rate, "camera_info", spec.name))
    for spec in rig.depth:
        name = depth(vehicle, spec.name)
        topics.append(Topic(name, "sensor_msgs/msg/Image", spec.rate, "depth", spec.name))
        topics.append(Topic(camera_info(name), "sensor_msgs/msg/CameraInfo", spec.rate, "depth_info", spec.name))
        topics.append(Topic(semantic(vehicle, spec.name), "sensor_msgs/msg/Image", spec.rate, "semantic", spec.name))
    if rig.lidar:
        topics.append(Topic(lidar(vehicle), "sensor_msgs/msg/PointCloud2", rig.lidar.rate, "lidar", rig.lidar.name))
    return topics
