"""The map with the planned paths, seen from above, as a PNG."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aerialworld_core.files import write_bytes
from aerialworld_core.frames import Array, yaw_of
from aerialworld_core.labels import DRIVEABLE_SURFACE, OTHER_FLAT, SIDEWALK, VEGETATION
from aerialworld_core.plan import Plan
from aerialworld_missions.heightmap import Geometry, HeightMap

#: Path colours, distinguishable for the colour-blind (Okabe and Ito), told apart from the map's greys.
PATH_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_GROUND, _ROAD, _SIDEWALK, _GREEN = (0.90, 0.92, 0.86), (0.72, 0.72, 0.74), (0.83, 0.82, 0.80), (0.72, 0.83, 0.66)
_PAPER = (1.0, 1.0, 1.0)


def _relief(heights: HeightMap, rows: slice, columns: slice) -> Array:
    """(R, C, 3) colours of the map: class of the ground, buildings by height, light from the north-west."""
    surface, ground = heights.surface[rows, columns], heights.ground[rows, columns]
    classes, built = heights.face_class[rows, columns], heights.building[rows, columns]
    known = np.isfinite(surface)
    colour = np.empty((*surface.shape, 3))
    colour[...] = _GROUND
    for label, value in (
        (DRIVEABLE_SURFACE, _ROAD), (SIDEWALK, _SIDEWALK), (OTHER_FLAT, _SIDEWALK), (VEGETATION, _GREEN)
    ):  # fmt: skip
        colour[classes == label] = value
    above = np.where(built, surface - np.where(np.isfinite(ground), ground, np.nanmin(surface[known])), 0.0)
    shade = np.clip(above / 80.0, 0.0, 1.0)[..., None]
    colour = np.where(
        built[..., None], (1 - shade) * np.array([0.80, 0.74, 0.66]) + shade * np.array([0.42, 0.33, 0.30]), colour
    )
    filled = np.where(known, surface, np.min(surface[known]) if known.any() else 0.0)
    if min(filled.shape) >= 2:
        dy, dx = np.gradient(filled, heights.cell)
        normal = np.stack([-dx, -dy, np.ones_like(dx)], axis=-1)
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        light = normal @ (np.array([-1.0, 1.0, 1.6]) / math.sqrt(1 + 1 + 1.6**2))
        colour = np.clip(colour * (0.62 + 0.45 * np.clip(light, 0.0, 1.0))[..., None], 0.0, 1.0)
    colour[~known] = _PAPER
    return colour


def _nice(length: float) -> float:
    """The largest of 1, 2, 5 · 10ⁿ that is at most `length`."""
    power = 10.0 ** math.floor(math.log10(length))
    return max(m * power for m in (1, 2, 5) if m * power <= length)


def draw(plans: Sequence[Plan], world: Geometry, path: Path | None = None) -> bytes:
    """A top view of the world with each plan's path, its start and direction, as PNG bytes; written to `path` if given.

    Shows the surroundings of the plans (all of a small world). Equal input gives equal bytes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    heights = HeightMap.of(world)
    low, high = heights.low.copy(), heights.high.copy()
    if plans:
        points = np.concatenate([p.position[:, :2] for p in plans])
        border = max(60.0, 0.15 * float(np.ptp(points, axis=0).max()))
        low, high = np.maximum(low, points.min(axis=0) - border), np.minimum(high, points.max(axis=0) + border)
    rows, columns = heights.cells_in(low, high)
    corner = heights.low + heights.cell * np.array([columns.start, rows.start])
    west, south = corner
    east, north = corner + heights.cell * np.array([columns.stop - columns.start, rows.stop - rows.start])
    width = 11.0
    height = float(np.clip(width * (north - south) / (east - west), 3.0, 14.0))
    figure = Figure(figsize=(width, height + 0.6), dpi=110, layout="constrained", facecolor="white")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.imshow(
        _relief(heights, rows, columns), origin="lower", extent=(west, east, south, north), interpolation="antialiased"
    )
    for i, plan in enumerate(plans):
        _path(axes, plan, PATH_COLOURS[i % len(PATH_COLOURS)], math.hypot(east - west, north - south))
    _furniture(axes, west, east, south, north)
    axes.set_aspect("equal")
    axes.set(xlim=(west, east), ylim=(south, north), xlabel="east of the origin (m)", ylabel="north of the origin (m)")
    axes.tick_params(labelsize=8, colors="#444444")
    for spine in axes.spines.values():
        spine.set_color("#bbbbbb")
    if plans:
        figure.legend(loc="outside lower center", ncols=min(len(plans), 5), frameon=False, fontsize=9)
    buffer = io.BytesIO()
    canvas.print_figure(buffer, format="png", metadata={"Software": None})
    data = buffer.getvalue()
    if path is not None:
        write_bytes(path, data)
    return data


def _path(axes: Any, plan: Plan, colour: str, scale: float) -> None:
    """A path with a halo, a dot at its start and an arrow head at its end, both along the vehicle's motion."""
    x, y = plan.position[:, 0], plan.position[:, 1]
    style = "-" if plan.agent_type == "drone" else (0, (3, 1.2))
    label = f"{plan.name} ({plan.agent_type}, {plan.duration:.0f} s)"
    axes.plot(x, y, color="white", linewidth=4.2, solid_capstyle="round", alpha=0.85, zorder=3)
    axes.plot(x, y, color=colour, linewidth=2.2, linestyle=style, label=label, zorder=4)
    axes.plot(x[0], y[0], "o", color=colour, markersize=8, markeredgecolor="white", markeredgewidth=1.5, zorder=5)
    direction = np.array([x[-1] - x[-2], y[-1] - y[-2]])
    norm = float(np.linalg.norm(direction))
    yaw = yaw_of(plan.orientation[-1])
    unit = direction / norm if norm > 1e-6 else np.array([math.cos(yaw), math.sin(yaw)])
    axes.annotate(
        "", xy=(x[-1] + 0.018 * scale * unit[0], y[-1] + 0.018 * scale * unit[1]), xytext=(x[-1], y[-1]), zorder=5,
        arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 2.0, "mutation_scale": 16},
    )  # fmt: skip


def _furniture(axes: Any, west: float, east: float, south: float, north: float) -> None:
    """Scale bar and north arrow, in the lower corners."""
    w, h = east - west, north - south
    bar = _nice(0.25 * w)
    x, y = west + 0.03 * w, south + 0.05 * h
    axes.plot([x, x + bar], [y, y], color="black", linewidth=3, solid_capstyle="butt", zorder=6)
    box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.5}
    axes.text(x + bar / 2, y + 0.018 * h, f"{bar:g} m", ha="center", va="bottom", fontsize=9, zorder=6, bbox=box)
    x = east - 0.04 * w
    tip, foot = (x, south + 0.05 * h + 0.09 * min(w, h)), (x, south + 0.05 * h)
    arrow = {"arrowstyle": "-|>", "color": "black", "linewidth": 2, "mutation_scale": 18}
    axes.annotate("", xy=tip, xytext=foot, arrowprops=arrow, zorder=6)
    axes.text(*tip, "N", ha="center", va="bottom", fontsize=11, fontweight="bold", zorder=6)
