"""`aerialworld traffic`: the vehicles and pedestrians of a world, for other simulators."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aerialworld.console import command, note, say
from aerialworld.lazy import stage
from aerialworld.opened import open_world
from aerialworld.options import TrustColladaOption, WorldArgument, require_folder, traffic_from_option
from aerialworld.progress import meter

app = typer.Typer(no_args_is_help=True, help="Vehicles and pedestrians on a world's roads, for Gazebo.")


@app.command(
    epilog="Example: aerialworld traffic export world --traffic cars=30,pedestrians=30,seed=1 --out world, then: "
    "GZ_SIM_RESOURCE_PATH=world/models gz sim world/world_traffic.sdf"
)
@command
def export(
    world: WorldArgument,
    traffic: Annotated[
        str,
        typer.Option(
            "--traffic", metavar="ENTRIES", help="As of `simulate`: cars=30,pedestrians=30,seed=1.", show_default=False
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", help="Folder that receives traffic.sdf, meshes/, world_traffic.sdf.", show_default=False),
    ],
    duration: Annotated[float, typer.Option("--duration", help="Seconds to script.")] = 120.0,
    trust_collada: TrustColladaOption = False,
) -> None:
    """Write the same traffic that the embedded engine shows as SDF actors on scripted trajectories.

    With --out the world's own folder, world_traffic.sdf there is the world with its traffic.
    """
    options = traffic_from_option(traffic)
    assert options is not None
    require_folder(out)
    loaded = open_world(world, trust_collada=trust_collada)
    made = stage("aerialworld_sim.traffic", "Traffic")(loaded, options)
    if made.network.made_up:
        note(f"{world}: has no roads, so the traffic goes to and fro on open ground", style="yellow")
    with meter("traffic", int(duration), "s") as bar:
        path = stage("aerialworld_sim.traffic.sdf", "export")(made, out, duration, bar.update)
    note(", ".join(f"{count} {kind}" for kind, count in made.summary.items()) or "nothing moves")
    source = Path(loaded.path)
    source = source / "world.sdf" if source.is_dir() else source
    if source.parent.resolve() == out.resolve():
        path = stage("aerialworld_sim.traffic.sdf", "join_world")(source, path, out / "world_traffic.sdf")
    say(str(path))
