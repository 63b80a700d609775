"""Gazebo: what it must load to simulate a vehicle as the embedded engine does, how its topics become ROS topics, and
Gazebo as an engine in process. Nothing here but `server` needs Gazebo.
"""
