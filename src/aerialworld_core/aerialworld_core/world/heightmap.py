"""SDF heightmaps as Gazebo Harmonic puts them into the world.

From the sources of gz-common 5 and gz-rendering 8: a picture's value is divided by the greatest that its depth holds,
then by the greatest that occurs; value 0 lies at the z of <pos>. Row 0 is north, column 0 west. A picture has 2ⁿ or
2ⁿ + 1 pixels a side; sample i lies i · size / 2ⁿ from the western (northern) border, so those of 2ⁿ + 1 reach the far
border (Gazebo's renderer leaves the last one out) and those of 2ⁿ end one step before it. The visual's pose does not
move a heightmap. Squares are split from north-west to south-east, as the renderer's triangle strips are.
"""

from __future__ import annotations

import numpy as np

from aerialworld_core.errors import WorldError
from aerialworld_core.frames import Array
from aerialworld_core.world.mesh import MeshPart, Skin
from aerialworld_core.world.textures import decode_heights

#: More samples along a side would be more triangles than a scene may have.
MAX_SIDE = 4097


def read_heightmap(
    data: bytes, context: str, size: Array, position: Array, skin: Skin | None, repeat: float
) -> MeshPart:
    """Triangles of a heightmap picture, facing up: two per square of samples.

    `size` (3,) and `position` (3,) metres as in SDF; `repeat` metres that `skin`'s picture covers. Raises
    WorldError (no square of 2ⁿ or 2ⁿ + 1 pixels, sizes that are not positive), beginning with `context`.
    """
    if (size <= 0).any():
        raise WorldError(f"{context}: sizes must be positive, not {size.tolist()}")
    values = decode_heights(data, context)
    side = len(values)
    if values.shape != (side, side) or not 3 <= side <= MAX_SIDE or not (_power(side) or _power(side - 1)):
        raise WorldError(
            f"{context}: {values.shape[1]}×{side} pixels: a heightmap is a square of 2ⁿ or 2ⁿ + 1, 3 to {MAX_SIDE}"
        )
    top = values.max()
    heights = values / top if top > 0 else values
    step = size[:2] / (side if _power(side) else side - 1)
    east, south = np.meshgrid(np.arange(side) * step[0], np.arange(side) * step[1])
    points = np.stack(
        [position[0] - size[0] / 2 + east, position[1] + size[1] / 2 - south, position[2] + heights * size[2]], axis=-1
    )
    number = np.arange(side * side).reshape(side, side)
    nw, ne, sw, se = number[:-1, :-1], number[:-1, 1:], number[1:, :-1], number[1:, 1:]
    faces = np.stack([np.stack([nw, sw, se], -1), np.stack([nw, se, ne], -1)], axis=2).reshape(-1, 3)
    plan = np.stack([east, size[1] - south], axis=-1).reshape(-1, 2) / repeat
    slope_y, slope_x = np.gradient(points[..., 2], step[1], step[0])
    normals = np.stack([-slope_x, slope_y, np.ones_like(slope_x)], axis=-1).reshape(-1, 3)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return MeshPart(points.reshape(-1, 3), faces, plan, normals, "", skin)


def _power(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0
