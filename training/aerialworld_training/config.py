"""Settings of a training run: typed tables with defaults, a YAML file over them, dotted overrides over that.

An unknown key is an error that names the nearest known one; nothing is ignored.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from aerialworld_core.errors import InputError
from aerialworld_core.grid import VoxelGrid
from aerialworld_training.models.occworld.config import OccWorldConfig
from aerialworld_training.runconfig.typed import apply, known_keys, plain, read_override, read_table, unknown_key


@dataclass(frozen=True)
class DataConfig:
    """`pooling` voxels per axis become one; `history` + `future` frames make a window, `step` seconds apart.

    The model sees each window moved by whole levels so that the ground under its last history frame (5th percentile)
    lies at `ground_level`: streets look alike whatever their height above the session's datum. null leaves it as it is.
    """

    pooling: tuple[int, int, int] = (2, 2, 2)
    history: int = 4
    future: int = 6
    frame_skip: int = 1
    step: float = 0.5
    ground_level: int | None = 1


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of OccWorld; `grid_shape` follows from the sessions, attention runs at the coarsest resolution if
    `attn_resolutions` is null."""

    expansion: int = 8
    ch: int = 64
    ch_mult: tuple[int, ...] = (1, 2, 4)
    num_res_blocks: int = 2
    attn_resolutions: tuple[int, ...] | None = None
    z_channels: int = 128
    n_e: int = 512
    e_dim: int = 128
    beta: float = 1.0
    num_frames: int = 15
    channels: tuple[int, ...] = (128, 256, 512)
    temporal_attn_layers: int = 6
    pose_attn_layers: int = 2
    num_heads: int = 8

    def for_grid(self, grid: VoxelGrid) -> OccWorldConfig:
        """The model's sizes on `grid`."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        if self.attn_resolutions is None:
            values["attn_resolutions"] = (grid.shape[0] >> (len(self.ch_mult) - 1),)
        return OccWorldConfig(grid_shape=grid.shape, pose_channels=self.e_dim, **values)


@dataclass(frozen=True)
class StageConfig:
    """A stage's steps and its optimiser: AdamW, linear warm-up, then a cosine down to `lr_min`."""

    steps: int = 1000
    batch: int = 1
    lr: float = 1e-3
    lr_min: float = 1e-6
    warmup: int = 50
    weight_decay: float = 0.01
    clip: float = 35.0
    checkpoint_every: int = 50
    log_every: int = 10
    validate_every: int = 100
    validation_samples: int = 4


@dataclass(frozen=True)
class VaeConfig(StageConfig):
    """Stage 1: ce·CE + lovasz·Lovász + embed·(codebook and commitment).

    CE runs over every occupied voxel and its free neighbours, and over `free_samples` other free voxels per frame that
    stand for all of them (inverse-probability weights); unknown voxels weigh nothing. `occupied_weight` multiplies
    occupied voxels against their rarity. The first `codebook_start` steps train without quantising; then the codebook
    is set to k-means centres of the encoder's outputs, and every `restart_every` steps codes that nothing used are
    moved to encoder outputs (0: never; not in the last third). `free_logit` starts the decoder at *free* by
    this margin (0: the original's random start). `augment` turns and mirrors frames about the vertical, seeded.
    """

    ce: float = 10.0
    lovasz: float = 0.0
    embed: float = 1.0
    occupied_weight: float = 2.0
    free_samples: int = 20000
    free_logit: float = 0.0
    codebook_start: int = 100
    restart_every: int = 20
    augment: bool = False


@dataclass(frozen=True)
class TransformerConfig(StageConfig):
    """Stage 2: cross-entropy of the next frame's codes + `motion` × the displacement loss, on the frozen VAE's
    codes."""

    motion: float = 0.1


@dataclass(frozen=True)
class EvaluationConfig:
    """At most `max_windows` windows, evenly spread over the split; `saved_windows` of them are stored for pictures."""

    max_windows: int = 16
    saved_windows: int = 2


@dataclass(frozen=True)
class Config:
    """One run."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    vae: VaeConfig = field(default_factory=VaeConfig)
    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    threads: int = 2

    def __post_init__(self) -> None:
        if self.data.history < 2 or self.data.future < 1:
            raise InputError("data.history must be at least 2 and data.future at least 1")
        if self.data.history + self.data.future - 1 > self.model.num_frames:
            raise InputError(
                f"data.history + data.future − 1 = {self.data.history + self.data.future - 1} transitions exceed "
                f"model.num_frames = {self.model.num_frames}"
            )
        if min(self.data.pooling) < 1 or self.data.frame_skip < 1 or self.data.step <= 0 or self.threads < 1:
            raise InputError("data.pooling, data.frame_skip and threads must be at least 1, data.step above 0")
        for name in ("vae", "transformer"):
            stage: StageConfig = getattr(self, name)
            if min(stage.steps, stage.batch, stage.checkpoint_every, stage.log_every, stage.validate_every) < 1:
                raise InputError(f"{name}: steps, batch and the *_every keys must be at least 1")
        if self.vae.codebook_start >= self.vae.steps:
            raise InputError("vae.codebook_start must be below vae.steps, or nothing is quantised")
        if self.evaluation.max_windows < 1 or self.evaluation.saved_windows < 0:
            raise InputError("evaluation.max_windows must be at least 1 and evaluation.saved_windows at least 0")

    def to_yaml(self) -> str:
        """The whole resolved tree; `load_config` reads it back to an equal object."""
        return yaml.safe_dump(plain(asdict(self)), sort_keys=False, allow_unicode=True)


def _nest(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return typing.cast("dict[str, Any]", value)


def _merge(a: dict[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(a)
    for key, value in b.items():
        old = out.get(key)
        out[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return out


def config_names() -> list[str]:
    """Names of the configs that come with the package."""
    folder = resources.files("aerialworld_training") / "configs"
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def load_config(name: str | Path = "demo", overrides: Sequence[str] = ()) -> Config:
    """A config by name (`demo`, `fast`) or by YAML file, with `key.sub=value` overrides (values are YAML).

    Raises InputError for a missing file, an unknown key (naming the nearest) or a value of the wrong type.
    """
    names = config_names()
    source = str(name)
    try:
        if str(name) in names:
            text = (resources.files("aerialworld_training") / "configs" / f"{name}.yaml").read_text(encoding="utf-8")
        else:
            text = Path(name).read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise InputError(f"{name}: no such config file, and none of the built-in ones: {', '.join(names)}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{name}: not a readable config file: {error}") from error
    return parse_config(text, overrides, source)


def parse_config(text: str, overrides: Sequence[str] = (), source: str = "config") -> Config:
    """As `load_config`, from YAML text."""
    data = read_table(text, source)
    for override in overrides:
        key, value = read_override(override)
        if key not in known_keys(Config):
            raise unknown_key(key, known_keys(Config), f"--set {override}")
        data = _merge(data, _nest(key, value))
    return apply(Config(), data, source)
