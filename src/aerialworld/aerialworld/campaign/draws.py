"""The seeded numbers of a session, and the collision-free plan that they give; runs in a worker, beside the world.

Every number is a function of the job's seed and of the attempt: no order of work, no process, no other job counts.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from aerialworld.campaign.missions import Mission
from aerialworld.campaign.places import Box, Ground, Place, cut, whole
from aerialworld.campaign.shapes import fine, one_draw, placed
from aerialworld.lazy import stage
from aerialworld_core.errors import AerialWorldError, PlanError
from aerialworld_core.plan import Plan

#: Sets of numbers that may fail to fit the place before a plan counts as failed: trying one costs nothing.
_FITS = 200
#: Metres beyond the outermost buildings where sessions may go, unless the campaign names a region.
_AROUND = 25.0
#: A vehicle is near buildings when one stands within so many metres, horizontally.
_NEAR = 30.0


class MissionFailed(AerialWorldError):
    """A mission that could not be planned in its place, however its numbers were drawn."""

    exit_code = 2


@dataclass(frozen=True)
class PlaceTask:
    """How a world is to be cut into places. `shares` split → share; one split only: the whole world is its place."""

    name: str
    region: Box | None
    shares: dict[str, float]
    gap: float
    need: float


@dataclass(frozen=True)
class PlanTask:
    """One session to plan: where, what, how long; `ceiling` metres above the datum, `title` the mission's name."""

    name: str
    title: str
    mission: Mission
    vehicle: str
    place: Place
    seed: int
    seconds: float
    ceiling: float
    redraws: int


def look_at(world: Any, task: PlaceTask, tell: Callable[[Any], None]) -> dict[str, Any]:
    """The places of a world: {places: [...], note: str}. Fewer than asked where the world is too small for them."""
    heights = stage("aerialworld_missions.heightmap", "HeightMap").of(world)
    low = float(heights.low[0]), float(heights.low[1])
    ground = Ground(low, heights.cell, np.isfinite(heights.ground), heights.building)
    ground = ground.within(task.region or ground.built_part(_AROUND))
    if not ground.ground.any():
        raise PlanError(
            f"{task.name}: there is no ground{f' in the region {list(task.region)}' if task.region else ''}"
        )
    wanted = list(task.shares)
    while len(wanted) > 1:
        places = cut(task.name, ground, {n: task.shares[n] for n in wanted}, task.gap, task.need)
        if places:
            break
        wanted = [n for n in wanted if n != "val"] if "val" in wanted[1:] else wanted[:1]
    else:
        places = [whole(task.name, ground, wanted[0])]
    note = ""
    left = [n for n in task.shares if n not in wanted]
    if left:
        west, south, east, north = ground.trimmed().box
        note = (
            f"{task.name}: {east - west:.0f} × {north - south:.0f} m are too small for {len(task.shares)} places "
            f"{task.gap:g} m apart: nothing of it is in {' or '.join(left)}"
        )
    return {"places": [p.to_dict() for p in places], "note": note}


def make_plan(world: Any, task: PlanTask, tell: Callable[[Any], None]) -> dict[str, Any]:
    """{plan, drawn, attempts} of the first set of numbers that can be flown. Raises MissionFailed with the reasons."""
    reasons: list[str] = []
    for attempt in range(task.redraws + 1):
        random = np.random.default_rng([task.seed, attempt])
        try:
            drawn, arguments = draw(task, random)
            plan = stage("aerialworld_missions.asked", "plan_of")(
                world,
                task.mission.pattern,
                {
                    "name": task.name, "place": task.place.name, "vehicle": task.vehicle, "seed": task.seed,
                    "duration": task.seconds, "ceiling": task.ceiling, "fence": task.place.box, **arguments,
                },
            )  # fmt: skip
            require_near_buildings(world, plan, task.mission.near_buildings)
            if plan.duration < task.seconds - 0.05:
                raise PlanError(f"{task.name}: lasts {plan.duration:.1f} s of {task.seconds:.1f} s")
        except PlanError as error:
            reasons.append(str(error).removeprefix(f"{task.name}: "))
            continue
        return {"plan": plan.to_dict(), "drawn": drawn, "attempts": attempt + 1}
    common = sorted(dict.fromkeys(reasons), key=lambda r: -reasons.count(r))
    west, south, east, north = task.place.box
    raise MissionFailed(
        f"mission {task.title} ({task.name}): could not be planned in {task.place.name} "
        f"({east - west:.0f} × {north - south:.0f} m) in {len(reasons)} attempts: {'; '.join(common[:3])}"
    )


def require_near_buildings(world: Any, plan: Plan, share: float) -> None:
    """Raises PlanError where buildings are near for less than `share` of the time: over bare ground every frame is
    like the last. Worlds without buildings have nothing to be near to."""
    heights = stage("aerialworld_missions.heightmap", "HeightMap").of(world)
    if share <= 0 or not heights.building.any():
        return
    distance = _BUILDINGS.get(world)
    if distance is None:
        edt = stage("scipy.ndimage", "distance_transform_edt")
        distance = _BUILDINGS[world] = (edt(~heights.building) * heights.cell).astype(np.float32)
    xy = plan.trajectory().sample(np.linspace(0.0, plan.duration, max(2, round(plan.duration)))).position[:, :2]
    row, column, _ = heights.index(xy)
    near = float((distance[row, column] <= _NEAR).mean())
    if near < share:
        raise PlanError(f"{plan.name}: buildings are near for only {near:.0%} of the time (near_buildings: {share:g})")


#: World → metres to the nearest building, on the height map's raster.
_BUILDINGS: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


def draw(task: PlanTask, random: np.random.Generator) -> tuple[dict[str, Any], dict[str, Any]]:
    """Numbers from the mission's ranges that fit the place: for the record, and as the planner's arguments.

    Raises PlanError where none of many fits.
    """
    west, south, east, north = task.place.box
    room = min(east - west, north - south) / 2 - 0.1
    for _ in range(_FITS):
        drawn, arguments, half = one_draw(task.mission, random, room)
        if half <= room:
            centre = (
                fine(random.uniform(west + half, east - half)),
                fine(random.uniform(south + half, north - half)),
            )
            return {"centre": list(centre), **drawn}, placed(centre, arguments)
    raise PlanError(f"{task.name}: no {task.mission.pattern} within its ranges fits the place")
