"""Do the boxes that were kept agree with the actors, with the cameras, and with the pictures that were kept besides?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.boxes import Box
from aerialworld_core.errors import SessionError
from aerialworld_core.frames import Pose
from aerialworld_core.session.extra_files import INSTANCE
from aerialworld_core.session.frame_files import PoseRecord
from aerialworld_core.session.reader import Session
from aerialworld_core.session.report import ValidationReport

#: How far a box in the camera's frame may be from the actor's in map: metres, and 1 − |cosine of half the angle|.
_APART, _TURNED = 1e-4, 1e-9


def check_boxes(session: Session, poses: dict[int, PoseRecord], report: ValidationReport) -> None:
    """Every box is an actor of its frame, where that stands; one of pixels is the extent of its instance's pixels."""
    if not session.meta.keeps_boxes:
        return
    missing, seen = 0, 0
    bad: list[str] = []
    for index, record in sorted(poses.items()):
        try:
            boxes = session.boxes(index)
            actors = {str(a["id"]): a for a in session.actors(index)}
        except SessionError as error:
            bad.append(str(error))
            continue
        if boxes is None:
            missing += 1
            continue
        for camera in session.meta.rig.cameras:
            name = camera.name.upper()
            image = _instances(session, index, name)
            optical = record.pose @ camera.optical_pose
            for box in boxes[name]:
                seen += 1
                wrong = _differs(box, actors.get(str(box.id)), optical) or _other_pixels(box, image)
                if wrong:
                    bad.append(f"frame {index}: {name}: box of {box.id}: {wrong}")
    report.errors_of(bad, "boxes that are not true")
    report.figures["boxes"] = seen
    if missing:
        report.error(f"{missing} frames have no boxes, though session.json says that they are kept")


def _instances(session: Session, index: int, name: str) -> NDArray[np.uint16] | None:
    """The camera's kept instance image, where there is one that can be read; `check_extra` says where it cannot."""
    if INSTANCE not in session.meta.kept or session.meta.faces_only:
        return None
    try:
        return session.instance(index, name)
    except SessionError:
        return None


def _differs(box: Box, actor: dict[str, Any] | None, optical: Pose) -> str | None:
    """In what a box is not the actor's."""
    if actor is None:
        return "no actor of the frame"
    placed = optical @ box.pose
    there = Pose(np.array(actor["position"], float), np.array(actor["orientation"], float))
    if box.label != actor["class"] or not np.array_equal(box.size, np.array(actor["size"], float)):
        return f"class {box.label} and size {box.size.tolist()}; the actor's are {actor['class']} and {actor['size']}"
    apart = float(np.linalg.norm(placed.position - there.position))
    if apart > _APART or abs(float(placed.orientation @ there.orientation)) < 1.0 - _TURNED:
        return f"{apart:.3f} m from where the actor is, or turned otherwise"
    return None


def _other_pixels(box: Box, image: NDArray[np.uint16] | None) -> str | None:
    """In what a box is not the extent of its instance in the kept image."""
    if image is None or box.pixels is None:
        return None
    rows, columns = np.nonzero(image == box.instance)
    if len(rows) != box.pixels:
        return f"{box.pixels} pixels, and {len(rows)} of instance {box.instance}"
    found = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    return None if found == box.rectangle else f"at {box.rectangle}, and its pixels at {tuple(map(int, found))}"
