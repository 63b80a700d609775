"""Paths on the map, made of straight lines and circular arcs, and the speed at which they can be travelled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aerialworld_core.frames import Array

#: Sampling distance of a path, metres.
STEP = 0.25


@dataclass(frozen=True)
class Line:
    length: float


@dataclass(frozen=True)
class Arc:
    """A turn by `angle` radians (positive to the left) at `radius` metres."""

    radius: float
    angle: float


@dataclass(frozen=True, eq=False)
class Path:
    """A path sampled by arc length: `s` (N,) metres from 0, `xy` (N, 2) map, `curvature` (N,) 1/m, absolute."""

    s: Array
    xy: Array
    curvature: Array

    @property
    def length(self) -> float:
        return float(self.s[-1])

    @classmethod
    def trace(cls, start: Sequence[float], heading: float, segments: Sequence[Line | Arc]) -> Path:
        """Follow `segments` from `start` (x, y) and `heading` (radians, 0 = east); points lie exactly on them."""
        x, y, s = float(start[0]), float(start[1]), 0.0
        at, points, curvatures = [np.zeros(1)], [np.array([[x, y]])], [np.zeros(1)]
        for segment in segments:
            length = segment.length if isinstance(segment, Line) else segment.radius * abs(segment.angle)
            if length <= 0:
                continue
            u = np.linspace(0.0, length, max(2, math.ceil(length / STEP) + 1))[1:]
            if isinstance(segment, Line):
                xy = np.array([x, y]) + u[:, None] * np.array([math.cos(heading), math.sin(heading)])
                curvature = 0.0
            else:
                side = math.copysign(1.0, segment.angle)
                h = heading + side * u / segment.radius
                centre = np.array([x, y]) + side * segment.radius * np.array([-math.sin(heading), math.cos(heading)])
                xy = centre + side * segment.radius * np.stack([np.sin(h), -np.cos(h)], axis=1)
                heading, curvature = float(h[-1]), 1.0 / segment.radius
            at.append(s + u)
            points.append(xy)
            curvatures.append(np.full(len(u), curvature))
            (x, y), s = (float(v) for v in xy[-1]), s + length
        return cls(np.concatenate(at), np.concatenate(points), np.concatenate(curvatures))

    @classmethod
    def through(cls, points: Array) -> Path:
        """A path along a dense polyline (N, 2); its curvature is measured over the neighbouring points."""
        steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
        s = np.concatenate([[0.0], np.cumsum(steps)])
        n = max(8, math.ceil(s[-1] / STEP) + 1)
        at = np.linspace(0.0, s[-1], n)
        xy = np.stack([np.interp(at, s, points[:, k]) for k in range(2)], axis=1)
        first = np.gradient(xy, at, axis=0)
        second = np.gradient(first, at, axis=0)
        curvature = np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])
        return cls(at, xy, curvature / np.maximum(np.linalg.norm(first, axis=1), 1e-6) ** 3)

    def speeds(
        self,
        speed: float | Array,
        *,
        lateral: float,
        longitudinal: float,
        yaw_rate: float,
        stops: Sequence[int] = (),
    ) -> Array:
        """(N,) the highest speeds ≤ `speed` (one, or one per sample) that keep lateral and longitudinal acceleration
        (m/s²) and the turn rate (rad/s) within limits, and are 0 at the samples `stops`."""
        curvature = np.maximum(self.curvature, 1e-9)
        limit = np.minimum.reduce(
            [np.broadcast_to(speed, self.s.shape), np.sqrt(lateral / curvature), yaw_rate / curvature]
        )
        limit[list(stops)] = 0.0
        ramp = 2.0 * longitudinal * self.s  # v² changes by at most 2·a per metre, forwards and backwards
        squared = np.minimum.accumulate(limit**2 - ramp) + ramp
        squared = np.minimum.accumulate((squared + ramp)[::-1])[::-1] - ramp
        return np.sqrt(np.maximum(squared, 0.0))

    def times(self, speeds: Array) -> Array:
        """(N,) seconds at which each sample is passed at `speeds` (v² linear between samples)."""
        steps = 2.0 * np.diff(self.s) / (speeds[1:] + speeds[:-1])
        return np.concatenate([[0.0], np.cumsum(steps)])

    def at(self, s: Array) -> Array:
        """(M, 2) points at arc lengths `s` (M,)."""
        return np.stack([np.interp(s, self.s, self.xy[:, k]) for k in range(2)], axis=1)
