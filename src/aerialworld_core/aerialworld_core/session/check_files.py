"""Are all files there, whole, and as they were written?"""

from __future__ import annotations

from aerialworld_core.errors import SessionError
from aerialworld_core.files import is_temporary
from aerialworld_core.session import layout
from aerialworld_core.session.extra_files import image_sizes
from aerialworld_core.session.lease import is_held
from aerialworld_core.session.reader import Session
from aerialworld_core.session.report import ValidationReport


def check_files(session: Session, report: ValidationReport) -> list[int]:
    """Hashes, gaps, promised against present, leftovers. Returns the frames whose files can be trusted."""
    _check_mission(session, report)
    _check_count(session, report)
    _check_leftovers(session, report)
    if not session.verifiable:
        report.warn(f"no {layout.SESSION_FILE}: older data, read with defaults; its files cannot be verified")
        return list(session.frame_indices)
    damage, sound, size = [], [], 0
    for index in session.frame_indices:
        found = session.damage(index)
        damage += found
        if not found:
            sound.append(index)
            size += sum(r.size for r in session.manifest(index).values())
    report.errors_of(damage, "damaged files")
    report.figures["frames_damaged"] = len(session.frame_indices) - len(sound)
    report.figures["bytes_per_frame"] = round(size / len(sound)) if sound else None
    return sound


def _check_mission(session: Session, report: ValidationReport) -> None:
    for name in ("mission", "provenance"):
        try:
            getattr(session, name)
        except SessionError as error:
            report.error(str(error))


def _check_count(session: Session, report: ValidationReport) -> None:
    frames, promised = session.frame_indices, session.meta.frames
    report.figures["frames"] = len(frames)
    if not frames:
        report.error("no complete frame")
        return
    if promised is not None and promised != len(frames):
        report.error(f"{promised} frames were written, {len(frames)} are there")
    if promised is None and session.verifiable:
        holder = is_held(session.path)
        report.warn(f"is being written by {holder}" if holder else "was never closed: its writer stopped early")
    first = 1 if frames[0] == 1 and not session.verifiable else 0
    missing = [i for i in range(first, frames[-1]) if i not in set(frames)]
    report.figures["frames_missing"] = len(missing)
    if missing:
        listed = ", ".join(str(i) for i in missing[:10]) + (" …" if len(missing) > 10 else "")
        report.warn(f"{len(missing)} ticks were dropped: {listed}")


def _check_leftovers(session: Session, report: ValidationReport) -> None:
    complete = set(session.frame_indices)
    temporary, uncommitted, unlisted = 0, set(), []
    for folder in (p for p in session.path.iterdir() if p.is_dir()):
        for file in folder.iterdir():
            index = layout.frame_index(file)
            if is_temporary(file):
                temporary += 1
            elif index is not None and index not in complete:
                uncommitted.add(index)
    if session.verifiable:
        for index in session.frame_indices:
            try:
                listed = set(session.manifest(index))
            except SessionError:
                continue  # reported with the damage
            for name in _names(session, index):
                if name not in listed:
                    unlisted.append(f"{session.path / name}: is not among the files written for frame {index}")
    report.errors_of(unlisted, "files that do not belong")
    if temporary:
        report.warn(f"{temporary} temporary files of a writer that was stopped; resuming deletes them")
    if uncommitted:
        report.warn(f"{len(uncommitted)} frames were begun and not finished; they do not count")


def _names(session: Session, index: int) -> list[str]:
    """The files of a frame that would be read, where they exist."""
    names = [layout.pose_file(index), layout.lidar_file(index), layout.imu_file(index)]
    names += [layout.actors_file(index), layout.boxes_file(index)]
    names += [layout.image_file(index, camera) for camera in session.cameras]
    images = image_sizes(session.meta.rig, session.meta.faces_only)
    names += [layout.extra_file(kind, index, name) for kind in layout.EXTRA for name in images]
    return [n for n in names if (session.path / n).exists()]
