"""Where compiled kernels are kept, so that a second start takes a fraction of a second.

An entry is a file named after its kernel, the kinds of the arguments, the machine, and where the kernel's source lies.
It holds digests of the sources that went into it: those of all Python files of the packages involved, for a kernel may
take in constants and functions of any of them. An entry whose sources have changed is not used, and is replaced by the
new one: nothing stale is ever run, and nothing piles up.

Code that others can write to would run in this process: a folder of the user's own with mode 0700 is used, and without
one nothing is kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent


def private_folder(name: str) -> Path | None:
    """`$XDG_CACHE_HOME/aerialworld/{name}`, made with mode 0700; None when it cannot be made or is open to others."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = Path(base) / "aerialworld" / name
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError:
        return None
    private = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
    return folder if private and os.access(folder, os.W_OK) else None


@cache
def folder() -> Path | None:
    """Where entries lie: in `NUMBA_CACHE_DIR`, where numba keeps its own, if the user has chosen one."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if not chosen:
        return private_folder("kernels")
    made = Path(chosen) / "aerialworld"
    try:
        made.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None
    return made


def source(module_name: str) -> str:
    """The folder of a module's package, or the file of a module that is in none: what its kernels are made from. ""
    for one that is in no file."""
    package = getattr(sys.modules.get(module_name.partition(".")[0]), "__file__", None)
    if "." in module_name and package:
        return str(Path(package).parent)
    file = getattr(sys.modules.get(module_name), "__file__", None)
    return str(Path(file).resolve()) if file else ""


@cache
def digest(where: str) -> str:
    """Of all Python files below a folder, or of one file, as they were when first asked for; "" if there is none."""
    if not where:
        return ""
    path, found = Path(where), hashlib.sha256()
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    try:
        for file in files:
            found.update(str(file.relative_to(path)).encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    except OSError:
        return ""
    return found.hexdigest()


class Entry:
    """One kernel's place in the store, for `words` that tell it from every other."""

    def __init__(self, name: str, *words: str) -> None:
        key = hashlib.sha256("\0".join((name, *words)).encode()).hexdigest()
        place = folder()
        self._path = None if place is None else place / f"{name}-{key[:24]}.bin"

    def read(self) -> tuple[dict[str, Any], bytes] | None:
        """What was written, if its sources are as they were then; None too for a file that is damaged."""
        if self._path is None:
            return None
        try:
            head, _, code = self._path.read_bytes().partition(b"\n")
            about = json.loads(head)
            current = all(digest(where) == then for where, then in about["sources"].items())
            whole = hashlib.sha256(code).hexdigest() == about["sha256"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None  # none there, or damaged: it is compiled again
        return (about, code) if current and whole else None

    def write(self, about: dict[str, Any], code: bytes, sources: Iterable[str]) -> None:
        """Keep code made from `sources`; where the disk refuses, nothing is kept."""
        if self._path is None:
            return
        of = {where: digest(where) for where in sorted({*sources, str(_HERE.parent)})}
        if not all(of.values()):
            return  # a source that cannot be read again: nobody could tell when it changes
        head = json.dumps({**about, "sources": of, "sha256": hashlib.sha256(code).hexdigest()}).encode()
        try:
            handle, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=".", suffix=".part")
            with os.fdopen(handle, "wb") as file:
                file.write(head + b"\n" + code)
            os.replace(temporary, self._path)
        except OSError:
            return
