"""The model card and the data-set card that stand beside every evaluation, Markdown made of the evaluation itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aerialworld_core.files import write_bytes
from aerialworld_training.dataset import PooledSession
from aerialworld_training.evaluation_rows import CEILING, MODEL
from aerialworld_training.trained import Trained

MODEL_CARD, DATA_CARD = "MODEL_CARD.md", "DATA_CARD.md"
_MARKED = str.maketrans({c: f"\\{c}" for c in "\\`*_[]<>|#"} | {"\n": " ", "\r": " "})


def write_cards(out: Path, trained: Trained, sessions: Mapping[str, PooledSession], result: Mapping[str, Any]) -> None:
    """Both cards into `out`; `sessions` are all that the evaluation read."""
    write_bytes(out / MODEL_CARD, model_card(trained, result).encode())
    write_bytes(out / DATA_CARD, data_card(sessions, result).encode())


def plain(text: object) -> str:
    """Text from files, so that it marks nothing up."""
    return str(text).translate(_MARKED)


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def model_card(trained: Trained, result: Mapping[str, Any]) -> str:
    """What the model is, what it was trained and tested on, how well it does beside what learns nothing."""
    made, grid = result["made_from"], trained.grid
    parameters = sum(p.numel() for p in trained.model.parameters())
    horizons = result["horizons_s"]
    lines = [
        "---", "tags: [4d-occupancy, world-model, occworld]", "---", "",
        f"# {trained.name}", "",
        f"Forecasts {trained.future} frames of semantic occupancy from {trained.history}, {trained.step:g} s apart, on "
        f"{' × '.join(map(str, grid.shape))} voxels of {' × '.join(f'{v:g}' for v in grid.voxel_size)} m.", "",
        f"- Parameters: {parameters:,}",
        f"- Weights (SHA-256 of their values): `{made['model']['weights_sha256']}`",
        f"- Stage of training that the file holds: {plain(made['model']['stage'] or 'not recorded')}",
        f"- Seed of training: {'not recorded' if made['model']['seed'] is None else made['model']['seed']}",
        f"- Sessions that it may have been trained on: {len(made['split']['train'])}; scored here: "
        f"{len(result['sessions'])} of `{plain(result['split'])}`, {result['counts']['windows_evaluated']} windows",
        f"- Codes used: {result['counts']['codes_used']} of {result['counts']['codes']}", "",
        "## IoU of occupied voxels, %", "",
        "| row | " + " | ".join(f"+{t:g} s" for t in horizons) + " | unseen, last | dynamic, last |",
        "|---|" + "---|" * (len(horizons) + 2),
    ]  # fmt: skip
    for name, row in result["rows"].items():
        label = f"**{plain(row['label'])}**" if name == MODEL else plain(row["label"])
        last = row["horizons"][-1]["strata"]
        cells = [percent(h["strata"]["all"]["iou"]) for h in row["horizons"]]
        cells += [percent(last["unseen"]["iou"]), percent(last["dynamic"]["iou"])]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    lines += ["", "## How these numbers were made", "", plain(result["protocol"]), ""]
    lines += [f"- {plain(row['label'])}: {plain(row['meaning'])}" for row in result["rows"].values()]
    lines += [
        "", "## Limits", "",
        "Trained and scored on simulated depth of city models; nothing here was measured on a real vehicle. One "
        "evaluation is one seed: a claim needs three or more (`python -m aerialworld_training.seeds`). Probabilities "
        "are not calibrated. The collision rates look a box up in voxels and are no proof of safety.", "",
        "## Settings", "", "```yaml", trained.settings.rstrip().replace("```", "'''"), "```", "",
    ]  # fmt: skip
    assert CEILING in result["rows"], "every evaluation has the ceiling's row"
    return "\n".join(lines)


def data_card(sessions: Mapping[str, PooledSession], result: Mapping[str, Any]) -> str:
    """What the sessions are that the evaluation read: whose data, which worlds, how much."""
    split = result["made_from"]["split"]
    part_of = {name: part for part, names in split.items() for name in names}
    first = next(iter(sessions.values()))
    grid = first.grid
    credits = sorted({s.attribution for s in sessions.values() if s.attribution})
    lines = [
        "---", "task_categories: [other]", "tags: [4d-occupancy, simulation]", "---", "",
        "# Sessions of this evaluation", "",
        f"{len(sessions)} sessions, {sum(len(s) for s in sessions.values()):,} frames every "
        f"{first.frame_period_ns * 1e-9:g} s, on {' × '.join(map(str, grid.shape))} voxels of "
        f"{' × '.join(f'{v:g}' for v in grid.voxel_size)} m after pooling. Occupancy is the surface that depth "
        "rays hit; what no ray reached is unknown and not scored. `constant` counts frequencies in the training "
        "sessions.", "",
        "| session | part | vehicle | frames | occupied of seen, % | moving objects | engine | world | content |",
        "|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, s in sessions.items():
        known = "recorded" if s.actors else "not recorded"
        world = f"{plain(s.world.get('name', '?'))} `{s.world.get('sha256', '')[:12]}`"
        lines.append(
            f"| {plain(name)} | {part_of.get(name, '–')} | {plain(s.agent_type)} | {len(s)} | "
            f"{100 * s.occupied_fraction:.2f} | {known} | {plain(s.engine or '?')} | {world} | `{s.content[:12]}` |"
        )
    lines += ["", "## Credit", ""]
    lines += [f"- {plain(c)}" for c in credits] or ["The sessions name none."]
    lines += [
        "", "## Splits", "",
        "By whole sessions. Whether two sessions show one place, this card cannot tell: campaigns split by place, with "
        "a guard band (`aerialworld generate`).", "",
    ]  # fmt: skip
    return "\n".join(lines)
