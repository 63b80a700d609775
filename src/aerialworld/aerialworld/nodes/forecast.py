"""ROS 2 node `forecast`: from a vehicle's depth faces and odometry to what will be around it.

Subscribes to /{vehicle}/odom, /{vehicle}/depth/{face}/image and /{vehicle}/semantic/{face}/image; publishes
/{vehicle}/forecast/points (PointCloud2 in map: x, y, z, class, probability, horizon), /{vehicle}/forecast/path
(nav_msgs/Path) and /diagnostics. Forecasts are made on a thread of their own: while one runs, the newest history waits
and older ones are skipped and counted. docs/forecasting.md tells more. Ends with 0 on SIGINT or SIGTERM.
"""

from __future__ import annotations

import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as PathMessage
from rclpy.executors import Executor
from sensor_msgs.msg import Image, PointCloud2

from aerialworld.forecasting import LiveHistory, SeenFrame, forecast, forecast_points
from aerialworld_core import topics
from aerialworld_core.errors import AerialWorldError, InputError
from aerialworld_core.nodes.clouds import cloud, set_stamp
from aerialworld_core.nodes.declaring import declare, names, refuse_unknown
from aerialworld_core.nodes.diagnostics import ERROR, OK, WARN, Diagnostics, State
from aerialworld_core.nodes.listening import ListeningNode
from aerialworld_core.nodes.process import run_node
from aerialworld_core.world import load_rig, load_world
from aerialworld_recorder.stream import cdr
from aerialworld_recorder.stream.channels import Channel
from aerialworld_recorder.stream.messages import ContentError
from aerialworld_training.forecaster import MOTIONS, Forecaster, FutureFrames

_TYPES: dict[str, Any] = {"Odometry": Odometry, "Image": Image}
#: No datum: far below every place.
_UNSET = -1e9
#: Default and description; all are read-only once the node runs.
DECLARED: dict[str, tuple[Any, str]] = {
    "model": ("", "Trained model: a checkpoint or a training folder (the demo's too). Required."),
    "vehicle": ("drone_1", "The vehicle: the first part of its topics."),
    "rig": ("", "Sensor rig: a shipped model's name or an SDF. Without one: rig_rover for rovers, else rig_drone."),
    "world": (
        "",
        "World folder or SDF file: gives the datum around the vehicle's first place, as sessions have it.",
    ),
    "datum": (_UNSET, "Map z of the grid's zero (m), in place of the world's."),
    "device": ("cpu", "Where the model runs: cpu, cuda, cuda:1."),
    "motion": ("predicted", "The way ahead: predicted by the model, or constant_velocity (AerialOccWorld)."),
    "least_probability": (0.0, "Points below this probability of being occupied are not published."),
    "stale_after": (2.0, "Wall seconds without a new frame after which the input counts as stale."),
}
_BOUNDS = {"least_probability": (0.0, 1.0), "stale_after": (0.1, 3600.0)}


class ForecastNode(ListeningNode):
    """Messages in, one call into `forecasting`, messages out."""

    def __init__(self, **options: Any) -> None:
        """`options` are those of `rclpy.node.Node`. Raises AerialWorldError for unusable parameters and files."""
        super().__init__("forecast", **options)
        p = {
            name: declare(self, name, default, text, _BOUNDS.get(name), MOTIONS if name == "motion" else ())
            for name, (default, text) in DECLARED.items()
        }
        refuse_unknown(self, list(DECLARED), ())
        if not p["model"]:
            raise InputError("parameter model: give a checkpoint or training folder, e.g. -p model:=run/best.pth")
        (vehicle,) = names("vehicle", [p["vehicle"]]) or ("drone_1",)
        self.forecaster = Forecaster(Path(p["model"]), p["device"])
        if p["motion"] != "predicted" and self.forecaster.trained.aerial is None:
            raise InputError(f"parameter motion: {p['model']} is OccWorld, which takes predicted alone")
        rig = load_rig(p["rig"] or ("rig_rover" if vehicle.startswith("rover") else "rig_drone"))
        self.vehicle, self.motion, self.least, self.stale_after = (
            vehicle, p["motion"], p["least_probability"], p["stale_after"]
        )  # fmt: skip
        self._rig, self._world = rig, load_world(Path(p["world"])) if p["world"] else None
        if self._world is None and p["datum"] == _UNSET:
            raise InputError("parameter world or datum: one of them must say where the grid's zero lies")
        self._datum: float | None = None if p["datum"] == _UNSET else p["datum"]
        self.history: LiveHistory | None = None
        if self._datum is not None:
            self.history = LiveHistory(self.forecaster, vehicle, rig, self._datum)
        self.made = self.skipped = self.refused = 0
        self.latency = 0.0
        self._newest: tuple[SeenFrame, ...] = ()
        self._newest_at = 0.0
        self._seen_at: float | None = None
        self.failure: BaseException | None = None
        self._points: Any = self.create_publisher(PointCloud2, topics.forecast_points(vehicle), 10)
        self._path: Any = self.create_publisher(PathMessage, topics.forecast_path(vehicle), 10)
        self._diagnostics = Diagnostics(self) if Diagnostics.available else None
        if self._diagnostics is None:
            self.say("diagnostic_msgs is not installed, so /diagnostics is not published")
        listened = self.history or LiveHistory(self.forecaster, vehicle, rig, 0.0)  # the channels need no datum
        for channel in listened.channels:
            kind = _TYPES[channel.type.rsplit("/", 1)[1]]
            self.listen(kind, channel.topic, channel.rate, partial(self._take, channel))
        self._changed, self._ending = threading.Condition(), False
        self._worker = threading.Thread(target=self._work, name="forecast", daemon=True)
        self._worker.start()
        f = self.forecaster
        self.say(
            f"{vehicle}: {f.trained.name} of {p['model']}, {f.history} frames of {f.step_s:g} s in, {f.future} out; "
            f"{len(listened.channels)} topics"
        )

    def _take(self, channel: Channel, data: bytes) -> None:
        try:
            message = cdr.message(channel.topic, channel.type, data)
            if self.history is None:
                if channel.kind != "odom" or self._world is None:
                    return  # without a place there is no datum
                x, y = message.load().position[:2]  # type: ignore[union-attr]
                self.history = LiveHistory(self.forecaster, self.vehicle, self._rig, self._world.datum(x, y))
                self.say(f"{self.vehicle}: the grid's zero lies at {self.history.datum:.2f} m in map")
            found = self.history.put(message)
        except ContentError as error:
            self.refused += 1
            self.warn(f"message not used: {channel.topic}: {error}")
            return
        if self.history.intake.frames and found:
            with self._changed:
                self.skipped += bool(self._newest)
                self._newest, self._newest_at = found, time.monotonic()
                self._seen_at = self._newest_at
                self._changed.notify()

    def _work(self) -> None:
        """Forecast the newest history, again and again."""
        try:
            while True:
                with self._changed:
                    while not self._newest and not self._ending:
                        self._changed.wait()
                    if self._ending:
                        return
                    history, arrived, self._newest = self._newest, self._newest_at, ()
                assert self.history is not None, "a history was seen"
                future = forecast(self.forecaster, history, self.history.datum, motion=self.motion)
                self._publish(history[-1].stamp_ns, future)
                self.latency = time.monotonic() - arrived
                self.made += 1
        except Exception as error:  # handed to the node's loop, which ends with it
            self.failure = error

    def _publish(self, stamp_ns: int, future: FutureFrames) -> None:
        points: Any = cloud(forecast_points(future, self.least), stamp_ns)
        self._points.publish(points)
        path: Any = PathMessage()
        path.header = points.header
        for k, horizon in enumerate(future.horizons_s):
            at: Any = PoseStamped()
            at.header.frame_id = "map"
            set_stamp(at.header.stamp, stamp_ns + round(float(horizon) * 1e9))
            pose = future.pose(k)
            at.pose.position.x, at.pose.position.y, at.pose.position.z = map(float, pose.position)
            q = at.pose.orientation
            q.x, q.y, q.z, q.w = map(float, pose.orientation)
            path.poses.append(at)
        self._path.publish(path)

    def judge(self, now: float) -> tuple[bytes, str]:
        """Level and a line: what is wrong now, or that nothing is. now: monotonic seconds."""
        if self.history is None:
            return WARN, "waits for odometry, which places the grid"
        if self._seen_at is None:
            missing = ", ".join(self.history.unheard)
            return WARN, f"waits for {missing}" if missing else "waits for a second frame"
        age = now - self._seen_at
        if age > self.stale_after:
            return ERROR, f"input is stale: no new frame for {age:.1f} s"
        if self.latency > self.forecaster.step_s:
            return (
                WARN,
                f"a forecast takes {self.latency:.2f} s; frames come faster",
            )
        return OK, "forecasting"

    def state(self, now: float) -> State:
        """What /diagnostics is told; now: monotonic seconds."""
        values: dict[str, Any] = {
            "forecasts": self.made, "skipped": self.skipped, "latency_s": round(self.latency, 3),
            "messages_refused": self.refused,
        }  # fmt: skip
        if self._seen_at is not None:
            values["input_age_s"] = round(now - self._seen_at, 3)
        if self.history is not None:
            intake = self.history.intake
            values |= {"frames": intake.frames, "frames_dropped": intake.dropped, "restarts": intake.restarts}
            if intake.last_missing:
                values["last_missing"] = ", ".join(intake.last_missing)
        return State(self.vehicle, *self.judge(now), values)

    def look(self, now: float) -> None:
        """Report. Raises what ended the forecasting."""
        if isinstance(self.failure, AerialWorldError):
            raise self.failure
        if self.failure is not None:
            raise RuntimeError("forecasting failed") from self.failure
        if self._diagnostics and self._diagnostics.due(now):
            self._diagnostics.publish([self.state(now)])

    def finish(self, executor: Executor) -> None:
        """Let the forecast that is being made come to its end."""
        self.close()
        self._worker.join()
        self.say(f"{self.made} forecasts; {self.skipped} histories skipped")

    def close(self) -> None:
        with self._changed:
            self._ending = True
            self._changed.notify()


def main(args: list[str] | None = None) -> int:
    """Entry point of the node; returns the exit code."""
    return run_node("forecast", ForecastNode, DECLARED, args)


if __name__ == "__main__":
    sys.exit(main())
