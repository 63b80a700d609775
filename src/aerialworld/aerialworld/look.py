"""One contact sheet of what a rig sees from one place: cameras, depth and class of the cube, LiDAR."""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld.lazy import stage
from aerialworld.report.pictures import enlarged
from aerialworld.report.points import height_colours, render_points
from aerialworld.report.voxels import View
from aerialworld_core.frames import Pose
from aerialworld_core.labels import COLOURS, NAMES
from aerialworld_core.rig import CUBE_FACES, Rig
from aerialworld_core.sensing import SensorFrame
from aerialworld_core.world.scene import Light

WIDTH, MARGIN, TEXT = 1920, 8, 18
PAPER, INK, SKY = (250, 250, 250), (20, 24, 28), (222, 232, 242)
#: Depth and range from yellow (near) over green to purple (far), on a logarithmic scale of metres.
NEAR, FAR = 1.0, 200.0
NOTHING = (13, 17, 23)
#: The cube unfolded, row by row; "" is an empty square.
UNFOLDED = (("", "up", "", ""), ("left", "front", "right", "back"), ("", "down", "", ""))
#: The order in which cameras with nuScenes' names are laid out; others follow in the rig's order.
CAMERAS = ("cam_front_left", "cam_front", "cam_front_right", "cam_back_left", "cam_back", "cam_back_right")
FROM_ABOVE = View(azimuth=np.pi, elevation=np.pi / 2)

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Look:
    """What was seen: the frame, from which pose, by which rig, and what rendered it."""

    frame: SensorFrame
    rig: Rig
    renderer: str


def look_from(world: Any, pose: Pose, rig: Rig, light: Light, seed: int = 0, backend: str = "auto") -> Look:
    """Render everything but the IMU once, from base_link at `pose`."""
    Engine, Vehicle = stage("aerialworld_sim", "Engine"), stage("aerialworld_sim", "Vehicle")
    viewer = {"viewer": Vehicle(rig, stage("aerialworld_sim", "Static")(pose))}
    engine = Engine(world, viewer, seed=seed, light=light, backend=backend)
    wanted = ("images", "depth", "lidar")
    return Look(engine.render("viewer", modalities=wanted), rig, engine.renderer)


def contact_sheet(look: Look, title: list[str]) -> bytes:
    """A PNG: the title's lines, the cameras in rows of three, the unfolded cube twice, the LiDAR twice."""
    rows = [_camera_rows(look), _cube_row(look), _lidar_row(look)]
    strips = [strip for row in rows for strip in row]
    line = TEXT + 6
    height = MARGIN + len(title) * line + sum(strip.shape[0] + MARGIN for strip in strips)
    sheet = np.empty((height, WIDTH, 3), np.uint8)
    sheet[:] = PAPER
    at = MARGIN + len(title) * line
    for strip in strips:
        sheet[at : at + strip.shape[0]] = strip
        at += strip.shape[0] + MARGIN
    for number, text in enumerate(title):
        _write(sheet, text, MARGIN, MARGIN // 2 + number * line, INK)
    return _png(sheet)


def _camera_rows(look: Look) -> list[Pixels]:
    names = [n for n in CAMERAS if n in look.frame.images]
    names += [n for n in look.frame.images if n not in names]
    width = (WIDTH - 4 * MARGIN) // 3
    rows = []
    for first in range(0, len(names), 3):
        pictures = [_scaled(look.frame.images[n], width) for n in names[first : first + 3]]
        for name, picture in zip(names[first:], pictures, strict=False):
            _label(picture, name.upper())
        rows.append(_beside(pictures))
    return rows


def _cube_row(look: Look) -> list[Pixels]:
    depth, semantic = look.frame.depth, look.frame.semantic
    if not depth:
        return []
    edge = (WIDTH - 3 * MARGIN) // 8
    seen = {face: np.isfinite(image) for face, image in depth.items()}
    far = {face: distance_colours(image) for face, image in depth.items()}
    classes = {
        face: np.where(seen[face][..., None], COLOURS[image], np.array(SKY)).astype(np.uint8)
        for face, image in semantic.items()
    }
    crosses = [_unfolded(far, edge), _unfolded(classes, edge)]
    _label(crosses[0], "depth, m")
    _scale(crosses[0], 2 * edge + 2 * MARGIN, edge // 3, 2 * edge - 6 * MARGIN)
    _label(crosses[1], "class")
    present = np.unique(np.concatenate([semantic[face][seen[face]] for face in semantic]))
    for number, label in enumerate(present[:10]):
        x, y = 2 * edge + MARGIN, MARGIN + number * (TEXT + 4)
        crosses[1][y : y + TEXT, x : x + 2 * TEXT] = COLOURS[label]
        _write(crosses[1], NAMES[label].replace("_", " "), x + 2 * TEXT + 6, y - 2, INK)
    return [_beside(crosses)]


def _lidar_row(look: Look) -> list[Pixels]:
    points, spec = look.frame.lidar, look.rig.lidar
    if points is None or spec is None:
        return []
    pose = look.frame.state.pose @ spec.pose
    level = Pose(pose.position, Pose.from_rpy(0.0, 0.0, 0.0, yaw=look.frame.state.pose.yaw).orientation)
    in_level = (pose.transform(points[:, :3]) - level.position) @ level.rotation
    level_range = np.hypot(in_level[:, 0], in_level[:, 1])
    radius = float(np.clip(np.percentile(level_range, 95), 30.0, 120.0)) if len(points) else 60.0
    above = render_points(in_level, view=FROM_ABOVE, width=480, radius=radius)[..., :3]
    above = np.ascontiguousarray(above)
    _label(above, f"LiDAR from above, {2 * radius:.0f} m wide, {len(points)} returns")
    width = WIDTH - above.shape[1] - 3 * MARGIN
    scan = range_image(look)
    tall = max(1, min(above.shape[0] - 2 * (TEXT + MARGIN), scan.shape[0] * 10))
    picture = enlarged(distance_colours(scan), tall, width)
    panel = np.empty((above.shape[0], width, 3), np.uint8)
    panel[:] = PAPER
    top = TEXT + 10
    panel[top : top + tall] = picture
    caption = f"LiDAR ranges, {spec.beams} x {spec.columns}, top row the highest beam, left edge the left-most azimuth"
    _write(panel, caption, 0, 0, INK)
    return [_beside([above, panel])]


def range_image(look: Look) -> NDArray[np.float32]:
    """(beams, columns) metres, +inf without a return; the highest beam on top, azimuth falling from left to right (as
    one sees it standing in the middle)."""
    spec, points, ring = look.rig.lidar, look.frame.lidar, look.frame.lidar_ring
    assert spec is not None and points is not None and ring is not None
    image = np.full((spec.beams, spec.columns), np.inf, np.float32)
    span = spec.max_azimuth - spec.min_azimuth
    azimuth = np.arctan2(points[:, 1].astype(np.float64), points[:, 0])
    turn = (azimuth - spec.min_azimuth + np.pi / spec.columns) % (2 * np.pi) - np.pi / spec.columns
    column = np.rint(turn / span * (spec.columns - 1)) if span > 0 else np.zeros(len(points))
    column = np.clip(column, 0, spec.columns - 1).astype(np.int64)
    image[spec.beams - 1 - ring.astype(np.int64), spec.columns - 1 - column] = np.linalg.norm(points[:, :3], axis=1)
    return image


def distance_colours(metres: NDArray[np.float32]) -> Pixels:
    """(H, W, 3) colours of distances; where there is none it is dark."""
    seen = np.isfinite(metres)
    shade = np.zeros(metres.shape)
    shade[seen] = np.log(np.clip(metres[seen], NEAR, FAR))
    colours = height_colours(-shade.ravel(), -np.log(FAR), -np.log(NEAR)).reshape(*metres.shape, 3)
    return np.where(seen[..., None], colours, np.array(NOTHING, np.uint8)).astype(np.uint8)


def _unfolded(faces: dict[str, Pixels], edge: int) -> Pixels:
    """Faces as an unfolded cube; a rig with other faces has them row by row."""
    plan = UNFOLDED
    if not set(faces) <= set(CUBE_FACES):
        names = list(faces)
        plan = tuple(tuple((names[i : i + 4] + [""] * 4)[:4]) for i in range(0, len(names), 4))  # type: ignore[assignment]
    cross = np.empty((len(plan) * edge, 4 * edge, 3), np.uint8)
    cross[:] = PAPER
    for row, names_of_row in enumerate(plan):
        for column, name in enumerate(names_of_row):
            if name in faces:
                cross[row * edge : (row + 1) * edge, column * edge : (column + 1) * edge] = enlarged(
                    faces[name], edge, edge
                )
    return cross


def _scale(picture: Pixels, x: int, y: int, width: int) -> None:
    """A bar of the distance colours with numbers."""
    values = np.exp(np.linspace(np.log(NEAR), np.log(FAR), width)).astype(np.float32)
    picture[y : y + TEXT, x : x + width] = distance_colours(values[None])
    for number in (1, 2, 5, 10, 20, 50, 100, 200):
        at = int(np.log(number / NEAR) / np.log(FAR / NEAR) * (width - 1))
        picture[y + TEXT : y + TEXT + 4, x + at : x + at + 1] = INK
        _write(picture, str(number), x + at - 5 * len(str(number)), y + TEXT + 4, INK)


def _beside(pictures: list[Pixels]) -> Pixels:
    """A strip of the sheet's width with pictures beside each other."""
    strip = np.empty((max(p.shape[0] for p in pictures), WIDTH, 3), np.uint8)
    strip[:] = PAPER
    at = MARGIN
    for picture in pictures:
        strip[: picture.shape[0], at : at + picture.shape[1]] = picture
        at += picture.shape[1] + MARGIN
    return strip


def _scaled(picture: Pixels, width: int) -> Pixels:
    from PIL import Image

    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    return np.array(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))


def _label(picture: Pixels, text: str) -> None:
    """White on a dark band in the upper left corner."""
    width = min(picture.shape[1], _text_width(text) + 12)
    band = picture[: TEXT + 8, :width]
    band[:] = (band.astype(np.uint16) // 4).astype(np.uint8)
    _write(picture, text, 6, 2, (255, 255, 255))


@functools.cache
def _font() -> Any:
    """Opened once: that takes milliseconds, and every text asks for it."""
    from PIL import ImageFont

    return ImageFont.load_default(TEXT)


def _text_width(text: str) -> int:
    return int(np.ceil(_font().getlength(text)))


def _write(picture: Pixels, text: str, x: int, y: int, colour: tuple[int, int, int]) -> None:
    from PIL import Image, ImageDraw

    image = Image.fromarray(picture)
    ImageDraw.Draw(image).text((x, y), text, font=_font(), fill=colour)
    picture[:] = np.asarray(image)


def _png(picture: Pixels) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()
