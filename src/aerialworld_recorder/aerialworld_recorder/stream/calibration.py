"""camera_info against the rig: a camera that is not what the session says would spoil every frame."""

from __future__ import annotations

import numpy as np

from aerialworld_core.rig import CameraSpec
from aerialworld_recorder.stream.messages import CameraInfo, ContentError, Payload

#: How far focal lengths may differ, as a share; how far the principal point may, in pixels: half a pixel lies between
#: counting from a pixel's corner, as rigs do, and from its centre, as OpenCV does.
FOCAL_SLACK, CENTRE_SLACK = 1e-3, 0.51
DISTORTION_SLACK = 1e-4


def check_calibration(payload: Payload, spec: CameraSpec) -> None:
    """Raises ContentError, naming all that differs. `K` is compared, never `P`: Gazebo's P has the offset of a stereo
    pair even for a camera alone."""
    if not isinstance(payload, CameraInfo):
        raise ContentError(f"a {type(payload).__name__}, where a CameraInfo is expected")
    wrong = []
    if (payload.width, payload.height) != (spec.width, spec.height):
        wrong.append(f"{payload.width}×{payload.height} pixels, the rig says {spec.width}×{spec.height}")
    k, expected = np.array(payload.k).reshape(3, 3), spec.intrinsics
    for name, axis in (("fx", 0), ("fy", 1)):
        if not abs(k[axis, axis] - expected[axis, axis]) <= FOCAL_SLACK * expected[axis, axis]:
            wrong.append(f"{name} {k[axis, axis]:.6g}, the rig says {expected[axis, axis]:.6g}")
        if not abs(k[axis, 2] - expected[axis, 2]) <= CENTRE_SLACK:
            wrong.append(f"c{name[1]} {k[axis, 2]:.6g}, the rig says {expected[axis, 2]:.6g}")
    wrong += _distortion(payload, spec)
    if wrong:
        raise ContentError(f"it is not the rig's {spec.name}: {'; '.join(wrong)}")


def _distortion(info: CameraInfo, spec: CameraSpec) -> list[str]:
    mine = np.array(spec.distortion or (0.0,) * 5)
    theirs = np.array(info.d or (0.0,) * 5)
    if info.distortion_model not in ("plumb_bob", "") and theirs.any():
        return [f"distortion {info.distortion_model[:40]!r}, the rig's is plumb_bob"]
    if len(theirs) != 5 or not np.abs(theirs - mine).max() <= DISTORTION_SLACK:
        return [f"distortion {[float(f'{d:.6g}') for d in theirs]}, the rig says {mine.tolist()}"]
    return []
