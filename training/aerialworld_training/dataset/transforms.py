"""Augmentations that are right in the ego frame: voxels and poses change together, a whole window alike.

Each is a callable on a dense sample of `GazeboOccWorldDataset` (form `float32` or `uint8`) that returns a new one. What
is drawn comes from a `torch.Generator`, or from torch's own (which DataLoader seeds anew for each worker and epoch).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from aerialworld_core.errors import InputError
from aerialworld_core.labels import FREE

Sample = dict[str, Any]
Transform = Callable[[Sample], Sample]
_PARTS = ("history", "future")
#: What a voxel array holds where a transform knows nothing.
_UNKNOWN = {"occupancy": 0, "semantics": FREE, "observed": 0}


class Compose:
    """One transform after the other."""

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = list(transforms)

    def __call__(self, sample: Sample) -> Sample:
        for transform in self.transforms:
            sample = transform(sample)
        return sample


class Flip:
    """Left and right exchanged with probability `p`: the mirror image of the world across its x–z plane.

    In map (x, y, z) becomes (x, −y, z); so do velocities, and turning rates about x and z change sign. The grid must
    reach as far to the left as to the right.
    """

    def __init__(self, p: float = 0.5, generator: torch.Generator | None = None) -> None:
        self.p, self.generator = p, generator

    def __call__(self, sample: Sample) -> Sample:
        if _draw(self.generator) >= self.p:
            return sample
        sign = torch.tensor([1, -1, 1, -1, 1, -1, 1, 1, -1, 1, -1, 1, -1.0])
        return _changed(sample, lambda v, _: v.flip(-2), lambda poses: poses * sign)


class Rotate90:
    """The vehicle's heading turned by 0, 90, 180 or 270°, drawn evenly: it goes on along its path, looking elsewhere.

    Every voxel stays where it is in map. The grid must be square and centred on the vehicle.
    """

    def __init__(self, generator: torch.Generator | None = None) -> None:
        self.generator = generator

    def __call__(self, sample: Sample) -> Sample:
        quarters = int(torch.randint(4, (), generator=self.generator))
        if not quarters:
            return sample
        # Turning the heading to the left turns what is seen to the right: from y towards x.
        return _changed(
            sample, lambda v, _: v.rot90(-quarters, (-3, -2)), lambda poses: _turned(poses, quarters * math.pi / 2)
        )


class Rotate:
    """The vehicle's heading turned by up to ± `degrees`; what comes in at the grid's corners is unknown.

    Voxels take the value of the one that lies nearest in map (within half a voxel's diagonal). The grid must be square
    and centred on the vehicle.
    """

    def __init__(self, degrees: float = 10.0, generator: torch.Generator | None = None) -> None:
        self.degrees, self.generator = degrees, generator

    def __call__(self, sample: Sample) -> Sample:
        angle = math.radians(self.degrees) * (2 * _draw(self.generator) - 1)

        def resample(voxels: torch.Tensor, fill: int) -> torch.Tensor:
            n = _square(voxels)
            at = torch.arange(n, dtype=torch.float64, device=voxels.device) - (n - 1) / 2
            x, y = torch.meshgrid(at, at, indexing="ij")
            # A point of the new ego frame lies in the old one turned by the angle of the heading.
            old_x = (math.cos(angle) * x - math.sin(angle) * y + (n - 1) / 2).round().long()
            old_y = (math.sin(angle) * x + math.cos(angle) * y + (n - 1) / 2).round().long()
            inside = (old_x >= 0) & (old_x < n) & (old_y >= 0) & (old_y < n)
            moved = voxels[..., old_x.clamp(0, n - 1), old_y.clamp(0, n - 1), :]
            return torch.where(inside[..., None], moved, torch.full_like(moved, fill))

        return _changed(sample, resample, lambda poses: _turned(poses, angle))


class Noise:
    """Each observed voxel of the history changes between free and occupied with probability `p`, as a sensor's errors
    would; the future stays true. Voxels that become occupied get the class `others` (0). Needs all three voxel
    arrays."""

    def __init__(self, p: float = 0.001, generator: torch.Generator | None = None) -> None:
        self.p, self.generator = p, generator

    def __call__(self, sample: Sample) -> Sample:
        occupancy, semantics, observed = _history(sample)
        hit = (torch.rand(occupancy.shape, generator=self.generator) < self.p) & (observed != 0)
        now = torch.where(hit, 1 - occupancy, occupancy)
        classes = torch.where(hit, torch.where(now != 0, 0, FREE).to(semantics.dtype), semantics)
        return sample | {"history_occupancy": now, "history_semantics": classes}


class Dropout:
    """Each voxel of the history becomes unknown with probability `p`. Needs all three voxel arrays."""

    def __init__(self, p: float = 0.05, generator: torch.Generator | None = None) -> None:
        self.p, self.generator = p, generator

    def __call__(self, sample: Sample) -> Sample:
        arrays = dict(zip(_UNKNOWN, _history(sample), strict=True))
        gone = torch.rand(arrays["occupancy"].shape, generator=self.generator) < self.p
        return sample | {f"history_{k}": v.masked_fill(gone, _UNKNOWN[k]) for k, v in arrays.items()}


def get_train_transforms(generator: torch.Generator | None = None) -> Compose:
    """Flip and quarter turns: exact, on the sample's grid. The others are added by who wants them."""
    return Compose([Flip(generator=generator), Rotate90(generator)])


def _draw(generator: torch.Generator | None) -> float:
    return float(torch.rand((), generator=generator))


def _changed(
    sample: Sample,
    voxels: Callable[[torch.Tensor, int], torch.Tensor],
    poses: Callable[[torch.Tensor], torch.Tensor],
) -> Sample:
    """The sample with every voxel array and every pose changed."""
    for key in ("history_images", "history_lidar"):
        if key in sample:
            raise InputError(
                f"a sample with {key} cannot be turned or mirrored: pictures and points would no longer agree with the "
                "voxels; set load_images=False and load_lidar=False, or leave the transform out"
            )
    if "history_occupied" in sample:
        raise InputError("a packed sample cannot be turned; unpack it first, or take the form float32 or uint8")
    changed = dict(sample)
    for part in _PARTS:
        changed[f"{part}_poses"] = poses(sample[f"{part}_poses"])
        for kind, unknown in _UNKNOWN.items():
            key = f"{part}_{kind}"
            if key in sample:
                _square(sample[key])
                changed[key] = voxels(sample[key], unknown).contiguous()
    return changed


def _square(voxels: torch.Tensor) -> int:
    nx, ny = voxels.shape[-3:-1]
    if nx != ny:
        raise InputError(f"a grid of {nx}×{ny} columns cannot be turned or mirrored about its middle")
    return nx


def _turned(poses: torch.Tensor, angle: float) -> torch.Tensor:
    """Poses (F, 13) whose heading is `angle` further to the left: q → q_z(angle)·q. Place, velocity (map) and turning
    rate (body) stay."""
    c, s = math.cos(angle / 2), math.sin(angle / 2)
    x, y, z, w = poses[:, 3:7].to(torch.float64).unbind(1)
    turned = torch.stack([c * x - s * y, c * y + s * x, c * z + s * w, c * w - s * z], 1)
    return torch.cat([poses[:, :3], turned.to(poses.dtype), poses[:, 7:]], 1)


def _history(sample: Sample) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    try:
        return sample["history_occupancy"], sample["history_semantics"], sample["history_observed"]
    except KeyError as error:
        raise InputError(f"the sample has no {error}; set voxels=('occupancy', 'semantics', 'observed')") from None
