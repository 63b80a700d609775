"""What the city commands tell, as tables to read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from aerialworld.console import OUT

#: So many reasons, files and names are shown; where the rest stand is said.
_SHOWN = 5


def show(title: str, data: dict[str, Any]) -> None:
    """A dictionary as a table of two columns; long lists are counted, not printed."""
    table = _pairs(title)
    for key, value in _flat(data):
        table.add_row(key.replace("_", " "), value)
    OUT.print(table, emoji=False)


def _pairs(title: str) -> Table:
    table = Table(title=escape(title), show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    return table


def _flat(data: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in data.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            rows += _flat(value, f"{name}.")
        elif isinstance(value, list | tuple) and len(value) > 8:
            rows.append((escape(name), f"{len(value)} entries"))
        elif isinstance(value, float):
            rows.append((escape(name), f"{value:.6g}"))
        else:
            rows.append((escape(name), escape(str(value))))
    return rows


def report_table(report: dict[str, Any], out: Path) -> Table:
    """What a conversion read, wrote, changed and left out; `report` is ConversionReport.to_dict()."""
    rest = f"{out.name}/conversion_report.json"
    table = _pairs(f"{report['world']} → {out}")
    written, levels = _levels(report["written"])
    table.add_row("files read", f"{report['read'].get('files', 0):,}")
    for kind, found in levels.items():
        parts = ", ".join(f"{count:,} at {level}" for level, count in found.items())
        table.add_row(escape(kind), f"{sum(found.values()):,} ({parts})")
    table.add_row("written", _counts(written))
    changed = {k: v for k, v in report["changed"].items() if v}
    table.add_row("changed", _lines(changed))
    for name, (low, high) in report["bounds"].items():
        size = " × ".join(f"{b - a:,.1f}" for a, b in zip(low, high, strict=True))
        table.add_row(f"size of {escape(name)}", f"{size} m (east × north × height)")
    skipped = [f"{s['file']}: {s['id']}: {s['reason']}" for s in report["skipped"]]
    table.add_row("skipped", _some(skipped, rest))
    if report["passed_over"]:
        table.add_row("passed over", _some(report["passed_over"], rest))
    if report["notes"]:
        table.add_row("notes", _some(report["notes"], rest))
    if report.get("reused"):
        table.add_row("reused", _reused(report["reused"]))
    table.add_row("time", f"{report['seconds']:.1f} s")
    return table


def _levels(written: dict[str, int]) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    """Counts that are not by level, and those that are ("building LOD2") by kind."""
    others: dict[str, int] = {}
    levels: dict[str, dict[str, int]] = {}
    for name, count in written.items():
        kind, space, level = name.rpartition(" ")
        if space and level.startswith("LOD") and level[3:].isdigit():
            levels.setdefault(kind, {})[level] = count
        else:
            others[name] = count
    return others, levels


def _reused(counts: dict[str, int]) -> str:
    """ "3 of 5 files" where "files" and "of files" are counted."""
    parts = []
    for name, count in counts.items():
        if not name.startswith("of "):
            whole = counts.get(f"of {name}")
            parts.append(f"{count:,}{'' if whole is None else f' of {whole:,}'} {name}")
    return escape(", ".join(parts))


def _lines(counts: dict[str, int]) -> str:
    return escape("\n".join(f"{value:,} {name}" for name, value in counts.items())) or "nothing"


def _counts(counts: dict[str, int]) -> str:
    return escape(", ".join(f"{value:,} {name}" for name, value in counts.items())) or "nothing"


def _some(lines: Sequence[str], rest: str) -> str:
    """How many, the first few, and where the others stand."""
    if not lines:
        return "nothing"
    text = [f"{len(lines):,}", *lines[:_SHOWN]]
    if len(lines) > _SHOWN:
        text.append(f"… the other {len(lines) - _SHOWN:,} in {rest}")
    return escape("\n".join(text))


def info_table(info: dict[str, Any]) -> Table:
    """What `city_info` found."""
    table = _pairs(", ".join(info["sources"][:3]) + (" …" if len(info["sources"]) > 3 else ""))
    table.add_row("files", _counts(info["modules"]) if info["modules"] else "none that can be read")
    for kind, levels in info["kinds"].items():
        parts = ", ".join(f"{count:,} at {level}" for level, count in levels.items())
        table.add_row(escape(kind), f"{sum(levels.values()):,} ({parts})")
    if info["terrain_triangles"]:
        table.add_row("terrain", f"{info['terrain_triangles']:,} triangles")
    if info["textures"]["named"]:
        table.add_row("images", "{named:,} named, {present:,} there, {missing:,} missing".format(**info["textures"]))
    if info["bounds"]:
        (south, west, low), (north, east, high) = info["bounds"]
        table.add_row("extent", f"{south:.5f} to {north:.5f} N, {west:.5f} to {east:.5f} E, {low:.1f} to {high:.1f} m")
    table.add_row("meshes", _meshes(info["coverage"]))
    if info["specification"]:
        table.add_row("specification", escape(", ".join(info["specification"])))
    table.add_row("systems", ", ".join(f"EPSG:{code}" for code in info["epsg"]) or "none stated")
    zone = info["zone"]
    table.add_row("plane zone", f"EPSG:{zone}" if zone else escape(info["zone_problem"]))
    if info["generated"]:
        table.add_row("origin", "generated by AerialWorld; no real place")
    broken = [f"{f['name']}: {f['error']}" for f in info["files"] if "error" in f]
    if broken:
        table.add_row("cannot be read", _some(broken, "--json"), style="red")
    skipped = [f"{s['file']}: {s['id']}: {s['reason']}" for s in info["skipped"]]
    if skipped:
        table.add_row("skipped", _some(skipped, "--json"))
    if info["passed_over"]:
        table.add_row("passed over", _some(info["passed_over"], "--json"))
    return table


def _meshes(coverage: dict[str, list[str]]) -> str:
    lines = []
    for module, meshes in coverage.items():
        some = ", ".join(meshes[:_SHOWN]) + (f" … ({len(meshes)})" if len(meshes) > _SHOWN else "")
        lines.append(f"{module}: {some}")
    return escape("\n".join(lines)) or "not stated in the files' names"


def sets_table(sets: Sequence[Any]) -> Table:
    """Data sets of the catalogue."""
    table = Table(title=f"{len(sets):,} data sets", title_justify="left")
    for name in ("code", "prefecture", "city", "year", "version", "size", "modules"):
        table.add_column(name, justify="right" if name == "size" else "left", overflow="fold")
    for entry in sets:
        size = f"{entry.size / 1e6:,.0f} MB" if entry.size else "?"
        row = (entry.code, entry.prefecture, entry.city, str(entry.year), entry.spec, size, " ".join(entry.modules))
        table.add_row(*(escape(text) for text in row))
    return table
