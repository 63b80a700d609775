"""The report: what the run folder holds, put into one HTML page that needs nothing else."""

from __future__ import annotations

from json import JSONDecodeError
from pathlib import Path
from typing import Any

from aerialworld.report.checks import check_table
from aerialworld.report.metrics import metrics_section, read_curves
from aerialworld.report.pictures import curves_uri, data_uri
from aerialworld.report.plots import score_plots
from aerialworld.report.predictions import predictions
from aerialworld.report.recorded import session_card
from aerialworld.report.timing import timing_table
from aerialworld_core.errors import InputError
from aerialworld_core.files import read_json, write_bytes
from aerialworld_core.labels import COLOURS, FREE, NAMES

LICENCE = (
    "Project PLATEAU's city models are published under CC BY 4.0 and the PLATEAU site policy; this page is made from "
    "them. AerialWorld itself is under the Apache License 2.0."
)
LICENCE_GENERATED = "The generated city shows no real place. AerialWorld is under the Apache License 2.0."


def write_report(run_folder: Path) -> Path:
    """Write report.html into a run folder. Raises InputError when the folder holds no run."""
    path = Path(run_folder) / "report.html"
    write_bytes(path, render_report(Path(run_folder)).encode())
    return path


def render_report(run_folder: Path) -> str:
    """The page's HTML. Every text from data is escaped; pictures are data URIs; nothing is fetched, no script runs."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, UndefinedError

    run = _json(run_folder / "run.json")
    if run is None:
        raise InputError(f"{run_folder}: holds no run (run.json is missing); make one with `aerialworld demo`")
    environment = Environment(
        loader=PackageLoader("aerialworld.report", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    try:
        return environment.get_template("template.html").render(**gather(run_folder, run))
    except (KeyError, TypeError, UndefinedError) as error:
        raise InputError(
            f"{run_folder}: its records do not fit this version ({type(error).__name__}: {error}); run the demo again"
        ) from error


def gather(folder: Path, run: dict[str, Any]) -> dict[str, Any]:
    """Everything that the template shows."""
    city = _json(folder / "world" / "city.json") or {}
    split = _json(folder / "split.json") or {}
    validation = _json(folder / "validation.json") or {}
    evaluation = _json(folder / "evaluation" / "evaluation.json")
    timing = timing_table(folder / "stages")
    curves = read_curves(folder / "training")
    sessions_folder = folder / "sessions"
    sessions = sorted(p for p in sessions_folder.iterdir() if p.is_dir()) if sessions_folder.is_dir() else []
    metrics = metrics_section(evaluation) if evaluation else None
    map_file = folder / "map.png"
    generated = run["city"] == "generated"
    return {
        "title": f"AerialWorld on {'a generated city' if generated else run['city']}",
        "run": run,
        "tiles": _tiles(city, validation, timing, metrics),
        "map": data_uri(map_file.read_bytes(), "image/png") if map_file.is_file() else None,
        "city_text": _city_text(city),
        "legend": [
            {"name": name.replace("_", " "), "colour": "#{:02x}{:02x}{:02x}".format(*COLOURS[i])}
            for i, name in enumerate(NAMES)
            if i != FREE
        ],
        "sessions": [session_card(path, split) for path in sessions],
        "predictions": predictions(folder / "evaluation"),
        "metrics": metrics,
        "plots": data_uri(score_plots(evaluation), "image/png") if evaluation else None,
        "curves": curves_uri(curves) if curves else None,
        "checks": check_table(validation) if validation else None,
        "timing": timing,
        "machine_text": _machine_text(run["machine"]),
        "facts": _facts(run, city),
        "command": " ".join(_quoted(word) for word in run["command"]),
        "split_text": _split_text(split),
        "attribution": str(city.get("attribution", "")) or "The world names no source.",
        "licence": LICENCE_GENERATED if generated else LICENCE,
    }


def _json(path: Path) -> Any:
    """The file's content, or None when there is none. Raises InputError when it is damaged."""
    try:
        return read_json(path)
    except FileNotFoundError:
        return None
    except (JSONDecodeError, UnicodeDecodeError, ValueError) as error:
        raise InputError(f"{path}: {error}") from error


def _tiles(
    city: dict[str, Any], validation: dict[str, Any], timing: dict[str, Any], metrics: Any
) -> list[dict[str, str]]:
    tiles = []
    if city.get("buildings"):
        tiles.append({"value": f"{len(city['buildings']):,}", "label": "buildings"})
    if timing["frames"]:
        tiles.append({"value": f"{timing['frames']:,}", "label": "recorded frames"})
    if timing["rate"]:
        tiles.append({"value": f"{timing['rate']:.1f}", "label": "frames/s, recorded"})
    for key in ("recall", "precision"):
        values = [r["figures"][key] for r in validation.values() if isinstance(r["figures"].get(key), float)]
        if values:
            tiles.append({"value": f"{min(values):.3f}", "label": f"lowest occupancy {key}"})
    if metrics and metrics["headline"]:
        tiles.append(metrics["headline"])
    if timing["steps"]:
        tiles.append({"value": timing["total_text"], "label": "from city to report"})
    return tiles


def _city_text(city: dict[str, Any]) -> str:
    count = len(city.get("buildings") or [])
    name = str(city.get("name") or "")
    return f"{name + ': ' if name else ''}{count:,} buildings." if count else ""


def _machine_text(machine: dict[str, Any]) -> str:
    memory = f", {machine['memory_gb']} GB" if machine.get("memory_gb") else ""
    return f"{machine['cpu']}, {machine['cores']} cores{memory}, {machine['system']}, Python {machine['python']}"


def _facts(run: dict[str, Any], city: dict[str, Any]) -> list[dict[str, str]]:
    grid = run["grid"]
    georeference = city.get("georeference") or {}
    facts = {
        "city": str(run["city"]),
        "origin of the map": ", ".join(f"{k} {v}" for k, v in georeference.items()),
        "seed": str(run["seed"]),
        "sensor rig": str(run["rig"]),
        "voxel grid": f"{'×'.join(map(str, grid['shape']))} voxels of {'×'.join(map(str, grid['voxel_size']))} m "
        f"over {', '.join(f'{v:g}' for v in grid['range'])} m",
        "frame rate": f"{run['frame_rate']:g} Hz, {run['duration']:g} s per run",
        "training": " ".join([str(run["config"]), *run["overrides"]]),
        "machine": _machine_text(run["machine"]),
        "versions": ", ".join(f"{k} {v}" for k, v in run["versions"].items()),
    }
    return [{"name": k, "value": v} for k, v in facts.items() if v]


def _split_text(split: dict[str, Any]) -> str:
    parts = [f"{part}: {', '.join(map(str, split[part]))}" for part in ("train", "val", "test") if split.get(part)]
    return (
        "By place, never by overlapping windows. " + "; ".join(parts) + ". Place A trains; in place B the rover's run "
        "validates and the drone's survey tests. The validation run drives through the place that the test flies over."
    )


def _quoted(word: str) -> str:
    import shlex

    return shlex.quote(word)
