"""A ready Foxglove layout for a session's bag: the vehicle in 3D, its cameras beside, speed and height below."""

from __future__ import annotations

from typing import Any

from aerialworld_core import topics
from aerialworld_core.session import SessionMeta

#: Pictures side by side, at most.
_COLUMNS = 3


def foxglove_layout(metas: list[SessionMeta]) -> dict[str, Any]:
    """What Foxglove's and Lichtblick's "import layout from file" read. The first vehicle is followed and plotted."""
    first = metas[0]
    panels: dict[str, Any] = {"3D!world": _scene(metas), "Plot!motion": _plot(first.vehicle)}
    pictures = []
    for camera in first.rig.cameras:
        name = f"Image!{camera.name}"
        raw = topics.camera(first.vehicle, camera.name)
        mode: dict[str, Any] = {"imageTopic": f"{raw}/compressed", "calibrationTopic": topics.camera_info(raw)}
        if first.keeps_boxes:
            mode["annotations"] = {topics.boxes(first.vehicle, camera.name): {"visible": True}}
        panels[name] = {"imageMode": mode}
        pictures.append(name)
    left = {"first": "3D!world", "second": "Plot!motion", "direction": "column", "splitPercentage": 75}
    right = [_tiled(pictures[i : i + _COLUMNS], "row") for i in range(0, len(pictures), _COLUMNS)]
    tree: Any = left
    if right:
        tree = {"first": left, "second": _tiled(right, "column"), "direction": "row", "splitPercentage": 55}
    return {
        "configById": panels,
        "globalVariables": {},
        "userNodes": {},
        "playbackConfig": {"speed": 1},
        "layout": tree,
    }


def _tiled(panels: list[Any], direction: str) -> Any:
    """Panels of equal size beside or below each other, as a tree of two-way splits."""
    if len(panels) == 1:
        return panels[0]
    return {
        "first": panels[0],
        "second": _tiled(panels[1:], direction),
        "direction": direction,
        "splitPercentage": 100 / len(panels),
    }


def _scene(metas: list[SessionMeta]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for meta in metas:
        cell = min(meta.grid.voxel_size)
        by_class = {"colorMode": "colormap", "colorMap": "turbo", "colorField": "class", "minValue": 0, "maxValue": 16}
        shown[topics.occupancy(meta.vehicle)] = {
            "visible": True,
            "pointShape": "square",
            "pointSize": 4,
            "cubeSize": cell,
            **by_class,
        }
        shown[topics.occupancy_grid(meta.vehicle)] = {"visible": False}
        shown[topics.lidar(meta.vehicle)] = {
            "visible": True,
            "pointSize": 2,
            "colorMode": "colormap",
            "colorMap": "turbo",
            "colorField": "z",
        }
        shown[topics.odometry(meta.vehicle)] = {"visible": True}
        shown[topics.actors(meta.vehicle)] = {"visible": True}
    return {
        "followTf": topics.base_frame(metas[0].vehicle),
        "followMode": "follow-position",
        "cameraState": {
            "distance": 90,
            "perspective": True,
            "phi": 55,
            "thetaOffset": 45,
            "target": [0, 0, 0],
            "targetOffset": [0, 0, 0],
            "targetOrientation": [0, 0, 0, 1],
            "fovy": 45,
            "near": 0.5,
            "far": 5000,
        },
        "scene": {"enableStats": False},
        "transforms": {},
        "topics": shown,
        "layers": {},
    }


def _plot(vehicle: str) -> dict[str, Any]:
    odometry = topics.odometry(vehicle)
    series = [("height [m]", "pose.pose.position.z"), ("speed [m/s]", "twist.twist.linear.x")]
    return {
        "paths": [
            {"value": f"{odometry}.{field}", "label": label, "enabled": True, "timestampMethod": "headerStamp"}
            for label, field in series
        ],
        "showLegend": True,
        "isSynced": True,
        "xAxisVal": "timestamp",
    }
