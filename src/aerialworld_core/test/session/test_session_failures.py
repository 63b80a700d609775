"""A disk that fails at the Nth call: a typed error, no temporary file, old data as it was, and recording can go on."""

from __future__ import annotations

import errno
import os

import pytest

from aerialworld_core.files import StorageError, is_temporary
from aerialworld_core.session import Session, SessionWriter

CALLS = ("fsync", "replace", "open")


class NthCallFails:
    """Lets `name` of module os work until the Nth call, which raises `number`."""

    def __init__(self, monkeypatch, name: str, nth: int, number: int) -> None:
        self.calls, self.nth, self.number = 0, nth, number
        self.real = getattr(os, name)
        self.failed = False
        monkeypatch.setattr(os, name, self)

    def __call__(self, *args, **kwargs):
        self.calls += 1
        if self.calls == self.nth:
            self.failed = True
            raise OSError(self.number, os.strerror(self.number), str(args[0]))
        return self.real(*args, **kwargs)


def leftovers(path):
    return [p for p in path.rglob("*") if is_temporary(p)]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("name", CALLS)
def test_write_frame_fails_whole_at_every_call(tmp_path, monkeypatch, synthetic, recorded, name, number):
    reference = synthetic.contents(synthetic.write(tmp_path / "reference", recorded[:3]))
    writer = SessionWriter(tmp_path / "s", synthetic.meta(), synthetic.MISSION, synthetic.PROVENANCE)
    writer.write_frame(0, *recorded[0])
    before = synthetic.contents(writer.path)
    for nth in range(1, 200):
        with monkeypatch.context() as patch:
            fault = NthCallFails(patch, name, nth, number)
            try:
                writer.write_frame(1, *recorded[1])
            except StorageError as error:
                assert error.exit_code == 28
                assert str(writer.path) in str(error) and os.strerror(number) in str(error)
                assert "bytes free" in str(error)
        if not fault.failed:
            break
        assert synthetic.contents(writer.path) == before, f"call {nth}"
        assert not leftovers(writer.path)
    assert nth > 5 and writer.frames == 2
    writer.write_frame(2, *recorded[2])
    writer.close()
    assert synthetic.contents(writer.path) == reference


@pytest.mark.parametrize("name", CALLS)
def test_creating_a_session_fails_whole_at_every_call(tmp_path, monkeypatch, synthetic, name):
    root = tmp_path / "s"
    for nth in range(1, 200):
        with monkeypatch.context() as patch:
            fault = NthCallFails(patch, name, nth, errno.ENOSPC)
            try:
                writer = SessionWriter(root, synthetic.meta(), synthetic.MISSION, synthetic.PROVENANCE)
            except StorageError as error:
                assert str(root) in str(error)
        if not fault.failed:
            break
        whole = [p for p in root.iterdir() if p.name.startswith("drone")]
        for path in whole:  # only the flush of the folder above failed: then it stands whole
            assert name in ("fsync", "open") and Session.open(path).mission == synthetic.MISSION
        assert [p for p in root.iterdir() if p not in whole] == []
    assert nth > 3
    writer.close()


@pytest.mark.parametrize("name", CALLS)
def test_closing_fails_whole_and_can_be_repeated(tmp_path, monkeypatch, synthetic, recorded, name):
    reference = synthetic.contents(synthetic.write(tmp_path / "reference", recorded[:1]))
    writer = SessionWriter(tmp_path / "s", synthetic.meta(), synthetic.MISSION, synthetic.PROVENANCE)
    writer.write_frame(0, *recorded[0])
    for nth in range(1, 50):
        with monkeypatch.context() as patch:
            fault = NthCallFails(patch, name, nth, errno.EIO)
            try:
                writer.close()
            except StorageError:
                pass
        assert Session.open(writer.path).meta.frames in (None, 1)
        assert not leftovers(writer.path)
        if not fault.failed:
            break
    assert synthetic.contents(writer.path) == reference


def test_a_frame_is_never_overwritten(tmp_path, synthetic, recorded):
    with SessionWriter(tmp_path, synthetic.meta(), {}, {}) as writer:
        (writer.path / "poses/000000.json").write_text("mine")
        with pytest.raises(StorageError, match="exists already"):
            writer.write_frame(0, *recorded[0])
        assert (writer.path / "poses/000000.json").read_text() == "mine"


def test_when_even_deleting_fails_the_frame_stays_whole(tmp_path, monkeypatch, synthetic, recorded):
    """The last flush fails and the disk takes no more deletions: the frame stands, with all of its files."""
    from pathlib import Path

    writer = SessionWriter(tmp_path, synthetic.meta(), synthetic.MISSION, synthetic.PROVENANCE)
    with monkeypatch.context() as patch:
        counting = NthCallFails(patch, "fsync", 10**6, errno.EIO)
        writer.write_frame(0, *recorded[0])
    real = Path.unlink

    def unlink(path, missing_ok=False):
        if path.suffix == ".npz":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(path, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        NthCallFails(patch, "fsync", counting.calls, errno.EIO)
        patch.setattr(Path, "unlink", unlink)
        with pytest.raises(StorageError):
            writer.write_frame(1, *recorded[1])
    writer.release()
    session = Session.open(writer.path)
    assert session.frame_indices == [0, 1] and session.damage(1) == []
