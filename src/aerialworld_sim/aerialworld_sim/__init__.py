"""The embedded engine: ray-cast cameras, depth, LiDAR and IMU from SDF worlds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aerialworld_sim.embree import EngineError as EngineError
    from aerialworld_sim.engine import ALL as ALL
    from aerialworld_sim.engine import Engine as Engine
    from aerialworld_sim.motion import Actor as Actor
    from aerialworld_sim.motion import Static as Static
    from aerialworld_sim.motion import Vehicle as Vehicle

__version__ = "0.1.0"
__all__ = ["ALL", "Actor", "Engine", "EngineError", "Static", "Vehicle"]

_HOMES = {
    "ALL": "engine",
    "Engine": "engine",
    "EngineError": "embree",
    "Actor": "motion",
    "Static": "motion",
    "Vehicle": "motion",
}


def __getattr__(name: str) -> Any:
    """Load LLVM and Embree only when the engine is used, so that importing the package stays cheap."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
