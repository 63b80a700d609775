"""Data recorded before session.json existed: read with the defaults, and what is missing is said, not invented."""

from __future__ import annotations

import json

import numpy as np
import pytest

from aerialworld_core.errors import SessionError
from aerialworld_core.grid import DEFAULT_GRID
from aerialworld_core.labels import FREE
from aerialworld_core.session import Session, list_sessions, session_info, validate

NOSE = [0.5, 0.1, 0.2, 0.3]


@pytest.fixture
def older(tmp_path):
    """Two frames, numbered from 1: class values in occupancy, quaternions w first, no hashes."""
    path = tmp_path / "rover_20230401_093000"
    for folder in ("occupancy", "poses", "lidar"):
        (path / folder).mkdir(parents=True)
    for index in (1, 2):
        values = np.zeros(DEFAULT_GRID.shape, np.uint8)
        values[10:20, :, 1] = 11
        values[50 + index, 60, 2:40] = 15
        values[0, 0, 0] = 1
        values[100:, 100:, 100:] = 255
        values[5, 5, 5] = FREE
        np.savez_compressed(path / f"occupancy/{index:06d}_occupancy.npz", occupancy=values, extra=np.arange(3))
        pose = {"pose_13d": [1.0 * index, 2.0, 3.0, *NOSE, 2.0, 0.0, 0.0, 0.0, 0.0, 0.1], "timestamp": index * 0.5}
        (path / f"poses/{index:06d}.json").write_text(json.dumps(pose))
    np.save(path / "lidar/000001_LIDAR.npy", np.ones((5, 4)))
    return path


def test_older_values_are_understood(older):
    session = Session.open(older)
    assert not session.verifiable and session.meta.agent_type == "rover" and session.meta.grid == DEFAULT_GRID
    assert session.meta.start_time == "2023-04-01T09:30:00Z"
    assert session.frame_indices == [1, 2]
    o = session.occupancy(1)
    assert o.occupancy.sum() == 10 * 200 + 38 + 1 and set(np.unique(o.occupancy)) == {0, 1}
    assert o.semantics[15, 3, 1] == 11 and o.semantics[51, 60, 9] == 15
    assert o.semantics[0, 0, 0] == 0 and o.semantics[5, 5, 5] == FREE and o.occupancy[5, 5, 5] == 0
    np.testing.assert_array_equal(o.observed, ~np.pad(np.ones((100, 100, 21), bool), ((100, 0), (100, 0), (100, 0))))


def test_older_poses_have_w_first(older):
    record = Session.open(older).pose(2)
    w, x, y, z = np.array(NOSE) / np.linalg.norm(NOSE)
    np.testing.assert_allclose(record.pose.orientation, [x, y, z, w])
    np.testing.assert_array_equal(record.pose.position, [2, 2, 3])
    np.testing.assert_array_equal(record.linear_velocity, [2, 0, 0])
    assert record.stamp_ns == 1_000_000_000 and record.ground_z is None


def test_missing_modalities_are_none(older):
    session = Session.open(older)
    assert session.lidar(1).shape == (5, 4) and session.lidar(1).dtype == np.float32
    assert session.lidar(2) is None and session.imu(1) is None and session.actors(1) == []
    assert session.mission == {} and session.provenance == {} and session.cameras == []


def test_validation_says_that_nothing_is_verified(older):
    report = validate(older)
    assert any("cannot be verified" in w for w in report.warnings)
    assert report.ok, report.errors
    assert session_info(older)["schema_version"] == 0
    assert list_sessions(older.parent) == [older]


def test_separate_semantics_and_unpacked_observed(older):
    occupancy = np.zeros(DEFAULT_GRID.shape, np.int64)
    occupancy[1, 2, 3] = 1
    semantics = np.where(occupancy, 15, 0)
    observed = np.zeros(DEFAULT_GRID.shape, bool)
    observed[:50] = True
    np.savez_compressed(
        older / "occupancy/000001_occupancy.npz", occupancy=occupancy, semantics=semantics, observed=observed
    )
    o = Session.open(older).occupancy(1)
    assert o.semantics[1, 2, 3] == 15 and (o.semantics == FREE).sum() == DEFAULT_GRID.size - 1
    np.testing.assert_array_equal(o.observed, observed)


def test_another_shape_or_a_missing_pose_is_an_error(older):
    np.savez(older / "occupancy/000001_occupancy.npz", occupancy=np.zeros((200, 200, 16), np.uint8))
    (older / "poses/000002.json").unlink()
    session = Session.open(older)
    with pytest.raises(SessionError, match=r"shape \(200, 200, 16\)"):
        session.occupancy(1)
    with pytest.raises(SessionError, match="missing"):
        session.pose(2)
    assert len(validate(older).errors) >= 2


def test_class_values_in_a_session_of_this_format(good_session, synthetic):
    """Unverified reading of voxels that another tool wrote into a session: the values still tell."""
    values = np.zeros(synthetic.GRID.shape, np.uint8)
    values[3, 4, 5], values[6, 7, 8] = 15, 255
    np.savez_compressed(
        good_session / "occupancy/000000_occupancy.npz",
        occupancy=values,
        semantics=np.where(values == 15, 15, FREE).astype(np.uint8),
        observed=np.packbits(np.ones(values.size, bool)),
    )
    session = Session.open(good_session)
    with pytest.raises(SessionError, match="damaged"):
        session.occupancy(0)
    o = session.occupancy(0, verify=False)
    assert o.occupancy.sum() == 1 and o.occupancy[3, 4, 5] == 1 and not o.observed[6, 7, 8]
