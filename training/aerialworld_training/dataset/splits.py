"""Which sessions train, validate and test: a JSON file that lists session names, made by place."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aerialworld_core.errors import InputError
from aerialworld_core.files import read_json

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Split:
    """Session names of each part; no session is in two."""

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]

    def part(self, name: str) -> tuple[str, ...]:
        """The sessions of `train`, `val` or `test`. InputError for another name."""
        if name not in PARTS:
            raise InputError(f"split {name!r}: known are {', '.join(PARTS)}")
        names: tuple[str, ...] = getattr(self, name)
        return names

    @classmethod
    def from_dict(cls, data: Any, source: str = "split") -> Split:
        """Check a split. Raises InputError for unknown keys, an empty part, a name that is no folder name, an
        overlap."""
        if not isinstance(data, dict):
            raise InputError(f"{source}: needs an object with {', '.join(PARTS)}, each a list of session names")
        for key in data:
            if key not in PARTS:
                raise InputError(f"{source}: unknown part {key!r}; known are {', '.join(PARTS)}")
        parts: dict[str, tuple[str, ...]] = {}
        seen: dict[str, str] = {}
        for part in PARTS:
            names = data.get(part, [])
            if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
                raise InputError(f"{source}: {part} must be a list of session names")
            if not names:
                raise InputError(f"{source}: {part} is empty; give it at least one session of a place of its own")
            for name in names:
                if not name or name in (".", "..") or Path(name).name != name:
                    raise InputError(f"{source}: {part}: {name!r} is not the name of a session folder")
                if name in seen:
                    raise InputError(
                        f"{source}: {name} is in {seen[name]} and in {part}; a session belongs to one part"
                    )
                seen[name] = part
            parts[part] = tuple(names)
        return cls(**parts)


def read_split(path: Path) -> Split:
    """Read a split file. Raises InputError that names it."""
    try:
        data = read_json(Path(path), limit=16 * 1024 * 1024)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such split file") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable split file: {error}") from error
    return Split.from_dict(data, str(path))


def split_by_ratio(names: Sequence[str], val_ratio: float, test_ratio: float) -> dict[str, list[str]]:
    """Sessions dealt to train, val and test by a hash of their names: adding a session moves no other much.

    Whole sessions only. A share above 0 gets at least one session. Raises InputError when there are too few, or for
    shares that leave nothing for training.
    """
    if not (0 <= val_ratio < 1 and 0 <= test_ratio < 1 and val_ratio + test_ratio < 1):
        raise InputError(f"val_ratio {val_ratio:g} and test_ratio {test_ratio:g} are 0 or more, together below 1")
    order = sorted(names, key=lambda n: hashlib.sha256(n.encode()).digest())
    counts = [max(1, round(share * len(order))) if share > 0 else 0 for share in (val_ratio, test_ratio)]
    if len(order) - sum(counts) < 1:
        raise InputError(
            f"{len(order)} sessions cannot be split: val_ratio {val_ratio:g} and test_ratio {test_ratio:g} take "
            f"{sum(counts)}; record more sessions, set a ratio to 0, or write a split.json"
        )
    val, test = order[: counts[0]], order[counts[0] : sum(counts)]
    rest = set(names) - set(val) - set(test)
    return {"train": sorted(rest), "val": sorted(val), "test": sorted(test)}
