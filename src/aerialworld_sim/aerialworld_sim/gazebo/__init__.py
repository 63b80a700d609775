"""Gazebo: what it must load to simulate a vehicle as the embedded engine does, and how its topics become ROS topics.

No Gazebo is needed to write its files: everything here but `server` is a pure function of world, vehicles and rigs.
"""
