"""What a launch file starts: which processes, with which parameters and files, and when the run is over. No ROS and no
`launch` here: launch/*.launch.py turn these into actions."""
