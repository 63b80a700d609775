"""`aerialworld mission fly`: plans flown by ArduPilot vehicles, or the embedded autopilot's, over MAVLink."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aerialworld.console import command
from aerialworld.flying import FlyOptions, fly
from aerialworld.options import TrustColladaOption
from aerialworld_core.plan import Plan

ConnectOption = Annotated[
    list[str] | None,
    typer.Option(
        "--connect",
        metavar="ADDRESS[@SYSTEM]",
        help="Where the vehicle is reached: tcp:HOST:PORT, udpin:HOST:PORT (listens), udpout:HOST:PORT, "
        "serial:/dev/ttyACM0:115200; @2 takes MAVLink system 2. Once for each plan. Default: tcp:127.0.0.1:5760, "
        "5770, … as simulations have them.",
        show_default=False,
    ),
]
FlyWorldOption = Annotated[
    Path | None,
    typer.Option(
        "--world",
        help="World of the plan: its place on earth, and what the way to the start passes over.",
        show_default=False,
    ),
]
OriginOption = Annotated[
    str | None,
    typer.Option(
        "--origin",
        metavar="LAT,LON,HEIGHT",
        help="Instead of a world: where the plan's map lies. Without either its origin is the vehicle's home.",
    ),
]
MethodOption = Annotated[
    str | None,
    typer.Option(
        "--method",
        metavar="auto|guided",
        help="auto: uploaded, flown by the autopilot; guided: streamed as setpoints. Default: auto, unless the plan "
        "looks elsewhere than ahead.",
        show_default=False,
    ),
]
EndOption = Annotated[
    str | None,
    typer.Option(
        "--end", metavar="rtl|land|hold", help="After the plan. Default: rtl; a rover: hold.", show_default=False
    ),
]
RecordOption = Annotated[
    str | None,
    typer.Option(
        "--record",
        metavar="NODE",
        help="Start and stop this recorder (a ROS 2 node, e.g. recorder) with the plan.",
        show_default=False,
    ),
]
KeyOption = Annotated[
    Path | None, typer.Option("--key", metavar="FILE", help="32 secret bytes: sign, and take only what is signed.")
]
AllowRemoteOption = Annotated[
    bool, typer.Option("--allow-remote", help="Allow addresses beyond loopback; needs --key.")
]
SystemOption = Annotated[int, typer.Option("--system", help="Our own MAVLink system id, 1 to 255.")]
LinkOption = Annotated[float, typer.Option("--link-patience", help="Seconds of silence after which a link is lost.")]
BatteryOption = Annotated[int, typer.Option("--battery", help="Percent left at which it turns back.")]
StuckOption = Annotated[float, typer.Option("--stuck", help="Seconds without progress at which it gives up.")]
ReadyOption = Annotated[float, typer.Option("--ready", help="Seconds that the vehicle has to become ready to arm.")]
WaitOption = Annotated[float, typer.Option("--wait", help="Seconds that the first heartbeat may take.")]
RateOption = Annotated[float, typer.Option("--rate", help="Setpoints a second of the vehicle's time (guided).")]


@command
def mission_fly(
    plans: Annotated[list[Path], typer.Argument(help="Plan files (JSON): one for each vehicle.", show_default=False)],
    connect: ConnectOption = None,
    world: FlyWorldOption = None,
    origin: OriginOption = None,
    method: MethodOption = None,
    end: EndOption = None,
    record: RecordOption = None,
    key: KeyOption = None,
    allow_remote: AllowRemoteOption = False,
    system: SystemOption = 255,
    link_patience: LinkOption = 30.0,
    battery: BatteryOption = 15,
    stuck: StuckOption = 60.0,
    ready: ReadyOption = 120.0,
    rate: RateOption = 10.0,
    wait: WaitOption = 30.0,
    trust_collada: TrustColladaOption = False,
) -> None:
    """Fly plans over MAVLink, all at once: wait until each vehicle is ready, arm, fly, come home.

    Ctrl-C lands a drone and stops a rover; a second one does not watch that. The exit code tells how it ended.
    """
    options = FlyOptions(
        connect or [], world, origin, method, end, record, key, allow_remote, system, link_patience, battery, stuck,
        ready, rate, wait, trust_collada,
    )  # fmt: skip
    fly(options, lambda _: [Plan.read(path) for path in plans])
