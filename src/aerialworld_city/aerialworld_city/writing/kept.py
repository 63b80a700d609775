"""Models that need not be made again: the older world's, where all that they depend on is what it was.

`.tiles/models.json` holds, per group of models (a square's models of one kind), a key made of everything the models are
made of, the CRC-32 of every file, and what the conversion has to know of them.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aerialworld_city.tiles.store import adopt, file_crc
from aerialworld_city.writing.folder import TILES
from aerialworld_core.files import canonical_json, read_json, write_bytes

NAME = "models.json"
_FORMAT = 1


def group_key(words: Any, maker: str) -> str:
    """The key of what `words` (JSON, numbers and texts) and the program `maker` (`tiles.store.program`) make."""
    return hashlib.sha256(canonical_json([maker, words])).hexdigest()[:40]


def read_kept(world: Path | None) -> dict[str, Any]:
    """The groups of an older world; none where there is no list or it is not readable."""
    if world is None:
        return {}
    try:
        kept = read_json(world / TILES / NAME)
        if kept["format"] != _FORMAT:
            return {}
        return dict(kept["groups"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def write_kept(world: Path, groups: Mapping[str, Any]) -> None:
    write_bytes(world / TILES / NAME, canonical_json({"format": _FORMAT, "groups": dict(groups)}), sync=False)


def fingerprints(folder: Path, names: Sequence[str]) -> dict[str, dict[str, int]]:
    """CRC-32 of every file of every model, by name."""
    return {
        name: {
            path.relative_to(folder / name).as_posix(): file_crc(path)
            for path in sorted((folder / name).rglob("*"))
            if path.is_file()
        }
        for name in names
    }


def take_over(entry: Any, key: str, older: Path | None, world: Path) -> dict[str, Any] | None:
    """The group's record, its models linked into `world`; None where the key is another, or a file is not what was
    written."""
    try:
        if older is None or entry["key"] != key:
            return None
        files = entry["files"]
        models = older / "models"
        if fingerprints(models, list(files)) != files:
            return None
        for name in files:
            (world / "models").mkdir(exist_ok=True)
            adopt(models / name, world / "models" / name)
        return dict(entry)
    except (OSError, ValueError, KeyError, TypeError):
        for name in _names(entry):
            shutil.rmtree(world / "models" / name, ignore_errors=True)
        return None


def _names(entry: Any) -> list[str]:
    files = entry.get("files") if isinstance(entry, dict) else None
    return [n for n in files if isinstance(n, str) and "/" not in n and n not in (".", "..")] if files else []
