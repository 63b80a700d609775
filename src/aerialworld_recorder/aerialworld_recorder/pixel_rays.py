"""What the kernels share: depth along the optical axis from either convention."""

from __future__ import annotations

import numba


@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def axis_depth(value, norm, euclidean):  # type: ignore[no-untyped-def]
    """Depth along the optical axis; `norm` is the length of the pixel's ray (x, y, 1)."""
    if euclidean:
        return value / norm
    return value * 1.0
