"""What is rendered: the world's static triangles and the bodies that move through it, with their surface records.

Rows of `surfaces.records`, of `corners` and of every face number that a backend reports: first the static faces, then
each mover's own block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import InputError, WorldError
from aerialworld_core.frames import Pose
from aerialworld_core.world.scene import Light, Scene
from aerialworld_sim.bodies import Bodies
from aerialworld_sim.surfaces import Surfaces, build_surfaces


@dataclass(frozen=True, eq=False)
class Body:
    """Something that moves: `scene` holds its triangles in its own frame. `owner` is the vehicle whose own sensors do
    not see it; `label` replaces the class of all its triangles."""

    name: str
    scene: Scene
    owner: str | None = None
    label: int | None = None


@dataclass(eq=False)
class Mover:
    """A body in the scene. Its rows are first … first + count; `corners` (F, 3, 3) float32 are in its own
    frame, `placed` (F, 3, 3) float32 in map; `owner` is a vehicle's number or −1; `pose` is None while it is absent."""

    body: Body
    first: int
    count: int
    owner: int
    corners: NDArray[np.float32]
    placed: NDArray[np.float32]
    pose: Pose | None = None


class RenderScene:
    """`scene` under `light`, with `bodies` that start out absent. `vehicles` are the names that owners refer to.

    Raises WorldError for arrays, colours or textures that cannot be rendered, InputError for unknown owners.
    """

    def __init__(self, scene: Scene, light: Light, bodies: Sequence[Body] = (), vehicles: Sequence[str] = ()) -> None:
        for part in (scene, *(b.scene for b in bodies)):
            check_scene(part)
        numbers = {name: i for i, name in enumerate(vehicles)}
        for body in bodies:
            if body.owner is not None and body.owner not in numbers:
                raise InputError(f"body {body.name}: its owner {body.owner!r} is no vehicle ({', '.join(numbers)})")
        self.scene, self.light = scene, light
        self.static_count = len(scene.faces)
        instances = len(scene.instances) + len(bodies)
        if instances > 65535:
            raise InputError(f"{instances} instances; at most 65535 have numbers")
        #: A body's name → its number in instance images.
        self.numbers = {b.name: len(scene.instances) + 1 + i for i, b in enumerate(bodies)}
        parts = [scene, *(_numbered(b, self.numbers[b.name]) for b in bodies)]
        self.surfaces: Surfaces = build_surfaces(parts, light)
        self.bodies = Bodies([b.scene for b in bodies], self.static_count)
        self.movers: list[Mover] = []
        for i, body in enumerate(bodies):
            owner = numbers[body.owner] if body.owner is not None else -1
            first, last = int(self.bodies.first[i]), int(self.bodies.first[i + 1])
            corners, placed = self.bodies.corners[first:last], self.bodies.placed[first:last]
            self.movers.append(Mover(body, self.static_count + first, last - first, owner, corners, placed))
        self._named = {m.body.name: m for m in self.movers}

    def place(self, poses: Mapping[str, Pose | None]) -> None:
        """Move the bodies named; None takes one out of the scene. Raises InputError for an unknown name."""
        for name, pose in poses.items():
            if name not in self._named:
                raise InputError(f"no body {name!r}; there are {', '.join(self._named) or 'none'}")
            self._named[name].pose = pose
        self.bodies.place([m.pose for m in self.movers], self.surfaces)


def _numbered(body: Body, number: int) -> Scene:
    """The body's scene with one instance number for all its triangles, and its own class where it has one."""
    scene = body.scene
    n = len(scene.faces)
    label = scene.face_class if body.label is None else np.full(n, body.label, np.uint8)
    return Scene(
        scene.vertices,
        scene.faces,
        label,
        np.full(n, number, np.uint16),
        scene.face_material,
        scene.uv,
        scene.normals,
        scene.materials,
        [body.name],
    )


def check_scene(scene: Scene) -> None:
    """Refuse arrays that would make a ray caster read beyond them or answer nonsense. Raises WorldError."""
    n = len(scene.faces)
    shapes = {
        "vertices": (scene.vertices.shape, (len(scene.vertices), 3)),
        "faces": (scene.faces.shape, (n, 3)),
        "face_class": (scene.face_class.shape, (n,)),
        "face_instance": (scene.face_instance.shape, (n,)),
        "face_material": (scene.face_material.shape, (n,)),
        "uv": (scene.uv.shape, (n, 3, 2)),
        "normals": (scene.normals.shape, (n, 3, 3)),
    }
    for name, (shape, expected) in shapes.items():
        if shape != expected:
            raise WorldError(f"scene: {name} is {shape}, should be {expected}")
    if n == 0:
        return
    if int(scene.faces.min()) < 0 or int(scene.faces.max()) >= len(scene.vertices):
        raise WorldError(f"scene: a face refers to a vertex outside the {len(scene.vertices)} there are")
    if int(scene.face_material.min()) < 0 or int(scene.face_material.max()) >= len(scene.materials):
        raise WorldError(f"scene: a face refers to a material outside the {len(scene.materials)} there are")
    for name, array in (("vertices", scene.vertices), ("uv", scene.uv), ("normals", scene.normals)):
        if not np.isfinite(array).all():
            raise WorldError(f"scene: {name} hold a value that is not finite")
