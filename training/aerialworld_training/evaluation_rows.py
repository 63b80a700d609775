"""The rows of an evaluation: each says in its meaning what it knows of the future."""

from __future__ import annotations

from collections.abc import Collection

from aerialworld_training.trained import Trained

#: How far the fill of the unseen looks, metres.
FILL_REACH = 8.0
#: The row of the model's own forecast, and that of its codes' ceiling.
MODEL, CEILING = "occworld", "reconstruction"
MODEL_CONSTANT_VELOCITY, MODEL_TRUE_MOTION = "occworld_constant_velocity", "occworld_true_motion"

#: name → (label, what it is and what it knows of the future)
BASELINES: dict[str, tuple[str, str]] = {
    "constant": ("constant", "per-voxel majority of the training frames in the ego grid, at the ground's height"),
    "copy": ("copy of the last frame", "the last history frame, not moved"),
    "ego_warp": (
        "ego-warp of the last frame (true future motion)",
        "the last history frame moved rigidly with the TRUE future motion; what it did not see is free",
    ),
    "ego_warp_fused": (
        "ego-warp of the fused history (true future motion)",
        "all history frames fused, the latest observation winning, moved rigidly with the TRUE future motion",
    ),
    "ego_warp_fused_constant_velocity": (
        "ego-warp of the fused history (constant velocity)",
        "the fused history moved as the last step of the history goes on: displacement, turn; nothing of the future",
    ),
    "ego_warp_fill_height": (
        "fused ego-warp, unseen as the constant",
        "the fused ego-warp; what the history did not see is as the constant has it at that place and height",
    ),
    "ego_warp_fill_nearest": (
        "fused ego-warp, unseen as its neighbours",
        "the fused ego-warp; what the history did not see is as the nearest seen voxel of its height, "
        f"{FILL_REACH:g} m around",
    ),
    "ego_warp_constant_velocity_fill_height": (
        "fused ego-warp, unseen as the constant (constant velocity)",
        "the fused ego-warp along constant velocity, filled as the constant has it; nothing of the future",
    ),
    "ego_warp_constant_velocity_fill_nearest": (
        "fused ego-warp, unseen as its neighbours (constant velocity)",
        "the fused ego-warp along constant velocity, filled from its nearest seen voxels; nothing of the future",
    ),
    "actors_tracked": (
        "fused ego-warp, tracked objects go on",
        "the fused ego-warp; moving classes go on with the velocity that the last two history frames' voxels show",
    ),
    "actors_oracle": (
        "fused ego-warp, objects go on at TRUE velocity",
        "the fused ego-warp; moving classes go on with the TRUE boxes and velocities of the last history frame",
    ),
    "actors_tracked_constant_velocity": (
        "fused ego-warp, tracked objects go on (constant velocity)",
        "vehicle and moving classes both go on with the velocity that the history shows; nothing of the future",
    ),
    CEILING: (
        "reconstruction (ceiling)",
        "the VAE's reconstruction of the TRUE future frame from its codes alone, without any past: what the codes can "
        "say; a forecast that starts from the moved past can lie above it",
    ),
}
_OCCWORLD = (
    "OccWorld (history only)",
    "autoregressive forecast from the history alone; motion is decoded by the model, never given",
)
_AERIAL: dict[str, tuple[str, str]] = {
    MODEL: (
        "AerialOccWorld (history only)",
        "autoregressive forecast from the history alone, along the way that the model decodes",
    ),
    MODEL_CONSTANT_VELOCITY: (
        "AerialOccWorld (constant velocity)",
        "the same along the way on which the history's last step goes on; nothing of the future",
    ),
    MODEL_TRUE_MOTION: ("AerialOccWorld (true future motion)", "the same along the TRUE future motion"),
}


def rows_of(trained: Trained) -> dict[str, tuple[str, str]]:
    """The rows of a model's evaluation, in order."""
    return BASELINES | (_AERIAL if trained.aerial is not None else {MODEL: _OCCWORLD})


def knows(row: str) -> str:
    """What a row knows of the future, in few words."""
    if row == CEILING:
        return "the true future frame"
    if row == "actors_oracle":
        return "the true motion; objects' true velocities now"
    blind = row in ("constant", "copy", MODEL, MODEL_CONSTANT_VELOCITY) or "constant_velocity" in row
    return "nothing of the future" if blind else "the true motion"


#: Rows that know equally much of the vehicle's way, by what they know: their name in a narrow table → row. A forecast
#: is measured against those beside it, never against what knows more or less.
HISTORY, TRUE = "history only", "true motion"
_COMPARED: dict[str, dict[str, str]] = {
    HISTORY: {
        "model": MODEL,
        "model at c. v.": MODEL_CONSTANT_VELOCITY,
        "fused warp": "ego_warp_fused_constant_velocity",
        "fill: constant": "ego_warp_constant_velocity_fill_height",
        "fill: nearest": "ego_warp_constant_velocity_fill_nearest",
        "tracked objects": "actors_tracked_constant_velocity",
    },
    TRUE: {
        "model": MODEL_TRUE_MOTION,
        "fused warp": "ego_warp_fused",
        "fill: constant": "ego_warp_fill_height",
        "fill: nearest": "ego_warp_fill_nearest",
        "tracked objects": "actors_tracked",
    },
}


def compared(rows: Collection[str]) -> dict[str, dict[str, str]]:
    """`_COMPARED` as far as these rows are there, without what no row of the model stands for."""
    found = {motion: {k: v for k, v in names.items() if v in rows} for motion, names in _COMPARED.items()}
    return {motion: names for motion, names in found.items() if "model" in names}
