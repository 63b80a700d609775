"""OccWorld, equal to the original in parameters and numbers."""

from aerialworld_training.models.occworld.config import OccWorldConfig
from aerialworld_training.models.occworld.model import OccWorld, Rollout
from aerialworld_training.models.occworld.state_dict_adapter import LoadReport, load_complete, read_state_dict

__all__ = ["LoadReport", "OccWorld", "OccWorldConfig", "Rollout", "load_complete", "read_state_dict"]
