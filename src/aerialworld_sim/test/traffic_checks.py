"""What can be wrong with traffic, found from its actors' boxes and the world alone: independent of how it is made."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from aerialworld_core.labels import GROUND


def boxes(traffic, stamp_ns):
    """Middle (N, 2), heading (N,), length and width (N, 2) of the actors' true boxes, as sessions record them."""
    records = [actor.record(actor.motion.state(stamp_ns)) for actor in traffic.actors]
    middle = np.array([r["position"][:2] for r in records])
    x, y, z, w = np.array([r["orientation"] for r in records]).T
    return middle, np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)), np.array([r["size"][:2] for r in records])


def corners(middle, heading, size):
    """(N, 4, 2) corners of rectangles."""
    c, s = np.cos(heading), np.sin(heading)
    along = np.stack([c, s], axis=1) * size[:, :1] / 2
    aside = np.stack([-s, c], axis=1) * size[:, 1:] / 2
    return middle[:, None] + np.stack([along + aside, along - aside, -along - aside, -along + aside], axis=1)


def gap(middle, heading, size, i, j):
    """(K,) metres between rectangles i and j (K,) along the best of their four axes: negative where they overlap."""
    a, b = corners(middle[i], heading[i], size[i]), corners(middle[j], heading[j], size[j])
    best = np.full(len(i), -np.inf)
    for h in (heading[i], heading[i] + np.pi / 2, heading[j], heading[j] + np.pi / 2):
        axis = np.stack([np.cos(h), np.sin(h)], axis=1)
        p, q = np.einsum("kcd,kd->kc", a, axis), np.einsum("kcd,kd->kc", b, axis)
        best = np.maximum(best, np.maximum(p.min(1) - q.max(1), q.min(1) - p.max(1)))
    return best


def least_gap(traffic, stamp_ns):
    """Metres between the two actors that are nearest; negative where two overlap."""
    middle, heading, size = boxes(traffic, stamp_ns)
    pairs = cKDTree(middle).query_pairs(float(np.hypot(*size.T).max()), output_type="ndarray")
    return float(gap(middle, heading, size, *pairs.T).min()) if len(pairs) else np.inf


def tops(world, xy):
    """Class of the topmost surface at points (N, 2), −1 where there is none."""
    origins = np.column_stack([xy, np.full(len(xy), world.bounds[1][2] + 10.0)])
    down = np.broadcast_to([0.0, 0.0, -1.0], origins.shape)
    face = world.cast(origins, down)[1]
    seam = face < 0
    if seam.any():
        face[seam] = world.cast(origins[seam] + [0.003, 0.005, 0.0], down[seam])[1]
    return np.where(face >= 0, world.scene.face_class[face].astype(int), -1)


def outlines(traffic, stamp_ns, per_side=6):
    """(N, K, 2) points along the outlines of the actors' boxes."""
    c = corners(*boxes(traffic, stamp_ns))
    t = np.linspace(0.0, 1.0, per_side, endpoint=False)[:, None, None]
    return np.concatenate([c[:, k] * (1 - t) + c[:, (k + 1) % 4] * t for k in range(4)]).transpose(1, 0, 2)


def off_ground(world, traffic, stamp_ns):
    """Names of actors part of whose outline lies where the topmost surface is not ground: under a roof, in a wall."""
    points = outlines(traffic, stamp_ns)
    good = np.isin(tops(world, points.reshape(-1, 2)), GROUND).reshape(points.shape[:2]).all(axis=1)
    return [actor.name for actor, fine in zip(traffic.actors, good, strict=True) if not fine]


def heights_above_ground(world, traffic, stamp_ns):
    """(N,) metres from the ground under the middle of each actor to the lowest point of its box there."""
    states = [actor.motion.state(stamp_ns) for actor in traffic.actors]
    position = np.array([s.pose.position for s in states])
    ground = world.terrain_height(position[:, :2])
    seam = np.isnan(ground)
    if seam.any():
        ground[seam] = world.terrain_height(position[seam, :2] + [0.003, 0.005])
    return position[:, 2] - ground
