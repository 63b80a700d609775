"""From what sensors saw to a session: occupancy projected from depth, and the recorder that writes it."""

from aerialworld_recorder.errors import RecordingError
from aerialworld_recorder.occupancy import OccupancyProjector, ProjectionStats
from aerialworld_recorder.recorder import FrameStats, Recorder

__all__ = ["FrameStats", "OccupancyProjector", "ProjectionStats", "Recorder", "RecordingError"]

__version__ = "0.1.0"
