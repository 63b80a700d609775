"""What ROS 2 nodes of several rooms share: parameters, process, spinning, diagnostics, clouds. Needs rclpy."""
