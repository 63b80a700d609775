"""Whole missions on embedded autopilots, in processes of their own, over TCP and UDP at once: what was flown against
what was asked."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aerialworld_core.earth import Earth, heading_of
from aerialworld_core.world import World, load_world
from aerialworld_missions.asked import plan_of
from aerialworld_missions.flying.fleet import Sortie, Us, fly_all
from aerialworld_missions.flying.mission import Flight
from aerialworld_missions.flying.options import FlightOptions
from aerialworld_missions.flying.outcomes import Outcome
from aerialworld_missions.flying.station import Station
from aerialworld_missions.flying.surroundings import ground_at, transit_height
from aerialworld_missions.flying.vehicle import Vehicle

sys.path.insert(0, str(Path(__file__).parent))
import flying_rig as rig

ROOT = Path(__file__).resolve().parents[1]
SPACING = 15.0


class Marks:
    """When a flight's plan began and ended, by the vehicle's clock: called where a recorder would be."""

    def __init__(self, flights: list[Any], number: int) -> None:
        self._flights, self._number, self.begin, self.end = flights, number, 0.0, 0.0

    def start(self) -> None:
        self.begin = self._flights[self._number].vehicle.state.clock.now

    def stop(self) -> None:
        self.end = self._flights[self._number].vehicle.state.clock.now

    def finish(self) -> None: ...


def track_of(flight: Any, earth: Earth, begin: float = 0.0, end: float = math.inf) -> np.ndarray:
    """(N, 3) where a vehicle has been from `begin` to `end`, in map."""
    track = [row for row in flight.vehicle.state.track if begin <= row[0] <= end]
    return np.array([(*earth.map_of(lat, lon), up + flight.site.home_z) for _, lat, lon, up in track])


@pytest.fixture(scope="module")
def world() -> World:
    return load_world(ROOT / "worlds" / "small_city")


@pytest.mark.long
@pytest.mark.timeout(280)
def test_two_drones_and_a_rover_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A survey in AUTO over TCP; an orbit by setpoints and a rover in AUTO over one UDP port."""
    centre = tuple(float(v) for v in world.bounds[:, :2].mean(axis=0))
    survey = plan_of(world, "survey", {"centre": centre, "size": 60.0, "spacing": SPACING, "altitude": 40.0})
    asked = {"centre": centre, "radius": 30.0, "altitude": 45.0, "turns": 1.5, "look": "centre", "vehicle": "drone_2"}
    orbit = plan_of(world, "orbit", asked)
    drive = plan_of(world, "patrol", {"centre": centre, "size": 60.0, "vehicle": "rover_1", "duration": 60.0})
    reference = world.require_place()
    earth = Earth(reference)
    options = FlightOptions(
        georeference=reference,
        ground=lambda x, y: ground_at(world, x, y),
        transit=lambda a, b: transit_height(world, a, b),
    )
    yaw = math.atan2(*(drive.position[5, :2] - drive.position[0, :2])[::-1])
    lat, lon = earth.e7_of(drive.position[0])
    at = f"{lat * 1e-7:.7f},{lon * 1e-7:.7f},0,{math.degrees(heading_of(yaw)):.1f}"
    tcp, udp = rig.free_port(), rig.free_port()
    where = ("--world", str(world.path.parent))
    flights: list[Any] = []
    marks = [Marks(flights, n) for n in range(3)]
    from aerialworld_missions.flying import fleet

    made = fleet._flight
    monkeypatch.setattr(fleet, "_flight", lambda *given: flights.append(made(*given)) or flights[-1])
    with ExitStack() as stack:
        stack.enter_context(rig.autopilot("drone", *where, port=tcp, speedup=5))
        for kind, system, more in (("drone", "2", ()), ("rover", "3", ("--home", at))):
            there = ("--udp", f"127.0.0.1:{udp}", "--sysid", system)
            stack.enter_context(rig.autopilot(kind, *where, *there, *more, speedup=5))
        flown = fly_all(
            [
                Sortie(survey, f"tcp:127.0.0.1:{tcp}", None, options, marks[0]),
                Sortie(orbit, f"udpin:127.0.0.1:{udp}", 2, options, marks[1]),
                Sortie(drive, f"udpin:127.0.0.1:{udp}", 3, options, marks[2]),
            ],
            Us(),
        )
    assert [(f.outcome, f.armed) for f in flown] == [(Outcome.COMPLETE, False)] * 3, [f.reason for f in flown]
    assert [flight.method for flight in flights] == ["auto", "guided", "auto"]
    for flight in flights[:2]:
        whole = track_of(flight, earth)
        assert len(whole) > 300 and not world.inside_solid(whole + np.array([0.0, 0.0, 0.3])).any()
    tracks = [track_of(f, earth, m.begin, m.end) for f, m in zip(flights, marks, strict=True)]

    # The survey: the square is covered, at the plan's height.
    surveyed, planned = tracks[0], survey.position
    covered = rig.share_covered(surveyed, centre, 60.0, SPACING / 2 + 0.5)
    assert covered >= 0.98
    heights = [planned[np.hypot(*(planned[:, :2] - p[:2]).T).argmin(), 2] for p in surveyed]
    assert np.abs(surveyed[:, 2] - np.array(heights)).max() <= 1.0

    # The orbit: two turns of its radius.
    circled = tracks[1]
    angle = np.arctan2(circled[:, 1] - centre[1], circled[:, 0] - centre[0])
    radius = np.hypot(circled[:, 0] - centre[0], circled[:, 1] - centre[1])
    assert np.ptp(np.unwrap(angle)) >= 1.5 * 2 * math.pi - 0.3
    assert np.abs(radius - 30.0).max() <= 1.0
    assert np.abs(circled[:, 2] - orbit.position[0, 2]).max() <= 1.0

    # The rover: it passed all of its way.
    way = tracks[2]
    off = [np.hypot(*(way[:, :2] - p[:2]).T).min() for p in drive.position]
    assert max(off) <= 3.0
    print(
        f"survey: {covered:.1%} covered; orbit: radius off by {np.abs(radius - 30.0).max():.2f} m at most, "
        f"{np.sqrt(((radius - 30.0) ** 2).mean()):.2f} m rms; rover: {max(off):.2f} m from its way at most"
    )


@pytest.mark.long
@pytest.mark.timeout(120)
def test_an_orbit_keeps_its_radius_at_twenty_times_the_speed_on_a_busy_machine(world: World) -> None:
    """Setpoints follow the vehicle's own clock: two programs that take all the time there is do not move the circle."""
    centre = tuple(float(v) for v in world.bounds[:, :2].mean(axis=0))
    orbit = plan_of(world, "orbit", {"centre": centre, "radius": 30.0, "altitude": 45.0, "look": "centre"})
    reference, port, flights = world.require_place(), rig.free_port(), []
    marks = Marks(flights, 0)
    with ExitStack() as stack:
        stack.enter_context(rig.autopilot("drone", "--world", str(world.path.parent), port=port, speedup=20))
        for _ in range(2):
            stack.callback(subprocess.Popen([sys.executable, "-c", "while True: pass"]).kill)
        with Station.open(f"tcp:127.0.0.1:{port}") as us:
            options = FlightOptions(georeference=reference, end="hold")
            flights.append(Flight(Vehicle(us, "drone"), orbit, options, recording=marks))
            flown = flights[0].fly()
    assert flown.outcome is Outcome.COMPLETE, flown.reason
    circled = track_of(flights[0], Earth(reference), marks.begin, marks.end)
    radius = np.hypot(circled[:, 0] - centre[0], circled[:, 1] - centre[1])
    assert len(circled) > 60 and np.abs(radius - 30.0).max() <= 1.0


@pytest.mark.long
@pytest.mark.timeout(200)
def test_the_script_flies_a_survey_over_open_ground(tmp_path: Path) -> None:
    port, plan = rig.free_port(), tmp_path / "plan.json"
    words = ["--vehicle", "drone", "--pattern", "survey", "--size", "60", "--spacing", "15", "--altitude", "30"]
    command = [sys.executable, str(ROOT / "scripts" / "data_collection_mission.py"), *words]
    with rig.autopilot("drone", port=port):
        done = subprocess.run(
            [*command, "--connect", f"tcp:127.0.0.1:{port}", "--plan-out", str(plan)],
            capture_output=True,
            text=True,
            timeout=180,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("drone_1: complete: the whole plan was flown") and plan.is_file()
    assert "the ground is taken for flat and open" in done.stderr


def test_bad_input_is_refused_before_anything_is_opened(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from aerialworld.cli import app

    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    rig.line_plan([(0, 0, 20), (30, 0, 20)]).write(good)
    bad.write_text(good.read_text()[:-40])
    cases = [
        ([str(bad)], "bad.json"),
        ([str(tmp_path / "none.json")], "none.json: no such plan"),
        ([str(good), "--connect", "carrier:pigeon"], "carrier:pigeon"),
        ([str(good), "--connect", "tcp:10.0.0.5:5760"], "loopback"),
        ([str(good), "--connect", "tcp:10.0.0.5:5760", "--allow-remote"], "--key FILE"),
        ([str(good), "--connect", "serial:/dev/null:57600"], "no serial line"),
        ([str(good), "--connect", "serial:/dev/null:57601"], "no rate"),
        ([str(good), str(good)], "more than one plan"),
        ([str(good), "--connect", "tcp:5760", "--connect", "tcp:5770"], "2 addresses for 1 plans"),
        ([str(good), "--connect", "tcp:5760@x"], "MAVLink system id"),
        ([str(good), "--connect", "tcp:5760@300"], "1 to 255, not 300"),
        ([str(good), "--method", "magic"], "auto, guided"),
        ([str(good), "--rate", "0"], "--rate"),
        ([str(good), "--stuck", "nan"], "--stuck"),
        ([str(good), "--origin", "95,0,0"], "no place on earth"),
        ([str(good), "--system", "0"], "1 to 255, not 0"),
        ([str(good), "--key", str(tmp_path / "nokey")], "umask 077"),
    ]
    for words, wanted in cases:
        result = CliRunner().invoke(app, ["mission", "fly", *words])
        assert result.exit_code == 2 and wanted in result.output.replace("\n", " "), (words, result.output)


@pytest.mark.timeout(120)
def test_a_rover_in_guided_is_told_its_speed_on_the_way() -> None:
    """As an ArduPilot rover has it: before it goes to a place, a speed is refused."""
    port = rig.free_port()
    plan = rig.line_plan([(0, 5, 0), (0, 30, 0), (20, 30, 0)], vehicle="rover_1", speed=3.0)
    with rig.autopilot("rover", port=port, speedup=20):
        options = FlightOptions(method="guided", georeference=rig.HOME)
        flown, flight = rig.fly_plan(f"tcp:127.0.0.1:{port}", plan, options)
    assert (flown.outcome, flown.mode, flown.armed) == (Outcome.COMPLETE, "HOLD", False), flown.reason
    track = track_of(flight, Earth(rig.HOME))
    assert max(np.hypot(*(track[:, :2] - p[:2]).T).min() for p in plan.position) < 3.0


@pytest.mark.long
@pytest.mark.timeout(200)
@pytest.mark.parametrize(("kind", "mode"), [("drone", "LAND"), ("rover", "HOLD")])
def test_ctrl_c_lands_a_drone_and_stops_a_rover(kind: str, mode: str, tmp_path: Path) -> None:
    port, plan = rig.free_port(), tmp_path / "plan.json"
    rig.line_plan([(0, 5, 12), (0, 300, 12), (100, 300, 12)], vehicle=f"{kind}_1", speed=4.0).write(plan)
    origin = f"{rig.HOME.latitude},{rig.HOME.longitude},{rig.HOME.height}"
    words = ["mission", "fly", str(plan), "--connect", f"tcp:127.0.0.1:{port}", "--origin", origin]
    with rig.autopilot(kind, port=port, speedup=10):
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "aerialworld", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("flying"):
                process.send_signal(signal.SIGINT)
                break
        said, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert said == f"{kind}_1: interrupted: asked to stop ({mode}, off)\n"


@pytest.mark.long
@pytest.mark.timeout(200)
def test_a_signed_mission_is_flown_and_without_the_key_there_is_no_vehicle(tmp_path: Path) -> None:
    """Each end with a copy of the key of its own; a rover in GUIDED, from waypoint to waypoint."""
    keys = {}
    for name, secret in (("vehicle", b"k" * 32), ("ground", b"k" * 32), ("stranger", b"x" * 32)):
        (tmp_path / name).mkdir(mode=0o700)
        keys[name] = tmp_path / name / "key"
        keys[name].touch(mode=0o600)
        keys[name].write_bytes(secret)
    port = rig.free_port()
    plan = rig.line_plan([(0, 5, 0), (0, 40, 0), (20, 40, 0)], vehicle="rover_1", speed=4.0)
    options = FlightOptions(method="guided", georeference=rig.HOME, connect=4.0)
    with rig.autopilot("rover", "--key", str(keys["vehicle"]), port=port, speedup=10):
        address = f"tcp:127.0.0.1:{port}"
        flown, _ = rig.fly_plan(address, plan, options)
        assert flown.outcome is Outcome.REFUSED and "give its key" in flown.reason and not flown.armed
        flown, _ = rig.fly_plan(address, plan, options, key=keys["stranger"])
        assert flown.outcome is Outcome.NO_VEHICLE and not flown.armed
        flown, flight = rig.fly_plan(address, plan, options, key=keys["ground"])
    assert (flown.outcome, flown.armed, flown.mode) == (Outcome.COMPLETE, False, "HOLD"), flown.reason
    way = track_of(flight, Earth(rig.HOME))
    assert max(np.hypot(*(way[:, :2] - p[:2]).T).min() for p in plan.position) < 3.0
