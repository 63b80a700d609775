"""Writing a session frame by frame, so that killing the writer at any instant leaves the frames finished until then."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from aerialworld_core.errors import SessionError
from aerialworld_core.files import StorageError, is_temporary, sync_directory, write_group, write_json
from aerialworld_core.occupancy import Occupancy
from aerialworld_core.sensing import SensorFrame
from aerialworld_core.session import extra_files, layout
from aerialworld_core.session.arrays import dump_npy
from aerialworld_core.session.box_files import dump_boxes
from aerialworld_core.session.frame_files import check_images, check_occupancy, dump_actors, dump_occupancy, dump_pose
from aerialworld_core.session.layout import LEASE_FILE
from aerialworld_core.session.lease import TIMEOUT_S, Lease, is_held
from aerialworld_core.session.meta import SessionMeta
from aerialworld_core.session.reader import Session
from aerialworld_core.session.seal import dump_manifest, seal
from aerialworld_core.stopwatch import IDLE, Stopwatch


class SessionWriter:
    """Makes `{agent_type}_{YYYYmmdd_HHMMSS}[_NN]` under `root` (the next number that is free) and writes frames into
    it.

    The folder appears under its name with session.json, mission.json and provenance.json already inside. A frame's
    files are flushed to disk first, then get their names: data, then the hashes, then the occupancy file, which commits
    the frame; with `sync` each of these steps is durable before the next, so a power cut loses at most the frame in
    work. Without `sync` killing the process is as harmless, a power cut is not. `stopwatch` is told the CPU time of the
    stages check, encode and write.

    As a context manager it closes on success; after an exception it leaves the session unclosed, for `resume`.
    Raises SessionError for content that cannot be a session, StorageError when the disk fails.
    """

    path: Path
    meta: SessionMeta
    #: Numbers of damaged last frames that `resume` deleted.
    discarded: list[int]
    #: session.json as it was first written: numbers are not sent through objects again, which could round them.
    _document: dict[str, Any]
    _lease: Lease | None
    _sync: bool
    _frames: int
    _last: tuple[int, int] | None
    _cameras: frozenset[str]
    _watch: Stopwatch

    def __init__(
        self,
        root: Path,
        meta: SessionMeta,
        mission: Mapping[str, Any],
        provenance: Mapping[str, Any],
        *,
        sync: bool = True,
        stopwatch: Stopwatch = IDLE,
    ) -> None:
        if meta.frames is not None:
            raise SessionError("a new session has no number of frames yet")
        files = {
            layout.SESSION_FILE: seal(meta.to_dict(), layout.SESSION_FILE),
            layout.MISSION_FILE: seal(mission, layout.MISSION_FILE),
            layout.PROVENANCE_FILE: dict(provenance),
        }
        self.meta = meta
        self._document = meta.to_dict()
        self._sync, self._watch = sync, stopwatch
        self._last, self.discarded = None, []
        self._frames = 0
        self.path, self._lease = _create(Path(root), meta, files, sync)
        self._init_cameras()

    def _init_cameras(self) -> None:
        self._cameras = frozenset(c.name.upper() for c in self.meta.rig.cameras)

    @classmethod
    def resume(
        cls,
        path: Path,
        *,
        provenance: Mapping[str, Any] | None = None,
        sync: bool = True,
        stopwatch: Stopwatch = IDLE,
    ) -> SessionWriter:
        """Continue a session after its last complete frame; a closed one is open again until the next `close`.

        Leftovers of an incomplete frame are deleted, and so are last frames whose files do not match their hashes
        (after a power cut): `discarded` names these. `provenance` of this part is appended under `resumed`. Raises
        SessionError when session.json is damaged or another process is writing the session.
        """
        path = Path(path)
        if not (path / layout.SESSION_FILE).is_file():
            raise SessionError(f"{path}: holds no {layout.SESSION_FILE}; only sessions of this format can be resumed")
        writer = cls.__new__(cls)
        writer.path, writer._sync, writer._watch, writer.discarded = path, sync, stopwatch, []
        lease = writer._lease = Lease(path)
        try:
            writer._take_up(Session.open(path), provenance)
        except BaseException:
            lease.release()
            raise
        return writer

    def _take_up(self, session: Session, provenance: Mapping[str, Any] | None) -> None:
        """Make the session on disk what its last complete frame left."""
        self.meta = session.meta.closed(None)
        self._document = session.document
        self._init_cameras()
        if session.meta.frames is not None:  # no longer closed from here on
            self._write_meta()
        kept = session.frame_indices
        while kept and session.damage(kept[-1]):
            _unlink(self.path / layout.occupancy_file(kept[-1]))  # uncommitted first
            self.discarded = [kept[-1], *self.discarded]
            kept = kept[:-1]
        _delete_leftovers(self.path, set(kept), self.meta.kept)
        self._frames = len(kept)
        self._last = (kept[-1], session.pose(kept[-1]).stamp_ns) if kept else None
        if provenance is not None:
            before = session.provenance
            parts = [*before.get("resumed", []), {**provenance, "after_frames": len(kept)}]
            write_json(self.path / layout.PROVENANCE_FILE, {**before, "resumed": parts}, sync=self._sync)

    @property
    def frames(self) -> int:
        """Frames committed so far."""
        return self._frames

    @property
    def next_index(self) -> int:
        """The lowest number that `write_frame` accepts: one past the last committed frame."""
        return self._last[0] + 1 if self._last else 0

    def write_frame(
        self,
        index: int,
        frame: SensorFrame,
        occupancy: Occupancy,
        encoded_images: Mapping[str, bytes] | None = None,
        extra: Mapping[tuple[str, str], bytes] | None = None,
    ) -> None:
        """Commit one frame: all of it or nothing.

        index           the tick's number, greater than the last; a dropped tick leaves a gap
        frame           state, ground, LiDAR, IMU, actors and, if kept, boxes are stored; its decoded images, depth and
                        classes are not
        occupancy       voxels in the grid of the session
        encoded_images  upper-case camera name → JPEG bytes; a camera that is missing stays missing
        extra           (kind, camera or face) → PNG bytes, as `extra_files.encode` makes them, of the kinds in
                        `meta.kept_images`; what is missing stays missing
        """
        index, encoded = int(index), dict(encoded_images or {})
        if self._lease is None:
            raise SessionError(f"{self.path}: is closed")
        with self._watch.stage("check"):
            self._check(index, frame, occupancy, encoded)
            for (kind, name), data in (extra or {}).items():
                self._check_extra(index, kind, name, data)
        with self._watch.stage("encode"):
            content = {layout.pose_file(index): dump_pose(frame, self.meta.agent_type)}
            content |= {layout.image_file(index, camera): bytes(data) for camera, data in sorted(encoded.items())}
            for (kind, name), data in sorted((extra or {}).items()):
                content[layout.extra_file(kind, index, name)] = bytes(data)
            if frame.lidar is not None:
                content[layout.lidar_file(index)] = dump_npy(np.asarray(frame.lidar, dtype=np.float32))
            if frame.imu is not None:
                content[layout.imu_file(index)] = dump_npy(np.asarray(frame.imu, dtype=np.float64))
            content[layout.actors_file(index)] = dump_actors(frame.actors)
            if self.meta.keeps_boxes:
                content[layout.boxes_file(index)] = dump_boxes(frame.boxes, self.meta.rig)
            voxels = dump_occupancy(occupancy)
        with self._watch.stage("write"):
            manifest = dump_manifest(index, {**content, layout.occupancy_file(index): voxels})
            write_group(
                [
                    [(self.path / name, data) for name, data in content.items()],
                    [(self.path / layout.hash_file(index), manifest)],
                    [(self.path / layout.occupancy_file(index), voxels)],
                ],
                sync=self._sync,
            )
        self._last = (index, frame.stamp_ns)
        self._frames += 1
        self._lease.renew()

    def _check(self, index: int, frame: SensorFrame, occupancy: Occupancy, encoded: Mapping[str, bytes]) -> None:
        what = f"{self.path.name}: frame {index}"
        if not self.next_index <= index <= 999_999_999:
            raise SessionError(f"{what}: the next frame's number must be at least {self.next_index}")
        if self._last and frame.stamp_ns <= self._last[1]:
            raise SessionError(f"{what}: its stamp {frame.stamp_ns} ns does not follow {self._last[1]} ns")
        lidar, imu = frame.lidar, frame.imu
        try:
            check_occupancy(occupancy, self.meta.grid)
            check_images(encoded, self._cameras)
            if lidar is not None and (lidar.ndim != 2 or lidar.shape[1] != 4 or not np.isfinite(lidar).all()):
                raise SessionError(f"lidar of shape {lidar.shape}; needs (N, 4) finite numbers")
            if imu is not None and (imu.ndim != 2 or imu.shape[1] != 7 or not np.isfinite(imu).all()):
                raise SessionError(f"imu of shape {imu.shape}; needs (K, 7) finite numbers")
        except SessionError as error:
            raise SessionError(f"{what}: {error}") from error

    def _check_extra(self, index: int, kind: str, name: str, data: bytes) -> None:
        what = f"{self.path.name}: frame {index}: {kind} of {name}"
        size = extra_files.image_sizes(self.meta.rig, self.meta.faces_only).get(name)
        if kind not in self.meta.kept_images or size is None:
            raise SessionError(f"{what}: the session keeps no such image")
        extra_files.check(kind, name, data, size, what)

    def close(self) -> None:
        """Write the number of frames and let the session go. Calling it twice does nothing."""
        if self._lease is None:
            return
        self.meta = self.meta.closed(self._frames)
        self._write_meta()
        self.release()

    def _write_meta(self) -> None:
        document = {**self._document, "frames": self.meta.frames}
        write_json(self.path / layout.SESSION_FILE, seal(document, layout.SESSION_FILE), sync=self._sync)

    def release(self) -> None:
        """Let the session go without closing it: `resume` continues it."""
        if self._lease is not None:
            self._lease.release()
            self._lease = None

    def __enter__(self) -> SessionWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.release()


def _create(root: Path, meta: SessionMeta, files: Mapping[str, Any], sync: bool) -> tuple[Path, Lease]:
    """The folder is made complete under a hidden name and renamed: a session never appears half made."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        hidden = _hidden_folder(root, layout.session_name(meta.agent_type, meta.start_time))
        lease: Lease | None = None
        try:
            lease = Lease(hidden)
            for folder in (*layout.FOLDERS, *meta.kept):
                (hidden / folder).mkdir()
            for file, data in files.items():
                try:
                    write_json(hidden / file, data, sync=sync)
                except (TypeError, ValueError) as error:
                    raise SessionError(f"{file}: cannot be written as JSON: {error}") from error
            path = _take_name(hidden, root, meta)
            lease.path = path / LEASE_FILE
            if sync:
                sync_directory(root)
        except BaseException:
            if lease is not None:
                lease.release()
            shutil.rmtree(hidden, ignore_errors=True)
            raise
    except OSError as error:
        raise StorageError(f"{root}: cannot make a session here: {error.strerror}") from error
    return path, lease


def _take_name(hidden: Path, root: Path, meta: SessionMeta) -> Path:
    """Rename to the first free name; a rename onto a folder with content fails, so no two writers get one name."""
    number = 0
    while True:
        path = root / layout.session_name(meta.agent_type, meta.start_time, number)
        if not path.exists() and _renamed(hidden, path):
            return path
        number += 1


def _hidden_folder(root: Path, name: str) -> Path:
    for old in root.glob(f".{name}.*.new"):
        # Left by a writer that was killed here; without a lease yet, only its age can tell.
        if is_held(old) is None and ((old / LEASE_FILE).exists() or time.time() - old.stat().st_mtime > TIMEOUT_S):
            shutil.rmtree(old, ignore_errors=True)
    number = 0
    while True:
        hidden = root / f".{name}.{number}.new"
        try:
            hidden.mkdir()
            return hidden
        except FileExistsError:
            number += 1


def _renamed(hidden: Path, path: Path) -> bool:
    try:
        hidden.rename(path)
    except OSError:
        if path.exists():
            return False
        raise
    return True


def _delete_leftovers(path: Path, kept: set[int], extra: tuple[str, ...]) -> None:
    """Temporary files of killed writers, and files of frames that were never committed."""
    try:
        for name in (*layout.FOLDERS, *extra):
            (path / name).mkdir(exist_ok=True)
        folders = [path, *(p for p in sorted(path.iterdir()) if p.is_dir() and not p.is_symlink())]
        files = [(folder, file) for folder in folders for file in sorted(folder.iterdir())]
    except OSError as error:
        raise StorageError(f"{path}: cannot be resumed: {error.strerror}") from error
    for folder, file in files:
        index = layout.frame_index(file) if folder != path else None
        if is_temporary(file) or (index is not None and index not in kept):
            _unlink(file)


def _unlink(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        raise StorageError(f"{path}: cannot be deleted: {error.strerror}") from error
