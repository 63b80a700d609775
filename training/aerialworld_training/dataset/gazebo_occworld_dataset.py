"""Recorded sessions as samples of history and future, under the names that the published guides use.

    config = DatasetConfig(history_frames=4, future_frames=6, agent_type="both", split="train")
    dataset = GazeboOccWorldDataset("data/tokyo_gazebo", config)
    loader = DataLoader(
        dataset, batch_size=1, shuffle=True, num_workers=2, collate_fn=collate_fn, worker_init_fn=start_worker
    )

Frames are read when a sample is asked for, from the pack beside the sessions (`aerialworld session pack`) while that is
fresh, else from the session's own files; of every kind of data only what the config asks for is opened.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from aerialworld_core.errors import AerialWorldError, InputError
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import FREE
from aerialworld_core.memory import keep_freed_memory
from aerialworld_core.occupancy import Occupancy
from aerialworld_core.session import Session
from aerialworld_core.session.pack import Pack, PackedSession, content_key, pack_in
from aerialworld_core.session.reader import list_sessions
from aerialworld_training.dataset import sensors
from aerialworld_training.dataset.frame_bits import FrameBits, Kept
from aerialworld_training.dataset.pooling import factors_between, pool_occupancy, shift_levels
from aerialworld_training.dataset.splits import PARTS, read_split, split_by_ratio
from aerialworld_training.dataset.windows import TOLERANCE, find_windows

log = logging.getLogger(__name__)
FORMS = ("float32", "uint8", "packed")
#: Bytes of pooled frames that a process keeps: making one from its file takes fifty times as long as reading it here.
KEPT_BYTES = 256 * 1024 * 1024
VOXELS = ("occupancy", "semantics", "observed")
AGENTS = ("both", "drone", "rover")
Sample = dict[str, Any]


@dataclass
class DatasetConfig:
    """What a dataset reads, and how.

    history_frames, future_frames, frame_skip  a window's frames; every `frame_skip`-th frame of the recording is taken
    agent_type          drone, rover or both
    split               train, val or test: of `split_file`, else of split.json in the data folder, else drawn by
                        `val_ratio` and `test_ratio` from the sessions' names (never within a session)
    image_size          (height, width) of the images in a sample; others are resized with antialiasing
    normalize_images    subtract ImageNet's mean and divide by its deviation (see `sensors`)
    max_points          of one LiDAR sweep; more are thinned evenly
    point_cloud_range, voxel_size   the grid of the samples: the sessions' own, or with voxels a whole number of times
                        as large
    load_images, load_lidar   what is not asked for is not read
    validate_motion     a split in which no window moves is an error: its recorder or its poses are broken
    filter_static       leave out windows that move less than `min_pose_delta` (metres of path, or radians of turning)
                        and whose voxels change less than `min_occ_change` (share of the occupied)
    exclude_dummy_sessions   leave out sessions whose folder's name contains "dummy"
    form                `float32`: the guides' dictionary; `uint8`: the same with voxels as bytes; `packed`: voxels as
                        bits, see `packed`
    voxels              of occupancy, semantics and observed: what dense samples hold
    split_file          a split file elsewhere
    ground_level        move each window's voxels by whole levels so that the ground below the last history frame lies
                        in this level (`z_shift` says by how many; bits are moved when they are unpacked); None: as
                        recorded
    max_skipped         so many damaged windows are passed over, with a warning each, before one is an error
    verify              check every file against its hash while reading
    """

    history_frames: int = 4
    future_frames: int = 6
    frame_skip: int = 1
    agent_type: str = "both"
    split: str = "train"
    val_ratio: float = 0.1
    test_ratio: float = 0.1
    image_size: tuple[int, int] = (900, 1600)
    normalize_images: bool = True
    max_points: int = 100_000
    point_cloud_range: tuple[float, ...] = (-40, -40, -2, 40, 40, 150)
    voxel_size: tuple[float, ...] = (0.4, 0.4, 1.25)
    load_images: bool = True
    load_lidar: bool = True
    validate_motion: bool = True
    min_pose_delta: float = 0.1
    min_occ_change: float = 0.001
    filter_static: bool = True
    exclude_dummy_sessions: bool = True
    form: str = "float32"
    voxels: tuple[str, ...] = ("occupancy",)
    split_file: str | Path | None = None
    ground_level: int | None = None
    max_skipped: int = 16
    verify: bool = False

    def check(self) -> VoxelGrid:
        """The grid of the samples. Raises InputError that names the setting."""
        for name, value, known in (
            ("agent_type", self.agent_type, AGENTS), ("split", self.split, PARTS), ("form", self.form, FORMS)
        ):  # fmt: skip
            if value not in known:
                raise InputError(f"{name} is {', '.join(known[:-1])} or {known[-1]}, not {value!r}")
        if not self.voxels or not set(self.voxels) <= set(VOXELS):
            raise InputError(f"voxels are of {', '.join(VOXELS)}, not {self.voxels!r}")
        if min(self.history_frames, self.frame_skip) < 1 or self.future_frames < 0:
            raise InputError("history_frames and frame_skip are 1 or more, future_frames 0 or more")
        if self.max_points < 1 or self.max_skipped < 0 or min(self.image_size) < 1:
            raise InputError("max_points and image_size are 1 or more, max_skipped 0 or more")
        if self.min_pose_delta < 0 or self.min_occ_change < 0:
            raise InputError("min_pose_delta and min_occ_change are 0 or more")
        return VoxelGrid.from_range(self.point_cloud_range, self.voxel_size)


@dataclass(frozen=True)
class Window:
    """One sample: a session's folder name and the numbers of its frames, history first."""

    session: str
    frames: tuple[int, ...]


class GazeboOccWorldDataset(Dataset[Sample]):
    """Windows of `history_frames` + `future_frames` equally spaced frames.

    A sample of form `float32` holds
    history_occupancy (H, X, Y, Z), future_occupancy (F, X, Y, Z) float32 of 0 and 1; history_poses (H, 13),
    future_poses (F, 13) float32 as `PoseRecord.pose_13d`, map frame; history_images, a list of H mappings from camera
    to float32 (3, height, width), and history_images_valid, as many mappings to bool: a missing image is NaN and False;
    history_lidar, a list of H float32 (N, 4) x, y, z, intensity in the LiDAR's frame, None where the frame has none;
    agent_type 1 in the air, 0 on the ground; session, frames (numbers), domain_tag (the engine that made it), z_shift.
    With `voxels` also history_/future_ semantics (class ids, FREE where free or unknown) and observed (0 or 1), uint8.
    Form `uint8` has the occupancy as uint8 too. Form `packed` holds history_/future_ occupied and observed (…, bytes)
    bits, the classes (K,) of the occupied voxels of all frames in order, and `classes_counts` (H + F,) of each frame,
    all as they lie in the recording; `packed.unpack_sample` unpacks and moves them on any device.

    A window whose files are damaged is replaced by the next sound one, with a warning that names the file; after
    `max_skipped` of them the error is raised. `frame_index` lists the windows.
    """

    def __init__(
        self,
        data_root: str | Path,
        config: DatasetConfig | None = None,
        transform: Callable[[Sample], Sample] | None = None,
    ) -> None:
        """Raises InputError for an unusable folder or config, SessionError for a session that cannot be opened."""
        self.config = config or DatasetConfig()
        self.root, self.transform = Path(data_root), transform
        self.grid = self.config.check()
        self._open: dict[str, Session] = {}
        self._packed: dict[str, PackedSession | None] = {}
        self._damaged: set[int] = set()
        self._kept = Kept(KEPT_BYTES)
        self._ground: dict[tuple[str, int], int] = {}
        self._content: dict[str, str] = {}
        self.sessions = self._choose()
        self.factors = {name: self._factors(name) for name in self.sessions}
        self._step_ns = self._common_step()
        self.frame_index, moving = self._windows()
        if not self.frame_index:
            raise InputError(
                f"{self.root}: {self.config.split}: no window of {self.config.history_frames} + "
                f"{self.config.future_frames} frames at equal steps in {len(self.sessions)} sessions; record longer "
                "runs, or see filter_static and frame_skip"
            )
        if self.config.validate_motion and not moving:
            raise InputError(
                f"{self.root}: {self.config.split}: in none of {len(self.frame_index)} windows does the vehicle move "
                f"{self.config.min_pose_delta} m; look at the poses, or set validate_motion=False"
            )

    def __getstate__(self) -> dict[str, Any]:
        """For workers: open files stay behind, each process opens its own."""
        own = {"_open": {}, "_packed": {}, "_kept": Kept(KEPT_BYTES)}
        return {k: v for k, v in self.__dict__.items() if k != "_root_pack"} | own

    def __len__(self) -> int:
        return len(self.frame_index)

    def single_frames(self) -> GazeboOccWorldDataset:
        """The frames of the windows as a data set of windows of one frame, each frame once."""
        frames = sorted({(w.session, n) for w in self.frame_index for n in w.frames})
        single = copy(self)
        single.config = replace(self.config, history_frames=1, future_frames=0)
        single.frame_index = [Window(name, (n,)) for name, n in frames]
        single._damaged = set()
        return single

    @property
    def step_ns(self) -> int:
        """The time between a window's frames."""
        return self._step_ns

    def session(self, name: str) -> Session:
        """One of `sessions`, open."""
        return self._session(name)

    @property
    def skipped(self) -> int:
        """Windows that this process found damaged so far."""
        return len(self._damaged)

    def __getitem__(self, index: int) -> Sample:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        first = index % len(self)
        for ahead in range(len(self)):
            at = (first + ahead) % len(self)
            if at in self._damaged:
                continue
            try:
                sample = self.read(self.frame_index[at])
            except AerialWorldError as error:
                self._damaged.add(at)
                if len(self._damaged) > self.config.max_skipped:
                    raise InputError(f"over {self.config.max_skipped} damaged windows, the last: {error}") from error
                log.warning("%s; another window takes its place (%d so far)", error, len(self._damaged))
                continue
            return self.transform(sample) if self.transform else sample
        raise InputError(f"{self.root}: {self.config.split}: every window is damaged")

    def read(self, window: Window) -> Sample:
        """One window's sample, without transform. Raises SessionError or InputError that names the file."""
        session, history = self._session(window.session), self.config.history_frames
        packed = self._pack(window.session)
        records = [(packed or session).pose(n, verify=self.config.verify) for n in window.frames]
        poses = torch.from_numpy(np.stack([r.pose_13d() for r in records]).astype(np.float32))
        sample: Sample = {
            "history_poses": poses[:history],
            "future_poses": poses[history:],
            "agent_type": int(session.meta.agent_type == "drone"),
            "session": window.session,
            "frames": list(window.frames),
            "domain_tag": str(session.meta.engine["name"]),
            "z_shift": 0,
        }
        if self.config.form == "packed":
            self._put_bits(sample, window)
        else:
            self._put_voxels(sample, window)
        if self.config.load_images:
            shown = [
                sensors.images(
                    session, n, self.config.image_size, self.config.normalize_images, verify=self.config.verify
                )
                for n in window.frames[:history]
            ]
            sample["history_images"] = [images for images, _ in shown]
            sample["history_images_valid"] = [valid for _, valid in shown]
        if self.config.load_lidar:
            sample["history_lidar"] = [
                sensors.lidar(session, n, self.config.max_points, verify=self.config.verify)
                for n in window.frames[:history]
            ]
        return sample

    def occupancy(self, name: str, frame: int) -> Occupancy:
        """A frame's voxels on the dataset's grid. Raises SessionError or InputError that names the file."""
        source = self._pack(name) or self._session(name)
        voxels = source.occupancy(frame, verify=self.config.verify)
        factors = self.factors[name]
        return voxels if factors == (1, 1, 1) else pool_occupancy(voxels, factors)

    def bits(self, name: str, frame: int) -> FrameBits:
        """As `occupancy`, in bits."""
        if self.factors[name] != (1, 1, 1):
            return self._kept.get((name, frame), lambda: FrameBits.of(self.occupancy(name, frame)))
        packed = self._pack(name)
        if packed is None:
            return FrameBits.of(self.occupancy(name, frame))
        occupied, observed, classes, _ = packed.bits([frame])
        return FrameBits(occupied[0], observed[0], classes)

    def ground_level(self, name: str, frame: int, held: Callable[[], FrameBits] | None = None) -> int:
        """The level of the dataset's grid in which a frame's ground lies (`ground`); `held` gives the frame where it
        was read already."""
        key = name, frame
        if key not in self._ground:
            bits = held() if held else self.bits(name, frame)
            self._ground[key] = bits.ground_level(self.grid.shape[2])
        return self._ground[key]

    def _up(self, window: Window, held: Callable[[], FrameBits] | None = None) -> int:
        """How many levels a window is moved up; `held` gives its last history frame where it was read already."""
        level = self.config.ground_level
        last = window.frames[self.config.history_frames - 1]
        return 0 if level is None else level - self.ground_level(window.session, last, held)

    def content(self, name: str) -> str:
        """`pack.content_key` of a session, read once."""
        if name not in self._content:
            self._content[name] = content_key(self.root / name)
        return self._content[name]

    def _as_recorded(self, name: str) -> bool:
        return self.factors[name] == (1, 1, 1) and self.config.ground_level is None

    def _put_bits(self, sample: Sample, window: Window) -> None:
        packed = self._pack(window.session)
        if packed is not None and self.factors[window.session] == (1, 1, 1):
            occupied, observed, classes, counts = packed.bits(window.frames)
            sample["z_shift"] = self._up(window)
        else:
            frames = [self.bits(window.session, n) for n in window.frames]
            sample["z_shift"] = self._up(window, lambda: frames[self.config.history_frames - 1])
            occupied, observed = np.stack([f.occupied for f in frames]), np.stack([f.observed for f in frames])
            classes = np.concatenate([f.classes for f in frames])
            counts = np.array([len(f.classes) for f in frames], np.int64)
        self._put(sample, "occupied", torch.from_numpy(occupied))
        self._put(sample, "observed", torch.from_numpy(observed))
        sample["classes"], sample["classes_counts"] = torch.from_numpy(classes), torch.from_numpy(counts)

    def _put(self, sample: Sample, key: str, frames: torch.Tensor) -> None:
        sample[f"history_{key}"] = frames[: self.config.history_frames]
        sample[f"future_{key}"] = frames[self.config.history_frames :]

    def _put_voxels(self, sample: Sample, window: Window) -> None:
        if self.config.voxels == ("occupancy",) and self._as_recorded(window.session):
            source = self._pack(window.session) or self._session(window.session)
            occupied = [source.occupied(n, verify=self.config.verify) for n in window.frames]
            self._put(sample, "occupancy", self._dense(occupied))
            return
        frames = [self.occupancy(window.session, n) for n in window.frames]
        last = frames[self.config.history_frames - 1]
        if up := self._up(window, lambda: FrameBits.of(last)):
            sample["z_shift"] = up
            frames = [
                Occupancy(
                    shift_levels(f.occupancy, up, 0),
                    shift_levels(f.semantics, up, FREE),
                    shift_levels(f.observed, up, False),
                )
                for f in frames
            ]
        if "occupancy" in self.config.voxels:
            self._put(sample, "occupancy", self._dense([f.occupancy for f in frames]))
        if "semantics" in self.config.voxels:
            self._put(sample, "semantics", torch.from_numpy(np.stack([f.semantics for f in frames])))
        if "observed" in self.config.voxels:
            self._put(sample, "observed", torch.from_numpy(np.stack([f.observed for f in frames]).view(np.uint8)))

    def _dense(self, frames: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
        kind = np.float32 if self.config.form == "float32" else np.uint8
        out = np.empty((len(frames), *self.grid.shape), kind)
        for n, frame in enumerate(frames):
            out[n] = frame
        return torch.from_numpy(out)

    def _choose(self) -> list[str]:
        """Names of the sessions of this split and agent type."""
        found = [p.name for p in list_sessions(self.root) if p != self.root]
        if not found:
            raise InputError(f"{self.root}: holds no session folders")
        if self.config.exclude_dummy_sessions:
            found = [n for n in found if "dummy" not in n.lower()]
        if self.config.agent_type != "both":
            found = [n for n in found if self._session(n).meta.agent_type == self.config.agent_type]
        file = Path(self.config.split_file) if self.config.split_file else self.root / "split.json"
        if self.config.split_file or file.is_file():
            listed = read_split(file).part(self.config.split)
            missing = [n for n in listed if not (self.root / n).is_dir()]
            if missing:
                raise InputError(f"{file}: {self.config.split} names {missing[0]}, which {self.root} does not hold")
            names = [n for n in listed if n in set(found)]
        else:
            names = split_by_ratio(found, self.config.val_ratio, self.config.test_ratio)[self.config.split]
        if not names:
            raise InputError(
                f"{self.root}: {self.config.split} has no session of agent_type {self.config.agent_type!r}; "
                f"{len(found)} are there in all"
            )
        return names

    def _factors(self, name: str) -> tuple[int, int, int]:
        own, wanted = self._session(name).meta.grid, self.grid
        factors = factors_between(own, wanted)
        if factors is None:
            raise InputError(
                f"{self.root / name}: its grid {own.to_dict()} is not {wanted.to_dict()} nor a whole number of times "
                "finer; set point_cloud_range and voxel_size, or make it anew with `aerialworld session occupancy`"
            )
        return factors

    def _common_step(self) -> int:
        steps = {n: self._session(n).meta.frame_period_ns * self.config.frame_skip for n in self.sessions}
        first, step = next(iter(steps.items()))
        for name, other in steps.items():
            if abs(other - step) > TOLERANCE * step:
                raise InputError(
                    f"{self.root}: {name} has a time step of {other * 1e-9:g} s, {first} of {step * 1e-9:g} s; "
                    "put them into data sets of their own"
                )
        return step

    def _windows(self) -> tuple[list[Window], bool]:
        """The windows kept, and whether the vehicle moves in any."""
        length, skip = self.config.history_frames + self.config.future_frames, self.config.frame_skip
        kept, moving = [], False
        for name in self.sessions:
            source = self._pack(name) or self._session(name)
            numbers = list(source.frame_indices)
            records = [source.pose(n, verify=False) for n in numbers]
            stamps = np.array([r.stamp_ns for r in records], np.int64)
            position = np.array([r.pose.position for r in records]).reshape(-1, 3)
            yaw = np.array([r.pose.yaw for r in records])
            path, turned = _along(np.linalg.norm(np.diff(position, axis=0), axis=1)), _along(_turns(yaw))
            for window in find_windows(stamps, length, self._step_ns, skip):
                a, b = window[0], window[-1]
                moves = max(path[b] - path[a], turned[b] - turned[a]) >= self.config.min_pose_delta
                moving |= moves
                frames = tuple(numbers[k] for k in window)
                if moves or not self.config.filter_static or self._changes(name, frames):
                    kept.append(Window(name, frames))
        return kept, moving

    def _changes(self, name: str, frames: Sequence[int]) -> bool:
        """Whether a standing window's voxels change: something moves before it."""
        first = self.occupancy(name, frames[0]).occupancy != 0
        most = max(1, int(first.sum()))
        return any(
            int((first != (self.occupancy(name, n).occupancy != 0)).sum()) / most >= self.config.min_occ_change
            for n in frames[1:]
        )

    def _session(self, name: str) -> Session:
        if name not in self._open:
            session = Session.open(self.root / name, verify=self.config.verify)
            if not session.verifiable:  # older data says neither its grid nor its frame rate
                stamps = [session.pose(n).stamp_ns for n in session.frame_indices]
                period = int(np.median(np.diff(stamps))) if len(stamps) > 1 else session.meta.frame_period_ns
                if period <= 0:
                    raise InputError(f"{session.path}: the frames' stamps do not increase")
                meta = replace(session.meta, grid=self.grid, frame_period_ns=period)
                session = Session(session.path, meta, session.frame_indices, verify=False)
            self._open[name] = session
        return self._open[name]

    def _pack(self, name: str) -> PackedSession | None:
        if name not in self._packed:
            known = self._root_pack if self._session(name).verifiable else None
            self._packed[name] = known.session(self.root / name) if known else None
        return self._packed[name]

    @cached_property
    def _root_pack(self) -> Pack | None:
        return pack_in(self.root)


def collate_fn(samples: Sequence[Sample]) -> Sample:
    """A batch: tensors of one shape are stacked, mappings and lists of such as well; what differs in length (LiDAR,
    classes) and names stay lists."""
    return {key: _stack([s[key] for s in samples]) for key in samples[0]}


def start_worker(_: int) -> None:
    """`worker_init_fn` of a DataLoader: samples are written where freed ones were, which doubles a worker's pace."""
    keep_freed_memory()


def _stack(values: list[Any]) -> Any:
    first = values[0]
    if isinstance(first, torch.Tensor):
        same = all(v.shape == first.shape for v in values)
        return torch.stack(values) if same else values
    if isinstance(first, dict):
        return {k: _stack([v[k] for v in values]) for k in first}
    if isinstance(first, bool | int | float):
        return torch.tensor(values)
    if isinstance(first, list) and first and isinstance(first[0], dict):
        return [_stack([v[k] for v in values]) for k in range(len(first))]
    return values


def _turns(yaw: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.abs((np.diff(yaw) + np.pi) % (2 * np.pi) - np.pi)


def _along(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([[0.0], np.cumsum(steps)])
