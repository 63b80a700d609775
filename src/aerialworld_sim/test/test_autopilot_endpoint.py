"""How simulation time follows the wall clock, with a clock of the test's own: no test here waits."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from autopilot_recordings import HOME, Bench

from aerialworld_core.frames import Georeference
from aerialworld_sim.autopilot import Autopilot, AutopilotError, Settings
from aerialworld_sim.autopilot.endpoint import Endpoint, Served
from aerialworld_sim.autopilot.links import TcpServer
from aerialworld_sim.vehicles.multirotor import Multirotor
from aerialworld_sim.vehicles.rover import Rover


class Clock:
    """Seconds that pass while one dozes, and `cost` at each look at it (what steps take)."""

    def __init__(self, cost: float = 0.0) -> None:
        self.now = 1000.0
        self.cost = cost
        self.dozed: list[float] = []

    def __call__(self) -> float:
        self.now += self.cost
        return self.now

    def doze(self, _: list[int], seconds: float) -> None:
        self.dozed.append(seconds)
        self.now += seconds


def endpoint(clock: Clock, speedup: float, kind: str = "drone") -> Endpoint:
    vehicle = Multirotor() if kind == "drone" else Rover()
    autopilot = Autopilot(vehicle, Settings(kind, HOME, speedup=speedup))
    return Endpoint([Served(autopilot)], clock=clock, doze=clock.doze)


@pytest.mark.parametrize("speedup", [1.0, 10.0, 50.0])
def test_time_follows_the_clock_times_the_speedup(speedup: float) -> None:
    clock = Clock()
    served = endpoint(clock, speedup)
    served.run(duration=20.0)
    assert served.sim_seconds == pytest.approx(20.0, abs=1e-6)
    assert served.served[0].autopilot.now == pytest.approx(20.0, abs=1e-6)
    assert served.served[0].autopilot.vehicle.state.stamp_ns == 20_000_000_000
    assert clock.now - 1000.0 == pytest.approx(20.0 / speedup, rel=0.02, abs=0.02)
    assert max(clock.dozed) <= 0.021  # so that links are looked at


def test_a_speedup_set_in_flight_is_the_pace_from_then_on() -> None:
    clock = Clock()
    served = endpoint(clock, 1.0)
    served.run(duration=5.0)
    served.served[0].autopilot.parameters.keep("SIM_SPEEDUP", 10.0)
    before = clock.now
    served.run(duration=25.0)
    assert clock.now - before == pytest.approx(2.0, rel=0.05)


def test_what_cannot_be_kept_up_with_is_not_caught_up_with() -> None:
    """A machine too slow for the speed-up runs as fast as it can, and after a pause it does not race."""
    clock = Clock(cost=0.004)
    served = endpoint(clock, 100.0)
    served.run(duration=5.0)
    assert clock.now - 1000.0 > 0.5
    clock.cost = 0.0
    served.served[0].autopilot.parameters.keep("SIM_SPEEDUP", 1.0)
    clock.now += 3600.0  # the computer slept
    before = clock.now
    served.run(duration=7.0)
    assert clock.now - before == pytest.approx(2.0, abs=0.1)


def test_the_boot_waits_for_a_tcp_client() -> None:
    clock = Clock()
    autopilot = Autopilot(Multirotor(), Settings("drone", HOME))
    link = TcpServer(autopilot.open_channel("tcp"), port=0)
    served = Endpoint([Served(autopilot, [link])], clock=clock, doze=clock.doze)
    turns = 0

    def report() -> None:
        nonlocal turns
        turns += 1
        if turns == 50:
            assert served.waiting
            served.stop()

    served.run(report=report)
    assert autopilot.now_ns == 0 and clock.now > 1000.5
    served.close()


def test_several_vehicles_share_one_time() -> None:
    clock = Clock()
    first = Autopilot(Multirotor(), Settings("drone", HOME, sysid=1, speedup=20.0))
    second = Autopilot(Rover(), Settings("rover", HOME, sysid=2))
    served = Endpoint([Served(first), Served(second)], clock=clock, doze=clock.doze)
    served.run(duration=3.0)
    assert first.now == second.now == pytest.approx(3.0)


def test_a_flood_gets_its_share_and_no_more() -> None:
    """Whoever fills the channel at each look is read at 2,500 frames a second; the simulation keeps its pace."""
    clock = Clock()
    autopilot = Autopilot(Multirotor(), Settings("drone", HOME, speedup=10.0))
    channel = autopilot.open_channel("flood")
    beat = Bench().words.MAVLink_heartbeat_message(6, 8, 0, 0, 4, 3).pack(Bench().words.MAVLink(None, srcSystem=255))
    served = Endpoint([Served(autopilot)], clock=clock, doze=clock.doze)

    def flood() -> None:
        while channel.room() > len(beat):
            channel.receive(beat)

    served.run(duration=20.0, report=flood)
    assert clock.now - 1000.0 == pytest.approx(2.0, rel=0.02)
    assert autopilot.tried == pytest.approx(2.0 * 2500 + 300, rel=0.05)


def test_settings_that_cannot_be() -> None:
    for sysid in (0, 256):
        with pytest.raises(AutopilotError, match="1 to 255"):
            Settings("drone", HOME, sysid)
    with pytest.raises(AutopilotError, match="speed-up"):
        Settings("drone", HOME, speedup=0.0)
    with pytest.raises(AutopilotError, match="no place on earth"):
        Settings("drone", Georeference(91.0, 0.0, 0.0))
    with pytest.raises(AutopilotError, match="cannot fly a rover"):
        Autopilot(Rover(), Settings("drone", HOME))
    with pytest.raises(AutopilotError, match="no parameter 'NOPE'"):
        Autopilot(Rover(), Settings("rover", HOME), {"NOPE": 1.0})
