"""What the recorder's node costs: CPU seconds per second, of the full drone rig at 10 Hz.

    python benchmarks/recorder.py [--world DIR] [--seconds 10] [--json FILE]

A process of its own renders one frame and publishes it ten times a second as an engine would, with 50 Hz odometry and a
100 Hz IMU, in lockstep with the recorder: where the machine is too slow, it slows down and nothing is lost. Counted is
the recorder's process alone, after its first frames; 1.0 is a core, wholly used, at the pace of the wall clock.
`frame_rate_2` records two frames a second, the default: six 1600×900 JPEGs, six depth and class faces with occupancy
and carving, LiDAR, IMU, all files written and flushed. `frame_rate_10` records all ten. `listening` records none.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _figures import add_json_option, tell

from aerialworld_core.provenance import machine, versions

#: Wall seconds that a run may take; simulated seconds before counting begins.
PATIENCE, WARM_UP = 600.0, 2
TENTH, CENTISECOND = 100_000_000, 10_000_000


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def require_recorder(pid: int, deadline: float) -> None:
    """Ends this process when the recorder has ended, or has not come so far in time."""
    state = Path(f"/proc/{pid}/stat")
    if not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] == "Z":
        raise SystemExit("the recorder has ended")
    if time.monotonic() > deadline:
        raise SystemExit("the recorder takes no frame")


def play(world: Path, seconds: int, pid: int) -> None:
    """Publish in lockstep with the recorder; print its CPU seconds and the wall's, of the seconds after the first."""
    import rclpy
    from nav_msgs.msg import Odometry
    from rclpy.qos import QoSProfile
    from sensor_msgs.msg import CameraInfo, CompressedImage, Image, Imu, PointCloud2
    from std_msgs.msg import Header
    from visualization_msgs.msg import MarkerArray

    from aerialworld_core import network, topics
    from aerialworld_core.frames import Pose
    from aerialworld_core.world import load_rig, load_world
    from aerialworld_sim import Engine, Static, Vehicle
    from aerialworld_sim.nodes import messages as make

    network.stay_on_this_machine(rclpy.get_rmw_implementation_identifier())
    rclpy.init()
    node = rclpy.create_node("engine")
    rig, scene, motion = load_rig("rig_drone"), load_world(world), Static(Pose.from_rpy(0.0, 0.0, 40.0))
    frame = Engine(scene, {"drone_1": Vehicle(rig, motion)}).render("drone_1")
    jpegs = {name: make.jpeg(image) for name, image in frame.images.items()}
    specs = {c.name: c for c in (*rig.cameras, *rig.depth)}
    types = {t.__name__: t for t in (Odometry, CameraInfo, CompressedImage, Image, Imu, PointCloud2)}
    publishers = {
        (t.kind, t.sensor): node.create_publisher(types[t.type.rsplit("/", 1)[1]], t.name, QoSProfile(depth=100))
        for t in topics.vehicle_topics("drone_1", rig)
        if t.kind not in ("image", "navsat")
    }
    publishers["actors", None] = node.create_publisher(MarkerArray, topics.actors("drone_1"), QoSProfile(depth=100))
    kept: dict[Any, Any] = {}

    def message(kind: str, sensor: str | None, stamp: int) -> Any:
        link, state = f"drone_1/{sensor}", motion.state(stamp)
        if kind == "odom":
            return make.odometry(state, "drone_1")
        if kind == "imu":
            return make.imu(stamp, link, [0.0, 0, 0, 0, 0, 0, 9.8], state, rig.imu)
        if kind == "compressed":
            return make.compressed_image(stamp, link, jpegs[sensor])
        if kind == "lidar":
            return make.point_cloud(stamp, link, frame.lidar, frame.lidar_ring, kept.get((kind, sensor)))
        if kind in ("depth", "semantic"):
            return make.image(stamp, link, getattr(frame, kind)[sensor], kept.get((kind, sensor)))
        if kind == "actors":
            return make.actors(stamp, frame.actors)
        return make.camera_info(stamp, link, specs[sensor])

    def send(kind: str, sensor: str | None, stamp: int) -> None:
        kept[kind, sensor] = message(kind, sensor, stamp)
        publishers[kind, sensor].publish(kept[kind, sensor])

    taken = [-1]
    node.create_subscription(Header, topics.LOCKSTEP, lambda m: taken.append(m.stamp.sec * 10**9 + m.stamp.nanosec), 10)
    deadline = time.monotonic() + PATIENCE
    while not all(p.get_subscription_count() for p in publishers.values()):
        rclpy.spin_once(node, timeout_sec=0.1)
        require_recorder(pid, deadline)
    marks = []
    due = time.monotonic()
    for tenth in range(10 * (WARM_UP + seconds) + 1):
        if tenth in (10 * WARM_UP, 10 * (WARM_UP + seconds)):
            marks.append((cpu_seconds(pid), time.monotonic()))
        for stamp in range((tenth - 1) * TENTH + CENTISECOND, tenth * TENTH + 1, CENTISECOND):
            if stamp >= 0:
                send("imu", rig.imu.name, stamp)
                if stamp % (2 * CENTISECOND) == 0:
                    send("odom", None, stamp)
        for kind, sensor in publishers:
            if kind not in ("imu", "odom") and (tenth == 0 or not kind.endswith("_info")):
                send(kind, sensor, tenth * TENTH)
        due = max(due + 0.1, time.monotonic())
        while taken[-1] < tenth * TENTH or time.monotonic() < due:
            rclpy.spin_once(node, timeout_sec=max(0.0, min(0.1, due - time.monotonic())) or 0.01)
            require_recorder(pid, deadline)
    (before, begun), (after, ended) = marks
    print(json.dumps({"cpu_s": after - before, "wall_s": ended - begun}))
    rclpy.shutdown()


def measure(world: Path, seconds: int, frame_rate: float, record: bool = True) -> dict[str, Any]:
    """One run of a drone that hovers in `world`."""
    environment = {**os.environ, "ROS_DOMAIN_ID": str(random.randint(1, 101))}  # noqa: S311
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "recorder.log"
        options = [f"world:={world}", "lockstep:=true", f"frame_rate:={frame_rate}", f"data_root:={folder}/data"]
        options += [f"autostart:={str(record).lower()}", "lockstep_patience:=600.0"]
        node = [sys.executable, "-m", "aerialworld_recorder.nodes.recorder", "--ros-args"]
        with log.open("w") as out:
            words = [word for option in options for word in ("-p", option)]
            recorder = subprocess.Popen([*node, *words], env=environment, stdout=out, stderr=out)
            try:
                player = [sys.executable, __file__, "--world", str(world), "--seconds", str(seconds)]
                played = subprocess.run(
                    [*player, "--play", str(recorder.pid)],
                    env=environment, stdout=subprocess.PIPE, check=True, timeout=PATIENCE,
                )  # fmt: skip
                recorder.send_signal(signal.SIGINT)
                recorder.wait(PATIENCE)
            except subprocess.CalledProcessError as error:
                raise SystemExit(f"nothing was measured:\n{log.read_text()}") from error
            finally:
                recorder.kill()
        text = log.read_text()
    expected = round((WARM_UP + seconds) * frame_rate) + 1
    if record and f"{expected} frames in 1 sessions; dropped 0, too slow for 0, 0 messages not used" not in text:
        raise SystemExit(f"not every frame was recorded:\n{text}")
    figures = json.loads(played.stdout)
    return {
        "cores": round(figures["cpu_s"] / seconds, 3),
        "cpu_s": round(figures["cpu_s"], 2),
        "slowed_down": round(figures["wall_s"] / seconds, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).resolve().parents[1] / "worlds/small_city"
    parser.add_argument("--world", type=Path, default=default, help="a world folder (default: worlds/small_city)")
    parser.add_argument("--seconds", type=int, default=10, help="simulated seconds that are counted in each run")
    add_json_option(parser)
    parser.add_argument("--play", type=int, metavar="PID", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.play:
        play(options.world, options.seconds, options.play)
        return
    result: dict[str, Any] = {"machine": machine(), "versions": versions(), "world": options.world.name}
    result["simulated_s"] = options.seconds
    for name, rate, record in (("listening", 2.0, False), ("frame_rate_2", 2.0, True), ("frame_rate_10", 10.0, True)):
        result[name] = measure(options.world, options.seconds, rate, record)
        print(f"{name}: {result[name]['cores']} cores (time ran {result[name]['slowed_down']} times slower)")
    tell(result, options.json)


if __name__ == "__main__":
    main()
