"""Writing files so that a crash leaves the old state or the new, and reading JSON with a size limit."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

MAX_JSON_BYTES = 256 * 1024 * 1024


def write_bytes(path: Path, data: bytes | memoryview, *, sync: bool = True) -> None:
    """Write `data` beside `path`, flush it to disk and rename it into place; the temporary file never survives.

    Raises OSError (with the path) as the system gives it; the old content is then untouched.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as handle:
            handle.write(data)
            handle.flush()
            if sync:
                os.fsync(handle.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if sync:
        sync_directory(path.parent)


def sync_directory(folder: Path) -> None:
    """Make renames within `folder` durable (a no-op where directories cannot be opened)."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except (PermissionError, IsADirectoryError):
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def dump_json(data: Any) -> bytes:
    """Readable JSON with a final newline; NaN and infinities are refused (ValueError)."""
    return (json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def canonical_json(data: Any) -> bytes:
    """JSON with sorted keys and no spaces: equal content gives equal bytes, for hashing."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def write_json(path: Path, data: Any, *, sync: bool = True) -> None:
    write_bytes(path, dump_json(data), sync=sync)


def read_json(path: Path, *, limit: int = MAX_JSON_BYTES) -> Any:
    """Parse a JSON file of at most `limit` bytes. Raises OSError, json.JSONDecodeError or ValueError."""
    with open(path, "rb") as handle:
        raw = handle.read(limit + 1)
    if len(raw) > limit:
        raise ValueError(f"{path}: larger than {limit} bytes")
    return json.loads(raw)
