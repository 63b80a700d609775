"""The generated city and small written files, converted: truth read back from the world folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from aerialworld_city.convert import GENERATED_CREDIT, PLATEAU_CREDIT, convert
from aerialworld_city.geodesy import Projection
from aerialworld_city.inspect import city_info
from aerialworld_city.options import ConversionOptions
from aerialworld_city.synthetic import gml_writer as gml
from aerialworld_city.synthetic.generate import BLOCKS, generate_city
from aerialworld_city.synthetic.shapes import at, gabled, prism, rectangle
from aerialworld_core.errors import InputError
from aerialworld_core.safexml import parse

EAST, NORTH = -8100.0, -37400.0


def to_geographic(points):
    latitude, longitude = Projection(6677).inverse(points[:, 0] + EAST, points[:, 1] + NORTH)
    return np.column_stack([latitude, longitude, points[:, 2]])


def write_city(path, buildings, roads=()):
    """`buildings`: id → LOD1 faces; the document says nothing of AerialWorld."""
    members = [
        gml.building(i, "411", 5.0, 2, gml.surface([[at(rectangle(1, 1, (0, 0)), 0)]], to_geographic),
                     gml.lod1(faces, to_geographic))
        for i, faces in buildings.items()
    ]  # fmt: skip
    bounds = to_geographic(np.array([[-50.0, -50, 0], [50, 50, 50]]))
    text = gml.document([*members, *roads], bounds)
    start, end = text.index("<gml:description>"), text.index("</gml:description>") + len("</gml:description>")
    path.write_text(text[:start] + text[end:], encoding="utf-8")
    return path


def content_hash(folder):
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        total.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def meshes(world, kind):
    trimesh = pytest.importorskip("trimesh")
    for path in sorted(world.glob(f"models/*_{kind}/meshes/{kind}.glb")):
        with open(path, "rb") as handle:
            scene = trimesh.load(handle, file_type="glb", process=False)
        yield path, trimesh.util.concatenate(list(scene.geometry.values()))


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("city")
    source = generate_city(folder / "source", 0)
    report = convert(source, folder / "world")
    return source, folder / "world", report, json.loads((folder / "world" / "city.json").read_text())


def test_one_seed_gives_the_same_bytes_and_another_seed_other_buildings(generated, tmp_path):
    source, world, _, _ = generated
    again = generate_city(tmp_path / "again", 0)
    assert content_hash(again) == content_hash(source)
    convert(again, tmp_path / "elsewhere" / "world")
    assert content_hash(tmp_path / "elsewhere" / "world") == content_hash(world)
    other = generate_city(tmp_path / "other", 1)
    assert content_hash(other) != content_hash(source)
    assert sum(p.stat().st_size for p in source.rglob("*.gml")) < 3_000_000


def test_the_generated_city_is_what_it_says(generated):
    _, _, report, city = generated
    assert 40 <= report.written["buildings"] <= 60 and report.skipped == []
    heights = np.array([b["height"] for b in city["buildings"]])
    assert heights.min() >= 4 and 45 < heights.max() <= 60
    assert all(b["closed"] for b in city["buildings"]) and {b["lod"] for b in city["buildings"]} == {1, 2}
    measured = np.array([b["measured_height"] for b in city["buildings"]])
    lod2 = np.array([b["lod"] == 2 for b in city["buildings"]])
    assert heights[lod2] == pytest.approx(measured[lod2], abs=0.06)
    boxes = np.array([b["bbox"] for b in city["buildings"]])
    west = boxes[:, 3] < 0
    gap = boxes[~west, 0].min() - boxes[west, 3].max()
    assert gap >= 120 and west.sum() > 15 and (~west).sum() > 15 and len(BLOCKS) == 2
    assert city["terrain"]["kind"] == "dem"
    assert report.bounds["world"][0][2] < boxes[:, 2].min() + 0.5
    assert city["attribution"] == GENERATED_CREDIT


@pytest.mark.parametrize("seed", [1, 2, 7, 123])
def test_other_seeds_make_whole_cities_too(seed, tmp_path):
    report = convert(generate_city(tmp_path / "s", seed), tmp_path / "w")
    assert 40 <= report.written["buildings"] <= 60
    assert report.written["closed buildings"] == report.written["buildings"] and report.skipped == []


def test_meshes_read_back_agree_with_the_report(generated):
    _, world, report, city = generated
    volumes, triangles = 0.0, 0
    bounds = []
    for _, mesh in meshes(world, "building"):
        triangles += len(mesh.faces)
        mesh.merge_vertices(merge_tex=True, merge_norm=True)
        assert mesh.is_watertight and mesh.is_winding_consistent
        volumes += mesh.volume
        bounds.append(mesh.bounds)
    assert triangles == report.written["building triangles"]
    expected = sum(b["volume"] for b in city["buildings"])
    assert volumes == pytest.approx(expected, rel=1e-4) and volumes > 0
    low, high = np.array(bounds)[:, 0].min(axis=0), np.array(bounds)[:, 1].max(axis=0)
    assert [low.tolist(), high.tolist()] == [pytest.approx(c, abs=1e-3) for c in report.bounds["buildings"]]
    for kind in ("terrain", "road", "sidewalk"):
        parts = [mesh for _, mesh in meshes(world, kind)]
        assert sum(len(m.faces) for m in parts) == report.written[f"{kind} triangles"]
        assert all((m.face_normals[:, 2] > 0).all() for m in parts)


def test_normals_and_texture_places_are_written(generated):
    _, world, _, _ = generated
    path, _ = next(meshes(world, "building"))
    trimesh = pytest.importorskip("trimesh")
    with open(path, "rb") as handle:
        scene = trimesh.load(handle, file_type="glb", process=False)
    for mesh in scene.geometry.values():
        stored = mesh._cache.cache.get("vertex_normals", mesh.vertex_normals)
        assert stored[mesh.faces].mean(axis=1) == pytest.approx(mesh.face_normals, abs=1e-4)
        assert np.isfinite(mesh.visual.uv).all()


def test_the_sdf_has_the_structure_that_gazebo_and_we_read(generated):
    _, world, report, city = generated
    root = parse(world / "world.sdf")
    assert root.tag == "sdf" and root.get("version") == "1.10"
    spherical = root.find("world/spherical_coordinates")
    assert float(spherical.find("latitude_deg").text) == city["georeference"]["latitude"]
    assert float(spherical.find("longitude_deg").text) == city["georeference"]["longitude"]
    assert spherical.find("world_frame_orientation").text == "ENU"
    assert {p.get("name").rsplit("::")[-1] for p in root.findall("world/plugin")} == {
        "Physics", "Sensors", "SceneBroadcaster", "UserCommands", "Imu", "NavSat",
    }  # fmt: skip
    names = [i.find("name").text for i in root.findall("world/include")]
    assert len(set(names)) == len(names) == report.written["models"]
    labels = {"building": 15, "terrain": 14, "road": 11, "sidewalk": 13}
    for name in names:
        model = parse(world / "models" / name / "model.sdf").find("model")
        assert model.get("name") == name and model.find("static").text == "true"
        visual = model.find("link/visual")
        kind = name.rsplit("_", 1)[1]
        assert int(visual.find("plugin/label").text) == labels[kind]
        assert visual.find("plugin").get("name") == "gz::sim::systems::Label"
        assert (world / "models" / name / visual.find("geometry/mesh/uri").text).is_file()
        assert (model.find("link/collision") is not None) == (kind in ("building", "terrain"))
    assert {b["model"] for b in city["buildings"]} == {n for n in names if n.endswith("_building")}


def test_no_machine_path_is_written(generated):
    source, world, _, _ = generated
    for path in [p for p in world.rglob("*") if p.is_file()]:
        assert str(source.parent).encode() not in path.read_bytes()


def test_the_world_loads_and_its_classes_are_seen_from_above(generated):
    world_module = pytest.importorskip("aerialworld_core.world")
    _, world, _, city = generated
    loaded = world_module.load_world(world / "world.sdf")
    assert loaded.notes == []  # nothing that the reader had to leave out
    house = city["buildings"][0]["bbox"]
    points = np.array([[-20.0, 0.0, 300.0], [(house[0] + house[3]) / 2, (house[1] + house[4]) / 2, 300.0]])
    # Map's origin is the middle of the buildings: the road between the blocks runs along y = 0 there.
    down = np.tile([0.0, 0.0, -1.0], (2, 1))
    distance, face = loaded.rays.cast(points, down, cull_backfaces=True, max_distance=1e4)
    assert loaded.scene.face_class[face].tolist() == [11, 15]
    assert 300 - distance[1] == pytest.approx(house[5], abs=3.0)


def test_a_known_corner_lands_where_its_latitude_and_longitude_say(tmp_path):
    path = write_city(tmp_path / "53393599_bldg_6697_op.gml", {"b_1": prism(rectangle(10, 6, (20, 30)), 4.0, 9.0)})
    latitude, longitude = Projection(6677).inverse(EAST, NORTH)
    convert(path, tmp_path / "w", ConversionOptions(origin=(latitude, longitude)))
    city = json.loads((tmp_path / "w" / "city.json").read_text())
    assert city["buildings"][0]["bbox"] == pytest.approx([15, 27, 4, 25, 33, 9], abs=1e-3)
    assert city["buildings"][0]["volume"] == pytest.approx(300, abs=0.05)
    assert (city["crs"]["origin_east"], city["crs"]["origin_north"]) == pytest.approx((EAST, NORTH), abs=1e-6)
    assert city["crs"]["epsg"] == 6677 and city["georeference"]["height"] == 0.0
    assert city["attribution"] == PLATEAU_CREDIT
    assert city["sources"][0]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    convert(path, tmp_path / "other", ConversionOptions(crs=6676))  # the same place, told in the neighbouring zone
    other = json.loads((tmp_path / "other" / "city.json").read_text())
    assert other["crs"]["epsg"] == 6676 and other["buildings"][0]["volume"] == pytest.approx(300, rel=2e-3)


def test_the_best_level_is_taken_and_xlinks_are_read_once(tmp_path):
    ring = rectangle(10, 6, (0, 0))
    both = gml.building(
        "b_1", "411", 10.0, 2, gml.surface([[at(ring, 0)]], to_geographic),
        gml.lod1(prism(ring, 3, 9), to_geographic) + gml.lod2(gabled(ring, 3, 8, 10), to_geographic, "b_1"),
    )  # fmt: skip
    bounds = to_geographic(np.array([[-50.0, -50, 0], [50, 50, 50]]))
    path = tmp_path / "a_bldg_6697.gml"
    path.write_text(gml.document([both], bounds), encoding="utf-8")
    report = convert(path, tmp_path / "w")
    building = json.loads((tmp_path / "w" / "city.json").read_text())["buildings"][0]
    assert building["lod"] == 2 and building["closed"]
    assert building["volume"] == pytest.approx(300 + 60, abs=0.05)
    assert report.written["building triangles"] == 2 + 4 + 4 + 6


def test_names_from_files_are_escaped_and_stay_unique(tmp_path):
    ring = rectangle(10, 6, (0, 0))
    nasty = tmp_path / "x&<i>y'\"_bldg_6697.gml"
    write_city(nasty, {"b_1": prism(ring, 3, 9), "b_2": prism(ring + 30, 3, 9)})
    text = nasty.read_text().replace('gml:id="b_2"', 'gml:id="&lt;/model&gt;&lt;plugin filename=&quot;x&quot;/&gt;"')
    nasty.write_text(text.replace('gml:id="b_1"', 'gml:id="same"'))
    convert(nasty, tmp_path / "w")
    assert parse(tmp_path / "w" / "world.sdf").find("world").get("name") == "x_i_y__bldg_6697"
    assert all(b'plugin filename="x"' not in p.read_bytes() for p in (tmp_path / "w").rglob("*.sdf"))


def test_an_older_world_is_replaced_and_foreign_folders_are_left_alone(tmp_path, generated):
    source, _, _, _ = generated
    out = tmp_path / "w"
    convert(source, out)
    (out / "models" / "x9y9_building").mkdir()
    convert(source, out)
    assert not (out / "models" / "x9y9_building").exists() and sorted(p.name for p in tmp_path.iterdir()) == ["w"]
    for mine in (out / "plan.json", out / "models" / "my_crane"):
        mine.mkdir()
        with pytest.raises(InputError, match=mine.name):
            convert(source, out)
        assert mine.exists() and (out / "world.sdf").exists()
        mine.rmdir()
    foreign = tmp_path / "mine"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="no world that was written here"):
        convert(source, foreign)
    assert (foreign / "thesis.tex").exists()


@pytest.mark.parametrize("stage", ["read", "ground", "write", "preview"])
def test_ctrl_c_keeps_the_old_world_and_the_next_run_goes_on(stage, tmp_path, generated):
    source, world, _, _ = generated
    out = tmp_path / "w"

    def stop(name, share):
        if name == stage and (name != "read" or share > 0.2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(source, out, progress=stop)
    assert not out.exists() and [p.name for p in tmp_path.iterdir()] == [".w.partial"]
    report = convert(source, out)
    assert report.reused["files"] >= 1 and report.reused["models"] == 0
    assert content_hash(out) == content_hash(world) and [p.name for p in tmp_path.iterdir()] == ["w"]
    with pytest.raises(KeyboardInterrupt):
        convert(source, out, progress=stop)
    assert content_hash(out) == content_hash(world)


def test_information_without_conversion(generated):
    source, _, report, _ = generated
    info = city_info(source)
    assert info["modules"] == {"bldg": 1, "tran": 1, "dem": 1} and info["generated"]
    assert info["counts"]["Building"] == report.written["buildings"]
    assert info["counts"]["Building LOD1"] + info["counts"]["Building LOD2"] == info["counts"]["Building"]
    assert info["epsg"] == [6697] and info["uro"] == ["https://www.geospatial.jp/iur/uro/3.1"]
    (south, west, low), (north, east, high) = info["bounds"]
    assert 35.65 < south < north < 35.655 and 139.62 < west < east < 139.64 and 5 < low < high < 90


def test_progress_grows_from_0_to_1(tmp_path, generated):
    told = []
    convert(generated[0], tmp_path / "w", progress=lambda stage, share: told.append((stage, share)))
    shares = [share for _, share in told]
    assert shares == sorted(shares) and shares[0] == 0.0 and shares[-1] == 1.0
    assert [s for i, (s, _) in enumerate(told) if i == 0 or told[i - 1][0] != s] == [
        "read",
        "ground",
        "write",
        "preview",
    ]


def test_the_committed_world_is_the_generated_city(generated):
    committed = Path(__file__).resolve().parents[3] / "worlds" / "small_city"
    if not committed.is_dir():
        pytest.skip("the ready worlds are not beside this package")
    city, fresh = json.loads((committed / "city.json").read_text()), generated[3]
    assert city["buildings"] == fresh["buildings"] and city["sources"] == fresh["sources"]
    kept = [p for p in generated[1].rglob("*") if ".tiles" not in p.parts and p.suffix != ".png"]
    names = {p.relative_to(generated[1]).as_posix() for p in kept}
    assert {p.relative_to(committed).as_posix() for p in committed.rglob("*")} == names
    assert sum(p.stat().st_size for p in committed.rglob("*") if p.is_file()) < 1_500_000
