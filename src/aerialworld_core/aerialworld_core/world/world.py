"""A loaded world: its geometry, light and place on earth, and the questions that all stages ask of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import InputError, WorldError
from aerialworld_core.files import read_json
from aerialworld_core.frames import Array, Georeference
from aerialworld_core.labels import GROUND
from aerialworld_core.world.heights import Heights
from aerialworld_core.world.rays import RayCaster
from aerialworld_core.world.scene import Light, Scene

#: A point this little below the terrain still stands on it (metres).
GROUND_TOLERANCE = 0.01

#: Directions of the inside test, skew so that they meet no edge of an upright box on purpose.
_PROBES = np.array([[0.267, 0.122, 0.956], [-0.613, 0.742, 0.271], [0.511, -0.823, 0.248]])


@dataclass(eq=False)
class World:
    """An SDF world. Made by `load_world`; read-only.

    name          of the `<world>` element
    path          the SDF file
    sha256        over the names and contents of the SDF and every file it refers to
    georeference  where map's origin lies on earth, None where the world does not say
    scene         all visuals as triangles, in map
    light         sun, ambient light, background
    notes         what could not be honoured, once each
    """

    name: str
    path: Path
    sha256: str
    georeference: Georeference | None
    scene: Scene
    light: Light
    notes: list[str] = field(default_factory=list)

    @property
    def bounds(self) -> NDArray[np.float64]:
        """(2, 3) lowest and highest corner in map; zeros for an empty world."""
        return self.scene.bounds

    @property
    def attribution(self) -> str:
        """The data's credit from the city.json beside the SDF; empty when the world does not come from a city. Raises
        InputError for a damaged one."""
        city = self.path.parent / "city.json"
        if not city.is_file():
            return ""
        try:
            return str(read_json(city).get("attribution", ""))
        except (ValueError, AttributeError) as error:
            raise InputError(f"{city}: cannot be read ({error}); convert the city again") from error

    def require_place(self) -> Georeference:
        """`georeference`. Raises InputError for a world that does not say where on earth it lies."""
        if self.georeference is None:
            raise InputError(f"{self.path}: a session needs the world's place on earth; add <spherical_coordinates>")
        return self.georeference

    @cached_property
    def rays(self) -> RayCaster:
        """The ray caster over all faces; built on first use."""
        return RayCaster(self.scene.triangles)

    @cached_property
    def _ground_faces(self) -> NDArray[np.int64]:
        return np.flatnonzero(np.isin(self.scene.face_class, GROUND))

    @cached_property
    def _ground(self) -> Heights:
        return Heights(self.scene.vertices, self.scene.faces[self._ground_faces])

    @cached_property
    def _surface(self) -> Heights:
        return Heights(self.scene.vertices, self.scene.faces)

    @cached_property
    def _solids(self) -> RayCaster:
        solid = ~np.isin(self.scene.face_class, GROUND)
        return RayCaster(self.scene.vertices[self.scene.faces[solid]])

    def cast(
        self, origins: Array, directions: Array, *, cull_backfaces: bool = True, max_distance: float = np.inf
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """First hits of rays in map: origins (N, 3), directions (N, 3) of any length.

        Returns Euclidean distance (N,) float64 metres, inf where nothing is hit within `max_distance`, and the face
        (N,) int32, −1 where none. With `cull_backfaces` rays pass surfaces that they meet from behind, as Gazebo's
        sensors do; a front face less than 0.1 mm behind such a surface is passed as well. Raises InputError for rays
        that are none.
        """
        return self.rays.cast(origins, directions, cull_backfaces=cull_backfaces, max_distance=max_distance)

    def terrain_height(self, xy: Array) -> NDArray[np.float64]:
        """Map z (N,) of the topmost ground (classes labels.GROUND) at (N, 2) map positions; NaN where there is none."""
        return self._ground.topmost(_positions(xy))

    def surface_height(self, xy: Array) -> NDArray[np.float64]:
        """Map z (N,) of the topmost surface of any class at (N, 2) map positions; NaN where there is none."""
        return self._surface.topmost(_positions(xy))

    def inside_solid(self, points: Array) -> NDArray[np.bool_]:
        """Which points (N, 3) lie inside a solid or more than 1 cm under the terrain.

        Of three rays from a point, two or more must first meet a surface from behind: so single open meshes do not
        deceive. Ground is not solid here, only what is no class of labels.GROUND.
        """
        p = np.asarray(points, dtype=np.float64).reshape(-1, 3)
        below = np.nan_to_num(self.terrain_height(p[:, :2]), nan=-np.inf) - GROUND_TOLERANCE > p[:, 2]
        votes = np.zeros(len(p), dtype=np.int64)
        for probe in _PROBES:
            direction = np.broadcast_to(probe, p.shape)
            _, any_face = self._solids.cast(p, direction, cull_backfaces=False, max_distance=np.inf)
            votes += self._solids.backfacing(any_face, direction)
        inside: NDArray[np.bool_] = below | (votes >= 2)
        return inside

    def datum(self, x: float, y: float, radius: float = 1000.0) -> float:
        """Map z of the lowest ground vertex within `radius` metres (horizontally) of a point.

        Where no ground lies there, the lowest vertex of any surface. Raises WorldError where there is nothing at all.
        """
        vertices = self.scene.vertices
        near = np.hypot(vertices[:, 0] - np.float64(x), vertices[:, 1] - np.float64(y)) <= radius
        for faces in (self.scene.faces[self._ground_faces], self.scene.faces):
            used = np.zeros(len(vertices), dtype=bool)
            used[faces] = True
            used &= near
            if used.any():
                return float(vertices[used, 2].min())
        raise WorldError(f"{self.path}: no surface within {radius:g} m of ({x:g}, {y:g}); give the datum yourself")


def _positions(xy: Array) -> Array:
    p = np.asarray(xy, dtype=np.float64)
    if p.ndim != 2 or p.shape[1] != 2:
        raise InputError(f"positions must be (N, 2), not {p.shape}")
    return p
