"""A recorded session with its voxels made anew: another grid, another datum, several frames fused, the LiDAR alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from aerialworld_core.grid import VoxelGrid
from aerialworld_core.session import Session, SessionWriter
from aerialworld_core.session.copying import require_frames, stored_frame
from aerialworld_recorder.fusion import SessionSights


def occupancy_again(
    session: Session,
    root: Path,
    *,
    grid: VoxelGrid | None = None,
    datum: float | None = None,
    source: str | None = None,
    window: int = 1,
    provenance: Mapping[str, Any],
    on_frame: Callable[[], None] = lambda: None,
) -> Path:
    """A new session under `root` whose voxels come of the recorded depth or LiDAR, `window` frames fused into each.

    All other files are those of `session`. `engine.occupancy` in session.json says what the voxels come from. Raises
    InputError when the session holds no such data, SessionError for damage.
    """
    require_frames(session)
    grid = grid or session.meta.grid
    height = session.meta.datum if datum is None else datum
    sights = SessionSights(session, grid, height, source=source, window=window)
    told = sights.source if window == 1 else f"{sights.source}, window {window}"
    engine = {**session.meta.engine, "occupancy": told}
    meta = replace(session.meta, frames=None, grid=grid, datum=height, engine=engine)
    made = {**provenance, "occupancy": {"of": session.path.absolute().name, "from": sights.source, "window": window}}
    with SessionWriter(root, meta, session.mission, made) as writer:
        for index in session.frame_indices:
            stored_frame(session, index, occupancy=sights.occupancy(index)).write(writer, index)
            on_frame()
    return writer.path
