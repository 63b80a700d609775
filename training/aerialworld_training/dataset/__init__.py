"""Sessions as training samples: pooling, windows, motion, splits."""

from aerialworld_training.dataset.frames import PooledSession
from aerialworld_training.dataset.splits import Split, read_split
from aerialworld_training.dataset.windows import SessionWindows, Window

__all__ = ["PooledSession", "SessionWindows", "Split", "Window", "read_split"]
