"""One frame as files' bytes, and back: what each kind of file holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import SessionError
from aerialworld_core.files import dump_json, parse_json
from aerialworld_core.frames import Array, Pose
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import FREE, NUM_CLASSES, OTHERS
from aerialworld_core.occupancy import Occupancy
from aerialworld_core.sensing import SensorFrame
from aerialworld_core.session.arrays import dump_npz, load_npz

UNKNOWN = 255  # in older occupancy arrays
_BLOCK = 1 << 17
ACTOR_FIELDS: dict[str, int] = {"position": 3, "orientation": 4, "size": 3, "velocity": 3}


@dataclass(frozen=True, eq=False)
class PoseRecord:
    """The vehicle at one frame, as poses/*.json holds it.

    linear_velocity (3,) m/s in map; angular_velocity (3,) rad/s in base_link; stamp_ns simulation time; ground_z
    terrain height under the vehicle, map z, None where there is no terrain and in older data that lacks it.
    """

    pose: Pose
    linear_velocity: Array
    angular_velocity: Array
    stamp_ns: int
    ground_z: float | None

    def pose_13d(self) -> Array:
        """[x, y, z, qx, qy, qz, qw, vx, vy, vz, wx, wy, wz]."""
        return np.concatenate([self.pose.position, self.pose.orientation, self.linear_velocity, self.angular_velocity])


def dump_pose(frame: SensorFrame, agent_type: str) -> bytes:
    """poses/*.json; a ground height of NaN (no terrain below) becomes null."""
    state = frame.state
    if not np.isfinite(state.pose_13d()).all() or np.isinf(frame.ground_z):
        raise SessionError(f"a pose at {state.stamp_ns} ns is not finite: {state.pose_13d()}, ground {frame.ground_z}")

    def xyz(values: Array, names: str = "xyz") -> dict[str, float]:
        return {n: float(v) for n, v in zip(names, values, strict=True)}

    return dump_json(
        {
            "ground_z": None if np.isnan(frame.ground_z) else float(frame.ground_z),
            "position": xyz(state.pose.position),
            "orientation": xyz(state.pose.orientation, "xyzw"),
            "velocity": {"linear": xyz(state.linear_velocity), "angular": xyz(state.angular_velocity)},
            "timestamp": int(state.stamp_ns),
            "frame_id": "map",
            "agent_type": agent_type,
        }
    )


def load_pose(raw: bytes, what: str, default_stamp_ns: int) -> PoseRecord:
    """A pose file; also the older form `pose_13d` (quaternion w, x, y, z). Raises SessionError.

    Older files may lack `timestamp` (then `default_stamp_ns`) or hold seconds as a fraction.
    """
    try:
        data = parse_json(raw)
        if "position" in data:
            p, q, v = data["position"], data["orientation"], data["velocity"]
            pose = Pose(np.array([p[k] for k in "xyz"], float), np.array([q[k] for k in "xyzw"], float))
            linear = np.array([v["linear"][k] for k in "xyz"], float)
            angular = np.array([v["angular"][k] for k in "xyz"], float)
        else:
            old = np.array(data["pose_13d"], float)
            if old.shape != (13,):
                raise ValueError(f"pose_13d has {old.shape} numbers")
            pose, linear, angular = Pose(old[:3], old[[4, 5, 6, 3]]), old[7:10], old[10:13]
        stamp = data.get("timestamp", default_stamp_ns)
        stamp_ns = round(stamp * 1e9) if isinstance(stamp, float) else int(stamp)
        ground = data.get("ground_z")
        if not np.isfinite([*linear, *angular]).all():
            raise ValueError("a velocity is not finite")
        return PoseRecord(pose, linear, angular, stamp_ns, None if ground is None else float(ground))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise SessionError(f"{what}: no pose: {error!r}") from error


def dump_actors(actors: list[dict[str, Any]]) -> bytes:
    """actors/*.json: a list of {id, class, position, orientation, size, velocity} in map."""
    plain = []
    for actor in actors:
        try:
            if set(actor) != {"id", "class", *ACTOR_FIELDS}:
                raise ValueError(f"has the keys {sorted(actor)}")
            entry: dict[str, Any] = {"id": actor["id"], "class": int(actor["class"])}
            if not isinstance(entry["id"], str | int):
                entry["id"] = int(entry["id"])
            for key, count in ACTOR_FIELDS.items():
                values = np.asarray(actor[key], dtype=np.float64)
                if values.shape != (count,) or not np.isfinite(values).all():
                    raise ValueError(f"{key} {actor[key]!r} is not {count} finite numbers")
                entry[key] = values.tolist()
            plain.append(entry)
        except (ValueError, TypeError) as error:
            raise SessionError(f"actor {actor.get('id')!r}: {error}") from error
    return dump_json(plain)


def load_actors(raw: bytes, what: str) -> list[dict[str, Any]]:
    """The list of moving objects. Raises SessionError."""
    try:
        data = parse_json(raw)
    except ValueError as error:
        raise SessionError(f"{what}: no JSON: {error}") from error
    if not isinstance(data, list) or not all(isinstance(a, dict) for a in data):
        raise SessionError(f"{what}: is no list of objects")
    return data


def check_occupancy(occupancy: Occupancy, grid: VoxelGrid) -> None:
    """Raises SessionError unless the arrays are of the grid's shape and agree with each other."""
    o, s, seen = occupancy.occupancy, occupancy.semantics, occupancy.observed
    for name, array, dtype in (("occupancy", o, np.uint8), ("semantics", s, np.uint8), ("observed", seen, np.bool_)):
        if array.shape != grid.shape or array.dtype != dtype:
            raise SessionError(f"{name} is {array.dtype} {array.shape}; needs {np.dtype(dtype)} {grid.shape}")
    flat = o.reshape(-1), s.reshape(-1), seen.reshape(-1).view(np.uint8)
    for start in range(0, grid.size, _BLOCK):  # what is compared lies in the processor's cache
        _check_block(*(a[start : start + _BLOCK] for a in flat))


def _check_block(o: NDArray[np.uint8], s: NDArray[np.uint8], seen: NDArray[np.uint8]) -> None:
    taken = (s != FREE).view(np.uint8)
    if not (taken != o).any() and s.max() < NUM_CLASSES and not (o > seen).any():
        return
    if o.max() > 1:
        raise SessionError(f"occupancy holds {o.max()}; it is 0 or 1")
    if s.max() >= NUM_CLASSES:
        raise SessionError(f"semantics holds {s.max()}; classes are 0 … {NUM_CLASSES - 1}")
    if not np.array_equal(taken, o):
        raise SessionError(f"semantics must be {FREE} (free) exactly where occupancy is 0")
    raise SessionError("a voxel is occupied that was never observed")


def dump_occupancy(occupancy: Occupancy) -> bytes:
    """occupancy/*.npz: `occupancy`, `semantics`, `observed` as packed bits (C order, most significant bit first)."""
    return dump_npz(
        {
            "occupancy": occupancy.occupancy,
            "semantics": occupancy.semantics,
            "observed": np.packbits(occupancy.observed.ravel()),
        }
    )


def load_occupancy(raw: bytes, what: str, grid: VoxelGrid, *, older: bool = False) -> Occupancy:
    """The voxels of an npz file. Raises SessionError.

    Older forms are understood by their content: values above 1 are occupied and tell the class, except 17 (free) and
    255 (unknown); `semantics` may be missing (class 0 where the value does not tell); `observed` may be missing (all
    but 255 is observed) or unpacked. `older` also accepts other number types and further members.
    """
    members = load_npz(
        raw,
        what,
        required=("occupancy",) if older else ("occupancy", "semantics", "observed"),
        optional=("semantics", "observed"),
        extra=older,
        limit=grid.size * (8 if older else 1),
    )
    values = _volume(members["occupancy"], "occupancy", what, grid)
    if values.max(initial=0) <= 1:
        occupied, unknown = values.view(np.bool_), None
    else:
        unknown = values == UNKNOWN
        occupied = (values >= 1) & ~unknown & (values != FREE)
    if "semantics" in members:
        semantics = _volume(members["semantics"], "semantics", what, grid)
        if not np.array_equal(semantics != FREE, occupied):
            semantics = np.where(occupied, semantics, np.uint8(FREE))
        if semantics.max(initial=0) >= NUM_CLASSES or (occupied & (semantics == FREE)).any():
            raise SessionError(f"{what}: semantics holds a value that is no class of an occupied voxel")
    else:
        classes = np.where((values > 1) & (values < NUM_CLASSES), values, np.uint8(OTHERS))
        semantics = np.where(occupied, classes, np.uint8(FREE))
    if "observed" in members:
        observed = _observed(members["observed"], what, grid)
    else:
        observed = np.ones(grid.shape, np.bool_)
    if unknown is not None:
        observed &= ~unknown
    return Occupancy(occupied.view(np.uint8), semantics, observed)


def load_occupied(raw: bytes, what: str, grid: VoxelGrid, *, older: bool = False) -> NDArray[np.uint8]:
    """The `occupancy` of `load_occupancy`, with nothing else inflated. Raises SessionError."""
    if older:  # what is occupied depends on the other members
        return load_occupancy(raw, what, grid, older=True).occupancy
    members = load_npz(raw, what, required=("occupancy",), extra=True, limit=grid.size)
    values = _volume(members["occupancy"], "occupancy", what, grid)
    if values.max(initial=0) > 1:
        return load_occupancy(raw, what, grid).occupancy
    return values


def _volume(array: NDArray[Any], name: str, what: str, grid: VoxelGrid) -> NDArray[np.uint8]:
    if array.shape != grid.shape:
        raise SessionError(f"{what}: {name} has shape {array.shape}, the session's grid {grid.shape}")
    if array.dtype == np.uint8:
        return array
    small = array.astype(np.uint8)
    if not np.array_equal(small, array):
        raise SessionError(f"{what}: {name} holds values that are no whole numbers from 0 to 255")
    return small


def _observed(array: NDArray[Any], what: str, grid: VoxelGrid) -> NDArray[np.bool_]:
    if array.shape == grid.shape:
        return array != 0
    if array.dtype != np.uint8 or array.shape != ((grid.size + 7) // 8,):
        raise SessionError(f"{what}: observed is {array.dtype} {array.shape}, not the packed bits of {grid.shape}")
    return np.unpackbits(array, count=grid.size).view(np.bool_).reshape(grid.shape)


def check_images(encoded: Mapping[str, bytes], cameras: frozenset[str]) -> None:
    """Raises SessionError for a camera that the rig has not, or bytes that are no JPEG."""
    for name, content in encoded.items():
        if name not in cameras:
            raise SessionError(f"image of {name}, which the rig has not; it has {', '.join(sorted(cameras)) or 'none'}")
        if content[:3] != b"\xff\xd8\xff":
            raise SessionError(f"image of {name}: its bytes are no JPEG")
