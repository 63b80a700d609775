"""Which session gets which world, mission, condition, seed and split. Pure arithmetic; a longer campaign begins as a
shorter one does, so that `sessions: 20` after `sessions: 10` keeps the ten."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from aerialworld.campaign.spec import SPLITS, Campaign
from aerialworld_core.files import canonical_json

T = TypeVar("T")


@dataclass(frozen=True)
class Deal:
    """One session to be: indices into the campaign's worlds, missions, conditions and seeds; `draw` counts the sessions
    that have all four in common."""

    index: int
    world: int
    mission: int
    condition: int
    seed: int
    draw: int


def combine(first: Sequence[T], second: Sequence[Any]) -> list[tuple[T, Any]]:
    """Every pair once, in an order in which every beginning holds both kinds as evenly as can be."""
    n, m = len(first), len(second)
    together = math.lcm(n, m)
    return [(first[i % n], second[(i + i // together) % m]) for i in range(n * m)]


def deal(campaign: Campaign) -> list[Deal]:
    """The campaign's sessions: `sessions` of them, or every combination once (a mission `count` times)."""
    missions = _spread([i for i, m in enumerate(campaign.missions) for _ in range(m.count)])
    order: list[Any] = combine(range(len(campaign.worlds)), missions)
    order = combine(order, range(len(campaign.conditions)))
    order = combine(order, range(len(campaign.seeds)))
    wanted = len(order) if campaign.sessions is None else campaign.sessions
    drawn: dict[tuple[int, int, int, int], int] = {}
    deals = []
    for index in range(wanted):
        ((world, mission), condition), seed = order[index % len(order)]
        cell = (world, mission, condition, seed)
        deals.append(Deal(index, *cell, drawn.get(cell, 0)))
        drawn[cell] = drawn.get(cell, 0) + 1
    return deals


def _spread(items: Sequence[int]) -> list[int]:
    """The same items, equal ones as far apart as their numbers allow."""
    total, counts = len(items), {i: items.count(i) for i in dict.fromkeys(items)}
    given, result = dict.fromkeys(counts, 0), []
    for position in range(total):
        item = max(counts, key=lambda i: counts[i] * (position + 1) / total - given[i])
        given[item] += 1
        result.append(item)
    return result


def splits(deals: Sequence[Deal], places: Mapping[int, Sequence[str]], shares: Mapping[str, float]) -> list[str]:
    """The split of each session: of those its world has places for, the one that lacks most of its share; in the whole
    campaign first, then in the world and among its mission's sessions."""
    counts: dict[Any, dict[str, int]] = {}
    return [_most_wanting(counts, deal, tuple(places[deal.world]), shares) for deal in deals]


def _most_wanting(
    counts: dict[Any, dict[str, int]], deal: Deal, open_to: tuple[str, ...], shares: Mapping[str, float]
) -> str:
    total = sum(shares.get(s, 0.0) for s in open_to)
    share = {s: shares.get(s, 0.0) / total if total else 1.0 / len(open_to) for s in SPLITS if s in open_to}
    keys = (open_to, ("world", deal.world), (open_to, deal.mission))  # worlds with other places count apart
    groups = [counts.setdefault(key, dict.fromkeys(SPLITS, 0)) for key in keys]

    def lack(split: str) -> float:
        whole, world, mission = (share[split] * (sum(g.values()) + 1) - g[split] for g in groups)
        return round(whole + 0.25 * world + 0.25 * mission, 9)

    chosen = max(share, key=lack)
    for group in groups:
        group[chosen] += 1
    return chosen


def split_worlds(count: int, fixed: Mapping[int, str], shares: Mapping[str, float]) -> list[str]:
    """The split of each world where whole worlds are split: those that are fixed, then whichever lacks most."""
    given = dict.fromkeys(shares, 0.0)
    for split in fixed.values():
        given[split] = given.get(split, 0.0) + 1
    result = []
    for world in range(count):
        split = fixed.get(world) or max(shares, key=lambda s: round(shares[s] * count - given[s], 9))
        if world not in fixed:
            given[split] += 1
        result.append(split)
    if not fixed:
        _fill_empty(result, [s for s in ("train", "test", "val") if s in shares])
    return result


def _fill_empty(result: list[str], splits: Sequence[str]) -> None:
    """Every split has a world, as far as there are worlds: the split of most gives its last one away."""
    for split in [s for s in splits[: len(result)] if s not in result]:
        largest = max(splits, key=result.count)
        result[len(result) - 1 - result[::-1].index(largest)] = split


def job_seed(*parts: Any) -> int:
    """32 bits of a job's own: a session's sensor noise and its mission's numbers are functions of it."""
    return int.from_bytes(hashlib.sha256(canonical_json(list(parts))).digest()[:4], "big")
