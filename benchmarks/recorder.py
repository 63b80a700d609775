"""What the recorder's node costs: CPU seconds per second of simulated time, of the full drone rig at 10 Hz.

    python benchmarks/recorder.py [--world DIR] [--seconds 5] [--json FILE]

The engine's node and the recorder's run in lockstep, so that nothing is lost however slow the machine is; counted is the
recorder's process alone, from its first frame on. A figure of 1.0 is a core, wholly used, at the pace of the wall clock.
`frame_rate_2` records two frames a second, the default: six 1600×900 JPEGs, six depth and class faces with occupancy
and carving, LiDAR, IMU, all files written and flushed. `frame_rate_10` records all ten. `listening` records none.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from aerialworld.provenance import machine, versions

#: Wall seconds that a run may take.
PATIENCE = 900.0


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(world: Path, seconds: float, frame_rate: float, record: bool = True) -> dict[str, Any]:
    """One run of a drone that hovers in `world`."""
    environment = {**os.environ, "ROS_DOMAIN_ID": str(random.randint(1, 101))}  # noqa: S311
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "recorder.log"
        node = [sys.executable, "-m", "aerialworld_recorder.nodes.recorder", "--ros-args"]
        options = [f"world:={world}", "lockstep:=true", f"frame_rate:={frame_rate}", f"data_root:={folder}/data"]
        options += [f"autostart:={str(record).lower()}", "lockstep_patience:=600.0"]
        engine = [sys.executable, "-m", "aerialworld_sim.nodes.engine", "--ros-args"]
        asked = [f"world:={world}", "lockstep:=[recorder]", "rate:=0.0", f"duration:={seconds}"]
        asked += ["lockstep_timeout:=600.0"]
        with log.open("w") as out:
            recorder = subprocess.Popen([*node, *flags(options)], env=environment, stdout=out, stderr=out)
            begun = "recording " + folder if record else "ROS domain"
            try:
                simulated = subprocess.Popen([*engine, *flags(asked)], env=environment, stdout=out, stderr=out)
                wait_for(log, begun, recorder)
                before = cpu_seconds(recorder.pid)
                if simulated.wait(PATIENCE) != 0:
                    raise SystemExit(log.read_text())
                time.sleep(2.0)  # the queue
                spent = cpu_seconds(recorder.pid) - before
                recorder.send_signal(signal.SIGINT)
                recorder.wait(PATIENCE)
            finally:
                recorder.kill()
        text = log.read_text()
    expected = round(seconds * frame_rate) + 1
    if record and f"{expected} frames in 1 sessions; dropped 0, too slow for 0, 0 messages not used" not in text:
        raise SystemExit(f"not every frame was recorded:\n{text}")
    return {"cores": round(spent / seconds, 3), "cpu_s": round(spent, 2), "frames": expected if record else 0}


def flags(parameters: list[str]) -> list[str]:
    return [word for parameter in parameters for word in ("-p", parameter)]


def wait_for(log: Path, text: str, process: subprocess.Popen[bytes]) -> None:
    """Until the log says something."""
    deadline = time.monotonic() + PATIENCE
    while text not in log.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(log.read_text())
        time.sleep(0.02)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).resolve().parents[1] / "worlds/small_city"
    parser.add_argument("--world", type=Path, default=default, help="a world folder (default: worlds/small_city)")
    parser.add_argument("--seconds", type=float, default=5.0, help="simulated seconds of each run")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    result: dict[str, Any] = {"machine": machine(), "versions": versions(), "world": options.world.name}
    result["simulated_s"] = options.seconds
    for name, rate, record in (("listening", 2.0, False), ("frame_rate_2", 2.0, True), ("frame_rate_10", 10.0, True)):
        result[name] = measure(options.world, options.seconds, rate, record)
        print(f"{name}: {result[name]['cores']} cores")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
