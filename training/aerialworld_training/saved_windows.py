"""What an evaluation keeps of a window for pictures: truth, forecast and moved past as dense volumes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.labels import FREE
from aerialworld_training.dataset import PooledSession, Window
from aerialworld_training.occupied import Occupied
from aerialworld_training.predictors import Predicted
from aerialworld_training.trained import Trained


def saved_window(
    trained: Trained,
    session: PooledSession,
    window: Window,
    horizons: NDArray[np.float64],
    forecast: Predicted,
    fused: Sequence[Occupied],
    reconstructed: Sequence[NDArray[np.uint8]],
) -> dict[str, Any]:
    """The arrays of `prediction_{k}.npz`: of T future frames, horizons (T,) seconds ahead, each."""
    past, future = list(window.frames[: trained.history]), list(window.frames[trained.history :])
    truth = np.stack([session.semantics(n) for n in future])
    return {
        "truth_semantics": truth,
        "truth_occupancy": (truth != FREE).astype(np.uint8),
        "truth_observed": np.stack([session.observed_mask(n) for n in future]),
        "predicted_semantics": forecast.classes,
        "ego_warp_fused_semantics": np.stack([frame.volume(session.grid.shape) for frame in fused]),
        "reconstructed_semantics": np.stack(reconstructed),
        "last_semantics": session.semantics(past[-1]),
        "last_observed": session.observed_mask(past[-1]),
        "horizons_s": horizons,
        "session": np.array(session.name),
        "agent_type": np.array(session.agent_type),
        "history_frames": session.numbers[past],
        "future_frames": session.numbers[future],
        "positions": session.position[list(window.frames)],
        "orientations": session.orientation[list(window.frames)],
        "predicted_positions": forecast.path.position,
        "model": np.array(trained.name),
        "grid": np.array(json.dumps(session.grid.to_dict())),
        "datum": np.array(session.datum),
    }
