"""Steps that are done once: each remembers its inputs and outputs, and runs again only when one of them differs."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aerialworld.console import note
from aerialworld.demo import fingerprint
from aerialworld.options import require_folder
from aerialworld.recording import session_name
from aerialworld_core.errors import InputError
from aerialworld_core.files import read_json, write_json

#: The names that a demo can give its sessions.
DEMO_SESSIONS = frozenset(session_name(agent, index) for agent in ("drone", "rover") for index in range(100))


@dataclass
class Work:
    """What a step gets to work with.

    `partial` is a hidden folder of this step alone: results are made there and moved to their names by `publish`.
    `resumed` says that it still holds what an interrupted run with the same inputs left.
    """

    root: Path
    partial: Path
    resumed: bool
    outputs: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    def publish(self, made: Path, name: str) -> Path:
        """Move what was made to its final name below the run folder, in place of an older one."""
        target = self.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir() and not target.is_symlink():
            old = self.partial / f"replaced_{target.name}"
            os.replace(target, old)
            os.replace(made, target)
            shutil.rmtree(old)
        else:
            os.replace(made, target)
        self.outputs.append(name)
        return target


class RunFolder:
    """A demo's folder: `stages/<step>.json` holds what is finished, from which inputs, and how long it took."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ran: list[str] = []

    def record_path(self, name: str) -> Path:
        return self.root / "stages" / f"{name}.json"

    def record(self, name: str) -> dict[str, Any] | None:
        """The record of a finished step, or None: it never ran, or its record is damaged and it runs again."""
        try:
            data = read_json(self.record_path(name))
        except (FileNotFoundError, ValueError):
            return None
        whole = isinstance(data, dict) and isinstance(data.get("outputs"), dict) and "seconds" in data
        return data if whole else None

    def is_done(self, name: str, inputs: dict[str, Any]) -> bool:
        """Finished from the same inputs, with every output still as it was?"""
        record = self.record(name)
        if record is None or record.get("inputs_sha256") != fingerprint.of_data(inputs):
            return False
        try:
            return bool(fingerprint.of_all(self.root, record["outputs"]) == record["outputs"])
        except (KeyError, TypeError, FileNotFoundError):
            return False

    def digest(self, *names: str) -> dict[str, Any]:
        """What the outputs of finished steps were: the inputs of the next."""
        return {name: (self.record(name) or {})["outputs"] for name in names}

    def run(self, name: str, inputs: dict[str, Any], work: Callable[[Work], None], title: str) -> dict[str, Any]:
        """Do the step unless it is done; returns its record."""
        if self.is_done(name, inputs):
            note(f"✓ {title}: done before", style="dim")
            return self.record(name) or {}
        note(f"▸ {title}", style="bold")
        digest = fingerprint.of_data(inputs)
        partial = self.root / f".{name}.partial"
        marker = partial / "inputs.json"
        try:
            resumed = read_json(marker).get("inputs_sha256") == digest
        except (FileNotFoundError, NotADirectoryError, ValueError, AttributeError):
            resumed = False
        if not resumed:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            write_json(marker, {"inputs_sha256": digest})
        self.record_path(name).parent.mkdir(parents=True, exist_ok=True)
        self.record_path(name).unlink(missing_ok=True)
        doing = Work(self.root, partial, resumed)
        start, cpu = time.perf_counter(), _cpu_seconds()
        work(doing)
        seconds = time.perf_counter() - start
        record = {
            "step": name,
            "title": title,
            "inputs_sha256": digest,
            "inputs": inputs,
            "outputs": fingerprint.of_all(self.root, doing.outputs),
            "figures": doing.figures,
            "seconds": round(seconds, 3),
            "cpu_seconds": round(_cpu_seconds() - cpu, 3),
            "resumed": resumed,
        }
        write_json(self.record_path(name), record)
        shutil.rmtree(partial)
        self.ran.append(name)
        note(f"  {seconds:.1f} s", style="dim")
        return record


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the run folder for this process. Raises InputError at once when another demo works in it, or when it holds
    things and is no demo's folder: steps replace `world`, `sessions`, `training` …, which must not be someone's own."""
    require_folder(root)
    root.mkdir(parents=True, exist_ok=True)
    foreign = sorted(e.name for e in root.iterdir() if e.name != ".lock" and not _is_partial(e.name))
    if foreign and not is_demo(root):
        raise InputError(f"{root}: holds {foreign[0]} and is no demo's folder; choose an empty or a new one with --out")
    with open(root / ".lock", "a+", encoding="ascii") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            holder = handle.read(32).strip() or "unknown"
            raise InputError(
                f"{root}: another demo (process {holder}) works in this folder; wait for it, or choose another --out"
            ) from None
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield  # closing the file releases the lock, also after a crash; the file stays, so that no two can race on it


def is_demo(root: Path) -> bool:
    """Does run.json say that a demo made this folder?"""
    try:
        data = read_json(root / "run.json")
    except (FileNotFoundError, ValueError):
        return False
    return isinstance(data, dict) and list(data.get("command") or [])[:2] == ["aerialworld", "demo"]


def clear(root: Path) -> None:
    """Remove what a demo made in its folder (--fresh). Raises InputError when anything else lies there."""
    if not root.exists():
        return
    known = {
        "city", "world", "plans", "sessions", "training", "evaluation", "stages", "split.json", "map.png",
        "validation.json", "run.json", "report.html", ".lock",
    }  # fmt: skip
    entries = list(root.iterdir())
    foreign = sorted(e.name for e in entries if e.name not in known and not _is_partial(e.name))
    sessions = root / "sessions"
    foreign += sorted(
        f"sessions/{e.name}" for e in (sessions.iterdir() if sessions.is_dir() else ()) if e.name not in DEMO_SESSIONS
    )
    if foreign:
        raise InputError(f"{root}: --fresh would remove the demo here, but {foreign[0]} is not of a demo; move it away")
    for entry in entries:
        if entry.name == ".lock":
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _is_partial(name: str) -> bool:
    return name.startswith(".") and name.endswith((".partial", ".tmp"))
