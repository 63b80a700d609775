"""ROS 2 node `recorder`: from the topics of one vehicle or several to sessions.

Subscribes to `aerialworld_core.topics.vehicle_topics`; services ~/start and ~/stop (std_srvs/Trigger); publishes
~/status, /diagnostics and /{vehicle}/occupancy; acknowledges frames on /lockstep where an engine waits for that
(docs/recorder_node.md). Ends with 0 on SIGINT or SIGTERM, when what was queued is written and the sessions are closed;
with the failure's exit code when recording had to stop.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from nav_msgs.msg import Odometry
from rclpy.executors import Executor
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, Imu, PointCloud2
from std_msgs.msg import Header
from std_srvs.srv import Trigger
from visualization_msgs.msg import MarkerArray

from aerialworld_core import topics
from aerialworld_core.errors import InputError
from aerialworld_core.memory import keep_freed_memory
from aerialworld_core.nodes.clouds import cloud
from aerialworld_core.nodes.listening import LOOK, ListeningNode
from aerialworld_core.nodes.process import run_node
from aerialworld_recorder.nodes.parameters import DECLARED, RELIABLE, Parameters, read_parameters
from aerialworld_recorder.nodes.reporting import StatusPublisher, VehicleDiagnostics
from aerialworld_recorder.nodes.ros_clouds import fields_reader
from aerialworld_recorder.nodes.setup import Setup, VehicleSetup
from aerialworld_recorder.stream import cdr
from aerialworld_recorder.stream.arrivals import Arrivals
from aerialworld_recorder.stream.assembly import Assembler
from aerialworld_recorder.stream.calibration import check_calibration
from aerialworld_recorder.stream.channels import CALIBRATIONS, SENSORS, Channel
from aerialworld_recorder.stream.messages import ContentError, Message
from aerialworld_recorder.stream.pipeline import Limits, Pipeline
from aerialworld_recorder.voxel_cloud import voxel_points

_TYPES = {t.__name__: t for t in (Odometry, CameraInfo, CompressedImage, Image, Imu, PointCloud2, MarkerArray)}
#: Wall seconds until unheard topics are named.
UNHEARD = 10.0
#: Wall seconds at the end for messages that have arrived and are not taken; spins without any that end it earlier.
DRAIN, IDLE_SPINS = 1.0, 5


class VehicleIntake:
    """One vehicle's topics: from their bytes to its pipeline, and what an engine in lockstep is told."""

    def __init__(self, node: RecorderNode, setup: VehicleSetup) -> None:
        self._node, self.setup, p = node, setup, node.parameters
        rig = setup.maker.rig
        self.pipeline = Pipeline(
            setup.name,
            setup.channels,
            setup.timing,
            Assembler(rig, setup.maker.ground, fields_reader()),
            setup.maker,
            node,
            limits=Limits(p.max_frames, p.min_free_disk),
            queue_frames=p.queue_frames,
            on_frame=self._show,
            on_room=node.wake,
        )
        self._specs = {"camera_info": {c.name: c for c in rig.cameras}, "depth_info": {f.name: f for f in rig.depth}}
        self.arrivals = Arrivals([c.topic for c in setup.channels if c.kind in SENSORS])
        #: A camera that is not the rig's: what ends the recording.
        self.mismatch: InputError | None = None
        self.unchecked = {c.topic for c in setup.channels if c.kind in CALIBRATIONS}
        self._subscriptions = {c.topic: self._subscribe(c) for c in setup.channels}
        self._occupancy: Any = node.create_publisher(PointCloud2, topics.occupancy(setup.name), 10)

    def _subscribe(self, channel: Channel) -> Any:
        take = self._calibration if channel.kind in CALIBRATIONS else self._take
        kind: Any = _TYPES[channel.type.rsplit("/", 1)[1]]
        reliable = self._node.parameters.qos == RELIABLE
        return self._node.listen(kind, channel.topic, channel.rate, partial(take, channel), reliable=reliable)

    def _take(self, channel: Channel, data: bytes) -> None:
        self._node.taken += 1
        try:
            message = cdr.message(channel.topic, channel.type, data)
        except ContentError as error:
            self.pipeline.unreadable(channel.topic, str(error))
            return
        if self._node.recording:
            self.pipeline.put(message)
        if self._node.parameters.lockstep and channel.kind in SENSORS:
            self.arrivals.add(channel.topic, message.stamp_ns)
            self._node.acknowledge()

    def _calibration(self, channel: Channel, data: bytes) -> None:
        """Compare with the rig, once: afterwards nobody listens to the topic any more."""
        if channel.topic not in self._subscriptions:
            return  # one that was under way
        try:
            message: Message = cdr.message(channel.topic, channel.type, data)
            payload = message.load()
        except ContentError as error:
            self._node.warn(f"{self.setup.name}: message not used: {channel.topic}: {error}")
            return
        try:
            check_calibration(payload, self._specs[channel.kind][channel.sensor or ""])
        except ContentError as error:
            self.mismatch = InputError(f"{channel.topic}: {error}; give the rig that is flown (parameter rig)")
        self.unchecked.discard(channel.topic)
        subscription = self._subscriptions.pop(channel.topic)
        self._node.later(lambda: self._node.destroy_subscription(subscription))

    def _show(self, frame: Any, occupancy: Any, stats: Any) -> None:
        """The frame's occupied voxels, to whoever watches; called by the working thread."""
        if self._occupancy.get_subscription_count() == 0:
            return
        recorder = self.pipeline.recorder
        assert recorder is not None, "a frame was recorded"
        points = voxel_points(occupancy, recorder.meta.grid, frame.state.pose, recorder.meta.datum)
        self._occupancy.publish(cloud(points, frame.stamp_ns))


class RecorderNode(ListeningNode):
    """Parameters in, messages in; what becomes of them is the pipelines' business."""

    def __init__(self, **options: Any) -> None:
        """`options` are those of `rclpy.node.Node`. Raises AerialWorldError for unusable parameters and files."""
        super().__init__("recorder", **options)
        self.parameters: Parameters = read_parameters(self)
        self.recording = self.parameters.autostart
        setup = Setup(self.parameters)
        for note in setup.notes:
            self.say(note)
        self._later: list[Callable[[], object]] = []
        #: Messages taken, of all topics.
        self.taken = 0
        self._heard = self._begun = time.monotonic()
        self._lockstep = self.create_publisher(Header, topics.LOCKSTEP, 10) if self.parameters.lockstep else None
        self._acknowledged: Header | None = None
        self._status = StatusPublisher(self)
        self._diagnostics = VehicleDiagnostics(self) if VehicleDiagnostics.available else None
        self.intakes = {v.name: VehicleIntake(self, v) for v in setup.vehicles}
        self.create_service(Trigger, "~/start", self._start)
        self.create_service(Trigger, "~/stop", self._stop)
        self._look_at = 0.0
        self._names_unheard = True
        self._report_setup(setup)

    def _report_setup(self, setup: Setup) -> None:
        if self._diagnostics is None:
            self.say("diagnostic_msgs is not installed, so /diagnostics is not published")
        for v in setup.vehicles:
            self.say(
                f"{v.name}: {v.maker.rig.name}, {len(v.channels)} topics, {1e9 / v.timing.period_ns:g} frames/s, "
                f"stamps within {v.timing.tolerance_ns * 1e-6:g} ms"
            )
        self.say(f"{'recording' if self.recording else 'waiting for ~/start'}, into {self.parameters.data_root}")

    def wake(self) -> None:
        """A frame has left a queue; called by working threads."""
        if self._lockstep is not None and self.executor is not None:
            self.executor.create_task(self.acknowledge)

    def later(self, act: Callable[[], object]) -> None:
        """Do something between two spins: a callback must not destroy what it is called from."""
        self._later.append(act)

    @property
    def pipelines(self) -> dict[str, Pipeline]:
        return {name: intake.pipeline for name, intake in self.intakes.items()}

    def acknowledge(self) -> None:
        """Tell an engine in lockstep up to where everything of all vehicles is taken, when there is room for more."""
        self._heard = time.monotonic()
        if self._lockstep is None:
            return
        whole = [i.arrivals.whole(i.pipeline.synchroniser.gone) for i in self.intakes.values()]
        stamp = whole[0]
        if stamp is None or any(s != stamp for s in whole):
            return
        if self.recording and any(i.pipeline.room < 1 for i in self.intakes.values()):
            return  # asked again when a frame has left its queue
        header = Header(frame_id=self.get_name())
        header.stamp.sec, header.stamp.nanosec = divmod(stamp, 1_000_000_000)
        for intake in self.intakes.values():
            intake.arrivals.taken(stamp)
        self._lockstep.publish(header)
        self._acknowledged = header

    def _say_again(self) -> None:
        """The last acknowledgement: the engine may not have found this node yet when it was sent. It counts once."""
        if self._lockstep is not None and self._acknowledged is not None:
            self._lockstep.publish(self._acknowledged)

    def _start(self, request: Any, response: Any) -> Any:
        response.success = True
        response.message = "recording already" if self.recording else "recording"
        self.recording = True
        return response

    def _stop(self, request: Any, response: Any) -> Any:
        """Frames that are queued are still written, and the sessions closed behind them: ~/status says when."""
        if self.recording:
            self.recording = False
            for pipeline in self.pipelines.values():
                pipeline.end_session()
        queued = sum(p.queued for p in self.pipelines.values())
        response.success, response.message = True, f"stopped; {queued} frames are still to be written"
        return response

    def look(self, now: float) -> None:
        """What is to be done now and then: silence, changes, reports. Raises what ended a vehicle's recording."""
        while self._later:
            self._later.pop()()
        if now < self._look_at:
            return
        self._look_at = now + LOOK
        if now - self._heard > LOOK:
            self._say_again()
        if self.parameters.lockstep and now - self._heard > self.parameters.lockstep_patience:
            self._break_silence()
        self._status.publish(self.recording, self.pipelines)
        if self._diagnostics and self._diagnostics.due(now):
            self._diagnostics.report(self.recording, self.pipelines)
        if self._names_unheard and now - self._begun > UNHEARD:
            self._names_unheard = False
            self._name_unheard()
        for intake in self.intakes.values():
            if intake.mismatch:
                raise intake.mismatch
            if intake.pipeline.failure:
                raise intake.pipeline.failure

    def _break_silence(self) -> None:
        """Time stands for a sensor that does not come: go on without it, as soon as there is anything to go on with."""
        for name, intake in self.intakes.items():
            before = set(intake.pipeline.synchroniser.gone)
            intake.pipeline.give_up(intake.arrivals.missing())
            for topic in sorted(intake.pipeline.synchroniser.gone - before):
                self.warn(f"{name}: {topic} has kept time standing; its frames are dropped until it is heard again")
        self.acknowledge()

    def _name_unheard(self) -> None:
        for name, intake in self.intakes.items():
            unheard = intake.pipeline.synchroniser.unheard if self.recording else ()
            if len(unheard) == len(intake.pipeline.synchroniser.counts):
                self.warn(f"{name}: nothing has come yet, on any of its topics")
                continue
            if unheard:
                self.warn(f"{name}: nothing has come on {', '.join(unheard)}; without it there is no frame")
            if intake.unchecked:
                self.warn(
                    f"{name}: nothing has come on {', '.join(sorted(intake.unchecked))}; these cameras are not checked "
                    "against the rig"
                )

    def finish(self, executor: Executor) -> None:
        """Take what has reached this process and is not taken yet: until nothing comes, or the time for it is up."""
        deadline, idle = time.monotonic() + DRAIN, 0
        while idle < IDLE_SPINS and time.monotonic() < deadline:
            before = self.taken
            executor.spin_once(timeout_sec=DRAIN / 100)
            idle = 0 if self.taken > before else idle + 1

    def close(self) -> None:
        """What is queued is written and the sessions are closed."""
        for pipeline in self.pipelines.values():
            pipeline.end_session()
        for pipeline in self.pipelines.values():
            pipeline.close()
        self._status.publish(False, self.pipelines)
        self._report_end()

    def _report_end(self) -> None:
        """Totals, and what was lost on which topic."""
        for name, pipeline in self.pipelines.items():
            t = pipeline.tally
            self.say(
                f"{name}: {t.recorded} frames in {t.sessions} sessions; dropped {t.dropped}, too slow for {t.overrun}, "
                f"{t.bad_messages} messages not used"
            )
            for topic, c in pipeline.synchroniser.counts.items():
                lost = {k: v for k in ("missing", "late", "bad", "out_of_order", "duplicates") if (v := getattr(c, k))}
                if lost:
                    self.say(f"{topic}: of {c.received} messages {', '.join(f'{v} {k}' for k, v in lost.items())}")


def main(args: list[str] | None = None) -> int:
    """Record until SIGINT or SIGTERM: 0. Expected errors are one line on stderr and their exit code."""
    keep_freed_memory()
    return run_node("recorder", RecorderNode, DECLARED, args)


if __name__ == "__main__":
    sys.exit(main())
