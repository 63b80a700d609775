"""What a rig sees of the ground across its way, and how far apart lanes lie for a share of it to be seen twice."""

from __future__ import annotations

import math

import numpy as np

from aerialworld_core import lens
from aerialworld_core.errors import PlanError
from aerialworld_core.frames import Array
from aerialworld_core.rig import CameraSpec, Rig
from aerialworld_missions.requests import number

#: Ground seen flatter than this below the horizon, radians, does not count: what stands on it hides it.
FLATTEST = math.radians(45.0)
SPACING = 15.0
#: Pixels per side at which a camera's rays are looked at.
_GRID = 65


def lane_spacing(name: str, altitude: float, spacing: float | None, overlap: float | None, rig: Rig | None) -> float:
    """Metres between lanes: `spacing`, or what `overlap` leaves of the swath of `rig`, or `SPACING`. Raises
    PlanError."""
    if overlap is None:
        if rig is not None:
            raise PlanError(f"{name}: a rig says something about the lanes only together with an overlap")
        return SPACING if spacing is None else number(name, "spacing", spacing, least=0.0, above=True)
    if spacing is not None:
        raise PlanError(f"{name}: spacing and overlap say the same; give one of them")
    if rig is None:
        raise PlanError(f"{name}: an overlap needs a rig, whose sight it is a share of")
    share = number(name, "overlap", overlap, least=0.0, most=0.95)
    return swath(name, rig, altitude) * (1.0 - share)


def swath(name: str, rig: Rig, altitude: float) -> float:
    """Width, metres, of the ground across the way that the rig's cameras and depth faces together see at 45° or more
    below the horizon, from `altitude` metres over level ground. Raises PlanError for a rig that sees none of it."""
    seen = np.concatenate([_across(camera) for camera in (*rig.cameras, *rig.depth)] or [np.zeros(0)])
    if not len(seen) or not np.ptp(seen) > 0:
        raise PlanError(f"{name}: nothing of rig {rig.name} looks down at 45° or more; give a spacing instead")
    return float(np.ptp(seen)) * altitude


def _across(camera: CameraSpec) -> Array:
    """(N,) where rays of a camera meet the ground, metres to the left per metre of height; steep ones only."""
    u, v = np.meshgrid(np.linspace(0, camera.width, _GRID), np.linspace(0, camera.height, _GRID))
    k = camera.intrinsics
    x, y = (u.ravel() - k[0, 2]) / k[0, 0], (v.ravel() - k[1, 2]) / k[1, 1]
    if camera.distortion is not None:
        x, y, good = lens.undistort(x, y, camera.distortion)
        x, y = x[good], y[good]
    rays = np.column_stack([x, y, np.ones(len(x))]) @ camera.optical_pose.rotation.T
    flat = np.hypot(rays[:, 0], rays[:, 1])
    steep = -rays[:, 2] >= flat * math.tan(FLATTEST) - 1e-9
    return np.asarray(rays[steep, 1] / -rays[steep, 2])
