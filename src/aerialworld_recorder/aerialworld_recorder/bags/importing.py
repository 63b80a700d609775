"""From a bag to a session: the recorder's own decoders and synchroniser, fed from a file instead of a graph."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aerialworld_core.errors import InputError
from aerialworld_core.files import read_json, write_json
from aerialworld_core.occupancy import Occupancy
from aerialworld_core.sensing import SensorFrame
from aerialworld_core.session import SessionMeta, SessionWriter
from aerialworld_core.session.layout import PROVENANCE_FILE
from aerialworld_recorder.bags.bag import Bag
from aerialworld_recorder.bags.choices import DEPTH, GRID, LIDAR, Choice, ImportOptions, choose
from aerialworld_recorder.bags.description import Describer, Place
from aerialworld_recorder.bags.errors import BagError
from aerialworld_recorder.bags.kept import png_of
from aerialworld_recorder.bags.library import decoded
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
#: Frames that wait for their voxels, ground or kept images, which come beside the sensors' messages.
MAX_WAITING = 32
#: Bytes of these that wait for their frames.
MAX_WAITING_BYTES = 512 * 1024 * 1024
#: Of these the keys of what the map file names.
BESIDE = ("occupancy", "ground")
#: Of raw pictures; compressed ones are stored as they come.
JPEG_QUALITY = 95


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
        self.offset = self._first_second()
        self.specs = {c.name: c for c in choice.rig.cameras}
        self.faces = {f.name: f for f in choice.rig.depth}
        self.assembler = Assembler(choice.rig, lambda x, y: float("nan"))
        self.writer: SessionWriter | None = None
        #: What comes beside: topic → stamp → message.
        self.beside: dict[str, dict[int, Raw]] = {
            topic: {}
            for topic in (*(choice.extra[k] for k in BESIDE if k in choice.extra), *choice.images.topics.values())
        }
        #: Of these what went back in time: the next session's, should it turn out that time was reset.
        self.after_reset: dict[str, dict[int, Raw]] = {topic: {} for topic in self.beside}
        self.latest: dict[str, int] = {}
        self.waiting_bytes = 0
        self.clipped = self.seen = 0.0

    def run(self) -> Imported:
        meta = Describer(
            self.bag, self.choice, self.options, self.place, self.conditions, self.offset, self.done.notes,
            events=lambda channels: self._events(channels, beside=False), frame=lambda bundle: self._frame(bundle)[0],
        ).meta()  # fmt: skip
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
                    self._begin_again()
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
        if self.writer is None:
            return
        told = {"frames": self.writer.frames, "missing": dict(self.done.dropped), "unusable": dict(self.done.bad)}
        file = self.writer.path / PROVENANCE_FILE
        write_json(file, {**read_json(file), "import": told})
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
        aside = self.beside if beside else {}
        synchroniser = Synchroniser(channels, self._timing(), self.assembler.check)
        damage: BagError | None = None
        try:
            for raw in self.bag.messages({*by_topic, *aside}):
                yield from self._of_message(raw, by_topic, raw.topic in aside, synchroniser)
        except BagError as error:
            damage = error
        yield from synchroniser.finish()
        if damage is not None:
            raise damage

    def _of_message(
        self, raw: Raw, by_topic: Mapping[str, Channel], beside: bool, synchroniser: Synchroniser
    ) -> Iterator[Any]:
        try:
            stamp = cdr.stamp_of(raw.data, raw.type) - self.offset
            if stamp < 0:
                raise ContentError("its stamp is before the bag's first")
            if beside:
                self._set_aside(stamp, raw)
                if raw.topic not in by_topic:
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

    def _set_aside(self, stamp: int, raw: Raw) -> None:
        """Keep what belongs to the frame at `stamp` until that comes; where nothing asks for it the oldest goes."""
        latest = self.latest.get(raw.topic, stamp)
        back = stamp < latest - Timing.reorder_ns
        self.latest[raw.topic] = max(latest, stamp)
        kept = (self.after_reset if back else self.beside)[raw.topic]
        self.waiting_bytes += len(raw.data) - (len(kept[stamp].data) if stamp in kept else 0)
        kept[stamp] = raw
        while len(kept) > 2 * MAX_WAITING or (self.waiting_bytes > MAX_WAITING_BYTES and len(kept) > 1):
            self._forget(kept, min(kept))

    def _begin_again(self) -> None:
        """Time was reset: what has come of the new session already is all that waits."""
        self.beside, self.after_reset = self.after_reset, {topic: {} for topic in self.beside}
        self.latest = {topic: max(kept) for topic, kept in self.beside.items() if kept}
        self.waiting_bytes = sum(len(raw.data) for kept in self.beside.values() for raw in kept.values())

    def _forget(self, kept: dict[int, Raw], stamp: int) -> None:
        self.waiting_bytes -= len(kept.pop(stamp).data)

    # --- frames ------------------------------------------------------------------------------------------------------

    def _write(self, waiting: list[Bundle], meta: SessionMeta, *, all_of_them: bool = False) -> None:
        """Record the frames whose voxels and ground have come, in order; they wait for those no longer than some."""
        while waiting:
            stamp = waiting[0].stamp_ns
            whole = all(stamp in kept for kept in self.beside.values())
            if not whole and not all_of_them and len(waiting) < MAX_WAITING:
                return
            self._record(waiting.pop(0), meta)
            for kept in self.beside.values():
                for old in [s for s in kept if s <= stamp]:
                    self._forget(kept, old)

    def _record(self, bundle: Bundle, meta: SessionMeta) -> None:
        try:
            frame, images = self._frame(bundle)
            occupancy = self._make(bundle, frame)
            extra = self._images(bundle)
        except ContentError as error:
            self._tell_bad(Bad(f"frame {bundle.index}", bundle.stamp_ns, str(error)))
            return
        missing = ["occupancy"] if occupancy is None else []
        missing += [f"kept {kind} {name}" for kind, name in self.choice.images.topics if (kind, name) not in extra]
        if occupancy is None or missing:
            self.done.dropped.update(missing)
            return
        if self.writer is None:
            self.writer = SessionWriter(self.root, meta, self.choice.mission, self._provenance())
            self.done.sessions.append(self.writer.path)
        self.writer.write_frame(bundle.index, frame.without_images(), occupancy, images, extra)
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
        raw = self._beside("ground", bundle)
        if raw is None:
            return float("nan")
        try:
            z = float(decoded("geometry_msgs/msg/PointStamped", raw.data).point.z)
        except ValueError as error:
            raise ContentError(str(error)) from error
        if not np.isfinite(z):
            raise ContentError(f"{raw.topic}: a ground at {z}")
        return z

    def _beside(self, key: str, bundle: Bundle) -> Raw | None:
        topic = self.choice.extra.get(key)
        return None if topic is None else self.beside[topic].get(bundle.stamp_ns)

    def _images(self, bundle: Bundle) -> dict[tuple[str, str], bytes]:
        """The kept images that have come for a frame, as files. Raises ContentError, naming the topic."""
        specs = {name.upper(): spec for name, spec in self.specs.items()} | self.faces
        found = {}
        for (kind, name), topic in self.choice.images.topics.items():
            raw = self.beside[topic].get(bundle.stamp_ns)
            try:
                if raw is not None:
                    found[kind, name] = png_of(kind, specs[name], raw.data)
            except ContentError as error:
                raise ContentError(f"{topic}: {error}") from error
        return found

    def _given(self, bundle: Bundle, frame: SensorFrame) -> Occupancy | None:
        raw = self._beside("occupancy", bundle)
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

    def _first_second(self) -> int:
        """What is taken from all stamps, in nanoseconds: the whole seconds of the first odometry where stamps are the
        wall clock's, 0 where they are a simulation's."""
        odometry = next(c.topic for c in self.choice.channels if c.kind == "odom")
        for raw in self.bag.messages({odometry}):
            try:
                stamp = cdr.stamp_of(raw.data)
            except ContentError:
                continue  # told when it is met again
            return stamp // 10**9 * 10**9 if stamp > WALL_CLOCK_NS else 0
        return 0
