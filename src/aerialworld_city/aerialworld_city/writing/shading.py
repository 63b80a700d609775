"""Pictures of triangles by parallel projection: a depth buffer with texture, then sun, its shadows and the sky's light.

Everything is linear along a triangle in such a picture, so it is drawn without rays, model after model: of a city only
one model has to be in memory. Faces that look away are not drawn, as Gazebo does not draw them; their shadows are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from aerialworld_core.frames import Array
from aerialworld_core.world import Material, Scene

#: Samples across a pixel.
SAMPLES = 2
#: Where the sun's light goes in pictures (map): it stands in the south-west, 55° high. Its light, the sky's and the
#: ground's, linear, as shares of what makes a white surface white.
SUN = np.array([0.40, 0.41, -0.82]) / np.linalg.norm([0.40, 0.41, -0.82])
_SUN_LIGHT = np.array([1.30, 1.25, 1.14])
_SKY_LIGHT, _GROUND_LIGHT = np.array([0.50, 0.56, 0.66]), np.array([0.30, 0.29, 0.27])


@dataclass(eq=False)
class View:
    """A parallel projection into `width` × `height` samples: rows of `axes` (3, 3) are right, down and towards the eye
    in map (metres to samples for the first two, metres for the third), `offset` (3,) is added.

    `nearness` (H, W) float32 of the nearest surface, −inf where there is none; `colour` (H, W, 3) uint8 sRGB without
    light; `facing` (H, W, 2) uint8: how far it faces the sun and the sky. A view without colour is a shadow map.
    """

    axes: Array
    offset: Array
    width: int
    height: int
    nearness: NDArray[np.float32]
    colour: NDArray[np.uint8]
    facing: NDArray[np.uint8]

    @classmethod
    def fitted(
        cls, eye: Array, corners: Array, size: tuple[int, int], *, margin: float = 0.0, lit: bool = True
    ) -> View:
        """A view along −`eye` (3,) (unit, towards the viewer), north up or the sky up, that holds `corners` (N, 3)."""
        up = np.array([0.0, 0.0, 1.0]) if abs(eye[2]) < 0.999 else np.array([0.0, 1.0, 0.0])
        right = np.cross(up, eye)
        right /= np.linalg.norm(right)
        axes = np.stack([right, -np.cross(eye, right), eye])
        seen = corners @ axes.T
        low, high = seen.min(axis=0), seen.max(axis=0)
        width, height = size
        extent = np.maximum(high - low, 1e-3)
        scale = (1.0 - 2.0 * margin) * min(width / extent[0], height / extent[1])
        axes[:2] *= scale
        middle = (low + high) / 2
        offset = np.array([width / 2 - middle[0] * scale, height / 2 - middle[1] * scale, 0.0])
        shape = (height, width) if lit else (0, 0)
        return cls(
            axes, offset, width, height, np.full((height, width), -np.inf, np.float32),
            np.zeros((*shape, 3), np.uint8), np.zeros((*shape, 2), np.uint8),
        )  # fmt: skip

    @property
    def scale(self) -> float:
        """Samples per metre across the picture."""
        return float(np.linalg.norm(self.axes[0]))


@dataclass(eq=False)
class _Skins:
    """Textures with halved copies in one long array: `start` (M, L) into `texels` (N, 3), `size` (M, 2) of the largest
    (width, height; 0 without a texture), `colour` (M, 3) uint8 sRGB."""

    texels: NDArray[np.uint8]
    start: NDArray[np.int64]
    size: NDArray[np.int64]
    colour: NDArray[np.uint8]


_LEVELS = 14


def draw(scene: Scene, views: list[View]) -> None:
    """Add a scene's triangles to the views' buffers."""
    if len(scene.faces) == 0:
        return
    triangles = scene.triangles.astype(np.float64)
    skins = _skins(scene.materials)
    normal = np.ascontiguousarray(scene.normals, np.float32)
    sun = np.clip(-(normal @ SUN.astype(np.float32)), 0, 1)
    sky = 0.5 + 0.5 * normal[..., 2]
    facing = np.ascontiguousarray(np.stack([sun, sky], axis=-1) * 255, np.float32)
    for view in views:
        seen = triangles @ view.axes.T + view.offset
        _fill(
            seen, facing, np.ascontiguousarray(scene.uv), scene.face_material, skins.texels, skins.start, skins.size,
            skins.colour, view.nearness, view.colour, view.facing, view.colour.size > 0,
        )  # fmt: skip


def light(view: View, shadows: View, background: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture (H, W, 3) uint8 of a view, `SAMPLES`² samples per pixel averaged in linear light.

    `background` (H, 3) uint8 is each row's colour where nothing is.
    """
    # From a sample's place to the shadow map's: both projections are affine.
    back = np.linalg.inv(view.axes)
    to_sun = shadows.axes @ back
    shift = shadows.offset - to_sun @ view.offset
    picture: NDArray[np.uint8] = _shade(
        view.nearness, view.colour, view.facing, shadows.nearness, to_sun, shift, 1.5 / shadows.scale,
        background, _TO_LINEAR, _TO_SRGB, _SUN_LIGHT, _SKY_LIGHT, _GROUND_LIGHT,
    )  # fmt: skip
    return picture


def _linear(value: Array) -> Array:
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _srgb(value: Array) -> Array:
    return np.where(value <= 0.0031308, value * 12.92, 1.055 * np.maximum(value, 1e-9) ** (1 / 2.4) - 0.055)


_TO_LINEAR = _linear(np.arange(256) / 255).astype(np.float32)
_TO_SRGB = np.round(_srgb(np.arange(4097) / 4096) * 255).astype(np.uint8)


def _skins(materials: list[Material]) -> _Skins:
    start = np.zeros((len(materials), _LEVELS), np.int64)
    size = np.zeros((len(materials), 2), np.int64)
    colour = np.zeros((len(materials), 3), np.uint8)
    texels: list[NDArray[np.uint8]] = [np.zeros((1, 3), np.uint8)]
    used = 1
    for number, material in enumerate(materials):
        colour[number] = np.round(_srgb(np.clip(material.colour.astype(np.float64), 0, 1)) * 255)
        if material.texture is None:
            continue
        image = np.ascontiguousarray(material.texture)
        size[number] = image.shape[1], image.shape[0]
        for level in range(_LEVELS):
            start[number, level] = used
            texels.append(image.reshape(-1, 3))
            used += len(texels[-1])
            if image.shape[0] == 1 and image.shape[1] == 1:
                start[number, level:] = start[number, level]
                break
            image = _halved(image)
    return _Skins(np.concatenate(texels), start, size, colour)


@numba.njit(cache=True)
def _halved(image):  # type: ignore[no-untyped-def]  # numba infers
    """Half as large, each pixel the mean of up to four."""
    height, width = image.shape[0], image.shape[1]
    h, w = max(1, height // 2), max(1, width // 2)
    out = np.empty((h, w, 3), np.uint8)
    for y in range(h):
        y0, y1 = min(2 * y, height - 1), min(2 * y + 1, height - 1)
        for x in range(w):
            x0, x1 = min(2 * x, width - 1), min(2 * x + 1, width - 1)
            for c in range(3):
                total = (
                    2 + int(image[y0, x0, c]) + int(image[y0, x1, c]) + int(image[y1, x0, c]) + int(image[y1, x1, c])
                )
                out[y, x, c] = total // 4
    return out


@numba.njit(cache=True)
def _fill(seen, facing, uv, material, texels, start, size, plain, nearness, colour, lit, coloured):  # type: ignore[no-untyped-def]
    """Draw triangles seen (F, 3, 3) (column, row, nearness); those that look away only into shadow maps."""
    rows, columns = nearness.shape
    for f in range(len(seen)):
        ax, ay, bx, by, cx, cy = (
            seen[f, 0, 0], seen[f, 0, 1], seen[f, 1, 0], seen[f, 1, 1], seen[f, 2, 0], seen[f, 2, 1],
        )  # fmt: skip
        # Rows count downwards, so a triangle that looks at the eye runs clockwise here.
        doubled = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if doubled == 0 or (coloured and doubled > 0):
            continue
        x0, x1 = max(int(np.ceil(min(ax, bx, cx) - 0.5)), 0), min(int(np.floor(max(ax, bx, cx) - 0.5)), columns - 1)
        y0, y1 = max(int(np.ceil(min(ay, by, cy) - 0.5)), 0), min(int(np.floor(max(ay, by, cy) - 0.5)), rows - 1)
        if x1 < x0 or y1 < y0:
            continue
        # Weights of corners b and c grow linearly along a row.
        bdx, bdy = (cy - ay) / doubled, -(cx - ax) / doubled
        cdx, cdy = -(by - ay) / doubled, (bx - ax) / doubled
        za, zb, zc = seen[f, 0, 2], seen[f, 1, 2] - seen[f, 0, 2], seen[f, 2, 2] - seen[f, 0, 2]
        m = material[f]
        width, height, first = size[m, 0], size[m, 1], np.int64(0)
        if coloured and width > 0:
            u1, v1 = (uv[f, 1, 0] - uv[f, 0, 0]) * width, (uv[f, 1, 1] - uv[f, 0, 1]) * height
            u2, v2 = (uv[f, 2, 0] - uv[f, 0, 0]) * width, (uv[f, 2, 1] - uv[f, 0, 1]) * height
            texels_per_sample = abs((u1 * v2 - u2 * v1) / doubled)
            level = 0
            while texels_per_sample > 2.0 and level < len(start[m]) - 1:
                texels_per_sample /= 4.0
                level += 1
                width, height = max(1, width // 2), max(1, height // 2)
            first = start[m, level]
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                px, py = x + 0.5 - ax, y + 0.5 - ay
                b, c = px * bdx + py * bdy, px * cdx + py * cdy
                if b < 0 or c < 0 or b + c > 1:
                    continue
                near = za + b * zb + c * zc
                if near <= nearness[y, x]:
                    continue
                nearness[y, x] = near
                if not coloured:
                    continue
                a = 1.0 - b - c
                lit[y, x, 0] = int(a * facing[f, 0, 0] + b * facing[f, 1, 0] + c * facing[f, 2, 0])
                lit[y, x, 1] = int(a * facing[f, 0, 1] + b * facing[f, 1, 1] + c * facing[f, 2, 1])
                if size[m, 0] == 0:
                    colour[y, x, 0], colour[y, x, 1], colour[y, x, 2] = plain[m, 0], plain[m, 1], plain[m, 2]
                    continue
                u = a * uv[f, 0, 0] + b * uv[f, 1, 0] + c * uv[f, 2, 0]
                v = a * uv[f, 0, 1] + b * uv[f, 1, 1] + c * uv[f, 2, 1]
                u -= np.floor(u)
                v -= np.floor(v)
                column = min(max(int(u * width), 0), width - 1)
                row = min(max(int((1.0 - v) * height), 0), height - 1)
                texel = first + row * width + column
                for axis in range(3):
                    colour[y, x, axis] = texels[texel, axis] * plain[m, axis] // 255


@numba.njit(cache=True)
def _shade(nearness, colour, facing, sun_map, to_sun, shift, bias, background, linear, srgb, sun, sky, ground):  # type: ignore[no-untyped-def]
    rows, columns = nearness.shape[0] // SAMPLES, nearness.shape[1] // SAMPLES
    sun_rows, sun_columns = sun_map.shape
    out = np.empty((rows, columns, 3), np.uint8)
    total = np.zeros(3)
    for i in range(rows):
        for j in range(columns):
            total[:] = 0.0
            for s in range(SAMPLES * SAMPLES):
                y, x = i * SAMPLES + s // SAMPLES, j * SAMPLES + s % SAMPLES
                near = nearness[y, x]
                if near == -np.inf:
                    for axis in range(3):
                        total[axis] += linear[background[i, axis]]
                    continue
                cosine, up = facing[y, x, 0] / 255.0, facing[y, x, 1] / 255.0
                if cosine > 0:
                    px, py = x + 0.5, y + 0.5
                    sx = to_sun[0, 0] * px + to_sun[0, 1] * py + to_sun[0, 2] * near + shift[0]
                    sy = to_sun[1, 0] * px + to_sun[1, 1] * py + to_sun[1, 2] * near + shift[1]
                    sz = to_sun[2, 0] * px + to_sun[2, 1] * py + to_sun[2, 2] * near + shift[2]
                    column, row = int(sx), int(sy)
                    if 0 <= column < sun_columns and 0 <= row < sun_rows:
                        # A shadow map's texel is as wide as `bias`; a slanted surface climbs along it.
                        slack = bias * (0.3 + min(np.sqrt(max(0.0, 1.0 - cosine * cosine)) / max(cosine, 0.1), 4.0))
                        if sun_map[row, column] > sz + slack:
                            cosine = 0.0
                for axis in range(3):
                    bright = cosine * sun[axis] + up * sky[axis] + (1.0 - up) * ground[axis]
                    total[axis] += linear[colour[y, x, axis]] * bright
            for axis in range(3):
                value = total[axis] / (SAMPLES * SAMPLES)
                out[i, j, axis] = srgb[min(int(value * 4096.0 + 0.5), 4096)]
    return out
