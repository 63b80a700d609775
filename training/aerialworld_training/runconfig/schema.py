"""What a training run can be told: every key, its type, its default."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Literal

import yaml

from aerialworld_core.errors import InputError
from aerialworld_core.grid import VoxelGrid
from aerialworld_training.models.aerial import AerialConfig
from aerialworld_training.models.occworld import OccWorldConfig
from aerialworld_training.runconfig.typed import plain

#: Data sets whose loader is there.
LOADERS = ("gazebo",)


@dataclass(frozen=True)
class DataConfig:
    """Sessions, windows and the grid; the names are those of the guides' `DatasetConfig`. `point_cloud_range` and
    `voxel_size` are the recordings' grid, of whose voxels `pooling` (x, y, z) make one of the model's. `concat` names
    more roots, drawn from with `sample_weights` (the first is `root`'s). `ground_level` moves each window by whole
    levels so that the ground below its last history frame lies there (null: as recorded). `binary`: every occupied
    voxel is of one class. `batch_size` is a process's, of one micro-step."""

    type: Literal["gazebo", "nuscenes", "nuscenes_6dof", "uavscenes"] = "gazebo"
    root: str = "data/tokyo_gazebo"
    split_file: str | None = None
    agent_type: Literal["both", "drone", "rover"] = "both"
    history_frames: int = 4
    future_frames: int = 6
    frame_skip: int = 1
    step: float = 0.5
    val_ratio: float = 0.1
    test_ratio: float = 0.1
    point_cloud_range: tuple[float, float, float, float, float, float] = (-40.0, -40.0, -2.0, 40.0, 40.0, 150.0)
    voxel_size: tuple[float, float, float] = (0.4, 0.4, 1.25)
    pooling: tuple[int, int, int] = (1, 1, 1)
    load_images: bool = False
    load_lidar: bool = False
    image_size: tuple[int, int] = (900, 1600)
    normalize_images: bool = True
    max_points: int = 100_000
    validate_motion: bool = True
    min_pose_delta: float = 0.1
    min_occ_change: float = 0.001
    filter_static: bool = True
    exclude_dummy_sessions: bool = True
    batch_size: int = 1
    workers: int = 2
    concat: tuple[str, ...] = ()
    sample_weights: tuple[float, ...] = ()
    ground_level: int | None = 1
    binary: bool = False

    @property
    def grid(self) -> VoxelGrid:
        """The model's."""
        return VoxelGrid.from_range(self.point_cloud_range, self.voxel_size).pooled(self.pooling)


@dataclass(frozen=True)
class AugmentConfig:
    """Turns and mirrors of grid and poses together, and noise; each with its probability. 0: never.

    Stage occworld reads codes that were computed once: of `copies` variants of each session, the first as it is, the
    others turned and mirrored as a whole. Noise is for the stages that see voxels."""

    flip_probability: float = 0.0
    rotate_deg: float = 0.0
    rotate_probability: float = 1.0
    point_noise: float = 0.0
    point_noise_probability: float = 1.0
    point_dropout: float = 0.0
    point_dropout_probability: float = 1.0
    occupancy_dropout: float = 0.0
    occupancy_dropout_probability: float = 1.0
    occupancy_noise: float = 0.0
    occupancy_noise_probability: float = 1.0
    copies: int = 1


@dataclass(frozen=True)
class ModelConfig:
    """OccWorld's sizes (the public checkpoint's by default) and what AerialOccWorld adds. `kind` auto: occworld on a
    grid of exactly the slots' heights, aerial on any other. `free_logit` above 0 starts a new VAE's decoder at *free*
    by this margin. `code_depth` above 1 (at most 4) puts residual codebooks behind the first, each of `n_e` codes:
    AerialOccWorld's alone."""

    kind: Literal["auto", "occworld", "aerial"] = "auto"
    slots: int = 16
    slot_minimum: float = -1.0
    slot_size: float = 0.4
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
    pose_layers: int = 2
    motion_width: int = 64
    correction_width: int = 64
    warp_samples: int = 1
    fill_reach: float = 8.0
    from_past: bool = True
    save_memory: bool = False
    free_logit: float = 0.0
    code_depth: int = 1


@dataclass(frozen=True)
class CodebookConfig:
    """Stages of the VAE: the first `start` iterations (below 1: that share of them all) do not quantise, then the codes
    are set to k-means centres of the encoder's outputs; every `restart_every` iterations codes that nothing used are
    moved to outputs far from all codes (0: never; not in the last third)."""

    start: float = 0.0
    restart_every: int = 0


@dataclass(frozen=True)
class FreezeConfig:
    """Parts that do not train. The strategies of the guides: A nothing frozen; B vae and transformer; C as B, with the
    transformer from the 11th epoch on and the VAE's decoder from the 31st (epochs count from 1)."""

    vae: bool = True
    transformer: bool = False
    pose: bool = False
    transformer_until: int | None = None
    decoder_until: int | None = None


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW; norms, embeddings and biases are not decayed. `accumulate` micro-steps make one iteration. What decodes
    motion learns at `motion_factor` · lr: motion that begins at constant velocity has little to gain from large steps
    on few ways, and much to lose."""

    lr: float = 1e-3
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float = 35.0
    accumulate: int = 1
    motion_factor: float = 1.0


@dataclass(frozen=True)
class ScheduleConfig:
    """Per iteration: from `warmup_ratio` · lr up to lr in `warmup_iters`, then half a cosine down to `min_lr`."""

    min_lr: float = 1e-6
    warmup_iters: int = 50
    warmup_ratio: float = 0.001


@dataclass(frozen=True)
class LossConfig:
    """Weights. `kind` binary: focal, Dice and mean matching on occupied or not; occworld: CE and Lovász on classes.

    CE and Lovász run over every occupied voxel and its neighbours, and over `free_samples` draws that stand for the
    other free ones (0: over every known voxel); `occupied_weight` multiplies occupied voxels' CE. `voxels` weighs the
    CE of one decoded future frame per window in stage occworld: it trains the correction of the moved past."""

    kind: Literal["occworld", "binary"] = "occworld"
    recon: float = 10.0
    lovasz: float = 1.0
    embed: float = 1.0
    codes: float = 1.0
    pose: float = 0.1
    focal: float = 1.0
    focal_alpha: float = 0.99
    focal_gamma: float = 2.0
    dice: float = 1.0
    mean_matching: float = 10.0
    voxels: float = 0.0
    free_samples: int = 100_000
    occupied_weight: float = 1.0


@dataclass(frozen=True)
class CheckpointConfig:
    """Files: `epoch_N.pth` every `interval` epochs, the newest `keep` of them; `latest.pth` at every epoch's end and,
    if `iterations` is above 0, every so many iterations. `load_from` starts from a whole model, `vqvae_from` from stage
    1's; `allow_missing` names parts that may differ."""

    interval: int = 5
    iterations: int = 0
    keep: int = 3
    load_from: str | None = None
    vqvae_from: str | None = None
    resume_from: str | None = None
    allow_missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class LogConfig:
    interval: int = 10
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    tensorboard: bool = True
    wandb: bool = False
    wandb_project: str | None = None
    wandb_name: str | None = None
    wandb_tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class EvaluationConfig:
    """Every `interval` epochs on at most `samples` frames or windows, evenly spread; `best.pth` is the best validation
    IoU."""

    interval: int = 5
    samples: int = 16


@dataclass(frozen=True)
class RuntimeConfig:
    """`threads` of a process (0: as torch chooses; bits repeat surely with 1). A run stops after `max_nonfinite`
    iterations were skipped for a loss or gradient that is not finite. A process of several that hears nothing of the
    others for `timeout` seconds within a step ends."""

    seed: int = 42
    deterministic: bool = False
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    cudnn_benchmark: bool = True
    threads: int = 0
    max_nonfinite: int = 10
    timeout: float = 30.0


@dataclass(frozen=True)
class RunConfig:
    """One run of one stage."""

    stage: Literal["vqvae", "adapt", "occworld"] = "occworld"
    epochs: int = 200
    work_dir: str | None = None
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    codebook: CodebookConfig = field(default_factory=CodebookConfig)
    freeze: FreezeConfig = field(default_factory=FreezeConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    log: LogConfig = field(default_factory=LogConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    def __post_init__(self) -> None:
        data, model = self.data, self.model
        window = data.history_frames + data.future_frames
        if data.history_frames < 2 or data.future_frames < 1 or window - 1 > model.num_frames:
            raise InputError(
                f"data: {data.history_frames} + {data.future_frames} frames; at least 2 + 1, and at most num_frames "
                f"+ 1 = {model.num_frames + 1} together"
            )
        if min(self.epochs, data.batch_size, data.frame_skip, self.log.interval, self.evaluation.interval) < 1:
            raise InputError("epochs, data.batch_size, data.frame_skip and the intervals must be at least 1")
        if data.workers < 0 or self.checkpoint.interval < 1 or self.checkpoint.keep < 1:
            raise InputError("data.workers must not be negative; checkpoint.interval and keep must be at least 1")
        if not 0 <= data.val_ratio + data.test_ratio < 1 or min(data.val_ratio, data.test_ratio) < 0:
            raise InputError(
                f"data: val_ratio {data.val_ratio} and test_ratio {data.test_ratio} leave nothing to train on"
            )
        if data.sample_weights and len(data.sample_weights) != len(data.concat) + 1:
            raise InputError(f"data.sample_weights: {len(data.sample_weights)} for {len(data.concat) + 1} data sets")
        if min(self.optimizer.accumulate, self.augment.copies, self.evaluation.samples) < 1:
            raise InputError("optimizer.accumulate, augment.copies and evaluation.samples must be at least 1")
        if (
            min(self.codebook.start, self.codebook.restart_every, self.loss.free_samples, self.checkpoint.iterations)
            < 0
        ):
            raise InputError("codebook.*, loss.free_samples and checkpoint.iterations must not be negative")
        if self.codebook.start >= 1 and not self.codebook.start.is_integer():
            raise InputError(f"codebook.start {self.codebook.start:g}: from 1 on it is a whole number of iterations")
        if self.runtime.threads < 0 or self.runtime.max_nonfinite < 0 or self.runtime.timeout <= 0:
            raise InputError("runtime.threads and max_nonfinite must not be negative, runtime.timeout above 0")
        if not 0 <= self.runtime.seed < 2**63:
            raise InputError(f"runtime.seed {self.runtime.seed}: must be at least 0 and below 2⁶³")
        if min(self.optimizer.lr, self.optimizer.clip, self.optimizer.motion_factor) <= 0:
            raise InputError("optimizer.lr, clip and motion_factor must be above 0")
        self.occworld_config()
        if self.is_aerial:
            self.aerial_config().check(self.occworld_config())
        elif model.code_depth != 1:
            raise InputError(
                f"model.code_depth={model.code_depth}: OccWorld has one codebook, and its public checkpoint's 768 keys "
                "stay as they are; residual codes are AerialOccWorld's (model.kind=aerial)"
            )

    @property
    def is_aerial(self) -> bool:
        """Whether the model is AerialOccWorld."""
        grid, model = self.data.grid, self.model
        low = grid.shape[2] == model.slots and abs(grid.minimum[2] - model.slot_minimum) < 1e-6
        low = low and abs(grid.voxel_size[2] - model.slot_size) < 1e-6
        if self.model.kind == "occworld" and not low:
            raise InputError(
                f"model.kind occworld needs a grid of {model.slots} levels of {model.slot_size} m from "
                f"{model.slot_minimum} m, not {grid.shape[2]} of {grid.voxel_size[2]} m from {grid.minimum[2]} m; "
                "use kind aerial"
            )
        return self.model.kind == "aerial" or (self.model.kind == "auto" and not low)

    def occworld_config(self) -> OccWorldConfig:
        """OccWorld's sizes on this grid."""
        m, (nx, ny, _) = self.model, self.data.grid.shape
        coarsest = (nx >> (len(m.ch_mult) - 1),)
        return OccWorldConfig(
            grid_shape=(nx, ny, m.slots), expansion=m.expansion, ch=m.ch, ch_mult=m.ch_mult,
            num_res_blocks=m.num_res_blocks, z_channels=m.z_channels, n_e=m.n_e, e_dim=m.e_dim, beta=m.beta,
            attn_resolutions=coarsest if m.attn_resolutions is None else m.attn_resolutions, num_frames=m.num_frames,
            channels=m.channels, temporal_attn_layers=m.temporal_attn_layers, pose_attn_layers=m.pose_attn_layers,
            num_heads=m.num_heads, pose_channels=m.e_dim, pose_layers=m.pose_layers,
        )  # fmt: skip

    def aerial_config(self) -> AerialConfig:
        """What AerialOccWorld adds on this grid."""
        m = self.model
        return AerialConfig(
            grid=self.data.grid, slot_minimum=m.slot_minimum, slot_size=m.slot_size, step=self.data.step,
            motion_width=m.motion_width, correction_width=m.correction_width, warp_samples=m.warp_samples,
            fill_reach=m.fill_reach, code_depth=m.code_depth,
        )  # fmt: skip

    def check_loader(self) -> None:
        """Raises InputError when the data set's loader is not there."""
        if self.data.type not in LOADERS:
            raise InputError(
                f"data.type {self.data.type}: its loader is yet to come; {', '.join(LOADERS)} (our sessions) is there"
            )

    def to_yaml(self) -> str:
        """The whole resolved tree; `read_resolved` reads it back to an equal object."""
        return yaml.safe_dump(plain(asdict(self)), sort_keys=False, allow_unicode=True)
