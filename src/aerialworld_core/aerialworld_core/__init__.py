"""Shared words of AerialWorld: frames, grid, rig, labels, topics, sessions, worlds."""

__version__ = "0.1.0"
