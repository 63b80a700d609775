"""One writer at a time: the second fails at once and names the first; a dead one does not block."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from aerialworld_core.errors import SessionError
from aerialworld_core.session import SessionWriter
from aerialworld_core.session.layout import LEASE_FILE
from aerialworld_core.session.lease import TIMEOUT_S, Lease, is_held

HOLD = "import sys; from aerialworld_core.session.lease import Lease; from pathlib import Path; \
lease = Lease(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"


def test_second_writer_fails_at_once_and_names_the_first(tmp_path, synthetic):
    with SessionWriter(tmp_path, synthetic.meta(), {}, {}) as writer:
        start = time.monotonic()
        with pytest.raises(SessionError, match=f"being written by process {os.getpid()} on host"):
            SessionWriter.resume(writer.path)
        assert time.monotonic() - start < 1.0
        assert (writer.path / LEASE_FILE).exists()
    assert not (writer.path / LEASE_FILE).exists() and is_held(writer.path) is None


def test_holder_in_another_process_blocks_until_it_is_killed(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout.readline() == b"held\n"
        assert is_held(tmp_path) == f"process {child.pid} on host {os.uname().nodename}"
        with pytest.raises(SessionError, match=f"process {child.pid}"):
            Lease(tmp_path)
    finally:
        child.kill()
        child.communicate()
    assert (tmp_path / LEASE_FILE).exists() and is_held(tmp_path) is None
    Lease(tmp_path).release()
    assert not (tmp_path / LEASE_FILE).exists()


def test_a_writer_on_another_host_counts_until_it_is_silent_too_long(tmp_path):
    file = tmp_path / LEASE_FILE
    file.write_text(json.dumps({"pid": 12, "host": "elsewhere"}))
    with pytest.raises(SessionError, match=r"process 12 on host elsewhere .* delete in-progress\.json"):
        Lease(tmp_path)
    assert is_held(tmp_path) == "process 12 on host elsewhere"
    assert json.loads(file.read_text())["host"] == "elsewhere"
    past = time.time() - TIMEOUT_S - 1
    os.utime(file, (past, past))
    assert is_held(tmp_path) is None
    Lease(tmp_path).release()


def test_a_leftover_without_signature_does_not_block(tmp_path):
    (tmp_path / LEASE_FILE).write_bytes(b"")
    Lease(tmp_path).release()


def test_two_writers_get_two_folders(tmp_path, synthetic):
    with (
        SessionWriter(tmp_path, synthetic.meta(), {}, {}) as one,
        SessionWriter(tmp_path, synthetic.meta(), {}, {}) as two,
    ):
        assert one.path != two.path
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted({one.path.name, two.path.name})


@pytest.mark.parametrize("rounds", [20, pytest.param(1000, marks=(pytest.mark.soak, pytest.mark.timeout(7200)))])
def test_many_processes_never_share_a_session(tmp_path, synthetic, rounds):
    with SessionWriter(tmp_path, synthetic.meta(), {}, {}) as writer:
        path = writer.path
    winners = tmp_path / "winners"
    winners.mkdir()
    children = []
    for k in range(6):
        pid = os.fork()
        if pid == 0:
            for round_ in range(rounds):
                try:
                    lease = Lease(path)
                except SessionError:
                    continue
                try:  # while held, nobody else may be inside
                    (winners / "inside").touch(exist_ok=False)
                    time.sleep(0.001)
                    (winners / "inside").unlink()
                    (winners / f"{k}_{round_}").touch()
                except OSError:
                    os._exit(3)
                lease.release()
            os._exit(0)
        children.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0] * 6
    assert len(list(winners.iterdir())) >= 6
