"""Stage 2 from scratch: the transformer on the codes of a trained VAE, which is frozen."""

_base_ = ["_sessions.py"]

stage = "occworld"
vqvae_ckpt = "out/vqvae/latest.pth"
model = dict(freeze_vae=True)
optimizer = dict(type="AdamW", lr=1e-3, weight_decay=0.01)
lr_config = dict(policy="CosineAnnealing", min_lr=1e-6, warmup="linear", warmup_iters=50)
grad_clip = dict(max_norm=35)
max_epochs = 200
