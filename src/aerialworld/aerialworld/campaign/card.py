"""The data set's README with the header that Hugging Face reads, and split.json. No wall time, host or path."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from aerialworld.campaign.jobs import SESSIONS, Job
from aerialworld.campaign.manifest import Manifest
from aerialworld.campaign.outcome import Results, size_text, summary
from aerialworld.campaign.spec import SPLITS
from aerialworld.lazy import stage
from aerialworld_core.files import write_bytes, write_json
from aerialworld_core.labels import NAMES

CARD, SPLIT = "README.md", "split.json"
_MARKED = str.maketrans({c: f"\\{c}" for c in "\\`*_[]<>|#"})
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_LARGER = ((10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"))


def write_split(root: Path, jobs: Sequence[Job], results: Results) -> None:
    """split.json: the finished sessions of each split, by name."""
    made = [j for j in jobs if results.get(j.name, {}).get("outcome") == "made"]
    write_json(root / SPLIT, {split: [j.name for j in made if j.split == split] for split in SPLITS})


def write_card(root: Path, manifest: Manifest, results: Results, byte_count: int) -> None:
    write_bytes(root / CARD, card(manifest, results, byte_count).encode())


def card(manifest: Manifest, results: Results, byte_count: int) -> str:
    """The README: what the data is, whose it is, how it was made and how it is made again."""
    parts = [
        _header(manifest, results), _what(manifest, results, byte_count), _splits(manifest, results), _figures(manifest, results),
        _sensors(manifest), _worlds(manifest), _recipe(manifest), _limits(manifest),
    ]  # fmt: skip
    return "\n".join(parts)


def credits(manifest: Manifest) -> list[str]:
    """Every world's credit, each once."""
    return list(dict.fromkeys(w.attribution for w in manifest.worlds if w.attribution))


def licence(manifest: Manifest) -> dict[str, str]:
    """The header's licence: as the campaign says; CC BY 4.0 where all data is PLATEAU's; else left to who publishes."""
    chosen = manifest.asked.get("license")
    if chosen:
        return {"license": str(chosen)}
    plateau, generated = (stage("aerialworld_city.sources.credit", n) for n in ("PLATEAU_CREDIT", "GENERATED_CREDIT"))
    owners = {line for w in manifest.worlds for line in (w.attribution.split(" / ") if w.attribution else ["unknown"])}
    if plateau in owners and owners <= {plateau, generated}:
        return {"license": "cc-by-4.0"}
    name = "generated" if owners == {generated} else "see-worlds"
    return {"license": "other", "license_name": name, "license_link": f"{CARD}#worlds"}


def _header(manifest: Manifest, results: Results) -> str:
    frames = summary(manifest.jobs, results)["frames"]
    size = next((name for limit, name in (*_SIZES, *_LARGER) if frames < limit), "100M<n<1B")
    data: dict[str, Any] = {
        **licence(manifest),
        "pretty_name": _title(manifest),
        "task_categories": ["robotics", "image-to-3d"],
        "tags": ["occupancy", "world-model", "simulation", "lidar", "drone", "aerialworld"],
        "size_categories": [size],
    }
    if any("PLATEAU" in line for line in credits(manifest)):
        data["tags"].append("plateau")
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    return f"---\n{text}---\n"


def _title(manifest: Manifest) -> str:
    names = [w.name for w in manifest.worlds]
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return str(manifest.asked.get("name") or f"AerialWorld sessions: {shown}")


def _what(manifest: Manifest, results: Results, byte_count: int) -> str:
    s = summary(manifest.jobs, results)
    agents = sorted({j.agent_type for j in manifest.jobs})
    job = manifest.jobs[0]
    missing = len(manifest.jobs) - s["sessions"]
    lines = [
        f"# {_plain(_title(manifest))}",
        "",
        f"{s['sessions']} simulated sessions of {' and '.join(f'{a}s' for a in agents)} in {len(manifest.worlds)} "
        f"world(s): {s['frames']:,} frames at {job.recording['frame_rate']:g} Hz, {s['distance_m'] / 1000:.2f} km, "
        f"about {size_text(byte_count)}. Each frame has the pictures of the rig's cameras, a LiDAR scan, IMU samples, the true "
        "pose and a semantic 3-D occupancy grid projected from depth.",
        "",
    ]
    if missing:
        lines += [f"{missing} of {len(manifest.jobs)} planned sessions are not in it: see `campaign.json`.", ""]
    lines += [
        "| file | content |",
        "|---|---|",
        f"| `{SESSIONS}/NAME/` | a session: `session.json` (calibration, grid, seed), `mission.json` (the plan), and per frame "
        "`images/`, `lidar/`, `imu/`, `poses/`, `occupancy/`, `actors/`, `hashes/` |",
        f"| `{SPLIT}` | names of the sessions that train, validate and test |",
        "| `manifest.json` | every session's world, plan, rig, seed and conditions; sessions can be made again from it |",
        "| `plans/NAME.json` | the planned trajectories |",
        "| `campaign.json` | what became of every session, with its figures |",
        "",
        "What the files hold is `docs/session.md` of AerialWorld; every frame's files are listed with their sha256 in `hashes/`.",
        "",
    ]  # fmt: skip
    return "\n".join(lines)


def _splits(manifest: Manifest, results: Results) -> str:
    gap = stage("aerialworld.campaign.places", "separation")(_grid(manifest))
    lines = ["## Splits", "", "| split | sessions | frames | km | places |", "|---|---|---|---|---|"]
    for split in SPLITS:
        jobs = [j for j in manifest.jobs if j.split == split]
        s = summary(jobs, results)
        places = sorted({_plain(j.place) for j in jobs})
        shown = ", ".join(places[:5]) + (f" and {len(places) - 5} more" if len(places) > 5 else "")
        lines.append(f"| {split} | {s['sessions']} | {s['frames']:,} | {s['distance_m'] / 1000:.2f} | {shown or '–'} |")
    lines += [
        "",
        f"Splits are by {manifest.asked['split']['by']}, never by window. Vehicles of different splits stay at least "
        f"{gap:g} m apart, more than twice the distance from a vehicle to its grid's corner: no voxel of one split's grids lies "
        "in another's.",
        "",
        *(f"- {_plain(n)}" for n in manifest.notes),
        *([""] if manifest.notes else []),
    ]  # fmt: skip
    return "\n".join(lines)


def _figures(manifest: Manifest, results: Results) -> str:
    s = summary(manifest.jobs, results)
    rows = [("occupied voxels", s["occupied_share"], "{:.3%}"), ("observed voxels", s["observed_share"], "{:.1%}")]
    rows += [("recall of the visible surface", s["recall"], "{:.4f}"), ("precision", s["precision"], "{:.4f}")]
    rows += [(f"IoU of the trivial forecast: {name}", value, "{:.3f}") for name, value in s["baselines"].items()]
    lines = ["## Figures", "", "| figure | mean |", "|---|---|"]
    lines += [f"| {name} | {form.format(value)} |" for name, value, form in rows if value is not None]
    total = sum(s["classes"].values())
    if total:
        shares = sorted(((n / total, NAMES[int(i)] if int(i) < len(NAMES) else i) for i, n in s["classes"].items()), reverse=True)
        lines += ["", "Occupied voxels by class: " + ", ".join(f"{name} {share:.1%}" for share, name in shares) + "."]
    lines += [
        "",
        "Recall and precision compare a few frames of each session with the world's mesh; a model has learnt something where it "
        "beats the trivial forecasts on the test split.",
        "",
    ]  # fmt: skip
    return "\n".join(lines)


def _sensors(manifest: Manifest) -> str:
    grid, job = _grid(manifest), manifest.jobs[0]
    rigs = ", ".join(f"`{_plain(name)}` (sha256 {sha[:12]})" for name, sha in manifest.rigs.items())
    nx, ny, nz = grid.shape
    x0, y0, z0, x1, y1, z1 = grid.range
    return "\n".join([
        "## Sensors and grid",
        "",
        f"Rigs: {rigs}; recorded: {', '.join(job.recording['modalities'])} (depth is not stored: occupancy is made of it). "
        "Intrinsics and extrinsics are in each `session.json`.",
        "",
        f"Grid: {nx} × {ny} × {nz} voxels of {' × '.join(f'{v:g}' for v in grid.voxel_size)} m over x {x0:g} … {x1:g}, "
        f"y {y0:g} … {y1:g} (forward and left of the vehicle, turned by its yaw only), z {z0:g} … {z1:g} above the session's "
        "datum, the lowest ground within 1 km of its start. Classes are those of Occ3D-nuScenes. A voxel that was not observed "
        "is unknown, not free.",
        "",
    ])  # fmt: skip


def _worlds(manifest: Manifest) -> str:
    lines = ["## Worlds", "", "| world | sha256 | origin (latitude, longitude) | size | credit |", "|---|---|---|---|---|"]
    for w in manifest.worlds:
        east, north, up = (w.bounds[1][k] - w.bounds[0][k] for k in range(3))
        lines.append(
            f"| {_plain(w.name)} | `{w.sha256[:16]}` | {w.latitude:.6f}, {w.longitude:.6f} | "
            f"{east:.0f} × {north:.0f} × {up:.0f} m | {_plain(w.attribution) or 'none stated'} |"
        )
    lines += [
        "",
        "Heights are above T.P. (mean sea level of Tokyo Bay) where the world comes from PLATEAU. Whoever passes this data on "
        "passes the credits on as well.",
        "",
    ]  # fmt: skip
    return "\n".join(lines)


def _recipe(manifest: Manifest) -> str:
    packages = ", ".join(f"{k} {v}" for k, v in sorted(manifest.made_with.items()))
    return "\n".join([
        "## How it was made",
        "",
        "    aerialworld generate campaign.yaml --out DATA_SET",
        "",
        "with this campaign, the worlds above under `worlds/`, and the same versions of the packages; the same campaign gives the "
        "same bytes. One session alone: add `--only NAME`.",
        "",
        "```yaml",
        yaml.safe_dump(recipe(manifest.asked), sort_keys=False, allow_unicode=True, default_flow_style=None, width=100).rstrip(),
        "```",
        "",
        f"Made with {packages}.",
        "",
    ])  # fmt: skip


def recipe(asked: dict[str, Any]) -> dict[str, Any]:
    """A campaign as a file that says the same, with worlds below `worlds/`; what is None is left out."""
    data = _without_none(asked)
    for world in data["worlds"]:
        world["path"] = f"worlds/{world['path']}"
        world.pop("convert", None)
    return dict(json.loads(json.dumps(data)))


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return [_without_none(v) for v in value] if isinstance(value, list) else value


def _limits(manifest: Manifest) -> str:
    return "\n".join([
        "## Known limits",
        "",
        "- Simulated: pictures are ray-cast from textured meshes under one sun, without reflections, lens effects or weather.",
        "- Motion follows splines within limits of speed, acceleration and tilt; there is no flight dynamics or wind.",
        "- Nothing else moves in these worlds.",
        "- What the source models do not have (interiors, cables, most trees) is not there.",
        "- Occupancy is what the rig's depth cameras can see: insides of solids are unknown.",
        "",
    ])  # fmt: skip


def _grid(manifest: Manifest) -> Any:
    from aerialworld_core.grid import VoxelGrid

    return VoxelGrid.from_dict(manifest.jobs[0].recording["grid"])


def _plain(text: str) -> str:
    """Text from files as Markdown shows it literally, in one line."""
    return " ".join(text.split()).translate(_MARKED)
