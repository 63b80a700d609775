"""What an evaluation was made from, by hashes: model, sessions, worlds, split and settings. No path, host or time."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import yaml

from aerialworld_training.dataset import PooledSession, Split
from aerialworld_training.trained import Trained


def weights_hash(trained: Trained) -> str:
    """SHA-256 over the names, types, shapes and values of all weights, whatever the file that holds them."""
    digest = hashlib.sha256()
    for name, value in sorted(trained.model.state_dict().items()):
        array = np.ascontiguousarray(value.detach().cpu().numpy())
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def made_from(
    trained: Trained, split: Split, sessions: Mapping[str, PooledSession], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """The record of an evaluation; `sessions` are all that it read (for the constant's frequencies too)."""
    config = yaml.safe_load(trained.config)
    runtime = config.get("runtime")
    return {
        "model": {
            "name": trained.name,
            "weights_sha256": weights_hash(trained),
            "config_sha256": hashlib.sha256(trained.settings.encode()).hexdigest(),
            "stage": config.get("stage"),
            "seed": runtime.get("seed") if isinstance(runtime, dict) else None,
        },
        "split": {part: list(split.part(part)) for part in ("train", "val", "test")},
        "sessions": {
            name: {"content_sha256": s.content, "world": s.world.get("name"), "world_sha256": s.world.get("sha256")}
            for name, s in sessions.items()
        },
        "settings": dict(settings),
    }


def differences(before: Any, now: Any, at: str = "") -> list[str]:
    """Where two JSON values differ, one line each: the place, what was there, what is there."""
    if isinstance(before, dict) and isinstance(now, dict):
        lines = []
        for key in dict.fromkeys((*before, *now)):
            place = f"{at}.{key}" if at else str(key)
            if key not in now:
                lines.append(f"{place}: is gone")
            elif key not in before:
                lines.append(f"{place}: is new")
            else:
                lines += differences(before[key], now[key], place)
        return lines
    if isinstance(before, list) and isinstance(now, list):
        if len(before) != len(now):
            return [f"{at}: {len(before)} entries, now {len(now)}"]
        return [
            line for k, (a, b) in enumerate(zip(before, now, strict=True)) for line in differences(a, b, f"{at}[{k}]")
        ]
    if type(before) is type(now) and before == now:
        return []
    return [f"{at}: {_short(before)}, now {_short(now)}"]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def listed(lines: Sequence[str], most: int = 20) -> str:
    """At most so many lines, and how many more there are."""
    rest = len(lines) - most
    return "\n".join([*(f"  {line}" for line in lines[:most]), *([f"  … and {rest} more"] if rest > 0 else [])])
