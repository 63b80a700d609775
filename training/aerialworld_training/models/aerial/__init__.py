"""OccWorld for the air: tall grids, ego motion, and forecasts that start from the moved past."""

from aerialworld_training.models.aerial.config import UNKNOWN, AerialConfig, states
from aerialworld_training.models.aerial.model import AerialOccWorld, AerialRollout, Forecast, FutureMotion

__all__ = ["UNKNOWN", "AerialConfig", "AerialOccWorld", "AerialRollout", "Forecast", "FutureMotion", "states"]
