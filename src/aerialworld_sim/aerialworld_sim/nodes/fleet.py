"""The node's vehicles: what each carries and how it moves, from its parameters. No ROS here.

How a vehicle moves is decided in `motion` alone: it stands, follows a plan, or is flown by an autopilot.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose
from aerialworld_core.plan import Plan, agent_type
from aerialworld_core.world import load_rig
from aerialworld_sim.motion import Motion, Static, Vehicle
from aerialworld_sim.piloted import PilotedMotion, Piloting, piloted
from aerialworld_sim.traffic import Traffic
from aerialworld_sim.traffic.guests import Guest, PlannedGuest
from aerialworld_sim.vehicles.interface import Kind


class Wanted(Protocol):
    """One vehicle as asked for: `aerialworld_sim.nodes.parameters.VehicleParameters`."""

    @property
    def name(self) -> str: ...
    @property
    def rig(self) -> str: ...
    @property
    def plan(self) -> Path | None: ...
    @property
    def pose(self) -> Pose: ...
    @property
    def piloting(self) -> Piloting | None: ...


class Fleet:
    """The vehicles by name (`vehicles`), and when their plans end (`ends_ns`, of those that have one).

    world    where vehicles under an autopilot stand; seed of their wind and noise; speedup is the pace that they report
    Raises WorldError for a rig and PlanError for a plan that cannot be read, InputError for an autopilot.
    """

    def __init__(self, wanted: Sequence[Wanted], world: Any = None, *, seed: int = 0, speedup: float = 1.0) -> None:
        self.vehicles: dict[str, Vehicle] = {}
        self.ends_ns: dict[str, int] = {}
        self.notes: list[str] = []
        self.piloted: dict[str, PilotedMotion] = {}
        self.rovers: set[str] = set()
        try:
            self._gather(wanted, world, seed, speedup)
        except BaseException:
            self.close()
            raise

    def _gather(self, wanted: Sequence[Wanted], world: Any, seed: int, speedup: float) -> None:
        for vehicle in wanted:
            plan = Plan.read(vehicle.plan) if vehicle.plan else None
            if plan:
                self.ends_ns[vehicle.name] = round(plan.duration * 1e9)
                if plan.vehicle != vehicle.name:
                    self.notes.append(f"{vehicle.name} follows {vehicle.plan}, which was made for {plan.vehicle}")
            if agent_type(vehicle.name, plan) == "rover":
                self.rovers.add(vehicle.name)
            rig = load_rig(vehicle.rig or f"rig_{agent_type(vehicle.name, plan)}")
            if vehicle.piloting is None:
                self.vehicles[vehicle.name] = Vehicle(rig, motion(vehicle.pose, plan))
                continue
            kind: Kind = "rover" if agent_type(vehicle.name, plan) == "rover" else "drone"
            flown = piloted(kind, vehicle.pose, world, vehicle.piloting, seed=seed, speedup=speedup)
            self.piloted[vehicle.name] = flown
            self.notes.append(f"{vehicle.name}: {flown.where()}")
            self.vehicles[vehicle.name] = Vehicle(rig, flown)

    @property
    def guests(self) -> list[Guest]:
        """The rovers, as traffic is to heed them: piloted ones where they are, others also where they will be."""
        return [
            self.piloted[name].guest if name in self.piloted else PlannedGuest(vehicle.motion)
            for name, vehicle in self.vehicles.items()
            if name in self.rovers
        ]

    def meet(self, traffic: Traffic) -> None:
        """Let piloted vehicles run into traffic."""
        for flown in self.piloted.values():
            flown.guest.around = traffic.near

    def listen(self) -> None:
        """Let autopilots answer while no time passes."""
        for flown in self.piloted.values():
            flown.listen()

    def close(self) -> None:
        """Let go of what autopilots hold."""
        for flown in self.piloted.values():
            flown.close()

    def end_ns(self, duration: float, stop_at_end: bool) -> int | None:
        """The stamp at which the run is over: after `duration` seconds (0: no limit), with `stop_at_end` when the last
        plan ends, whichever is first; None: never. Raises InputError when there is no plan whose end could be meant."""
        if stop_at_end and not self.ends_ns:
            raise InputError("parameter stop_at_end: no vehicle has a plan; give one, or a duration")
        ends = [round(duration * 1e9)] if duration > 0 else []
        if stop_at_end:
            ends.append(max(self.ends_ns.values()))
        return min(ends, default=None)


def motion(pose: Pose, plan: Plan | None) -> Motion:
    """The plan's trajectory, or standing still at `pose`."""
    return plan.trajectory() if plan else Static(pose)
