"""The aerialworld command and the in-process pipeline."""

__version__ = "0.1.0"
