"""The preview pictures of a world: drawn, or taken over with it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from aerialworld_city.tiles.store import file_crc

NAMES = ("preview_top.png", "preview_oblique.png")


def previews(world: Path, older: Path | None, key: str, entry: Any) -> dict[str, Any]:
    """See to it that the pictures stand in the world; returns the record for the next run. `entry` is the record of
    the `older` world."""
    record = _taken_over(world, older, key, entry)
    if record is None:
        from aerialworld_city.writing.preview import render_previews

        paths = render_previews(world)
        record = {"key": key, "files": {"": {p.name: file_crc(p) for p in paths}}}
    return record


def why_none(models: int) -> str:
    """Why a world of so many models has no pictures, for the report."""
    from aerialworld_city.writing.preview import MAX_MODELS

    if models > MAX_MODELS:
        return f"no preview was drawn: the world has {models:,} models (at most {MAX_MODELS:,} are drawn)"
    return "no preview was drawn: no model has a surface"


def _taken_over(world: Path, older: Path | None, key: str, entry: Any) -> dict[str, Any] | None:
    try:
        if older is None or entry["key"] != key:
            return None
        files = entry["files"][""]
        if not files or set(files) - set(NAMES) or any(file_crc(older / n) != crc for n, crc in files.items()):
            return None
        for name in files:
            shutil.copy2(older / name, world / name)
        return dict(entry)
    except (OSError, ValueError, KeyError, TypeError):
        return None
