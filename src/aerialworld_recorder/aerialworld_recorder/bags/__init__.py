"""Sessions to bags and bags to sessions, without ROS: MCAP and rosbag2 through `rosbags` and `mcap` (extra `[bags]`)."""
