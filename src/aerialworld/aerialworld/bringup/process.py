"""A process of a run, as a launch file starts it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

#: required: the run ends with it; mission: the run is over when all of them have ended; helper: may end.
Role = Literal["required", "mission", "helper"]


def recorder_name(vehicle: str) -> str:
    """The node that records a vehicle; simulators in lockstep wait for it by this name."""
    return f"{vehicle}_recorder"


@dataclass(frozen=True)
class Process:
    """A ROS node (`package`, `executable`, `parameters`), or any `command`.

    name  unique in the run; a node's name too. environment  what is set beside the caller's. patience  seconds that it
    has to end after SIGINT, before SIGTERM.
    """

    name: str
    role: Role
    package: str = ""
    executable: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    parameter_files: tuple[Path, ...] = ()
    arguments: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    patience: float = 10.0

    def __post_init__(self) -> None:
        if bool(self.command) == bool(self.package and self.executable):
            raise ValueError(f"process {self.name}: is a node or a command")


@dataclass(frozen=True)
class Run:
    """All of a run: text files to write before it starts, by path, folders that must exist, and its processes."""

    processes: tuple[Process, ...]
    files: Mapping[Path, str] = field(default_factory=dict)
    folders: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()

    def write(self) -> None:
        """Make the folders and files."""
        for folder in (*self.folders, *(path.parent for path in self.files)):
            folder.mkdir(parents=True, exist_ok=True)
        for path, text in self.files.items():
            path.write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class Place:
    """The machine and the run: a folder of its own, the environment, the paths of programs that were found, by the name
    that they were asked for, Gazebo's version ("" where it is not known), and its Python module ("" where there is
    none)."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    programs: Mapping[str, str] = field(default_factory=dict)
    gazebo_version: str = ""
    gazebo_python: str = ""
