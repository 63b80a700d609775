"""History in, future out: a trained model for whoever has frames and poses, of a session, a robot or elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import FREE, NUM_CLASSES
from aerialworld_core.occupancy import Occupancy
from aerialworld_training.dataset.ground import UNKNOWN, ground_of
from aerialworld_training.dataset.motion import displacements, past_commands
from aerialworld_training.dataset.pooling import factors_between, pool_occupancy
from aerialworld_training.dataset.windows import TOLERANCE
from aerialworld_training.motion_ahead import Path, constant_velocity
from aerialworld_training.predictors import History, predictor
from aerialworld_training.trained import Trained, load_trained

MOTIONS = ("predicted", "constant_velocity")


@dataclass(frozen=True, eq=False)
class FutureFrames:
    """A forecast of T frames.

    classes          (T, X, Y, Z) uint8, FREE where free
    occupied         (T, X, Y, Z) float16, the probability of not being free
    position         (T, 3) base_link in map at each horizon, metres; frame k lies in the grid of pose k
    orientation      (T, 4) x, y, z, w
    horizons_s       (T,) seconds after the last history frame
    grid, datum      the grid of every frame (`aerialworld_core.frames.grid_from_map`), and map z of its zero
    """

    classes: NDArray[np.uint8]
    occupied: NDArray[np.float16]
    position: NDArray[np.float64]
    orientation: NDArray[np.float64]
    horizons_s: NDArray[np.float64]
    grid: VoxelGrid
    datum: float

    def __len__(self) -> int:
        return len(self.classes)

    def pose(self, k: int) -> Pose:
        """base_link in map at horizon k."""
        return Pose(self.position[k], self.orientation[k])


class Forecaster:
    """A trained OccWorld or AerialOccWorld, from a checkpoint or a training folder.

        forecaster = Forecaster("run/best.pth")
        future = forecaster.forecast(semantics, observed, poses, stamps_ns, datum=-3.0)

    Reading runs no code of the file (`weights_only`). The model runs on the CPU, with torch's threads as they are set,
    or on the `device` that is named (`cuda`).
    """

    def __init__(self, model: str | FilePath | Trained, device: str = "cpu") -> None:
        """Raises InputError for a file that is absent, damaged, or does not fit its own config, and for a device that
        is not there."""
        self.trained = model if isinstance(model, Trained) else load_trained(FilePath(model), device)
        self._predictor = predictor(self.trained)

    @property
    def grid(self) -> VoxelGrid:
        """The grid of the frames that go in and come out."""
        return self.trained.grid

    @property
    def step_s(self) -> float:
        """Seconds between frames."""
        return self.trained.step

    @property
    def history(self) -> int:
        """Frames of a training window's history; what a forecast is best given."""
        return self.trained.history

    @property
    def future(self) -> int:
        """Frames of a training window's future; what is forecast unless asked otherwise."""
        return self.trained.future

    @property
    def most_frames(self) -> int:
        """History and future frames together that the model's tables of time hold."""
        return self.trained.model.config.num_frames + 1

    def pooled(self, frame: Occupancy, grid: VoxelGrid) -> Occupancy:
        """A frame of `grid` on the model's own: as it is where they are the same, pooled where `grid` is a whole number
        of times finer. Raises InputError where it is neither."""
        factors = factors_between(grid, self.grid)
        if factors is None:
            raise InputError(
                f"the grid {grid.to_dict()} is not the model's {self.grid.to_dict()} nor a whole number of times finer"
            )
        return frame if factors == (1, 1, 1) else pool_occupancy(frame, factors)

    def forecast(
        self,
        semantics: NDArray[np.uint8],
        observed: NDArray[np.bool_] | None,
        poses: Sequence[Pose] | NDArray[np.float64],
        stamps_ns: Sequence[int] | NDArray[np.int64],
        datum: float,
        *,
        steps: int | None = None,
        motion: str | Path = "predicted",
    ) -> FutureFrames:
        """Forecast `steps` frames (`future` by default) after H ≥ 2 history frames, oldest first.

        semantics   (H, X, Y, Z) uint8 class ids in `grid`, each frame in the grid of its own pose; FREE where free
        observed    (H, X, Y, Z) bool, what was seen; None: everything was
        poses       H poses of base_link in map, or (H, 7 or more): x, y, z, qx, qy, qz, qw first
        stamps_ns   (H,) nanoseconds, `step_s` apart ± 1 %
        datum       map z of the grid's zero, metres
        motion      `predicted`: the model's own; `constant_velocity`: as in the last step, turns too; a `Path` gives
                    the way (AerialOccWorld). OccWorld's occupancy knows no motion: it takes `predicted` alone

        The command is that of the past (going on as in the last step), straight for the first frame. Raises InputError
        for shapes, classes and time steps that do not fit.
        """
        way = [p if isinstance(p, Pose) else _pose(p) for p in poses]
        steps = self.future if steps is None else steps
        observed = np.ones(np.shape(semantics), np.bool_) if observed is None else observed
        self._check(semantics, observed, len(way), stamps_ns, steps, datum)
        history = self._history(semantics, observed, way, np.asarray(stamps_ns, np.int64), float(datum))
        path = self._path(motion, way, steps)
        codes = torch.stack([self._predictor.codes(s, o, history.up) for s, o in zip(semantics, observed, strict=True)])
        found = self._predictor.forecast(history, codes, steps, path)
        horizons = np.round(self.step_s * np.arange(1, steps + 1), 6)
        return FutureFrames(
            found.classes,
            found.occupied,
            found.path.position,
            found.path.orientation,
            horizons,
            self.grid,
            float(datum),
        )

    def _check(
        self, semantics: NDArray[Any], observed: NDArray[Any], poses: int, stamps_ns: Any, steps: int, datum: float
    ) -> None:
        frames = len(semantics)
        for name, array, kind in (("semantics", semantics, np.uint8), ("observed", observed, np.bool_)):
            if array.shape != (frames, *self.grid.shape) or array.dtype != kind:
                raise InputError(
                    f"{name}: {array.shape} {array.dtype}; the model takes (H, {', '.join(map(str, self.grid.shape))}) "
                    f"{np.dtype(kind)}, of the grid {self.grid.to_dict()} (Forecaster.pooled brings finer frames there)"
                )
        if frames < 2 or poses != frames or len(stamps_ns) != frames:
            raise InputError(f"{frames} frames, {poses} poses, {len(stamps_ns)} stamps; at least 2, equally many")
        if steps < 1 or frames + steps > self.most_frames:
            raise InputError(
                f"{frames} history and {steps} future frames; at least 1 future frame, and at most {self.most_frames} "
                "together"
            )
        if not np.isfinite(datum):
            raise InputError(f"datum {datum} is no height")
        if int(semantics.max(initial=0)) >= NUM_CLASSES:
            raise InputError(f"semantics: class {int(semantics.max())}; they go up to {FREE} (free)")
        step_ns = self.step_s * 1e9
        gaps = np.diff(np.asarray(stamps_ns, np.int64)).astype(np.float64)
        if (np.abs(gaps - step_ns) > TOLERANCE * step_ns).any():
            raise InputError(
                f"stamps are {', '.join(f'{g * 1e-9:g}' for g in gaps)} s apart; this model was trained on steps of "
                f"{self.step_s:g} s: choose frames {self.step_s:g} s apart"
            )

    def _history(
        self, semantics: NDArray[np.uint8], observed: NDArray[np.bool_], way: list[Pose], stamps: NDArray[np.int64],
        datum: float,
    ) -> History:  # fmt: skip
        position, yaw = np.array([p.position for p in way]), np.array([p.yaw for p in way])
        commands = past_commands(position, yaw, stamps, round(self.step_s * 1e9 * (1 + TOLERANCE)))
        return History(
            semantics, observed, tuple(way), torch.from_numpy(displacements(position, yaw)).to(torch.float32),
            torch.nn.functional.one_hot(torch.from_numpy(commands), 3).to(torch.float32), datum,
            self._up(semantics),
        )  # fmt: skip

    def _up(self, semantics: NDArray[np.uint8]) -> int:
        """Levels that put the ground under the last frame where training had it; of the last frame with any voxel."""
        if self.trained.ground_level is None:
            return 0
        for frame in semantics[::-1]:
            cells = np.argwhere(frame != FREE)
            level = ground_of(cells[:, 2], frame[tuple(cells.T)])
            if level != UNKNOWN:
                return self.trained.ground_level - level
        return self.trained.ground_level

    def _path(self, motion: str | Path, way: list[Pose], steps: int) -> Path | None:
        if motion == "predicted":
            return None
        if not self._predictor.takes_motion:
            raise InputError(f"{self.trained.path}: OccWorld's occupancy knows no motion; use motion='predicted'")
        if isinstance(motion, Path):
            if len(motion) != steps:
                raise InputError(f"motion: a path of {len(motion)} poses for {steps} steps")
            return motion
        if motion != "constant_velocity":
            raise InputError(f"motion {motion!r}; known are {', '.join(MOTIONS)} and a Path")
        return constant_velocity(way[-2], way[-1], steps)


def _pose(numbers: NDArray[np.float64]) -> Pose:
    if np.shape(numbers)[0] < 7:
        raise InputError("a pose is x, y, z, qx, qy, qz, qw")
    try:
        return Pose(np.asarray(numbers[:3]), np.asarray(numbers[3:7]))
    except ValueError as error:
        raise InputError(str(error)) from error
