"""Are the images that were kept on request there, readable, of the rig's size, and do they agree with each other?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import SessionError
from aerialworld_core.session import layout
from aerialworld_core.session.extra_files import (
    BEYOND,
    DEPTH,
    FARTHEST,
    INSTANCE,
    NEARER,
    decode,
    image_sizes,
)
from aerialworld_core.session.frame_files import PoseRecord
from aerialworld_core.session.reader import Session
from aerialworld_core.session.report import ValidationReport


def check_extra(session: Session, poses: dict[int, PoseRecord], report: ValidationReport) -> None:
    """Decodes every depth, class and instance image of the session. Needs Pillow; says so without it."""
    rig, kept = session.meta.rig, session.meta.kept_images
    if not kept or not poses:
        return
    try:
        import PIL  # noqa: F401
    except ImportError:
        report.warn("depth, class and instance images were not decoded: Pillow is not installed")
        return
    far = {c.name.upper(): c.far for c in rig.cameras} | {f.name: f.far for f in rig.depth}
    missing, seen = dict.fromkeys(kept, 0), dict.fromkeys(kept, False)
    bad: list[str] = []
    for index in sorted(poses):
        for name, size in image_sizes(rig, session.meta.faces_only).items():
            images: dict[str, NDArray[Any]] = {}
            for kind in kept:
                what = str(session.path / layout.extra_file(kind, index, name))
                try:
                    raw = session.extra_bytes(kind, index, name, verify=False)
                    if raw is None:
                        missing[kind] += 1
                        continue
                    images[kind] = decode(kind, name, raw, size, what)
                except SessionError as error:
                    bad.append(str(error))
                    continue
                seen[kind] |= bool((images[kind] != (BEYOND if kind == DEPTH else 0)).any())
            bad += _contradictions(images, far[name], f"frame {index}: {name}")
    report.errors_of(bad, "unusable depth, class or instance images")
    for kind in kept:
        if missing[kind]:
            report.error(f"{missing[kind]} {kind} images are missing, though session.json says that they are kept")
        elif not seen[kind]:
            report.warn(f"no {kind} image shows a surface: nothing but sky was seen")


def _contradictions(images: dict[str, NDArray[Any]], far: float, what: str) -> list[str]:
    """An instance where depth says that no surface is. Classes mean nothing there, whatever they are."""
    if DEPTH not in images or INSTANCE not in images:
        return []
    nothing = images[DEPTH] == NEARER
    if far <= FARTHEST:  # else a surface may lie beyond what the file can say
        nothing |= images[DEPTH] == BEYOND
    count = int(np.count_nonzero(images[INSTANCE][nothing]))
    return [f"{what}: {count} pixels have an instance where depth shows no surface"] if count else []
