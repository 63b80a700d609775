"""Entries that people write, `key=value` on a command line or keys of a file, and how messages speak of wrong ones."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from aerialworld_core.errors import InputError


def parse_entries(text: str, what: str, example: str) -> dict[str, str]:
    """`a=1,b=2` as texts by key. Raises InputError, which starts with `what` and shows an `example`."""
    values: dict[str, str] = {}
    for pair in filter(None, (p.strip() for p in text.split(","))):
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not (key and equals and value):
            raise InputError(f"{what}: {shown(pair)} is not entry=value (example: {example})")
        if key in values:
            raise InputError(f"{what}: {key} is given twice")
        values[key] = value
    return values


def instead_of(word: Any, known: Iterable[str], cutoff: float = 0.5) -> str:
    """What to write instead of an unknown `word`: the nearest known one, or all of them."""
    names = list(known)
    near = difflib.get_close_matches(str(word), names, 1, cutoff)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"


def shown(value: Any) -> str:
    """A value for an error message, cut to a line's length."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
