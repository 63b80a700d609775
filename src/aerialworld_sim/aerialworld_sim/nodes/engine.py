"""ROS 2 node `engine`: the embedded engine behind the topics that Gazebo's bridge would publish.

Publishes /clock (100 Hz of simulated time) and the topics of `aerialworld_core.topics.vehicle_topics` for each vehicle;
services ~/pause (std_srvs/SetBool), ~/step (std_srvs/Trigger: while paused, on to the next sensor frame) and ~/reset
(std_srvs/Trigger: back to time 0). Sensors that nobody subscribes to are not rendered. With parameter `lockstep`, time
waits for its listeners (docs/engine_node.md). Ends with 0 after a finished run, SIGINT or SIGTERM.
"""

from __future__ import annotations

import math
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.task import Future
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger

from aerialworld_core.errors import InputError
from aerialworld_core.nodes.process import Stop, run_node
from aerialworld_core.processors import processors
from aerialworld_core.topics import CLOCK, LOCKSTEP
from aerialworld_core.world import load_world
from aerialworld_sim.engine import Engine
from aerialworld_sim.nodes.fleet import Fleet
from aerialworld_sim.nodes.lockstep import Lockstep
from aerialworld_sim.nodes.messages import time_message
from aerialworld_sim.nodes.parameters import DECLARED, RELIABLE, Parameters, read_parameters
from aerialworld_sim.nodes.publishers import Outlet, TransformPublishers, VehiclePublishers, flush
from aerialworld_sim.nodes.runner import TICK_NS, Course, Runner
from aerialworld_sim.traffic import Traffic

#: Simulated nanoseconds between odometry messages.
ODOMETRY_NS = 20_000_000
#: Wall seconds for which ticks may follow each other without a look at services and topics; a look costs 0.2 ms.
HEED = 0.005
#: Wall seconds between two looks while a step waits: rclpy's executor does not sleep while it has a coroutine at hand.
NAP = 0.002
#: Looks at the end of a run, for answers that are still to be sent.
LAST_LOOKS = 5
#: Wall seconds that subscribers have for the last messages of a finished run.
FLUSH = 10.0


class EngineNode(Node):
    """Parameters in, messages out; what is simulated is the Engine's business, when is the Runner's."""

    def __init__(self, **options: Any) -> None:
        """`options` are those of `rclpy.node.Node`. Raises AerialWorldError for unusable parameters and files."""
        super().__init__("engine", **options)
        self.parameters = p = read_parameters(self)
        world = load_world(p.world)
        self.fleet = fleet = Fleet(p.vehicles, world, seed=p.seed, speedup=p.rate or 1.0)
        course = _course(p, fleet)
        traffic = Traffic(world, p.traffic, fleet.guests) if p.traffic is not None else None
        if traffic is not None:
            fleet.meet(traffic)
        light = p.conditions.light(world.light, world.georeference)
        self.engine = Engine(
            world,
            fleet.vehicles,
            seed=p.seed,
            threads=p.threads,
            light=light,
            actors=traffic.actors if traffic else (),
            **p.engine,
        )
        self._encoders = ThreadPoolExecutor(min(6, processors()), thread_name_prefix="jpeg")
        self._time = Outlet(self, Clock, CLOCK, QoSProfile(depth=100))
        reliability = ReliabilityPolicy.RELIABLE if p.qos == RELIABLE else ReliabilityPolicy.BEST_EFFORT
        self._vehicles = {
            name: VehiclePublishers(
                self,
                name,
                vehicle,
                modalities=p.modalities,
                sensor_rate=p.sensor_rate,
                reliability=reliability,
                georeference=world.georeference,
                seed=p.seed,
                encoders=self._encoders,
            )
            for name, vehicle in fleet.vehicles.items()
        }
        self._transforms = TransformPublishers(self, fleet.vehicles) if TransformPublishers.available else None
        self._look_at = 0.0
        self.runner = Runner(self.engine, self, course, Lockstep(p.lockstep), paused=p.start_paused)
        self._serve()
        self._report(world, fleet)
        self.runner.start(time.monotonic())

    def _serve(self) -> None:
        self.create_service(SetBool, "~/pause", self._pause)
        # A group of its own: a step that waits for a listener must not keep its acknowledgement from being heard.
        self.create_service(Trigger, "~/step", self._step, callback_group=ReentrantCallbackGroup())
        self.create_service(Trigger, "~/reset", self._reset)
        if self.parameters.lockstep:
            self.create_subscription(Header, LOCKSTEP, self._hear, QoSProfile(depth=100))

    def _report(self, world: Any, fleet: Fleet) -> None:
        """What runs, and what the world or the installation does not give."""
        for note in (*world.notes, *fleet.notes):
            self.say(note)
        if world.georeference is None:
            self.warn(f"{world.path}: no spherical_coordinates, so no NavSatFix is published")
        if self._transforms is None:
            self.say("tf2_msgs is not installed, so /tf and /tf_static are not published")
        rigs = ", ".join(f"{name} with {v.rig.name}" for name, v in fleet.vehicles.items())
        self.say(f"{world.name}: {len(world.scene.faces)} triangles; {rigs}")
        if self.parameters.lockstep:
            self.say(f"lockstep with {', '.join(self.parameters.lockstep)} on {LOCKSTEP}")

    def publish(self, stamp_ns: int) -> None:
        """Everything that falls due at this stamp, to whoever listens."""
        if self._time.wanted():
            self._time.send(Clock(clock=time_message(stamp_ns)))
        self._send(stamp_ns, newcomers=False)

    def repeat(self, stamp_ns: int) -> None:
        """The same again, on topics that have gained a subscriber since."""
        if self._time.wanted(newcomers=True):
            self._time.send(Clock(clock=time_message(stamp_ns)))
        self._send(stamp_ns, newcomers=True)

    def _send(self, stamp_ns: int, newcomers: bool) -> None:
        for name, vehicle in self._vehicles.items():
            state = self.engine.state(name)
            vehicle.publish_imu(stamp_ns - TICK_NS, stamp_ns, newcomers)
            if _due(stamp_ns, ODOMETRY_NS):
                vehicle.publish_odometry(state, newcomers)
            if vehicle.navsat_ns and _due(stamp_ns, vehicle.navsat_ns):
                vehicle.publish_navsat(state, newcomers)
            if _due(stamp_ns, self.runner.course.frame_ns) and (wanted := vehicle.wanted(newcomers)):
                modalities, sensors = vehicle.to_render(wanted)
                frame = self.engine.render(name, modalities=modalities, sensors=sensors)
                vehicle.publish_frame(frame, stamp_ns, wanted)
        if self._transforms and _due(stamp_ns, ODOMETRY_NS):
            self._transforms.publish({name: self.engine.state(name) for name in self._vehicles}, newcomers)

    def say(self, text: str) -> None:
        self.get_logger().info(text)

    def warn(self, text: str) -> None:
        self.get_logger().warning(text)

    def _hear(self, message: Header) -> None:
        """A listener in lockstep has taken everything up to a stamp."""
        stamp_ns = message.stamp.sec * 1_000_000_000 + message.stamp.nanosec
        if message.frame_id not in self.parameters.lockstep:
            self.get_logger().warning(
                f"{LOCKSTEP}: {message.frame_id!r} is not waited for; parameter lockstep names "
                f"{', '.join(self.parameters.lockstep)}",
                once=True,
            )
        self.runner.acknowledge(message.frame_id, stamp_ns)

    def _pause(self, request: Any, response: Any) -> Any:
        response.success, response.message = True, self.runner.pause(request.data, time.monotonic())
        return response

    async def _step(self, request: Any, response: Any) -> Any:
        """Answers when the step is done; the executor goes on meanwhile."""
        done = Future(executor=self.executor)
        self.runner.step(lambda success, text: done.set_result((success, text)), time.monotonic())
        response.success, response.message = await done
        return response

    def _reset(self, request: Any, response: Any) -> Any:
        response.success, response.message = True, self.runner.reset(time.monotonic())
        return response

    def _look_around(self, now: float) -> None:
        """Once a second: warn, once, of another clock on this domain; two of them would tear every listener apart."""
        if now < self._look_at:
            return
        self._look_at = now + 1.0
        if self.count_publishers(CLOCK) > 1:
            self._look_at = math.inf
            domain = self.context.get_domain_id()
            self.warn(f"another node publishes {CLOCK} on ROS domain {domain}; give each engine its own ROS_DOMAIN_ID")

    def run(self, stop: Stop) -> None:
        """Run until the course ends or `stop` is asked for. Raises LockstepError when a silent listener ends it."""
        executor = SingleThreadedExecutor(context=self.context)
        executor.add_node(self)
        try:
            heard = 0.0
            while not self.runner.finished and not stop.asked:
                wait = self.runner.poll(time.monotonic())
                if wait > 0.0:
                    self.fleet.listen()
                if wait > 0.0 or time.monotonic() - heard > HEED:
                    executor.spin_once(timeout_sec=wait)
                    heard = time.monotonic()
                    self._look_around(heard)
                    if wait > 0.0 and self.runner.stepping:
                        time.sleep(NAP)
            for _ in range(LAST_LOOKS):
                executor.spin_once(timeout_sec=0.0)
            if self.runner.finished:
                publishers = [self._time.publisher, *(p for v in self._vehicles.values() for p in v.publishers())]
                if not flush(publishers, FLUSH):
                    self.warn(f"a subscriber has not taken the last messages within {FLUSH:g} s")
            self.say(
                f"{'finished' if self.runner.finished else 'stopped'} at {self.runner.time()}: {self.runner.tally}"
            )
        finally:
            executor.shutdown(timeout_sec=0.0)

    def destroy_node(self) -> None:
        self._encoders.shutdown(wait=True)
        self.fleet.close()
        super().destroy_node()


def _due(stamp_ns: int, period_ns: int) -> bool:
    """Whether a multiple of the period falls into the tick that ends at this stamp."""
    return stamp_ns // period_ns != (stamp_ns - TICK_NS) // period_ns


def _course(p: Parameters, fleet: Fleet) -> Course:
    """How time is to run. Sensor frames fall on ticks: another rate is refused rather than rounded in silence."""
    frame_ns = round(1e9 / p.sensor_rate / TICK_NS) * TICK_NS
    if abs(frame_ns * p.sensor_rate - 1e9) > 1e-6 * 1e9:
        raise InputError(f"parameter sensor_rate: {p.sensor_rate} Hz does not divide 100 Hz")
    return Course(
        rate=p.rate,
        frame_ns=frame_ns,
        end_ns=fleet.end_ns(p.duration, p.stop_at_end),
        timeout=p.lockstep_timeout,
        when_lost=p.lockstep_lost,
    )


def main(args: list[str] | None = None) -> int:
    """Run until the course ends, SIGINT or SIGTERM: 0. Expected errors are one line on stderr and their exit code."""
    return run_node("engine", EngineNode, DECLARED, args)


if __name__ == "__main__":
    sys.exit(main())
