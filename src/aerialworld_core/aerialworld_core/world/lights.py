"""How a world is lit: one sun, ambient light and what is seen where nothing is hit, from SDF's lights and `<scene>`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from aerialworld_core.errors import WorldError
from aerialworld_core.frames import Array
from aerialworld_core.world.scene import Light
from aerialworld_core.world.sdf import Document, Notes, boolean, colour, number, numbers, pose_matrix, text_of, where
from aerialworld_core.world.tree import Model, PlacedLink
from aerialworld_core.world.unhonoured import tell_unread

#: A clear sky, linear RGB: pale at the horizon, deep blue above (sRGB 190, 210, 230 and 70, 125, 200). Gazebo shows a
#: picture of a clear sky whatever `<sky>` holds.
SKY_HORIZON = (0.515, 0.645, 0.791)
SKY_ZENITH = (0.061, 0.205, 0.578)


def read_light(document: Document, world: Any, model: Model, links: Iterable[PlacedLink], notes: Notes) -> Light:
    """The brightest directional light, of the world or on a link, is the sun; `<scene>` gives the rest (SDF's defaults
    where it is missing). What is not shown is noted. Raises WorldError."""
    direction, sun, cast_shadows = np.array([0.0, 0.0, -1.0]), np.zeros(3), False
    suns, others = 0, []
    for owner, light, matrix in _lights(document, world, model, links):
        if not boolean(owner, light, "light_on", True):
            continue
        if light.get("type") != "directional":
            others.append(light.get("name", ""))
            continue
        power = colour(owner, light, "diffuse", (1.0, 1.0, 1.0)) * number(owner, light, "intensity", 1.0)
        if (power < 0).any():
            raise WorldError(f"{where(owner, light)}: its intensity cannot be negative")
        way = numbers(owner, light, "direction", 3, (0.0, 0.0, -1.0))
        if not np.linalg.norm(way) > 0:
            raise WorldError(f"{where(owner, light)}: its direction has no length")
        suns += bool(power.any())
        if power.sum() > sun.sum():
            way = matrix[:3, :3] @ way
            direction, sun = way / np.linalg.norm(way), power
            cast_shadows = boolean(owner, light, "cast_shadows", False)
    if suns > 1:
        notes.add(f"there are {suns} directional lights: only the brightest is shown")
    if others:
        named = ", ".join(others[:3]) + (", …" if len(others) > 3 else "")
        notes.add(f"{len(others)} point or spot lights are not shown ({named}): only directional lights are")
    return _surroundings(document, world, direction, sun, cast_shadows, notes)


def _lights(
    document: Document, world: Any, model: Model, links: Iterable[PlacedLink]
) -> Iterator[tuple[Document, Any, Array]]:
    """Each light with its document and where it stands, (4, 4) in map."""
    for light in world.findall("light"):
        pose = light.find("pose")
        base = np.eye(4)
        if pose is not None:
            base = model.matrix(pose.get("relative_to") or "", where(document, pose)) @ pose_matrix(document, pose)
        yield document, light, base
    for link in links:
        for light in link.element.findall("light"):
            yield link.document, light, link.place(light.find("pose"))


def _surroundings(
    document: Document, world: Any, direction: Array, sun: Array, cast_shadows: bool, notes: Notes
) -> Light:
    ambient, background, shadows, zenith = np.full(3, 0.4), np.full(3, 0.7), True, None
    scene = world.find("scene")
    if scene is not None:
        ambient = colour(document, scene, "ambient", (0.4, 0.4, 0.4))
        background = colour(document, scene, "background", (0.7, 0.7, 0.7))
        shadows = boolean(document, scene, "shadows", True)
        sky, fog = scene.find("sky"), scene.find("fog")
        if sky is not None:
            background, zenith = np.array(SKY_HORIZON), np.array(SKY_ZENITH)
            tell_unread(sky, notes)
        if fog is None or text_of(fog, "type", "none") != "none":
            tell_unread(scene, notes)
    return Light(direction, sun, ambient, background, bool(shadows and cast_shadows), zenith)
