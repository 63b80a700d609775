"""How `aerialworld generate` scales: frames per second with one worker and with two, and what a worker costs.

    python benchmarks/generate.py [--world DIR] [--rig rig_small] [--frames 40] [--workers 1 2] [--json FILE]

The same campaign (two surveys and two orbits) is planned once, then recorded with each number of workers into an
empty folder. `frames_per_s` counts the recording alone, start of the processes included; `cpu_s_per_frame` is of all
processes; `memory_mib` is the highest sum of all processes' proportional set sizes (Linux's PSS: shared pages are
shared out). The sessions of all runs are compared: they must be equal. Wall times suffer from whatever else the machine
does: compare CPU seconds, and look at `load`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import yaml
from _figures import add_json_option, tell

from aerialworld_core.provenance import machine, versions

ROOT = Path(__file__).resolve().parents[1]


def memory_below(pid: int) -> float:
    """MiB of a process and all below it, shared pages shared out."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        own = next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) / 1024
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (OSError, StopIteration):
        return 0.0  # it has just ended
    return own + sum(memory_below(int(child)) for child in children)


def digest(sessions: Path) -> str:
    """Of all sessions, but for what tells of the run."""
    total = hashlib.sha256()
    for file in sorted(p for p in sessions.rglob("*") if p.is_file() and p.name != "provenance.json"):
        total.update(file.relative_to(sessions).as_posix().encode() + file.read_bytes())
    return total.hexdigest()


def run(campaign: Path, out: Path, workers: int) -> dict[str, Any]:
    """Record a planned campaign and measure it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = [
        sys.executable,
        "-m",
        "aerialworld",
        "generate",
        str(campaign),
        "--out",
        str(out),
        "--workers",
        str(workers),
    ]
    begin = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    peak = [0.0]

    def watch() -> None:
        while process.poll() is None:
            peak[0] = max(peak[0], memory_below(process.pid))
            time.sleep(0.25)

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = process.wait()
    watcher.join()
    if code:
        raise SystemExit(f"generate ended with exit code {code}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    recorded = json.loads((out / "campaign.json").read_text())["run"]
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "workers": workers,
        "frames": recorded["frames"],
        "frames_per_s": recorded["frames_per_s"],
        "record_s": recorded["seconds"],
        "wall_s": round(time.perf_counter() - begin, 2),
        "cpu_s": round(cpu, 2),
        "cpu_s_per_frame": round(cpu / recorded["frames"], 4),
        "memory_mib": round(peak[0], 1),
        "load": os.getloadavg()[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", type=Path, default=ROOT / "worlds" / "small_city")
    parser.add_argument("--rig", default="rig_small")
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    add_json_option(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        campaign = Path(scratch) / "campaign.yaml"
        data = {
            "worlds": [str(options.world.resolve())], "sessions": 4, "frames": options.frames, "rig": options.rig,
            "missions": ["survey", "orbit"], "split": {"train": 1.0, "val": 0.0, "test": 0.0}, "validate": False,
        }  # fmt: skip
        campaign.write_text(yaml.safe_dump(data))
        planned = Path(scratch) / "planned"
        first = run(campaign, planned, 1)  # compiles what is not compiled yet; its plans are the others'
        runs, digests = [], {digest(planned / "sessions")}
        for workers in options.workers:
            out = Path(scratch) / f"with_{workers}"
            out.mkdir()
            shutil.copytree(planned / "plans", out / "plans")
            shutil.copy(planned / "manifest.json", out)
            runs.append(run(campaign, out, workers))
            digests.add(digest(out / "sessions"))
            shutil.rmtree(out)
    base = runs[0]
    result = {
        "world": options.world.name,
        "rig": options.rig,
        "equal_bytes": len(digests) == 1,
        "with_planning_s": first["wall_s"],
        "runs": runs,
        "ratio": {str(r["workers"]): round(r["frames_per_s"] / base["frames_per_s"], 3) for r in runs},
        "cpu_ratio": {str(r["workers"]): round(r["cpu_s"] / base["cpu_s"], 3) for r in runs},
        "machine": machine(),
        "versions": versions(),
    }
    tell(result, options.json)


if __name__ == "__main__":
    main()
