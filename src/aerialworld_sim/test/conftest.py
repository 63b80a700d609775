"""Hand-made scenes: every number in them is known, so pictures of them can be computed on paper."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from aerialworld_core.frames import Pose, rotation_from_rpy
from aerialworld_core.rig import CUBE_FACES, CameraSpec, Rig
from aerialworld_core.world.scene import Light, Material, Scene
from aerialworld_sim import Engine, Static, Vehicle

_BOX_FACES = np.array(
    [
        [0, 1, 3],
        [0, 3, 2],
        [4, 6, 7],
        [4, 7, 5],
        [0, 4, 5],
        [0, 5, 1],
        [2, 3, 7],
        [2, 7, 6],
        [0, 2, 6],
        [0, 6, 4],
        [1, 5, 7],
        [1, 7, 3],
    ]
)


@dataclass
class HandMadeWorld:
    """Triangles added one solid at a time; each becomes one instance."""

    light: Light = field(
        default_factory=lambda: Light(
            np.array([-0.5, 0.2, -0.9]), np.full(3, 0.8), np.full(3, 0.4), np.array([0.6, 0.7, 0.9]), False
        )
    )
    ground: float = 0.0
    vertices: list = field(default_factory=list)
    faces: list = field(default_factory=list)
    classes: list = field(default_factory=list)
    uvs: list = field(default_factory=list)
    materials: list = field(default_factory=list)

    def add(self, vertices, faces, label=15, colour=(0.5, 0.5, 0.5), texture=None, retro=0.0, uv=None) -> None:
        start = sum(map(len, self.vertices))
        self.vertices.append(np.asarray(vertices, np.float32))
        self.faces.append(np.asarray(faces) + start)
        self.classes.append(label)
        self.uvs.append(np.zeros((len(faces), 3, 2)) if uv is None else np.asarray(uv))
        self.materials.append(Material(str(len(self.materials)), np.array(colour, np.float32), texture, retro))

    def box(self, centre, size, rpy=(0.0, 0.0, 0.0), **look) -> None:
        corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)]) * size
        self.add(corners @ rotation_from_rpy(*rpy).T + centre, _BOX_FACES, **look)

    def ground_plane(self, z=0.0, half=1000.0, label=14, **look) -> None:
        self.ground = z
        self.add(
            [[-half, -half, z], [half, -half, z], [half, half, z], [-half, half, z]],
            [[0, 1, 2], [0, 2, 3]],
            label,
            **look,
        )

    @property
    def scene(self) -> Scene:
        if not self.faces:
            zero = np.zeros
            return Scene(
                zero((0, 3), np.float32), zero((0, 3), np.int32), zero(0, np.uint8), zero(0, np.uint16),
                zero(0, np.int32), zero((0, 3, 2), np.float32), zero((0, 3, 3), np.float32), [], [],
            )  # fmt: skip
        counts = [len(f) for f in self.faces]
        v, f = np.concatenate(self.vertices), np.concatenate(self.faces).astype(np.int32)
        t = v[f].astype(np.float64)
        n = np.cross(t[:, 1] - t[:, 0], t[:, 2] - t[:, 0])
        n /= np.linalg.norm(n, axis=1, keepdims=True)
        part = np.repeat(np.arange(len(counts)), counts)
        return Scene(
            v,
            f,
            np.array(self.classes, np.uint8)[part],
            (part + 1).astype(np.uint16),
            part.astype(np.int32),
            np.concatenate(self.uvs).astype(np.float32),
            np.repeat(n[:, None], 3, axis=1).astype(np.float32),
            self.materials,
            [m.name for m in self.materials],
        )

    def terrain_height(self, xy: np.ndarray) -> np.ndarray:
        return np.full(len(xy), self.ground)


@pytest.fixture
def world() -> HandMadeWorld:
    return HandMadeWorld()


@pytest.fixture
def cube() -> Callable[..., tuple[CameraSpec, ...]]:
    """Depth faces of `pixels`² at the base's origin."""

    def make(pixels: int = 64, near: float = 0.1, far: float = 200.0) -> tuple[CameraSpec, ...]:
        return tuple(
            CameraSpec(name, Pose.from_rpy(0, 0, 0, 0, pitch, yaw), pixels, pixels, np.pi / 2, near, far, 10)
            for name, (yaw, pitch) in CUBE_FACES.items()
        )

    return make


@pytest.fixture
def camera() -> Callable[..., CameraSpec]:
    """A camera in base_link; 70° wide unless said."""

    def make(name="cam_front", pose=None, width=160, height=90, hfov=np.deg2rad(70), near=0.1, far=300.0, noise=0.0):
        return CameraSpec(name, pose or Pose.identity(), width, height, hfov, near, far, 10, noise)

    return make


@pytest.fixture
def engine_at() -> Callable[..., Engine]:
    """An engine with one vehicle `v` that stands at a pose."""

    def make(world, pose: Pose, *, cameras=(), depth=(), lidar=None, imu=None, **options) -> Engine:
        rig = Rig("test", tuple(cameras), tuple(depth), lidar, imu)
        return Engine(world, {"v": Vehicle(rig, Static(pose))}, **options)

    return make


@pytest.fixture
def new_world() -> type[HandMadeWorld]:
    return HandMadeWorld


@pytest.fixture(scope="session")
def shared() -> Path:
    """The project's reference data; tests that need it are skipped where it is absent."""
    path = Path(os.environ.get("AERIALWORLD_SHARED", Path(__file__).resolve().parents[4] / "shared"))
    if not (path / "reference/gazebo/README.md").is_file():
        pytest.skip(f"no reference data in {path} (set AERIALWORLD_SHARED)")
    return path
