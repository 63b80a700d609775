"""Killed, interrupted, run twice at once, out of disk: afterwards stands the old world or the new one, never half."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

from aerialworld_city.synthetic.generate import generate_city

sys.path.insert(0, str(Path(__file__).parent))
import accept_city_child as child


def contents(folder):
    """Relative path → digest of every file of a world; what it keeps for the next run is its own business."""
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and ".tiles" not in p.relative_to(folder).parts
    }


@pytest.fixture(scope="module")
def server():
    served = child.Child()
    yield served
    served.close()


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    return generate_city(tmp_path_factory.mktemp("city") / "source", 3)


@pytest.fixture(scope="module")
def reference(city, server, tmp_path_factory):
    """What an undisturbed conversion makes, and how long it takes."""
    out = tmp_path_factory.mktemp("reference") / "world"
    begin = time.monotonic()
    result = server.convert(city, out, keep_tiles=True)
    assert result["outcome"] == "world", result
    return contents(out), time.monotonic() - begin


def kill_and_rerun(server, city, reference, tmp_path, random, stop, old):
    expected, seconds = reference
    out = tmp_path / "world"
    if old:
        assert server.convert(city, out, keep_tiles=True, chunk=400.0)["outcome"] == "world"
    before = contents(out) if old else {}
    result = server.convert(city, out, keep_tiles=True, wall_s=random.uniform(0.02, 1.0) * seconds, stop=stop)
    assert result["outcome"] in ("hung", "world") or result["class"] == "KeyboardInterrupt", result
    # Before anything is repaired: the old world, the new one, or (without an old one) nothing under its name.
    standing = contents(out) if out.exists() else {}
    assert standing in (before, expected), sorted(set(standing) ^ set(expected))
    again = server.convert(city, out, keep_tiles=True)
    assert again["outcome"] == "world", again
    assert contents(out) == expected
    left = {p.name for p in tmp_path.iterdir()} - {"world"}
    assert not [n for n in left if "tmp" in n or "old" in n], left
    shutil.rmtree(out)


@pytest.mark.parametrize(("stop", "old"), [("SIGKILL", False), ("SIGKILL", True), ("SIGINT", False), ("SIGINT", True)])
def test_after_a_kill_the_next_run_makes_the_same_bytes(server, city, reference, tmp_path, stop, old):
    random = Random(f"{stop}{old}")  # noqa: S311 - instants, no secrets
    for _ in range(2 if stop == "SIGKILL" else 1):
        kill_and_rerun(server, city, reference, tmp_path, random, stop, old)


@pytest.mark.long
@pytest.mark.parametrize("part", range(4))
def test_fifty_kills(server, city, reference, tmp_path, part):
    random = Random(part)  # noqa: S311 - instants, no secrets
    for i in range(13):
        kill_and_rerun(server, city, reference, tmp_path, random, "SIGINT" if i % 4 == 3 else "SIGKILL", i % 2 == 1)


@pytest.mark.soak
@pytest.mark.parametrize("part", range(10))
def test_a_thousand_kills(server, city, reference, tmp_path, part):
    random = Random(100 + part)  # noqa: S311 - instants, no secrets
    for i in range(100):
        kill_and_rerun(server, city, reference, tmp_path, random, "SIGINT" if i % 4 == 3 else "SIGKILL", i % 2 == 1)


def spawn(city, out, options="{}"):
    return subprocess.Popen(
        [sys.executable, child.__file__, str(city), str(out), options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def started(out, process):
    """Waits until the conversion has its place beside `out` for itself: what it makes there first after locking it."""
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        if (out.parent / f".{out.name}.partial" / "world").exists() or out.exists():
            return True
        time.sleep(0.005)
    return False


def alive(group):
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == group and fields[0] != "Z":
                found.append(int(entry.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc here")
def test_workers_end_with_a_killed_conversion(city, tmp_path):
    """Killed outright, a conversion leaves no worker process behind."""
    process = spawn(city, tmp_path / "world", '{"workers": 2, "keep_tiles": true}')
    assert started(tmp_path / "world", process), process.stdout.read()
    time.sleep(0.3)
    process.kill()
    process.wait()
    until = time.monotonic() + 10
    while alive(process.pid) and time.monotonic() < until:
        time.sleep(0.1)
    remaining = alive(process.pid)
    for pid in remaining:
        os.kill(pid, signal.SIGKILL)
    assert remaining == []


def test_two_conversions_into_one_folder_do_not_mix(server, city, reference, tmp_path):
    """The second is refused while the first runs; the first ends as if nothing had happened."""
    out = tmp_path / "world"
    process = spawn(city, out, '{"keep_tiles": true}')
    assert started(out, process), process.stdout.read()
    os.kill(process.pid, signal.SIGSTOP)
    try:
        if out.exists() and (out / "city.json").exists():
            pytest.skip("the first conversion was finished before it could be stopped")
        second = server.convert(city, out, keep_tiles=True)
    finally:
        os.kill(process.pid, signal.SIGCONT)
    text = process.communicate(timeout=120)[0]
    assert second["outcome"] == "error" and "world" in second["message"], second
    assert process.returncode == 0, text
    assert contents(out) == reference[0]


FULL = """
import hashlib, json, sys
sys.path.insert(0, {tests!r})
import accept_city_child as child
from test_city_accept_crash import contents
from pathlib import Path
out = Path({disk!r}) / "world"
first = child.run({{"source": [{small!r}], "out": str(out), "options": {{}}}})
before = contents(out)
second = child.run({{"source": [{large!r}], "out": str(out), "options": {{"keep_tiles": True}}}})
left = sorted(p.name for p in Path({disk!r}).iterdir())
print(json.dumps([first["outcome"], second, contents(out) == before, left], default=str))
"""


@pytest.mark.parametrize("size", ["700k", pytest.param("1400k", marks=pytest.mark.long)])
def test_a_full_disk_is_told_and_the_old_world_stays(city, tmp_path, size):
    """A real full disk: a tmpfs in a mount namespace of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    small = tmp_path / "small_bldg_6697_op.gml"
    small.write_text(child.WARM)
    script = FULL.format(tests=str(Path(__file__).parent), disk=str(disk), small=str(small), large=str(city))
    inside = 'mount -t tmpfs -o size="$1" tmpfs "$2" || exit 77; exec "$3" -c "$4"'
    command = ["unshare", "-m", "sh", "-c", inside, "sh", size, str(disk), sys.executable, script]
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode in (1, 77) and "import" not in done.stderr and "Traceback" not in done.stderr:
        pytest.skip(f"no mount namespace here: {done.stderr.strip()}")
    import json

    first, second, intact, left = json.loads(done.stdout.strip().splitlines()[-1])
    assert first == "world" and intact
    assert second["outcome"] == "error" and second["exit_code"] == 28, second
    assert "space" in second["message"] and not [n for n in left if "tmp" in n], left
