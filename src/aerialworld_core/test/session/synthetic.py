"""A small analytic city for session tests: boxes on a plane, a drone circling among them, every sensor by formula.

Voxels come from points sampled on the surfaces, LiDAR from ray-box intersection, IMU from the derivatives of the path:
the three are computed in different ways, so that agreement between them means something.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from aerialworld_core.frames import Georeference, Pose, grid_from_map, rotation_from_rpy
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import FREE, MANMADE, TERRAIN
from aerialworld_core.occupancy import Occupancy
from aerialworld_core.rig import CUBE_FACES, CameraSpec, ImuSpec, LidarSpec, Rig
from aerialworld_core.sensing import GRAVITY, SensorFrame, VehicleState
from aerialworld_core.session import SessionMeta, SessionWriter

PERIOD_NS = 500_000_000
GRID = VoxelGrid.from_range((-16, -16, -2, 16, 16, 14), (0.8, 0.8, 1.0))
DATUM = -1.0
CAMERAS = ("cam_front", "cam_back")
UP_FORCE = np.array([0, 0, GRAVITY])

RIG = Rig(
    name="test",
    cameras=tuple(
        CameraSpec(n, Pose.from_rpy(0.1, 0, 0, 0, 0.5, yaw), 64, 36, 1.2, 0.1, 200.0, 10.0)
        for n, yaw in zip(CAMERAS, (0.0, np.pi), strict=True)
    ),
    depth=tuple(
        CameraSpec(face, Pose.from_rpy(0, 0, 0, 0, pitch, yaw), 100, 100, np.pi / 2, 0.1, 200.0, 10.0)
        for face, (yaw, pitch) in CUBE_FACES.items()
    ),
    lidar=LidarSpec(
        "lidar", Pose.from_rpy(0.2, 0.1, -0.1, 0.02, -0.03, 0.3), 96, -np.pi, 3.07, 16, -1.0, 0.2, 0.5, 60.0, 10.0
    ),
    imu=ImuSpec("imu", Pose.from_rpy(0, 0, 0, 0, 0, 0.4), 100.0),
)


@dataclass
class City:
    """Boxes (centre x, y, half width, height) on the plane z = 0."""

    boxes: list[tuple[float, float, float, float]] = field(
        default_factory=lambda: [(0, 0, 6, 9), (26, 4, 4, 7), (-24, 10, 3, 5), (5, 27, 5, 8), (-10, -26, 4, 6)]
    )

    def surface(self, centre: np.ndarray, reach: float = 30.0, spacing: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
        """Points (N, 3) on the visible surfaces near `centre`, and their classes (N,)."""
        u = np.arange(-reach, reach, spacing)
        x, y = (a.ravel() for a in np.meshgrid(u + centre[0], u + centre[1], indexing="ij"))
        free = ~self._under_box(x, y)
        parts = [np.column_stack([x, y, np.zeros(len(x))])[free]]
        classes = [np.full(int(free.sum()), TERRAIN)]
        for cx, cy, half, height in self.boxes:
            a = np.linspace(-half, half, int(2 * half / spacing) + 1)
            h = np.linspace(0, height, int(height / spacing) + 1)
            p, q = (m.ravel() for m in np.meshgrid(a, h, indexing="ij"))
            r, s = (m.ravel() for m in np.meshgrid(a, a, indexing="ij"))
            sides = [np.column_stack([c + cx, d + cy, q]) for c, d in ((p, 0 * p - half), (p, 0 * p + half))]
            sides += [np.column_stack([c + cx, d + cy, q]) for c, d in ((0 * p - half, p), (0 * p + half, p))]
            sides.append(np.column_stack([r + cx, s + cy, np.full(len(r), height)]))
            parts += sides
            classes += [np.full(len(v), MANMADE) for v in sides]
        return np.concatenate(parts), np.concatenate(classes).astype(np.uint8)

    def _under_box(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        inside = np.zeros(np.shape(x), bool)
        for cx, cy, half, _ in self.boxes:
            inside |= (abs(x - cx) < half) & (abs(y - cy) < half)
        return inside

    def inside(self, p: np.ndarray) -> np.ndarray:
        """Which points (N, 3) lie in a box or under the plane."""
        inside = p[:, 2] < 0
        for cx, cy, half, height in self.boxes:
            inside |= (abs(p[:, 0] - cx) < half) & (abs(p[:, 1] - cy) < half) & (p[:, 2] < height)
        return inside

    def cast(self, origin: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Distance (N,) to the plane or the nearest box; inf for none. Slab method."""
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(directions[:, 2] < 0, -origin[2] / directions[:, 2], np.inf)
            for cx, cy, half, height in self.boxes:
                low, high = np.array([cx - half, cy - half, 0.0]), np.array([cx + half, cy + half, height])
                a, b = (low - origin) / directions, (high - origin) / directions
                near, far = np.minimum(a, b).max(axis=1), np.maximum(a, b).min(axis=1)
                t = np.where((near <= far) & (near > 0), np.minimum(t, near), t)
        return t

    def occupancy(self, pose: Pose, grid: VoxelGrid = GRID, datum: float = DATUM) -> Occupancy:
        """Voxels that hold a surface point; observed is all but what lies inside boxes and under the plane."""
        m = grid_from_map(pose, datum)
        points, classes = self.surface(pose.position)
        ijk, inside = grid.indices(points @ m[:3, :3].T + m[:3, 3])
        occupancy, semantics = np.zeros(grid.shape, np.uint8), np.full(grid.shape, FREE, np.uint8)
        at = tuple(ijk[inside].T)
        occupancy[at], semantics[at] = 1, classes[inside]
        centres = grid.centers(np.indices(grid.shape).reshape(3, -1).T)
        back = np.linalg.inv(m)
        hidden = self.inside(centres @ back[:3, :3].T + back[:3, 3]).reshape(grid.shape)
        return Occupancy(occupancy, semantics, ~hidden | (occupancy == 1))


def state(t: float, radius: float = 16.0, speed: float = 4.0) -> VehicleState:
    """On a circle at 8 m, nose along the path, rolled and pitched a little."""
    w = speed / radius
    yaw = w * t + np.pi / 2
    c, s = np.cos(w * t), np.sin(w * t)
    pose = Pose.from_rpy(radius * c, radius * s, 8.0, 0.1, 0.05, yaw)
    return VehicleState(
        stamp_ns=round(t * 1e9),
        pose=pose,
        linear_velocity=np.array([-speed * s, speed * c, 0.0]),
        angular_velocity=pose.rotation.T @ np.array([0, 0, w]),
        linear_acceleration=np.array([-c, -s, 0.0]) * speed * w,
    )


def sensor_frame(city: City, index: int, period_ns: int = PERIOD_NS) -> SensorFrame:
    t = index * period_ns * 1e-9
    now = state(t)
    lidar_pose = now.pose @ RIG.lidar.pose
    az, el = (a.ravel() for a in np.meshgrid(RIG.lidar.azimuths, RIG.lidar.elevations))
    rays = np.column_stack([np.cos(el) * np.cos(az), np.cos(el) * np.sin(az), np.sin(el)])
    distance = city.cast(lidar_pose.position, rays @ lidar_pose.rotation.T)
    hit = distance < RIG.lidar.max_range
    lidar = np.column_stack([rays[hit] * distance[hit, None], np.full(hit.sum(), 0.5)]).astype(np.float32)
    samples = []
    for k in range(1, round(period_ns * 1e-9 * RIG.imu.rate) + 1) if index else ():
        ts = t - period_ns * 1e-9 + k / RIG.imu.rate
        s = state(ts)
        mount = rotation_from_rpy(0, 0, 0.4).T
        force = mount @ s.pose.rotation.T @ (s.linear_acceleration + UP_FORCE)
        samples.append([ts, *(mount @ s.angular_velocity), *force])
    return SensorFrame(
        state=now,
        ground_z=0.0,
        lidar=lidar,
        imu=np.array(samples, np.float64).reshape(-1, 7),
        actors=[
            {
                "id": "car_1",
                "class": 4,
                "position": [1.0 + index, 2.0, 0.5],
                "orientation": [0, 0, 0, 1],
                "size": np.array([4.0, 1.8, 1.5]),
                "velocity": [2.0, 0, 0],
            }
        ],
    )


def jpeg(seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 200, 64)[None, :, None] + rng.integers(0, 40, (36, 1, 3))
    buffer = io.BytesIO()
    Image.fromarray(np.broadcast_to(ramp, (36, 64, 3)).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def images(index: int) -> dict[str, bytes]:
    return {name.upper(): jpeg(100 * index + k) for k, name in enumerate(CAMERAS)}


def meta(**changes: object) -> SessionMeta:
    values = {
        "vehicle": "drone_1",
        "agent_type": "drone",
        "engine": {"name": "embedded", "version": "0.1.0"},
        "world": {"name": "boxes", "sha256": "ab" * 32},
        "georeference": Georeference(35.6, 139.7, 12.5),
        "grid": GRID,
        "datum": DATUM,
        "rig": RIG,
        "frame_period_ns": PERIOD_NS,
        "seed": 7,
        "mission": {"name": "circle", "pattern": "orbit"},
        "conditions": {"weather": "clear", "local_time": "12:00"},
        "start_time": "2024-01-15T12:00:00Z",
        "attribution": "made up",
    }
    return SessionMeta(**{**values, **changes})


MISSION = {"name": "circle", "pattern": "orbit", "radius": 16.0, "knots": [[0.1, 2.0], [1 / 3, 1e-9]]}
PROVENANCE = {"host": "here", "versions": {"numpy": np.__version__}}


def frames(count: int, city: City | None = None) -> list[tuple[SensorFrame, Occupancy, dict[str, bytes]]]:
    """Everything that `write_frame` takes, for frames 0 … count − 1."""
    city = city or City()
    made = []
    for index in range(count):
        frame = sensor_frame(city, index)
        made.append((frame, city.occupancy(frame.state.pose), images(index)))
    return made


def write(root: Path, made: list, *, sync: bool = False, start: int = 0, **changes: object) -> Path:
    with SessionWriter(root, meta(**changes), MISSION, PROVENANCE, sync=sync) as writer:
        for index, (frame, occupancy, encoded) in enumerate(made[start:], start):
            writer.write_frame(index, frame, occupancy, encoded)
    return writer.path


def contents(path: Path, *, without: tuple[str, ...] = ("provenance.json",)) -> dict[str, bytes]:
    """Every file's bytes by its name within the session."""
    return {
        str(p.relative_to(path)): p.read_bytes()
        for p in sorted(path.rglob("*"))
        if p.is_file() and p.name not in without
    }
