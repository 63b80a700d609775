"""From a bag to a session: the recorder's own decoders and synchroniser, fed from a file instead of a graph."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Array, Georeference
from aerialworld_core.occupancy import Occupancy
from aerialworld_core.sensing import SensorFrame
from aerialworld_core.session import SessionMeta, SessionWriter
from aerialworld_recorder.bags.bag import Bag
from aerialworld_recorder.bags.choices import DEPTH, GRID, LIDAR, Choice, ImportOptions, choose
from aerialworld_recorder.bags.errors import BagError
from aerialworld_recorder.bags.library import decoded, library
from aerialworld_recorder.bags.mcap_file import Raw
from aerialworld_recorder.bags.voxels import read_voxels
from aerialworld_recorder.errors import RecordingError
from aerialworld_recorder.lidar_occupancy import LidarProjector
from aerialworld_recorder.occupancy import OccupancyProjector
from aerialworld_recorder.recorder import MAX_CLIPPED_SHARE, encode_jpeg
from aerialworld_recorder.stream import cdr
from aerialworld_recorder.stream.assembly import Assembler
from aerialworld_recorder.stream.calibration import check_calibration
from aerialworld_recorder.stream.channels import CALIBRATIONS, Channel
from aerialworld_recorder.stream.messages import ContentError, Message
from aerialworld_recorder.stream.synchroniser import Bad, Bundle, Dropped, Restart, Synchroniser, Timing

log = logging.getLogger(__name__)

#: Stamps beyond this are the wall clock's (1973): a session's count from its start, its start_time says when that was.
WALL_CLOCK_NS = 10**17
#: Frames that wait for their voxels or ground, which come beside the sensors' messages.
MAX_WAITING = 32
#: Share of a frame's ground returns that may lie below an estimated datum.
LOWEST_PERCENTILE = 1.0
#: Of raw pictures; compressed ones are stored as they come.
JPEG_QUALITY = 95
DEFAULT_START = "2024-01-15T12:00:00Z"

Ground = Callable[[Array], Array]


@dataclass(frozen=True)
class Place:
    """Where the session lies: its world's name and hash, terrain heights (map x, y (N, 2) → z (N,)) and the lowest of
    them around a point, from a world; without one the heights of the bag, or none."""

    name: str = "unknown"
    sha256: str = ""
    georeference: Georeference | None = None
    terrain: Ground | None = None
    datum: Callable[[float, float], float] | None = None
    attribution: str = ""


@dataclass(eq=False)
class Imported:
    """What came of it: the sessions (more than one where time was reset), and counts."""

    sessions: list[Path] = field(default_factory=list)
    frames: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    bad: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def import_bag(
    path: Path,
    root: Path,
    options: ImportOptions,
    *,
    place: Place | None = None,
    provenance: Mapping[str, Any],
    conditions: Mapping[str, Any] | None = None,
    on_frame: Callable[[int], None] = lambda done: None,
) -> Imported:
    """Write the session of one vehicle of a bag into a new folder under `root`.

    Frames, poses and drops are those of the recorder's node on the same messages. Without a world the datum is
    `options.datum`, or that of the exported session, or estimated from the lowest returns; `engine.datum` in
    session.json says which. Raises BagError for a bag that cannot be read (after the frames before the damage were
    written, unless `options.partial`), InputError when it lacks what a session needs.
    """
    with Bag(Path(path)) as bag:
        choice = choose(bag, options)
        importer = _Importer(bag, Path(root), choice, options, place or Place(), provenance, conditions, on_frame)
        return importer.run()


class _Importer:
    def __init__(
        self,
        bag: Bag,
        root: Path,
        choice: Choice,
        options: ImportOptions,
        place: Place,
        provenance: Mapping[str, Any],
        conditions: Mapping[str, Any] | None,
        on_frame: Callable[[int], None],
    ) -> None:
        self.bag, self.root, self.choice, self.options, self.place = bag, root, choice, options, place
        self.provenance, self.conditions, self.on_frame = provenance, conditions, on_frame
        self.done = Imported(notes=list(choice.notes))
        self.offset: int | None = None
        self.specs = {c.name: c for c in choice.rig.cameras}
        self.faces = {f.name: f for f in choice.rig.depth}
        self.assembler = Assembler(choice.rig, lambda x, y: float("nan"))
        self.writer: SessionWriter | None = None
        self.beside: dict[str, dict[int, Raw]] = {"occupancy": {}, "ground": {}}
        self.clipped = self.seen = 0.0

    def run(self) -> Imported:
        meta = self._meta()
        makers: dict[str, Callable[[Bundle, SensorFrame], Occupancy | None]] = {
            GRID: self._given, DEPTH: self._by_depth, LIDAR: self._by_lidar
        }  # fmt: skip
        self._make = makers[self.choice.source]
        if self.choice.source == DEPTH:
            self._projector = OccupancyProjector(self.choice.rig, meta.grid, meta.datum)
        elif self.choice.source == LIDAR:
            assert self.choice.rig.lidar is not None
            self._lidar = LidarProjector(self.choice.rig.lidar, meta.grid, meta.datum)
        try:
            waiting: list[Bundle] = []
            for event in self._events(self.choice.channels, beside=True):
                if isinstance(event, Bundle):
                    waiting.append(event)
                elif isinstance(event, Restart):
                    self._write(waiting, meta, all_of_them=True)
                    self._end_session()
                elif isinstance(event, Dropped):
                    self.done.dropped.update(dict.fromkeys(event.missing, event.ticks))
                elif isinstance(event, Bad):
                    self._tell_bad(event)
                self._write(waiting, meta)
            self._write(waiting, meta, all_of_them=True)
        except BagError as error:
            if not self.options.partial:
                written = f"; {self.done.frames} frames before it are in {self.writer.path}" if self.writer else ""
                self._release()
                raise BagError(f"{error}{written}; --partial accepts a bag up to its damage") from error
            self._write(waiting, meta, all_of_them=True)
            self.done.notes.append(str(error))
        except BaseException:
            self._release()
            raise
        self._end_session()
        if not self.done.frames:
            self._refuse_empty()
        return self.done

    def _refuse_empty(self) -> None:
        lacking = ", ".join(f"{name} ({n} ticks)" for name, n in self.done.dropped.most_common(8))
        bad = ", ".join(f"{n} × {text}" for text, n in self.done.bad.most_common(3))
        raise InputError(
            f"{self.bag.path}: no frame has all sensors of the rig; missing: {lacking or 'a common stamp of all'}"
            + (f"; unusable messages: {bad}" if bad else "")
        )

    def _tell_bad(self, event: Bad) -> None:
        text = f"{event.topic}: {event.reason}"
        self.done.bad[text] += 1
        if self.done.bad[text] == 1:
            log.warning("%s", event)

    def _release(self) -> None:
        if self.writer is not None:
            self.writer.release()

    def _end_session(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    # --- what comes out of the bag -----------------------------------------------------------------------------------

    def _timing(self) -> Timing:
        phase = 0 if self.choice.document is not None else None
        return Timing(
            self.choice.period_ns, self.choice.tolerance_ns, phase_ns=phase, max_gap_ns=self.options.max_gap_ns,
            velocity=self.options.velocity,
        )  # fmt: skip

    def _events(self, channels: tuple[Channel, ...], *, beside: bool) -> Iterator[Any]:
        """Bundles and what else the synchroniser says of the bag's messages; voxels and ground go to `beside`."""
        by_topic = {c.topic: c for c in channels}
        aside = {self.choice.extra[k]: k for k in self.beside if k in self.choice.extra} if beside else {}
        synchroniser = Synchroniser(channels, self._timing(), self.assembler.check)
        damage: BagError | None = None
        try:
            for raw in self.bag.messages({*by_topic, *aside}):
                yield from self._of_message(raw, by_topic, aside, synchroniser)
        except BagError as error:
            damage = error
        yield from synchroniser.finish()
        if damage is not None:
            raise damage

    def _of_message(
        self, raw: Raw, by_topic: Mapping[str, Channel], aside: Mapping[str, str], synchroniser: Synchroniser
    ) -> Iterator[Any]:
        try:
            stamp = cdr.stamp_of(raw.data)
            if self.offset is None:
                self.offset = stamp // 10**9 * 10**9 if stamp > WALL_CLOCK_NS else 0
            stamp -= self.offset
            if stamp < 0:
                raise ContentError("its stamp is before the bag's first")
            if raw.topic in aside:
                kept = self.beside[aside[raw.topic]]
                kept[stamp] = raw
                while len(kept) > 2 * MAX_WAITING:
                    del kept[min(kept)]
                return
            channel = by_topic[raw.topic]
            if raw.type != channel.type:
                raise ContentError(f"it is {raw.type[:80]}, where {channel.type} is expected")
            message = Message(raw.topic, stamp, cdr.message(raw.topic, raw.type, raw.data).load)
            if channel.kind in CALIBRATIONS:
                spec = self.specs.get(channel.sensor or "") or self.faces[channel.sensor or ""]
                check_calibration(message.load(), spec)
                return
        except ContentError as error:
            if raw.topic in by_topic and by_topic[raw.topic].kind in CALIBRATIONS:
                raise InputError(f"{self.bag.path}: {raw.topic}: {error}; give the rig that recorded it") from error
            yield Bad(raw.topic, raw.log_ns, str(error))
            return
        yield from synchroniser.put(message)

    # --- frames ------------------------------------------------------------------------------------------------------

    def _write(self, waiting: list[Bundle], meta: SessionMeta, *, all_of_them: bool = False) -> None:
        """Record the frames whose voxels and ground have come, in order; they wait for those no longer than some."""
        while waiting:
            stamp = waiting[0].stamp_ns
            whole = all(stamp in self.beside[k] for k in self.beside if k in self.choice.extra)
            if not whole and not all_of_them and len(waiting) < MAX_WAITING:
                return
            self._record(waiting.pop(0), meta)
            for kept in self.beside.values():
                for old in [s for s in kept if s <= stamp]:
                    del kept[old]

    def _record(self, bundle: Bundle, meta: SessionMeta) -> None:
        try:
            frame, images = self._frame(bundle)
            occupancy = self._make(bundle, frame)
        except ContentError as error:
            self._tell_bad(Bad(f"frame {bundle.index}", bundle.stamp_ns, str(error)))
            return
        if occupancy is None:
            self.done.dropped["occupancy"] += 1
            return
        if self.writer is None:
            self.writer = SessionWriter(self.root, meta, self.choice.mission, self._provenance())
            self.done.sessions.append(self.writer.path)
        bare = dataclasses.replace(frame, images={}, depth={}, semantic={})
        self.writer.write_frame(bundle.index, bare, occupancy, images)
        self.done.frames += 1
        self.on_frame(self.done.frames)

    def _provenance(self) -> dict[str, Any]:
        return {**self.provenance, "bag": self.bag.path.name, "occupancy": self.choice.source}

    def _frame(self, bundle: Bundle) -> tuple[SensorFrame, dict[str, bytes]]:
        """A bundle's messages as a SensorFrame, and the JPEGs. Raises ContentError."""
        frame, jpegs = self.assembler.frame(bundle)
        frame.ground_z = self._ground(bundle)
        jpegs |= {name: encode_jpeg(picture, JPEG_QUALITY) for name, picture in frame.images.items()}
        return frame, {name.upper(): data for name, data in jpegs.items()}

    def _ground(self, bundle: Bundle) -> float:
        """The terrain's height below the vehicle: the world's, the bag's, or not known (NaN)."""
        if self.place.terrain is not None:
            return float(self.place.terrain(bundle.state.pose.position[None, :2])[0])
        raw = self.beside["ground"].get(bundle.stamp_ns)
        if raw is None:
            return float("nan")
        try:
            z = float(decoded("geometry_msgs/msg/PointStamped", raw.data).point.z)
        except ValueError as error:
            raise ContentError(str(error)) from error
        if not np.isfinite(z):
            raise ContentError(f"{raw.topic}: a ground at {z}")
        return z

    def _given(self, bundle: Bundle, frame: SensorFrame) -> Occupancy | None:
        raw = self.beside["occupancy"].get(bundle.stamp_ns)
        return None if raw is None else read_voxels(raw.data, self.choice.grid)

    def _by_depth(self, bundle: Bundle, frame: SensorFrame) -> Occupancy:
        occupancy = self._projector.project(frame.state.pose, frame.depth, frame.semantic)
        last = self._projector.last
        assert last is not None
        self.seen, self.clipped = self.seen + last.seen_area, self.clipped + last.clipped_area
        if self.clipped > MAX_CLIPPED_SHARE * self.seen:
            raise RecordingError(
                f"{self.bag.path}: at {bundle.stamp_ns * 1e-9:.3f} s {100 * last.clipped_share:.2f} % of what is seen "
                "lies below the grid; give a lower --datum, or a grid that begins lower"
            )
        return occupancy

    def _by_lidar(self, bundle: Bundle, frame: SensorFrame) -> Occupancy:
        assert frame.lidar is not None
        return self._lidar.project(frame.state.pose, frame.lidar)

    # --- what the session is -----------------------------------------------------------------------------------------

    def _meta(self) -> SessionMeta:
        choice, options, document = self.choice, self.options, self.choice.document
        datum, origin = self._datum()
        georeference = options.georeference or self.place.georeference or (document.georeference if document else None)
        georeference = georeference or self._georeference()
        start = options.start_time or (document.start_time if document else None)
        if start is None:
            start = DEFAULT_START
            if self._first_offset():
                start = datetime.fromtimestamp(self._first_offset() / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        world = {"name": self.place.name, "sha256": self.place.sha256}
        if document is not None and not self.place.sha256:
            world = dict(document.world)
        agent = document.agent_type if document else ("rover" if choice.vehicle.startswith("rover") else "drone")
        engine = {"name": "bag", "version": "1", "datum": origin, "occupancy": choice.source}
        return SessionMeta(
            vehicle=choice.vehicle,
            agent_type=agent,
            engine=engine,
            world=world,
            georeference=georeference,
            grid=choice.grid,
            datum=datum,
            rig=choice.rig,
            frame_period_ns=choice.period_ns,
            seed=document.seed if document else 0,
            mission=document.mission if document else "",
            conditions=self.conditions if self.conditions is not None else (document.conditions if document else {}),
            start_time=start,
            attribution=self.place.attribution or (document.attribution if document else ""),
        )

    def _first_offset(self) -> int:
        """Whole seconds of the first stamp where stamps are the wall clock's, in nanoseconds; 0 where they are not."""
        if self.offset is None:
            for raw in self.bag.messages({c.topic for c in self.choice.channels}):
                try:
                    stamp = cdr.stamp_of(raw.data)
                except ContentError:
                    continue
                self.offset = stamp // 10**9 * 10**9 if stamp > WALL_CLOCK_NS else 0
                break
        return self.offset or 0

    def _datum(self) -> tuple[float, str]:
        """Map z of the grid's zero, and where it is known from: given, session, world or estimated."""
        if self.options.datum is not None:
            return self.options.datum, "given"
        if self.choice.document is not None:
            return self.choice.document.datum, "session"
        if self.place.datum is not None:
            x, y, _ = self._first_position()
            return float(self.place.datum(x, y)), "world"
        lowest = self._lowest_return()
        self.done.notes.append(f"the datum {lowest:.2f} m is estimated from the lowest returns; --datum gives it")
        return lowest, "estimated"

    def _first_position(self) -> Array:
        for event in self._events(self.choice.channels, beside=False):
            if isinstance(event, Bundle):
                return event.state.pose.position
        raise InputError(f"{self.bag.path}: no frame has all sensors of the rig")

    def _lowest_return(self) -> float:
        """The least of the frames' first percentiles of return heights: single stray returns do not count."""
        lowest = np.inf
        needed = tuple(c for c in self.choice.channels if c.kind in ("odom", "lidar", "depth"))
        if not any(c.kind in ("lidar", "depth") for c in needed):
            raise InputError(f"{self.bag.path}: nothing in it tells where the ground is; give --datum (map z, metres)")
        try:
            for event in self._events(needed, beside=False):
                if isinstance(event, Bundle):
                    heights = self._return_heights(event)
                    if len(heights):
                        lowest = min(lowest, float(np.percentile(heights, LOWEST_PERCENTILE)))
        except BagError:
            if not np.isfinite(lowest):
                raise  # else what is there tells enough, and the damage is met again when frames are made
        if not np.isfinite(lowest):
            raise InputError(f"{self.bag.path}: no return tells where the ground is; give --datum (map z, metres)")
        return lowest

    def _return_heights(self, bundle: Bundle) -> NDArray[np.float64]:
        """Map z (N,) of a frame's LiDAR returns, or else of its depth faces' hits."""
        pose, parts = bundle.state.pose, []
        try:
            frame, _ = self._frame(dataclasses.replace(bundle, imu=None))
        except ContentError:
            return np.zeros(0)
        lidar = self.choice.rig.lidar
        if frame.lidar is not None and lidar is not None:
            return pose.transform(lidar.pose.transform(frame.lidar[:, :3]))[:, 2]
        for name, depth in frame.depth.items():
            spec = self.faces[name]
            v, u = np.nonzero(np.isfinite(depth) & (depth > 0))
            z = depth[v, u].astype(np.float64)
            x = (u + 0.5 - spec.width / 2) / spec.focal * z
            y = (v + 0.5 - spec.height / 2) / spec.focal * z
            parts.append(pose.transform(spec.optical_pose.transform(np.column_stack([x, y, z])))[:, 2])
        return np.concatenate(parts) if parts else np.zeros(0)

    def _georeference(self) -> Georeference:
        """Where map's origin lies, by the first satellite fix and the pose at it."""
        topic = self.choice.extra.get("navsat")
        if topic is None:
            raise InputError(
                f"{self.bag.path}: nothing tells where on earth it lies; give --georeference LATITUDE,LONGITUDE,HEIGHT "
                "of map's origin, or --world"
            )
        channel = next(c for c in self.choice.channels if c.kind == "odom")
        fix = pose = None
        for raw in self.bag.messages({topic, channel.topic}):
            try:
                if raw.topic == topic:
                    found = decoded("sensor_msgs/msg/NavSatFix", raw.data)
                    place = (found.latitude, found.longitude, found.altitude)
                    fix = fix or (place if found.status.status >= 0 and np.isfinite(place).all() else None)
                else:
                    payload: Any = cdr.message(raw.topic, channel.type, raw.data).load()
                    pose = pose if pose is not None and fix is None else payload.position
            except (ContentError, ValueError):
                continue
            if fix and pose is not None:
                break
        if fix is None or pose is None:
            raise InputError(f"{self.bag.path}: {topic} has no fix; give --georeference LATITUDE,LONGITUDE,HEIGHT")
        to_origin = [-v for v in pose]
        latitude, longitude, height = library("pymap3d").enu2geodetic(*to_origin, *fix)
        self.done.notes.append("map's place on earth is that of the first satellite fix")
        return Georeference(float(latitude), float(longitude), float(height))
