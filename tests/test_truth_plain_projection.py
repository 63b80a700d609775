"""The projector against a plain one that is written by definition: every pixel, every pair, every voxel of every ray.

No shortcut of the projector's is in it. A line's voxels are those that hold the middle of a stretch between two planes;
the poses are such that no ray runs along or through an edge of the grid.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from aerialworld_core.frames import Pose, grid_from_map
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import CAR, DYNAMIC, FREE, MANMADE, PEDESTRIAN, TERRAIN
from aerialworld_recorder.occupancy import OccupancyProjector

sys.path.insert(0, str(Path(__file__).parent))
from box_city import cube_rig, mixed_city

NUDGE, REACH, BEND, STEP_RATIO = 1e-3, 0.5, 0.5, 5.0


class PlainFace:
    def __init__(self, spec, pose, grid, datum, depth, semantic):
        to_grid, size = grid_from_map(pose, datum), np.array(grid.voxel_size)
        self.spec, self.depth, self.semantic = spec, depth.astype(float), semantic
        self.turn = to_grid[:3, :3] @ pose.rotation @ spec.optical_pose.rotation / size[:, None]
        position = to_grid[:3, :3] @ pose.transform(spec.pose.position) + to_grid[:3, 3]
        self.origin = (position - np.array(grid.minimum)) / size

    def ray(self, u, v):
        """Of a fractional pixel, in the optical frame; depth 1."""
        return np.array(
            [(u + 0.5 - self.spec.width / 2) / self.spec.focal, (v + 0.5 - self.spec.height / 2) / self.spec.focal, 1.0]
        )

    def point(self, u, v, inverse):
        ray = self.ray(u, v)
        return self.origin + (1.0 / inverse + NUDGE / np.linalg.norm(ray)) * (self.turn @ ray)

    def hit(self, u, v):
        inside = 0 <= u < self.spec.width and 0 <= v < self.spec.height
        return inside and 0.0 < self.depth[v, u] < np.inf

    def inverse(self, u, v):
        return 1.0 / self.depth[v, u] if self.hit(u, v) else None


def voxels_between(p, q, shape):
    """Flat numbers of the voxels that a segment runs through."""
    cuts = [np.array([0.0, 1.0])]
    for a in range(3):
        low, high = sorted((p[a], q[a]))
        if high > low:
            planes = np.arange(max(np.ceil(low), 0), min(np.floor(high), shape[a]) + 1)
            cuts.append((planes - p[a]) / (q[a] - p[a]))
    t = np.unique(np.clip(np.concatenate(cuts), 0.0, 1.0))
    middles = np.floor(p + (0.5 * (t[:-1] + t[1:]))[:, None] * (q - p)).astype(int)
    inside = ((middles >= 0) & (middles < shape)).all(axis=1)
    return (middles[inside] @ [shape[1] * shape[2], shape[2], 1]).tolist()


def on_line(a, b, c):
    predicted = 2 * b - a
    return predicted > 0 and abs(1 / predicted - 1 / c) < 5e-3 + 1e-4 / c


def gentle(points):
    p, q = points[1] - points[0], points[2] - points[1]
    if not (1 / STEP_RATIO <= np.linalg.norm(q) / np.linalg.norm(p) <= STEP_RATIO) or p @ q <= 0:
        return False
    return np.linalg.norm(np.cross(p, q)) <= BEND * np.linalg.norm(p) * np.linalg.norm(q)


def may_have_a_voxel_between(face, pixel, other, shape):
    """Whether a segment between two samples can leave their voxels: not if these are one or share a face, nor beyond
    one side of the grid; a surface that ends in the sky is carried on if its last sample is in the grid."""
    ends = [np.floor(face.point(*p, face.inverse(*p))) if face.hit(*p) else None for p in (pixel, other)]
    known = [e for e in ends if e is not None]
    inside = [bool(((e >= 0) & (e < shape)).all()) for e in known]
    if len(known) < 2:
        return any(inside)
    if all(inside):
        return np.abs(ends[0] - ends[1]).sum() > 1
    return not (((ends[0] < 0) & (ends[1] < 0)) | ((ends[0] >= shape) & (ends[1] >= shape))).any()


def segments(face, u, v, su, sv):
    """What is walked between pixel A = (u, v) and B = (u + su, v + sv): (from, to, class), points in voxel units."""
    a2, a1, a, b, b1, b2 = (face.inverse(u + k * su, v + k * sv) for k in range(-2, 4))

    def at(fraction, inverse):
        return face.point(u + fraction * su, v + fraction * sv, inverse)

    meeting = None
    label_a = face.semantic[v, u] if a else None
    label_b = face.semantic[v + sv, u + su] if b else None
    if a and b:
        one = bool((a1 and on_line(a1, a, b)) or (b1 and on_line(b1, b, a)))
        if not one and a1 and b1:
            rays = [face.ray(u + k * su, v + k * sv) / i for k, i in zip((-1, 0, 1, 2), (a1, a, b, b1), strict=True)]
            one = gentle(rays[:3]) and gentle(rays[1:])
        if one and label_a == label_b:
            return [(at(0, a), at(1, b), label_a)]
        if one:
            meeting = (0.5, (a + b) / 2)
    on_a = bool(a and a1 and a2 and on_line(a2, a1, a))
    on_b = bool(b and b1 and b2 and on_line(b2, b1, b))
    if meeting is None and on_a and on_b:
        # a + x·(a − a1) = b + (1 − x)·(b − b1)
        slope = (a - a1) + (b - b1)
        x = (b + (b - b1) - a) / slope if slope else -1.0
        if 0 < x < 1:
            meeting = (x, a + x * (a - a1))
    if meeting is not None:
        middle = at(*meeting) if meeting[1] > 0 else None
        return [(at(0, a), middle, label_a), (middle, at(1, b), label_b)] if middle is not None else []
    found = []
    if on_a and a + REACH * (a - a1) > 0:
        found.append((at(0, a), at(REACH, a + REACH * (a - a1)), label_a))
    if on_b and b + REACH * (b - b1) > 0:
        found.append((at(1 - REACH, b + REACH * (b - b1)), at(1, b), label_b))
    return found


def plain_projection(rig, grid, pose, depth, semantic):
    """(occupancy, semantics, observed) as the documentation says."""
    shape = np.array(grid.shape)
    faces = [PlainFace(c, pose, grid, 0.0, depth[c.name], semantic[c.name]) for c in rig.depth]
    votes, crossed, passed = {}, {}, np.zeros(grid.size, bool)
    for face in faces:
        for v in range(face.spec.height):
            for u in range(face.spec.width):
                value = face.depth[v, u]
                if not value > 0:
                    continue
                ray = face.ray(u, v)
                end = value if value < np.inf else face.spec.far / np.linalg.norm(ray)
                passed[voxels_between(face.origin, face.origin + end * (face.turn @ ray), shape)] = True
                if value < np.inf:
                    voxel = np.floor(face.point(u, v, 1 / value)).astype(int)
                    if ((voxel >= 0) & (voxel < shape)).all():
                        index = int(voxel @ [shape[1] * shape[2], shape[2], 1])
                        votes.setdefault(index, Counter())[int(face.semantic[v, u])] += 1
    for face in faces:
        for v in range(-1, face.spec.height):
            for u in range(-1, face.spec.width):
                for su, sv in ((1, 0), (0, 1)):
                    if not may_have_a_voxel_between(face, (u, v), (u + su, v + sv), shape):
                        continue
                    for p, q, label in segments(face, u, v, su, sv):
                        for index in voxels_between(p, q, shape):
                            before = crossed.setdefault(index, label)
                            if label in DYNAMIC and before not in DYNAMIC:
                                crossed[index] = label
    semantics = np.full(grid.size, FREE, np.uint8)
    for index, label in crossed.items():
        semantics[index] = label
    for index, count in votes.items():
        semantics[index] = min(count, key=lambda c: (c not in DYNAMIC, -count[c], c))
    semantics = semantics.reshape(grid.shape)
    return semantics != FREE, semantics, passed.reshape(grid.shape) | (semantics != FREE)


def speckled(depth, semantic, seed):
    """Depth that says nothing, sky and other classes strewn over the images."""
    rng = np.random.default_rng(seed)
    for name in depth:
        strewn = rng.random(depth[name].shape)
        depth[name][strewn < 0.02] = np.inf
        depth[name][strewn > 0.98] = rng.choice([np.nan, 0.0, -1.0, -np.inf])
        semantic[name][(strewn > 0.5) & (strewn < 0.53)] = rng.choice([CAR, PEDESTRIAN, TERRAIN, MANMADE])
    return depth, semantic


GRIDS = {
    "city": VoxelGrid.from_range((-16, -16, -2, 16, 16, 38), (0.4, 0.4, 1.25)),
    "coarse": VoxelGrid.from_range((-12, -12, -2, 12, 12, 10), (2.0, 3.0, 4.0)),
    "flat": VoxelGrid.from_range((-9, -9, -2, 9, 9, 3), (0.5, 9.0, 5.0)),  # two columns of one voxel
}
VIEWS = [
    ("city", 48, 12.0, (0.01, -0.02, 0.3)),
    ("city", 40, 30.0, (0.2, -0.25, 2.0)),
    ("coarse", 48, 6.0, (0.1, 0.3, -1.0)),
    ("flat", 32, 2.5, (-0.2, 0.1, 0.5)),
]


@pytest.mark.parametrize(("name", "pixels", "height", "angles"), VIEWS)
@pytest.mark.parametrize("strewn", [False, True])
def test_every_voxel_is_what_the_rules_say(name, pixels, height, angles, strewn):
    grid, rig, city = GRIDS[name], cube_rig(pixels, pixels, mount=(0.13, 0.07, -0.15)), mixed_city(1)
    pose = Pose.from_rpy(0.31, -0.17, height, *angles)
    depth, semantic = city.depth_images(rig, pose)
    if strewn:
        depth, semantic = speckled(depth, semantic, pixels)
    occupied, semantics, observed = plain_projection(rig, grid, pose, depth, semantic)
    assert occupied.sum() > 30 and observed.mean() > 0.3
    full = OccupancyProjector(rig, grid, 0.0, carve_all=True).project(pose, depth, semantic)
    assert (full.occupancy == occupied).all()
    assert (full.semantics == semantics).all()
    assert (full.observed == observed).all()
    fast = OccupancyProjector(rig, grid, 0.0).project(pose, depth, semantic)
    assert (fast.occupancy == occupied).all() and (fast.semantics == semantics).all()
    assert not (fast.observed & ~observed).any()
    # 50-pixel faces whose rays end in the air all over: far harder than a rig's, where it is 0.3 %.
    assert (observed & ~fast.observed).sum() < (0.02 if strewn else 0.006) * observed.sum()
