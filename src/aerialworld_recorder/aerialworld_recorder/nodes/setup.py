"""From the node's parameters to what records each vehicle; no ROS here."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from aerialworld_core.errors import InputError
from aerialworld_core.files import read_json
from aerialworld_core.plan import Plan
from aerialworld_core.world import World, load_rig, load_world
from aerialworld_recorder.nodes.parameters import EMBEDDED, Parameters, VehicleParameters
from aerialworld_recorder.stream.channels import SENSORS, Channel, recorded_rig, vehicle_channels
from aerialworld_recorder.stream.sessions import SessionMaker
from aerialworld_recorder.stream.synchroniser import Timing

_PACKAGES = ("aerialworld_core", "aerialworld_recorder", "aerialworld_sim", "numpy", "numba", "simplejpeg", "isal")


@dataclass(frozen=True, eq=False)
class VehicleSetup:
    """All that a vehicle's pipeline is made of."""

    name: str
    channels: tuple[Channel, ...]
    timing: Timing
    maker: SessionMaker


class Setup:
    """The world and the vehicles as asked for. Raises AerialWorldError for files that cannot be used."""

    def __init__(self, p: Parameters) -> None:
        self.world: World = load_world(p.world)
        if self.world.georeference is None:
            raise InputError(
                f"{self.world.path}: a session needs the world's place on earth; add <spherical_coordinates>"
            )
        self.notes: list[str] = []
        engine = {"name": p.engine, "version": p.engine_version or _version_of(p.engine)}
        place = self.world.georeference
        light = p.conditions.light(self.world.light, place)
        conditions = p.conditions.resolved(place, p.start_time).record(light)
        shared = {"engine": engine, "conditions": conditions, "attribution": _credit(self.world)}
        self.vehicles = tuple(self._vehicle(p, v, shared) for v in p.vehicles)

    def _vehicle(self, p: Parameters, wanted: VehicleParameters, shared: Mapping[str, Any]) -> VehicleSetup:
        plan = Plan.read(wanted.plan) if wanted.plan else None
        if plan and plan.vehicle != wanted.name:
            self.notes.append(f"{wanted.name} follows {wanted.plan}, which was made for {plan.vehicle}")
        agent = plan.agent_type if plan else ("rover" if wanted.name.lower().startswith("rover") else "drone")
        rig = recorded_rig(load_rig(wanted.rig or f"rig_{agent}"), p.modalities)
        channels = vehicle_channels(wanted.name, rig, p.image_transport)
        period = min(1.0 / c.rate for c in channels if c.kind in SENSORS)
        maker = SessionMaker(
            root=p.data_root,
            vehicle=wanted.name,
            agent_type=agent,
            rig=rig,
            world=self.world,
            period_ns=p.period_ns,
            grid=p.grid,
            seed=p.seed,
            mission=plan.name if plan else "",
            plan=plan.to_dict() if plan else {},
            start_time=p.start_time,
            jpeg_quality=p.jpeg_quality,
            keep_depth=p.keep_depth,
            provenance=_provenance(p),
            **shared,
        )
        return VehicleSetup(wanted.name, channels, p.timing(period), maker)


def _version_of(engine: str) -> str:
    """Of the engine that is installed beside the recorder, as far as that can be known."""
    try:
        return metadata.version("aerialworld_sim") if engine == EMBEDDED else "unknown"
    except metadata.PackageNotFoundError:
        return "unknown"


def _credit(world: World) -> str:
    """The data's credit from the world's city.json; empty when the world does not come from a city."""
    path = Path(world.path)
    city = (path if path.is_dir() else path.parent) / "city.json"
    if not city.is_file():
        return ""
    try:
        return str(read_json(city).get("attribution", ""))
    except (ValueError, AttributeError) as error:
        raise InputError(f"{city}: cannot be read ({error}); convert the city again") from error


def _provenance(p: Parameters) -> dict[str, Any]:
    """What may differ between equal runs."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "wall_time": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": platform.node(),
        "machine": {"system": f"{platform.system()} {platform.release()}", "python": platform.python_version()},
        "versions": versions,
        "world_path": str(p.world),
    }
