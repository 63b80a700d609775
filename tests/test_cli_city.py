"""`aerialworld city`: help that teaches, bad values that name their option, tables and JSON that agree."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from aerialworld.cli import app


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["city", *(str(w) for w in words)], env={"COLUMNS": "200"})


def text_of(result: Result) -> str:
    return " ".join((result.stdout + result.stderr).split())


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("city") / "data"
    assert run("generate", folder).exit_code == 0
    return folder


def packed(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, f"13999_made-up_city_2024_citygml/{file.relative_to(folder).as_posix()}")
    return path


# -- help and bad values ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["convert", "info", "preview", "generate", "download"])
def test_every_command_teaches_with_an_example(name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0 and f"aerialworld city {name}" in text_of(result)


def test_the_help_of_convert_names_every_option() -> None:
    text = text_of(run("convert", "--help"))
    for option in (
        "--out", "--mesh", "--bbox", "--around", "--radius", "--modules", "--lod", "--crs", "--origin", "--up",
        "--chunk", "--per-building", "--terrain", "--target-faces", "--max-deviation", "--max-texture-size",
        "--no-textures", "--no-preview", "--workers", "--no-keep-tiles", "--strict",
    ):  # fmt: skip
        assert f"{option} " in text, option


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--mesh", "12"), ("--mesh", ","), ("--mesh", "53394525,x"), ("--mesh", "9999"),
        ("--bbox", "1,2,3"), ("--bbox", "a,b,c,d"), ("--bbox", "139.8,35.6,139.7,35.7"), ("--bbox", "35,139,36,140"),
        ("--around", "35.6"), ("--around", "139.7,35.6"), ("--around", "nan,139"),
        ("--modules", "bldg,road"), ("--modules", ""), ("--lod", "4"), ("--lod", "best"),
        ("--crs", "tokyo"), ("--crs", "0"), ("--crs", "-6677"),
        ("--origin", "95,10"), ("--origin", "x"), ("--up", "x"),
        ("--chunk", "5"), ("--chunk", "nan"), ("--chunk", "1e9"), ("--terrain", "plane"),
        ("--target-faces", "0"), ("--max-deviation", "-1"), ("--max-deviation", "inf"),
        ("--max-texture-size", "2"), ("--max-texture-size", "100000"), ("--workers", "0"), ("--workers", "many"),
        ("--radius", "300"),
    ],
)  # fmt: skip
def test_a_bad_value_names_its_option(tmp_path: Path, city: Path, option: str, value: str) -> None:
    result = run("convert", city, "--out", tmp_path / "world", option, value)
    assert result.exit_code == 2 and option in text_of(result) and "Traceback" not in text_of(result)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("radius", ["0", "-5", "nan", "1e7"])
def test_a_bad_radius_names_itself(city: Path, radius: str) -> None:
    result = run("info", city, "--around", "35.65,139.63", "--radius", radius)
    assert result.exit_code == 2 and "--radius" in text_of(result)


# -- what is in it ------------------------------------------------------------------------------------------------


def info(*words: str | Path) -> dict[str, Any]:
    result = run("info", "--json", *words)
    assert result.exit_code == 0, text_of(result)
    return json.loads(result.stdout)


def test_information_as_table_and_json(city: Path) -> None:
    told = info(city)
    assert told["modules"] == {"bldg": 1, "tran": 1, "dem": 1} and told["generated"] and told["zone"] == 6677
    buildings = sum(told["kinds"]["building"].values())
    assert buildings == told["counts"]["Building"] > 20 and set(told["kinds"]["building"]) == {"LOD1", "LOD2"}
    assert told["terrain_triangles"] == told["counts"]["Triangle"] and told["specification"] == ["v4 (i-UR 3.1)"]
    table = text_of(run("info", city))
    levels = told["kinds"]["building"]
    assert f"{buildings} ({levels['LOD1']} at LOD1, {levels['LOD2']} at LOD2)" in table
    for words in ("EPSG:6697", "EPSG:6677", "v4 (i-UR 3.1)", f"{told['terrain_triangles']:,} triangles"):
        assert words in table


def test_information_is_the_same_from_folder_zip_and_files(tmp_path: Path, city: Path) -> None:
    folder, archive = info(city), info(packed(city, tmp_path / "city.zip"))
    files = info(*sorted(city.rglob("*.gml")))
    for key in ("kinds", "counts", "bounds", "terrain_triangles", "epsg", "specification", "modules"):
        assert folder[key] == archive[key] == files[key]


def test_information_on_a_selection(city: Path) -> None:
    assert set(info(city, "--modules", "dem")["modules"]) == {"dem"}
    south, west, north, east = (info(city)["bounds"][i][j] for i in (0, 1) for j in (0, 1))
    middle = f"{(south + north) / 2},{(west + east) / 2}"
    assert info(city, "--around", middle, "--radius", "50")["modules"]["bldg"] == 1
    box = f"{west},{south},{east},{north}"
    assert info(city, "--bbox", box, "--crs", "EPSG:6677")["zone"] == 6677
    result = run("info", city, "--modules", "brid")
    assert result.exit_code == 2 and "brid" in text_of(result)


def test_a_broken_file_among_good_ones_is_listed(tmp_path: Path, city: Path) -> None:
    broken = tmp_path / "broken_bldg_.gml"
    broken.write_text("<core:CityModel xmlns:core='x'><core:cityObjectMember>")
    told = info(*sorted(city.rglob("*.gml")), broken)
    assert [f["name"] for f in told["files"] if "error" in f] == ["broken_bldg_.gml"]
    assert told["kinds"]["building"]
    table = text_of(run("info", city, broken))
    assert "cannot be read" in table and "broken_bldg_.gml: line 1: not a well-formed CityGML file" in table
    alone = run("info", broken)
    assert alone.exit_code == 2 and "broken_bldg_.gml" in text_of(alone)


def test_names_from_files_are_no_markup(tmp_path: Path, city: Path) -> None:
    folder = tmp_path / "[bold]x"
    folder.mkdir()
    (folder / "[red]a_bldg_.gml").write_bytes(next(city.rglob("*bldg*.gml")).read_bytes())
    (folder / "5339_luse_[blink].gml").write_text("x")
    text = text_of(run("info", folder))
    assert "[bold]x" in text and " 5339_luse_[blink].gml (luse" in text
    out = run("convert", folder, "--out", tmp_path / "[i]w", "--no-preview", "--workers", "1")
    assert out.exit_code == 0 and " 5339_luse_[blink].gml (luse" in text_of(out) and "[i]w" in text_of(out)


# -- converting ---------------------------------------------------------------------------------------------------


def test_convert_tells_what_it_did_and_where_to_go_next(tmp_path: Path, city: Path) -> None:
    out = tmp_path / "world"
    result = run("convert", city, "--out", out, "--no-preview", "--no-keep-tiles", "--workers", "1")
    text = text_of(result)
    assert result.exit_code == 0, text
    told = json.loads((out / "conversion_report.json").read_text())
    assert f"{told['written']['buildings']} buildings" in text and "skipped" in text
    assert f"gz sim {out / 'world.sdf'}" in text and f"aerialworld mission plan {out}" in text
    assert result.stdout.rstrip().endswith(str(out))
    assert not (out / ".tiles").exists() and not list(out.glob("*.png"))


def test_several_sources_are_one_city(tmp_path: Path, city: Path) -> None:
    out = tmp_path / "world"
    result = run("convert", *sorted(city.rglob("*.gml")), "--out", out, "--no-preview", "--workers", "1")
    assert result.exit_code == 0, text_of(result)
    assert len(json.loads((out / "city.json").read_text())["sources"]) == 3


def test_preview_draws_two_pictures(tmp_path: Path, city: Path) -> None:
    out = tmp_path / "world"
    assert run("convert", city, "--out", out, "--no-preview", "--workers", "1").exit_code == 0
    result = run("preview", out, "--out", tmp_path / "pictures")
    assert result.exit_code == 0, text_of(result)
    names = sorted(p.name for p in (tmp_path / "pictures").iterdir())
    assert names == ["preview_oblique.png", "preview_top.png"]
    assert all((tmp_path / "pictures" / n).read_bytes().startswith(b"\x89PNG") for n in names)
    assert run("preview", tmp_path / "nothing").exit_code == 2


# -- download -----------------------------------------------------------------------------------------------------


def a_zip() -> bytes:
    """The same bytes at any time: an entry's time is stated, not the clock's."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        entry = zipfile.ZipInfo("udx/bldg/53394525_bldg_6697_op.gml", (2022, 4, 1, 0, 0, 0))
        archive.writestr(entry, "<x/>" * 1000)
    return stream.getvalue()


@pytest.fixture
def mirror() -> Iterator[str]:
    """A catalogue with one data set, as a mirror of the official one would be."""
    content = a_zip()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = content
            if self.path == "/catalogue":
                sets = [
                    {"id": "1", "pref": "東京都", "city": "東京都23区", "city_code": "13100", "year": 2022,
                     "spec": "2.3", "url": f"{address}/13100_tokyo23-ku_2022_citygml_1_3_op.zip",
                     "file_size": len(content), "feature_types": ["bldg", "dem"]},
                ]  # fmt: skip
                data = json.dumps({"citygml": sets}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    address = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"{address}/catalogue"
    server.shutdown()
    server.server_close()


def test_download_lists_and_fetches(tmp_path: Path, mirror: str) -> None:
    listed = text_of(run("download", "--list", "--city", "東京", "--catalogue", mirror))
    assert "13100" in listed and "東京都23区" in listed and "2022" in listed and "bldg dem" in listed
    result = run("download", "--city", "13100", "--year", "2022", "--out", tmp_path / "data", "--catalogue", mirror)
    assert result.exit_code == 0, text_of(result)
    path = tmp_path / "data" / "13100_tokyo23-ku_2022_citygml_1_3_op.zip"
    assert path.read_bytes() == a_zip() and result.stdout.rstrip().endswith(str(path))
    digest = hashlib.sha256(a_zip()).hexdigest()
    assert (path.parent / (path.name + ".sha256")).read_text() == f"{digest}  {path.name}\n"
    again = run("download", "--city", "東京", "--out", tmp_path / "data", "--catalogue", mirror)
    assert again.exit_code == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "--city"),
        (("--city", "13100", "--format", "obj"), "--format"),
        (("--city", "99999"), "--list"),
        (("--city", "13100", "--year", "1999"), "there is 2022"),
    ],
)
def test_a_bad_order_is_explained(tmp_path: Path, mirror: str, words: tuple[str, ...], told: str) -> None:
    result = run("download", *words, "--out", tmp_path / "data", "--catalogue", mirror)
    assert result.exit_code == 2 and told in text_of(result) and not (tmp_path / "data").exists()


@pytest.mark.parametrize("url", ["http://example.com/catalogue", "file:///etc/passwd", "nowhere"])
def test_catalogues_that_are_not_asked(url: str) -> None:
    result = run("download", "--list", "--catalogue", url)
    assert result.exit_code == 2 and "--catalogue" in text_of(result) and "Traceback" not in text_of(result)
