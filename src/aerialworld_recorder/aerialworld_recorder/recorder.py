"""From sensor frames to a session: check, encode, project, write."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from aerialworld_core.boxes import frame_boxes
from aerialworld_core.files import read_json, write_json
from aerialworld_core.occupancy import Occupancy
from aerialworld_core.processors import processors
from aerialworld_core.rig import Rig
from aerialworld_core.sensing import SensorFrame
from aerialworld_core.session import SessionMeta, SessionWriter, extra_files
from aerialworld_core.stopwatch import IDLE, Stopwatch
from aerialworld_recorder.background_writer import BackgroundWriter, FinishedFrame
from aerialworld_recorder.errors import RecordingError
from aerialworld_recorder.fusion import LIDAR
from aerialworld_recorder.lidar_occupancy import LidarProjector
from aerialworld_recorder.occupancy import OccupancyProjector

log = logging.getLogger(__name__)

#: Of the seen surface, the share that may lie below the grid.
MAX_CLIPPED_SHARE = 1e-3


@dataclass(frozen=True)
class FrameStats:
    """What became of one frame.

    recorded          False when a required sensor was missing: the frame is dropped and its number left out
    missing           the sensors that were missing, e.g. ("camera cam_front", "lidar")
    occupied, observed  voxels
    clipped_share     of the seen surface, below the grid (see ProjectionStats)
    unlabelled_share  of the depth hits, without a class
    outside           the vehicle is above the grid's top or below its bottom
    """

    index: int
    recorded: bool
    missing: tuple[str, ...] = ()
    occupied: int = 0
    observed: int = 0
    clipped_share: float = 0.0
    unlabelled_share: float = 0.0
    outside: bool = False


@dataclass
class _Counters:
    asked: int = 0
    recorded: int = 0
    outside: int = 0
    above: int = 0
    hits: int = 0
    unlabelled: float = 0.0
    seen_area: float = 0.0
    clipped_area: float = 0.0
    dropped: dict[int, tuple[str, ...]] = field(default_factory=dict)


class Recorder:
    """Writes one vehicle's session, frame by frame, into a new folder under `root`.

    meta           its rig says which sensors every frame must bring, `kept` which images are stored besides, and
                   whether the cameras' boxes are; its grid and datum which voxels are projected: from the depth faces,
                   or where `engine.occupancy` is "lidar" from the LiDAR's returns
    mission        the plan, as it is kept in mission.json
    provenance     what may differ between equal runs (time, host, versions); the recorder adds its summary at the end
    jpeg_quality   1–100, with 4:2:0 chroma
    stopwatch      is told the CPU time of the stages place, join, vote, carve, settle, jpeg, check, encode and write

    As a context manager it closes the session on success. After an exception or Ctrl-C the frames recorded so far are
    on disk and the session stays unclosed: `Recorder.resume(path)` continues it. `record` returns while the frame is
    still being written on another thread; an error there is raised by the next `record` or by `close`. The arrays of a
    recorded frame must not be changed afterwards.
    """

    def __init__(
        self,
        root: Path,
        meta: SessionMeta,
        mission: Mapping[str, Any],
        provenance: Mapping[str, Any],
        *,
        jpeg_quality: int = 95,
        stopwatch: Stopwatch = IDLE,
    ) -> None:
        # The rig as it will be read from session.json, which differs in a last bit: a resumed session, whose rig was
        # read from there, projects the same voxels. Exactly once: a second round trip differs in another last bit.
        projector, pool = self._prepare(meta, Rig.from_dict(meta.rig.to_dict()), jpeg_quality, stopwatch)
        writer = SessionWriter(Path(root), meta, dict(mission), dict(provenance), stopwatch=stopwatch)
        self._start(writer, projector, pool, jpeg_quality, stopwatch)

    @classmethod
    def resume(
        cls,
        path: Path,
        *,
        provenance: Mapping[str, Any] | None = None,
        jpeg_quality: int = 95,
        stopwatch: Stopwatch = IDLE,
    ) -> Recorder:
        """Continue a session; `next_index` is the first frame to record.

        Raises SessionError when it is damaged or held by another process. The counters of `summary` are those of this
        part of the recording.
        """
        recorder = cls.__new__(cls)
        writer = SessionWriter.resume(Path(path), provenance=provenance, stopwatch=stopwatch)
        try:
            projector, pool = cls._prepare(writer.meta, writer.meta.rig, jpeg_quality, stopwatch)
        except BaseException:
            writer.release()
            raise
        recorder._start(writer, projector, pool, jpeg_quality, stopwatch)
        return recorder

    @staticmethod
    def _prepare(
        meta: SessionMeta, rig: Rig, jpeg_quality: int, stopwatch: Stopwatch
    ) -> tuple[OccupancyProjector | LidarProjector, ThreadPoolExecutor]:
        if not 1 <= jpeg_quality <= 100:
            raise RecordingError(f"jpeg_quality must be 1 to 100, not {jpeg_quality}")
        files = len(meta.rig.cameras) + len(meta.kept_images) * len(extra_files.image_sizes(meta.rig, meta.faces_only))
        threads = max(1, min(processors(), files))
        pool = ThreadPoolExecutor(threads, "jpeg")
        if meta.engine.get("occupancy") != LIDAR:
            return OccupancyProjector(rig, meta.grid, meta.datum, stopwatch=stopwatch), pool
        if rig.lidar is None:
            raise RecordingError(f"rig {rig.name}: has no LiDAR to make occupancy of")
        return LidarProjector(rig.lidar, meta.grid, meta.datum), pool

    def _start(
        self,
        writer: SessionWriter,
        projector: OccupancyProjector | LidarProjector,
        pool: ThreadPoolExecutor,
        jpeg_quality: int,
        stopwatch: Stopwatch,
    ) -> None:
        self.meta, self.path = writer.meta, writer.path
        self._next = writer.next_index
        self._frames_before = writer.frames
        self._writer, self._projector, self._pool, self._quality = writer, projector, pool, jpeg_quality
        self._background = BackgroundWriter(writer)
        self._counters = _Counters()
        self._closed = False
        #: Voxels of the frame that was recorded last.
        self.occupancy: Occupancy | None = None
        self._watch = stopwatch

    @property
    def next_index(self) -> int:
        """The lowest frame number that `record` takes."""
        return self._next

    def record(self, index: int, frame: SensorFrame, encoded: Mapping[str, bytes] | None = None) -> FrameStats:
        """Record the frame of tick `index` (numbers increase). A frame that lacks a sensor of the rig is dropped and
        counted, never filled in. Pictures of cameras in `encoded` (name as in the rig → JPEG bytes) are stored as they
        are, the others of `frame` encoded. Raises RecordingError when an image does not fit the rig or the grid lies
        too high for what is seen, and whatever stopped the writing of an earlier frame."""
        ready = encoded or {}
        missing = missing_sensors(self.meta, frame, ready)
        if missing:
            log.warning("%s: frame %d dropped: no %s", self.path.name, index, ", ".join(missing))
            return self.drop(index, missing)
        self._count_in(index)
        pictures = {
            c.name.upper(): self._image(index, c.name, c.height, c.width, frame)
            for c in self.meta.rig.cameras
            if c.name not in ready
        }
        encoding = {name: self._pool.submit(self._encode, image) for name, image in pictures.items()}
        kept = {
            (kind, name): self._pool.submit(extra_files.encode, kind, image)
            for kind in self.meta.kept_images
            for name, image in extra_files.frame_images(frame, self.meta.rig, kind, self.meta.faces_only)
            if image is not None
        }
        boxes = self._pool.submit(frame_boxes, frame, self.meta.rig) if self.meta.keeps_boxes else None
        occupancy = self.occupancy = self._project(frame)
        images = {name.upper(): bytes(data) for name, data in ready.items()}
        images |= {name: future.result() for name, future in encoding.items()}
        extra = {key: future.result() for key, future in kept.items()}
        stored = frame.without_images()
        if boxes is not None:
            stored.boxes = boxes.result()
        stats = self._count(index, frame)
        # Pictures and depth are not stored as arrays: let them go before the frame waits its turn.
        self._background.put(FinishedFrame(index, stored, occupancy, images, extra))
        self._counters.recorded += 1
        return stats

    def _project(self, frame: SensorFrame) -> Occupancy:
        if isinstance(self._projector, OccupancyProjector):
            return self._projector.project(frame.state.pose, frame.depth, frame.semantic)
        assert frame.lidar is not None, "a rig with a LiDAR, and a frame that lacks nothing"
        return self._projector.project(frame.state.pose, frame.lidar)

    def drop(self, index: int, missing: tuple[str, ...]) -> FrameStats:
        """Count the frame of tick `index` as dropped, for want of these sensors. Raises as `record`."""
        self._count_in(index)
        self._counters.dropped[index] = missing
        return FrameStats(index, False, missing)

    def _count_in(self, index: int) -> None:
        """A frame that was asked for: numbers increase, and nothing has stopped the writing."""
        if self._closed:
            raise RecordingError(f"{self.path}: is closed")
        self._background.check()
        if index < self._next:
            raise RecordingError(
                f"{self.path.name}: frame {index} follows frame {self._next - 1}; numbers must increase"
            )
        self._counters.asked += 1
        self._next = index + 1

    def _encode(self, image: NDArray[np.uint8]) -> bytes:
        with self._watch.stage("jpeg"):
            return encode_jpeg(image, self._quality)

    def _image(self, index: int, name: str, height: int, width: int, frame: SensorFrame) -> NDArray[np.uint8]:
        image = frame.images[name]
        if image.shape != (height, width, 3) or image.dtype != np.uint8:
            raise RecordingError(
                f"{self.path.name}: frame {index}: camera {name} is {image.dtype} {image.shape}; "
                f"the rig says uint8 {(height, width, 3)}"
            )
        return np.ascontiguousarray(image)

    def _count(self, index: int, frame: SensorFrame) -> FrameStats:
        """Add the frame's projection to the counters; refuse it when the grid clips what is seen."""
        seen, c, grid = self._projector.last, self._counters, self.meta.grid
        assert seen is not None
        c.seen_area += seen.seen_area
        c.clipped_area += seen.clipped_area
        if c.clipped_area > MAX_CLIPPED_SHARE * c.seen_area:
            raise RecordingError(
                f"{self.path.name}: frame {index}: {100 * seen.clipped_share:.2f} % of the seen surface lies below the "
                f"grid, whose bottom is {self.meta.datum + grid.minimum[2]:.2f} m in map "
                f"(datum {self.meta.datum:.2f} m, lowest voxel {grid.minimum[2]:g} m); record again with "
                f"the datum at the lowest terrain around the flight, or with a grid that begins lower"
            )
        c.hits += seen.hits
        c.unlabelled += seen.unlabelled_share * seen.hits
        c.above += seen.above
        height = float(frame.state.pose.position[2]) - self.meta.datum
        outside = not grid.minimum[2] <= height < grid.maximum[2]
        if outside:
            if c.outside == 0:
                log.warning(
                    "%s: frame %d: the vehicle is %.1f m above the datum, outside the grid (%g … %g m)",
                    self.path.name, index, height, grid.minimum[2], grid.maximum[2],
                )  # fmt: skip
            c.outside += 1
        return FrameStats(
            index, True, (), seen.occupied, seen.observed, seen.clipped_share, seen.unlabelled_share, outside
        )

    def summary(self) -> dict[str, Any]:
        """Counters of this recording; complete once closed.

        `frames_asked` = `frames_written` + `frames_dropped` when all went well; `dropped` names each lost frame's
        missing sensors; `vehicle_outside_grid` counts frames; `hits_above_grid` pixels; shares are over all frames.
        """
        c = self._counters
        return {
            "frames_asked": c.asked,
            "frames_written": self._writer.frames - self._frames_before,
            "frames_dropped": len(c.dropped),
            "dropped": {str(i): list(names) for i, names in c.dropped.items()},
            "vehicle_outside_grid": c.outside,
            "hits_above_grid": c.above,
            "clipped_share": c.clipped_area / c.seen_area if c.seen_area else 0.0,
            "unlabelled_share": c.unlabelled / c.hits if c.hits else 0.0,
        }

    def close(self) -> dict[str, Any]:
        """Finish writing, close the session and return the summary. Raises what stopped the writing; the session then
        stays unclosed, with the frames written until then. Calling it twice does nothing more."""
        if self._closed:
            return self.summary()
        try:
            self._background.finish()
            summary = self.summary()
            provenance = self.path / "provenance.json"
            write_json(provenance, {**read_json(provenance), "recorder": summary})
            self._writer.close()
        finally:
            self._end()
        if summary["frames_dropped"]:
            log.warning(
                "%s: %d of %d frames were dropped for missing sensors",
                self.path.name, summary["frames_dropped"], summary["frames_asked"],
            )  # fmt: skip
        if summary["unlabelled_share"] > 0.0 and isinstance(self._projector, OccupancyProjector):
            log.warning(
                "%s: %.2f %% of the depth hits bear class 0: others, or visuals without a label",
                self.path.name, 100 * summary["unlabelled_share"],
            )  # fmt: skip
        return summary

    def abort(self) -> None:
        """Finish the frames that are queued and let the session go unclosed, for `resume`. Raises nothing new."""
        if self._closed:
            return
        try:
            self._background.finish()
        except Exception as error:
            log.error("%s: %s", self.path.name, error)
        finally:
            self._end()

    def _end(self) -> None:
        self._closed = True
        self._writer.release()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


def missing_sensors(
    meta: SessionMeta, frame: SensorFrame, encoded: Mapping[str, bytes] | None = None
) -> tuple[str, ...]:
    """The sensors of the rig that a frame lacks; pictures may be in `encoded` already."""
    pictures = {*frame.images, *(encoded or {})}
    missing = [f"camera {c.name}" for c in meta.rig.cameras if c.name not in pictures]
    missing += [f"depth {c.name}" for c in meta.rig.depth if c.name not in frame.depth]
    missing += [f"semantic {c.name}" for c in meta.rig.depth if c.name not in frame.semantic]
    for kind in meta.kept_images:
        missing += [
            f"{kind} {name}"
            for name, image in extra_files.frame_images(frame, meta.rig, kind, meta.faces_only)
            if image is None
        ]
    if meta.rig.lidar is not None and frame.lidar is None:
        missing.append("lidar")
    if meta.rig.imu is not None and frame.imu is None:
        missing.append("imu")
    return tuple(dict.fromkeys(missing))


def encode_jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    """(H, W, 3) uint8 RGB to JPEG with 4:2:0 chroma."""
    return bytes(simplejpeg.encode_jpeg(image, quality=quality, colorspace="RGB", colorsubsampling="420"))
