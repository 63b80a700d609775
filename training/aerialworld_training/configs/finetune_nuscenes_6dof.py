"""nuScenes with ego motion reaching the occupancy. The loader of nuScenes is yet to come."""

_base_ = ["finetune_nuscenes.py"]

dataset_type = "nuscenes_6dof"
model = dict(kind="aerial")
checkpoint = dict(allow_missing=["aerial"])
max_epochs = 50
