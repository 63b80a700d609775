"""Voxels as bits, from the file to the device: an eighth of the bytes through workers, queues and the bus.

Ten frames of 200×200×121 are 12 MB as bits of occupancy and observation, 97 MB as two dense uint8 arrays and 387 MB as
float32. What the model needs is unpacked where it computes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from aerialworld_core.errors import InputError
from aerialworld_core.labels import FREE

_SHIFTS = torch.arange(7, -1, -1, dtype=torch.uint8)  # most significant bit first, as numpy.packbits


def unpack_bits(bits: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """bits (…, ⌈X·Y·Z/8⌉) uint8, as `numpy.packbits` makes of C-ordered voxels → (…, X, Y, Z) uint8 of 0 and 1, on the
    device of `bits`. Raises InputError if the number of bytes does not fit the shape."""
    size = int(torch.Size(shape).numel())
    if bits.dtype != torch.uint8 or bits.shape[-1] != (size + 7) // 8:
        raise InputError(
            f"{tuple(shape)} voxels are {(size + 7) // 8} bytes of bits, not {bits.shape[-1]} {bits.dtype}"
        )
    flat = (bits[..., None] >> _SHIFTS.to(bits.device)) & 1
    return flat.flatten(-2)[..., :size].reshape(*bits.shape[:-1], *shape)


def unpack_classes(occupancy: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """occupancy (…, X, Y, Z) uint8 and the class ids (K,) uint8 of its K occupied voxels in C order → semantics
    (…, X, Y, Z) uint8, FREE elsewhere. Raises InputError if the numbers differ."""
    taken = occupancy != 0
    count = int(taken.sum())
    if count != len(classes):
        raise InputError(f"{len(classes)} classes for {count} occupied voxels")
    semantics = torch.full_like(occupancy, FREE)
    semantics[taken] = classes.to(occupancy.device)
    return semantics


def unpack_sample(
    sample: Mapping[str, Any], shape: Sequence[int], device: torch.device | str = "cpu"
) -> tuple[torch.Tensor, torch.Tensor]:
    """A sample of form `packed` → semantics (F, X, Y, Z) uint8 and observed (F, X, Y, Z) bool of all its frames,
    history first, unpacked on `device` and moved up by its `z_shift` levels. Raises InputError if its parts do not fit
    together."""
    bits = {
        kind: torch.cat([sample[f"history_{kind}"], sample[f"future_{kind}"]]).to(device, non_blocking=True)
        for kind in ("occupied", "observed")
    }
    semantics = unpack_classes(unpack_bits(bits["occupied"], shape), sample["classes"])
    observed = unpack_bits(bits["observed"], shape).bool()
    up = int(sample.get("z_shift", 0))
    return shifted(semantics, up, FREE), shifted(observed, up, False)


def shifted(volumes: torch.Tensor, up: int, fill: int | bool) -> torch.Tensor:
    """`pooling.shift_levels` of tensors (…, Z)."""
    if up == 0:
        return volumes
    moved = torch.full_like(volumes, fill)
    kept = volumes.shape[-1] - abs(up)
    if kept > 0:
        moved.narrow(-1, max(up, 0), kept).copy_(volumes.narrow(-1, max(-up, 0), kept))
    return moved
