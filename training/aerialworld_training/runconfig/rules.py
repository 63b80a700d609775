"""The keys of the published guides' and the original's configs, one by one: taken over, translated, or warned about.

A key is its dotted path; `*` stands for one part of it. What is not here and not in the schema is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class To:
    """Becomes the schema's `key`, by `change` where its form differs."""

    key: str
    change: Callable[[Any], Any] | None = None


@dataclass(frozen=True)
class Must:
    """Has one value that is supported; any other is an error."""

    value: Any
    why: str = "no other is supported"


@dataclass(frozen=True)
class Warn:
    """Has no effect here, and the run says why."""

    why: str


Rule = To | Must | Warn

#: What data sets are called → `data.type`.
TYPES = {
    "gazebo": "gazebo",
    "GazeboOccWorldDataset": "gazebo",
    "nuscenes": "nuscenes",
    "NuScenesDataset": "nuscenes",
    "nuScenesSceneDatasetLidar": "nuscenes",
    "nuScenesSceneDatasetLidarTraverse": "nuscenes",
    "nuscenes_6dof": "nuscenes_6dof",
    "NuScenes6DoFDataset": "nuscenes_6dof",
    "uavscenes": "uavscenes",
    "UAVScenesDataset": "uavscenes",
}


def data_type(name: Any) -> Any:
    return TYPES.get(name, name) if isinstance(name, str) else name


_OWN_SIZES = "OccWorld's own sizes are used (model.* of the schema): these do not describe the public model"
_6DOF = "belongs to another model; AerialOccWorld is trained, with its own ego-motion conditioning"
_TILT = "the grid is gravity-aligned: pitch and roll of the vehicle are inputs, not turns of the grid"
_METRES = "voxels keep their size in metres"
_IMAGES = "images and point clouds are no inputs of OccWorld"
_TORCHRUN = "torchrun chooses"

RULES: Mapping[str, Rule] = {
    # data, by the guides' names
    "data_root": To("data.root"),
    "data_path": To("data.root"),
    "dataset_type": To("data.type", data_type),
    "point_cloud_range": To("data.point_cloud_range"),
    "voxel_size": To("data.voxel_size"),
    **{k: To(f"data.{k}") for k in ("history_frames", "future_frames", "frame_skip", "agent_type")},
    **{k: To(f"data.{k}") for k in ("val_ratio", "test_ratio")},
    "batch_size": To("data.batch_size"),
    "num_workers": To("data.workers"),
    "data.samples_per_gpu": To("data.batch_size"),
    "data.workers_per_gpu": To("data.workers"),
    "dataset_config.version": Warn("the nuScenes release is its loader's, which is yet to come"),
    "dataset_config.pose_dim": Warn(_OWN_SIZES),
    **{f"dataset_config.{k}": Warn(_TILT) for k in (
        "augment_6dof", "max_pitch_deg", "max_roll_deg", "max_yaw_deg", "altitude_shift_range",
        "consistent_augmentation", "augmentation_prob")},
    **{f"dataset_config.{k}": Warn("belongs to the loader of UAVScenes, which is yet to come") for k in (
        "scenes", "interval", "ego_frame", "fallback_to_lidar_center", "min_in_range_ratio",
        "normalize_pose_to_first_frame")},
    "dataset_config.*": To("data.*"),
    "nuscenes_version": Warn("the nuScenes release is its loader's, which is yet to come"),
    "uavscenes_scenes": Warn("belongs to the loader of UAVScenes, which is yet to come"),
    "uavscenes_interval": Warn("belongs to the loader of UAVScenes, which is yet to come"),
    "augmentation_6dof.*": Warn(_TILT),
    # model
    "model.type": Must(("TransVQVAE", "OccWorld", "VAERes2D", "OccWorld6DoF")),
    "model.freeze_vae": To("freeze.vae"),
    "model.freeze_transformer": To("freeze.transformer"),
    "model.freeze_pose": To("freeze.pose"),
    "model.use_checkpoint": To("model.save_memory"),
    "model.vqvae_ckpt": To("checkpoint.vqvae_from"),
    "vqvae_ckpt": To("checkpoint.vqvae_from"),
    "vqvae_checkpoint": To("checkpoint.vqvae_from"),
    **{f"model.{part}.base_channel": To("model.ch") for part in ("encoder", "decoder", "encoder_2d", "decoder_2d")},
    "model.vq.num_embeddings": To("model.n_e"),
    "model.vq.embedding_dim": Warn(_OWN_SIZES),
    "model.vq.commitment_cost": Warn("the original weighs the codebook's term instead (model.beta)"),
    "model.transformer.num_layers": Warn("the original reads it nowhere"),
    "model.transformer.temporal_attn_layers": To("model.temporal_attn_layers"),
    "model.transformer.num_heads": To("model.num_heads"),
    "model.transformer.embed_dim": Warn(_OWN_SIZES),
    "model.transformer.dropout": Warn("the original has no dropout"),
    "model.pose_encoder.num_layers": To("model.pose_layers"),
    "model.pose_decoder.num_layers": To("model.pose_layers"),
    **{f"model.{part}.{k}": Warn(_OWN_SIZES) for part in ("pose_encoder", "pose_decoder")
       for k in ("input_dim", "hidden_dim", "output_dim")},
    "model.*.type": Warn("the parts are OccWorld's"),
    "model.embed_dim": Warn(_OWN_SIZES),
    "model.num_layers": Warn("the original reads it nowhere"),
    "model.dropout": Warn("the original has no dropout"),
    "model.history_frames": To("data.history_frames"),
    "model.future_frames": To("data.future_frames"),
    **{f"model.{k}": Warn(_6DOF) for k in (
        "encoder_channels", "use_transformer", "num_transformer_layers", "transformer_dim", "pose_dim",
        "uncertainty_dim", "place_embedding_dim", "enable_uncertainty", "enable_relocalization",
        "enable_place_recognition")},
    **{f"freeze_dict.{k}": To(f"freeze.{k}") for k in ("vae", "transformer")},
    "freeze_dict.pose_encoder": To("freeze.pose"),
    "freeze_dict.pose_decoder": To("freeze.pose"),
    # optimiser and schedule
    "optimizer.type": Must(("AdamW",)),
    "optimizer.optimizer.type": Must(("AdamW",)),
    **{f"optimizer.optimizer.{k}": To(f"optimizer.{k}") for k in ("lr", "weight_decay", "betas")},
    "learning_rate": To("optimizer.lr"),
    "weight_decay": To("optimizer.weight_decay"),
    **{f"{k}.max_norm": To("optimizer.clip") for k in ("grad_clip", "optimizer_config.grad_clip")},
    **{f"{k}.norm_type": Must((2,)) for k in ("grad_clip", "optimizer_config.grad_clip")},
    "grad_max_norm": To("optimizer.clip"),
    "lr_config.policy": Must(("CosineAnnealing",)),
    "lr_config.min_lr": To("schedule.min_lr"),
    "lr_config.warmup": Must(("linear",)),
    "lr_config.warmup_iters": To("schedule.warmup_iters"),
    "lr_config.warmup_ratio": To("schedule.warmup_ratio"),
    "lr_config.by_epoch": Warn("the rate changes with every iteration"),
    "warmup_iters": To("schedule.warmup_iters"),
    "multisteplr": Must((False,)),
    "multisteplr_config.*": Warn("read by the original for multisteplr = True alone"),
    "max_epochs": To("epochs"),
    "runner.max_epochs": To("epochs"),
    "runner.type": Must(("EpochBasedRunner",)),
    # losses
    "loss.type": Must(("MultiLoss",)),
    "loss.occupancy_loss.type": Must(("CrossEntropyLoss",)),
    "loss.occupancy_loss.weight": To("loss.recon"),
    "loss.occupancy_loss.ignore_index": Warn("unknown voxels are left out by the sessions' own mask; free ones count"),
    "loss.pose_loss.type": Warn("OccWorld's accumulated L2 distance is used"),
    "loss.pose_loss.beta": Warn("OccWorld's accumulated L2 distance is used"),
    "loss.pose_loss.weight": To("loss.pose"),
    "loss.flow_loss.*": Warn("sessions hold no flow"),
    "loss.occ_weight": To("loss.recon"),
    "loss.pose_weight": To("loss.pose"),
    **{f"loss.{k}": Warn(_6DOF) for k in (
        "pos_weight", "recall_weight", "uncertainty_weight", "uncertainty_min", "uncertainty_max", "reloc_weight",
        "place_weight")},
    "loss_input_convertion.*": Warn("names of the original's inner dictionary"),
    # files, logs, evaluation
    "load_from": To("checkpoint.load_from", lambda value: value or None),
    "occworld_checkpoint": To("checkpoint.load_from", lambda value: value or None),
    "resume_from": To("checkpoint.resume_from"),
    "revise_ckpt": Warn("checkpoints are adapted by what they hold"),
    "checkpoint_config.interval": To("checkpoint.interval"),
    "checkpoint_interval": To("checkpoint.interval"),
    "save_every_epochs": To("checkpoint.interval"),
    "checkpoint_config.max_keep_ckpts": To("checkpoint.keep"),
    "checkpoint_config.save_last": Must((True,), "latest.pth is always written"),
    "log_config.interval": To("log.interval"),
    "print_freq": To("log.interval"),
    "log_level": To("log.level"),
    "evaluation.metric": Warn("every metric is computed"),
    "evaluation.save_best": Warn("best.pth is the best validation IoU"),
    "eval_every_epochs": To("evaluation.interval"),
    # run time
    **{k: To(f"runtime.{k}") for k in ("seed", "deterministic", "cudnn_benchmark")},
    "dist_params.backend": Warn(_TORCHRUN),
    "port": Warn(_TORCHRUN),
    # the original's data
    "return_len_": Warn("windows are data.history_frames + data.future_frames"),
    "return_len_train": Warn("windows are data.history_frames + data.future_frames"),
    "eval_with_pose": Must((True,), "a roll-out feeds its own motion back"),
    "start_frame": Must((0,), "the original's slices hold for 0 alone"),
    "mid_frame": To("data.history_frames"),
    "eval_length": To("data.future_frames"),
    "plan_return_last": Warn("the original reads it nowhere"),
    **{f"{part}_loader.batch_size": To("data.batch_size") for part in ("train", "val")},
    **{f"{part}_loader.num_workers": To("data.workers") for part in ("train", "val")},
    **{f"{part}_loader.shuffle": Must((value,)) for part, value in (("train", True), ("val", False))},
    **{f"{part}_dataset_config.type": To("data.type", data_type) for part in ("train", "val")},
    **{f"{part}_dataset_config.data_path": To("data.root") for part in ("train", "val")},
    **{f"{part}_dataset_config.{k}": Warn("belongs to the loader of nuScenes, which is yet to come")
       for part in ("train", "val") for k in ("return_len", "offset", "imageset", "times", "test_mode")},
    **{f"{part}_wrapper_config.*": Warn("the original's data wrapper") for part in ("train", "val")},
    **{k: Warn("the original's own table; follows from the grid and the classes")
       for k in ("shapes", "unique_label", "label_mapping", "base_channel", "expansion", "n_e_",
                 "num_frames_")},
}  # fmt: skip

#: The losses of the original's MultiLoss → weights.
LOSSES = {
    "ReconLoss": "loss.recon",
    "LovaszLoss": "loss.lovasz",
    "VQVAEEmbedLoss": "loss.embed",
    "CeLoss": "loss.codes",
    "PlanRegLossLidar": "loss.pose",
}
#: What the original's losses may be told, and the one value that is supported.
LOSS_OPTIONS: Mapping[str, Any] = {
    "ignore_label": -100, "use_weight": False, "cls_weight": None, "loss_type": "l2", "num_modes": 3,
    "return_last": False,
}  # fmt: skip
HOOKS = {"TextLoggerHook": None, "TensorboardLoggerHook": "log.tensorboard", "WandbLoggerHook": "log.wandb"}
#: A → nothing frozen; B → heads alone; C → heads, then the transformer, then the VAE's decoder.
STRATEGIES: Mapping[str, Mapping[str, Any]] = {
    "A": {"freeze.vae": False, "freeze.transformer": False, "freeze.pose": False},
    "B": {"freeze.vae": True, "freeze.transformer": True, "freeze.pose": False},
    "C": {
        "freeze.vae": True, "freeze.transformer": True, "freeze.pose": False,
        "freeze.transformer_until": 10, "freeze.decoder_until": 30,
    },
}  # fmt: skip

#: Steps of the guides' pipelines → what they become; values are (schema key, the step's key) or why not.
PIPELINE: Mapping[str, Mapping[str, str] | str] = {
    "LoadMultiViewImages": "",
    "LoadLiDARPoints": "",
    "LoadOccupancy": "",
    "DefaultFormatBundle": "",
    "Collect": "",
    "RandomFlip3D": {"flip_ratio": "augment.flip_probability"},
    "RandomFlip": {"prob": "augment.flip_probability"},
    "RandomRotate": {"angle": "augment.rotate_deg", "prob": "augment.rotate_probability"},
    "PointCloudNoise": {"std": "augment.point_noise", "prob": "augment.point_noise_probability"},
    "PointCloudDropout": {"dropout_ratio": "augment.point_dropout", "prob": "augment.point_dropout_probability"},
    "OccupancyDropout": {
        "dropout_ratio": "augment.occupancy_dropout",
        "prob": "augment.occupancy_dropout_probability",
    },
    "OccupancyNoise": {"flip_prob": "augment.occupancy_noise", "prob": "augment.occupancy_noise_probability"},
    "PointCloudJitter": "the same as PointCloudNoise",
    "RandomScale": _METRES,
    "ImageNormalize": _IMAGES,
    "ColorJitter": _IMAGES,
}


def rule_of(path: str) -> Rule | None:
    """The rule of a dotted key: its own, or the one whose `*` stands for one of its parts."""
    if path in RULES:
        return RULES[path]
    parts = path.split(".")
    for i in range(len(parts)):
        for width in (1, len(parts) - i):  # one part, or all that follow
            pattern = ".".join([*parts[:i], "*", *parts[i + width :]])
            if pattern in RULES:
                return RULES[pattern]
    return None
