"""Checkpoint files: both directions, wrapped, partial, damaged and dangerous ones."""

from __future__ import annotations

import importlib.util
import os
import pickle
import sys
import warnings
from pathlib import Path

import pytest
import torch

from aerialworld_core.errors import InputError
from aerialworld_training import export, fit
from aerialworld_training.building import build
from aerialworld_training.models.occworld import OccWorld, load_complete, read_state_dict
from aerialworld_training.models.occworld.state_dict_adapter import Checkpoint, read_checkpoint, to_original
from aerialworld_training.runconfig import load_run_config, load_stages
from aerialworld_training.running.weights import load_weights

sys.path.insert(0, str(Path(__file__).parent))
from training_tiny import CONFIG, tiny, tiny_aerial


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(v, b[k]) for k, v in a.items())


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_wrappers_are_taken_off(tmp_path: Path, prefix: str) -> None:
    state = tiny().state_dict()
    torch.save({"state_dict": {prefix + k: v for k, v in state.items()}, "epoch": 3}, tmp_path / "a.pth")
    read = read_checkpoint(tmp_path / "a.pth")
    assert equal(read.state, dict(state)) and read.rest == {"epoch": 3} and not read.stage_1
    torch.save({prefix + k: v for k, v in state.items()}, tmp_path / "bare.pth")
    assert equal(read_state_dict(tmp_path / "bare.pth"), dict(state))


def test_a_stage_1_file_is_the_vae(tmp_path: Path) -> None:
    source, target = tiny(1), tiny(2)
    torch.save(to_original(source.state_dict(), stage_1=True, epoch=7), tmp_path / "vae.pth")
    raw = torch.load(tmp_path / "vae.pth", weights_only=True)["state_dict"]
    assert not any(k.startswith("vae.") for k in raw) and "encoder.conv_in.weight" in raw
    torch.save({"state_dict": {f"module.{k}": v for k, v in raw.items()}}, tmp_path / "wrapped.pth")
    for name in ("vae.pth", "wrapped.pth"):
        read = read_checkpoint(tmp_path / name)
        assert read.stage_1 and equal(read.state, {f"vae.{k}": v for k, v in source.vae.state_dict().items()})
    rest = [k.split(".")[0] for k in target.state_dict() if not k.startswith("vae.")]
    with pytest.raises(InputError, match=rf"{len(read.state)} matched, {len(rest)} missing, 0 unexpected"):
        load_complete(target, read.state, "vae.pth", [])
    parts = sorted(set(rest))
    assert parts == ["pose_decoder", "pose_encoder", "transformer"]
    before = target.transformer.conv_out.weight.clone()
    report = load_complete(target, read.state, "vae.pth", parts)
    assert (report.matched, len(report.missing)) == (len(read.state), len(rest))
    assert torch.equal(target.vae.encoder.conv_in.weight, source.vae.encoder.conv_in.weight)
    assert torch.equal(target.transformer.conv_out.weight, before)


def test_a_whole_training_file_with_its_optimizer_is_read(tmp_path: Path) -> None:
    model = tiny()
    optimizer = torch.optim.AdamW(model.transformer.parameters(), lr=1e-3)
    model.transformer.conv_out.weight.sum().backward()
    optimizer.step()
    torch.save(
        to_original(model.state_dict(), optimizer=optimizer.state_dict(), epoch=12, global_iter=300), tmp_path / "l.pth"
    )
    read = read_checkpoint(tmp_path / "l.pth")
    assert load_complete(OccWorld(CONFIG), read.state, "l.pth").complete
    again = torch.optim.AdamW(OccWorld(CONFIG).transformer.parameters(), lr=1e-3)
    again.load_state_dict(read.rest["optimizer"])
    assert read.rest["epoch"] == 12 and again.state_dict()["state"].keys() == optimizer.state_dict()["state"].keys()


def test_incomplete_files_are_refused_and_nothing_is_loaded(tmp_path: Path) -> None:
    source, target = tiny(1), tiny(2)
    before = {k: v.clone() for k, v in target.state_dict().items()}
    state = dict(source.state_dict())
    state.pop("transformer.conv_out.bias")
    state["head.weight"] = torch.zeros(1)
    with pytest.raises(InputError, match=r"1 missing, 1 unexpected.*transformer\.conv_out\.bias.*trained with$"):
        load_complete(target, state, "file.pth")  # whose caller has no way to name parts
    with pytest.raises(InputError, match=r"\(checkpoint\.allow_missing head transformer\)"):
        load_weights(target, Checkpoint(state, False), "file.pth", ("transformer",), "checkpoint.allow_missing")
    with pytest.raises(InputError, match=r"--allow-missing transfomer: neither .* has such a part"):
        load_complete(target, state, "file.pth", ["transfomer"], "--allow-missing")
    assert equal(dict(target.state_dict()), before)
    report = load_complete(target, state, "file.pth", ["transformer.conv_out", "head"])
    assert report.acceptable and not report.complete and report.missing == ("transformer.conv_out.bias",)
    assert torch.equal(target.transformer.conv_out.bias, before["transformer.conv_out.bias"])
    assert torch.equal(target.transformer.conv_out.weight, source.transformer.conv_out.weight)


def test_a_checkpoint_of_another_grid_says_so(tmp_path: Path) -> None:
    import dataclasses

    other = OccWorld(dataclasses.replace(CONFIG, grid_shape=(24, 24, 4), attn_resolutions=(12,)))
    with pytest.raises(
        InputError, match=r"of another shape.*transformer\.encoders\.0\.0\.ln\.weight \(12, 12\) ≠ \(10, 10\)"
    ):
        load_complete(tiny(), other.state_dict(), "other.pth")


class Dangerous:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch pickle_ran",)


def test_code_in_a_file_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": tiny().state_dict(), "hook": Dangerous()}, "bad.pth")
    with pytest.raises(InputError, match=r"bad\.pth: not a readable checkpoint"):
        read_checkpoint(Path("bad.pth"))
    with open("old.pth", "wb") as handle:
        pickle.dump({"state_dict": Dangerous()}, handle)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch's advice about old pickles would stand above the refusal
        with pytest.raises(InputError, match=r"old\.pth: not a readable checkpoint.*\(UnpicklingError\)"):
            read_checkpoint(Path("old.pth"))
    assert not Path("pickle_ran").exists()


def test_truncated_empty_and_foreign_files_are_refused(tmp_path: Path) -> None:
    torch.save(to_original(tiny().state_dict()), tmp_path / "a.pth")
    raw = (tmp_path / "a.pth").read_bytes()
    for name, content in {"half.pth": raw[: len(raw) // 2], "empty.pth": b"", "text.pth": b"hello"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            read_checkpoint(tmp_path / name)
    torch.save({"epoch": 3}, tmp_path / "none.pth")
    with pytest.raises(InputError, match="holds no state dict"):
        read_checkpoint(tmp_path / "none.pth")
    with pytest.raises(InputError, match="no such checkpoint"):
        read_checkpoint(tmp_path / "gone.pth")
    with pytest.raises(InputError, match=r"is a folder; name a checkpoint in it, such as .*best\.pth"):
        read_checkpoint(tmp_path)


def test_export_writes_what_the_original_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tiny_aerial()
    torch.save({"state_dict": model.state_dict(), "config": "x"}, tmp_path / "model.pth")
    assert export.main([str(tmp_path / "model.pth"), str(tmp_path / "out.pth")]) == 0
    ours = [k for k in model.state_dict() if k.startswith("aerial.")]
    assert f"{len(ours)} tensors under aerial. left out" in capsys.readouterr().out
    assert load_complete(OccWorld(CONFIG), read_state_dict(tmp_path / "out.pth"), "out.pth").complete
    assert export.main([str(tmp_path / "out.pth"), str(tmp_path / "vae.pth"), "--stage-1"]) == 0
    assert read_checkpoint(tmp_path / "vae.pth").stage_1
    for out, message in (("out.onnx", "must end in"), ("model.pth", "is the file that is read")):
        assert export.main([str(tmp_path / "model.pth"), str(tmp_path / out)]) == 2
        assert message in capsys.readouterr().err


def test_safetensors_hold_every_key_or_say_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tiny_aerial()
    torch.save({"state_dict": model.state_dict()}, tmp_path / "model.pth")
    code = export.main([str(tmp_path / "model.pth"), str(tmp_path / "out.safetensors")])
    if importlib.util.find_spec("safetensors") is None:
        assert code == 2 and "pip install 'aerialworld_training[safetensors]'" in capsys.readouterr().err
        return
    assert code == 0 and equal(read_state_dict(tmp_path / "out.safetensors"), dict(model.state_dict()))
    (tmp_path / "half.safetensors").write_bytes((tmp_path / "out.safetensors").read_bytes()[:5000])
    with pytest.raises(InputError, match="not a safetensors file"):
        read_checkpoint(tmp_path / "half.safetensors")


SMALL = ["--config", "test_local", "--set", "voxel_size=[2.0, 2.0, 1.25]", "--set", "model.ch=8"]


def test_fit_tells_what_matches_and_makes_a_tall_model_of_a_low_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, _ = load_run_config("test_local", [SMALL[3], SMALL[5]])
    low, path, out = OccWorld(config.occworld_config()), tmp_path / "low.pth", tmp_path / "tall.pth"
    torch.save(to_original(low.state_dict()), path)
    assert fit.main([str(path), *SMALL]) == 2
    assert "--allow-missing aerial" in capsys.readouterr().err
    assert fit.main([str(path), *SMALL, "--allow-missing", "aerial", "--out", str(out)]) == 0
    count = len(low.state_dict())
    assert f"{count} matched" in capsys.readouterr().out
    tall = read_state_dict(out)
    assert equal({k: v for k, v in tall.items() if not k.startswith("aerial.")}, dict(low.state_dict()))
    assert fit.main([str(out), *SMALL]) == 0
    assert "0 missing, 0 unexpected" in capsys.readouterr().out


def test_fit_asks_the_last_of_several_stages(tmp_path: Path) -> None:
    torch.save({"state_dict": build(load_stages("fast")[-1][0]).state_dict()}, tmp_path / "run.pth")
    assert fit.main([str(tmp_path / "run.pth"), "--config", "fast"]) == 0
    assert fit.main([str(tmp_path / "run.pth"), "--config", "fast", "--set", "stages.1.model.e_dim=32"]) == 2
