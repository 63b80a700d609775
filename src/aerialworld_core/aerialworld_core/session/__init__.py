"""Sessions: one vehicle's recorded run as a folder of files (`docs/session.md`): write, read, verify, validate."""

from aerialworld_core.session.baselines import BaselineScores
from aerialworld_core.session.frame_files import PoseRecord
from aerialworld_core.session.info import session_info
from aerialworld_core.session.meta import SessionMeta
from aerialworld_core.session.reader import Session, list_sessions
from aerialworld_core.session.report import ValidationReport
from aerialworld_core.session.validation import validate
from aerialworld_core.session.writer import SessionWriter

__all__ = [
    "BaselineScores",
    "PoseRecord",
    "Session",
    "SessionMeta",
    "SessionWriter",
    "ValidationReport",
    "list_sessions",
    "session_info",
    "validate",
]
