"""Missions as collision-free trajectories: surveys, orbits, eights, corridors, exploration, waypoints, rovers' runs."""

from aerialworld_missions.corridor import corridor
from aerialworld_missions.demo import plan_demo
from aerialworld_missions.explore import explore
from aerialworld_missions.figure8 import figure8
from aerialworld_missions.orbit import orbit
from aerialworld_missions.patrol import patrol
from aerialworld_missions.picture import draw
from aerialworld_missions.road import road_run
from aerialworld_missions.roads import roads
from aerialworld_missions.survey import survey
from aerialworld_missions.waypoints import Stop, waypoints

__all__ = [
    "Stop", "corridor", "draw", "explore", "figure8", "orbit", "patrol", "plan_demo", "road_run", "roads",
    "survey", "waypoints",
]  # fmt: skip
__version__ = "0.1.0"
