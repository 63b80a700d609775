"""Gaussian noise as a pure function of a key and an index: the same on any number of threads and in any order.

Counter-based: splitmix64 of (key + index) gives four 16-bit numbers, each looked up among 65,536 quantiles of the
normal distribution (to ±4.3 σ).
"""

# numba infers machine types here that annotations cannot say.
# mypy: disable-error-code="arg-type, assignment, call-arg, call-overload, operator, type-var"

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_sim.compiled import kernel


def _quantiles() -> NDArray[np.float32]:
    from scipy.special import ndtri

    return ndtri((np.arange(65536) + 0.5) / 65536).astype(np.float32)


_TABLE: list[NDArray[np.float32]] = []


def table() -> NDArray[np.float32]:
    """(65536,) float32 quantiles of the standard normal distribution."""
    if not _TABLE:
        _TABLE.append(_quantiles())
    return _TABLE[0]


def key(seed: int, *words: str | int) -> np.uint64:
    """A 64-bit key for one stream, from the run's seed and the names of vehicle, sensor, quantity and tick."""
    text = "\0".join([str(seed), *map(str, words)]).encode()
    return np.uint64(int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little"))


@kernel
def _mixed(x: Any) -> Any:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@kernel
def fill_normal(stream: Any, first: int, quantiles: Any, out: Any) -> None:
    """Numbers first … first + len(out) of a stream (`first` a multiple of 4) into `out` (N,) float32."""
    n = len(out)
    for start in range(0, n, 4):
        counter = np.uint64((first + start) // 4)
        x = _mixed(stream + (counter + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15))
        for j in range(min(4, n - start)):
            out[start + j] = quantiles[np.int64((x >> np.uint64(16 * j)) & np.uint64(0xFFFF))]


def normal(stream: np.uint64, count: int, *, first: int = 0) -> NDArray[np.float32]:
    """(count,) float32 standard normal numbers of a stream, from number `first` (a multiple of 4) on."""
    out = np.empty(count, np.float32)
    fill_normal(stream, first, table(), out)
    return out


@kernel
def add_to_image(stream: Any, quantiles: Any, scale: float, first: int, values: Any) -> None:
    """Add noise of `scale` grey levels to `values` (N,) uint8, which start at number `first` of the whole image."""
    n = len(values)
    for start in range(0, n, 4):
        counter = np.uint64((first + start) // 4)
        x = _mixed(stream + (counter + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15))
        for j in range(min(4, n - start)):
            g = quantiles[np.int64((x >> np.uint64(16 * j)) & np.uint64(0xFFFF))]
            noisy = np.float32(values[start + j]) + np.float32(scale) * g + np.float32(0.5)
            values[start + j] = np.uint8(min(max(noisy, np.float32(0.0)), np.float32(255.0)))
