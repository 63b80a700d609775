"""Evaluation of run checkpoints: rows that must be equal are, and what each knows of the future is kept apart."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import aerialworld_training.evaluate as evaluation
from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import CAR, FREE, MANMADE
from aerialworld_training.dataset import PooledSession
from aerialworld_training.dataset.actors import Actors
from aerialworld_training.dataset.frames import load_sessions
from aerialworld_training.full_truth import FullTruth
from aerialworld_training.occupied import Occupied
from aerialworld_training.seeds import main as seeds_main
from aerialworld_training.seeds import over_seeds
from aerialworld_training.strata import CELLS, OCCLUDED, Asked, height_bands
from aerialworld_training.trained import load_trained

sys.path.insert(0, str(Path(__file__).parent))
from training_checkpoints import run_config, synthetic, write_run, write_split


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sessions of eight frames and a split."""
    root = tmp_path_factory.mktemp("evaluation")
    write_split(root, root / "split.json", 8)
    return root


def pooled_grid() -> VoxelGrid:
    grid: VoxelGrid = synthetic().GRID.pooled((2, 2, 1))
    return grid


def scores_of(row: dict[str, Any]) -> list[Any]:
    return [h["strata"] for h in row["horizons"]]


def test_untrained_rows_are_the_fused_warps(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "run" / "best.pth", run_config(pooled_grid()))
    arguments = ["--sessions", str(root), "--split", str(root / "split.json"), "--max-windows", "2", "--threads", "1"]
    for out, path in (("a", tmp_path / "run"), ("b", tmp_path / "run" / "best.pth")):
        assert evaluation.main([*arguments, "--work-dir", str(path), "--out", str(tmp_path / out)]) == 0
    one, two = ((tmp_path / out / "evaluation.json").read_bytes() for out in ("a", "b"))
    assert one == two  # a folder and its file, twice the same bytes
    result = json.loads(one)
    rows = result["rows"]
    assert result["model"] == "AerialOccWorld" and list(rows) == list(evaluation.rows_of(evaluation.load_trained(path)))
    assert scores_of(rows["occworld_true_motion"]) == scores_of(rows["ego_warp_fused"])
    going_on = scores_of(rows["ego_warp_fused_constant_velocity"])
    assert scores_of(rows["occworld_constant_velocity"]) == going_on
    # The made vehicle turns steadily, so going on as before is the truth; the untrained model's own way is not.
    assert going_on == scores_of(rows["ego_warp_fused"])
    for along, true in (
        ("ego_warp_constant_velocity_fill_height", "ego_warp_fill_height"),
        ("ego_warp_constant_velocity_fill_nearest", "ego_warp_fill_nearest"),
        ("actors_tracked_constant_velocity", "actors_tracked"),
    ):
        assert scores_of(rows[along]) == scores_of(rows[true])
        assert (rows[along]["knows"], rows[true]["knows"]) == ("nothing of the future", "the true motion")
    assert scores_of(rows["ego_warp_fill_nearest"]) != going_on  # there is something to fill
    assert rows["occworld"]["knows"] == "nothing of the future"
    assert rows["reconstruction"]["knows"] == "the true future frame"
    assert len(result["goals"]) == 6 and {g["verdict"] for g in result["goals"]} == {"not measured"}  # 1.5 s is no 3 s
    assert scores_of(rows["occworld"]) != going_on
    assert result["motion"]["constant_velocity"]["fde"] < 1e-6 < result["motion"]["constant_displacement"]["fde"]
    assert "AerialOccWorld (true future motion)" in capsys.readouterr().out
    with np.load(tmp_path / "a" / "prediction_0.npz", allow_pickle=False) as saved:
        assert saved["predicted_semantics"].shape == (3, *pooled_grid().shape)


def test_a_low_model_and_grids_that_do_not_fit(root: Path, tmp_path: Path) -> None:
    grid = pooled_grid()
    write_run(tmp_path / "low.pth", run_config(grid, "model.slot_minimum=-2.0", "model.slot_size=1.0"))
    result = evaluation.evaluate(root, root / "split.json", tmp_path / "low.pth", tmp_path / "out", threads=1)
    assert result["model"] == "OccWorld" and "occworld_true_motion" not in result["rows"]
    assert result["counts"]["windows_evaluated"] == 3
    finer = VoxelGrid(grid.minimum, (0.4, 0.4, 1.0), (80, 80, 16))
    write_run(tmp_path / "fine.pth", run_config(finer))
    with pytest.raises(InputError, match="session occupancy"):
        evaluation.evaluate(root, root / "split.json", tmp_path / "fine.pth", tmp_path / "out")
    with pytest.raises(InputError, match="at least 1"):
        evaluation.evaluate(root, root / "split.json", tmp_path / "low.pth", tmp_path / "out", max_windows=0)
    told: list[str] = []
    low, heard = tmp_path / "low.pth", lambda what, fraction: told.append(what)
    with pytest.raises(InputError, match="a file is in the way"):
        evaluation.evaluate(root, root / "split.json", low, low, progress=heard)
    assert told == ["reading sessions"]  # before anything is computed that could not be kept


WORLD = """<sdf version="1.9"><world name="wall"><model name="wall"><static>true</static><pose>3.3 0.2 1 0 0 0</pose>
<link name="link"><visual name="visual"><geometry><box><size>0.4 3.2 1.6</size></box></geometry>
<plugin filename="gz-sim-label-system" name="gz::sim::systems::Label"><label>15</label></plugin></visual></link>
</model></world></sdf>"""


def test_means_over_seeds_by_hand(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "best.pth", run_config(pooled_grid()))
    made = evaluation.evaluate(root, root / "split.json", tmp_path, tmp_path / "s0", max_windows=1, threads=1)
    assert [v["vpq"] for v in made["rows"]["ego_warp_fused"]["vpq"]] == [None] * 3  # its car shows in no voxel
    paths = []
    for k, value in enumerate((0.1, 0.2, 0.6)):
        made["rows"]["occworld"]["horizons"][0]["strata"]["all"]["iou"] = value
        paths.append(tmp_path / f"{k}.json")
        paths[-1].write_text(json.dumps(made | {"made_from": {"model": {"weights_sha256": str(k)}}}))
    spread = over_seeds(paths)["rows"]["occworld"]["horizons"][0]["strata"]["all"]
    assert spread["mean"] == pytest.approx(0.3) and spread["std"] == pytest.approx(np.sqrt(0.07))
    assert seeds_main([str(p) for p in paths[:2]]) == 0 and "a claim needs 3" in capsys.readouterr().err
    with pytest.raises(InputError, match="counts once"):
        over_seeds([paths[0], paths[0]])
    paths[1].write_text(json.dumps(made | {"windows": []}))
    with pytest.raises(InputError, match="windows differs"):
        over_seeds(paths)


def test_full_truth_by_hand(tmp_path: Path) -> None:
    """A wall of x 3.1–3.5, y −1.4–1.8, z 0.2–1.8 seen by nobody, and a car at x −3.5 ± 0.9, y 0.5 ± 0.4, z 0–0.9. On
    voxels of 1 m the wall meets x 3, y −2 … 1, z 0 and 1; all of its voxels hold a face of it. The car meets x −5 … −3,
    y 0."""
    (tmp_path / "world.sdf").write_text(WORLD)
    grid = VoxelGrid((-8, -8, 0), (1, 1, 1), (16, 16, 3))
    car = [CAR, -3.5, 0.5, 0.45, 0.0, 1.8, 0.8, 0.9, 0.0, 0.0, 0.0]
    session = PooledSession(
        name="drone_hand", agent_type="drone", grid=grid, datum=0.0, frame_period_ns=1, numbers=np.arange(1),
        stamps=np.arange(1), position=np.array([[0.0, 0.0, 30.0]]), orientation=np.array([[0.0, 0, 0, 1]]),
        offsets=np.zeros(2, int), cells=np.zeros(0, np.uint32), classes=np.zeros(0, np.uint8),
        observed=np.zeros((1, 96), np.uint8), actors=(Actors.from_rows([car], ["car_1"]),), world={"sha256": "0"},
    )  # fmt: skip
    with pytest.raises(InputError, match="needs that world"):
        FullTruth(tmp_path, [session])
    from aerialworld_core.world import load_world

    session = dataclasses.replace(session, world={"sha256": load_world(tmp_path).sha256})
    semantics = FullTruth(tmp_path, [session]).semantics(session, 0)
    expected = np.full(grid.shape, FREE, np.uint8)
    expected[11, 6:10, :2] = MANMADE
    expected[3:6, 8, 0] = CAR
    assert (semantics == expected).all()


def test_what_is_occluded_has_cells_of_its_own() -> None:
    grid = VoxelGrid((0, 0, 0), (1, 1, 1), (1, 1, 2))
    truth = np.array([[[MANMADE, FREE]]], np.uint8)
    nothing = np.zeros(grid.shape, bool)
    occluded = np.array([[[True, False]]])
    none = Occupied(np.zeros(0, int), np.zeros(0, np.uint8))
    asked = Asked.of(Occupied.of(truth), nothing, None, height_bands(grid), none.cells, none, occluded)
    cells = asked.code // 18
    assert cells.tolist() == [CELLS + 4 + 16, 4] and cells[0] in OCCLUDED.cells and cells[1] not in OCCLUDED.cells
    assert len(asked.totals) == 2 * CELLS * 18 and asked.totals.sum() == 2


def test_ids_of_what_moves_survive_the_cache(root: Path, tmp_path: Path) -> None:
    name = next(p.name for p in sorted(root.iterdir()) if p.is_dir() and p.name.startswith("drone"))
    for _ in range(2):  # read, then from the cache
        session = load_sessions(root, [name], (2, 2, 1), cache=tmp_path)[name]
        assert session.actors[0].ids == ("car_1",) and session.actors[5].ids == ("car_1",)
        assert session.world["sha256"] == "ab" * 32 and len(session.content) == 64
    assert session.pose(0).yaw == pytest.approx(Pose(session.position[0], session.orientation[0]).yaw)


@pytest.mark.parametrize("device", ["quantum", "cuda:99"])
def test_a_device_that_is_not_there_is_named(tmp_path: Path, device: str) -> None:
    write_run(tmp_path / "best.pth", run_config(pooled_grid()))
    assert load_trained(tmp_path / "best.pth").device == torch.device("cpu")
    with pytest.raises(InputError, match=f"device {device}: "):
        load_trained(tmp_path / "best.pth", device)
