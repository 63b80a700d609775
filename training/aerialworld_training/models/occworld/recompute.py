"""Trading time for memory: forget a block's inner values and compute them again when gradients need them.

Nothing in OccWorld draws random numbers, so the second computation gives the first one's bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint


def recompute(enabled: bool, function: Callable[..., Any], *inputs: Any) -> Any:
    """`function(*inputs)`; with `enabled` only the inputs are kept for the backward pass."""
    if enabled and torch.is_grad_enabled():
        return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)
    return function(*inputs)
