"""A GML of 400 MB made of real buildings: read as a stream, in bounded memory; every building arrives."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import accept_city_truth as truth

BENCHMARK = Path(__file__).resolve().parents[3] / "benchmarks" / "city.py"
_RUN = """
import json, resource, sys
sys.path.insert(0, sys.argv[3])
import accept_city_child as child
result = child.run({"source": [sys.argv[1]], "out": sys.argv[2], "options": {}})
result["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps(result, default=str))
"""


@pytest.fixture(scope="module")
def benchmark():
    """The benchmark's maker of large files. What the benchmarks share lies beside it."""
    if not BENCHMARK.is_file():
        pytest.skip("the benchmarks are not here (a package without its repository)")
    spec = importlib.util.spec_from_file_location("benchmark_city", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARK.parent))
        spec.loader.exec_module(module)
    return module


def peak(tmp_path, benchmark, megabytes):
    head, members = benchmark.real_buildings(truth.PLATEAU)
    path = benchmark.write_gml(tmp_path / "51357393_bldg_6697_op.gml", megabytes, head, members)
    count = sum(line.count("<bldg:Building ") for line in open(path, encoding="utf-8"))
    done = subprocess.run(
        [sys.executable, "-c", _RUN, str(path), str(tmp_path / "world"), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        timeout=1200,
    )
    result = json.loads(done.stdout)
    assert result["outcome"] == "world", result
    assert result["written"]["buildings"] == count and result["skipped"] == []
    return result["peak_mib"]


@pytest.mark.long
def test_memory_hardly_grows_with_the_file(tmp_path, benchmark):
    small, larger = tmp_path / "a", tmp_path / "b"
    small.mkdir()
    larger.mkdir()
    growth = peak(larger, benchmark, 12) - peak(small, benchmark, 4)
    assert growth < 60, f"{growth:.0f} MiB more for 8 MB"


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_four_hundred_megabytes_stay_below_a_gibibyte(tmp_path, benchmark):
    assert peak(tmp_path, benchmark, 400) < 1024
