"""Occupancy from depth, and the recorder that writes sessions."""

__version__ = "0.1.0"
