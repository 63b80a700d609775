"""Sessions: one vehicle's recorded run as a folder of files (`docs/session.md`): write, read, verify, validate."""

from aerialworld_core.session.frame_files import PoseRecord
from aerialworld_core.session.meta import SessionMeta
from aerialworld_core.session.reader import Session, list_sessions
from aerialworld_core.session.writer import SessionWriter

__all__ = ["PoseRecord", "Session", "SessionMeta", "SessionWriter", "list_sessions"]
