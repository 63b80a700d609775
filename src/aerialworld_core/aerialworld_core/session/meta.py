"""What a session is: the content of session.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from aerialworld_core.errors import AerialWorldError, SessionError
from aerialworld_core.frames import Georeference
from aerialworld_core.grid import DEFAULT_GRID, VoxelGrid
from aerialworld_core.rig import Rig
from aerialworld_core.session.layout import (
    AGENT_TYPES,
    BOXES,
    EXTRA,
    KEPT,
    NAME,
    SCHEMA_VERSION,
    START_TIME,
    parse_time,
)

#: `grid.frame` in session.json: see `aerialworld_core.frames.grid_from_map`.
GRID_FRAME = "ego_yaw"
_KEYS = (
    "schema_version vehicle agent_type engine world georeference grid rig frame_period_ns seed mission conditions "
    "start_time attribution frames"
).split()
#: Keys that are written only where they say something.
_OPTIONAL = ("kept", "kept_of")
#: `kept_of`: a real graph has depth and classes of the faces alone.
FACES = "faces"


@dataclass(frozen=True, eq=False)
class SessionMeta:
    """How a session was made. Nothing here may differ between equal runs: no wall time, host or path.

    engine           name (`embedded`, `gazebo`, `bag`) and version
    world            name and sha256 of its content
    datum            map z of the grid's zero, metres
    frame_period_ns  simulated nanoseconds between frames
    mission          the plan's name or a short description as a mapping; the whole plan is in mission.json
    start_time       ISO 8601, simulated
    frames           number of frames when closed; None until then
    schema_version   0 for older data without session.json
    kept             what every frame holds besides: images (`depth`, `semantic`, `instance`) and the cameras' `boxes`
    faces_only       these images are of the depth faces, not of the cameras (`"kept_of": "faces"`)
    """

    vehicle: str
    agent_type: str
    engine: Mapping[str, str]
    world: Mapping[str, str]
    georeference: Georeference
    grid: VoxelGrid
    datum: float
    rig: Rig
    frame_period_ns: int
    seed: int
    mission: Mapping[str, Any] | str
    conditions: Mapping[str, Any]
    start_time: str
    attribution: str
    frames: int | None = None
    schema_version: int = SCHEMA_VERSION
    kept: tuple[str, ...] = ()
    faces_only: bool = False

    def __post_init__(self) -> None:
        if self.agent_type not in AGENT_TYPES:
            raise SessionError(f"agent_type is drone or rover, not {self.agent_type!r}")
        if not (set(self.engine) >= {"name", "version"} and set(self.world) >= {"name", "sha256"}):
            raise SessionError("a session names its engine {name, version} and its world {name, sha256}")
        if self.frame_period_ns <= 0 or not np.isfinite(self.datum):
            raise SessionError(f"frame_period_ns {self.frame_period_ns} must be positive and datum {self.datum} finite")
        parse_time(self.start_time)
        if tuple(kind for kind in KEPT if kind in self.kept) != tuple(self.kept):
            raise SessionError(f"kept is of {', '.join(KEPT)}, in this order and once each, not {list(self.kept)}")

    @property
    def kept_images(self) -> tuple[str, ...]:
        """Those of `kept` that are images."""
        return tuple(kind for kind in self.kept if kind in EXTRA)

    @property
    def keeps_boxes(self) -> bool:
        return BOXES in self.kept

    def closed(self, frames: int | None) -> SessionMeta:
        """The same, finished with so many frames (None: open again)."""
        return replace(self, frames=frames)

    def to_dict(self) -> dict[str, Any]:
        """session.json without its hash."""
        document = {
            "schema_version": self.schema_version,
            "vehicle": self.vehicle,
            "agent_type": self.agent_type,
            "engine": dict(self.engine),
            "world": dict(self.world),
            "georeference": self.georeference.to_dict(),
            "grid": {**self.grid.to_dict(), "frame": GRID_FRAME, "datum": float(self.datum)},
            "rig": self.rig.to_dict(),
            "frame_period_ns": int(self.frame_period_ns),
            "seed": int(self.seed),
            "mission": self.mission if isinstance(self.mission, str) else dict(self.mission),
            "conditions": dict(self.conditions),
            "start_time": self.start_time,
            "attribution": self.attribution,
            "frames": self.frames,
        }
        if self.kept:
            document |= {"kept": list(self.kept), **({"kept_of": FACES} if self.faces_only else {})}
        return document

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SessionMeta:
        """Raises SessionError when a key is missing, unknown or malformed, or the schema is newer than this reader."""
        version = data.get("schema_version")
        if not isinstance(version, int) or not 1 <= version <= SCHEMA_VERSION:
            raise SessionError(
                f"schema_version {version!r}: this AerialWorld reads up to {SCHEMA_VERSION}; "
                "read the session with the version that wrote it, or a newer one"
            )
        unknown, missing = sorted(set(data) - {*_KEYS, *_OPTIONAL}), sorted(set(_KEYS) - set(data))
        if unknown or missing:
            raise SessionError(f"unknown keys {unknown}, missing keys {missing}")
        try:
            if data["grid"]["frame"] != GRID_FRAME:
                raise SessionError(f"grid.frame {data['grid']['frame']!r} is not {GRID_FRAME!r}")
            g = data["georeference"]
            rest = {
                k: v
                for k, v in data.items()
                if k not in ("georeference", "grid", "rig", "frames", "frame_period_ns", *_OPTIONAL)
            }
            if data.get("kept_of", FACES) != FACES:
                raise SessionError(f"kept_of {data['kept_of']!r} is not {FACES!r}")
            return cls(
                georeference=Georeference(float(g["latitude"]), float(g["longitude"]), float(g["height"])),
                grid=VoxelGrid.from_dict(data["grid"]),
                datum=float(data["grid"]["datum"]),
                rig=Rig.from_dict(data["rig"]),
                frame_period_ns=int(data["frame_period_ns"]),
                frames=None if data["frames"] is None else int(data["frames"]),
                kept=tuple(data.get("kept", ())),
                faces_only="kept_of" in data,
                **rest,
            )
        except SessionError:
            raise
        except (KeyError, TypeError, ValueError, AerialWorldError) as error:
            raise SessionError(f"malformed entry: {error!r}") from error


def default_meta(path: Path) -> SessionMeta:
    """What older data without session.json is taken to be: the default grid at datum 0, 2 Hz, an unknown rig."""
    match = NAME.match(path.name)
    start = START_TIME
    if match:
        d, t = match["date"], match["time"]
        start = f"{d[:4]}-{d[4:6]}-{d[6:]}T{t[:2]}:{t[2:4]}:{t[4:]}Z"
    agent = match["agent"] if match else ("rover" if path.name.startswith("rover") else "drone")
    return SessionMeta(
        vehicle=f"{agent}_1",
        agent_type=agent,
        engine={"name": "unknown", "version": "unknown"},
        world={"name": "unknown", "sha256": ""},
        georeference=Georeference(0.0, 0.0, 0.0),
        grid=DEFAULT_GRID,
        datum=0.0,
        rig=Rig("unknown", (), ()),
        frame_period_ns=500_000_000,
        seed=0,
        mission="",
        conditions={},
        start_time=start,
        attribution="",
        schema_version=0,
    )
