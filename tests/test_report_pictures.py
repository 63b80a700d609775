"""Pictures show what is there: forward is forward, near hides far, colours are those of the classes."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aerialworld.report.pictures import EGO, SEEN_FREE, horizontal_slice, vertical_slice
from aerialworld.report.plots import score_plots
from aerialworld.report.points import render_points
from aerialworld.report.recorded import FROM_ABOVE
from aerialworld.report.voxels import Canvas, View, cropped_levels, render_voxels
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import CAR, COLOURS, FREE, MANMADE, TERRAIN

GRID = VoxelGrid.from_range((-10, -10, 0, 10, 10, 10), (1, 1, 1))


def empty() -> np.ndarray:
    return np.full(GRID.shape, FREE, np.uint8)


def centre_of(mask: np.ndarray) -> tuple[float, float]:
    """(row, column) of a mask's centre as shares of the picture."""
    rows, columns = np.nonzero(mask)
    assert len(rows), "nothing of it is in the picture"
    return float(rows.mean() / mask.shape[0]), float(columns.mean() / mask.shape[1])


def test_horizontal_slice_has_forward_up_and_left_left() -> None:
    semantics = empty()
    semantics[18, 17, 3] = CAR  # 8.5 m ahead, 7.5 m to the left
    picture = horizontal_slice(semantics, np.ones(GRID.shape, bool), GRID, 3, width=200)
    row, column = centre_of((picture == COLOURS[CAR]).all(axis=-1))
    assert (row, column) == pytest.approx((1 - 18.5 / 20, 1 - 17.5 / 20), abs=0.01)
    assert centre_of((picture == EGO).all(axis=-1)) == pytest.approx((0.5, 0.5), abs=0.01)
    assert (picture[0, -1] == SEEN_FREE).all()


def test_unknown_voxels_look_unlike_free_ones() -> None:
    observed = np.zeros(GRID.shape, bool)
    observed[:10] = True  # behind the vehicle
    picture = horizontal_slice(empty(), observed, GRID, 0, width=200)
    free = (picture == SEEN_FREE).all(axis=-1)
    assert free[110:].mean() > 0.99 and not free[:90].any()


def test_vertical_slice_has_forward_right_and_up_up() -> None:
    semantics = empty()
    semantics[16, 10, 8] = MANMADE
    picture = vertical_slice(semantics, np.ones(GRID.shape, bool), GRID, 2.0, width=200)
    row, column = centre_of((picture == COLOURS[MANMADE]).all(axis=-1))
    assert (row, column) == pytest.approx((1 - 8.5 / 10, 16.5 / 20), abs=0.02)
    assert centre_of((picture == EGO).all(axis=-1)) == pytest.approx((0.8, 0.5), abs=0.02)


def test_oblique_view_paints_each_class_where_it_projects() -> None:
    semantics = empty()
    semantics[4, 15, 0], semantics[15, 4, 6] = CAR, TERRAIN
    view = View()
    picture = render_voxels(semantics, GRID, view=view, width=400)
    canvas = Canvas.around(np.array(GRID.minimum), np.array(GRID.maximum), view, 800)
    for ijk, label in (((4, 15, 0), CAR), ((15, 4, 6), TERRAIN)):
        top = np.array(GRID.minimum) + np.array(ijk) + [0.5, 0.5, 1.0]
        x, y = (canvas.pixels(top[None])[0] / 2).round().astype(int)
        colour = picture[y, x].astype(float)
        assert colour[3] == 255
        ratio = colour[:3] / COLOURS[label]
        assert np.ptp(ratio) < 0.03 and 0.6 < ratio.mean() < 1.2, f"hue of class {label}"
    assert (picture[..., 3] > 0).mean() < 0.05, "two voxels are not more than two voxels"


def test_near_voxels_hide_far_ones_from_every_side() -> None:
    """A wall of cars before a wall of buildings, looked at along the ground: only the nearer one shows."""
    for azimuth, near in ((0.0, 15), (np.pi, 4)):
        semantics = empty()
        semantics[4], semantics[15] = MANMADE, MANMADE
        semantics[near] = CAR
        picture = render_voxels(semantics, GRID, view=View(azimuth, np.deg2rad(5.0)), width=300)
        solid = picture[..., 3] == 255
        blue = solid & (picture[..., 2].astype(int) > picture[..., 0].astype(int) + 60)
        assert blue.sum() / solid.sum() > 0.85


def test_closed_ground_has_no_holes() -> None:
    semantics = empty()
    semantics[:, :, 0] = TERRAIN
    view = View()
    for width in (150, 333, 560):
        picture = render_voxels(semantics, GRID, view=view, width=width)
        canvas = Canvas.around(np.array(GRID.minimum), np.array(GRID.maximum), view, width * 2)
        points = np.random.default_rng(0).uniform((-9.5, -9.5, 1.0), (9.5, 9.5, 1.0), (2000, 3))
        x, y = (canvas.pixels(points) / 2).astype(int).T
        assert (picture[y, x, 3] == 255).all()


def test_cropping_levels_keeps_heights() -> None:
    levels, grid = cropped_levels(GRID, 2.5, 6.5)
    assert (levels.start, levels.stop) == (2, 7)
    assert (grid.minimum[2], grid.maximum[2], grid.shape) == (2.0, 7.0, (20, 20, 5))
    assert cropped_levels(GRID, -50.0, 500.0)[1].shape == GRID.shape


def test_lidar_from_above_has_forward_up() -> None:
    ahead_left = np.tile([40.0, 20.0, 0.0], (50, 1)) + np.random.default_rng(0).normal(0, 0.2, (50, 3))
    picture = render_points(ahead_left, view=FROM_ABOVE, width=300, radius=60.0)
    red, green, blue = (picture[..., k].astype(int) for k in range(3))
    seen = (np.maximum(green, blue) > 60) & (np.maximum(green, blue) > red)  # the vehicle's own mark is red
    row, column = centre_of(seen)
    assert (row, column) == pytest.approx((0.5 - 40 / 120, 0.5 - 20 / 120), abs=0.03)


def test_score_plots_show_every_stratum_that_holds_anything() -> None:
    """Panels stand three to a line: a fourth stratum adds a line of 3 inches; one without a score adds nothing."""

    def evaluation(*strata: str, iou: float = 0.5) -> dict[str, Any]:
        def row(label: str, value: float) -> dict[str, Any]:
            scored = {s: {"iou": value, "iou_95": [0.4, 0.6]} for s in strata} | {
                "empty": {"iou": None, "iou_95": None}
            }
            return {"label": label, "horizons": [{"t": t, "strata": scored} for t in (0.5, 1.0)]}

        return {
            "strata": dict.fromkeys((*strata, "empty"), ""),
            "rows": {"copy": row("c", 0.3), "occworld": row("m", iou)},
        }

    def height(png: bytes) -> int:
        return Image.open(io.BytesIO(png)).size[1]

    three, four = score_plots(evaluation("a", "b", "c")), score_plots(evaluation("a", "b", "c", "d"))
    assert height(four) - height(three) == round(3.0 * 110)
    assert three == score_plots(evaluation("a", "b", "c"))
    assert three != score_plots(evaluation("a", "b", "c", iou=0.55))
