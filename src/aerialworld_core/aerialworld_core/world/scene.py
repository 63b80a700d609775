"""A world's geometry as flat arrays: what the engine renders, missions avoid and truth is computed from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.air import Air


@dataclass(frozen=True, eq=False)
class Material:
    """Surface appearance. `colour` (3,) linear RGB 0–1 multiplies the texture; `texture` (H, W, 3) uint8 sRGB, row 0 at
    the top (v = 1), wrapping (repeat); `laser_retro` is the LiDAR intensity that SDF declares (0 if none)."""

    name: str
    colour: NDArray[np.float32]
    texture: NDArray[np.uint8] | None = None
    laser_retro: float = 0.0


@dataclass(frozen=True, eq=False)
class Light:
    """A world's light: one sun and its surroundings; colours (3,) are linear RGB.

    direction   (3,) unit, the way the sun's light travels, map
    sun         `<diffuse>` · `<intensity>` of the brightest directional light; zeros when the world has none
    ambient     `<scene><ambient>`
    background  `<scene><background>`, what a ray sees that hits nothing; at the horizon where there is a zenith
    shadows     whether the sun casts shadows (`<scene><shadows>` and the light's `<cast_shadows>`)
    zenith      the sky's colour straight up, by the sine of elevation between; None: a uniform background, as Gazebo
                shows a world without `<sky>`
    air         what lies between things, where it is not clear

    Gazebo (ogre2) adds light in linear space and encodes the sum as sRGB. Ambient light gives albedo · ambient / π
    (exactly: albedo 0.8, ambient 0.4 → 90 of 255). The sun gives about 0.8 · albedo · sun · max(0, −n·direction), times
    a lobe that depends a little on the view; the engine has its constants.
    """

    direction: NDArray[np.float64]
    sun: NDArray[np.float64]
    ambient: NDArray[np.float64]
    background: NDArray[np.float64]
    shadows: bool
    zenith: NDArray[np.float64] | None = None
    air: Air | None = None


@dataclass(frozen=True, eq=False)
class Scene:
    """Triangles of all static visuals, in map (or of one body's visuals, in its own frame: see `body`).

    A surface that is seen from both sides is there twice, as two triangles with the same corners that face apart.

    vertices       (V, 3) float32 metres
    faces          (F, 3) int32, counter-clockwise seen from outside
    face_class     (F,) uint8 class id (Gazebo's Label; 0 = unlabelled)
    face_instance  (F,) uint16 index into `instances` + 1
    face_material  (F,) int32 index into `materials`
    uv             (F, 3, 2) float32, origin bottom-left, may leave 0–1 (repeat)
    normals        (F, 3, 3) float32 unit, per corner
    instances      names of the models (or buildings) that face_instance counts
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    face_class: NDArray[np.uint8]
    face_instance: NDArray[np.uint16]
    face_material: NDArray[np.int32]
    uv: NDArray[np.float32]
    normals: NDArray[np.float32]
    materials: list[Material]
    instances: list[str] = field(default_factory=list)

    @property
    def triangles(self) -> NDArray[np.float32]:
        """(F, 3, 3) corner positions."""
        return self.vertices[self.faces]

    @property
    def bounds(self) -> NDArray[np.float64]:
        """(2, 3) lowest and highest corner; zeros for an empty scene."""
        if len(self.vertices) == 0:
            return np.zeros((2, 3))
        columns = self.vertices.T  # one after the other: ten times as fast as along the first axis
        return np.array([[c.min() for c in columns], [c.max() for c in columns]], np.float64)
