"""Traffic in a world: its actors, and where each of them is at any time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Array, Pose
from aerialworld_core.roads.ground import World
from aerialworld_core.roads.shapes import WALKER
from aerialworld_core.sensing import VehicleState
from aerialworld_core.traffic import TrafficOptions
from aerialworld_core.world.scene import Scene
from aerialworld_sim.motion import Actor
from aerialworld_sim.traffic.agent import Agent
from aerialworld_sim.traffic.guests import ROVER, Guest, PilotedGuest
from aerialworld_sim.traffic.kinds import KINDS, PEDESTRIANS, Kind
from aerialworld_sim.traffic.meshes import body
from aerialworld_sim.traffic.network import Network
from aerialworld_sim.traffic.parking import Parking, Stand
from aerialworld_sim.traffic.simulation import DT, STEP_NS, Simulation
from aerialworld_sim.vehicles.surroundings import MovingBox

#: How often a place to begin is drawn for a mover before the roads count as full.
_TRIES = 400
#: Metres from a guest within which it is told of others.
REACH = 30.0


@dataclass(frozen=True, eq=False)
class Member:
    """Somebody in traffic. `parked` is where it stands, None for those that move."""

    name: str
    kind: Kind
    colour: tuple[int, int, int]
    parked: Stand | None = None


@dataclass(frozen=True, eq=False)
class Snapshot:
    """All members at one stamp.

    position          (N, 3) the body's origin (on the ground, under its middle), map
    orientation       (N, 4) x, y, z, w
    linear_velocity   (N, 3) of the origin, map, m/s
    angular_velocity  (N, 3) of the body, in its own frame, rad/s
    acceleration      (N, 3) map, m/s²
    """

    stamp_ns: int
    position: Array
    orientation: Array
    linear_velocity: Array
    angular_velocity: Array
    acceleration: Array


class Traffic:
    """Traffic in `world` as asked for by `options`; a pure function of both.

    `guests` are vehicles on the ground that traffic keeps clear of: it takes no room where they are or will be, and
    brakes, as hard as it can if need be. `actors` are for `aerialworld_sim.Engine`; `members` the same in order, the
    moving ones first. Raises InputError where there is no room for so many, saying how many there is room for.
    """

    def __init__(self, world: World, options: TrafficOptions, guests: Sequence[Guest] = ()) -> None:
        self.options = options
        self.network = Network.of(world)
        self._world, self._guests = world, tuple(guests)
        self._begin()
        bodies: dict[tuple[str, tuple[int, int, int]], Scene] = {}
        self.actors: list[Actor] = []
        for index, member in enumerate(self.members):
            look = member.kind.name, member.colour
            if look not in bodies:
                bodies[look] = body(member.kind, member.colour)
            self.actors.append(Actor(member.name, bodies[look], _Motion(self, index), member.kind.label))
        self._size = np.array([actor.body.bounds[1] - actor.body.bounds[0] for actor in self.actors]).reshape(-1, 3)
        self._middle = np.array([0.5 * (actor.body.bounds[0] + actor.body.bounds[1]) for actor in self.actors])

    def _begin(self) -> None:
        """Members and their motion, from the seed."""
        world, options = self._world, self.options
        self._random = np.random.default_rng([options.seed, 0])
        self._agents: list[Agent] = []
        cars = options.count("cars", self.network.length("car") * 1e-3)
        walkers = options.count("pedestrians", self.network.length(WALKER.name) * 1e-3)
        standing = round(options.parked * cars)
        taken = self._expected()
        movers = self._movers("car", KINDS, cars - standing, taken)
        movers += self._movers("pedestrian", PEDESTRIANS, walkers, taken)
        self.members = movers + self._parked(world, standing)
        vehicles = np.array([member.kind in KINDS for member in movers], bool)
        like = np.array([self._random.uniform(*member.kind.speed) for member in movers])
        rate = np.where(vehicles, options.emergencies / 3600.0, 0.0)
        self.simulation = Simulation(self.network, self._agents, like, rate, self._random, guests=self._guests)
        self._ahead = np.array([member.kind.ahead for member in movers])
        shape = np.array([member.kind.shape.name for member in movers])
        self._of = {str(name): np.flatnonzero(shape == name) for name in np.unique(shape)}
        self._gear = np.array([way.curve.gear for way in self.network.ways.ways])
        self._still = _standing([(member.kind, member.parked) for member in self.members if member.parked is not None])
        self._latest: Snapshot | None = None

    def restart(self) -> None:
        """Back to stamp 0, where guests may come another way this time."""
        if any(guest.live for guest in self._guests) and self.simulation.logged > 1:
            for guest in self._guests:
                if isinstance(guest, PilotedGuest):
                    guest.restart()
            self._begin()

    def near(self, stamp_ns: int, place: Array) -> list[MovingBox]:
        """The members within REACH of a place (3,) of map, as boxes."""
        now = self.snapshot(stamp_ns)
        close = np.flatnonzero(np.hypot(*(now.position[:, :2] - place[:2]).T) < REACH)
        boxes = []
        for i in close.tolist():
            pose = Pose(now.position[i], now.orientation[i])
            boxes.append(
                MovingBox(self.members[i].name, Pose(pose.transform(self._middle[i]), pose.orientation), self._size[i])
            )
        return boxes

    def _expected(self) -> NDArray[np.bool_]:
        """The cells where guests are at the beginning: nobody begins there."""
        cells = self.network.cells
        taken = np.zeros(cells.count, bool)
        for guest in self._guests:
            taken[cells.numbers(np.unique(cells.touched(ROVER, *guest.places(0))[1]))] = True
        return taken

    @property
    def summary(self) -> dict[str, int]:
        """How many of each kind there are, parked ones apart."""
        counts: dict[str, int] = {}
        for member in self.members:
            key = f"{member.kind.name} (parked)" if member.parked is not None else member.kind.name
            counts[key] = counts.get(key, 0) + 1
        return counts

    def snapshot(self, stamp_ns: int) -> Snapshot:
        """All members at `stamp_ns` ≥ 0, in the order of `members`. Raises InputError for earlier stamps."""
        if self._latest is None or self._latest.stamp_ns != stamp_ns:
            if stamp_ns < 0:
                raise InputError(f"traffic begins at stamp 0, and {stamp_ns} ns is before it")
            self._latest = self._at(int(stamp_ns))
        return self._latest

    def _movers(self, name: str, kinds: tuple[Kind, ...], count: int, taken: NDArray[np.bool_]) -> list[Member]:
        """Members that move, and the agents that move them; `taken` are the cells in which others begin."""
        starts = {kind.shape.name: self._starts(kind) for kind in kinds}
        usable = [kind for kind in kinds if len(starts[kind.shape.name])]
        if count and not usable:
            raise InputError(f"traffic: nothing in this world is wide enough for {name}s; ask for {name}s=0")
        members = []
        for number in range(count):
            kind = self._drawn(usable)
            colour = self._painted(kind)
            random = np.random.default_rng([self.options.seed, 1, len(self._agents)])
            agent = Agent(len(self._agents), kind, self.network, random)
            places = starts[kind.shape.name]
            for _ in range(_TRIES):
                way, slot = places[int(self._random.integers(len(places)))].tolist()
                cells = agent.begin(way, slot).cells
                if not taken[cells].any():
                    break
            else:
                raise InputError(
                    f"traffic: {count} {name}s that move are asked for, and there is room for about {number}; "
                    "ask for fewer"
                )
            taken[cells] = True
            self._agents.append(agent)
            members.append(Member(f"{name}_{number + 1}", kind, colour))
        return members

    def _starts(self, kind: Kind) -> NDArray[np.int64]:
        """(K, 2) ways and slots in which a member of the kind can begin."""
        places = [
            (number, slot)
            for number, track in enumerate(self.network.cells.tracks[kind.shape.name])
            if track is not None
            for slot, free in enumerate(track.stop)
            if free
        ]
        return np.array(places, np.int64).reshape(-1, 2)

    def _parked(self, world: World, count: int) -> list[Member]:
        parking = Parking(world, self.network, self._random)
        kinds = [kind for kind in KINDS if kind.parks]
        members = []
        for number in range(count):
            kind = self._drawn(kinds)
            stand = parking.find(kind)
            if stand is None:
                raise InputError(
                    f"traffic: {count} cars are to be parked, and there is room for about {number}; "
                    "lower parked or cars"
                )
            members.append(Member(f"parked_{number + 1}", kind, self._painted(kind), stand))
        return members

    def _drawn(self, kinds: list[Kind]) -> Kind:
        """One of the kinds, each as likely as it is common."""
        share = np.array([kind.share for kind in kinds])
        return kinds[int(self._random.choice(len(kinds), p=share / share.sum()))]

    def _painted(self, kind: Kind) -> tuple[int, int, int]:
        return kind.colours[int(self._random.integers(len(kind.colours)))]

    def _at(self, stamp_ns: int) -> Snapshot:
        step, rest = divmod(stamp_ns, STEP_NS)
        tau = rest * 1e-9
        (s, v), after = self.simulation.log(step), self.simulation.log(step + 1)[1]
        a = (after - v) / DT
        s, v = s + v * tau + 0.5 * a * tau**2, v + a * tau
        moving = self._on_ways(s, v, a) if len(self._agents) else [np.zeros((0, k)) for k in (3, 4, 3, 3, 3)]
        still, n = self._still, len(self._still[0])
        none = np.zeros((n, 3))
        return Snapshot(
            stamp_ns,
            *(np.concatenate(pair) for pair in zip(moving, (*still, none, none, none), strict=True)),
        )

    def _on_ways(self, s: Array, v: Array, a: Array) -> list[Array]:
        """Position, orientation, velocities and acceleration of the moving members at distances `s` along their routes,
        speeds `v` and accelerations `a` (N,)."""
        net, count = self.network, len(self._agents)
        way, local = np.empty(count, np.int64), np.empty(count)
        for i, agent in enumerate(self._agents):
            # Who stands where two ways meet is still on the first: the second may yet be chosen anew.
            place = max(bisect_left(agent.starts, s[i] - 2e-6) - 1, 0)
            way[i], local[i] = agent.route[place], s[i] - agent.starts[place]
        step = net.step[way]
        at = np.clip(local / step, 0.0, np.diff(net.first)[way] - 1.000001)
        row = net.first[way] + at.astype(np.int64)
        t = at - at.astype(np.int64)
        bend = net.yaw[row + 1] - net.yaw[row]
        xy, yaw, turn = net.xy[row] + t[:, None] * (net.xy[row + 1] - net.xy[row]), net.yaw[row] + t * bend, bend / step
        z, pitch, roll, climb, tip = (np.empty(count) for _ in range(5))
        for name, of in self._of.items():
            samples, r, u, d = net.samples[name], row[of], t[of], step[of]
            for out, column in ((z, samples.z), (pitch, samples.pitch), (roll, samples.roll)):
                out[of] = column[r] + u * (column[r + 1] - column[r])
            climb[of] = (samples.z[r + 1] - samples.z[r]) / d
            tip[of] = (samples.pitch[r + 1] - samples.pitch[r]) / d
        gear = self._gear[way]
        ahead, forward = self._ahead, np.stack([np.cos(yaw), np.sin(yaw)], axis=1)
        left = np.stack([-forward[:, 1], forward[:, 0]], axis=1)
        level = ahead * np.cos(pitch)
        rate = v * turn
        velocity = np.column_stack(
            [(v * gear)[:, None] * forward + (rate * level)[:, None] * left, v * (climb - level * tip)]
        )
        across = (a * gear)[:, None] * forward + (v * gear * rate)[:, None] * left
        acceleration = np.column_stack([across, np.zeros(count)])
        spin = np.column_stack(
            [-rate * np.sin(pitch), rate * np.cos(pitch) * np.sin(roll), rate * np.cos(pitch) * np.cos(roll)]
        )
        return [*_bodies(xy, yaw, z, pitch, roll, ahead), velocity, spin, acceleration]


@dataclass(frozen=True, eq=False)
class _Motion:
    """One member's motion, for the engine."""

    traffic: Traffic
    index: int

    def restart(self) -> None:
        self.traffic.restart()

    def state(self, stamp_ns: int) -> VehicleState:
        """The state of the body's origin. Raises InputError for stamps before 0."""
        s, i = self.traffic.snapshot(stamp_ns), self.index
        return VehicleState(
            stamp_ns,
            Pose(s.position[i], s.orientation[i]),
            s.linear_velocity[i].copy(),
            s.angular_velocity[i].copy(),
            s.acceleration[i].copy(),
        )


def quaternions(yaw: Array, pitch: Array, roll: Array) -> Array:
    """(N, 4) x, y, z, w of R = Rz(yaw) Ry(pitch) Rx(roll), w ≥ 0."""
    cy, sy, cp, sp = np.cos(yaw / 2), np.sin(yaw / 2), np.cos(pitch / 2), np.sin(pitch / 2)
    cr, sr = np.cos(roll / 2), np.sin(roll / 2)
    q = np.stack(
        [
            sr * cp * cy - cr * sp * sy,
            cr * sp * cy + sr * cp * sy,
            cr * cp * sy - sr * sp * cy,
            cr * cp * cy + sr * sp * sy,
        ],
        axis=1,
    )
    return np.where(q[:, 3:] < 0, -q, q)


def _bodies(xy: Array, yaw: Array, z: Array, pitch: Array, roll: Array, ahead: Array) -> tuple[Array, Array]:
    """Positions (N, 3) and orientations (N, 4) of bodies whose reference points are at (N, 2), on ground at `z` (N,),
    `ahead` metres before them."""
    forward = np.stack([np.cos(yaw), np.sin(yaw)], axis=1)
    level = (ahead * np.cos(pitch))[:, None]
    return np.column_stack([xy + level * forward, z - ahead * np.sin(pitch)]), quaternions(yaw, pitch, roll)


def _standing(parked: list[tuple[Kind, Stand]]) -> tuple[Array, Array]:
    """Positions (N, 3) and orientations (N, 4) of parked members."""
    values = np.array([(s.x, s.y, s.yaw, s.z, s.pitch, s.roll, kind.ahead) for kind, s in parked]).reshape(-1, 7)
    return _bodies(values[:, :2], *values.T[2:])
