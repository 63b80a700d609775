"""Mission files of ground stations and maps: what is written reads back, what is damaged is refused with its reason."""

from __future__ import annotations

import copy
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymap3d import enu2geodetic
from scipy.spatial import cKDTree

from aerialworld_core.errors import PlanError
from aerialworld_core.plan import Plan
from aerialworld_missions import corridor, orbit, patrol
from aerialworld_missions.asked import plan_of_file, vehicle_named
from aerialworld_missions.mission_files import MAX_BYTES, export, read_area, read_line, read_mission, read_stops

ORIGIN = (35.66, 139.74, 12.0)


@pytest.fixture(scope="module")
def town(box_world: type):
    return box_world((400.0, 300.0), boxes=((100, 80, 130, 120, 45),), ground=lambda x, y: np.full_like(x, 3.0))


def place(x: float, y: float) -> tuple[float, float]:
    lat, lon, _ = enu2geodetic(x, y, 0.0, *ORIGIN)
    return round(float(lat), 8), round(float(lon), 8)


def simple(command: int, frame: int, *params: Any, number: int = 1) -> dict[str, Any]:
    return {
        "autoContinue": True, "command": command, "doJumpId": number, "frame": frame, "params": list(params),
        "type": "SimpleItem",
    }  # fmt: skip


def at(
    x: float,
    y: float,
    z: float,
    *,
    command: int = 16,
    frame: int = 3,
    hold: float = 0,
    yaw: Any = None,
    number: int = 1,
):
    return simple(command, frame, hold, 0, 0, yaw, *place(x, y), z, number=number)


def document(items: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """As QGroundControl 4 writes one."""
    mission = {
        "cruiseSpeed": 3, "hoverSpeed": 6, "firmwareType": 3, "vehicleType": 2, "globalPlanAltitudeMode": 1,
        "plannedHomePosition": [*place(50, 50), 15.0], "version": 2, "items": items, **changes.pop("mission", {}),
    }  # fmt: skip
    return {
        "fileType": "Plan", "version": 1, "groundStation": "QGroundControl", "mission": mission,
        "geoFence": {"circles": [], "polygons": [], "version": 2}, "rallyPoints": {"points": [], "version": 2},
        **changes,
    }  # fmt: skip


def written(folder: Path, data: Any, name: str = "mission.plan") -> Path:
    path = folder / name
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


def near(plan: Plan, *point: float) -> float:
    p = plan.trajectory().sample(np.arange(0.0, plan.duration, 0.02)).position
    return float(np.linalg.norm(p[:, : len(point)] - point, axis=1).min())


def test_frames_speeds_looks_holds_and_the_return_mean_what_they_say(town, tmp_path: Path) -> None:
    """Home is at (50, 50) on ground at 3 m; map's origin lies at 12 m above sea level."""
    path = written(tmp_path, document([
        at(50, 50, 30, command=22),
        simple(178, 2, 1, 8, -1, 0, 0, 0, 0),
        at(250, 50, 40, number=2),
        simple(206, 2, 25, 0, 0, 0, 0, 0, 0),
        at(250, 200, 80, frame=0, hold=4, yaw=0, number=3),
        at(60, 200, 20, frame=10, number=4),
        simple(20, 2, 0, 0, 0, 0, 0, 0, 0),
    ]))  # fmt: skip
    plan, notes = plan_of_file(town, path, {})
    assert plan.agent_type == "drone" and plan.parameters["speed"] == 6.0
    for point in ((50, 50, 33), (250, 200, 68), (50, 50, 23)):
        assert near(plan, *point) < 0.3, point
    assert near(plan, 60, 200, 23) < 2.0
    assert near(plan, 250, 50) < 2.0
    m = plan.trajectory().sample(np.arange(0.0, plan.duration, 0.05))
    speed = np.linalg.norm(m.linear_velocity[:, :2], axis=1)
    assert speed.max() == pytest.approx(8.0, abs=0.05)
    assert (0.05 * (np.hypot(*(m.position[:, :2] - [250, 200]).T) < 0.05).sum()) >= 4.0
    leg = (np.abs(m.position[:, 0] - 250) < 0.5) & (m.position[:, 1] > 60) & (m.position[:, 1] < 190)
    q = m.orientation[leg]
    yaw = np.arctan2(2 * (q[:, 0] * q[:, 1] + q[:, 3] * q[:, 2]), 1 - 2 * (q[:, 1] ** 2 + q[:, 2] ** 2))
    assert np.degrees(np.abs(yaw - math.pi / 2)).max() < 2.0  # heading 0 is north
    assert any("cameras" in n for n in notes) and any("return" in n for n in notes)


def test_jumps_circles_times_and_landings(town, tmp_path: Path) -> None:
    path = written(tmp_path, document([
        at(60, 200, 30, number=1), at(160, 200, 30, number=2),
        simple(177, 2, 1, 2, 0, 0, 0, 0, 0, number=3),
        at(250, 150, 40, command=18, number=4) | {"params": [1, 0, 30, 0, *place(250, 150), 40]},
        at(250, 100, 40, command=19, hold=3, number=5),
        at(300, 100, 0, command=21, number=6), at(10, 10, 30, number=7),
    ]))  # fmt: skip
    stops, mission, notes = read_stops(path, town)
    assert mission is not None and any("landing" in n for n in notes)
    xs = [round(s.x) for s in stops]
    assert xs[:6] == [60, 160, 60, 160, 60, 160]  # there, and twice again
    circle = np.array([(s.x, s.y) for s in stops[6:-2]])
    np.testing.assert_allclose(np.hypot(*(circle - [250, 150]).T), 30.0, atol=0.02)
    turned = np.unwrap(np.arctan2(circle[:, 1] - 150, circle[:, 0] - 250))
    assert turned[-1] - turned[0] == pytest.approx(-2 * math.pi, abs=0.01)  # clockwise, as ArduPilot
    assert stops[-2].hold == 3.0
    assert (round(stops[-1].x), round(stops[-1].y)) == (300, 100)  # and nothing after the landing


def test_the_items_of_a_complex_item_and_a_fence_are_kept(town, tmp_path: Path) -> None:
    inner = [at(60, 60, 30, number=2), at(200, 60, 30, number=3)]
    complex_item = {"type": "ComplexItem", "complexItemType": "survey", "TransectStyleComplexItem": {"Items": inner}}
    fence = [place(*p) for p in ((20, 20), (280, 20), (280, 220), (20, 220))]
    polygon = {"inclusion": True, "version": 1, "polygon": [list(p) for p in fence]}
    data = document([at(50, 50, 30, command=22), complex_item, at(200, 200, 30, number=4)])
    data["geoFence"]["polygons"] = [polygon]
    plan, _ = plan_of_file(town, written(tmp_path, data), {})
    assert near(plan, 60, 60, 33) < 2.1 and near(plan, 200, 200, 33) < 0.3
    assert plan.fence is not None
    np.testing.assert_allclose(plan.fence.polygon, [(20, 20), (280, 20), (280, 220), (20, 220)], atol=0.02)
    data["geoFence"]["polygons"] = [{**polygon, "polygon": [list(p) for p in fence[:2]] + [list(place(280, 150))]}]
    with pytest.raises(PlanError, match="leaves its fence"):
        plan_of_file(town, written(tmp_path, data), {})


@pytest.mark.parametrize("suffix", [".plan", ".waypoints", ".geojson"])
def test_an_exported_plan_reads_back_as_the_same_path(town, tmp_path: Path, suffix: str) -> None:
    plan = orbit(town, centre=(200, 150), radius=40, altitude=60, look="centre")
    path = tmp_path / f"orbit{suffix}"
    export(plan, path, town)
    again, _ = plan_of_file(town, path, {"speed": 5.0})
    path_again = again.trajectory().sample(np.arange(0.0, again.duration, 0.02)).position
    apart, nearest = cKDTree(path_again).query(plan.position)
    assert apart.max() < 0.6
    first = path.read_bytes()
    export(plan, path, town)
    assert path.read_bytes() == first
    if suffix == ".plan":  # its looks are kept too
        q = again.trajectory().sample(nearest[20:-20] * 0.02).orientation
        yaw = np.arctan2(2 * (q[:, 0] * q[:, 1] + q[:, 3] * q[:, 2]), 1 - 2 * (q[:, 1] ** 2 + q[:, 2] ** 2))
        p = plan.position[20:-20]
        towards = np.arctan2(150 - p[:, 1], 200 - p[:, 0])
        assert np.degrees(np.abs(np.angle(np.exp(1j * (yaw - towards))))).max() < 30


def test_what_is_written_has_all_that_the_format_asks_for(town, tmp_path: Path) -> None:
    """The keys and kinds of QGroundControl's developer guide, "Plan file format"."""
    plan = corridor(town, line=[(20, 20), (80, 40), (80, 150)], altitude=30)
    export(plan, tmp_path / "c.plan", town)
    data = json.loads((tmp_path / "c.plan").read_text())
    assert (data["fileType"], data["version"]) == ("Plan", 1) and isinstance(data["groundStation"], str)
    assert data["rallyPoints"] == {"version": 2, "points": []}
    mission = data["mission"]
    assert mission["version"] == 2 and mission["firmwareType"] == 3 and mission["vehicleType"] == 2
    assert np.allclose(mission["plannedHomePosition"], [*place(20, 20), 15.0], atol=1e-6)
    ids = [item["doJumpId"] for item in mission["items"]]
    assert ids == list(range(1, len(ids) + 1))
    commands = [item["command"] for item in mission["items"]]
    assert commands[0] == 22 and commands[-1] == 20 and commands.count(16) == len(plan.route())
    for item in mission["items"]:
        assert item["type"] == "SimpleItem" and item["autoContinue"] is True and len(item["params"]) == 7
        if item["command"] in (16, 22):
            assert item["frame"] == 3 and item["AltitudeMode"] == 1 and item["AMSLAltAboveTerrain"] is None
            assert item["Altitude"] == item["params"][6] == pytest.approx(30.0, abs=0.05)
        else:
            assert item["frame"] == 2
    (polygon,) = data["geoFence"]["polygons"]
    assert polygon["inclusion"] is True and polygon["version"] == 1 and len(polygon["polygon"]) == 4
    export(plan, tmp_path / "c.waypoints", town)
    lines = (tmp_path / "c.waypoints").read_text().splitlines()
    assert lines[0] == "QGC WPL 110" and all(len(line.split("\t")) == 12 for line in lines[1:])
    assert lines[1].split("\t")[:4] == ["0", "1", "0", "16"]


def test_a_rover_s_file_becomes_a_drive_past_its_points(town, tmp_path: Path) -> None:
    round_trip = patrol(town, posts=[(50, 50), (200, 60), (200, 200)])
    export(round_trip, tmp_path / "r.plan", town)
    data = json.loads((tmp_path / "r.plan").read_text())
    assert data["mission"]["vehicleType"] == 10 and 22 not in [i["command"] for i in data["mission"]["items"]]
    path = written(tmp_path, document([at(50, 50, 0), at(200, 60, 0), at(200, 200, 0)], mission={"vehicleType": 10}))
    plan, _ = plan_of_file(town, path, {})
    assert plan.agent_type == "rover" and plan.vehicle == "rover_1" and plan.parameters["speed"] == 3.0
    for point in ((200, 60), (200, 200)):
        assert near(plan, *point) < 5.0
    drone, _ = plan_of_file(town, path, {"vehicle": "rover_3"})
    assert drone.vehicle == "rover_3"


def test_lines_and_areas_of_geojson(town, tmp_path: Path) -> None:
    line = [list(place(*p))[::-1] for p in ((20, 20), (80, 40), (80, 150))]
    bent = {"type": "Feature", "properties": None, "geometry": {"type": "LineString", "coordinates": line}}
    path = written(tmp_path, bent, "l.geojson")
    np.testing.assert_allclose(read_line(path, town), [(20, 20), (80, 40), (80, 150)], atol=0.02)
    ring = {"type": "Polygon", "coordinates": [[*line, line[0]]]}
    features = {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": ring}]}
    area = written(tmp_path, features, "a.geojson")
    np.testing.assert_allclose(read_area(area, town), [(20, 20), (80, 40), (80, 150)], atol=0.02)
    points = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": p},
            "properties": {"altitude": 20 + k, "hold": k},
        }
        for k, p in enumerate(line)
    ]
    stops, _, _ = read_stops(written(tmp_path, {"type": "FeatureCollection", "features": points}, "p.geojson"), town)
    assert [(s.altitude, s.frame, s.hold) for s in stops] == [(20, "ground", 0), (21, "ground", 1), (22, "ground", 2)]
    for bad, says in (
        ({"type": "Polygon", "coordinates": [line]}, "4 to|end where it begins"),
        ({"type": "Polygon", "coordinates": [[*line, line[0]], [*line, line[0]]]}, "one ring"),
        ({"type": "MultiPolygon", "coordinates": []}, "no point, line or polygon"),
        ({"type": "LineString", "coordinates": [[0, 0], [1, 1]]}, "holds 0 polygons"),
        ([], "must be a GeoJSON object"),
        ({"type": "FeatureCollection", "features": []}, "has no geometry"),
    ):
        with pytest.raises(PlanError, match=says):
            read_area(written(tmp_path, bad, "b.geojson"), town)
    with pytest.raises(PlanError, match="km from the world"):
        read_line(written(tmp_path, {"type": "LineString", "coordinates": [[0, 0], [1, 1]]}, "far.geojson"), town)


GOOD = document([at(50, 50, 30, command=22), at(60, 200, 30, number=2), at(160, 200, 30, number=3)])


def changed(*where: Any, to: Any) -> dict[str, Any]:
    data = copy.deepcopy(GOOD)
    inner: Any = data
    for key in where[:-1]:
        inner = inner[key]
    if to is KeyError:
        del inner[where[-1]]
    else:
        inner[where[-1]] = to
    return data


ITEM = ("mission", "items", 1)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("", "damaged, or no JSON"),
        ('{"fileType": "Plan"', "damaged, or no JSON"),
        ("[" * 100_000, "damaged, or no JSON"),
        ("[]", "must be an object"),
        (changed("fileType", to="Params"), "no QGroundControl plan"),
        (changed("version", to=2), "version 2"),
        (changed("mission", to=KeyError), "mission must be an object"),
        (changed("mission", "version", to=1), "mission version 1"),
        (changed("mission", "items", to=[]), "has no mission items"),
        (changed("mission", "items", to={}), "items must be a list"),
        (changed("mission", "items", to=GOOD["mission"]["items"] * 2000), "more than 5000"),
        (changed("mission", "vehicleType", to=1), "neither a multicopter nor a rover"),
        (changed("mission", "plannedHomePosition", to=[1, 2]), "takes 3 numbers"),
        (changed("mission", "plannedHomePosition", to=[95.0, 139.0, 3]), "out of range"),
        (changed(*ITEM, "type", to="Item"), "neither SimpleItem nor ComplexItem"),
        (changed(*ITEM, "type", to="ComplexItem"), "whose items are not in the file"),
        (changed(*ITEM, "params", to=[0] * 6), "seven numbers"),
        (changed(*ITEM, "params", 4, to="35"), "must be a number"),
        (changed(*ITEM, "params", 4, to=10**400), "must be a number"),
        (changed(*ITEM, "params", 4, to=95.0), "out of range"),
        (changed(*ITEM, "params", 4, to=-35.0), "km from the world"),
        (changed(*ITEM, "params", 6, to=None), "has no altitude"),
        (changed(*ITEM, "params", 6, to=-10.0), "below the ground"),
        (changed(*ITEM, "params", 6, to=1e8), "an altitude of"),
        (changed(*ITEM, "params", 0, to=1e7), "a hold of"),
        (changed(*ITEM, "frame", to=7), "frame 7"),
        (changed(*ITEM, "command", to=84), "command 84 is none that a path can follow"),
        (changed(*ITEM, "command", to=-1), "whole number"),
        (changed("mission", "items", 1, to=simple(177, 2, 9, 1, 0, 0, 0, 0, 0)), "jumps to item 9"),
        (changed("mission", "items", 1, to=simple(177, 2, 1, -1, 0, 0, 0, 0, 0)), "jumps without end"),
        (changed("geoFence", "circles", to=[{"circle": {}}]), "one polygon to stay in"),
        (changed("geoFence", "polygons", to=[{"inclusion": False, "polygon": []}]), "one polygon to stay in"),
    ],
)
def test_a_damaged_plan_file_is_refused_with_its_reason(town, tmp_path: Path, data: Any, says: str) -> None:
    path = written(tmp_path, data)
    with pytest.raises(PlanError, match=says) as caught:
        plan_of_file(town, path, {})
    assert str(path) in str(caught.value)


PLAIN = "QGC WPL 110\n0\t1\t0\t16\t0\t0\t0\t0\t{0}\t{1}\t15\t1\n1\t0\t3\t22\t0\t0\t0\t0\t{0}\t{1}\t30\t1\n2\t0\t3\t16\t0\t0\t0\t0\t{2}\t{3}\t30\t1\n"  # noqa: E501  # fmt: skip
TEXT = PLAIN.format(*place(50, 50), *place(60, 200))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the first line"),
        (TEXT.replace("110", "90"), "the first line"),
        (TEXT.splitlines()[0], "has no mission items"),
        (TEXT.replace("\n2\t", "\n3\t"), "item 3 where 2 was due"),
        (TEXT.replace("\t30\t1\n", "\t30\n"), "11 columns"),
        (TEXT.replace("\t30\t", "\tinf\t"), "out of range"),
        (TEXT.replace("\t30\t", "\thigh\t"), "not a number"),
        ("\n".join(TEXT.splitlines()[:3]), "needs two points"),
    ],
)
def test_a_damaged_plain_file_is_refused_with_its_reason(town, tmp_path: Path, text: str, says: str) -> None:
    assert plan_of_file(town, written(tmp_path, TEXT, "good.waypoints"), {})[0].agent_type == "drone"
    path = written(tmp_path, text, "bad.waypoints")
    with pytest.raises(PlanError, match=says) as caught:
        plan_of_file(town, path, {})
    assert str(path) in str(caught.value)


def test_files_that_are_none_are_refused_unread(town, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="no such file"):
        read_mission(tmp_path / "none.plan")
    (tmp_path / "folder.plan").mkdir()
    with pytest.raises(PlanError, match=r"folder\.plan: cannot be read"):
        read_mission(tmp_path / "folder.plan")
    os.mkfifo(tmp_path / "pipe.plan")
    with pytest.raises(PlanError, match="not a regular file"):
        read_mission(tmp_path / "pipe.plan")
    with open(tmp_path / "huge.plan", "wb") as handle:
        handle.truncate(MAX_BYTES + 1)
    with pytest.raises(PlanError, match="larger than 4 MiB"):
        read_mission(tmp_path / "huge.plan")
    with pytest.raises(PlanError, match="ends with"):
        read_mission(tmp_path / "mission.kml")
    plan = corridor(town, line=[(20, 20), (80, 40)], altitude=30)
    with pytest.raises(PlanError, match="plans are written as"):
        export(plan, tmp_path / "c.kml", town)
    with pytest.raises(PlanError, match="does not say where it lies"):
        export(plan, tmp_path / "c.plan", object())  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["plane", "drone_0", "../drone_1", "", "drone 1", "rover_1"])
def test_an_unknown_vehicle_is_refused(name: str) -> None:
    with pytest.raises(PlanError, match=r"unknown vehicle|this pattern is for a drone"):
        vehicle_named(name, "drone")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)


def paths_in(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(p for k, v in inner for p in paths_in(v, (*here, k)))]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(where=st.sampled_from(paths_in(GOOD)[1:]), value=json_values)
def test_any_value_anywhere_in_a_plan_file_is_read_or_refused(town, tmp_path_factory, where, value) -> None:
    path = written(tmp_path_factory.getbasetemp(), changed(*where, to=value), "fuzz.plan")
    try:
        stops, _, _ = read_stops(path, town)
    except PlanError as error:
        assert str(path) in str(error)
    else:
        assert all(math.isfinite(s.x) and math.isfinite(s.y) and math.isfinite(s.altitude) for s in stops)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(data=st.data(), suffix=st.sampled_from([".plan", ".waypoints", ".geojson"]))
def test_any_broken_bytes_are_read_or_refused(town, tmp_path_factory, data, suffix: str) -> None:
    line = {"type": "LineString", "coordinates": [list(place(50, 50))[::-1], list(place(60, 200))[::-1]]}
    content = {".plan": json.dumps(GOOD), ".waypoints": TEXT, ".geojson": json.dumps(line)}[suffix].encode()
    raw = bytearray(content)
    for _ in range(data.draw(st.integers(1, 6))):
        k = data.draw(st.integers(0, len(raw) - 1))
        action = data.draw(st.sampled_from(["flip", "cut", "drop", "double"]))
        if action == "flip":
            raw[k] = data.draw(st.integers(0, 255))
        elif action == "cut":
            del raw[k + 1 :]
        elif action == "drop":
            del raw[k : k + data.draw(st.integers(1, 20))]
        else:
            raw[k:k] = raw[k : k + data.draw(st.integers(1, 40))]
        if not raw:
            break
    path = tmp_path_factory.getbasetemp() / f"broken{suffix}"
    path.write_bytes(bytes(raw))
    try:
        read_stops(path, town)
    except PlanError as error:
        assert str(path) in str(error)
