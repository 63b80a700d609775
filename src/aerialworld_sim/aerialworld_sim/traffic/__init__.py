"""Traffic: vehicles that drive a world's roads and pedestrians that walk along them, as actors of the engine.

A function of time: equal worlds, options and seeds give equal traffic, whatever is asked of it and in which order.

    aerialworld_core.roads      the world's surfaces → middle lines → lanes and turns, and who fits on them
    patrols                     made-up roads where a world has none
    contour, footways           where pedestrians walk and cross
    cells                       room on the ground, of which every piece has one owner
    network                     all of it for one world, made once
    agent, simulation           routes, right of way, speeds; the log of all steps
    kinds, meshes, parking      what the members are, look like, and where they stand
    traffic, options            what is asked for, and who is where at any time
    sdf                         the same for Gazebo
"""

from aerialworld_core.traffic import TrafficOptions
from aerialworld_sim.traffic.traffic import Member, Snapshot, Traffic

__all__ = ["Member", "Snapshot", "Traffic", "TrafficOptions"]
