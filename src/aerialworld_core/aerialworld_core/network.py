"""Keeps a ROS 2 node's network traffic on this machine, unless the environment asks for more.

Whoever reaches a ROS 2 node can read and inject its messages, so the default is the loopback interface. ROS's own
LOCALHOST range limits who is looked for, but Fast DDS still binds its sockets to every interface; with the profile
beside this file it binds to 127.0.0.1 only. Nodes of this machine find it either way.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

RANGE, PEERS, OLD_RANGE = "ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_STATIC_PEERS", "ROS_LOCALHOST_ONLY"
#: Fast DDS 2 and 3 read the path of a profile from these.
PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
LOOPBACK = Path(__file__).with_name("loopback.xml")


def stay_on_this_machine(middleware: str, environment: MutableMapping[str, str] = os.environ) -> str:
    """Set the environment for `rclpy.init` that is to follow; returns in words what holds.

    What the user has set stays: a discovery range (or the older ROS_LOCALHOST_ONLY), static peers, a Fast DDS profile.
    `middleware` is what `rclpy.get_rmw_implementation_identifier()` gives.
    """
    for name in (RANGE, OLD_RANGE):
        if environment.get(name):
            return f"{name}={environment[name]}, as set"
    if environment.get(PEERS):
        environment[RANGE] = "LOCALHOST"
        return f"this machine and {PEERS}={environment[PEERS]}; {RANGE} widens it"
    if middleware.startswith("rmw_fastrtps") and not any(environment.get(name) for name in PROFILES):
        environment.update(dict.fromkeys(PROFILES, str(LOOPBACK)))
        environment[RANGE] = "SYSTEM_DEFAULT"  # LOCALHOST would add sockets on every interface to the profile's
        return f"loopback only; {RANGE}=SUBNET opens it"
    environment[RANGE] = "LOCALHOST"
    return f"nodes of this machine; {RANGE}=SUBNET opens it"
