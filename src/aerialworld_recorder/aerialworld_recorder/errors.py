"""The recorder's own error: a recording whose content would not be true."""

from __future__ import annotations

from aerialworld_core.errors import SessionError


class RecordingError(SessionError):
    """A recording that must not go on: what is seen does not fit the grid, or a frame could not be written."""
