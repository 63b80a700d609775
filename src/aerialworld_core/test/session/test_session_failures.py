"""A disk that fails at the Nth call: a typed error, no temporary file, old data as it was, and recording can go on."""

from __future__ import annotations

import errno
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aerialworld_core import files
from aerialworld_core.files import StorageError, is_temporary
from aerialworld_core.session import Session, SessionWriter
from aerialworld_core.session.lease import LEASE_FILE, is_held

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


#: Calls that a recording makes, from its folder's making to its end, and what may come of each.
EVERY_CALL = ("write", "short write", "fsync", "replace", "rename", "open", "mkdir", "unlink", "utime", "pwrite")
ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EINTR)


class Fault:
    """Lets a kind of call work until the Nth, which fails once: in `os`, or in a file's own write."""

    def __init__(self, monkeypatch, name: str, nth: int, number: int) -> None:
        self.calls, self.nth, self.number, self.failed = 0, nth, number, False
        if "write" in name and name != "pwrite":
            self.short = name == "short write"
            monkeypatch.setattr(files, "open", self._open, raising=False)
        else:
            self.real = getattr(os, name)
            monkeypatch.setattr(os, name, self)

    def due(self) -> bool:
        self.calls += 1
        self.failed |= self.calls == self.nth
        return self.calls == self.nth

    def __call__(self, *args, **kwargs):
        if self.due():
            raise OSError(self.number, os.strerror(self.number), str(args[0]))
        return self.real(*args, **kwargs)

    def _open(self, path, mode="r", *args):
        if mode != "wb":
            return open(path, mode, *args)
        fault = self

        class Raw(io.FileIO):
            def write(self, data):
                if not fault.due():
                    return super().write(data)
                if fault.short and len(data) > 1:
                    return super().write(data[: len(data) // 2])
                raise OSError(fault.number, os.strerror(fault.number), str(path))

        return io.BufferedWriter(Raw(path, "wb"))


def recorded_with(fault, root, synthetic, frames) -> SessionWriter:
    """A whole recording, in which a step that fails is done once more, as by somebody who has made room. A fault that
    was met is told, never passed over."""
    told: list[str] = []

    def step(what):
        while True:
            met = fault.failed
            try:
                result = what()
            except StorageError as error:
                assert fault.failed and not met, "failed twice"
                told.append(str(error))
                continue
            return result

    writer = step(lambda: SessionWriter(root, synthetic.meta(), synthetic.MISSION, synthetic.PROVENANCE))
    for index, frame in enumerate(frames):
        before = synthetic.contents(writer.path) if not fault.failed else None
        try:
            writer.write_frame(index, *frame)
        except StorageError as error:
            told.append(str(error))
            assert error.exit_code == 28 and str(root) in str(error)
            if writer.frames == index:
                assert synthetic.contents(writer.path) == before and not leftovers(writer.path)
                writer.write_frame(index, *frame)
    step(writer.close)
    silent = fault.short if hasattr(fault, "short") else False
    assert len(told) == (1 if fault.failed and not silent else 0), told
    return writer


def every_fault(tmp_path, monkeypatch, synthetic, recorded, name, number, frames) -> int:
    reference = synthetic.contents(synthetic.write(tmp_path / "reference", recorded[:frames]))
    for nth in range(1, 2000):
        root = tmp_path / f"{nth}"
        with monkeypatch.context() as patch:
            fault = Fault(patch, name, nth, number)
            writer = recorded_with(fault, root, synthetic, recorded[:frames])
        if not fault.failed:
            return nth - 1
        # A lease that could not be deleted stays and binds nobody.
        assert is_held(writer.path) is None
        (writer.path / LEASE_FILE).unlink(missing_ok=True)
        whole = [p for p in root.iterdir() if synthetic.contents(p) == reference]
        assert whole == [writer.path] and all(not leftovers(p) for p in root.iterdir())
        shutil.rmtree(root)
    raise AssertionError("never a run without a fault")


@pytest.mark.parametrize("name", [n for n in EVERY_CALL if n not in CALLS])
def test_a_recording_goes_on_after_any_call_failed_once(tmp_path, monkeypatch, synthetic, recorded, name):
    assert every_fault(tmp_path, monkeypatch, synthetic, recorded, name, errno.ENOSPC, frames=1) > 0


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("number", ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize("name", EVERY_CALL)
def test_a_long_recording_goes_on_after_any_call_failed(tmp_path, monkeypatch, synthetic, recorded, name, number):
    every_fault(tmp_path, monkeypatch, synthetic, recorded, name, number, frames=8)


INJECTED = """
import sys, pathlib
sys.path[:0] = {path!r}
import synthetic
from aerialworld_core.files import StorageError
from aerialworld_core.session import SessionWriter
frames = synthetic.frames(2)
print("begin", flush=True)
try:
    with SessionWriter(pathlib.Path({root!r}), synthetic.meta(), synthetic.MISSION, synthetic.PROVENANCE) as writer:
        for index, frame in enumerate(frames):
            writer.write_frame(index, *frame)
except StorageError as error:
    sys.exit(error.exit_code)
"""
#: System calls that a recording makes, and what the kernel may answer.
INJECTIONS = (
    ("fsync", "EIO"), ("fsync", "ENOSPC"), ("rename", "ENOSPC"), ("rename", "EDQUOT"), ("mkdir", "EDQUOT"),
    ("ftruncate", "EIO"), ("pwrite64", "ENOSPC"), ("utimensat", "EIO"),
)  # fmt: skip


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize(
    "points",
    [
        pytest.param(8, marks=pytest.mark.long),
        pytest.param(200, marks=(pytest.mark.soak, pytest.mark.timeout(7200))),
    ],
)
def test_errors_of_the_kernel_itself(tmp_path, points):
    """The same from below: strace answers the Nth system call of a recording with an error."""
    failed = 0
    for point in range(points):
        call, error = INJECTIONS[point % len(INJECTIONS)]
        root = tmp_path / f"{point}"
        script = INJECTED.format(path=[str(Path(__file__).parent), *sys.path], root=str(root))
        nth = 1 + point // len(INJECTIONS)
        command = ["strace", "-f", "-qq", "-o", str(tmp_path / "trace"), "-e", f"trace={call}", "-e",
                   f"inject={call}:error={error}:when={nth}", sys.executable, "-B", "-c", script]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 28), done.stderr
        failed += done.returncode == 28
        for path in [p for p in root.iterdir() if not p.name.startswith(".")] if root.exists() else []:
            session = Session.open(path)
            assert all(session.damage(index) == [] for index in session.frame_indices) and not leftovers(path)
            assert (done.returncode == 28) or session.meta.frames == 2
    assert failed > points // 3


FULL_DISK = """
import sys, pathlib
sys.path[:0] = {path!r}
import synthetic
from aerialworld_core.files import StorageError
from aerialworld_core.session import Session, SessionWriter, validate
disk, frames = pathlib.Path({disk!r}), synthetic.frames(16)
filler = disk / "filler"
filler.write_bytes(bytes({filler}))
writer, full = SessionWriter(disk / "data", synthetic.meta(), synthetic.MISSION, synthetic.PROVENANCE), []
for index, frame in enumerate(frames):
    try:
        writer.write_frame(index, *frame)
    except StorageError as error:
        assert "No space left on device" in str(error) and error.exit_code == 28, error
        full.append(index)
        assert Session.open(writer.path).frame_indices == list(range(index))
        assert not list(writer.path.rglob("*.tmp"))
        filler.unlink()
        writer.write_frame(index, *frame)
writer.close()
assert len(full) == 1 and 0 < full[0] < 15, full
report = validate(writer.path)
assert not report.errors and report.figures["frames"] == 16, report.errors
"""


def test_recording_goes_on_when_a_full_disk_has_room_again(tmp_path, synthetic, recorded):
    """A real disk of 16 MiB, of which somebody else holds most: the frame that finds no room is told and leaves
    nothing, and once the other's file is gone the same writer goes on."""
    disk = tmp_path / "disk"
    disk.mkdir()
    per_frame = sum(len(data) for name, data in synthetic.contents(
        synthetic.write(tmp_path / "measured", recorded[:4])).items()) // 4  # fmt: skip
    filler = 16 * 1024 * 1024 - 6 * per_frame
    assert filler > 11 * per_frame, "the frames that follow must fit where the other's file was"
    script = FULL_DISK.format(path=[str(Path(__file__).parent), *sys.path], disk=str(disk), filler=filler)
    command = ["unshare", "-m", "--propagation", "private", "sh", "-c",
               f'mount -t tmpfs -o size=16M tmpfs {disk} && exec "$@"', "sh"]  # fmt: skip
    try:
        subprocess.run([*command, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small disk needs unshare and the right to mount")
    done = subprocess.run([*command, sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


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
