"""A job: one session to make, as the manifest holds it. What its session holds is a function of this entry alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aerialworld.recording import TRAFFIC, RecordingOptions
from aerialworld_core.conditions import Conditions
from aerialworld_core.errors import InputError
from aerialworld_core.files import canonical_json
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.rig import Rig
from aerialworld_core.traffic import TrafficOptions

PLANS, SESSIONS = "plans", "sessions"


@dataclass(frozen=True)
class Job:
    """An entry of the manifest's `jobs`.

    name           of the session's folder; from agent type and start time, so known before anything is made
    world, mission names in the campaign; `world_sha256` of the world's content
    place, split   where it goes, and which part of the data set it belongs to
    rig            name or path as the campaign says it; `rig_sha256` of what the file means
    seed           of the sensors' noise and of the plan's numbers
    conditions     light and weather; empty: the world's own sun
    frames         exactly so many
    recording      grid, frame_rate, modalities, and traffic where there is some
    plan           {file, sha256}; `drawn` the numbers that it was planned with, `attempts` how often they were drawn
    """

    name: str
    index: int
    world: str
    world_sha256: str
    mission: str
    agent_type: str
    vehicle: str
    place: str
    split: str
    rig: str
    rig_sha256: str
    seed: int
    conditions: dict[str, Any]
    start_time: str
    frames: int
    recording: dict[str, Any]
    plan: dict[str, str]
    drawn: dict[str, Any]
    attempts: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Job:
        """Raises InputError for an entry that is none."""
        try:
            return cls(**data)
        except TypeError as error:
            raise InputError(f"job {data.get('name')}: {error}") from error

    @property
    def key(self) -> str:
        """sha256 over all that the session's bytes depend on: equal keys, equal sessions."""
        aside = {"index", "place", "split", "mission", "drawn", "attempts", "world"}
        return hashlib.sha256(canonical_json({k: v for k, v in asdict(self).items() if k not in aside})).hexdigest()

    def options(self) -> RecordingOptions:
        return RecordingOptions(
            VoxelGrid.from_dict(self.recording["grid"]),
            float(self.recording["frame_rate"]),
            tuple(self.recording["modalities"]),
            self.seed,
            Conditions.from_dict(self.conditions),
            most_frames=self.frames,
            traffic=TrafficOptions.from_dict(self.recording[TRAFFIC]) if TRAFFIC in self.recording else None,
        )


def plan_file(name: str) -> str:
    return f"{PLANS}/{name}.json"


def rig_sha256(rig: Rig) -> str:
    """Of what a rig file means, whatever it is called and wherever it lies."""
    return hashlib.sha256(canonical_json({**rig.to_dict(), "name": rig.name})).hexdigest()


def file_sha256(path: Path) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
