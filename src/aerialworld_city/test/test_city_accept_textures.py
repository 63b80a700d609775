"""Photographs of real sets: how many arrive, whether each corner of a wall shows what it shows in the source, what
stands in for missing ones."""

from __future__ import annotations

import io
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial import cKDTree

from aerialworld_city.convert import convert
from aerialworld_city.options import ConversionOptions

sys.path.insert(0, str(Path(__file__).parent))
import accept_city_truth as truth

pytestmark = pytest.mark.skipif(
    not truth.PLATEAU.is_dir(), reason=f"no real PLATEAU files below {truth.PLATEAU}: set AERIALWORLD_SHARED"
)
EXACT = {"preview": False, "workers": 1, "keep_tiles": False, "target_faces": 10**8}
KINDS = ("building", "bridge", "furniture", "vegetation", "road", "sidewalk", "flat", "planting")


def folder_of(number):
    return next(truth.PLATEAU.glob(f"{number}_*"))


_WORLDS = {}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    def get(number, **options):
        key = (number, *sorted(options.items()))
        if key not in _WORLDS:
            out = tmp_path_factory.mktemp(number) / "world"
            result = convert(folder_of(number), out, ConversionOptions(**EXACT, **options))
            _WORLDS[key] = truth.World(out)
            _WORLDS[key].result = result
        return _WORLDS[key]

    yield get
    _WORLDS.clear()


def textured_faces(number):
    """Faces of the best level whose outer ring has texture coordinates: face, image path, uv per ring."""
    for path in sorted(folder_of(number).rglob("*.gml")):
        source = truth.read_gml(path)
        for thing in source.things:
            for face in thing.faces.get(thing.best, []):
                entry = source.texture.get(face.ring_ids[0])
                if entry:
                    yield (
                        thing,
                        face,
                        path.parent / entry[0],
                        [source.texture.get(i, (None, None))[1] for i in face.ring_ids],
                    )


@cache
def pixels(path_or_bytes):
    data = path_or_bytes if isinstance(path_or_bytes, bytes) else path_or_bytes.read_bytes()
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"), np.float32)


def sample(image, uv_from_top):
    """Bilinear with repeat; (N, 2) → (N, 3)."""
    height, width = image.shape[:2]
    x, y = uv_from_top[:, 0] * width - 0.5, uv_from_top[:, 1] * height - 0.5
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = (x - x0)[:, None], (y - y0)[:, None]
    at = lambda i, j: image[j % height, i % width]  # noqa: E731
    top = at(x0, y0) * (1 - fx) + at(x0 + 1, y0) * fx
    bottom = at(x0, y0 + 1) * (1 - fx) + at(x0 + 1, y0 + 1) * fx
    return top * (1 - fy) + bottom * fy


def probes(faces, city):
    """Points just inside each textured face near its corners: place, image path, uv from the top-left.

    On a planar face the texture is affine in the face's plane: found by least squares over its corners.
    """
    places, images, uvs = [], [], []
    for _, face, image, uv in faces:
        ring = truth.place(truth.opened(face.rings[0]), city)
        at = uv[0][: len(ring)]
        if len(ring) < 3 or len(at) != len(ring) or not image.is_file():
            continue
        turn = np.cross(ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring)
        if (turn @ turn.sum(axis=0) < 0).any():
            continue  # Not convex: a point towards the middle may lie outside.
        middle, middle_uv = ring.mean(axis=0), at.mean(axis=0)
        solution, *_ = np.linalg.lstsq(ring - middle, at - middle_uv, rcond=None)
        if np.abs((ring - middle) @ solution + middle_uv - at).max() > 1e-3:
            continue  # Not one affine map: several walls unrolled in one ring.
        inside = ring + 0.1 * (middle - ring)
        places.append(inside)
        uvs.append((inside - middle) @ solution + middle_uv)
        images += [image] * len(inside)
    uvs = np.concatenate(uvs)
    return np.concatenate(places), images, np.column_stack([uvs[:, 0], 1 - uvs[:, 1]])


def colour_in_world(world, places, flip=False):
    """The colour that the written textures show at each place: of the textured triangle that holds it; NaN if none."""
    result = np.full((len(places), 3), np.nan)
    best = np.full(len(places), 0.1)  # Roads lie up to 8 cm above the ground that they are laid on.
    for part in world.primitives(*KINDS):
        if part.image is None or part.uv is None:
            continue
        image = pixels(part.image)
        t, uv = part.positions[part.triangles].astype(float), part.uv[part.triangles].astype(float)
        middle, radius = t.mean(axis=1), np.linalg.norm(t - t.mean(axis=1, keepdims=True), axis=2).max(axis=1)
        near = cKDTree(places)
        for i, rows in enumerate(near.query_ball_point(middle, radius + 0.02)):
            if not rows:
                continue
            p = places[rows] - t[i, 0]
            a, b = t[i, 1] - t[i, 0], t[i, 2] - t[i, 0]
            normal = np.cross(a, b)
            area = normal @ normal
            if area < 1e-12:
                continue
            w1, w2 = np.cross(p, b) @ normal / area, np.cross(a, p) @ normal / area
            off = np.abs(p @ normal) / np.sqrt(area)
            inside = (w1 >= -1e-3) & (w2 >= -1e-3) & (w1 + w2 <= 1.001) & (off < best[rows])
            if inside.any():
                chosen = np.array(rows)[inside]
                w1, w2 = w1[inside, None], w2[inside, None]
                place = uv[i, 0] * (1 - w1 - w2) + uv[i, 1] * w1 + uv[i, 2] * w2
                if flip:
                    place = np.column_stack([place[:, 0], 1 - place[:, 1]])
                result[chosen] = sample(image, place)
                best[chosen] = off[inside]
    return result


def agreement(world, number, flip=False):
    faces = list(textured_faces(number))
    places, images, uv = probes(faces, world.city)
    if len(places) > 6000:
        rows = np.random.default_rng(0).choice(len(places), 6000, replace=False)
        places, uv, images = places[rows], uv[rows], [images[i] for i in rows]
    ours = colour_in_world(world, places, flip)
    theirs = np.zeros_like(ours)
    for path in set(images):
        rows = [i for i, p in enumerate(images) if p == path]
        theirs[rows] = sample(pixels(path), uv[rows])
    shown = np.isfinite(ours).all(axis=1)
    return shown.mean(), (np.abs(ours[shown] - theirs[shown]).max(axis=1) < 20).mean()


@pytest.mark.parametrize(("number", "images"), [("01", 9), ("02", 10), ("03", 38), ("05", 7)])
def test_every_photograph_that_is_there_arrives(world, number, images):
    w = world(number)
    used = {image.resolve() for _, _, image, _ in textured_faces(number) if image.is_file()}
    assert len(used) == images
    written = [summary(p.image) for p in w.primitives(*KINDS) if p.image is not None]
    for path in used:
        assert min(np.abs(summary(path) - other).max() for other in written) < 6, path.name


@cache
def summary(path_or_bytes):
    """The mean colours of a picture's four quarters: tells pictures and their turns apart, whatever their size."""
    image = pixels(path_or_bytes)
    y, x = image.shape[0] // 2, image.shape[1] // 2
    quarters = (image[:y, :x], image[:y, x:], image[y:, :x], image[y:, x:])
    return np.concatenate([q.mean(axis=(0, 1)) for q in quarters])


@pytest.mark.parametrize("number", ["01", "02", "03", "05", "09"])
def test_walls_show_what_they_show_in_the_source(world, number):
    """Near each corner of each textured face the colour is the source's; turned upside down it would not be."""
    w = world(number)
    shown, right = agreement(w, number)
    assert shown > 0.98 and right > 0.95, (shown, right)
    if number in ("01", "05"):
        _, upside_down = agreement(w, number, flip=True)
        assert upside_down < 0.85 * right


@pytest.mark.parametrize(("number", "missing"), [("05", ["hnap0275.tif"]), ("08", 89)])
def test_missing_photographs_are_told_and_drawn(world, number, missing):
    report = str(world(number).report)
    gone = {image.name for _, _, image, _ in textured_faces(number) if not image.is_file()}
    if isinstance(missing, list):
        assert sorted(gone) == missing and all(m in report for m in missing)
    else:
        assert len(gone) == missing or len({str(i) for _, _, i, _ in textured_faces(number)}) == missing
        assert "missing" in report or "no such" in report or str(missing) in report
    assert len(world(number).triangles("building")) > 0


def test_repeated_textures_repeat(world):
    """Tsukuba's roads: coordinates far outside 0-1 stay there, and the sampler repeats."""
    w = world("09")
    wide = [p for p in w.primitives("road", "sidewalk", "flat", "planting", "vegetation")
            if p.image is not None and p.uv is not None and np.ptp(p.uv, axis=0).max() > 20]  # fmt: skip
    assert wide and all(p.repeats for p in wide)


def test_textures_can_be_left_out(world):
    w = world("01", textures=False)
    with_photos, without = ({p.image for p in x.primitives("building")} for x in (world("01"), w))
    photos = {image.read_bytes() for _, _, image, _ in textured_faces("01")}
    assert not photos & without
    assert len(with_photos) >= 9
    areas = [truth.plan_areas(truth.without_backs(x.triangles("building"))).sum() for x in (world("01"), w)]
    assert areas[1] == pytest.approx(areas[0], rel=1e-3)


def test_textures_are_made_no_larger_than_asked_and_still_right(world):
    w = world("01", max_texture_size=128)
    sizes = [max(pixels(p.image).shape[:2]) for p in w.primitives("building") if p.image is not None]
    photos = {image for _, _, image, _ in textured_faces("01")}
    assert max(max(pixels(p).shape[:2]) for p in photos) > 128
    assert max(sizes) <= 128
    shown, right = agreement_of_small(w)
    assert shown > 0.98 and right > 0.6


def agreement_of_small(world):
    """Mean colours instead of pixels: a picture made smaller blurs."""
    places, images, uv = probes(list(textured_faces("01")), world.city)
    ours = colour_in_world(world, places)
    theirs = np.zeros_like(ours)
    for path in set(images):
        rows = [i for i, p in enumerate(images) if p == path]
        small = Image.fromarray(pixels(path).astype(np.uint8))
        small.thumbnail((128, 128), Image.Resampling.BOX)
        theirs[rows] = sample(np.asarray(small, np.float32), uv[rows])
    shown = np.isfinite(ours).all(axis=1)
    return shown.mean(), (np.abs(ours[shown] - theirs[shown]).max(axis=1) < 25).mean()


def test_no_mesh_or_text_names_a_path_of_this_machine(world):
    w = world("01")
    home = str(Path(__file__).parents[4]).encode()
    for path in w.folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert home not in data and str(truth.PLATEAU).encode() not in data, path
