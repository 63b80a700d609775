"""What the squares' records say together: counts, bounds and notes for the report, the bodies for city.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from aerialworld_city.city import City
from aerialworld_city.report import ConversionReport
from aerialworld_city.tiles.squares import Squares
from aerialworld_city.writing.chunks import ABOVE, BELOW, Cell, SquareResult
from aerialworld_city.writing.city_json import Body
from aerialworld_core.frames import Array

_LAID = {
    "near": "objects on the ground with their own heights",
    "own": "objects at their own height (bridges and the like)",
    "beyond": "objects outside the ground",
    "cut": "triangles cut off where the ground ends",
}
_ALWAYS = ("buildings", "closed buildings", "building triangles", "terrain triangles")


def bodies_of(city: City, squares: Squares, cells: Sequence[Cell], results: Sequence[SquareResult]) -> list[Body]:
    """Every body in the world, in the sources' order."""
    found: dict[tuple[int, int], Body] = {}
    for cell, result in zip(cells, results, strict=True):
        for kind, record in result.groups.items():
            rows = iter(record.get("bodies", []))
            for pick in squares[cell].get(kind, []) if "bodies" in record else []:
                for i in pick.features.tolist():
                    model, base, top, *box = next(rows)
                    found[pick.tile, i] = Body(city.tiles[pick.tile].features[i], model, base, top, box)
    return [found[place] for place in sorted(found)]


def tell_written(
    report: ConversionReport,
    city: City,
    squares: Squares,
    cells: Sequence[Cell],
    results: Sequence[SquareResult],
    ground: dict[str, Any] | None = None,
) -> None:
    """Fill the report's `written`, `changed`, `notes` and `bounds`; `ground` is the record of one ground for all."""
    written = report.written
    written.update(dict.fromkeys(_ALWAYS, 0))
    for feature in sorted(city.features, key=lambda f: (f.kind, f.lod)):
        report.add(written, {f"{feature.kind} LOD{feature.lod}": 1})
        if feature.kind == "building":
            report.add(written, {"buildings": 1, "closed buildings": int(feature.closed)})
    bounds: dict[str, list[Array]] = {}
    if ground is not None:
        written["terrain triangles"] = ground["triangles"]
        bounds["world"] = [np.array(ground["bounds"])]
    for result in results:
        for kind, record in sorted(result.groups.items()):
            report.add(written, {f"{kind} triangles": record["triangles"]})
            if "lowered" in record:
                what = "buildings" if kind == "building" else f"{kind} objects"
                report.add(report.changed, {f"{what} whose base was lowered to the ground": record["lowered"]})
            if record["bounds"] is not None:
                bounds.setdefault("world", []).append(np.array(record["bounds"]))
                if kind == "building":
                    bounds.setdefault("buildings", []).append(np.array(record["bounds"]))
    _tell_laid(report, city, squares, cells, results)
    _tell_standing(report, results)
    _tell_models(report, results)
    report.written = {name: n for name, n in written.items() if n or name in _ALWAYS}
    report.bounds = {
        name: [
            [round(float(v), 4) for v in np.min([c[0] for c in corners], axis=0)],
            [round(float(v), 4) for v in np.max([c[1] for c in corners], axis=0)],
        ]
        for name, corners in sorted(bounds.items())
    }


def _tell_laid(
    report: ConversionReport, city: City, squares: Squares, cells: Sequence[Cell], results: Sequence[SquareResult]
) -> None:
    """How the surfaces lie. One without heights is outside the ground when no square found ground below it."""
    draped: dict[str, set[tuple[int, int]]] = {}
    flat: dict[str, int] = {}
    for feature, without in zip(city.features, city.without_height.tolist(), strict=True):
        if without:
            flat[feature.kind] = flat.get(feature.kind, 0) + 1
    for cell, result in zip(cells, results, strict=True):
        for kind, record in sorted(result.groups.items()):
            for name, number in record.get("laid", {}).items():
                report.add(report.written, {f"{kind} {_LAID[name]}": number})
            members = [(p.tile, i) for p in squares[cell].get(kind, []) for i in p.features.tolist()]
            draped.setdefault(kind, set()).update(members[i] for i in record.get("draped", []))
    for kind, number in sorted(flat.items()):
        lying = len(draped.get(kind, ()))
        report.add(
            report.written,
            {f"{kind} objects draped on the ground": lying, f"{kind} {_LAID['beyond']}": number - lying},
        )


def _tell_standing(report: ConversionReport, results: Sequence[SquareResult]) -> None:
    """How many bodies do not stand on the ground; they stay where the source has them."""
    counts: dict[tuple[str, str], int] = {}
    for result in results:
        for kind, record in result.groups.items():
            for way in ("above", "below"):
                counts[kind, way] = counts.get((kind, way), 0) + record.get(way, 0)
    words = {
        "above": f"stand more than {ABOVE:g} m above the ground, as the source has them",
        "below": f"reach more than {BELOW:g} m below the lowest ground under them, as the source has them",
    }
    for (kind, way), number in sorted(counts.items()):
        if number:
            report.notes.append(f"{number} {kind} objects {words[way]}")


def _tell_models(report: ConversionReport, results: Sequence[SquareResult]) -> None:
    records = [record for result in results for record in result.groups.values()]
    report.written["images"] = len({image for record in records for image in record["images"]})
    problems = sorted({line for record in records for line in record["problems"]})
    report.notes += [f"{line}; that surface is drawn by its class" for line in problems]
    simplified = [row for record in records for row in record["simplified"]]
    if simplified:
        before, after = sum(row[0] for row in simplified), sum(row[1] for row in simplified)
        worst = max(row[2] for row in simplified)
        report.notes.append(
            f"{len(simplified)} models simplified from {before:.0f} to {after:.0f} triangles; no point moved by more "
            f"than {worst:.3f} m"
        )
