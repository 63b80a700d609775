"""Bags to sessions: what went out comes back, in every form of bag; what is damaged or hostile is refused in words."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from aerialworld.cli import app
from aerialworld_core.errors import AerialWorldError
from aerialworld_core.session import Session, SessionWriter, validate
from aerialworld_core.session.copying import stored_frame

rosbag2 = pytest.importorskip("rosbags.rosbag2", reason="rosbags is not installed (aerialworld_recorder[bags])")
pytest.importorskip("mcap.reader", reason="mcap is not installed (aerialworld_recorder[bags])")

#: What the vehicle of the renamed bag calls its topics.
OURS = "/drone_1"
THEIRS = {
    "odom": "/state/odometry",
    "imu": "/imu/data",
    "lidar": "/top/points",
    "navsat": "/gps/fix",
}


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(w) for w in words])


def text_of(result: Result) -> str:
    return " ".join((result.stdout + result.stderr).split())


def imported(bag: Path, out: Path, *words: str | Path) -> Session:
    result = run("session", "import", bag, "--out", out, *words)
    assert result.exit_code == 0, text_of(result)
    return Session.open(Path(result.stdout.strip().splitlines()[-1]))


@pytest.fixture(scope="module")
def original(turn_session: Path) -> Session:
    return Session.open(turn_session)


@pytest.fixture(scope="module")
def bag(original: Session, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bags") / "turn.mcap"
    assert run("session", "export", "mcap", original.path, "--out", out).exit_code == 0
    return out


def same_frames(found: Session, original: Session) -> None:
    assert found.frame_indices == original.frame_indices
    for index in original.frame_indices:
        a, b = found.pose(index), original.pose(index)
        assert a.stamp_ns == b.stamp_ns
        assert a.pose_13d() == pytest.approx(b.pose_13d(), abs=1e-9)
        for camera in original.cameras:
            assert found.image_bytes(index, camera) == original.image_bytes(index, camera)
        assert np.array_equal(found.lidar(index), original.lidar(index))
        assert found.imu(index) == pytest.approx(original.imu(index), abs=1e-9)
        assert found.actors(index) == original.actors(index)


def copied(bag: Path, out: Path, store: str, rename: Callable[[str], str | None], compression: str = "") -> Path:
    """The bag's messages in a rosbag2 folder of another storage, by rosbags' writer."""
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin

    from aerialworld_recorder.bags.library import typestore

    writer = rosbag2.Writer(out, version=9, storage_plugin=getattr(StoragePlugin, store))
    if compression:
        writer.set_compression(getattr(CompressionMode, compression), CompressionFormat.ZSTD)
    with rosbag2.Reader(bag) as reader, writer:
        connections = {}
        for c in reader.connections:
            if (topic := rename(c.topic)) is not None:
                connections[c.id] = writer.add_connection(topic, c.msgtype, typestore=typestore())
        for c, stamp, data in reader.messages():
            if c.id in connections:
                writer.write(connections[c.id], stamp, data)
    return out


def theirs(topic: str) -> str | None:
    """As a vehicle that is not ours names its topics, without what only our bags have."""
    names = {
        "/drone_1/odom": "odom",
        "/drone_1/imu": "imu",
        "/drone_1/lidar/points": "lidar",
        "/drone_1/navsat": "navsat",
    }
    if topic in names:
        return THEIRS[names[topic]]
    return None if "/occupancy" in topic or topic.startswith("/tf") or "ground" in topic else topic


@pytest.fixture
def topics_map(tmp_path: Path) -> Path:
    path = tmp_path / "topics.yaml"
    path.write_text("".join(f"{key}: {topic}\n" for key, topic in THEIRS.items()))
    return path


def test_a_session_comes_back_from_its_bag(bag: Path, original: Session, tmp_path: Path) -> None:
    found = imported(bag, tmp_path)
    same_frames(found, original)
    for index in original.frame_indices:
        a, b = found.occupancy(index), original.occupancy(index)
        assert np.array_equal(a.semantics, b.semantics) and np.array_equal(a.observed, b.observed)
        assert found.pose(index).ground_z == pytest.approx(original.pose(index).ground_z, abs=1e-9)
    assert (found.meta.grid, found.meta.datum) == (original.meta.grid, original.meta.datum)
    assert found.meta.engine["name"] == "bag" and found.meta.world == original.meta.world
    assert found.meta.kept == original.meta.kept == ("depth", "semantic", "instance") and not found.meta.faces_only
    images = [f"{kind}/" for kind in original.meta.kept]
    for file in (
        p for p in original.path.rglob("*.png") if str(p.relative_to(original.path)).startswith(tuple(images))
    ):
        kept = (found.path / file.relative_to(original.path)).read_bytes()
        assert kept == file.read_bytes(), file
    before, after = (validate(s.path) for s in (original, found))
    assert after.ok == before.ok and after.figures["lidar_agreement"] == before.figures["lidar_agreement"]


def actors_at(index: int) -> list[dict]:
    """A bus that goes, and somebody who stands; then nobody."""
    if index > 1:
        return []
    turn = [0.0, 0.0, float(np.sin(0.3)), float(np.cos(0.3))]
    bus = {"id": "bus_2", "class": 3, "position": [3.1 + index, 7.0, 1.5], "orientation": turn}
    walker = {"id": 9, "class": 7, "position": [-1.0, 0.3, 0.85], "orientation": [0.0, 0.0, 0.0, 1.0]}
    return [
        {**bus, "size": [10.4, 2.46, 3.05], "velocity": [0.1 + 0.2, -6.7, 1e-7]},
        {**walker, "size": [0.42, 0.52, 1.7], "velocity": [0.0, 0.0, 0.0]},
    ]


@pytest.fixture(scope="module")
def peopled_bag(original: Session, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three frames of the session with actors, as a bag."""
    folder = tmp_path_factory.mktemp("peopled")
    writer = SessionWriter(folder, replace(original.meta, frames=None), {}, {})
    for index in range(3):
        stored = stored_frame(original, index)
        stored.frame.actors = actors_at(index)
        stored.write(writer, index)
    writer.close()
    assert run("session", "export", "mcap", writer.path, "--out", folder / "peopled.mcap").exit_code == 0
    return folder / "peopled.mcap"


def test_actors_come_back_to_the_bit(peopled_bag: Path, tmp_path: Path) -> None:
    found = imported(peopled_bag, tmp_path)
    assert [found.actors(i) for i in range(3)] == [actors_at(i) for i in range(3)]


def test_actors_of_another_topic_are_mapped_and_missing_ones_told(peopled_bag: Path, tmp_path: Path) -> None:
    def renamed(topic: str) -> str | None:
        return "/tracks" if topic.endswith("/actors") else None if "/occupancy" in topic else topic

    tracks, how = copied(peopled_bag, tmp_path / "tracks", "MCAP", renamed), ("--rig", "rig_small", "--datum", "0")
    (tmp_path / "map.yaml").write_text("actors: /tracks\n")
    assert imported(tracks, tmp_path / "plain", *how).actors(1) == []
    assert imported(tracks, tmp_path / "mapped", *how, "--map", tmp_path / "map.yaml").actors(1) == actors_at(1)
    (tmp_path / "map.yaml").write_text("actors: /nowhere\n")
    refused = run("session", "import", tracks, "--out", tmp_path, *how, "--map", tmp_path / "map.yaml")
    assert refused.exit_code == 2 and "/nowhere (actors)" in text_of(refused)


@pytest.mark.parametrize(
    ("store", "compression"),
    [("SQLITE3", ""), ("MCAP", ""), ("SQLITE3", "MESSAGE"), ("SQLITE3", "FILE"), ("MCAP", "STORAGE")],
)
def test_a_foreign_vehicles_bag_by_rig_and_map(
    bag: Path, original: Session, topics_map: Path, tmp_path: Path, store: str, compression: str
) -> None:
    """Own topic names, no description in it: rig and map say what is what, depth makes the voxels anew."""
    folder = copied(bag, tmp_path / "bag", store, theirs, compression)
    datum = original.meta.datum
    found = imported(
        folder, tmp_path / "out", "--rig", "rig_small", "--map", topics_map, "--datum", str(datum),
        "--grid-range", "-24,-24,-2,24,24,78", "--voxel-size", "1.2,1.2,2.5",
    )  # fmt: skip
    same_frames(found, original)
    assert (found.meta.engine["datum"], found.meta.engine["occupancy"]) == ("given", "depth")
    for index in original.frame_indices[::2]:
        a, b = found.occupancy(index).occupancy, original.occupancy(index).occupancy
        assert (a & b).sum() / (a | b).sum() > 0.97  # depth was stored to a centimetre
    origin, place = original.meta.georeference, found.meta.georeference
    assert (place.latitude, place.longitude) == pytest.approx((origin.latitude, origin.longitude), abs=1e-6)


def test_lidar_alone_makes_voxels_where_its_returns_are(bag: Path, original: Session, tmp_path: Path) -> None:
    wide = ("--grid-range", "-60,-60,-2,60,60,98", "--voxel-size", "1.2,1.2,2.5")
    found = imported(bag, tmp_path, "--occupancy", "lidar", *wide)
    lidar, meta = original.meta.rig.lidar, found.meta
    from aerialworld_core.frames import grid_from_map

    for index in original.frame_indices:
        pose, points = original.pose(index).pose, original.lidar(index)
        m = grid_from_map(pose, meta.datum)
        ijk, inside = meta.grid.indices(pose.transform(lidar.pose.transform(points[:, :3])) @ m[:3, :3].T + m[:3, 3])
        occupancy = found.occupancy(index)
        hit = occupancy.occupancy[tuple(ijk[inside].T)]
        assert hit.mean() > 0.99  # but for those a millimetre before a border
        assert occupancy.occupancy.sum() <= len(np.unique(ijk[inside], axis=0)) * 1.02
        assert inside.sum() > 50
        assert (occupancy.observed & (occupancy.occupancy == 0)).sum() > 10 * occupancy.occupancy.sum()


def test_kept_images_come_back_whole_or_not_at_all(bag: Path, original: Session, tmp_path: Path) -> None:
    """Without a topic of its own a kind is not kept, and that is told; a frame that lacks one image is dropped."""
    from mcap.reader import make_reader
    from mcap.writer import Writer

    lost, second = "/drone_1/camera/cam_back/instance", original.frame_indices[1]
    out = tmp_path / "less.mcap"
    with bag.open("rb") as source, out.open("wb") as target:
        reader, writer = make_reader(source), Writer(target)
        writer.start(profile="ros2")
        for record in reader.iter_metadata():
            writer.add_metadata(record.name, record.metadata)
        schemas, channels = {}, {}
        for schema, channel, message in reader.iter_messages():
            once = channel.topic == "/drone_1/semantic/up/image"
            if channel.topic == lost or (once and message.log_time == original.pose(second).stamp_ns):
                continue
            if schema.id not in schemas:
                schemas[schema.id] = writer.register_schema(schema.name, schema.encoding, schema.data)
            if channel.id not in channels:
                channels[channel.id] = writer.register_channel(channel.topic, "cdr", schemas[schema.id])
            writer.add_message(channels[channel.id], message.log_time, message.data, message.publish_time)
        writer.finish()
    result = run("session", "import", out, "--out", tmp_path / "data")
    assert result.exit_code == 0, text_of(result)
    assert f"no instance images are kept: the bag has no {lost}" in text_of(result)
    assert "kept semantic up" in text_of(result)
    found = Session.open(Path(result.stdout.strip().splitlines()[-1]))
    assert found.meta.kept == ("depth", "semantic")
    assert found.frame_indices == [i for i in original.frame_indices if i != second]
    assert not (found.path / "instance").exists()


def test_without_a_world_the_datum_is_estimated_and_marked(
    bag: Path, original: Session, topics_map: Path, tmp_path: Path
) -> None:
    folder = copied(bag, tmp_path / "bag", "MCAP", theirs)
    found = imported(folder, tmp_path / "out", "--rig", "rig_small", "--map", topics_map, "--occupancy", "lidar")
    assert found.meta.engine["datum"] == "estimated"
    ground = [original.pose(i).ground_z for i in original.frame_indices]
    assert min(ground) - 12.0 < found.meta.datum < max(ground) + 0.5


def test_a_bag_that_was_never_closed_is_read(bag: Path, original: Session, tmp_path: Path) -> None:
    """A recorder that was killed leaves no metadata.yaml; its .mcap files are there."""
    (tmp_path / "bag").mkdir()
    shutil.copy(bag, tmp_path / "bag" / "bag_0.mcap")
    same_frames(imported(tmp_path / "bag", tmp_path / "out"), original)


def test_wall_clock_stamps_become_the_sessions_start(
    bag: Path, original: Session, topics_map: Path, tmp_path: Path
) -> None:
    """A real vehicle's stamps are of 2024: the session's count from its start, to the nanosecond."""
    from rosbags.rosbag2 import StoragePlugin

    from aerialworld_recorder.bags.library import typestore

    shift = 1_718_000_000
    with (
        rosbag2.Reader(bag) as reader,
        rosbag2.Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer,
    ):
        connections = {
            c.id: writer.add_connection(theirs(c.topic), c.msgtype, typestore=typestore())
            for c in reader.connections
            if theirs(c.topic) and "actors" not in c.topic
        }
        for c, stamp, data in reader.messages():
            if c.id in connections:
                seconds = struct.unpack_from("<i", data, 4)[0]
                moved = data[:4] + struct.pack("<i", seconds + shift) + data[8:]
                writer.write(connections[c.id], stamp + shift * 10**9, moved)
    found = imported(
        tmp_path / "bag", tmp_path / "out", "--rig", "rig_small", "--map", topics_map, "--datum", "0",
        "--grid-range", "-24,-24,-2,24,24,98", "--voxel-size", "1.2,1.2,2.5",
    )  # fmt: skip
    same_frames(found, original)
    assert found.meta.start_time == "2024-06-10T06:13:20Z"


def test_two_vehicles_of_one_bag_and_a_reset_of_time(bag: Path, original: Session, tmp_path: Path) -> None:
    """A bag with a second vehicle, whose simulation began anew midway: each vehicle's sessions by its name."""
    from dataclasses import replace

    import mcap.writer

    from aerialworld_core.files import write_stream
    from aerialworld_recorder.bags.export import METADATA, Sent, _File, frame_messages

    other = Session(original.path, replace(original.meta, vehicle="drone_2"), original.frame_indices, verify=True)
    out = tmp_path / "both.mcap"
    with write_stream(out) as stream:
        writer = mcap.writer.Writer(stream)
        writer.start(profile="ros2", library="test")
        file = _File(writer)
        for session in (original, other):
            file.write_session_document(session)
        for _ in range(2):  # the second time from the beginning again
            for index in original.frame_indices:
                for session in (original, other):
                    for sent in frame_messages(session, index, first=False):
                        assert isinstance(sent, Sent)
                        file.send(sent)
        writer.finish()
    assert METADATA == "aerialworld.session"
    result = run("session", "import", out, "--out", tmp_path / "x")
    assert result.exit_code == 2 and "drone_1, drone_2" in result.stderr
    result = run("session", "import", out, "--vehicle", "drone_2", "--out", tmp_path / "y")
    assert result.exit_code == 0, text_of(result)
    first, second = (Session.open(Path(line)) for line in result.stdout.split())
    assert first.meta.vehicle == second.meta.vehicle == "drone_2"
    same_frames(first, original)
    same_frames(second, original)
    assert first.provenance["import"]["frames"] == len(original)


# --- what is wrong ---------------------------------------------------------------------------------------------------


def test_a_truncated_bag_is_an_error_and_its_frames_are_there(bag: Path, original: Session, tmp_path: Path) -> None:
    from aerialworld_recorder.bags.export import export_mcap

    export_mcap([original], tmp_path / "small.mcap")
    raw = (tmp_path / "small.mcap").read_bytes()
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(raw[: int(len(raw) * 0.8)])
    result = run("session", "import", cut, "--out", tmp_path / "a", "--rig", "rig_small", "--datum", "0")
    assert result.exit_code == 2 and "cut.mcap" in result.stderr and "--partial" in result.stderr
    found = imported(
        cut, tmp_path / "b", "--partial", "--rig", "rig_small", "--datum", str(original.meta.datum),
        "--grid-range", "-24,-24,-2,24,24,78", "--voxel-size", "1.2,1.2,2.5",
    )  # fmt: skip
    assert 1 <= len(found) < len(original)
    for index in found.frame_indices:
        assert found.image_bytes(index, "CAM_FRONT") == original.image_bytes(index, "CAM_FRONT")


def test_missing_topics_are_named_with_what_there_is(bag: Path, tmp_path: Path) -> None:
    folder = copied(bag, tmp_path / "bag", "SQLITE3", theirs)
    result = run("session", "import", folder, "--out", tmp_path / "out", "--rig", "rig_small")
    assert result.exit_code == 2
    assert "odom: /topic" in text_of(result) and "Odometry it has /state/odometry" in text_of(result)
    result = run("session", "import", folder, "--out", tmp_path / "out")
    assert result.exit_code == 2 and "--rig" in result.stderr
    assert not (tmp_path / "out").exists()


def test_another_rigs_calibration_is_an_error(bag: Path, tmp_path: Path) -> None:
    folder = copied(bag, tmp_path / "bag", "MCAP", lambda topic: topic)
    result = run("session", "import", folder, "--out", tmp_path / "out", "--rig", "rig_drone", "--datum", "0")
    assert result.exit_code == 2 and "the rig says" in text_of(result) and "camera_info" in text_of(result)


@pytest.mark.parametrize("name", ["../secret.mcap", "/etc/passwd", "link.mcap"])
def test_a_bags_metadata_leads_nowhere_else(name: str, bag: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.mcap"
    shutil.copy(bag, secret)
    folder = tmp_path / "bag"
    folder.mkdir()
    (folder / "link.mcap").symlink_to(secret)
    (folder / "metadata.yaml").write_text(
        "rosbag2_bagfile_information:\n  version: 9\n  storage_identifier: mcap\n"
        f"  relative_file_paths:\n    - {name}\n"
    )
    result = run("session", "import", folder, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "missing" in text_of(result) or "leads out" in text_of(result)


def hostile(tmp_path: Path) -> dict[str, bytes]:
    """Small files that claim much."""
    import zstandard

    magic = b"\x89MCAP0\r\n"

    def record(code: int, body: bytes) -> bytes:
        return struct.pack("<BQ", code, len(body)) + body

    def text(value: str) -> bytes:
        return struct.pack("<I", len(value)) + value.encode()

    head = magic + record(1, text("ros2") + text("evil"))
    bomb = zstandard.ZstdCompressor(level=19).compress(bytes(700 * 1024 * 1024))

    def chunk(size: int, kind: str, data: bytes) -> bytes:
        return record(6, struct.pack("<QQQI", 0, 1, size, 0) + text(kind) + struct.pack("<Q", len(data)) + data)

    return {
        "empty": b"",
        "magic alone": magic,
        "a record of 2^60 bytes": head + struct.pack("<BQ", 6, 2**60),
        "a chunk that expands to 700 MB": head + chunk(700 * 1024 * 1024, "zstd", bomb),
        "a chunk that says less than it holds": head + chunk(10, "zstd", zstandard.compress(bytes(1000))),
        "an unknown compression": head + chunk(10, "brotli", b"0123456789"),
        "a chunk that is no zstd": head + chunk(10, "zstd", b"0123456789"),
        "a chunk that is no lz4": head + chunk(10, "lz4", b"0123456789"),
        "text that is not UTF-8": magic + record(1, struct.pack("<I", 4) + b"\xff\xfe\xfd\xfc" + text("x")),
        "no sqlite behind its name": b"SQLite format 3\0" + bytes(4096),
        "plain text": b"hello" * 100,
    }


def test_hostile_files_are_refused_in_words(tmp_path: Path) -> None:
    import resource

    for n, (what, raw) in enumerate(hostile(tmp_path).items()):
        file = tmp_path / f"{n}.mcap"
        file.write_bytes(raw)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        result = run("session", "import", file, "--out", tmp_path / "out", "--rig", "rig_small")
        assert result.exit_code == 2, f"{what}: {text_of(result)}"
        assert file.name in result.stderr, what
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_400_000, what  # kB
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("store", ["MCAP", "SQLITE3"])
def test_flipped_bytes_never_raise_anything_unforeseen(
    store: str, bag: Path, original: Session, tmp_path: Path
) -> None:
    """Bags with damage in them: each gives a session or an error that names it."""
    from aerialworld_core.world import load_rig
    from aerialworld_recorder.bags.choices import ImportOptions
    from aerialworld_recorder.bags.importing import import_bag

    wanted = ("/drone_1/odom", "/drone_1/lidar/points", "/drone_1/navsat", "/drone_1/ground")
    folder = copied(bag, tmp_path / "bag", store, lambda topic: topic if topic in wanted else None)
    (folder / "metadata.yaml").unlink()
    (file,) = folder.iterdir()
    raw = np.frombuffer(file.read_bytes(), np.uint8)
    options = ImportOptions(
        rig=load_rig("rig_small"), datum=original.meta.datum, source="lidar", grid=original.meta.grid
    )
    rng, outcomes = np.random.default_rng(5), {True: 0, False: 0}
    for n in range(60):
        damaged = raw.copy()
        # Half of the damage where the structure is: at the beginning and the end.
        places = rng.integers(0, len(raw), 6) if n % 2 else rng.integers(-min(3000, len(raw)), min(3000, len(raw)), 6)
        damaged[places] = rng.integers(0, 256, 6)
        file.write_bytes(damaged.tobytes())
        out = tmp_path / f"out{n}"
        try:
            import_bag(folder, out, options, provenance={})
            outcomes[True] += 1
        except AerialWorldError as error:
            assert str(file.parent) in str(error) or "session" in str(error) or "/drone_1" in str(error)
            outcomes[False] += 1
        shutil.rmtree(out, ignore_errors=True)
    assert outcomes[False] > 5


def test_without_the_libraries_the_pip_line_is_told(bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from aerialworld_recorder.bags import library

    monkeypatch.setitem(sys.modules, "mcap.reader", None)
    with pytest.raises(library.MissingLibraryError, match=r"pip install 'aerialworld_recorder\[bags\]'"):
        library.library("mcap.reader")
