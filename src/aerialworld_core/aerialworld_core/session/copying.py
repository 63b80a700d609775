"""A stored frame as it was, taken from one session to another: the files' own bytes, and what they say of the pose."""

from __future__ import annotations

from dataclasses import dataclass

from aerialworld_core.errors import InputError, SessionError
from aerialworld_core.occupancy import Occupancy
from aerialworld_core.sensing import SensorFrame, VehicleState
from aerialworld_core.session import extra_files
from aerialworld_core.session.reader import Session
from aerialworld_core.session.writer import SessionWriter


@dataclass(eq=False)
class StoredFrame:
    """All that a frame's files hold: `frame` without pictures, JPEGs by camera, PNGs by kind and name."""

    frame: SensorFrame
    occupancy: Occupancy
    images: dict[str, bytes]
    extra: dict[tuple[str, str], bytes]

    def write(self, writer: SessionWriter, index: int) -> None:
        writer.write_frame(index, self.frame, self.occupancy, self.images, self.extra)


def stored_frame(session: Session, index: int, *, occupancy: Occupancy | None = None, later_ns: int = 0) -> StoredFrame:
    """A frame of a session, each file checked against its hash. `occupancy` takes the place of the stored voxels;
    `later_ns` moves its stamps, the IMU's too. Raises SessionError."""
    record = session.pose(index)
    imu = session.imu(index)
    if imu is not None and later_ns:
        imu = imu.copy()
        imu[:, 0] += later_ns * 1e-9
    state = VehicleState(record.stamp_ns + later_ns, record.pose, record.linear_velocity, record.angular_velocity)
    frame = SensorFrame(
        state,
        float("nan") if record.ground_z is None else record.ground_z,
        lidar=session.lidar(index),
        imu=imu,
        actors=session.actors(index),
        boxes=session.boxes(index) or {},
    )
    images = {c: data for c in session.cameras if (data := session.image_bytes(index, c)) is not None}
    extra = {
        (kind, name): data
        for kind in session.meta.kept_images
        for name in extra_files.image_sizes(session.meta.rig, session.meta.faces_only)
        if (data := session.extra_bytes(kind, index, name)) is not None
    }
    return StoredFrame(frame, occupancy or session.occupancy(index), images, extra)


def require_current(session: Session) -> None:
    """Raises SessionError for older data, which has no hashes and no description to carry over."""
    if not session.verifiable:
        raise SessionError(
            f"{session.path}: is older data without session.json; it can be read and validated, but not made anew"
        )


def require_frames(session: Session) -> None:
    """As `require_current`, and InputError for a session without a finished frame."""
    require_current(session)
    if not session.frame_indices:
        raise InputError(f"{session.path}: has no finished frame")
