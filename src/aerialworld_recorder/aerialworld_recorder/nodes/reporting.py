"""What the node says of itself: ~/status (JSON, latched) and /diagnostics (where diagnostic_msgs is installed)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String

from aerialworld_core.nodes.diagnostics import ERROR, OK, WARN, Diagnostics, State
from aerialworld_recorder.stream.pipeline import Pipeline


def vehicle_status(pipeline: Pipeline) -> dict[str, Any]:
    """One vehicle's state, as in ~/status."""
    t = pipeline.tally
    return {
        "session": str(pipeline.session) if pipeline.session else None,
        "last_session": str(pipeline.last_session) if pipeline.last_session else None,
        "sessions": t.sessions,
        "recorded": t.recorded,
        "dropped": t.dropped,
        "overrun": t.overrun,
        "bad_messages": t.bad_messages,
        "queued": pipeline.queued,
        "full": pipeline.full,
        "failure": str(pipeline.failure) if pipeline.failure else None,
    }


class StatusPublisher:
    """~/status: a std_msgs/String with JSON, sent when something has changed; who comes later gets the last one."""

    def __init__(self, node: Node) -> None:
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._publisher = node.create_publisher(String, "~/status", latched)
        self._last = ""

    def publish(self, recording: bool, pipelines: Mapping[str, Pipeline]) -> None:
        """Send the state, if it is another than the last."""
        vehicles = {name: vehicle_status(p) for name, p in pipelines.items()}
        text = json.dumps({"recording": recording, "vehicles": vehicles})
        if text != self._last:
            self._last = text
            self._publisher.publish(String(data=text))


class VehicleDiagnostics(Diagnostics):
    """A state for each vehicle, with counts of each of its topics."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self._before: dict[str, int] = {}

    def report(self, recording: bool, pipelines: Mapping[str, Pipeline]) -> None:
        """Send the state of every vehicle."""
        self.publish([self._state(name, pipeline, recording) for name, pipeline in pipelines.items()])

    def _state(self, name: str, pipeline: Pipeline, recording: bool) -> State:
        values = {k: v for k, v in vehicle_status(pipeline).items() if v is not None}
        values["skew_ms"] = round(pipeline.tally.skew_ns * 1e-6, 3)
        for topic, counts in pipeline.synchroniser.counts.items():
            values |= {f"{topic} {what}": count for what, count in vars(counts).items() if count}
        return State(name, *self._judge(name, pipeline, recording), values)

    def _judge(self, name: str, pipeline: Pipeline, recording: bool) -> tuple[bytes, str]:
        """Level and a line: what is wrong now, or that nothing is."""
        lost = pipeline.tally.dropped + pipeline.tally.overrun + pipeline.tally.bad_messages
        lately, self._before[name] = lost - self._before.get(name, 0), lost
        if pipeline.failure:
            return ERROR, str(pipeline.failure)
        if not recording:
            return OK, "not recording"
        if pipeline.session is None and not pipeline.full and (unheard := pipeline.synchroniser.unheard):
            return WARN, f"waits for {', '.join(unheard)}"
        if lately:
            return WARN, f"{lately} frames or messages lost since the last report"
        return OK, "max_frames are recorded" if pipeline.full else "recording"
