"""Is a session what it claims to be? Content is checked, not only shapes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from aerialworld_core.errors import SessionError
from aerialworld_core.session.check_boxes import check_boxes
from aerialworld_core.session.check_extra import check_extra
from aerialworld_core.session.check_files import check_files
from aerialworld_core.session.check_images import check_images
from aerialworld_core.session.check_motion import check_heights, check_imu, check_motion
from aerialworld_core.session.check_voxels import VoxelChecks
from aerialworld_core.session.check_world import check_world
from aerialworld_core.session.frame_files import PoseRecord
from aerialworld_core.session.reader import Session
from aerialworld_core.session.report import ValidationReport, new_report

if TYPE_CHECKING:
    from aerialworld_core.world import World


def validate(path: Path, world: World | None = None, *, truth_frames: int = 0) -> ValidationReport:
    """Check a session: files and hashes, stamps, motion, IMU, voxels, LiDAR against voxels, images, trivial baselines.

    With the `world` it was recorded in, poses are checked against solids, and `truth_frames` of the frames against the
    visible surface (recall, precision). Damage does not stop the check: sound frames are judged and the rest is
    reported. A path that is no session at all, or whose session.json cannot be trusted, gives a report with that one
    error.
    """
    path = Path(path)
    report = new_report(path)
    try:
        session = Session.open(path)
    except SessionError as error:
        report.error(str(error))
        return report
    if truth_frames and world is None:
        report.warn("recall and precision were not measured: they need the world")
    sound = check_files(session, report)
    session.verify = False  # every file of a sound frame has just been compared with its hash
    poses = _check_frames(session, sound, report)
    check_motion(session, poses, report)
    check_heights(session, poses, report)
    check_imu(session, poses, report)
    check_images(session, poses, report)
    check_extra(session, poses, report)
    check_boxes(session, poses, report)
    if world is not None:
        check_world(session, poses, world, truth_frames, report)
    return report


def _check_frames(session: Session, sound: list[int], report: ValidationReport) -> dict[int, PoseRecord]:
    """Read each sound frame once; returns the poses of those that could be read."""
    checks = VoxelChecks(session, report)
    poses: dict[int, PoseRecord] = {}
    unreadable, without_lidar = [], 0
    for index in sound:
        try:
            record, occupancy, lidar = session.pose(index), session.occupancy(index), session.lidar(index)
            session.actors(index)
        except SessionError as error:
            unreadable.append(str(error))
            continue
        poses[index] = record
        without_lidar += lidar is None
        checks.add(index, record, occupancy, lidar)
    report.errors_of(unreadable, "unreadable frames")
    if session.meta.rig.lidar is not None and 0 < without_lidar < len(poses):
        report.error(f"{without_lidar} of {len(poses)} frames lack the LiDAR that the rig has")
    checks.finish()
    return poses
