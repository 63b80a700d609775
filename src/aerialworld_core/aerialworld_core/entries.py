"""Entries as they are written on a command line: `cars=100,seed=1`."""

from __future__ import annotations

from typing import Any

from aerialworld_core.errors import InputError


def parse_entries(text: str, what: str, example: str) -> dict[str, str]:
    """The entries of `key=value,key=value`, none given twice. Raises InputError, which begins with `what`."""
    values: dict[str, str] = {}
    for pair in filter(None, (p.strip() for p in text.split(","))):
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not (key and equals and value):
            raise InputError(f"{what}: {short(pair)} is not entry=value (example: {example})")
        if key in values:
            raise InputError(f"{what}: {key} is given twice")
        values[key] = value
    return values


def short(value: Any) -> str:
    """A value for an error message, cut to a line's length."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
