"""`aerialworld autopilot`: an ArduPilot-like vehicle that any ground-control program can fly, without rendering."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.text import Text

from aerialworld.autopilot import (
    DEFAULT_HOME,
    PORTS_PER_INSTANCE,
    AutopilotOptions,
    Home,
    flown,
    flown_by_sitl,
    place,
    status,
)
from aerialworld.console import ERR, command, note, say
from aerialworld.lazy import stage
from aerialworld.options import OptionError, SeedOption, TrustColladaOption, numbers

VEHICLES, PILOTS = ("drone", "rover"), ("embedded", "sitl")
#: Wall seconds between status lines: on a terminal, where one line stays in place, and in a log.
LIVE_INTERVAL, PLAIN_INTERVAL = 0.5, 10.0


@command
def autopilot(
    vehicle: Annotated[str, typer.Option("--vehicle", metavar="drone|rover", help="What is flown.")] = "drone",
    pilot: Annotated[
        str,
        typer.Option(
            "--autopilot",
            metavar="embedded|sitl",
            help="Who flies it: our autopilot, or an ArduPilot SITL binary that you start (the command says how).",
        ),
    ] = "embedded",
    port: Annotated[
        int, typer.Option("--port", help="TCP port to listen on, as ArduPilot's simulation; 0: no TCP.")
    ] = 5760,
    udp: Annotated[
        str | None,
        typer.Option(
            "--udp", metavar="HOST:PORT", help="Also send to a program that listens there (QGroundControl: 14550)."
        ),
    ] = None,
    udp_server: Annotated[
        str | None,
        typer.Option(
            "--udp-server", metavar="HOST:PORT", help="Also listen for datagrams there; answers the last sender."
        ),
    ] = None,
    speedup: Annotated[
        float, typer.Option("--speedup", help="Simulated seconds per second; SIM_SPEEDUP in flight.")
    ] = 1.0,
    home: Annotated[
        str | None,
        typer.Option(
            "--home",
            metavar="LAT,LON,ALT,HEADING",
            help="Where it starts: degrees, metres above sea level, compass degrees. In a world the ground gives the "
            f"altitude. Default: {DEFAULT_HOME.latitude},{DEFAULT_HOME.longitude},10,0, or the world's origin.",
        ),
    ] = None,
    world: Annotated[
        Path | None, typer.Option("--world", help="World folder to fly in: its ground and solids count.")
    ] = None,
    sysid: Annotated[int, typer.Option("--sysid", help="MAVLink system id, 1 to 255.")] = 1,
    instance: Annotated[
        int, typer.Option("--instance", "-I", help="Adds 10 × N to the TCP port, as ArduPilot does.")
    ] = 0,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="NAME=VALUE", help="A parameter before it boots; may be given several times."),
    ] = None,
    duration: Annotated[
        float | None, typer.Option("--duration", help="Simulated seconds to run. Default: until Ctrl-C.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Boot when the first TCP client connects, or at once.")
    ] = True,
    host: Annotated[str, typer.Option("--host", help="Address that the TCP port is bound to.")] = "127.0.0.1",
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Allow addresses beyond loopback: whoever reaches them may fly.")
    ] = False,
    seed: SeedOption = 0,
    trust_collada: TrustColladaOption = False,
) -> None:
    """Run a drone or rover with an ArduPilot-like autopilot (MAVLink 2), to be flown by QGroundControl, MAVProxy,
    pymavlink or `aerialworld`'s missions, in real time or faster. Nothing is rendered.

    It boots as ArduPilot does: armable with a position after 42 simulated seconds. Ctrl-C ends it.

    With `--autopilot sitl` it is ArduPilot's own binary that flies: the vehicle is its physics (UDP 9002 + 10 × instance),
    and MAVLink is spoken by SITL, whose options say where.
    """
    if pilot not in PILOTS:
        raise OptionError(f"--autopilot: {pilot!r} is neither {' nor '.join(PILOTS)}")
    options = _options(locals())
    if pilot == "sitl":
        _refuse_mavlink(locals())
        run, line = flown_by_sitl(options)
        try:
            say(
                f"{options.vehicle}: waiting for ArduPilot on UDP {run.motion.vehicle.address[1]}. Start it with\n  {line}"
            )
            _serve(run, duration, lambda _: run.status())
        finally:
            run.close()
        return
    links = stage("aerialworld_sim.autopilot.links")
    links.checked_host(options.host, allow_remote)
    endpoint = flown(place(options), options)
    try:
        say(_banner(endpoint, options))
        _serve(endpoint, duration, lambda measured: status(endpoint, measured))
    finally:
        endpoint.close()


def _refuse_mavlink(given: dict[str, Any]) -> None:
    """Options that only the embedded autopilot heeds."""
    for name, default, option in (
        ("udp", None, "--udp"), ("udp_server", None, "--udp-server"), ("param", None, "--param"), ("sysid", 1, "--sysid"),
        ("port", 5760, "--port"), ("speedup", 1.0, "--speedup"), ("host", "127.0.0.1", "--host"),
        ("allow_remote", False, "--allow-remote"),
    ):  # fmt: skip
        if given[name] not in (default, [] if name == "param" else default):
            raise OptionError(f"{option} is the embedded autopilot's; with --autopilot sitl give it to SITL")


def _options(given: dict[str, Any]) -> AutopilotOptions:
    if given["vehicle"] not in VEHICLES:
        raise OptionError(f"--vehicle: {given['vehicle']!r} is neither {' nor '.join(VEHICLES)}")
    if not 0 <= given["instance"] <= 1000:
        raise OptionError(f"--instance: {given['instance']} is not 0 to 1000")
    port = given["port"] + PORTS_PER_INSTANCE * given["instance"] if given["port"] else 0
    if not 0 <= port <= 65535:
        raise OptionError(f"--port: {port} is not 0 to 65535")
    if given["duration"] is not None and not 0 < given["duration"] < 1e9:
        raise OptionError(f"--duration: {given['duration']:g} is no time in seconds")
    links = stage("aerialworld_sim.autopilot.links")
    address: dict[str, Any] = {
        name: links.parse_address(given[name], option) if given[name] else None
        for name, option in (("udp", "--udp"), ("udp_server", "--udp-server"))
    }
    same = ("vehicle", "world", "host", "speedup", "sysid", "wait", "allow_remote", "trust_collada", "seed", "instance")
    values: dict[str, Any] = {name: given[name] for name in same} | address
    values |= {"home": _home(given["home"]), "port": port, "parameters": _parameters(given["param"] or [])}
    return AutopilotOptions(**values)


def _home(text: str | None) -> Home | None:
    if text is None:
        return None
    latitude, longitude, altitude, heading = numbers(text, 4, "--home")
    if abs(latitude) > 89.9 or abs(longitude) > 180.0 or abs(altitude) > 9000.0:
        raise OptionError(f"--home: {text!r} is no place on earth (latitude, longitude, altitude, heading)")
    return Home(latitude, longitude, altitude, heading)


def _parameters(pairs: list[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not name or not math.isfinite(number):
            raise OptionError(f"--param: {pair!r} is not NAME=VALUE (example: --param WPNAV_SPEED=500)")
        found[name.strip().upper()] = number
    return found


def _banner(endpoint: Any, options: AutopilotOptions) -> str:
    names = {"TcpServer": "tcp", "Udp": "udp"}
    where = [f"{names[type(link).__name__]} {':'.join(map(str, link.address))}" for link in endpoint.served[0].links]
    return f"{options.vehicle}, system {options.sysid}: {', '.join(where)}"


def _serve(endpoint: Any, duration: float | None, status: Callable[[float | None], str]) -> None:
    """Run, with a status line that stays in place on a terminal and comes now and then elsewhere."""
    live = Live(Text(), console=ERR, auto_refresh=False, transient=True) if ERR.is_terminal else None
    interval = LIVE_INTERVAL if live else PLAIN_INTERVAL
    last, before = time.monotonic(), 0.0

    def report() -> None:
        nonlocal last, before
        now = time.monotonic()
        if now - last < interval:
            return
        measured = (endpoint.sim_seconds - before) / (now - last)
        last, before = now, endpoint.sim_seconds
        line = status(measured)
        if live:
            live.update(Text(line), refresh=True)
        else:
            note(line)

    if live is None:
        note(status(None))
        endpoint.run(duration, report)
        return
    with live:
        endpoint.run(duration, report)
