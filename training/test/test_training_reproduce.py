"""The same table again, byte by byte; what differs is named; cards tell what the evaluation holds."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

import aerialworld_training.evaluate as evaluation
from aerialworld_core.errors import InputError
from aerialworld_training import reproduce as again
from aerialworld_training.cards import plain
from aerialworld_training.made_from import differences, listed
from aerialworld_training.trained import load_trained

sys.path.insert(0, str(Path(__file__).parent))
from training_checkpoints import run_config, synthetic, write_run, write_split


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sessions, a model and its evaluation."""
    root = tmp_path_factory.mktemp("made")
    write_split(root / "sessions", root / "split.json", 7)
    write_run(root / "run" / "best.pth", run_config(synthetic().GRID.pooled((2, 2, 1))))
    evaluation.evaluate(root / "sessions", root / "split.json", root / "run", root / "out", max_windows=1, threads=1)
    return root


def test_the_same_bytes_wherever_the_inputs_lie(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert again.main([str(made / "out"), "--out", str(tmp_path / "a")]) == 0
    assert "the same bytes" in capsys.readouterr().out
    for name in ("evaluation.json", "prediction_0.npz", "MODEL_CARD.md", "DATA_CARD.md"):
        assert (tmp_path / "a" / name).read_bytes() == (made / "out" / name).read_bytes()
    moved = tmp_path / "moved"
    shutil.copytree(made / "sessions", moved)
    shutil.copy(made / "run" / "best.pth", tmp_path / "other_name.pth")
    shutil.copy(made / "out" / "evaluation.json", tmp_path / "table.json")  # without provenance.json
    arguments = [str(tmp_path / "table.json"), "--out", str(tmp_path / "b")]
    assert again.main(arguments) == 2 and "give --sessions" in capsys.readouterr().err
    arguments += ["--sessions", str(moved), "--work-dir", str(tmp_path / "other_name.pth")]
    assert again.main(arguments) == 0


def test_what_differs_is_named(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (made / "out" / "evaluation.json").read_text()
    table = json.loads(text)
    sessions, model = ["--sessions", str(made / "sessions")], ["--work-dir", str(made / "run")]
    write_run(tmp_path / "best.pth", run_config(synthetic().GRID.pooled((2, 2, 1))), seed=1)
    other = [str(made / "out"), "--out", str(tmp_path / "a"), "--work-dir", str(tmp_path)]
    assert again.main(other) == 1
    assert "model.weights_sha256: " in capsys.readouterr().err and not (tmp_path / "a").exists()
    shutil.copytree(made / "sessions", tmp_path / "sessions")
    test = table["sessions"][0]
    described = tmp_path / "sessions" / test / "session.json"
    described.write_text(described.read_text().replace("made up", "others"))
    assert again.main([*other[:3], *model, "--sessions", str(tmp_path / "sessions")]) == 1
    assert f"sessions.{test}.content_sha256: " in capsys.readouterr().err
    table["rows"]["copy"]["horizons"][1]["strata"]["all"]["iou"] = 0.5
    (tmp_path / "evaluation.json").write_text(json.dumps(table))
    assert again.main([str(tmp_path / "evaluation.json"), "--out", str(tmp_path / "b"), *sessions, *model]) == 1
    said = capsys.readouterr().err
    assert "1 differences" in said and "rows.copy.horizons[1].strata.all.iou: 0.5, now " in said
    (tmp_path / "evaluation.json").write_text(json.dumps({k: v for k, v in table.items() if k != "made_from"}))
    with pytest.raises(InputError, match="evaluate again"):
        again.reproduce(tmp_path / "evaluation.json", tmp_path / "c")
    with pytest.raises(InputError, match="give another --out"):
        again.reproduce(made / "out", made / "out")


def test_differences_by_hand() -> None:
    before = {"a": 1, "b": [1, 2], "c": {"d": None}, "e": 0}
    now = {"a": 1.0, "b": [1, 3], "c": {"d": None, "f": 2}}
    assert differences(before, now) == [
        "a: 1, now 1.0", "b[1]: 2, now 3", "c.f: is new", "e: is gone"
    ]  # fmt: skip
    assert differences([1], [1, 2], "x") == ["x: 1 entries, now 2"]
    assert listed([str(k) for k in range(25)]).splitlines()[-1] == "  … and 5 more"


def test_cards_tell_what_the_evaluation_holds(made: Path) -> None:
    result = json.loads((made / "out" / "evaluation.json").read_text())
    card = (made / "out" / "MODEL_CARD.md").read_text()
    assert result["made_from"]["model"]["weights_sha256"] in card and "Seed of training: 42" in card
    line = next(x for x in card.splitlines() if x.startswith("| **AerialOccWorld (history only)**"))
    shown = [h["strata"]["all"]["iou"] for h in result["rows"]["occworld"]["horizons"]]
    assert [cell.strip() for cell in line.split("|")[2:5]] == [f"{100 * v:.1f}" for v in shown]
    assert load_trained(made / "run").config.splitlines()[0] in card
    data = (made / "out" / "DATA_CARD.md").read_text()
    assert data.count("| drone |") == 2 and "made up" in data and "boxes `abababababab`" in data
    assert data.count("| train |") == 1 and str(made) not in card + data
    assert plain("a|b\n# c") == "a\\|b \\# c"
