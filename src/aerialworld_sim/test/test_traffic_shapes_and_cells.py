"""What keeps traffic apart: cells with one owner; and the rasters that roads are read from."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from aerialworld_core.roads.curves import Curve, arcs
from aerialworld_core.roads.shapes import BUS, CAR, WALKER
from aerialworld_core.roads.skeleton import simplify, thin, trace
from aerialworld_core.roads.ways import FOOTWAY, LANE, Ways
from aerialworld_sim.traffic.cells import Cells
from aerialworld_sim.traffic.contour import contours

sys.path.insert(0, str(Path(__file__).parent))
from traffic_checks import gap


def cells():
    return Cells(Ways(), np.zeros(2), {})


def test_bodies_that_overlap_share_a_cell_and_bodies_far_apart_share_none():
    rng, known = np.random.default_rng(5), cells()
    overlapping = 0
    for _ in range(1500):
        one, two = (CAR, BUS, WALKER)[rng.integers(3)], (CAR, WALKER)[rng.integers(2)]
        xy, yaw = np.stack([rng.uniform(0, 3, 2), rng.uniform(0, 9, 2)]), rng.uniform(-4, 4, 2)
        a, b = (
            set(known.touched(shape, xy[k : k + 1], yaw[k : k + 1])[1].tolist()) for k, shape in enumerate((one, two))
        )
        middle = xy + np.stack([np.cos(yaw), np.sin(yaw)], axis=1) * np.array([[one.middle], [two.middle]])
        size = np.array([[one.length, one.width], [two.length, two.width]])
        apart = gap(middle, yaw, size, np.array([0]), np.array([1]))[0]
        if apart < 0:
            overlapping += 1
            assert a & b
        if apart > 1.3:
            assert not a & b
    assert overlapping > 200


def test_a_slot_holds_all_that_a_body_touches_anywhere_within_it():
    known, curve = cells(), arcs((0.0, 0.0, 0.3), [(0.2, 9.0), (-0.24, 8.0)])
    for shape in (CAR, WALKER):
        slots = known.swept(curve, shape)
        length = curve.length / len(slots)
        for s in np.random.default_rng(1).uniform(0, curve.length, 60):
            xy, yaw = curve.at(np.array([s]))
            # What the body itself covers, without anything added: points so dense that no cell is missed.
            points = shape.outline(0.0, 0.1)
            c, n = np.cos(yaw[0]), np.sin(yaw[0])
            body = xy[0] + points @ np.array([[c, n], [-n, c]])
            centres = set(slots[min(int(s / length), len(slots) - 1)].tolist())
            column, row = np.floor((body + 40.0) / 0.4).astype(int).T
            assert set((row * (1 << 20) + column).tolist()) <= centres


def test_nobody_stops_where_another_way_passes():
    ways, everyone = Ways(), frozenset(["car", "walker"])
    lane = ways.add(arcs((0.0, 0.0, 0.0), [(0.0, 60.0)]), LANE, 10.0, everyone)
    walk = ways.add(arcs((30.0, -20.0, np.pi / 2), [(0.0, 40.0)]), FOOTWAY, 2.0, everyone)
    for way in (lane, walk):
        way.after.append(way.number)
    known = Cells(ways, np.zeros(2), {"car": [[0], []], "walker": [[], [1]]})
    track = known.tracks["car"][lane.number]
    stop = np.array(track.stop)
    at = (np.arange(len(stop)) + 0.5) * track.length
    # From the rear bumper to the front bumper, 0.3 m for half a walker, 0.4 m for half a slot's and the cells' excess.
    blocks = (at + CAR.front > 30.0 - 0.3) & (at - CAR.rear < 30.0 + 0.3)
    assert not stop[blocks].any()
    clear = (at + CAR.front < 30.0 - 3.0) | (at - CAR.rear > 30.0 + 3.0)
    assert stop[clear].all() and clear.sum() > 20


def test_a_cross_thins_to_four_lines_that_meet():
    mask = np.zeros((201, 241), bool)
    mask[90:111, 20:221] = True
    mask[10:191, 110:131] = True
    graph = trace(thin(mask), lambda rc: rc[:, ::-1].astype(float))
    simplify(graph, lambda points: np.full(len(points), 10.0))
    assert len(graph.lines) == 4
    assert sorted(graph.degree().values()) == [1, 1, 1, 1, 4]
    for line in graph.lines:
        away = np.minimum(np.abs(line.points[:, 0] - 120.0), np.abs(line.points[:, 1] - 100.0))
        assert away.max() <= 1.5  # on the middle of one of the two roads


def test_a_ring_road_stays_one_closed_line():
    y, x = np.indices((121, 121)) - 60
    radius = np.hypot(x, y)
    graph = trace(thin((radius > 35) & (radius < 48)), lambda rc: rc[:, ::-1] - 60.0)
    simplify(graph, lambda points: np.full(len(points), 6.5))
    (line,) = graph.lines
    assert line.a == line.b
    assert np.abs(np.hypot(*line.points.T) - 41.5).max() < 2.0


def test_contours_go_round_with_the_inside_on_their_right():
    y, x = np.indices((60, 80)).astype(float)
    field = np.minimum(20.0 - np.hypot(x - 40, y - 30), np.hypot(x - 40, y - 30) - 8.0)
    lines = contours(field, 0.0)
    areas = sorted(0.5 * np.sum(p[:, 1] * np.roll(p[:, 0], -1) - np.roll(p[:, 1], -1) * p[:, 0]) for p in lines)
    # Outside clockwise (its area negative), around the hole counter-clockwise.
    assert len(lines) == 2
    assert np.allclose(areas, [-np.pi * 400, np.pi * 64], rtol=0.01)
    for line in lines:
        distance = np.hypot(line[:, 1] - 40, line[:, 0] - 30)
        assert np.minimum(np.abs(distance - 20), np.abs(distance - 8)).max() < 0.1


def test_curves_of_a_shape_are_turned_about_the_rear_axle():
    curve = Curve(np.array([[0.0, 0.0], [0.25, 0.0]]), np.zeros(2), 0.25)
    (places,) = cells().swept(curve, CAR)
    column = places % (1 << 20) * 0.4 + 0.2 - 40.0
    assert -CAR.rear - 0.7 < column.min() < -CAR.rear and CAR.front < column.max() < CAR.front + 1.0
