"""What the pixels of a pinhole camera see: triangles of the hierarchy, tile by tile and front to back.

A tile's frustum walks down the tree, nearest boxes first; boxes outside the frustum or behind everything already seen
in the tile are left out, and the triangles of the leaves are scan-converted over the tile's pixels. Coordinates are
homogeneous (Olano and Greer 1997, "Triangle scan conversion using 2D homogeneous coordinates"), so nothing is clipped;
an edge shared by two triangles has the same function in both but for the sign, to the last bit, so no pixel falls
between them. Back faces are not seen, as in Gazebo.

Against tracing one ray per pixel this saves the traversal that neighbouring rays repeat: see benchmarks/engine.py.
Scratch memory comes from Python: to allocate, slice and reshape inside a kernel would cost seconds of compiling.
"""

# Kernels have machine types that annotations cannot say.
# mypy: disable-error-code="arg-type, assignment, call-arg, call-overload, operator, type-var, misc"

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_sim.bvh import COUNT, FIRST, MAX_DEPTH
from aerialworld_sim.compiled import aligned, kernel
from aerialworld_sim.lanes import LANES
from aerialworld_sim.vectors import PIXELS, TILE, box_meets, cover8, least, prefetch, resolve8

#: Places in a camera's numbers: where it is, rows forward, left and up in map, then what its pixels are. Pixel (u, v)
#: looks along (1, (cx − u)/focal, (cy − v)/focal_y).
ORIGIN, FORWARD, LEFTWARD, UPWARD, FOCAL, FOCAL_Y, CX, CY, NEAR, FAR = 0, 3, 6, 9, 12, 13, 14, 15, 16, 17
CAMERA_NUMBERS = 18
#: Metres, doubled, by which boxes are taken for larger: float32 keeps 1 mm up to 8 km from the camera.
_SLACK = 0.01
#: Pixels by which a triangle's bounds are widened against rounding; the edge functions decide.
_MARGIN = 0.02
_ONE = np.float32(1.0)


class Scratch:
    """One task's working memory.

    tile    (4 · PIXELS,) float32: inverse depth, row of the surface (int32, −1: none), and the barycentrics u and v
            over the depth; `surface` is the second of these planes as integers
    planes  (7 · 8,) float32, see `box_meets`
    stack, depths  nodes that wait, and their least depths
    """

    def __init__(self) -> None:
        self.tile, self.planes = aligned(4 * PIXELS), aligned(7 * LANES)
        self.surface = self.tile.view(np.int32)[PIXELS : 2 * PIXELS]
        self.stack = np.empty(MAX_DEPTH + 4, np.int32)
        self.depths = np.empty(MAX_DEPTH + 4, np.float32)

    @property
    def fields(self) -> tuple[NDArray[Any], ...]:
        return self.tile, self.surface, self.planes, self.stack, self.depths


@kernel
def tile_planes(camera: Any, x0: int, y0: int, planes: Any) -> None:
    """A tile's frustum through its outermost pixel centres, for `box_meets`: four sides, the front, the depth.

    Coordinates are relative to the camera. What is added widens the frustum by what float32 may lose.
    """
    left, right = (camera[CX] - x0) / camera[FOCAL], (camera[CX] - (x0 + TILE - 1)) / camera[FOCAL]
    up, down = (camera[CY] - y0) / camera[FOCAL_Y], (camera[CY] - (y0 + TILE - 1)) / camera[FOCAL_Y]
    for k in range(3):
        f, s, t = camera[FORWARD + k], camera[LEFTWARD + k], camera[UPWARD + k]
        row = k * LANES
        planes[row] = left * f - s
        planes[row + 1] = s - right * f
        planes[row + 2] = up * f - t
        planes[row + 3] = t - down * f
        planes[row + 4] = f
        planes[row + 5] = -f
        for i in range(6):
            planes[row + 3 * LANES + i] = abs(planes[row + i])
    for i in range(6):
        planes[6 * LANES + i] = _SLACK


@kernel
def box_depth(boxes: Any, i: int, ox: float, oy: float, oz: float, address: int) -> float:
    """Least depth along the axis of box i that the frustum at `address` meets; inf where it does not. ox … are float32
    and doubled."""
    return box_meets(
        address,
        boxes[i, 0] + boxes[i, 3] - ox,
        boxes[i, 1] + boxes[i, 4] - oy,
        boxes[i, 2] + boxes[i, 5] - oz,
        boxes[i, 3] - boxes[i, 0],
        boxes[i, 4] - boxes[i, 1],
        boxes[i, 5] - boxes[i, 2],
    )


@kernel
def cover_triangle(
    corners: Any, i: int, face: int, camera: Any, x0: int, y0: int, nearest: float, address: int
) -> bool:
    """Scan-convert triangle i of `corners` (F, 9) into the tile at `address` as `face`; whether it is seen."""
    # Corners in the camera: forward, left, up (float64: differences of map coordinates are exact enough).
    ax, ay, az = corners[i, 0] - camera[0], corners[i, 1] - camera[1], corners[i, 2] - camera[2]
    bx, by, bz = corners[i, 3] - camera[0], corners[i, 4] - camera[1], corners[i, 5] - camera[2]
    dx, dy, dz = corners[i, 6] - camera[0], corners[i, 7] - camera[1], corners[i, 8] - camera[2]
    m0, m1, m2 = camera[FORWARD], camera[FORWARD + 1], camera[FORWARD + 2]
    af, bf, cf = m0 * ax + m1 * ay + m2 * az, m0 * bx + m1 * by + m2 * bz, m0 * dx + m1 * dy + m2 * dz
    m0, m1, m2 = camera[LEFTWARD], camera[LEFTWARD + 1], camera[LEFTWARD + 2]
    al, bl, cl = m0 * ax + m1 * ay + m2 * az, m0 * bx + m1 * by + m2 * bz, m0 * dx + m1 * dy + m2 * dz
    m0, m1, m2 = camera[UPWARD], camera[UPWARD + 1], camera[UPWARD + 2]
    au, bu, cu = m0 * ax + m1 * ay + m2 * az, m0 * bx + m1 * by + m2 * bz, m0 * dx + m1 * dy + m2 * dz
    sx, sy = camera[CX] - x0, camera[CY] - y0
    left, right, top, bottom = 0, TILE - 1, 0, TILE - 1
    if min(af, min(bf, cf)) > 1e-3:
        ia, ib, ic = camera[FOCAL] / af, camera[FOCAL] / bf, camera[FOCAL] / cf
        pa, pb, pc = sx - al * ia, sx - bl * ib, sx - cl * ic
        low, high = min(pa, min(pb, pc)) - _MARGIN, max(pa, max(pb, pc)) + _MARGIN
        if high < 0.0 or low > TILE - 1:
            return False
        left, right = int(max(np.ceil(low), 0.0)), int(min(high, TILE - 1.0))
        ia, ib, ic = camera[FOCAL_Y] / af, camera[FOCAL_Y] / bf, camera[FOCAL_Y] / cf
        pa, pb, pc = sy - au * ia, sy - bu * ib, sy - cu * ic
        low, high = min(pa, min(pb, pc)) - _MARGIN, max(pa, max(pb, pc)) + _MARGIN
        if high < 0.0 or low > TILE - 1:
            return False
        top, bottom = int(max(np.ceil(low), 0.0)), int(min(high, TILE - 1.0))
        if left > right or top > bottom:
            return False
    # Normals of the planes through the camera and an edge; inside a front face all edge functions are ≥ 0.
    e0f, e0l, e0u = cl * bu - cu * bl, cu * bf - cf * bu, cf * bl - cl * bf
    determinant = -(af * e0f + al * e0l + au * e0u)
    if determinant >= 0.0:
        return False  # seen from behind, or edge on
    e1f, e1l, e1u = al * cu - au * cl, au * cf - af * cu, af * cl - al * cf
    e2f, e2l, e2u = bl * au - bu * al, bu * af - bf * au, bf * al - bl * af
    ix, iy = 1.0 / camera[FOCAL], 1.0 / camera[FOCAL_Y]
    sx, sy = sx * ix, sy * iy
    c0, c1, c2 = e0f + sx * e0l + sy * e0u, e1f + sx * e1l + sy * e1u, e2f + sx * e2l + sy * e2u
    a0, a1, a2 = -e0l * ix, -e1l * ix, -e2l * ix
    b0, b1, b2 = -e0u * iy, -e1u * iy, -e2u * iy
    span = TILE - 1.0
    if c0 + (max(a0, 0.0) + max(b0, 0.0)) * span < 0.0:
        return False
    if c1 + (max(a1, 0.0) + max(b1, 0.0)) * span < 0.0:
        return False
    if c2 + (max(a2, 0.0) + max(b2, 0.0)) * span < 0.0:
        return False
    scale = -1.0 / determinant
    # The plane's inverse depth, from differences: sums of the edges' would cancel far away.
    uf, ul, uu = bf - af, bl - al, bu - au
    vf, vl, vu = cf - af, cl - al, cu - au
    nf, nl, nu = ul * vu - uu * vl, uu * vf - uf * vu, uf * vl - ul * vf
    h0, h1, h2 = np.float32(c0), np.float32(c1), np.float32(c2)
    f0, f1, f2 = np.float32(a0), np.float32(a1), np.float32(a2)
    g0, g1, g2 = np.float32(b0), np.float32(b1), np.float32(b2)
    hz, fz = np.float32(-(nf + sx * nl + sy * nu) * scale), np.float32(nl * ix * scale)
    gz = np.float32(nu * iy * scale)
    first = left & ~(LANES - 1)
    grow, seen = np.float32(scale), False
    for y in range(top, bottom + 1):
        fy = np.float32(y)
        r0, r1, r2, rz = h0 + g0 * fy, h1 + g1 * fy, h2 + g2 * fy, hz + gz * fy
        for x in range(first, right + 1, LANES):
            fx = np.float32(x)
            seen |= cover8(
                address, y * TILE + x, r0 + f0 * fx, r1 + f1 * fx, r2 + f2 * fx, rz + fz * fx,
                f0, f1, f2, fz, grow, face, nearest,
            )  # fmt: skip
    return seen


@kernel
def see_rows(
    nodes: Any, links: Any, corners: Any, numbers: Any, chosen: Any, boxes: Any, begin: Any, placed: Any,
    placed_face: Any, camera: Any, tile: Any, surface: Any, planes: Any, stack: Any, depths: Any, first_row: int,
    row0: int, row1: int, face: Any, depth: Any, u: Any, v: Any,
) -> None:  # fmt: skip
    """Pixels of rows row0 … row1 − 1: the nearest front face between near and far along the axis.

    nodes, links, corners, numbers  a Tree; chosen … placed_face  movers (see `movers.Placed`)
    camera  (CAMERA_NUMBERS,) float64; tile … depths  a Scratch
    face    (R, W) int32 row of the scene's surfaces, −1 for none; depth (R, W) float32 along the axis, +inf for none;
            u, v (R, W) float32 barycentrics of corners 1 and 2, or empty; row first_row of the picture is their first
    """
    ox, oy, oz = np.float32(2.0 * camera[0]), np.float32(2.0 * camera[1]), np.float32(2.0 * camera[2])
    near, far = camera[NEAR], camera[FAR]
    nearest = np.float32(1.0 / near) if near > 0.0 else np.float32(np.inf)
    beyond = np.float32(1.0 / far)
    address, sides = tile.ctypes.data, planes.ctypes.data
    width = depth.shape[1]
    to_nodes, to_corners = nodes.ctypes.data, corners.ctypes.data
    inner = len(u) > 0
    to_face, to_depth = face.ctypes.data, depth.ctypes.data
    to_u, to_v = u.ctypes.data if inner else 0, v.ctypes.data if inner else 0
    for y0 in range(row0, row1, TILE):
        for x0 in range(0, width, TILE):
            for i in range(PIXELS):
                tile[i] = beyond
            for i in range(PIXELS):
                surface[i] = -1
            tile_planes(camera, x0, y0, planes)
            farthest = beyond  # the least inverse depth of the tile's pixels: what lies beyond is hidden
            top = 0
            if len(nodes):
                stack[0], depths[0] = 0, box_depth(nodes, 0, ox, oy, oz, sides)
                top = 1
            while top > 0:
                top -= 1
                if not depths[top] * farthest <= _ONE:  # inf as well
                    continue
                first, held = links[stack[top], FIRST], links[stack[top], COUNT]
                if held > 0:
                    seen = False
                    for i in range(first, first + held):
                        seen |= cover_triangle(corners, i, numbers[i], camera, x0, y0, nearest, address)
                    if seen and top > 0:
                        farthest = least(address, PIXELS)
                    continue
                one = box_depth(nodes, first, ox, oy, oz, sides)
                two = box_depth(nodes, first + 1, ox, oy, oz, sides)
                nearer = first + 1 if two < one else first
                for child, least_depth in ((2 * first + 1 - nearer, max(one, two)), (nearer, min(one, two))):
                    if least_depth * farthest <= _ONE:
                        stack[top], depths[top] = child, least_depth
                        top += 1
                        below = links[child, FIRST]
                        prefetch(to_corners + 36 * below if links[child, COUNT] > 0 else to_nodes + 32 * below)
            if len(chosen):
                farthest = least(address, PIXELS)
            for n in range(len(chosen)):
                m = chosen[n]
                if box_depth(boxes, m, ox, oy, oz, sides) * farthest <= _ONE:  # not outside, not behind all
                    for i in range(begin[m], begin[m + 1]):
                        cover_triangle(placed, i, placed_face[i], camera, x0, y0, nearest, address)
            for j in range(min(TILE, row1 - y0)):
                start = (y0 + j - first_row) * width + x0
                whole = min(TILE, width - x0) & ~(LANES - 1)
                for i in range(0, whole, LANES):
                    to = 4 * (start + i)
                    resolve8(
                        address, j * TILE + i, to_face + to, to_depth + to, to_u + to if inner else 0,
                        to_v + to if inner else 0,
                    )  # fmt: skip
                for i in range(whole, min(TILE, width - x0)):  # a width that is no multiple of eight
                    y, at = y0 + j - first_row, j * TILE + i
                    t = _ONE / tile[at]
                    face[y, x0 + i], depth[y, x0 + i] = surface[at], t if surface[at] >= 0 else np.float32(np.inf)
                    if inner:
                        u[y, x0 + i], v[y, x0 + i] = tile[2 * PIXELS + at] * t, tile[3 * PIXELS + at] * t
