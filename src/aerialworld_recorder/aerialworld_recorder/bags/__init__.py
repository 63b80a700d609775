"""Sessions to bags and bags to sessions, without ROS, through `rosbags` and `mcap` (extra `[bags]`)."""
