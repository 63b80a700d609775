"""A few steps of a tiny AerialOccWorld in both stages: for tests and trials, not for results."""

_base_ = ["demo.py"]

model = dict(
    expansion=2, ch=8, ch_mult=[1, 2, 2], z_channels=16, n_e=32, e_dim=16, channels=[16, 16, 32], num_heads=2,
    motion_width=8, correction_width=8,
)  # fmt: skip
evaluation = dict(samples=2)

stages = [
    dict(
        stage="adapt", max_epochs=1, freeze=dict(vae=False), model=dict(free_logit=5.0),
        codebook=dict(start=0.5, restart_every=3), loss=dict(lovasz=0.0, free_samples=2000, occupied_weight=3.0),
    ),
    dict(stage="occworld", max_epochs=1, loss=dict(voxels=1.0, free_samples=2000)),
]  # fmt: skip
