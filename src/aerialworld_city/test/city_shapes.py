"""Small cities of known form, for several tests."""

import numpy as np

#: A closed box of 10 × 6 × 5 m in plane zone IX.
OBJ_BOX = """# COORDINATE_SYSTEM: PROJCS["JGD2011 / Japan Plane Rectangular CS IX",AUTHORITY["EPSG","6677"]]
v -8000 -37000 3
v -7990 -37000 3
v -7990 -36994 3
v -8000 -36994 3
v -8000 -37000 8
v -7990 -37000 8
v -7990 -36994 8
v -8000 -36994 8
f 4 3 2 1
f 5 6 7 8
f 1 2 6 5
f 2 3 7 6
f 3 4 8 7
f 4 1 5 8
"""


def tin(height, size=200.0, step=10.0, seed=0, at=(0.0, 0.0), jitter=0.2):
    """Triangles over a square about `at`, with shifted inner corners; `height(x, y)` at the corners."""
    rng = np.random.default_rng(seed)
    n = int(size / step)
    x, y = np.meshgrid(np.linspace(-size / 2, size / 2, n + 1), np.linspace(-size / 2, size / 2, n + 1))
    x[1:-1, 1:-1] += rng.uniform(-jitter, jitter, (n - 1, n - 1)) * step
    y[1:-1, 1:-1] += rng.uniform(-jitter, jitter, (n - 1, n - 1)) * step
    x, y = x + at[0], y + at[1]
    p = np.stack([x, y, height(x, y)], -1)
    a, b, c, d = p[:-1, :-1], p[:-1, 1:], p[1:, 1:], p[1:, :-1]
    return np.concatenate([np.stack(t, 2).reshape(-1, 3, 3) for t in ([a, b, c], [a, c, d])])


def slope(x, y):
    return 10 + 0.1 * x - 0.05 * y


def bumps(x, y):
    return 12 + 3 * np.sin(x / 23) * np.cos(y / 17)
