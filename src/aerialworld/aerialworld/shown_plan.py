"""What `aerialworld mission show` tells of a plan."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aerialworld.console import note
from aerialworld.lazy import stage
from aerialworld.options import OptionError
from aerialworld_core.plan import Plan

_OURS = (".json",)
#: Farther than this a building is not looked for, metres.
_REACH = 30.0


def read(path: Path, world: Any) -> Plan:
    """A plan's file, or the plan of a ground station's, which is made in the world."""
    if path.suffix.lower() in _OURS:
        return Plan.read(path)
    if world is None:
        raise OptionError(f"{path}: holds places on earth; give the world to plan it in with --world")
    planned: Plan
    planned, notes = stage("aerialworld_missions.asked", "plan_of_file")(world, path, {})
    for text in notes:
        note(f"{path}: {text}", style="yellow")
    return planned


def length(plan: Plan) -> float:
    """Metres."""
    return float(np.linalg.norm(np.diff(plan.position, axis=0), axis=1).sum())


def summary(plan: Plan) -> str:
    return f"{plan.name}: {plan.duration:.1f} s, {length(plan):.0f} m, {len(plan.t)} knots"


def figures(plan: Plan, world: Any, *, waypoints: bool) -> dict[str, Any]:
    """Plain JSON."""
    motion = plan.trajectory().sample(np.arange(0.0, plan.duration, 0.05))
    speed = np.linalg.norm(motion.linear_velocity, axis=1)
    z = motion.position[:, 2]
    found: dict[str, Any] = {
        "name": plan.name,
        "pattern": plan.pattern,
        "vehicle": plan.vehicle,
        "place": plan.place,
        "seed": plan.seed,
        "seconds": round(plan.duration, 3),
        "metres": round(length(plan), 1),
        "speed_m_s": {"mean": round(float(speed.mean()), 2), "greatest": round(float(speed.max()), 2)},
        "z_m": {"lowest": round(float(z.min()), 2), "highest": round(float(z.max()), 2)},
        "box_m": {
            "low": [round(float(v), 1) for v in motion.position[:, :2].min(axis=0)],
            "high": [round(float(v), 1) for v in motion.position[:, :2].max(axis=0)],
        },
        "waypoint_count": len(plan.route()),
        "parameters": plan.parameters,
    }
    if plan.fence is not None:
        found["fence"] = plan.fence.to_dict()
    if world is not None:
        found |= _in_world(plan, motion.position, world)
    if waypoints:
        found["waypoints"] = [
            {
                "position": [round(v, 2) for v in w.position],
                "speed_m_s": round(w.speed, 2),
                "yaw_deg": None if w.yaw is None else round(math.degrees(w.yaw), 1),
                "hold_s": round(w.hold, 1),
            }
            for w in plan.route()
        ]
    return found


def _in_world(plan: Plan, position: Any, world: Any) -> dict[str, Any]:
    ground = stage("aerialworld_core.world.seams", "ground_height")(world, position[:, :2])
    heights = stage("aerialworld_missions.heightmap", "HeightMap").of(world)
    distance = stage("aerialworld_missions.clearance", "obstacle_distance")(heights, position, _REACH)
    inside = world.inside_solid(position)
    over = position[:, 2] - ground
    nearest = int(np.argmin(distance))
    return {
        "over_ground_m": {
            "lowest": round(float(np.nanmin(over)), 2) if np.isfinite(over).any() else None,
            "highest": round(float(np.nanmax(over)), 2) if np.isfinite(over).any() else None,
            "beside_the_ground": int(np.isnan(over).sum()),
        },
        "nearest_building_m": round(float(distance[nearest]), 2) if np.isfinite(distance[nearest]) else None,
        "nearest_at": [round(float(v), 1) for v in position[nearest]] if np.isfinite(distance[nearest]) else None,
        "in_a_solid_s": round(0.05 * int(inside.sum()), 2),
    }


def rows(found: Mapping[str, Any]) -> list[str]:
    """For people."""
    speed, z = found["speed_m_s"], found["z_m"]
    lines = [
        f"{found['name']}: {found['pattern']} of {found['vehicle']}, place {found['place']}, seed {found['seed']}",
        f"{found['seconds']:.1f} s, {found['metres']:.0f} m, {found['waypoint_count']} waypoints",
        f"speed: {speed['mean']:.1f} m/s, at most {speed['greatest']:.1f}",
        f"z: {z['lowest']:.1f} … {z['highest']:.1f} m in map",
        f"box: {found['box_m']['low']} … {found['box_m']['high']}",
    ]
    if "over_ground_m" in found:
        over = found["over_ground_m"]
        lines.append(f"over the ground: {over['lowest']} … {over['highest']} m")
        if over["beside_the_ground"]:
            lines.append(f"no ground under it for {0.05 * over['beside_the_ground']:.1f} s: is this the plan's world?")
        nearest = found["nearest_building_m"]
        lines.append(
            f"nearest building: {nearest} m, at {found['nearest_at']}"
            if nearest is not None
            else f"nearest building: more than {_REACH:g} m away"
        )
        if found["in_a_solid_s"]:
            lines.append(
                f"INSIDE A BUILDING or the ground for {found['in_a_solid_s']:.1f} s: is this the plan's world?"
            )
    if "fence" in found:
        fence = found["fence"]
        lines.append(
            f"fence: {len(fence['polygon'])} corners, z {fence['floor']:.0f} … {fence['ceiling']:.0f} m in map"
        )
    for i, w in enumerate(found.get("waypoints", ()), 1):
        look = "" if w["yaw_deg"] is None else f", looks {w['yaw_deg']:.0f}°"
        hold = f", stays {w['hold_s']:.1f} s" if w["hold_s"] else ""
        x, y, height = w["position"]
        lines.append(f"{i:4d}  {x:9.1f} {y:9.1f} {height:7.1f}  {w['speed_m_s']:4.1f} m/s{look}{hold}")
    return lines
