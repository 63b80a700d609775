"""Several sessions of one vehicle as one, and one as several: frames as they are, numbers and stamps in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from aerialworld_core.errors import InputError
from aerialworld_core.session.copying import require_frames, stored_frame
from aerialworld_core.session.layout import parse_time
from aerialworld_core.session.meta import SessionMeta
from aerialworld_core.session.reader import Session
from aerialworld_core.session.writer import SessionWriter

#: How far a stamp may be from a whole number of frame periods, as a share of one; a loader asks for ±1 %.
SLACK = 0.01
#: Frames that a merged session may span, gaps included.
MOST_TICKS = 1_000_000


def merge_sessions(
    sessions: Sequence[Session],
    root: Path,
    *,
    provenance: Mapping[str, Any],
    on_frame: Callable[[], None] = lambda: None,
) -> Path:
    """One session of the frames of several, in the order of their simulated times; returns its folder under `root`.

    They must be alike in all but start, mission, seed and frames: one vehicle, rig, grid, datum, world, period, kinds
    of images. Simulated time is start_time + stamp: the stamps of a later start are moved by the difference. Frames
    are numbered by their stamps, so that the time between the parts shows as dropped ticks. Raises InputError for
    sessions that differ, overlap, or do not fall on one clock of frames.
    """
    if len(sessions) < 2:
        raise InputError("merging takes at least two sessions")
    for session in sessions:
        require_frames(session)
    first, offsets = _in_time(sessions)
    ordered = [s for _, s in offsets]
    _require_alike(ordered)
    ticks = _ticks(offsets)
    meta = replace(first.meta, frames=None, mission={"merged": [s.path.name for s in ordered]})
    mission = {"merged": [{"session": s.path.name, "mission": s.mission} for s in ordered]}
    made = {**provenance, "merged": [s.path.name for s in ordered]}
    with SessionWriter(root, meta, mission, made) as writer:
        for offset, session in offsets:
            for index in session.frame_indices:
                stored_frame(session, index, later_ns=offset).write(writer, ticks[session.path, index])
                on_frame()
    return writer.path


def _in_time(sessions: Sequence[Session]) -> tuple[Session, list[tuple[int, Session]]]:
    """The session that starts first, and all with how much later than it they start, by their first frames."""
    starts = [parse_time(s.meta.start_time) for s in sessions]
    begin = min(starts)
    later = [(start - begin) // timedelta(microseconds=1) * 1000 for start in starts]
    offsets = sorted(
        zip(later, sessions, strict=True), key=lambda pair: pair[0] + pair[1].pose(pair[1].frame_indices[0]).stamp_ns
    )
    return next(session for offset, session in offsets if offset == 0), offsets


def _require_alike(sessions: Sequence[Session]) -> None:
    def essence(meta: SessionMeta) -> dict[str, Any]:
        document = meta.to_dict()
        free = ("frames", "start_time", "mission", "seed", "engine", "conditions")
        return {k: v for k, v in document.items() if k not in free}

    reference = essence(sessions[0].meta)
    for session in sessions[1:]:
        other = essence(session.meta)
        differing = [k for k in sorted({*reference, *other}) if reference.get(k) != other.get(k)]
        if differing:
            raise InputError(
                f"{session.path}: differs from {sessions[0].path.name} in {', '.join(differing)}; only parts of one "
                "recording can be merged"
            )


def _ticks(offsets: list[tuple[int, Session]]) -> dict[tuple[Path, int], int]:
    """Frame number in the merged session by session and frame. Raises InputError."""
    first: int | None = None
    last, before = -1, ""
    ticks = {}
    for offset, session in offsets:
        for index in session.frame_indices:
            stamp = session.pose(index).stamp_ns + offset
            first = stamp if first is None else first
            period = session.meta.frame_period_ns
            tick = round((stamp - first) / period)
            if abs(stamp - first - tick * period) > SLACK * period:
                raise InputError(
                    f"{session.path}: frame {index} lies between the ticks of {offsets[0][1].path.name}: its frames "
                    "were taken on another clock"
                )
            if tick <= last:
                raise InputError(f"{session.path}: frame {index} is not after all frames of {before}: they overlap")
            if tick > MOST_TICKS:
                raise InputError(f"{session.path}: begins more than {MOST_TICKS:,} frames after {before}")
            ticks[session.path, index] = last = tick
        before = session.path.name
    return ticks


def split_session(
    session: Session,
    root: Path,
    begins: Sequence[int],
    *,
    provenance: Mapping[str, Any],
    on_frame: Callable[[], None] = lambda: None,
) -> list[Path]:
    """Sessions of a session's parts: a new one begins at each frame number in `begins` (and at its first frame).

    Stamps and start_time stay, so that `merge_sessions` puts the parts together again; each part counts its frames
    from 0. Parts without a frame are left out. Raises InputError for a number beyond the session.
    """
    require_frames(session)
    frames = session.frame_indices
    for number in begins:
        if not frames[0] < number <= frames[-1]:
            raise InputError(
                f"{session.path}: a part cannot begin at frame {number}; frames are {frames[0]} … {frames[-1]}"
            )
    edges = [frames[0], *sorted(set(begins)), frames[-1] + 1]
    made = []
    for begin, end in pairwise(edges):
        part = [i for i in frames if begin <= i < end]
        if not part:
            continue
        meta = replace(session.meta, frames=None)
        source = {"session": session.path.name, "frames": [part[0], part[-1]]}
        with SessionWriter(root, meta, session.mission, {**provenance, "split": source}) as writer:
            for index in part:
                stored_frame(session, index).write(writer, index - part[0])
                on_frame()
        made.append(writer.path)
    return made
