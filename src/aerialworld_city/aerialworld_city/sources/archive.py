"""Zip archives from strangers: names are checked, bytes are counted, and only what is wanted is unpacked.

Nothing of the archive is trusted: the whole list of names is judged before a byte is written (absolute, `..`,
backslashes, drives, NUL, links and devices, two names for one file, overlapping members, bombs), and files are created
below an open folder, never through a link. `zipfile` of Python reads the directory and the members; its own weaknesses
(CVE-2024-0450, overlapping members, before 3.11.8 and 3.12.2; CVE-2025-8291, a zip64 record that other programs read
differently, before 3.11.14, 3.12.12 and 3.13.10) are covered here by checks of our own or, for the second, can only
change which names are seen, and every name is judged. Archives within an archive are never opened.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from aerialworld_core.errors import InputError, UnsafeInputError
from aerialworld_core.files import StorageError, free_space

MAX_MEMBERS = 500_000
MAX_MEMBER_BYTES = 4 * 1024**3
MAX_TOTAL_BYTES = 200 * 1024**3
#: A member of more than _RATIO_FLOOR bytes may be this many times as large as its compressed form.
MAX_RATIO = 200
_RATIO_FLOOR = 64 * 1024
_MAX_DEPTH = 32
_BLOCK = 1024 * 1024
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_LOCAL_HEADER = 30
#: What `zipfile` raises on bytes that make no sense.
_DAMAGE = (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error, EOFError, ValueError, OverflowError)


@dataclass(frozen=True)
class Member:
    """A file in an archive: its checked name ("/" between parts) and its stated size."""

    name: str
    size: int
    info: zipfile.ZipInfo


class Archive:
    """An open zip whose every name was found harmless. A context manager.

    Raises InputError (missing, no zip, damaged) and UnsafeInputError, naming the archive and the member.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        try:
            self._zip = zipfile.ZipFile(self.path)
        except (*_DAMAGE, NotImplementedError) as error:
            raise InputError(f"{self.path}: not a zip archive that can be read: {error}") from error
        except OSError as error:
            raise InputError(f"{self.path}: cannot read this archive: {error.strerror or error}") from error
        try:
            self.members = {m.name: m for m in self._judged()}
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    # -- judging --------------------------------------------------------------------------------------------------

    def _judged(self) -> Iterator[Member]:
        infos = self._zip.infolist()
        if len(infos) > MAX_MEMBERS:
            raise UnsafeInputError(f"{self.path}: holds {len(infos):,} members (at most {MAX_MEMBERS:,})")
        self._refuse_overlaps(infos)
        files: dict[str, str] = {}
        folders: set[str] = set()
        for info in infos:
            name = self._name(info)
            key = unicodedata.normalize("NFC", name.rstrip("/")).casefold()
            if info.is_dir():
                folders.add(key)
                continue
            if key in files:
                raise UnsafeInputError(f"{self.path}: two members are one file: {files[key]!r} and {name!r}")
            files[key] = name
            yield Member(name, info.file_size, info)
        for key in files:
            parents = key.split("/")[:-1]
            folders.update("/".join(parents[:n]) for n in range(1, len(parents) + 1))
        for key in folders & files.keys():
            raise UnsafeInputError(f"{self.path}: {files[key]!r} is a file and a folder")

    def _name(self, info: zipfile.ZipInfo) -> str:
        """The member's name, with "/" between its parts. Raises UnsafeInputError where it could lead elsewhere."""
        name = info.orig_filename
        if not info.flag_bits & 0x800 and not name.isascii():
            # Without the UTF-8 flag the bytes are of the writer's own code page, in Japan 932, in whose characters a
            # byte that looks like a backslash is common.
            with contextlib.suppress(UnicodeError):
                name = name.encode("cp437").decode("cp932")
        parts = name.rstrip("/").split("/")
        problem = ""
        if "\0" in name or any(unicodedata.category(c) == "Cc" for c in name):
            problem = "has a control character in its name"
        elif "\\" in name:
            problem = "has a backslash in its name"
        elif name.startswith("/"):
            problem = "has an absolute path"
        elif len(parts[0]) >= 2 and parts[0][1] == ":":
            problem = "names a drive"
        elif any(part in ("", ".", "..") for part in parts):
            problem = "has a path that leaves its folder"
        elif len(parts) > _MAX_DEPTH or any(len(part.encode("utf-8", "surrogatepass")) > 255 for part in parts):
            problem = "has a path too long or too deep"
        elif any("\ud800" <= c <= "\udfff" for c in name):
            problem = "has a name that is no text"
        else:
            mode = info.external_attr >> 16
            kind = stat.S_IFMT(mode)
            if kind == stat.S_IFLNK:
                problem = "is a symbolic link"
            elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                problem = "is a device or pipe"
            elif (kind == stat.S_IFDIR) != info.is_dir() and kind:
                problem = "is a folder by its mode and a file by its name, or the other way round"
        if problem:
            raise UnsafeInputError(f"{self.path}: member {_shown(name)} {problem}; refused")
        return name

    def _refuse_overlaps(self, infos: list[zipfile.ZipInfo]) -> None:
        """Members that share their bytes multiply them (the bomb that needs no nested archives)."""
        end = self._zip.start_dir
        for info in sorted(infos, key=lambda i: i.header_offset, reverse=True):
            if info.header_offset < 0 or info.header_offset + _LOCAL_HEADER + info.compress_size > end:
                raise UnsafeInputError(f"{self.path}: member {_shown(info.filename)} overlaps another; refused")
            end = info.header_offset

    # -- unpacking ------------------------------------------------------------------------------------------------

    def unpack(self, names: Iterable[str], folder: Path) -> dict[str, Path]:
        """Unpack members below `folder` (made where it is not there) and give their paths.

        All are judged before the first is written. Raises UnsafeInputError (a bomb, more bytes than stated),
        InputError (encrypted, damaged, a method unknown here), StorageError (no room).
        """
        members = [self.members[name] for name in dict.fromkeys(names)]
        for member in members:
            self._refuse_bomb(member)
        total = sum(m.size for m in members)
        packed = sum(m.info.compress_size for m in members)
        if total > MAX_TOTAL_BYTES or total > max(_RATIO_FLOOR, MAX_RATIO * packed):
            raise UnsafeInputError(f"{self.path}: {len(members)} members of {total:,} bytes in all; refused")
        folder.mkdir(parents=True, exist_ok=True)
        _need_room(folder, total, self.path)
        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            for member in members:
                self._write(member, root)
        except OSError as error:
            if isinstance(error, FileExistsError | NotADirectoryError):
                raise UnsafeInputError(f"{self.path}: something is in the way of a member: {error}") from error
            reason = error.strerror or str(error)
            raise StorageError(f"{self.path}: not unpacked: {reason} ({free_space(folder)})") from error
        finally:
            os.close(root)
        return {member.name: folder / member.name for member in members}

    def expands_too_far(self, name: str) -> bool:
        """Whether a member would be refused as a bomb."""
        try:
            self._refuse_bomb(self.members[name])
        except UnsafeInputError:
            return True
        return False

    def _refuse_bomb(self, member: Member) -> None:
        info = member.info
        if member.size > MAX_MEMBER_BYTES:
            raise UnsafeInputError(f"{self.path}: member {_shown(member.name)} of {member.size:,} bytes; refused")
        if member.size > _RATIO_FLOOR and member.size > MAX_RATIO * max(info.compress_size, 1):
            raise UnsafeInputError(
                f"{self.path}: member {_shown(member.name)} expands more than {MAX_RATIO} times; refused as a bomb"
            )

    def read(self, name: str, limit: int) -> bytes:
        """A small member's bytes. Raises as `unpack` does, and UnsafeInputError beyond `limit` bytes."""
        member = self.members[name]
        self._refuse_bomb(member)
        if member.size > limit:
            raise UnsafeInputError(f"{self.path}: member {_shown(name)} is larger than {limit:,} bytes")
        return b"".join(self._blocks(member))

    def _blocks(self, member: Member) -> Iterator[bytes]:
        """The member's bytes, counted; the archive's statement of its size is not believed."""
        info, count = member.info, 0
        if info.flag_bits & 0x1:
            raise InputError(f"{self.path}: member {_shown(member.name)} is encrypted; unpack the archive yourself")
        if info.compress_type not in _METHODS:
            raise InputError(
                f"{self.path}: member {_shown(member.name)} is packed by method {info.compress_type}, which is not "
                "read here (stored and deflated are); unpack the archive yourself and give the folder"
            )
        try:
            with self._zip.open(info) as handle:
                while block := handle.read(_BLOCK):
                    count += len(block)
                    if count > member.size:
                        raise UnsafeInputError(
                            f"{self.path}: member {_shown(member.name)} holds more bytes than stated"
                        )
                    yield block
        except (*_DAMAGE, NotImplementedError, RuntimeError) as error:
            raise InputError(f"{self.path}: member {_shown(member.name)} is damaged: {error}") from error
        if count != member.size:
            raise InputError(f"{self.path}: member {_shown(member.name)} is damaged: {count} of {member.size} bytes")

    def _write(self, member: Member, root: int) -> None:
        *folders, last = member.name.split("/")
        with contextlib.ExitStack() as stack:
            at = root
            for part in folders:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o700, dir_fd=at)
                at = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
                stack.callback(os.close, at)
            handle = os.open(last, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=at)
            with open(handle, "wb") as out:
                for block in self._blocks(member):
                    out.write(block)


def _need_room(folder: Path, size: int, archive: Path) -> None:
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    if size > free * 0.95:
        raise StorageError(
            f"{archive}: needs {size:,} bytes unpacked, {free:,} are free where the world is made; "
            "choose a part with --mesh, --bbox or --around, or free room"
        )


def _shown(name: str) -> str:
    return ascii(name[:120])
