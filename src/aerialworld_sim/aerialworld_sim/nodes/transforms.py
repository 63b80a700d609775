"""ROS 2 node `transforms`: /tf and /tf_static of vehicles whose odometry others publish, Gazebo's or a real one's.

A vehicle's base_link in map is as its odometry says; where its sensors sit, as its rig says. Nothing of AerialWorld
needs them; rviz2 and Foxglove do. Needs tf2_msgs.
"""

from __future__ import annotations

import sys
from typing import Any

from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

from aerialworld_core import topics
from aerialworld_core.errors import InputError
from aerialworld_core.nodes.declaring import declare, names, refuse_unknown
from aerialworld_core.nodes.process import Stop, run_node
from aerialworld_core.plan import agent_type
from aerialworld_core.world import load_rig
from aerialworld_sim.nodes.messages import rig_transforms

#: Wall seconds between two looks at whether the node is to stop.
LOOK = 0.2
DECLARED: dict[str, tuple[Any, str]] = {
    "vehicles": (["drone_1"], "Vehicles: the first parts of their topics. Each has NAME.rig."),
    "rig": ("", "Sensor rig: a shipped model's name or an SDF file; without: rig_rover for rovers, else rig_drone."),
}


def moved(odometry: Odometry) -> TransformStamped:
    """The transform that an odometry says: its child frame in its frame, at its stamp."""
    message = TransformStamped(header=odometry.header, child_frame_id=odometry.child_frame_id)
    pose = odometry.pose.pose
    message.transform.translation.x = pose.position.x
    message.transform.translation.y = pose.position.y
    message.transform.translation.z = pose.position.z
    message.transform.rotation = pose.orientation
    return message


class TransformsNode(Node):
    """Odometry in, transforms out."""

    def __init__(self, **options: Any) -> None:
        """Raises AerialWorldError for unusable parameters and rigs, and where tf2_msgs is not installed."""
        super().__init__("transforms", **options)
        try:
            from tf2_msgs.msg import TFMessage  # type: ignore[import-not-found, unused-ignore]
        except ImportError as error:
            raise InputError("tf2_msgs is not installed: there is no message for transforms") from error
        values = {name: declare(self, name, default, text) for name, (default, text) in DECLARED.items()}
        vehicles = names("vehicles", values["vehicles"])
        if not vehicles:
            raise InputError("parameter vehicles: it is empty; name at least one, e.g. drone_1")
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._moving = self.create_publisher(TFMessage, "/tf", QoSProfile(depth=100))
        self._fixed = self.create_publisher(TFMessage, "/tf_static", latched)
        fixed = []
        for name in vehicles:
            rig = declare(self, f"{name}.rig", values["rig"], f"As `rig`, of {name}.")
            fixed += rig_transforms(name, load_rig(rig or f"rig_{agent_type(name)}"))
            self.create_subscription(
                Odometry, topics.odometry(name),
                lambda m: self._moving.publish(TFMessage(transforms=[moved(m)])), QoSProfile(depth=50),
            )  # fmt: skip
        refuse_unknown(self, list(DECLARED), ("rig",))
        self._fixed.publish(TFMessage(transforms=fixed))
        self.say(f"{len(fixed)} fixed frames of {', '.join(vehicles)}")

    def say(self, text: str) -> None:
        self.get_logger().info(text)

    def run(self, stop: Stop) -> None:
        executor = SingleThreadedExecutor(context=self.context)
        executor.add_node(self)
        try:
            while not stop.asked:
                executor.spin_once(timeout_sec=LOOK)
        finally:
            executor.shutdown(timeout_sec=0.0)


def main(args: list[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM: 0. Expected errors are one line on stderr and their exit code."""
    return run_node("transforms", TransformsNode, DECLARED, args)


if __name__ == "__main__":
    sys.exit(main())
