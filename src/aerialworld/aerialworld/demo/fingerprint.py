"""Content fingerprints of files, sessions and folders: what decides whether a step must run again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aerialworld_core.files import canonical_json

#: Files that tell of a run (time, host, speed) and not of its result: only their presence counts.
TELLTALES = frozenset({"provenance.json", "timings.json"})
#: Folders that are not results: TensorBoard's events bear wall times, caches can be made again.
ASIDE = frozenset({"logs", "cache"})


def of_data(data: Any) -> str:
    """sha256 of canonical JSON."""
    return hashlib.sha256(canonical_json(data)).hexdigest()


def of_file(path: Path) -> str:
    """sha256 of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def files_below(path: Path) -> list[Path]:
    """The file itself, or every file below a folder, in a fixed order; hidden ones and ASIDE are not looked at."""
    if path.is_file():
        return [path]

    def counts(parts: tuple[str, ...]) -> bool:
        return not any(p.startswith(".") for p in parts) and not ASIDE.intersection(parts[:-1])

    return sorted(p for p in path.rglob("*") if p.is_file() and counts(p.relative_to(path).parts))


def of_tree(path: Path) -> str:
    """Of a file, or of a folder's names and contents. A session's frames are taken by name, size and their hash files,
    so that gigabytes need not be read again. Raises FileNotFoundError when there is nothing at `path`."""
    if not path.exists():
        raise FileNotFoundError(path)
    session = (path / "hashes").is_dir() and (path / "session.json").is_file()
    entries: list[list[Any]] = []
    for file in files_below(path):
        name = file.relative_to(path).as_posix() if path.is_dir() else ""
        if file.name in TELLTALES:
            entries.append([name])
        elif session and file.suffix != ".json":
            entries.append([name, file.stat().st_size])
        else:
            entries.append([name, of_file(file)])
    return of_data(entries)


def of_all(root: Path, names: Iterable[str]) -> dict[str, str]:
    """Fingerprints of `names` below `root`; a missing one raises FileNotFoundError."""
    return {name: of_tree(root / name) for name in sorted(names)}
