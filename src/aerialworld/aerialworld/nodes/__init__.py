"""ROS 2 nodes that compose several stages. Need rclpy."""
