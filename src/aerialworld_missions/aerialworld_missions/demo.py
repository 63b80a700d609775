"""The demonstration's missions: two places of any world whose voxel grids can never overlap, and five runs in them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt, maximum_filter, minimum_filter, uniform_filter

from aerialworld_core.errors import PlanError
from aerialworld_core.frames import Array
from aerialworld_core.labels import DRIVEABLE_SURFACE
from aerialworld_core.plan import Plan
from aerialworld_missions.flight import CEILING, DRONE
from aerialworld_missions.heightmap import Geometry, HeightMap
from aerialworld_missions.motion import margin
from aerialworld_missions.orbit import orbit
from aerialworld_missions.requests import HEADING_JITTER, SPEED_JITTER, generator, number
from aerialworld_missions.road import road_run
from aerialworld_missions.survey import survey

#: Metres between any two poses of different places: twice the half diagonal of an 80 m grid, and 1.9 m more.
SEPARATION = 115.0
#: Edge of a place's survey box, metres: tried first, and the least that is tried.
LARGEST, SMALLEST, SHRINK = 60.0, 40.0, 10.0
SPACING, ALTITUDE, ORBIT_ALTITUDE, DRONE_SPEED, ROVER_SPEED, CLEARANCE = 15.0, 30.0, 35.0, 5.0, 3.5, 5.0
#: Share of a place's cells that buildings must cover, and that a rover must be able to stand on.
LEAST_BUILT, LEAST_OPEN = 0.04, 0.08
#: The five runs, in the order in which they are returned.
ORDER = (("A", "survey"), ("B", "survey"), ("A", "orbit"), ("A", "rover"), ("B", "rover"))
#: Metres that a rover's run must reach over, east or north.
LEAST_SPREAD = 20.0
_MOST_CANDIDATES = 2500
_MOST_ATTEMPTS = 24


@dataclass(frozen=True, eq=False)
class Candidates:
    """Possible places: `centres` (N, 2) in map, and how good each is, `score` (N,)."""

    centres: Array
    score: Array


def footprint(size: float) -> float:
    """Half the edge, metres, of the axis-aligned square that no run in a place of `size` leaves: box, turns, jitter."""
    reach = size / 2 + margin(DRONE.turn_window, DRONE_SPEED * (1 + SPEED_JITTER)) + SPACING / 2
    return reach * (math.cos(HEADING_JITTER) + math.sin(HEADING_JITTER))


def candidates(heights: HeightMap, size: float, ceiling: float, random: np.random.Generator) -> Candidates:
    """Every place of a lattice over the world that has ground all over its footprint, buildings, room for a rover, and
    no building too high to fly over; scored by how much there is to see and how low one can fly."""
    cell, half = heights.cell, footprint(size)
    box, around = (max(1, round(edge / cell)) for edge in (size, 2 * half))
    ground = np.isfinite(heights.ground)
    rows, columns = ground.shape
    built = heights.building
    open_ground = ground & (distance_transform_edt(~(built | ~ground)) * cell > 3.5)
    road = heights.face_class == DRIVEABLE_SURFACE

    def share(mask: Array | np.ndarray, cells: int) -> Array:
        return np.asarray(uniform_filter(mask.astype(np.float64), cells, mode="constant"))

    lowest = np.where(ground, heights.ground, np.inf)
    relief = -maximum_filter(-lowest, around, mode="nearest")
    top = maximum_filter(np.where(np.isfinite(heights.surface), heights.surface, -np.inf), around, mode="nearest")
    reach = math.ceil(half / cell)
    step = max(5, math.ceil(math.sqrt(max(rows * columns, 1) / _MOST_CANDIDATES)))
    r, c = (
        a.ravel()
        for a in np.meshgrid(
            np.arange(reach, rows - reach, step), np.arange(reach, columns - reach, step), indexing="ij"
        )
    )
    complete = minimum_filter(ground, around, mode="constant", cval=False)[r, c]
    buildings, room = share(built, box)[r, c], share(open_ground, box)[r, c]
    with np.errstate(invalid="ignore"):
        rise = top[r, c] - relief[r, c]
    lowest_ground = float(np.min(lowest))
    flyable = top[r, c] + CLEARANCE + 8.0 < lowest_ground + ceiling
    good = complete & flyable & (buildings >= LEAST_BUILT) & (room >= LEAST_OPEN)
    r, c, buildings, room, rise = (a[good] for a in (r, c, buildings, room, rise))
    score = (
        np.minimum(buildings / 0.3, 1.0)
        + 0.5 * np.minimum(room / 0.3, 1.0)
        + 0.5 * np.minimum(share(road, box)[r, c] / 0.1, 1.0)
        - 0.5 * np.clip((rise - ALTITUDE) / 60.0, 0.0, 2.0)
        + 0.2 * random.random(len(r))
    )
    centres = heights.low + (np.stack([c, r], axis=1) + 0.5) * cell
    return Candidates(centres, score)


def pairs(found: Candidates, size: float, apart_by: float, failed: list[Array]) -> Iterator[tuple[Array, Array]]:
    """Pairs of centres whose footprints lie `apart_by` metres apart, best first; none within 15 m of a place in
    `failed` (which the caller extends while it goes)."""
    gap = np.maximum(np.abs(found.centres[:, None] - found.centres[None]) - 2 * footprint(size), 0.0)
    apart = np.hypot(gap[..., 0], gap[..., 1]) >= apart_by
    worth = np.where(apart, np.minimum(found.score[:, None], found.score[None]), -np.inf)
    worth += 0.25 * (found.score[:, None] + found.score[None])
    worth -= 0.3 * np.clip(np.hypot(gap[..., 0], gap[..., 1]) / 500.0, 0.0, 1.0)  # neighbours, if as good
    while worth.size:
        i, j = np.unravel_index(int(np.argmax(worth)), worth.shape)
        if not np.isfinite(worth[i, j]):
            return
        worth[i, j] = worth[j, i] = -np.inf
        yield found.centres[i], found.centres[j]
        for place in failed:
            near = np.linalg.norm(found.centres - place, axis=1) < 15.0
            worth[near] = -np.inf
            worth[:, near] = -np.inf


def runs(
    world: Geometry, place: str, centre: Array, size: float, seed: int, duration: float, ceiling: float
) -> dict[str, Callable[[], Plan]]:
    """The runs that can be planned in a place, by name."""
    at = (float(np.round(centre[0], 3)), float(np.round(centre[1], 3)))
    quarter = 0.5 * math.pi * float(generator("demo", seed, "heading", place).integers(2))

    def fly_survey() -> Plan:
        return survey(
            world,
            name=f"survey_{place}",
            place=place,
            centre=at,
            size=size,
            spacing=SPACING,
            altitude=ALTITUDE,
            heading=quarter,
            speed=DRONE_SPEED,
            seed=seed,
            clearance=CLEARANCE,
            ceiling=ceiling,
            duration=duration,
            jitter=True,
        )

    def fly_orbit() -> Plan:
        return orbit(
            world,
            name=f"orbit_{place}",
            place=place,
            centre=at,
            radius=size / 2,
            altitude=ORBIT_ALTITUDE,
            speed=DRONE_SPEED,
            look="centre",
            seed=seed,
            clearance=CLEARANCE,
            ceiling=ceiling,
            duration=duration,
            jitter=True,
        )

    def drive() -> Plan:
        plan = road_run(
            world,
            name=f"rover_{place}",
            place=place,
            centre=at,
            size=size,
            speed=ROVER_SPEED,
            seed=seed,
            duration=duration,
            ceiling=ceiling,
            jitter=True,
        )
        spread = float(np.ptp(plan.position[:, :2], axis=0).max())
        if spread < min(LEAST_SPREAD, 0.25 * ROVER_SPEED * duration):
            raise PlanError(f"rover_{place}: around ({at[0]:.0f}, {at[1]:.0f}) it could only drive in circles")
        return plan

    return {"survey": fly_survey, "orbit": fly_orbit, "rover": drive}


def least_separation(plans: list[Plan]) -> float:
    """Least horizontal distance, metres, between poses of different places; inf if there is one place only."""
    least = math.inf
    for i, a in enumerate(plans):
        for b in plans[i + 1 :]:
            if a.place != b.place:
                gap = a.position[:, None, :2] - b.position[None, :, :2]
                least = min(least, float(np.hypot(gap[..., 0], gap[..., 1]).min()))
    return least


def plan_demo(
    world: Geometry,
    *,
    seed: int = 0,
    duration: float = 25.0,
    size: float = LARGEST,
    separation: float = SEPARATION,
    ceiling: float = CEILING,
) -> list[Plan]:
    """Five runs of `duration` seconds in two places of any world: surveys of A and B, an orbit of A, rovers in A and B.

    The places are square blocks of `size` metres (less where the world is small, down to 40 m) with buildings and open
    ground, chosen by the seed among the best; all runs of A stay at least 115 m from all runs of B, so that no
    voxel grid (80 × 80 m, turned anyhow) of one shows anything of the other. Plans are named `survey_A`, `survey_B`,
    `orbit_A`, `rover_A`, `rover_B`; `Plan.place` is "A" or "B".

    For a grid other than the default, give its own `separation` (the diagonal of its floor plan) and `ceiling` (its top
    above the datum), metres.

    Raises PlanError, with the reason, for a world without two such places.
    """
    number("demo", "duration", duration, least=1.0, most=3600.0)
    number("demo", "size", size, least=SMALLEST, most=1000.0)
    number("demo", "separation", separation, least=1.0, most=1e4)
    number("demo", "ceiling", ceiling, least=0.0, above=True)
    heights = HeightMap.of(world)
    reasons: list[str] = []
    edge = size
    while edge >= SMALLEST:
        random = generator("demo", seed, "places")
        found = candidates(heights, edge, ceiling, random)
        failed: list[Array] = []
        if len(found.centres) == 0:
            reasons.append(f"{edge:g} m: no block has ground, buildings and open space")
        attempts = 0
        for a, b in pairs(found, edge, separation, failed):
            if attempts == _MOST_ATTEMPTS:
                break
            attempts += 1
            places = {"A": a, "B": b} if random.random() < 0.5 else {"A": b, "B": a}
            at = {place: runs(world, place, centre, edge, seed, duration, ceiling) for place, centre in places.items()}
            try:
                flown = {}
                for place, kind in reversed(ORDER):  # rovers first: they fail soonest
                    flown[place, kind] = at[place][kind]()
            except PlanError as error:
                failed.append(places[place])
                reasons.append(f"{edge:g} m: {error}")
                continue
            plans = [flown[run] for run in ORDER]
            if least_separation(plans) < separation:
                reasons.append(f"{edge:g} m: the paths come nearer than {separation:g} m")
                continue
            return plans
        if attempts == 0 and len(found.centres):
            reasons.append(f"{edge:g} m: no two blocks are {separation:g} m apart")
        edge -= SHRINK
    extent = heights.high - heights.low
    need = 4 * footprint(SMALLEST) + separation
    raise PlanError(
        f"this world of {extent[0]:.0f} × {extent[1]:.0f} m has no two places for the demonstration (two blocks with "
        f"buildings, open ground and no tower, {separation:g} m apart, take at least {need:.0f} × "
        f"{2 * footprint(SMALLEST):.0f} m): " + "; ".join(reasons[-3:])
    )
