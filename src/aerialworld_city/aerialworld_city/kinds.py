"""The kinds of models that a city becomes: class, what the LiDAR sees of them, whether wheels touch them."""

from __future__ import annotations

from dataclasses import dataclass

from aerialworld_core import labels


@dataclass(frozen=True)
class Kind:
    """`label` is the class in Gazebo and in occupancy; `laser_retro` the LiDAR's intensity; `collides` whether the
    model has a collision; `lies` whether it is a surface that lies on the ground (laid on the terrain and written
    facing up) rather than a body; `module` the PLATEAU module that it comes from."""

    label: int
    laser_retro: float
    collides: bool
    lies: bool
    module: str


KINDS = {
    "building": Kind(labels.MANMADE, 100.0, True, False, "bldg"),
    "bridge": Kind(labels.MANMADE, 90.0, True, False, "brid"),
    "furniture": Kind(labels.MANMADE, 120.0, True, False, "frn"),
    "vegetation": Kind(labels.VEGETATION, 30.0, True, False, "veg"),
    "terrain": Kind(labels.TERRAIN, 40.0, True, True, "dem"),
    "road": Kind(labels.DRIVEABLE_SURFACE, 20.0, False, True, "tran"),
    "sidewalk": Kind(labels.SIDEWALK, 60.0, False, True, "tran"),
    "flat": Kind(labels.OTHER_FLAT, 50.0, False, True, "tran"),
    "planting": Kind(labels.VEGETATION, 30.0, False, True, "tran"),
    "water": Kind(labels.OTHER_FLAT, 5.0, False, True, "wtr"),
}
#: PLATEAU's modules that are converted.
MODULES = ("bldg", "brid", "tran", "dem", "veg", "frn", "wtr")
