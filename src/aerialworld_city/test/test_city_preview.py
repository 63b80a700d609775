"""The pictures of a world: places, orientation, shadows and hidden faces against worlds whose pixels are known, and the
depth of every sample against rays."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from aerialworld_city.convert import convert
from aerialworld_city.options import ConversionOptions
from aerialworld_city.sources.credit import PLATEAU_CREDIT
from aerialworld_city.synthetic.generate import generate_city
from aerialworld_city.writing import preview, shading
from aerialworld_core.errors import WorldError
from aerialworld_core.world import load_world

BOX = """<visual name="{name}"><pose>{pose}</pose><geometry><box><size>{size}</size></box></geometry>
<material><diffuse>{colour} 1</diffuse></material></visual>"""


def write_world(folder, models, low, high, attribution="Nobody", includes=None):
    """A world of models (name → visuals' SDF) with given bounds."""
    for name, visuals in models.items():
        (folder / "models" / name).mkdir(parents=True)
        (folder / "models" / name / "model.sdf").write_text(
            f'<sdf version="1.10"><model name="{name}"><static>true</static>'
            f'<link name="link">{visuals}</link></model></sdf>'
        )
    poses = includes or {name: "" for name in models}
    lines = "".join(f"<include><uri>model://{n}</uri>{poses.get(n, '')}</include>" for n in models)
    (folder / "world.sdf").write_text(f'<sdf version="1.10"><world name="w">{lines}</world></sdf>')
    city = {"attribution": attribution, "bounds": {"world": [low, high]}}
    (folder / "city.json").write_text(json.dumps(city))
    return folder


def box(name, centre, size, colour):
    return BOX.format(
        name=name, pose=" ".join(map(str, (*centre, 0, 0, 0))), size=" ".join(map(str, size)), colour=colour
    )


def pictures(folder):
    return [np.asarray(Image.open(path)).astype(int) for path in preview.render_previews(folder)]


GROUND = box("ground", (0, 0, -0.5), (200, 100, 1), "0.5 0.5 0.5")


def of_colour(picture, channel):
    """Mask of pixels in which one channel is far above the others."""
    others = [c for c in range(3) if c != channel]
    return picture[..., channel] > 1.5 * picture[..., others].max(axis=-1) + 20


def test_preview_top_shows_things_where_their_coordinates_say(tmp_path):
    red = box("red", (70, 0, 5), (10, 10, 10), "0.8 0 0")
    green = box("green", (0, 35, 5), (10, 10, 10), "0 0.8 0")
    world = write_world(tmp_path, {"m": GROUND + red + green}, [-100, -50, -1], [100, 50, 10])
    top, _ = pictures(world)
    assert top.shape[1] == preview.WIDTH
    height, width, _ = top.shape
    # 4 % of the width is margin.
    pixels = 0.96 * width / 200
    for channel, (x, y) in ((0, (70, 0)), (1, (0, 35))):
        rows, columns = np.nonzero(of_colour(top, channel))
        assert (columns.mean() - width / 2) / pixels == pytest.approx(x, abs=0.3)
        assert (height / 2 - rows.mean()) / pixels == pytest.approx(y, abs=0.3)
        assert len(rows) / pixels**2 == pytest.approx(100, rel=0.05)


def test_preview_scale_is_as_long_as_it_says(tmp_path):
    world = write_world(tmp_path, {"m": GROUND}, [-100, -50, -1], [100, 50, 0])
    top, _ = pictures(world)
    bar = np.flatnonzero((top[top.shape[0] - 18, :800] < 60).all(axis=-1))
    metres = (bar.max() - bar.min()) / (0.96 * top.shape[1] / 200)
    assert metres == pytest.approx(20, abs=0.4)
    assert preview._round_length(39.9) == 20 and preview._round_length(50) == 50 and preview._round_length(0.3) == 0.2


def test_preview_oblique_looks_from_the_south_east(tmp_path):
    sides = [
        box("south", (0, -5.05, 5), (10, 0.1, 10), "0.8 0 0"),
        box("east", (5.05, 0, 5), (0.1, 10, 10), "0 0.8 0"),
        box("north", (0, 5.05, 5), (10, 0.1, 10), "0 0 0.8"),
        box("west", (-5.05, 0, 5), (0.1, 10, 10), "0 0.2 0.9"),
        box("core", (0, 0, 5), (10, 10, 10.1), "0.5 0.5 0.5"),
    ]
    ground = box("ground", (0, 0, -0.5), (30, 30, 1), "0.5 0.5 0.5")
    world = write_world(tmp_path, {"m": ground + "".join(sides)}, [-15, -15, -1], [15, 15, 10.1])
    _, oblique = pictures(world)
    red, green, blue = (of_colour(oblique[60:-60], c) for c in range(3))
    assert red.sum() > 5000 and green.sum() > 2000
    # Of the far sides only the rims of the thin plates are seen.
    assert blue[red.any(axis=1)].sum() < 0.1 * green.sum()
    assert np.nonzero(red)[1].mean() < np.nonzero(green)[1].mean()


def test_preview_textures_are_the_right_way_round(tmp_path):
    """A plate on the ground whose image is red in the north-west, green north-east, blue south-west, white else."""
    image = np.zeros((64, 64, 3), np.uint8)
    image[:32, :32, 0] = image[:32, 32:, 1] = image[32:, :32, 2] = 255
    image[32:, 32:] = 255
    visual = """<visual name="plate"><geometry><mesh><uri>meshes/plate.obj</uri></mesh></geometry><material>
    <diffuse>1 1 1 1</diffuse><pbr><metal><albedo_map>meshes/plate.png</albedo_map></metal></pbr></material></visual>"""
    world = write_world(tmp_path, {"m": visual}, [-50, -50, 0], [50, 50, 1])
    meshes = tmp_path / "models/m/meshes"
    meshes.mkdir()
    Image.fromarray(image).save(meshes / "plate.png")
    (meshes / "plate.obj").write_text(
        "v -50 -50 0\nv 50 -50 0\nv 50 50 0\nv -50 50 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nf 1/1 2/2 3/3\nf 1/1 3/3 4/4\n"
    )
    top, oblique = pictures(world)
    height, width, _ = top.shape
    for channel, (dy, dx) in enumerate(((-1, -1), (-1, 1), (1, -1))):
        pixel = top[height // 2 + dy * height // 5, width // 2 + dx * width // 5]
        assert pixel.argmax() == channel and np.delete(pixel, channel).max() < 30
    assert top[height // 2 + height // 5, width // 2 + width // 5].min() > 200
    # From the south-east: white in front, red behind.
    rows = {c: np.nonzero(of_colour(oblique, c))[0].mean() for c in range(3)}
    columns = {c: np.nonzero(of_colour(oblique, c))[1].mean() for c in range(3)}
    assert rows[0] < rows[2] and rows[0] < np.nonzero(oblique.min(axis=-1) > 245)[0].mean()
    assert columns[2] < columns[0] < columns[1]


def test_preview_shows_shadows_to_the_north_east_and_no_back_faces(tmp_path):
    tower = box("tower", (0, 0, 10), (10, 10, 20), "0.8 0 0")
    lid = """<visual name="lid"><geometry><mesh><uri>meshes/lid.obj</uri></mesh></geometry><material>
    <diffuse>0 0.8 0 1</diffuse></material></visual>"""
    world = write_world(tmp_path, {"m": GROUND + tower + lid}, [-100, -50, -1], [100, 50, 20])
    meshes = tmp_path / "models/m/meshes"
    meshes.mkdir()
    # A square 15 m up that faces down: not to be seen from above, but it casts a shadow.
    meshes.joinpath("lid.obj").write_text("v 60 -30 15\nv 60 -20 15\nv 70 -20 15\nv 70 -30 15\nf 1 2 3\nf 1 3 4\n")
    top, _ = pictures(world)
    height, width, _ = top.shape
    pixels = 0.96 * width / 200

    def at(x, y):
        return top[round(height / 2 - y * pixels), round(width / 2 + x * pixels)].mean()

    plain = at(-40, 0)
    assert 60 < plain < 250
    shift = -15 * shading.SUN[:2] / shading.SUN[2]
    corner = np.array([4, 4])
    assert at(*(0.8 * shift + corner)) < 0.75 * plain
    assert at(*-(shift + corner)) == pytest.approx(plain, abs=6)
    assert not of_colour(top, 1).any()
    assert at(*(np.array([65, -25]) + shift)) < 0.75 * plain
    assert at(65 - shift[0], -25 - shift[1]) == pytest.approx(plain, abs=6)


def test_preview_is_the_same_bytes_again_and_credits_the_source(tmp_path):
    credit = PLATEAU_CREDIT
    world = write_world(tmp_path, {"m": GROUND}, [-100, -50, -1], [100, 50, 0], attribution=credit)
    paths = preview.render_previews(world)
    assert [p.name for p in paths] == ["preview_top.png", "preview_oblique.png"]
    first = [p.read_bytes() for p in paths]
    assert [p.read_bytes() for p in preview.render_previews(world)] == first
    assert preview._credit({"attribution": credit}) == "Source: MLIT Project PLATEAU (CC BY 4.0), processed"
    assert preview._credit({"attribution": "Generated"}) == "Generated"
    assert preview._credit({"attribution": f"{credit} / Mine"}).endswith("processed / Mine")
    assert preview._credit({"attribution": "東京都"}) == "Credits: see city.json"  # the font lacks the letters
    corner = np.asarray(Image.open(paths[1])).astype(int)[-34:, -480:]
    assert (corner.max(axis=-1) < 60).sum() > 800  # the letters


def test_preview_honours_the_poses_of_includes_and_needs_no_buildings(tmp_path):
    red = box("red", (0, 0, 5), (10, 10, 10), "0.8 0 0")
    turned = "<pose>0 70 0 0 0 -1.5707963267948966</pose>"
    world = write_world(tmp_path, {"g": GROUND, "m": red}, [-100, -50, -1], [100, 50, 10], includes={"m": turned})
    (tmp_path / "world.sdf").write_text((tmp_path / "world.sdf").read_text().replace("0 70 0", "70 30 0"))
    top, _ = pictures(world)
    rows, columns = np.nonzero(of_colour(top, 0))
    pixels = 0.96 * top.shape[1] / 200
    assert (columns.mean() - top.shape[1] / 2) / pixels == pytest.approx(70, abs=0.3)
    assert (top.shape[0] / 2 - rows.mean()) / pixels == pytest.approx(30, abs=0.3)


def test_preview_refuses_a_missing_model_and_leaves_huge_or_empty_worlds(tmp_path, monkeypatch):
    world = write_world(tmp_path, {"m": GROUND}, [-100, -50, -1], [100, 50, 0])
    monkeypatch.setattr(preview, "MAX_MODELS", 0)
    assert preview.render_previews(world) == []
    monkeypatch.undo()
    (tmp_path / "models/m").rename(tmp_path / "models/n")
    with pytest.raises(WorldError, match="model://m"):
        preview.render_previews(world)
    (tmp_path / "models/n").rename(tmp_path / "models/m")
    (tmp_path / "city.json").write_text('{"bounds": {"world": [[0, 0, 0], [1, 1]]}}')
    with pytest.raises(WorldError, match=r"city\.json: has no bounds"):
        preview.render_previews(world)


@pytest.fixture(scope="module")
def small_city(tmp_path_factory):
    folder = tmp_path_factory.mktemp("preview")
    generate_city(folder / "city", 3)
    convert(folder / "city", folder / "world", ConversionOptions(workers=1, preview=False))
    return folder


def test_preview_depth_agrees_with_rays(small_city):
    """What each sample shows is what a ray meets there, back faces passed, from both sides of the camera's model."""
    world = load_world(small_city / "world")
    city = json.loads((small_city / "world/city.json").read_text())
    views = preview._views(preview._corners(city, np.array(city["bounds"]["world"])))
    for folder, matrix in preview._models(small_city / "world"):
        assert matrix is None
        shading.draw(load_world(folder).scene, views)
    rng = np.random.default_rng(5)
    for view in views[:2]:
        eye = view.axes[2]
        rows, columns = rng.integers(0, view.height, 4000), rng.integers(0, view.width, 4000)
        seen = np.column_stack([columns + 0.5, rows + 0.5, np.full(4000, 900.0)])
        origins = np.linalg.solve(view.axes, (seen - view.offset).T).T
        distance, face = world.cast(origins, np.broadcast_to(-eye, origins.shape))
        nearness = view.nearness[rows, columns]
        assert ((face >= 0) == np.isfinite(nearness)).mean() > 0.999
        both = (face >= 0) & np.isfinite(nearness)
        assert both.sum() > 1500
        off = np.abs(900.0 - distance[both] - nearness[both])
        assert np.median(off) < 1e-4 and (off < 0.02).mean() > 0.995


@pytest.mark.long
def test_preview_shows_a_world_with_a_heightmap(small_city):
    out = small_city / "heightmap"
    convert(small_city / "city", out, ConversionOptions(workers=1, preview=False, terrain="heightmap"))
    top, _ = pictures(out)
    paper = (np.abs(top - np.array(preview._PAPER)) < 3).all(axis=-1)
    assert paper.mean() < 0.35
    assert len(preview.render_previews(small_city / "world")) == 2
