"""Heightmaps of SDF: heights, place, facing and texture, as Gazebo has them."""

import io

import numpy as np
import pytest
from PIL import Image

from aerialworld_core.errors import InputError
from aerialworld_core.world import load_world


def grey(values):
    out = io.BytesIO()
    Image.fromarray(np.asarray(values, np.uint16)).save(out, "PNG")
    return out.getvalue()


def shape(uri, size="8 8 10", pos="100 200 5", extra=""):
    return f"<heightmap><uri>{uri}</uri><size>{size}</size><pos>{pos}</pos>{extra}</heightmap>"


def world_with(write_world, sdf, tmp_path, values, **options):
    (tmp_path / "heights.png").write_bytes(grey(values))
    model = sdf.model("ground", sdf.visual(shape("heights.png", **options)), label=14)
    return load_world(write_world(model))


def test_samples_of_a_two_to_the_n_plus_one_picture_lie_from_border_to_border(write_world, sdf, tmp_path):
    rng = np.random.default_rng(3)
    values = rng.integers(0, 65536, (5, 5))
    values[1, 2] = 65535
    world = world_with(write_world, sdf, tmp_path, values)
    assert world.bounds == pytest.approx(np.array([[96, 196, 5 + values.min() / 6553.5], [104, 204, 15]]), abs=1e-4)
    rows, columns = np.meshgrid(np.arange(5), np.arange(5), indexing="ij")
    xy = np.column_stack([96 + 2 * columns.ravel(), 204 - 2 * rows.ravel()])  # row 0 is north
    inner = (np.abs(xy - [100, 200]) < 3.9).all(axis=1)
    expected = 5 + values.ravel() / 6553.5
    assert world.terrain_height(xy[inner]) == pytest.approx(expected[inner], abs=1e-4)
    triangles = world.scene.triangles
    up = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])[:, 2]
    assert len(triangles) == 32 and (up > 0).all()
    assert (world.scene.normals[..., 2] > 0).all() and set(world.scene.face_class) == {14}
    assert world.notes == []


def test_a_plane_keeps_its_slope_and_its_normal(write_world, sdf, tmp_path):
    # 65,535 at the eastern border, 0 at the western: 10 m up over 8 m.
    values = np.tile(np.round(np.linspace(0, 65535, 9)), (9, 1))
    world = world_with(write_world, sdf, tmp_path, values)
    xy = np.array([[97.3, 198.0], [100.0, 203.0], [103.2, 199.0]])
    assert world.terrain_height(xy) == pytest.approx(5 + (xy[:, 0] - 96) * 10 / 8, abs=1e-3)
    slope = np.array([-10, 0, 8]) / np.hypot(10, 8)
    assert world.scene.normals.reshape(-1, 3) == pytest.approx(np.tile(slope, (128 * 3, 1)), abs=1e-4)


def test_a_two_to_the_n_picture_ends_one_sample_before_the_border(write_world, sdf, tmp_path):
    values = np.zeros((4, 4))
    values[0, 0] = 65535
    world = world_with(write_world, sdf, tmp_path, values)
    assert world.bounds[:, :2].tolist() == [[96, 198], [102, 204]]
    assert world.scene.vertices[world.scene.vertices[:, 2].argmax()].tolist() == [96, 204, 15]


def test_the_greatest_value_stands_for_the_whole_height_as_in_gazebo(write_world, sdf, tmp_path):
    values = np.full((3, 3), 100)
    values[1, 1] = 200
    world = world_with(write_world, sdf, tmp_path, values)
    assert world.bounds[:, 2].tolist() == [10, 15]


def test_the_texture_repeats_in_metres(write_world, sdf, tmp_path):
    Image.fromarray(np.array([[[255, 0, 0], [0, 255, 0]]], np.uint8)).save(tmp_path / "colour.png")
    texture = "<texture><size>4</size><diffuse>colour.png</diffuse><normal>colour.png</normal></texture>"
    world = world_with(write_world, sdf, tmp_path, np.full((3, 3), 65535), extra=texture)
    scene = world.scene
    west = np.isclose(scene.triangles[..., 0], 96)
    assert scene.uv[west][:, 0] == pytest.approx(0) and scene.uv[np.isclose(scene.triangles[..., 0], 104)][:, 0] == (
        pytest.approx(2)
    )
    assert scene.materials[scene.face_material[0]].texture.tolist() == [[[255, 0, 0], [0, 255, 0]]]


def test_a_pose_does_not_move_a_heightmap_and_the_world_says_so(write_world, sdf, tmp_path):
    (tmp_path / "heights.png").write_bytes(grey(np.full((3, 3), 65535)))
    model = sdf.model("ground", sdf.visual(shape("heights.png")), label=14, pose="7 0 0 0 0 0")
    world = load_world(write_world(model))
    assert world.bounds[:, 0].tolist() == [96, 104]
    assert world.notes == ["model ground: its pose does not move its heightmap, as in Gazebo"]


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (np.zeros((6, 6)), {}, "6×6 pixels"),
        (np.zeros((5, 9)), {}, "9×5 pixels"),
        (np.zeros((5, 5)), {"size": "8 0 10"}, "sizes must be positive"),
        (np.zeros((5, 5)), {"pos": "0 nan 0"}, "not finite"),
    ],
)
def test_heightmaps_that_gazebo_would_not_load_are_named(write_world, sdf, tmp_path, values, options, message):
    with pytest.raises(InputError, match=message):
        world_with(write_world, sdf, tmp_path, values, **options)
