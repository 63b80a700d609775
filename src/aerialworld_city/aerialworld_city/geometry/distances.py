"""Distances and areas of single triangles, for numba kernels: scalars in, scalars out."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True)
def distance_to_triangle(p, a, b, c):  # type: ignore[no-untyped-def]  # numba infers
    """Squared distance of a point to a triangle (Ericson, Real-Time Collision Detection, 5.1.5)."""
    ab0, ab1, ab2 = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    ac0, ac1, ac2 = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    ap0, ap1, ap2 = p[0] - a[0], p[1] - a[1], p[2] - a[2]
    d1 = ab0 * ap0 + ab1 * ap1 + ab2 * ap2
    d2 = ac0 * ap0 + ac1 * ap1 + ac2 * ap2
    if d1 <= 0 and d2 <= 0:
        return ap0 * ap0 + ap1 * ap1 + ap2 * ap2
    bp0, bp1, bp2 = p[0] - b[0], p[1] - b[1], p[2] - b[2]
    d3 = ab0 * bp0 + ab1 * bp1 + ab2 * bp2
    d4 = ac0 * bp0 + ac1 * bp1 + ac2 * bp2
    if d3 >= 0 and d4 <= d3:
        return bp0 * bp0 + bp1 * bp1 + bp2 * bp2
    vc = d1 * d4 - d3 * d2
    if vc <= 0 and d1 >= 0 and d3 <= 0 and d1 - d3 > 0:
        t = d1 / (d1 - d3)
        x, y, z = ap0 - t * ab0, ap1 - t * ab1, ap2 - t * ab2
        return x * x + y * y + z * z
    cp0, cp1, cp2 = p[0] - c[0], p[1] - c[1], p[2] - c[2]
    d5 = ab0 * cp0 + ab1 * cp1 + ab2 * cp2
    d6 = ac0 * cp0 + ac1 * cp1 + ac2 * cp2
    if d6 >= 0 and d5 <= d6:
        return cp0 * cp0 + cp1 * cp1 + cp2 * cp2
    vb = d5 * d2 - d1 * d6
    if vb <= 0 and d2 >= 0 and d6 <= 0 and d2 - d6 > 0:
        t = d2 / (d2 - d6)
        x, y, z = ap0 - t * ac0, ap1 - t * ac1, ap2 - t * ac2
        return x * x + y * y + z * z
    va = d3 * d6 - d5 * d4
    if va <= 0 and (d4 - d3) >= 0 and (d5 - d6) >= 0 and (d4 - d3) + (d5 - d6) > 0:
        t = (d4 - d3) / ((d4 - d3) + (d5 - d6))
        x, y, z = bp0 - t * (c[0] - b[0]), bp1 - t * (c[1] - b[1]), bp2 - t * (c[2] - b[2])
        return x * x + y * y + z * z
    total = va + vb + vc
    if total <= 0:
        return min(
            ap0 * ap0 + ap1 * ap1 + ap2 * ap2, bp0 * bp0 + bp1 * bp1 + bp2 * bp2, cp0 * cp0 + cp1 * cp1 + cp2 * cp2
        )
    v, w = vb / total, vc / total
    x, y, z = ap0 - v * ab0 - w * ac0, ap1 - v * ab1 - w * ac1, ap2 - v * ab2 - w * ac2
    return x * x + y * y + z * z


@numba.njit(cache=True)
def height_gap(p, a, b, c):  # type: ignore[no-untyped-def]
    """Squared vertical distance of a point to the triangle over or under it; infinite beside it."""
    doubled = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    if doubled <= 0:
        return np.inf
    v = ((p[0] - a[0]) * (c[1] - a[1]) - (p[1] - a[1]) * (c[0] - a[0])) / doubled
    w = ((b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])) / doubled
    slack = 1e-9
    if v < -slack or w < -slack or v + w > 1 + slack:
        return np.inf
    gap = p[2] - (a[2] + v * (b[2] - a[2]) + w * (c[2] - a[2]))
    return gap * gap


@numba.njit(cache=True)
def squared_gap(p, a, b, c, ground):  # type: ignore[no-untyped-def]
    if ground:
        return height_gap(p, a, b, c)
    return distance_to_triangle(p, a, b, c)


@numba.njit(cache=True)
def distance_to_segment(p, a, b):  # type: ignore[no-untyped-def]
    ab = b - a
    length = ab[0] * ab[0] + ab[1] * ab[1] + ab[2] * ab[2]
    t = 0.0
    if length > 0:
        t = ((p[0] - a[0]) * ab[0] + (p[1] - a[1]) * ab[1] + (p[2] - a[2]) * ab[2]) / length
        t = min(1.0, max(0.0, t))
    x, y, z = p[0] - a[0] - t * ab[0], p[1] - a[1] - t * ab[1], p[2] - a[2] - t * ab[2]
    return np.sqrt(x * x + y * y + z * z)


@numba.njit(cache=True)
def area_vector(a, b, c):  # type: ignore[no-untyped-def]
    """Twice the area's vector."""
    x1, y1, z1 = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    x2, y2, z2 = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    return y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2


@numba.njit(cache=True)
def tetrahedron(a, b, c):  # type: ignore[no-untyped-def]
    """Six times the signed volume with the origin."""
    return a[0] * (b[1] * c[2] - b[2] * c[1]) + a[1] * (b[2] * c[0] - b[0] * c[2]) + a[2] * (b[0] * c[1] - b[1] * c[0])
