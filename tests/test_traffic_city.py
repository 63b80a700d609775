"""Traffic across the rooms: in a converted city, in sessions, in campaigns, and in Gazebo's files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rosbags.highlevel import AnyReader
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
from aerialworld_core.session import Session, validate
from aerialworld_core.session.stats import session_stats
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


ASKED = "cars=40,pedestrians=60,parked=0.2,seed=5"


@pytest.fixture(scope="module")
def busy(city, world, tmp_path_factory) -> tuple[Traffic, Plan, Session]:
    """A session over a crossing, with every true image and the boxes kept; the traffic and the plan beside."""
    root = tmp_path_factory.mktemp("busy")
    made = Traffic(world, TrafficOptions.parse(ASKED))
    # Over the vehicle that has most company around it.
    p = made.snapshot(SECOND).position
    cars = [i for i, m in enumerate(made.members) if m.name.startswith("car") and m.kind.label == 4]
    near = [int((np.linalg.norm(p[:, :2] - p[i, :2], axis=1) < 25).sum()) for i in cars]
    x, y, z = p[cars[int(np.argmax(near))]]
    hover([x, y, z + 22.0]).write(root / "hover.json")
    result = CliRunner().invoke(
        app,
        ["simulate", str(city), str(root / "hover.json"), "--out", str(root / "with"), "--rig", "rig_small",
         "--keep", "semantic,instance,depth,boxes", "--traffic", ASKED],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    return made, Plan.read(root / "hover.json"), Session.open(next((root / "with").iterdir()))


def test_boxes_are_the_extents_of_what_the_cameras_see(busy, city, tmp_path):
    """Against the kept instance, class and depth images, and where the actors are in map."""
    _, _, session = busy
    assert session.meta.kept == ("depth", "semantic", "instance", "boxes")
    report = validate(session.path)
    assert report.errors == [] and report.figures["boxes"] > 10
    shares = []
    for i in session.frame_indices:
        actors = {a["id"]: a for a in session.actors(i)}
        boxes = session.boxes(i)
        for camera in session.meta.rig.cameras:
            name = camera.name.upper()
            image, classes, depth = session.instance(i, name), session.semantic(i, name), session.depth(i, name)
            listed = {b.instance: b for b in boxes[name]}
            movers = set(np.unique(image).tolist()) & {b.instance for of in boxes.values() for b in of}
            assert movers == set(listed)  # all that is seen, and nothing else
            for number, box in listed.items():
                rows, columns = np.nonzero(image == number)
                assert box.rectangle == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
                assert box.pixels == len(rows) and set(classes[rows, columns]) == {box.label}
                # What its pixels hit lies in its box in space.
                k, z = camera.intrinsics, depth[rows, columns].astype(float)
                x, y = (columns + 0.5 - k[0, 2]) / k[0, 0], (rows + 0.5 - k[1, 2]) / k[1, 1]
                hit = box.pose.inverse().transform(np.column_stack([x * z, y * z, z]))
                assert (np.abs(hit) <= box.size / 2 + 0.02).all()
                placed = session.pose(i).pose @ camera.optical_pose @ box.pose
                assert np.allclose(placed.position, actors[box.id]["position"], atol=1e-6)
                shares.append(box.visible)
    assert min(shares) < 1.0 and max(shares) == 1.0
    # Whatever was recorded of a mover is of its number in every camera: numbers name actors.
    names = {(b.id, b.instance) for i in session.frame_indices for of in session.boxes(i).values() for b in of}
    assert len(names) == len({n for n, _ in names}) == len({k for _, k in names})


def test_boxes_go_where_their_session_goes(busy, city, tmp_path):
    _, _, session = busy
    run = CliRunner().invoke
    content = {i: (session.path / f"boxes/{i:06d}.json").read_bytes() for i in session.frame_indices}
    assert all(f"boxes/{i:06d}.json" in session.manifest(i) for i in content)
    assert (
        run(app, ["session", "split", str(session.path), "--every", "2", "--out", str(tmp_path / "p")]).exit_code == 0
    )
    parts = sorted((tmp_path / "p").iterdir())
    merged = run(app, ["session", "merge", *map(str, parts), "--out", str(tmp_path / "m")])
    assert merged.exit_code == 0, merged.output
    (whole,) = (tmp_path / "m").iterdir()
    assert {i: (whole / f"boxes/{i:06d}.json").read_bytes() for i in content} == content
    count = [sum(map(len, session.boxes(i).values())) for i in session.frame_indices]
    stats = session_stats(session.path)
    assert stats["boxes"]["max"] == max(count) and stats["boxes"]["count"] == len(count)
    # A box that is moved by a pixel, one that is no actor's, and a file that is gone are found.
    damaged = whole / "boxes/000001.json"
    data = json.loads(damaged.read_text())
    camera = next(name for name in data if data[name])
    data[camera][0]["box"][2] -= 1
    data[camera][0]["id"] = "nobody"
    damaged.write_text(json.dumps(data))
    (whole / "boxes/000002.json").unlink()
    found = validate(whole)
    assert any("000001.json: damaged" in e for e in found.errors) and found.figures["frames_damaged"] == 2
    assert run(app, ["session", "repair", str(whole)]).exit_code == 0
    assert (whole.with_name(whole.name + ".damaged") / "boxes/000001.json").is_file()
    assert validate(whole).errors == [] and 1 not in Session.open(whole).frame_indices


def test_boxes_in_exports(busy, tmp_path):
    _, _, session = busy
    run = CliRunner().invoke
    for kind, out in (("mcap", "o.mcap"), ("nuscenes", "n"), ("kitti", "k")):
        result = run(app, ["session", "export", kind, str(session.path), "--out", str(tmp_path / out)])
        assert result.exit_code == 0, result.output
    boxes = {i: session.boxes(i) for i in session.frame_indices}
    drawn: dict[int, list] = {}
    name = session.meta.rig.cameras[0].name
    with AnyReader([tmp_path / "o.mcap"]) as reader:  # decodes by the schemas in the file
        of_boxes = [c for c in reader.connections if c.topic == f"/drone_1/camera/{name}/boxes"]
        assert [c.msgtype for c in of_boxes] == ["foxglove_msgs/msg/ImageAnnotations"]
        for connection, stamp, raw in reader.messages(of_boxes):
            message = reader.deserialize(raw, connection.msgtype)
            told = [{pair.key: pair.value for pair in points.metadata} for points in message.points]
            corners = [[(p.x, p.y) for p in points.points] for points in message.points]
            drawn[stamp] = list(zip(told, corners, strict=True))
    assert len(drawn) == len(boxes)
    for i, stamp in zip(boxes, sorted(drawn), strict=True):
        expected = boxes[i][name.upper()]
        assert [(t["id"], int(t["pixels"]), int(t["hidden"])) for t, _ in drawn[stamp]] == [
            (b.id, b.pixels, b.hidden) for b in expected
        ]
        for (_, corners), b in zip(drawn[stamp], expected, strict=True):
            assert (corners[0], corners[2]) == (b.rectangle[:2], b.rectangle[2:])
    # nuScenes' visibility is that of all cameras together.
    annotations = json.loads((tmp_path / "n/v1.0-trainval/sample_annotation.json").read_text())
    levels = {a["visibility_token"] for a in annotations}
    assert {"1", "4"} <= levels and len(annotations) == sum(len(session.actors(i)) for i in boxes)
    assert sum(a["visibility_token"] == "4" for a in annotations) <= sum(  # noqa: S105
        len({b.id for of in boxes[i].values() for b in of}) for i in boxes
    )
    # KITTI's label: the bottom's middle projects where the box in the picture ends, its type is the class's.
    front = next(c for c in session.meta.rig.cameras if c.name == name)
    for n, i in enumerate(boxes):
        lines = (tmp_path / f"k/sequences/00/label_2/{n:06d}.txt").read_text().splitlines()
        assert len(lines) == len(boxes[i][name.upper()])
        for line, b in zip(lines, boxes[i][name.upper()], strict=True):
            words = line.split()
            numbers = [float(w) for w in words[1:]]
            assert words[0] == {2: "Cyclist", 4: "Car", 7: "Pedestrian", 10: "Truck"}.get(b.label, "Misc")
            assert numbers[3:7] == [b.rectangle[0], b.rectangle[1], b.rectangle[2] - 1, b.rectangle[3] - 1]
            assert np.allclose(numbers[7:10], b.size[::-1], atol=0.01)
            middle = np.array(numbers[10:13]) - (0, numbers[7] / 2, 0)
            assert np.allclose(middle, b.pose.position, atol=0.02)
            ahead = b.pose.rotation[:, 0]
            assert (
                np.hypot(
                    *(np.array([np.cos(numbers[13]), -np.sin(numbers[13])]) - ahead[[0, 2]] / np.hypot(*ahead[[0, 2]]))
                )
                < 0.01
            )
    assert front.focal > 0


def test_boxes_in_the_view(busy, tmp_path):
    pytest.importorskip("rerun", reason="rerun-sdk is not installed (aerialworld[view])")
    _, _, session = busy
    file = tmp_path / "busy.rrd"
    result = CliRunner().invoke(app, ["session", "view", str(session.path), "--save", str(file), "--frames", "0:2"])
    assert result.exit_code == 0, result.output
    done = subprocess.run(
        [sys.executable, "-m", "rerun", "rrd", "print", "-vv", str(file)], capture_output=True, text=True, check=True,
        env={**os.environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    name = session.meta.rig.cameras[0].name.upper()
    assert f"/{session.path.name}/drone_1/{name}/boxes" in done.stdout and "Boxes2D" in done.stdout


def test_sessions_hold_the_traffic_in_every_sensor(city, world, busy, tmp_path):
    """One session over a crossing: actors' records, images, LiDAR, classes in depth faces and occupancy agree."""
    made, plan, moving = busy
    asked = ASKED
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
        ["rerender", str(moving.path), "--world", str(city), "--out", str(tmp_path / "rerendered"), "--frames", "2:3",
         "--keep", "instance,boxes"],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    rerendered = Session.open(next((tmp_path / "rerendered").iterdir()))
    assert rerendered.actors(2) == records and rerendered.meta.conditions == moving.meta.conditions
    # Rerendered they are boxes of their size: where they were, they are seen, and what was seen lies in their outline.
    assert [e for e in validate(rerendered.path).errors if "box" in e] == []
    old = {(c, b.id): b for c, of in moving.boxes(2).items() for b in of}
    new = {(c, b.id): b for c, of in rerendered.boxes(2).items() for b in of}
    assert len(new) > 3 and len(set(old) - set(new)) <= 1
    assert all(new[k].pixels + new[k].hidden >= old[k].pixels for k in set(old) & set(new))


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
