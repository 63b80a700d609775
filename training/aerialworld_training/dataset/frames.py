"""A session's frames, pooled and packed: what training keeps in memory and in its cache.

A frame of 100×100×60 voxels takes 75 kB of `observed` bits and 5 bytes for every occupied voxel, instead of 4.8 MB.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import AerialWorldError, InputError
from aerialworld_core.files import canonical_json, write_bytes
from aerialworld_core.frames import Pose
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import FREE
from aerialworld_core.occupancy import Occupancy
from aerialworld_core.session import Session, pack
from aerialworld_training.dataset.actors import Actors
from aerialworld_training.dataset.ground import UNKNOWN, ground_of
from aerialworld_training.dataset.pooling import pool_occupancy
from aerialworld_training.occupied import Occupied

CACHE_VERSION = 3


class SessionSource(Protocol):
    """What training asks of a session (`aerialworld_core.session.Session` has it)."""

    @property
    def meta(self) -> Any: ...

    @property
    def frame_indices(self) -> Sequence[int]: ...

    def occupancy(self, index: int) -> Occupancy: ...

    def pose(self, index: int) -> Any: ...


@dataclass(frozen=True, eq=False)
class PooledSession:
    """One session, pooled.

    numbers (N,) int64 frame numbers, stamps (N,) int64 ns, position (N, 3) and orientation (N, 4) of base_link in map;
    cells and classes: flat indices and class ids of the occupied voxels of all frames, frame n's lie in
    offsets[n]:offsets[n + 1]; observed (N, bytes) packed bits in C order; actors: each frame's, () where not known;
    content: the recording's hash, world: name and sha256 of the world it was made in, engine: what made it,
    attribution: whose data it is (empty where not known).
    """

    name: str
    agent_type: str
    grid: VoxelGrid
    datum: float
    frame_period_ns: int
    numbers: NDArray[np.int64]
    stamps: NDArray[np.int64]
    position: NDArray[np.float64]
    orientation: NDArray[np.float64]
    offsets: NDArray[np.int64]
    cells: NDArray[np.uint32]
    classes: NDArray[np.uint8]
    observed: NDArray[np.uint8]
    key: str = ""
    actors: tuple[Actors, ...] = ()
    content: str = ""
    world: Mapping[str, str] = field(default_factory=dict)
    engine: str = ""
    attribution: str = ""

    def __len__(self) -> int:
        return len(self.numbers)

    def pose(self, n: int) -> Pose:
        return Pose(self.position[n], self.orientation[n])

    @property
    def yaw(self) -> NDArray[np.float64]:
        return np.array([self.pose(n).yaw for n in range(len(self))])

    @cached_property
    def ground_levels(self) -> NDArray[np.int64]:
        """(N,) `ground_of` each frame; the session's median where nothing is occupied."""
        depth = self.grid.shape[2]
        levels = np.full(len(self), UNKNOWN, np.int64)
        for n in range(len(self)):
            part = slice(self.offsets[n], self.offsets[n + 1])
            levels[n] = ground_of(self.cells[part] % depth, self.classes[part])
        known = levels[levels >= 0]
        levels[levels < 0] = int(np.median(known)) if len(known) else 0
        return levels

    def shift(self, n: int, ground_level: int | None) -> int:
        """Levels to move volumes up so that the ground of frame n lies at `ground_level`; 0 if that is None."""
        return 0 if ground_level is None else ground_level - int(self.ground_levels[n])

    def semantics(self, n: int) -> NDArray[np.uint8]:
        """(X, Y, Z) class ids of frame n, FREE where free or unknown."""
        voxels = np.full(self.grid.size, FREE, np.uint8)
        part = slice(self.offsets[n], self.offsets[n + 1])
        voxels[self.cells[part]] = self.classes[part]
        return voxels.reshape(self.grid.shape)

    def occupied(self, n: int) -> Occupied:
        """The occupied voxels of frame n."""
        part = slice(self.offsets[n], self.offsets[n + 1])
        return Occupied(self.cells[part].astype(np.int64), self.classes[part])

    def observed_mask(self, n: int) -> NDArray[np.bool_]:
        """(X, Y, Z) what was seen in frame n."""
        bits = np.unpackbits(self.observed[n], count=self.grid.size)
        return bits.view(np.bool_).reshape(self.grid.shape)

    @property
    def occupied_fraction(self) -> float:
        """Occupied share of the observed voxels, over all frames."""
        seen = int(np.bitwise_count(self.observed).sum(dtype=np.int64))
        return len(self.cells) / max(seen, 1)

    @classmethod
    def from_source(
        cls,
        name: str,
        source: SessionSource,
        factors: Sequence[int],
        *,
        key: str = "",
        content: str = "",
        origin: Mapping[str, Any] | None = None,
        threads: int = 1,
        actors: Callable[[int], Sequence[Any]] | None = None,
        on_frame: Callable[[], None] | None = None,
    ) -> PooledSession:
        """Read and pool every frame. Raises InputError that names session and frame; `on_frame` is called after
        each. `actors`: a frame's records of what moves, as `Session.actors` gives them; content and origin: the
        recording's hash and `origin_of` it."""
        grid, numbers = source.meta.grid.pooled(factors), list(source.frame_indices)
        if not numbers:
            raise InputError(f"{name}: the session has no finished frame; take it out of the split")

        def load(index: int) -> tuple[NDArray[np.uint32], NDArray[np.uint8], NDArray[np.uint8]]:
            try:
                frame = pool_occupancy(source.occupancy(index), factors)
            except AerialWorldError as error:
                raise InputError(f"{name}: frame {index:06d}: {error}") from error
            cells = np.flatnonzero(frame.occupancy)
            bits = np.packbits(frame.observed.reshape(-1))
            return cells.astype(np.uint32), frame.semantics.reshape(-1)[cells], bits

        parts = []
        with ThreadPoolExecutor(threads) as pool:  # inflating releases the interpreter
            try:
                for part in pool.map(load, numbers):
                    parts.append(part)
                    if on_frame:
                        on_frame()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        poses = [source.pose(i) for i in numbers]
        stamps = np.array([p.stamp_ns for p in poses], np.int64)
        if (np.diff(stamps) <= 0).any():
            raise InputError(f"{name}: the frames' stamps do not increase")
        return cls(
            name=name,
            agent_type=str(source.meta.agent_type),
            grid=grid,
            datum=float(source.meta.datum),
            frame_period_ns=int(source.meta.frame_period_ns),
            numbers=np.array(numbers, np.int64),
            stamps=stamps,
            position=np.array([p.pose.position for p in poses]),
            orientation=np.array([p.pose.orientation for p in poses]),
            offsets=np.cumsum([0, *(len(p[0]) for p in parts)]),
            cells=np.concatenate([p[0] for p in parts]),
            classes=np.concatenate([p[1] for p in parts]),
            observed=np.stack([p[2] for p in parts]),
            key=key,
            content=content,
            **(origin or {}),
            actors=tuple(Actors.from_records(actors(i)) for i in numbers) if actors else (),
        )

    _ARRAYS = ("numbers", "stamps", "position", "orientation", "offsets", "cells", "classes", "observed")

    def save(self, path: Path) -> None:
        """Write the cache file, atomically."""
        head = {
            "name": self.name,
            "agent_type": self.agent_type,
            "grid": self.grid.to_dict(),
            "datum": self.datum,
            "frame_period_ns": self.frame_period_ns,
            "key": self.key,
            "content": self.content,
            "world": self.world,
            "engine": self.engine,
            "attribution": self.attribution,
            "actors": [[a.to_rows(), a.ids] for a in self.actors],
        }
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {name: getattr(self, name) for name in self._ARRAYS}
        np.savez(buffer, head=np.frombuffer(canonical_json(head), np.uint8), **arrays)
        write_bytes(path, buffer.getbuffer(), sync=False)

    @classmethod
    def load(cls, path: Path) -> PooledSession:
        """Read a cache file. Raises OSError, ValueError, KeyError or BadZipFile when it is damaged."""
        import json

        with np.load(path, allow_pickle=False) as archive:
            head = json.loads(archive["head"].tobytes())
            arrays = {name: archive[name] for name in cls._ARRAYS}
        actors = tuple(Actors.from_rows(rows, ids) for rows, ids in head.pop("actors"))
        return cls(grid=VoxelGrid.from_dict(head.pop("grid")), actors=actors, **head, **arrays)


def content_key(folder: Path, factors: Sequence[int]) -> str:
    """A hash that changes with the session's description, its frames and the pooling."""
    return hashlib.sha256(canonical_json([CACHE_VERSION, list(factors), pack.content_key(folder)])).hexdigest()


def origin_of(session: Session) -> dict[str, Any]:
    """World, engine and attribution, as a `PooledSession` keeps them."""
    meta = session.meta
    return {"world": dict(meta.world), "engine": str(meta.engine["name"]), "attribution": meta.attribution}


def load_sessions(
    root: Path,
    names: Sequence[str],
    factors: Sequence[int],
    *,
    cache: Path | None = None,
    threads: int = 2,
    on_frame: Callable[[], None] | None = None,
) -> dict[str, PooledSession]:
    """Read the named sessions under `root`, from `cache` where it holds the same content. All must share one grid.

    Raises InputError for a missing session and for grids or time steps that differ.
    """
    loaded: dict[str, PooledSession] = {}
    packs = pack.pack_in(Path(root))
    for name in names:
        folder = Path(root) / name
        if not folder.is_dir():
            raise InputError(f"{folder}: no such session; the split file names it")
        key = content_key(folder, factors)
        path = cache / f"{name}-{key[:16]}.npz" if cache else None
        session = None
        if path and path.exists():
            try:
                session = PooledSession.load(path)
            except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, AerialWorldError):
                path.unlink(missing_ok=True)  # a damaged cache is made again
        if session is None or session.key != key or session.name != name:
            recorded = Session.open(folder)
            packed = packs.session(folder) if packs else None  # needs no inflating; None if it is of other content
            source: SessionSource = recorded if packed is None else packed
            session = PooledSession.from_source(
                name, source, factors, key=key, content=pack.content_key(folder), origin=origin_of(recorded),
                threads=threads, on_frame=on_frame, actors=recorded.actors,
            )  # fmt: skip
            if path:
                path.parent.mkdir(parents=True, exist_ok=True)
                session.save(path)
        loaded[name] = session
    first = next(iter(loaded.values()))
    for session in loaded.values():
        if session.grid != first.grid:
            raise InputError(
                f"{session.name} has the grid {session.grid.to_dict()}, {first.name} {first.grid.to_dict()}"
            )
    return loaded
