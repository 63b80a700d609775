"""Configs: every block that the published guides show, Python files on bases, overrides, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from aerialworld_core.errors import InputError
from aerialworld_training.models.occworld import OccWorldConfig
from aerialworld_training.runconfig import RunConfig, load_run_config, load_stages, read_resolved, run_config_names
from aerialworld_training.runconfig.places import without_places
from aerialworld_training.runconfig.rules import RULES, To
from aerialworld_training.runconfig.typed import known_keys

TINY = Path(__file__).parent / "occworld_tiny"


def load(tmp_path: Path, text: str, *overrides: str, name: str = "own.py") -> tuple[RunConfig, list[str]]:
    (tmp_path / name).write_text(text)
    return load_run_config(tmp_path / name, overrides)


def test_the_guides_names_are_there_and_resolve() -> None:
    assert set(run_config_names()) == {
        "finetune_tokyo", "finetune_nuscenes", "finetune_uavscenes", "finetune_6dof", "finetune_nuscenes_6dof",
        "train_vqvae", "train_adapt", "train_occworld", "test_local", "overfit_64", "demo", "fast", "train_aerial",
    }  # fmt: skip
    for name in run_config_names():
        (config, notes), *others = load_stages(name)
        assert notes == [] and load_stages(f"config/{name}.py") == [(config, []), *others]
        assert [c.stage for c, _ in others] == (["occworld"] if name in ("demo", "fast", "train_aerial") else [])
        if config.data.type == "gazebo":
            config.check_loader()
        else:
            with pytest.raises(InputError, match="its loader is yet to come"):
                config.check_loader()
    tokyo = load_run_config("finetune_tokyo")[0]
    assert tokyo.data.grid.shape == (200, 200, 121) and tokyo.is_aerial and tokyo.optimizer.lr == 1e-4
    assert (
        tokyo.epochs == 50 and tokyo.freeze.vae and not tokyo.freeze.transformer and tokyo.runtime.precision == "bf16"
    )
    nuscenes = load_run_config("finetune_nuscenes")[0]
    assert not nuscenes.is_aerial and nuscenes.occworld_config() == OccWorldConfig()
    assert load_run_config("train_vqvae")[0].stage == "vqvae"


def test_the_guides_vqvae_block(tmp_path: Path) -> None:
    text = """
model = dict(type='TransVQVAE', encoder=dict(base_channel=64), decoder=dict(base_channel=64),
             vq=dict(num_embeddings=512, embedding_dim=64))
optimizer = dict(type='AdamW', lr=1e-3, weight_decay=0.01)
max_epochs = 200
batch_size = 1
"""
    config, notes = load(tmp_path, text, name="train_vqvae.py")
    assert (config.stage, config.epochs, config.data.batch_size, config.model.ch) == ("vqvae", 200, 1, 64)
    assert not config.freeze.vae and config.model.e_dim == 128
    assert len(notes) == 1 and "model.vq.embedding_dim has no effect" in notes[0]


def test_the_guides_occworld_block(tmp_path: Path) -> None:
    text = """
model = dict(type='OccWorld', vqvae_ckpt='out/vqvae/epoch_125.pth', pose_encoder=dict(num_layers=2), freeze_vae=True,
             transformer=dict(num_layers=2, temporal_attn_layers=6))
optimizer = dict(type='AdamW', lr=1e-3, weight_decay=0.01)
max_epochs = 200
warmup_iters = 50
grad_clip = dict(max_norm=35)
"""
    config, notes = load(tmp_path, text)
    assert config.checkpoint.vqvae_from == "out/vqvae/epoch_125.pth" and config.schedule.warmup_iters == 50
    assert config.optimizer.clip == 35 and config.model.temporal_attn_layers == 6
    assert ["num_layers" in n for n in notes] == [True]


def test_the_guides_dataset_block(tmp_path: Path) -> None:
    text = """
data_root, agent_type = 'data/tokyo_gazebo/', 'both'
point_cloud_range, voxel_size = [-40, -40, -2, 40, 40, 150], [0.4, 0.4, 1.25]
history_frames, future_frames, frame_skip = 4, 6, 1
train_ratio, val_ratio, test_ratio = 0.8, 0.1, 0.1
batch_size, num_workers = 1, 4
"""
    config, notes = load(tmp_path, text)
    assert notes == [] and config.data.workers == 4 and config.data.grid.shape == (200, 200, 121)
    with pytest.raises(InputError, match=r"train_ratio 0\.7 and the other ratios"):
        load(tmp_path, text, "train_ratio=0.7")


FINETUNE = """
_base_ = ['./train_occworld.py']
data_root = 'data/tokyo_gazebo/'
dataset_type = 'GazeboOccWorldDataset'
point_cloud_range = [-40, -40, -2, 40, 40, 150]
voxel_size = [0.4, 0.4, 1.25]
_window = dict(history_frames=4, future_frames=6, agent_type='both', point_cloud_range=point_cloud_range,
               voxel_size=voxel_size)
data = {p: dict(type=dataset_type, data_root=data_root, config=dict(_window, split=p)) for p in ('train', 'val')}
load_from = 'pretrained/occworld/latest.pth'
model = dict(freeze_vae=True, freeze_transformer=False, freeze_pose=False)
optimizer = dict(type='AdamW', lr=1e-4, weight_decay=0.01)
max_epochs = 50
lr_config = dict(policy='CosineAnnealing', min_lr=1e-6, warmup='linear', warmup_iters=100, warmup_ratio=0.1)
grad_clip = dict(max_norm=35)
log_config = dict(interval=10, hooks=[dict(type='TextLoggerHook'), dict(type='TensorboardLoggerHook')])
checkpoint_config = dict(interval=5, max_keep_ckpts=3)
"""


def test_the_guides_finetuning_block_on_a_base_of_ours(tmp_path: Path) -> None:
    config, notes = load(tmp_path, FINETUNE)
    assert (
        notes == [] and config.data.type == "gazebo" and config.checkpoint.load_from == "pretrained/occworld/latest.pth"
    )
    assert config.checkpoint.vqvae_from == "out/vqvae/latest.pth"  # of the base
    assert config.schedule.warmup_ratio == 0.1 and config.log.tensorboard and config.checkpoint.keep == 3
    with pytest.raises(InputError, match=r"data\.val\.config\.split must be 'val'"):
        load(tmp_path, FINETUNE.replace("split=p", "split='train'"))


def test_the_guides_strategies(tmp_path: Path) -> None:
    base = "_base_ = 'finetune_tokyo.py'\n"
    a, _ = load(
        tmp_path, base + "model = dict(freeze_vae=False, freeze_transformer=False, freeze_pose=False)\n"
        "optimizer = dict(lr=5e-5)",
    )  # fmt: skip
    assert a.freeze == load_run_config("finetune_tokyo", ["strategy=A"])[0].freeze and a.optimizer.lr == 5e-5
    b, _ = load(
        tmp_path, base + "model = dict(freeze_vae=True, freeze_transformer=True, freeze_pose=False)\n"
        "optimizer = dict(lr=1e-4)",
    )  # fmt: skip
    assert b.freeze == load_run_config("finetune_tokyo", ["strategy=B"])[0].freeze
    c = load_run_config("finetune_tokyo", ["strategy=C"])[0].freeze
    assert c.vae and c.transformer and not c.pose and (c.transformer_until, c.decoder_until) == (10, 30)
    with pytest.raises(InputError, match="strategy must be one of A, B, C"):
        load_run_config("finetune_tokyo", ["strategy=D"])


def test_the_guides_domain_adaptation_blocks(tmp_path: Path) -> None:
    config, notes = load(
        tmp_path,
        "transform = dict(RandomFlip=dict(prob=0.5), RandomRotate=dict(angle=[-5, 5]), PointCloudNoise=dict(std=0.02))",
    )
    assert notes == [] and (config.augment.flip_probability, config.augment.rotate_deg) == (0.5, 5.0)
    assert config.augment.point_noise == 0.02
    for agent in ("drone", "rover"):
        assert load(tmp_path, f"data = dict(train=dict(config=dict(agent_type='{agent}')))")[0].data.agent_type == agent
    mixed = """
data = dict(train=dict(type='ConcatDataset', sample_weights=[0.7, 0.3], datasets=[
    dict(type='{}', data_root='data/a'), dict(type='GazeboOccWorldDataset', data_root='data/b')]))
"""
    with pytest.raises(InputError, match=r"data\.train\.datasets\[0\]: the loader of 'nuscenes' is yet to come"):
        load(tmp_path, mixed.format("NuScenesDataset"))
    two, _ = load(tmp_path, mixed.format("GazeboOccWorldDataset"))
    assert (two.data.root, two.data.concat, two.data.sample_weights) == ("data/a", ("data/b",), (0.7, 0.3))
    with pytest.raises(InputError, match=r"own\.py:2: not valid Python"):  # as printed, with dots for the rest
        load(tmp_path, "data = dict(train=dict(datasets=[\n    dict(type='NuScenesDataset', ...)]))")


def test_the_guides_memory_block(tmp_path: Path) -> None:
    config, notes = load(
        tmp_path, "model = dict(use_checkpoint=True)\nfp16 = dict(loss_scale='dynamic')\nvoxel_size = [0.8, 0.8, 2.5]"
    )
    assert notes == [] and config.model.save_memory and config.runtime.precision == "fp16"
    assert config.data.grid.shape == (100, 100, 60) and config.occworld_config().latent_shape == (25, 25)


def test_the_second_guides_reference_block(tmp_path: Path) -> None:
    text = """
data_root = 'data/tokyo_gazebo/'
point_cloud_range, voxel_size = [-40.0, -40.0, -2.0, 40.0, 40.0, 150.0], [0.4, 0.4, 1.25]
history_frames, future_frames = 4, 6
data = dict(samples_per_gpu=1, workers_per_gpu=4)
model = dict(type='TransVQVAE', freeze_vae=True, freeze_transformer=False, freeze_pose=False)
optimizer = dict(type='AdamW', lr=1e-4, weight_decay=0.01)
lr_config = dict(policy='CosineAnnealing', min_lr=1e-6, warmup='linear', warmup_iters=100)
max_epochs = 50
evaluation = dict(interval=5)
fp16 = dict(enabled=True)
"""
    config, notes = load(tmp_path, text)
    assert notes == [] and config.runtime.precision == "fp16" and config.evaluation.interval == 5


COMMON = """
import os, sys
PROJECT_ROOT = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, PROJECT_ROOT)
grid_size = [int((point_cloud_range[i + 3] - point_cloud_range[i]) / voxel_size[i]) for i in range(3)]
optimizer = dict(type='AdamW', lr=1e-4, weight_decay=0.01, betas=(0.9, 0.999))
lr_config = dict(policy='CosineAnnealing', min_lr=1e-6, warmup='linear', warmup_iters=100, warmup_ratio=0.1,
    by_epoch=True)
optimizer_config = dict(grad_clip=dict(max_norm=35, norm_type=2))
max_epochs = 50
runner = dict(type='EpochBasedRunner', max_epochs=max_epochs)
log_config = dict(interval=10, hooks=[dict(type='TextLoggerHook'), dict(type='TensorboardLoggerHook')])
checkpoint_config = dict(interval=5, max_keep_ckpts=3, save_last=True)
work_dir = os.path.join(PROJECT_ROOT, 'out/run')
dist_params, log_level, resume_from = dict(backend='nccl'), 'INFO', None
seed, deterministic, cudnn_benchmark = 42, False, True
bf16, fp16 = dict(enabled=True), dict(loss_scale='dynamic', enabled=False)
"""


def test_the_published_tokyo_file(tmp_path: Path) -> None:
    text = """
data_root = 'data/tokyo_gazebo/'
dataset_type = 'gazebo'
point_cloud_range, voxel_size = [-40.0, -40.0, -2.0, 40.0, 40.0, 150.0], [0.4, 0.4, 1.25]
history_frames, future_frames, frame_skip = 4, 6, 1
dataset_config = dict(history_frames=4, future_frames=6, frame_skip=1, agent_type='both', val_ratio=0.1, test_ratio=0.1,
    exclude_dummy_sessions=True, image_size=(900, 1600), normalize_images=True, max_points=100000,
    point_cloud_range=tuple(point_cloud_range), voxel_size=tuple(voxel_size))
data = dict(samples_per_gpu=3, workers_per_gpu=8, **{p: dict(type='GazeboOccWorldDataset', data_root=data_root,
    config=dict(**dataset_config, split=p)) for p in ('train', 'val', 'test')})
occworld_checkpoint = load_from = 'pretrained/occworld/latest.pth'
vqvae_checkpoint = None
model = dict(type='TransVQVAE', encoder_2d=dict(type='VAEEncoder2D', base_channel=64),
    decoder_2d=dict(type='VAEDecoder2D', base_channel=64),
    vq=dict(type='VectorQuantizer', num_embeddings=512, embedding_dim=64, commitment_cost=0.25),
    transformer=dict(type='OccWorldTransformer', num_layers=2, temporal_attn_layers=6, embed_dim=64, num_heads=8,
                     dropout=0.1),
    pose_encoder=dict(type='PoseEncoder', input_dim=13, hidden_dim=256, output_dim=64, num_layers=2),
    pose_decoder=dict(type='PoseDecoder', input_dim=64, hidden_dim=256, output_dim=13, num_layers=2),
    freeze_vae=True, freeze_transformer=False, freeze_pose=False, vqvae_ckpt=vqvae_checkpoint)
evaluation = dict(interval=5, metric=['mIoU', 'VPQ'], save_best='mIoU')
loss = dict(occupancy_loss=dict(type='CrossEntropyLoss', weight=1.0, ignore_index=0),
    pose_loss=dict(type='SmoothL1Loss', weight=0.1, beta=1.0), flow_loss=dict(type='L1Loss', weight=0.05))
_format = [dict(type='DefaultFormatBundle'), dict(type='Collect', keys=['history_occupancy', 'future_occupancy'])]
_load = [dict(type='LoadMultiViewImages'), dict(type='LoadLiDARPoints'), dict(type='LoadOccupancy')]
train_pipeline = [*_load, dict(type='RandomFlip3D', flip_ratio=0.5),
    dict(type='RandomFlip3D', flip_ratio=0.5, direction='vertical'),
    dict(type='RandomRotate', angle=(-45, 45), prob=0.8),
    dict(type='RandomScale', scale_range=(0.9, 1.1), prob=0.5), dict(type='PointCloudNoise', std=0.05, prob=0.5),
    dict(type='PointCloudDropout', dropout_ratio=0.1, prob=0.3),
    dict(type='PointCloudJitter', jitter_std=0.02, prob=0.3),
    dict(type='OccupancyDropout', dropout_ratio=0.05, prob=0.3), dict(type='OccupancyNoise', flip_prob=0.02, prob=0.3),
    dict(type='ImageNormalize', mean=[0.485], std=[0.229]),
    dict(type='ColorJitter', brightness=0.2, prob=0.5), *_format]
val_pipeline = [*_load, dict(type='ImageNormalize', mean=[0.485], std=[0.229]), *_format]
"""
    config, notes = load(tmp_path, text + COMMON)
    assert config.runtime.precision == "bf16" and config.data.batch_size == 3 and config.data.workers == 8
    assert config.augment.rotate_deg == 45 and config.augment.occupancy_noise == 0.02 and config.loss.pose == 0.1
    told = "\n".join(notes)
    for key in ("model.vq.commitment_cost", "model.transformer.dropout", "loss.flow_loss.weight", "RandomScale",
                "loss.occupancy_loss.ignore_index", "evaluation.metric", "dist_params.backend"):  # fmt: skip
        assert f"{key} has no effect" in told
    flipped, _ = load(tmp_path, text + COMMON, "train_pipeline.3.flip_ratio=0.25", "train_pipeline.4.flip_ratio=0.25")
    assert flipped.augment.flip_probability == 0.25


@pytest.mark.parametrize(
    ("kind", "ranges", "own"),
    [
        ("nuscenes_6dof", "[-40.0, -40.0, -1.0, 40.0, 40.0, 5.4], [0.4, 0.4, 0.4]",
         "version='v1.0-mini', augment_6dof=True, max_pitch_deg=30.0, max_roll_deg=45.0, max_yaw_deg=180.0, "
         "altitude_shift_range=(-2.0, 10.0), consistent_augmentation=True, augmentation_prob=0.8"),
        ("uavscenes", "[-40.0, -40.0, -10.0, 40.0, 40.0, 50.0], [0.4, 0.4, 0.5]",
         "scenes=['AMtown'], interval=5, ego_frame=False, fallback_to_lidar_center=True, min_in_range_ratio=0.01, "
         "normalize_pose_to_first_frame=True, val_ratio=0.1, test_ratio=0.1"),
    ],
)  # fmt: skip
def test_the_published_6dof_files(tmp_path: Path, kind: str, ranges: str, own: str) -> None:
    text = f"""
dataset_type, data_root = '{kind}', 'data/other'
point_cloud_range, voxel_size = {ranges}
history_frames, future_frames, frame_skip = 4, 6, 1
dataset_config = dict(history_frames=4, future_frames=6, frame_skip=1, point_cloud_range=tuple(point_cloud_range),
    voxel_size=tuple(voxel_size), pose_dim=13, {own})
data = dict(samples_per_gpu=4, workers_per_gpu=4)
""" + COMMON + """
model = dict(type='OccWorld6DoF', grid_size=tuple(grid_size), history_frames=4, future_frames=6,
    encoder_channels=(64, 128, 256), use_transformer=False, num_transformer_layers=4, num_heads=8, transformer_dim=256,
    dropout=0.1, pose_dim=13, uncertainty_dim=6, place_embedding_dim=256, enable_uncertainty=True,
    enable_relocalization=True, enable_place_recognition=True)
loss = dict(occ_weight=1.0, pos_weight=10.0, recall_weight=2.0, pose_weight=0.5, uncertainty_weight=0.1,
    uncertainty_min=0.05, uncertainty_max=10.0, reloc_weight=0.2, place_weight=0.1)
evaluation = dict(interval=5, metric=['mIoU'], save_best='total_loss')
augmentation_6dof = dict(enabled=True, max_pitch_deg=30.0)
uavscenes_scenes, uavscenes_interval, nuscenes_version = ['AMtown'], 5, 'v1.0-mini'
"""  # fmt: skip
    config, notes = load(tmp_path, text)
    assert config.data.type == kind and config.is_aerial and config.loss.pose == 0.5
    assert any("the grid is gravity-aligned" in n for n in notes)
    with pytest.raises(InputError, match=f"data.type {kind}: its loader is yet to come"):
        config.check_loader()


def test_the_published_nuscenes_file(tmp_path: Path) -> None:
    text = """
dataset_type, data_root = 'nuscenes', 'data/nuscenes'
point_cloud_range, voxel_size = [-40.0, -40.0, -1.0, 40.0, 40.0, 5.4], [0.4, 0.4, 0.4]
history_frames, future_frames = 4, 6
dataset_config = dict(version='v1.0-mini', history_frames=4, future_frames=6)
model = dict(embed_dim=64, num_heads=8, num_layers=2)
max_epochs, batch_size, learning_rate, weight_decay = 100, 2, 1e-4, 0.01
optimizer = dict(type='AdamW', lr=learning_rate, weight_decay=weight_decay, betas=(0.9, 0.999))
checkpoint_interval = 10
"""
    config, _ = load(tmp_path, text)
    assert not config.is_aerial and config.checkpoint.interval == 10 and config.data.batch_size == 2


def original(tmp_path: Path, stage: int) -> str:
    """The original's own configs, with the tiny set's model at the public sizes."""
    model = json.loads((TINY / "model_config.json").read_text())
    for part in ("encoder_cfg", "decoder_cfg"):
        model["vae"][part] |= {"ch": 64, "ch_mult": [1, 2, 4], "num_res_blocks": 2, "attn_resolutions": [50],
                               "resolution": 200, "z_channels": 128, "in_channels": 128}  # fmt: skip
    model["vae"]["decoder_cfg"]["out_ch"] = 128
    model["vae"]["expansion"] = 8
    model["vae"]["vqvae_cfg"] |= {"n_e": 512, "e_dim": 128, "z_channels": 128}
    model["transformer"] |= {"num_frames": 15, "img_shape": [128, 50, 50], "pose_output_channel": 128, "tpe_dim": 128,
                             "channels": [128, 256, 512], "temporal_attn_layers": 6, "pose_attn_layers": 2,
                             "output_channel": 512, "num_heads": 8}  # fmt: skip
    model["num_frames"] = 15
    model["pose_encoder"]["out_channels"] = model["pose_decoder"]["in_channels"] = 128
    losses = [("CeLoss", 1.0), ("PlanRegLossLidar", 0.1)]
    if stage == 1:
        model, losses = model["vae"], [("ReconLoss", 10.0), ("LovaszLoss", 1.0), ("VQVAEEmbedLoss", 1.0)]
        model["type"] = "VAERes2D"
    model = json.loads(json.dumps(model))
    loss = {"type": "MultiLoss", "loss_cfgs": [{"type": t, "weight": w, "input_dict": {"a": "b"}} for t, w in losses]}
    return f"""
grad_max_norm, print_freq, max_epochs, warmup_iters, return_len_, return_len_train = 35, 10, 200, 50, 15, 15
port, revise_ckpt, eval_every_epochs, save_every_epochs, multisteplr = 25096, 3, 1, 1, False
load_from = '{"" if stage == 1 else "out/vqvae/epoch_200.pth"}'
multisteplr_config = dict(decay_t=[43500], decay_rate=0.1, warmup_t=50, warmup_lr_init=1e-6, t_in_epochs=False)
optimizer = dict(optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.01))
freeze_dict = dict(vae={stage == 2}, transformer=False, pose_encoder=False, pose_decoder=False)
data_path = 'data/nuscenes/'
train_dataset_config = dict(type='nuScenesSceneDatasetLidar', data_path=data_path, return_len=16, offset=0,
    imageset='a')
val_dataset_config = dict(train_dataset_config, imageset='b')
train_wrapper_config = dict(type='tpvformer_dataset_nuscenes', phase='train')
val_wrapper_config = dict(type='tpvformer_dataset_nuscenes', phase='val')
train_loader = dict(batch_size=1, shuffle=True, num_workers=1)
val_loader = dict(train_loader, shuffle=False)
loss_input_convertion = dict(ce_inputs='ce_inputs')
base_channel, _dim_, expansion, n_e_ = 64, 16, 8, 512
shapes, unique_label, label_mapping = [[200, 200], [100, 100]], [0, 1], './config/label_mapping/nuscenes-occ.yaml'
loss = {loss!r}
model = {model!r}
"""


@pytest.mark.parametrize("stage", [1, 2])
def test_the_originals_own_configs(tmp_path: Path, stage: int) -> None:
    config, _ = load(tmp_path, original(tmp_path, stage))
    assert config.occworld_config() == OccWorldConfig() and not config.is_aerial
    assert config.stage == ("vqvae" if stage == 1 else "occworld") and config.freeze.vae == (stage == 2)
    assert config.data.type == "nuscenes" and config.optimizer.lr == 1e-3 and config.epochs == 200
    assert config.checkpoint.load_from == (None if stage == 1 else "out/vqvae/epoch_200.pth")
    assert config.loss.recon == 10.0 and config.loss.pose == 0.1


EVALUATION = """
eval_with_pose, start_frame, mid_frame, end_frame, plan_return_last, num_frames_ = True, 0, 5, 11, True, 15
eval_length = end_frame - mid_frame
train_dataset_config['type'] = val_dataset_config['type'] = 'nuScenesSceneDatasetLidarTraverse'
train_dataset_config['test_mode'] = val_dataset_config['test_mode'] = True
"""


def test_the_originals_evaluation_config(tmp_path: Path) -> None:
    """It forecasts frames 5 … 10 from frames 0 … 4."""
    config, notes = load(tmp_path, original(tmp_path, 2) + EVALUATION)
    assert (config.data.history_frames, config.data.future_frames) == (5, 6) and config.data.type == "nuscenes"
    told = " ".join(notes)
    assert all(key in told for key in ("plan_return_last", "num_frames_", "val_dataset_config.test_mode"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("end_frame = 12", "end_frame 12 is not mid_frame \\+ eval_length, 5 \\+ 6"),
        ("start_frame = 1", "start_frame = 1"),
        ("eval_with_pose = False", "eval_with_pose"),
        ("loss['loss_cfgs'][1]['return_last'] = True", "return_last = True"),
        ("loss['loss_cfgs'][1]['num_modes'] = 5", "num_modes = 5"),
        ("loss['loss_cfgs'][0]['gamma'] = 2", "unknown key 'loss.loss_cfgs\\[0\\].gamma'"),
        ("model['vae']['num_classes'] = 20", "num_classes = 20; sessions hold 18"),
        ("model['transformer']['without_multiscale'] = True", "without_multiscale"),
    ],
)
def test_what_the_originals_code_can_and_ours_cannot(tmp_path: Path, change: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(tmp_path, original(tmp_path, 2) + EVALUATION + change)


def test_pose_coders_of_three_layers_are_honoured(tmp_path: Path) -> None:
    deeper = "model['pose_encoder']['num_layers'] = model['pose_decoder']['num_layers'] = 3"
    assert load(tmp_path, original(tmp_path, 2) + deeper)[0].occworld_config().pose_layers == 3


def test_bases_are_overlaid_and_deleted(tmp_path: Path) -> None:
    (tmp_path / "base.py").write_text(
        "optimizer = dict(lr=0.5, weight_decay=0.5)\nmax_epochs = 7\nbf16 = dict(enabled=True)"
    )
    (tmp_path / "other.py").write_text("max_epochs = 8\nseed = 3")
    both = "_base_ = ['base.py', 'other.py']\n"
    config, _ = load(tmp_path, both + "optimizer = dict(lr=0.25)\nbf16 = dict(enabled=False)")
    assert (config.optimizer.lr, config.optimizer.weight_decay) == (0.25, 0.5)
    assert (config.epochs, config.runtime.seed, config.runtime.precision) == (8, 3, "fp32")
    config, _ = load(tmp_path, both + "optimizer = dict(_delete_=True, lr=0.25)")
    assert config.optimizer.weight_decay == RunConfig().optimizer.weight_decay
    config, _ = load(tmp_path, both + "runner = dict(max_epochs=9)")  # another spelling of the same key
    assert config.epochs == 9
    (tmp_path / "base.py").write_text("_base_ = 'own.py'")
    with pytest.raises(InputError, match="is its own _base_"):
        load(tmp_path, both)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optimiser = dict(lr=1e-3)", r"own\.py: unknown key 'optimiser\.lr'; did you mean 'optimizer\.lr'"),
        ("model = dict(frezze_vae=True)", "did you mean 'model.freeze_vae'"),
        ("train_pipeline = [dict(type='RandomFlop')]", "train_pipeline: 'RandomFlop'"),
        ("val_pipeline = [dict(type='RandomRotate', angle=5)]", "changes what is scored"),
        ("max_epochs = 5\nrunner = dict(max_epochs=6)", "runner.max_epochs = 6 contradicts max_epochs = 5"),
        ("max_epochs = 'many'", "epochs must be a whole number, not 'many'"),
        ("optimizer = dict(type='SGD')", r"optimizer\.type = 'SGD'; only 'AdamW' is supported"),
        ("lr_config = dict(policy='step')", "only 'CosineAnnealing' is supported"),
        ("fp16 = dict(enabled=True)\nbf16 = dict(enabled=True)", "contradicts"),
        ("agent_type = 'boat'", "data.agent_type must be one of 'both', 'drone', 'rover'"),
        ("grid_size = [1, 2, 3]", "grid_size .* does not follow"),
        ("history_frames = 12", "at most num_frames"),
        ("model = dict(kind='occworld')", "needs a grid of 16 levels"),
        ("import numpy as np\nseed = np.int64(3)", "seed is a int64; settings are numbers"),
        ("seed = 1 / 0", r"own\.py:1: ZeroDivisionError"),
        ("import sys\nsys.exit(3)", r"own\.py:2: SystemExit: 3"),
        ("_base_ = 'nonesuch.py'", "nonesuch.py: cannot be read"),
    ],
)
def test_mistakes_are_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(tmp_path, text)


def test_bad_names_and_overrides_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nonesuch: no such config file.*finetune_tokyo"):
        load_run_config("nonesuch")
    with pytest.raises(InputError, match=r"needs the form key\.sub=value"):
        load_run_config("finetune_tokyo", ["optimizer.lr"])
    with pytest.raises(InputError, match=r"--set: unknown key 'optimizer\.lrr'; did you mean 'optimizer\.lr'"):
        load_run_config("finetune_tokyo", ["optimizer.lrr=1"])
    for override, message in (
        ("epochs=abc", "--set: epochs must be a whole number, not 'abc'"),  # not the file's, which has nothing wrong
        ("optimizer.lr=inf", r"--set: optimizer\.lr must be a finite number, not inf"),
        ("optimizer.lr=nan", r"--set: optimizer\.lr must be a finite number, not nan"),
        ("runtime.seed=-5", r"runtime\.seed -5: must be at least 0"),
        ("optimizer.lr=[", r"--set optimizer\.lr=\[: '\[' is not a value: line 1, column 2: [^\n]*$"),
        ("xyzzy=1", r"--set: unknown key 'xyzzy'; known are agent_type, augment, augmentation_6dof, "),
    ):
        with pytest.raises(InputError, match=message):
            load_run_config("finetune_tokyo", [override])
    with pytest.raises(InputError, match=r"finetune_own\.py: epochs must be"):
        load(tmp_path, "_base_ = 'finetune_tokyo.py'\nmax_epochs = 'many'", "optimizer.lr=1e-4", name="finetune_own.py")


def test_a_yaml_config_has_no_bases(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"own\.yaml: _base_ is for Python configs"):
        load(tmp_path, "_base_: [fast.py]\n", name="own.yaml")


def test_what_a_run_stores_is_read_without_code(tmp_path: Path) -> None:
    config, _ = load_run_config("finetune_6dof", ["strategy=C", "data.sample_weights=[]", "optimizer.lr=3e-5"])
    path = tmp_path / "config.yaml"
    path.write_text(config.to_yaml())
    assert read_resolved(path) == config and load_run_config(path)[0] == config
    path.write_text("optimizer: {lrr: 1}\n")
    with pytest.raises(InputError, match=r"did you mean 'optimizer\.lr'"):
        read_resolved(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_resolved(tmp_path / "gone.yaml")


def test_a_config_without_its_places_is_equal_wherever_the_run_lay() -> None:
    here = ["data.root=/a/b", "data.concat=[/c]", "work_dir=/w", "checkpoint.load_from=/x.pth", "log.interval=3"]
    there = ["data.root=/other", "data.split_file=/s.json", "checkpoint.keep=9", "log.wandb_tags=[x]"]
    texts = [without_places(load_run_config("train_adapt", k)[0].to_yaml(), "it") for k in (here, there, [])]
    assert texts[0] == texts[1] == texts[2] and "/" not in texts[0]
    kept = yaml.safe_load(texts[0])
    whole = yaml.safe_load(load_run_config("train_adapt")[0].to_yaml())
    assert set(whole) - set(kept) == {"work_dir", "checkpoint", "log"}
    assert set(whole["data"]) - set(kept["data"]) == {"root", "concat", "split_file"}
    for pair in ("epochs=7", "data.pooling=[2, 2, 2]", "runtime.seed=3", "evaluation.samples=3"):
        assert without_places(load_run_config("train_adapt", [pair])[0].to_yaml(), "it") != texts[0], pair


def test_every_rule_leads_to_a_key_of_the_schema() -> None:
    known = set(known_keys(RunConfig))
    for key, rule in RULES.items():
        if isinstance(rule, To) and "*" not in rule.key:
            assert rule.key in known, key
