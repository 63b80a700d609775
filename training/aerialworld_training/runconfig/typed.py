"""Plain tables into typed dataclasses: every key known, every value of its type, errors that name the nearest key."""

from __future__ import annotations

import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml

from aerialworld_core.errors import InputError

T = TypeVar("T")


def plain(value: Any) -> Any:
    """Dictionaries, lists and scalars as YAML's safe dumper takes them."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def known_keys(kind: type, prefix: str = "") -> list[str]:
    """Dotted names of a dataclass's fields, those of tables inside it included."""
    keys: list[str] = []
    for name, hint in typing.get_type_hints(kind).items():
        keys.append(prefix + name)
        if is_dataclass(hint):
            keys += known_keys(typing.cast(type, hint), f"{prefix}{name}.")
    return keys


def unknown_key(key: str, known: Iterable[str], source: str) -> InputError:
    """The error for a key that is not known, with the nearest one that is."""
    known = sorted(known)
    leaf = key.rsplit(".", 1)[-1]
    leaves = [k.rsplit(".", 1)[-1] for k in known]
    by_leaf = [k for k in known if k.rsplit(".", 1)[-1] in difflib.get_close_matches(leaf, leaves, n=1)]
    near = difflib.get_close_matches(key, known, n=1) or by_leaf[:1]
    shown = known if len(known) < 30 else sorted({k.partition(".")[0] for k in known})
    hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(shown)}"
    return InputError(f"{source}: unknown key {key!r}{hint}")


def convert(value: Any, hint: Any, key: str, source: str) -> Any:
    """`value` as the type `hint`, or InputError."""

    def wrong(wanted: str) -> InputError:
        return InputError(f"{source}: {key} must be {wanted}, not {value!r}")

    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        (hint,) = (a for a in typing.get_args(hint) if a is not type(None))
        origin = typing.get_origin(hint)
    if origin is tuple:
        args = typing.get_args(hint)
        if not isinstance(value, (list, tuple)):
            raise wrong("a list")
        if args[-1] is not Ellipsis and len(value) != len(args):
            raise wrong(f"a list of {len(args)}")
        return tuple(convert(v, args[0], f"{key}[{i}]", source) for i, v in enumerate(value))
    if origin is typing.Literal:
        if value not in typing.get_args(hint):
            raise wrong(f"one of {', '.join(map(repr, typing.get_args(hint)))}")
        return value
    if hint is bool:
        if not isinstance(value, bool):
            raise wrong("true or false")
        return value
    if hint is int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong("a whole number")
        return value
    if hint is float:
        if isinstance(value, str):
            # YAML 1.1 reads 1e-3 as text.
            try:
                value = float(value)
            except ValueError:
                raise wrong("a number") from None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise wrong("a finite number")
        return float(value)
    if not isinstance(value, hint):
        raise wrong(f"a {hint.__name__}")
    return value


def apply(
    base: T,
    data: Any,
    source: str,
    prefix: str = "",
    known: Iterable[str] | None = None,
    origins: Mapping[str, str] | None = None,
) -> T:
    """`base` (a dataclass) with the keys of `data` in place of its own; `origins` say which source gave a dotted key
    where it is not `source`. Raises InputError."""
    known = known_keys(type(base)) if known is None else known
    if not isinstance(data, Mapping):
        raise InputError(f"{source}: {prefix.rstrip('.') or 'the file'} must be a table of keys")
    hints = typing.get_type_hints(type(base))
    changes: dict[str, Any] = {}
    for name, value in data.items():
        key = f"{prefix}{name}"
        if name not in hints:
            raise unknown_key(key, known, source)
        own = getattr(base, name)
        if is_dataclass(own) and not isinstance(own, type):
            changes[name] = apply(own, value, source, f"{key}.", known, origins)
        else:
            changes[name] = convert(value, hints[name], key, (origins or {}).get(key, source))
    return replace(base, **changes)  # type: ignore[type-var]


def read_table(text: str, source: str) -> dict[str, Any]:
    """YAML text that holds a table. Raises InputError."""
    try:
        data = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise InputError(f"{source}: not valid YAML: {_one_line(error)}") from error
    if not isinstance(data, dict):
        raise InputError(f"{source}: must be a table of keys")
    return data


def _one_line(error: yaml.YAMLError) -> str:
    """What is wrong and where, without the marked excerpt."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).split())
    return f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}: {error.problem}"


def read_override(override: str) -> tuple[str, Any]:
    """`key.sub=value` (the value is YAML) → key and value. Raises InputError."""
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise InputError(f"--set {override}: needs the form key.sub=value")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise InputError(f"--set {override}: {value!r} is not a value: {_one_line(error)}") from error


def write_overrides(values: Mapping[str, Any]) -> list[str]:
    """`key=value` of each value that is not None; `read_override` reads equal values back. Text and paths stay text,
    whatever they look like."""
    return [f"{key}={_yaml(value)}" for key, value in values.items() if value is not None]


def _yaml(value: Any) -> str:
    """A value as YAML on one line."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, (str, Path)):
        return yaml.safe_dump(str(value), default_style='"', allow_unicode=True, width=math.inf).rstrip("\n")
    return str(value)
