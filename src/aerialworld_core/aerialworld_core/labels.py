"""Semantic classes: the ids of Occ3D-nuScenes, their names and the colours that pictures use."""

from __future__ import annotations

import numpy as np

NAMES = (
    "others",
    "barrier",
    "bicycle",
    "bus",
    "car",
    "construction_vehicle",
    "motorcycle",
    "pedestrian",
    "traffic_cone",
    "trailer",
    "truck",
    "driveable_surface",
    "other_flat",
    "sidewalk",
    "terrain",
    "manmade",
    "vegetation",
    "free",
)
NUM_CLASSES = len(NAMES)

OTHERS, BICYCLE, BUS, CAR, MOTORCYCLE, PEDESTRIAN, TRUCK = 0, 2, 3, 4, 6, 7, 10
DRIVEABLE_SURFACE, OTHER_FLAT, SIDEWALK, TERRAIN, MANMADE, VEGETATION, FREE = 11, 12, 13, 14, 15, 16, 17

#: Surfaces that a vehicle stands on: terrain height is asked of these.
GROUND = (DRIVEABLE_SURFACE, OTHER_FLAT, SIDEWALK, TERRAIN)
#: Classes that move by themselves.
DYNAMIC = (2, 3, 4, 5, 6, 7, 9, 10)

#: (18, 3) uint8 RGB, the palette of the nuScenes occupancy benchmarks' style, darkened where it would glare on white.
COLOURS = np.array(
    [
        (110, 110, 110),
        (205, 120, 60),
        (230, 105, 180),
        (225, 160, 0),
        (30, 120, 230),
        (0, 175, 175),
        (175, 130, 0),
        (225, 50, 50),
        (235, 215, 100),
        (120, 70, 0),
        (140, 50, 220),
        (205, 70, 200),
        (95, 160, 215),
        (110, 50, 110),
        (135, 190, 95),
        (170, 165, 155),
        (35, 130, 50),
        (255, 255, 255),
    ],
    dtype=np.uint8,
)
