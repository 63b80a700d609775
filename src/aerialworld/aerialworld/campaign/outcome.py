"""What became of every job: noted as each ends, gathered in campaign.json, told in a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from aerialworld.campaign.jobs import SESSIONS, Job
from aerialworld.campaign.manifest import Manifest
from aerialworld.console import OUT
from aerialworld_core.files import read_json, write_json
from aerialworld_core.session.layout import SESSION_FILE

FILE = "campaign.json"
#: Hidden: one file per job, and what worlds were converted from.
STATE = ".campaign"

Results = dict[str, dict[str, Any]]


def state_file(root: Path, name: str) -> Path:
    return root / STATE / f"{name}.json"


def note_result(root: Path, job: Job, result: Mapping[str, Any]) -> None:
    """Keep the result of a job that went well: {frames, figures, validation, seconds, rendered, …}."""
    write_json(state_file(root, job.name), {"key": job.key, "outcome": "made", **result})


def note_failure(root: Path, job: Job, reason: str, tries: int) -> None:
    write_json(state_file(root, job.name), {"key": job.key, "outcome": "failed", "reason": reason, "tries": tries})


def known_results(root: Path, jobs: Sequence[Job]) -> Results:
    """Noted results by job name, of jobs that are the same and whose sessions are there; a damaged note is no note."""
    known = {}
    for job in jobs:
        try:
            data = read_json(state_file(root, job.name))
        except (FileNotFoundError, ValueError):
            continue
        if not isinstance(data, dict) or data.get("key") != job.key:
            continue
        there = (root / SESSIONS / job.name / SESSION_FILE).is_file()
        if data.get("outcome") == "failed" or (data.get("outcome") == "made" and there):
            known[job.name] = data
    return known


def made_of(jobs: Sequence[Job], results: Results) -> list[Job]:
    """Those that went well."""
    return [j for j in jobs if results.get(j.name, {}).get("outcome") == "made"]


def write_outcome(root: Path, manifest: Manifest, results: Results, run: Mapping[str, Any]) -> None:
    """campaign.json: the outcome of every job, counts, and how fast the last run was (`run`)."""
    jobs = []
    for job in manifest.jobs:
        result = {k: v for k, v in results.get(job.name, {"outcome": "not made yet"}).items() if k != "key"}
        jobs.append({"name": job.name, "world": job.world, "mission": job.mission, "split": job.split, **result})
    counts = {o: sum(j["outcome"] == o for j in jobs) for o in ("made", "failed", "not made yet")}
    write_json(root / FILE, {"counts": counts, "run": dict(run), "jobs": jobs})


def plan_table(manifest: Manifest, bytes_of: Mapping[str, int]) -> Table:
    """Every job, before anything is made."""
    table = Table(title=None)
    table.add_column("session", no_wrap=True)
    for column in ("world", "mission", "place", "split", "rig", "frames"):
        table.add_column(column)
    table.add_column("about", justify="right")
    for job in manifest.jobs:
        cells = (job.name, job.world, job.mission, job.place, job.split, job.rig, str(job.frames))
        table.add_row(*map(escape, cells), size_text(bytes_of[job.name]))
    return table


def result_table(manifest: Manifest, results: Results) -> Table:
    """One row per world, mission and split, and a total."""
    table = Table(title=None)
    for column in ("world", "mission", "split"):
        table.add_column(column)
    for column in ("sessions", "frames", "km", "occupied %", "observed %", "recall", "precision", "failed"):
        table.add_column(column, justify="right")
    groups: dict[tuple[str, str, str], list[Job]] = {}
    for job in manifest.jobs:
        groups.setdefault((job.world, job.mission, job.split), []).append(job)
    for (world, mission, split), jobs in groups.items():
        table.add_row(escape(world), escape(mission), split, *_cells(jobs, results))
    if len(groups) > 1:
        table.add_section()
        table.add_row("all", "", "", *_cells(manifest.jobs, results))
    return table


def show(table: Table) -> None:
    OUT.print(table, emoji=False)


def summary(jobs: Sequence[Job], results: Results) -> dict[str, Any]:
    """Sums and means over the jobs that were made: sessions, frames, distance_m, shares weighted by frames, recall and
    precision over the sessions that measured them, classes, failed."""
    made = [results[j.name] for j in made_of(jobs, results)]
    frames = sum(r["frames"] for r in made)
    classes: dict[str, int] = {}
    for r in made:
        for name, count in r["figures"]["classes"].items():
            classes[name] = classes.get(name, 0) + count

    def share(key: str) -> float | None:
        return sum(r["figures"][key] * r["frames"] for r in made) / frames if frames else None

    return {
        "sessions": len(made),
        "failed": sum(results.get(j.name, {}).get("outcome") == "failed" for j in jobs),
        "frames": frames,
        "distance_m": sum(r["figures"]["distance_m"] for r in made),
        "occupied_share": share("occupied_share"),
        "observed_share": share("observed_share"),
        "recall": _mean(made, "recall"),
        "precision": _mean(made, "precision"),
        "baselines": _baselines(made),
        "classes": {k: classes[k] for k in sorted(classes, key=int)},
    }


def _validated(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """The figures of a session's validation; none where it was not validated."""
    return (result.get("validation") or {}).get("figures") or {}


def _mean(made: Sequence[Mapping[str, Any]], key: str) -> float | None:
    values = [v for r in made if (v := _validated(r).get(key)) is not None]
    return sum(values) / len(values) if values else None


def _baselines(made: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean IoU of each trivial forecast over the sessions that were validated."""
    found: dict[str, list[float]] = {}
    for r in made:
        for key, value in _validated(r).items():
            if key.startswith("baseline_") and isinstance(value, int | float):
                found.setdefault(key.removeprefix("baseline_").replace("_", " "), []).append(float(value))
    return {k: sum(v) / len(v) for k, v in sorted(found.items())}


def _cells(jobs: Sequence[Job], results: Results) -> list[str]:
    s = summary(jobs, results)

    def number(value: float | None, form: str, factor: float = 1.0) -> str:
        return "–" if value is None else format(value * factor, form)

    return [
        f"{s['sessions']}/{len(jobs)}", f"{s['frames']:,}", f"{s['distance_m'] / 1000:.2f}",
        number(s["occupied_share"], ".2f", 100), number(s["observed_share"], ".1f", 100),
        number(s["recall"], ".3f"), number(s["precision"], ".3f"), str(s["failed"] or ""),
    ]  # fmt: skip


def size_text(count: int) -> str:
    """1.2 GB"""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
