"""Conversions in a child of their own, with limits on memory and time: a server that forks once per input.

    python accept_city_child.py            lines of JSON in (source, out, options, limits), lines of JSON out
    python accept_city_child.py SOURCE OUT one conversion, no limits (to be traced or killed)

Forking after the imports makes a case cost tens of milliseconds, and a case that dies takes nothing with it.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import resource
import select
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

import aerialworld_city

MIB = 1024 * 1024
QUICK = {"preview": False, "workers": 1, "keep_tiles": False}


class Child:
    """The server's other end. `convert` returns what happened: outcome "world", "error", "bug", "killed" or "hung"."""

    def __init__(self):
        # RLIMIT_AS counts address space: the 64 MiB that malloc sets aside for each thread would fill it with nothing.
        alone = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
        environment = {**os.environ, **alone}
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        )

    def convert(self, source, out, memory_mib=1536, cpu_s=20, wall_s=60, stop="SIGKILL", **options):
        """`stop` is the signal that is sent after `wall_s`."""
        sources = source if isinstance(source, list) else [source]
        job = {"source": [str(s) for s in sources], "out": str(out), "options": options, "stop": stop}
        job |= {"memory_mib": memory_mib, "cpu_s": cpu_s, "wall_s": wall_s}
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the server of conversions died"
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=20)


def run(job):
    """One conversion; what came of it, in words that JSON takes."""
    from aerialworld_city.convert import convert
    from aerialworld_city.options import ConversionOptions
    from aerialworld_core.errors import AerialWorldError

    sources = [Path(s) for s in job["source"]]
    try:
        options = ConversionOptions(**{**QUICK, **job["options"]})
        report = convert(sources[0] if len(sources) == 1 else sources, Path(job["out"]), options)
    except AerialWorldError as error:
        return {"outcome": "error", "class": type(error).__name__, "message": str(error), "exit_code": error.exit_code}
    except BaseException as error:
        text = "".join(traceback.format_exception(error))
        return {"outcome": "bug", "class": type(error).__name__, "message": text[-3000:]}
    return {
        "outcome": "world",
        "written": report.written,
        "skipped": [[s.file, s.id, s.reason] for s in report.skipped],
        "notes": report.notes,
        "passed_over": report.passed_over,
        "bounds": report.bounds,
    }


def limited(job, pipe):
    """In the forked child: limits, the conversion, the answer; never returns."""
    code = 1
    try:
        resource.setrlimit(resource.RLIMIT_AS, (job["memory_mib"] * MIB,) * 2)
        resource.setrlimit(resource.RLIMIT_CPU, (job["cpu_s"], job["cpu_s"] + 1))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        answer = json.dumps(run(job), default=str).encode()
        with os.fdopen(pipe, "wb") as handle:
            handle.write(answer)
        code = 0
    finally:
        os._exit(code)


WARM = """<core:CityModel xmlns:core="http://www.opengis.net/citygml/2.0" xmlns:gml="http://www.opengis.net/gml"
 xmlns:bldg="http://www.opengis.net/citygml/building/2.0"><gml:boundedBy>
<gml:Envelope srsName="http://www.opengis.net/def/crs/EPSG/0/6697"/></gml:boundedBy><core:cityObjectMember>
<bldg:Building gml:id="b"><bldg:lod1Solid><gml:Solid><gml:exterior><gml:CompositeSurface><gml:surfaceMember>
<gml:Polygon><gml:exterior><gml:LinearRing><gml:posList>35.66 139.74 3 35.6601 139.74 3 35.66 139.7401 9 35.66 139.74 3
</gml:posList></gml:LinearRing></gml:exterior></gml:Polygon></gml:surfaceMember></gml:CompositeSurface></gml:exterior>
</gml:Solid></bldg:lod1Solid></bldg:Building></core:cityObjectMember></core:CityModel>"""


def serve():
    # Imports once, not in every fork. No conversion here: it starts threads, and a fork has none of them.
    for module in pkgutil.walk_packages(aerialworld_city.__path__, "aerialworld_city."):
        if ".synthetic" not in module.name:
            importlib.import_module(module.name)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # What a library prints must not look like an answer.
    for line in sys.stdin:
        job = json.loads(line)
        reader, writer = os.pipe()
        begin = time.monotonic()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            limited(job, writer)
        os.close(writer)
        data, hung, until = b"", False, begin + job["wall_s"]
        while True:
            left = until - time.monotonic()
            if left <= 0 or not select.select([reader], [], [], left)[0]:
                if job["stop"] != "SIGKILL" and not hung:
                    hung, until = True, time.monotonic() + 20
                    os.kill(pid, signal.Signals[job["stop"]])
                    continue
                hung = True
                os.kill(pid, signal.SIGKILL)
                break
            piece = os.read(reader, 65536)
            if not piece:
                break
            data += piece
        os.close(reader)
        _, status, usage = os.wait4(pid, 0)
        if hung and not data:
            answer = {"outcome": "hung", "message": f"no answer within {job['wall_s']} s"}
        elif data:
            answer = json.loads(data)
        else:
            name = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"exit {status >> 8}"
            answer = {"outcome": "killed", "message": name}
        answer["cpu_s"] = usage.ru_utime + usage.ru_stime
        answer["peak_mib"] = usage.ru_maxrss / 1024
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        options = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}
        result = run({"source": [sys.argv[1]], "out": sys.argv[2], "options": options})
        print(json.dumps(result, default=str))
        sys.exit({"world": 0, "error": result.get("exit_code", 2)}.get(result["outcome"], 70))
    serve()
