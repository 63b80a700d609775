"""The learning rate of an iteration, and the optimizer that it drives."""

from __future__ import annotations

import math

import torch
from torch import nn

from aerialworld_training.runconfig.schema import OptimizerConfig, ScheduleConfig


def learning_rate(peak: float, config: ScheduleConfig, iteration: int, total: int) -> float:
    """Of iteration 0 … total − 1: a line from warmup_ratio · peak up to peak, then half a cosine towards min_lr."""
    warmup = min(config.warmup_iters, total)
    if iteration < warmup:
        return peak * (config.warmup_ratio + (1 - config.warmup_ratio) * iteration / warmup)
    done = (iteration - warmup) / max(total - warmup, 1)
    return config.min_lr + 0.5 * (peak - config.min_lr) * (1 + math.cos(math.pi * done))


def is_decayed(module: nn.Module, name: str, parameter: nn.Parameter) -> bool:
    """Whether weight decay applies: to matrices and kernels, not to norms (whose weights may have three axes here),
    biases and embedding tables."""
    return parameter.ndim > 1 and not isinstance(module, nn.Embedding | nn.LayerNorm | nn.GroupNorm) and name != "bias"


def make_optimizer(module: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW over all parameters of `module` that require gradients now, in two groups: decayed and not."""
    decayed: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    seen: set[int] = set()
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                (decayed if is_decayed(part, name, parameter) else rest).append(parameter)
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=config.lr, betas=config.betas)
