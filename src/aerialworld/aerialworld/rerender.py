"""An old session's poses with other sensors: the engine renders where the vehicle was, the recorder writes a session.

The motion is not simulated again: every frame has the recorded stamp, pose, velocities and moving objects. Noise is a
function of seed, vehicle, sensor and stamp, so that the same rig, world, conditions and seed give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aerialworld.lazy import stage
from aerialworld.recording import (
    TRAFFIC,
    FramesMissing,
    difference,
    engine_entry,
    record_whole,
    require_pictures,
    require_renderer,
)
from aerialworld_core.conditions import Conditions
from aerialworld_core.errors import InputError, PlanError
from aerialworld_core.files import read_json
from aerialworld_core.frames import Pose
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import COLOURS, NUM_CLASSES
from aerialworld_core.plan import Plan, Trajectory
from aerialworld_core.rig import ImuSpec, Rig
from aerialworld_core.sensing import VehicleState
from aerialworld_core.session import PoseRecord, Session, SessionMeta, list_sessions
from aerialworld_core.session.lease import is_held

#: Entry of mission.json that names the session whose poses were used.
ORIGIN = "rerendered_from"
#: A plan is the motion that was recorded when it leads to the recorded poses: metres, radians.
SAME_POSITION, SAME_TURN = 1e-3, 1e-3


@dataclass(frozen=True)
class RerenderOptions:
    """What is to be different. None: as in the old session.

    frames         numbers first … last + 1, either may be None; the old session's numbers and gaps stay
    another_world  the world may be another than the one that the session was recorded in
    backend        what renders, see `aerialworld_sim.Engine`
    """

    modalities: tuple[str, ...] = ("images", "depth", "lidar", "imu")
    keep: tuple[str, ...] = ()
    rig: Rig | None = None
    grid: VoxelGrid | None = None
    conditions: Conditions | None = None
    seed: int | None = None
    frames: tuple[int | None, int | None] = (None, None)
    another_world: bool = False
    backend: str = "auto"

    def __post_init__(self) -> None:
        require_pictures(self.keep, self.modalities)


class Seen:
    """Where a recorded moving object was at the frames that saw it; at other times it is not there."""

    def __init__(self, states: Mapping[int, VehicleState]) -> None:
        self._states = states

    def state(self, stamp_ns: int) -> VehicleState | None:
        return self._states.get(stamp_ns)


class Replay:
    """The motion of a session: at a frame's stamp what was recorded, elsewhere that of the plan, where one was flown.

    Raises InputError for a stamp between frames of a session without a plan.
    """

    def __init__(self, name: str, records: Mapping[int, PoseRecord], trajectory: Trajectory | None) -> None:
        self._name, self._trajectory = name, trajectory
        self._records = {record.stamp_ns: record for record in records.values()}

    def state(self, stamp_ns: int) -> VehicleState:
        record = self._records.get(stamp_ns)
        if self._trajectory is None:
            if record is None:
                raise InputError(f"{self._name}: how it moved between its frames is not known: it holds no plan")
            acceleration = np.zeros(3)
        else:
            planned = self._trajectory.state(stamp_ns)
            if record is None:
                return planned
            acceleration = planned.linear_acceleration
        return VehicleState(stamp_ns, record.pose, record.linear_velocity, record.angular_velocity, acceleration)


class Rerendering:
    """One session to be made from `source` in `world`. Everything that can be refused is refused here, before a frame
    is rendered. Raises InputError, naming session and way out."""

    def __init__(self, source: Session, world: Any, options: RerenderOptions) -> None:
        self.source, self.world, self.options = source, world, options
        self.name = source.path.name
        world.require_place()
        self._check_source()
        old = source.meta
        self.rig = options.rig or old.rig
        if not self.rig.depth:
            raise InputError(
                f"{self.name}: rig {self.rig.name} has no depth cameras, and occupancy is projected from depth; "
                "give one with --rig"
            )
        self.grid = options.grid or old.grid
        self.seed = old.seed if options.seed is None else options.seed
        self.indices = self._selected()
        self.records = {index: source.pose(index) for index in self.indices}
        self.mission = source.mission
        self.imu_recorded, trajectory = self._inertial()
        self.motion = Replay(self.name, self.records, trajectory)

    @property
    def modalities(self) -> tuple[str, ...]:
        """What is asked of the engine for every frame."""
        wanted = [m for m in self.options.modalities if not (m == "imu" and self.imu_recorded)]
        return (*wanted, "truth") if self.options.keep else tuple(wanted)

    @property
    def started(self) -> str:
        return self.source.meta.start_time

    def conditions(self) -> tuple[dict[str, Any], Any]:
        """`conditions` of the new session.json, and the light."""
        wanted = self.options.conditions
        light_of = dict(self.source.meta.conditions)
        # Traffic is not made again: the actors are those that were recorded, and so is what made them.
        traffic = {TRAFFIC: light_of.pop(TRAFFIC)} if TRAFFIC in light_of else {}
        if wanted is None:
            try:
                wanted = Conditions.of_session(light_of)
            except InputError as error:
                raise InputError(f"{self.name}: was recorded under {error}; give --conditions") from error
        record, light = wanted.recorded(self.world.light, self.world.georeference, self.started)
        return {**record, **traffic}, light

    def meta(self, renderer: str | None = None) -> SessionMeta:
        """session.json of the new session."""
        old, first = self.source.meta, self.records[self.indices[0]].pose.position
        datum = old.datum
        if self.world.sha256 != old.world["sha256"]:
            datum = float(self.world.datum(float(first[0]), float(first[1])))
        return SessionMeta(
            vehicle=old.vehicle,
            agent_type=old.agent_type,
            engine=engine_entry(renderer),
            world={"name": self.world.name, "sha256": self.world.sha256},
            georeference=self.world.georeference,
            grid=self.grid,
            datum=datum,
            rig=self.rig.recorded(self.options.modalities),
            frame_period_ns=old.frame_period_ns,
            seed=self.seed,
            mission=old.mission,
            conditions=self.conditions()[0],
            start_time=self.started,
            attribution=self.world.attribution,
            kept=self.options.keep,
        )

    def new_mission(self) -> dict[str, Any]:
        """mission.json of the new session: the plan, and where the poses come from."""
        origin: dict[str, Any] = {"session": self.name, "sha256": seal_of(self.source)}
        if ORIGIN in self.mission:
            origin[ORIGIN] = self.mission[ORIGIN]
        return {**self.mission, ORIGIN: origin}

    def poses_in_solids(self) -> int:
        """How many of the poses lie inside a solid of the world."""
        points = np.stack([record.pose.position for record in self.records.values()])
        return int(np.count_nonzero(self.world.inside_solid(points)))

    def actors(self, index: int) -> list[dict[str, Any]]:
        """The moving objects that were recorded around the vehicle."""
        return self.source.actors(index)

    def moving(self) -> list[Any]:
        """The same as the engine shows them: boxes of their sizes and classes, in their classes' colours.

        Raises InputError for an object whose size or class changes during the session.
        """
        Actor, box_body = stage("aerialworld_sim", "Actor"), stage("aerialworld_core.world.body", "box_body")
        kinds: dict[str, tuple[tuple[float, ...], int]] = {}
        states: dict[str, dict[int, VehicleState]] = {}
        for index in self.indices:
            stamp = self.records[index].stamp_ns
            for seen in self.actors(index):
                name, kind = str(seen["id"]), (tuple(float(v) for v in seen["size"]), int(seen["class"]))
                if kinds.setdefault(name, kind) != kind:
                    raise InputError(f"{self.name}: frame {index}: moving object {name} changes its size or class")
                pose = Pose(np.array(seen["position"], float), np.array(seen["orientation"], float))
                velocity = np.array(seen["velocity"], float)
                states.setdefault(name, {})[stamp] = VehicleState(stamp, pose, velocity, np.zeros(3))
        paint = stage("aerialworld_sim.textures", "linear_from_srgb")(COLOURS / 255.0)
        return [
            Actor(
                name, box_body(np.array(size), label, paint[min(label, NUM_CLASSES - 1)], name=name), Seen(states[name])
            )
            for name, (size, label) in kinds.items()
        ]

    def _check_source(self) -> None:
        holder = is_held(self.source.path)
        if holder:
            raise InputError(f"{self.name}: is being written by {holder}; wait until it is finished")
        old = self.source.meta.world
        if self.world.sha256 != old["sha256"] and not self.options.another_world:
            raise InputError(
                f"{self.name}: was recorded in the world {old['name']} ({old['sha256'][:12] or 'unknown'}…), and "
                f"{self.world.path} is another ({self.world.sha256[:12]}…); give that world, or --another-world if its "
                "poses are to be used in this one"
            )

    def _selected(self) -> list[int]:
        """The frames that are asked for. Raises InputError when the session has not got them."""
        there = self.source.frame_indices
        first, end = self.options.frames
        if not there:
            raise InputError(f"{self.name}: has no complete frame")
        if end is not None and end > there[-1] + 1:
            raise InputError(f"{self.name}: --frames asks for frames up to {end - 1}, and the last is {there[-1]}")
        written = self.source.meta.frames
        if first is None and end is None and written is not None and written > len(there):
            raise InputError(
                f"{self.name}: was finished with {written} frames, and {len(there)} are left; choose with --frames"
            )
        chosen = [i for i in there if i >= (first or 0) and (end is None or i < end)]
        if not chosen:
            raise InputError(f"{self.name}: has none of the frames {first or 0} to {there[-1] if end is None else end}")
        return chosen

    def _inertial(self) -> tuple[bool, Trajectory | None]:
        """Whether the recorded IMU samples are the new session's, and the plan's motion, where there is one."""
        trajectory = self._trajectory()
        if self.rig.imu is None or "imu" not in self.options.modalities:
            return False, trajectory
        old = self.source.meta
        if old.rig.imu is not None and _stored(self.rig.imu) == _stored(old.rig.imu) and self.seed == old.seed:
            return True, trajectory
        if trajectory is None:
            why = "has no IMU data" if old.rig.imu is None else "was recorded with another IMU or seed"
            raise InputError(
                f"{self.name}: {why}, and its mission.json holds no plan that leads to its poses, so that the motion "
                "between frames is not known; leave the IMU out with --modalities images,depth,lidar"
            )
        return False, trajectory

    def _trajectory(self) -> Trajectory | None:
        """The motion of the plan in mission.json, if it is the motion that was recorded."""
        plan = {k: v for k, v in self.mission.items() if k != ORIGIN}
        try:
            trajectory = Plan.from_dict(plan).trajectory()
        except PlanError:
            return None  # a description, or another tool's mission
        for record in self.records.values():
            planned = trajectory.state(record.stamp_ns).pose
            turn = 2 * np.arccos(min(1.0, abs(float(planned.orientation @ record.pose.orientation))))
            if np.linalg.norm(planned.position - record.pose.position) > SAME_POSITION or turn > SAME_TURN:
                return None  # flown by an autopilot: near the plan, but not on it
        return trajectory


def seal_of(session: Session) -> str | None:
    """The sha256 that the session's session.json bears; None in older data."""
    return str(read_json(session.path / "session.json")["sha256"]) if session.verifiable else None


def _stored(imu: ImuSpec) -> Any:
    """An IMU as it is after being written and read: what two of them are compared by."""
    return ImuSpec.from_dict(json.loads(json.dumps(imu.to_dict()))).to_dict()


def begun(job: Rerendering, out: Path) -> Session | None:
    """The session in `out` that an earlier run of the same job made or began.

    Raises InputError when one was begun from the same session with other options: it would stay unfinished.
    """
    expected, mission = job.meta(), job.new_mission()
    for path in list_sessions(out) if out.is_dir() else []:
        session = Session.open(path)
        if not session.verifiable or session.mission.get(ORIGIN) != mission[ORIGIN]:
            continue
        other = difference(session, expected, mission)
        if other is None:
            return session
        if session.meta.frames is None:
            raise InputError(f"{path}: was begun with another {other}; use the same options, or another --out")
    return None


def render_again(
    job: Rerendering,
    out: Path,
    *,
    provenance: Mapping[str, Any],
    resume: Path | None = None,
    on_frame: Callable[[int], None] = lambda done: None,
) -> Path:
    """Render the job's frames into a new session below `out`; `resume` is an unfinished one of the same job.

    Returns the session's folder. Raises FramesMissing, and leaves the session unclosed, when a sensor gave no data or
    fewer frames were written than were asked.
    """
    Engine, Vehicle = stage("aerialworld_sim", "Engine"), stage("aerialworld_sim", "Vehicle")
    Recorder = stage("aerialworld_recorder", "Recorder")
    vehicle = job.source.meta.vehicle
    light = job.conditions()[1]
    carried, moving = {vehicle: Vehicle(job.rig, job.motion)}, job.moving()
    engine = Engine(job.world, carried, seed=job.seed, light=light, backend=job.options.backend, actors=moving)
    if resume is None:
        recorder = Recorder(out, job.meta(engine.renderer), job.new_mission(), dict(provenance))
        before: set[int] = set()
    else:
        require_renderer(resume, engine.renderer)
        recorder = Recorder.resume(resume)
        before = set(Session.open(resume, verify=False).frame_indices)
    last = -1
    with recorder:
        for done, index in enumerate(job.indices, 1):
            if index not in before:
                record_whole(recorder, index, _frame(job, engine, vehicle, index, follows=index == last + 1))
                last = index
            on_frame(done)
        written = len(before) + recorder.summary()["frames_asked"]
        if written != len(job.indices):
            raise FramesMissing(f"{recorder.path}: {written} of {len(job.indices)} frames were written")
    return Path(recorder.path)


def _frame(job: Rerendering, engine: Any, vehicle: str, index: int, *, follows: bool) -> Any:
    """What the rig senses at a recorded frame. Where it does not follow the last one, its IMU samples are those of the
    one tick that ends there, as in a session that dropped the frames before it."""
    stamp = job.records[index].stamp_ns
    tick = stamp - job.source.meta.frame_period_ns
    if "imu" in job.modalities and job.rig.imu is not None and not follows and tick >= engine.stamp_ns:
        if tick > engine.stamp_ns:
            engine.step(tick - engine.stamp_ns)
        engine.imu_samples(vehicle)
    if stamp > engine.stamp_ns:
        engine.step(stamp - engine.stamp_ns)
    frame = engine.render(vehicle, modalities=job.modalities)
    if job.imu_recorded:
        frame.imu = job.source.imu(index)
    frame.actors = job.actors(index)
    return frame
