"""ROS 2 node `engine`: the embedded engine behind the topics that Gazebo's bridge would publish.

Publishes /clock (100 Hz of simulated time) and the topics of `aerialworld_core.topics.vehicle_topics`; services ~/pause
(std_srvs/SetBool), ~/step (std_srvs/Trigger: while paused, on to the next sensor frame) and ~/reset (std_srvs/Trigger:
back to time 0). Sensors that nobody subscribes to are not rendered.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from std_srvs.srv import SetBool, Trigger

from aerialworld_core.errors import AerialWorldError
from aerialworld_core.plan import Plan
from aerialworld_core.topics import CLOCK
from aerialworld_core.world import load_rig, load_world
from aerialworld_sim.engine import DEPTH, IMAGES, IMU, LIDAR, Engine
from aerialworld_sim.motion import Motion, Static, Vehicle
from aerialworld_sim.nodes.messages import time_message
from aerialworld_sim.nodes.parameters import Parameters, read_parameters
from aerialworld_sim.nodes.publishers import VehiclePublishers

#: Simulated nanoseconds between /clock messages, odometry and navsat fixes.
TICK_NS, ODOMETRY_NS, NAVSAT_NS = 10_000_000, 20_000_000, 100_000_000
#: How far simulation may lag behind the wall before it gives up catching up (seconds).
MAX_LAG = 0.5


class EngineNode(Node):
    """Parameters in, messages out; what is simulated is the Engine's business."""

    def __init__(self) -> None:
        super().__init__("engine")
        self.parameters: Parameters = read_parameters(self)
        p = self.parameters
        world = load_world(p.world)
        motion: Motion = Plan.read(p.plan).trajectory() if p.plan else Static(p.pose)
        vehicle = Vehicle(load_rig(p.rig), motion)
        self.engine = Engine(world, {p.vehicle: vehicle}, seed=p.seed)
        self.paused = False
        # Sensor frames fall on ticks; a rate that does not divide 100 Hz is refused rather than rounded in silence.
        self._frame_ns = round(1e9 / p.sensor_rate / TICK_NS) * TICK_NS
        if abs(self._frame_ns * p.sensor_rate - 1e9) > 1e-6 * 1e9:
            raise AerialWorldError(f"parameter sensor_rate: {p.sensor_rate} Hz does not divide 100 Hz")
        self._clock_publisher = self.create_publisher(Clock, CLOCK, QoSProfile(depth=100))
        self._topics = VehiclePublishers(self, p.vehicle, vehicle, p.modalities, world.georeference)
        self.create_service(SetBool, "~/pause", self._pause)
        self.create_service(Trigger, "~/step", self._step)
        self.create_service(Trigger, "~/reset", self._reset)
        for note in world.notes:
            self.get_logger().info(note)
        if world.georeference is None:
            self.get_logger().warning(f"{p.world}: no spherical_coordinates, so no NavSatFix is published")
        self._anchor()
        self.get_logger().info(f"{world.name}: {len(world.scene.faces)} triangles, {p.vehicle} with {vehicle.rig.name}")

    def _anchor(self) -> None:
        """Tie simulated to wall time from here on."""
        self._wall_start, self._sim_start = time.monotonic(), self.engine.stamp_ns

    def wait(self) -> float:
        """Wall seconds until the next tick is due; 0 when it is."""
        if self.parameters.rate == 0:
            return 0.0
        due = self._wall_start + (self.engine.stamp_ns + TICK_NS - self._sim_start) * 1e-9 / self.parameters.rate
        lag = time.monotonic() - due
        if lag > MAX_LAG:
            self._anchor()
        return max(0.0, -lag)

    def advance(self) -> None:
        """One tick of simulated time and everything that falls due on it."""
        self.engine.step(TICK_NS)
        self._publish()

    def _publish(self) -> None:
        stamp, name = self.engine.stamp_ns, self.parameters.vehicle
        self._clock_publisher.publish(Clock(clock=time_message(stamp)))
        state = self.engine.state(name)
        if IMU in self.parameters.modalities and self._topics.rig.imu:
            self._topics.publish_imu(self.engine.imu_samples(name))
        if stamp % ODOMETRY_NS == 0:
            self._topics.publish_odometry(state)
        if stamp % NAVSAT_NS == 0:
            self._topics.publish_navsat(state)
        if stamp % self._frame_ns == 0 and self.parameters.modalities & {IMAGES, DEPTH, LIDAR}:
            frame = self.engine.render(name, modalities=self._topics.wanted_modalities())
            self._topics.publish_frame(frame, stamp)

    def _pause(self, request: Any, response: Any) -> Any:
        self.paused = request.data
        self._anchor()
        response.success, response.message = True, f"{'paused' if self.paused else 'running'} at {self._time()}"
        return response

    def _step(self, request: Any, response: Any) -> Any:
        if not self.paused:
            response.success, response.message = False, "the engine runs; pause it before stepping"
            return response
        self.advance()
        while self.engine.stamp_ns % self._frame_ns:
            self.advance()
        response.success, response.message = True, f"at {self._time()}"
        return response

    def _reset(self, request: Any, response: Any) -> Any:
        self.engine.reset()
        self._anchor()
        self._publish()
        response.success, response.message = True, f"at {self._time()}"
        return response

    def _time(self) -> str:
        return f"{self.engine.stamp_ns * 1e-9:.3f} s"


def main(args: list[str] | None = None) -> int:
    """Run until interrupted. Expected errors are one line on stderr and a non-zero exit code."""
    rclpy.init(args=args)
    node: EngineNode | None = None
    try:
        node = EngineNode()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while rclpy.ok():
            wait = 0.1 if node.paused else node.wait()
            executor.spin_once(timeout_sec=wait)
            if not node.paused and node.wait() == 0.0:
                node.advance()
        return 0
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    except AerialWorldError as error:
        print(f"engine: {error}", file=sys.stderr)
        return error.exit_code
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
