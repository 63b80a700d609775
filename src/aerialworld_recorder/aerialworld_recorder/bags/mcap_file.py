"""One MCAP file, read from its beginning to its end: nothing that it says of itself is believed.

The `mcap` library reads the records; chunks are decompressed here, because their decompressors take what a chunk
claims for true (a few kilobytes can claim gigabytes). A file without an index, or cut off, is read as far as it goes.
"""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import struct
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aerialworld_core.errors import AerialWorldError
from aerialworld_core.files import open_regular, parse_json
from aerialworld_recorder.bags.errors import BagError
from aerialworld_recorder.bags.export import METADATA
from aerialworld_recorder.bags.library import library

#: Bytes of one record, and of one chunk when it is decompressed.
MAX_BYTES = 512 * 1024 * 1024
#: Bytes of a session's document in a metadata record.
MAX_DOCUMENT = 64 * 1024 * 1024
#: Topics and types of one file.
MAX_CHANNELS = 10_000


@dataclass(frozen=True)
class BagTopic:
    """A topic of a bag; `count` is None where the file does not say."""

    name: str
    type: str
    encoding: str = "cdr"
    count: int | None = None


@dataclass(frozen=True, eq=False)
class Raw:
    """A message as it lies in a bag: its topic and type, when it was recorded, and its serialised bytes."""

    topic: str
    type: str
    log_ns: int
    data: bytes


class McapFile:
    """An MCAP file's topics, session documents and messages. Raises BagError, for which `damage` says at which byte."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.topics: dict[str, BagTopic] = {}
        #: session.json of each vehicle and its mission, where `aerialworld session export` wrote the file.
        self.documents: dict[str, dict[str, Any]] = {}
        self._read_about()

    def _read_about(self) -> None:
        """Topics and documents from the index at the end; without one, from the whole file."""
        reader_module = library("mcap.reader")
        try:
            with open_regular(self.path) as stream:
                reader = reader_module.SeekingReader(stream, record_size_limit=MAX_BYTES)
                summary = reader.get_summary()
                if summary is not None and summary.channels and len(summary.channels) <= MAX_CHANNELS:
                    counts = summary.statistics.channel_message_counts if summary.statistics else {}
                    for number, channel in summary.channels.items():
                        schema = summary.schemas.get(channel.schema_id)
                        self._note_topic(channel, schema, counts.get(number))
                    for metadata in reader.iter_metadata():
                        self._note_document(metadata)
                    return
        except BagError:
            raise
        except OSError as error:
            if error.errno != errno.EINVAL:  # that is a seek before the beginning of a file that is too short
                raise BagError(f"{self.path}: cannot be read: {error.strerror}") from error
        except _unreadable():
            pass  # no index that can be read: the file is scanned
        self.topics.clear()
        self.documents.clear()
        try:
            for record in self._records():
                self._note(record)
        except BagError:
            if not self.topics:
                raise  # else what there is can be read; the damage shows again when messages are

    def _note(self, record: Any) -> None:
        records = library("mcap.records")
        if isinstance(record, records.Schema):
            self._schemas[record.id] = record
        elif isinstance(record, records.Channel):
            self._note_topic(record, self._schemas.get(record.schema_id), None)
        elif isinstance(record, records.Metadata):
            self._note_document(record)

    def _note_topic(self, channel: Any, schema: Any, count: int | None) -> None:
        if len(self.topics) >= MAX_CHANNELS:
            raise BagError(f"{self.path}: more than {MAX_CHANNELS} topics")
        kind = schema.name if schema is not None else ""
        known = self.topics.get(channel.topic)
        if known is not None and known.type != kind:
            raise BagError(f"{self.path}: {channel.topic!r} is of two types, {known.type} and {kind}")
        if known is not None and known.count is not None and count is not None:
            count += known.count
        self.topics[channel.topic] = BagTopic(channel.topic, kind, channel.message_encoding, count)

    def _note_document(self, metadata: Any) -> None:
        if metadata.name != METADATA:
            return
        try:
            text = metadata.metadata["json"]
            if len(text) > MAX_DOCUMENT:
                raise ValueError(f"of {len(text):,} bytes")
            document = parse_json(text.encode())
            if not isinstance(document, dict) or not isinstance(document.get("document"), dict):
                raise ValueError("not an object")
            self.documents[str(metadata.metadata["vehicle"])] = document
        except (KeyError, ValueError, json.JSONDecodeError) as error:
            raise BagError(f"{self.path}: its {METADATA} record cannot be read: {error}") from error

    def messages(self, wanted: Collection[str]) -> Iterator[Raw]:
        """The messages of the wanted topics as they lie in the file."""
        records = library("mcap.records")
        channels: dict[int, tuple[str, str] | None] = {}
        for record in self._records():
            if isinstance(record, records.Message):
                known = channels.get(record.channel_id)
                if known is not None:
                    yield Raw(*known, record.log_time, record.data)
            elif isinstance(record, records.Schema):
                self._schemas[record.id] = record
            elif isinstance(record, records.Channel):
                schema = self._schemas.get(record.schema_id)
                kind = schema.name if schema is not None else ""
                channels[record.id] = (record.topic, kind) if record.topic in wanted else None

    def _records(self) -> Iterator[Any]:
        """Every record up to the end of the data section, chunks opened."""
        streams, records = library("mcap.stream_reader"), library("mcap.records")
        self._schemas: dict[int, Any] = {}
        ended = False
        with open_regular(self.path) as stream:
            at = 0
            try:
                reader = streams.StreamReader(stream, emit_chunks=True, record_size_limit=MAX_BYTES)
                for record in reader.records:
                    if isinstance(record, records.Chunk):
                        yield from self._opened(record)
                    elif isinstance(record, records.DataEnd):
                        ended = True
                        return  # what follows is an index of what was read
                    else:
                        yield record
                    at = stream.tell()
            except BagError as error:
                raise BagError(f"{self.path}: at byte {at:,}: {error}") from error
            except _unreadable() as error:
                reason = str(error) or "it ends in the middle of a record"
                raise BagError(f"{self.path}: damaged or cut off after byte {at:,}: {reason}") from error
            except OSError as error:
                raise BagError(f"{self.path}: cannot be read: {error.strerror}") from error
            if not ended:
                raise BagError(f"{self.path}: it ends after byte {at:,} without the end of its data: it was cut off")

    def _opened(self, chunk: Any) -> Iterator[Any]:
        data = decompress(chunk.data, chunk.compression, MAX_BYTES)
        if len(data) != chunk.uncompressed_size:
            raise BagError(f"a chunk holds {len(data):,} bytes and says {chunk.uncompressed_size:,}")
        if chunk.uncompressed_crc and zlib.crc32(data) != chunk.uncompressed_crc:
            raise BagError("a chunk's checksum is wrong: it was damaged")
        plain = dataclasses.replace(chunk, compression="", data=data)
        yield from library("mcap.stream_reader").breakup_chunk(plain)


def decompress(data: bytes, compression: str, limit: int) -> bytes:
    """What `data` holds, at most `limit` bytes, whatever it says of itself. Raises BagError."""
    try:
        if compression == "":
            found = data
        elif compression == "zstd":
            zstandard = library("zstandard")
            with zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(
                io.BytesIO(data), read_across_frames=True
            ) as stream:
                found = stream.read(limit + 1)
        elif compression == "lz4":
            opener = library("lz4.frame").LZ4FrameDecompressor()
            found = opener.decompress(data, max_length=limit + 1)
            if not opener.eof and len(found) <= limit:
                raise BagError("a compressed part ends too soon")
        else:
            raise BagError(f"compression {compression[:40]!r} is not known; there are none, zstd and lz4")
    except AerialWorldError:
        raise
    except Exception as error:  # each library has its own; whatever it is, the bytes cannot be read
        if type(error).__module__.split(".")[0] not in ("zstandard", "zstd", "builtins", "lz4"):
            raise
        raise BagError(f"a compressed part cannot be read: {error}") from error
    if len(found) > limit:
        raise BagError(f"a compressed part holds more than {limit:,} bytes")
    return found


def _unreadable() -> tuple[type[Exception], ...]:
    """What the library raises for bytes that are no MCAP."""
    crc = library("mcap.stream_reader").CRCValidationError
    broken = library("mcap.exceptions").McapError
    return (broken, crc, struct.error, UnicodeDecodeError, ValueError, KeyError, EOFError, MemoryError, OverflowError)
