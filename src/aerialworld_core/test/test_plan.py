"""Plans: the motion between knots is what physics says, and a damaged file is refused by name."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from aerialworld_core.errors import PlanError
from aerialworld_core.plan import MAX_PLAN_BYTES, Plan


def make(t: np.ndarray, position: np.ndarray, orientation: np.ndarray | None = None, **changes: object) -> Plan:
    q = np.tile([0.0, 0.0, 0.0, 1.0], (len(t), 1)) if orientation is None else orientation
    entries = {
        "name": "survey_A",
        "vehicle": "drone_1",
        "agent_type": "drone",
        "pattern": "survey",
        "place": "A",
        "seed": 7,
        "t": t,
        "position": position,
        "orientation": q,
        "parameters": {"altitude": 30.0},
    }
    return Plan(**{**entries, **changes})  # type: ignore[arg-type]


def knots(n: int = 51) -> tuple[np.ndarray, np.ndarray]:
    t = 0.1 * np.arange(n)
    return t, np.stack([3 * t, np.sin(t), 20 + 0.5 * t], axis=1)


def test_constant_acceleration_is_exact_up_to_both_ends() -> None:
    t = 0.1 * np.arange(40)
    v0, a = np.array([4.0, -1.0, 0.5]), np.array([0.8, 2.0, -0.6])
    plan = make(t, 10 + v0 * t[:, None] + 0.5 * a * t[:, None] ** 2)
    motion = plan.trajectory().sample(np.linspace(0, plan.duration, 333))
    np.testing.assert_allclose(motion.linear_acceleration, np.tile(a, (333, 1)), atol=1e-8)
    np.testing.assert_allclose(motion.linear_velocity, v0 + a * motion.t[:, None], atol=1e-9)


def test_velocity_and_acceleration_are_the_derivatives_of_the_position() -> None:
    plan = make(*knots())
    trajectory = plan.trajectory()
    h = 1_000_000  # 1 ms
    for stamp in range(200_000_000, 4_800_000_000, 333_000_000):
        before, now, after = (trajectory.state(stamp + k * h) for k in (-1, 0, 1))
        slope = (after.pose.position - before.pose.position) / 2e-3
        np.testing.assert_allclose(now.linear_velocity, slope, atol=2e-6)
        bend = (after.linear_velocity - before.linear_velocity) / 2e-3
        np.testing.assert_allclose(now.linear_acceleration, bend, atol=2e-3)
    # A circle of radius 1 in y(t) = sin t: the spline follows the analytic motion.
    m = trajectory.sample(np.linspace(0, 5, 77))
    np.testing.assert_allclose(m.position[:, 1], np.sin(m.t), atol=2e-6)
    np.testing.assert_allclose(m.linear_velocity[:, 1], np.cos(m.t), atol=3e-4)


def test_angular_velocity_is_in_the_body_frame() -> None:
    """A body that turns about its own, tilted axis: ω is constant in the body, and R(t + h) = R(t) exp(ω h)."""
    t = 0.1 * np.arange(60)
    tilted = Rotation.from_euler("ZYX", [0.7, -0.4, 0.3])
    omega = np.array([0.2, -0.5, 0.9])
    turned = tilted * Rotation.from_rotvec(omega * t[:, None])
    plan = make(t, knots(60)[1], turned.as_quat())
    m = plan.trajectory().sample(np.linspace(0.0, plan.duration, 101))
    np.testing.assert_allclose(m.angular_velocity, np.tile(omega, (101, 1)), atol=1e-9)
    # In map the same vector is another one: body rates would be mistaken for it only if the frames agreed.
    in_map = Rotation.from_quat(m.orientation).apply(m.angular_velocity)
    assert np.linalg.norm(in_map - omega, axis=1).max() > 0.2
    np.testing.assert_allclose(m.yaw_rate, in_map[:, 2])


def test_banked_circle_body_rates() -> None:
    """Yawing at ψ' with roll φ held: ω = (0, ψ' sin φ, ψ' cos φ) in the body (pitch 0)."""
    t, rate, roll = 0.1 * np.arange(80), 0.6, 0.35
    q = Rotation.from_euler("ZYX", np.stack([rate * t, 0 * t, 0 * t + roll], axis=1)).as_quat()
    state = make(t, knots(80)[1], q).trajectory().state(4_000_000_000)
    expected = [0.0, rate * math.sin(roll), rate * math.cos(roll)]
    np.testing.assert_allclose(state.angular_velocity, expected, atol=1e-9)


def test_sample_agrees_with_state_and_refuses_times_outside() -> None:
    trajectory = make(*knots()).trajectory()
    motion = trajectory.sample(np.array([0.0, 1.2345, 5.0]))
    for k, stamp in enumerate((0, 1_234_500_000, 5_000_000_000)):
        state = trajectory.state(stamp)
        np.testing.assert_allclose(state.pose.position, motion.position[k], atol=1e-9)
        np.testing.assert_allclose(np.abs(state.pose.orientation @ motion.orientation[k]), 1.0)
        np.testing.assert_allclose(state.linear_velocity, motion.linear_velocity[k], atol=1e-9)
    with pytest.raises(ValueError, match="leave the plan"):
        trajectory.sample(np.array([5.1]))
    with pytest.raises(ValueError, match="leave the plan"):
        trajectory.sample(np.array([np.nan]))


def test_before_and_after_the_vehicle_stands_at_the_ends() -> None:
    plan = make(*knots())
    trajectory = plan.trajectory()
    for stamp, k in ((-5_000_000_000, 0), (trajectory.duration_ns + 1, -1)):
        state = trajectory.state(stamp)
        np.testing.assert_allclose(state.pose.position, plan.position[k], atol=1e-9)
        assert not state.linear_velocity.any() and not state.angular_velocity.any()
        assert not state.linear_acceleration.any()
    assert np.linalg.norm(trajectory.state(trajectory.duration_ns).linear_velocity) > 2.0


def test_a_written_plan_reads_back_the_same(tmp_path: Path) -> None:
    t, p = knots()
    plan = make(t, np.round(p, 6))
    plan.write(tmp_path / "plan.json")
    again = Plan.read(tmp_path / "plan.json")
    np.testing.assert_array_equal(again.t, np.round(plan.t, 6))
    np.testing.assert_array_equal(again.position, plan.position)
    assert again.to_dict() == plan.to_dict()
    again.write(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "plan.json").read_bytes()


def written(folder: Path, change: object) -> Path:
    data = make(*knots()).to_dict()
    change(data)  # type: ignore[operator]
    path = folder / "damaged.json"
    path.write_text(json.dumps(data))
    return path


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.pop("position"), "position"),
        (lambda d: d.pop("schema_version"), "schema_version"),
        (lambda d: d.update(schema_version=2), "make the plan again"),
        (lambda d: d.update(schema_version=True), "make the plan again"),
        (lambda d: d.update(colour="red"), "colour"),
        (lambda d: d["position"].__setitem__(3, [1.0, math.nan, 2.0]), "NaN"),
        (lambda d: d["t"].__setitem__(5, math.inf), "Infinity"),
        (lambda d: d["t"].__setitem__(5, d["t"][3]), "increase"),
        (lambda d: d["t"].__setitem__(0, 0.05), "start at 0"),
        (lambda d: d["t"].__setitem__(6, d["t"][5] + 1e-6), "1 ms apart"),
        (lambda d: d.update(t=[0.0, 1.0, 2.0], position=d["position"][:3], orientation=d["orientation"][:3]), "N ≥ 4"),
        (lambda d: d["position"].pop(), "N ≥ 4"),
        (lambda d: d["position"].__setitem__(3, [1.0, 2.0]), "array of numbers"),
        (lambda d: d["position"].__setitem__(3, ["1", "2", "3"]), "array of numbers"),
        (lambda d: d.update(position="far"), "array of numbers"),
        (lambda d: d.update(position=None), "array of numbers"),
        (lambda d: d.update(t=[True] * 51), "array of numbers"),
        (lambda d: d["position"].__setitem__(3, [10**400, 0, 0]), "array of numbers"),
        (lambda d: d["position"].__setitem__(3, [1e9, 0, 0]), "farther than"),
        (lambda d: d["t"].__setitem__(-1, 1e8), "end before"),
        (lambda d: d["orientation"].__setitem__(3, [0, 0, 0, 2]), "unit length"),
        (lambda d: d["orientation"].__setitem__(3, [0, 0, 0, 0]), "unit length"),
        (lambda d: d.update(agent_type="boat"), "drone or rover"),
        (lambda d: d.update(agent_type=["drone"]), "drone or rover"),
        (lambda d: d.update(vehicle="../drone"), "vehicle"),
        (lambda d: d.update(vehicle="/drone_1"), "vehicle"),
        (lambda d: d.update(name="../../etc/passwd"), "name"),
        (lambda d: d.update(name=""), "name"),
        (lambda d: d.update(name=5), "name"),
        (lambda d: d.update(place="a/b"), "place"),
        (lambda d: d.update(pattern={"a": 1}), "pattern"),
        (lambda d: d.update(seed="7"), "seed"),
        (lambda d: d.update(seed=-1), "seed"),
        (lambda d: d.update(seed=True), "seed"),
        (lambda d: d.update(parameters=[1]), "parameters"),
        (lambda d: d.update(parameters={"a": math.nan}), "NaN"),
    ],
)
def test_a_damaged_plan_is_refused_with_its_file_and_reason(tmp_path: Path, change: object, says: str) -> None:
    path = written(tmp_path, change)
    with pytest.raises(PlanError, match=r"damaged\.json") as caught:
        Plan.read(path)
    assert says in str(caught.value) and len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "content",
    [b"", b"[1, 2", b"[]", b"null", b"7", b'"plan"', b"\xff\xfe\x00", b"[" * 100_000, b'{"schema_version": 1}'],
)
def test_a_file_that_is_no_plan_is_refused_with_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.json"
    path.write_bytes(content)
    with pytest.raises(PlanError, match=r"other\.json"):
        Plan.read(path)


def test_missing_folder_and_huge_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="no such plan"):
        Plan.read(tmp_path / "none.json")
    with pytest.raises(PlanError, match="cannot be read"):
        Plan.read(tmp_path)
    huge = tmp_path / "huge.json"
    with open(huge, "wb") as handle:
        handle.truncate(MAX_PLAN_BYTES + 1)  # sparse: takes no room
    with pytest.raises(PlanError, match=r"huge.json: larger than"):
        Plan.read(huge)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5), lambda c: st.lists(c, max_size=4)))
def test_any_json_in_place_of_an_array_is_an_expected_error(value: object) -> None:
    data = make(*knots(5)).to_dict()
    for key in ("t", "position", "orientation", "name", "seed", "vehicle"):
        try:
            Plan.from_dict({**data, key: value})
        except PlanError:
            continue
        assert key == "name" and isinstance(value, str)
