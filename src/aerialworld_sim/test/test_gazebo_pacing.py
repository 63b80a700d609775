"""Gazebo is stepped one sensor period at a time, and no further than its listeners have taken."""

import pytest

from aerialworld_core.errors import InputError
from aerialworld_sim.gazebo.pacing import UNHEARD, Due, Pacer, steps_of
from aerialworld_sim.nodes.lockstep import CONTINUE, STOP, Lockstep, LockstepError

PERIOD = 100_000_000


def pacer(*listeners, **options):
    return Pacer(PERIOD, Lockstep(listeners or ("recorder",)), **options)


def step(p, now):
    assert p.due(now) is Due.STEP
    p.asked(now)
    assert p.due(now) is Due.ANSWER
    p.answered(True)


def test_every_frame_is_taken_before_the_next_is_asked_for():
    """A recorder that takes each frame after a while of its own, over an hour of simulated time."""
    p, now, taken = pacer(), 0.0, []
    for k in range(36_000):
        step(p, now)
        assert p.time_ns == (k + 1) * PERIOD
        assert p.due(now + 1.0) is Due.LISTENERS
        now += 0.01 + 0.3 * (k % 7 == 0)
        p.acknowledge("recorder", p.time_ns)
        taken.append(p.time_ns)
        assert p.silence(now) is None
    assert taken == [PERIOD * (k + 1) for k in range(36_000)] and p.periods == 36_000


def test_frames_may_come_anywhere_in_their_period_and_before_the_answer():
    p = pacer()
    p.asked(0.0)
    p.acknowledge(
        "recorder", 13_000_000
    )  # Gazebo's first frame is not on the grid; its answer is slower than the frame
    assert p.due(0.0) is Due.ANSWER
    p.answered(True)
    step(p, 0.1)
    p.acknowledge("recorder", PERIOD)  # the end of the period before: not what is waited for
    assert p.due(0.2) is Due.LISTENERS
    p.acknowledge("recorder", 2 * PERIOD)
    assert p.due(0.2) is Due.STEP


def test_acknowledgements_from_before_do_not_count():
    p = pacer()
    p.acknowledge("recorder", 50 * PERIOD)  # of a run before this one
    step(p, 0.0)
    assert p.due(0.0) is Due.LISTENERS


def test_all_listeners_are_waited_for():
    p = pacer("recorder", "viewer")
    step(p, 0.0)
    p.acknowledge("recorder", PERIOD)
    p.acknowledge("nobody", PERIOD)
    assert p.due(0.1) is Due.LISTENERS
    p.acknowledge("viewer", PERIOD)
    assert p.due(0.1) is Due.STEP


def test_nobody_to_wait_for():
    p = Pacer(PERIOD, Lockstep())
    for k in range(10):
        step(p, k * 0.1)
    assert p.time_ns == 10 * PERIOD


def test_frames_before_the_first_word_are_not_waited_for():
    """What was sent before subscribers were found is lost, and Gazebo sends nothing twice: time must go on."""
    p = pacer(timeout=30.0)
    step(p, 0.0)
    assert p.due(UNHEARD / 2) is Due.LISTENERS
    step(p, UNHEARD)
    p.acknowledge("recorder", 2 * PERIOD)
    step(p, UNHEARD + 0.1)
    assert p.due(UNHEARD * 5) is Due.LISTENERS  # from now on each is


def test_a_listener_that_is_never_heard_is_told_once():
    p = pacer(timeout=5.0)
    now, told = 0.0, []
    while now < 20.0:
        if p.due(now) is Due.STEP:
            step(p, now)
        told.append(p.silence(now))
        now += 0.5
    assert [t is not None for t in told].count(True) == 1 and "recorder silent for 5 s" in next(filter(None, told))


@pytest.mark.parametrize("policy", [CONTINUE, STOP, "wait"])
def test_a_listener_that_falls_silent(policy):
    p = pacer(timeout=5.0, when_lost=policy)
    step(p, 0.0)
    p.acknowledge("recorder", PERIOD)
    step(p, 1.0)
    assert p.silence(5.9) is None
    if policy == STOP:
        with pytest.raises(LockstepError, match="recorder silent"):
            p.silence(6.0)
        return
    assert ("going on" in p.silence(6.0)) == (policy == CONTINUE)
    assert p.silence(7.0) is None
    assert p.due(7.0) is (Due.STEP if policy == CONTINUE else Due.LISTENERS)
    if policy == CONTINUE:
        step(p, 7.0)
        p.acknowledge("recorder", 3 * PERIOD)  # it is back
        step(p, 7.1)
        assert p.due(7.2) is Due.LISTENERS


def test_a_refused_step_is_asked_for_again_and_time_does_not_run_ahead():
    p = pacer()
    p.asked(0.0)
    p.answered(False)
    assert p.due(0.0) is Due.STEP and p.periods == 1
    p.asked(0.1)
    p.answered(True)
    assert (p.periods, p.time_ns) == (1, PERIOD) and p.due(0.2) is Due.LISTENERS


def test_periods_are_whole_numbers_of_physics_steps():
    assert [steps_of(*s) for s in ((0.1, 0.001), (0.2, 0.004), (1 / 3, 1 / 300), (0.5, 0.00025))] == [
        100,
        50,
        100,
        2000,
    ]
    for period, step_size in ((0.1, 0.003), (0.001, 0.002), (1 / 30, 0.001)):
        with pytest.raises(InputError, match="whole number of steps"):
            steps_of(period, step_size)
