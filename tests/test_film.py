"""Films of forecasts: what stands where in their pictures, and that a player's library reads them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aerialworld.film import HEAD, MARGIN, pictures, saved_predictions, write_film
from aerialworld.report.predictions import load_prediction
from aerialworld_core.errors import InputError
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import CAR, COLOURS, FREE, TERRAIN

GRID = VoxelGrid((-5, -5, 0), (1, 1, 1), (10, 10, 3))
ROOT = Path(__file__).parents[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ground everywhere; a car ahead on the left in truth, behind on the right in the prediction, none in the warp."""
    ground = np.full((2, *GRID.shape), FREE, np.uint8)
    ground[..., 0] = TERRAIN
    truth, predicted = ground.copy(), ground.copy()
    truth[:, 8, 8, 1] = CAR
    predicted[:, 1, 1, 1] = CAR
    observed = np.ones(ground.shape, bool)
    observed[1, 8, 8, 1] = False  # at the second horizon nobody sees it
    np.savez(
        tmp_path / "prediction_0.npz", truth_semantics=truth, truth_observed=observed, predicted_semantics=predicted,
        ego_warp_fused_semantics=ground, last_semantics=ground[0], horizons_s=np.array([0.5, 1.0]),
        session=np.array("drone_x"), grid=np.array(json.dumps(GRID.to_dict())), datum=np.array(0.0),
        model=np.array("OccWorld"),
    )  # fmt: skip
    return tmp_path


def car_places(picture: np.ndarray, width: int) -> list[list[tuple[str, str]]]:
    """For each of three columns where, in its view from above, a car's pixels lie: (top or bottom, left or right)."""
    found = []
    for column in range(3):
        left = MARGIN + column * (width + MARGIN)
        view = picture[-(width + MARGIN) : -MARGIN, left : left + width].astype(int)
        colour = COLOURS[CAR] / np.linalg.norm(COLOURS[CAR].astype(float))
        car = view @ colour > 0.99 * np.linalg.norm(view, axis=-1)  # of its hue, whatever the shade
        rows, columns = np.nonzero(car)
        found.append(
            [("top" if rows.mean() < width / 2 else "bottom", "left" if columns.mean() < width / 2 else "right")]
            if len(rows) > 20
            else []
        )
    return found


def test_forward_is_up_and_left_is_left(folder: Path) -> None:
    data = load_prediction(folder / "prediction_0.npz")
    shown = list(pictures(data, 200))
    assert [seconds for seconds, _ in shown] == [0.0, 0.5, 1.0]
    assert car_places(shown[0][1], 200) == [[], [], []]
    assert car_places(shown[1][1], 200) == [[("top", "left")], [], [("bottom", "right")]]
    assert car_places(shown[2][1], 200)[0] == []  # truth shows what was observed
    assert all(p.shape == shown[0][1].shape and p.shape[0] % 2 == p.shape[1] % 2 == 0 for _, p in shown)
    assert HEAD < shown[0][1].shape[0]


def test_a_film_is_played(folder: Path) -> None:
    av = pytest.importorskip("av")
    out = folder / "films" / "a.mp4"
    assert write_film(saved_predictions(folder)[0], out, 120) == 3
    with av.open(str(out)) as film:
        frames = [f.to_ndarray(format="rgb24") for f in film.decode(video=0)]
        assert film.streams.video[0].codec_context.name == "h264" and film.streams.video[0].average_rate == 10
    assert len(frames) == 15  # three pictures of half a second
    drawn = [p for _, p in pictures(load_prediction(folder / "prediction_0.npz"), 120)]
    for k in range(15):
        assert np.abs(frames[k].astype(int) - drawn[k // 5]).mean() < 4
    assert [p.name for p in out.parent.iterdir()] == ["a.mp4"]


def test_what_is_no_prediction_says_so(folder: Path) -> None:
    (folder / "prediction_1.npz").write_bytes(b"no archive")
    with pytest.raises(InputError, match="no readable prediction"):
        load_prediction(folder / "prediction_1.npz")
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match="saved-windows"):
        saved_predictions(folder / "empty")


@pytest.mark.parametrize("name", ["eval_metric_stp3.py", "visualize_demo.py"])
def test_the_guides_scripts_answer(name: str, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, ROOT / "training" / name, "--work-dir", tmp_path], capture_output=True, text=True, check=False
    )
    assert run.returncode == 2 and "holds none of" in run.stderr
