"""The whole conversion: equal bytes however it was run, what is used again, what is selected, what is left behind."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from aerialworld_city.convert import convert
from aerialworld_city.geodesy import Projection
from aerialworld_city.options import ConversionOptions
from aerialworld_city.sources.region import region
from aerialworld_city.synthetic import gml_writer as gml
from aerialworld_city.synthetic.shapes import at, prism, rectangle
from aerialworld_city.tiles import squares
from aerialworld_core.errors import InputError
from aerialworld_core.safexml import parse

EAST, NORTH = -8100.0, -37400.0
TOKYO = Projection(6677)
PLAIN = ConversionOptions(preview=False)
#: Where the four files of the common source begin.
CORNERS = [(-220, -180), (90, -180), (-220, 90), (90, 90)]


def to_geographic(points):
    latitude, longitude = TOKYO.inverse(points[:, 0] + EAST, points[:, 1] + NORTH)
    return np.column_stack([latitude, longitude, points[:, 2]])


def write_city(path, buildings):
    """`buildings`: id → (x, y) of a box of 10 × 6 × 5 m that stands at height 3 + 0.01 x."""
    path.parent.mkdir(parents=True, exist_ok=True)
    members = []
    for identifier, (x, y) in buildings.items():
        base = 3.0 + 0.01 * x
        faces = prism(rectangle(10.0, 6.0, (x, y)), base, base + 5.0)
        foot = gml.surface([[at(rectangle(1, 1, (0, 0)), 0)]], to_geographic)
        # The writer numbers its buildings: it wants ids that end in a number.
        text = gml.building("id_1", "411", 5.0, 2, foot, gml.lod1(faces, to_geographic))
        members.append(text.replace('gml:id="id_1"', f'gml:id="{identifier}"'))
    bounds = to_geographic(np.array([[-500.0, -500, 0], [500, 500, 50]]))
    path.write_text(gml.document(members, bounds), encoding="utf-8")
    return path


def block(tag, x0, y0, count=10):
    return {f"{tag}_{i}": (x0 + 30.0 * (i % 5), y0 + 25.0 * (i // 5)) for i in range(count)}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Four files of 10 buildings, some 200 m apart."""
    folder = tmp_path_factory.mktemp("source") / "udx" / "bldg"
    for number, (x, y) in enumerate(CORNERS):
        write_city(folder / f"tile{number}_bldg_6697_op.gml", block(f"t{number}", x, y))
    return folder.parent.parent


def files(world):
    return {p.relative_to(world).as_posix(): p.read_bytes() for p in sorted(world.rglob("*")) if p.is_file()}


def shown(found):
    """Without what is kept for the next run, which also depends on the program's source, in processes of their own."""
    return {name: data for name, data in found.items() if not name.startswith(".tiles")}


def inodes(world):
    return {p.relative_to(world).as_posix(): p.stat().st_ino for p in sorted(world.rglob("*")) if p.is_file()}


def city(world):
    return json.loads((world / "city.json").read_text())


def ids(world):
    return {b["id"] for b in city(world)["buildings"]}


# -- the same bytes -----------------------------------------------------------------------------------------------


def test_any_number_of_workers_writes_the_same_bytes(source, tmp_path):
    reports = [convert(source, tmp_path / f"w{n}", ConversionOptions(preview=False, workers=n)) for n in (1, 2, 3)]
    one = files(tmp_path / "w1")
    assert files(tmp_path / "w2") == one and files(tmp_path / "w3") == one
    assert [r.written for r in reports[1:]] == [reports[0].written] * 2 and reports[0].written["buildings"] == 40
    assert not any(name.startswith(".w") for name in os.listdir(tmp_path))


def test_an_unchanged_source_is_not_converted_again(source, tmp_path):
    out = tmp_path / "w"
    first = convert(source, out)
    before, places = files(out), inodes(out)
    assert first.reused == {"files": 0, "of files": 4, "models": 0, "of models": first.written["models"]}
    second = convert(source, out)
    models = first.written["models"]
    assert second.reused == {"files": 4, "of files": 4, "models": models, "of models": models}
    assert files(out) == before and second.written == first.written and second.bounds == first.bounds
    # Models and tiles are the very files that were there.
    kept = [n for n in places if n.startswith("models/") or (n.startswith(".tiles/") and n.count("/") == 2)]
    assert len(kept) > 30 and {n: inodes(out)[n] for n in kept} == {n: places[n] for n in kept}


def test_only_what_a_change_reaches_is_made_again(source, tmp_path):
    data, out = tmp_path / "data", tmp_path / "w"
    shutil.copytree(source, data)
    convert(data, out, PLAIN)
    changed = data / "udx/bldg/tile0_bldg_6697_op.gml"
    changed.write_text(changed.read_text().replace('"t0_7"', '"t0_x"'))
    report = convert(data, out, PLAIN)
    assert report.reused["files"] == 3 and 0 < report.reused["models"] < report.written["models"]
    assert "t0_x" in ids(out) and "t0_7" not in ids(out)
    convert(data, tmp_path / "fresh", PLAIN)
    assert files(out) == files(tmp_path / "fresh")


@pytest.mark.parametrize("option", [{"chunk": 100.0}, {"origin": (35.66, 139.75)}, {"target_faces": 12}])
def test_other_options_make_other_models_as_if_there_had_been_none(option, source, tmp_path):
    convert(source, tmp_path / "w", PLAIN)
    report = convert(source, tmp_path / "w", ConversionOptions(preview=False, **option))
    assert report.reused["files"] == 4 and report.reused["models"] < report.written["models"]
    convert(source, tmp_path / "fresh", ConversionOptions(preview=False, **option))
    assert files(tmp_path / "w") == files(tmp_path / "fresh")


def test_what_someone_changed_in_a_world_is_not_used_again(source, tmp_path):
    out = tmp_path / "w"
    convert(source, out)
    before = files(out)
    for victim in ("*_building/meshes/building.glb", "*_terrain/model.sdf"):
        path = sorted(out.glob(f"models/{victim}"))[0]
        path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    sorted(out.glob("models/*_building/model.config"))[1].unlink()
    (out / "preview_top.png").write_bytes(b"mine")
    tile = sorted(out.glob(".tiles/*/mesh_triangles.npy"))[0]
    tile.write_bytes(tile.read_bytes()[:-8] + bytes(8))
    report = convert(source, out)
    assert files(out) == before
    assert report.reused["files"] == 3 and report.reused["models"] >= report.written["models"] - 4


@pytest.mark.parametrize("garbage", ["", "{}", "[]", '{"format": 1, "groups": {"x0y0_building": 7}}'])
def test_a_spoilt_list_of_models_only_costs_time(garbage, source, tmp_path):
    out = tmp_path / "w"
    convert(source, out, PLAIN)
    before = files(out)
    (out / ".tiles" / "models.json").write_text(garbage)
    assert convert(source, out, PLAIN).reused["models"] == 0
    assert files(out) == before


def test_a_list_of_models_cannot_lead_out_of_the_world(source, tmp_path):
    out, victim = tmp_path / "w", tmp_path / "victim"
    convert(source, out, PLAIN)
    before = files(out)
    (victim / "sub").mkdir(parents=True)
    (victim / "sub" / "precious").write_text("x")
    listed = json.loads((out / ".tiles" / "models.json").read_text())
    for record in listed["groups"].values():
        record["files"] = {"../../victim": {"sub/precious": 1}, "/etc": {}}
    (out / ".tiles" / "models.json").write_text(json.dumps(listed))
    convert(source, out, PLAIN)
    assert (victim / "sub" / "precious").read_text() == "x" and files(out) == before


def test_nothing_is_kept_where_that_is_asked_for(source, tmp_path):
    out = tmp_path / "w"
    convert(source, out, ConversionOptions(preview=False, keep_tiles=False))
    assert sorted(p.name for p in out.iterdir()) == ["city.json", "conversion_report.json", "models", "world.sdf"]
    convert(source, tmp_path / "kept", PLAIN)
    assert {n: d for n, d in files(tmp_path / "kept").items() if not n.startswith(".tiles")} == files(out)
    report = json.loads((out / "conversion_report.json").read_text())
    assert not {"seconds", "reused"} & set(report)


# -- interrupted, twice at once -----------------------------------------------------------------------------------

_CHILD = """
import sys
from pathlib import Path
from aerialworld_city.convert import convert
from aerialworld_city.options import ConversionOptions
if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]), ConversionOptions(preview=False, workers=int(sys.argv[3])),
            progress=lambda stage, share: print(stage, share, flush=True))
"""


def child(source, out, workers):
    return subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(source), str(out), str(workers)], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(("workers", "kills"), [(1, 4), (2, 2), pytest.param(2, 60, marks=pytest.mark.long)])
def test_kills_at_any_moment_leave_the_old_world_and_the_next_run_makes_the_same(workers, kills, source, tmp_path):
    convert(source, tmp_path / "fresh", PLAIN)
    expected = shown(files(tmp_path / "fresh"))
    out, rng = tmp_path / "w", np.random.default_rng(kills)
    for number in range(kills):
        with child(source, out, workers) as process:
            # Let it come somewhere into the work, then strike.
            lines = int(rng.integers(1, 14))
            for _ in range(lines):
                if not process.stdout.readline():
                    break
            time.sleep(rng.random() * 0.05)
            process.send_signal(signal.SIGKILL if number % 2 else signal.SIGINT)
        assert not out.exists() or shown(files(out)) == expected
    convert(source, out, PLAIN)
    assert shown(files(out)) == expected
    time.sleep(0.3)  # workers whose owner was killed end by themselves
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fresh", "w"]


def test_a_second_conversion_into_the_same_folder_is_refused(source, tmp_path):
    out = tmp_path / "w"
    tried = []

    def second(stage, share):
        if stage == "write" and not tried:
            tried.append(True)
            with pytest.raises(InputError, match="another conversion into this folder"):
                convert(source, out, PLAIN)

    convert(source, out, PLAIN, progress=second)
    assert tried and len(ids(out)) == 40 and [p.name for p in tmp_path.iterdir()] == ["w"]


def test_a_crash_between_the_two_names_is_mended(source, tmp_path):
    out = tmp_path / "w"
    convert(source, out, PLAIN)
    before = files(out)
    out.rename(tmp_path / ".w.old")  # the moment between the old world's leaving and the new one's coming
    report = convert(source, out, PLAIN)
    assert files(out) == before and report.reused["files"] == 4 and [p.name for p in tmp_path.iterdir()] == ["w"]


def test_an_error_leaves_nothing_and_keeps_the_old_world(source, tmp_path):
    out, bad = tmp_path / "w", tmp_path / "bad_bldg.gml"
    bad.write_text("<CityModel>")
    with pytest.raises(InputError, match=r"bad_bldg\.gml"):
        convert(bad, out, PLAIN)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad_bldg.gml"]
    convert(source, out, PLAIN)
    before = files(out)
    with pytest.raises(InputError):
        convert(bad, out, PLAIN)
    assert files(out) == before and sorted(p.name for p in tmp_path.iterdir()) == ["bad_bldg.gml", "w"]


# -- what is taken ------------------------------------------------------------------------------------------------


def test_one_bad_file_among_good_ones_is_reported_and_strict_stops(source, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(source, data)
    (data / "udx/bldg/tile4_bldg_6697_op.gml").write_text("<core:CityModel")
    (data / "udx/bldg/tile5_bldg_6697_op.gml").write_text('<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>')
    report = convert(data, tmp_path / "w", PLAIN)
    assert len(ids(tmp_path / "w")) == 40 and len(city(tmp_path / "w")["sources"]) == 4
    assert [(s.file.rsplit("/", 1)[-1], s.id) for s in report.skipped] == [
        ("tile4_bldg_6697_op.gml", "file"),
        ("tile5_bldg_6697_op.gml", "file"),
    ]
    assert "DOCTYPE" in report.skipped[1].reason and not any(str(tmp_path) in s.reason for s in report.skipped)
    for options in (
        ConversionOptions(preview=False, strict=True),
        ConversionOptions(preview=False, strict=True, workers=2),
    ):
        with pytest.raises(InputError, match=r"tile[45]_bldg") as error:
            convert(data, tmp_path / "strict", options)
        assert error.value.exit_code == 2 and not (tmp_path / "strict").exists()


def test_a_region_takes_the_buildings_whose_middle_lies_in_it(source, tmp_path):
    x1, y1 = CORNERS[1]
    latitude, longitude = TOKYO.inverse(EAST + x1 + 30.0, NORTH + y1 + 10.0)
    around = ConversionOptions(preview=False, region=region(arounds=[(float(latitude), float(longitude), 45.0)]))
    report = convert(source, tmp_path / "a", around)
    expected = {i for i, (x, y) in block("t1", x1, y1).items() if np.hypot(x - x1 - 30, y - y1 - 10) < 45.0}
    assert ids(tmp_path / "a") == expected and 3 < len(expected) < 9
    assert report.changed["objects outside the region"] == 40 - len(expected)
    (south, west), (north, east) = (
        [float(v) for v in TOKYO.inverse(EAST + x, NORTH + y)] for x, y in ((-230.0, -190.0), (-145.0, -160.0))
    )
    box = ConversionOptions(preview=False, region=region(bboxes=[(west, south, east, north)]))
    convert(source, tmp_path / "b", box)
    assert ids(tmp_path / "b") == {"t0_0", "t0_1", "t0_2"}


def test_an_asked_mesh_takes_its_files_whole_and_of_others_what_lies_in_it(tmp_path):
    """Real files' buildings overhang the edge of their mesh: 53393599 ends 550 m east of the place."""
    data = tmp_path / "data"
    write_city(data / "53393599_bldg_6697_op.gml", block("own", 480, 0))
    write_city(data / "other_bldg_6697_op.gml", block("other", 480, 100))
    convert(data, tmp_path / "w", ConversionOptions(preview=False, region=region(meshes=["53393599"])))
    edge, _ = TOKYO.forward(35.66, 139.75)
    inside = {i for i, (x, _) in block("other", 480, 100).items() if x < edge - EAST}
    assert ids(tmp_path / "w") == {*block("own", 0, 0), *inside} and 0 < len(inside) < 10


def test_an_object_in_two_files_is_taken_once_and_another_of_its_id_keeps_its_place(tmp_path):
    data = tmp_path / "data"
    write_city(data / "53393580_bldg_6697_op.gml", {"a": (0, 0), "b": (50, 0)})
    write_city(data / "53393581_bldg_6697_op.gml", {"b": (50, 0), "c": (100, 0), "a": (150, 0)})
    report = convert(data, tmp_path / "w", PLAIN)
    found = {b["id"]: b["bbox"][0] for b in city(tmp_path / "w")["buildings"]}
    assert set(found) == {"a", "b", "c", "a#2"} and found["a#2"] - found["a"] == pytest.approx(150.0, abs=1e-3)
    assert report.changed["objects that two files hold, taken once"] == 1
    assert report.written["buildings"] == 4


def obj_box(x, y, base, top, first):
    faces = [r for _, rings in prism(rectangle(10, 6, (x, y)), base, top) for r in rings]
    lines, number = [], first
    for ring in faces:
        lines += [f"v {px + EAST:.4f} {py + NORTH:.4f} {z:.4f}" for px, py, z in ring]
        lines.append("f " + " ".join(str(number + i) for i in range(len(ring))))
        number += len(ring)
    return lines, number


def test_of_an_obj_release_the_better_level_is_taken_where_it_is(tmp_path):
    folder, first = tmp_path / "obj", {1: 1, 2: 1}
    lines = {1: [], 2: []}
    for level, places in ((1, [(0, 0), (40, 0), (80, 0)]), (2, [(0, 0), (80, 0)])):
        for x, y in places:
            more, first[level] = obj_box(x, y, 2.0, 6.0 + level, first[level])
            lines[level] += more
    for level in (1, 2):
        path = folder / f"LOD{level}" / "53393580" / "53393580_bldg_6677.obj"
        path.parent.mkdir(parents=True)
        path.write_text("\n".join(lines[level]) + "\n")
    report = convert(folder, tmp_path / "w", PLAIN)
    found = sorted((round(b["bbox"][0]), b["lod"], b["height"]) for b in city(tmp_path / "w")["buildings"])
    assert [(lod, height) for _, lod, height in found] == [(2, 6.0), (1, 5.0), (2, 6.0)]
    assert report.changed["LOD1 pieces where there is an LOD2 piece"] == 2


def test_nothing_convertible_says_what_was_found(source, tmp_path):
    with pytest.raises(InputError, match=r"holds no city file.*tran"):
        convert(source, tmp_path / "w", ConversionOptions(modules=("tran",)))
    empty = write_city(tmp_path / "e_bldg_6697.gml", {})
    with pytest.raises(InputError, match=r"e_bldg_6697\.gml"):
        convert(empty, tmp_path / "w", PLAIN)
    far = ConversionOptions(region=region(arounds=[(43.06, 141.35, 300.0)]))
    with pytest.raises(InputError, match=r"outside the region|in the region"):
        convert(source, tmp_path / "w", far)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["e_bldg_6697.gml"]


# -- how it is written --------------------------------------------------------------------------------------------


def test_single_buildings_have_models_of_their_own_names(tmp_path):
    places = {"a": (0, 0), "A": (40, 0), "b/../c": (80, 0), "x0y0_building": (120, 0)}
    path = write_city(tmp_path / "s_bldg_6697.gml", places)
    out = tmp_path / "w"
    report = convert(path, out, ConversionOptions(preview=False, per_building=True))
    models = {b["id"]: b["model"] for b in city(out)["buildings"]}
    assert len({m.casefold() for m in models.values()}) == 4 and set(models) == set(places)
    assert models["a"] == "a" and models["x0y0_building"] != "x0y0_building"
    assert all((out / "models" / m / "model.sdf").is_file() and "/" not in m for m in models.values())
    included = [i.find("name").text for i in parse(out / "world.sdf").findall("world/include")]
    assert set(models.values()) <= set(included) and len(included) == report.written["models"]
    # Such a world is replaced like any other, and used again like any other.
    assert convert(path, out, ConversionOptions(preview=False, per_building=True)).reused["models"] == len(included)
    assert set(convert(path, out, PLAIN).written) and not (out / "models" / models["a"]).exists()


def test_buildings_stand_in_the_square_of_their_middle(source, tmp_path):
    convert(source, tmp_path / "w", ConversionOptions(preview=False, chunk=100.0))
    for building in city(tmp_path / "w")["buildings"]:
        x, y = (building["bbox"][0] + building["bbox"][3]) / 2, (building["bbox"][1] + building["bbox"][4]) / 2
        assert building["model"] == f"x{int(np.floor(x / 100))}y{int(np.floor(y / 100))}_building"


def test_too_many_squares_are_refused_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr(squares, "MAX_SQUARES", 3)
    path = write_city(tmp_path / "s_bldg_6697.gml", {"a": (0, 0), "b": (150, 150)})
    with pytest.raises(InputError, match=r"squares of 10 m \(at most 3\): choose a larger --chunk"):
        convert(path, tmp_path / "w", ConversionOptions(preview=False, chunk=10.0))


def test_hashes_of_the_sources_stand_in_the_world(source, tmp_path):
    convert(source, tmp_path / "w", ConversionOptions(preview=False, workers=2))
    for entry in city(tmp_path / "w")["sources"]:
        data = (source / entry["name"]).read_bytes()
        assert entry == {"name": entry["name"], "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def test_a_heightmap_is_one_model_and_buildings_reach_it(source, tmp_path):
    world_module = pytest.importorskip("aerialworld_core.world")
    out = tmp_path / "w"
    report = convert(source, out, ConversionOptions(preview=False, terrain="heightmap"))
    names = sorted(p.name for p in (out / "models").iterdir())
    assert [n for n in names if "terrain" in n] == ["terrain"] and city(out)["terrain"]["form"] == "heightmap"
    world = world_module.load_world(out / "world.sdf")
    for building in city(out)["buildings"][::7]:
        x0, y0, base, x1, y1, _ = building["bbox"]
        corners = np.array([[x, y] for x in (x0, x1) for y in (y0, y1)])
        assert (world.terrain_height(corners) >= base - 0.06).all()
    assert any("heightmap" in note for note in report.notes)


def test_several_given_files_are_one_world(source, tmp_path):
    paths = sorted(source.rglob("*.gml"))
    convert(paths, tmp_path / "w", PLAIN)
    assert len(ids(tmp_path / "w")) == 40
    convert(str(paths[0]), tmp_path / "one", PLAIN)
    assert len(ids(tmp_path / "one")) == 10
