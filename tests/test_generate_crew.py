"""The worker processes of campaigns: one world in memory for all, deaths that cost one try, no process left over."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import campaign_tasks as tasks

from aerialworld.campaign.crew import WorkerDied
from aerialworld.campaign.workforce import Outcome, Task, Workforce
from aerialworld_core.errors import AerialWorldError, InputError

WORLD = Path(__file__).resolve().parents[1] / "worlds" / "small_city"


@pytest.fixture
def force() -> Iterator[Workforce]:
    with Workforce(2) as workforce:
        yield workforce


def outcomes(force: Workforce, *work: tuple[object, object], world: Path = WORLD) -> dict[int, Outcome]:
    listed = [Task(i, world, function, argument) for i, (function, argument) in enumerate(work)]  # type: ignore[arg-type]
    return {o.key: o for o in force.run(listed)}


def test_workers_share_one_world_and_fork_from_a_single_thread(force: Workforce) -> None:
    done = outcomes(
        force, (tasks.describe, 0.5), (tasks.describe, 0.5), (tasks.private_share, None), (tasks.mothers_threads, None)
    )
    first, second = done[0].result, done[1].result
    assert first["pid"] != second["pid"], "two tasks at a time, in two processes"
    assert first["mother"] == second["mother"]
    assert first["at"] == second["at"] and first["faces"] == second["faces"] > 1000
    assert done[2].result < 0.01, "pages of the scene are shared"
    assert done[3].result == 1


def test_a_killed_worker_costs_one_try(force: Workforce, tmp_path: Path) -> None:
    done = outcomes(
        force, (tasks.die_once, str(tmp_path / "a")), (tasks.die, None), (tasks.describe, 0.2), (tasks.describe, 0)
    )
    assert (done[0].result, done[0].tries, done[0].error) == ("alive", 2, None)
    assert done[1].tries == 2 and isinstance(done[1].error, WorkerDied)
    assert "SIGKILL" in str(done[1].error)
    assert done[2].error is None and done[3].error is None


def test_the_death_of_the_process_that_holds_the_world_costs_one_try(force: Workforce, tmp_path: Path) -> None:
    done = outcomes(force, (tasks.kill_mother, str(tmp_path / "m")), (tasks.describe, 0.1))
    assert done[0].result == "alive" and done[1].error is None


def test_where_no_worker_can_be_started_the_work_waits_for_the_others() -> None:
    notes: list[str] = []
    with Workforce(1) as workforce:
        mother = outcomes(workforce, (tasks.starve_mother, None), (tasks.describe, 0))[1].result["mother"]
        workforce.workers = 2
        work = [Task(i, WORLD, tasks.describe, 0.3) for i in range(3)]
        done = list(workforce.run(work, logged=notes.append))
    assert [o.result["mother"] for o in done if o.error is None] == [mother] * 3
    assert len({o.result["pid"] for o in done}) == 1 and {o.tries for o in done} == {1}
    assert notes == ["a worker process could not be started: Too many open files; its work waits for the others"]


def test_without_any_worker_a_task_fails_and_says_why() -> None:
    with Workforce(1) as workforce:
        done = outcomes(workforce, (tasks.starve_mother, None), (tasks.die, None), (tasks.describe, 0))
    assert done[0].error is None and [done[i].tries for i in (1, 2)] == [2, 2]
    for failed in (done[1].error, done[2].error):
        assert isinstance(failed, WorkerDied)
        assert "could not be started: Too many open files" in str(failed)


def test_errors_arrive_with_their_text_and_kind(force: Workforce, tmp_path: Path) -> None:
    done = outcomes(force, (tasks.fail, None), (tasks.defect, None), (tasks.out_of_memory, str(tmp_path / "o")))
    assert isinstance(done[0].error, AerialWorldError)
    assert (str(done[0].error), done[0].error.exit_code, done[0].tries) == ("there is no way", 2, 1)
    assert "KeyError: 'oops'" in str(done[1].error) and "campaign_tasks.py" in str(done[1].error)
    assert isinstance(done[2].error, MemoryError) and (tmp_path / "o").read_text() == "xx", "tried twice"


def test_a_world_that_cannot_be_loaded_fails_its_tasks_alone(force: Workforce, tmp_path: Path) -> None:
    (tmp_path / "world.sdf").write_text("<sdf version='1.10'><world")
    listed = [Task("bad", tmp_path, tasks.describe, 0), Task("good", WORLD, tasks.describe, 0)]
    done = {o.key: o for o in force.run(listed)}
    assert "world.sdf" in str(done["bad"].error) and done["good"].error is None


def test_no_process_survives_the_workforce(tmp_path: Path) -> None:
    with Workforce(2) as workforce:
        done = outcomes(workforce, (tasks.describe, 0.3), (tasks.describe, 0.3))
        pids = {done[0].result["pid"], done[1].result["pid"], done[0].result["mother"]}
    assert all(tasks.gone(pid) for pid in pids)
    marker = tmp_path / "marker"
    with pytest.raises(KeyboardInterrupt), Workforce(1) as workforce:

        def interrupt(_key: object, _value: object) -> None:
            raise KeyboardInterrupt

        list(workforce.run([Task(0, WORLD, tasks.end_in_order, str(marker))], told=interrupt))
    assert marker.read_text() == "ended in order"


def test_workers_end_in_order_when_their_owner_is_killed(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import campaign_tasks as tasks\nfrom pathlib import Path\n"
        "from aerialworld.campaign.workforce import Task, Workforce\n"
        "if __name__ == '__main__':\n"
        "    with Workforce(1) as force:\n"
        f"        task = Task(0, Path({str(WORLD)!r}), tasks.end_in_order, {str(marker)!r})\n"
        "        list(force.run([task], told=lambda key, value: print(value, flush=True)))\n"
    )
    script = tmp_path / "owner.py"
    script.write_text(code)
    owner = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None and owner.stdout.readline() == "begun\n"
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    deadline = time.monotonic() + 20
    while not marker.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert marker.read_text() == "ended in order"
    owner.stdout.close()


@pytest.mark.parametrize("workers", [0, -1, 100_000])
def test_a_number_of_workers_that_cannot_be_is_refused(workers: int) -> None:
    with pytest.raises(InputError, match="--workers"):
        Workforce(workers)
