"""Hashes: JSON that carries a sha256 of itself, and the list of a frame's files with theirs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from aerialworld_core.errors import SessionError
from aerialworld_core.files import canonical_json, parse_json
from aerialworld_core.session.layout import FileRecord

#: A file of the session's own folders: nothing else may be named in a list of hashes.
_MEMBER = re.compile(r"^[a-z]+/[A-Za-z0-9_][A-Za-z0-9_.]*$")
_SHA256 = re.compile(r"^[0-9a-f]{64}$")


def seal(data: Mapping[str, Any], what: str) -> dict[str, Any]:
    """`data` with `sha256` over its canonical JSON. Raises SessionError when it is no JSON or has the key already."""
    if "sha256" in data:
        raise SessionError(f"{what}: the key sha256 is reserved for the file's own hash")
    try:
        return {**data, "sha256": hashlib.sha256(canonical_json(data)).hexdigest()}
    except (TypeError, ValueError) as error:
        raise SessionError(f"{what}: cannot be written as JSON: {error}") from error


def unseal(data: Any, what: str) -> dict[str, Any]:
    """The content of sealed JSON without its hash. Raises SessionError when the hash is missing or wrong."""
    if not isinstance(data, dict):
        raise SessionError(f"{what}: is not a JSON object")
    rest = {k: v for k, v in data.items() if k != "sha256"}
    if data.get("sha256") != hashlib.sha256(canonical_json(rest)).hexdigest():
        raise SessionError(f"{what}: does not match its own sha256: it was damaged or edited by hand")
    return rest


def dump_manifest(index: int, files: Mapping[str, bytes]) -> bytes:
    """The bytes of `hashes/{index}.json` for the frame's files (path within the session → content)."""
    records = {
        name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()} for name, content in files.items()
    }
    return canonical_json(seal({"frame": index, "files": records}, f"hashes of frame {index}"))


def read_manifest(raw: bytes, index: int, what: str) -> dict[str, FileRecord]:
    """Path within the session → size and hash. Raises SessionError on any byte that is not as it was written."""
    try:
        data = parse_json(raw)
        rest = unseal(data, what)
        if canonical_json(data) != raw:
            raise SessionError(f"{what}: is not in the form it was written in")
        if rest["frame"] != index:
            raise SessionError(f"{what}: belongs to frame {rest['frame']}, not {index}")
        records = {name: FileRecord(int(r["size"]), str(r["sha256"])) for name, r in rest["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SessionError(f"{what}: is no list of hashes: {error!r}") from error
    if not all(_MEMBER.match(name) for name in records):
        raise SessionError(f"{what}: names a file that lies outside the session's folders")
    if not all(_SHA256.match(r.sha256) and r.size >= 0 for r in records.values()):
        raise SessionError(f"{what}: holds something that is no sha256")
    return records


def check(content: bytes, record: FileRecord, what: str) -> None:
    """Raises SessionError when `content` is not what was recorded."""
    if len(content) != record.size:
        raise SessionError(f"{what}: damaged: {len(content)} bytes, {record.size} were written")
    if hashlib.sha256(content).hexdigest() != record.sha256:
        raise SessionError(f"{what}: damaged: its sha256 is not the recorded one")
