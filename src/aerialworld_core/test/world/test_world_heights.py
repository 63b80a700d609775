"""Heights from the plan's squares against planes computed by hand and against rays."""

import numpy as np
import pytest

from aerialworld_core.world.heights import Heights
from aerialworld_core.world.rays import RayCaster


def quad(x0, y0, x1, y1, z):
    """Two triangles; z (4,) at (x0, y0), (x1, y0), (x1, y1), (x0, y1)."""
    corners = np.array([[x0, y0, z[0]], [x1, y0, z[1]], [x1, y1, z[2]], [x0, y1, z[3]]], np.float32)
    return corners[[[0, 1, 2], [0, 2, 3]]]


def heights_of(triangles):
    triangles = np.asarray(triangles, np.float32)
    faces = np.arange(3 * len(triangles), dtype=np.int32).reshape(-1, 3)
    return Heights(triangles.reshape(-1, 3), faces)


def test_a_plane_by_hand_its_edges_and_what_is_beside_it():
    heights = heights_of(quad(0, 0, 4, 8, [0, 4, 12, 8]))  # z = x + y
    xy = np.array([[1, 2], [3, 1], [0, 0], [4, 8], [2, 4], [4, 0], [-0.01, 1], [1, 8.01], [np.nan, 1], [np.inf, 0]])
    z = heights.topmost(xy)
    assert z[:6] == pytest.approx([3, 4, 0, 12, 6, 4], abs=1e-6) and np.isnan(z[6:]).all()


def test_the_highest_counts_whichever_way_it_faces():
    low, high = quad(0, 0, 10, 10, [1] * 4), quad(2, 2, 4, 4, [7] * 4)[:, ::-1]
    z = heights_of(np.concatenate([low, high])).topmost(np.array([[3, 3], [8, 8]]))
    assert z.tolist() == [7, 1]


def test_nothing_and_what_is_upright_has_no_height():
    wall = np.array([[[0, 0, 0], [1, 0, 0], [1, 0, 5]]])
    for triangles in (np.zeros((0, 3, 3)), wall):
        assert np.isnan(heights_of(triangles).topmost(np.array([[0.5, 0.0]]))).all()


@pytest.mark.parametrize("seed", range(4))
def test_triangles_of_very_different_sizes_agree_with_rays(seed):
    random = np.random.default_rng(seed)
    size = 10.0 ** random.uniform(-1, 2.5, (3000, 1, 1))
    triangles = random.uniform(-300, 300, (3000, 1, 3)) + size * random.uniform(-1, 1, (3000, 3, 3))
    if seed == 1:  # a long strip
        triangles[..., 1] *= 1e-3
    if seed == 2:  # everything above the same spot
        triangles = 1000.0 * random.uniform(-1, 1, (3000, 3, 3))
    triangles = triangles.astype(np.float32)
    low, high = triangles.min(axis=(0, 1)), triangles.max(axis=(0, 1))
    xy = random.uniform(low[:2], high[:2], (5000, 2))
    origins = np.column_stack([xy, np.full(len(xy), high[2] + 10.0)])
    down = np.broadcast_to([0.0, 0.0, -1.0], origins.shape)
    distance, face = RayCaster(triangles).cast(origins, down, cull_backfaces=False, max_distance=np.inf)
    expected = np.where(face >= 0, high[2] + 10.0 - distance, np.nan)
    z = heights_of(triangles).topmost(xy)
    # Rays are float32: at a border they may hit or miss by some micrometres, on steep ground with another height.
    different = ~(np.isclose(z, expected, rtol=0, atol=2e-3) | (np.isnan(z) & np.isnan(expected)))
    assert different.sum() <= 5 and (~np.isnan(z)).sum() > 500
