"""System of gz-sim (PythonSystemLoader) that moves a world's traffic as the embedded engine does.

`simulation.launch.py traffic:=…` puts it into the world, together with a model for each member of the traffic. Where
they are is told by a process of AerialWorld's, started with the command in AERIALWORLD_TRAFFIC (words as JSON; see
`aerialworld_sim.traffic.poses`): Gazebo's Python need have none of its libraries. Poses are set every 20 ms of
simulated time, before physics, so that a sensor's frame on that grid shows exactly where everybody is at its stamp.
When that process ends, so does Gazebo, with exit code 70: rather no run than traffic that stands.
"""

import json
import os
import struct
import subprocess
import sys
from datetime import timedelta
from importlib import import_module

COMMAND = "AERIALWORLD_TRAFFIC"
#: Simulated nanoseconds from pose to pose.
PERIOD_NS = 20_000_000
#: Exit code of a Gazebo whose traffic has failed.
FAILED = 70
#: Bindings of gz-sim and gz-math that belong together: Harmonic, Ionic, Jetty and newer.
PAIRS = (("gz.sim8", "gz.math7"), ("gz.sim9", "gz.math8"), ("gz.sim", "gz.math"))
_MICROSECOND = timedelta(microseconds=1)


class Poses:
    """Asks the process for poses. Raises OSError, ValueError or struct.error when it does not answer as it should."""

    def __init__(self, command):
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.names = json.loads(self._process.stdout.readline() or b"null")
        if not isinstance(self.names, list):
            raise ValueError(f"{command[0]} ended with exit code {self._process.wait()} before it told who moves")
        self._answer = struct.Struct(f"<{7 * len(self.names)}d")

    def at(self, stamp_ns):
        """(x, y, z, qx, qy, qz, qw) of each name, at a stamp in nanoseconds."""
        self._process.stdin.write(stamp_ns.to_bytes(8, "little", signed=True))
        self._process.stdin.flush()
        values = self._answer.unpack(self._process.stdout.read(self._answer.size))
        return [values[i : i + 7] for i in range(0, len(values), 7)]

    def close(self):
        """End the process."""
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=10)


class Due:
    """Whether poses are due: at the first stamp, and whenever a multiple of PERIOD_NS has been reached."""

    def __init__(self):
        self._last = None

    def at(self, stamp_ns):
        tick = stamp_ns // PERIOD_NS
        due, self._last = tick != self._last, tick
        return due


class Traffic:
    """The system: Gazebo calls `configure` once, `pre_update` before each step of physics, `shutdown` at its end."""

    def __init__(self):
        self._sim, self._math = _bindings()
        self._due = Due()
        self._poses = self._models = self._world = None

    def configure(self, entity, sdf, ecm, event_manager):
        self._world = self._sim.World(entity)
        try:
            self._poses = Poses(json.loads(os.environ[COMMAND]))
        except (KeyError, OSError, ValueError) as error:
            _give_up(f"{COMMAND}: {error!r}")

    def pre_update(self, info, ecm):
        # pybind11 hands the simulated time over as a timedelta: whole microseconds.
        stamp_ns = round(info.sim_time / _MICROSECOND) * 1000
        if info.paused or not self._due.at(stamp_ns):
            return
        if self._models is None:
            self._models = [self._model(ecm, name) for name in self._poses.names]
        try:
            poses = self._poses.at(stamp_ns)
        except (OSError, ValueError, struct.error) as error:
            _give_up(f"its process no longer answers: {error!r}")
        make, vector, turn = self._math.Pose3d, self._math.Vector3d, self._math.Quaterniond
        for model, (x, y, z, qx, qy, qz, qw) in zip(self._models, poses, strict=True):
            model.set_world_pose_cmd(ecm, make(vector(x, y, z), turn(qw, qx, qy, qz)))

    def shutdown(self):
        if self._poses is not None:
            self._poses.close()

    def _model(self, ecm, name):
        model = self._sim.Model(self._world.model_by_name(ecm, name))
        if not model.valid(ecm):
            _give_up(f"the world has no model {name}")
        return model


def _bindings():
    """gz.sim and gz.math; the loader has imported the right gz.sim already."""
    loaded = [pair for pair in PAIRS if pair[0] in sys.modules]
    if not loaded:
        _give_up("Gazebo's Python bindings are not loaded")
    return tuple(import_module(name) for name in loaded[0])


def _give_up(reason):
    """Gazebo would go on without: it ends."""
    print(f"aerialworld_traffic: {reason}", file=sys.stderr, flush=True)
    os._exit(FAILED)


def get_system():
    """What the loader asks a module for."""
    return Traffic()
