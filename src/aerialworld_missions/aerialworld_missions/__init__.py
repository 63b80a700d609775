"""Survey, orbit and road missions as collision-free trajectories."""

__version__ = "0.1.0"
