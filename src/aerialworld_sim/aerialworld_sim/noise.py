"""Gaussian noise as a pure function of a key and an index: the same on any number of threads and in any order.

Counter-based: splitmix64 of (key + index) gives four 16-bit numbers, each looked up among 65,536 quantiles of the
normal distribution (to ±4.3 σ).
"""

# Kernels have machine types that annotations cannot say.
# mypy: disable-error-code="arg-type, assignment, call-arg, call-overload, operator, type-var"

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.rig import CameraSpec
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


#: Numbers that are drawn at once: words first, then looked up, then used, each in a loop that the compiler can widen.
_BLOCK = 1024


@kernel
def _fill_words(stream: Any, first: int, words: Any) -> None:
    for i in range(len(words)):
        words[i] = _mixed(stream + (np.uint64(first + i) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15))


def uniform(stream: np.uint64, count: int) -> NDArray[np.float64]:
    """(count,) numbers in (0, 1) of a stream: the upper 53 bits of its words."""
    words = np.empty(count, np.uint64)
    _fill_words(stream, 0, words)
    return ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


@kernel
def _look_up(quantiles: Any, indices: Any, out: Any) -> None:
    for i in range(np.uint64(len(out))):
        out[i] = quantiles[indices[i]]


def _drawn() -> tuple[NDArray[np.uint64], NDArray[np.uint16]]:
    """Scratch for the words of a block, and the same memory as the indices that they are."""
    words = np.empty(_BLOCK // 4, np.uint64)
    return words, words.view(np.uint16)


@kernel
def fill_normal(stream: Any, first: int, quantiles: Any, words: Any, indices: Any, out: Any) -> None:
    """Numbers first … first + len(out) of a stream (`first` a multiple of 4) into `out` (N,) float32; `words` and
    `indices` are scratch (see `_drawn`)."""
    for start in range(0, len(out), _BLOCK):
        _fill_words(stream, (first + start) // 4, words)
        _look_up(quantiles, indices, out[start : min(start + _BLOCK, len(out))])


def normal(stream: np.uint64, count: int, *, first: int = 0) -> NDArray[np.float32]:
    """(count,) float32 standard normal numbers of a stream, from number `first` (a multiple of 4) on."""
    out = np.empty(count, np.float32)
    fill_normal(stream, first, table(), *_drawn(), out)
    return out


@kernel
def _add(noise: Any, scale: Any, mean: Any, values: Any) -> None:
    for i in range(np.uint64(len(values))):
        noisy = np.float32(values[i]) + scale * noise[i] + mean + np.float32(0.5)
        values[i] = np.uint8(np.int32(min(max(noisy, np.float32(0.0)), np.float32(255.0))))


@kernel
def _add_blocks(
    stream: Any, quantiles: Any, scale: Any, mean: Any, first: int, words: Any, indices: Any, noise: Any, values: Any
) -> None:
    for start in range(0, len(values), _BLOCK):
        _fill_words(stream, (first + start) // 4, words)
        _look_up(quantiles, indices, noise)
        _add(noise, scale, mean, values[start : min(start + _BLOCK, len(values))])


def add_to_image(
    stream: np.uint64, quantiles: Any, scale: float, first: int, values: NDArray[np.uint8], mean: float = 0.0
) -> None:
    """Add noise of `scale` and `mean` grey levels to `values` (N,) uint8, which start at number `first` (a multiple of
    4) of the whole image."""
    noise = np.empty(_BLOCK, np.float32)
    _add_blocks(stream, quantiles, np.float32(scale), np.float32(mean), first, *_drawn(), noise, values)


def disturb_picture(spec: CameraSpec, stream: np.uint64, rgb: NDArray[np.uint8]) -> None:
    """Add a camera's declared noise, in place, to its (H, W, 3) picture: each channel of each pixel for itself."""
    if spec.noise_stddev > 0 or spec.noise_mean:
        add_to_image(stream, table(), 255.0 * spec.noise_stddev, 0, rgb.reshape(-1), 255.0 * spec.noise_mean)


def disturb_depth(spec: CameraSpec, stream: np.uint64, depth: NDArray[np.float32]) -> None:
    """Add a depth camera's declared noise, in place, to its (H, W) depths where finite; near stays the least."""
    if spec.noise_stddev > 0 or spec.noise_mean:
        seen = np.isfinite(depth)
        error = normal(stream, depth.size).reshape(depth.shape)[seen] * np.float32(spec.noise_stddev)
        depth[seen] = np.maximum(depth[seen] + error + np.float32(spec.noise_mean), np.float32(spec.near))
