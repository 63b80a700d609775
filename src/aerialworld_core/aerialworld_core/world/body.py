"""A vehicle or another moving body: all its visuals as one `Scene` in its own frame, for the engine to move about."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aerialworld_core.errors import InputError, WorldError
from aerialworld_core.frames import Array
from aerialworld_core.world import primitives
from aerialworld_core.world.placing import place
from aerialworld_core.world.scene import Material, Scene
from aerialworld_core.world.single_model import open_model
from aerialworld_core.world.visuals import SceneBuilder


def load_body(source: str | Path, *, trust_collada: bool = False, notes: list[str] | None = None) -> Scene:
    """All visuals of a shipped model (by name), or of a model's SDF file or folder; includes are followed.

    Triangles are in `base_link`, or in the model's frame where it has no such link, with every joint at its start.
    Visuals without a Label have class 0. `<visibility_flags>` are not looked at: who hides a body from its own sensors
    is the engine. `trust_collada` as in `load_world`. What is valid but not honoured is added to `notes`. Raises
    WorldError or another InputError, naming file and element, also for a model without anything to see.
    """
    model = open_model(source, "body's file")
    with SceneBuilder(model.files, model.notes, trust_collada=trust_collada, flags=False) as builder:
        for link in model.links:
            link.matrix, link.scope_matrix = model.from_root @ link.matrix, model.from_root @ link.scope_matrix
            builder.add_link(link)
        scene = builder.build()
    if not len(scene.faces):
        raise WorldError(f"{model.file}: model {model.name} has no visuals, so there is nothing to see of it")
    if notes is not None:
        notes += [line for line in model.notes.lines if line not in notes]
    return scene


def box_body(size: Array, label: int, colour: Array, *, name: str = "box") -> Scene:
    """A box of edges `size` (3,) metres centred on the origin, of class `label` and linear RGB `colour` (3,).

    Raises InputError for sizes that are not positive, a label that is none, colours below 0 or not finite.
    """
    edges, paint = np.asarray(size, np.float64), np.asarray(colour, np.float32)
    if edges.shape != (3,) or not np.isfinite(edges).all() or (edges <= 0).any():
        raise InputError(f"body {name}: its size must be 3 positive numbers, not {size}")
    if paint.shape != (3,) or not np.isfinite(paint).all() or (paint < 0).any():
        raise InputError(f"body {name}: its colour must be 3 numbers from 0, not {colour}")
    if not 0 <= label <= 255 or int(label) != label:
        raise InputError(f"body {name}: label {label} is not a whole number from 0 to 255")
    placed = place(primitives.box(edges), np.eye(4), False, f"body {name}")
    count = len(placed.faces)
    return Scene(
        vertices=placed.vertices,
        faces=placed.faces,
        face_class=np.full(count, label, np.uint8),
        face_instance=np.ones(count, np.uint16),
        face_material=np.zeros(count, np.int32),
        uv=placed.uv,
        normals=placed.normals,
        materials=[Material(name, paint)],
        instances=[name],
    )
