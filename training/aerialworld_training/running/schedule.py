"""The learning rate of an iteration, and the optimizer that it drives."""

from __future__ import annotations

import math

import torch
from torch import nn

from aerialworld_training.models.occworld.state_dict_adapter import inside
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


#: What of a model says where it goes, and nothing else.
MOTION = ("pose_decoder", "aerial.motion.head", "aerial.motion.carry")


def make_optimizer(module: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW over all parameters of `module` that require gradients now, in groups: decayed and not, motion's and the
    rest. A group's `factor` is of the learning rate."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    seen: set[int] = set()
    for path, part in module.named_modules():
        for name, parameter in part.named_parameters(recurse=False):
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                motion = any(inside(f"{path}.{name}", m) for m in MOTION)
                groups.setdefault((motion, is_decayed(part, name, parameter)), []).append(parameter)
    made = [
        {
            "params": groups[key], "weight_decay": config.weight_decay if key[1] else 0.0,
            "factor": config.motion_factor if key[0] else 1.0,
        }
        for key in sorted(groups, key=lambda key: (key[0], not key[1]))
    ]  # fmt: skip
    return torch.optim.AdamW(made, lr=config.lr, betas=config.betas)
