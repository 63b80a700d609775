"""How far apart two surfaces of one height per place are, vertically."""

from __future__ import annotations

import numba
import numpy as np

from aerialworld_city.geometry.box_tree import box_tree
from aerialworld_core.frames import Array


def height_deviation(one: Array, other: Array) -> Array:
    """Largest vertical distance, metres (N,), of each triangle of a surface of one height per place from another, where
    both are: triangles (N, 3, 3), (M, 3, 3) facing up. Exact: both are linear on every piece of their overlay, so its
    corners decide."""
    if len(one) == 0 or len(other) == 0:
        return np.zeros(len(one))
    flat = np.ascontiguousarray(other, np.float64).copy()
    flat[..., 2] = 0.0
    order, low, high, child, start, count = box_tree(flat)
    gap: Array = _height_gap(
        np.ascontiguousarray(one), np.ascontiguousarray(other), order, low, high, child, start, count
    )
    return gap


@numba.njit(cache=True)
def _plane(t):  # type: ignore[no-untyped-def]
    """Height = p · x + q · y + r over a triangle; NaN for one without area in plan."""
    x1, y1, z1 = t[1, 0] - t[0, 0], t[1, 1] - t[0, 1], t[1, 2] - t[0, 2]
    x2, y2, z2 = t[2, 0] - t[0, 0], t[2, 1] - t[0, 1], t[2, 2] - t[0, 2]
    doubled = x1 * y2 - y1 * x2
    if doubled <= 0:
        return np.nan, np.nan, np.nan
    p, q = (z1 * y2 - y1 * z2) / doubled, (x1 * z2 - z1 * x2) / doubled
    return p, q, t[0, 2] - p * t[0, 0] - q * t[0, 1]


@numba.njit(cache=True)
def _height_gap(one, other, order, low, high, child, start, count):  # type: ignore[no-untyped-def]
    worst = np.zeros(len(one))
    stack = np.empty(256, np.int64)
    polygon, clipped = np.empty((16, 2)), np.empty((16, 2))
    for i in range(len(one)):
        t = one[i]
        p, q, r = _plane(t)
        if np.isnan(p):
            continue
        x0, x1 = min(t[0, 0], t[1, 0], t[2, 0]), max(t[0, 0], t[1, 0], t[2, 0])
        y0, y1 = min(t[0, 1], t[1, 1], t[2, 1]), max(t[0, 1], t[1, 1], t[2, 1])
        stack[0] = 0
        depth = 1
        while depth > 0:
            depth -= 1
            node = stack[depth]
            if low[node, 0] > x1 or high[node, 0] < x0 or low[node, 1] > y1 or high[node, 1] < y0:
                continue
            if child[node] >= 0:
                stack[depth], stack[depth + 1] = child[node], child[node] + 1
                depth += 2
                continue
            for j in range(start[node], start[node] + count[node]):
                s = other[order[j]]
                p2, q2, r2 = _plane(s)
                if np.isnan(p2):
                    continue
                corners = _clip(t, s, polygon, clipped)
                for k in range(corners):
                    x, y = polygon[k, 0], polygon[k, 1]
                    worst[i] = max(worst[i], abs((p - p2) * x + (q - q2) * y + r - r2))
    return worst


@numba.njit(cache=True)
def _clip(t, s, polygon, clipped):  # type: ignore[no-untyped-def]
    """What two triangles share in plan, into `polygon`; its number of corners (Sutherland and Hodgman 1974)."""
    n = 3
    for k in range(3):
        polygon[k, 0], polygon[k, 1] = t[k, 0], t[k, 1]
    for e in range(3):
        ax, ay = s[e, 0], s[e, 1]
        bx, by = s[(e + 1) % 3, 0] - ax, s[(e + 1) % 3, 1] - ay
        m = 0
        for k in range(n):
            px, py = polygon[k, 0], polygon[k, 1]
            qx, qy = polygon[(k + 1) % n, 0], polygon[(k + 1) % n, 1]
            dp, dq = bx * (py - ay) - by * (px - ax), bx * (qy - ay) - by * (qx - ax)
            if dp >= 0:
                clipped[m, 0], clipped[m, 1] = px, py
                m += 1
            if (dp > 0 and dq < 0) or (dp < 0 and dq > 0):
                f = dp / (dp - dq)
                clipped[m, 0], clipped[m, 1] = px + f * (qx - px), py + f * (qy - py)
                m += 1
        n = m
        polygon[:n] = clipped[:n]
        if n == 0:
            return 0
    return n
