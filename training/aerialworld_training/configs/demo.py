"""The demo's small AerialOccWorld, both stages in one go: some minutes on a CPU.

Voxels are twice the recordings' in every direction (100×100×60 of the card's grid). One thread gives the same bytes
every time and stays steady on a busy machine.
"""

_base_ = ["_sessions.py"]

data = dict(pooling=[2, 2, 2], workers_per_gpu=0)
model = dict(
    kind="aerial", slots=16, slot_minimum=-2.0, slot_size=2.5, expansion=4, ch=32, ch_mult=[1, 1, 2], num_res_blocks=1,
    attn_resolutions=[], z_channels=32, n_e=256, e_dim=32, num_frames=9, channels=[32, 64, 128],
    temporal_attn_layers=1, pose_attn_layers=1, num_heads=4, motion_width=32, correction_width=32,
)  # fmt: skip
optimizer = dict(type="AdamW", lr=2e-3, motion_factor=0.05)
lr_config = dict(policy="CosineAnnealing", warmup="linear", warmup_iters=20)
evaluation = dict(interval=1, samples=4)
checkpoint_config = dict(interval=1, max_keep_ckpts=1)
checkpoint = dict(iterations=50)
runtime = dict(threads=1)

stages = [
    dict(
        stage="adapt", max_epochs=1, freeze=dict(vae=False), model=dict(free_logit=5.0),
        codebook=dict(start=0.6, restart_every=10), augment=dict(flip_probability=0.5),
        loss=dict(lovasz=0.0, free_samples=20000, occupied_weight=3.0, embed=4.0),
    ),
    dict(stage="occworld", max_epochs=1, loss=dict(voxels=1.0, free_samples=20000)),
]  # fmt: skip
