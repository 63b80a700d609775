"""The data set's README with the header that Hugging Face reads, and split.json. No wall time, host or path."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from aerialworld.campaign.jobs import Job
from aerialworld.campaign.manifest import Manifest
from aerialworld.campaign.outcome import Results, made_of, size_text, summary
from aerialworld.campaign.places import separation
from aerialworld.campaign.spec import SPLITS
from aerialworld.lazy import stage
from aerialworld_core.files import write_bytes, write_json
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import NAMES

CARD, SPLIT = "README.md", "split.json"
_MARKED = str.maketrans({c: f"\\{c}" for c in "\\`*_[]<>|#"})
#: The Hub's size categories, by frames.
_SIZES = (
    (1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"), (1_000_000_000, "100M<n<1B"),
)  # fmt: skip
#: Names of places in a table's cell.
_NAMED = 5
_SENSORS = {"images": "the pictures of the rig's cameras", "lidar": "a LiDAR scan", "imu": "IMU samples"}


def write_split(root: Path, jobs: Sequence[Job], results: Results) -> None:
    """split.json: the finished sessions of each split, by name."""
    made = made_of(jobs, results)
    write_json(root / SPLIT, {split: [j.name for j in made if j.split == split] for split in SPLITS})


def write_card(root: Path, manifest: Manifest, results: Results, byte_count: int) -> None:
    write_bytes(root / CARD, card(manifest, results, byte_count).encode())


def card(manifest: Manifest, results: Results, byte_count: int) -> str:
    """The README: what the data is, whose it is, how it was made and how it is made again."""
    jinja = stage("jinja2")
    # Markdown, not HTML: what comes from files goes through `plain`.
    environment = jinja.Environment(
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja.StrictUndefined,
    )
    environment.filters["plain"] = plain
    template = (resources.files("aerialworld.campaign") / "card_template.md").read_text(encoding="utf-8")
    text = str(environment.from_string(template).render(_content(manifest, results, byte_count)))
    return "\n".join(_single_blank(text.split("\n")))


def plain(text: str) -> str:
    """Text from files as Markdown shows it literally, in one line."""
    return " ".join(str(text).split()).translate(_MARKED)


def licence(manifest: Manifest) -> dict[str, str]:
    """The header's licence: as the campaign says; CC BY 4.0 where all data is PLATEAU's; else left to who publishes."""
    chosen = manifest.asked.get("license")
    if chosen:
        return {"license": str(chosen)}
    credit = stage("aerialworld_city.sources.credit")
    owners = {line for w in manifest.worlds for line in (w.attribution or "unknown").split(" / ")}
    if credit.PLATEAU_CREDIT in owners and owners <= {credit.PLATEAU_CREDIT, credit.GENERATED_CREDIT}:
        return {"license": "cc-by-4.0"}
    name = "generated" if owners == {credit.GENERATED_CREDIT} else "see-worlds"
    return {"license": "other", "license_name": name, "license_link": f"{CARD}#worlds"}


def recipe(asked: dict[str, Any]) -> dict[str, Any]:
    """A campaign as a file that says the same, with worlds below `worlds/`; what is None is left out."""
    data = _without_none(asked)
    for world in data["worlds"]:
        world["path"] = f"worlds/{world['path']}"
        world.pop("convert", None)
    return dict(json.loads(json.dumps(data)))


def _content(manifest: Manifest, results: Results, byte_count: int) -> dict[str, Any]:
    whole, job = summary(manifest.jobs, results), manifest.jobs[0]
    modalities = job.recording["modalities"]
    seen = [_SENSORS[m] for m in modalities if m in _SENSORS]
    total = sum(whole["classes"].values())
    by_share = sorted(whole["classes"].items(), key=lambda item: -item[1])
    plateau = any("PLATEAU" in w.attribution for w in manifest.worlds)
    return {
        "header": _header(manifest, whole["frames"], plateau),
        "title": _title(manifest),
        "all": whole,
        "planned": len(manifest.jobs),
        "missing": len(manifest.jobs) - whole["sessions"],
        "agents": sorted({f"{j.agent_type}s" for j in manifest.jobs}),
        "frame_rate": job.recording["frame_rate"],
        "size": size_text(byte_count),
        "sensors": ", ".join([*seen, "the true pose"]),
        "splits": [_split_row(manifest, results, split) for split in SPLITS],
        "split_by": manifest.asked["split"]["by"],
        "gap": separation(VoxelGrid.from_dict(job.recording["grid"])),
        "notes": manifest.notes,
        "figures": _figures(whole),
        "classes": [f"{NAMES[int(i)]} {n / total:.1%}" for i, n in by_share],
        "rigs": sorted(manifest.rigs.items()),
        "modalities": modalities,
        "grid": _grid_words(VoxelGrid.from_dict(job.recording["grid"])),
        "worlds": [{**w.to_dict(), **_world_words(w)} for w in manifest.worlds],
        "plateau": plateau,
        "recipe": yaml.safe_dump(
            recipe(manifest.asked), sort_keys=False, allow_unicode=True, default_flow_style=None, width=100
        ),
        "versions": sorted(manifest.made_with.items()),
    }


def _header(manifest: Manifest, frames: int, plateau: bool) -> str:
    data: dict[str, Any] = {
        **licence(manifest),
        "pretty_name": _title(manifest),
        "task_categories": ["robotics", "image-to-3d"],
        "tags": ["occupancy", "world-model", "simulation", "aerialworld", *(["plateau"] if plateau else [])],
        "size_categories": [next((name for limit, name in _SIZES if frames < limit), "other")],
    }
    return str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True))


def _title(manifest: Manifest) -> str:
    names = [w.name for w in manifest.worlds]
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return " ".join(str(manifest.asked.get("name") or f"AerialWorld sessions: {shown}").split())


def _split_row(manifest: Manifest, results: Results, split: str) -> dict[str, Any]:
    jobs = [j for j in manifest.jobs if j.split == split]
    places = sorted({j.place for j in jobs})
    more = [f"and {len(places) - _NAMED} more"] if len(places) > _NAMED else []
    return {"name": split, **summary(jobs, results), "places": [*places[:_NAMED], *more]}


def _figures(whole: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [
        ("occupied voxels", whole["occupied_share"], "{:.3%}"),
        ("observed voxels", whole["observed_share"], "{:.1%}"),
    ]
    rows += [("recall of the visible surface", whole["recall"], "{:.4f}"), ("precision", whole["precision"], "{:.4f}")]
    rows += [(f"IoU of the trivial forecast {name}", value, "{:.3f}") for name, value in whole["baselines"].items()]
    return [(name, form.format(value)) for name, value, form in rows if value is not None]


def _grid_words(grid: VoxelGrid) -> dict[str, Any]:
    x0, y0, z0, x1, y1, z1 = (f"{v:g}" for v in grid.range)
    sizes = [f"{v:g}" for v in grid.voxel_size]
    return {"shape": grid.shape, "voxel_size": sizes, "x": f"{x0} … {x1}", "y": f"{y0} … {y1}", "z": f"{z0} … {z1}"}


def _world_words(world: Any) -> dict[str, Any]:
    extent = [high - low for low, high in zip(*world.bounds, strict=True)]
    return {
        "latitude": world.latitude,
        "longitude": world.longitude,
        "size": " × ".join(f"{v:.0f}" for v in extent),
    }


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return [_without_none(v) for v in value] if isinstance(value, list) else value


def _single_blank(lines: Sequence[str]) -> list[str]:
    """Without a second blank line in a row, which empty lists leave."""
    return [line for i, line in enumerate(lines) if line or i == 0 or lines[i - 1]]
