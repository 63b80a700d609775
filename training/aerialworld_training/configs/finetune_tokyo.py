"""A pretrained OccWorld on sessions of the air: lower rate, fewer epochs, augmented (`strategy=B`: heads alone)."""

_base_ = ["train_occworld.py"]

vqvae_ckpt = None
load_from = "pretrained/occworld/latest.pth"
checkpoint = dict(allow_missing=["aerial"])  # the public file knows nothing of tall grids
optimizer = dict(lr=1e-4)
lr_config = dict(warmup_iters=100, warmup_ratio=0.1)
max_epochs = 50
bf16 = dict(enabled=True)
augment = dict(flip_probability=0.5, rotate_deg=45.0, rotate_probability=0.8)
