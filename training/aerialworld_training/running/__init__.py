"""Runs of a `RunConfig`: from sessions to checkpoints.

`run.train` is the door. A run is one stage: `autoencoding` (vqvae, adapt) or `forecasting` (occworld, on `codes` that
were computed once). `loop` goes through epochs and iterations whatever the stage; `files` keeps its checkpoints.
"""

from aerialworld_training.running.run import train

__all__ = ["train"]
