"""Many sessions' voxels and poses in a few flat files, for loaders that read them again and again.

A frame of the default grid is 0.6 MB of occupied bits, 0.6 MB of observed bits and a byte for each occupied voxel;
nothing is inflated or parsed when it is read, and what several processes read is in memory once. A pack is made from
sessions and never takes their place: it says which content it was made of, and a loader that finds another reads the
sessions.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import AerialWorldError, InputError, SessionError
from aerialworld_core.files import hidden_folder, read_json, sync_directory, write_json
from aerialworld_core.frames import Pose
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import FREE, NUM_CLASSES
from aerialworld_core.occupancy import Occupancy
from aerialworld_core.session import layout
from aerialworld_core.session.frame_files import PoseRecord
from aerialworld_core.session.meta import SessionMeta, default_meta
from aerialworld_core.session.reader import Session
from aerialworld_core.session.seal import seal, unseal

VERSION = 1
#: Where a loader looks for the pack of the sessions in a folder.
FOLDER = "session_pack"
MANIFEST = "manifest.json"
MAX_MANIFEST = 64 * 1024 * 1024

#: Arrays of a pack: dtype and shape behind the first axis (frames; of `classes` voxels, of `offsets` frames + 1).
_ARRAYS: dict[str, tuple[str, str]] = {
    "occupied": ("|u1", "bits"),
    "observed": ("|u1", "bits"),
    "classes": ("|u1", ""),
    "offsets": ("<i8", ""),
    "poses": ("<f8", "13"),
    "ground": ("<f8", ""),
    "stamps": ("<i8", ""),
    "numbers": ("<i8", ""),
}


def content_key(folder: Path) -> str:
    """A hash that changes with a session's description and with any of its frames.

    Frames enter by the hash files that commit them; older data without those by name, size and time of change.
    """
    digest = hashlib.sha256(b"aerialworld session content 1")
    try:
        digest.update((folder / layout.SESSION_FILE).read_bytes())
    except FileNotFoundError:
        digest.update(b"-")
    hashes = sorted((folder / layout.HASHES).glob("*.json"))
    for path in hashes:
        digest.update(path.name.encode() + path.read_bytes())
    for path in sorted((folder / layout.OCCUPANCY).glob("*.npz")):
        digest.update(path.name.encode())
        if not hashes:
            state = path.stat()
            digest.update(f"{state.st_size} {state.st_mtime_ns}".encode())
    return digest.hexdigest()


@dataclass(eq=False)
class PackedSession:
    """One session of a pack: what loaders ask of `Session` (meta, frame_indices, occupancy, pose), memory-mapped."""

    meta: SessionMeta
    frame_indices: list[int]
    first: int
    pack: Pack

    def __post_init__(self) -> None:
        self._rows = {index: self.first + n for n, index in enumerate(self.frame_indices)}

    def __len__(self) -> int:
        return len(self.frame_indices)

    def _row(self, index: int) -> int:
        try:
            return self._rows[index]
        except KeyError:
            raise SessionError(f"{self.pack.path}: {self.meta.vehicle} has no frame {index}") from None

    def occupancy(self, index: int, *, verify: bool | None = None) -> Occupancy:
        """The frame's voxels, as the session has them. `verify` is for likeness with Session: a pack is verified as a
        whole."""
        return self.pack.occupancy(self._row(index))

    def occupied(self, index: int, *, verify: bool | None = None) -> NDArray[np.uint8]:
        """`occupancy(index).occupancy` alone."""
        bits, grid = self.pack.arrays["occupied"][self._row(index)], self.pack.grid
        return np.unpackbits(bits, count=grid.size).reshape(grid.shape)

    def bits(
        self, indices: Sequence[int]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int64]]:
        """Frames as they lie in the pack: occupied and observed (F, bytes) bits, the classes (K,) of their occupied
        voxels one frame after the other, and how many each frame has (F,). Copies, not views of the file."""
        a, rows = self.pack.arrays, [self._row(n) for n in indices]
        spans = [(int(a["offsets"][r]), int(a["offsets"][r + 1])) for r in rows]
        classes = np.concatenate([np.zeros(0, np.uint8), *(a["classes"][s:e] for s, e in spans)])
        return a["occupied"][rows], a["observed"][rows], classes, np.array([e - s for s, e in spans], np.int64)

    def pose(self, index: int, *, verify: bool | None = None) -> PoseRecord:
        """Where the vehicle was, and how fast."""
        row = self._row(index)
        p, ground = self.pack.arrays["poses"][row], float(self.pack.arrays["ground"][row])
        return PoseRecord(
            Pose(p[:3], p[3:7]), np.array(p[7:10]), np.array(p[10:]), int(self.pack.arrays["stamps"][row]),
            None if np.isnan(ground) else ground,
        )  # fmt: skip


class Pack:
    """A pack on disk, opened with `Pack.open`; its arrays are memory-mapped, read-only.

    `arrays`: occupied and observed (F, ⌈V/8⌉) uint8 packed bits of a frame's voxels in C order, most significant first;
    classes (K,) uint8 of the occupied voxels of all frames, frame f's in offsets[f]:offsets[f + 1]; poses (F, 13) as
    `pose_13d`; ground (F,) map z, NaN where not known; stamps (F,) ns; numbers (F,) of frames.
    """

    def __init__(self, path: Path, manifest: dict[str, Any], arrays: dict[str, NDArray[Any]], grid: VoxelGrid) -> None:
        self.path, self.manifest, self.arrays, self.grid = path, manifest, arrays, grid

    @classmethod
    def open(cls, path: Path) -> Pack:
        """Raises SessionError when it is no pack, of another version, or its files are not of the sizes they should
        have. Their content is compared with its hashes by `verify`."""
        path = Path(path)
        file = path / MANIFEST
        try:
            manifest = unseal(read_json(file, limit=MAX_MANIFEST), str(file))
            if manifest["version"] != VERSION:
                raise SessionError(f"{path}: a pack of version {manifest['version']!r}; make it anew with session pack")
            grid = VoxelGrid.from_dict(manifest["grid"])
            frames, voxels = int(manifest["frames"]), int(manifest["occupied_voxels"])
            shapes = _shapes(frames, voxels, grid)
            arrays = {name: _mapped(path, name, shapes[name]) for name in _ARRAYS}
            first = 0
            for entry in manifest["sessions"]:
                if entry["first"] != first or not isinstance(entry["key"], str) or int(entry["frames"]) < 1:
                    raise ValueError(f"session {entry['name']!r} is not where it should be")
                first += int(entry["frames"])
            if first != frames:
                raise ValueError(f"{first} frames of sessions, {frames} in all")
        except OSError as error:
            raise SessionError(f"{path}: no readable pack: {error.strerror}") from error
        except (KeyError, TypeError, ValueError, AerialWorldError) as error:
            raise SessionError(f"{path}: no readable pack: {error}") from error
        return cls(path, manifest, arrays, grid)

    @property
    def names(self) -> list[str]:
        """The packed sessions' folder names."""
        return [str(entry["name"]) for entry in self.manifest["sessions"]]

    def verify(self) -> list[str]:
        """What is wrong with the files against their hashes, in words."""
        found = []
        for name, entry in self.manifest["arrays"].items():
            with open(_file(self.path, name), "rb") as handle:
                if hashlib.file_digest(handle, "sha256").hexdigest() != entry["sha256"]:
                    found.append(f"{_file(self.path, name)}: damaged: its sha256 is not the recorded one")
        return found

    def session(self, folder: Path) -> PackedSession | None:
        """The session of that folder as the pack has it; None when it is not in it, or has changed since."""
        for entry in self.manifest["sessions"]:
            if entry["name"] == folder.absolute().name:
                if entry["key"] != content_key(folder):
                    return None
                first, count = int(entry["first"]), int(entry["frames"])
                numbers = [int(n) for n in self.arrays["numbers"][first : first + count]]
                document = entry["document"]
                meta = SessionMeta.from_dict(document) if document else default_meta(folder.absolute())
                return PackedSession(meta, numbers, first, self)
        return None

    def occupancy(self, row: int) -> Occupancy:
        """The voxels of a frame of the pack."""
        a, size = self.arrays, self.grid.size
        occupied = np.unpackbits(a["occupied"][row], count=size)
        semantics = np.full(size, FREE, np.uint8)
        classes = a["classes"][a["offsets"][row] : a["offsets"][row + 1]]
        cells = np.flatnonzero(occupied.view(np.bool_))
        if len(cells) != len(classes) or classes.max(initial=0) >= NUM_CLASSES:
            raise SessionError(f"{self.path}: frame {row} of the pack is damaged; make it anew with session pack")
        semantics[cells] = classes
        observed = np.unpackbits(a["observed"][row], count=size).view(np.bool_)
        shape = self.grid.shape
        return Occupancy(occupied.reshape(shape), semantics.reshape(shape), observed.reshape(shape))


def pack_in(root: Path) -> Pack | None:
    """The pack of the sessions in the folder `root` (`session_pack`); `Pack.session` tells whether it is fresh."""
    place = root / FOLDER
    if not (place / MANIFEST).is_file():
        return None
    try:
        return Pack.open(place)
    except SessionError:
        return None  # a damaged pack is as good as none: the sessions are there


def packed_session(folder: Path) -> PackedSession | None:
    """The session of `folder` from the pack beside it, where there is one that is fresh. For one session: a pack is
    opened anew for each."""
    pack = pack_in(folder.absolute().parent)
    return pack.session(folder) if pack else None


def write_pack(folders: Sequence[Path], out: Path, *, on_frame: Callable[[], None] = lambda: None) -> Pack:
    """Pack sessions of one grid into the folder `out`: it appears whole, or what was there stays.

    Every frame is checked against its hashes. Raises InputError for sessions that do not fit together, SessionError
    for damage, StorageError when the disk fails.
    """
    sessions = [(content_key(f), Session.open(f)) for f in folders]
    grid = _common_grid([s for _, s in sessions])
    out = Path(out)
    with hidden_folder(out) as hidden:
        manifest = _write_arrays(sessions, hidden, grid, on_frame)
        write_json(hidden / MANIFEST, seal(manifest, MANIFEST))
        _take_place(hidden, out)
    return Pack.open(out)


def _common_grid(sessions: Sequence[Session]) -> VoxelGrid:
    if not sessions:
        raise InputError("nothing to pack: no session")
    names = [s.path.absolute().name for s in sessions]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise InputError(f"two sessions are called {twice[0]}; a pack holds sessions of one folder")
    for session in sessions:
        if session.meta.grid != sessions[0].meta.grid:
            raise InputError(
                f"{session.path}: has the grid {session.meta.grid.to_dict()}, {sessions[0].path.name} "
                f"{sessions[0].meta.grid.to_dict()}; pack them apart"
            )
        if not session.frame_indices:
            raise InputError(f"{session.path}: has no finished frame; leave it out")
    return sessions[0].meta.grid


class _Growing:
    """A file that is written row by row and hashed on the way."""

    def __init__(self, path: Path) -> None:
        self.handle, self.digest = open(path, "wb"), hashlib.sha256()

    def add(self, array: NDArray[Any]) -> None:
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        self.handle.write(data.data)
        self.digest.update(data.data)

    def close(self) -> str:
        self.handle.flush()
        os.fsync(self.handle.fileno())
        self.handle.close()
        return self.digest.hexdigest()


def _write_arrays(
    sessions: Sequence[tuple[str, Session]], folder: Path, grid: VoxelGrid, on_frame: Callable[[], None]
) -> dict[str, Any]:
    files = {name: _Growing(_file(folder, name)) for name in _ARRAYS}
    entries, frames, voxels = [], 0, 0
    try:
        files["offsets"].add(np.zeros(1, "<i8"))
        for key, session in sessions:
            first = frames
            for index in session.frame_indices:
                occupancy, record = session.occupancy(index), session.pose(index)
                taken = occupancy.occupancy.reshape(-1)
                classes = occupancy.semantics.reshape(-1)[taken != 0]
                voxels += len(classes)
                files["occupied"].add(np.packbits(taken))
                files["observed"].add(np.packbits(occupancy.observed.reshape(-1)))
                files["classes"].add(classes)
                files["offsets"].add(np.array([voxels], "<i8"))
                files["poses"].add(record.pose_13d().astype("<f8"))
                files["ground"].add(np.array([np.nan if record.ground_z is None else record.ground_z], "<f8"))
                files["stamps"].add(np.array([record.stamp_ns], "<i8"))
                files["numbers"].add(np.array([index], "<i8"))
                frames += 1
                on_frame()
            if content_key(session.path) != key:
                raise SessionError(f"{session.path}: changed while it was packed; pack it when it is finished")
            document = session.document or None
            count, name = frames - first, session.path.absolute().name
            entries.append({"name": name, "key": key, "first": first, "frames": count, "document": document})
    finally:
        hashes = {name: file.close() for name, file in files.items()}
    arrays = {name: {"file": _file(Path(), name).name, "sha256": hashes[name]} for name in _ARRAYS}
    return {
        "version": VERSION,
        "grid": grid.to_dict(),
        "frames": frames,
        "occupied_voxels": voxels,
        "sessions": entries,
        "arrays": arrays,
    }


def _take_place(hidden: Path, out: Path) -> None:
    """Rename; a pack that was there goes first, and comes back if the new one cannot take its place."""
    old = out.with_name(f".{out.name}.{os.getpid()}.old")
    if out.exists():
        if not (out / MANIFEST).is_file():
            raise InputError(f"{out}: exists and is no pack; choose another --out")
        os.replace(out, old)
    try:
        os.replace(hidden, out)
    except BaseException:
        if old.exists():
            os.replace(old, out)
        raise
    sync_directory(out.parent)
    shutil.rmtree(old, ignore_errors=True)


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.bin"


def _shapes(frames: int, voxels: int, grid: VoxelGrid) -> dict[str, tuple[int, ...]]:
    rest = {"bits": ((grid.size + 7) // 8,), "13": (13,), "": ()}
    rows = {name: frames for name in _ARRAYS} | {"classes": voxels, "offsets": frames + 1}
    return {name: (rows[name], *rest[shape]) for name, (_, shape) in _ARRAYS.items()}


def _mapped(folder: Path, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """An array of exactly this shape, read-only and not yet in memory."""
    file, kind = _file(folder, name), np.dtype(_ARRAYS[name][0])
    expected = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
    size = file.stat().st_size
    if size != expected:
        raise ValueError(f"{file.name} has {size:,} bytes, not {expected:,}")
    if not expected:
        return np.zeros(shape, kind)
    return np.memmap(file, kind, "r", shape=shape)
