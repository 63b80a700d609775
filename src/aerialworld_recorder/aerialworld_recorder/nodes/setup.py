"""From the node's parameters to what records each vehicle; no ROS here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from aerialworld_core.plan import Plan, agent_type
from aerialworld_core.provenance import provenance
from aerialworld_core.session.layout import BOXES
from aerialworld_core.world import World, load_rig, load_world
from aerialworld_recorder.nodes.parameters import EMBEDDED, Parameters, VehicleParameters
from aerialworld_recorder.stream.channels import DEPTH, SENSORS, Channel, recorded_rig, vehicle_channels
from aerialworld_recorder.stream.sessions import DEPTH_KINDS, SessionMaker
from aerialworld_recorder.stream.synchroniser import Timing


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
        self.notes: list[str] = []
        engine = {"name": p.engine, "version": p.engine_version or _version_of(p.engine)}
        if p.occupancy_mode != DEPTH:
            engine["occupancy"] = p.occupancy_mode
        # As the engine's node takes them, which knows of no session: a date that is not given is not the session's.
        conditions, _ = p.conditions.recorded(self.world.light, self.world.require_place())
        shared = {
            "engine": engine,
            "conditions": conditions,
            "attribution": self.world.attribution,
            "provenance": {**provenance(), "world_path": str(p.world)},
        }
        self.vehicles = tuple(self._vehicle(p, v, shared) for v in p.vehicles)

    def _vehicle(self, p: Parameters, wanted: VehicleParameters, shared: Mapping[str, Any]) -> VehicleSetup:
        plan = Plan.read(wanted.plan) if wanted.plan else None
        if plan and plan.vehicle != wanted.name:
            self.notes.append(f"{wanted.name} follows {wanted.plan}, which was made for {plan.vehicle}")
        agent = agent_type(wanted.name, plan)
        rig = load_rig(wanted.rig or f"rig_{agent}")
        rig = recorded_rig(rig, p.modalities, p.occupancy_mode, keep_depth=p.keep_depth)
        channels = vehicle_channels(wanted.name, rig, p.image_transport, actors=p.actors)
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
            kept=(*(DEPTH_KINDS if p.keep_depth else ()), *((BOXES,) if p.keep_boxes else ())),
            **shared,
        )
        return VehicleSetup(wanted.name, channels, p.timing(period), maker)


def _version_of(engine: str) -> str:
    """Of the engine that is installed beside the recorder, as far as that can be known."""
    try:
        return metadata.version("aerialworld_sim") if engine == EMBEDDED else "unknown"
    except metadata.PackageNotFoundError:
        return "unknown"
