"""The list of comparisons: for each output the largest deviation, what is allowed, and whether it holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from aerialworld_training.reference.form import Recorded

#: max |Δ| ≤ TOLERANCE · max(1, max |reference|), in float32.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Deviation:
    """One row: the largest deviation of `name`, its limit, and a remark."""

    name: str
    largest: float
    limit: float
    remark: str = ""

    @property
    def within(self) -> bool:
        return self.largest <= self.limit  # false for NaN


def limit_of(reference: np.ndarray) -> float:
    """The tolerance for an array of reference values."""
    return TOLERANCE * max(1.0, float(np.abs(reference).max())) if reference.size else TOLERANCE


class Comparison:
    """Collects rows."""

    def __init__(self) -> None:
        self.rows: list[Deviation] = []

    def add(self, name: str, largest: float, limit: float, remark: str = "") -> None:
        self.rows.append(Deviation(name, largest, limit, remark))

    def counts(self, name: str, own: np.ndarray, recorded: Recorded) -> None:
        """Compare whole numbers, exactly but for the rounding of a float32 above 2^24."""
        reference = recorded.values.astype(np.float64).reshape(-1)
        if own.size != reference.size:
            self.add(name, float("inf"), 0.0, f"has {own.size} numbers, the record {reference.size}")
            return
        largest = float(np.abs(own.reshape(-1) - reference).max(initial=0.0))
        self.add(name, largest, float(reference.max(initial=0.0)) * 2.0**-24)

    def values(self, name: str, value: Tensor | float, recorded: Recorded | float, remark: str = "") -> None:
        """Compare numbers: the recorded entries, and where only samples were kept the whole's statistics as well."""
        own = np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value)
        if not isinstance(recorded, Recorded):
            recorded = Recorded((), np.asarray(recorded))
        if own.shape != recorded.shape:
            self.add(name, float("inf"), TOLERANCE, f"has shape {own.shape}, the record {recorded.shape}")
            return
        reference = recorded.values.astype(np.float64).reshape(-1)
        limit = limit_of(reference)
        largest = float(np.abs(recorded.take(own).astype(np.float64) - reference).max()) if reference.size else 0.0
        if recorded.at is not None:
            remark = f"{len(reference)} samples of {own.size}"
            if recorded.statistics is not None:
                largest = max(largest, statistics_deviation(own, recorded.statistics))
        self.add(name, largest, limit, remark)

    def labels(self, name: str, own: Tensor, recorded: Recorded, lead: Tensor, tie: float) -> None:
        """Compare decisions: the number of entries that differ where our decision leads by more than `tie`."""
        if tuple(own.shape) != recorded.shape:
            self.add(name, float("inf"), 0.0, f"has shape {tuple(own.shape)}, the record {recorded.shape}")
            return
        differ = recorded.take(own.cpu().numpy()) != recorded.values.reshape(-1)
        clear = recorded.take(lead.cpu().numpy()) > tie
        ties = int((differ & ~clear).sum())
        remark = f"of {len(differ)}" + (f"; {ties} differ by ties within {tie:.1g}" if ties else "")
        self.add(name, float((differ & clear).sum()), 0.0, remark)

    def gradients(
        self, name: str, own: dict[str, Tensor], recorded: dict[str, Tensor], every: bool, remark: str = ""
    ) -> None:
        """Compare gradients by name; one row for each with `every`, else the worst of each group of the network."""
        worst: dict[str, Deviation] = {}
        members: dict[str, int] = {}
        for key, reference in recorded.items():
            if key not in own or own[key].shape != reference.shape:
                row = Deviation(f"{name} {key}", float("inf"), TOLERANCE, "no such parameter of this shape")
            else:
                limit = limit_of(reference.numpy())
                row = Deviation(f"{name} {key}", float((own[key].cpu() - reference).abs().max()), limit)
            group = key if every else ".".join(key.removeprefix("vae.").split(".")[:2])
            members[group] = members.get(group, 0) + 1
            old = worst.get(group)
            if old is None or not row.largest / row.limit <= old.largest / old.limit:
                worst[group] = row
        for group, row in worst.items():
            texts = [row.remark or (f"worst of {members[group]}" if members[group] > 1 else ""), remark]
            self.rows.append(replace(row, remark="; ".join(filter(None, texts))))


def statistics_deviation(own: np.ndarray, recorded: np.ndarray) -> float:
    """How far mean, mean magnitude and maximum are off; whether the maximum is that of magnitudes the form leaves open,
    so the nearer of both counts."""
    mean, magnitude = own.mean(dtype=np.float64), np.abs(own).mean(dtype=np.float64)
    top = min(abs(float(m) - float(recorded[2])) for m in (own.max(), max(own.max(), -own.min())))
    return max(abs(float(mean) - float(recorded[0])), abs(float(magnitude) - float(recorded[1])), top)


def table(rows: Iterable[Deviation]) -> str:
    """The rows as text."""
    lines = [f"{'output':<68} {'max |Δ|':>10} {'limit':>10}"]
    for row in rows:
        mark = "ok" if row.within else "ABOVE"
        lines.append(f"{row.name:<68} {row.largest:>10.3g} {row.limit:>10.3g}  {mark:<6}{row.remark}".rstrip())
    return "\n".join(lines)


def settled(own: Tensor, recorded: torch.Tensor, lead: Tensor, tie: float) -> Tensor:
    """Our codes with the recorded ones where ours lead by no more than `tie`: ties that rounding decides."""
    return torch.where((own != recorded) & (lead <= tie), recorded, own)
