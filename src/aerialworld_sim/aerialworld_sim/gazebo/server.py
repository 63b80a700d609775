"""A Gazebo of our own: `gz sim` as a child process, paused, spoken to through its Python bindings.

The only module that needs Gazebo. Loopback and a partition of its own: nobody else's Gazebo is heard or disturbed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from aerialworld_core.errors import AerialWorldError
from aerialworld_core.frames import Pose
from aerialworld_sim.gazebo.asking import Asker
from aerialworld_sim.gazebo.bridge import control_service
from aerialworld_sim.gazebo.decode import stamp_ns

#: Bindings of gz-transport and gz-msgs that belong together: Harmonic, Ionic, Jetty and newer.
PAIRS = (("gz.transport13", "gz.msgs10"), ("gz.transport14", "gz.msgs11"), ("gz.transport", "gz.msgs"))
#: Wall seconds that Gazebo has to come up, to answer, and to end.
START, ANSWER, END = 120.0, 30.0, 15.0
#: Lines of Gazebo's log that an error shows.
_TAIL = 12
#: Module of each message in gz.msgs.
_MODULES = {
    "Boolean": "boolean_pb2",
    "Image": "image_pb2",
    "PointCloudPacked": "pointcloud_packed_pb2",
    "Pose_V": "pose_v_pb2",
    "WorldControl": "world_control_pb2",
}


class GazeboError(AerialWorldError):
    """Gazebo or its Python bindings are not there, or do not do what they should."""


class Bindings:
    """The installed pair of gz.transport and gz.msgs. Raises GazeboError, with the way out, where there is none."""

    def __init__(self) -> None:
        tried = []
        for transport, messages in PAIRS:
            try:
                self.transport = import_module(transport)
                self._messages = {name: getattr(import_module(f"{messages}.{m}"), name) for name, m in _MODULES.items()}
                return
            except ImportError as error:
                tried.append(f"{transport}: {error}")
        raise GazeboError(
            "Gazebo's Python bindings are not found by this Python: source the env.sh of "
            "scripts/install_ardupilot_gazebo_stack.sh, or apt install python3-gz-transport13 python3-gz-msgs10, in an "
            f"environment with --system-site-packages (docs/gazebo.md). {'; '.join(tried)}"
        )

    def message(self, name: str) -> Any:
        """The class of a message, e.g. Image."""
        return self._messages[name]


class GazeboServer:
    """Runs `world_sdf`, whose world is called `world_name`, and steps it by `steps` at a time (of `step_size` seconds).

    folder  of this run alone; it goes when Gazebo ends
    resources  folders of models; seed  of Gazebo's noise; gz  the program. Raises GazeboError when it does not come up.
    """

    def __init__(
        self,
        world_sdf: str,
        world_name: str,
        folder: tempfile.TemporaryDirectory[str],
        *,
        steps: int,
        step_size: float,
        resources: Collection[Path] = (),
        seed: int = 0,
        gz: str = "gz",
        version: str = "unknown",
    ) -> None:
        program = shutil.which(gz)
        if program is None:
            raise GazeboError(
                f"the program {gz} is not found; scripts/install_ardupilot_gazebo_stack.sh installs Gazebo"
            )
        self.bindings, self.version, self._name, self._steps = Bindings(), version, world_name, steps
        self._period_ns, self._time_ns = round(steps * step_size * 1e9), 0
        self._newest: dict[str, Any] = {}
        self._arrived = threading.Condition()
        self._folder = folder
        self._log = Path(self._folder.name) / "gazebo.log"
        file = Path(self._folder.name) / "world.sdf"
        file.write_text(world_sdf, encoding="utf-8")
        os.environ.setdefault("GZ_IP", "127.0.0.1")  # read by gz-transport in this process and in the child
        partition = f"aerialworld_{uuid.uuid4().hex[:12]}"
        paths = [*map(str, resources), *filter(None, [os.environ.get("GZ_SIM_RESOURCE_PATH")])]
        environment = {**os.environ, "GZ_PARTITION": partition, "GZ_SIM_RESOURCE_PATH": os.pathsep.join(paths)}
        command = [program, "sim", "-s", "--headless-rendering", "--seed", str(seed + 1), str(file)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._asker = Asker(self.bindings.transport.__name__, partition)
        try:
            options = self.bindings.transport.NodeOptions()
            options.partition = partition
            self._node = self.bindings.transport.Node(options)
            self._await_control()
        except BaseException:
            self.close()
            raise

    def listen(self, topic: str, kind: str) -> None:
        if topic in self._newest:
            return
        self._newest[topic] = None
        if not self._node.subscribe(self.bindings.message(kind), topic, self._keep(topic)):
            raise GazeboError(f"{topic}: Gazebo's transport does not subscribe to it")

    def _keep(self, topic: str) -> Callable[[Any], None]:
        def keep(message: Any) -> None:
            with self._arrived:
                self._newest[topic] = message
                self._arrived.notify_all()

        return keep

    def place(self, poses: Mapping[str, Pose]) -> None:
        request = self.bindings.message("Pose_V")()
        for name, pose in poses.items():
            one = request.pose.add(name=name)
            one.position.x, one.position.y, one.position.z = (float(v) for v in pose.position)
            one.orientation.x, one.orientation.y, one.orientation.z, one.orientation.w = (
                float(v) for v in pose.orientation
            )
        self._request(f"/world/{self._name}/set_pose_vector", request)

    def advance(self) -> int:
        self._control(multi_step=self._steps)
        before, self._time_ns = self._time_ns, self._time_ns + self._period_ns
        return before

    def wait(self, topics: Collection[str], after_ns: int, seconds: float) -> dict[str, Any]:
        def found() -> dict[str, Any]:
            there = {t: m for t in topics if (m := self._newest.get(t)) is not None}
            return {t: m for t, m in there.items() if stamp_ns(m) > after_ns}

        until = time.monotonic() + seconds
        with self._arrived:
            while len(found()) < len(topics) and (left := until - time.monotonic()) > 0:
                self._arrived.wait(min(left, 0.5))
                self._require_alive()
            return found()

    def close(self) -> None:
        """End Gazebo; what it wrote goes."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(END)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        self._asker.close()
        self._folder.cleanup()

    def _await_control(self) -> None:
        """Gazebo answers when its world is loaded; it stays paused."""
        until = time.monotonic() + START
        while time.monotonic() < until:
            self._require_alive()
            if control_service(self._name) in self._node.service_list():
                self._control(multi_step=0)
                return
            time.sleep(0.1)
        raise GazeboError(f"Gazebo offers no {control_service(self._name)} after {START:g} s:\n{self._tail()}")

    def _control(self, multi_step: int) -> None:
        request = self.bindings.message("WorldControl")(pause=True, multi_step=multi_step)
        self._request(control_service(self._name), request)

    def _request(self, service: str, request: Any) -> None:
        answer = self.bindings.message("Boolean")()
        answered = self._asker.ask(service, request, answer, ANSWER)
        if not (answered and answer.data):
            self._require_alive()
            raise GazeboError(
                f"{service}: {'refused' if answered else f'no answer within {ANSWER:g} s'}\n{self._tail()}"
            )

    def _require_alive(self) -> None:
        if (code := self._process.poll()) is not None:
            raise GazeboError(f"Gazebo ended with exit code {code}:\n{self._tail()}")

    def _tail(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-_TAIL:]) or "(it said nothing)"
