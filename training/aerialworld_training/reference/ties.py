"""Ties between codes that rounding decides, where the record does not say how they were decided."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from aerialworld_training.models.occworld import OccWorld
from aerialworld_training.reference.deviations import limit_of
from aerialworld_training.reference.form import Recorded
from aerialworld_training.reference.run import decode


def untie(model: OccWorld, own: Tensor, code_logits: Recorded | None, decoded: Recorded | None) -> tuple[Tensor, str]:
    """The codes (N, h, w) to decode, from our code logits (N, n_e, h, w), and a remark.

    The likeliest codes; at ties (a lead below twice the tolerance) those of the recorded logits where they are whole,
    else whichever of the two best reproduces the frame's recorded samples of decoded logits.
    """
    best = own.topk(2, 1)
    codes, second = best.indices[:, 0], best.indices[:, 1]
    if code_logits is None:
        return codes, ""
    tied = best.values[:, 0] - best.values[:, 1] <= 2 * limit_of(code_logits.values)
    if not tied.any():
        return codes, ""
    if code_logits.at is None:
        recorded = torch.from_numpy(code_logits.whole).to(own.device).argmax(1)
        swapped = tied & (codes != recorded)
        codes = torch.where(swapped, recorded, codes)
    else:
        swapped = torch.zeros_like(tied)
        if decoded is None or decoded.at is None:
            return codes, f"{int(tied.sum())} codes are ties"
        for n in torch.nonzero(tied.flatten(1).any(1))[:, 0].tolist():
            swapped[n] = better_swaps(model, codes[n], second[n], tied[n], samples_of_frame(decoded, len(codes), n))
        codes = torch.where(swapped, second, codes)
    count = int(swapped.sum())
    return codes, f"{count} ties decided as recorded" if count else ""


def samples_of_frame(recorded: Recorded, frames: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Flat positions within frame n, and the recorded values there."""
    assert recorded.at is not None
    size = int(np.prod(recorded.shape)) // frames
    rows = recorded.at // size == n
    return recorded.at[rows] % size, recorded.values[rows]


def better_swaps(
    model: OccWorld, codes: Tensor, second: Tensor, tied: Tensor, samples: tuple[np.ndarray, np.ndarray]
) -> Tensor:
    """Which tied positions (h, w) to give their second-best code, so that the decoded frame fits the samples better."""
    at, reference = (torch.from_numpy(a).to(codes.device) for a in samples)

    def misfit(swapped: Tensor) -> float:
        logits = decode(model, torch.where(swapped, second, codes)[None]).reshape(-1)
        return float((logits[at] - reference).square().sum())

    swapped = torch.zeros_like(tied)
    least = misfit(swapped)
    for row, column in torch.nonzero(tied).tolist():
        trial = swapped.clone()
        trial[row, column] = True
        value = misfit(trial)
        if value < least:
            swapped, least = trial, value
    return swapped
