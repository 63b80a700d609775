"""Fixtures of the session tests; `synthetic` is the analytic city beside this file."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

_NAME = "aerialworld_core_session_synthetic"


def _load() -> ModuleType:
    if _NAME not in sys.modules:
        spec = importlib.util.spec_from_file_location(_NAME, Path(__file__).with_name("synthetic.py"))
        module = importlib.util.module_from_spec(spec)
        sys.modules[_NAME] = module
        spec.loader.exec_module(module)
    return sys.modules[_NAME]


@pytest.fixture(scope="session")
def synthetic() -> ModuleType:
    return _load()


@pytest.fixture(scope="session")
def recorded(synthetic: ModuleType) -> list:
    """Sixteen frames, ready to be written."""
    return synthetic.frames(16)


@pytest.fixture
def good_session(tmp_path: Path, synthetic: ModuleType, recorded: list) -> Path:
    """A closed session of eight frames."""
    return synthetic.write(tmp_path / "good", recorded[:8])
