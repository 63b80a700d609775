"""Worlds and rigs from SDF: geometry, rays, terrain heights, voxels and truth (extra `aerialworld_core[world]`)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aerialworld_core.world.scene import Light, Material, Scene

if TYPE_CHECKING:
    from aerialworld_core.world.body import box_body, load_body
    from aerialworld_core.world.reader import load_world
    from aerialworld_core.world.rig_reader import load_rig
    from aerialworld_core.world.world import World

__all__ = ["Light", "Material", "Scene", "World", "box_body", "load_body", "load_rig", "load_world"]

_WHERE = {
    "load_world": "reader",
    "load_rig": "rig_reader",
    "load_body": "body",
    "box_body": "body",
    "World": "world",
}


def __getattr__(name: str) -> Any:
    """Import lxml, Embree and LLVM only when a world is really read."""
    if name in _WHERE:
        return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
