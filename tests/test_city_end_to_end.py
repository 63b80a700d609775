"""From a real city through the command to a world that the engine loads: exit codes, selection, files, pictures."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyproj
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from aerialworld.cli import app
from aerialworld_core import labels
from aerialworld_core.world import load_world

SHARED = Path(os.environ.get("AERIALWORLD_SHARED", Path(__file__).resolve().parents[2] / "shared"))
PLATEAU = SHARED / "data" / "plateau"
pytestmark = pytest.mark.skipif(
    not PLATEAU.is_dir(), reason=f"no real PLATEAU files below {PLATEAU}: set AERIALWORLD_SHARED"
)


def source(number: str) -> Path:
    return next(PLATEAU.glob(f"{number}_*"))


def city(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["city", *(str(w) for w in words)])


def converted(*words: str | Path) -> Result:
    result = city("convert", *words)
    assert result.exit_code == 0, result.stdout + result.stderr
    return result


def facts(world: Path) -> dict:
    return json.loads((world / "city.json").read_text(encoding="utf-8"))


def meshes(world: Path) -> dict[str, str]:
    """Relative path → digest of every mesh."""
    return {
        p.relative_to(world).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted((world / "models").rglob("*.glb"))
    }


@pytest.fixture(scope="module")
def osaka(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Set 07: 407 buildings and 58 roads, with pictures."""
    out = tmp_path_factory.mktemp("osaka") / "world"
    result = converted(source("07"), "--out", out)
    assert result.stdout.strip().splitlines()[-1] == str(out)
    return out


def test_the_folder_is_a_world_with_everything_in_it(osaka: Path) -> None:
    assert {p.name for p in osaka.iterdir()} >= {
        "world.sdf", "models", "city.json", "conversion_report.json", "preview_top.png", "preview_oblique.png",
    }  # fmt: skip
    told = facts(osaka)
    assert len(told["buildings"]) == 407 and told["crs"]["epsg"] == 6674
    assert "PLATEAU" in told["attribution"] and all(len(s["sha256"]) == 64 for s in told["sources"])
    for entry in told["sources"]:
        path = next(source("07").rglob(Path(entry.get("file") or entry.get("path") or entry["name"]).name))
        assert hashlib.sha256(path.read_bytes()).hexdigest() == entry["sha256"]
    text = "".join(
        (osaka / n).read_text(encoding="utf-8") for n in ("world.sdf", "city.json", "conversion_report.json")
    )
    assert str(PLATEAU) not in text and str(osaka) not in text


def test_pictures_show_a_city(osaka: Path) -> None:
    for name in ("preview_top.png", "preview_oblique.png"):
        with Image.open(osaka / name) as image:
            pixels = np.asarray(image.convert("RGB"), float)
        assert min(pixels.shape[:2]) >= 256
        assert pixels.std(axis=(0, 1)).max() > 10 and len(np.unique(pixels.reshape(-1, 3) // 16, axis=0)) > 20


def test_the_engines_loader_reads_every_class_where_it_is(osaka: Path) -> None:
    """Straight down onto each building's middle: manmade, at a height between its base and its top."""
    world = load_world(osaka)
    assert world.notes == []
    assert set(np.unique(world.scene.face_class)) == {labels.MANMADE, labels.TERRAIN, labels.DRIVEABLE_SURFACE}
    buildings = facts(osaka)["buildings"]
    boxes = np.array([b["bbox"] for b in buildings])
    top = boxes[:, 5].max() + 50
    origins = np.column_stack(
        [(boxes[:, 0] + boxes[:, 3]) / 2, (boxes[:, 1] + boxes[:, 4]) / 2, np.full(len(boxes), top)]
    )
    distance, hit = world.rays.cast(
        origins, np.tile([0.0, 0, -1.0], (len(boxes), 1)), cull_backfaces=True, max_distance=500.0
    )
    roof = world.scene.face_class[hit] == labels.MANMADE
    assert np.isfinite(distance).all() and roof.mean() > 0.9
    # A roof seen from above its middle is no higher than the box, unless a taller neighbour overhangs it.
    height = top - distance
    assert (height[roof] <= boxes[roof, 5] + 0.01).mean() > 0.98 and (height[roof] > boxes[roof, 2]).mean() > 0.98


SDF = {
    "sdf": {"world", "model"},
    "world": {"physics", "plugin", "gravity", "spherical_coordinates", "scene", "light", "include"},
    "include": {"name", "uri", "pose", "static"},
    "model": {"static", "link", "plugin", "pose"},
    "link": {"visual", "collision", "pose"},
    "visual": {
        "geometry",
        "laser_retro",
        "plugin",
        "material",
        "cast_shadows",
        "transparency",
        "pose",
        "visibility_flags",
    },
    "collision": {"geometry", "laser_retro", "surface", "max_contacts", "pose"},
    "geometry": {"mesh", "heightmap", "box", "plane"},
    "mesh": {"uri", "scale", "submesh"},
}


def check_sdf(folder: Path) -> None:
    """The structure of SDF 1.10 that our worlds use, every reference resolved, every label one of the table's."""
    world = ElementTree.parse(folder / "world.sdf").getroot()  # noqa: S314
    names = [e.findtext("name") for e in world.iter("include")]
    assert len(set(names)) == len(names) > 0
    files = [folder / "world.sdf"]
    for include in world.iter("include"):
        model = folder / "models" / (include.findtext("uri") or "").removeprefix("model://")
        assert (model / "model.config").is_file()
        files.append(model / "model.sdf")
    for path in files:
        root = ElementTree.parse(path).getroot()  # noqa: S314
        assert root.tag == "sdf" and root.get("version") == "1.10"
        for element in root.iter():
            allowed = SDF.get(element.tag)
            if allowed is not None:
                assert {c.tag for c in element} <= allowed, (path, element.tag)
        for uri in root.iter("uri"):
            if not (uri.text or "").startswith("model://"):
                assert (path.parent / (uri.text or "")).is_file()
        if path.name == "model.sdf":
            found = {int(e.text or "-1") for e in root.iter("label")}
            assert len(found) == 1 and found <= set(range(1, len(labels.NAMES)))


def test_sdf_is_what_gazebo_takes(osaka: Path) -> None:
    check_sdf(osaka)
    if shutil.which("gz"):
        environment = {**os.environ, "GZ_SIM_RESOURCE_PATH": str(osaka / "models"), "GZ_IP": "127.0.0.1"}
        done = subprocess.run(
            ["gz", "sdf", "--check", str(osaka / "world.sdf")], capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0 and "Valid" in done.stdout, done.stdout + done.stderr


def test_a_folder_a_file_and_a_zip_make_the_same_meshes(tmp_path: Path) -> None:
    folder = next(source("01").glob("13100*"))
    packed = tmp_path / f"{folder.name}.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "metadata" not in path.parts:
                archive.write(path, f"{folder.name}/{path.relative_to(folder).as_posix()}")
    gml = next(folder.rglob("*.gml"))
    for name, given in (("folder", folder), ("zip", packed), ("file", gml)):
        converted(given, "--out", tmp_path / name, "--no-preview")
    assert meshes(tmp_path / "folder") == meshes(tmp_path / "zip") == meshes(tmp_path / "file")
    assert len(facts(tmp_path / "zip")["buildings"]) == 9


def places() -> tuple[list[str], np.ndarray]:
    """Ids of set 07's buildings and the middles of their LOD1 corners, latitude and longitude."""
    root = ElementTree.parse(next(source("07").glob("bldg/*.gml"))).getroot()  # noqa: S314
    ids, middles = [], []
    for building in root.iter("{http://www.opengis.net/citygml/building/2.0}Building"):
        solid = building.find("{http://www.opengis.net/citygml/building/2.0}lod1Solid")
        assert solid is not None
        points = np.concatenate([np.array((e.text or "").split(), float).reshape(-1, 3)
                                 for e in solid.iter("{http://www.opengis.net/gml}posList")])  # fmt: skip
        ids.append(building.get("{http://www.opengis.net/gml}id") or "")
        middles.append((points[:, :2].min(axis=0) + points[:, :2].max(axis=0)) / 2)
    return ids, np.array(middles)


def test_around_takes_the_buildings_of_the_circle(tmp_path: Path) -> None:
    converted(source("07"), "--out", tmp_path / "w", "--around", "34.662,135.420", "--radius", "200", "--no-preview")
    ids, middles = places()
    geod = pyproj.Geod(ellps="GRS80")
    n = len(middles)
    away = np.asarray(geod.inv(np.full(n, 135.420), np.full(n, 34.662), middles[:, 1], middles[:, 0])[2])
    taken = {b["id"] for b in facts(tmp_path / "w")["buildings"]}
    sure = {i for i, d in zip(ids, away, strict=True) if d < 199}
    perhaps = {i for i, d in zip(ids, away, strict=True) if d < 201}
    assert 5 < len(sure) < 200 and sure <= taken <= perhaps


def test_a_box_takes_the_buildings_in_it(tmp_path: Path) -> None:
    west, south, east, north = 135.417, 34.659, 135.421, 34.663
    converted(source("07"), "--out", tmp_path / "w", "--bbox", f"{west},{south},{east},{north}", "--no-preview")
    ids, middles = places()
    inside = ((middles > [south, west]) & (middles < [north, east])).all(axis=1)
    taken = {b["id"] for b in facts(tmp_path / "w")["buildings"]}
    assert taken == {i for i, chosen in zip(ids, inside, strict=True) if chosen} and 5 < len(taken) < 400


def test_meshes_modules_and_levels_are_chosen(tmp_path: Path) -> None:
    converted(source("08"), "--out", tmp_path / "a", "--mesh", "52350301", "--no-preview")
    assert len(facts(tmp_path / "a")["buildings"]) == 80
    converted(source("07"), "--out", tmp_path / "b", "--modules", "tran", "--no-preview")
    assert facts(tmp_path / "b")["buildings"] == []
    assert {p.name.rpartition("_")[2] for p in (tmp_path / "b" / "models").iterdir()} <= {"road", "terrain"}
    converted(source("01"), "--out", tmp_path / "c", "--lod", "1", "--no-preview")
    assert {b["lod"] for b in facts(tmp_path / "c")["buildings"]} == {1}


@pytest.mark.parametrize(
    ("case", "words"),
    [("L01_xml_tag_mismatch", "line 146"), ("libplateau_undeclared_prefix", "line")],
)
def test_strict_stops_at_broken_files_with_exit_code_2(tmp_path: Path, case: str, words: str) -> None:
    result = city("convert", source("12") / case, "--out", tmp_path / "world", "--strict")
    text = " ".join((result.stdout + result.stderr).split())
    assert result.exit_code == 2 and ".gml" in text and words in text, text
    assert list(tmp_path.iterdir()) == []


def test_info_tells_what_is_in_a_set() -> None:
    for number, words in (("01", ["9", "6697", "2.0"]), ("07", ["407", "58"]), ("06", ["915", "6677"])):
        result = city("info", source(number))
        assert result.exit_code == 0, result.stdout + result.stderr
        assert all(w in result.stdout for w in words), (number, result.stdout)
    broken = city("info", source("12") / "libplateau_undeclared_prefix")
    assert "Traceback" not in broken.stdout + broken.stderr


def test_running_again_converts_nothing_and_changes_no_byte(osaka: Path, tmp_path: Path) -> None:
    out = tmp_path / "world"
    converted(source("07"), "--out", out)
    before = {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(out.rglob("*")) if p.is_file()}
    converted(source("07"), "--out", out)
    after = {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(out.rglob("*")) if p.is_file()}
    assert after == before and meshes(out) == meshes(osaka)


def test_what_the_command_says_to_run_next_runs(tmp_path: Path) -> None:
    out = tmp_path / "my world"
    result = converted(source("01"), "--out", out, "--no-preview")
    line = next(s for s in result.stderr.splitlines() if s.startswith("embedded engine: "))
    words = shlex.split(line.removeprefix("embedded engine: ").partition(", then ")[0])
    assert words[0] == "aerialworld" and words[-1] == "plan.json"
    plan = tmp_path / "plan.json"
    told = CliRunner().invoke(app, [*words[1:-1], str(plan)])
    assert told.exit_code == 0 and plan.is_file(), told.stdout + told.stderr


@pytest.mark.skipif(os.name == "nt", reason="names are bytes on POSIX only")
@pytest.mark.parametrize("encoding", ["utf-8", "shift_jis", "ascii"])
def test_names_that_the_terminal_cannot_show_are_escaped(tmp_path: Path, encoding: str) -> None:
    """A Japanese archive that was unpacked elsewhere leaves names in Shift_JIS bytes."""
    folder = tmp_path / os.fsdecode("データ".encode("cp932"))
    shutil.copytree(source("11"), folder)
    environment = os.environ | {"PYTHONIOENCODING": f"{encoding}:strict"}
    command = [sys.executable, "-m", "aerialworld", "city", "info", folder]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr and b"\\udc83" in done.stdout
