"""In-process simulation of one plan into one session: the engine renders, the recorder writes; no ROS."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aerialworld.bringup.arguments import EMBEDDED, GAZEBO
from aerialworld.bringup.machine import gazebo_version
from aerialworld.lazy import stage
from aerialworld_core.conditions import Conditions
from aerialworld_core.errors import AerialWorldError, InputError
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.plan import Plan
from aerialworld_core.rig import Rig
from aerialworld_core.traffic import TrafficOptions

#: The simulated clock's default start; runs of one demo follow each other in steps of RUN_SPACING.
FIRST_START = datetime(2024, 1, 15, 12, 0, 0, tzinfo=UTC)
RUN_SPACING = timedelta(minutes=10)

#: Rough sizes for the disk estimate: JPEG at quality 95, 16-byte LiDAR points, deflated voxels.
JPEG_BYTES_PER_PIXEL = 0.45
BYTES_PER_VOXEL = 0.25
BYTES_PER_FRAME_FIXED = 20_000
#: The same of the images that are kept on request, measured over a city.
EXTRA_BYTES_PER_PIXEL = {"depth": 0.3, "semantic": 0.02, "instance": 0.02}
#: Boxes per camera and frame of a busy street.
BOXES_BYTES_PER_CAMERA = 10_000
#: Share of a disk's free bytes that may be written.
USABLE = 0.95

#: Entry of session.json's `conditions` that holds the traffic.
TRAFFIC = "traffic"


class DiskSpaceError(AerialWorldError):
    """Not enough room for what a command is about to write; nothing was written."""

    exit_code = 28


class FramesMissing(AerialWorldError):
    """A sensor of the rig gave nothing for a frame: the session has gaps."""


@dataclass(frozen=True)
class RecordingOptions:
    """How to record: grid, frames per second of simulated time, which sensors, seed, under what conditions, which
    images (depth, semantic, instance) and boxes to keep as files, at most how many frames, what renders, and what else
    moves."""

    grid: VoxelGrid
    frame_rate: float = 2.0
    modalities: tuple[str, ...] = ("images", "depth", "lidar", "imu")
    seed: int = 0
    conditions: Conditions = field(default_factory=Conditions)
    keep: tuple[str, ...] = ()
    most_frames: int | None = None
    backend: str = "auto"
    traffic: TrafficOptions | None = None
    engine: str = EMBEDDED

    def __post_init__(self) -> None:
        if self.engine not in (EMBEDDED, GAZEBO):
            raise InputError(f"--engine: {self.engine!r} is neither {EMBEDDED} nor {GAZEBO}")
        if self.engine == GAZEBO:
            self._check_gazebo()
        if not 0.01 <= self.frame_rate <= 100:
            raise InputError(f"--frame-rate: {self.frame_rate} is not between 0.01 and 100 frames per second")
        require_pictures(self.keep, self.modalities)

    def _check_gazebo(self) -> None:
        """What only the embedded engine has is refused, not left out in silence."""
        asked = {
            "--keep": bool(self.keep),
            "--backend": self.backend != "auto",
        }
        if given := [name for name, is_given in asked.items() if is_given]:
            raise InputError(f"--engine gazebo takes no {', '.join(given)}: the embedded engine has them")

    @property
    def period_ns(self) -> int:
        """Nanoseconds of simulation time between frames."""
        return round(1e9 / self.frame_rate)

    @property
    def rendered(self) -> tuple[str, ...]:
        """What is asked of the engine for every frame."""
        return (*self.modalities, "truth") if self.keep else self.modalities

    def frames(self, plan: Plan) -> int:
        """Frames from the plan's start to its end, both included when they fall on a tick, or `most_frames`."""
        whole = int(plan.duration * 1e9 + 1) // self.period_ns + 1
        return whole if self.most_frames is None else min(whole, self.most_frames)

    def to_dict(self) -> dict[str, Any]:
        return {
            "grid": self.grid.to_dict(),
            "frame_rate": self.frame_rate,
            "modalities": list(self.modalities),
            "seed": self.seed,
            "conditions": self.conditions.to_dict(),
            "keep": list(self.keep),
            **traffic_entry(self.traffic),
            **({} if self.engine == EMBEDDED else {"engine": self.engine}),
        }


def require_pictures(keep: Collection[str], modalities: Collection[str]) -> None:
    """Raises InputError where boxes are to be kept of cameras that are not recorded."""
    if "boxes" in keep and "images" not in modalities:
        raise InputError("--keep boxes: boxes are the cameras'; add images to --modalities")


def start_time(index: int) -> str:
    """ISO start time of the run with this index (UTC, simulated)."""
    return (FIRST_START + index * RUN_SPACING).strftime("%Y-%m-%dT%H:%M:%SZ")


def session_name(agent_type: str, index: int) -> str:
    """The folder name that a session of run `index` gets."""
    return str(stage("aerialworld_core.session.layout", "session_name")(agent_type, start_time(index)))


def rig_for(plan: Plan, choice: str | None) -> Rig:
    """The chosen rig, or the one that suits the vehicle."""
    load_rig = stage("aerialworld_core.world", "load_rig")
    rig: Rig = load_rig(choice or f"rig_{plan.agent_type}")
    if not rig.depth:
        raise InputError(f"rig {rig.name}: has no depth cameras, and occupancy is projected from depth")
    return rig


def frame_bytes(rig: Rig, grid: VoxelGrid, keep: Collection[str] = ()) -> int:
    """About how many bytes a recorded frame takes on disk."""
    pixels = sum(c.width * c.height for c in rig.cameras)
    all_pixels = pixels + sum(f.width * f.height for f in rig.depth)
    extra = sum(EXTRA_BYTES_PER_PIXEL.get(kind, 0.0) for kind in keep) * all_pixels
    extra += len(rig.cameras) * BOXES_BYTES_PER_CAMERA * ("boxes" in keep)
    lidar = rig.lidar.columns * rig.lidar.beams * 16 if rig.lidar else 0
    return int(pixels * JPEG_BYTES_PER_PIXEL + extra + lidar + grid.size * BYTES_PER_VOXEL + BYTES_PER_FRAME_FIXED)


def free_bytes(folder: Path) -> int:
    """What is free on the disk where `folder` is (or will be)."""
    existing = folder.resolve()
    while not existing.exists():
        existing = existing.parent
    return shutil.disk_usage(existing).free


def require_space(folder: Path, needed: int, what: str) -> None:
    """Raises DiskSpaceError when `needed` bytes exceed USABLE of what is free where `folder` is (or will be)."""
    free = free_bytes(folder)
    if needed > free * USABLE:
        raise DiskSpaceError(
            f"{folder}: {what} needs about {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; "
            "free some space, choose another --out, shorten the runs or use a smaller rig (--rig rig_small)"
        )


def engine_entry(renderer: str | None, engine: str = EMBEDDED) -> dict[str, str]:
    """`engine` of session.json: name, version and, where an engine runs, what renders."""
    if engine == GAZEBO:
        entry = {"name": GAZEBO, "version": gazebo_version(shutil.which("gz")) or "unknown"}
    else:
        entry = dict(stage("aerialworld_sim", "Engine").ENGINE)
    return entry if renderer is None else {**entry, "renderer": renderer}


def traffic_entry(traffic: TrafficOptions | None) -> dict[str, Any]:
    """What session.json's `conditions` say about traffic: nothing where there is none."""
    return {} if traffic is None else {TRAFFIC: traffic.to_dict()}


def moving(world: Any, traffic: TrafficOptions | None, plan: Plan) -> list[Any]:
    """The actors of the traffic asked for, which heeds the vehicle of `plan` where that drives. Raises InputError where
    the world has no room for it."""
    if traffic is None:
        return []
    rovers = [plan.trajectory()] if plan.agent_type == "rover" else []
    guests = [stage("aerialworld_sim.traffic.guests", "PlannedGuest")(motion) for motion in rovers]
    return list(stage("aerialworld_sim.traffic", "Traffic")(world, traffic, guests).actors)


def session_meta(
    plan: Plan, world: Any, rig: Rig, options: RecordingOptions, started: str, renderer: str | None = None
) -> Any:
    """What session.json says about this run; `renderer` is that of the engine that makes it."""
    place = world.require_place()
    x, y = plan.position[0, :2]
    return stage("aerialworld_core.session", "SessionMeta")(
        vehicle=plan.vehicle,
        agent_type=plan.agent_type,
        engine=engine_entry(renderer, options.engine),
        world={"name": world.name, "sha256": world.sha256},
        georeference=place,
        grid=options.grid,
        datum=float(world.datum(float(x), float(y))),
        rig=rig.recorded(options.modalities),
        frame_period_ns=options.period_ns,
        seed=options.seed,
        mission=plan.name,
        conditions={
            **options.conditions.recorded(world.light, place, started)[0],
            **traffic_entry(options.traffic),
        },
        start_time=started,
        attribution=world.attribution,
        kept=options.keep,
    )


def record_plan(
    world: Any,
    plan: Plan,
    rig: Rig,
    root: Path,
    options: RecordingOptions,
    *,
    started: str,
    provenance: dict[str, Any],
    resume: Path | None = None,
    threads: int | None = None,
    on_frame: Callable[[int], None] = lambda done: None,
) -> Path:
    """Simulate `plan` in `world` and write a session under `root`; `resume` is an unfinished session of the same run.

    `threads` is how many the engine renders with (None: all processors); the result does not depend on it.
    A resumed session equals an uninterrupted one: the engine's noise is a function of seed, sensor and stamp alone.
    Returns the session's folder. Raises FramesMissing, and leaves the session unclosed, when a sensor gave no data or
    fewer frames were written than were asked.
    """
    with running_engine(world, plan, rig, options, started, threads) as engine:
        return _record(engine, world, plan, rig, root, options, started, provenance, resume, on_frame)


@contextmanager
def running_engine(
    world: Any, plan: Plan, rig: Rig, options: RecordingOptions, started: str, threads: int | None = None
) -> Iterator[Any]:
    """The engine that `options` name, with the plan's vehicle; a Gazebo ends with the block."""
    vehicle = {plan.vehicle: stage("aerialworld_sim", "Vehicle")(rig, plan.trajectory())}
    light = options.conditions.recorded(world.light, world.georeference, started)[1]
    actors = moving(world, options.traffic, plan)
    if options.engine == GAZEBO:
        version = engine_entry(None, GAZEBO)["version"]
        make = stage("aerialworld_sim.gazebo.making", "gazebo_engine")
        changed = None if light is world.light else light
        with make(world, vehicle, seed=options.seed, version=version, light=changed, actors=actors) as engine:
            yield engine
        return
    yield stage("aerialworld_sim", "Engine")(
        world, vehicle, seed=options.seed, light=light, threads=threads, backend=options.backend, actors=actors
    )


def _record(
    engine: Any,
    world: Any,
    plan: Plan,
    rig: Rig,
    root: Path,
    options: RecordingOptions,
    started: str,
    provenance: dict[str, Any],
    resume: Path | None,
    on_frame: Callable[[int], None],
) -> Path:
    """Every frame of a plan from a running engine into a session."""
    Recorder = stage("aerialworld_recorder", "Recorder")
    first = 0
    if resume is None:
        meta = session_meta(plan, world, rig, options, started, engine.renderer)
        recorder = Recorder(root, meta, plan.to_dict(), provenance)
    else:
        require_renderer(resume, engine.renderer)
        recorder = Recorder.resume(resume)
        first = recorder.next_index
    inertial = rig.imu is not None and "imu" in options.modalities
    with recorder:
        for index in range(options.frames(plan)):
            if index:
                engine.step(options.period_ns)
            if index < first:
                if inertial:
                    engine.imu_samples(plan.vehicle)  # recorded before; the next frame begins after these
                continue
            record_whole(recorder, index, engine.render(plan.vehicle, modalities=options.rendered))
            on_frame(index + 1)
    return Path(recorder.path)


def record_whole(recorder: Any, index: int, frame: Any) -> None:
    """Record a frame; one that lacks a sensor stops the recording: FramesMissing names session, frame and sensors."""
    stats = recorder.record(index, frame)
    if not stats.recorded:
        raise FramesMissing(
            f"{recorder.path}: frame {index}: no data from {', '.join(stats.missing)}; the session stays unclosed"
        )


def require_renderer(session: Path, renderer: str) -> None:
    """Raises InputError when an unfinished session was begun with another renderer: its frames would not be alike."""
    begun = stage("aerialworld_core.session", "Session").open(session).meta.engine.get("renderer", renderer)
    if begun != renderer:
        raise InputError(
            f"{session}: was begun with {begun}, and here renders {renderer}; go on where it was begun, or record it "
            "anew in another --out"
        )


def difference(session: Any, expected: Any, mission: Mapping[str, Any]) -> str | None:
    """The first thing in which a recorded session is not the one that would be made: a key of session.json, or
    "mission". The number of frames and the renderer do not count."""
    # Through the same reading as the session's: angles and focal lengths are stored in other forms than they are kept.
    want = type(expected).from_dict(json.loads(json.dumps(expected.to_dict()))).to_dict()
    have = session.meta.to_dict()
    for document in (want, have):
        document["engine"] = {k: v for k, v in document["engine"].items() if k != "renderer"}
    for key in sorted((set(have) | set(want)) - {"frames", "sha256"}):
        if have.get(key) != want.get(key):
            return key
    return None if session.mission == mission else "mission"


def finished(folder: Path, expected: Any, plan: Plan) -> bool:
    """Is the session complete? Raises InputError when it was recorded from another plan or with other options."""
    session = stage("aerialworld_core.session", "Session").open(folder)
    other = difference(session, expected, plan.to_dict())
    if other == "mission":
        raise InputError(f"{folder}: was recorded from another plan; use the same plan, or another --out")
    if other:
        raise InputError(f"{folder}: was recorded with another {other}; use the same options, or another --out")
    frames = session.meta.frames
    if frames is not None and len(session.frame_indices) < frames:
        raise InputError(
            f"{folder}: was finished with {frames} frames, and {len(session.frame_indices)} are left; "
            "move it away to record it anew"
        )
    return frames is not None
