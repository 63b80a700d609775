"""The VAE and its height adapter on a tall grid, from scratch or from a file of stage vqvae (checkpoint.vqvae_from)."""

_base_ = ["train_vqvae.py"]

stage = "adapt"
