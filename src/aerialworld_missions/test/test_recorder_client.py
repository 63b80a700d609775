"""The client of a recorder against a node that answers as a recorder does, in this process over Fast DDS."""

from __future__ import annotations

import importlib.util
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="rclpy is not installed"),
    pytest.mark.timeout(60),
]


class Peer:
    """A node `recorder` that keeps the rules of docs/recorder_node.md; `calls` is what was asked of it."""

    def __init__(self) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.qos import DurabilityPolicy, QoSProfile
        from std_msgs.msg import String
        from std_srvs.srv import Trigger

        self.calls: list[str] = []
        self.refuses = ""
        self.state: dict[str, Any] = {"session": None, "queued": 0, "failure": None}
        self._recording = False
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node("recorder", context=self._context, use_global_arguments=False)
        self._string = String
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._publisher = self._node.create_publisher(String, "~/status", latched)
        for what in ("start", "stop"):
            self._node.create_service(Trigger, f"~/{what}", lambda q, a, what=what: self._answer(what, a))
        self.tell()
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin)
        self._open = True
        self._thread.start()

    def _spin(self) -> None:
        while self._open:
            self._executor.spin_once(timeout_sec=0.05)

    def _answer(self, what: str, answer: Any) -> Any:
        self.calls.append(what)
        answer.success, answer.message = not self.refuses, self.refuses
        if not self.refuses:
            self._recording = what == "start"
            self.state["session"] = "data/drone"  # until the test says that it is written
            self.tell()
        return answer

    def tell(self) -> None:
        status = {"recording": self._recording, "vehicles": {"drone_1": self.state}}
        self._publisher.publish(self._string(data=json.dumps(status)))

    def end(self) -> None:
        import rclpy

        if self._open:
            self._open = False
            self._thread.join()
            self._executor.shutdown()
            self._node.destroy_node()
            rclpy.shutdown(context=self._context)


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Peer]:
    import random

    monkeypatch.setenv("ROS_DOMAIN_ID", str(random.randint(1, 101)))  # noqa: S311
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    peer = Peer()
    yield peer
    peer.end()


def client(patience: float = 20.0) -> Any:
    from aerialworld_missions.nodes.recording import RecorderClient

    return RecorderClient("recorder", patience)


def test_it_starts_with_the_first_flight_and_is_done_when_all_is_written(peer: Peer) -> None:
    recording = client()
    recording.require()
    assert peer.calls == []
    recording.start()
    recording.start()
    recording.stop()
    recording.finish()  # another one flies on: nothing to wait for
    assert peer.calls == ["start"]
    recording.stop()
    assert peer.calls == ["start", "stop"]

    def written() -> None:
        time.sleep(0.5)
        peer.state["session"] = None
        peer.tell()

    begin = time.monotonic()
    threading.Thread(target=written).start()
    recording.finish()
    assert 0.4 < time.monotonic() - begin < 10.0
    recording.close()


def test_what_goes_wrong_is_told(peer: Peer) -> None:
    from aerialworld_missions.flying.outcomes import MissionEnded, Outcome

    def fails(call: Any, words: str) -> None:
        with pytest.raises(MissionEnded, match=words) as ended:
            call()
        assert ended.value.outcome is Outcome.NOT_RECORDED and ended.value.exit_code == 23

    recording = client()
    peer.refuses = "the disk is full"
    fails(recording.start, "/recorder/start: the disk is full")
    peer.refuses = ""
    recording.start()
    recording.stop()
    peer.state["failure"] = "no space left"
    peer.tell()
    fails(recording.finish, "/recorder: drone_1: no space left")
    peer.state["failure"] = None
    recording.start()
    recording.stop()
    peer.end()
    fails(recording.finish, "has ended, and not all is written")
    recording.close()
    nobody = client(1.0)
    begin = time.monotonic()
    fails(nobody.require, "no recorder /recorder within 1 s: does it run")
    assert time.monotonic() - begin < 5.0
    nobody.close()
