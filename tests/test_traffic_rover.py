"""A session of a rover: the traffic around it keeps clear of where its plan will take it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from aerialworld.recording import moving
from aerialworld_core.plan import Plan
from aerialworld_core.traffic import TrafficOptions

sys.path.insert(0, str(Path(__file__).parents[1] / "src" / "aerialworld_sim" / "test"))
from traffic_worlds import plain


def plan(agent: str) -> Plan:
    """Across the road and back, slowly."""
    t = np.linspace(0.0, 60.0, 61)
    position = np.stack([np.zeros(61), 9.0 * np.cos(t / 6.0), np.full(61, 0.1)], axis=1)
    heading = np.sign(-np.sin(t / 6.0 + 1e-3)) * np.pi / 2
    turn = np.stack([0 * t, 0 * t, np.sin(heading / 2), np.cos(heading / 2)], axis=1)
    return Plan("across", f"{agent}_1", agent, "road", "here", 0, t, position, turn)


def nearest(actors: list, trajectory) -> float:
    """Metres between the rover's middle and the nearest body's middle along, within a body's width aside."""
    least = np.inf
    for tenth in range(600):
        here = trajectory.state(tenth * 100_000_000).pose.position
        for actor in actors:
            at = actor.motion.state(tenth * 100_000_000).pose.position
            if abs(at[1] - here[1]) < 1.2:
                least = min(least, abs(at[0] - here[0]))
    return float(least)


def test_cars_let_a_rover_cross() -> None:
    world = plain((-120, -7, 120, 7))
    options = TrafficOptions(cars=8, pedestrians=0, parked=0.0, emergencies=0.0, seed=2)
    flown, driven = plan("drone"), plan("rover")
    assert nearest(moving(world, options, flown), flown.trajectory()) < 1.5  # nobody heeds a drone
    assert nearest(moving(world, options, driven), driven.trajectory()) > 2.0
