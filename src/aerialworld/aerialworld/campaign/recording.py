"""One entry of the manifest becomes one session: what a worker does."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aerialworld.campaign.jobs import SESSIONS, Job, file_sha256, rig_sha256
from aerialworld.judging import content_errors
from aerialworld.recording import FramesMissing, finished, record_plan, rig_for, session_meta
from aerialworld_core.errors import AerialWorldError, InputError, SessionError
from aerialworld_core.plan import Plan
from aerialworld_core.provenance import provenance
from aerialworld_core.rig import Rig
from aerialworld_core.session import Session, validate
from aerialworld_core.session.lease import is_held

#: Frames that are read again for a session's figures, spread evenly.
_LOOKED_AT = 16
#: Seconds to wait for the workers of a campaign that was killed a moment ago.
_PATIENCE = 30.0
QUARANTINE = "quarantine"


class SessionFailed(AerialWorldError):
    """A session that was recorded and is not what was asked for."""


@dataclass(frozen=True)
class RecordTask:
    """`root` is the campaign's output; `rig` what the job's rig is loaded from; `truth_frames` frames are compared
    with the world's surface (None: the session is not validated); `known` is the result that an earlier run noted."""

    job: Job
    root: Path
    rig: str
    truth_frames: int | None
    known: dict[str, Any] | None = None

    @property
    def folder(self) -> Path:
        return self.root / SESSIONS / self.job.name


def record(world: Any, task: RecordTask, tell: Callable[[Any], None]) -> dict[str, Any]:
    """Make the session, or go on with it, or keep it when it is there; tells each frame's number when it is done.

    Returns {made, frames, seconds, rendered, figures, truth_frames, validation}; `rendered` frames took `seconds`.
    Raises AerialWorldError when the session is not whole; one that is closed and wrong is moved to `quarantine/`, so
    that it is not taken for data.
    """
    job = task.job
    plan, rig = inputs_of(world, task)
    options = job.options()
    begin = time.perf_counter()
    unfinished = None
    if task.folder.exists():
        _wait_for(task.folder)
        if finished(task.folder, session_meta(plan, world, rig, options, job.start_time), plan):
            if _whole(task.folder, job):
                return _kept(world, task, plan)
            quarantine(task.root, job.name)
        else:
            unfinished = task.folder
    before = len(Session.open(unfinished)) if unfinished else 0
    with _wrong_ones_moved(task):
        path = record_plan(
            world, plan, rig, task.folder.parent, options, started=job.start_time, provenance=provenance(),
            resume=unfinished, threads=1, on_frame=tell,
        )  # fmt: skip
        if path != task.folder:
            raise InputError(f"{path}: was to be {task.folder.name}, and that name was taken meanwhile; move it away")
        seconds = time.perf_counter() - begin
        if not _whole(task.folder, job):
            raise SessionFailed(f"{job.name}: has {len(Session.open(path))} of {job.frames} frames")
        return {
            **_judged(world, task, plan),
            "made": True,
            "seconds": round(seconds, 3),
            "rendered": job.frames - before,
        }


def inputs_of(world: Any, task: RecordTask) -> tuple[Plan, Rig]:
    """Plan and rig of the job. Raises InputError when world, plan or rig are not those of the manifest."""
    job, again = task.job, "plan again with --replan"
    if world.sha256 != job.world_sha256:
        raise InputError(f"{world.path}: is not the world {job.world} of the manifest any more; {again}")
    path = task.root / job.plan["file"]
    plan = Plan.read(path)
    if file_sha256(path) != job.plan["sha256"]:
        raise InputError(f"{path}: is not the plan of the manifest any more; {again}")
    rig = rig_for(plan, task.rig)
    if rig_sha256(rig) != job.rig_sha256:
        raise InputError(f"rig {job.rig}: is not the rig of the manifest any more; {again}")
    return plan, rig


def _kept(world: Any, task: RecordTask, plan: Plan) -> dict[str, Any]:
    """The result of a session that an earlier run finished."""
    if task.known is not None and task.known.get("truth_frames") == task.truth_frames:
        return {**task.known, "made": False, "rendered": 0}
    with _wrong_ones_moved(task):
        return {**_judged(world, task, plan), "made": False, "seconds": 0.0, "rendered": 0}


@contextmanager
def _wrong_ones_moved(task: RecordTask) -> Iterator[None]:
    """A session that is not whole goes to `quarantine/`. Raises SessionFailed, which says so."""
    try:
        yield
    except (FramesMissing, SessionFailed) as error:
        moved = quarantine(task.root, task.job.name)
        raise SessionFailed(f"{error}; moved to {moved.relative_to(task.root)}") from error


def _judged(world: Any, task: RecordTask, plan: Plan) -> dict[str, Any]:
    options = task.job.options()
    validation = None if task.truth_frames is None else checked(task.folder, world, task.truth_frames)
    return {
        "frames": task.job.frames,
        "figures": figures(task.folder, plan, task.job.frames, options.period_ns),
        "truth_frames": task.truth_frames,
        "validation": validation,
    }


def _whole(folder: Path, job: Job) -> bool:
    """Whether the session is closed and has every frame that was asked for."""
    session = Session.open(folder)
    return session.meta.frames == job.frames and session.frame_indices == list(range(job.frames))


def checked(folder: Path, world: Any, truth_frames: int) -> dict[str, Any]:
    """The validation report. Raises SessionFailed for errors; low recall or precision alone tells how finely the rig
    sees, and is reported."""
    report = validate(folder, world=world, truth_frames=truth_frames).to_dict()
    wrong = content_errors(report)
    if wrong:
        raise SessionFailed(f"{folder.name}: {'; '.join(wrong[:3])}")
    return report


def figures(folder: Path, plan: Plan, frames: int, period_ns: int) -> dict[str, Any]:
    """Distance in metres, shares of the grid that are occupied and observed, and of the occupied voxels by class."""
    end = min((frames - 1) * period_ns * 1e-9, plan.duration)
    path = plan.trajectory().sample(np.linspace(0.0, end, max(2, math.ceil(end / 0.05) + 1))).position
    session = Session.open(folder)
    chosen = sorted({round(i) for i in np.linspace(0, frames - 1, min(frames, _LOOKED_AT))})
    occupied = observed = 0
    classes = np.zeros(256, np.int64)
    for index in chosen:
        voxels = session.occupancy(index)
        full = voxels.occupancy.astype(bool)
        occupied += int(full.sum())
        observed += int(np.count_nonzero(voxels.observed))
        classes += np.bincount(voxels.semantics[full], minlength=256)
    size = session.meta.grid.size * len(chosen)
    return {
        "distance_m": round(float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum()), 3),
        "seconds_flown": round(end, 6),
        "occupied_share": round(occupied / size, 8),
        "observed_share": round(observed / size, 8),
        "classes": {str(i): int(n) for i, n in enumerate(classes) if n},
        "frames_looked_at": len(chosen),
    }


def quarantine(root: Path, name: str) -> Path:
    """Move a session that is wrong out of the data set, in place of an older one of its name."""
    target = root / QUARANTINE / name
    target.parent.mkdir(exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    (root / SESSIONS / name).rename(target)
    return target


def _wait_for(folder: Path) -> None:
    """Let the worker of a campaign that was killed a moment ago finish the frame that it is writing."""
    deadline = time.monotonic() + _PATIENCE
    while (holder := is_held(folder)) is not None:
        if time.monotonic() > deadline:
            raise SessionError(f"{folder}: is being written by {holder}; wait for it")
        time.sleep(0.1)
