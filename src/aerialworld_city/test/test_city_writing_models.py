"""Models as the simulators get them: SDF 1.10, what is seen and what is touched, textures the right way round."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from aerialworld_city.features import Feature, Material, Surface
from aerialworld_city.geometry.mesh import Mesh
from aerialworld_city.kinds import KINDS
from aerialworld_city.options import ConversionOptions
from aerialworld_city.writing.models import write_body_model, write_ground_model, write_heightmap_model
from aerialworld_city.writing.textures import Textures
from aerialworld_city.writing.world_writer import safe_name, unique_names, world_sdf
from aerialworld_core.errors import InputError
from aerialworld_core.frames import Georeference
from aerialworld_core.safexml import parse
from aerialworld_core.world import load_world

sys.path.insert(0, str(Path(__file__).parent))
import city_sdf_structure as sdf

trimesh = pytest.importorskip("trimesh")
SHARED = Path(os.environ.get("AERIALWORLD_SHARED", Path(__file__).parents[4] / "shared")) / "data" / "plateau"
OPTIONS = ConversionOptions()
HERE = Georeference(35.68, 139.77, 0.0)


def body(triangles, surface=None, double=False, material=-1, uv=None, feature=0):
    triangles = np.asarray(triangles, float)
    n = len(triangles)
    normal = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    by_slope = np.where(normal[:, 2] > 1e-6, Surface.ROOF, np.where(normal[:, 2] < -1e-6, Surface.GROUND, Surface.WALL))
    return Mesh(
        triangles,
        np.broadcast_to(np.asarray(feature, np.int32), n).copy(),
        np.asarray(by_slope if surface is None else surface, np.int8),
        np.broadcast_to(np.asarray(double), n).copy(),
        np.broadcast_to(np.asarray(material, np.int32), n).copy(),
        uv,
    )


def box(extents=(10, 8, 6), at=(0, 0, 3)):
    return np.array(trimesh.creation.box(extents).apply_translation(at).triangles)


def feature(identifier="bldg_1", kind="building", **more):
    return Feature(identifier, kind, "a.gml", 2, **more)


def write_world(folder, names, name="w"):
    (folder / "world.sdf").write_bytes(world_sdf(name, HERE, names))
    return folder


def write(folder, name, mesh, kind="building", materials=(), features=None, options=OPTIONS, textures=None):
    features = features or [feature(kind=kind)]
    bases = np.array([mesh.triangles[mesh.feature == i][..., 2].min() for i in range(len(features))])
    tops = np.array([mesh.triangles[mesh.feature == i][..., 2].max() for i in range(len(features))])
    return write_body_model(
        folder, name, kind, mesh, features, list(materials), bases, tops, options, textures or Textures(2048)
    )


def read(path):
    with open(path, "rb") as handle:
        scene = trimesh.load(handle, file_type="glb", process=False)
    return trimesh.util.concatenate(list(scene.geometry.values()))


def letter_f(size=64):
    """A black F on four corners of different colour: unlike itself whichever way it is turned or mirrored."""
    pixels = np.zeros((size, size, 3), np.uint8)
    half = size // 2
    for rows, columns, colour in (
        (slice(0, half), slice(0, half), (230, 40, 40)),  # top left: red
        (slice(0, half), slice(half, size), (40, 210, 60)),  # top right: green
        (slice(half, size), slice(0, half), (50, 60, 220)),  # bottom left: blue
        (slice(half, size), slice(half, size), (235, 225, 60)),  # bottom right: yellow
    ):
        pixels[rows, columns] = colour
    unit = size // 8
    pixels[unit * 2 : unit * 6, unit * 3 : unit * 4] = 0
    pixels[unit * 2 : unit * 3, unit * 3 : unit * 5] = 0
    pixels[unit * 4 - unit // 2 : unit * 4 + unit // 2, unit * 3 : unit * 5 - unit // 2] = 0
    return pixels


WALL = np.array([[[20, -5, 1], [20, 5, 1], [20, 5, 9]], [[20, -5, 1], [20, 5, 9], [20, -5, 9]]], float)
#: For someone who looks at the wall from outside (from +x), the image's left is at y = −5: +y runs to the right.
WALL_UV = np.array([[[0, 0], [1, 0], [1, 1]], [[0, 0], [1, 1], [0, 1]]], np.float32)


def seen(world, origins, directions):
    """The texture's sRGB (N, 3) that rays hit, by the loader's uv and the nearest pixel."""
    distance, face = world.cast(origins, directions)
    assert np.isfinite(distance).all()
    scene = world.scene
    colours = []
    for place, f in zip(np.asarray(origins) + distance[:, None] * np.asarray(directions), face, strict=True):
        a, b, c = scene.triangles[f].astype(float)
        weights = np.linalg.lstsq(np.stack([b - a, c - a], -1), place - a, rcond=None)[0]
        uv = scene.uv[f].astype(float)
        u, v = uv[0] + weights @ (uv[1:] - uv[0])
        texture = scene.materials[scene.face_material[f]].texture
        height, width = texture.shape[:2]
        colours.append(texture[int((1 - v) % 1 * height) % height, int(u % 1 * width) % width])
    return np.array(colours, float)


def look_at_wall(world, places):
    """`places` (N, 2): to the right and up on the wall, 0-1, for someone who looks at it from outside."""
    y, z = -5 + 10 * np.asarray(places)[:, 0], 1 + 8 * np.asarray(places)[:, 1]
    origins = np.column_stack([np.full(len(y), 30.0), y, z])
    return seen(world, origins, np.tile([-1.0, 0, 0], (len(y), 1)))


def test_an_f_on_a_wall_is_an_f(tmp_path):
    image = letter_f()
    Image.fromarray(image).save(tmp_path / "f.png")
    mesh = body(WALL, material=0, uv=WALL_UV)
    info = write(tmp_path / "w", "m", mesh, materials=[(tmp_path, tmp_path, Material("f.png"))])
    assert len(info.images) == 1 and info.problems == ()
    world = load_world(write_world(tmp_path / "w", ["m"]))
    corners = look_at_wall(world, [[0.1, 0.9], [0.9, 0.9], [0.1, 0.1], [0.9, 0.1]])
    assert corners.tolist() == [[230, 40, 40], [40, 210, 60], [50, 60, 220], [235, 225, 60]]
    across, up = np.meshgrid((np.arange(64) + 0.5) / 64, 1 - (np.arange(64) + 0.5) / 64)
    whole = look_at_wall(world, np.column_stack([across.ravel(), up.ravel()])).reshape(64, 64, 3)
    assert (whole == image).mean() > 0.999
    assert set(world.scene.face_class) == {15} and world.notes == []


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real PLATEAU files below {SHARED}: set AERIALWORLD_SHARED")
@pytest.mark.parametrize("part", ["01_*/**/*.jpg", "03_*/**/*.jpg", "05_*/**/*.tif"])
def test_real_photographs_are_the_right_way_round(tmp_path, part):
    path = max(SHARED.glob(part), key=lambda p: p.stat().st_size)
    mesh = body(WALL, material=0, uv=WALL_UV + np.float32(3))  # three repeats further
    write(tmp_path, "m", mesh, materials=[(path.parent, SHARED, Material(path.name))], textures=Textures(4096))
    world = load_world(write_world(tmp_path, ["m"]))
    with Image.open(path) as image:
        small = np.asarray(image.convert("RGB").resize((8, 8), Image.Resampling.BOX), float)
    across, up = np.meshgrid((np.arange(160) + 0.5) / 160, 1 - (np.arange(160) + 0.5) / 160)
    whole = look_at_wall(world, np.column_stack([across.ravel(), up.ravel()]))
    blocks = whole.reshape(8, 20, 8, 20, 3).mean(axis=(1, 3))
    right = np.abs(blocks - small).mean()
    turned = [np.abs(blocks - other).mean() for other in (small[::-1], small[:, ::-1], small[::-1, ::-1])]
    assert right < 4 and min(turned) > 2 * right, (right, turned)


def test_what_is_seen_has_backs_where_they_are_needed_and_what_is_touched_has_not(tmp_path):
    triangles = box()
    double = np.zeros(12, bool)
    double[:5] = True
    info = write(tmp_path, "m", body(triangles, double=double))
    assert (info.triangles, info.collision_triangles) == (17, 12)
    seen_, touched = read(tmp_path / "models/m/meshes/building.glb"), read(tmp_path / "models/m/meshes/collision.glb")
    assert len(seen_.faces) == 17 and len(touched.faces) == 12
    assert touched.is_watertight and touched.volume == pytest.approx(480, rel=1e-6)
    assert seen_.bounds == pytest.approx(touched.bounds) and seen_.bounds.tolist() == [[-5, -4, 0], [5, 4, 6]]
    key = lambda t: sorted(tuple(sorted(map(tuple, corners.round(4).tolist()))) for corners in t)  # noqa: E731
    assert key(seen_.triangles) == key(np.concatenate([triangles, triangles[double]]))
    normals = np.cross(seen_.triangles[:, 1] - seen_.triangles[:, 0], seen_.triangles[:, 2] - seen_.triangles[:, 0])
    written = seen_.vertex_normals[seen_.faces].mean(axis=1)
    assert (written * normals).sum(axis=1) == pytest.approx(np.linalg.norm(normals, axis=1), rel=1e-4)
    world = load_world(write_world(tmp_path, ["m"]))
    inside = world.cast([[0, 0, 3]] * 6, [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])[0]
    assert np.isfinite(inside).sum() >= 2  # from inside only the doubled faces are seen


def test_triangles_without_area_are_left_out_and_nothing_is_no_model(tmp_path):
    line = np.array([[[0, 0, 0], [1, 1, 1], [2, 2, 2]]], float)
    far = np.array([[[900, 900, 50], [900 + 1e-7, 900, 50], [900, 900, 51]]], float)  # a line in float32
    info = write(tmp_path, "m", body(np.concatenate([box(), line, far])))
    assert (info.triangles, info.collision_triangles) == (12, 12)
    info = write(tmp_path, "n", body(line))
    assert (info.triangles, info.collision_triangles) == (0, 0) and not (tmp_path / "models/n").exists()
    info = write_ground_model(tmp_path, "r", "road", body(line), [], OPTIONS, Textures(64))
    assert info.triangles == 0 and not (tmp_path / "models/r").exists()


def test_a_missing_image_is_told_once_and_the_rest_stands_in(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    Image.fromarray(letter_f()).save(tmp_path / "f.png")
    materials = [
        (tmp_path, tmp_path, Material("gone.jpg")),
        (tmp_path, tmp_path, Material("gone.jpg", (1.0, 0.0, 0.0))),
        (tmp_path, tmp_path, Material("broken.jpg")),
        (tmp_path, tmp_path, Material("../up.png")),
        (tmp_path, tmp_path, Material("never used.jpg")),
        (tmp_path, tmp_path, Material(None, (0.0, 0.5, 0.0), 0.3)),
        (tmp_path, tmp_path, Material("f.png")),
    ]
    uv = np.zeros((12, 3, 2), np.float32)
    uv[10:] = np.nan  # a photograph without a place
    mesh = body(box(), material=[0, 0, 1, 1, 2, 3, 5, 5, 6, -1, 6, 6], uv=uv)
    info = write(tmp_path / "w", "m", mesh, materials=materials)
    assert len(info.problems) == 3 and len(info.images) == 1
    assert [p.split(":")[0] for p in info.problems] == ["gone.jpg", "broken.jpg", "up.png"]
    assert "leaves the source's folder" in info.problems[2] and "no such file" in info.problems[0]
    world = load_world(write_world(tmp_path / "w", ["m"]))
    colours = {m.name: m.colour.tolist() for m in world.scene.materials if m.name.startswith("colour_")}
    assert colours["colour_ff0000"] == pytest.approx([1, 0, 0])
    assert colours["colour_008000"] == pytest.approx([0, 0.215861, 0], abs=1e-5)  # sRGB 128 of 255
    assert not [n for n in world.notes if "transparen" in n]  # everything is opaque
    plain = write(tmp_path / "v", "m", mesh, materials=materials, options=ConversionOptions(textures=False))
    assert plain.images == () and plain.problems == ()
    drawn = load_world(write_world(tmp_path / "v", ["m"])).scene.materials
    assert not [m for m in drawn if m.name.startswith("colour_")] and all(m.texture is not None for m in drawn)


def test_a_partly_photographed_building_is_quiet_elsewhere(tmp_path):
    grey = np.full((16, 16, 3), (150, 149, 145), np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    first, second = box(), box(at=(50, 0, 3))
    walls = np.abs(np.cross(first[:, 1] - first[:, 0], first[:, 2] - first[:, 0])[:, 0]) > 1
    material = np.concatenate([np.where(walls, 0, -1), np.full(12, -1)])
    mesh = body(
        np.concatenate([first, second]),
        material=material,
        uv=np.zeros((24, 3, 2), np.float32),
        feature=[0] * 12 + [1] * 12,
    )
    features = [feature("a"), feature("b")]
    write(tmp_path / "w", "m", mesh, materials=[(tmp_path, tmp_path, Material("grey.png"))], features=features)
    scene = load_world(write_world(tmp_path / "w", ["m"])).scene
    left = scene.triangles[:, :, 0].mean(axis=1) < 25
    names = lambda mask: {scene.materials[i].name for i in scene.face_material[mask]}  # noqa: E731
    on_first = {n for n in names(left) if not n.startswith("grey_")}
    assert on_first == {"quiet_grey", "underside"} and len(names(left)) == 3
    assert not any(n.startswith(("quiet", "grey_")) for n in names(~left))
    storeys = [n for n in names(~left) if n not in ("underside",) and not n.startswith("roof_")]
    assert len(storeys) == 1  # one façade


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("bridge", {"concrete", "deck"}), ("furniture", {"metal"}), ("vegetation", {"leaves", "bark"})],
)
def test_other_bodies_are_drawn_by_their_kind(tmp_path, kind, expected):
    trunk, crown = box((0.4, 0.4, 3), (0, 0, 1.5)), box((4, 4, 5), (0, 0, 5.5))
    mesh = body(np.concatenate([trunk, crown]))
    info = write(tmp_path, "m", mesh, kind=kind)
    assert info.collision_triangles == 24
    scene = load_world(write_world(tmp_path, ["m"])).scene
    names = np.array([scene.materials[i].name for i in scene.face_material])
    assert set(names) == expected and set(scene.face_class) == {KINDS[kind].label}
    if kind == "vegetation":
        x = np.abs(scene.triangles[..., 0]).max(axis=1)
        assert (names[x > 1] == "leaves").all() and (names == "bark").sum() == 8  # the trunk's sides
    if kind == "bridge":
        up = scene.normals[:, 0, 2] > 0.5
        assert (names[up] == "deck").all() and (names[~up] == "concrete").all()


@pytest.mark.parametrize("kind", ["terrain", "road", "sidewalk", "flat", "planting", "water"])
def test_surfaces_lie_face_up_and_only_the_terrain_is_touched(tmp_path, kind):
    x, y = np.meshgrid(np.arange(5.0) * 10, np.arange(5.0) * 10)
    grid = np.stack([x, y, 0.02 * x + 3], -1)
    quads = [(grid[i, j], grid[i, j + 1], grid[i + 1, j + 1], grid[i + 1, j]) for i in range(4) for j in range(4)]
    mesh = body([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])
    info = write_ground_model(tmp_path, "m", kind, mesh, [], OPTIONS, Textures(64))
    assert info.triangles == 32 and info.collision_triangles == (32 if kind == "terrain" else 0)
    assert (tmp_path / "models/m/meshes/collision.glb").exists() == (kind == "terrain")
    world = load_world(write_world(tmp_path, ["m"]))
    assert (world.scene.normals[..., 2] > 0.9).all() and set(world.scene.face_class) == {KINDS[kind].label}
    assert {m.laser_retro for m in world.scene.materials} == {KINDS[kind].laser_retro}
    assert world.surface_height(np.array([[12.3, 17.0], [31, 5.5]])) == pytest.approx([3.246, 3.62], abs=1e-4)


def test_ground_with_a_photograph_shows_it_in_place(tmp_path):
    Image.fromarray(letter_f()).save(tmp_path / "air.png")
    square = np.array([[[0, 0, 2], [64, 0, 2], [64, 64, 2]], [[0, 0, 2], [64, 64, 2], [0, 64, 2]]], float)
    uv = (square[..., :2] / 64).astype(np.float32)  # north up
    mesh = body(square, material=0, uv=uv)
    materials = [(tmp_path, tmp_path, Material("air.png"))]
    write_ground_model(tmp_path / "w", "m", "terrain", mesh, materials, OPTIONS, Textures(64))
    world = load_world(write_world(tmp_path / "w", ["m"]))
    places = np.array([[5, 60, 9], [60, 60, 9], [5, 5, 9], [60, 5, 9]], float)
    colours = seen(world, places, np.tile([0.0, 0, -1], (4, 1)))
    assert colours.tolist() == [[230, 40, 40], [40, 210, 60], [50, 60, 220], [235, 225, 60]]


def tree_hash(folder):
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        total.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return total.hexdigest()


def test_equal_input_gives_equal_bytes(tmp_path):
    Image.fromarray(letter_f(256)).save(tmp_path / "f.png")
    rng = np.random.default_rng(0)
    mesh = body(box(), material=rng.integers(-1, 2, 12), uv=rng.random((12, 3, 2)).astype(np.float32))
    materials = [(tmp_path, tmp_path, Material("f.png")), (tmp_path, tmp_path, Material(None, (0.2, 0.3, 0.4)))]
    for name in ("a", "b"):
        write(tmp_path / name, "m", mesh, materials=materials, textures=Textures(100))
    assert tree_hash(tmp_path / "a") == tree_hash(tmp_path / "b")


HOSTILE = [
    '"/><plugin filename="evil" name="x"/><a b="',
    "../../etc",
    "名前 1",
    "",
    "..",
    "a/b",
    "A",
    "a",
    "__x__",
    "a::b",
]


def test_hostile_ids_become_safe_unique_names_and_valid_sdf(tmp_path):
    names = unique_names(HOSTILE)
    assert len({n.casefold() for n in names}) == len(HOSTILE)
    for name, identifier in zip(names, HOSTILE, strict=True):
        write(tmp_path, name, body(box()), features=[feature(identifier)])
    write_world(tmp_path, names, name='a"<b>&')
    assert sdf.world_problems(tmp_path) == []
    assert len(load_world(tmp_path).scene.faces) == 12 * len(HOSTILE)
    plugins = [p.get("filename") for n in names for p in parse(tmp_path / "models" / n / "model.sdf").iter("plugin")]
    assert set(plugins) == {"gz-sim-label-system"}
    with pytest.raises(ValueError, match="is no name for a model"):
        write(tmp_path, "a/b", body(box()))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=12) | st.sampled_from(["a", "A", "a_2", "A_2", "a?"]), max_size=12))
def test_names_are_safe_and_unique_for_any_ids(texts):
    names = unique_names(texts)
    assert len({n.casefold() for n in names}) == len(texts)
    for name in names:
        assert name == safe_name(name) and name.isascii() and "/" not in name and "::" not in name and name not in ".."


@pytest.fixture(scope="module")
def one_of_each(tmp_path_factory):
    """A world with a model of every kind and a heightmap."""
    folder, names = tmp_path_factory.mktemp("each"), []
    for kind in KINDS:
        name = f"x0y-1_{kind}"
        if KINDS[kind].lies:
            write_ground_model(folder, name, kind, body([[[0, 0, 0], [9, 0, 0], [0, 9, 0]]]), [], OPTIONS, Textures(64))
        else:
            write(folder, name, body(box()), kind=kind)
        names.append(name)
    heights = np.zeros((5, 5), np.uint16)
    heights[2, 2] = 65535
    write_heightmap_model(folder, "ground", grey(heights), (16, 16, 2.5), (1e-7, -2.25, 3))
    return write_world(folder, [*names, "ground"])


def test_every_model_is_sdf_of_its_version(one_of_each):
    assert sdf.world_problems(one_of_each) == []
    assert len(parse(one_of_each / "world.sdf").findall("world/include")) == len(KINDS) + 1


@pytest.mark.skipif(shutil.which("gz") is None, reason="gz is not installed: `gz sdf --check` is not run")
def test_gz_accepts_every_model(one_of_each):
    models = str(one_of_each / "models")
    environment = {**os.environ, "GZ_SIM_RESOURCE_PATH": models, "SDF_PATH": models}
    for path in [one_of_each / "world.sdf", *one_of_each.glob("models/*/model.sdf")]:
        done = subprocess.run(["gz", "sdf", "--check", str(path)], capture_output=True, text=True, env=environment)
        assert done.returncode == 0 and "Valid" in done.stdout and "Error" not in done.stderr, done


BAD_SDF = [
    ('<model name="m"><link name="l"><visual name="v"/></link></model>', "lacks <geometry>"),
    ('<model name="m"><statik>true</statik></model>', "unknown <statik>"),
    ("<model/>", "lacks name"),
    ('<model name="m"><static>maybe</static></model>', "is no bool"),
    ('<model name="m"><link name="l"/><link name="l"/></model>', "used twice"),
    ('<model name="m"><static>1</static><static>1</static></model>', "more than once"),
    ('<model name="m"><pose>0 0 0</pose></model>', "is no pose"),
    ('<model name="m" color="red"/>', "unknown attribute color"),
    ('<model name="m"><plugin name="p"/></model>', "lacks filename"),
    ('<model name="a::b"><link name="l"/></model><model name="__m__"/>', "more than once"),
    ('<world name="w"/>', "lacks <physics>"),
]


@pytest.mark.parametrize(("text", "problem"), BAD_SDF)
def test_the_checker_finds_what_is_not_sdf(tmp_path, text, problem):
    (tmp_path / "model.sdf").write_text(f'<sdf version="1.10">{text}</sdf>')
    assert any(problem in line for line in sdf.problems(tmp_path / "model.sdf"))


def grey(values):
    out = io.BytesIO()
    Image.fromarray(np.asarray(values, np.uint16)).save(out, "PNG")
    return out.getvalue()


def test_a_heightmap_is_seen_and_touched_at_the_same_places(tmp_path):
    """Samples as gz-rendering 8 draws them and as gz-physics 7 spaces them, each from its own numbers in the SDF."""
    rng = np.random.default_rng(4)
    heights = rng.integers(0, 60000, (9, 9)).astype(np.uint16)
    heights[3, 5] = 65535
    size, position = (400.0, 320.0, 12.5), (30.0, -70.0, 4.25)
    info = write_heightmap_model(tmp_path, "m", grey(heights), size, position)
    assert (info.triangles, info.collision_triangles) == (128, 128)
    model = parse(tmp_path / "models/m/model.sdf").find("model/link")
    numbers = lambda e: np.array([float(w) for w in e.text.split()])  # noqa: E731
    shown, touched = model.find("visual/geometry/heightmap"), model.find("collision/geometry/heightmap")
    row, column = np.meshgrid(np.arange(9), np.arange(9), indexing="ij")
    extent, middle = numbers(shown.find("size")), numbers(shown.find("pos"))
    drawn_x = middle[0] - extent[0] / 2 + column * extent[0] / 8
    drawn_y = middle[1] + extent[1] / 2 - row * extent[1] / 8
    extent, pose = numbers(touched.find("size")), numbers(model.find("collision/pose"))
    felt_x = pose[0] + (column - 4) * extent[0] / 9
    felt_y = pose[1] - (row - 4) * extent[1] / 9
    assert felt_x == pytest.approx(drawn_x, abs=1e-5) and felt_y == pytest.approx(drawn_y, abs=1e-5)
    assert pose[2] == middle[2] == 4.25 and extent[2] == 12.5 and (pose[3:] == 0).all()
    assert touched.find("pos") is None  # the physics does not read it
    world = load_world(write_world(tmp_path, ["m"]))
    inner = np.s_[1:-1, 1:-1]
    places = np.column_stack([drawn_x[inner].ravel(), drawn_y[inner].ravel()])
    expected = 4.25 + 12.5 * heights[inner].ravel() / 65535
    assert world.terrain_height(places) == pytest.approx(expected, abs=1e-3)
    assert world.bounds[:, :2].tolist() == [[-170, -230], [230, 90]]
    assert set(world.scene.face_class) == {14} and {m.laser_retro for m in world.scene.materials} == {40.0}
    assert world.notes == [] and sdf.world_problems(tmp_path) == []


def test_heightmaps_that_gazebo_would_refuse_are_not_written(tmp_path):
    eight_bits = io.BytesIO()
    Image.new("L", (5, 5)).save(eight_bits, "PNG")
    for bad in (grey(np.zeros((4, 4))), grey(np.zeros((5, 9))), eight_bits.getvalue(), b"GIF89a", b""):
        with pytest.raises(InputError, match="heightmap: "):
            write_heightmap_model(tmp_path, "m", bad, (1, 1, 1), (0, 0, 0))
    assert not (tmp_path / "models").exists()
