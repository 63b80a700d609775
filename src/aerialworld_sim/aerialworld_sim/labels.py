"""Class, instance and a depth camera's conventions, from what the pixels see."""

# Kernels have machine types that annotations cannot say.
# mypy: disable-error-code="arg-type, assignment, call-arg, call-overload, operator, type-var, misc"

from __future__ import annotations

from typing import Any

import numpy as np

from aerialworld_sim.compiled import kernel


@kernel
def label_rows(
    face: Any, depth: Any, camera: Any, near: float, far: float, ranged: bool, labels: Any, row0: int,
    semantic: Any, instance: Any,
) -> None:  # fmt: skip
    """`semantic` (H, W) uint8 and `instance` (H, W) uint16 (each unless empty) for the pixels `face` and `depth`
    (R, W), whose first row is row0.

    labels  (F,) int32 class + 256·instance of every face; camera (cx, cy, 1/focal, 1/focal_y)
    ranged  a depth camera: depth becomes −inf where it is below `near`, +inf where the distance exceeds `far`
    """
    height, width = face.shape
    low, square, infinite = np.float32(near), np.float32(far * far), np.float32(np.inf)
    for y in range(height):
        row = row0 + y
        if ranged:
            up = np.float32((camera[1] - row) * camera[3])
            side, start, step = np.float32(1.0) + up * up, np.float32(camera[0]), np.float32(camera[2])
            for x in range(width):
                t = depth[y, x]
                left = (start - np.float32(x)) * step
                t = infinite if t * t * (side + left * left) > square else t
                depth[y, x] = -infinite if t < low else t
        for x in range(width):
            label = np.int32(0)
            if face[y, x] >= 0 and abs(depth[y, x]) < infinite:
                label = labels[face[y, x]]
            if len(semantic):
                semantic[row, x] = np.uint8(label & 255)
            if len(instance):
                instance[row, x] = np.uint16(label >> 8)
