"""The recorder's services ~/start and ~/stop, for a mission that is recorded from its first waypoint to its last, and
its ~/status, which says when all of it is on the disk."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import String
from std_srvs.srv import Trigger

from aerialworld_core import network
from aerialworld_missions.flying.outcomes import MissionEnded, Outcome

#: Wall seconds that the services may take to be found and to answer, and that writing may take without progress.
PATIENCE = 30.0
#: Wall seconds between looks, and after which a status that nobody publishes is that of a recorder that has ended.
LOOK, GONE = 0.1, 1.0


class RecorderClient:
    """One recorder for one flight or several: it starts with the first of them and stops with the last.

    Implements `flying.options.Recording`. It has a ROS context of its own, and may be called from any thread.
    """

    def __init__(self, node: str, patience: float = PATIENCE) -> None:
        self._patience = patience
        network.stay_on_this_machine(rclpy.get_rmw_implementation_identifier())
        self._context = rclpy.Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node("mission_recording", context=self._context, use_global_arguments=False)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._name = "/" + node.strip("/")
        self._clients = {w: self._node.create_client(Trigger, f"{self._name}/{w}") for w in ("start", "stop")}
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._node.create_subscription(String, f"{self._name}/status", self._hear, latched)
        self._status: dict[str, Any] = {}
        self._heard_at = 0.0
        self._lock = threading.Lock()
        self._flights = 0

    @classmethod
    @contextmanager
    def of(cls, node: str) -> Iterator[RecorderClient]:
        """The client of a recorder's node, closed at the end."""
        client = cls(node)
        try:
            yield client
        finally:
            client.close()

    def require(self) -> None:
        """Raise MissionEnded where there is no such recorder: before anything arms."""
        with self._lock:
            self._find(self._clients["start"])

    def start(self) -> None:
        with self._lock:
            if not self._flights:
                self._call("start")
                try:
                    self._until(lambda: self._status.get("recording") is True, "it has not begun")
                except MissionEnded:
                    with suppress(MissionEnded):
                        self._call("stop")
                    raise
            self._flights += 1

    def stop(self) -> None:
        with self._lock:
            self._flights -= 1
            if not self._flights:
                self._call("stop")

    def finish(self) -> None:
        """Until all is on the disk, after the last flight's `stop`. Raises MissionEnded when it is not."""
        with self._lock:
            if self._flights:
                return
            self._until(self._written, "nothing was written")

    def _hear(self, status: String) -> None:
        self._status, self._heard_at = json.loads(status.data), time.monotonic()

    def _until(self, condition: Callable[[], bool], otherwise: str) -> None:
        """Until the status says so. Raises MissionEnded for a recorder that has failed, ended, or makes no progress."""
        self._heard_at = time.monotonic()
        while not condition():
            self._executor.spin_once(timeout_sec=LOOK)
            for vehicle, state in self._status.get("vehicles", {}).items():
                if state["failure"]:
                    raise MissionEnded(Outcome.NOT_RECORDED, f"{self._name}: {vehicle}: {state['failure']}")
            unheard = time.monotonic() - self._heard_at
            if unheard > GONE and not self._node.count_publishers(f"{self._name}/status"):
                raise MissionEnded(Outcome.NOT_RECORDED, f"{self._name} has ended, and not all is written: see its log")
            if unheard > self._patience:
                raise MissionEnded(Outcome.NOT_RECORDED, f"{self._name}: {otherwise} for {self._patience:.0f} s")

    def _written(self) -> bool:
        """Whether nothing is recorded or written any more, as far as is known."""
        vehicles = self._status.get("vehicles", {}).values()
        return self._status.get("recording") is False and not any(v["session"] or v["queued"] for v in vehicles)

    def close(self) -> None:
        self._executor.shutdown(timeout_sec=0.0)
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)

    def _find(self, client: Any) -> None:
        if not client.wait_for_service(self._patience):
            raise MissionEnded(
                Outcome.NOT_RECORDED, f"no recorder {self._name} within {self._patience:.0f} s: does it run?"
            )

    def _call(self, what: str) -> None:
        client = self._clients[what]
        self._find(client)
        future, until = client.call_async(Trigger.Request()), time.monotonic() + self._patience
        while not future.done() and time.monotonic() < until:
            self._executor.spin_once(timeout_sec=LOOK)
        if not future.done():
            raise MissionEnded(Outcome.NOT_RECORDED, f"{self._name}/{what}: no answer within {self._patience:.0f} s")
        answer = future.result()
        if not answer.success:
            raise MissionEnded(Outcome.NOT_RECORDED, f"{self._name}/{what}: {answer.message}")
