"""What all runs on our sessions share: the card's grid and windows of 4 + 6 frames."""

dataset_type = "gazebo"
data_root = "data/tokyo_gazebo/"
point_cloud_range = [-40.0, -40.0, -2.0, 40.0, 40.0, 150.0]
voxel_size = [0.4, 0.4, 1.25]
dataset_config = dict(history_frames=4, future_frames=6, frame_skip=1, agent_type="both", val_ratio=0.1, test_ratio=0.1)
data = dict(samples_per_gpu=1, workers_per_gpu=4)
checkpoint_config = dict(interval=5, max_keep_ckpts=3)
evaluation = dict(interval=5)
