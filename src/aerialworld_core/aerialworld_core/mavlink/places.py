"""Where MAVLink's ends may meet: addresses, and which of them are safe to open."""

from __future__ import annotations

import ipaddress

from aerialworld_core.errors import MavlinkError


def checked_host(host: str, allow_remote: bool, signed: bool) -> str:
    """The host, if it is this machine's loopback, or remote ones are allowed and the link is signed.

    Raises MavlinkError.
    """
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not (local or (allow_remote and signed)):
        raise MavlinkError(
            f"{host} is not this machine's loopback: whoever reaches the port flies the vehicle; give a loopback "
            "address, or --allow-remote with --key FILE, so that only signed messages count"
        )
    return host


def parse_address(text: str, option: str) -> tuple[str, int]:
    """HOST:PORT, [HOST]:PORT not being known to MAVLink's programs. Raises MavlinkError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise MavlinkError(f"{option}: {text!r} is not HOST:PORT, a port being 1 to 65535")
    return host, int(port)
