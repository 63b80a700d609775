"""A node that lives on what it hears: raw topics in, one thread that spins, a look around now and then."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, cast

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from aerialworld_core.nodes.process import Stop

#: Wall seconds between looks where nothing is heard.
LOOK = 0.2


class ListeningNode(Node):
    """What `nodes.process.run_node` runs. Of a node's own are `look`, `finish` and `close`."""

    def __init__(self, name: str, **options: Any) -> None:
        """`options` are those of `rclpy.node.Node`."""
        super().__init__(name, **options)
        self._told: dict[str, int] = {}

    def say(self, text: str) -> None:
        """A line for the log."""
        self.get_logger().info(text)

    def warn(self, text: str) -> None:
        """A warning for the log. Of lines that differ in numbers alone the first is told, and then every power of
        two."""
        kind = "".join(c for c in text if not c.isdigit())
        count = self._told[kind] = self._told.get(kind, 0) + 1
        if count & (count - 1) == 0:
            self.get_logger().warning(text if count < 4 else f"{text} ({count} such so far)")

    def listen(
        self, kind: Any, topic: str, rate: float, take: Callable[[bytes], None], *, reliable: bool = True
    ) -> Any:
        """A subscription to messages of a type, one second deep at `rate` Hz. They come as bytes: most are looked at
        only to find that they are not needed."""
        policy = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        return self.create_subscription(
            kind,
            topic,
            take,
            QoSProfile(depth=max(1, math.ceil(rate)), reliability=policy),
            # rclpy's default events put two more things to wait for per topic into every spin.
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
            raw=True,
        )

    def look(self, now: float) -> None:
        """What is to be done after every spin; now: monotonic seconds. What it raises ends the node."""

    def finish(self, executor: Executor) -> None:
        """What is still to be done when the node was asked to stop."""

    def close(self) -> None:
        """What is done at the end, whatever ended it."""

    def run(self, stop: Stop) -> None:
        """Spin until `stop` is asked for. Raises what `look` raises."""
        executor = fastest_executor(self.context)
        executor.add_node(self)
        try:
            while not stop.asked:
                executor.spin_once(timeout_sec=LOOK)
                self.look(time.monotonic())
            self.finish(executor)
        finally:
            self.close()
            executor.shutdown(timeout_sec=0.0)


def fastest_executor(context: Any) -> Executor:
    """What calls the node back, on the thread that spins: rclpy's EventsExecutor (7.1.4 and later) is told of messages
    where the others ask every topic each time, which costs as much again as all else that is done while listening."""
    try:
        from rclpy.experimental import EventsExecutor  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return SingleThreadedExecutor(context=context)
    return cast(Executor, EventsExecutor(context=context))
