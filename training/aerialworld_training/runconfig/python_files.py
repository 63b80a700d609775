"""Config files in Python: run for their variables, on top of the files that `_base_` names.

A config file is code of the user's own, run like any script of theirs; what a run stores and evaluation reads is YAML.
Variables are settings unless their name begins with `_` or is in capitals; modules, functions and classes are none.
"""

from __future__ import annotations

import sys
import traceback
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aerialworld_core.errors import InputError

PLAIN = (bool, int, float, str, type(None))
NOT_SETTINGS = (types.ModuleType, types.FunctionType, types.BuiltinFunctionType, type)


@dataclass(frozen=True)
class Layer:
    """One file's own settings; later layers go over earlier ones."""

    source: str
    settings: dict[str, Any]


def read_layers(path: Path, fallback: Path, within: tuple[Path, ...] = ()) -> list[Layer]:
    """A file's settings after those of its `_base_` files, the most basic first.

    A base that is not beside the file is taken from the folder `fallback`. In a table `_delete_=True` takes the bases'
    table of that name away. Raises InputError for a file that cannot be read or run, for bases in a circle, and for
    values that are no plain data.
    """
    path = path.resolve()
    if path in within:
        raise InputError(f"{path}: is its own _base_, by way of {', '.join(p.name for p in within)}")
    variables = run(path)
    bases = variables.pop("_base_", [])
    if isinstance(bases, str):
        bases = [bases]
    if not isinstance(bases, (list, tuple)) or not all(isinstance(b, str) for b in bases):
        raise InputError(f"{path}: _base_ must be a file name or a list of them, not {bases!r}")
    layers: list[Layer] = []
    for name in bases:
        base = path.parent / name
        if not base.is_file() and (fallback / base.name).is_file():
            base = fallback / base.name
        layers += read_layers(base, fallback, (*within, path))
    own = {k: v for k, v in variables.items() if is_setting(k, v)}
    for name, value in own.items():
        check_plain(value, name, path)
    layers = [Layer(layer.source, forget(layer.settings, own)) for layer in layers]
    return [*layers, Layer(path.name, without_marks(own))]


def forget(settings: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` without the tables that `over` marks with `_delete_`."""
    out: dict[str, Any] = {}
    for key, value in settings.items():
        new = over.get(key)
        if isinstance(new, Mapping) and new.get("_delete_") is True:
            continue
        out[key] = forget(value, new) if isinstance(value, Mapping) and isinstance(new, Mapping) else value
    return out


def run(path: Path) -> dict[str, Any]:
    """The variables that a Python file leaves behind. Raises InputError."""
    try:
        code = compile(path.read_text(encoding="utf-8"), str(path), "exec")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise InputError(f"{path}{f':{line}' if line else ''}: not valid Python: {error}") from error
    variables: dict[str, Any] = {"__file__": str(path), "__name__": path.stem}
    search = list(sys.path)  # the guides' files put their own folder in front
    try:
        exec(code, variables)  # noqa: S102 a Python config is the user's own code; results are read from YAML
    except (Exception, SystemExit) as error:
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
        where = f":{lines[-1]}" if lines else ""
        raise InputError(f"{path}{where}: {type(error).__name__}: {error}") from error
    finally:
        sys.path[:] = search
    return {k: v for k, v in variables.items() if not k.startswith("__")}


def is_setting(name: str, value: Any) -> bool:
    return not (name.startswith("_") or name.isupper() or isinstance(value, NOT_SETTINGS))


def check_plain(value: Any, key: str, path: Path) -> None:
    if isinstance(value, Mapping):
        for name, part in value.items():
            if not isinstance(name, str):
                raise InputError(f"{path}: {key} has the key {name!r}; keys are text")
            check_plain(part, f"{key}.{name}", path)
    elif isinstance(value, (list, tuple)):
        for i, part in enumerate(value):
            check_plain(part, f"{key}[{i}]", path)
    elif not isinstance(value, PLAIN):
        raise InputError(
            f"{path}: {key} is a {type(value).__name__}; settings are numbers, text, lists and tables (begin the name "
            "of a helper with _)"
        )


def without_marks(value: Any) -> Any:
    """`_delete_` has done its work."""
    if isinstance(value, Mapping):
        return {k: without_marks(v) for k, v in value.items() if k != "_delete_"}
    return value


def override(settings: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy of `settings` with the dotted key set; numbers in it are positions in lists. Raises InputError."""
    first, _, rest = key.partition(".")

    def inner(old: Any) -> Any:
        if not rest:
            return value
        if isinstance(old, (list, tuple)):
            head, _, _ = rest.partition(".")
            if not head.isdigit() or int(head) >= len(old):
                raise InputError(f"--set {key}: {first} is a list of {len(old)}; name a position in it")
            changed = override({head: old[int(head)]}, rest, value)[head]
            return [*old[: int(head)], changed, *old[int(head) + 1 :]]
        return override(dict(old) if isinstance(old, Mapping) else {}, rest, value)

    return {**settings, first: inner(settings.get(first))}
