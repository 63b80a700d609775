"""Windows: history and future frames at equal time steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from aerialworld_core.errors import InputError
from aerialworld_core.labels import FREE
from aerialworld_training.dataset.frames import PooledSession
from aerialworld_training.dataset.motion import TOLERANCE, session_motion
from aerialworld_training.dataset.pooling import shift_levels


@dataclass(frozen=True)
class Window:
    """Frames of one session by position in it (not by frame number)."""

    session: str
    frames: tuple[int, ...]


def find_windows(stamps: NDArray[np.int64], length: int, step_ns: int, frame_skip: int = 1) -> list[tuple[int, ...]]:
    """Every run of `length` frames, `frame_skip` apart, whose time steps are all `step_ns` ± 1 %. stamps (N,) ns."""
    windows = []
    for start in range(len(stamps) - (length - 1) * frame_skip):
        frames = start + frame_skip * np.arange(length)
        if (np.abs(np.diff(stamps[frames]) - step_ns) <= TOLERANCE * step_ns).all():
            windows.append(tuple(int(f) for f in frames))
    return windows


class SessionWindows(Dataset[dict[str, object]]):
    """Windows of `history` + `future` frames over pooled sessions.

    A sample holds semantics (F, X, Y, Z) uint8, observed (F, X, Y, Z) bool, rel_poses (F, 2) float32 [metres right,
    forward, to the next frame; the last row is zero when the window ends the session], modes (F, 3) float32 one-hot
    [right, left, straight], session and frames (numbers). Unknown voxels are free in `semantics` and False in
    `observed`. With `ground_level` both are moved, a whole window by one number of levels, so that the ground of the
    last history frame lies at that level.
    """

    def __init__(
        self,
        sessions: Sequence[PooledSession],
        *,
        history: int = 4,
        future: int = 6,
        frame_skip: int = 1,
        step_ns: int = 500_000_000,
        ground_level: int | None = None,
        split: str = "",
    ) -> None:
        """Raises InputError when a session's frame rate does not give `step_ns`, or when no window is found."""
        self.sessions = {s.name: s for s in sessions}
        self.history, self.future, self.step_ns = history, future, step_ns
        self.ground_level = ground_level
        self.windows: list[Window] = []
        self.rel_poses: dict[str, NDArray[np.float32]] = {}
        self.modes: dict[str, NDArray[np.int64]] = {}
        for session in sessions:
            step = session.frame_period_ns * frame_skip
            if abs(step - step_ns) > TOLERANCE * step_ns:
                raise InputError(
                    f"{session.name}: a frame every {session.frame_period_ns * 1e-9:g} s and data.frame_skip "
                    f"{frame_skip} give {step * 1e-9:g} s; the time step is {step_ns * 1e-9:g} s (data.step). Change "
                    "data.frame_skip or data.step"
                )
            found = find_windows(session.stamps, history + future, step_ns, frame_skip)
            self.windows += [Window(session.name, frames) for frames in found]
            motion, modes = session_motion(session.position, session.yaw, session.stamps, step_ns, frame_skip)
            self.rel_poses[session.name], self.modes[session.name] = motion, modes
        if not self.windows:
            raise InputError(
                f"{split or 'the data set'}: no window of {history} + {future} frames at equal steps of "
                f"{step_ns * 1e-9:g} s in {', '.join(self.sessions) or 'no session'}; record longer runs"
            )

    def __len__(self) -> int:
        return len(self.windows)

    def shift(self, window: Window) -> int:
        """Levels that the window's volumes are moved up; known from its history alone."""
        return self.sessions[window.session].shift(window.frames[self.history - 1], self.ground_level)

    def motion(self, window: Window) -> tuple[torch.Tensor, torch.Tensor]:
        """rel_poses (F, 2) and one-hot modes (F, 3), float32."""
        at = list(window.frames)
        modes = torch.from_numpy(self.modes[window.session][at])
        return (
            torch.from_numpy(self.rel_poses[window.session][at]),
            torch.nn.functional.one_hot(modes, 3).to(torch.float32),
        )

    def __getitem__(self, index: int) -> dict[str, object]:
        window = self.windows[index]
        session = self.sessions[window.session]
        rel_poses, modes = self.motion(window)
        up = self.shift(window)
        semantics = [shift_levels(session.semantics(n), up, FREE) for n in window.frames]
        observed = [shift_levels(session.observed_mask(n), up, False) for n in window.frames]
        return {
            "semantics": torch.from_numpy(np.stack(semantics)),
            "observed": torch.from_numpy(np.stack(observed)),
            "rel_poses": rel_poses,
            "modes": modes,
            "session": window.session,
            "frames": session.numbers[list(window.frames)].tolist(),
        }

    def describe(self, index: int) -> str:
        """Session and frame numbers of a window, for messages."""
        window = self.windows[index]
        numbers = self.sessions[window.session].numbers
        return f"{window.session} frames {numbers[window.frames[0]]:06d}–{numbers[window.frames[-1]]:06d}"


def evenly(count: int, wanted: int) -> list[int]:
    """At most `wanted` indices below `count`, evenly spread, first and last included."""
    if count <= wanted:
        return list(range(count))
    return sorted({round(i * (count - 1) / max(wanted - 1, 1)) for i in range(wanted)})
