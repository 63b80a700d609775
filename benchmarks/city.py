"""How fast city models are converted: CPU seconds per 1,000 buildings, megabytes of GML per second, memory, speed-up.

    python benchmarks/city.py [--source PATH] [--runs 3] [--big] [--json FILE]

`cities`: PLATEAU set 06 (915 buildings with terrain, OBJ), 01 (textured LOD2) and 07 (407 LOD1 buildings and roads)
below AERIALWORLD_SHARED where they are, and always the city that the project generates. `large`: a GML of 40 MB
(`--big`: 400 MB) that repeats the real buildings of 01 and 07, moved by half kilometres, under fresh ids; where the
sets are absent, the generated ones. `workers`: a folder of eight such tiles by one and by two processes, wall times,
medians of three; what two idle cores would make of it is the CPU time of one process over the owner's and half of the
workers' (their start included). `floor` is a bare lxml iterparse of the same files that makes a float of every
coordinate and keeps nothing.

Each run is a process of its own; its CPU seconds are its own and its workers', without the start of Python and the
imports; `peak_mib` is its largest process. Wall times suffer from whatever else the machine does: compare CPU seconds.
Pictures of the world (`--no-preview`) are left out: they cost the same for every source.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _figures import add_json_option, tell

from aerialworld_core.provenance import machine, versions

_CHILD = """
import json, os, resource, sys, time
from pathlib import Path
from aerialworld_city.convert import convert
from aerialworld_city.options import ConversionOptions
imported, begin = time.process_time(), time.monotonic()
options = ConversionOptions(preview=False, keep_tiles=False, workers=int(sys.argv[3]))
report = convert(Path(sys.argv[1]), Path(sys.argv[2]), options)
own, others = (resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
workers = others.ru_utime + others.ru_stime
print(json.dumps({"cpu_s": time.process_time() - imported + workers, "own_cpu_s": time.process_time() - imported,
                  "workers_cpu_s": workers, "import_cpu_s": imported, "wall_s": time.monotonic() - begin,
                  "peak_mib": max(own.ru_maxrss, others.ru_maxrss) / 1024, "written": report.written,
                  "skipped": len(report.skipped)}))
"""

_FLOOR = """
import resource, sys, time
from lxml import etree
begin, total = time.process_time(), 0.0
for path in sys.argv[1:]:
    with open(path, "rb") as handle:
        for _, element in etree.iterparse(handle, events=("end",), resolve_entities=False, no_network=True):
            if element.tag.endswith("}posList"):
                for word in element.text.split():
                    total += float(word)
            elif element.tag.endswith("}cityObjectMember"):
                element.clear()
                while element.getprevious() is not None:
                    del element.getparent()[0]
print(time.process_time() - begin)
"""


def run(source: Path, workers: int) -> dict[str, Any]:
    """One conversion in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", _CHILD, str(source), str(Path(folder) / "world"), str(workers)],
            capture_output=True,
            text=True,
        )
    if done.returncode:
        raise SystemExit(f"{source}: the conversion failed\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def files_of(source: Path) -> list[Path]:
    return [source] if source.is_file() else sorted(p for p in source.rglob("*") if p.suffix in (".gml", ".obj"))


def floor(source: Path, runs: int) -> float | None:
    """CPU seconds of the bare reading; None for a source without GML."""
    files = [str(p) for p in files_of(source) if p.suffix == ".gml"]
    if not files:
        return None
    command = [sys.executable, "-c", _FLOOR, *files]
    return statistics.median(
        float(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(runs)
    )


def measure(source: Path, runs: int, name: str | None = None) -> dict[str, Any]:
    results = [run(source, 1) for _ in range(runs)]
    written = results[0]["written"]
    size = sum(p.stat().st_size for p in files_of(source)) / 1e6

    def median(key: str) -> float:
        return float(statistics.median(r[key] for r in results))

    lowest = floor(source, runs)
    return {
        "source": name or source.name,
        "megabytes": round(size, 2),
        "buildings": written.get("buildings", 0),
        "triangles": sum(v for k, v in written.items() if k.endswith("triangles")),
        "cpu_s": round(median("cpu_s"), 3),
        "import_cpu_s": round(median("import_cpu_s"), 3),
        "cpu_s_per_1000_buildings": round(1000 * median("cpu_s") / max(written.get("buildings", 0), 1), 3),
        "megabytes_per_cpu_s": round(size / median("cpu_s"), 2),
        "floor_cpu_s": lowest and round(lowest, 3),
        "floor_ratio": lowest and round(median("cpu_s") / lowest, 2),
        "wall_s": round(median("wall_s"), 3),
        "peak_mib": round(median("peak_mib"), 1),
        "runs": runs,
    }


# --- sources made of real buildings -----------------------------------------------------------------------------------

_MEMBER = re.compile(r"<core:cityObjectMember>.*?</core:cityObjectMember>", re.DOTALL)
_PLACES = re.compile(r"(<gml:posList>)([^<]*)")
_IDS = re.compile(r'(gml:id="|xlink:href="#)([^"]+)')


def real_buildings(shared: Path) -> tuple[str, list[str]]:
    """A root element that declares every prefix, and the buildings of sets 07 and 01 (of the generated city where
    these are absent) in one place."""
    places = [*shared.glob("07_*/bldg/*.gml"), *shared.glob("01_*/*/udx/bldg/*.gml")]
    if len(places) < 2:
        from aerialworld_city.synthetic.generate import generate_city

        with tempfile.TemporaryDirectory() as folder:
            texts = [p.read_text(encoding="utf-8") for p in generate_city(Path(folder), 0).rglob("*_bldg_*.gml")]
    else:
        texts = [p.read_text(encoding="utf-8") for p in places]
    prefixes: dict[str, str] = {}
    for text in texts:
        for prefix, uri in re.findall(r'xmlns:(\w+)="([^"]+)"', text[:20_000]):
            prefixes.setdefault(prefix, uri)
    declared = " ".join(f'xmlns:{p}="{u}"' for p, u in prefixes.items())
    head = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<core:CityModel {declared}>\n<gml:boundedBy><gml:Envelope '
        'srsName="http://www.opengis.net/def/crs/EPSG/0/6697" srsDimension="3"/></gml:boundedBy>\n'
    )
    members = []
    for text in texts:
        found = _MEMBER.findall(text)
        latitude, longitude = (float(w) for w in _PLACES.search("".join(found))[2].split()[:2])  # type: ignore[index]
        members += [moved(m, 34.66 - latitude, 135.42 - longitude, "") for m in found]
    return head, members


def moved(member: str, latitude: float, longitude: float, mark: str) -> str:
    """The member with its places moved by degrees and its ids marked."""

    def shift(match: re.Match[str]) -> str:
        words = match[2].split()
        words[0::3] = [f"{float(w) + latitude:.13f}" for w in words[0::3]]
        words[1::3] = [f"{float(w) + longitude:.13f}" for w in words[1::3]]
        return match[1] + " ".join(words)

    return _IDS.sub(rf"\g<1>\g<2>{mark}", _PLACES.sub(shift, member))


def copies(members: list[str], start: int = 0) -> Iterator[str]:
    """The members again and again, each time half a kilometre further on in a square that grows."""
    k = start
    while True:
        side = int(k**0.5)
        x, y = (side, k - side * side) if k - side * side < side else (k - side * side - side, side)
        for member in members:
            yield moved(member, 0.0045 * y, 0.0055 * x, f"_{k}")
        k += 1


def write_gml(path: Path, megabytes: float, head: str, members: list[str], start: int = 0) -> Path:
    """A GML file of about that size."""
    with open(path, "w", encoding="utf-8") as handle:
        handle.write(head)
        for member in copies(members, start):
            handle.write(member + "\n")
            if handle.tell() > megabytes * 1e6:
                break
        handle.write("</core:CityModel>\n")
    return path


def eight_tiles(folder: Path, head: str, members: list[str], megabytes: float) -> Path:
    """`udx/bldg` with eight GML files side by side."""
    (folder / "udx" / "bldg").mkdir(parents=True)
    for i in range(8):
        path = folder / "udx" / "bldg" / f"5135739{i}_bldg_6697_op.gml"
        write_gml(path, megabytes, head, members, start=3 * i)
    return folder


def speed_up(folder: Path, head: str, members: list[str], megabytes: float) -> dict[str, Any]:
    """Wall times of one and of two processes, in turn, so that both meet the same machine."""
    source = eight_tiles(folder / "tiles", head, members, megabytes)
    runs: dict[int, list[dict[str, Any]]] = {1: [], 2: []}
    for _ in range(3):
        for workers in runs:
            runs[workers].append(run(source, workers))

    def median(workers: int, key: str) -> float:
        return float(statistics.median(r[key] for r in runs[workers]))

    return {
        "tiles": 8,
        "megabytes": round(sum(p.stat().st_size for p in files_of(source)) / 1e6, 1),
        "wall_s_one": round(median(1, "wall_s"), 3),
        "wall_s_two": round(median(2, "wall_s"), 3),
        "ratio": round(median(1, "wall_s") / median(2, "wall_s"), 3),
        "cpu_s_one": round(median(1, "cpu_s"), 3),
        "cpu_s_owner_of_two": round(median(2, "own_cpu_s"), 3),
        "cpu_s_two_workers": round(median(2, "workers_cpu_s"), 3),
        "ratio_on_two_idle_cores": round(
            median(1, "cpu_s") / (median(2, "own_cpu_s") + median(2, "workers_cpu_s") / 2), 3
        ),
        "runs": 3,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, help="only this city model")
    parser.add_argument("--runs", type=int, default=3, help="conversions per source; medians are reported")
    parser.add_argument("--big", action="store_true", help="the large GML has 400 MB (one run)")
    add_json_option(parser)
    arguments = parser.parse_args()
    result: dict[str, Any] = {"benchmark": "city", "command": "python benchmarks/city.py " + " ".join(sys.argv[1:])}
    if arguments.source:
        result["cities"] = [measure(arguments.source, arguments.runs)]
    else:
        from aerialworld_city.synthetic.generate import generate_city

        plateau = Path(os.environ.get("AERIALWORLD_SHARED", Path(__file__).resolve().parents[2] / "shared"))
        plateau = plateau / "data" / "plateau"
        sets = [p for n in ("06", "01", "07") for p in sorted(plateau.glob(f"{n}_*"))]
        result["cities"] = [measure(p, arguments.runs) for p in sets]
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            result["cities"].append(measure(generate_city(folder / "generated", 0), arguments.runs))
            head, members = real_buildings(plateau)
            size = 400.0 if arguments.big else 40.0
            large = write_gml(folder / "51357393_bldg_6697_op.gml", size, head, members)
            result["large"] = measure(large, 1 if arguments.big else arguments.runs, f"{size:.0f} MB of real buildings")
            large.unlink()
            result["workers"] = speed_up(folder, head, members, 16.0)
    result |= {"machine": machine(), "versions": versions()}
    tell(result, arguments.json)


if __name__ == "__main__":
    main()
