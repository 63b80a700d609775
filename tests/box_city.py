"""A small city of convex solids on a plane, cast exactly: the known truth that projected occupancy is measured against.

Nothing here is shared with what is tested but the words of `aerialworld_core`: rays are met with half-spaces in
float64, the voxels that a surface touches follow from clipping its polygons at the voxel's planes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numba
import numpy as np

from aerialworld_core.frames import Pose, grid_from_map
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import MANMADE, TERRAIN
from aerialworld_core.rig import CUBE_FACES, CameraSpec, Rig

#: The drone's cube hangs a little below and before base_link, so that the lever arm is tested as well.
MOUNT = (0.1, 0.0, -0.15)


def cube_rig(size: int = 400, down: int | None = 800, far: float = 200.0, near: float = 0.1, mount=MOUNT) -> Rig:
    """Six 90° faces; `down` is the down face's size (default rig of the drone: 400 and 800)."""
    faces = []
    for name, (yaw, pitch) in CUBE_FACES.items():
        n = down if name == "down" and down else size
        faces.append(CameraSpec(name, Pose.from_rpy(*mount, 0.0, pitch, yaw), n, n, np.pi / 2, near, far, 10.0))
    return Rig("cube", (), tuple(faces))


@dataclass
class BoxCity:
    """Convex solids and a plane.

    ground   (z at the origin, slope along x, slope along y), or None
    solids   per solid its planes (P, 4), inside where n·p ≤ d, and its class
    faces    all solids' polygons in order, each (V, 3)
    """

    ground: tuple[float, float, float] | None = (0.0, 0.0, 0.0)
    ground_label: int = TERRAIN
    solids: list[tuple[np.ndarray, int]] = field(default_factory=list)
    faces: list[np.ndarray] = field(default_factory=list)

    def add_prism(self, profile: list[tuple[float, float]], length: float, pose: Pose, label: int = MANMADE) -> None:
        """A convex profile in (y, z), counter-clockwise seen from +x, swept along x over ±length/2, at `pose`."""
        n = len(profile)
        ends = [np.array([[x, y, z] for y, z in profile]) for x in (length / 2, -length / 2)]
        polygons = [ends[0], ends[1][::-1]]
        polygons += [np.array([ends[0][i], ends[1][i], ends[1][(i + 1) % n], ends[0][(i + 1) % n]]) for i in range(n)]
        planes = []
        for polygon in polygons:
            world = pose.transform(polygon)
            normal = np.cross(world[1] - world[0], world[2] - world[0])
            normal /= np.linalg.norm(normal)
            planes.append([*normal, float(normal @ world[0])])
            self.faces.append(world)
        inside = pose.transform(np.concatenate(ends)).mean(axis=0)
        assert all(np.dot(p[:3], inside) < p[3] for p in planes), "profile must run counter-clockwise"
        self.solids.append((np.array(planes), label))

    def add_box(self, x: float, y: float, z0: float, size, yaw: float = 0.0, label: int = MANMADE) -> None:
        """A box of size (l, w, h) standing at z0."""
        length, w, h = size
        profile = [(-w / 2, 0.0), (w / 2, 0.0), (w / 2, h), (-w / 2, h)]
        self.add_prism(profile, length, Pose.from_rpy(x, y, z0, 0, 0, yaw), label)

    def add_house(self, x: float, y: float, z0: float, size, rise: float, yaw: float, label: int = MANMADE) -> None:
        """A box with a gable roof that rises by `rise`."""
        length, w, h = size
        profile = [(-w / 2, 0.0), (w / 2, 0.0), (w / 2, h), (0.0, h + rise), (-w / 2, h)]
        self.add_prism(profile, length, Pose.from_rpy(x, y, z0, 0, 0, yaw), label)

    def ground_z(self, x: float, y: float) -> float:
        assert self.ground is not None
        return self.ground[0] + self.ground[1] * x + self.ground[2] * y

    def _arrays(self):
        count = max((len(p) for p, _ in self.solids), default=1)
        planes = np.zeros((len(self.solids), count, 4))
        planes[:, :, 3] = 1.0
        spheres = np.zeros((len(self.solids), 4))
        start = 0
        for s, (p, _) in enumerate(self.solids):
            planes[s, : len(p)] = p
            corners = np.concatenate(self.faces[start : start + len(p)])
            start += len(p)
            centre = (corners.min(0) + corners.max(0)) / 2
            spheres[s] = [*centre, np.linalg.norm(corners - centre, axis=1).max() + 1e-6]
        labels = np.array([label for _, label in self.solids] + [self.ground_label], np.uint8)
        ground = np.array([1.0, *self.ground]) if self.ground is not None else np.zeros(4)
        return planes, spheres, labels, ground

    def depth_images(self, rig: Rig, pose: Pose):
        """Exact depth (float32, along the optical axis, ±inf as the conventions say) and class per face."""
        depth, semantic = {}, {}
        for spec in rig.depth:
            optical = pose @ spec.optical_pose
            depth[spec.name], semantic[spec.name] = _render(
                optical.position, optical.rotation, spec.width, spec.height, spec.focal, spec.near, spec.far,
                *self._arrays(),
            )  # fmt: skip
        return depth, semantic

    def visible_voxels(self, rig: Rig, pose: Pose, grid: VoxelGrid, datum: float, oversample: int = 4):
        """Visible area per voxel in m²: every ray of a cube `oversample` times as fine gives solid angle·r²/cos."""
        area = np.zeros(grid.shape)
        to_grid = grid_from_map(pose, datum)
        for spec in rig.depth:
            optical = pose @ spec.optical_pose
            n = oversample
            _visible_area(
                optical.position, optical.rotation, spec.width * n, spec.height * n, spec.focal * n, spec.near,
                spec.far, *self._arrays(), to_grid, np.array(grid.minimum), np.array(grid.voxel_size), area,
            )  # fmt: skip
        return area

    def touches(self, ijk: np.ndarray, pose: Pose, grid: VoxelGrid, datum: float, grow: float = 0.01) -> np.ndarray:
        """Which of the voxels (N, 3), grown by `grow` on all sides, a surface of the city meets."""
        to_grid = grid_from_map(pose, datum)
        polygons = [f @ to_grid[:3, :3].T + to_grid[:3, 3] for f in self.faces]
        if self.ground is not None:
            far = [(-400, -400), (400, -400), (400, 400), (-400, 400)]
            x, y = pose.position[:2]
            square = np.array([[x + a, y + b, self.ground_z(x + a, y + b)] for a, b in far])
            polygons.append(square @ to_grid[:3, :3].T + to_grid[:3, 3])
        widest = max(len(p) for p in polygons)
        padded = np.stack([np.concatenate([p, np.repeat(p[-1:], widest - len(p), 0)]) for p in polygons])
        low = np.array(grid.minimum) + ijk * np.array(grid.voxel_size) - grow
        return _any_polygon(np.ascontiguousarray(padded), low, low + np.array(grid.voxel_size) + 2 * grow)

    def score(self, rig: Rig, pose: Pose, grid: VoxelGrid, datum: float, occupancy: np.ndarray, oversample: int = 4):
        """Recall and precision as the session format defines them, and |S|."""
        truth = self.visible_voxels(rig, pose, grid, datum, oversample) > 0.02
        occupied = occupancy.astype(bool)
        hits = self.touches(np.argwhere(occupied), pose, grid, datum)
        return (occupied & truth).sum() / truth.sum(), hits.mean(), int(truth.sum())


def mixed_city(seed: int = 0, ground=(0.0, 0.0, 0.0), clear: float = 6.0) -> BoxCity:
    """Two dozen boxes and gabled houses, turned every way, on a plane; the middle is left free for the vehicle."""
    rng = np.random.default_rng(seed)
    city = BoxCity(ground=ground)
    taken: list[tuple[float, float, float]] = [(0.0, 0.0, clear)]
    while len(city.solids) < 24:
        x, y = rng.uniform(-60, 60, 2)
        size = (rng.uniform(6, 18), rng.uniform(5, 12), rng.choice([4.0, 6.3, 9.1, 13.7, 27.2, 44.6]))
        radius = float(np.hypot(size[0], size[1]) / 2)
        if any(np.hypot(x - a, y - b) < r + radius + 1.0 for a, b, r in taken):
            continue
        taken.append((x, y, radius))
        yaw = float(rng.choice([0.0, rng.uniform(0, np.pi)]))
        base = city.ground_z(x, y) - 3.0
        size = (size[0], size[1], float(size[2]) + 3.0)
        if rng.random() < 0.5:
            city.add_box(x, y, base, size, yaw)
        else:
            city.add_house(x, y, base, size, rng.uniform(1.0, 3.0), yaw)
    return city


@numba.njit(cache=True)
def _nearest(o, d, planes, spheres, ground):  # type: ignore[no-untyped-def]
    """The nearest surface along o + t·d: t, which solid (their count: the ground; −1: none), |cos| of incidence."""
    best, which, cosine = np.inf, -1, 0.0
    norm = np.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2])
    if ground[0] > 0.0:
        denominator = d[2] - ground[2] * d[0] - ground[3] * d[1]
        if denominator < 0.0:
            t = (ground[1] + ground[2] * o[0] + ground[3] * o[1] - o[2]) / denominator
            if t > 0.0:
                best, which = t, len(planes)
                cosine = -denominator / (norm * np.sqrt(1.0 + ground[2] ** 2 + ground[3] ** 2))
    for s in range(len(planes)):
        cx, cy, cz = spheres[s, 0] - o[0], spheres[s, 1] - o[1], spheres[s, 2] - o[2]
        along = (cx * d[0] + cy * d[1] + cz * d[2]) / norm
        if along < -spheres[s, 3] or cx * cx + cy * cy + cz * cz - along * along > spheres[s, 3] ** 2:
            continue
        enter, leave, enter_cos = 0.0, np.inf, 0.0
        for p in range(planes.shape[1]):
            nd = planes[s, p, 0] * d[0] + planes[s, p, 1] * d[1] + planes[s, p, 2] * d[2]
            gap = planes[s, p, 3] - planes[s, p, 0] * o[0] - planes[s, p, 1] * o[1] - planes[s, p, 2] * o[2]
            if nd < 0.0:
                if gap / nd > enter:
                    enter, enter_cos = gap / nd, -nd / norm
            elif nd > 0.0:
                leave = min(leave, gap / nd)
            elif gap < 0.0:
                leave = -1.0
            if leave < enter:
                break
        if 0.0 < enter <= leave and enter < best:
            best, which, cosine = enter, s, enter_cos
    return best, which, cosine


@numba.njit(cache=True)
def _render(origin, rotation, width, height, focal, near, far, planes, spheres, labels, ground):  # type: ignore[no-untyped-def]
    depth = np.empty((height, width), np.float32)
    semantic = np.zeros((height, width), np.uint8)
    d = np.empty(3)
    for v in range(height):
        for u in range(width):
            x, y = (u + 0.5 - width / 2) / focal, (v + 0.5 - height / 2) / focal
            for a in range(3):
                d[a] = rotation[a, 0] * x + rotation[a, 1] * y + rotation[a, 2]
            t, which, _ = _nearest(origin, d, planes, spheres, ground)
            if t * np.sqrt(1 + x * x + y * y) > far:
                depth[v, u] = np.inf
            elif t < near:
                depth[v, u] = -np.inf
            else:
                depth[v, u] = t
                semantic[v, u] = labels[which]
    return depth, semantic


@numba.njit(cache=True)
def _visible_area(  # type: ignore[no-untyped-def]
    origin, rotation, width, height, focal, near, far, planes, spheres, labels, ground, to_grid, low, size, area
):
    d = np.empty(3)
    p = np.empty(3)
    for v in range(height):
        for u in range(width):
            x, y = (u + 0.5 - width / 2) / focal, (v + 0.5 - height / 2) / focal
            for a in range(3):
                d[a] = rotation[a, 0] * x + rotation[a, 1] * y + rotation[a, 2]
            t, _, cosine = _nearest(origin, d, planes, spheres, ground)
            r2 = 1 + x * x + y * y
            if t < near or t * np.sqrt(r2) > far:
                continue
            inside = True
            for a in range(3):
                p[a] = to_grid[a, 3]
                for b in range(3):
                    p[a] += to_grid[a, b] * (origin[b] + t * d[b])
                p[a] = (p[a] - low[a]) / size[a]
                inside = inside and 0.0 <= p[a] < area.shape[a]
            if inside:
                area[int(p[0]), int(p[1]), int(p[2])] += t * t / (focal * focal * np.sqrt(r2) * cosine)


@numba.njit(cache=True)
def _any_polygon(polygons, low, high):  # type: ignore[no-untyped-def]
    """Per box whether any polygon keeps a corner after being clipped at the box's six planes (Sutherland–Hodgman)."""
    found = np.zeros(len(low), np.bool_)
    a = np.empty((32, 3))
    b = np.empty((32, 3))
    for i in range(len(low)):
        for f in range(len(polygons)):
            apart = False
            for axis in range(3):
                if polygons[f, :, axis].max() < low[i, axis] or polygons[f, :, axis].min() > high[i, axis]:
                    apart = True
            if apart:
                continue
            n = polygons.shape[1]
            a[:n] = polygons[f]
            for axis in range(3):
                for side in range(2):
                    sign, limit = (1.0, low[i, axis]) if side == 0 else (-1.0, -high[i, axis])
                    m = 0
                    for k in range(n):
                        p, q = a[k], a[(k + 1) % n]
                        gp, gq = sign * p[axis] - limit, sign * q[axis] - limit
                        if gp >= 0:
                            b[m] = p
                            m += 1
                        if gp * gq < 0:
                            b[m] = p + (q - p) * (gp / (gp - gq))
                            m += 1
                    a[:m] = b[:m]
                    n = m
            if n > 0:
                found[i] = True
                break
    return found
