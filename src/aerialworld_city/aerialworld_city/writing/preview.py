"""Two pictures of a world as it was written: from above, and from the south-east.

The models are read back through `load_world`, one after the other, so what is wrong in the files is seen in the
pictures: a mirrored texture, a face that looks inward, a missing model.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from aerialworld_city.sources.credit import PLATEAU_CREDIT
from aerialworld_city.writing.shading import SAMPLES, SUN, View, draw, light
from aerialworld_core.errors import WorldError
from aerialworld_core.files import read_json, write_bytes
from aerialworld_core.frames import Array
from aerialworld_core.world import Scene, load_world
from aerialworld_core.world.sdf import pose_matrix, read_document, text_of, transform, where
from aerialworld_core.world.uris import Files

#: Pixels across, and the heights between which the city's shape decides.
WIDTH, MIN_HEIGHT, MAX_HEIGHT = 1600, 640, 1600
#: A world of more models than this is not drawn: opening its files would take minutes.
MAX_MODELS = 5000
#: PLATEAU's credit in pictures; Pillow's own font has no Japanese characters (the full text is in city.json).
_CREDIT_LENGTH = 150
_PLATEAU_IN_ENGLISH = "Source: MLIT Project PLATEAU (CC BY 4.0), processed"
NAMES = ("preview_top.png", "preview_oblique.png")

#: Towards the viewer of the oblique picture: from 30° east of south, 38° up.
_AZIMUTH, _ELEVATION = math.radians(30), math.radians(38)
_OBLIQUE = np.array(
    [
        math.cos(_ELEVATION) * math.sin(_AZIMUTH),
        -math.cos(_ELEVATION) * math.cos(_AZIMUTH),
        math.sin(_ELEVATION),
    ]
)
_SHADOW_SAMPLES = 3072
_PAPER = (226, 229, 232)
_SKY_TOP, _SKY_BOTTOM = np.array([126, 164, 206]), np.array([216, 226, 234])


def render_previews(world_folder: Path) -> list[Path]:
    """Write `preview_top.png` (north up, with a scale) and `preview_oblique.png` into a world folder that has world.sdf
    and city.json, and return their paths; none for a world of more than `MAX_MODELS` models or without a surface.

    Equal worlds give equal bytes. Raises WorldError or another InputError for what cannot be read, StorageError.
    """
    world_folder = Path(world_folder)
    city = read_json(world_folder / "city.json")
    models = _models(world_folder)
    if len(models) > MAX_MODELS:
        return []
    bounds = _box(city, "world")
    if bounds is None:
        raise WorldError(f"{world_folder / 'city.json'}: has no bounds of the world; convert the city again")
    views = _views(_corners(city, bounds))
    drawn = 0
    for folder, matrix in models:
        scene = load_world(folder).scene
        drawn += len(scene.faces)
        draw(_placed(scene, matrix), views)
    if drawn == 0:
        return []
    credit = _credit(city)
    paths = [world_folder / name for name in NAMES]
    top, oblique, sun = views
    picture = Image.fromarray(light(top, sun, np.tile(np.array(_PAPER, np.uint8), (top.height, 1))))
    _annotate(picture, credit, top.scale / SAMPLES)
    _save(picture, paths[0])
    share = np.linspace(0, 1, oblique.height // SAMPLES)[:, None]
    sky = np.round(_SKY_TOP * (1 - share) + _SKY_BOTTOM * share).astype(np.uint8)
    picture = Image.fromarray(light(oblique, sun, sky))
    _annotate(picture, credit, None)
    _save(picture, paths[1])
    return paths


def _models(world_folder: Path) -> list[tuple[Path, Array | None]]:
    """Folder and pose (None: as it is) of every model that world.sdf includes. Raises WorldError."""
    document = read_document(world_folder / "world.sdf")
    world = document.element.find("world")
    if world is None:
        raise WorldError(f"{document.path}: has no <world>")
    files = Files(document.folder)
    models: list[tuple[Path, Array | None]] = []
    for include in world.findall("include"):
        folder = files.resolve(document, text_of(include, "uri") or "", where(document, include)).path
        pose = include.find("pose")
        models.append((folder, None if pose is None else pose_matrix(document, pose)))
    return models


def _placed(scene: Scene, matrix: Array | None) -> Scene:
    if matrix is None:
        return scene
    return Scene(
        transform(matrix, scene.vertices.astype(np.float64)).astype(np.float32),
        scene.faces,
        scene.face_class,
        scene.face_instance,
        scene.face_material,
        scene.uv,
        (scene.normals @ matrix[:3, :3].T).astype(np.float32),
        scene.materials,
        scene.instances,
    )


def _box(city: dict[str, Any], name: str) -> Array | None:
    """(2, 3) lowest and highest corner of what city.json has bounds of; None where it has none."""
    try:
        box = np.array(city["bounds"][name], np.float64)
    except (KeyError, TypeError, ValueError):
        return None
    return box if box.shape == (2, 3) and np.isfinite(box).all() and (box[1] >= box[0]).all() else None


def _corners(city: dict[str, Any], outer: Array) -> Array:
    """Points (16, 3) that have to be in the picture: the corners of the world (`outer`) and of its buildings.

    The whole box would leave much sky, for the ground's corners are not as high as towers: there the middle is taken.
    """
    low, high = outer
    inner = _box(city, "buildings")
    if inner is None:
        inner = outer
    box = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    ground = high - low
    ground[2] /= 2
    return np.concatenate([low + box * ground, inner[0] + box * (np.append(inner[1, :2], high[2]) - inner[0])])


def _views(corners: Array) -> list[View]:
    """From above, from the south-east, and from the sun."""
    up = np.array([0.0, 0.0, 1.0])
    views = []
    for eye, margin in ((up, 0.02), (_OBLIQUE, 0.02)):
        flat = View.fitted(eye, corners, (16, 16), lit=False)
        extent = np.ptp(corners @ flat.axes[:2].T, axis=0)
        height = int(np.clip(round(WIDTH * extent[1] / max(extent[0], 1e-3)), MIN_HEIGHT, MAX_HEIGHT))
        views.append(View.fitted(eye, corners, (WIDTH * SAMPLES, height * SAMPLES), margin=margin))
    views.append(View.fitted(-SUN, corners, (_SHADOW_SAMPLES, _SHADOW_SAMPLES), lit=False))
    return views


def _credit(city: dict[str, Any]) -> str:
    """The attribution in one line of letters that the font has; else where it stands."""
    text = " ".join(str(city.get("attribution", "")).replace(PLATEAU_CREDIT, _PLATEAU_IN_ENGLISH).split())
    return text if text.isascii() and len(text) <= _CREDIT_LENGTH else "Credits: see city.json"


def _annotate(picture: Image.Image, credit: str, pixels_per_metre: float | None) -> None:
    """The credit in the lower right corner, a scale in the lower left, north in the upper right."""
    font, pen = ImageFont.load_default(size=18), ImageDraw.Draw(picture, "RGBA")
    width, height = picture.size
    if credit:
        left, top, right, bottom = pen.textbbox((width - 14, height - 12), credit, font=font, anchor="rd")
        pen.rectangle((left - 8, top - 6, right + 8, bottom + 6), fill=(255, 255, 255, 190))
        pen.text((width - 14, height - 12), credit, font=font, fill=(20, 24, 28), anchor="rd")
    if pixels_per_metre is None:
        return
    metres = _round_length(0.2 * width / pixels_per_metre)
    length = round(metres * pixels_per_metre)
    pen.rectangle((6, height - 50, 34 + length, height - 6), fill=(255, 255, 255, 190))
    pen.rectangle((20, height - 20, 20 + length, height - 16), fill=(20, 24, 28))
    for x in (20, 20 + length):
        pen.rectangle((x - 1, height - 26, x + 1, height - 10), fill=(20, 24, 28))
    pen.text((20 + length / 2, height - 26), f"{metres:g} m", font=font, fill=(20, 24, 28), anchor="md")
    pen.rectangle((width - 44, 8, width - 8, 66), fill=(255, 255, 255, 190))
    pen.polygon(((width - 26, 14), (width - 34, 36), (width - 18, 36)), fill=(20, 24, 28))
    pen.text((width - 26, 60), "N", font=font, fill=(20, 24, 28), anchor="md")


def _round_length(metres: float) -> float:
    """The largest 1, 2 or 5 times a power of ten that is not longer."""
    power = 10.0 ** math.floor(math.log10(max(metres, 1e-6)))
    return max(step * power for step in (1.0, 2.0, 5.0) if step * power <= metres * (1 + 1e-9))


def _save(picture: Image.Image, path: Path) -> None:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)  # at 3 it takes a third longer and is 3 % smaller
    write_bytes(path, buffer.getvalue(), sync=False)
