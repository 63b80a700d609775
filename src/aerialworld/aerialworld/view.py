"""Sessions in Rerun: cameras, LiDAR, voxels as boxes by class, actors and the path, over frames and simulated time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from aerialworld_core.boxes import Box
from aerialworld_core.errors import AerialWorldError, InputError
from aerialworld_core.files import storage_errors
from aerialworld_core.frames import Pose, grid_pose
from aerialworld_core.labels import COLOURS, FREE, NAMES
from aerialworld_core.session import Session

APPLICATION = "aerialworld"


class MissingViewerError(AerialWorldError):
    """Rerun is not installed."""


def rerun() -> Any:
    """Rerun's SDK. Raises MissingViewerError with the pip line when it is absent."""
    try:
        import rerun as found
    except ModuleNotFoundError as error:
        raise MissingViewerError(
            f"the view needs the Python module {error.name!r}, which is not installed here; install it: "
            "pip install 'aerialworld[view]'"
        ) from error
    return found


def view_sessions(
    sessions: list[Session],
    *,
    save: Path | None = None,
    frames: tuple[int | None, int | None] = (None, None),
    on_frame: Callable[[], None] = lambda: None,
) -> None:
    """Show sessions in Rerun's viewer, or write them to the file `save` (.rrd), for which no screen is needed.

    Each session stands under its folder's name; the world's axes are map's (z up). Raises MissingViewerError,
    InputError, SessionError for damage, StorageError.
    """
    rr = rerun()
    if save is not None and save.suffix != ".rrd":
        raise InputError(f"{save}: Rerun's files end in .rrd")
    stream = rr.RecordingStream(APPLICATION, recording_id="-".join(s.path.absolute().name for s in sessions))
    with stream:
        if save is None:
            stream.spawn()
        else:
            with storage_errors(save):
                save.parent.mkdir(parents=True, exist_ok=True)
                save.open("ab").close()  # what the disk says against it, Rerun says only on its log
            stream.save(str(save))
        stream.log("/", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
        legend = [(i, name, tuple(int(c) for c in COLOURS[i])) for i, name in enumerate(NAMES) if i != FREE]
        stream.log("/", rr.AnnotationContext(legend), static=True)
        for session in sessions:
            _Shown(rr, stream, session).log(frames, on_frame)
        stream.flush()
    if save is not None:
        stream.disconnect()


class _Shown:
    """One session's entities."""

    def __init__(self, rr: Any, stream: Any, session: Session) -> None:
        self.rr, self.stream, self.session = rr, stream, session
        self.root = session.path.absolute().name
        self.body = f"{self.root}/{session.meta.vehicle}"

    def log(self, frames: tuple[int | None, int | None], on_frame: Callable[[], None]) -> None:
        first, end = frames
        chosen = [i for i in self.session.frame_indices if (first is None or i >= first) and (end is None or i < end)]
        if not chosen:
            raise InputError(f"{self.session.path}: has no frame in {first or 0}:{'' if end is None else end}")
        self._log_still(chosen)
        for index in chosen:
            self._log_frame(index)
            on_frame()

    def _log_still(self, frames: list[int]) -> None:
        """What does not change: the path, and where sensors are mounted."""
        rr, meta = self.rr, self.session.meta
        path = [self.session.pose(i).pose.position for i in frames]
        self.stream.log(f"{self.root}/path", rr.LineStrips3D([np.array(path)]), static=True)
        for camera in meta.rig.cameras:
            name = f"{self.body}/{camera.name.upper()}"
            self.stream.log(name, self._placed(camera.optical_pose), static=True)
            pinhole = rr.Pinhole(
                image_from_camera=camera.intrinsics, resolution=[camera.width, camera.height], image_plane_distance=4.0
            )
            self.stream.log(name, pinhole, static=True)
        if meta.rig.lidar is not None:
            self.stream.log(f"{self.body}/lidar", self._placed(meta.rig.lidar.pose), static=True)

    def _placed(self, pose: Pose) -> Any:
        rotation = self.rr.Quaternion(xyzw=pose.orientation)
        return self.rr.Transform3D(translation=pose.position, quaternion=rotation)

    def _log_frame(self, index: int) -> None:
        rr, session = self.rr, self.session
        record, log = session.pose(index), self.stream.log
        self.stream.set_time("frame", sequence=index)
        self.stream.set_time("simulated_time", duration=np.timedelta64(record.stamp_ns, "ns"))
        log(self.body, self._placed(record.pose))
        log(f"{self.root}/speed", rr.Scalars(float(np.linalg.norm(record.linear_velocity))))
        for camera in session.cameras:
            jpeg = session.image_bytes(index, camera)
            if jpeg is not None:
                log(f"{self.body}/{camera}", rr.EncodedImage(contents=jpeg, media_type="image/jpeg"))
        for camera, boxes in (session.boxes(index) or {}).items():
            self._log_boxes(f"{self.body}/{camera}/boxes", boxes)
        lidar = session.lidar(index)
        if lidar is not None:
            log(f"{self.body}/lidar", rr.Points3D(lidar[:, :3], radii=0.05))
        self._log_voxels(index, record.pose)
        actors = session.actors(index)
        if actors:
            boxes = rr.Boxes3D(
                centers=[a["position"] for a in actors],
                half_sizes=[np.array(a["size"], float) / 2 for a in actors],
                quaternions=[rr.Quaternion(xyzw=a["orientation"]) for a in actors],
                class_ids=[int(a["class"]) for a in actors],
                labels=[str(a["id"]) for a in actors],
            )
            log(f"{self.root}/actors", boxes)
        else:
            log(f"{self.root}/actors", rr.Clear(recursive=False))

    def _log_boxes(self, name: str, boxes: list[Box]) -> None:
        """What moves in a camera's picture."""
        rr = self.rr
        if not boxes:
            self.stream.log(name, rr.Clear(recursive=False))
            return
        edges = np.array([b.rectangle for b in boxes])
        drawn = rr.Boxes2D(
            array=edges, array_format=rr.Box2DFormat.XYXY, class_ids=[b.label for b in boxes],
            labels=[str(b.id) for b in boxes],
        )  # fmt: skip
        self.stream.log(name, drawn)

    def _log_voxels(self, index: int, pose: Pose) -> None:
        """An entity for each class, so that the viewer can hide one; all are there in every frame, empty or not."""
        rr, meta, occupancy = self.rr, self.session.meta, self.session.occupancy(index)
        name = f"{self.root}/occupancy"
        self.stream.log(name, self._placed(grid_pose(pose, meta.datum)))
        half = np.array(meta.grid.voxel_size) / 2
        ijk = np.argwhere(occupancy.occupancy)
        classes = occupancy.semantics[tuple(ijk.T)]
        for number, label in enumerate(NAMES[:FREE]):
            centres = meta.grid.centers(ijk[classes == number])
            if len(centres):
                boxes = rr.Boxes3D(centers=centres, half_sizes=half[None], class_ids=[number], fill_mode="solid")
                self.stream.log(f"{name}/{label}", boxes)
            else:
                self.stream.log(f"{name}/{label}", rr.Clear(recursive=False))
