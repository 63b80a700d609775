"""Results of a job on the device and on the host: one block of each, and one copy between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

_DTYPES: dict[type, Any] = {
    np.float32: wp.float32,
    np.int32: wp.int32,
    np.uint16: wp.uint16,
    np.uint8: wp.uint8,
}


class Results:
    """Memory for one job after another: page-locked on the host where the device is a GPU, so that the copy runs at the
    bus's speed and beside other work. It grows when a job needs more, and stays.

    `begin` lays the job's arrays out, `fetch` orders the copy, `deliver` (once the device is done) fills the arrays.
    """

    def __init__(self, device: Any) -> None:
        self._device = device
        self._words = 0
        self._used = 0
        self._parts: list[tuple[NDArray[Any], int]] = []

    def begin(self, wanted: Sequence[NDArray[Any] | None]) -> list[wp.array | None]:
        """Device arrays, uninitialised, of the shapes and types of those wanted; None for None."""
        self._parts, offsets, end = [], [], 0
        for target in wanted:
            offsets.append(end)
            if target is not None:
                self._parts.append((target, end))
                end += -(-target.nbytes // 8) * 8
        self._used = end // 8
        if self._used > self._words:
            self._block = wp.empty(self._used, dtype=wp.uint64, device=self._device)
            self._copy = wp.empty(self._used, dtype=wp.uint64, device="cpu", pinned=self._device.is_cuda)
            self._words = self._used
        return [
            target if target is None else self._view(target, offset)
            for target, offset in zip(wanted, offsets, strict=True)
        ]

    def _view(self, target: NDArray[Any], offset: int) -> wp.array:
        dtype = _DTYPES[target.dtype.type]
        if target.size == 0:
            return wp.empty(target.shape, dtype=dtype, device=self._device)
        return wp.array(ptr=self._block.ptr + offset, dtype=dtype, shape=target.shape, device=self._device)

    def fetch(self) -> None:
        if self._used:
            wp.copy(self._copy, self._block, count=self._used)

    def deliver(self) -> None:
        if not self._used:
            return
        raw = self._copy.numpy().view(np.uint8)
        for target, offset in self._parts:
            target[...] = raw[offset : offset + target.nbytes].view(target.dtype).reshape(target.shape)
        self._parts = []
