"""npy and npz as bytes: written so that equal arrays give equal bytes, read so that a hostile file cannot harm.

`numpy.load` reads what is written here. Reading checks the members' names, types, shapes and byte counts before
anything is decompressed: nothing is unpickled, and no claim of gigabytes is believed.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import SessionError

#: Deflate level 1: numpy's own level 6 takes 2.5 times as long for a few per cent.
LEVEL = 1
_DATE = (1980, 1, 1, 0, 0, 0)
_HEADER_LIMIT = 10_000
_NUMBERS = "biuf"


def dump_npy(array: NDArray[Any]) -> bytes:
    """The bytes of an npy file, C order."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def dump_npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The bytes of an npz file with members in the given order, deflated, with fixed dates and attributes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy", date_time=_DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3
            info.external_attr = 0o600 << 16
            archive.writestr(info, dump_npy(array), compresslevel=LEVEL)
    return buffer.getvalue()


def load_npy(raw: bytes, what: str, *, limit: int) -> NDArray[Any]:
    """The array of an npy file of numbers of at most `limit` bytes. Raises SessionError naming `what`."""
    stream = io.BytesIO(raw)
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream, max_header_size=_HEADER_LIMIT)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream, max_header_size=_HEADER_LIMIT)
        else:
            raise SessionError(f"{what}: npy version {version} is not read")
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError, OverflowError) as error:
        raise SessionError(f"{what}: no npy file: {error}") from error
    if dtype.kind not in _NUMBERS or dtype.hasobject or dtype.itemsize > 8:
        raise SessionError(f"{what}: holds {dtype}, not plain numbers")
    if len(shape) > 8 or any(n < 0 for n in shape):
        raise SessionError(f"{what}: claims the shape {shape}")
    count = math.prod(shape)
    size = count * dtype.itemsize
    if size > limit:
        raise SessionError(f"{what}: claims {size:,} bytes; at most {limit:,} are expected")
    if len(raw) - stream.tell() != size:
        raise SessionError(
            f"{what}: has {len(raw) - stream.tell():,} bytes of data where {shape} {dtype} needs {size:,}"
        )
    flat = np.frombuffer(raw, dtype=dtype, count=count, offset=stream.tell())
    array = flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)
    return np.array(array, dtype=dtype.newbyteorder("="), order="C")


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
                    content = _read_member(archive, member, what, limit + _HEADER_LIMIT)
                    arrays[wanted[member.filename]] = load_npy(content, f"{what}: {member.filename}", limit=limit)
            return arrays
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise SessionError(f"{what}: no readable npz file: {error}") from error


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, what: str, limit: int) -> bytes:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.flag_bits & 0x1:
        raise SessionError(f"{what}: {member.filename} is encrypted or compressed in a way npz is not")
    if member.file_size > limit:
        raise SessionError(
            f"{what}: {member.filename} claims {member.file_size:,} bytes; at most {limit:,} are expected"
        )
    with archive.open(member) as stream:
        content = stream.read(limit + 1)  # counted while reading: the claim above is only a claim
        if len(content) > limit or stream.read(1):
            raise SessionError(f"{what}: {member.filename} inflates beyond the {limit:,} bytes expected")
    return content
