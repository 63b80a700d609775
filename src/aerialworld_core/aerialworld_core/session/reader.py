"""Reading a session: complete frames only, each file checked against its hash, older data understood."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.boxes import Box
from aerialworld_core.errors import SessionError
from aerialworld_core.files import MAX_JSON_BYTES, read_counted, read_json
from aerialworld_core.frames import Array
from aerialworld_core.occupancy import Occupancy
from aerialworld_core.session import extra_files, layout
from aerialworld_core.session.arrays import load_npy
from aerialworld_core.session.box_files import load_boxes
from aerialworld_core.session.frame_files import PoseRecord, load_actors, load_occupancy, load_occupied, load_pose
from aerialworld_core.session.layout import FileRecord
from aerialworld_core.session.meta import SessionMeta, default_meta
from aerialworld_core.session.seal import check, read_manifest, unseal

MAX_IMAGE_BYTES = 256 * 1024 * 1024
MAX_LIDAR_BYTES = 16_000_000 * 4 * 8
MAX_IMU_BYTES = 64 * 1024 * 1024


class Session:
    """A recorded session, opened with `Session.open`. What is read is a snapshot: frames committed later do not show.

    With `verify` (the default) every file is checked against the frame's hashes as it is read, and damage raises
    SessionError; it can be switched per call, for loaders that have validated once. Older data has no hashes
    (`verifiable` is False) and is read as it is.
    """

    def __init__(self, path: Path, meta: SessionMeta, frame_indices: list[int], *, verify: bool) -> None:
        self.path = path
        self.meta = meta
        self.frame_indices = frame_indices
        self.verify = verify
        self._complete = frozenset(frame_indices)

    @classmethod
    def open(cls, path: Path, *, verify: bool = True) -> Session:
        """Raises SessionError when `path` is no session or session.json is damaged or too new."""
        path = Path(path)
        if not path.is_dir():
            raise SessionError(f"{path}: no such session folder")
        file = path / layout.SESSION_FILE
        frames = layout.complete_frames(path)
        if file.is_file():
            try:
                meta = SessionMeta.from_dict(_read_sealed(file))
            except SessionError as error:
                message = str(error)
                raise SessionError(message if message.startswith(str(file)) else f"{file}: {message}") from error
        elif frames:
            meta = default_meta(path)
        else:
            raise SessionError(f"{path}: no session: neither {layout.SESSION_FILE} nor occupancy files")
        return cls(path, meta, frames, verify=verify)

    def __len__(self) -> int:
        return len(self.frame_indices)

    @property
    def verifiable(self) -> bool:
        """Whether frames carry hashes (all but older data)."""
        return self.meta.schema_version >= 1

    @property
    def cameras(self) -> list[str]:
        """Upper-case names of the rig's RGB cameras; in older data those that have images."""
        if self.meta.schema_version >= 1:
            return [c.name.upper() for c in self.meta.rig.cameras]
        folder = self.path / layout.IMAGES
        names = {p.stem.split("_", 1)[1] for p in folder.glob("[0-9]*_*.jpg")} if folder.is_dir() else set()
        return sorted(n for n in names if layout.CAMERA.match(n))

    @property
    def document(self) -> dict[str, Any]:
        """session.json as it stands, without its hash; empty in older data."""
        return _read_sealed(self.path / layout.SESSION_FILE) if self.verifiable else {}

    @property
    def mission(self) -> dict[str, Any]:
        """The plan that was flown; empty in older data without mission.json."""
        file = self.path / layout.MISSION_FILE
        if self.meta.schema_version < 1 and not file.exists():
            return {}
        return _read_sealed(file) if self.meta.schema_version >= 1 else _read_object(file)

    @property
    def provenance(self) -> dict[str, Any]:
        """Wall time, host, versions: whatever may differ between equal runs; empty when there is none."""
        file = self.path / layout.PROVENANCE_FILE
        return _read_object(file) if file.exists() else {}

    def manifest(self, index: int) -> dict[str, FileRecord]:
        """Path within the session → size and sha256 of a frame's files; SessionError for older data without hashes."""
        self._require(index)
        file = self.path / layout.hash_file(index)
        try:
            raw = _read(file, MAX_JSON_BYTES)
        except FileNotFoundError:
            raise SessionError(f"{file}: missing, though the frame is complete") from None
        return read_manifest(raw, index, str(file))

    def pose(self, index: int, *, verify: bool | None = None) -> PoseRecord:
        """Where the vehicle was, and how fast."""
        raw = self._content(index, layout.pose_file(index), MAX_JSON_BYTES, verify)
        return load_pose(raw, str(self.path / layout.pose_file(index)), index * self.meta.frame_period_ns)

    def pose_13d(self, index: int, *, verify: bool | None = None) -> Array:
        """[x, y, z, qx, qy, qz, qw, vx, vy, vz, wx, wy, wz] (13,) float64."""
        return self.pose(index, verify=verify).pose_13d()

    def occupancy(self, index: int, *, verify: bool | None = None) -> Occupancy:
        """The frame's voxels."""
        raw, what = self._voxels(index, verify)
        return load_occupancy(raw, what, self.meta.grid, older=not self.verifiable)

    def occupied(self, index: int, *, verify: bool | None = None) -> NDArray[np.uint8]:
        """`occupancy(index).occupancy` alone, for a sixth of the time."""
        raw, what = self._voxels(index, verify)
        return load_occupied(raw, what, self.meta.grid, older=not self.verifiable)

    def _voxels(self, index: int, verify: bool | None) -> tuple[bytes, str]:
        name = layout.occupancy_file(index)
        limit = self.meta.grid.size * (3 if self.verifiable else 24) + 1_000_000
        return self._content(index, name, limit, verify), str(self.path / name)

    def lidar(self, index: int, *, verify: bool | None = None) -> NDArray[np.float32] | None:
        """(N, 4) float32 x, y, z, intensity in the LiDAR's frame; None when the frame has none."""
        name = layout.lidar_file(index)
        array = self._array(index, name, MAX_LIDAR_BYTES, verify, 4)
        return None if array is None else array.astype(np.float32, copy=False)

    def imu(self, index: int, *, verify: bool | None = None) -> NDArray[np.float64] | None:
        """(K, 7) float64 t, gyro xyz, specific force xyz since the previous frame; None when the frame has none."""
        name = layout.imu_file(index)
        array = self._array(index, name, MAX_IMU_BYTES, verify, 7)
        return None if array is None else array.astype(np.float64, copy=False)

    def image_path(self, index: int, camera: str) -> Path | None:
        """The JPEG of a camera (upper-case name); None when the frame has none."""
        if not layout.CAMERA.match(camera):
            raise SessionError(f"{self.path}: camera {camera!r} is no upper-case camera name such as CAM_FRONT")
        self._require(index)
        path = self.path / layout.image_file(index, camera)
        return path if path.is_file() else None

    def image_bytes(self, index: int, camera: str, *, verify: bool | None = None) -> bytes | None:
        """The JPEG's bytes; None when the frame has no image of that camera."""
        self.image_path(index, camera)
        return self._optional(index, layout.image_file(index, camera), MAX_IMAGE_BYTES, verify)

    def depth(self, index: int, name: str, *, verify: bool | None = None) -> NDArray[np.float32] | None:
        """(H, W) float32 metres along the optical axis of a camera (`CAM_FRONT`) or a face (`front`), to a centimetre:
        +inf where no surface is before `far` or it is farther than 655.34 m, −inf nearer than `near`; None when the
        frame has none."""
        stored = self._extra(extra_files.DEPTH, index, name, verify)
        return None if stored is None else extra_files.metres(stored)

    def semantic(self, index: int, name: str, *, verify: bool | None = None) -> NDArray[np.uint8] | None:
        """(H, W) uint8 class ids of a camera or a face, meaningful where depth is finite; None without them."""
        return self._extra(extra_files.SEMANTIC, index, name, verify)

    def instance(self, index: int, name: str, *, verify: bool | None = None) -> NDArray[np.uint16] | None:
        """(H, W) uint16 of a camera or a face: the world's instance + 1, 0 for none; None when the frame has none."""
        return self._extra(extra_files.INSTANCE, index, name, verify)

    def actors(self, index: int, *, verify: bool | None = None) -> list[dict[str, Any]]:
        """Moving objects nearby: {id, class, position, orientation, size, velocity} in map; empty in older data."""
        name = layout.actors_file(index)
        raw = self._optional(index, name, MAX_JSON_BYTES, verify)
        return [] if raw is None else load_actors(raw, str(self.path / name))

    def boxes(self, index: int, *, verify: bool | None = None) -> dict[str, list[Box]] | None:
        """The moving objects that each camera sees (upper-case name → boxes); None where the session keeps none."""
        name = layout.boxes_file(index)
        raw = self._optional(index, name, MAX_JSON_BYTES, verify)
        return None if raw is None else load_boxes(raw, self.meta.rig, str(self.path / name))

    def damage(self, index: int) -> list[str]:
        """What is wrong with a frame's files against its hashes, in words; empty when all is well."""
        try:
            records = self.manifest(index)
        except SessionError as error:
            return [str(error)]
        found = []
        for name, record in records.items():
            try:
                _check_file(self.path / name, record)
            except FileNotFoundError:
                found.append(f"{self.path / name}: missing")
            except SessionError as error:
                found.append(str(error))
        if layout.occupancy_file(index) not in records:
            found.append(f"{self.path / layout.hash_file(index)}: does not list the occupancy file")
        return found

    def _require(self, index: int) -> None:
        if index not in self._complete:
            raise SessionError(f"{self.path}: has no complete frame {index}")

    def _content(self, index: int, name: str, limit: int, verify: bool | None) -> bytes:
        raw = self._optional(index, name, limit, verify)
        if raw is None:
            raise SessionError(f"{self.path / name}: missing")
        return raw

    def _optional(self, index: int, name: str, limit: int, verify: bool | None) -> bytes | None:
        """A frame's file, checked; None when there is none and, as far as hashes tell, never was."""
        self._require(index)
        check_hash = (self.verify if verify is None else verify) and self.verifiable
        record = self.manifest(index).get(name) if check_hash else None
        try:
            raw = _read(self.path / name, limit)
        except FileNotFoundError:
            if record is not None:
                raise SessionError(f"{self.path / name}: missing, though it was written") from None
            return None
        if check_hash:
            if record is None:
                raise SessionError(f"{self.path / name}: is not among the files that were written for this frame")
            check(raw, record, str(self.path / name))
        return raw

    def extra_bytes(self, kind: str, index: int, name: str, *, verify: bool | None = None) -> bytes | None:
        """The PNG's bytes of a depth, semantic or instance image; None when the frame has none."""
        if kind not in layout.EXTRA or name not in extra_files.image_sizes(self.meta.rig):
            raise SessionError(f"{self.path}: has no {kind} of {name!r}; cameras are in upper case, faces in lower")
        return self._optional(index, layout.extra_file(kind, index, name), MAX_IMAGE_BYTES, verify)

    def _extra(self, kind: str, index: int, name: str, verify: bool | None) -> NDArray[Any] | None:
        raw = self.extra_bytes(kind, index, name, verify=verify)
        size = extra_files.image_sizes(self.meta.rig)[name]
        what = str(self.path / layout.extra_file(kind, index, name))
        return None if raw is None else extra_files.decode(kind, name, raw, size, what)

    def _array(self, index: int, name: str, limit: int, verify: bool | None, columns: int) -> NDArray[Any] | None:
        raw = self._optional(index, name, limit + 10_000, verify)
        if raw is None:
            return None
        array = load_npy(raw, str(self.path / name), limit=limit)
        if array.ndim != 2 or array.shape[1] != columns:
            raise SessionError(f"{self.path / name}: has shape {array.shape}, not (N, {columns})")
        return array


def list_sessions(root: Path) -> list[Path]:
    """Session folders directly under `root`, by name; `root` itself when it is one. Raises SessionError if missing."""
    root = Path(root)
    if not root.is_dir():
        raise SessionError(f"{root}: no such folder")
    if _is_session(root):
        return [root]
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".") and _is_session(p))


def _is_session(path: Path) -> bool:
    return (path / layout.SESSION_FILE).is_file() or bool(layout.complete_frames(path))


def _read(path: Path, limit: int) -> bytes:
    try:
        with open(path, "rb") as handle:
            raw = read_counted(handle, limit)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SessionError(f"{path}: cannot be read: {error.strerror}") from error
    if len(raw) > limit:
        raise SessionError(f"{path}: larger than the {limit:,} bytes it can have")
    return raw


def _check_file(path: Path, record: FileRecord) -> None:
    try:
        size = path.stat().st_size
        if size != record.size:
            raise SessionError(f"{path}: damaged: {size} bytes, {record.size} were written")
        with open(path, "rb") as handle:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SessionError(f"{path}: cannot be read: {error.strerror}") from error
    if digest != record.sha256:
        raise SessionError(f"{path}: damaged: its sha256 is not the recorded one")


def _read_object(path: Path) -> dict[str, Any]:
    try:
        data = read_json(path)
    except OSError as error:
        raise SessionError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SessionError(f"{path}: no JSON: {error}") from error
    if not isinstance(data, dict):
        raise SessionError(f"{path}: is not a JSON object")
    return data


def _read_sealed(path: Path) -> dict[str, Any]:
    return unseal(_read_object(path), str(path))
