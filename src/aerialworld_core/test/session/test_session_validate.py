"""The validator passes a true session and catches every lie it was built for."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from aerialworld_core.frames import Pose
from aerialworld_core.labels import FREE, TERRAIN
from aerialworld_core.occupancy import Occupancy
from aerialworld_core.session import Session, SessionWriter, session_info, validate


def lie(recorded, change):
    """The recording with `change(index, frame, occupancy, images)` applied to each frame."""
    return [change(i, *entry) for i, entry in enumerate(recorded)]


def restated(frame, **changes):
    return replace(frame, state=replace(frame.state, **changes))


def test_true_session_has_no_error_and_right_figures(tmp_path, synthetic, recorded):
    path = synthetic.write(tmp_path, recorded)
    report = validate(path)
    assert report.ok, report.errors
    assert not report.warnings
    f = report.figures
    assert f["frames"] == 16 and f["frames_missing"] == 0
    assert f["seconds"] == pytest.approx(7.5)
    chord = 2 * 16 * np.sin(4 * 0.5 / 16 / 2)
    assert f["distance_m"] == pytest.approx(15 * chord, rel=1e-9)
    assert f["velocity_scale"] == pytest.approx(1.0, abs=2e-3)
    assert f["imu_force_residual"] < 0.05 and f["imu_rate_residual"] < 1e-3
    assert f["imu_specific_force_mean"] == pytest.approx(np.hypot(9.8, 1.0), abs=1e-3)
    assert f["lidar_agreement"] > 0.99 and f["lidar_agreement_above_ground"] > 0.99
    occupied = np.mean([np.count_nonzero(o.occupancy) / o.occupancy.size for _, o, _ in recorded])
    assert f["occupied_fraction"] == pytest.approx(occupied, rel=1e-12)
    assert f["baseline_constant"] < f["baseline_ego_warp_1s"] > f["baseline_copy_1s"]
    json.dumps(report.to_dict(), allow_nan=False)


@pytest.mark.parametrize(("seconds", "compared"), [(1, True), (10, False)])
def test_motion_is_compared_where_frames_are_near_each_other(tmp_path, synthetic, seconds, compared):
    """On a circle of 25 s, ten seconds apart: what both ends say of velocity is no lie, and tells nothing. A lie of
    half the speed shows within a second; where it cannot show, that is told."""
    city, period = synthetic.City(), seconds * 10**9
    true = [
        (f := synthetic.sensor_frame(city, i, period), city.occupancy(f.state.pose), synthetic.images(i))
        for i in range(4)
    ]
    slow = lie(true, lambda i, f, o, e: (restated(f, linear_velocity=f.state.linear_velocity / 2), o, e))
    for k, entries in enumerate((true, slow)):
        with SessionWriter(tmp_path / str(k), synthetic.meta(frame_period_ns=period), {}, {}, sync=False) as writer:
            for i, entry in enumerate(entries):
                writer.write_frame(i, *entry)
        report = validate(writer.path)
        told = [w for w in report.warnings if "were not compared with the motion over 3 of 3 intervals" in w]
        assert len(told) == (not compared)
        assert report.ok == (entries is true or not compared), report.errors
        if not compared:
            assert "frames 0 and 1 are 10 s apart" in told[0] and report.figures["distance_m"] > 20


def test_info_tells_the_same_story(tmp_path, synthetic, recorded):
    path = synthetic.write(tmp_path, recorded[:5])
    info = session_info(path)
    assert info["frames"] == 5 and info["closed"] and info["seconds"] == pytest.approx(2.0)
    assert info["distance_m"] == pytest.approx(4 * 2 * 16 * np.sin(4 * 0.5 / 16 / 2))
    assert info["bytes"] == sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    json.dumps(info, allow_nan=False)


@pytest.mark.parametrize(
    ("factor", "caught"), [(1.0, False), (1.01, False), (1.06, True), (0.9, True), (0.0, True), (-1.0, True)]
)
def test_velocity_that_is_not_dx_dt_is_an_error(tmp_path, synthetic, recorded, factor, caught):
    scaled = lie(recorded, lambda i, f, o, e: (restated(f, linear_velocity=f.state.linear_velocity * factor), o, e))
    report = validate(synthetic.write(tmp_path, scaled))
    found = [e for e in report.errors if "velocit" in e]
    assert bool(found) == caught


def test_stated_5_mps_but_29_m_per_frame_is_an_error(tmp_path, synthetic, recorded):
    def change(i, f, o, e):
        pose = Pose(np.array([29.0 * i, 0, 8]), f.state.pose.orientation)
        return restated(f, pose=pose, linear_velocity=np.array([5.0, 0, 0])), o, e

    report = validate(synthetic.write(tmp_path, lie(recorded[:4], change)))
    assert any("moved 29.00 m in 0.5 s" in e and "2.50 m" in e for e in report.errors)


def test_velocity_in_the_body_frame_is_an_error(tmp_path, synthetic, recorded):
    def change(i, f, o, e):
        return restated(f, linear_velocity=f.state.pose.rotation.T @ f.state.linear_velocity), o, e

    assert any("velocit" in e for e in validate(synthetic.write(tmp_path, lie(recorded[:6], change))).errors)


def test_one_wrong_velocity_is_found_and_named(tmp_path, synthetic, recorded):
    def change(i, f, o, e):
        v = f.state.linear_velocity * (1.0 if i != 5 else 0.2)
        return restated(f, linear_velocity=v), o, e

    report = validate(synthetic.write(tmp_path, lie(recorded, change)))
    for pair in ("frames 4 and 5", "frames 5 and 6"):
        assert any(f"{pair}: moved" in e for e in report.errors)
        assert any(f"{pair}: the IMU's" in e for e in report.errors)
    assert not any("frames 3 and 4" in e or "frames 6 and 7" in e for e in report.errors)


def test_a_turn_between_two_frames_is_believed_to_the_gyro_alone(tmp_path, synthetic, recorded, monkeypatch):
    """It turns by 17° more from frame to frame, at rates that are back where they were at each of them."""
    smooth, period, by = synthetic.state, 0.5, 0.3

    def wobbling(t):
        state = smooth(t)
        turned = by * (t / period - np.sin(2 * np.pi * t / period) / (2 * np.pi))
        rate = by / period * (1 - np.cos(2 * np.pi * t / period))
        pose = state.pose @ Pose.from_rpy(0, 0, 0, 0, 0, turned)
        spin = Pose.from_rpy(0, 0, 0, 0, 0, turned).rotation.T @ state.angular_velocity + np.array([0, 0, rate])
        return replace(state, pose=pose, angular_velocity=spin)

    monkeypatch.setattr(synthetic, "state", wobbling)
    true = synthetic.frames(6)
    report = validate(synthetic.write(tmp_path / "true", true))
    assert not any("turned" in e for e in report.errors), report.errors
    still = [(replace(f, imu=old.imu), o, e) for (f, o, e), (old, _, _) in zip(true, recorded, strict=False)]
    report = validate(synthetic.write(tmp_path / "still", still))
    assert any("turned" in e for e in report.errors)


def test_wrong_angular_velocity_is_an_error(tmp_path, synthetic, recorded):
    flipped = lie(recorded, lambda i, f, o, e: (restated(f, angular_velocity=-f.state.angular_velocity), o, e))
    report = validate(synthetic.write(tmp_path, flipped))
    assert any("turned" in e for e in report.errors)
    assert any("mean rate" in e for e in report.errors)


@pytest.mark.parametrize("bad", ["no gravity", "wrong mount", "too few"])
def test_bad_imu_is_an_error(tmp_path, synthetic, recorded, bad):
    def change(i, f, o, e):
        imu = f.imu.copy()
        if bad == "no gravity":
            imu[:, 4:] -= synthetic.UP_FORCE
        elif bad == "wrong mount":
            imu[:, [4, 6]] = imu[:, [6, 4]]
        else:
            imu = imu[: len(imu) // 2]
        return replace(f, imu=imu), o, e

    assert any("IMU" in e for e in validate(synthetic.write(tmp_path, lie(recorded[:5], change))).errors)


def test_stamps_that_are_not_equidistant_are_an_error(tmp_path, synthetic, recorded):
    def change(i, f, o, e):
        return restated(f, stamp_ns=f.state.stamp_ns + (20_000_000 if i == 3 else 0)), o, e

    report = validate(synthetic.write(tmp_path, lie(recorded[:6], change)))
    assert any("frames 2 and 3 are 520000000 ns apart" in e for e in report.errors)


def test_stamps_within_one_per_cent_pass(tmp_path, synthetic, recorded):
    def change(i, f, o, e):
        return restated(f, stamp_ns=f.state.stamp_ns + (2_000_000 if i == 3 else 0)), o, e

    assert validate(synthetic.write(tmp_path, lie(recorded[:6], change))).ok


def slab(grid):
    occupancy = np.zeros(grid.shape, np.uint8)
    occupancy[:, :, 2] = 1
    semantics = np.where(occupancy, np.uint8(TERRAIN), np.uint8(FREE))
    return Occupancy(occupancy, semantics, np.ones(grid.shape, bool))


def test_one_constant_slab_is_caught(tmp_path, synthetic, recorded):
    def change(i, f, o, e):
        return f, slab(synthetic.GRID), e

    report = validate(synthetic.write(tmp_path, lie(recorded[:6], change)))
    assert any("one full level of voxels predicts every frame with IoU 1.0000" in e for e in report.errors)
    assert any("occupancy stays the same" in e for e in report.errors)
    assert any("LiDAR and occupancy show different worlds" in e for e in report.errors)
    assert report.figures["baselines"]["constant"]["slab_level"] == 2


def test_flickering_slab_is_caught_too(tmp_path, synthetic, recorded):
    def change(i, f, o, e):
        s = slab(synthetic.GRID)
        s.observed[i, i] = False
        s.occupancy[i, i] = 0
        s.semantics[i, i] = FREE
        return f, s, e

    assert any(
        "predicts every frame" in e for e in validate(synthetic.write(tmp_path, lie(recorded[:6], change))).errors
    )


def test_empty_voxels_are_caught(tmp_path, synthetic, recorded):
    empty = lie(recorded[:4], lambda i, f, o, e: (f, Occupancy.empty(synthetic.GRID), e))
    report = validate(synthetic.write(tmp_path, empty))
    assert "no frame has an occupied voxel" in report.errors
    assert any("observed nothing" in e for e in report.errors)


@pytest.mark.parametrize("mistake", ["yaw sign", "lidar in base_link", "datum twice"])
def test_lidar_betrays_wrong_voxel_frames(tmp_path, synthetic, recorded, mistake):
    city = synthetic.City()

    def change(i, f, o, e):
        pose, rig_lidar = f.state.pose, synthetic.RIG.lidar
        if mistake == "yaw sign":
            wrong = Pose.from_rpy(*pose.position, 0, 0, -pose.yaw)
            return f, city.occupancy(wrong), e
        if mistake == "datum twice":
            return f, city.occupancy(pose, datum=synthetic.DATUM * 4), e
        moved = f.lidar.copy()
        moved[:, :3] = moved[:, :3] @ rig_lidar.pose.rotation.T @ pose.rotation.T
        return replace(f, lidar=moved), o, e

    report = validate(synthetic.write(tmp_path, lie(recorded[:6], change)))
    assert any("LiDAR" in e for e in report.errors), report.figures


def in_fog(synthetic, recorded, share):
    """The recording with echoes of fog in the place of some returns, 2 to 6 m away."""
    rng = np.random.default_rng(4)

    def change(i, f, o, e):
        points = f.lidar.copy()
        echo = rng.random(len(points)) < share
        length = np.linalg.norm(points[:, :3], axis=1)
        points[echo, :3] *= (np.minimum(rng.uniform(2, 6, echo.sum()), 0.7 * length[echo]) / length[echo])[:, None]
        return replace(f, lidar=points), o, e

    return lie(recorded, change)


@pytest.fixture
def near_echoes(monkeypatch):
    """The synthetic city is small: most of it is nearer than the 15 m within which real fog echoes."""
    monkeypatch.setattr("aerialworld_core.session.check_voxels.ECHOES", 7.0)


def test_echoes_of_fog_are_no_error_where_there_was_fog(tmp_path, synthetic, recorded, near_echoes):
    made = in_fog(synthetic, recorded[:6], 0.6)
    fog = {"weather": "fog", "visibility_m": 80.0, "cloud_cover": 0.0}
    report = validate(synthetic.write(tmp_path / "fog", made, conditions=fog))
    assert report.ok and report.figures["lidar_agreement"] > 0.97, report.errors
    assert 200 < report.figures["lidar_points_compared"]
    report = validate(synthetic.write(tmp_path / "clear", made))
    assert any("different worlds" in e for e in report.errors)


@pytest.mark.parametrize("weather", [{"visibility_m": 80.0}, {"rain_mm_h": 20.0}])
def test_in_weather_too_lidar_betrays_wrong_frames(tmp_path, synthetic, recorded, weather, near_echoes):
    city = synthetic.City()

    def change(i, f, o, e):
        return f, city.occupancy(Pose.from_rpy(*f.state.pose.position, 0, 0, -f.state.pose.yaw)), e

    report = validate(synthetic.write(tmp_path, lie(in_fog(synthetic, recorded[:6], 0.2), change), conditions=weather))
    assert any("LiDAR" in e for e in report.errors), report.figures


def test_pictures_of_nothing_but_fog_are_a_warning(tmp_path, synthetic, recorded):
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (64, 36), (180, 180, 182)).save(buffer, "JPEG")
    grey = lie(recorded[:4], lambda i, f, o, e: (f, o, dict.fromkeys(e, buffer.getvalue())))
    report = validate(synthetic.write(tmp_path / "fog", grey, conditions={"weather": "fog", "visibility_m": 10.0}))
    assert report.ok and any("every image is of one colour (it was recorded in" in w for w in report.warnings)
    assert any("never changes though the vehicle moves (it was" in w for w in report.warnings)
    assert not validate(synthetic.write(tmp_path / "clear", grey)).ok


def test_missing_black_and_stuck_cameras_are_caught(tmp_path, synthetic, recorded):
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (64, 36)).save(buffer, "JPEG")
    black = buffer.getvalue()
    missing = lie(recorded[:4], lambda i, f, o, e: (f, o, {"CAM_FRONT": e["CAM_FRONT"]}))
    report = validate(synthetic.write(tmp_path / "a", missing))
    assert "CAM_BACK: images are missing in 4 of 4 frames" in report.errors
    dark = lie(recorded[:4], lambda i, f, o, e: (f, o, {**e, "CAM_BACK": black}))
    report = validate(synthetic.write(tmp_path / "b", dark))
    assert "CAM_BACK: every image is of one colour" in report.errors
    stuck = lie(recorded[:4], lambda i, f, o, e: (f, o, {**e, "CAM_FRONT": recorded[0][2]["CAM_FRONT"]}))
    report = validate(synthetic.write(tmp_path / "c", stuck))
    assert "CAM_FRONT: the image never changes though the vehicle moves" in report.errors
    cut = lie(recorded[:4], lambda i, f, o, e: (f, o, {**e, "CAM_FRONT": e["CAM_FRONT"][:-400]}))
    report = validate(synthetic.write(tmp_path / "d", cut))
    assert any("no readable JPEG" in e for e in report.errors)
    bare = lie(recorded[:4], lambda i, f, o, e: (f, o, {}))
    report = validate(synthetic.write(tmp_path / "e", bare))
    assert report.ok and any("no camera images were recorded" in w for w in report.warnings)


def test_image_of_another_size_is_caught(tmp_path, synthetic, recorded):
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (20, 30, 3), np.uint8)).save(buffer, "JPEG")
    small = lie(recorded[:3], lambda i, f, o, e: (f, o, {**e, "CAM_FRONT": buffer.getvalue()}))
    report = validate(synthetic.write(tmp_path, small))
    assert any("is (30, 20), the rig's camera (64, 36)" in e for e in report.errors)


def test_pose_under_the_terrain_is_an_error(tmp_path, synthetic, recorded):
    under = lie(recorded[:3], lambda i, f, o, e: (replace(f, ground_z=20.0), o, e))
    assert any("below the terrain" in e for e in validate(synthetic.write(tmp_path, under)).errors)


def test_dropped_tick_is_a_warning_and_a_lost_frame_an_error(good_session, tmp_path, synthetic, recorded):
    with SessionWriter(tmp_path / "gap", synthetic.meta(), {}, {}, sync=False) as writer:
        for i in (0, 1, 2, 4, 5):
            writer.write_frame(i, *recorded[i])
    report = validate(writer.path)
    assert report.ok and "1 ticks were dropped: 3" in report.warnings
    assert Session.open(writer.path).meta.frames == 5
    (good_session / "occupancy" / "000003_occupancy.npz").unlink()
    report = validate(good_session)
    assert "8 frames were written, 7 are there" in report.errors


def test_world_checks_use_the_world(good_session, synthetic, recorded):
    city = synthetic.City()
    world = SimpleNamespace(sha256="ab" * 32, inside_solid=city.inside)
    report = validate(good_session, world)
    assert report.ok and report.figures["poses_inside_solids"] == 0
    big = synthetic.City([(16, 0, 4, 30)])
    report = validate(good_session, SimpleNamespace(sha256="ab" * 32, inside_solid=big.inside))
    positions = np.array([f.state.pose.position for f, _, _ in recorded[:8]])
    assert report.figures["poses_inside_solids"] == big.inside(positions).sum() > 0
    assert any("lie inside a solid, the first at frame 0" in e for e in report.errors)
    other = validate(good_session, SimpleNamespace(sha256="cd" * 32, inside_solid=city.inside))
    assert any("not in the one given" in e for e in other.errors)


def test_what_is_no_session_gives_one_error(tmp_path):
    for path in (tmp_path / "missing", tmp_path):
        report = validate(path)
        assert not report.ok and len(report.errors) == 1 and str(path) in report.errors[0]
