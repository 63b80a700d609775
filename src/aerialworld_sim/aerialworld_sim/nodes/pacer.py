"""ROS 2 node `pacer`: holds Gazebo paused and steps it one sensor period at a time, each when the last has been taken.

Asks ros_gz_bridge's service for the world's control (ros_gz_interfaces/srv/ControlWorld), and hears listeners on
`aerialworld_core.topics.LOCKSTEP` (std_msgs/Header), as the engine does. Gazebo must have been started paused and with
real_time_factor 0. Ends with 0 on SIGINT or SIGTERM, and after `duration`.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import Header

from aerialworld_core.errors import InputError
from aerialworld_core.nodes.declaring import declare, names, refuse_unknown
from aerialworld_core.nodes.process import Stop, run_node
from aerialworld_core.topics import LOCKSTEP
from aerialworld_sim.gazebo.pacing import Due, Pacer, steps_of
from aerialworld_sim.nodes.lockstep import CONTINUE, STOP, WAIT, Lockstep

#: Wall seconds between two looks at an open network, and between two words about what is still awaited.
LOOK, TELL = 0.2, 10.0
#: Wall seconds without an answer that are worth a word.
ANSWER = 60.0

DECLARED: dict[str, tuple[Any, str]] = {
    "service": ("", "Gazebo's control of the world, as bridged: /world/NAME/control. Required."),
    "period": (0.1, "Simulated seconds of one step: the sensors' period."),
    "step_size": (0.001, "Seconds of one physics step of the world (max_step_size)."),
    "listeners": (["recorder"], "Who must acknowledge every sensor frame on /lockstep before time goes on."),
    "topics": ([""], "Topics that must have a publisher and a subscriber before time begins."),
    "lockstep_timeout": (30.0, "Wall seconds after which a listener counts as silent."),
    "lockstep_lost": (WAIT, "What to do about a silent listener: wait, continue (without it) or stop."),
    "duration": (0.0, "Simulated seconds after which the run ends; 0.0: never."),
}
_BOUNDS = {
    "period": (0.001, 10.0),
    "step_size": (0.00001, 0.1),
    "lockstep_timeout": (0.1, 86400.0),
    "duration": (0.0, 1e9),
}


class PacerNode(Node):
    """Parameters in, acknowledgements in, wishes out; when a period is due is the Pacer's business."""

    def __init__(self, **options: Any) -> None:
        """Raises InputError for unusable parameters, and where ros_gz_interfaces is not installed."""
        super().__init__("pacer", **options)
        v = {
            name: declare(
                self, name, default, text, _BOUNDS.get(name),
                (WAIT, CONTINUE, STOP) if name == "lockstep_lost" else (),
            )
            for name, (default, text) in DECLARED.items()
        }  # fmt: skip
        refuse_unknown(self, list(DECLARED), ())
        if not v["service"]:
            raise InputError("parameter service: give the world's control, e.g. -p service:=/world/tokyo/control")
        self._steps = steps_of(v["period"], v["step_size"])
        listeners = names("listeners", v["listeners"])
        self.pacer = Pacer(round(v["period"] * 1e9), Lockstep(listeners), v["lockstep_timeout"], v["lockstep_lost"])
        self._end_ns = round(v["duration"] * 1e9)
        self._awaited = {topic for topic in v["topics"] or () if topic}
        self._control = _control_type()
        self._client = self.create_client(self._control, v["service"])
        self.create_subscription(Header, LOCKSTEP, self._hear, QoSProfile(depth=100))
        self._asked_at, self._told_at = 0.0, time.monotonic()
        self.say(f"{v['service']}: {self._steps} steps at a time, for {', '.join(listeners) or 'nobody'}")

    def say(self, text: str) -> None:
        self.get_logger().info(text)

    def run(self, stop: Stop) -> None:
        """Pace until `stop` is asked for or the duration is over. Raises LockstepError when a listener ends it."""
        executor = SingleThreadedExecutor(context=self.context)
        executor.add_node(self)
        try:
            while not stop.asked and not self._over():
                self._turn(time.monotonic())
                executor.spin_once(timeout_sec=LOOK)
            self.say(f"ended at {self.pacer.time_ns * 1e-9:.3f} s after {self.pacer.periods} periods")
        finally:
            executor.shutdown(timeout_sec=0.0)

    def _turn(self, now: float) -> None:
        """Do what is due: find everybody, ask for a period, or warn of who is silent."""
        if not self.pacer.periods and (lacking := self._lacking()):
            if now - self._told_at >= TELL:
                self._told_at = now
                self.get_logger().warning(f"time has not begun: {lacking}")
            return
        due = self.pacer.due(now)
        if due is Due.STEP:
            self._ask(now)
        elif due is Due.ANSWER and now - self._asked_at > ANSWER:
            self._asked_at = now
            self.get_logger().warning(f"Gazebo has not answered for {ANSWER:g} s; waiting on")
        elif (warning := self.pacer.silence(now)) is not None:
            self.get_logger().warning(warning)

    def _lacking(self) -> str:
        """What is not there yet, in words; nothing when time can begin."""
        if not self._client.service_is_ready():
            return f"no service {self._client.srv_name} (is Gazebo up, and its bridge?)"
        lacking = [
            topic
            for topic in sorted(self._awaited)
            if not (self.count_publishers(topic) and self.count_subscribers(topic))
        ]
        return f"{len(lacking)} topics lack a publisher or a subscriber, {lacking[0]} first" if lacking else ""

    def _ask(self, now: float) -> None:
        request = self._control.Request()
        request.world_control.pause = True  # again, after the steps
        request.world_control.multi_step = self._steps
        self.pacer.asked(now)
        self._asked_at = now
        self._client.call_async(request).add_done_callback(self._answered)

    def _answered(self, future: Any) -> None:
        granted = bool(future.result().success)
        if not granted:
            self.get_logger().warning(f"Gazebo refused to step at {self.pacer.time_ns * 1e-9:.3f} s; asking again")
        self.pacer.answered(granted)

    def _hear(self, message: Header) -> None:
        self.pacer.acknowledge(message.frame_id, message.stamp.sec * 10**9 + message.stamp.nanosec)

    def _over(self) -> bool:
        return 0 < self._end_ns <= self.pacer.time_ns and self.pacer.due(time.monotonic()) is Due.STEP


def _control_type() -> Any:
    try:
        from ros_gz_interfaces.srv import ControlWorld  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise InputError("ros_gz_interfaces is not installed; it comes with ros_gz (docs/gazebo.md)") from error
    return ControlWorld


def main(args: list[str] | None = None) -> int:
    """Run until SIGINT, SIGTERM or the duration's end: 0. Expected errors: a line on stderr and their exit code."""
    return run_node("pacer", PacerNode, DECLARED, args)


if __name__ == "__main__":
    sys.exit(main())
