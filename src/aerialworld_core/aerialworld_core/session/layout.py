"""Names and places of a session's files, format version 1 (`docs/session.md`)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from aerialworld_core.errors import SessionError

SCHEMA_VERSION = 1
SESSION_FILE = "session.json"
MISSION_FILE = "mission.json"
PROVENANCE_FILE = "provenance.json"
LEASE_FILE = "in-progress.json"

IMAGES, LIDAR, POSES, IMU, OCCUPANCY, ACTORS, HASHES = (
    "images",
    "lidar",
    "poses",
    "imu",
    "occupancy",
    "actors",
    "hashes",
)
FOLDERS = (IMAGES, LIDAR, POSES, IMU, OCCUPANCY, ACTORS, HASHES)
#: Kept only on request (`kept` in session.json): images of cameras and faces, and the cameras' boxes.
EXTRA = ("depth", "semantic", "instance")
BOXES = "boxes"
KEPT = (*EXTRA, BOXES)

#: Simulated start of what does not say when it was.
START_TIME = "2024-01-15T12:00:00Z"

AGENT_TYPES = ("drone", "rover")
NAME = re.compile(r"^(?P<agent>drone|rover)_(?P<date>\d{8})_(?P<time>\d{6})(_(?P<number>\d{2,}))?$")
FRAME_FILE = re.compile(r"^(?P<index>\d{6,9})(?=[_.])")
CAMERA = re.compile(r"^[A-Z][A-Z0-9_]{0,63}$")
#: What an extra image is of: a camera (upper case) or a face of the depth rig.
IMAGE_NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_]{0,63}$")


def image_file(index: int, camera: str) -> str:
    return f"{IMAGES}/{index:06d}_{camera}.jpg"


def lidar_file(index: int) -> str:
    return f"{LIDAR}/{index:06d}_LIDAR.npy"


def pose_file(index: int) -> str:
    return f"{POSES}/{index:06d}.json"


def imu_file(index: int) -> str:
    return f"{IMU}/{index:06d}_IMU.npy"


def occupancy_file(index: int) -> str:
    return f"{OCCUPANCY}/{index:06d}_occupancy.npz"


def extra_file(kind: str, index: int, name: str) -> str:
    """`kind` is one of EXTRA; `name` a camera in upper case or a face."""
    return f"{kind}/{index:06d}_{name}.png"


def actors_file(index: int) -> str:
    return f"{ACTORS}/{index:06d}.json"


def boxes_file(index: int) -> str:
    return f"{BOXES}/{index:06d}.json"


def hash_file(index: int) -> str:
    return f"{HASHES}/{index:06d}.json"


def session_name(agent_type: str, start_time: str, number: int = 0) -> str:
    """`drone_20240115_120000`, and `…_01` and so on for further ones of the same second."""
    name = f"{agent_type}_{parse_time(start_time):%Y%m%d_%H%M%S}"
    return f"{name}_{number:02d}" if number else name


def format_time(instant: datetime) -> str:
    """A UTC instant as session.json has it, in whole seconds."""
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> datetime:
    """An ISO 8601 instant as UTC; without an offset it is taken as UTC. Raises SessionError."""
    try:
        instant = datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise SessionError(f"start_time {text!r} is no ISO 8601 time such as 2024-01-15T12:00:00Z") from error
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC)


def frame_index(path: Path) -> int | None:
    """The frame number that a file's name begins with."""
    match = FRAME_FILE.match(path.name)
    return int(match["index"]) if match else None


def complete_frames(session: Path) -> list[int]:
    """Numbers of the committed frames, increasing: those whose occupancy file has its final name."""
    folder = session / OCCUPANCY
    if not folder.is_dir():
        return []
    indices = [i for p in folder.iterdir() if (i := frame_index(p)) is not None and p.name.endswith("_occupancy.npz")]
    return sorted(indices)


@dataclass(frozen=True)
class FileRecord:
    """Size in bytes and hexadecimal sha256 of one file of a frame."""

    size: int
    sha256: str
