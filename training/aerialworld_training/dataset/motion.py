"""Ego motion as OccWorld wants it: displacements right and forward, and the driving command."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Order of the one-hot command, as in the original's data.
RIGHT, LEFT, STRAIGHT = 0, 1, 2
#: The original's rule: a lateral offset of 2 m within 3 s is a turn.
TURN_OFFSET, TURN_TIME = 2.0, 3.0
#: How far a time step may be off.
TOLERANCE = 0.01


def displacements(position: Array, yaw: Array) -> Array:
    """Each frame's displacement to the next, (N − 1, 2): dx right, dy forward of the frame it starts in, metres.

    position (N, 3) in map, yaw (N,) radians. In base_link terms (dx, dy) = (−y, x).
    """
    step = np.diff(position[:, :2], axis=0)
    c, s = np.cos(yaw[:-1]), np.sin(yaw[:-1])
    forward = c * step[:, 0] + s * step[:, 1]
    left = -s * step[:, 0] + c * step[:, 1]
    return np.stack([-left, forward], axis=1)


def past_commands(position: Array, yaw: Array, stamp_ns: NDArray[np.int64], longest_gap_ns: int) -> NDArray[np.int64]:
    """The command (N,) of each frame, from the step that led to it: would going on like this leave the line by 2 m in
    3 s?

    Speed and yaw rate of the last step give the lateral offset ½ v ω t². The first frame, and frames after a gap longer
    than `longest_gap_ns`, count as straight. The future is never looked at.
    """
    commands = np.full(len(yaw), STRAIGHT, dtype=np.int64)
    dt_ns = np.diff(stamp_ns)
    dt = dt_ns * 1e-9
    turn = (np.diff(yaw) + np.pi) % (2 * np.pi) - np.pi
    speed = np.linalg.norm(np.diff(position[:, :2], axis=0), axis=1) / dt
    left_offset = 0.5 * speed * (turn / dt) * TURN_TIME**2
    known = dt_ns <= longest_gap_ns
    commands[1:][known & (left_offset >= TURN_OFFSET)] = LEFT
    commands[1:][known & (left_offset <= -TURN_OFFSET)] = RIGHT
    return commands


def session_motion(
    position: Array, yaw: Array, stamp_ns: NDArray[np.int64], step_ns: int, frame_skip: int = 1
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """A session's displacements (N, 2), each frame's to the one `frame_skip` further on (0 where there is none), and
    its commands (N,). With frame_skip the step that a command looks back on spans several frames too."""
    motion = np.zeros((len(yaw), 2), np.float32)
    modes = np.full(len(yaw), STRAIGHT, np.int64)
    for phase in range(frame_skip):
        at = np.arange(phase, len(yaw), frame_skip)
        motion[at[:-1]] = displacements(position[at], yaw[at])
        modes[at] = past_commands(position[at], yaw[at], stamp_ns[at], round(step_ns * (1 + TOLERANCE)))
    return motion, modes
