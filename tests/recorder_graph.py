"""The recorder's node in a process of its own, beside an engine's or a publisher's, over Fast DDS."""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_FILE = Path(__file__).resolve().parents[1] / "src/aerialworld_sim/test/engine_node_network.py"
_SPEC = importlib.util.spec_from_file_location("engine_node_network", _FILE)
network = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(network)

MS = 1_000_000


@contextlib.contextmanager
def recorder(folder: Path, domain: int, *parameters: str, prefix: list[str] | None = None) -> Iterator:
    """The node, recording into folder/data; killed at the end of the block, if it still runs then. `prefix` is a
    command that starts it."""
    flags = [word for p in (f"data_root:={folder / 'data'}", *parameters) for word in ("-p", p)]
    command = [*(prefix or []), sys.executable, "-m", "aerialworld_recorder.nodes.recorder", "--ros-args", *flags]
    log = folder / "recorder.log"
    with log.open("w") as out:
        process = subprocess.Popen(command, env=network.environment(domain), stdout=out, stderr=out, text=True)
    running = network.Running(process, log)
    try:
        yield running
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@contextlib.contextmanager
def engine(folder: Path, domain: int, *parameters: str) -> Iterator:
    with network.running_node(folder, domain, *parameters) as running:
        yield running


def finish(node) -> str:
    """SIGINT; the log of a node that ended well."""
    assert node.end(signal.SIGINT) == 0, node.log
    return node.log


class Player:
    """Publishes what a vehicle with the small rig sees over a plot, as an engine does, but at any stamps and not always
    all of it."""

    def __init__(self, client, folder: Path, vehicle: str = "drone_1") -> None:
        from nav_msgs.msg import Odometry
        from rclpy.qos import QoSProfile
        from sensor_msgs.msg import CameraInfo, CompressedImage, Image, Imu, PointCloud2
        from visualization_msgs.msg import MarkerArray

        from aerialworld_core import topics
        from aerialworld_core.frames import Pose
        from aerialworld_core.topics import vehicle_topics
        from aerialworld_core.world import load_rig, load_world
        from aerialworld_sim import Engine, Static, Vehicle
        from aerialworld_sim.nodes import messages

        self._make, self.rig, self.vehicle = messages, load_rig("rig_small"), vehicle
        motion = Static(Pose.from_rpy(3.0, 4.0, 20.0, 0.0, 0.0, 0.5))
        engine = Engine(load_world(folder / "world.sdf"), {vehicle: Vehicle(self.rig, motion)})
        self._motion, self._frame = motion, engine.render(vehicle)
        types = {t.__name__: t for t in (Odometry, CameraInfo, CompressedImage, Image, Imu, PointCloud2)}
        self._publishers = {
            (t.kind, t.sensor): client.node.create_publisher(
                types[t.type.rsplit("/", 1)[1]], t.name, QoSProfile(depth=200)
            )
            for t in vehicle_topics(vehicle, self.rig)
            if t.kind not in ("navsat", "image")
        }
        actors = client.node.create_publisher(MarkerArray, topics.actors(vehicle), QoSProfile(depth=200))
        self._publishers["actors", None] = actors
        self.client = client
        self._jpegs = {name: messages.jpeg(image) for name, image in self._frame.images.items()}

    def connect(self, node) -> None:
        """Wait until the recorder listens to everything."""
        everyone = self._publishers.values()
        self.client.until(lambda: all(p.get_subscription_count() for p in everyone), "subscriptions", node)

    def message(self, kind: str, sensor: str | None, stamp_ns: int):
        make, frame, v = self._make, self._frame, self.vehicle
        link = f"{v}/{sensor}"
        state = self._motion.state(stamp_ns)
        if kind == "odom":
            return make.odometry(state, v)
        if kind == "imu":
            return make.imu(stamp_ns, link, [0, 0, 0, 0, 0, 0, 9.8], state, self.rig.imu)
        if kind == "compressed":
            return make.compressed_image(stamp_ns, link, self._jpegs[sensor])
        if kind == "lidar":
            return make.point_cloud(stamp_ns, link, frame.lidar, frame.lidar_ring)
        if kind in ("depth", "semantic"):
            return make.image(stamp_ns, link, getattr(frame, kind)[sensor])
        if kind == "actors":
            return make.actors(stamp_ns, frame.actors)
        specs = {c.name: c for c in (*self.rig.cameras, *self.rig.depth)}
        return make.camera_info(stamp_ns, link, specs[sensor])

    def due(self, stamp_ns: int) -> list[tuple[str, str | None, int]]:
        """What an engine sends in the 100 ms up to a stamp, sensors last."""
        span = range(stamp_ns - 90 * MS if stamp_ns else 0, stamp_ns + 1, 10 * MS)
        imu = [("imu", self.rig.imu.name, s) for s in span]
        odometry = [("odom", None, s) for s in span if s % (20 * MS) == 0]
        return [*imu, *odometry, *[(k, n, stamp_ns) for k, n in self._publishers if k not in ("imu", "odom")]]

    def send(self, kind: str, sensor: str | None, stamp_ns: int, message=None) -> None:
        self._publishers[kind, sensor].publish(message or self.message(kind, sensor, stamp_ns))

    def fly(self, stamps, without=lambda kind, sensor, stamp: False, settle: bool = True) -> None:
        """Everything of these sensor frames, at a pace that any recorder follows; then wait until all has arrived."""
        for stamp in stamps:
            for item in self.due(stamp):
                if not without(*item):
                    self.send(*item)
            deadline = time.monotonic() + 0.05
            while time.monotonic() < deadline:
                self.client._executor.spin_once(timeout_sec=0.01)
        if settle:
            self.settle()

    def settle(self) -> None:
        """Wait until the recorder has what was sent."""
        from rclpy.duration import Duration

        for publisher in self._publishers.values():
            assert publisher.wait_for_all_acked(Duration(seconds=network.PATIENCE))
        time.sleep(0.2)
