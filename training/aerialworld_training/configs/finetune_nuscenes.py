"""OccWorld on nuScenes' own grid of 16 levels. The loader of nuScenes is yet to come."""

_base_ = ["train_occworld.py"]

dataset_type = "nuscenes"
data_root = "data/nuscenes/"
point_cloud_range = [-40.0, -40.0, -1.0, 40.0, 40.0, 5.4]
voxel_size = [0.4, 0.4, 0.4]
vqvae_ckpt = None
load_from = "pretrained/occworld/latest.pth"
optimizer = dict(lr=1e-4)
max_epochs = 100
