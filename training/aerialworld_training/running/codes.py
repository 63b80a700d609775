"""The codes of every frame that stage occworld sees, computed once and read from disk as they lie there.

A session's codes are two files: `NAME.vK.npy`, uint16 (K, h, w) (residual codes (K, depth, h, w)), memory-mapped; and
`NAME.vK.json` beside it, written last, which says for which encoder, data and augmentation they were made. Under any
other key they are stale. A frame has codes for each number of levels that a window moves it by, and for each variant:
0 as recorded, others mirrored and turned as a whole session.
"""

from __future__ import annotations

import hashlib
import io
import logging
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from aerialworld_core.errors import InputError
from aerialworld_core.files import canonical_json, dump_json, read_json, write_bytes
from aerialworld_core.frames import Pose
from aerialworld_core.labels import FREE
from aerialworld_training.dataset.gazebo_occworld_dataset import GazeboOccWorldDataset
from aerialworld_training.dataset.motion import session_motion
from aerialworld_training.dataset.pooling import shift_levels
from aerialworld_training.models.aerial.motion import EGO, ego_features
from aerialworld_training.models.occworld import OccWorld
from aerialworld_training.runconfig import RunConfig
from aerialworld_training.running import coding, data
from aerialworld_training.running.order import Draw, mixed
from aerialworld_training.running.ranks import Ranks
from aerialworld_training.runtime import Interrupted, StopRequest

FORMAT = 1
MAX_JSON = 64 * 1024 * 1024
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class CodesFile:
    """codes (K, h, w) or (K, depth, h, w) uint16; `rows` finds the row of (frame number, levels moved up); `ups` the
    levels that a window moves by whose last history frame is the key."""

    codes: NDArray[np.uint16]
    rows: dict[tuple[int, int], int]
    ups: dict[int, int]

    @classmethod
    def open(cls, path: Path, key: str) -> CodesFile:
        """Raises InputError for a file that is absent, damaged or stale, with the way out."""
        try:
            head = read_json(path.with_suffix(".json"), limit=MAX_JSON)
            codes = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{path}: no readable codes: {error}") from error
        if not isinstance(head, dict) or head.get("format") != FORMAT or head.get("key") != key:
            raise InputError(
                f"{path}: stale codes: made with another encoder, codebook, grid, augmentation or other sessions; "
                "delete the folder, they are made anew"
            )
        pairs = [(int(n), int(up)) for n, up in head["pairs"]]
        depth = head.get("depth", 1)
        deep = codes.ndim == 3 if depth == 1 else codes.ndim == 4 and codes.shape[1] == depth
        if codes.dtype != np.uint16 or not deep or len(codes) != len(pairs):
            raise InputError(f"{path}: damaged codes: {codes.dtype} {codes.shape} for {len(pairs)} frames")
        ups = {int(n): int(up) for n, up in head["ups"]}
        return cls(codes, {pair: row for row, pair in enumerate(pairs)}, ups)


def write_codes(
    path: Path, codes: NDArray[np.uint16], pairs: list[tuple[int, int]], ups: dict[int, int], key: str
) -> None:
    """Codes (K, h, w) or (K, depth, h, w) first, then what says that they are whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.save(buffer, codes, allow_pickle=False)
    path.with_suffix(".json").unlink(missing_ok=True)
    write_bytes(path, buffer.getbuffer())
    head = {"format": FORMAT, "key": key, "pairs": [list(p) for p in pairs], "ups": [list(u) for u in ups.items()]}
    if codes.ndim == 4:
        head["depth"] = codes.shape[1]
    write_bytes(path.with_suffix(".json"), dump_json(head))


class SessionCodes:
    """Makes and opens the codes of the sessions of one data set."""

    def __init__(self, model: OccWorld, config: RunConfig, dataset: GazeboOccWorldDataset, folder: Path) -> None:
        self.model, self.config, self.dataset, self.folder = model, config, dataset, folder
        model_key = model.codes_key("")
        augment = config.augment
        self.common: list[Any] = [
            model_key, config.data.ground_level, config.data.binary, config.data.history_frames,
            config.data.grid.to_dict(),
            [augment.flip_probability, augment.rotate_deg, augment.rotate_probability, config.runtime.seed],
        ]  # fmt: skip

    def windows_of(self, session: str) -> list[tuple[int, ...]]:
        return [w.frames for w in self.dataset.frame_index if w.session == session]

    def path(self, session: str, variant: int) -> Path:
        root = zlib.crc32(str(self.dataset.root.resolve()).encode())
        return self.folder / f"{session}-{root:08x}.v{variant}.npy"

    def key(self, session: str, variant: int) -> str:
        windows = self.windows_of(session)
        content = [FORMAT, self.common, variant, self.dataset.content(session), windows]
        return hashlib.sha256(canonical_json(content)).hexdigest()

    def generator(self, session: str, variant: int) -> torch.Generator:
        """The same draws for every frame of a variant."""
        seed = mixed(self.config.runtime.seed, zlib.crc32(session.encode()), variant)
        return torch.Generator().manual_seed(seed)

    def turn(self, sample: data.Sample, session: str, variant: int) -> data.Sample:
        """A dense sample as the variant has it."""
        if variant == 0:
            return sample
        return data.turned(self.config.augment, sample, self.generator(session, variant))

    def open(self, session: str, variant: int) -> CodesFile:
        """Raises InputError where they are absent, damaged or stale."""
        return CodesFile.open(self.path(session, variant), self.key(session, variant))

    def is_there(self, session: str, variant: int) -> bool:
        try:
            self.open(session, variant)
        except InputError as error:
            if self.path(session, variant).exists():
                log.info("%s", error)
            return False
        return True

    @torch.no_grad()
    def make(self, session: str, variant: int, device: torch.device) -> None:
        """Compute and write a session's codes."""
        history, level = self.config.data.history_frames, self.config.data.ground_level
        windows = self.windows_of(session)
        ups: dict[int, int] = {}
        for frames in windows:
            last = frames[history - 1]
            if last not in ups:
                ups[last] = 0 if level is None else level - self.dataset.ground_level(session, last)
        pairs = sorted({(n, ups[frames[history - 1]]) for frames in windows for n in frames})
        out: list[Tensor] = []
        for n in sorted({n for n, _ in pairs}):
            frame = self.dataset.occupancy(session, n)
            semantics = np.where((frame.semantics != FREE) & self.config.data.binary, data.MANMADE, frame.semantics)
            for up in [u for m, u in pairs if m == n]:
                dense = {
                    "history_semantics": torch.from_numpy(shift_levels(semantics.astype(np.uint8), up, FREE))[None],
                    "history_observed": torch.from_numpy(shift_levels(frame.observed, up, False)).to(torch.uint8)[None],
                    "history_poses": torch.zeros(0, 13),
                    "future_poses": torch.zeros(0, 13),
                }
                dense = self.turn(dense, session, variant)
                seen = dense["history_observed"].to(device).bool()
                out.append(coding.indices_of(self.model, dense["history_semantics"].to(device), seen)[0].cpu())
        codes = torch.stack(out).numpy().astype(np.uint16)
        write_codes(self.path(session, variant), codes, pairs, ups, self.key(session, variant))


def prepare(
    model: OccWorld,
    config: RunConfig,
    datasets: list[GazeboOccWorldDataset],
    folder: Path,
    variants: int,
    ranks: Ranks,
    tell: Callable[[str], None],
    stop: StopRequest,
) -> list[WindowCodes]:
    """The windows of each data set as codes; what is not there for this very encoder and data is computed, each
    process taking its share of the sessions. Raises Interrupted after a signal; finished sessions are kept."""
    if model.config.n_e > 1 << 16:
        raise InputError(f"model.n_e = {model.config.n_e}: codes are stored in 16 bits")
    makers = [SessionCodes(model, config, dataset, folder) for dataset in datasets]
    jobs = [(maker, name, v) for maker in makers for name in maker.dataset.sessions for v in range(variants)]
    was_training = model.training
    model.eval()
    mine = jobs[ranks.rank :: ranks.world]
    for k, (maker, name, variant) in enumerate(mine):
        if stop.signum is not None:
            raise Interrupted("stopped while codes were made; run the same command with --resume to go on", stop.signum)
        tell(f"codes {k + 1}/{len(mine)}: {name}")
        if maker.windows_of(name) and not maker.is_there(name, variant):
            log.info("codes of %s, variant %d", name, variant)
            maker.make(name, variant, ranks.device)
    model.train(was_training)
    ranks.wait()
    return [WindowCodes(maker, variants) for maker in makers]


class WindowCodes(Dataset[dict[str, Any]]):
    """Windows as codes and motion. A sample holds codes (F, [depth,] h, w) uint16, rel_poses (F, 2), modes (F, 3), ego
    (F, 8) float32, planar (F, 3) float64 poses [x, y, yaw], variant, session and frames; the last frame's motion is
    0."""

    def __init__(self, maker: SessionCodes, variants: int) -> None:
        self.variants = variants
        self.maker, self.dataset = maker, maker.dataset
        index = self.dataset.frame_index
        self.files: list[NDArray[np.uint16]] = []
        self.where: list[list[tuple[int, NDArray[np.int64]]]] = []
        self.motions: list[list[Tensor]] = []
        of_session: dict[str, list[int]] = {}
        for at, window in enumerate(index):
            of_session.setdefault(window.session, []).append(at)
        for variant in range(variants):
            where: dict[int, tuple[int, NDArray[np.int64]]] = {}
            motions: dict[int, tuple[Tensor, ...]] = {}
            for name, places in of_session.items():
                file = maker.open(name, variant)
                self.files.append(file.codes)
                for at, motion in zip(places, session_windows(maker, file, name, variant), strict=True):
                    frames = index[at].frames
                    up = file.ups[frames[maker.config.data.history_frames - 1]]
                    where[at] = len(self.files) - 1, np.array([file.rows[n, up] for n in frames], np.int64)
                    motions[at] = motion
            self.where.append([where[at] for at in range(len(index))])
            self.motions.append([torch.stack([motions[at][k] for at in range(len(index))]) for k in range(4)])

    def __len__(self) -> int:
        return len(self.dataset.frame_index)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.variant(index, 0)

    def drawn(self, draw: Draw, index: int) -> dict[str, Any]:
        """The window in the variant of this draw."""
        return self.variant(index, (draw.epoch + draw.position) % self.variants)

    def variant(self, index: int, variant: int) -> dict[str, Any]:
        file, rows = self.where[variant][index]
        rel_poses, modes, ego, planar = (column[index] for column in self.motions[variant])
        window = self.dataset.frame_index[index]
        return {
            "codes": torch.from_numpy(self.files[file][rows]), "rel_poses": rel_poses, "modes": modes, "ego": ego,
            "planar": planar, "variant": variant, "session": window.session, "frames": window.frames,
        }  # fmt: skip


def session_windows(
    maker: SessionCodes, file: CodesFile, name: str, variant: int
) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """rel_poses, modes, ego and planar poses of each window of a session, as the variant turns them."""
    dataset, config = maker.dataset, maker.config
    session = dataset.session(name)
    numbers = list(session.frame_indices)
    records = [session.pose(n, verify=False) for n in numbers]
    poses = torch.from_numpy(np.stack([r.pose_13d() for r in records]).astype(np.float64))
    poses = maker.turn({"history_poses": poses, "future_poses": poses[:0]}, name, variant)["history_poses"]
    position, orientation = poses[:, :3].numpy(), poses[:, 3:7].numpy()
    yaw = np.array([Pose(p, q).yaw for p, q in zip(position, orientation, strict=True)])
    stamps = np.array([r.stamp_ns for r in records], np.int64)
    step_ns = round(config.data.step * 1e9)
    motion, modes = session_motion(position, yaw, stamps, step_ns, config.data.frame_skip)
    at = {n: k for k, n in enumerate(numbers)}
    size = config.data.grid.voxel_size[2]
    out = []
    for frames in maker.windows_of(name):
        k = [at[n] for n in frames]
        moved = file.ups[frames[config.data.history_frames - 1]] * size
        rel = torch.from_numpy(motion[k].copy())
        rel[-1] = 0
        ego = ego_features(position[k], orientation[k], config.data.step, float(session.meta.datum), moved)
        planar = torch.from_numpy(np.column_stack([position[k][:, :2], yaw[k]]))
        out.append((rel, F.one_hot(torch.from_numpy(modes[k]), 3).to(torch.float32), ego, planar))
    assert not out or out[0][2].shape[1] == len(EGO)
    return out
