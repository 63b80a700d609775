"""Compiled kernels on disk: used again, never when a source has changed, and replaced instead of piled up."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

LOOPS = """
from aerialworld_core.kernels import kernel
from city.constants import FACTOR
from city.words import twice

@kernel
def scaled(x):
    return twice(x) * FACTOR
"""
WORDS = """
from aerialworld_core.kernels import intrinsic, types

@intrinsic
def twice(context, x):
    def generate(context, builder, signature, arguments):
        return builder.fmul(arguments[0], arguments[0].type(2.0))

    return types.float64(types.float64), generate
"""
ASK = """
import sys
from city.loops import scaled
print(scaled(1.0), 'aerialworld_core.kernels.functions' in sys.modules)
"""


@pytest.fixture
def ask(tmp_path):
    """Runs ASK in a process of its own: what the kernel returns, and whether it was compiled."""
    (tmp_path / "city").mkdir()
    for name, text in (("__init__", ""), ("constants", "FACTOR = 3.0\n"), ("loops", LOOPS), ("words", WORDS)):
        (tmp_path / "city" / f"{name}.py").write_text(text)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def run(**more):
        command = [sys.executable, "-B", "-c", ASK]
        done = subprocess.run(command, env={**environment, **more}, capture_output=True, text=True, check=True)
        value, compiled = done.stdout.split()
        return float(value), compiled == "True"

    return run


def kept(tmp_path):
    return sorted((tmp_path / "cache" / "aerialworld").iterdir())


def test_a_second_start_does_not_compile(ask, tmp_path):
    assert ask() == (6.0, True)
    assert ask() == (6.0, False)
    (file,) = kept(tmp_path)
    assert file.name.startswith("city.loops.scaled-")


@pytest.mark.parametrize(
    ("name", "before", "after", "expected"),
    [
        ("constants", "3.0", "5.0", 10.0),  # a number of another file
        ("words", "2.0", "4.0", 12.0),  # an instruction of another file
        ("loops", "* FACTOR", "+ FACTOR", 5.0),
    ],
)
def test_no_edit_of_the_package_leaves_stale_code(ask, tmp_path, name, before, after, expected):
    assert ask() == (6.0, True)
    file = tmp_path / "city" / f"{name}.py"
    stamp = file.stat()
    file.write_text(file.read_text().replace(before, after))
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # even where its date and size stay
    assert ask() == (expected, True)
    assert ask() == (expected, False)
    assert len(kept(tmp_path)) == 1  # the old one is gone


@pytest.mark.parametrize("damage", [lambda b: b[:-100], lambda b: b"{}\n" + b, lambda b: b"", lambda b: b[:-1] + b"?"])
def test_a_damaged_file_is_compiled_again(ask, tmp_path, damage):
    ask()
    (file,) = kept(tmp_path)
    file.write_bytes(damage(file.read_bytes()))
    assert ask() == (6.0, True)
    assert ask() == (6.0, False)


def test_without_a_private_folder_nothing_is_kept(ask, tmp_path):
    home = tmp_path / "home"
    (home / "aerialworld" / "kernels").mkdir(parents=True)
    (home / "aerialworld" / "kernels").chmod(0o777)
    for _ in range(2):
        assert ask(NUMBA_CACHE_DIR="", XDG_CACHE_HOME=str(home)) == (6.0, True)
    assert list((home / "aerialworld" / "kernels").iterdir()) == []


def test_a_kernel_without_a_file_is_refused(ask):
    code = "from aerialworld_core.kernels import kernel\nprint(kernel(eval('lambda x: x'))(1))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "compiled from its file" in done.stderr
