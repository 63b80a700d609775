"""Packs: every voxel, class, bit and pose as the sessions have them; fresh only while they are unchanged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aerialworld_core.errors import InputError, SessionError
from aerialworld_core.session import Session
from aerialworld_core.session.pack import FOLDER, Pack, packed_session, write_pack


@pytest.fixture
def folders(tmp_path: Path, synthetic, recorded) -> list[Path]:
    return [synthetic.write(tmp_path, recorded[:4]), synthetic.write(tmp_path, recorded[4:7])]


def test_a_packed_session_is_the_session(folders: list[Path], tmp_path: Path) -> None:
    pack = write_pack(folders, tmp_path / FOLDER)
    assert pack.names == [f.name for f in folders] and pack.verify() == []
    for folder in folders:
        session, packed = Session.open(folder), packed_session(folder)
        assert packed is not None and packed.frame_indices == session.frame_indices
        assert packed.meta.to_dict() == session.meta.to_dict()
        for index in session.frame_indices:
            a, b = packed.occupancy(index), session.occupancy(index)
            assert np.array_equal(a.occupancy, b.occupancy) and np.array_equal(a.semantics, b.semantics)
            assert np.array_equal(a.observed, b.observed)
            p, q = packed.pose(index), session.pose(index)
            assert np.array_equal(p.pose_13d(), q.pose_13d()) and (p.stamp_ns, p.ground_z) == (q.stamp_ns, q.ground_z)
        with pytest.raises(SessionError, match="no frame 77"):
            packed.pose(77)


def test_a_changed_session_is_read_from_its_own_files(folders: list[Path], tmp_path: Path) -> None:
    write_pack(folders, tmp_path / FOLDER)
    last = Session.open(folders[0]).frame_indices[-1]
    (folders[0] / "occupancy" / f"{last:06d}_occupancy.npz").unlink()
    assert packed_session(folders[0]) is None and packed_session(folders[1]) is not None
    write_pack(folders, tmp_path / FOLDER)
    packed = packed_session(folders[0])
    assert packed is not None and len(packed) == len(Session.open(folders[0])) == 3


def test_damage_is_found(folders: list[Path], tmp_path: Path) -> None:
    pack = write_pack(folders, tmp_path / FOLDER)
    file = pack.path / "observed.bin"
    raw = bytearray(file.read_bytes())
    raw[10] ^= 1
    file.write_bytes(raw)
    assert len(Pack.open(pack.path).verify()) == 1
    file.write_bytes(raw[:-1])
    with pytest.raises(SessionError, match=r"observed\.bin"):
        Pack.open(pack.path)
    assert packed_session(folders[0]) is None
    (pack.path / "manifest.json").write_text('{"version": 1}')
    with pytest.raises(SessionError, match="sha256"):
        Pack.open(pack.path)


def test_what_fails_leaves_the_old_pack(folders: list[Path], tmp_path: Path) -> None:
    write_pack(folders[1:], tmp_path / FOLDER)
    image = next((folders[0] / "occupancy").iterdir())
    image.write_bytes(image.read_bytes()[:-3])
    with pytest.raises(SessionError, match="damaged"):
        write_pack(folders, tmp_path / FOLDER)
    assert packed_session(folders[1]) is not None
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*(f.name for f in folders), FOLDER])


def test_what_is_no_pack_is_not_replaced(folders: list[Path], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="is no pack"):
        write_pack(folders, tmp_path / "data")
    assert (tmp_path / "data" / "thesis.txt").read_text() == "years of work"
    with pytest.raises(InputError, match="no session"):
        write_pack([], tmp_path / "none")
