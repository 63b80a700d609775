"""`aerialworld look`: viewpoints where there is room, the same every time; a sheet that shows what the rig saw."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from aerialworld import look, viewpoint
from aerialworld.cli import app
from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose
from aerialworld_core.labels import COLOURS, DRIVEABLE_SURFACE, GROUND, MANMADE
from aerialworld_core.resources import share
from aerialworld_core.world import load_rig, load_world
from aerialworld_core.world.scene import Scene


@pytest.fixture(scope="module")
def folder() -> Path:
    return share("aerialworld_worlds") / "small_city"


@pytest.fixture(scope="module")
def world(folder: Path):
    return load_world(folder)


@pytest.fixture(scope="module")
def seen(world) -> look.Look:
    """From over the densest place, with small images."""
    return look.look_from(world, viewpoint.air_viewpoint(world, 40.0), load_rig("rig_small"), world.light)


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(w) for w in words])


def text_of(result: Result) -> str:
    return " ".join((result.stdout + result.stderr).split())


def test_the_densest_place_has_the_most_wall_around_it(world) -> None:
    """Counted again by brute force: no other place on a grid has more wall in the 150 m square around it by much."""
    scene = world.scene
    standing = ~np.isin(scene.face_class, GROUND)
    corners = scene.triangles[standing].astype(float)
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    wall, middle = np.hypot(cross[:, 0], cross[:, 1]) / 2, corners.mean(axis=1)[:, :2]

    def around(place: np.ndarray) -> float:
        return float(wall[(np.abs(middle - place) <= 75.0).all(axis=1)].sum())

    low, high = world.bounds[:, :2]
    everywhere = [
        around(np.array([x, y])) for x in np.arange(low[0], high[0], 25.0) for y in np.arange(low[1], high[1], 25.0)
    ]
    assert around(viewpoint.densest_place(world)) > 0.8 * max(everywhere)


@pytest.mark.parametrize("height", [5.0, 40.0, 60.0])
def test_in_the_air_there_is_room_at_the_height_that_was_asked_for(world, height: float) -> None:
    pose = viewpoint.air_viewpoint(world, height)
    ground = world.terrain_height(pose.position[None, :2])[0]
    assert pose.position[2] - ground == pytest.approx(height, abs=1e-6)
    assert not world.inside_solid(pose.position[None])[0]
    rng = np.random.default_rng(1)
    ways = rng.normal(size=(2000, 3))
    distance, _ = world.cast(np.tile(pose.position, (2000, 1)), ways, cull_backfaces=False)
    assert distance.min() > min(viewpoint.FREE_AIR[-1], height) * 0.5
    again = viewpoint.air_viewpoint(world, height)
    assert (again.position == pose.position).all() and (again.orientation == pose.orientation).all()


def test_in_the_street_one_stands_on_the_road_in_the_open(world) -> None:
    pose = viewpoint.street_viewpoint(world, 1.8)
    distance, face = world.cast(pose.position[None], np.array([[0.0, 0.0, -1.0]]), cull_backfaces=False)
    assert distance[0] == pytest.approx(1.8, abs=1e-3)
    assert world.scene.face_class[face[0]] == DRIVEABLE_SURFACE
    up, _ = world.cast(pose.position[None], np.array([[0.0, 0.0, 1.0]]), cull_backfaces=False)
    assert np.isinf(up[0]) and not world.inside_solid(pose.position[None])[0]
    ahead = pose.rotation[:, 0]
    view, _ = world.cast(np.tile(pose.position, (2, 1)), np.stack([ahead, -ahead]), cull_backfaces=False)
    assert view[0] >= min(view[1], viewpoint.FARTHEST)


def test_where_nothing_is_free_it_is_said(world) -> None:
    class Solid:
        path, bounds, scene = Path("solid"), world.bounds, world.scene
        cast, terrain_height = world.cast, world.terrain_height

        def inside_solid(self, points):
            return np.ones(len(points), bool)

    for choose in (lambda w: viewpoint.air_viewpoint(w, 60.0), lambda w: viewpoint.street_viewpoint(w, 1.8)):
        with pytest.raises(InputError, match="--at"):
            choose(Solid())


def test_an_empty_world_is_looked_at_in_its_middle(world) -> None:
    class Flat:
        bounds = np.array([[0.0, 0.0, 0.0], [100.0, 60.0, 0.0]])
        scene = Scene(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32), np.zeros(0, np.uint8),
                      np.zeros(0, np.uint16), np.zeros(0, np.int32), np.zeros((0, 3, 2), np.float32),
                      np.zeros((0, 3, 3), np.float32), [])  # fmt: skip

    assert viewpoint.densest_place(Flat()).tolist() == [50.0, 30.0]


def test_the_cube_unfolds_without_a_seam(seen: look.Look) -> None:
    """Where two faces of the cross touch, the depth along both axes is the same: their common edge is at 45°."""
    depth = {f: np.minimum(np.nan_to_num(d, posinf=500.0), 500.0) for f, d in seen.frame.depth.items()}
    pairs = [(depth["front"][:, -1], depth["right"][:, 0]), (depth["left"][:, -1], depth["front"][:, 0])]
    pairs += [(depth["right"][:, -1], depth["back"][:, 0])]
    pairs += [(depth["up"][-1], depth["front"][0]), (depth["front"][-1], depth["down"][0])]
    for a, b in pairs:
        n = min(len(a), len(b))
        a, b = a[np.arange(n) * len(a) // n], b[np.arange(n) * len(b) // n]
        assert np.median(np.abs(a - b) / np.maximum(a, 1.0)) < 0.03
        assert (np.abs(a - b) < 0.1 * np.maximum(a, 1.0)).mean() > 0.85
    cross = look._unfolded(
        {
            f: np.full((4, 4, 3), i + 1, np.uint8)
            for i, f in enumerate(("front", "left", "back", "right", "up", "down"))
        },
        2,
    )
    assert cross[::2, ::2, 0].tolist() == [[250, 5, 250, 250], [2, 1, 4, 3], [250, 6, 250, 250]]


def test_the_range_image_is_what_one_sees_around(seen: look.Look, world) -> None:
    """Each of its pixels against an exact ray in the direction that its row and column stand for."""
    spec, image = seen.rig.lidar, look.range_image(seen)
    pose = seen.frame.state.pose @ spec.pose
    rows, columns = np.nonzero(np.isfinite(image))
    assert len(rows) == len(seen.frame.lidar) and image.shape == (spec.beams, spec.columns)
    elevation = spec.elevations[::-1][rows]  # the highest beam on top
    azimuth = spec.azimuths[::-1][columns]  # left of the vehicle on the left
    ways = np.column_stack(
        [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
    )
    distance, _ = world.cast(np.tile(pose.position, (len(ways), 1)), ways @ pose.rotation.T)
    assert np.median(np.abs(distance - image[rows, columns])) < 5 * spec.noise_stddev + 0.01
    assert (np.abs(distance - image[rows, columns]) < 0.2).mean() > 0.98


def test_the_sheet_shows_every_sensor(seen: look.Look) -> None:
    """The cameras' pixels at their places, the classes' colours, the title above."""
    sheet = np.array(Image.open(io.BytesIO(look.contact_sheet(seen, ["a title", "and more"]))))
    assert sheet.shape[1] == look.WIDTH and sheet.std() > 30
    width = (look.WIDTH - 4 * look.MARGIN) // 3
    top = look.MARGIN + 2 * (look.TEXT + 6)
    for column, name in enumerate(look.CAMERAS[:3]):
        picture = Image.fromarray(seen.frame.images[name])
        small = np.array(
            picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
        )
        x = look.MARGIN + column * (width + look.MARGIN)
        shown = sheet[top : top + small.shape[0], x : x + width]
        assert (shown[40:] == small[40:]).all()  # below its label
    assert (sheet[:top] != np.array(look.PAPER)).any()
    for label in (MANMADE, DRIVEABLE_SURFACE):
        assert (sheet == COLOURS[label]).all(axis=-1).sum() > 500
    assert look.contact_sheet(seen, ["a title", "and more"]) == look.contact_sheet(seen, ["a title", "and more"])


def test_distances_are_coloured_by_order_and_absence_is_dark() -> None:
    colours = look.distance_colours(np.array([[0.5, 1.0, 10.0, 200.0, 900.0, np.inf, -np.inf]], np.float32))[0].astype(
        int
    )
    assert (colours[0] == colours[1]).all() and (colours[3] == colours[4]).all()
    assert colours[1].sum() > colours[2].sum() > colours[3].sum()
    assert (colours[5:] == look.NOTHING).all()


def test_a_rig_of_other_sensors_has_its_sheet(world, tmp_path: Path) -> None:
    """One camera and two faces of other names, no LiDAR."""
    text = """<sdf version="1.10"><model name="two"><link name="base_link">
    <sensor name="cam_belly" type="camera"><update_rate>1</update_rate><camera><horizontal_fov>1</horizontal_fov>
    <image><width>64</width><height>48</height></image><clip><near>0.1</near><far>300</far></clip></camera></sensor>"""
    for face, yaw in (("ahead", 0), ("aside", 90)):
        for kind, prefix in (("depth_camera", "depth"), ("segmentation_camera", "semantic")):
            text += f"""<sensor name="{prefix}_{face}" type="{kind}"><pose degrees="true">0 0 0 0 0 {yaw}</pose>
            <update_rate>1</update_rate><camera><horizontal_fov>1.57</horizontal_fov><image><width>40</width>
            <height>40</height></image><clip><near>0.1</near><far>200</far></clip></camera></sensor>"""
    rig = tmp_path / "two.sdf"
    rig.write_text(text + "</link></model></sdf>")
    shown = look.look_from(world, viewpoint.air_viewpoint(world, 30.0), load_rig(rig), world.light)
    sheet = np.array(Image.open(io.BytesIO(look.contact_sheet(shown, ["two"]))))
    assert sheet.shape[0] > 300 and (sheet == COLOURS[MANMADE]).all(axis=-1).any()


def test_the_command_draws_noon_brighter_than_night(folder: Path, tmp_path: Path) -> None:
    brightness = {}
    for time in ("12:00", "23:00"):
        out = tmp_path / "made" / f"{time[:2]}.png"
        result = run(
            "look", folder, "--street", "--rig", "rig_small", "--conditions", f"local_time={time}", "--out", out
        )
        assert (result.exit_code, result.stdout.strip()) == (0, str(out)), text_of(result)
        with Image.open(out) as sheet:
            brightness[time] = np.array(sheet.convert("L"))[60:600].mean()
    assert brightness["12:00"] > 3 * brightness["23:00"]
    given = run("look", folder, "--at", "0,0,80,90", "--rig", "rig_small", "--out", tmp_path / "at.png")
    assert given.exit_code == 0, text_of(given)


def test_what_cannot_be_looked_at_is_told(folder: Path, tmp_path: Path) -> None:
    refusals = {
        ("--at", "1,2"): "--at",
        ("--at", "1,2,nan"): "--at",
        ("--at", "1,2,3", "--street"): "give one of them",
        ("--above-ground", "-3"): "--above-ground",
        ("--above-ground", "nan"): "--above-ground",
        ("--conditions", "local_time=25:00"): "25:00",
        ("--rig", "rig_nowhere"): "rig_nowhere",
    }
    for options, words in refusals.items():
        result = run("look", folder, *options, "--out", tmp_path / "sheet.png")
        assert result.exit_code == 2 and words in text_of(result), (options, text_of(result))
    result = run("look", folder, "--out", tmp_path / "sheet.gif")
    assert result.exit_code == 2 and ".png" in text_of(result)
    assert list(tmp_path.iterdir()) == []


def test_the_pose_of_the_command_line_is_metres_and_degrees() -> None:
    from aerialworld.commands.look import _pose_from_option

    pose = _pose_from_option("1,-2,3.5,90")
    assert pose.position.tolist() == [1.0, -2.0, 3.5]
    assert pose.transform(np.array([1.0, 0.0, 0.0])) == pytest.approx([1.0, -1.0, 3.5])
    assert (_pose_from_option("0,0,1").orientation == Pose.identity().orientation).all()
