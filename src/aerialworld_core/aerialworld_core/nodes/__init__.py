"""What ROS 2 nodes of several rooms share: their parameters and their process. Needs rclpy."""
