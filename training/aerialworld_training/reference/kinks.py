"""ReLUs whose input is zero within rounding: open on one processor, closed on another.

Outputs do not show it, gradients do: one such unit can move an entry by more than the tolerance. The record decides, as
it does for ties between codes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

#: An input smaller than this share of the largest one beside it is zero within float32's rounding.
ZERO = 1e-6
#: Units that are tried, the nearest to zero first.
TRIALS = 24

Gradients = dict[str, Tensor]
#: (module, its input, its output) → another output, or None.
Watch = Callable[[nn.Module, Tensor, Tensor], Tensor | None]


@dataclass(frozen=True, eq=False)
class Unit:
    """One number that passes a ReLU: the module, where in its flat input, and how near to zero it was. A module that is
    called several times in a pass has it near zero in one of them, but for chance."""

    module: nn.Module
    at: int
    nearness: float


def shares(x: Tensor) -> Tensor:
    """Magnitudes of x, flat, as shares of the largest."""
    magnitudes = x.detach().abs().flatten()
    return magnitudes / magnitudes.max()


@contextmanager
def watched(model: nn.Module, watch: Watch) -> Iterator[None]:
    """Every call of the model's ReLUs passes `watch`."""
    handles = [
        m.register_forward_hook(lambda module, inputs, output: watch(module, inputs[0], output))
        for m in model.modules()
        if isinstance(m, nn.ReLU)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def at_zero(model: nn.Module, compute: Callable[[], Gradients]) -> list[Unit]:
    """The units of a pass whose input is zero within rounding, the nearest first; at most TRIALS."""
    found: dict[tuple[nn.Module, int], Unit] = {}  # once where a pass computes a block a second time

    def watch(module: nn.Module, x: Tensor, output: Tensor) -> None:
        share = shares(x)
        values, at = share.topk(min(TRIALS, len(share)), largest=False)
        for n, value in zip(at.tolist(), values.tolist(), strict=True):
            if value <= ZERO:
                found[module, n] = Unit(module, n, value)

    with watched(model, watch):
        compute()
    return sorted(found.values(), key=lambda unit: unit.nearness)[:TRIALS]


def with_turned(model: nn.Module, units: Sequence[Unit], compute: Callable[[], Gradients]) -> Gradients:
    """The gradients with `units` open where they are closed and closed where they are open."""

    def watch(module: nn.Module, x: Tensor, output: Tensor) -> Tensor | None:
        turned = torch.zeros(x.numel(), dtype=torch.bool, device=x.device)
        turned[[unit.at for unit in units if unit.module is module]] = True
        turned &= shares(x) <= 2 * ZERO  # units turned before it have moved it within rounding
        if not turned.any():
            return None
        turned = turned.reshape(x.shape)
        return torch.where(turned & (x > 0), torch.zeros_like(x), torch.where(turned, x, output))

    with watched(model, watch):
        return compute()


def settled_gradients(
    model: nn.Module,
    compute: Callable[[], Gradients],
    own: Gradients,
    recorded: Gradients,
    enough: Callable[[Gradients], bool],
) -> tuple[Gradients, int]:
    """Our gradients with those units at zero turned that bring them nearer to the recorded ones, until it is enough,
    and their number."""

    def misfit(gradients: Gradients) -> float:
        both = [k for k in recorded if k in gradients and gradients[k].shape == recorded[k].shape]
        return sum(float((gradients[k].cpu() - recorded[k]).double().square().sum()) for k in both)

    turned: list[Unit] = []
    least = misfit(own)
    for unit in at_zero(model, compute):
        if enough(own):
            break
        trial = with_turned(model, [*turned, unit], compute)
        value = misfit(trial)
        if value < least:
            turned, own, least = [*turned, unit], trial, value
    return own, len(turned)
