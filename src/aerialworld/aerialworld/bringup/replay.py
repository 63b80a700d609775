"""The processes of `replay.launch.py`: a bag that is played, and the recorder that makes sessions of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aerialworld.bringup.process import Process, Run
from aerialworld_core.errors import InputError

#: Name → default and description.
ARGUMENTS: dict[str, tuple[str, str]] = {
    "bag": ("", "Bag to play: a rosbag2 folder or an MCAP file. Required."),
    "world": ("", "World folder with world.sdf, or an SDF file: place, terrain, datum, credit. Required."),
    "vehicles": ("drone_1", "Vehicles to record, with commas: the first parts of their topics."),
    "rig": ("", "Sensor rig of all vehicles: a shipped one's name or an SDF file; without: rig_drone, rig_rover."),
    "data_root": ("data", "Folder in which the sessions' folders are made."),
    "frame_rate": ("2.0", "Frames per second of the bag that are recorded (Hz)."),
    "image_transport": ("compressed", "Camera topics: compressed (JPEGs, stored as they come) or raw (encoded here)."),
    "rate": ("1.0", "How much faster than recorded the bag is played."),
    "delay": ("5.0", "Seconds until it begins, for the recorder to be there."),
}


def replay(given: Mapping[str, str], ros2: str = "ros2") -> Run:
    """Bag and recorder; the run is over when the bag is, and what is queued is still written. `aerialworld session
    import` does the same without ROS, and as fast as it can. Raises InputError, naming the argument."""
    text = {name: given.get(name, default) for name, (default, _) in ARGUMENTS.items()}
    paths = {}
    for name in ("bag", "world"):
        if not text[name]:
            raise InputError(f"{name}:= is needed: {ARGUMENTS[name][1]}")
        paths[name] = Path(text[name]).expanduser().absolute()
        if not paths[name].exists():
            raise InputError(f"{name}:={text[name]}: there is no such file or folder")
    vehicles = [name.strip() for name in text["vehicles"].split(",") if name.strip()]
    if not vehicles:
        raise InputError("vehicles:= names none; e.g. vehicles:=drone_1,rover_1")
    numbers = {}
    for name, low in (("frame_rate", 0.01), ("rate", 0.01), ("delay", 0.0)):
        try:
            numbers[name] = float(text[name])
        except ValueError as error:
            raise InputError(f"{name}:={text[name]}: must be a number") from error
        if not low <= numbers[name] <= 1000:
            raise InputError(f"{name}:={text[name]}: must be between {low:g} and 1000")
    parameters: dict[str, Any] = {
        "world": str(paths["world"]),
        "vehicles": vehicles,
        "data_root": str(Path(text["data_root"]).expanduser().absolute()),
        "frame_rate": numbers["frame_rate"],
        "image_transport": text["image_transport"],
    }
    if text["rig"]:
        parameters["rig"] = text["rig"]
    command = (
        ros2, "bag", "play", str(paths["bag"]), "--clock", "100",
        "--rate", f"{numbers['rate']:g}", "--delay", f"{numbers['delay']:g}",
    )  # fmt: skip
    return Run(
        (
            Process("recorder", "required", "aerialworld_recorder", "recorder", parameters, patience=120.0),
            Process("bag", "mission", command=command),
        )
    )
