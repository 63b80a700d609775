"""Engine and vehicles as an environment of reinforcement learning: `reset`, `step(setpoint)`, `observe`.

The signatures are those of gymnasium's `Env` (five values from `step`, observation and info from `reset`), without
needing it; `as_gymnasium` makes a real `gymnasium.Env` where it is installed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import InputError
from aerialworld_core.rig import Rig
from aerialworld_core.sensing import SensorFrame, VehicleState
from aerialworld_core.world.scene import Scene
from aerialworld_sim.engine import DEPTH, IMAGES, IMU, LIDAR, Engine, World
from aerialworld_sim.motion import Actor, Vehicle
from aerialworld_sim.vehicles.flown_motion import FlownMotion
from aerialworld_sim.vehicles.interface import Contact, Goal, SimulatedVehicle, Velocity

Observation = dict[str, dict[str, NDArray[Any]]]
Reward = Callable[[Mapping[str, SensorFrame]], float]

#: Numbers of `state` in an observation: `VehicleState.pose_13d` and the linear acceleration.
STATE_NUMBERS = 16
#: Bounds of setpoints: forward, left, up in m/s, turn rate in rad/s.
FASTEST = np.array([15.0, 15.0, 5.0, 2.0])


@dataclass(frozen=True, eq=False)
class Craft:
    """One vehicle of the environment: `make` builds it anew for a seed, `rig` is what it carries, `body` what others
    see of it."""

    make: Callable[[int], SimulatedVehicle]
    rig: Rig
    body: Scene | None = None


@dataclass(eq=False)
class FlightEnvironment:
    """Vehicles that fly or drive in a world by setpoints.

    crafts      name → Craft
    step_ns     simulation time of one `step`
    duration    seconds after which an episode is truncated
    modalities  what `observe` brings beside the state: "images", "depth" (with classes); "lidar" and "imu" have no
                fixed size and are in `frames` only
    reward      of the frames after a step; 0 without one
    options     more for `Engine` (`light`, `backend`, `threads`, …)

    A setpoint is a `Goal`, or numbers (4,): velocity forward, left, up (m/s; turned by the heading alone) and turn rate
    (rad/s, left positive). `step` takes a mapping by name, or, with one vehicle, its setpoint. An episode terminates
    when a vehicle crashed or was stopped by something.
    """

    world: World
    crafts: Mapping[str, Craft]
    step_ns: int = 100_000_000
    duration: float = 60.0
    modalities: Collection[str] = (IMAGES,)
    reward: Reward | None = None
    actors: Sequence[Actor] = ()
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = set(self.modalities) - {IMAGES, DEPTH, LIDAR, IMU}
        if unknown:
            raise InputError(f"unknown modalities {sorted(unknown)}; there are images, depth, lidar, imu")
        if not self.crafts:
            raise InputError("an environment needs a vehicle")
        if self.step_ns <= 0 or not self.duration > 0:
            raise InputError(f"steps of {self.step_ns} ns and episodes of {self.duration} s do not advance")
        self.engine: Engine | None = None
        self.vehicles: dict[str, SimulatedVehicle] = {}
        self._motions: dict[str, FlownMotion] = {}
        self._frames: dict[str, SensorFrame] = {}
        self._seed = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict]:
        """A new episode. Without a seed the last one counts on, so that episodes differ; the same seed gives the same
        episode. `options` are not used: there are none."""
        if options:
            raise InputError(f"reset takes no options, not {sorted(options)}")
        seed = self._seed + 1 if seed is None else int(seed)
        self.vehicles = {name: craft.make(seed) for name, craft in self.crafts.items()}
        keep = 2e-9 * self.step_ns + 1.0
        self._motions = {name: FlownMotion(vehicle, keep=keep) for name, vehicle in self.vehicles.items()}
        self.engine = Engine(
            self.world,
            {n: Vehicle(craft.rig, self._motions[n], craft.body) for n, craft in self.crafts.items()},
            seed=seed,
            actors=self.actors,
            **self.options,
        )
        self._seed = seed
        self._sense()
        return self.observe(), self._info()

    def step(self, setpoint: Any) -> tuple[Observation, float, bool, bool, dict]:
        """Fly on for `step_ns` towards a setpoint: observation, reward, terminated, truncated, info."""
        engine = self._running()
        if not isinstance(setpoint, Mapping):
            if len(self.crafts) != 1:
                raise InputError(f"give a setpoint for each of {sorted(self.crafts)}, as a mapping")
            setpoint = {next(iter(self.crafts)): setpoint}
        unknown = set(setpoint) - set(self.crafts)
        if unknown:
            raise InputError(f"there is no vehicle {sorted(unknown)}; there are {sorted(self.crafts)}")
        for name, wanted in setpoint.items():
            self.vehicles[name].command(self._goal(name, wanted))
        engine.step(self.step_ns)
        self._sense()
        terminated = any(v.contact is Contact.CRASHED or v.incident for v in self.vehicles.values())
        truncated = engine.stamp_ns * 1e-9 >= self.duration - 1e-9
        reward = self.reward(self._frames) if self.reward is not None else 0.0
        return self.observe(), float(reward), bool(terminated), bool(truncated), self._info()

    def observe(self) -> Observation:
        """What was sensed last: per vehicle `state` (16,) float64, and by name the pictures (H, W, 3) uint8, depth
        (H, W) float32 (inf where there is none) and classes (H, W) uint8 that `modalities` ask for."""
        self._running()
        return {name: self._observation(frame) for name, frame in self._frames.items()}

    @property
    def frames(self) -> dict[str, SensorFrame]:
        """Everything that was sensed last, by vehicle."""
        return dict(self._frames)

    def close(self) -> None:
        """Let go of engine and vehicles."""
        self.engine = None
        self.vehicles, self._motions, self._frames = {}, {}, {}

    def _running(self) -> Engine:
        if self.engine is None:
            raise InputError("call reset before step and observe")
        return self.engine

    def _goal(self, name: str, wanted: Any) -> Goal:
        if isinstance(wanted, Goal):
            return wanted
        numbers = np.asarray(wanted, np.float64)
        if numbers.shape != (4,) or not np.isfinite(numbers).all():
            raise InputError(
                f"{name}: a setpoint is a goal or 4 finite numbers (forward, left, up, turn), not {wanted!r}"
            )
        yaw = self.vehicles[name].state.pose.yaw
        c, s = math.cos(yaw), math.sin(yaw)
        forward, left, up, turn = numbers
        return Velocity(np.array([c * forward - s * left, s * forward + c * left, up]), yaw_rate=float(turn))

    def _sense(self) -> None:
        engine = self._running()
        self._frames = {name: engine.render(name, modalities=self.modalities) for name in self.crafts}

    def _observation(self, frame: SensorFrame) -> dict[str, NDArray[Any]]:
        out: dict[str, NDArray[Any]] = {"state": _numbers(frame.state)}
        out |= {f"image_{name}": picture for name, picture in frame.images.items()}
        out |= {f"depth_{name}": depth for name, depth in frame.depth.items()}
        out |= {f"class_{name}": semantic for name, semantic in frame.semantic.items()}
        return out

    def _info(self) -> dict[str, Any]:
        return {
            "stamp_ns": self._running().stamp_ns,
            "contact": {name: v.contact.name for name, v in self.vehicles.items()},
            "incident": {name: v.incident for name, v in self.vehicles.items()},
        }


def _numbers(state: VehicleState) -> NDArray[np.float64]:
    return np.concatenate([state.pose_13d(), state.linear_acceleration])


def as_gymnasium(environment: FlightEnvironment) -> Any:
    """The environment as a `gymnasium.Env` with its spaces; setpoints are then numbers (4,), or a mapping of them.

    Raises InputError where gymnasium is not installed (`pip install gymnasium`).
    """
    try:
        gymnasium: Any = import_module("gymnasium")
    except ModuleNotFoundError as error:
        raise InputError("gymnasium is not installed: pip install gymnasium") from error

    spaces = gymnasium.spaces

    def box(name: str, spec: Any) -> Any:
        if name.startswith("image_"):
            return spaces.Box(0, 255, (spec.height, spec.width, 3), np.uint8)
        if name.startswith("class_"):
            return spaces.Box(0, 255, (spec.height, spec.width), np.uint8)
        return spaces.Box(-np.inf, np.inf, (spec.height, spec.width), np.float32)

    def observed(rig: Rig) -> Any:
        parts = {"state": spaces.Box(-np.inf, np.inf, (STATE_NUMBERS,), np.float64)}
        if IMAGES in environment.modalities:
            parts |= {f"image_{s.name}": box("image_", s) for s in rig.cameras}
        if DEPTH in environment.modalities:
            parts |= {f"{k}_{s.name}": box(f"{k}_", s) for s in rig.depth for k in ("depth", "class")}
        return spaces.Dict(parts)

    setpoint = spaces.Box(-FASTEST, FASTEST, dtype=np.float64)

    class Wrapped(gymnasium.Env):
        metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012  # as gymnasium declares it
        observation_space = spaces.Dict({n: observed(craft.rig) for n, craft in environment.crafts.items()})
        action_space = (
            setpoint if len(environment.crafts) == 1 else spaces.Dict(dict.fromkeys(environment.crafts, setpoint))
        )

        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
            super().reset(seed=seed)
            return environment.reset(seed=seed, options=options)

        def step(self, action: Any) -> Any:
            return environment.step(action)

        def close(self) -> None:
            environment.close()

    return Wrapped()
