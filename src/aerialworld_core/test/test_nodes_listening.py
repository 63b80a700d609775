"""What nodes share: they hear, look, finish and close in this order, whatever ends them; clouds and states as sent."""

from __future__ import annotations

import importlib.util
import random
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="rclpy is not installed")


@pytest.fixture(scope="module")
def context():
    import rclpy

    context = rclpy.Context()
    rclpy.init(context=context, domain_id=random.randint(1, 101))  # noqa: S311
    yield context
    rclpy.shutdown(context=context)


@pytest.fixture
def node(context):
    """A node that keeps what happens to it, and is asked to stop at its third look."""
    from std_msgs.msg import String

    from aerialworld_core.nodes.listening import ListeningNode
    from aerialworld_core.nodes.process import Stop

    class Listener(ListeningNode):
        def __init__(self) -> None:
            super().__init__("listener", context=context)
            self.stop, self.events, self.fails = Stop(), [], False
            self.lines: list[str] = []
            self.listen(String, "~/words", 10.0, self.take)
            self.words = self.create_publisher(String, "~/words", 10)

        def take(self, data: bytes) -> None:
            self.events.append(bytes(data)[-6:])

        def get_logger(self) -> Any:
            return type("Log", (), {"info": self.lines.append, "warning": self.lines.append})

        def look(self, now: float) -> None:
            self.events.append("look")
            self.words.publish(String(data="hello"))
            if self.fails:
                raise ValueError("as asked")
            self.stop.asked = len([e for e in self.events if isinstance(e, bytes)]) > 2

        def finish(self, executor: Any) -> None:
            self.events.append("finish")

        def close(self) -> None:
            self.events.append("close")

    made = Listener()
    yield made
    made.destroy_node()


def test_a_node_hears_finishes_and_closes(node: Any) -> None:
    node.run(node.stop)
    assert node.events[-2:] == ["finish", "close"] and node.events[0] == "look"
    assert node.events.count("finish") == node.events.count("close") == 1
    assert [e for e in node.events if isinstance(e, bytes)][:3] == [b"hello\0"] * 3  # serialised, as it came


def test_what_ends_a_node_closes_it_without_finishing(node: Any) -> None:
    node.fails = True
    with pytest.raises(ValueError, match="as asked"):
        node.run(node.stop)
    assert node.events == ["look", "close"]


def test_equal_warnings_are_told_at_powers_of_two(node: Any) -> None:
    for n in range(9):
        node.warn(f"frame {n} is late")
    node.warn("another")
    assert node.lines == [
        "frame 0 is late", "frame 1 is late", "frame 3 is late (4 such so far)", "frame 7 is late (8 such so far)",
        "another",
    ]  # fmt: skip


def test_a_cloud_holds_the_points_bytes() -> None:
    from sensor_msgs.msg import PointField

    from aerialworld_core.nodes.clouds import cloud

    kind = np.dtype({"names": ["x", "class"], "formats": ["<f4", "u1"], "offsets": [0, 8], "itemsize": 12})
    points = np.zeros(2, kind)
    points["x"], points["class"] = [1.5, -2.0], [4, 15]
    message = cloud(points, 3_000_000_007)
    assert (message.header.stamp.sec, message.header.stamp.nanosec, message.header.frame_id) == (3, 7, "map")
    assert [(f.name, f.offset, f.datatype, f.count) for f in message.fields] == [
        ("x", 0, PointField.FLOAT32, 1), ("class", 8, PointField.UINT8, 1)
    ]  # fmt: skip
    assert (message.width, message.height, message.point_step, message.row_step) == (2, 1, 12, 24)
    np.testing.assert_array_equal(np.frombuffer(message.data.tobytes(), kind), points)
    with pytest.raises(KeyError):
        cloud(np.zeros(1, [("x", "<f8")]), 0)


def test_states_are_sent_with_their_levels(node: Any, context: Any) -> None:
    pytest.importorskip("diagnostic_msgs")
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

    from aerialworld_core.nodes.diagnostics import ERROR, OK, WARN, Diagnostics, State
    from aerialworld_core.nodes.listening import fastest_executor

    assert (OK, WARN, ERROR) == (DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR)
    heard: list[Any] = []
    node.create_subscription(DiagnosticArray, "/diagnostics", heard.append, 10)
    told = Diagnostics(node)
    assert told.due(100.0) and not told.due(100.9) and told.due(101.0)
    executor = fastest_executor(context)
    executor.add_node(node)
    for _ in range(100):
        told.publish([State("drone_1", WARN, "waits", {"frames": 3})])
        executor.spin_once(timeout_sec=0.05)
        if heard:
            break
    executor.shutdown(timeout_sec=0.0)
    (status,) = heard[0].status
    assert (status.level, status.name, status.hardware_id) == (WARN, "listener: drone_1", "drone_1")
    assert status.message == "waits" and [(v.key, v.value) for v in status.values] == [("frames", "3")]
