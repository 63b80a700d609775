"""What passes between a simulator (or a bag) and the recorder: a vehicle's true state and one tick's sensor data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.boxes import Box
from aerialworld_core.frames import Array, Pose

#: m/s² along −z of map, as Gazebo's worlds have it (`<gravity>0 0 -9.8</gravity>`): a level IMU at rest reads +9.8 up.
GRAVITY = 9.8


@dataclass(frozen=True, eq=False)
class VehicleState:
    """True motion at one instant. `stamp_ns` integer nanoseconds of simulation time; `pose` is base_link in map;
    `linear_velocity` and `linear_acceleration` (3,) in map, m/s and m/s² (without gravity); `angular_velocity` (3,) in
    base_link, rad/s."""

    stamp_ns: int
    pose: Pose
    linear_velocity: Array
    angular_velocity: Array
    linear_acceleration: Array = field(default_factory=lambda: np.zeros(3))

    def pose_13d(self) -> Array:
        """[x, y, z, qx, qy, qz, qw, vx, vy, vz, wx, wy, wz]: velocity in map, angular velocity in the body frame."""
        return np.concatenate([self.pose.position, self.pose.orientation, self.linear_velocity, self.angular_velocity])


@dataclass(eq=False)
class SensorFrame:
    """Everything one vehicle's rig saw at one tick; what a rig has not, or was not asked for, is absent (never zeros).

    images      camera name (lower case) → (H, W, 3) uint8 RGB
    depth       face → (H, W) float32 metres along the optical axis, +inf beyond far, −inf nearer than near
    semantic    face → (H, W) uint8 class ids, meaningful where depth is finite
    camera_depth, camera_semantic, camera_instance
                camera name → (H, W) float32 metres along the optical axis (+inf without a surface), (H, W) uint8 class,
                (H, W) uint16 instance of the picture's own pixels, when asked for
    instance    face → (H, W) uint16 instance, 0 where there is none, when asked for
    lidar       (N, 4) float32 x, y, z, intensity in the LiDAR's frame, returns only
    lidar_ring  (N,) uint16 row of each return
    imu         (K, 7) float64 t [s], gyro xyz [rad/s], specific force xyz [m/s²], samples since the previous frame
    ground_z    terrain height under the vehicle, map z, metres
    actors      moving objects nearby: {id, class, position, orientation, size, velocity} in map
    instances   an actor's id as text → its number in the instance images, where there are any
    boxes       upper-case camera name → boxes of the actors that it sees, where they are kept
    """

    state: VehicleState
    ground_z: float
    images: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    depth: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    semantic: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    camera_depth: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    camera_semantic: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    camera_instance: dict[str, NDArray[np.uint16]] = field(default_factory=dict)
    instance: dict[str, NDArray[np.uint16]] = field(default_factory=dict)
    lidar: NDArray[np.float32] | None = None
    lidar_ring: NDArray[np.uint16] | None = None
    imu: NDArray[np.float64] | None = None
    actors: list[dict[str, Any]] = field(default_factory=list)
    instances: dict[str, int] = field(default_factory=dict)
    boxes: dict[str, list[Box]] = field(default_factory=dict)

    def without_images(self) -> SensorFrame:
        """The same without any image: what a session stores as arrays."""
        return replace(
            self, images={}, depth={}, semantic={}, camera_depth={}, camera_semantic={}, camera_instance={}, instance={}
        )

    @property
    def stamp_ns(self) -> int:
        return self.state.stamp_ns
