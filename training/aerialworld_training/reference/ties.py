"""Ties between codes that rounding decides, where the record does not say how they were decided."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from aerialworld_training.models.occworld import OccWorld
from aerialworld_training.reference.deviations import limit_of
from aerialworld_training.reference.form import Recorded
from aerialworld_training.reference.run import decode

Samples = tuple[np.ndarray, np.ndarray]


def decode_likeliest(
    model: OccWorld, own: Tensor, code_logits: Recorded | None, decoded: Recorded | None
) -> tuple[Tensor, str]:
    """Class logits (N, H, W, D, classes) of the likeliest codes by our code logits (N, n_e, h, w), and a remark.

    Where two codes tie, the recorded code logits decide if they are whole (a tie is a lead below twice the tolerance).
    If only samples of them were kept, a frame that does not reproduce its samples of decoded logits may give tied codes
    their second-best (a tie then is a lead of the size of the deviation that the samples show).
    """
    best = own.topk(2, 1)
    codes, second, lead = best.indices[:, 0], best.indices[:, 1], best.values[:, 0] - best.values[:, 1]
    if code_logits is None:
        return decode(model, codes), ""
    if code_logits.at is None:
        recorded = torch.from_numpy(code_logits.whole).to(own.device).argmax(1)
        swapped = (lead <= 2 * limit_of(code_logits.values)) & (codes != recorded)
        return decode(model, torch.where(swapped, recorded, codes)), remark(int(swapped.sum()))
    logits = decode(model, codes)
    if decoded is None or decoded.at is None:
        return logits, ""
    deviation = np.abs(code_logits.take(own.cpu().numpy()) - code_logits.values).max()
    tied = lead <= max(4 * float(deviation), 1e-6)
    count = 0
    for n in torch.nonzero(tied.flatten(1).any(1))[:, 0].tolist():
        samples = samples_of_frame(decoded, len(codes), n)
        if np.abs(logits[n].reshape(-1).cpu().numpy()[samples[0]] - samples[1]).max(initial=0.0) > limit_of(
            decoded.values
        ):
            swapped = better_swaps(model, codes[n], second[n], tied[n], samples)
            count += int(swapped.sum())
            logits[n] = decode(model, torch.where(swapped, second[n], codes[n])[None])[0]
    return logits, remark(count)


def remark(swapped: int) -> str:
    return f"{swapped} ties decided as recorded" if swapped else ""


def samples_of_frame(recorded: Recorded, frames: int, n: int) -> Samples:
    """Flat positions within frame n, and the recorded values there."""
    assert recorded.at is not None
    size = int(np.prod(recorded.shape)) // frames
    rows = recorded.at // size == n
    return recorded.at[rows] % size, recorded.values[rows]


def better_swaps(model: OccWorld, codes: Tensor, second: Tensor, tied: Tensor, samples: Samples) -> Tensor:
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
