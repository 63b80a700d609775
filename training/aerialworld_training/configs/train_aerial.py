"""AerialOccWorld from scratch at full size, both stages in one go: VAE and height adapter with residual codes, then
codes and the correction of the moved past."""

_base_ = ["_sessions.py"]

model = dict(code_depth=2, free_logit=5.0, save_memory=True)
optimizer = dict(type="AdamW", lr=1e-3, weight_decay=0.01, motion_factor=0.05)
grad_clip = dict(max_norm=35)
bf16 = dict(enabled=True)

stages = [
    dict(
        stage="adapt", max_epochs=50, freeze=dict(vae=False), codebook=dict(start=0.1, restart_every=50),
        loss=dict(occupied_weight=2.0), augment=dict(flip_probability=0.5, rotate_deg=45.0, rotate_probability=0.8),
        lr_config=dict(policy="CosineAnnealing", min_lr=1e-6, warmup="linear", warmup_iters=200),
    ),
    dict(
        stage="occworld", max_epochs=50, loss=dict(voxels=1.0),
        augment=dict(flip_probability=0.5, rotate_deg=45.0, copies=4),
        lr_config=dict(policy="CosineAnnealing", min_lr=1e-6, warmup="linear", warmup_iters=50),
    ),
]  # fmt: skip
