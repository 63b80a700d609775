"""Imports of the stages when a command needs them, so that each machine installs only what it uses."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from aerialworld_core.errors import AerialWorldError

#: What to install for each stage's package.
INSTALL = {
    "aerialworld_city": "pip install 'aerialworld[local]'",
    "aerialworld_sim": "pip install 'aerialworld[local]'",
    "aerialworld_missions": "pip install 'aerialworld[local]'",
    "aerialworld_recorder": "pip install 'aerialworld[local]'",
    "aerialworld_description": "pip install 'aerialworld[local]'",
    "aerialworld_training": "pip install 'aerialworld[training]'",
    "aerialworld_core": "pip install 'aerialworld_core[world]'",
}


class MissingStageError(AerialWorldError):
    """A stage's package, or a library that it needs, is not installed."""


def stage(module: str, name: str | None = None) -> Any:
    """Import `module` (or the attribute `name` of it). Raises MissingStageError with the pip line when it is absent."""
    try:
        loaded: ModuleType = importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.split(".")[0]
        line = INSTALL.get(package, f"pip install {package}")
        raise MissingStageError(
            f"this command needs {package}, and Python module {error.name!r} is not installed here; install it: {line}"
        ) from error
    return loaded if name is None else getattr(loaded, name)
