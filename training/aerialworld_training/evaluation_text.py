"""What an evaluation says of itself: how its numbers were made."""

from __future__ import annotations

from aerialworld_training.trained import Trained


def protocol(trained: Trained, full: bool) -> str:
    """The protocol in words, as it stands in evaluation.json."""
    text = (
        f"{trained.history} history frames and {trained.future} future frames, {trained.step:g} s apart, of the "
        "sessions named here. Scores are over all voxels that the depth rig observed at t+k; unknown voxels are left "
        "out. Counts are summed over windows in 64-bit integers before any ratio is taken. iou: occupied against free. "
        "miou_occworld: mean over 17 classes, a class that truth never holds counting 1 (as OccWorld reports); "
        "miou: mean over the classes that occur in truth or prediction. iou_95: 95 % bootstrap interval of iou "
        "over the sessions as wholes, null for one. above_ground: iou of everything but road, "
        "other flat, sidewalk and terrain. A score is null where there is nothing to score. Rows that say TRUE "
        "are given what no forecast has; the others lie in the grid of the pose that they forecast and are scored "
        "there, so that an error of motion is an error of occupancy. "
    )
    if trained.binary:
        text += "This model was taught one class for everything occupied: its scores by class say nothing. "
    if full:
        text += (
            "full: the same against everything in the world, seen or not (meshes, and moving objects' boxes as solids)."
            " Insides and undersides that no frame can see count too. "
        )
    return text + _ground(trained)


def _ground(trained: Trained) -> str:
    level = trained.ground_level
    if level is None:
        return "Heights are above the session's datum."
    lost = (
        "what that leaves out is the moved past alone"
        if trained.aerial is not None and trained.from_past
        else "what that leaves out counts as free"
    )
    return (
        "The model and the constant work on windows moved by whole levels so that the ground under the last "
        f"history frame (5th percentile) lies at level {level}; their forecasts are moved back before they are "
        f"scored, and {lost}. Heights are above that ground."
    )
