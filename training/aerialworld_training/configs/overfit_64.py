"""Can the model memorise? Two sequences of 64×64×32 voxels, occupied or not; both stages within minutes on a CPU.

    python -m aerialworld_training.made_sessions out/made --sessions 2 --frames 10
    python -m aerialworld_training.train --config overfit_64 --sessions out/made --work-dir out/overfit_vae
    python -m aerialworld_training.train --config overfit_64 --sessions out/made --work-dir out/overfit_world \
        --set stage=occworld --set checkpoint.vqvae_from=out/overfit_vae/latest.pth --epochs 150
"""

dataset_type = "gazebo"
stage = "vqvae"
data = dict(
    history_frames=4, future_frames=6, val_ratio=0.0, test_ratio=0.0, batch_size=2, workers=0, binary=True,
    point_cloud_range=[-32.0, -32.0, -2.0, 32.0, 32.0, 38.0], voxel_size=[1.0, 1.0, 1.25], root="out/made",
)  # fmt: skip
# The grid's 32 levels are the model's own slots: plain OccWorld, no height adapter.
model = dict(
    slots=32, slot_minimum=-2.0, slot_size=1.25, expansion=4, ch=32, ch_mult=[1, 2], num_res_blocks=1,
    attn_resolutions=[], z_channels=64, n_e=256, e_dim=32, channels=[32, 32, 64], temporal_attn_layers=1,
    pose_attn_layers=1, num_heads=4, free_logit=5.0,
)  # fmt: skip
codebook = dict(start=150, restart_every=10)
freeze = dict(vae=False)
optimizer = dict(type="AdamW", lr=2e-3, accumulate=1)
loss = dict(lovasz=0.0, free_samples=10000, occupied_weight=2.0, embed=4.0)
lr_config = dict(policy="CosineAnnealing", warmup="linear", warmup_iters=20)
max_epochs = 45
evaluation = dict(interval=10, samples=20)
checkpoint_config = dict(interval=50, max_keep_ckpts=1)
runtime = dict(threads=1)
