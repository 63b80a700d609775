"""Worlds as commands open them: what a world asks for and does not get is told, never passed over in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aerialworld.console import note
from aerialworld.lazy import stage


def open_world(path: Path, *, trust_collada: bool = False) -> Any:
    """The `aerialworld_core.world.World` at `path`; its notes go to stderr. `trust_collada`: its COLLADA meshes may be
    read. Raises WorldError or another InputError."""
    world = stage("aerialworld_core.world", "load_world")(path, trust_collada=trust_collada)
    for line in world.notes:
        note(f"{path}: {line}", style="yellow")
    return world
