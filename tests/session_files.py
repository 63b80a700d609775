"""What a session's files hold, for comparing one with another."""

from __future__ import annotations

from pathlib import Path


def content(session: Path) -> dict[str, bytes]:
    """Every file's bytes by its name, but for provenance.json, which differs between equal runs."""
    return {
        p.relative_to(session).as_posix(): p.read_bytes()
        for p in sorted(session.rglob("*"))
        if p.is_file() and p.name != "provenance.json"
    }
