"""A tiny model on a coarse grid: to try an installation on a CPU, not for results."""

_base_ = ["_sessions.py"]

stage = "vqvae"
point_cloud_range = [-20.0, -20.0, -2.0, 20.0, 20.0, 38.0]
voxel_size = [0.8, 0.8, 1.25]
dataset_config = dict(history_frames=2, future_frames=2)
data = dict(samples_per_gpu=2, workers_per_gpu=0)
model = dict(
    ch=16, ch_mult=[1, 2], num_res_blocks=1, z_channels=32, n_e=64, e_dim=32, channels=[32, 32, 64],
    temporal_attn_layers=1, pose_attn_layers=1, num_heads=4, motion_width=16, correction_width=16,
)  # fmt: skip
freeze = dict(vae=False)
optimizer = dict(type="AdamW", lr=1e-3)
lr_config = dict(policy="CosineAnnealing", warmup="linear", warmup_iters=10)
max_epochs = 2
evaluation = dict(interval=1)
checkpoint_config = dict(interval=1, max_keep_ckpts=2)
cudnn_benchmark = False
