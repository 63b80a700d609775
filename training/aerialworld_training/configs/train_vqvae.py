"""Stage 1 from scratch: the VAE on single frames. On a tall grid the height adapter trains with it."""

_base_ = ["_sessions.py"]

stage = "vqvae"
freeze = dict(vae=False)
optimizer = dict(type="AdamW", lr=1e-3, weight_decay=0.01)
lr_config = dict(policy="CosineAnnealing", min_lr=1e-6, warmup="linear", warmup_iters=200)
grad_clip = dict(max_norm=35)
max_epochs = 200
