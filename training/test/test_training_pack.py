"""A pack beside the sessions gives training the same frames; a stale or damaged one is not used."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from aerialworld_core.session import Session
from aerialworld_core.session.pack import FOLDER, Pack, write_pack
from aerialworld_training.dataset.frames import PooledSession, load_sessions

SYNTHETIC = Path(__file__).parents[2] / "src" / "aerialworld_core" / "test" / "session" / "synthetic.py"


@pytest.fixture(scope="module")
def synthetic() -> ModuleType:
    spec = importlib.util.spec_from_file_location("training_pack_synthetic", SYNTHETIC)
    module = importlib.util.module_from_spec(spec)
    sys.modules["training_pack_synthetic"] = module
    spec.loader.exec_module(module)
    return module


def same(a: PooledSession, b: PooledSession) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in PooledSession._ARRAYS)


def test_the_pack_is_read_while_it_is_fresh(
    synthetic: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = synthetic.write(tmp_path, synthetic.frames(5))
    plain = load_sessions(tmp_path, [folder.name], (2, 2, 1))[folder.name]
    write_pack([folder], tmp_path / FOLDER)
    reads = []
    inflate, unpack = Session.occupancy, Pack.occupancy
    monkeypatch.setattr(Session, "occupancy", lambda self, *a, **k: (reads.append("files"), inflate(self, *a, **k))[1])
    monkeypatch.setattr(Pack, "occupancy", lambda self, *a: (reads.append("pack"), unpack(self, *a))[1])
    assert same(load_sessions(tmp_path, [folder.name], (2, 2, 1))[folder.name], plain)
    assert set(reads) == {"pack"}
    reads.clear()
    (folder / "occupancy" / "000004_occupancy.npz").unlink()  # one frame less: the pack is of other content
    fewer = load_sessions(tmp_path, [folder.name], (2, 2, 1))[folder.name]
    assert len(fewer) == 4 and set(reads) == {"files"}
