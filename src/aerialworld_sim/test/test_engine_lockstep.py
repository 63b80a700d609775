"""When time runs and when it stands, tried with a clock that the tests move: no network, no waiting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aerialworld_sim.nodes.lockstep import CONTINUE, STOP, WAIT, Lockstep, LockstepError
from aerialworld_sim.nodes.runner import IDLE, TICK_NS, Course, Runner

FRAME_NS = 5 * TICK_NS


class Ticks:
    """A simulation that is nothing but its time."""

    def __init__(self) -> None:
        self.stamp_ns = 0

    def step(self, dt_ns: int) -> None:
        self.stamp_ns += dt_ns

    def reset(self) -> None:
        self.stamp_ns = 0


class Book:
    """What was published, repeated and said."""

    def __init__(self) -> None:
        self.published: list[int] = []
        self.repeated: list[int] = []
        self.said: list[str] = []

    def publish(self, stamp_ns: int) -> None:
        self.published.append(stamp_ns)

    def repeat(self, stamp_ns: int) -> None:
        self.repeated.append(stamp_ns)

    def say(self, text: str) -> None:
        self.said.append(text)

    warn = say


def runner(*listeners: str, paused: bool = False, **course) -> tuple[Runner, Book]:
    book = Book()
    made = Runner(Ticks(), book, Course(**{"rate": 0.0, "frame_ns": FRAME_NS, **course}), Lockstep(listeners), paused)
    made.start(0.0)
    return made, book


def poll(run: Runner, now: float, times: int = 100) -> None:
    for _ in range(times):
        run.poll(now)


def test_time_stands_at_every_frame_until_all_listeners_have_it():
    run, book = runner("a", "b")
    for frame in range(4):
        poll(run, 0.0)
        assert book.published[-1] == frame * FRAME_NS
        run.acknowledge("a", frame * FRAME_NS)
        poll(run, 0.0)
        assert book.published[-1] == frame * FRAME_NS, "b has not taken it"
        run.acknowledge("b", frame * FRAME_NS)
    poll(run, 0.0)
    assert book.published == [i * TICK_NS for i in range(4 * 5 + 1)], "every tick once, none twice"
    assert set(book.repeated) == {i * FRAME_NS for i in range(5)}, "who comes while time stands is served"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["a", "b", "stranger"]), st.integers(-1, 12)), max_size=60))
def test_no_acknowledgement_lets_time_run_ahead(acknowledgements):
    """Whatever is said, by whom and in what order: never more than one frame beyond what each listener has taken."""
    run, book = runner("a", "b")
    taken = {"a": -1, "b": -1}
    for name, frame in acknowledgements:
        poll(run, 0.0, 20)
        sent = book.published[-1] // FRAME_NS
        assert sent <= min(taken.values()) + 1
        run.acknowledge(name, frame * FRAME_NS)
        if name in taken and frame <= sent:  # what has not been published cannot have been taken
            taken[name] = max(taken[name], frame)
    poll(run, 0.0, 200)
    assert book.published[-1] // FRAME_NS == min(taken.values()) + 1


def test_rate_and_lockstep_bound_time_together():
    run, book = runner("a", rate=2.0)
    run.acknowledge("a", 0)
    assert run.poll(0.0) == pytest.approx(0.005), "a tick of 10 ms takes 5 ms of wall time"
    poll(run, 0.0251)
    assert book.published[-1] == FRAME_NS, "the frame is due"
    assert run.poll(0.2) == IDLE and book.published[-1] == FRAME_NS, "and not yet taken"
    run.acknowledge("a", FRAME_NS)
    poll(run, 0.2)
    assert book.published[-1] == 2 * FRAME_NS, "what the wait has cost is made up for"


def test_time_lost_is_not_made_up_for_beyond_half_a_second():
    run, book = runner(rate=1.0)
    poll(run, 10.0)
    assert book.published[-1] == TICK_NS
    poll(run, 10.105)
    assert book.published[-1] == 10 * TICK_NS


def test_reset_forgets_what_was_taken():
    run, book = runner("a")
    for frame in range(3):
        poll(run, 0.0)
        run.acknowledge("a", frame * FRAME_NS)
    poll(run, 0.0)
    assert run.reset(0.0) == "at 0.000 s, back from 0.150 s"
    assert "/clock jumps back from 0.150 s" in book.said[-1]
    run.acknowledge("a", 3 * FRAME_NS)  # still under way when time was reset
    poll(run, 0.0)
    assert book.published[-1] == 0
    run.acknowledge("a", 0)
    poll(run, 0.0)
    assert book.published[-1] == FRAME_NS


def test_steps_go_to_the_next_frame_together_and_wait_for_listeners():
    run, book = runner("a", paused=True)
    answers: list[tuple[bool, str]] = []
    for _ in range(2):
        run.step(lambda *answer: answers.append(answer), 0.0)
    poll(run, 0.0)
    assert not answers and book.published == [0]
    run.acknowledge("a", 0)
    poll(run, 0.0)
    assert answers == [(True, "at 0.050 s")] * 2 and book.published[-1] == FRAME_NS
    run.acknowledge("a", FRAME_NS)
    poll(run, 0.0)
    assert book.published[-1] == FRAME_NS, "paused"


def test_a_step_from_between_two_frames_ends_at_a_frame():
    run, book = runner()
    poll(run, 0.0, 7)
    assert run.pause(True, 0.0) == run.pause(True, 0.0) == "paused at 0.070 s"
    answers: list[tuple[bool, str]] = []
    run.step(lambda *answer: answers.append(answer), 0.0)
    poll(run, 0.0)
    assert answers == [(True, "at 0.100 s")] and book.published[-1] == 100_000_000
    assert run.pause(False, 0.0) == "running at 0.100 s"
    run.step(lambda *answer: answers.append(answer), 0.0)
    assert answers[-1] == (False, "the engine runs; pause it before stepping. It is at 0.100 s")


def test_a_step_is_answered_when_it_cannot_be_made():
    run, book = runner("a", paused=True, timeout=1.0, end_ns=FRAME_NS)
    answers: list[tuple[bool, str]] = []

    def answer(*given: object) -> None:
        answers.append(given)

    run.step(answer, 100.0)  # it does not matter how long the pause was
    poll(run, 100.9)
    assert not answers
    poll(run, 101.0)
    assert answers.pop() == (False, "still at 0.000 s: waiting for a")
    run.step(answer, 102.0)
    run.reset(102.5)
    assert answers.pop() == (False, "reset to time 0 from 0.000 s")
    run.acknowledge("a", 0)
    run.step(answer, 103.0)
    poll(run, 103.0)
    assert answers.pop() == (True, "at 0.050 s")
    run.acknowledge("a", FRAME_NS)
    run.step(answer, 104.0)
    poll(run, 104.0)
    assert answers.pop() == (False, "the run ends at 0.050 s") and run.finished and book.published[-1] == FRAME_NS


def test_a_silent_listener_is_named_once_and_waited_for():
    run, book = runner("a", "b", timeout=2.0)
    run.acknowledge("b", 0)
    poll(run, 1.9)
    assert not book.said
    for now in (2.0, 3.0, 30.0):
        poll(run, now)
    assert book.said == ["lockstep: a has not been heard for 2 s (at 0.000 s); waiting on"]
    run.acknowledge("a", 0)
    poll(run, 30.0)
    run.acknowledge("b", FRAME_NS)
    poll(run, 32.0)
    assert book.said[1:] == ["lockstep: a has not acknowledged for 2 s (at 0.050 s); waiting on"]
    assert book.published[-1] == FRAME_NS


@pytest.mark.parametrize("when_lost", [WAIT, CONTINUE])
def test_who_repeats_its_last_word_is_named_once(when_lost):
    """A recorder that lacks a message says every 0.2 s what it had before: no reason to name it again and again."""
    run, book = runner("a", timeout=1.0, when_lost=when_lost)
    run.acknowledge("a", 0)
    poll(run, 0.0)
    for k in range(1, 100):
        run.acknowledge("a", 0)
        poll(run, 0.2 * k)
    assert len(book.said) == 1 and "a has not acknowledged for 1 s" in book.said[0]
    if when_lost == CONTINUE:  # and given up once: time runs on, until it says something new
        assert book.published[-1] > 10 * FRAME_NS
        run.acknowledge("a", FRAME_NS)
        assert book.said[1:] == ["lockstep: a is back, and waited for again"]


def test_a_pause_is_no_silence():
    run, book = runner("a", timeout=2.0)
    run.pause(True, 1.0)
    poll(run, 50.0)
    assert run.pause(False, 50.0) == "running at 0.000 s, waiting for a"
    poll(run, 51.9)
    assert not book.said
    poll(run, 52.0)
    assert len(book.said) == 1


def test_going_on_without_a_silent_listener_until_it_is_back():
    run, book = runner("a", timeout=2.0, when_lost=CONTINUE)
    poll(run, 2.0)
    assert book.published[-1] > 10 * FRAME_NS and "going on without it" in book.said[0]
    run.acknowledge("a", 0)
    stood_at = book.published[-1] // FRAME_NS * FRAME_NS
    poll(run, 2.0)
    assert book.said[1:] == ["lockstep: a is back, and waited for again"]
    assert book.published[-1] <= stood_at + FRAME_NS
    run.acknowledge("a", book.published[-1])  # between two frames
    poll(run, 2.0)
    assert book.published[-1] == stood_at + FRAME_NS


def test_stopping_when_a_listener_is_silent():
    run, _ = runner("a", timeout=2.0, when_lost=STOP)
    poll(run, 1.0)
    with pytest.raises(LockstepError, match=r"a has not been heard for 2 s .*lockstep_lost"):
        run.poll(2.0)


@pytest.mark.parametrize(("end_ns", "last"), [(0, 0), (19_999_999, 10_000_000), (20_000_000, 20_000_000)])
def test_the_run_ends_with_the_last_tick_that_is_not_beyond_the_end(end_ns, last):
    run, book = runner(end_ns=end_ns)
    poll(run, 0.0)
    assert run.finished and book.published[-1] == last


def test_the_run_ends_when_the_last_frame_has_been_taken():
    run, _ = runner("a", end_ns=FRAME_NS)
    run.acknowledge("a", 0)
    poll(run, 0.0)
    assert not run.finished
    run.acknowledge("a", FRAME_NS)
    poll(run, 0.0)
    assert run.finished


def test_the_tally_counts_frames_and_leaves_pauses_out():
    run, _ = runner(rate=1.0)
    now = 0.0
    for now in np.arange(0.001, 1.002, 0.01):
        run.poll(float(now))
    run.pause(True, now)
    for now in (1.5, 90.0, 100.0):
        run.poll(now)
    run.pause(False, 100.0)
    for now in np.arange(100.001, 101.002, 0.01):
        run.poll(float(now))
    assert run.tally.frames == 2 * 20 + 1 and run.tally.simulated == pytest.approx(2.0)
    assert run.tally.wall == pytest.approx(2.0, abs=0.03)
    assert "41 frames, 2.00 s simulated" in str(run.tally) and "real-time factor 1.0" in str(run.tally)


def test_a_frame_that_is_waited_for_is_sent_again_ever_more_seldom():
    """Who is counted as a subscriber may not hear yet; who is slow is not flooded."""
    run, book = runner("a")
    times = np.arange(0.0, 20.0, 0.05)
    sent = []
    for now in times:
        before = len(book.published)
        run.poll(float(now))
        sent += [now] * (len(book.published) - before)
    assert set(book.published) == {0}
    assert np.allclose(sent, [1.0, 3.0, 7.0, 15.0], atol=0.06)
    run.acknowledge("a", 0)
    poll(run, 20.0)
    assert book.published[-1] == FRAME_NS, "and then time goes on"
    assert book.published.count(FRAME_NS) == 1
