"""Traffic across the rooms: in a converted city, in sessions, in campaigns, and in Gazebo's files."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "src/aerialworld_sim/test"))
from traffic_checks import heights_above_ground, least_gap, off_ground, tops

from aerialworld.cli import app
from aerialworld.recording import RecordingOptions, record_plan, start_time
from aerialworld_city.convert import ConversionOptions, convert
from aerialworld_city.synthetic.generate import generate_city
from aerialworld_core import safexml
from aerialworld_core.frames import Pose, grid_from_map, quaternion_from_rotation, rotation_from_rpy
from aerialworld_core.grid import DEFAULT_GRID
from aerialworld_core.plan import Plan
from aerialworld_core.session import Session
from aerialworld_core.world import load_rig, load_world
from aerialworld_sim.traffic import Traffic, TrafficOptions
from aerialworld_sim.traffic.sdf import export, join_world

SECOND = 1_000_000_000
SHARED = Path(os.environ.get("AERIALWORLD_SHARED", "../shared"))


@pytest.fixture(scope="module")
def city(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("traffic")
    convert([generate_city(root / "city", 1)], root / "world", ConversionOptions())
    return root / "world"


@pytest.fixture(scope="module")
def world(city):
    return load_world(city)


@pytest.fixture(scope="module")
def traffic(world):
    return Traffic(world, TrafficOptions(cars=30, pedestrians=40, seed=1))


def test_a_minute_in_the_generated_city(world, traffic):
    walks = np.array([m.name.startswith("pedestrian") for m in traffic.members])
    drives = np.array([m.name.startswith("car") for m in traffic.members])
    for k in range(240):
        assert least_gap(traffic, k * SECOND // 4 + 11_000_000) > 0
    for k in range(0, 60, 5):
        assert off_ground(world, traffic, k * SECOND) == []
        assert np.abs(heights_above_ground(world, traffic, k * SECOND)).max() < 0.2
        label = tops(world, traffic.snapshot(k * SECOND).position[:, :2])
        assert (label[drives] == 11).all() and np.isin(label[walks], (11, 13)).all()
        assert (label[walks] == 13).mean() > 0.6  # there are sidewalks, and they are used


def test_sdf_actors_follow_the_same_ways(traffic, tmp_path, city):
    path = export(traffic, tmp_path, 12.0)
    root = safexml.parse(path)
    actors = {a.get("name"): a for a in root.iter("actor")}
    models = {m.get("name"): m for m in root.iter("model")}
    assert set(actors) | set(models) == {m.name for m in traffic.members}
    assert set(models) == {m.name for m in traffic.members if m.parked is not None}
    for index, member in enumerate(traffic.members):
        element = actors.get(member.name, models.get(member.name))
        parked = member.parked is not None
        # gz-sim loads plugins of a model's visuals and of an actor, not those of what lies in an actor's links.
        labelled = element.find("link/visual" if parked else ".")
        assert int(labelled.findtext("plugin/label")) == member.kind.label
        mesh = tmp_path / element.findtext("link/visual/geometry/mesh/uri" if parked else "skin/filename")
        corners = np.array([line.split()[1:] for line in mesh.read_text().splitlines() if line.startswith("v ")], float)
        assert np.allclose(np.ptp(corners, axis=0), member.kind.size, atol=1e-4)
        if parked:
            assert np.allclose(_numbers(element.find("pose"))[:3], traffic.snapshot(0).position[index], atol=1e-4)
            continue
        times = [float(t.text) for t in element.iter("time")]
        poses = np.array([_numbers(p) for p in element.find("script/trajectory").iter("pose")])
        # gz-sim cuts times off to whole milliseconds.
        assert [int(t * 1000) for t in times] == [200 * k for k in range(61)]
        for k in (0, 13, 60):
            shot = traffic.snapshot(k * SECOND // 5)
            q = quaternion_from_rotation(rotation_from_rpy(*poses[k, 3:]))
            assert np.allclose(poses[k, :3], shot.position[index], atol=2e-5)
            assert abs(float(q @ shot.orientation[index])) > 1 - 1e-8
        for stamp in (2.3, 5.05, 9.99):
            shot = traffic.snapshot(round(stamp * SECOND))
            assert np.linalg.norm(_catmull_rom(poses[:, :3], stamp / 0.2) - shot.position[index]) < 0.03
    joined = join_world(city / "world.sdf", path, tmp_path / "joined.sdf")
    root = safexml.parse(joined)
    assert len(root.findall("world/actor")) == len(actors) and root.find("world/include") is not None


def _numbers(element) -> np.ndarray:
    return np.array(element.text.split(), float)


def _catmull_rom(points, at):
    """As gz-math's Spline with tension 0: tangents (p[i + 1] − p[i − 1]) / 2, cubic Hermite between."""
    i = int(at)
    t = at - i
    tangent = [0.5 * (points[k + 1] - points[k - 1]) for k in (i, i + 1)]
    h = (2 * t**3 - 3 * t**2 + 1, t**3 - 2 * t**2 + t, -2 * t**3 + 3 * t**2, t**3 - t**2)
    return h[0] * points[i] + h[1] * tangent[0] + h[2] * points[i + 1] + h[3] * tangent[1]


def hover(position, duration=1.5) -> Plan:
    t = np.arange(0, duration + 0.05, 0.1)
    points = np.tile(np.asarray(position, float), (len(t), 1))
    points[:, 0] += 0.2 * t
    return Plan("hover", "drone_1", "drone", "hover", "A", 0, t, points, np.tile([0.0, 0, 0, 1], (len(t), 1)))


def test_sessions_hold_the_traffic_in_every_sensor(city, world, tmp_path):
    """One session over a crossing: actors' records, images, LiDAR, classes in depth faces and occupancy agree."""
    asked = "cars=40,pedestrians=60,parked=0.2,seed=5"
    made = Traffic(world, TrafficOptions.parse(asked))
    # Over the vehicle that has most company around it.
    p = made.snapshot(SECOND).position
    cars = [i for i, m in enumerate(made.members) if m.name.startswith("car") and m.kind.label == 4]
    near = [int((np.linalg.norm(p[:, :2] - p[i, :2], axis=1) < 25).sum()) for i in cars]
    x, y, z = p[cars[int(np.argmax(near))]]
    plan = hover([x, y, z + 22.0])
    plan.write(tmp_path / "hover.json")
    plan = Plan.read(tmp_path / "hover.json")
    result = CliRunner().invoke(
        app,
        ["simulate", str(city), str(tmp_path / "hover.json"), "--out", str(tmp_path / "with"), "--rig", "rig_small",
         "--keep", "semantic,instance,depth", "--traffic", asked],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    moving = Session.open(next((tmp_path / "with").iterdir()))
    rig = load_rig("rig_small")
    empty, again = (
        Session.open(
            record_plan(
                world, plan, rig, tmp_path / name, RecordingOptions(DEFAULT_GRID, traffic=wanted),
                started=start_time(0), provenance={},
            )
        )
        for name, wanted in (("without", None), ("again", TrafficOptions.parse(asked)))
    )  # fmt: skip
    assert moving.meta.conditions["traffic"] == TrafficOptions.parse(asked).to_dict()
    assert "traffic" not in empty.meta.conditions and empty.actors(1) == []
    records = moving.actors(2)
    shot = made.snapshot(SECOND)
    names = [m.name for m in made.members]
    assert len(records) > 10
    for record in records:
        i = names.index(record["id"])
        assert np.allclose(record["velocity"], shot.linear_velocity[i])
        assert np.allclose(record["position"][:2], shot.position[i, :2], atol=1.5 * abs(record["size"][2]))
    changed = {kind for kind in ("image", "lidar") if _differs(moving, empty, kind)}
    assert changed == {"image", "lidar"}
    labels = np.concatenate(
        [moving.semantic(2, f.name)[np.isfinite(moving.depth(2, f.name))] for f in moving.meta.rig.depth]
    )
    assert {4, 7} <= set(np.unique(labels).tolist())
    voxels = moving.occupancy(2)
    dynamic = np.argwhere(np.isin(voxels.semantics, (2, 3, 4, 6, 7, 10)) & (voxels.occupancy > 0))
    assert len(dynamic) > 20 and not np.isin(empty.occupancy(2).semantics, (2, 3, 4, 6, 7, 10)).any()
    # Every such voxel touches the box of an actor of its class.
    grid = moving.meta.grid
    to_map = Pose.from_matrix(np.linalg.inv(grid_from_map(moving.pose(2).pose, moving.meta.datum)))
    size = np.array(grid.voxel_size)
    centres = to_map.transform(np.array(grid.range[:3]) + (dynamic + 0.5) * size)
    for centre, index in zip(centres, dynamic, strict=True):
        label = int(voxels.semantics[tuple(index)])
        reach = [
            np.max(
                np.abs(Pose(np.array(r["position"]), np.array(r["orientation"])).inverse().transform(centre))
                - np.array(r["size"]) / 2
            )
            for r in records
            if r["class"] == label
        ]
        assert min(reach) < 0.5 * np.linalg.norm(size)
    for i in moving.frame_indices:
        assert moving.image_bytes(i, moving.meta.rig.cameras[0].name.upper()) == again.image_bytes(
            i, again.meta.rig.cameras[0].name.upper()
        )
    result = CliRunner().invoke(
        app,
        ["rerender", str(moving.path), "--world", str(city), "--out", str(tmp_path / "rerendered"), "--frames", "2:3"],
    )
    assert result.exit_code == 0, result.output
    rerendered = Session.open(next((tmp_path / "rerendered").iterdir()))
    assert rerendered.actors(2) == records and rerendered.meta.conditions == moving.meta.conditions


def _differs(a, b, kind) -> bool:
    if kind == "lidar":
        return not np.array_equal(a.lidar(2), b.lidar(2))
    return any(a.image_bytes(2, c.name.upper()) != b.image_bytes(2, c.name.upper()) for c in a.meta.rig.cameras)


def test_campaigns_give_every_session_its_own_traffic(tmp_path):
    from aerialworld.campaign.spec import parse_campaign
    from aerialworld.campaign.yaml_text import CampaignError

    campaign = parse_campaign({"worlds": ["w"], "traffic": {"cars": "20/km", "pedestrians": 5}}, "c.yaml")
    assert campaign.traffic.options(3) == TrafficOptions.parse("cars=20/km,pedestrians=5,seed=3")
    with pytest.raises(CampaignError, match=r"traffic.*cars=20/mile"):
        parse_campaign({"worlds": ["w"], "traffic": {"cars": "20/mile"}}, "c.yaml")
    with pytest.raises(CampaignError, match=r"unknown key lorries"):
        parse_campaign({"worlds": ["w"], "traffic": {"lorries": 2}}, "c.yaml")


@pytest.mark.long
def test_a_campaign_records_traffic(city, tmp_path):
    (tmp_path / "c.yaml").write_text(
        f"worlds: [{{path: {city}, name: small, split: train}}]\nsessions: 1\nframes: 4\nrig: rig_small\n"
        "missions: [{pattern: road, near_buildings: 0, size: 60}]\nmodalities: [depth]\n"
        "split: {by: world, train: 1.0, val: 0.0, test: 0.0}\nvalidate: false\n"
        "traffic: {cars: 12, pedestrians: 12}\n"
    )
    result = CliRunner().invoke(
        app, ["generate", str(tmp_path / "c.yaml"), "--out", str(tmp_path / "data"), "--workers", "1"]
    )
    assert result.exit_code == 0, result.output
    (session,) = [Session.open(p) for p in (tmp_path / "data/sessions").iterdir()]
    entry = session.meta.conditions["traffic"]
    assert (entry["cars"], entry["pedestrians"]) == (12, 12) and entry["seed"] == session.meta.seed
    manifest = json.loads((tmp_path / "data/manifest.json").read_text())
    assert manifest["jobs"][0]["recording"]["traffic"] == entry


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_thousand_seconds_in_osaka(tmp_path):
    """Set 07, real LOD1 roads without sidewalks: 100 cars and 100 pedestrians."""
    source = next((SHARED / "data/plateau").glob("07_*"), None)
    if source is None:
        pytest.skip(f"no real PLATEAU data in {SHARED}")
    convert([source], tmp_path / "world", ConversionOptions())
    world = load_world(tmp_path / "world")
    made = Traffic(world, TrafficOptions(cars=100, pedestrians=100, seed=1))
    parked = np.array([m.parked is not None for m in made.members])
    assert len(made.members) == 200 and parked.sum() == 30
    last, travelled = made.snapshot(0), np.zeros(200)
    for k in range(1, 10_001):
        shot = made.snapshot(k * SECOND // 10)
        step = np.linalg.norm(shot.position - last.position, axis=1)
        speed = np.maximum(np.linalg.norm(shot.linear_velocity, axis=1), np.linalg.norm(last.linear_velocity, axis=1))
        assert (step <= 0.1 * speed + 0.06).all()
        travelled += step
        last = shot
        if k % 2 == 0:
            assert least_gap(made, shot.stamp_ns) > 0
        if k % 20 == 0:
            assert off_ground(world, made, shot.stamp_ns) == []
            assert np.abs(heights_above_ground(world, made, shot.stamp_ns)).max() < 0.2
            xy = shot.position[~parked, :2]
            aside = xy[tops(world, xy) != 11]  # over a sliver between two road objects: road on both sides of it
            assert len(aside) <= 5
            angle = np.pi / 4 * np.arange(8)
            round_about = aside[:, None] + np.stack([np.cos(angle), np.sin(angle)], axis=1)
            assert ((tops(world, round_about.reshape(-1, 2)).reshape(-1, 8) == 11).sum(axis=1) >= 2).all()
    assert (travelled[~parked] > 100).mean() > 0.95  # it flows to the end
    again = Traffic(world, TrafficOptions(cars=100, pedestrians=100, seed=1)).snapshot(300 * SECOND)
    assert np.array_equal(again.position, made.snapshot(300 * SECOND).position)
    other = Traffic(world, TrafficOptions(cars=100, pedestrians=100, seed=2)).snapshot(300 * SECOND)
    assert not np.allclose(other.position, again.position)
