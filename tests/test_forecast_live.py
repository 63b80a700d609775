"""Depth and odometry in, future voxels and a path out: by hand without ROS, and as a node beside the engine's."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import CAR, FREE, TERRAIN
from aerialworld_core.world import load_rig

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "training/test"), str(ROOT / "src/aerialworld_recorder/test"), str(Path(__file__).parent)]
torch = pytest.importorskip("torch")
from recorder_stream_messages import GRID, HEIGHT, MS, SPEED, VEHICLE, flight, small_rig  # noqa: E402
from training_checkpoints import run_config, write_run  # noqa: E402

from aerialworld.forecasting import POINT, LiveHistory, forecast, forecast_points  # noqa: E402
from aerialworld_training.forecaster import Forecaster, FutureFrames  # noqa: E402

WANTED = ("odom", "depth", "semantic")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def forecaster(tmp_path_factory: pytest.TempPathFactory) -> Forecaster:
    path = tmp_path_factory.mktemp("live") / "best.pth"
    write_run(path, run_config(GRID))
    return Forecaster(path)


def messages(until: int, begin: int = 0) -> list:  # type: ignore[type-arg]
    return [m for m in flight(until, begin) if m.topic.split("/")[2] in WANTED]


def test_a_flight_over_a_plane(forecaster: Forecaster) -> None:
    """The vehicle goes straight on over a plane at z 0, 5 m above it. Untrained, and going on as before, the model sees
    the plane where it was seen, along the true way."""
    live = LiveHistory(forecaster, VEHICLE, small_rig(), 0.0)
    assert {c.kind for c in live.channels} == set(WANTED)
    histories = [h for m in messages(1700 * MS) if (h := live.put(m))]
    assert [[f.stamp_ns // MS for f in h] for h in histories] == [
        [0, 500], [0, 500, 1000], [500, 1000, 1500]
    ]  # fmt: skip
    assert live.intake.frames == 4 and not live.intake.dropped and not live.unheard
    future = forecast(forecaster, histories[-1], live.datum, motion="constant_velocity")
    along = SPEED * np.array([2.0, 2.5, 3.0])
    truth = np.column_stack([along * np.cos(0.5), along * np.sin(0.5), np.full(3, HEIGHT)])
    assert np.allclose(future.position, truth, atol=1e-3)
    points = forecast_points(future)
    assert set(points["class"]) == {TERRAIN} and set(points["horizon"]) == {0.5, 1.0, 1.5}
    assert np.allclose(points["z"], -2 + 1.25 * 1.5)  # the plane z = 0 lies in the second level
    for k, horizon in enumerate((0.5, 1.0, 1.5)):
        there = points[points["horizon"] == horizon]
        away = np.hypot(there["x"] - truth[k, 0], there["y"] - truth[k, 1])
        assert len(there) > 900 and away.max() < 8 * np.sqrt(2)
        assert not (
            (there["x"] - truth[k, 0]) * np.cos(0.5) + (there["y"] - truth[k, 1]) * np.sin(0.5) > 8 - horizon * SPEED
        ).any()


def test_a_missing_face_begins_the_history_anew(forecaster: Forecaster) -> None:
    live = LiveHistory(forecaster, VEHICLE, small_rig(), 0.0)
    lost = [
        m
        for m in messages(4000 * MS)
        if not (m.topic.endswith("depth/down/image") and 900 * MS < m.stamp_ns < 1100 * MS)
    ]
    histories = [[f.stamp_ns // MS for f in h] for m in lost if (h := live.put(m))]
    assert histories[0] == [0, 500] and histories[1] == [1500, 2000]
    assert live.intake.dropped == 1 and "depth down" in live.intake.last_missing[0]
    for message in messages(700 * MS):  # the simulation begins anew
        history = live.put(message)
        if history:
            assert [f.stamp_ns // MS for f in history] == [0, 500]
    assert live.intake.restarts == 1


def test_points_by_hand() -> None:
    """One voxel at each of two horizons, in the grid of a vehicle that turns left; another is unlikely."""
    grid = VoxelGrid((-2, -2, 0), (1, 1, 1), (4, 4, 1))
    classes = np.full((2, 4, 4, 1), FREE, np.uint8)
    occupied = np.zeros(classes.shape, np.float16)
    classes[:, 3, 2, 0], occupied[:, 3, 2, 0] = CAR, 0.75  # 1.5 m ahead, 0.5 m to the left
    classes[1, 0, 0, 0], occupied[1, 0, 0, 0] = CAR, 0.25
    half = np.sqrt(0.5)
    future = FutureFrames(
        classes, occupied, np.array([[10.0, 20, 5], [10, 22, 5]]), np.array([[0, 0, 0, 1.0], [0, 0, half, half]]),
        np.array([0.5, 1.0]), grid, 3.0,
    )  # fmt: skip
    points = forecast_points(future, least=0.5)
    assert points.dtype == POINT and points.tolist() == [
        (11.5, 20.5, 3.5, CAR, 0.75, 0.5), (9.5, 23.5, 3.5, CAR, 0.75, 1.0)
    ]  # fmt: skip
    assert len(forecast_points(future)) == 3


@pytest.mark.long
@pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="rclpy is not installed")
def test_the_node_forecasts_beside_the_engine(tmp_path: Path) -> None:
    from diagnostic_msgs.msg import DiagnosticArray
    from nav_msgs.msg import Path as PathMessage
    from recorder_graph import engine, network
    from sensor_msgs.msg import PointCloud2

    grid = VoxelGrid((-16.0, -16.0, -2.0), (1.6, 1.6, 1.25), (20, 20, 30))
    write_run(tmp_path / "best.pth", run_config(grid))
    world, domain = network.write_world(tmp_path), network.random_domain()
    flags = [f"model:={tmp_path / 'best.pth'}", f"world:={world}", "rig:=rig_small", "motion:=constant_velocity"]
    command = [sys.executable, "-m", "aerialworld.nodes.forecast", "--ros-args", *(w for p in flags for w in ("-p", p))]
    log = tmp_path / "forecast.log"
    client = network.Client(domain)
    points = client.listen(PointCloud2, "/drone_1/forecast/points")
    paths = client.listen(PathMessage, "/drone_1/forecast/path")
    told = client.listen(DiagnosticArray, "/diagnostics")
    with log.open("w") as out:
        process = subprocess.Popen(command, env=network.environment(domain), stdout=out, stderr=out, text=True)
    node = network.Running(process, log)
    shared = [f"world:={world}", "vehicles:=[drone_1]", "rig:=rig_small", "drone_1.pose:=[3.0, 4.0, 20.0, 0.5]"]
    try:
        with engine(tmp_path, domain, *shared, "rate:=1.0") as running:
            client.until(lambda: len(points) >= 3 and len(paths) >= 3, "forecasts", node)
            client.until(lambda: any(s.message == "forecasting" for m in told for s in m.status), "an OK report", node)
            assert running.process.poll() is None
        client.until(lambda: any("stale" in s.message for m in told for s in m.status), "stale input", node)
        assert node.end(signal.SIGINT) == 0, node.log
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        client.close()
    cloud, path = points[-1], next(p for p in paths if p.header.stamp == points[-1].header.stamp)
    data = np.frombuffer(cloud.data, POINT)
    assert cloud.header.frame_id == "map" and [f.name for f in cloud.fields] == list(POINT.names or ())
    assert set(data["class"]) == {TERRAIN} and np.allclose(sorted(set(data["horizon"])), [0.5, 1.0, 1.5])
    assert np.abs(data["x"] - 3).max() < 23 and np.abs(data["z"]).max() < 1.3  # the ground below, hovering
    assert [p.pose.position.z for p in path.poses] == pytest.approx([20.0] * 3, abs=0.1)
    assert path.poses[0].header.stamp.nanosec != path.header.stamp.nanosec
    assert "forecasts;" in node.log
    assert load_rig("rig_small").depth


@pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="rclpy is not installed")
def test_the_node_names_a_device_that_is_not_there(tmp_path: Path) -> None:
    write_run(tmp_path / "best.pth", run_config(VoxelGrid((-16.0, -16.0, -2.0), (1.6, 1.6, 1.25), (20, 20, 30))))
    flags = [f"model:={tmp_path / 'best.pth'}", "datum:=0.0", "device:=cuda:99"]
    command = [sys.executable, "-m", "aerialworld.nodes.forecast", "--ros-args", *(w for p in flags for w in ("-p", p))]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 2 and "forecast: device cuda:99: " in ended.stderr
