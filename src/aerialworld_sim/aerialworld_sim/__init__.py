"""The embedded engine: ray-cast cameras, depth, LiDAR and IMU from SDF worlds."""

__version__ = "0.1.0"
