"""/diagnostics: what a node says of the state of what it watches, where diagnostic_msgs is installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from rclpy.node import Node

OK, WARN, ERROR = b"\x00", b"\x01", b"\x02"
#: Wall seconds between reports.
REPORT = 1.0


@dataclass(frozen=True)
class State:
    """Of one part of a node: its level, a line, and values that are shown as text. `name` is also the hardware's."""

    name: str
    level: bytes
    text: str
    values: Mapping[str, object]


class Diagnostics:
    """A publisher of states, every `REPORT` seconds."""

    available = find_spec("diagnostic_msgs") is not None

    def __init__(self, node: Node) -> None:
        """Raises ImportError where it is not `available`."""
        from diagnostic_msgs.msg import (  # type: ignore[import-untyped, import-not-found, unused-ignore]
            DiagnosticArray,
            DiagnosticStatus,
            KeyValue,
        )

        self._array, self._status, self._value = DiagnosticArray, DiagnosticStatus, KeyValue
        self._node, self._publisher = node, node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._due = 0.0

    def due(self, now: float) -> bool:
        """Whether it is time for a report; then the next is due `REPORT` later. now: monotonic seconds."""
        if now < self._due:
            return False
        self._due = now + REPORT
        return True

    def publish(self, states: Sequence[State]) -> None:
        """Send them, whether they have changed or not."""
        message: Any = self._array(status=[self._of(state) for state in states])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def _of(self, state: State) -> Any:
        return self._status(
            level=state.level,
            name=f"{self._node.get_name()}: {state.name}",
            message=state.text,
            hardware_id=state.name,
            values=[self._value(key=key, value=str(value)) for key, value in state.values.items()],
        )
