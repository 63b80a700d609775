"""Reading XML that others wrote: the only door to lxml in this project.

No entity is resolved, no network or DTD is touched, no path is handed to libxml2 (it would un-gzip silently), every
byte is counted, and a document that declares a DOCTYPE is refused before its first element is used. Needs lxml
(`aerialworld_core[world]`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from lxml import etree

from aerialworld_core.errors import InputError, UnsafeInputError
from aerialworld_core.files import open_regular

MIB = 1024 * 1024

#: Bytes that are parsed at a time.
_PIECE = 32 * 1024

#: A prolog (declaration, comments, processing instructions) longer than this is no honest document.
_MAX_PROLOG = MIB

_ARCHIVES = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"(\xb5/\xfd", "zstandard"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
)

_OPTIONS: dict[str, Any] = {
    "resolve_entities": False,
    "no_network": True,
    "load_dtd": False,
    "dtd_validation": False,
    "recover": False,
}


class UndeclaredPrefixError(InputError):
    """A document uses a namespace prefix that it never declares; `prefix` is its name."""

    def __init__(self, message: str, prefix: str) -> None:
        super().__init__(message)
        self.prefix = prefix


class CountedFile:
    """A binary file that is read at most `max_bytes` far.

    Raises InputError when the file is missing, unreadable or empty, UnsafeInputError when it is a compressed archive
    (named by its first bytes) or when more than `max_bytes` are read. A context manager.
    """

    def __init__(self, path: Path | str, *, max_bytes: int, what: str = "file") -> None:
        self.path = Path(path)
        self.max_bytes = max_bytes
        self.what = what
        self.count = 0
        try:
            if not self.path.is_file():
                kind = "is a folder, not a" if self.path.is_dir() else "no such"
                raise InputError(f"{self.path}: {kind} {what}")
            self._handle = open_regular(self.path)
        except OSError as error:
            raise InputError(f"{self.path}: cannot read this {what}: {error.strerror}") from error
        try:
            head = self._handle.read(8)
            self._handle.seek(0)
        except OSError as error:
            self._handle.close()
            raise InputError(f"{self.path}: cannot read this {what}: {error.strerror}") from error
        problem: InputError | None = None
        if not head:
            problem = InputError(f"{self.path}: this {what} is empty")
        for magic, name in _ARCHIVES:
            if head.startswith(magic):
                problem = UnsafeInputError(f"{self.path}: this is {name} data, not a plain {what}; unpack it first")
        if problem:
            self._handle.close()
            raise problem

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes (all, when negative)."""
        left = self.max_bytes - self.count
        data = self._handle.read(left + 1 if size < 0 else min(size, left + 1))
        self.count += len(data)
        if self.count > self.max_bytes:
            raise UnsafeInputError(
                f"{self.path}: this {self.what} is larger than the limit of {self.max_bytes / MIB:g} MiB"
            )
        return data

    def rewind(self) -> None:
        self._handle.seek(0)
        self.count = 0

    def close(self) -> None:
        self._handle.close()

    def __enter__(self) -> CountedFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def parse(path: Path | str, *, max_bytes: int = 64 * MIB, what: str = "XML file") -> Any:
    """The root element of a whole document held in memory, without its comments and processing instructions.

    Raises InputError (missing, empty, not well-formed: with file and line) or UnsafeInputError (DOCTYPE, too large,
    compressed, a text node or depth beyond libxml2's limits).
    """
    with CountedFile(path, max_bytes=max_bytes, what=what) as handle:
        try:
            _refuse_doctype(handle)
            source: Any = handle  # anything with read() will do
            return etree.parse(
                source, etree.XMLParser(huge_tree=False, remove_comments=True, remove_pis=True, **_OPTIONS)
            ).getroot()
        except etree.XMLSyntaxError as error:
            raise _syntax_error(handle, error) from error


def iterparse(
    path: Path | str,
    *,
    tags: str | Sequence[str] | None = None,
    events: Iterable[str] = ("end",),
    max_bytes: int = 2048 * MIB,
    huge: bool = False,
    what: str = "XML file",
    declare: Sequence[str] = (),
) -> Iterator[tuple[str, Any]]:
    """Stream (event, element) pairs of the elements named by `tags` (Clark notation; None = all), as lxml does.

    The tree grows unless the caller gives back what it has used (`release`). `huge` lifts libxml2's limits on text size
    (10 MB) and depth (256). `declare` names prefixes that the document forgot to declare (they get a namespace of their
    own). Raises as `parse` does, while iterating.
    """
    with CountedFile(path, max_bytes=max_bytes, what=what) as handle:
        try:
            _refuse_doctype(handle, huge=huge)
            tag = None if tags is None else [tags] if isinstance(tags, str) else list(tags)
            wanted: Any = tuple(events)
            parser = etree.XMLPullParser(wanted, tag=tag, huge_tree=huge, **_OPTIONS)
            yield from _pulled(parser, _Declaring(handle, declare) if declare else handle)
        except etree.XMLSyntaxError as error:
            raise _syntax_error(handle, error) from error


def _pulled(parser: Any, source: CountedFile | _Declaring) -> Iterator[tuple[str, Any]]:
    """The parser's events. What was handed on is not held any more: as long as anything holds an element, lxml moves
    what is around it instead of freeing it, which is quadratic in the number of nodes. (`etree.iterparse` holds up to
    half of its last events.)"""
    error: etree.XMLSyntaxError | None = None
    while error is None:
        data = source.read(_PIECE)
        try:
            if data:
                parser.feed(data)
            else:
                parser.close()
        except etree.XMLSyntaxError as caught:
            error = caught  # what came before it counts
        waiting = list(parser.read_events())
        waiting.reverse()
        while waiting:
            yield waiting.pop()
        if not data:
            break
    if error is not None:
        raise error


class _Declaring:
    """Declares prefixes in the root's start tag while the document streams by; its lines keep their numbers."""

    #: Byte order mark, declaration, comments, processing instructions; then the root's name.
    _ROOT = re.compile(rb"(?:\xef\xbb\xbf)?(?:\s++|<\?.*?\?>|<!--.*?-->)*+<[^\s/>!?]+", re.DOTALL)

    def __init__(self, handle: CountedFile, prefixes: Sequence[str]) -> None:
        self._handle = handle
        self._words = "".join(f' xmlns:{p}="urn:undeclared:{p}"' for p in prefixes).encode("ascii")
        self._begun = False

    def read(self, size: int = -1) -> bytes:
        if self._begun:
            return self._handle.read(size)
        self._begun = True
        data = b""
        while len(data) <= _MAX_PROLOG and (more := self._handle.read(65536)):
            data += more
            # The name may go on in the next piece.
            match = self._ROOT.match(data)
            if match and match.end() < len(data):
                return data[: match.end()] + self._words + data[match.end() :]
        return data


def release(element: Any) -> None:
    """Free an element that `iterparse` yielded at its end, and its elder siblings; hold nothing that lies in them, or
    it takes quadratic time."""
    element.clear()
    parent = element.getparent()
    while parent is not None and element.getprevious() is not None:
        del parent[0]


def _refuse_doctype(handle: CountedFile, *, huge: bool = False) -> None:
    """Parse up to the first element's start; libxml2 itself says whether a DOCTYPE came before, in any encoding."""
    parser = etree.XMLPullParser(events=("start",), huge_tree=huge, **_OPTIONS)
    while handle.count <= _MAX_PROLOG:
        chunk = handle.read(16384)
        if not chunk:
            break
        try:
            parser.feed(chunk)
        except etree.XMLSyntaxError:
            # The error is reported by the real parse, unless a DOCTYPE is the cause (entity bombs end here).
            _refuse_declared(handle, chunk)
            break
        first: Any = next(iter(parser.read_events()), None)
        if first is not None:
            info = first[1].getroottree().docinfo
            if info.internalDTD is not None or info.doctype:
                raise _doctype_error(handle)
            break
        if handle.count == len(chunk):
            _refuse_declared(handle, chunk)
    else:
        raise UnsafeInputError(f"{handle.path}: no element within the first {_MAX_PROLOG / MIB:g} MiB; refused")
    handle.rewind()


def _refuse_declared(handle: CountedFile, chunk: bytes) -> None:
    if b"<!DOCTYPE" in chunk.replace(b"\x00", b""):
        raise _doctype_error(handle)


def _doctype_error(handle: CountedFile) -> UnsafeInputError:
    return UnsafeInputError(
        f"{handle.path}: declares a DOCTYPE (entities can harm); remove it to read this {handle.what}"
    )


def _syntax_error(handle: CountedFile, error: etree.XMLSyntaxError) -> InputError:
    line = error.lineno or 0
    message = f"{handle.path}: line {line}: not a well-formed {handle.what}: {error.msg}"
    if getattr(error, "code", 0) == etree.ErrorTypes.NS_ERR_UNDEFINED_NAMESPACE:
        prefix = re.match(r"Namespace prefix ([A-Za-z_][A-Za-z0-9_.-]{0,63}) ", error.msg or "")
        if prefix:
            return UndeclaredPrefixError(message, prefix[1])
    kind = UnsafeInputError if "huge" in str(error).lower() or "amplification" in str(error).lower() else InputError
    return kind(message)
