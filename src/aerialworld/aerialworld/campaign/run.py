"""A campaign from beginning to end: convert, plan, estimate, record, tell."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aerialworld.campaign import card, outcome
from aerialworld.campaign.jobs import PLANS, SESSIONS, Job
from aerialworld.campaign.manifest import FILE as MANIFEST
from aerialworld.campaign.manifest import Manifest, differences
from aerialworld.campaign.outcome import Results
from aerialworld.campaign.planning import Inputs, make_manifest, read_inputs, rig_choice
from aerialworld.campaign.recording import QUARANTINE, RecordTask, record
from aerialworld.campaign.spec import Campaign
from aerialworld.campaign.workforce import Outcome, Task, Workforce
from aerialworld.campaign.worlds import WORLDS, WorldFolder, convert_source, find_worlds, is_made
from aerialworld.console import kept, note, say
from aerialworld.options import require_folder
from aerialworld.progress import Meter, meter
from aerialworld.recording import USABLE, frame_bytes, free_bytes, require_space
from aerialworld_core.errors import AerialWorldError, InputError, SessionError
from aerialworld_core.files import StorageError, is_temporary, write_bytes
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.processors import processors
from aerialworld_core.provenance import machine
from aerialworld_core.rig import Rig
from aerialworld_core.session.layout import LEASE_FILE, complete_frames
from aerialworld_core.session.lease import Lease

_DISK_FULL = 28
#: Names in a message about jobs.
_NAMED = 5


class CampaignIncomplete(AerialWorldError):
    """Some sessions failed; the others are there."""


@dataclass(frozen=True)
class RunOptions:
    """`workers` None: the processors available. `only`: names of the sessions to make, of all. `replan`: where the
    campaign has changed, plan again and delete the sessions that it no longer has."""

    workers: int | None = None
    only: tuple[str, ...] = ()
    replan: bool = False
    dry_run: bool = False


def generate(campaign: Campaign, base: Path, out: Path, options: RunOptions) -> None:
    """Make what is not made yet of a campaign; relative paths in it start from `base`.

    Raises InputError for what cannot be used, DiskSpaceError before anything is recorded, CampaignIncomplete when
    sessions failed.
    """
    if options.dry_run:
        _dry_run(campaign, base, out, options)
        return
    folders = find_worlds(campaign, base, out)
    with _held(out) as lease, _workforce(options) as force:
        _convert(folders, out, options)
        inputs = read_inputs(campaign, base, folders, force)
        manifest = _manifest(inputs, out, options, force)
        jobs = _chosen(manifest, options.only)
        results = _record(inputs, manifest, jobs, out, force, lease)
    _tell(manifest, jobs, results)


def _convert(folders: list[WorldFolder], root: Path, options: RunOptions) -> None:
    """Convert the sources among the campaign's worlds into `root`."""
    for folder in folders:
        if folder.source is not None:
            convert_source(folder, _made_note(root, folder), options.workers)


def _made_note(root: Path, folder: WorldFolder) -> Path:
    """The file that says what a world was converted from."""
    return outcome.state_file(root, f"world_{folder.name}")


def _workforce(options: RunOptions) -> Workforce:
    return Workforce(options.workers if options.workers is not None else processors())


# -- the output folder ---------------------------------------------------------------------------------------------

_OURS = {MANIFEST, PLANS, SESSIONS, WORLDS, QUARANTINE, outcome.FILE, outcome.STATE, card.CARD, card.SPLIT, LEASE_FILE}


@contextmanager
def _held(out: Path) -> Iterator[Lease]:
    """The right to write the output folder. Raises InputError at once when another process has it, or when the folder
    holds things and is no campaign's."""
    require_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    foreign = sorted(e.name for e in out.iterdir() if e.name not in _OURS and not is_temporary(e))
    if foreign and not (out / MANIFEST).exists():
        raise InputError(
            f"{out}: holds {foreign[0]} and is no campaign's folder; choose an empty or a new one with --out"
        )
    try:
        lease = Lease(out)
    except SessionError as error:
        raise InputError(f"{error} (another `aerialworld generate`); wait for it, or choose another --out") from None
    try:
        _sweep(out)
        yield lease
    finally:
        lease.release()


def _sweep(out: Path) -> None:
    """Delete what a killed run left half-written; sessions do so themselves."""
    for folder in (out, out / PLANS, out / outcome.STATE):
        for file in folder.iterdir() if folder.is_dir() else ():
            if is_temporary(file):
                file.unlink(missing_ok=True)


def _manifest(inputs: Inputs, out: Path, options: RunOptions, force: Workforce) -> Manifest:
    """The manifest of the folder when it is this campaign's; else a new one. A manifest of another campaign is only
    replaced when that is asked for."""
    before = Manifest.read(out)
    if before is not None and not options.replan:
        changed = differences(before.inputs(), inputs.manifest.inputs())
        if not changed:
            return before
        ways = "choose another --out; or --replan plans anew, keeps sessions that stay the same and deletes the others"
        raise InputError("\n  ".join([f"{out / MANIFEST}: was made of something else:", *changed]) + f"\n{ways}")
    (out / PLANS).mkdir(exist_ok=True)
    manifest = make_manifest(inputs, force, lambda file, data: write_bytes(out / file, data))
    if before is not None:
        _drop_stale(before, manifest, out)
    manifest.write(out)
    return manifest


def _drop_stale(before: Manifest, now: Manifest, out: Path) -> None:
    """Delete the sessions of an older manifest that are not the new one's."""
    keys = {j.name: j.key for j in now.jobs}
    stale = [j for j in before.jobs if keys.get(j.name) != j.key and (out / SESSIONS / j.name).is_dir()]
    for job in stale:
        shutil.rmtree(out / SESSIONS / job.name)
        outcome.state_file(out, job.name).unlink(missing_ok=True)
    if stale:
        note(f"{len(stale)} session(s) of the older plan deleted, {len(before.jobs) - len(stale)} not touched")
    for file in {j.plan["file"] for j in before.jobs} - {j.plan["file"] for j in now.jobs}:
        (out / file).unlink(missing_ok=True)


def _chosen(manifest: Manifest, only: tuple[str, ...]) -> list[Job]:
    names = {j.name for j in manifest.jobs}
    unknown = [n for n in only if n not in names]
    if unknown:
        few = ", ".join(sorted(names)[:3])
        raise InputError(f"--only: there is no session {unknown[0]} in this campaign; there are {few}, …")
    return [j for j in manifest.jobs if not only or j.name in only]


# -- recording -----------------------------------------------------------------------------------------------------


def job_bytes(job: Job, rig: Rig, frames: int | None = None) -> int:
    """About how many bytes a session takes, or so many of its frames."""
    per_frame = frame_bytes(rig.recorded(job.recording["modalities"]), VoxelGrid.from_dict(job.recording["grid"]))
    return per_frame * (job.frames if frames is None else frames)


def _rigs(inputs: Inputs) -> dict[str, tuple[str, Rig]]:
    """Mission → what its rig is loaded from, and the rig."""
    missions = zip(inputs.campaign.missions, inputs.campaign.mission_names, strict=True)
    return {name: inputs.rigs[rig_choice(inputs.campaign, mission)] for mission, name in missions}


def _record(inputs: Inputs, manifest: Manifest, jobs: list[Job], out: Path, force: Workforce, lease: Lease) -> Results:
    """Record the jobs that are not recorded yet; writes every job's note, campaign.json, split.json and the card."""
    rigs = _rigs(inputs)
    sessions = out / SESSIONS
    there = {j.name: min(len(complete_frames(sessions / j.name)), j.frames) for j in jobs}
    require_space(
        out,
        sum(job_bytes(j, rigs[j.mission][1], j.frames - there[j.name]) for j in jobs),
        f"recording {sum(there[j.name] < j.frames for j in jobs)} session(s)",
    )
    sessions.mkdir(exist_ok=True)
    (out / outcome.STATE).mkdir(exist_ok=True)
    results = outcome.known_results(out, manifest.jobs)
    truth = inputs.campaign.truth_frames if inputs.campaign.validate_sessions else None
    folders = {f.name: f.path for f in inputs.folders}
    tasks = []
    for job in jobs:
        known = results.get(job.name)
        known = known if known and known["outcome"] == "made" else None
        task = RecordTask(job, out, rigs[job.mission][0], truth, known)
        tasks.append(Task(job.name, folders[job.world], record, task))
    begin = time.perf_counter()
    with (
        kept(f"what is recorded is kept in {out}; the same command goes on there"),
        meter("generate", sum(j.frames for j in jobs), "frames", offset=sum(there.values())) as bar,
    ):
        progress = _Progress(bar, there, jobs, lease)
        for ended in force.run(tasks, told=progress.frame, logged=note):
            results[ended.key] = _note(out, progress.jobs[ended.key], ended)
            progress.ended(ended.key)
    seconds = time.perf_counter() - begin
    rendered = sum(results[j.name].get("rendered", 0) for j in jobs)
    run = {
        "workers": force.workers,
        "seconds": round(seconds, 3),
        "frames": rendered,
        "frames_per_s": round(rendered / seconds, 3) if seconds > 0 else None,
        "machine": machine(),
    }
    outcome.write_outcome(out, manifest, results, run)
    card.write_split(out, manifest.jobs, results)
    estimate = sum(job_bytes(j, rigs[j.mission][1]) for j in outcome.made_of(manifest.jobs, results))
    card.write_card(out, manifest, results, estimate)
    if rendered:
        note(f"{rendered} frames in {seconds:.1f} s: {rendered / seconds:.2f} frames/s with {force.workers} worker(s)")
    return results


class _Progress:
    """Frames and sessions done, on the meter; the lease is renewed as long as there is progress."""

    def __init__(self, bar: Meter, there: dict[str, int], jobs: list[Job], lease: Lease) -> None:
        self.jobs = {j.name: j for j in jobs}
        self._bar, self._frames, self._lease, self._sessions = bar, dict(there), lease, 0

    def frame(self, name: str, count: int) -> None:
        self._frames[name] = count
        self._show()

    def ended(self, name: str) -> None:
        self._sessions += 1
        self._frames[name] = self.jobs[name].frames
        self._show()

    def _show(self) -> None:
        self._lease.renew()
        self._bar.update(sum(self._frames.values()), f"{self._sessions} of {len(self.jobs)} sessions")


def _note(out: Path, job: Job, ended: Outcome) -> dict[str, Any]:
    """Keep what became of a job. A full disk ends the campaign: the other jobs would meet it too."""
    if ended.error is None:
        outcome.note_result(out, job, ended.result)
        return {"outcome": "made", **ended.result}
    if isinstance(ended.error, AerialWorldError) and ended.error.exit_code == _DISK_FULL:
        raise StorageError(f"{ended.error}; finished sessions are kept: free some space and run the same command again")
    reason = str(ended.error)
    note(f"{job.name}: failed: {reason}", style="red")
    outcome.note_failure(out, job, reason, ended.tries)
    return {"outcome": "failed", "reason": reason, "tries": ended.tries}


def _tell(manifest: Manifest, jobs: list[Job], results: Results) -> None:
    for line in manifest.notes:
        note(line, style="yellow")
    outcome.show(outcome.result_table(manifest, results))
    failed = [j.name for j in jobs if results[j.name]["outcome"] == "failed"]
    if failed:
        lines = [f"  {name}: {results[name]['reason']}" for name in failed[:_NAMED]]
        more = [f"  and {len(failed) - _NAMED} more"] if len(failed) > _NAMED else []
        raise CampaignIncomplete(
            "\n".join([
                f"{len(failed)} of {len(jobs)} sessions failed, the others are there "
                f"({outcome.FILE} has the reasons). The same command tries these again; after a change of their "
                "mission, --replan:",
                *lines, *more,
            ])
        )  # fmt: skip


# -- looking ahead ---------------------------------------------------------------------------------------------------


def _dry_run(campaign: Campaign, base: Path, out: Path, options: RunOptions) -> None:
    """Print every job with its place, split and size; writes nothing below `out`."""
    with tempfile.TemporaryDirectory(prefix="aerialworld_") as scratch, _workforce(options) as force:
        folders = find_worlds(campaign, base, Path(scratch))
        folders = [_already(folder, out) for folder in folders]
        _convert(folders, Path(scratch), options)
        inputs = read_inputs(campaign, base, folders, force)
        before = Manifest.read(out)
        same = before is not None and not differences(before.inputs(), inputs.manifest.inputs())
        manifest = before if before is not None and same else make_manifest(inputs, force, lambda file, data: None)
        if before is not None and not same:
            note(f"{out}: holds a campaign that differs from this one; see --replan", style="yellow")
    rigs = _rigs(inputs)
    sizes = {j.name: job_bytes(j, rigs[j.mission][1]) for j in manifest.jobs}
    for line in manifest.notes:
        note(line, style="yellow")
    outcome.show(outcome.plan_table(manifest, sizes))
    _say_total(manifest, sizes, out)


def _already(folder: WorldFolder, out: Path) -> WorldFolder:
    """The world that an earlier run has converted, if the source has not changed since."""
    if folder.source is None:
        return folder
    made = out / WORLDS / folder.name
    return WorldFolder(folder.name, made) if is_made(folder, made, _made_note(out, folder)) else folder


def _say_total(manifest: Manifest, sizes: dict[str, int], out: Path) -> None:
    frames = sum(j.frames for j in manifest.jobs)
    free = free_bytes(out)
    total = sum(sizes.values())
    room = "" if total <= free * USABLE else ": it does not fit"
    say(
        f"{len(manifest.jobs)} sessions, {frames:,} frames, about {outcome.size_text(total)} "
        f"({outcome.size_text(free)} are free{room})"
    )


def default_out(campaign_file: Path) -> Path:
    return Path("out") / campaign_file.stem
