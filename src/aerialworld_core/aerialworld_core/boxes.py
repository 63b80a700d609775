"""Boxes of moving objects in a camera's picture: in space, in the camera's optical frame, and in the picture.

Coordinates of a picture are pixels from its upper left corner: the first pixel's centre lies at (0.5, 0.5), and a box
of whole pixels from column a to column b spans a … b + 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core import lens
from aerialworld_core.frames import Array, Pose
from aerialworld_core.rig import CameraSpec, Rig

if TYPE_CHECKING:
    from aerialworld_core.sensing import SensorFrame

#: What a box in the picture was made of.
PIXELS, PROJECTION = "pixels", "projection"

#: A box's corners in halves of its size, and its faces as corners in turn.
_CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float64)
_FACES = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])

#: Metres from the camera at which objects begin to be seen where the camera's own `near` is less.
_NEAREST = 1e-3
#: Parts of an edge where a lens bends it, and pixels by which a bent outline may be off.
_PARTS, _MARGIN = 16, 2
#: What is nearer than an object's box by more than this hides it: metres, and share of the depth.
_SLACK, _SLACK_SHARE = 1e-3, 1e-5

Rectangle = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Box:
    """One moving object in one camera's picture.

    id, label   the actor's id and class
    pose        of the object's box in the camera's optical frame (z forward, x right, y down): position is its middle,
                its own axes are forward, left, up
    size        (3,) length, width, height, metres
    rectangle   left, top, right, bottom in pixels: of the pixels that show the object, or of the part of its box that
                lies before the camera and in the picture
    truncated   share of the whole projected box's rectangle that lies outside the picture, 0 … 1
    instance    the object's number in instance images; with `pixels`, how many show it, and `hidden`, in how many
                others something before its box stands. None where the rectangle is of the projected box: what hides
                the object is not known then
    """

    id: str | int
    label: int
    pose: Pose
    size: Array
    rectangle: Rectangle
    truncated: float
    instance: int | None = None
    pixels: int | None = None
    hidden: int | None = None

    @property
    def source(self) -> str:
        """`pixels` or `projection`: what the rectangle was made of."""
        return PROJECTION if self.pixels is None else PIXELS

    @property
    def visible(self) -> float | None:
        """Of the pixels that would show the object if nothing stood before it the share that does, 0 … 1."""
        if self.pixels is None or self.hidden is None:
            return None
        return self.pixels / (self.pixels + self.hidden)


@dataclass(frozen=True, eq=False)
class Truth:
    """What a picture's pixels show: `depth` (H, W) float32 metres along the optical axis (−inf nearer than `near`, +inf
    without a surface), `instance` (H, W) uint16, and `numbers`: an actor's id as text → its instance."""

    depth: NDArray[np.float32]
    instance: NDArray[np.uint16]
    numbers: Mapping[str, int]


def frame_boxes(frame: SensorFrame, rig: Rig) -> dict[str, list[Box]]:
    """The boxes of a frame's actors in every camera of the rig, by its upper-case name: of pixels where the frame has
    that camera's true images, else of projections."""
    found = {}
    for camera in rig.cameras:
        depth, instance = frame.camera_depth.get(camera.name), frame.camera_instance.get(camera.name)
        truth = None if depth is None or instance is None else Truth(depth, instance, frame.instances)
        found[camera.name.upper()] = camera_boxes(camera, frame.state.pose, frame.actors, truth)
    return found


def camera_boxes(
    camera: CameraSpec, vehicle: Pose, actors: Sequence[Mapping[str, Any]], truth: Truth | None = None
) -> list[Box]:
    """The boxes of those actors ({id, class, position, orientation, size, …} in map) that a camera sees, in order.

    `vehicle` is base_link in map. With `truth` an object is there if a pixel shows it; without, or where an actor has
    no number, if a part of its box lies before the camera, nearer than `far`, and in the picture.
    """
    if not actors:
        return []
    planes = _planes(camera)
    optical = (vehicle @ camera.optical_pose).inverse()
    poses = [optical @ Pose(a["position"], a["orientation"]) for a in actors]
    sizes = np.array([a["size"] for a in actors], np.float64)
    corners = np.stack([p.transform(s / 2 * _CORNERS) for p, s in zip(poses, sizes, strict=True)])
    inside = corners @ planes[:, :3].T + planes[:, 3] >= 0.0  # (N, 8, 6)
    boxes = []
    for n in np.flatnonzero(np.all(np.any(inside, axis=1), axis=1)).tolist():
        actor, pose, size = actors[n], poses[n], sizes[n]
        seen = _seen_part(camera, corners[n], planes, whole=bool(inside[n].all()))
        if seen is None:
            continue
        rectangle, truncated = seen
        number = None if truth is None else truth.numbers.get(str(actor["id"]))
        if truth is None or number is None:
            boxes.append(Box(actor["id"], int(actor["class"]), pose, size, rectangle, truncated))
            continue
        counted = _pixels(camera, truth, number, pose, size, rectangle, float(corners[n, :, 2].max()))
        if counted is not None:
            boxes.append(Box(actor["id"], int(actor["class"]), pose, size, counted[0], truncated, number, *counted[1:]))
    return boxes


@lru_cache(maxsize=64)
def _planes(camera: CameraSpec) -> Array:
    """The six half-spaces (6, 4) of what a camera sees, in its optical frame: n·p + d ≥ 0; the first two are near and
    far, the others the picture's edges (with a distorting lens those of the rectangle around it)."""
    edge = np.linspace(0.0, 1.0, 33)
    zero, one = np.zeros_like(edge), np.ones_like(edge)
    u, v = np.concatenate([[edge, zero], [edge, one], [zero, edge], [one, edge]], axis=1)
    x, y = _rays(camera, u * camera.width, v * camera.height)
    left, top, right, bottom = float(x.min()), float(y.min()), float(x.max()), float(y.max())
    near = max(camera.near, _NEAREST)
    return np.array(
        [
            [0.0, 0.0, 1.0, -near],
            [0.0, 0.0, -1.0, camera.far],
            [1.0, 0.0, -left, 0.0],
            [-1.0, 0.0, right, 0.0],
            [0.0, 1.0, -top, 0.0],
            [0.0, -1.0, bottom, 0.0],
        ]
    )


def _rays(camera: CameraSpec, u: Array, v: Array) -> tuple[Array, Array]:
    """Places in the picture as x / z, y / z of their rays in the optical frame."""
    k = camera.intrinsics
    x, y = (u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1]
    if camera.distortion is not None:
        x, y, _ = lens.undistort(x, y, camera.distortion)
    return x, y


def _seen_part(camera: CameraSpec, corners: Array, planes: Array, *, whole: bool) -> tuple[Rectangle, float] | None:
    """The rectangle (pixels) of a box's part in the picture, and the share of the whole one that is not in it."""
    polygons = [corners[face] for face in _FACES]
    truncated = 0.0
    if not whole:
        before = list(_clipped(polygons, planes[:2]))
        polygons = list(_clipped(before, planes[2:]))
        if not polygons:
            return None
        truncated = 1.0 - _area(np.concatenate(polygons)) / _area(np.concatenate(before))
    places = [_places(camera, polygon) for polygon in polygons]
    if camera.distortion is not None:  # the rectangle around what a bent picture shows holds more than it
        width, height = float(camera.width), float(camera.height)
        edges = np.array([[1.0, 0, 0, 0], [-1.0, 0, 0, width], [0, 1.0, 0, 0], [0, -1.0, 0, height]])
        places = list(_clipped(places, edges))
    if not places:
        return None
    u, v, _ = np.concatenate(places).T
    u, v = np.clip(u, 0.0, camera.width), np.clip(v, 0.0, camera.height)
    left, top, right, bottom = (float(n) for n in (u.min(), v.min(), u.max(), v.max()))
    if right <= left or bottom <= top:
        return None
    return (left, top, right, bottom), float(np.clip(truncated, 0.0, 1.0))


def _places(camera: CameraSpec, polygon: Array) -> Array:
    """(M, 3) u, v in the picture and 1 of a polygon's corners; of points on its edges too where a lens bends them."""
    if camera.distortion is not None:
        along = np.arange(_PARTS) / _PARTS
        steps = np.roll(polygon, -1, axis=0) - polygon
        polygon = (polygon[:, None] + along[:, None] * steps[:, None]).reshape(-1, 3)
    x, y = polygon[:, 0] / polygon[:, 2], polygon[:, 1] / polygon[:, 2]
    if camera.distortion is not None:
        x, y = lens.distort(x, y, camera.distortion)
    return np.column_stack([x, y, np.ones_like(x)]) @ camera.intrinsics.T


def _area(points: Array) -> float:
    """Of the rectangle around points (M, 3), seen from the camera at depth 1; never 0."""
    flat = points[:, :2] / points[:, 2:]
    return float(max(np.prod(flat.max(axis=0) - flat.min(axis=0)), 1e-300))


def _clipped(polygons: list[Array], planes: Array) -> Iterator[Array]:
    """What of convex polygons (M, 3) lies on the positive side of all planes (Sutherland and Hodgman)."""
    for polygon in polygons:
        points = polygon
        for plane in planes:
            distance = points @ plane[:3] + plane[3]
            kept: list[Array] = []
            for i in range(len(points)):
                here, there = distance[i - 1], distance[i]
                if (here >= 0) != (there >= 0):
                    kept.append(points[i - 1] + here / (here - there) * (points[i] - points[i - 1]))
                if there >= 0:
                    kept.append(points[i])
            points = np.array(kept).reshape(-1, 3)
            if not len(points):
                break
        else:
            yield points


def _pixels(
    camera: CameraSpec, truth: Truth, number: int, pose: Pose, size: Array, around: Rectangle, farthest: float
) -> tuple[Rectangle, int, int] | None:
    """The rectangle of the pixels that show the object, how many they are, and how many of its box's are hidden; None
    where no pixel shows it. `around` holds all of its box, whose farthest corner is `farthest` away along the axis."""
    left, top = (max(0, int(np.floor(n)) - _MARGIN) for n in around[:2])
    right, bottom = (int(np.ceil(n)) + _MARGIN for n in around[2:])
    depth, instance = truth.depth[top:bottom, left:right], truth.instance[top:bottom, left:right]
    own = instance == number
    rows, columns = np.flatnonzero(own.any(axis=1)), np.flatnonzero(own.any(axis=0))
    if not len(rows):
        return None
    rectangle = (
        float(left + columns[0]), float(top + rows[0]), float(left + columns[-1] + 1), float(top + rows[-1] + 1)
    )  # fmt: skip
    v, u = np.nonzero((depth < farthest) & ~own)
    x, y = _rays(camera, u.astype(np.float64) + (left + 0.5), v.astype(np.float64) + (top + 0.5))
    entry = _entry(pose, size, x, y)
    hidden = depth[v, u] < entry - (_SLACK + _SLACK_SHARE * np.abs(entry))
    return rectangle, int(np.count_nonzero(own)), int(np.count_nonzero(hidden))


def _entry(pose: Pose, size: Array, x: Array, y: Array) -> Array:
    """Depth (N,) at which the rays (x, y, 1) enter a box; −inf where they miss it, or begin in it."""
    rotation = pose.rotation
    origin = -rotation.T @ pose.position
    ways = np.column_stack([x, y, np.ones_like(x)]) @ rotation
    ways = np.where(np.abs(ways) < 1e-12, 1e-12, ways)
    one, other = (-size / 2 - origin) / ways, (size / 2 - origin) / ways
    enter, leave = np.minimum(one, other).max(axis=1), np.maximum(one, other).min(axis=1)
    return np.where((enter <= leave) & (enter > 0), enter, -np.inf)
