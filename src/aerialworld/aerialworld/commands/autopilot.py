"""`aerialworld autopilot`: an ArduPilot-like vehicle that any ground-control program can fly, without rendering."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.text import Text

from aerialworld.autopilot import (
    DEFAULT_HOME,
    SERIAL_PORTS,
    AutopilotOptions,
    Home,
    by_ardupilot,
    embedded,
    serve_ardupilot,
    status,
)
from aerialworld.console import ERR, command, note, say
from aerialworld.options import OptionError, SeedOption, TrustColladaOption, numbers
from aerialworld_core.mavlink.places import checked_host, parse_address
from aerialworld_core.piloting import MAVLINK_PORT, PHYSICS_PORT, PILOTS, PORTS_PER_INSTANCE

VEHICLES = ("drone", "rover")
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
            help="Who flies: the one built in, or your own ArduPilot binary, whose physics this is (JSON protocol).",
        ),
    ] = "embedded",
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            help="TCP port to listen on, as ArduPilot's simulation; 0: no TCP. With --autopilot sitl the UDP port of "
            f"the physics. Default: {MAVLINK_PORT}; {PHYSICS_PORT} for the physics.",
            show_default=False,
        ),
    ] = None,
    serials: Annotated[
        bool | None,
        typer.Option(
            "--serials/--no-serials",
            help="Listen on the port + 2 and + 3 as well, as ArduPilot's SERIAL1 and SERIAL2. Default: where --port is "
            "not given.",
            show_default=False,
        ),
    ] = None,
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
    instance: Annotated[int, typer.Option("--instance", "-I", help="Adds 10 × N to the port, as ArduPilot does.")] = 0,
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
    host: Annotated[str, typer.Option("--host", help="Address that the port is bound to.")] = "127.0.0.1",
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Allow addresses beyond loopback; needs --key.")
    ] = False,
    key: Annotated[
        Path | None,
        typer.Option("--key", metavar="FILE", help="32 secret bytes: sign, and take only what is signed with them."),
    ] = None,
    seed: SeedOption = 0,
    trust_collada: TrustColladaOption = False,
) -> None:
    """Run a drone or rover with an ArduPilot-like autopilot (MAVLink 2), to be flown by QGroundControl, MAVProxy,
    pymavlink or `aerialworld`'s missions, in real time or faster. Nothing is rendered.

    It boots as ArduPilot does: armable with a position after 42 simulated seconds. Ctrl-C ends it.
    """
    options = _options(locals())
    if pilot == "sitl":
        _fly_by_ardupilot(options, duration)
        return
    checked_host(options.host, allow_remote, key is not None)
    endpoint = embedded(options)
    try:
        say(_banner(endpoint, options))
        _serve(endpoint, duration)
    finally:
        endpoint.close()


def _options(given: dict[str, Any]) -> AutopilotOptions:
    if given["vehicle"] not in VEHICLES:
        raise OptionError(f"--vehicle: {given['vehicle']!r} is neither {' nor '.join(VEHICLES)}")
    if given["pilot"] not in PILOTS:
        raise OptionError(f"--autopilot: {given['pilot']!r} is neither {' nor '.join(PILOTS)}")
    if not 0 <= given["instance"] <= 1000:
        raise OptionError(f"--instance: {given['instance']} is not 0 to 1000")
    if given["pilot"] == "sitl":
        _refuse_mavlink_options(given)
    usual = PHYSICS_PORT if given["pilot"] == "sitl" else MAVLINK_PORT
    port = usual if given["port"] is None else given["port"]
    port += PORTS_PER_INSTANCE * given["instance"] if port else 0
    serials = given["port"] is None if given["serials"] is None else given["serials"]
    if not 0 <= port <= 65535 - max(SERIAL_PORTS) * serials:
        raise OptionError(f"--port: {port} is not 0 to {65535 - max(SERIAL_PORTS) * serials}")
    if given["duration"] is not None and not 0 < given["duration"] < 1e9:
        raise OptionError(f"--duration: {given['duration']:g} is no time in seconds")
    if given["allow_remote"] and given["key"] is None and given["pilot"] != "sitl":
        raise OptionError(
            "--allow-remote: needs --key FILE, so that only messages signed with it count; "
            "make one: (umask 077; head -c 32 /dev/urandom > mavlink.key)"
        )
    address = {
        name: parse_address(given[name], option) if given[name] else None
        for name, option in (("udp", "--udp"), ("udp_server", "--udp-server"))
    }
    same = ("vehicle", "world", "host", "speedup", "sysid", "wait", "allow_remote", "key", "trust_collada", "seed")
    values: dict[str, Any] = {name: given[name] for name in same} | address
    values |= {
        "home": _home(given["home"]),
        "port": port,
        "serials": serials,
        "parameters": _parameters(given["param"] or []),
    }
    return AutopilotOptions(**values)


def _refuse_mavlink_options(given: dict[str, Any]) -> None:
    """What belongs to the built-in autopilot is ArduPilot's own to be told."""
    usual = {
        "serials": None,
        "udp": None,
        "udp_server": None,
        "key": None,
        "speedup": 1.0,
        "sysid": 1,
        "param": None,
        "wait": True,
    }
    for name, value in usual.items():
        if given[name] not in (value, []) or (name == "wait" and not given[name]):
            raise OptionError(
                f"--{name.replace('_', '-')} is for the built-in autopilot: give it to ArduPilot's own command"
            )
    if given["allow_remote"]:
        raise OptionError("--allow-remote: the physics of --autopilot sitl speak on loopback only")


def _fly_by_ardupilot(options: AutopilotOptions, duration: float | None) -> None:
    vehicle, start_line = by_ardupilot(options)
    with _StatusLine() as line:
        try:
            say(f"{options.vehicle}, physics for ArduPilot: udp {':'.join(map(str, vehicle.address))}")
            say(f"start it with: {start_line}")
            serve_ardupilot(vehicle, duration, line.tell)
        finally:
            vehicle.close()


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
    where = [f"{link.protocol.lower()} {':'.join(map(str, link.address))}" for link in endpoint.served[0].links]
    signed = ", signed" * (options.key is not None)
    return f"{options.vehicle}, system {options.sysid}: {', '.join(where)}{signed}"


class _StatusLine:
    """A line that stays in place on a terminal and comes now and then elsewhere, with the speed-up that is reached."""

    def __init__(self) -> None:
        self._live = Live(Text(), console=ERR, auto_refresh=False, transient=True) if ERR.is_terminal else None
        self._last: float | None = None
        self._seconds = 0.0

    def __enter__(self) -> _StatusLine:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def due(self) -> bool:
        """Whether it is time for the next line."""
        interval = LIVE_INTERVAL if self._live else PLAIN_INTERVAL
        return self._last is None or time.monotonic() - self._last >= interval

    def tell(self, text: str, sim_seconds: float) -> None:
        """Show a line if it is time, `sim_seconds` being the simulated seconds by now."""
        if not self.due():
            return
        now = time.monotonic()
        pace = "" if self._last is None else f"  ×{(sim_seconds - self._seconds) / (now - self._last):.1f}"
        self._last, self._seconds = now, sim_seconds
        if self._live:
            self._live.update(Text(text + pace), refresh=True)
        else:
            note(text + pace)


def _serve(endpoint: Any, duration: float | None) -> None:
    with _StatusLine() as line:

        def report() -> None:
            if line.due():
                line.tell(status(endpoint), endpoint.sim_seconds)

        endpoint.run(duration, report)
