"""Truth and prediction side by side, from the evaluation's prediction_*.npz."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from aerialworld.report.pictures import horizontal_slice, png_uri
from aerialworld.report.recorded import heights_shown
from aerialworld.report.voxels import cropped_levels, render_voxels
from aerialworld_core.errors import InputError
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import FREE, GROUND

#: Seconds ahead that are shown, where the evaluation has them.
SHOWN = (0.5, 1.0, 2.0, 3.0)
NEEDED = ("truth_semantics", "truth_observed", "predicted_semantics", "horizons_s", "grid", "session", "datum")


def predictions(folder: Path) -> list[dict[str, Any]]:
    """A card per saved window: oblique views and slices of truth and prediction at the shown horizons."""
    if not folder.is_dir():
        return []
    return [_card(path) for path in sorted(folder.glob("prediction_*.npz"))]


def load_prediction(path: Path) -> dict[str, Any]:
    """What an evaluation saved of a window, `grid` as a VoxelGrid. Raises InputError for what is no such file."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            data = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise InputError(f"{path}: no readable prediction: {error}") from error
    missing = [name for name in NEEDED if name not in data]
    if missing:
        raise InputError(f"{path}: lacks {', '.join(missing)}; run the evaluation again")
    return {**data, "grid": VoxelGrid.from_dict(json.loads(str(data["grid"])))}


def _card(path: Path) -> dict[str, Any]:
    data = load_prediction(path)
    grid: VoxelGrid = data["grid"]
    horizons = [float(t) for t in data["horizons_s"]]
    shown = [i for i, t in enumerate(horizons) if any(abs(t - s) < 1e-6 for s in SHOWN)] or list(range(len(horizons)))
    truth, predicted, observed = data["truth_semantics"], data["predicted_semantics"], data["truth_observed"]
    levels, cropped = cropped_levels(grid, *heights_shown(_any(truth), grid))
    level = _busiest_level(truth, grid)
    height = grid.minimum[2] + (level + 0.5) * grid.voxel_size[2]
    seen = np.ones(grid.shape, np.bool_)

    def oblique(semantics: NDArray[np.uint8]) -> list[dict[str, str]]:
        return [
            {
                "uri": png_uri(render_voxels(semantics[i][:, :, levels], cropped, width=400)),
                "caption": f"+{horizons[i]:g} s",
            }
            for i in shown
        ]

    def slices(semantics: NDArray[np.uint8], known: NDArray[np.bool_] | None) -> list[dict[str, str]]:
        return [
            {
                "uri": png_uri(
                    horizontal_slice(semantics[i], seen if known is None else known[i], grid, level, width=300)
                ),
                "caption": f"+{horizons[i]:g} s",
            }
            for i in shown
        ]

    title = f"{data['session']}, after frame {int(data['history_frames'][-1])}" if "history_frames" in data else ""
    return {
        "title": title or str(data["session"]),
        "strips": [
            {"label": "Truth, seen from behind right", "pictures": oblique(truth), "flat": False},
            {"label": "Prediction", "pictures": oblique(predicted), "flat": False},
            {
                "label": f"Truth, level at {height:.0f} m above the datum (forward is up, grey is unknown)",
                "pictures": slices(truth, observed),
                "flat": True,
            },
            {"label": "Prediction, same level", "pictures": slices(predicted, None), "flat": True},
        ],
    }


def _any(stack: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Occupied in any frame."""
    return np.where((stack != FREE).any(axis=0), 0, FREE).astype(np.uint8)


def _busiest_level(truth: NDArray[np.uint8], grid: VoxelGrid) -> int:
    """A level with walls: of the 2nd to 8th above the one with most ground, the fullest without ground."""
    ground = np.isin(truth, GROUND)
    solid = ((truth != FREE) & ~ground).sum(axis=(0, 1, 2))
    floor = int(np.argmax(ground.sum(axis=(0, 1, 2))))
    above = solid[min(floor + 2, grid.shape[2] - 1) : floor + 9]
    if above.any():
        return min(floor + 2, grid.shape[2] - 1) + int(np.argmax(above))
    return int(np.argmax(solid))
