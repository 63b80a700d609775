"""From single messages to frames, for a live graph and for bags alike; no ROS here.

`messages` is the edge: what a message is, whoever brought it. `cdr` reads it from its serialised bytes, `images`,
`clouds` and `calibration` say what is in it, `channels` which topics a vehicle's rig has, `synchroniser` which messages
make a frame, `assembly` makes the frame's SensorFrame, `pipeline` brings it to a session on a thread of its own.
"""
