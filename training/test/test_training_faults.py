"""Runs as processes: killed at any moment, told to stop, several at once, and one of them gone."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from aerialworld_training.running.files import RunFiles

sys.path.insert(0, str(Path(__file__).parent))
from training_run import config, same, state_of

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}


def arguments(given: Path, work_dir: Path, *more: str) -> list[str]:
    return ["-m", "aerialworld_training.train", "--config", str(given), "--work-dir", str(work_dir), *more]


def start(*command: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *command], env={**ENVIRONMENT, **environment}, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def ended(process: subprocess.Popen[str], seconds: float) -> tuple[int, str]:
    """Exit code and stderr; the process is killed if it hangs."""
    try:
        _, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, err


def last(work_dir: Path) -> dict[str, torch.Tensor]:
    data = dict(torch.load(work_dir / "latest.pth", weights_only=True))
    del data["run_config"]  # names the work folder
    return data


def kill_and_resume(tmp_path: Path, sessions: Path, kills: int, epochs: int) -> None:
    """SIGKILL at moments drawn over the run's length, resume after each; the end is that of a run left alone."""
    config(tmp_path, sessions, epochs=epochs, checkpoint={"iterations": 1, "keep": 2}, evaluation={"interval": 3})
    given, whole, cut = tmp_path / "given.yaml", tmp_path / "whole", tmp_path / "cut"
    begun = time.monotonic()
    code, err = ended(start(*arguments(given, whole)), 600)
    assert code == 0, err
    seconds = time.monotonic() - begun
    rng, killed = random.Random(5), 0  # noqa: S311
    while killed < kills:
        process = start(*arguments(given, cut, "--resume"))
        try:
            process.wait(rng.uniform(0.4, 1.0) * seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        code, err = ended(process, 600)
        assert code in (0, -signal.SIGKILL), err
        if code == 0:  # finished before its time: begin again, so that every kill hits a run at work
            for file in cut.glob("*.pth"):
                file.unlink()
            continue
        killed += 1
    code, err = ended(start(*arguments(given, cut, "--resume")), 600)
    assert code == 0, err
    one, other = last(whole), last(cut)
    assert [k for k in one if not same(one[k], other[k])] == []
    assert (whole / "metrics.jsonl").read_bytes() == (cut / "metrics.jsonl").read_bytes()


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_ten_kills_change_nothing(tmp_path: Path, sessions: Path) -> None:
    kill_and_resume(tmp_path, sessions, kills=10, epochs=20)


@pytest.mark.soak
@pytest.mark.timeout(12000)
def test_two_hundred_kills_change_nothing(tmp_path: Path, sessions: Path) -> None:
    kill_and_resume(tmp_path, sessions, kills=200, epochs=20)


def test_every_crash_of_a_save_leaves_a_checkpoint_that_loads(tmp_path: Path) -> None:
    """A process dies before each call to the system that a save makes, from the first to the last."""

    def dying(files: RunFiles, at: int) -> None:
        calls = 0

        def guarded(call: Callable[..., Any]) -> Callable[..., Any]:
            def counted(*arguments: Any, **named: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls == at:
                    os._exit(9)
                return call(*arguments, **named)

            return counted

        for name in ("fsync", "replace", "link", "unlink", "open", "write"):
            setattr(os, name, guarded(getattr(os, name)))
        files.save({"epoch": 3, "w": torch.full((999,), 3.0)}, epoch=3, best=True)
        os._exit(0)

    for at in range(1, 40):
        files = RunFiles(tmp_path / str(at), keep=2)
        for n in (1, 2):
            files.save({"epoch": n, "w": torch.full((999,), float(n))}, epoch=n, best=True)
        child = os.fork()
        if child == 0:
            try:
                dying(files, at)
            finally:
                os._exit(1)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, 9)
        newest = files.newest()
        assert newest is not None and newest[1]["epoch"] in (2, 3)
        # A run that goes on from the third epoch does not write it again: all that it was to leave is there.
        assert newest[1]["epoch"] == 2 or torch.load(files.best, weights_only=True)["epoch"] == 3
        for file in files.folder.glob("*.pth"):
            data = torch.load(file, weights_only=True)
            assert torch.equal(data["w"], torch.full((999,), float(data["epoch"])))
        if code == 0:
            break
    assert code == 0 and newest[1]["epoch"] == 3 and at > 5
    assert sorted(p.name for p in files.folder.iterdir()) == ["best.pth", "epoch_2.pth", "epoch_3.pth", "latest.pth"]


@pytest.mark.long
def test_sigterm_saves_within_thirty_seconds(tmp_path: Path, sessions: Path) -> None:
    config(tmp_path, sessions, epochs=400, evaluation={"interval": 400}, checkpoint={"interval": 400})
    process = start(*arguments(tmp_path / "given.yaml", tmp_path / "run"))
    while not (tmp_path / "run" / "latest.pth").exists():
        assert process.poll() is None and time.sleep(0.2) is None
    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    code, err = ended(process, 60)
    assert code == 143 and "--resume" in err and time.monotonic() - asked < 30
    assert torch.load(tmp_path / "run" / "latest.pth", weights_only=True)["iteration"] > 0


def two(given: Path, work_dir: Path, *more: str) -> list[subprocess.Popen[str]]:
    """Two processes of one run, as torchrun would start them."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GLOO_SOCKET_IFNAME": "lo"}
    return [
        start(*arguments(given, work_dir, *more), **common, RANK=str(rank), LOCAL_RANK=str(rank)) for rank in range(2)
    ]


@pytest.mark.long
def test_two_processes_are_as_one_with_the_same_batch(tmp_path: Path, sessions: Path) -> None:
    off = {"start": 0, "restart_every": 0}
    for name, batch in (("one", 2), ("two", 1)):
        config(tmp_path / name, sessions, epochs=1, codebook=off, data={"batch_size": batch})
    code, err = ended(start(*arguments(tmp_path / "one" / "given.yaml", tmp_path / "one" / "run")), 120)
    assert code == 0, err
    for process in two(tmp_path / "two" / "given.yaml", tmp_path / "two" / "run"):
        code, err = ended(process, 120)
        assert code == 0, err
    one, other = (torch.load(tmp_path / n / "run" / "latest.pth", weights_only=True) for n in ("one", "two"))
    # Averaged gradients: a parameter whose true gradient is 0 moves by rounding alone under Adam.
    for key, value in one["optimizer"]["state"].items():
        reach = max(float(value["exp_avg"].abs().max()), 1e-4)
        torch.testing.assert_close(
            other["optimizer"]["state"][key]["exp_avg"], value["exp_avg"], rtol=0, atol=0.02 * reach
        )
    losses = [
        [json.loads(line).get("loss") for line in (tmp_path / n / "run" / "metrics.jsonl").read_text().splitlines()]
        for n in ("one", "two")
    ]
    assert losses[1][:5] == pytest.approx(losses[0][:5], rel=1e-3) and len(losses[0]) == 6
    assert other["sampler"] == one["sampler"]  # so that either resumes the other


@pytest.mark.long
def test_two_processes_that_were_stopped_go_on_to_the_same_bits(tmp_path: Path, sessions: Path) -> None:
    """The use of codes that decides which are dead is that of both, before and after."""
    for name in ("whole", "cut"):
        config(
            tmp_path / name, sessions, epochs=4, data={"batch_size": 1}, codebook={"start": 3, "restart_every": 8},
        )  # fmt: skip
    for process in two(tmp_path / "whole" / "given.yaml", tmp_path / "whole" / "run"):
        code, err = ended(process, 120)
        assert code == 0, err
    given, run = tmp_path / "cut" / "given.yaml", tmp_path / "cut" / "run"
    processes = two(given, run)
    while not (run / "latest.pth").exists():
        assert processes[0].poll() is None and time.sleep(0.05) is None
    for process in processes:
        process.send_signal(signal.SIGTERM)
    assert [ended(process, 60)[0] for process in processes] == [143, 143]
    stopped = torch.load(run / "latest.pth", weights_only=True)
    cells = 8 * 8  # of a frame's latent
    assert int(stopped["stage_state"]["usage"].sum()) == (stopped["iteration"] - 3) % 8 * 2 * cells
    for process in two(given, run, "--resume"):
        code, err = ended(process, 120)
        assert code == 0, err
    one, other = (torch.load(tmp_path / n / "run" / "latest.pth", weights_only=True) for n in ("whole", "cut"))
    assert all(same(one[part], other[part]) for part in ("state_dict", "optimizer", "stage_state", "iteration"))


@pytest.mark.long
def test_two_stages_under_torchrun_find_each_other_anew(tmp_path: Path, sessions: Path) -> None:
    """torchrun's store outlives a stage: the second must not meet at the first one's addresses. It did so every other
    time, hence three runs."""
    config(tmp_path, sessions, epochs=1)
    given = tmp_path / "given.yaml"
    given.write_text(given.read_text() + "stages: [{stage: adapt}, {stage: occworld, freeze: {vae: true}}]\n")
    for k in range(3):
        run = start(
            "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
            *arguments(given, tmp_path / f"run{k}", "--set", "runtime.timeout=20", "--set", "data.batch_size=1"),
        )  # fmt: skip
        code, err = ended(run, 120)
        assert code == 0, err
        assert (tmp_path / f"run{k}" / "2_occworld" / "best.pth").exists()


@pytest.mark.long
def test_the_death_of_one_process_ends_the_other(tmp_path: Path, sessions: Path) -> None:
    config(tmp_path, sessions, epochs=400, evaluation={"interval": 400}, checkpoint={"interval": 400})
    given, run = tmp_path / "given.yaml", tmp_path / "run"
    first, second = two(given, run)
    while not (run / "latest.pth").exists():
        assert first.poll() is None and time.sleep(0.2) is None
    second.send_signal(signal.SIGKILL)
    died = time.monotonic()
    code, err = ended(first, 60)
    assert code not in (0, None) and time.monotonic() - died < 30
    assert "another process of the run is gone or silent" in err
    assert state_of(run / "latest.pth")


@pytest.mark.long
def test_the_script_for_a_rented_gpu_is_rehearsed(tmp_path: Path) -> None:
    """All three steps at tiny size; the second call finds them done."""
    root = Path(__file__).parents[2]
    command = [
        str(root / "benchmarks" / "gpu_run.py"), str(tmp_path), "--size", "tiny", "--epochs", "1",
        "--reference", str(root / "training" / "test" / "occworld_tiny"),
    ]  # fmt: skip
    code, err = ended(start(*command), 300)
    assert code == 0, err
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["a"]["reference_exit_code"] == 0 and results["a"]["rollout_s_cached"] > 0
    assert results["b"]["val_codes_used"] > 0 and 0 < results["c"]["val_iou"] < 1
    files = {p: p.stat().st_mtime_ns for p in tmp_path.glob("*/*.pth")}
    assert ended(start(*command), 300)[0] == 0
    assert files == {p: p.stat().st_mtime_ns for p in tmp_path.glob("*/*.pth")}
