"""What a vehicle's sessions are made with: the same for a live graph and for bags, but for the engine's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from aerialworld_core.grid import DEFAULT_GRID, VoxelGrid
from aerialworld_core.rig import Rig
from aerialworld_core.sensing import SensorFrame
from aerialworld_core.session import SessionMeta
from aerialworld_core.session.layout import START_TIME, format_time, parse_time
from aerialworld_core.world import World
from aerialworld_recorder.recorder import Recorder

#: Kept with `keep_depth`: what occupancy is projected from.
DEPTH_KINDS = ("depth", "semantic")


@dataclass(frozen=True, eq=False)
class SessionMaker:
    """Begins a vehicle's sessions under `root`.

    rig           with the sensors that every frame brings
    world         for its name, place, credit, heights
    datum         map z of the grid's zero; None: the lowest terrain within 1 km of where a session begins
    start_time    of simulation time 0 (ISO 8601, simulated); a session's is that of its first frame, in whole seconds
    kept          what is kept as files besides: DEPTH_KINDS of the faces, "boxes" of the cameras
    """

    root: Path
    vehicle: str
    agent_type: str
    rig: Rig
    world: World
    engine: Mapping[str, str]
    period_ns: int
    grid: VoxelGrid = DEFAULT_GRID
    datum: float | None = None
    seed: int = 0
    mission: str = ""
    plan: Mapping[str, Any] = field(default_factory=dict)
    conditions: Mapping[str, Any] = field(default_factory=dict)
    attribution: str = ""
    start_time: str = START_TIME
    jpeg_quality: int = 95
    kept: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def begin(self, first: SensorFrame) -> Recorder:
        """The recorder of a new session that begins with this frame. Raises WorldError where there is no terrain for a
        datum, SessionError and StorageError as Recorder does."""
        x, y = first.state.pose.position[:2]
        meta = SessionMeta(
            vehicle=self.vehicle,
            agent_type=self.agent_type,
            engine=self.engine,
            world={"name": self.world.name, "sha256": self.world.sha256},
            georeference=self.world.require_place(),
            grid=self.grid,
            datum=self.world.datum(float(x), float(y)) if self.datum is None else self.datum,
            rig=self.rig,
            frame_period_ns=self.period_ns,
            seed=self.seed,
            mission=self.mission,
            conditions=self.conditions,
            start_time=self._start(first.stamp_ns),
            attribution=self.attribution,
            kept=self.kept,
            faces_only=bool(set(self.kept) & set(DEPTH_KINDS)),
        )
        return Recorder(self.root, meta, self.plan, self.provenance, jpeg_quality=self.jpeg_quality)

    def _start(self, stamp_ns: int) -> str:
        return format_time(parse_time(self.start_time) + timedelta(seconds=stamp_ns // 1_000_000_000))

    def ground(self, x: float, y: float) -> float:
        """The terrain's height at x, y in map."""
        return float(self.world.terrain_height(np.array([[x, y]]))[0])
