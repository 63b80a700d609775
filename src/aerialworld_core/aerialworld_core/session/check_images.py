"""Are the camera images there, readable, of the rig's size, and pictures of something?"""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np

from aerialworld_core.errors import SessionError
from aerialworld_core.session import layout
from aerialworld_core.session.frame_files import PoseRecord
from aerialworld_core.session.reader import Session
from aerialworld_core.session.report import ValidationReport
from aerialworld_core.weathers import thick_air

#: Standard deviation of the grey levels (0–255), at an eighth of the size, below which an image shows nothing.
CONSTANT_DEVIATION = 1.0


def check_images(session: Session, poses: dict[int, PoseRecord], report: ValidationReport) -> None:
    """Decodes every image at an eighth of its size, which reads all of its bytes. Needs Pillow; says so without it."""
    cameras = session.cameras
    if not cameras:
        return
    present = {c: [i for i in sorted(poses) if session.image_path(i, c)] for c in cameras}
    if not any(present.values()):
        report.warn("no camera images were recorded, though the rig has cameras")
        return
    for camera, indices in present.items():
        if len(indices) < len(poses):
            report.error(f"{camera}: images are missing in {len(poses) - len(indices)} of {len(poses)} frames")
    _check_stuck(session, poses, present, report)
    try:
        from PIL import Image
    except ImportError:
        report.warn("images were not decoded: Pillow is not installed (aerialworld_core[world])")
        return
    specs = {c.name.upper(): c for c in session.meta.rig.cameras}
    bad, shares = [], {}
    for camera, indices in present.items():
        flat = 0
        for index in indices:
            spec = specs.get(camera)
            try:
                size, deviation = _measure(Image, session.image_bytes(index, camera, verify=False) or b"")
            except Image.UnidentifiedImageError:
                bad.append(f"{layout.image_file(index, camera)}: is no JPEG")
                continue
            except SessionError as error:
                bad.append(str(error))
                continue
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombWarning) as error:
                bad.append(f"{layout.image_file(index, camera)}: no readable JPEG: {error}")
                continue
            if spec is not None and size != (spec.width, spec.height):
                expected = (spec.width, spec.height)
                bad.append(f"{layout.image_file(index, camera)}: is {size}, the rig's camera {expected}")
            flat += deviation < CONSTANT_DEVIATION
        shares[camera] = flat / len(indices) if indices else None
        if indices and flat == len(indices):
            _judge(session, report, f"{camera}: every image is of one colour")
        elif flat:
            report.warn(f"{camera}: {flat} of {len(indices)} images are of one colour")
    report.errors_of(bad, "unusable images")
    report.figures["one_colour_image_share"] = shares


def _judge(session: Session, report: ValidationReport, text: str) -> None:
    """An error, unless fog may have hidden everything."""
    if thick_air(session.meta.conditions):
        report.warn(f"{text} (it was recorded in haze, fog or rain)")
    else:
        report.error(text)


def _measure(image_module: Any, raw: bytes) -> tuple[tuple[int, int], float]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", image_module.DecompressionBombWarning)
        with image_module.open(io.BytesIO(raw), formats=("JPEG",)) as image:
            size = image.size
            image.draft("L", (max(1, size[0] // 8), max(1, size[1] // 8)))
            return size, float(np.asarray(image.convert("L"), dtype=np.float32).std())


def _check_stuck(
    session: Session, poses: dict[int, PoseRecord], present: dict[str, list[int]], report: ValidationReport
) -> None:
    """A camera whose image never changes though the vehicle moves, by the recorded hashes."""
    if not session.verifiable:
        return
    moving = [
        i
        for i in sorted(poses)
        if i - 1 in poses and np.linalg.norm(poses[i].pose.position - poses[i - 1].pose.position) > 0.5
    ]
    manifests = {i: session.manifest(i) for i in {*moving, *(i - 1 for i in moving)}}
    for camera, indices in present.items():
        pairs = [i for i in moving if i in set(indices) and i - 1 in set(indices)]
        equal = sum(
            manifests[i][layout.image_file(i, camera)] == manifests[i - 1][layout.image_file(i - 1, camera)]
            for i in pairs
        )
        if equal and equal == len(pairs) and len(pairs) >= 2:
            _judge(session, report, f"{camera}: the image never changes though the vehicle moves")
        elif equal:
            report.warn(f"{camera}: the image stays the same in {equal} of {len(pairs)} intervals of motion")
