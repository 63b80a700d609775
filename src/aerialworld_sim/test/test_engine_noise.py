"""Keyed noise: its distribution, that any part of it is the same part, and what pictures and depths get of it."""

from __future__ import annotations

import numpy as np
import pytest

from aerialworld_core.frames import Pose
from aerialworld_core.rig import CameraSpec
from aerialworld_sim import noise

STREAM = noise.key(5, "v", "cam_front", "rgb", 0)


def spec(stddev=0.0, mean=0.0) -> CameraSpec:
    return CameraSpec("c", Pose.identity(), 64, 48, 1.0, 0.1, 100.0, 10.0, stddev, mean)


def splitmix64(seed: int, count: int) -> list[int]:
    """The generator as its author publishes it (S. Vigna), in plain integers."""
    out, mask = [], (1 << 64) - 1
    for _ in range(count):
        seed = (seed + 0x9E3779B97F4A7C15) & mask
        z = seed
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        out.append(z ^ (z >> 31))
    return out


def test_numbers_are_normal_quantiles_of_splitmix64():
    from scipy.stats import norm

    words = splitmix64(int(STREAM), 300)
    sixteens = [(w >> (16 * j)) & 0xFFFF for w in words for j in range(4)]
    assert np.allclose(noise.normal(STREAM, 1200), norm.ppf((np.array(sixteens) + 0.5) / 65536), atol=1e-6)


def test_the_distribution():
    from scipy.stats import kstest

    x = noise.normal(STREAM, 400_000).astype(np.float64)
    assert abs(x.mean()) < 0.006 and x.std() == pytest.approx(1.0, abs=0.004)
    assert (x**3).mean() == pytest.approx(0, abs=0.02) and (x**4).mean() == pytest.approx(3, abs=0.06)
    assert kstest(x, "norm").pvalue > 0.01
    assert abs(np.corrcoef(x[:-1], x[1:])[0, 1]) < 0.006


def test_any_part_is_the_same_part():
    whole = noise.normal(STREAM, 10_000)
    for first, count in ((0, 1), (4, 3), (1024, 1024), (1020, 2000), (9_996, 4)):
        assert noise.normal(STREAM, count, first=first).tobytes() == whole[first : first + count].tobytes()
    picture = np.arange(9000, dtype=np.uint32).astype(np.uint8)
    parts = picture.copy()
    noise.add_to_image(STREAM, noise.table(), 7.0, 0, picture)
    for start in range(0, 9000, 3000):
        noise.add_to_image(STREAM, noise.table(), 7.0, start, parts[start : start + 3000])
    assert parts.tobytes() == picture.tobytes()


def test_pictures_are_rounded_and_held_within_bytes():
    flat = np.full((40, 50, 3), 100, np.uint8)
    noise.disturb_picture(spec(stddev=0.02, mean=0.1), STREAM, flat)
    wanted = np.rint(100 + 255 * (0.1 + 0.02 * noise.normal(STREAM, flat.size).astype(np.float64))).reshape(flat.shape)
    assert np.abs(flat - wanted).max() <= 1 and (flat != wanted).mean() < 1e-3  # halves may fall either way
    dark, bright = np.zeros((40, 50, 3), np.uint8), np.full((40, 50, 3), 255, np.uint8)
    for picture in (dark, bright):
        noise.disturb_picture(spec(stddev=0.5), STREAM, picture)
        assert {0, 255} <= set(picture.ravel().tolist())
    assert (dark == 0).mean() == pytest.approx(0.5, abs=0.02) and (bright == 255).mean() == pytest.approx(0.5, abs=0.02)
    clean = np.full((40, 50, 3), 100, np.uint8)
    noise.disturb_picture(spec(), STREAM, clean)
    assert (clean == 100).all()


def test_depth_noise_leaves_what_was_not_seen():
    depth = np.full((48, 64), 20.0, np.float32)
    depth[0], depth[1], depth[2] = np.inf, -np.inf, 0.1
    noise.disturb_depth(spec(stddev=0.05, mean=0.3), STREAM, depth)
    assert (depth[0] == np.inf).all() and (depth[1] == -np.inf).all() and (depth[2] >= np.float32(0.1)).all()
    assert depth[3:].mean() == pytest.approx(20.3, abs=0.005) and depth[3:].std() == pytest.approx(0.05, rel=0.05)
