"""What tests of runs share: made sessions, and the work folder of a finished stage adapt on them, made once a file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from training_run import adapted, made


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sessions of five frames."""
    return made(tmp_path_factory.mktemp("sessions"))


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory, sessions: Path) -> Path:
    """A work folder of stage adapt, with codes of depth 1."""
    return adapted(tmp_path_factory.mktemp("vae") / "run", sessions)
