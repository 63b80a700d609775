"""Boxes of moving objects, against boxes whose place in the picture is known by hand and pixels cast one by one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from aerialworld_core import lens
from aerialworld_core.boxes import Truth, camera_boxes
from aerialworld_core.frames import Pose
from aerialworld_core.rig import CameraSpec

W, H, FOCAL = 200, 100, 100.0


def camera(near: float = 0.1, far: float = 100.0, distortion=None, pose: Pose | None = None) -> CameraSpec:
    """100 pixels of focal length; it looks along +x of the vehicle."""
    hfov = 2 * np.arctan(W / 2 / FOCAL)
    return CameraSpec(
        "cam_front", pose or Pose.identity(), W, H, hfov, near, far, 10.0, distortion=distortion
    )  # fmt: skip


def actor(x: float, y: float, z: float, size=(2.0, 1.0, 1.0), yaw: float = 0.0, name: str = "car_1") -> dict:
    pose = Pose.from_rpy(x, y, z, 0, 0, yaw)
    return {
        "id": name, "class": 4, "position": pose.position.tolist(), "orientation": pose.orientation.tolist(),
        "size": list(size), "velocity": [0.0, 0.0, 0.0],
    }  # fmt: skip


HERE = Pose.identity()


def test_a_box_ahead_projects_by_its_near_face():
    """2 m long, 1 m wide and high, its middle 11 m ahead: the near face is 10 m away, 10 pixels wide."""
    (box,) = camera_boxes(camera(), HERE, [actor(11.0, 0.0, 0.0)])
    np.testing.assert_allclose(box.rectangle, (95.0, 45.0, 105.0, 55.0), atol=1e-12)
    assert box.truncated == 0.0 and box.source == "projection" and box.visible is None
    np.testing.assert_allclose(box.pose.position, (0.0, 0.0, 11.0), atol=1e-12)
    # Forward of the object is the camera's z, its left the camera's −x, its up the camera's −y.
    np.testing.assert_allclose(box.pose.rotation, [[0, -1, 0], [0, 0, -1], [1, 0, 0]], atol=1e-12)


def test_the_box_in_the_optical_frame_leads_back_to_map():
    mounted = Pose.from_rpy(0.3, -0.2, 0.1, 0.05, 0.4, 0.7)
    vehicle = Pose.from_rpy(10.0, 20.0, 30.0, 0.1, -0.2, 2.0)
    spec = camera(pose=mounted)
    ahead = (vehicle @ mounted).transform(np.array([[15.0, 1.0, 0.5]]))[0]
    seen = actor(*ahead, yaw=1.3)
    (box,) = camera_boxes(spec, vehicle, [seen])
    back = vehicle @ spec.optical_pose @ box.pose
    np.testing.assert_allclose(back.position, seen["position"], atol=1e-9)
    assert abs(back.orientation @ np.array(seen["orientation"])) == pytest.approx(1.0, abs=1e-12)


def test_the_picture_s_border_cuts_and_says_how_much():
    """A thin plate 10 m away, 4 m wide, whose left half is beyond the left edge (x = −1 at depth 1)."""
    plate = actor(10.0, 10.0, 0.0, size=(1e-9, 4.0, 2.0))
    (box,) = camera_boxes(camera(), HERE, [plate])
    np.testing.assert_allclose(box.rectangle, (0.0, 40.0, 20.0, 60.0), atol=1e-6)
    assert box.truncated == pytest.approx(0.5, abs=1e-6)


def test_what_is_behind_beside_or_too_far_is_not_there():
    others = [(-11.0, 0.0, 0.0), (5.0, 30.0, 0.0), (5.0, 0.0, 20.0), (150.0, 0.0, 0.0)]
    assert camera_boxes(camera(), HERE, [actor(*p) for p in others]) == []
    assert camera_boxes(camera(), HERE, []) == []


def test_a_box_through_the_camera_s_plane_is_its_part_before_it():
    """20 m long beside the camera, 2 m to the left: its near end is behind, its far end 10 m ahead."""
    beside = actor(0.0, 3.0, 0.0, size=(20.0, 2.0, 1.0))
    (box,) = camera_boxes(camera(), HERE, [beside])
    # Its right wall (y = 2) reaches the edge of the picture (u = 0) at x = 2 and ends at x = 10: u = 100 − 100·2/10.
    np.testing.assert_allclose(box.rectangle, (0.0, 25.0, 80.0, 75.0), atol=1e-9)
    assert 0.9 < box.truncated < 1.0


def test_around_the_camera_it_fills_the_picture():
    (box,) = camera_boxes(camera(), HERE, [actor(0.0, 0.0, 0.0, size=(10.0, 10.0, 10.0))])
    np.testing.assert_allclose(box.rectangle, (0.0, 0.0, W, H), atol=1e-9)


@pytest.mark.parametrize("distortion", [None, (-0.25, 0.06, 0.001, -0.002, 0.0)])
def test_rectangles_hold_exactly_the_box_that_points_see(distortion):
    """Random boxes against a dense sample of their surfaces, each point projected by itself."""
    rng, spec = np.random.default_rng(5), camera(distortion=distortion)
    steps = np.linspace(-1, 1, 161)
    u, v = np.meshgrid(steps, steps)
    side, one = np.stack([u.ravel(), v.ravel()], 1), np.ones(u.size)
    surface = np.concatenate([np.insert(side, k, s * one, axis=1) for k in range(3) for s in (-1, 1)])
    seen = 0
    for _ in range(40):
        place, size = rng.uniform((0, -8, -4), (15, 8, 4)), rng.uniform(0.5, 5.0, 3)
        thing = actor(*place, size=size, yaw=rng.uniform(-3, 3))
        boxes = camera_boxes(spec, HERE, [thing])
        x, y, z = Pose(thing["position"], thing["orientation"]).transform(surface * size / 2).T
        before = x > 0.1
        px, py = -y[before] / x[before], -z[before] / x[before]
        if distortion is not None:
            px, py = lens.distort(px, py, distortion)  # these coefficients fold nowhere
        pu, pv = FOCAL * px + W / 2, FOCAL * py + H / 2
        there = (pu > 0) & (pu < W) & (pv > 0) & (pv < H)
        if there.sum() < 30:
            continue
        seen += 1
        exact = (pu[there].min(), pv[there].min(), pu[there].max(), pv[there].max())
        # Sampled points fall short of an edge by their spacing, and near the camera that is wide.
        outside = np.maximum(np.array(boxes[0].rectangle) * (1, 1, -1, -1) - np.array(exact) * (1, 1, -1, -1), 0)
        assert outside.max() < (1e-6 if distortion is None else 0.2)
        assert np.abs(np.array(boxes[0].rectangle) - exact).max() < 8.0
    assert seen > 15


def cast(spec: CameraSpec, solids: list[tuple[dict, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Depth and instance of boxes standing level in map, each pixel's ray against each box, by the slab method."""
    depth, instance = np.full((H, W), np.inf, np.float32), np.zeros((H, W), np.uint16)
    u, v = np.meshgrid(np.arange(W) + 0.5, np.arange(H) + 0.5)
    rays = np.stack([np.ones_like(u), (W / 2 - u) / FOCAL, (H / 2 - v) / FOCAL], axis=-1)
    for solid, number in solids:
        pose = Pose(solid["position"], solid["orientation"])
        ways, origin = rays @ pose.rotation, -pose.rotation.T @ pose.position
        with np.errstate(divide="ignore", invalid="ignore"):
            planes = [(s * np.array(solid["size"]) / 2 - origin) / ways for s in (-1, 1)]
        enter, leave = np.minimum(*planes).max(axis=-1), np.maximum(*planes).min(axis=-1)
        hit = (enter <= leave) & (enter > spec.near) & (enter < depth)
        depth[hit], instance[hit] = enter[hit], number
    return depth, instance


def test_a_wall_that_hides_half_of_it():
    """The car's picture is 40 × 20 pixels at 5 m; a wall at 4 m hides its left half, exactly."""
    car = actor(6.0, 0.0, 0.0, size=(2.0, 2.0, 1.0))
    wall = actor(4.0, 10.0, 0.0, size=(1e-6, 20.0, 30.0), name="wall")
    spec = camera()
    depth, instance = cast(spec, [(car, 7), (wall, 3)])
    (box,) = camera_boxes(spec, HERE, [car], Truth(depth, instance, {"car_1": 7}))
    assert box.rectangle == (100.0, 40.0, 120.0, 60.0)
    assert (box.instance, box.pixels, box.hidden, box.visible) == (7, 400, 400, 0.5)
    assert box.source == "pixels" and box.truncated == 0.0


def test_wholly_hidden_it_is_not_listed():
    car, wall = actor(6.0, 0.0, 0.0), actor(3.0, 0.0, 0.0, size=(0.1, 20.0, 20.0), name="wall")
    depth, instance = cast(camera(), [(car, 7), (wall, 3)])
    assert camera_boxes(camera(), HERE, [car], Truth(depth, instance, {"car_1": 7})) == []


def test_without_a_number_it_is_projected():
    car = actor(11.0, 0.0, 0.0)
    depth, instance = cast(camera(), [(car, 7)])
    (box,) = camera_boxes(camera(), HERE, [car], Truth(depth, instance, {}))
    assert box.source == "projection" and box.instance is None


def test_many_boxes_are_the_extents_of_their_pixels():
    """Random boxes before each other: rectangles, counts and what is hidden, against each cast alone."""
    rng, spec = np.random.default_rng(11), camera()
    listed = hidden_ones = 0
    low, high = (3, -8, -3), (25, 8, 3)
    for _ in range(12):
        actors = [
            actor(*rng.uniform(low, high), size=rng.uniform(0.5, 4, 3), yaw=rng.uniform(-3, 3), name=f"n{i}")
            for i in range(6)
        ]  # fmt: skip
        numbers = {a["id"]: i + 1 for i, a in enumerate(actors)}
        depth, instance = cast(spec, [(a, numbers[a["id"]]) for a in actors])
        boxes = {b.id: b for b in camera_boxes(spec, HERE, actors, Truth(depth, instance, numbers))}
        assert set(boxes) == {a["id"] for a in actors if (instance == numbers[a["id"]]).any()}
        for a in actors:
            if a["id"] not in boxes:
                continue
            box, own = boxes[a["id"]], instance == numbers[a["id"]]
            rows, columns = np.nonzero(own)
            assert box.rectangle == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            alone = cast(spec, [(a, 1)])[1] == 1
            assert box.pixels == own.sum()
            # Boxes that stand in each other hide no more than what is before the box itself.
            assert box.pixels + box.hidden == pytest.approx(
                alone.sum(), abs=0 if apart(a, actors) else int(alone.sum())
            )
            listed, hidden_ones = listed + 1, hidden_ones + (box.hidden > 0)
    assert listed > 20 and hidden_ones > 8


def apart(one: dict, actors: list[dict]) -> bool:
    """Whether the ball around a box touches no other's."""
    radius = lambda a: np.linalg.norm(a["size"]) / 2  # noqa: E731
    return all(
        np.linalg.norm(np.subtract(a["position"], b["position"])) > radius(a) + radius(b)
        for a, b in itertools.combinations(actors, 2)
        if one["id"] in (a["id"], b["id"])
    )
