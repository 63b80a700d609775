"""Real flights. The loader of UAVScenes is yet to come."""

_base_ = ["finetune_tokyo.py"]

dataset_type = "uavscenes"
data_root = "data/uavscenes/"
point_cloud_range = [-40.0, -40.0, -10.0, 40.0, 40.0, 50.0]
voxel_size = [0.4, 0.4, 0.5]
