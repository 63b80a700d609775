"""The environment: episodes by seed, setpoints, observations, ends; the same as a gymnasium.Env where there is one."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose
from aerialworld_core.rig import ImuSpec, Rig
from aerialworld_sim.environment import STATE_NUMBERS, Craft, FlightEnvironment, as_gymnasium
from aerialworld_sim.vehicles.interface import Brake, TakeOff
from aerialworld_sim.vehicles.multirotor import Multirotor
from aerialworld_sim.vehicles.parameters import Wind
from aerialworld_sim.vehicles.rover import Rover
from aerialworld_sim.vehicles.surroundings import Surroundings

sys.path.insert(0, str(Path(__file__).parent))
from flight_runs import real

IMU = ImuSpec("imu", Pose.identity(), 100.0)


@pytest.fixture
def environment(world, camera, cube):
    world.ground_plane()
    world.box([20.0, 0, 10.0], [4.0, 40.0, 20.0])
    walled = real(world)
    rig = Rig("test", (camera(width=32, height=18),), tuple(cube(8)), None, IMU)

    def drone(seed: int) -> Multirotor:
        pose = Pose.from_rpy(0, 0, 8, 0, 0, np.pi / 2)
        return Multirotor(pose, on_ground=False, wind=Wind(gust=0.5), seed=seed, surroundings=Surroundings(walled))

    def make(**options):
        return FlightEnvironment(
            walled, {"drone_1": Craft(drone, rig)}, modalities=("images", "depth", "imu"), **options
        )

    return make


def test_an_episode_follows_from_its_seed(environment):
    flights = []
    for seed in (4, 4, 5):
        env = environment()
        observation, info = env.reset(seed=seed)
        assert info["stamp_ns"] == 0 and observation["drone_1"]["state"].shape == (STATE_NUMBERS,)
        for _ in range(10):
            observation, reward, terminated, truncated, info = env.step(np.array([2.0, 0.0, 0.5, 0.0]))
            assert reward == 0.0 and not terminated and not truncated
        flights.append(observation["drone_1"])
    for key in flights[0]:
        assert np.array_equal(flights[0][key], flights[1][key])
    assert not np.array_equal(flights[0]["state"], flights[2]["state"])
    assert set(flights[0]) == {"state", "image_cam_front"} | {
        f"{kind}_{face}" for kind in ("depth", "class") for face in ("front", "left", "back", "right", "up", "down")
    }
    assert flights[0]["image_cam_front"].shape == (18, 32, 3) and flights[0]["depth_front"].dtype == np.float32


def test_setpoints_are_in_the_heading_of_the_vehicle(environment):
    """It faces north: forward is +y, left is −x; turning and goals work as well; IMU samples are in the frames."""
    env = environment(step_ns=500_000_000)
    env.reset(seed=0)
    for _ in range(10):
        observation, *_, info = env.step(np.array([3.0, 1.0, 0.0, 0.0]))
    velocity = observation["drone_1"]["state"][7:10]
    assert velocity == pytest.approx([-1.0, 3.0, 0.0], abs=0.5)
    assert len(env.frames["drone_1"].imu) == 50 and info["contact"] == {"drone_1": "AIR"}
    for _ in range(10):
        observation, *_ = env.step({"drone_1": Brake()})
    assert np.abs(observation["drone_1"]["state"][7:10]).max() < 0.6


def test_a_crash_terminates_and_time_truncates(environment):
    env = environment(duration=3.0, reward=lambda frames: -float(frames["drone_1"].state.pose.position[0]))
    env.reset(seed=1)
    results = [env.step(np.array([0.0, 0.0, 0.0, 0.0])) for _ in range(30)]
    assert [r[3] for r in results] == [False] * 29 + [True] and not any(r[2] for r in results)
    env = environment(reward=lambda frames: float(frames["drone_1"].state.pose.position[0]))
    env.reset(seed=1)
    for _ in range(120):
        _, reward, terminated, _, info = env.step(np.array([0.0, -8.0, 0.0, 0.0]))
        if terminated:
            break
    assert terminated and info["incident"]["drone_1"].startswith("hit a building") and 15 < reward < 18
    again, _ = env.reset()
    assert again["drone_1"]["state"][0] == 0.0 and env.vehicles["drone_1"].incident == ""


def test_several_vehicles_are_told_by_name(world):
    world.ground_plane()
    rig = Rig("bare", (), (), None, None)
    env = FlightEnvironment(
        world,
        {"drone_1": Craft(lambda seed: Multirotor(), rig), "rover_1": Craft(lambda seed: Rover(), rig)},
        modalities=(),
    )
    env.reset(seed=0)
    for _ in range(80):
        observation, *_ = env.step({"drone_1": TakeOff(4.0), "rover_1": np.array([2.0, 0, 0, 0])})
    assert observation["drone_1"]["state"][2] > 3.0 and observation["rover_1"]["state"][7] == pytest.approx(2, abs=0.2)
    with pytest.raises(InputError, match="for each of"):
        env.step(np.zeros(4))
    with pytest.raises(InputError, match="no vehicle"):
        env.step({"plane_1": np.zeros(4)})
    env.close()
    with pytest.raises(InputError, match="call reset"):
        env.step({})


def test_what_is_no_setpoint_or_setting_is_refused(environment):
    env = environment()
    env.reset(seed=0)
    for wrong in (np.zeros(3), np.array([0, 0, np.nan, 0])):
        with pytest.raises(InputError, match="setpoint"):
            env.step(wrong)
    with pytest.raises(InputError, match="options"):
        env.reset(options={"a": 1})
    with pytest.raises(InputError, match="modalities"):
        FlightEnvironment(None, {"a": None}, modalities=("smell",))
    with pytest.raises(InputError, match="needs a vehicle"):
        FlightEnvironment(None, {})


@pytest.mark.skipif(importlib.util.find_spec("gymnasium") is None, reason="gymnasium is not installed")
def test_it_is_a_gymnasium_environment(environment):
    from gymnasium.utils.env_checker import check_env

    env = as_gymnasium(environment(duration=2.0))
    check_env(env, skip_render_check=True)
    observation, _ = env.reset(seed=3)
    assert env.observation_space.contains(observation)
    assert env.observation_space.contains(env.step(env.action_space.sample())[0])


@pytest.mark.skipif(importlib.util.find_spec("gymnasium") is not None, reason="gymnasium is installed")
def test_without_gymnasium_it_is_said_how_to_get_it(environment):
    with pytest.raises(InputError, match="pip install gymnasium"):
        as_gymnasium(environment())
