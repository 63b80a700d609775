"""Forecasts while flying: depth and odometry in, as the recorder takes them, future voxels and the way there out.

No ROS here: `nodes/forecast.py` carries messages in and out. Imports recorder and training.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.frames import grid_pose
from aerialworld_core.labels import FREE
from aerialworld_core.occupancy import Occupancy
from aerialworld_core.rig import Rig
from aerialworld_core.sensing import VehicleState
from aerialworld_recorder.occupancy import OccupancyProjector
from aerialworld_recorder.stream.assembly import Assembler, UnusableFrame
from aerialworld_recorder.stream.channels import CALIBRATIONS, Channel, recorded_rig, vehicle_channels
from aerialworld_recorder.stream.messages import Message
from aerialworld_recorder.stream.synchroniser import Bad, Bundle, Dropped, Restart, Synchroniser, Timing
from aerialworld_training.forecaster import Forecaster, FutureFrames

#: A point's fields and where they lie: x, y, z (m, in map), class, probability of being occupied, horizon (s).
POINT = np.dtype(
    {
        "names": ["x", "y", "z", "class", "probability", "horizon"],
        "formats": ["<f4", "<f4", "<f4", "u1", "<f4", "<f4"],
        "offsets": [0, 4, 8, 12, 16, 20],
        "itemsize": 24,
    }
)


@dataclass(frozen=True, eq=False)
class SeenFrame:
    """One frame of the history: what the faces saw in the grid of the vehicle's pose at `stamp_ns`."""

    stamp_ns: int
    state: VehicleState
    occupancy: Occupancy


@dataclass
class Intake:
    """What came of the messages so far."""

    frames: int = 0
    dropped: int = 0
    bad: int = 0
    restarts: int = 0
    last_missing: tuple[str, ...] = field(default=())


class LiveHistory:
    """The last frames of one vehicle, in step with a model. One thread at a time.

    datum  map z of the grid's zero, metres. Frames come every `forecaster.step_s` of simulated time; one that lacks a
    face is dropped and the history begins anew, since a model was trained on equal steps.
    """

    def __init__(self, forecaster: Forecaster, vehicle: str, rig: Rig, datum: float) -> None:
        """Raises InputError for a rig without depth faces."""
        depth = recorded_rig(rig, ("depth",))
        self.channels: tuple[Channel, ...] = tuple(
            c for c in vehicle_channels(vehicle, depth) if c.kind not in CALIBRATIONS
        )
        self.forecaster, self.vehicle, self.rig, self.datum = forecaster, vehicle, depth, datum
        self.intake = Intake()
        self._assembler = Assembler(depth, lambda x, y: float("nan"))
        self._projector = OccupancyProjector(depth, forecaster.grid, datum)
        period = round(forecaster.step_s * 1e9)
        fastest = min(1.0 / c.rate for c in self.channels if c.kind in ("depth", "semantic"))
        tolerance = min(round(fastest * 5e8), period // 2)
        self._synchroniser = Synchroniser(self.channels, Timing(period, tolerance), self._assembler.check)
        self._frames: deque[SeenFrame] = deque(maxlen=forecaster.history)

    @property
    def unheard(self) -> tuple[str, ...]:
        """Topics that have brought nothing."""
        return self._synchroniser.unheard

    def put(self, message: Message) -> tuple[SeenFrame, ...]:
        """Take a message. When it completes a frame: the history up to it, oldest first, 2 frames or more; else ()."""
        history: tuple[SeenFrame, ...] = ()
        for event in self._synchroniser.put(message):
            if isinstance(event, Bundle):
                history = self._see(event) or history
            elif isinstance(event, Dropped | Restart):
                self._frames.clear()
                history = ()
                if isinstance(event, Restart):
                    self.intake.restarts += 1
                else:
                    self.intake.dropped += event.ticks
                    self.intake.last_missing = event.missing
            elif isinstance(event, Bad):
                self.intake.bad += 1
        return history

    def _see(self, bundle: Bundle) -> tuple[SeenFrame, ...]:
        try:
            frame, _ = self._assembler.frame(bundle)
        except UnusableFrame as error:
            self._frames.clear()
            self.intake.dropped += 1
            self.intake.last_missing = error.missing
            return ()
        semantic = frame.semantic if frame.semantic else None
        occupancy = self._projector.project(bundle.state.pose, frame.depth, semantic)
        self._frames.append(SeenFrame(bundle.stamp_ns, bundle.state, occupancy))
        self.intake.frames += 1
        return tuple(self._frames) if len(self._frames) >= 2 else ()


def forecast(forecaster: Forecaster, history: tuple[SeenFrame, ...], datum: float, **options: Any) -> FutureFrames:
    """`Forecaster.forecast` of a live history."""
    return forecaster.forecast(
        np.stack([f.occupancy.semantics for f in history]),
        np.stack([f.occupancy.observed for f in history]),
        [f.state.pose for f in history],
        [f.stamp_ns for f in history],
        datum,
        **options,
    )


def forecast_points(future: FutureFrames, least: float = 0.0) -> NDArray[np.void]:
    """The centres in map (N,) POINT of all voxels whose likeliest class is not free, at every horizon in turn, where
    being occupied has at least the probability `least`."""
    taken = (future.classes != FREE) & (future.occupied >= least)
    points = np.zeros(int(taken.sum()), POINT)
    ends = np.cumsum(taken.sum((1, 2, 3)))
    for k, horizon in enumerate(future.horizons_s):
        part = points[ends[k - 1] if k else 0 : ends[k]]
        centres = grid_pose(future.pose(k), future.datum).transform(future.grid.centers(np.argwhere(taken[k])))
        for axis, name in enumerate("xyz"):
            part[name] = centres[:, axis]
        part["class"] = future.classes[k][taken[k]]
        part["probability"] = future.occupied[k][taken[k]]
        part["horizon"] = horizon
    return points
