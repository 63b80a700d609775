"""The plain-text mission files of QGroundControl and Mission Planner (.waypoints): https://mavlink.io/en/file_formats/"""

from __future__ import annotations

import math
import re

from aerialworld_core.entries import shown
from aerialworld_core.errors import PlanError
from aerialworld_core.frames import Georeference
from aerialworld_core.plan import Plan
from aerialworld_missions.mission_items import GLOBAL, WAYPOINT, Item, Mission
from aerialworld_missions.qgc_plan import mission_items
from aerialworld_missions.requests import MOST_POINTS

_HEADER = re.compile(r"QGC WPL (\d{1,4})")
_KNOWN = {"110", "120"}
_COLUMNS = 12


def parse(text: str, source: str) -> Mission:
    """A mission of a file's text; its item 0, a waypoint above sea level, is home. Raises PlanError, beginning with
    `source` and naming the line, for whatever is not as the format says."""
    lines = text.splitlines()
    header = _HEADER.fullmatch(lines[0].strip()) if lines else None
    if header is None or header.group(1) not in _KNOWN:
        raise PlanError(f'{source}: the first line is {shown(lines[0] if lines else "")}, not "QGC WPL 110"')
    items: list[Item] = []
    for n, line in enumerate(lines[1:], 2):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        parts = line.split()
        if len(parts) != _COLUMNS:
            raise PlanError(f"{source}: line {n}: {len(parts)} columns; a mission item has {_COLUMNS}")
        index, _, frame, command = (_whole(source, n, part) for part in parts[:4])
        if index != len(items):
            raise PlanError(f"{source}: line {n}: item {index} where {len(items)} was due: the file is cut or mixed up")
        items.append(Item(index, command, frame, tuple(_number(source, n, part) for part in parts[4:11])))
        if len(items) > MOST_POINTS:
            raise PlanError(f"{source}: more than {MOST_POINTS} items")
    if not items:
        raise PlanError(f"{source}: has no mission items")
    home = None
    if items[0].command == WAYPOINT and items[0].frame == GLOBAL:
        home, items = items[0], items[1:]
    known = home is not None and (home.value(5), home.value(6)) != (0.0, 0.0)
    return Mission(
        source, tuple(items), home=(home.value(5), home.value(6), home.value(7)) if home is not None and known else None
    )


def _number(source: str, line: int, text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        raise PlanError(f"{source}: line {line}: {shown(text)} is not a number") from None
    if math.isnan(value):
        return None
    if not abs(value) <= 1e9:
        raise PlanError(f"{source}: line {line}: {shown(text)} is out of range")
    return value


def _whole(source: str, line: int, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text):
        raise PlanError(f"{source}: line {line}: {shown(text)} is not a whole number")
    return int(text)


def text(plan: Plan, reference: Georeference, home_z: float) -> str:
    """A plan as such a file; home is the ground under its start, at map z `home_z`."""
    items = mission_items(plan, reference, home_z)
    first = next(item for item in items if item.parameters[4])
    altitude = round(reference.height + home_z, 3)
    home = Item(0, WAYPOINT, GLOBAL, (0.0, 0.0, 0.0, 0.0, first.value(5), first.value(6), altitude))
    rows = []
    for item in (home, *items):
        five, six, seven = f"{item.value(5):.8f}", f"{item.value(6):.8f}", f"{item.value(7):.3f}"
        numbers = [f"{item.value(k):g}" for k in range(1, 5)]
        current = 1 if item.number == 0 else 0
        rows.append(
            "\t".join(
                [str(item.number), str(current), str(item.frame), str(item.command), *numbers, five, six, seven, "1"]
            )
        )
    return "\n".join(["QGC WPL 110", *rows, ""])
