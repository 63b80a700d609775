"""The report is one page that needs nothing else, and whatever names data bear, they stay text."""

from __future__ import annotations

import io
import json
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aerialworld.report import render_report, write_report
from aerialworld.report.metrics import metric_table, read_curves, verdict
from aerialworld.report.predictions import predictions
from aerialworld_core.errors import InputError
from aerialworld_core.frames import Georeference, Pose
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import MANMADE
from aerialworld_core.occupancy import Occupancy
from aerialworld_core.rig import Rig
from aerialworld_core.sensing import SensorFrame, VehicleState
from aerialworld_core.session import SessionMeta, SessionWriter
from aerialworld_core.world import load_rig

sys.path.insert(0, str(Path(__file__).parent))
from report_evaluations import evaluation

EVIL = "<script>alert('x')</script>\"'><img src=http://evil.example/x onerror=alert(1)>"
GRID = VoxelGrid.from_range((-8, -8, 0, 8, 8, 10), (1, 1, 1))


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


def jpeg(grey: int) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (320, 180), (grey, grey, grey)).save(buffer, "JPEG")
    return buffer.getvalue()


def record_session(root: Path, name: str) -> Path:
    """Three frames in front of a wall, in a mission called `name`."""
    full = load_rig("rig_small")
    rig = Rig(full.name, full.cameras, full.depth, full.lidar, None)
    meta = SessionMeta(
        vehicle="drone_1", agent_type="drone", engine={"name": "embedded", "version": "0"},
        world={"name": name, "sha256": "0"}, georeference=Georeference(35.0, 139.0, 0.0), grid=GRID, datum=0.0, rig=rig,
        frame_period_ns=500_000_000, seed=0, mission=name, conditions={}, start_time="2024-01-15T12:00:00Z",
        attribution=name,
    )  # fmt: skip
    occupancy = Occupancy.empty(GRID)
    occupancy.occupancy[12, :, :5] = 1
    occupancy.semantics[12, :, :5] = MANMADE
    occupancy.observed[:13] = True
    with SessionWriter(root, meta, {"name": name, "pattern": name, "place": name}, {}) as writer:
        for index in range(3):
            pose = Pose(np.array([index, 0.0, 5.0]), np.array([0.0, 0.0, 0.0, 1.0]))
            state = VehicleState(index * 500_000_000, pose, np.array([2.0, 0, 0]), np.zeros(3))
            frame = SensorFrame(state, 0.0, lidar=np.array([[5, 1, -2, 0]] * 40, np.float32))
            writer.write_frame(index, frame, occupancy, {c.name.upper(): jpeg(90) for c in rig.cameras})
    return Path(writer.path)


#: Stage folder → what its run told.
CURVES = {
    "1_adapt": [
        {"stage": "adapt", "epoch": 1, "run_step": 10, "loss": 0.5, "ce": 9.0},
        {"stage": "adapt", "epoch": 1, "run_step": 20, "loss": 0.25, "ce": 9.0},
        {"stage": "adapt", "epoch": 1, "run_step": 20, "val_iou": 0.75, "val_codes_used": 12.0},
    ],
    "2_occworld": [
        {"stage": "occworld", "epoch": 1, "run_step": 10, "loss": 7.0, "ce": 3.0, "voxels": 0.125},
        {"stage": "occworld", "epoch": 1, "run_step": 15, "val_iou": 0.5, "val_ce": 2.0, "val_code_accuracy": 0.25},
    ],
}


@pytest.fixture(scope="module")
def hostile_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder in which every name, credit and message is hostile."""
    run = tmp_path_factory.mktemp("report") / "run"
    for folder in ("world", "sessions", "stages", "evaluation", "training"):
        (run / folder).mkdir(parents=True)
    session = record_session(run / "sessions", EVIL)

    def put(name: str, data: Any) -> None:
        (run / name).write_text(json.dumps(data))

    put("run.json", {
        "command": ["aerialworld", "demo", "--city", EVIL], "city": EVIL, "seed": 0, "rig": EVIL,
        "grid": GRID.to_dict(), "frame_rate": 2.0, "duration": 1.0, "config": EVIL, "overrides": [EVIL],
        "versions": {EVIL: EVIL},
        "machine": {"cpu": EVIL, "cores": 2, "memory_gb": 1.0, "system": EVIL, "python": EVIL},
    })  # fmt: skip
    put(
        "world/city.json",
        {"name": EVIL, "attribution": EVIL, "buildings": [{"id": EVIL}], "georeference": {EVIL: EVIL}},
    )
    put("split.json", {"train": [session.name], "val": [EVIL], "test": [EVIL]})
    put("validation.json", {EVIL: {"ok": False, "errors": [EVIL], "warnings": [EVIL], "figures": {"recall": 0.5}}})
    put("evaluation/evaluation.json", {**evaluation(0.6, EVIL), "protocol": EVIL})
    put("stages/city.json", {
        "step": "city", "title": EVIL, "seconds": 1.0, "cpu_seconds": 1.0, "resumed": False, "figures": {}
    })  # fmt: skip
    volume = np.full((3, *GRID.shape), 17, np.uint8)
    volume[:, 12, :, :5] = MANMADE
    np.savez(
        run / "evaluation" / "prediction_0.npz",
        truth_semantics=volume, truth_observed=volume != 17, predicted_semantics=volume,
        horizons_s=np.array([1.0, 2.0, 3.0]), grid=np.array(json.dumps(GRID.to_dict())), session=np.array(EVIL),
        datum=np.array(0.0),
    )  # fmt: skip
    for folder, lines in CURVES.items():
        (run / "training" / folder).mkdir()
        (run / "training" / folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


@pytest.fixture(scope="module")
def html(hostile_run: Path) -> str:
    return render_report(hostile_run)


def test_hostile_names_stay_text(html: str) -> None:
    page = Page(html)
    assert "script" not in [tag for tag, _ in page.tags]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert EVIL in page.text, "the name is shown, as text"
    assert page.text.count("alert('x')") > 10


def test_the_page_needs_nothing_else(html: str) -> None:
    page = Page(html)
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base", "form", "video", "audio")
        if "src" in attributes:
            assert str(attributes["src"]).startswith("data:image/"), tag
        if "href" in attributes:
            assert str(attributes["href"]).startswith("#"), tag
        assert "url(" not in str(attributes.get("style"))
    policies = [a["content"] for t, a in page.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"]
    assert policies and "default-src 'none'" in str(policies[0]) and "script" not in str(policies[0])
    assert "@import" not in html and "url(" not in html
    anchors = {a.get("id") for _, a in page.tags}
    assert {str(a["href"])[1:] for t, a in page.tags if t == "a"} <= anchors | {"map"}


def test_six_cameras_stand_as_one_looks_around(html: str) -> None:
    page = Page(html)
    cameras = [
        a["alt"]
        for t, a in page.tags
        if t == "img" and str(a["alt"]).split()[0] in ("front", "back") and "," not in str(a["alt"])
    ]
    assert cameras == ["front left", "front", "front right", "back left", "back", "back right"]


def test_equal_folders_give_equal_pages(hostile_run: Path, html: str) -> None:
    assert write_report(hostile_run).read_text() == html


def test_a_damaged_prediction_is_named(hostile_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "prediction_0.npz"
    path.write_bytes((hostile_run / "evaluation" / "prediction_0.npz").read_bytes()[:200])
    with pytest.raises(InputError, match=r"prediction_0\.npz"):
        predictions(tmp_path)
    np.savez(path, truth_semantics=np.array([object()]), allow_pickle=True)
    with pytest.raises(InputError, match=r"prediction_0\.npz"):
        predictions(tmp_path)


def test_curves_are_of_each_stage(hostile_run: Path, tmp_path: Path) -> None:
    curves = read_curves(hostile_run / "training")
    assert curves == {
        "VAE: loss": {"training": [[10, 0.5], [20, 0.25]]},
        "VAE: IoU of the reconstruction": {"validation": [[20, 0.75]]},
        "VAE: codes in use": {"validation": [[20, 12]]},
        "World model: cross-entropy of codes": {"training": [[10, 3]], "validation": [[15, 2]]},
        "World model: cross-entropy of voxels": {"training": [[10, 0.125]]},
        "World model: codes right": {"validation": [[15, 0.25]]},
        "World model: IoU of the forecast": {"validation": [[15, 0.5]]},
    }
    # A run of one stage lies in the folder itself.
    assert read_curves(hostile_run / "training" / "2_occworld") == {k: v for k, v in curves.items() if "VAE" not in k}
    assert read_curves(tmp_path) == {}


def test_the_verdict_is_honest() -> None:
    losing = verdict(evaluation(0.6))
    assert "60.0 %" in losing and "The model beats: copy (50.0 %)" in losing
    assert "It does not beat: ego-warp (80.0 %)" in losing and "could reach 90.0 %" in losing
    aerial = verdict(evaluation(0.6) | {"model": "AerialOccWorld"})  # its forecasts can lie above its codes
    assert "could reach" not in aerial and "without the moved past, say 90.0 %" in aerial
    winning = verdict(evaluation(0.85))
    assert "does not beat" not in winning
    assert "does not beat: copy" in verdict(evaluation(0.5)), "a tie is no win"


def test_the_best_forecast_is_marked_and_the_ceiling_is_none() -> None:
    table = metric_table(evaluation(0.6))
    assert table.columns == ["+1 s", "+2 s", "+3 s", "mean of 1, 2, 3 s"]
    marked = {r.label: [c.best for c in r.cells] for r in table.rows}
    assert marked == {"copy": [False] * 4, "ego-warp": [True] * 4, "ceiling": [False] * 4, "OccWorld": [False] * 4}
    assert [c.text for c in table.rows[0].cells] == ["50.0"] * 4


def test_a_foreign_run_record_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(InputError, match="do not fit this version"):
        write_report(tmp_path)
