"""How fast city models are converted: CPU seconds per conversion and per 1,000 buildings, peak memory.

    python benchmarks/city.py [--source PATH] [--runs 5] [--json FILE]

Without `--source`: PLATEAU set 06 (915 buildings with terrain, OBJ) below AERIALWORLD_SHARED where it is, and always
the city that the project generates (CityGML with terrain and roads). Each run is a process of its own; its CPU seconds
hold the start of Python, all imports and flushing to disk; medians of the runs. Wall times suffer from whatever else
the machine does: compare CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from aerialworld.provenance import machine, versions

_CHILD = """
import json, resource, sys, time
from pathlib import Path
from aerialworld_city.convert import convert
imported = time.process_time()
report = convert(Path(sys.argv[1]), Path(sys.argv[2]))
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"cpu_s": time.process_time(), "import_cpu_s": imported, "wall_s": report.seconds,
                  "peak_mib": usage.ru_maxrss / 1024, "written": report.written}))
"""


def run(source: Path, out: Path) -> dict[str, Any]:
    """One conversion in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(source), str(out)], check=True, capture_output=True, text=True
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def measure(source: Path, runs: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        results = [run(source, Path(folder) / "world") for _ in range(runs)]
    written = results[0]["written"]
    files = [source] if source.is_file() else [p for p in source.rglob("*") if p.suffix in (".gml", ".obj")]
    size = sum(p.stat().st_size for p in files) / 1e6

    def median(key: str) -> float:
        return float(statistics.median(r[key] for r in results))

    return {
        "source": source.name,
        "megabytes": round(size, 2),
        "buildings": written["buildings"],
        "triangles": sum(v for k, v in written.items() if k.endswith("triangles")),
        "cpu_s": round(median("cpu_s"), 3),
        "cpu_s_without_imports": round(median("cpu_s") - median("import_cpu_s"), 3),
        "cpu_s_per_1000_buildings": round(1000 * (median("cpu_s") - median("import_cpu_s")) / written["buildings"], 3),
        "megabytes_per_cpu_s": round(size / (median("cpu_s") - median("import_cpu_s")), 2),
        "wall_s": round(median("wall_s"), 3),
        "peak_mib": round(median("peak_mib"), 1),
        "runs": runs,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, help="a city model; set 06 and the generated city if absent")
    parser.add_argument("--runs", type=int, default=5, help="conversions per source; medians are reported")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    arguments = parser.parse_args()
    if arguments.source:
        cities = [measure(arguments.source, arguments.runs)]
    else:
        from aerialworld_city.synthetic.generate import generate_city

        shared = Path(os.environ.get("AERIALWORLD_SHARED", Path(__file__).resolve().parents[2] / "shared"))
        cities = [measure(p, arguments.runs) for p in sorted((shared / "data" / "plateau").glob("06_*"))]
        with tempfile.TemporaryDirectory() as folder:
            cities.append(measure(generate_city(Path(folder) / "generated", 0), arguments.runs))
    result = {
        "benchmark": "city",
        "command": f"python benchmarks/city.py --runs {arguments.runs}",
        "cities": cities,
        "machine": machine(),
        "versions": versions(),
    }
    text = json.dumps(result, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
