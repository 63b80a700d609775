"""The course of simulated time: when the next tick falls due, what holds it up, when the run is over. No ROS here.

Wall time comes in as `now` (seconds of a clock that does not jump), so that every decision can be tried without a clock
or a network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from aerialworld_sim.nodes.lockstep import CONTINUE, STOP, WAIT, Lockstep, LockstepError

#: Simulated nanoseconds from tick to tick.
TICK_NS = 10_000_000
#: How far simulation may lag behind the wall before it gives up catching up (seconds).
MAX_LAG = 0.5
#: How long to sleep at most (seconds): signals and new subscribers are noticed that often.
IDLE = 0.05


class Simulation(Protocol):
    """What is run: `aerialworld_sim.Engine`."""

    @property
    def stamp_ns(self) -> int: ...

    def step(self, dt_ns: int) -> object: ...

    def reset(self) -> None: ...


class Outlet(Protocol):
    """Where the simulation's values go."""

    def publish(self, stamp_ns: int) -> None:
        """Everything that falls due at this stamp."""
        ...

    def repeat(self, stamp_ns: int) -> None:
        """The same, to topics that have gained a subscriber since they were last published."""
        ...

    def say(self, text: str) -> None:
        """A line for the log."""
        ...

    def warn(self, text: str) -> None: ...


@dataclass(frozen=True)
class Course:
    """How time is to run.

    rate      simulated seconds per wall second; 0: as fast as possible
    frame_ns  nanoseconds between sensor frames, a multiple of TICK_NS
    end_ns    the run is over when the next tick would pass this stamp; None: never
    timeout   wall seconds after which a listener counts as silent; `when_lost` says what then: wait, continue, stop
    """

    rate: float = 1.0
    frame_ns: int = 10 * TICK_NS
    end_ns: int | None = None
    timeout: float = 10.0
    when_lost: str = WAIT


#: Told when a step is done: whether it was, and a text with the time.
StepDone = Callable[[bool, str], None]


@dataclass
class Tally:
    """What was done: sensor frames, simulated seconds, and the wall seconds in which time could run (no pauses)."""

    frames: int = 0
    simulated: float = 0.0
    wall: float = 0.0

    def __str__(self) -> str:
        if self.wall <= 0:
            return f"{self.frames} frames, {self.simulated:.2f} s simulated"
        return (
            f"{self.frames} frames, {self.simulated:.2f} s simulated in {self.wall:.2f} s: "
            f"real-time factor {self.simulated / self.wall:.2f}, {self.frames / self.wall:.1f} frames/s"
        )


@dataclass(eq=False)
class Runner:
    """Runs `simulation` on `course` in lockstep with listeners; call `poll` in a loop until `finished`.

    The frame at time 0 is published first, and with listeners time stands there until all of them have taken it.
    """

    simulation: Simulation
    outlet: Outlet
    course: Course = Course()
    lockstep: Lockstep = field(default_factory=Lockstep)
    paused: bool = False
    finished: bool = False
    tally: Tally = field(default_factory=Tally)
    _steps: list[StepDone] = field(default_factory=list)
    _target: int = 0
    _anchor: tuple[float, int] = (0.0, 0)
    _last_poll: float | None = None

    def start(self, now: float) -> None:
        """Publish time 0."""
        self._publish(now)
        self._tie(now)

    def poll(self, now: float) -> float:
        """Do what is due. Returns for how many seconds nothing will be, unless somebody calls (at most IDLE).

        Raises LockstepError when a listener is silent and the course says stop.
        """
        self._count_wall(now)
        if self.paused and not self._steps:
            self.outlet.repeat(self.simulation.stamp_ns)
            return IDLE
        if self.lockstep.missing():
            if self.lockstep.is_due_again(now):
                self.outlet.publish(self.simulation.stamp_ns)
            else:
                self.outlet.repeat(self.simulation.stamp_ns)
            self._mind_silence(now)
            return IDLE if self.lockstep.missing() else 0.0
        if self._over():
            self.finished = True
            self._answer(False, f"the run ends at {self.time()}")
            return 0.0
        wait = 0.0 if self._steps else self._until_due(now)
        if wait > 0.0:
            return min(wait, IDLE)
        self._advance(now)
        return 0.0

    def acknowledge(self, listener: str, stamp_ns: int) -> None:
        """A listener has taken everything up to a stamp."""
        was_lost = listener in self.lockstep.lost
        self.lockstep.acknowledge(listener, stamp_ns, self.simulation.stamp_ns)
        if was_lost and listener not in self.lockstep.lost:
            self.outlet.say(f"lockstep: {listener} is back, and waited for again")

    def pause(self, paused: bool, now: float) -> str:
        """Let time stand or run; the answer says where. Asking twice changes nothing."""
        if self.paused and not paused:
            self._tie(now)
            self.lockstep.restart(now)
        self.paused = paused
        waiting = self._waiting() if not paused else ""
        return f"{'paused' if paused else 'running'} at {self.time()}{waiting}"

    def step(self, done: StepDone, now: float) -> None:
        """While paused: on to the next sensor frame, then `done`. A step asked for meanwhile is the same step.

        `done` is told False when time runs anyway, when a listener stays silent, on reset and at the end of the run.
        """
        if not self.paused:
            done(False, f"the engine runs; pause it before stepping. It is at {self.time()}")
            return
        if not self._steps:
            frame = self.course.frame_ns
            self._target = (self.simulation.stamp_ns // frame + 1) * frame
            self.lockstep.restart(now)
        self._steps.append(done)

    @property
    def stepping(self) -> bool:
        """Whether somebody waits for a step."""
        return bool(self._steps)

    def reset(self, now: float) -> str:
        """Back to time 0, paused or running as before."""
        before = self.time()
        self.simulation.reset()
        self.lockstep.rewind()
        self._answer(False, f"reset to time 0 from {before}")
        self.outlet.say(f"reset: /clock jumps back from {before} to 0.000 s")
        self._publish(now)
        self._tie(now)
        return f"at {self.time()}, back from {before}"

    def time(self) -> str:
        return f"{self.simulation.stamp_ns * 1e-9:.3f} s"

    def _advance(self, now: float) -> None:
        self.simulation.step(TICK_NS)
        self.tally.simulated += TICK_NS * 1e-9
        self._publish(now)
        if self._steps and self.simulation.stamp_ns >= self._target:
            self._answer(True, f"at {self.time()}")

    def _publish(self, now: float) -> None:
        stamp = self.simulation.stamp_ns
        self.outlet.publish(stamp)
        if stamp % self.course.frame_ns == 0:
            self.tally.frames += 1
            self.lockstep.sent(stamp, now)

    def _over(self) -> bool:
        return self.course.end_ns is not None and self.simulation.stamp_ns + TICK_NS > self.course.end_ns

    def _tie(self, now: float) -> None:
        """Tie simulated to wall time from here on."""
        self._anchor = (now, self.simulation.stamp_ns)

    def _until_due(self, now: float) -> float:
        """Wall seconds until the next tick is due; 0 when it is."""
        if self.course.rate == 0:
            return 0.0
        wall, stamp = self._anchor
        due = wall + (self.simulation.stamp_ns + TICK_NS - stamp) * 1e-9 / self.course.rate
        if now - due > MAX_LAG:
            self._tie(now)
        return max(0.0, due - now)

    def _count_wall(self, now: float) -> None:
        """Wall time counts from the first tick on, and not while paused."""
        running = self.tally.simulated > 0 and (not self.paused or bool(self._steps))
        if running and self._last_poll is not None:
            self.tally.wall += now - self._last_poll
        self._last_poll = now

    def _mind_silence(self, now: float) -> None:
        """Say who is silent; then wait on, go on without them, or stop, as the course says."""
        course, lockstep = self.course, self.lockstep
        if not lockstep.overdue(now, course.timeout):
            return
        for name in lockstep.silent(now, course.timeout):
            silence = f"lockstep: {name} {self._silence_of(name)} for {course.timeout:g} s (at {self.time()})"
            if course.when_lost == STOP:
                self._answer(False, silence)
                raise LockstepError(f"{silence}; the run stops, as lockstep_lost asks")
            if course.when_lost == CONTINUE:
                lockstep.give_up(name)
                self.outlet.warn(f"{silence}; going on without it, its frames are lost")
            else:
                self.outlet.warn(f"{silence}; waiting on")
        if self._steps and (missing := lockstep.missing()):
            self._answer(False, f"still at {self.time()}: waiting for {', '.join(missing)}")

    def _silence_of(self, name: str) -> str:
        return "has not acknowledged" if self.lockstep.has_spoken(name) else "has not been heard"

    def _waiting(self) -> str:
        missing = self.lockstep.missing()
        return f", waiting for {', '.join(missing)}" if missing else ""

    def _answer(self, success: bool, text: str) -> None:
        """Tell all who asked for the step."""
        steps, self._steps = self._steps, []
        for done in steps:
            done(success, text)
