"""The recorder's services ~/start and ~/stop, for a mission that is recorded from its first waypoint to its last."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from std_srvs.srv import Trigger

from aerialworld_core import network
from aerialworld_missions.flying.outcomes import MissionEnded, Outcome

#: Wall seconds that the services may take to be found and to answer: a session's start and end write files.
PATIENCE = 30.0


class RecorderClient:
    """One recorder for one flight or several: it starts with the first of them and stops with the last.

    Implements `flying.mission.Recording`. It has a ROS context of its own, and may be called from any thread.
    """

    def __init__(self, node: str) -> None:
        network.stay_on_this_machine(rclpy.get_rmw_implementation_identifier())
        self._context = rclpy.Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node("mission_recording", context=self._context, use_global_arguments=False)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._name = "/" + node.strip("/")
        self._clients = {w: self._node.create_client(Trigger, f"{self._name}/{w}") for w in ("start", "stop")}
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
            self._flights += 1

    def stop(self) -> None:
        with self._lock:
            self._flights -= 1
            if not self._flights:
                self._call("stop")

    def close(self) -> None:
        self._executor.shutdown(timeout_sec=0.0)
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)

    def _find(self, client: Any) -> None:
        if not client.wait_for_service(PATIENCE):
            raise MissionEnded(Outcome.NOT_RECORDED, f"no recorder {self._name} within {PATIENCE:.0f} s: does it run?")

    def _call(self, what: str) -> None:
        client = self._clients[what]
        self._find(client)
        future, until = client.call_async(Trigger.Request()), time.monotonic() + PATIENCE
        while not future.done() and time.monotonic() < until:
            self._executor.spin_once(timeout_sec=0.1)
        if not future.done():
            raise MissionEnded(Outcome.NOT_RECORDED, f"{self._name}/{what}: no answer within {PATIENCE:.0f} s")
        answer = future.result()
        if not answer.success:
            raise MissionEnded(Outcome.NOT_RECORDED, f"{self._name}/{what}: {answer.message}")
