"""Heights of the ground around a terrain model: its border's, levelling out, or those that the evidence there tells."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from aerialworld_city.geometry.evidence import Evidence, thinned
from aerialworld_city.geometry.fit import fitted_heights, grid, lowered_to, step_for
from aerialworld_city.geometry.overlay import TriangleIndex
from aerialworld_core.frames import Array

#: Spacing of the ground's points beyond a terrain model, metres.
_STEP = 25.0
#: The same where it is fitted to evidence.
_FITTED_STEP = 10.0
#: Within this from the border the ground levels out to the border's height as smoothed over about `_SMOOTH`, metres: a
#: cliff that the border cuts does not go on.
_LEVELS_OUT, _SMOOTH = 40.0, 50.0
#: Ground beyond a terrain model turns from the border's heights to those of the bases there within this, metres.
_BLEND = 100.0


def surroundings(
    border: Array, level: Array, index: TriangleIndex, low: Array, high: Array, evidence: Evidence | None
) -> Array:
    """Places with heights (N, 3) outside a terrain model on an even grid, and on the region's edge (low to high).

    `border` (B, 2) the places of the model's border, `level` (B,) their heights, `index` of the model's triangles.
    Near the border the ground goes on as high as it is there, then it levels out; where there is evidence of it
    (None: there is none), it turns to the surface fitted to that.
    """
    nodes = grid(low, high, step_for(low, high, _STEP if evidence is None else _FITTED_STEP))
    places = nodes.reshape(-1, 2)
    step = float(np.max((high - low) / (np.array(nodes.shape[1::-1]) - 1)))
    tree = cKDTree(border)
    distance, nearest = tree.query(places, k=min(16, len(border)))
    distance, nearest = distance.reshape(len(places), -1), nearest.reshape(len(places), -1)
    free = np.isnan(index.height(places))
    on_edge = ((places == low) | (places == high)).any(axis=1)
    use = free & (distance[:, 0] > np.where(on_edge, 0.05, step / 2))
    weight = 1.0 / np.maximum(distance, 1.0)
    height = (weight * level[nearest]).sum(axis=1) / weight.sum(axis=1)
    height += _smoothstep(distance[:, 0] / _LEVELS_OUT) * (_levelled(border, level, places) - height)
    if evidence is not None:
        share = np.clip(distance[:, 0] / _BLEND, 0.0, 1.0)
        height += share * (fitted_heights(evidence, nodes).reshape(-1) - height)
        height = lowered_to(evidence, nodes, height.reshape(nodes.shape[:2])).reshape(-1)
    return np.column_stack([places[use], height[use]])


def _levelled(border: Array, level: Array, places: Array) -> Array:
    """Heights (N,) at places (N, 2) of a border without its cliffs and ditches."""
    even = thinned(np.column_stack([border, level]), _STEP / 2)
    distance, nearest = cKDTree(even[:, :2]).query(places, k=min(48, len(even)))
    distance, nearest = distance.reshape(len(places), -1), nearest.reshape(len(places), -1)
    weight = 1.0 / (distance**2 + _SMOOTH**2) ** 2
    return np.asarray((weight * even[nearest, 2]).sum(axis=1) / weight.sum(axis=1))


def _smoothstep(share: Array) -> Array:
    t = np.clip(share, 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t))
