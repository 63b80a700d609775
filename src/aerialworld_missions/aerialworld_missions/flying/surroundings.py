"""What flying needs of a world: where its map lies, the ground at home, and how high the way to the start must be."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from aerialworld_core.world import World, load_world
from aerialworld_missions.heightmap import HeightMap

#: Metres that the way to the start and home keeps above everything on it, and the distance of its samples.
CLEARANCE, STEP = 5.0, 1.0
#: Half the edge of the open ground that is taken for a world where none is known, metres.
OPEN = 500.0

_OPEN_GROUND = """<?xml version="1.0"?>
<sdf version="1.10"><world name="open_ground"><model name="ground">
  <plugin filename="gz-sim-label-system" name="gz::sim::systems::Label"><label>14</label></plugin>
  <static>true</static><pose>0 0 -0.5 0 0 0</pose><link name="link"><visual name="ground">
  <geometry><box><size>{size} {size} 1</size></box></geometry></visual></link></model>
</world></sdf>
"""


def ground_at(world: World, x: float, y: float) -> float:
    """Map z of the ground at a point; 0 where there is none."""
    heights = HeightMap.of(world)
    row, column, inside = heights.index(np.array([[x, y]]))
    z = float(heights.ground[row[0], column[0]]) if inside[0] else 0.0
    return z if np.isfinite(z) else 0.0


def transit_height(world: World, a: tuple[float, float], b: tuple[float, float]) -> float:
    """Map z at which a straight way from `a` to `b` passes over everything of the world."""
    steps = max(2, int(np.hypot(b[0] - a[0], b[1] - a[1]) / STEP) + 1)
    points = np.linspace(a, b, steps)
    top = HeightMap.of(world).top_within(points, CLEARANCE)
    return float(top[np.isfinite(top)].max(initial=0.0)) + CLEARANCE


def open_ground() -> World:
    """Flat ground without anything on it, 1 km square around map's origin, its place on earth unknown: what is flown
    over where no world is given."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "world.sdf"
        path.write_text(_OPEN_GROUND.format(size=2 * OPEN), encoding="utf-8")
        return load_world(path)
