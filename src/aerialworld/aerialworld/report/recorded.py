"""One session's card: the six camera images, the LiDAR, slices and an oblique view of the occupancy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld.report.pictures import chosen_level, horizontal_slice, png_uri, thumbnail_uri, vertical_slice
from aerialworld.report.points import render_points
from aerialworld.report.voxels import View, cropped_levels, render_voxels
from aerialworld_core.frames import grid_from_map
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import FREE
from aerialworld_core.session import PoseRecord, Session

#: As one would look around: ahead above, behind below.
CONTACT_SHEET = (
    ("CAM_FRONT_LEFT", "front left"),
    ("CAM_FRONT", "front"),
    ("CAM_FRONT_RIGHT", "front right"),
    ("CAM_BACK_LEFT", "back left"),
    ("CAM_BACK", "back"),
    ("CAM_BACK_RIGHT", "back right"),
)
FROM_ABOVE = View(azimuth=np.pi, elevation=np.pi / 2)
OBLIQUE = View(azimuth=np.deg2rad(200.0), elevation=np.deg2rad(35.0))


def session_card(path: Path, split: dict[str, Any]) -> dict[str, Any]:
    """What the template shows of a session: its middle frame."""
    session = Session.open(path, verify=False)
    frames = session.frame_indices
    index = frames[len(frames) // 2]
    mission = session.mission
    part = next((p for p in ("train", "val", "test") if path.name in split.get(p, ())), "unused")
    pose = session.pose(index)
    grid, datum = session.meta.grid, session.meta.datum
    occupancy = session.occupancy(index)
    below = ground_below(pose)
    ground = below - datum
    altitude = float(pose.pose.position[2]) - datum
    level = chosen_level(grid, ground)
    bottom, top = heights_shown(occupancy.semantics, grid)
    levels, shown = cropped_levels(grid, bottom, max(top, min(altitude + 3.0, grid.maximum[2])))
    semantics, observed = occupancy.semantics[:, :, levels], occupancy.observed[:, :, levels]
    pictures = [
        {"uri": png_uri(picture), "caption": caption}
        for picture, caption in (
            *_lidar(session, index),
            (
                render_voxels(semantics, shown, width=480),
                f"occupancy by class, seen from behind right; {int(occupancy.occupancy.sum()):,} voxels",
            ),
            (
                horizontal_slice(occupancy.semantics, occupancy.observed, grid, level),
                f"level {level}, about 4 m above the ground, forward is up; grey is unknown",
            ),
            (
                vertical_slice(semantics, observed, shown, altitude),
                "vertical slice along the heading, forward is right",
            ),
        )
    ]
    images = [
        {"uri": thumbnail_uri(data), "caption": caption}
        for camera, caption in _sheet(session)
        if (data := session.image_bytes(index, camera)) is not None
    ]
    height = float(pose.pose.position[2]) - below
    speed = float(np.linalg.norm(pose.linear_velocity))
    return {
        "name": path.name,
        "title": f"{mission.get('name', session.meta.vehicle)} ({part})",
        "text": (
            f"{session.meta.agent_type}, {mission.get('pattern', 'mission')}, place {mission.get('place', '?')}; "
            f"{len(frames)} frames at {1e9 / session.meta.frame_period_ns:g} Hz. Shown: frame {index}, "
            f"{height:.1f} m above the ground, {speed:.1f} m/s."
        ),
        "images": images,
        "pictures": pictures,
    }


def ground_below(pose: PoseRecord) -> float:
    """Map z of the terrain under the vehicle; the vehicle's own where the session does not know it."""
    return float(pose.pose.position[2] if pose.ground_z is None else pose.ground_z)


def heights_shown(semantics: NDArray[np.uint8], grid: VoxelGrid) -> tuple[float, float]:
    """From where to where a picture of these voxels goes, a little below the lowest and above the highest: metres in
    the grid's frame."""
    levels = np.flatnonzero((semantics != FREE).any(axis=(0, 1)))
    if len(levels) == 0:
        return grid.minimum[2], min(grid.minimum[2] + 30.0, grid.maximum[2])
    low, high = (grid.minimum[2] + k * grid.voxel_size[2] for k in (int(levels[0]), int(levels[-1]) + 1))
    return low - 2.0, high + 2.0


def _sheet(session: Session) -> list[tuple[str, str]]:
    """The contact sheet's cameras, or all of a rig that is named otherwise."""
    names = session.cameras
    known = [(camera, caption) for camera, caption in CONTACT_SHEET if camera in names]
    return known or [(camera, camera) for camera in names]


def _lidar(session: Session, index: int) -> list[tuple[NDArray[np.uint8], str]]:
    """The LiDAR's returns in the gravity-aligned frame of the vehicle, z above the ground below it."""
    points = session.lidar(index)
    spec = session.meta.rig.lidar
    if points is None or spec is None or len(points) == 0:
        return []
    pose = session.pose(index)
    in_map = pose.pose.transform(spec.pose.transform(points[:, :3]))
    align = grid_from_map(pose.pose, ground_below(pose))
    level = in_map @ align[:3, :3].T + align[:3, 3]
    radius = float(np.clip(np.percentile(np.linalg.norm(level[:, :2], axis=1), 95), 15.0, 80.0))
    return [
        (
            render_points(level, view=FROM_ABOVE, radius=radius),
            f"LiDAR from above, {len(points):,} points, ±{radius:.0f} m, forward is up; dark is low, yellow high",
        ),
        (render_points(level, view=OBLIQUE, radius=radius), "LiDAR obliquely, from behind"),
    ]
