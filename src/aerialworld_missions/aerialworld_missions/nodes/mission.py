"""ROS 2 nodes `survey`, `orbit`, `corridor`, `random`, `waypoints`, `patrol`: one mission of one vehicle over MAVLink.

Parameters in; ~/status (std_msgs/String, JSON, latched) out: vehicle, pattern, phase, share, text, outcome, modes (at
the end: those that it was in, and since when, seconds of its own time), stamp (ns of the node's clock, simulation time
with use_sim_time). With `record` the recorder's services start and stop it. Ends with 0 when the whole plan was flown,
else with the outcome's exit code (docs/missions_flying.md). SIGINT and SIGTERM land a drone and stop a rover; a second
one does not watch that.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String

from aerialworld_core.nodes.process import Stop, run_node
from aerialworld_core.plan import Plan
from aerialworld_core.world import load_world
from aerialworld_missions.asked import plan_of, plan_of_file
from aerialworld_missions.flying.fleet import Sortie, fly_all
from aerialworld_missions.flying.options import FlightOptions, Flown, Progress
from aerialworld_missions.flying.outcomes import MissionEnded, Outcome
from aerialworld_missions.flying.surroundings import ground_at, open_ground, transit_height
from aerialworld_missions.nodes.parameters import Parameters, declared, read_parameters
from aerialworld_missions.nodes.recording import RecorderClient

#: Wall seconds between looks; that simulation time stands before it counts as paused; for the last status to go out.
LOOK, PAUSED, LAST = 0.1, 0.5, 0.3


class MissionNode(Node):
    """Plans when it is made, so that what cannot be flown is refused at once; flies when it runs."""

    def __init__(self, pattern: str, **options: Any) -> None:
        """Raises AerialWorldError for parameters and files that cannot be used, and for what cannot be flown."""
        super().__init__(pattern, **options)
        self.parameters: Parameters = read_parameters(self, pattern)
        p = self.parameters
        self._world = load_world(p.world) if p.world else None
        for note in self._world.notes if self._world else ():
            self.say(note)
        if p.plan:
            self.plan = Plan.read(p.plan)
        elif p.file:
            given = {k: v for k, v in p.asked.items() if k in self._parameter_overrides or k == "vehicle"}
            self.plan, notes = plan_of_file(self._world or open_ground(), p.file, given)
            for note in notes:
                self.say(note)
        else:
            self.plan = plan_of(self._world or open_ground(), pattern, p.asked)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._status = self.create_publisher(String, "~/status", latched)
        self._progress: queue.SimpleQueue[Progress] = queue.SimpleQueue()
        self._stops = 0
        self._time_ns, self._time_at = -1, time.monotonic()
        self._phase = ""

    def say(self, text: str) -> None:
        self.get_logger().info(text)

    def run(self, stop: Stop) -> None:
        """Fly. Raises MissionEnded for any outcome but a complete mission, and what is wrong before one flies."""
        p, plan = self.parameters, self.plan
        where = p.world or "open ground: nothing is known of what stands there"
        self.say(f"{plan.name}: {plan.duration:.0f} s, {len(plan.route())} waypoints, {where}")
        executor = SingleThreadedExecutor(context=self.context)
        executor.add_node(self)
        result: list[Flown | BaseException] = []
        with ExitStack() as stack:
            recording = stack.enter_context(RecorderClient.of(p.recorder)) if p.recorder else None
            if recording is not None:
                recording.require()
            sortie = Sortie(plan, p.connect, p.target_system, self._options(), recording)
            worker = threading.Thread(target=self._fly, args=(sortie, result), name="mission")
            worker.start()
            try:
                self._watch(worker, executor, stop)
            except KeyboardInterrupt:
                self._stops = 2
                self._watch(worker, executor, stop)
        flown = result[0]
        if isinstance(flown, BaseException):
            raise flown
        self._publish(Progress("done", flown.share, flown.reason), flown.outcome, flown.modes)
        executor.spin_once(timeout_sec=LAST)
        executor.shutdown(timeout_sec=0.0)
        self.say(f"{flown.outcome}: {flown.reason}; {flown.mode}, {'armed' if flown.armed else 'off'}")
        if flown.outcome is not Outcome.COMPLETE:
            raise MissionEnded(flown.outcome, flown.reason)

    def _fly(self, sortie: Sortie, result: list[Flown | BaseException]) -> None:
        try:
            tell = lambda _, progress: self._progress.put(progress)  # noqa: E731
            result += fly_all([sortie], self.parameters.us, report=tell, interrupted=lambda: self._stops)
        except BaseException as error:
            result.append(error)

    def _watch(self, worker: threading.Thread, executor: SingleThreadedExecutor, stop: Stop) -> None:
        while worker.is_alive():
            executor.spin_once(timeout_sec=LOOK)
            if stop.asked and not self._stops:
                self._stops = 1
                self.say("asked to stop: landing, or holding; once more: that is not watched")
            self._note_time()
            while not self._progress.empty():
                self._publish(self._progress.get())

    def _publish(
        self, progress: Progress, outcome: Outcome | None = None, modes: Sequence[tuple[float, str]] = ()
    ) -> None:
        if progress.phase != self._phase:
            self._phase = progress.phase
            self.say(f"{progress.phase}: {progress.text}")
        status = {
            "vehicle": self.plan.vehicle,
            "pattern": self.plan.pattern,
            "phase": progress.phase,
            "share": round(progress.share, 4),
            "text": progress.text,
            "outcome": outcome,
            "modes": [{"at": round(at, 2), "mode": mode} for at, mode in modes],
            "stamp": self.get_clock().now().nanoseconds,
        }
        self._status.publish(String(data=json.dumps(status)))

    def _options(self) -> FlightOptions:
        p, world = self.parameters, self._world
        return FlightOptions(
            method=p.method,  # type: ignore[arg-type]
            end=p.end,
            georeference=world.require_place() if world else None,
            ground=(lambda x, y: ground_at(world, x, y)) if world else None,
            transit=(lambda a, b: transit_height(world, a, b)) if world else None,
            paused=self._paused,
            rate=p.rate,
            connect=p.wait,
            ready=p.ready,
            limits=p.limits,
        )

    def _note_time(self) -> None:
        now = self.get_clock().now().nanoseconds
        if now != self._time_ns:
            self._time_ns, self._time_at = now, time.monotonic()

    def _paused(self) -> bool:
        """Whether simulation time is known to stand."""
        simulated = self.get_parameter("use_sim_time").value
        return bool(simulated) and self._time_ns > 0 and time.monotonic() - self._time_at > PAUSED


def _main(pattern: str, args: list[str] | None) -> int:
    return run_node(pattern, lambda: MissionNode(pattern), declared(pattern), args)


def survey(args: list[str] | None = None) -> int:
    """The node `survey`: parallel lines over a square."""
    return _main("survey", args)


def orbit(args: list[str] | None = None) -> int:
    """The node `orbit`: circles around a point."""
    return _main("orbit", args)


def corridor(args: list[str] | None = None) -> int:
    """The node `corridor`: along a line or a road."""
    return _main("corridor", args)


def random(args: list[str] | None = None) -> int:
    """The node `random`: places drawn by the seed."""
    return _main("random", args)


def waypoints(args: list[str] | None = None) -> int:
    """The node `waypoints`: through given points."""
    return _main("waypoints", args)


def patrol(args: list[str] | None = None) -> int:
    """The node `patrol`: a rover's round of posts."""
    return _main("patrol", args)


if __name__ == "__main__":
    sys.exit(_main(sys.argv.pop(1), None))
