"""npy and npz as bytes: written so that equal arrays give equal bytes, read so that a hostile file cannot harm.

`numpy.load` reads what is written here. Reading checks the members' names, types, shapes and byte counts before
anything is decompressed: nothing is unpickled, and no claim of gigabytes is believed.
"""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from isal import igzip_lib, isal_zlib
from numpy.typing import NDArray

from aerialworld_core.errors import SessionError

#: Deflate by Intel's ISA-L, whose level 1 takes a fifteenth of zlib's time for voxels and makes smaller files.
LEVEL = 1
#: 1980-01-01, the zip format's first day: no clock is in the bytes.
_DATE = 0x0021
#: isal's type stubs call this class an instance.
_INFLATE_ERROR: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment]
#: A zip file's numbers are of 32 bits; what needs more is another format (zip64).
_ZIP_LIMIT = 0xFFFFFFFF
_HEADER_LIMIT = 10_000
#: The only form that numpy writes for plain arrays; its own parser also runs Python's tokenizer over what it is given.
_HEADER = re.compile(
    r"^\{'descr': '(?P<descr>[<>|=]?[A-Za-z?][0-9]{0,9}[^']{0,20})', 'fortran_order': (?P<fortran>True|False), "
    r"'shape': \((?P<shape>(?:[0-9]{1,18}, ?)*(?:[0-9]{1,18},?)?)\),? ?\} *\n?$"
)
_NUMBERS = re.compile(r"^[<>|=]?(b1|[iu][1248]|f[248])$")


def dump_npy(array: NDArray[Any]) -> bytes:
    """The bytes of an npy file, C order."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.array(array, order="C", copy=None), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def dump_npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The bytes of an npz file with members in the given order, deflated, with fixed dates and attributes.

    A zip archive as in PKWARE's APPNOTE 6.3: local headers (4.3.7) with content, central directory (4.3.12), its end
    (4.3.16). Written here so that an array goes to the compressor as it lies in memory, and through ISA-L's.
    """
    parts: list[bytes] = []
    directory: list[bytes] = []
    offset = 0
    for name, array in arrays.items():
        file_name = f"{name}.npy".encode("ascii")
        content, crc, size = _deflate(array)
        if max(size, len(content), offset) >= _ZIP_LIMIT:
            raise SessionError(f"{name}: {size:,} bytes are more than an npz file without zip64 holds")
        # Version 2.0 to read, no flags, deflated, dates, crc, sizes, lengths of the name and of no extra field.
        common = struct.pack("<5H3I2H", 20, 0, 8, 0, _DATE, crc, len(content), size, len(file_name), 0)
        header = b"PK\3\4" + common + file_name
        # Made by version 2.0 on Unix; no comment, disk 0, binary; a regular file that its owner reads and writes.
        entry = struct.pack("<BB", 20, 3) + common + struct.pack("<3H2I", 0, 0, 0, 0o600 << 16, offset)
        directory.append(b"PK\1\2" + entry + file_name)
        parts += [header, content]
        offset += len(header) + len(content)
    length = sum(map(len, directory))
    end = b"PK\5\6" + struct.pack("<4H2IH", 0, 0, len(directory), len(directory), length, offset, 0)
    return b"".join([*parts, *directory, end])


def _deflate(array: NDArray[Any]) -> tuple[bytes, int, int]:
    """An array as a deflated npy file: bytes, CRC-32 and size of the npy file. C order."""
    plain = np.array(array, order="C", copy=None)
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, np.lib.format.header_data_from_array_1_0(plain))
    header, data = buffer.getvalue(), plain.reshape(-1).view(np.uint8)
    crc = isal_zlib.crc32(data, isal_zlib.crc32(header))
    compressor = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, -isal_zlib.MAX_WBITS)
    content = compressor.compress(header) + compressor.compress(data) + compressor.flush()
    return content, crc, len(header) + data.nbytes


def load_npy(raw: bytes, what: str, *, limit: int) -> NDArray[Any]:
    """The array of an npy file of numbers of at most `limit` bytes. Raises SessionError naming `what`."""
    dtype, fortran, shape, start = _parse_header(raw, what)
    count = math.prod(shape)
    size = count * dtype.itemsize
    if size > limit:
        raise SessionError(f"{what}: claims {size:,} bytes; at most {limit:,} are expected")
    if len(raw) - start != size:
        raise SessionError(f"{what}: has {len(raw) - start:,} bytes of data where {shape} {dtype} needs {size:,}")
    flat = np.frombuffer(raw, dtype=dtype, count=count, offset=start)
    array = flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)
    return np.array(array, dtype=dtype.newbyteorder("="), order="C")


def _parse_header(raw: bytes, what: str) -> tuple[np.dtype[Any], bool, tuple[int, ...], int]:
    """Type, Fortran order, shape and where the data begins (NEP 1, versions 1.0 to 3.0)."""
    if raw[:6] != b"\x93NUMPY" or len(raw) < 12 or raw[6:8] not in (b"\1\0", b"\2\0", b"\3\0"):
        raise SessionError(f"{what}: no npy file")
    start, length = (10, struct.unpack("<H", raw[8:10])[0]) if raw[6] == 1 else (12, struct.unpack("<I", raw[8:12])[0])
    if length > _HEADER_LIMIT or start + length > len(raw):
        raise SessionError(f"{what}: no npy file: its header claims {length:,} bytes")
    header = _HEADER.match(raw[start : start + length].decode("latin-1"))
    if header is None:
        raise SessionError(
            f"{what}: holds no plain array of numbers (its header is not one that numpy writes for these)"
        )
    if not _NUMBERS.match(header["descr"]):
        raise SessionError(f"{what}: holds {header['descr']}, not plain numbers")
    shape = tuple(int(n) for n in header["shape"].replace(" ", "").split(",") if n)
    if len(shape) > 8:
        raise SessionError(f"{what}: claims {len(shape)} dimensions")
    return np.dtype(header["descr"]), header["fortran"] == "True", shape, start + length


def load_npz(
    raw: bytes, what: str, *, required: Collection[str], optional: Collection[str] = (), extra: bool = False, limit: int
) -> dict[str, NDArray[Any]]:
    """The named arrays of an npz file, each of at most `limit` bytes; other members are refused, or left alone with
    `extra`. Raises SessionError naming `what`."""
    wanted = {f"{name}.npy": name for name in (*required, *optional)}
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            members = archive.infolist()
            names = [m.filename for m in members]
            if len(set(names)) != len(names):
                raise SessionError(f"{what}: two members share a name")
            unknown = sorted(set(names) - set(wanted))
            if unknown and not extra:
                raise SessionError(f"{what}: unexpected members {', '.join(map(repr, unknown[:5]))}")
            missing = sorted(set(required) - {wanted[n] for n in names if n in wanted})
            if missing:
                raise SessionError(f"{what}: lacks {', '.join(missing)}")
            arrays = {}
            for member in members:
                if member.filename in wanted:
                    content = _read_member(raw, member, what, limit + _HEADER_LIMIT)
                    arrays[wanted[member.filename]] = load_npy(content, f"{what}: {member.filename}", limit=limit)
            return arrays
    except (zipfile.BadZipFile, _INFLATE_ERROR, EOFError, OSError, ValueError, RuntimeError) as error:
        raise SessionError(f"{what}: no readable npz file: {error}") from error


def _read_member(raw: bytes, member: zipfile.ZipInfo, what: str, limit: int) -> bytes:
    """A member's content. zipfile found it (and checked the directory); it is inflated here in one piece by ISA-L,
    which takes a tenth of the time that zipfile's stream of small reads takes for voxels."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.flag_bits & 0x1:
        raise SessionError(f"{what}: {member.filename} is encrypted or compressed in a way npz is not")
    if member.file_size > limit:
        raise SessionError(
            f"{what}: {member.filename} claims {member.file_size:,} bytes; at most {limit:,} are expected"
        )
    # The local header (APPNOTE 4.3.7) repeats the directory but for the lengths of its name and extra field.
    head = member.header_offset
    if raw[head : head + 4] != b"PK\3\4" or head + 30 > len(raw):
        raise SessionError(f"{what}: no readable npz file: {member.filename} is not where the directory says")
    start = head + 30 + sum(struct.unpack_from("<2H", raw, head + 26))
    packed = memoryview(raw)[start : start + member.compress_size]
    if len(packed) != member.compress_size:
        raise SessionError(f"{what}: no readable npz file: {member.filename} is cut short")
    if member.compress_type == zipfile.ZIP_STORED:
        content = bytes(packed)
    else:
        inflate = isal_zlib.decompressobj(-isal_zlib.MAX_WBITS)
        content = inflate.decompress(packed, limit + 1)  # bounded: the claim above is only a claim
        if len(content) <= limit and not inflate.eof:
            raise SessionError(f"{what}: no readable npz file: {member.filename} ends before its data does")
    if len(content) > limit:
        raise SessionError(f"{what}: {member.filename} inflates beyond the {limit:,} bytes expected")
    if len(content) != member.file_size or isal_zlib.crc32(content) != member.CRC:
        raise SessionError(f"{what}: no readable npz file: {member.filename}: its checksum is not the recorded one")
    return content
