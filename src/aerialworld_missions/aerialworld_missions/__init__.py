"""Survey, orbit and road missions as collision-free trajectories."""

from aerialworld_missions.orbit import orbit
from aerialworld_missions.survey import survey

__all__ = ["orbit", "survey"]
__version__ = "0.1.0"
