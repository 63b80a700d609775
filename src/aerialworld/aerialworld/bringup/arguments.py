"""The arguments of `simulation.launch.py`: their defaults and descriptions, and what they must be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aerialworld_core.conditions import Conditions
from aerialworld_core.entries import parse_entries
from aerialworld_core.errors import InputError
from aerialworld_core.traffic import TrafficOptions

GAZEBO, EMBEDDED = ENGINES = ("gazebo", "embedded")
AUTO, ARDUPILOT, NONE = "auto", "ardupilot", "none"
AUTOPILOTS = (AUTO, ARDUPILOT, EMBEDDED, NONE)
#: Executables of aerialworld_missions, of drones and of rovers.
MISSIONS = ("survey", "orbit", "corridor", "random", "waypoints")
ROVER_MISSIONS = ("patrol",)
FLY, SWEEP = MODES = ("fly", "sweep")

#: Name → default and description, as `ros2 launch aerialworld_bringup simulation.launch.py --show-args` tells them.
ARGUMENTS: dict[str, tuple[str, str]] = {
    "world": ("", "World folder with world.sdf, or an SDF file. Required."),
    "engine": (GAZEBO, "What simulates: gazebo (Gazebo and ros_gz), or embedded (needs neither)."),
    "autopilot": (
        AUTO,
        "Who flies: ardupilot (SITL), embedded (our autopilot; engine:=embedded), none (in Gazebo: /NAME/cmd_vel). "
        "auto: ardupilot in Gazebo, embedded in the embedded engine.",
    ),
    "mode": (
        FLY,
        "fly, or sweep: visit the poses of `plan` without flying and record each (no autopilot, no ROS topics).",
    ),
    "plan": ("", "Plan file of mode:=sweep, as `aerialworld mission plan` writes it."),
    "drones": ("1", "How many drones; they are drone_1, drone_2 and so on."),
    "rovers": ("1", "How many rovers; they are rover_1, rover_2 and so on."),
    "place": ("0,0", "Where the vehicles start, x,y in map (m): on the nearest free and level ground around it."),
    "rig": ("", "Sensor rig of all vehicles: a shipped one's name or an SDF file; without: rig_drone, rig_rover."),
    "mission": ("survey", f"What drones fly: {', '.join(MISSIONS)}, or none."),
    "rover_mission": ("patrol", f"What rovers drive: {', '.join(ROVER_MISSIONS)}, or none."),
    "altitude": ("30.0", "Height of the drones' missions above the ground (m)."),
    "mission_params": ("", "ROS parameter file (YAML) with further parameters of the missions."),
    "record": ("true", "Record sessions of all vehicles: of their missions, or from the start where they have none."),
    "data_root": ("data", "Folder in which the sessions' folders are made."),
    "frame_rate": ("2.0", "Frames per simulated second that are recorded (Hz)."),
    "headless": ("true", "Without a window; else Gazebo's is opened."),
    "fast": ("false", "As fast as the machine can, instead of at most in real time; no recorded frame is dropped."),
    "seed": ("0", "Seed of the simulation; in Gazebo, of its noise."),
    "conditions": ("", "Time of day, e.g. local_time=07:30; and weather, e.g. weather=rain (embedded engine)."),
    "local_time": ("", "Time of day, e.g. 07:30: short for conditions:=local_time=07:30."),
    "traffic": ("", "What else moves, e.g. cars=100,pedestrians=20/km,seed=1; in Gazebo by its Python bindings."),
    "arducopter": ("arducopter", "ArduCopter's SITL binary: a path, or a name on PATH."),
    "ardurover": ("ardurover", "Rover's SITL binary: a path, or a name on PATH."),
    "drone_params": ("", "Further ArduPilot parameter file for the drones."),
    "rover_params": ("", "Further ArduPilot parameter file for the rovers."),
}
_YES, _NO = {"true", "1", "yes", "on"}, {"false", "0", "no", "off"}
#: More vehicles than Gazebo can hide from themselves.
_MOST = 28


@dataclass(frozen=True)
class Simulation:
    """What was asked for; distances in metres, rates in Hz, `autopilot` never auto."""

    world: Path
    engine: str = GAZEBO
    autopilot: str = ARDUPILOT
    mode: str = FLY
    plan: Path | None = None
    drones: int = 1
    rovers: int = 1
    place: tuple[float, float] = (0.0, 0.0)
    rig: str = ""
    mission: str = "survey"
    rover_mission: str = "patrol"
    altitude: float = 30.0
    mission_params: Path | None = None
    record: bool = True
    data_root: Path = Path("data")
    frame_rate: float = 2.0
    headless: bool = True
    fast: bool = False
    seed: int = 0
    conditions: str = ""
    traffic: str = ""
    arducopter: str = "arducopter"
    ardurover: str = "ardurover"
    drone_params: Path | None = None
    rover_params: Path | None = None
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        _choice("engine", self.engine, ENGINES)
        _choice("autopilot", self.autopilot, AUTOPILOTS[1:])
        _choice("mode", self.mode, MODES)
        if (self.mode == SWEEP) != (self.plan is not None):
            raise InputError("mode:=sweep and plan:=FILE go together: it visits that plan's poses")
        _choice("mission", self.mission, (*MISSIONS, NONE))
        _choice("rover_mission", self.rover_mission, (*ROVER_MISSIONS, NONE))
        if self.drones < 0 or self.rovers < 0 or not 0 < self.drones + self.rovers <= _MOST:
            raise InputError(f"drones:={self.drones} rovers:={self.rovers}: 1 to {_MOST} vehicles can be simulated")
        for name, low, high in (("frame_rate", 0.01, 10.0), ("altitude", 0.0, 10_000.0), ("seed", 0, 2**31 - 1)):
            if not low <= getattr(self, name) <= high:
                raise InputError(f"{name}:={getattr(self, name)}: must be between {low:g} and {high:g}")
        if self.engine == GAZEBO and self.autopilot == EMBEDDED:
            raise InputError(
                "autopilot:=embedded flies the embedded engine's vehicles; use engine:=embedded or autopilot:=ardupilot"
            )
        if self.engine == EMBEDDED and self.autopilot == ARDUPILOT:
            raise InputError(
                "autopilot:=ardupilot flies Gazebo's vehicles; in the embedded engine start your SITL and the node "
                "`engine` with autopilot:=sitl (docs/engine_node.md), or use autopilot:=embedded"
            )
        if self.conditions:
            Conditions.parse(self.conditions)
        if self.traffic:
            TrafficOptions.parse(self.traffic)
        names = [f"{kind}_{i + 1}" for kind, n in (("drone", self.drones), ("rover", self.rovers)) for i in range(n)]
        object.__setattr__(self, "names", tuple(names))

    def mission_of(self, name: str) -> str | None:
        """The mission of a vehicle; None where nobody could fly it or none is asked for."""
        mission = self.rover_mission if name.startswith("rover") else self.mission
        return None if mission == NONE or self.autopilot == NONE else mission

    @classmethod
    def from_arguments(cls, given: Mapping[str, str]) -> Simulation:
        """From launch arguments as text; those that are not given have their defaults. Raises InputError, naming the
        argument and what it may be."""
        unknown = sorted(set(given) - set(ARGUMENTS))
        if unknown:
            raise InputError(f"{', '.join(unknown)}: there is no such argument; --show-args tells all")
        text = {name: given.get(name, default) for name, (default, _) in ARGUMENTS.items()}
        if not text["world"]:
            raise InputError("world:=FOLDER is needed: a folder with world.sdf, or an SDF file")
        autopilot = text["autopilot"]
        if autopilot == AUTO:
            autopilot = EMBEDDED if text["engine"] == EMBEDDED else ARDUPILOT
        return cls(
            world=_file("world", text["world"]),
            engine=text["engine"],
            autopilot=autopilot,
            mode=text["mode"],
            plan=_optional("plan", text["plan"]),
            drones=_whole("drones", text["drones"]),
            rovers=_whole("rovers", text["rovers"]),
            place=_place(text["place"]),
            rig=text["rig"],
            mission=text["mission"],
            rover_mission=text["rover_mission"],
            altitude=_number("altitude", text["altitude"]),
            mission_params=_optional("mission_params", text["mission_params"]),
            record=_truth("record", text["record"]),
            data_root=Path(text["data_root"]).expanduser().absolute(),
            frame_rate=_number("frame_rate", text["frame_rate"]),
            headless=_truth("headless", text["headless"]),
            fast=_truth("fast", text["fast"]),
            seed=_whole("seed", text["seed"]),
            conditions=_conditions(text["conditions"], text["local_time"]),
            traffic=text["traffic"],
            arducopter=text["arducopter"],
            ardurover=text["ardurover"],
            drone_params=_optional("drone_params", text["drone_params"]),
            rover_params=_optional("rover_params", text["rover_params"]),
        )


def _choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{name}:={value}: must be one of {', '.join(choices)}")


def _conditions(conditions: str, local_time: str) -> str:
    if not local_time:
        return conditions
    if conditions and "local_time" in parse_entries(conditions, "conditions", "weather=rain"):
        raise InputError(f"local_time:={local_time} and conditions:={conditions} both give a time; leave one out")
    return ",".join(filter(None, (f"local_time={local_time}", conditions)))


def _truth(name: str, text: str) -> bool:
    word = text.strip().lower()
    if word not in _YES | _NO:
        raise InputError(f"{name}:={text}: must be true or false")
    return word in _YES


def _whole(name: str, text: str) -> int:
    if not re.fullmatch(r"-?\d{1,18}", text.strip()):
        raise InputError(f"{name}:={text}: must be a whole number")
    return int(text)


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"{name}:={text}: must be a number") from error


def _place(text: str) -> tuple[float, float]:
    parts = text.split(",")
    if len(parts) != 2:
        raise InputError(f"place:={text}: must be two numbers, x,y in metres")
    x, y = (_number("place", part) for part in parts)
    if not max(abs(x), abs(y)) < 1e6:
        raise InputError(f"place:={text}: is not within a million metres of the origin")
    return x, y


def _file(name: str, text: str) -> Path:
    path = Path(text).expanduser().absolute()
    if not path.exists():
        raise InputError(f"{name}:={text}: there is no such file or folder")
    return path


def _optional(name: str, text: str) -> Path | None:
    return _file(name, text) if text else None
