"""SDF's primitive shapes as triangles, counter-clockwise seen from outside, with smooth normals on round sides."""

from __future__ import annotations

import numpy as np

from aerialworld_core.frames import Array
from aerialworld_core.world.mesh import MeshPart

#: A chord departs from its circle by at most this share of the radius (0.4 mm at 1 m).
_SAGITTA = 0.0004
_SEGMENTS = 2 * int(np.ceil(np.pi / np.arccos(1 - _SAGITTA) / 2))


def _part(corners: Array, uv: Array, normals: Array | None = None) -> MeshPart:
    """From (F, 3, 3) corners, (F, 3, 2) uv and (F, 3, 3) normals; flat normals unless given."""
    return MeshPart(
        vertices=corners.reshape(-1, 3),
        faces=np.arange(len(corners) * 3).reshape(-1, 3),
        uv=uv.reshape(-1, 2),
        normals=None if normals is None else normals.reshape(-1, 3),
    )


def box(size: Array) -> MeshPart:
    """A box of edges `size` (3,) centred on the origin: 12 triangles, each side with uv 0–1."""
    corners, uvs = [], []
    square = np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
    for axis in range(3):
        for sign in (-1.0, 1.0):
            quad = np.zeros((4, 3))
            quad[:, axis] = sign
            quad[:, (axis + 1) % 3] = square[:, 0] * sign
            quad[:, (axis + 2) % 3] = square[:, 1]
            for triangle in ((0, 1, 2), (0, 2, 3)):
                corners.append(quad[list(triangle)])
                uvs.append((square[list(triangle)] + 1) / 2)
    return _part(np.array(corners) * np.asarray(size) / 2, np.array(uvs))


def plane(size: Array, normal: Array) -> MeshPart:
    """A rectangle of `size` (2,) in its own x and y, facing `normal`: two triangles, seen from the front only."""
    n = np.asarray(normal, float) / np.linalg.norm(normal)
    # The shortest turn that takes z to the normal, as Gazebo does.
    z = np.array([0.0, 0, 1])
    axis, cosine = np.cross(z, n), float(n[2])
    if cosine < -1 + 1e-12:
        turn = np.diag([1.0, -1, -1])
    else:
        k = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
        turn = np.eye(3) + k + k @ k / (1 + cosine)
    quad = np.array([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]]) * [*size, 1]
    corners = (quad @ turn.T)[np.array([[0, 1, 2], [0, 2, 3]])]
    uv = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])[np.array([[0, 1, 2], [0, 2, 3]])]
    return _part(corners, uv)


def cylinder(radius: float, length: float) -> MeshPart:
    """A closed cylinder along z, centred on the origin."""
    angle = np.linspace(0, 2 * np.pi, _SEGMENTS + 1)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    a, b = ring[:-1], ring[1:]
    zero, n = np.zeros((_SEGMENTS, 1)), _SEGMENTS
    low, high = np.full((n, 1), -length / 2), np.full((n, 1), length / 2)
    al, ah = np.hstack([a * radius, low]), np.hstack([a * radius, high])
    bl, bh = np.hstack([b * radius, low]), np.hstack([b * radius, high])
    na, nb = np.hstack([a, zero]), np.hstack([b, zero])
    up, down = np.tile([0.0, 0, 1], (n, 3, 1)), np.tile([0.0, 0, -1], (n, 3, 1))
    top, bottom = np.hstack([zero, zero, high]), np.hstack([zero, zero, low])
    corners = np.concatenate(
        [np.stack(c, axis=1) for c in ((al, bl, bh), (al, bh, ah), (top, ah, bh), (bottom, bl, al))]
    )
    normals = np.concatenate([np.stack((na, nb, nb), 1), np.stack((na, nb, na), 1), up, down])
    s, t = (angle[:-1] / (2 * np.pi))[:, None], (angle[1:] / (2 * np.pi))[:, None]
    one = np.ones((n, 1))
    side = [
        np.stack((np.hstack([s, zero]), np.hstack([t, zero]), np.hstack([t, one])), 1),
        np.stack((np.hstack([s, zero]), np.hstack([t, one]), np.hstack([s, one])), 1),
    ]
    half = np.full((n, 2), 0.5)
    caps = [np.stack((half, 0.5 + a / 2, 0.5 + b / 2), 1), np.stack((half, 0.5 + b / 2, 0.5 + a / 2), 1)]
    return _part(corners, np.concatenate(side + caps), normals)


def cone(radius: float, length: float) -> MeshPart:
    """A closed cone along z with its tip up, its middle height at the origin."""
    angle = np.linspace(0, 2 * np.pi, _SEGMENTS + 1)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    n = _SEGMENTS
    base = np.hstack([ring * radius, np.full((n + 1, 1), -length / 2)])
    a, b = base[:-1], base[1:]
    tip, foot = np.tile([0.0, 0, length / 2], (n, 1)), np.tile([0.0, 0, -length / 2], (n, 1))
    corners = np.concatenate([np.stack((a, b, tip), 1), np.stack((foot, b, a), 1)])
    # The normal of a cone leans up by its slope; at the tip a triangle takes that of its own middle.
    middle = (angle[:-1] + angle[1:]) / 2
    turns = np.stack([angle[:-1], angle[1:], middle], axis=1)
    side = np.stack([np.cos(turns) * length, np.sin(turns) * length, np.full_like(turns, radius)], axis=-1)
    side /= np.hypot(length, radius)
    s, t = angle[:-1] / (2 * np.pi), angle[1:] / (2 * np.pi)
    zero, one, half = np.zeros(n), np.ones(n), np.full((n, 2), 0.5)
    wall = np.stack([np.stack([s, zero], 1), np.stack([t, zero], 1), np.stack([(s + t) / 2, one], 1)], axis=1)
    cap = np.stack((half, 0.5 + ring[1:] / 2, 0.5 + ring[:-1] / 2), 1)
    return _part(corners, np.concatenate([wall, cap]), np.concatenate([side, np.tile([0.0, 0, -1], (n, 3, 1))]))


def capsule(radius: float, length: float) -> MeshPart:
    """A cylinder of `length` along z with half a sphere at each end, centred on the origin."""
    ball = ellipsoid(np.full(3, radius))
    assert ball.uv is not None and ball.normals is not None
    upper = ball.vertices.reshape(-1, 3, 3)[..., 2].mean(axis=1) > 0
    points = ball.vertices.reshape(-1, 3, 3) + np.where(upper, length / 2, -length / 2)[:, None, None] * [0, 0, 1]
    tube = cylinder(radius, length)
    assert tube.uv is not None and tube.normals is not None
    count = 2 * _SEGMENTS  # the tube without its caps
    corners = np.concatenate([points, tube.vertices.reshape(-1, 3, 3)[:count]])
    normals = np.concatenate([ball.normals.reshape(-1, 3, 3), tube.normals.reshape(-1, 3, 3)[:count]])
    # Thirds of the texture, as Gazebo lays them: lower half, tube, upper half.
    v = ball.uv.reshape(-1, 3, 2)
    v = np.stack([v[..., 0], np.where(upper[:, None], (1 + 2 * v[..., 1]) / 3, 2 * v[..., 1] / 3)], axis=-1)
    wall = tube.uv.reshape(-1, 3, 2)[:count] / [1, 3] + [0, 1 / 3]
    return _part(corners, np.concatenate([v, wall]), normals)


def ellipsoid(radii: Array) -> MeshPart:
    """A closed ellipsoid (a sphere where the three radii are equal), poles on z."""
    rings = _SEGMENTS // 2
    azimuth, polar = np.linspace(0, 2 * np.pi, _SEGMENTS + 1), np.linspace(0, np.pi, rings + 1)
    sin, cos = np.sin(polar)[:, None], np.cos(polar)[:, None]
    points = np.stack([sin * np.cos(azimuth), sin * np.sin(azimuth), cos * np.ones_like(azimuth)], axis=-1)
    u = np.broadcast_to(azimuth / (2 * np.pi), points.shape[:2])
    v = np.broadcast_to((1 - polar / np.pi)[:, None], points.shape[:2])
    uv = np.stack([u, v], axis=-1)
    i, j = np.meshgrid(np.arange(rings), np.arange(_SEGMENTS), indexing="ij")
    quads = [(i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)]
    lower = np.stack([points[q] for q in (quads[0], quads[1], quads[2])], axis=2)
    upper = np.stack([points[q] for q in (quads[0], quads[2], quads[3])], axis=2)
    lower_uv = np.stack([uv[q] for q in (quads[0], quads[1], quads[2])], axis=2)
    upper_uv = np.stack([uv[q] for q in (quads[0], quads[2], quads[3])], axis=2)
    # The triangles that touch a pole with an edge have no area and are left out.
    unit = np.concatenate([lower[:-1].reshape(-1, 3, 3), upper[1:].reshape(-1, 3, 3)])
    texture = np.concatenate([lower_uv[:-1].reshape(-1, 3, 2), upper_uv[1:].reshape(-1, 3, 2)])
    normals = unit / np.asarray(radii)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return _part(unit * np.asarray(radii), texture, normals)
