"""Configurations of training runs: Python files as the guides show them, read into a typed schema.

`load_run_config` is the door; a run stores `RunConfig.to_yaml()`, and evaluation reads that with `read_resolved`.
"""

from aerialworld_training.runconfig.load import load_run_config, load_stages, read_resolved, run_config_names
from aerialworld_training.runconfig.schema import RunConfig
from aerialworld_training.runconfig.typed import write_overrides

__all__ = ["RunConfig", "load_run_config", "load_stages", "read_resolved", "run_config_names", "write_overrides"]
