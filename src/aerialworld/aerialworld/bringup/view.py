"""The process of `view.launch.py`: rviz2 with the shipped configuration, turned to one vehicle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from aerialworld.bringup.process import Process, Run
from aerialworld_core.errors import InputError
from aerialworld_core.resources import share

#: Name → default and description.
ARGUMENTS: dict[str, tuple[str, str]] = {
    "vehicle": ("drone_1", "Vehicle to look at: the first part of its topics."),
    "config": ("", "rviz configuration of your own; without: the shipped one, of `vehicle`."),
}
#: The vehicle that the shipped configuration is written for.
_SHIPPED_FOR = "drone_1"


def view(given: Mapping[str, str], folder: Path) -> Run:
    """rviz2 on simulated time; `folder` receives the configuration. Raises InputError for a vehicle that is no name."""
    vehicle, config = (given.get(name, default) for name, (default, _) in ARGUMENTS.items())
    files = {}
    if config:
        path = Path(config).expanduser().absolute()
        if not path.is_file():
            raise InputError(f"config:={config}: there is no such file")
    else:
        if not vehicle.replace("_", "").isalnum():
            raise InputError(f"vehicle:={vehicle}: must be a vehicle's name, e.g. drone_1")
        path = folder / f"{vehicle}.rviz"
        text = (share("aerialworld_bringup") / "config/view.rviz").read_text(encoding="utf-8")
        files[path] = text.replace(_SHIPPED_FOR, vehicle)
    node = Process(
        "rviz2", "required", "rviz2", "rviz2", {"use_sim_time": True}, arguments=("-d", str(path)), patience=5.0
    )
    return Run((node,), files)
