#!/usr/bin/env python3
"""Plan a pattern and fly it in one command, as `aerialworld mission plan` and `aerialworld mission fly` do.

python scripts/data_collection_mission.py --vehicle drone --pattern survey --size 100 --spacing 15 --altitude 30
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from aerialworld.commands.mission_fly import (
    AllowRemoteOption,
    ConnectOption,
    EndOption,
    FlyWorldOption,
    KeyOption,
    MethodOption,
    OriginOption,
    RecordOption,
)
from aerialworld.console import command, note
from aerialworld.flying import FlyOptions, fly
from aerialworld.lazy import stage
from aerialworld.options import OptionError, SeedOption, TrustColladaOption, numbers
from aerialworld_core.plan import Plan


@command
def main(
    vehicle: Annotated[str, typer.Option("--vehicle", help="drone or rover, or a name like drone_2.")] = "drone",
    pattern: Annotated[
        str, typer.Option("--pattern", help="survey, orbit, figure8, corridor, random; a rover: patrol, roads.")
    ] = "survey",
    size: Annotated[float | None, typer.Option("--size", help="Edge of the square, m.")] = None,
    spacing: Annotated[float | None, typer.Option("--spacing", help="Between survey lines, m.")] = None,
    altitude: Annotated[float | None, typer.Option("--altitude", help="Over the ground, m.")] = None,
    radius: Annotated[float | None, typer.Option("--radius", help="Of the orbit, m.")] = None,
    turns: Annotated[float | None, typer.Option("--turns", help="Of the orbit or the patrol.")] = None,
    speed: Annotated[float | None, typer.Option("--speed", help="m/s.")] = None,
    centre: Annotated[str | None, typer.Option("--centre", metavar="X,Y", help="Map coordinates, m.")] = None,
    duration: Annotated[float | None, typer.Option("--duration", help="Cut to this many seconds.")] = None,
    plan_out: Annotated[Path | None, typer.Option("--plan-out", help="Also write the plan here.")] = None,
    seed: SeedOption = 0,
    world: FlyWorldOption = None,
    origin: OriginOption = None,
    connect: ConnectOption = None,
    method: MethodOption = None,
    end: EndOption = None,
    record: RecordOption = None,
    key: KeyOption = None,
    allow_remote: AllowRemoteOption = False,
    trust_collada: TrustColladaOption = False,
) -> None:
    """Fly one pattern with a vehicle that MAVLink reaches, and record it if a recorder is named.

    Without --world the ground is taken for flat and open, and the pattern's middle for the vehicle's home.
    """
    kind = vehicle.split("_")[0]
    if kind not in ("drone", "rover"):
        raise OptionError(f"--vehicle: {vehicle!r} is neither a drone nor a rover")
    asked: dict[str, Any] = {
        "size": size, "spacing": spacing, "altitude": altitude, "radius": radius, "turns": turns, "speed": speed,
        "centre": numbers(centre, 2, "--centre") if centre else None, "duration": duration,
    }  # fmt: skip
    asked = {k: v for k, v in asked.items() if v is not None}
    asked |= {"vehicle": vehicle if "_" in vehicle else f"{vehicle}_1", "seed": seed}

    def plans(loaded: Any) -> list[Plan]:
        if loaded is None:
            note("no --world: the ground is taken for flat and open", style="yellow")
            loaded = stage("aerialworld_missions.flying.surroundings", "open_ground")()
        plan: Plan = stage("aerialworld_missions.asked", "plan_of")(loaded, pattern, asked)
        if plan.agent_type != kind:
            raise OptionError(f"--pattern: {pattern} is a {plan.agent_type}'s, and --vehicle a {kind}")
        if plan_out is not None:
            plan.write(plan_out)
        return [plan]

    options = FlyOptions(
        connect or [], world, origin, method, end, record, key, allow_remote, trust_collada=trust_collada
    )
    fly(options, plans)


if __name__ == "__main__":
    typer.run(main)
