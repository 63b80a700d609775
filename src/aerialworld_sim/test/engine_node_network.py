"""A real node in a process of its own, and a real client of it in this one, on a ROS domain of their own."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

#: Seconds that anything may take on a loaded machine before a test fails.
PATIENCE = 240.0

WORLD = """<?xml version="1.0"?>
<sdf version="1.10"><world name="plot">
  <spherical_coordinates><surface_model>EARTH_WGS84</surface_model><latitude_deg>35.66</latitude_deg>
    <longitude_deg>139.74</longitude_deg><elevation>10</elevation><heading_deg>0</heading_deg></spherical_coordinates>
  <scene><ambient>0.4 0.4 0.4 1</ambient><background>0.6 0.7 0.9 1</background><shadows>false</shadows></scene>
  <light type="directional" name="sun"><cast_shadows>false</cast_shadows><diffuse>0.8 0.8 0.8 1</diffuse>
    <direction>-0.5 0.2 -0.9</direction></light>
  <model name="ground"><plugin filename="gz-sim-label-system" name="gz::sim::systems::Label"><label>14</label></plugin>
    <static>true</static><link name="link"><visual name="v"><geometry><box><size>200 200 1</size></box></geometry>
    <material><diffuse>0.5 0.5 0.5 1</diffuse></material></visual></link><pose>0 0 -0.5 0 0 0</pose></model>
</world></sdf>
"""


def random_domain() -> int:
    """ROS domains up to 101 keep clear of ephemeral ports."""
    return random.randint(1, 101)  # noqa: S311


def write_world(folder: Path) -> Path:
    """A plot of grey ground, 200 m square, its top at z = 0."""
    (folder / "world.sdf").write_text(WORLD)
    return folder


def command(*parameters: str) -> list[str]:
    flags = [word for p in parameters for word in ("-p", p)]
    return [sys.executable, "-m", "aerialworld_sim.nodes.engine", "--ros-args", *flags]


def environment(domain: int, **more: str) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("ROS_", "FASTRTPS_", "FASTDDS_"))}
    return {**clean, "ROS_DOMAIN_ID": str(domain), **more}


class Running:
    """The node's process."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process, self._log = process, log

    @property
    def log(self) -> str:
        return self._log.read_text()

    def end(self, number: signal.Signals | None = None) -> int:
        """Send a signal, if any, and wait for the end; the exit code."""
        if number is not None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@contextlib.contextmanager
def running_node(folder: Path, domain: int, *parameters: str) -> Iterator[Running]:
    """A node that is killed at the end of the block, if it still runs then."""
    log = folder / "engine.log"
    with log.open("w") as out:
        process = subprocess.Popen(command(*parameters), env=environment(domain), stdout=out, stderr=out, text=True)
    try:
        yield Running(process, log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


class Client:
    """A ROS 2 node in this process: what it hears by topic, in order."""

    def __init__(self, domain: int) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node("listener", context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self.heard: dict[str, list] = {}

    def listen(self, kind: type, topic: str, then: Callable[[object], None] | None = None) -> list:
        """Subscribe, reliably and deep; `then` is called with each message."""
        from rclpy.qos import QoSProfile, ReliabilityPolicy

        messages = self.heard.setdefault(topic, [])

        def take(message: object) -> None:
            messages.append(message)
            if then:
                then(message)

        reliable = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
        self.node.create_subscription(kind, topic, take, reliable)
        return messages

    def until(self, condition: Callable[[], bool], what: str, node: Running | None = None) -> None:
        """Spin until the condition holds; fails with `what` and the node's log when it never does."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            self._executor.spin_once(timeout_sec=0.05)
            assert time.monotonic() < deadline, f"never: {what}\n{node.log if node else ''}"

    def spin(self, seconds: float) -> None:
        """Listen for so long, or until something has come."""
        self._executor.spin_once(timeout_sec=seconds)

    def ask(self, kind: type, name: str, **request: object):
        """Send a request to a service; a future of the response."""
        client = self.node.create_client(kind, name)
        self.until(client.service_is_ready, f"service {name}")
        return client.call_async(kind.Request(**request))

    def call(self, kind: type, name: str, **request: object):
        future = self.ask(kind, name, **request)
        self.until(future.done, f"an answer of {name}")
        return future.result()

    def close(self) -> None:
        import rclpy

        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


def nanoseconds(stamp) -> int:
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def foreign_sockets(pid: int) -> list[str]:
    """Internet sockets of a process that are bound to anything but the loopback interface (Linux)."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            inodes.add(os.readlink(link).removeprefix("socket:[").removesuffix("]"))
    found = []
    for protocol in ("tcp", "udp"):
        for line in Path(f"/proc/{pid}/net/{protocol}").read_text().splitlines()[1:]:
            fields = line.split()
            octets = bytes.fromhex(fields[1].split(":")[0])[::-1]
            if fields[9] in inodes and octets[0] != 127:
                found.append(f"{protocol} {'.'.join(map(str, octets))}:{int(fields[1].split(':')[1], 16)}")
        for line in Path(f"/proc/{pid}/net/{protocol}6").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[9] in inodes and fields[1].split(":")[0] != "00000000000000000000000001000000":
                found.append(f"{protocol}6 {fields[1]}")
    return found
