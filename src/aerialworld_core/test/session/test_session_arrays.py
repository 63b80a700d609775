"""npy and npz: equal arrays give equal bytes that numpy reads; hostile files are refused before they cost anything."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aerialworld_core.errors import SessionError
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.session.arrays import dump_npy, dump_npz, load_npy, load_npz
from aerialworld_core.session.frame_files import load_occupancy

GRID = VoxelGrid.from_range((-2, -2, 0, 2, 2, 3), (1, 1, 1))
LIMIT = 1 << 20


def voxels(**changes):
    arrays = {
        "occupancy": np.zeros(GRID.shape, np.uint8),
        "semantics": np.full(GRID.shape, 17, np.uint8),
        "observed": np.packbits(np.ones(GRID.size, bool)),
    }
    return {**arrays, **changes}


def refused(raw: bytes) -> str:
    with pytest.raises(SessionError) as caught:
        load_occupancy(raw, "frame.npz", GRID)
    assert str(caught.value).startswith("frame.npz")
    return str(caught.value)


def savez(**arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def header(descr: str, shape: tuple) -> bytes:
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(0, 5), min_size=0, max_size=3),
    dtype=st.sampled_from(["u1", "i4", "f4", "f8", "?", ">f4", "u8"]),
    seed=st.integers(0, 99),
    fortran=st.booleans(),
)
def test_npy_round_trip_and_numpy_agrees(shape, dtype, seed, fortran):
    array = (np.random.default_rng(seed).random(shape) * 200).astype(dtype)
    array = np.asfortranarray(array) if fortran else array
    raw = dump_npy(array)
    for read in (load_npy(raw, "x", limit=LIMIT), np.load(io.BytesIO(raw), allow_pickle=False)):
        np.testing.assert_array_equal(read, array)
    buffer = io.BytesIO()
    np.save(buffer, array)
    np.testing.assert_array_equal(load_npy(buffer.getvalue(), "x", limit=LIMIT), array)


def test_npz_bytes_depend_on_content_alone_and_numpy_reads_them():
    arrays = voxels(occupancy=np.random.default_rng(3).integers(0, 2, GRID.shape, np.uint8))
    raw = dump_npz(arrays)
    assert raw == dump_npz({k: np.asfortranarray(v) for k, v in arrays.items()})
    with np.load(io.BytesIO(raw), allow_pickle=False) as npz:
        for name, array in arrays.items():
            np.testing.assert_array_equal(npz[name], array)


def test_the_zip_container_is_whole_and_bears_no_date_of_today():
    rng = np.random.default_rng(5)
    arrays = {
        "noise": rng.integers(0, 256, 300_001, np.uint8),
        "none": np.zeros((0, 3), np.float32),
        "one": np.array(2.5),
        "voxels": np.repeat(rng.integers(0, 2, 5_000, np.uint8), 97),
    }
    for array in arrays.values():
        array.setflags(write=False)
    raw = dump_npz(arrays)
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        assert archive.testzip() is None  # every CRC
        assert archive.namelist() == [f"{name}.npy" for name in arrays]
        for member, array in zip(archive.infolist(), arrays.values(), strict=True):
            assert member.date_time == (1980, 1, 1, 0, 0, 0) and member.compress_type == zipfile.ZIP_DEFLATED
            assert member.external_attr == 0o600 << 16 and not member.extra and not member.comment
            assert archive.read(member) == dump_npy(array)
            assert member.file_size == len(dump_npy(array))
        assert archive.infolist()[3].compress_size < 0.1 * arrays["voxels"].nbytes
    for name, array in load_npz(raw, "x", required=list(arrays), limit=LIMIT).items():
        np.testing.assert_array_equal(array, arrays[name])


def test_what_numpy_wrote_is_read():
    o = load_occupancy(savez(**voxels()), "x", GRID)
    assert o.observed.all() and not o.occupancy.any()


def test_pickled_objects_are_refused_and_never_run(tmp_path):
    marker = tmp_path / "ran"

    class Bomb:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    hostile = np.empty(GRID.shape, object)
    hostile[:] = Bomb()
    buffer = io.BytesIO()
    np.savez(buffer, **voxels(occupancy=hostile))
    assert "not plain numbers" in refused(buffer.getvalue())
    with pytest.raises(SessionError):
        buffer = io.BytesIO()
        np.save(buffer, hostile, allow_pickle=True)
        load_npy(buffer.getvalue(), "x", limit=LIMIT)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("descr", "shape"),
    [
        ("|u1", (4096, 1024, 1024)),
        ("|u1", (2**40, 2**40)),
        ("<f8", (-1, 4, 3)),
        ("|V4000000000", (4, 4, 3)),
        ("|O", (4, 4, 3)),
        ("<U9", (4, 4, 3)),
        ("<M8[s]", (4, 4, 3)),
        ("<c16", (4, 4, 3)),
        ("<f2, <f2", (4, 4, 3)),
        ("|u1", (1,) * 40),
        ("|u1", (4, 4, 2)),
    ],
)
def test_header_claims_are_not_believed(descr, shape):
    hostile = header(descr, shape) + bytes(48)
    good = {f"{k}.npy": dump_npy(v) for k, v in voxels().items()}
    tracemalloc.start()
    refused(zipped({**good, "occupancy.npy": hostile}))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000


def test_four_gigabyte_bomb_costs_nothing():
    good = {f"{k}.npy": dump_npy(v) for k, v in voxels().items()}
    bomb = zipped({**good, "occupancy.npy": header("|u1", GRID.shape) + bytes(80_000_000)})
    assert len(bomb) < 200_000
    honest_claim = refused(bomb)
    # The same with a directory that lies about the size: counted while inflating.
    lying = bytearray(bomb)
    size = struct.pack("<I", 80_000_000 + 128)
    at = bytes(lying).rfind(size)
    lying[at : at + 4] = struct.pack("<I", 176)
    tracemalloc.start()
    refused(bytes(lying))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "claims" in honest_claim and peak < 4_000_000


def test_members_must_be_the_three():
    good = {f"{k}.npy": dump_npy(v) for k, v in voxels().items()}
    for extra in ("evil.npy", "../occupancy.npy", "/etc/occupancy.npy", "occupancy", "sub/occupancy.npy", "a\\b.npy"):
        assert "unexpected members" in refused(zipped({**good, extra: b"x"}))
    assert "lacks observed" in refused(zipped({k: v for k, v in good.items() if k != "observed.npy"}))
    buffer = io.BytesIO()
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(buffer, "w") as archive:
        for name, data in [*good.items(), ("occupancy.npy", good["occupancy.npy"])]:
            archive.writestr(name, data)
    assert "share a name" in refused(buffer.getvalue())
    assert "way npz is not" in refused(zipped(good, zipfile.ZIP_BZIP2))


def test_values_must_make_sense():
    assert "no class" in refused(savez(**voxels(occupancy=np.ones(GRID.shape, np.uint8))))
    classes = np.full(GRID.shape, 99, np.uint8)
    assert "no class" in refused(savez(**voxels(occupancy=np.ones(GRID.shape, np.uint8), semantics=classes)))
    assert "packed bits" in refused(savez(**voxels(observed=np.zeros(3, np.uint8))))
    assert "shape" in refused(savez(**voxels(semantics=np.zeros((3, 4, 4), np.uint8))))


@pytest.mark.parametrize("raw", [b"", b"PK", b"not a zip at all", b"PK\x05\x06" + bytes(18), bytes(5000)])
def test_what_is_no_npz_is_a_session_error(raw):
    refused(raw)
    with pytest.raises(SessionError):
        load_npy(raw, "x", limit=LIMIT)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_mutated_files_give_session_errors_or_arrays_and_nothing_else(data):
    raw = bytearray(dump_npz(voxels()))
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    raw = raw[: data.draw(st.integers(0, len(raw)))] if data.draw(st.booleans()) else raw
    try:
        load_npz(bytes(raw), "x", required=("occupancy",), optional=("semantics", "observed"), extra=True, limit=LIMIT)
    except SessionError:
        pass
    npy = bytearray(dump_npy(np.arange(12.0)))
    npy[data.draw(st.integers(0, len(npy) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        load_npy(bytes(npy), "x", limit=LIMIT)
    except SessionError:
        pass
