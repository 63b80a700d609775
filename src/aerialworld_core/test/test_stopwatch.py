"""The stopwatch adds up each thread's own CPU time, by stage, and costs nothing when nobody asked for one."""

from __future__ import annotations

import threading
import time

import pytest

from aerialworld_core.stopwatch import IDLE, Stopwatch


def burn(seconds: float) -> None:
    start = time.thread_time()
    while time.thread_time() - start < seconds:
        pass


def test_threads_add_up_and_waiting_does_not_count():
    watch = Stopwatch()

    def work() -> None:
        with watch.stage("work"):
            burn(0.03)
            time.sleep(0.2)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with watch.stage("other"):
        burn(0.01)
    seconds = watch.read()
    assert set(seconds) == {"work", "other"}
    assert 0.09 <= seconds["work"] < 0.3 and seconds["other"] >= 0.01
    assert watch.read() == {}


def test_a_stage_that_fails_is_counted_and_fails():
    watch = Stopwatch()
    with pytest.raises(ValueError, match="no"):
        with watch.stage("work"):
            raise ValueError("no")
    assert set(watch.read()) == {"work"}


def test_the_idle_one_keeps_nothing():
    with IDLE.stage("work"):
        burn(0.001)
    assert IDLE.read() == {}
