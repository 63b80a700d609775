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
from aerialworld_core.world.lights import read_light
from aerialworld_core.world.scene import Scene
from aerialworld_core.world.sdf import (
    Document,
    Notes,
    number,
    numbers,
    read_document,
    text_of,
    where,
)
from aerialworld_core.world.tree import Child, Model, PlacedLink
from aerialworld_core.world.uris import Files, Resolved
from aerialworld_core.world.visuals import SceneBuilder
from aerialworld_core.world.world import World

_NOT_READ = ("actor", "road", "population")


def load_world(path: Path, *, trust_collada: bool = False) -> World:
    """Load a folder that holds `world.sdf`, or an SDF file with a world (or a single model).

    COLLADA meshes are refused unless they belong to a model that AerialWorld ships or the caller trusts the world
    (`trust_collada`). Raises WorldError or another InputError, naming file, line and way out, for what is missing,
    broken or unsafe. What is valid but not honoured is in `World.notes`.
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
        start = Child(model, document, root, root.find("pose"), document).matrix(where(document, root))
    links = list(model.links(start, name="" if worlds else root.get("name", "")))
    scene, sha256 = _scene(file, files, notes, links, trust_collada)
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
    if not len(scene.faces):
        notes.add("the world is empty: no visual has a triangle")
    return World(
        name=root.get("name") or file.stem,
        path=file,
        sha256=sha256,
        georeference=_georeference(document, root),
        scene=scene,
        light=read_light(document, root, model, links, notes),
        notes=notes.lines,
    )


def _scene(file: Path, files: Files, notes: Notes, links: list[PlacedLink], trust_collada: bool) -> tuple[Scene, str]:
    """The visuals of all links, and the hash of every file that made them."""
    try:
        with SceneBuilder(files, notes, trust_collada=trust_collada) as builder:
            for link in links:
                builder.add_link(link)
            return builder.build(), files.sha256()
    except MemoryError as error:
        raise WorldError(
            f"{file}: there is not enough memory for its meshes; they need about 250 bytes a triangle while they are "
            "read: simplify them, or show a part of the world"
        ) from error


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
