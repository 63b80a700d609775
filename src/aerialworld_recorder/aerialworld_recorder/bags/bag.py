"""A bag of any form: a rosbag2 folder (sqlite3 or MCAP, whole, split or never closed), one MCAP file, one .db3 file."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from aerialworld_core.files import open_regular, read_counted
from aerialworld_recorder.bags.errors import BagError
from aerialworld_recorder.bags.library import library
from aerialworld_recorder.bags.mcap_file import MAX_BYTES, BagTopic, McapFile, Raw, decompress

MAX_METADATA = 16 * 1024 * 1024
#: What a file that was compressed as a whole may hold.
MAX_FILE = 64 * 1024**3
_NUMBER = re.compile(r"(\d+)")
#: What an sqlite URI reads as something else than a file's name.
_URI = frozenset("?#%")


class SqliteFile:
    """One .db3 file of rosbag2, of any version, through `rosbags`."""

    def __init__(self, path: Path, message_compression: str = "") -> None:
        self.path = Path(path)
        self.documents: dict[str, dict[str, Any]] = {}
        self._compression = message_compression
        with self._opened() as reader:
            self.topics = {
                c.topic: BagTopic(c.topic, c.msgtype, c.ext.serialization_format, c.msgcount)
                for c in reader.connections
            }

    def messages(self, wanted: Collection[str]) -> Iterator[Raw]:
        """The messages of the wanted topics in the order in which they were recorded."""
        with self._opened() as reader:
            connections = [c for c in reader.connections if c.topic in wanted]
            if not connections:
                return
            for connection, log_ns, data in reader.messages(connections):
                if not isinstance(data, bytes) or len(data) > MAX_BYTES:
                    raise BagError(f"{self.path}: {connection.topic}: a message that is no blob of usual size")
                if self._compression:
                    data = decompress(data, self._compression, MAX_BYTES)
                yield Raw(connection.topic, connection.msgtype, int(log_ns), data)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Any]:
        rosbag2, errors = library("rosbags.rosbag2"), library("apsw").Error
        with contextlib.ExitStack() as stack:
            try:
                with open_regular(self.path) as stream:
                    if stream.read(16) != b"SQLite format 3\0":
                        raise BagError(f"{self.path}: is no sqlite3 file")
                yield stack.enter_context(rosbag2.Reader(self._plain(stack)))
            except OSError as error:
                raise BagError(f"{self.path}: cannot be read: {error.strerror}") from error
            except (rosbag2.ReaderError, errors, ValueError, KeyError, TypeError, AttributeError) as error:
                raise BagError(f"{self.path}: no readable rosbag2 file: {error}") from error

    def _plain(self, stack: contextlib.ExitStack) -> Path:
        """The file under a name that sqlite takes for a name; rosbags puts it into a URI as it is."""
        path = self.path.resolve()
        if _URI.isdisjoint(str(path)) and path.suffix == ".db3":
            return path
        link = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "bag.db3"
        link.symlink_to(path)
        return link


class Bag:
    """Everything of a bag; its parts follow each other. Raises BagError; a missing library is a MissingLibraryError."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._stack = contextlib.ExitStack()
        try:
            self._parts = [self._part(*part) for part in _parts(self.path, self._stack)]
        except BaseException:
            self._stack.close()
            raise
        self.topics: dict[str, BagTopic] = {}
        self.documents: dict[str, dict[str, Any]] = {}
        for part in self._parts:
            self.documents |= part.documents
            for topic in part.topics.values():
                self._add(topic)

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @staticmethod
    def _part(path: Path, compression: str) -> McapFile | SqliteFile:
        with open_regular(path) as stream:
            magic = stream.read(8)
        if magic == b"\x89MCAP0\r\n":
            return McapFile(path)
        return SqliteFile(path, compression)

    def _add(self, topic: BagTopic) -> None:
        known = self.topics.get(topic.name)
        if known is not None and known.type != topic.type:
            raise BagError(f"{self.path}: {topic.name!r} is of two types, {known.type} and {topic.type}")
        count = topic.count
        if known is not None:
            count = None if count is None or known.count is None else count + known.count
        self.topics[topic.name] = BagTopic(topic.name, topic.type, topic.encoding, count)

    def messages(self, wanted: Collection[str]) -> Iterator[Raw]:
        """The messages of the wanted topics, file by file as they were recorded."""
        for part in self._parts:
            yield from part.messages(wanted)


def _parts(path: Path, stack: contextlib.ExitStack) -> list[tuple[Path, str]]:
    """The files of a bag in order, and how single messages are compressed."""
    if not path.exists():
        raise BagError(f"{path}: no such bag")
    if not path.is_dir():
        return [(path, "")]
    file = path / "metadata.yaml"
    if not file.exists():  # a recorder that was killed writes none; its files are there
        found = sorted((p for p in path.iterdir() if p.suffix in (".mcap", ".db3")), key=_in_order)
        if not found:
            raise BagError(f"{path}: holds neither metadata.yaml nor .mcap or .db3 files; it is no bag")
        return [(_inside(path, p.name), "") for p in found]
    about = _metadata(file)
    names, form = about.get("relative_file_paths"), str(about.get("compression_format") or "")
    mode = str(about.get("compression_mode") or "").lower()
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise BagError(f"{file}: names no files (relative_file_paths)")
    if mode not in ("", "none", "file", "message", "storage") or (mode in ("file", "message") and form != "zstd"):
        raise BagError(f"{file}: compression {mode!r} by {form!r} is not known; there is zstd, of files or messages")
    files = [_inside(path, name) for name in names]
    if mode == "file":
        files = [_expanded(f, stack) for f in files]
    return [(f, form if mode == "message" else "") for f in files]


def _metadata(file: Path) -> dict[str, Any]:
    yaml = library("yaml")
    try:
        with open_regular(file) as stream:
            raw = read_counted(stream, MAX_METADATA)
        if len(raw) > MAX_METADATA:
            raise BagError(f"{file}: larger than {MAX_METADATA:,} bytes")
        data = yaml.safe_load(raw)
        about = data["rosbag2_bagfile_information"]
        if not isinstance(about, dict):
            raise TypeError("rosbag2_bagfile_information is no mapping")
        return about
    except OSError as error:
        raise BagError(f"{file}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise BagError(f"{file}: is no metadata of a rosbag2: {' '.join(str(error).split())[:200]}") from error


def _inside(folder: Path, name: str) -> Path:
    """A bag's file by its last name alone, as rosbag2 takes it; one that leads out of the folder is refused."""
    path = folder / Path(name).name
    if not path.exists():
        raise BagError(f"{path}: missing, though the bag's metadata names it")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise BagError(f"{path}: leads out of the bag's folder; copy the file into it")
    return path


def _in_order(path: Path) -> list[Any]:
    """bag_2 before bag_10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in _NUMBER.split(path.name)]


def _expanded(path: Path, stack: contextlib.ExitStack) -> Path:
    """A file that was compressed as a whole, expanded for as long as the bag is open."""
    zstandard = library("zstandard")
    out = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aerialworld-bag-"))) / path.stem
    limit = min(MAX_FILE, 1000 * path.stat().st_size + 1024 * 1024)
    size = 0
    try:
        with open_regular(path) as source, open(out, "wb") as target:
            reader = zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(source, read_across_frames=True)
            while block := reader.read(1024 * 1024):
                size += len(block)
                if size > limit:
                    raise BagError(f"{path}: expands to more than {limit:,} bytes")
                target.write(block)
    except zstandard.ZstdError as error:
        raise BagError(f"{path}: is no zstd file: {error}") from error
    except OSError as error:
        raise BagError(f"{path}: cannot be expanded: {error.strerror}") from error
    return out
