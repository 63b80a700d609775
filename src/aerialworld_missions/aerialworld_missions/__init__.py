"""Survey, orbit and road missions as collision-free trajectories."""

from aerialworld_missions.demo import plan_demo
from aerialworld_missions.orbit import orbit
from aerialworld_missions.picture import draw
from aerialworld_missions.road import road_run
from aerialworld_missions.survey import survey

__all__ = ["draw", "orbit", "plan_demo", "road_run", "survey"]
__version__ = "0.1.0"
