"""ReLUs whose input is zero within rounding: open on one processor, closed on another.

Outputs do not show it, gradients do: one such unit can move an entry by more than the tolerance. The record decides, as
it does for ties between codes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

#: An input smaller than this share of the largest one beside it is zero within float32's rounding.
ZERO = 1e-6
#: Units that are tried, the nearest to zero first.
TRIALS = 24

Gradients = dict[str, Tensor]
#: (module, number of the call of this module, its input) → its output, or None for its own.
Watch = Callable[[nn.Module, int, Tensor, Tensor], Tensor | None]


@dataclass(frozen=True, eq=False)
class Unit:
    """One number that passes a ReLU: the module, which of its calls, where in the flat input, and how near to zero."""

    module: nn.Module
    call: int
    at: int
    nearness: float


@contextmanager
def watched(model: nn.Module, watch: Watch) -> Iterator[None]:
    """Every call of the model's ReLUs passes `watch`."""
    calls: dict[nn.Module, int] = {}

    def hook(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor | None:
        call = calls[module] = calls.get(module, -1) + 1
        return watch(module, call, inputs[0], output)

    handles = [m.register_forward_hook(hook) for m in model.modules() if isinstance(m, nn.ReLU)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def at_zero(model: nn.Module, compute: Callable[[], Gradients]) -> list[Unit]:
    """The units of a pass whose input is zero within rounding, the nearest first; at most TRIALS."""
    found: list[Unit] = []

    def watch(module: nn.Module, call: int, x: Tensor, output: Tensor) -> None:
        share = x.detach().abs().flatten() / x.detach().abs().max()
        values, at = share.topk(min(TRIALS, len(share)), largest=False)
        found.extend(Unit(module, call, n, v) for n, v in zip(at.tolist(), values.tolist(), strict=True) if v <= ZERO)

    with watched(model, watch):
        compute()
    return sorted(found, key=lambda unit: unit.nearness)[:TRIALS]


def with_turned(model: nn.Module, units: Sequence[Unit], compute: Callable[[], Gradients]) -> Gradients:
    """The gradients with `units` open where they are closed and closed where they are open."""

    def watch(module: nn.Module, call: int, x: Tensor, output: Tensor) -> Tensor | None:
        turned = torch.zeros(x.numel(), dtype=torch.bool, device=x.device)
        turned[[unit.at for unit in units if unit.module is module and unit.call == call]] = True
        if not turned.any():
            return None
        turned = turned.reshape(x.shape)
        return torch.where(turned & (x > 0), torch.zeros_like(x), torch.where(turned, x, output))

    with watched(model, watch):
        return compute()


def settled_gradients(
    model: nn.Module, compute: Callable[[], Gradients], own: Gradients, recorded: Gradients
) -> tuple[Gradients, int]:
    """Our gradients with those units at zero turned that bring them nearer to the recorded ones, and their number."""

    def misfit(gradients: Gradients) -> float:
        both = [k for k in recorded if k in gradients and gradients[k].shape == recorded[k].shape]
        return sum(float((gradients[k].cpu() - recorded[k]).double().square().sum()) for k in both)

    turned: list[Unit] = []
    least = misfit(own)
    for unit in at_zero(model, compute):
        trial = with_turned(model, [*turned, unit], compute)
        value = misfit(trial)
        if value < least:
            turned, own, least = [*turned, unit], trial, value
    return own, len(turned)
