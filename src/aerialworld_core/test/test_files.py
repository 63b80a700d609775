"""Atomic writes: the old file or the new one, never half of one; strict JSON."""

from __future__ import annotations

import builtins
import contextlib
import errno
import io
import json
import os
import resource
import signal
import stat
import threading
import tracemalloc

import pytest

from aerialworld_core.errors import AerialWorldError
from aerialworld_core.files import (
    StorageError,
    canonical_json,
    dump_json,
    is_temporary,
    open_regular,
    read_counted,
    read_json,
    write_bytes,
    write_group,
    write_json,
)


def failing(real, number):
    def call(*args, **kwargs):
        raise OSError(number, os.strerror(number), str(args[0]))

    return call


def test_write_replaces_whole_and_honours_umask(tmp_path):
    file = tmp_path / "a.bin"
    write_bytes(file, b"old")
    write_bytes(file, memoryview(b"new content"), sync=False)
    assert file.read_bytes() == b"new content" and list(tmp_path.iterdir()) == [file]
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "b", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o640


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS])
@pytest.mark.parametrize("call", ["fsync", "replace", "write", "open"])
def test_failure_leaves_the_old_file_and_no_temporary(tmp_path, monkeypatch, call, number):
    file = tmp_path / "a.json"
    write_json(file, {"old": 1})
    if call in ("fsync", "replace"):
        monkeypatch.setattr(os, call, failing(getattr(os, call), number))
    elif call == "open":
        monkeypatch.setattr(builtins, "open", failing(open, number))
    else:

        class Full(io.BufferedWriter):
            def write(self, data):
                super().write(bytes(data)[: len(data) // 2])
                raise OSError(number, os.strerror(number))

        monkeypatch.setattr(builtins, "open", lambda path, mode: Full(io.FileIO(path, mode)))
    with pytest.raises(StorageError) as caught:
        write_json(file, {"new": list(range(1000))})
    monkeypatch.undo()
    assert caught.value.exit_code == 28 and isinstance(caught.value, AerialWorldError)
    assert str(file) in str(caught.value) and os.strerror(number) in str(caught.value)
    assert "bytes free" in str(caught.value)
    assert read_json(file) == {"old": 1} and list(tmp_path.iterdir()) == [file]


def test_a_real_file_size_limit_is_a_storage_error(tmp_path):
    write_bytes(tmp_path / "a", b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StorageError, match="File too large"):
            write_bytes(tmp_path / "a", bytes(200_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert (tmp_path / "a").read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(StorageError, match=r"no/such/a.*No such file or directory"):
        write_bytes(tmp_path / "no/such/a", b"x")


def test_interrupt_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(tmp_path / "a", b"x")
    with pytest.raises(KeyboardInterrupt):
        write_group([[(tmp_path / "a", b"x")], [(tmp_path / "b", b"y")]])
    assert list(tmp_path.iterdir()) == []


def test_group_appears_step_by_step_and_is_durable_between(tmp_path, monkeypatch):
    events = []
    real_replace, real_fsync = os.replace, os.fsync
    monkeypatch.setattr(os, "replace", lambda a, b: (events.append(f"place {b.name}"), real_replace(a, b))[1])

    def fsync(descriptor):
        name = os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))
        events.append("flush " + ("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else name.split(".")[1]))
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_group([[(tmp_path / "a", b"1"), (tmp_path / "b", b"2")], [(tmp_path / "c", b"3")]])
    assert events == [
        *("flush a", "flush b", "flush c"),
        *("place a", "place b", "flush folder"),
        *("place c", "flush folder"),
    ]
    assert [(tmp_path / n).read_bytes() for n in "abc"] == [b"1", b"2", b"3"]


def test_group_fails_whole(tmp_path, monkeypatch):
    real, calls = os.replace, []

    def third_fails(a, b):
        calls.append(b)
        if len(calls) == 3:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(a, b)

    monkeypatch.setattr(os, "replace", third_fails)
    with pytest.raises(StorageError, match="Input/output error"):
        write_group([[(tmp_path / "a", b"1"), (tmp_path / "b", b"2")], [(tmp_path / "c", b"3")]])
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "b").write_bytes(b"mine")
    monkeypatch.undo()
    with pytest.raises(StorageError, match="exists already"):
        write_group([[(tmp_path / "a", b"1"), (tmp_path / "b", b"2")]])
    assert [p.name for p in tmp_path.iterdir()] == ["b"] and (tmp_path / "b").read_bytes() == b"mine"


def test_temporary_names_are_hidden_and_known(tmp_path, monkeypatch):
    seen = []
    real = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (seen.append(a), real(a, b))[1])
    write_bytes(tmp_path / "000001.json", b"x")
    assert is_temporary(seen[0]) and not is_temporary(tmp_path / "000001.json")


def test_json_is_strict_both_ways(tmp_path):
    for bad in (float("nan"), float("inf")):
        for dump in (dump_json, canonical_json):
            with pytest.raises(ValueError):
                dump({"a": bad})
    file = tmp_path / "a.json"
    for text in ("NaN", '{"a": -Infinity}', "[" * 100_000, "{", "", '{"a": 1} x'):
        file.write_text(text)
        with pytest.raises(ValueError):
            read_json(file)
    file.write_bytes(b'"\xff"')
    with pytest.raises(ValueError):
        read_json(file)
    file.write_text(json.dumps("x" * 100))
    with pytest.raises(ValueError, match="larger than 50 bytes"):
        read_json(file, limit=50)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "none.json")


def test_canonical_json_depends_on_content_alone():
    assert canonical_json({"b": 1, "a": [1.5, "都"]}) == canonical_json({"a": [1.5, "都"], "b": 1})
    assert canonical_json({"a": 1}) == b'{"a":1}'
    data = {"text": "横浜", "n": [0.1, 1e-300, -0.0, 2**53], "none": None}
    assert json.loads(dump_json(data)) == json.loads(canonical_json(data)) == data


def test_reading_asks_for_memory_by_size_and_stops_at_the_limit(tmp_path):
    """256 MiB may be read, 5 bytes are there: no buffer of 256 MiB is asked for."""
    path = tmp_path / "small.json"
    path.write_bytes(b"[1,2]")
    tracemalloc.start()
    assert read_json(path) == [1, 2]
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    assert read_json(path, limit=5) == [1, 2]
    with pytest.raises(ValueError, match="larger than 4"):
        read_json(path, limit=4)


def test_what_is_no_file_is_counted_all_the_same(tmp_path):
    """A pipe has no size: 3,000,000 bytes come through it, and no more than the limit and one are taken."""
    for limit, expected in ((4_000_000, 3_000_000), (2_000_000, 2_000_001)):
        reader, writer = os.pipe()
        thread = threading.Thread(target=_pour, args=(writer, 3_000_000))
        thread.start()
        with open(reader, "rb") as handle:
            assert len(read_counted(handle, limit)) == expected
        thread.join()


def _pour(descriptor, size):
    with contextlib.suppress(BrokenPipeError), open(descriptor, "wb", buffering=0) as handle:
        for _ in range(size // 10_000):
            handle.write(bytes(10_000))


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"x")
    with open_regular(tmp_path / "file") as handle:
        assert handle.read() == b"x"
    for name in (tmp_path / "pipe", "/dev/zero", tmp_path):
        with pytest.raises(OSError, match="regular"):
            open_regular(name)


def test_parts_are_one_file(tmp_path):
    write_bytes(tmp_path / "a", b"head", memoryview(b"body"), sync=False)
    assert (tmp_path / "a").read_bytes() == b"headbody"
