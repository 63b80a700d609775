"""Loads an SDF world: what its visuals look like, where they stand, how they are lit, and where it lies on earth.

Sensors see `<visual>`s, as in Gazebo; collisions, physics and plugins (but Label) are not looked at.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from aerialworld_core.errors import WorldError
from aerialworld_core.frames import Georeference
from aerialworld_core.sensing import GRAVITY
from aerialworld_core.world.scene import Light
from aerialworld_core.world.sdf import (
    Document,
    Notes,
    boolean,
    colour,
    number,
    numbers,
    pose_matrix,
    read_document,
    text_of,
    where,
)
from aerialworld_core.world.tree import Model
from aerialworld_core.world.uris import Files, Resolved
from aerialworld_core.world.visuals import SceneBuilder
from aerialworld_core.world.world import World

_NOT_READ = ("actor", "road", "population")


def load_world(path: Path) -> World:
    """Load a folder that holds `world.sdf`, or an SDF file with a world (or a single model).

    Raises WorldError or another InputError, naming file, line and way out, for what is missing, broken or unsafe. What
    is valid but not honoured is in `World.notes`.
    """
    path = Path(path)
    file = path
    if path.is_dir():
        file = path / "world.sdf"
        if not file.is_file() and (path / "model.sdf").is_file():
            file = path / "model.sdf"
    document = read_document(file)
    worlds = document.element.findall("world")
    root = worlds[0] if worlds else document.element.find("model")
    if root is None or len(worlds) > 1:
        raise WorldError(f"{file}: holds {len(worlds)} worlds and no single model; need one <world>")
    notes, files = Notes(), Files(document.folder)
    files.use(Resolved(document.path, document.root, document.path.name))
    model = Model(document, root, files, notes)
    start = np.eye(4)
    if not worlds:
        start = pose_matrix(document, root.find("pose"))
    builder = SceneBuilder(files, notes)
    for link in model.links(start, name="" if worlds else root.get("name", "")):
        builder.add_link(link)
    for child in model.children:
        if worlds and not child.is_static:
            notes.add(f"model {child.name}: is not static; it stays where it starts")
    if worlds:
        gravity = numbers(document, root, "gravity", 3, (0.0, 0.0, -GRAVITY))
        if not np.allclose(gravity, (0.0, 0.0, -GRAVITY), atol=0.01):
            notes.add(f"<gravity> is not honoured: IMU and flights take {GRAVITY} m/s² downwards")
    for tag in _NOT_READ:
        if root.find(tag) is not None:
            notes.add(f"<{tag}> elements are not read")
    scene = builder.build()
    return World(
        name=root.get("name") or file.stem,
        path=file,
        sha256=files.sha256(),
        georeference=_georeference(document, root),
        scene=scene,
        light=_light(document, root, model, notes),
        notes=notes.lines,
    )


def _georeference(document: Document, world: Any) -> Georeference | None:
    place = world.find("spherical_coordinates")
    if place is None:
        return None
    context = where(document, place)
    frame = text_of(place, "world_frame_orientation", "ENU")
    if frame != "ENU" or number(document, place, "heading_deg", 0.0) != 0.0:
        raise WorldError(f"{context}: the world frame must be ENU with heading_deg 0, for map is east, north, up")
    georeference = Georeference(
        number(document, place, "latitude_deg"),
        number(document, place, "longitude_deg"),
        number(document, place, "elevation", 0.0),
    )
    if abs(georeference.latitude) > 90 or abs(georeference.longitude) > 180:
        raise WorldError(
            f"{context}: latitude {georeference.latitude} or longitude {georeference.longitude} is out of range"
        )
    return georeference


def _light(document: Document, world: Any, model: Model, notes: Notes) -> Light:
    """The brightest directional light is the sun; `<scene>` gives the rest (SDF's defaults where it is missing)."""
    direction, sun, cast_shadows = np.array([0.0, 0.0, -1.0]), np.zeros(3), False
    for light in world.findall("light"):
        name = light.get("name", "")
        if light.get("type") != "directional":
            notes.add(f"light {name}: only directional lights are shown, not {light.get('type')!r}")
            continue
        if not boolean(document, light, "light_on", True):
            continue
        power = colour(document, light, "diffuse", (1.0, 1.0, 1.0)) * number(document, light, "intensity", 1.0)
        way = numbers(document, light, "direction", 3, (0.0, 0.0, -1.0))
        if not np.linalg.norm(way) > 0:
            raise WorldError(f"{where(document, light)}: its direction has no length")
        if sun.any():
            notes.add("there is more than one directional light: only the brightest is shown")
        if power.sum() > sun.sum():
            pose = light.find("pose")
            relative = (
                model.matrix(pose.get("relative_to") or "", where(document, pose)) if pose is not None else np.eye(4)
            )
            way = (relative @ pose_matrix(document, pose))[:3, :3] @ way
            direction, sun = way / np.linalg.norm(way), power
            cast_shadows = boolean(document, light, "cast_shadows", False)
    scene = world.find("scene")
    ambient, background, shadows = np.full(3, 0.4), np.full(3, 0.7), True
    if scene is not None:
        ambient = colour(document, scene, "ambient", (0.4, 0.4, 0.4))
        background = colour(document, scene, "background", (0.7, 0.7, 0.7))
        shadows = boolean(document, scene, "shadows", True)
        for tag in ("sky", "fog"):
            if scene.find(tag) is not None:
                notes.add(f"<scene>: <{tag}> is not shown")
    return Light(direction, sun, ambient, background, bool(shadows and cast_shadows))
