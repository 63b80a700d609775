"""Project PLATEAU city models to SDF worlds."""

__version__ = "0.1.0"
