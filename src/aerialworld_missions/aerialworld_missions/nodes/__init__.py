"""ROS 2 nodes: the only modules here that import rclpy."""
