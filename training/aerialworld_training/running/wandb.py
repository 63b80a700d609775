"""Scalars to Weights & Biases, for who asks for it; the package is imported here alone."""

from __future__ import annotations

from typing import Any

from aerialworld_core.errors import InputError
from aerialworld_training.runconfig import RunConfig


class WandB:
    """One run there. Raises InputError where the package is absent."""

    def __init__(self, config: RunConfig) -> None:
        try:
            import wandb  # type: ignore[import-not-found, import-untyped, unused-ignore]
        except ImportError as error:
            raise InputError(f"--wandb needs the package: pip install wandb ({error})") from error
        self.run: Any = wandb.init(
            project=config.log.wandb_project or "aerialworld", name=config.log.wandb_name,
            tags=list(config.log.wandb_tags), config={"run_config": config.to_yaml()},
        )  # fmt: skip

    def add(self, stage: str, iteration: int, values: dict[str, float]) -> None:
        self.run.log({f"{stage}/{k}": v for k, v in values.items()}, step=iteration)

    def close(self) -> None:
        self.run.finish()
