"""YAML as a campaign is written in it: plain data only, no aliases, no second meaning of what looks like text.

YAML 1.1 reads 12:00 as 720, 2024-06-21 as a date and `no` as false; here they stay what they look like (the core
schema of YAML 1.2 decides what is a number). Repeated keys and aliases are refused: the first hide what is meant, the
second let a small file grow without bound.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from aerialworld_core.errors import InputError
from aerialworld_core.files import open_regular, read_counted

MAX_BYTES = 1024 * 1024
_MAX_DEPTH = 32

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class CampaignError(InputError):
    """A campaign file that cannot be used; the message names the file and the key."""


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2, without aliases and repeated keys."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(None, None, "aliases (*name) are not read here; write the value out", mark)
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise yaml.MarkedYAMLError(None, None, "nested too deeply", self.peek_event().start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(None, None, "keys are plain words", key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(None, None, f"{key.value!r} is given twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _int(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = str(node.value)
    if len(text) > 100:
        raise yaml.MarkedYAMLError(None, None, "a number of over 100 digits", node.start_mark)
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


def _float(loader: _Loader, node: yaml.ScalarNode) -> float:
    return float(str(node.value).lower().replace(".inf", "inf").replace(".nan", "nan"))


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(true|True|TRUE|false|False|FALSE)\Z"), list("tTfF")
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"(~|null|Null|NULL|)\Z"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(rf"(?:{_INT.pattern})\Z"), list("-+0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(rf"(?:{_FLOAT.pattern})\Z"), list("-+0123456789."))
_Loader.add_constructor("tag:yaml.org,2002:int", _int)
_Loader.add_constructor("tag:yaml.org,2002:float", _float)


def read_yaml(path: Path) -> Any:
    """The data of a YAML file of at most 1 MiB. Raises CampaignError, naming file and line."""
    try:
        with open_regular(path) as handle:
            raw = read_counted(handle, MAX_BYTES)
    except FileNotFoundError:
        raise CampaignError(
            f"{path}: no such file; `aerialworld generate --example` prints one to start from"
        ) from None
    except OSError as error:
        raise CampaignError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(raw) > MAX_BYTES:
        raise CampaignError(f"{path}: larger than {MAX_BYTES:,} bytes; a campaign is a short file")
    try:
        return parse_yaml(raw.decode("utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise CampaignError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8 text") from error


def parse_yaml(text: str, source: str) -> Any:
    """The data of YAML text. Raises CampaignError that begins with `source`."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise CampaignError(f"{source}: {line}{error.problem or error.context}") from error
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        raise CampaignError(f"{source}: is no YAML: {' '.join(str(error).split())[:200]}") from error
