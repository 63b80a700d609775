"""From a campaign to its manifest: places, deals, numbers, plans. Nothing is recorded here."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aerialworld.campaign import dealing
from aerialworld.campaign.dealing import Deal
from aerialworld.campaign.draws import PlaceTask, PlanTask, look_at, make_plan
from aerialworld.campaign.jobs import Job, plan_file, rig_sha256
from aerialworld.campaign.manifest import Manifest, WorldEntry, asked_of, is_file_name, relevant_versions, rig_name
from aerialworld.campaign.missions import Mission
from aerialworld.campaign.places import Place, leaks, reach, separation
from aerialworld.campaign.shapes import least_edge
from aerialworld.campaign.spec import Campaign
from aerialworld.campaign.workforce import Outcome, Task, Workforce
from aerialworld.campaign.worlds import WorldFolder
from aerialworld.campaign.yaml_text import CampaignError
from aerialworld.console import note
from aerialworld.lazy import stage
from aerialworld.options import MODALITIES
from aerialworld.progress import meter
from aerialworld.recording import session_name, start_time, traffic_entry
from aerialworld_core.errors import AerialWorldError, InputError
from aerialworld_core.files import dump_json
from aerialworld_core.plan import Plan
from aerialworld_core.rig import Rig


@dataclass(frozen=True)
class Inputs:
    """What planning begins with: `manifest` has everything but places, notes and jobs; `rigs` choice → what is loaded
    for it (a shipped model's name or a path), and the rig."""

    campaign: Campaign
    folders: list[WorldFolder]
    manifest: Manifest
    rigs: dict[str, tuple[str, Rig]]


def rig_choice(campaign: Campaign, mission: Mission) -> str:
    """The rig of a mission as the file says it: its own, the campaign's, or the one of its kind of vehicle."""
    return mission.rig or campaign.rig or f"rig_{mission.agent_type}"


def read_inputs(campaign: Campaign, base: Path, folders: list[WorldFolder], force: Workforce) -> Inputs:
    """Load what the campaign names: worlds (their hash and place on earth), rigs, versions. Raises InputError for what
    is missing or cannot be used."""
    rigs: dict[str, tuple[str, Rig]] = {}
    hashes: dict[str, str] = {}
    for choice in dict.fromkeys(rig_choice(campaign, mission) for mission in campaign.missions):
        local = base / choice
        source = str(local) if is_file_name(choice) and local.exists() else choice
        loaded = stage("aerialworld_core.world", "load_rig")(source)
        if not loaded.depth:
            raise CampaignError(f"rig {choice}: has no depth cameras, and occupancy is projected from depth")
        rigs[choice] = source, loaded
        sha256 = rig_sha256(loaded)
        if hashes.setdefault(rig_name(choice), sha256) != sha256:
            raise CampaignError(f"rig {choice}: two rigs are called {rig_name(choice)}; rename one of the files")
    entries: list[WorldEntry] = []
    told: set[str] = set()
    for folder, facts in zip(folders, _all(force, [Task(w.name, w.path, _facts, None) for w in folders]), strict=True):
        for line in facts["notes"]:
            if line not in told:
                note(f"{folder.path}: {line}", style="yellow")
            told.add(line)
        if facts["georeference"] is None:
            raise InputError(f"{folder.path}: has no place on earth; add <spherical_coordinates> to world.sdf")
        latitude, longitude = facts["georeference"]
        entries.append(
            WorldEntry(folder.name, facts["sha256"], latitude, longitude, facts["credit"], facts["bounds"], places=[])
        )
    asked = asked_of(campaign, [w.name for w in folders])
    return Inputs(campaign, folders, Manifest(asked, relevant_versions(), hashes, entries), rigs)


def make_manifest(inputs: Inputs, force: Workforce, keep: Callable[[str, bytes], None]) -> Manifest:
    """Places, deals and collision-free plans of every session; `keep(file, data)` stores a plan as it comes.

    Raises MissionFailed naming the mission that cannot be planned, CampaignError where places of different splits would
    share voxels.
    """
    campaign = inputs.campaign
    worlds, notes = _with_places(inputs, force)
    deals = dealing.deal(campaign)
    open_to = {i: [p.split for p in w.places] for i, w in enumerate(worlds)}
    splits = dealing.splits(deals, open_to, campaign.split.shares())
    tasks = [_plan_task(campaign, worlds[d.world], d, s) for d, s in zip(deals, splits, strict=True)]

    def job(number: int, result: dict[str, Any]) -> Job:
        data = dump_json(Plan.from_dict(result["plan"]).to_dict())
        task = tasks[number]
        keep(plan_file(task.name), data)
        sha256 = hashlib.sha256(data).hexdigest()
        return _job(inputs, worlds[deals[number].world], deals[number], splits[number], task, result, sha256)

    work = [Task(t.name, inputs.folders[d.world].path, make_plan, t) for t, d in zip(tasks, deals, strict=True)]
    with meter("plan", len(tasks), "missions") as bar:
        jobs = _all(force, work, take=job, on_each=bar.update)
    for split in campaign.split.shares():
        if split not in splits:
            notes.append(f"no session is in {split}: there are {len(jobs)} sessions, or no world has a place for it")
    return replace(inputs.manifest, worlds=worlds, notes=notes, jobs=jobs)


def _facts(world: Any, _argument: Any, _tell: Any) -> dict[str, Any]:
    at = world.georeference
    return {
        "sha256": world.sha256,
        "georeference": None if at is None else (at.latitude, at.longitude),
        "bounds": [[round(float(v), 3) for v in corner] for corner in world.bounds],
        "notes": list(world.notes),
        "credit": world.attribution,
    }


def _all(
    force: Workforce,
    tasks: Sequence[Task],
    take: Callable[[int, Any], Any] = lambda number, result: result,
    on_each: Callable[[int], None] = lambda done: None,
) -> list[Any]:
    """What `take` makes of each result, in the order of tasks; the first error is raised."""
    numbered = [Task(i, t.world, t.function, t.argument) for i, t in enumerate(tasks)]
    results: list[Any] = [None] * len(tasks)
    for done, outcome in enumerate(force.run(numbered, logged=note), 1):
        results[outcome.key] = take(outcome.key, _result(outcome, tasks[outcome.key]))
        on_each(done)
    return results


def _result(outcome: Outcome, task: Task) -> Any:
    if outcome.error is None:
        return outcome.result
    if isinstance(outcome.error, AerialWorldError):
        raise outcome.error
    raise AerialWorldError(f"{task.key}: {outcome.error}") from outcome.error


def _with_places(inputs: Inputs, force: Workforce) -> tuple[list[WorldEntry], list[str]]:
    campaign, grid = inputs.campaign, inputs.campaign.grid.grid()
    shares = campaign.split.shares()
    gap, need = separation(grid), max(least_edge(m) for m in campaign.missions)
    fixed: dict[int, str] = {i: w.split for i, w in enumerate(campaign.worlds) if w.split is not None}
    if campaign.split.by == "world":
        fixed = dict(enumerate(dealing.split_worlds(len(campaign.worlds), fixed, shares)))
    tasks = []
    for index, (spec, folder) in enumerate(zip(campaign.worlds, inputs.folders, strict=True)):
        parts: dict[str, float] = {fixed[index]: 1.0} if index in fixed else shares
        tasks.append(Task(folder.name, folder.path, look_at, PlaceTask(folder.name, spec.region, parts, gap, need)))
    with meter("places", len(tasks), "worlds") as bar:
        found = _all(force, tasks, on_each=bar.update)
    worlds, notes = [], []
    for entry, result in zip(inputs.manifest.worlds, found, strict=True):
        places = [Place.from_dict(p) for p in result["places"]]
        worlds.append(replace(entry, places=places))
        if result["note"]:
            notes.append(result["note"])
    every = [(p, (w.latitude, w.longitude)) for w in worlds for p in w.places]
    for a, b, apart in leaks(every, gap):
        raise CampaignError(
            f"worlds {a.name} and {b.name} lie {apart:.0f} m apart on earth and are of different splits, whose grids "
            f"reach {reach(grid):.0f} m: they would share voxels. Give worlds that touch the same split:, or leave one "
            "out"
        )
    return worlds, notes


def _plan_task(campaign: Campaign, world: WorldEntry, deal: Deal, split: str) -> PlanTask:
    mission = campaign.missions[deal.mission]
    condition = campaign.conditions[deal.condition].given()
    place = next(p for p in world.places if p.split == split)
    return PlanTask(
        name=session_name(mission.agent_type, deal.index),
        title=campaign.mission_names[deal.mission],
        mission=mission,
        vehicle=mission.vehicle or f"{mission.agent_type}_1",
        place=place,
        seed=dealing.job_seed(
            campaign.seeds[deal.seed], world.name, campaign.mission_names[deal.mission], condition, deal.draw
        ),
        seconds=campaign.flight_seconds,
        ceiling=float(math.floor(campaign.grid.grid().range[5])),
        redraws=campaign.redraws,
    )


def _job(
    inputs: Inputs, world: WorldEntry, deal: Deal, split: str, task: PlanTask, result: dict[str, Any], plan_sha256: str
) -> Job:
    campaign = inputs.campaign
    rig = rig_name(rig_choice(campaign, task.mission))
    return Job(
        name=task.name,
        index=deal.index,
        world=world.name,
        world_sha256=world.sha256,
        mission=campaign.mission_names[deal.mission],
        agent_type=task.mission.agent_type,
        vehicle=task.vehicle,
        place=task.place.name,
        split=split,
        rig=rig,
        rig_sha256=inputs.manifest.rigs[rig],
        seed=task.seed,
        conditions=campaign.conditions[deal.condition].of_session(task.seed),
        start_time=start_time(deal.index),
        frames=campaign.frame_count,
        recording={
            "grid": campaign.grid.grid().to_dict(),
            "frame_rate": campaign.frame_rate,
            "modalities": [m for m in MODALITIES if m in campaign.modalities],
            **traffic_entry(None if campaign.traffic is None else campaign.traffic.options(task.seed)),
        },
        plan={"file": plan_file(task.name), "sha256": plan_sha256},
        drawn=result["drawn"],
        attempts=result["attempts"],
    )
