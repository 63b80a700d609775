"""The engine's one way to whatever traces rays and shades: the interface, and which implementation is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from aerialworld_core.errors import InputError
from aerialworld_sim.jobs import DepthJob, PictureJob, ScanJob
from aerialworld_sim.render_scene import RenderScene

BackendName = Literal["auto", "embree", "warp"]


class Backend(Protocol):
    """Renders a RenderScene. Made once per scene; not shared between threads."""

    @property
    def name(self) -> str:
        """What sessions record as the renderer, e.g. "embree 4.4.0, 8 lanes" or "warp 1.19.0, NVIDIA H100"."""
        ...

    def moved(self) -> None:
        """The scene's movers have been placed anew (RenderScene.place)."""
        ...

    def render(self, jobs: Sequence[PictureJob | DepthJob | ScanJob]) -> None:
        """Fill the arrays of all jobs. Equal scenes and jobs give equal bytes, whatever the number of threads."""
        ...


def make_backend(name: str, scene: RenderScene, *, threads: int | None = None, lanes: int | None = None) -> Backend:
    """The backend of that name; "auto" is warp where a CUDA device is found, else embree.

    Raises EngineError, with the pip line, when a library is missing, too old or answers a self-test wrongly, and
    InputError for an unknown name.
    """
    if name not in ("auto", "embree", "warp"):
        raise InputError(f"backend is auto, embree or warp, not {name!r}")
    if name == "warp" or (name == "auto" and _cuda()):
        from aerialworld_sim.warp_backend import WarpBackend

        return WarpBackend(scene)
    from aerialworld_sim.embree_backend import EmbreeBackend

    return EmbreeBackend(scene, threads=threads, lanes=lanes)


def _cuda() -> bool:
    """Whether warp is installed and sees a CUDA device."""
    try:
        from aerialworld_sim.warp_backend import cuda_available
    except ImportError:
        return False
    return cuda_available()
